"""Segmentation of a cohort: the patient is the unit, empty masks are spelt out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spinaldx.evaluation.classification import DISEASE_TITLES
from spinaldx.evaluation.estimates import (
    NO_INTERVAL,
    Bootstrap,
    Estimate,
    FloatArray,
    bootstrap_interval,
    mean_estimate,
    ratio_estimate,
    undefined,
)
from spinaldx.evaluation.overlap import Overlap
from spinaldx.evaluation.patients import HEALTHY_NAME
from spinaldx.evaluation.proportions import proportion
from spinaldx.evaluation.scored import DISEASES
from spinaldx.evaluation.tables import Cell, Column, Kind, Table

_GROUP_TITLES: Mapping[str, str] = {
    **{name.value: text for name, text in zip(DISEASES, DISEASE_TITLES, strict=True)},
    HEALTHY_NAME: HEALTHY_NAME,
    "": "no label",
}

_RULES = (
    "The patient is the unit: volumes, surfaces and lesions of a patient's series are "
    "summed, HD95 is the largest. Intervals: patient bootstrap.",
    "Empty masks: patients whose true mask is empty have no part in this table (see "
    "'Patients without a lesion in the true mask'); an empty prediction where there is "
    "a lesion has Dice 0 and surface Dice 0, and no HD95. A failed study counts as an "
    "empty prediction.",
    "A true lesion is found, and a predicted one right, when at least the stated share "
    "of it lies in the other mask; components touch by face, edge or corner.",
)


@dataclass(frozen=True, slots=True)
class PatientOverlap:
    """One patient's masks compared.

    Attributes:
        case: Name.
        group: Disease, ``healthy``, or empty without a label.
        overlap: Sums over the patient's series.
        is_corrected: Whether a person drew or corrected a predicted mask.
        is_failed: Whether the study failed, so that no mask was predicted.
    """

    case: str
    group: str
    overlap: Overlap
    is_corrected: bool = False
    is_failed: bool = False

    @property
    def has_lesion(self) -> bool:
        """Whether the true mask holds a lesion."""
        return self.overlap.true_lesions > 0


def segmentation_table(patients: Sequence[PatientOverlap], draw: Bootstrap) -> Table:
    """Metrics of patients with a lesion, by kind of mask and by disease."""
    with_lesion = [patient for patient in patients if patient.has_lesion]
    rows = [
        (masks, disease, *_metric_cells(chosen, draw))
        for masks, of_kind in by_origin(with_lesion).items()
        for disease, chosen in _by_group(of_kind).items()
    ]
    number = Kind.NUMBER
    columns = (
        Column("masks", "Masks"),
        Column("disease", "Disease"),
        Column("patients", "Patients", Kind.COUNT),
        Column("failed", "Failed", Kind.COUNT),
        Column("dice_mean", "Dice, mean", number),
        Column("dice_sd", "SD", number),
        Column("dice_q1", "Lower quartile", number),
        Column("dice_median", "Median", number),
        Column("dice_q3", "Upper quartile", number),
        Column("surface_dice", "Surface Dice, mean", number),
        Column("hd95_mm", "HD95, mean mm", number, digits=1),
        Column("hd95_patients", "With HD95", Kind.COUNT),
        Column("volume_error_ml", "Volume error, mean ml", number, digits=2),
        Column("absolute_volume_error", "Absolute volume error", Kind.PERCENT),
        Column("lesion_sensitivity", "Lesions found", Kind.PERCENT),
        Column("lesion_precision", "Lesions right", Kind.PERCENT),
        Column("lesion_f1", "Lesion F1", number),
    )
    title = "Segmentation of patients with a lesion in the true mask"
    return Table("segmentation", title, columns, tuple(rows), _RULES)


def empty_truth_table(patients: Sequence[PatientOverlap], draw: Bootstrap) -> Table:
    """Patients whose true mask is empty: correct empty calls and false volume."""
    without = [patient for patient in patients if not patient.has_lesion]
    rows: list[tuple[Cell, ...]] = []
    for masks, chosen in by_origin(without).items():
        run = [patient for patient in chosen if not patient.is_failed]
        empty = sum(patient.overlap.predicted_mm3 == 0 for patient in run)
        false_ml = np.array([item.overlap.predicted_mm3 / 1000 for item in run])
        rows.append(
            (
                masks,
                proportion(empty, len(chosen), "patient"),
                mean_estimate(false_ml, draw, "patient that ran"),
                sum(patient.overlap.predicted_lesions for patient in run),
                len(chosen) - len(run),
            )
        )
    columns = (
        Column("masks", "Masks"),
        Column("correct_empty", "Correctly empty", Kind.PERCENT),
        Column("false_volume_ml", "False volume, mean ml", Kind.NUMBER),
        Column("false_lesions", "False lesions", Kind.COUNT),
        Column("failed", "Failed", Kind.COUNT),
    )
    notes = ("A failed study is not a correct empty call.",)
    title = "Patients without a lesion in the true mask"
    return Table("segmentation_empty", title, columns, tuple(rows), notes)


def patient_table(patients: Sequence[PatientOverlap]) -> Table:
    """One row a patient, worst Dice first, so that the bad ones are looked at."""
    rows = [
        (
            patient.case,
            patient.group,
            "corrected" if patient.is_corrected else "automatic",
            "failed" if patient.is_failed else "ok",
            _or_reason(patient.overlap.dice, "both masks are empty"),
            _or_reason(patient.overlap.surface_dice, "both masks are empty"),
            _or_reason(patient.overlap.hd95_mm, "a mask is empty"),
            Estimate(patient.overlap.truth_mm3 / 1000),
            Estimate(patient.overlap.predicted_mm3 / 1000),
            patient.overlap.true_lesions,
            patient.overlap.found_lesions,
            patient.overlap.predicted_lesions,
            patient.overlap.right_lesions,
        )
        for patient in sorted(patients, key=_worst_first)
    ]
    columns = (
        Column("case", "Case"),
        Column("disease", "Disease"),
        Column("masks", "Masks"),
        Column("status", "Status"),
        Column("dice", "Dice", Kind.NUMBER),
        Column("surface_dice", "Surface Dice", Kind.NUMBER),
        Column("hd95_mm", "HD95, mm", Kind.NUMBER, digits=1),
        Column("truth_ml", "Truth, ml", Kind.NUMBER),
        Column("predicted_ml", "Predicted, ml", Kind.NUMBER),
        Column("true_lesions", "True lesions", Kind.COUNT),
        Column("found_lesions", "Found", Kind.COUNT),
        Column("predicted_lesions", "Predicted lesions", Kind.COUNT),
        Column("right_lesions", "Right", Kind.COUNT),
    )
    return Table("segmentation_patients", "Masks by patient", columns, tuple(rows))


def dice_by_group(patients: Iterable[PatientOverlap]) -> Mapping[str, FloatArray]:
    """Dice of patients with a lesion in the true mask, by disease."""
    with_lesion = [patient for patient in patients if patient.has_lesion]
    groups = _by_group(with_lesion)
    return {name: _values(chosen, _dice) for name, chosen in groups.items()}


def by_origin(
    patients: Sequence[PatientOverlap],
) -> Mapping[str, Sequence[PatientOverlap]]:
    """Split into automatic and corrected masks, and all when there are both.

    Failed studies have no masks: they count as automatic ones, and as corrected ones
    where all masks that there are were.
    """
    run = [patient for patient in patients if not patient.is_failed]
    if run and all(patient.is_corrected for patient in run):
        return {"corrected": patients}
    automatic = [patient for patient in patients if not patient.is_corrected]
    corrected = [patient for patient in patients if patient.is_corrected]
    named = {"automatic": automatic, "corrected": corrected}
    present: Mapping[str, Sequence[PatientOverlap]] = {
        name: chosen for name, chosen in named.items() if chosen
    }
    if len(present) == 2:
        return {**present, "automatic and corrected": patients}
    return present


def _by_group(
    patients: Sequence[PatientOverlap],
) -> Mapping[str, Sequence[PatientOverlap]]:
    groups: dict[str, Sequence[PatientOverlap]] = {"all": patients}
    for name, title in _GROUP_TITLES.items():
        chosen = [patient for patient in patients if patient.group == name]
        if chosen:
            groups[title] = chosen
    return groups


def _metric_cells(
    patients: Sequence[PatientOverlap], draw: Bootstrap
) -> tuple[Cell, ...]:
    dice = _values(patients, _dice)
    q1, median, q3 = (float(value) for value in np.percentile(dice, (25, 50, 75)))
    distances = [item.overlap.hd95_mm for item in patients]
    known = np.array([value for value in distances if value is not None], dtype=float)
    return (
        len(patients),
        sum(patient.is_failed for patient in patients),
        mean_estimate(dice, draw, "patient"),
        _standard_deviation(dice),
        Estimate(q1),
        Estimate(median),
        Estimate(q3),
        mean_estimate(_values(patients, _surface_dice), draw, "patient"),
        mean_estimate(known, draw, "patient with two filled masks"),
        len(known),
        mean_estimate(_values(patients, _volume_error_ml), draw, "patient"),
        mean_estimate(_values(patients, _absolute_volume_error), draw, "patient"),
        *_lesion_cells(patients, draw),
    )


def _lesion_cells(
    patients: Sequence[PatientOverlap], draw: Bootstrap
) -> tuple[Estimate, Estimate, Estimate]:
    found = _values(patients, lambda item: item.overlap.found_lesions)
    true = _values(patients, lambda item: item.overlap.true_lesions)
    right = _values(patients, lambda item: item.overlap.right_lesions)
    predicted = _values(patients, lambda item: item.overlap.predicted_lesions)
    return (
        ratio_estimate(found, true, draw, "true lesion"),
        ratio_estimate(right, predicted, draw, "predicted lesion"),
        _f1(np.stack([found, true, right, predicted], axis=1), draw),
    )


def _f1(counts: FloatArray, draw: Bootstrap) -> Estimate:
    value = float(_f1_of_means(counts.mean(axis=0)[None])[0])
    interval = bootstrap_interval(counts, _f1_of_means, draw)
    if interval is None:
        return Estimate(value, total=len(counts), reason=NO_INTERVAL)
    return Estimate(value, *interval, total=len(counts))


def _f1_of_means(means: FloatArray) -> FloatArray:
    # Harmonic mean of found/true and right/predicted; 0 when nothing was found.
    found, true, right, predicted = means.T
    sensitivity = found / true
    precision = np.divide(
        right, predicted, out=np.zeros_like(right), where=predicted > 0
    )
    both = sensitivity + precision
    product = 2 * sensitivity * precision
    return np.where(both > 0, product / np.where(both > 0, both, 1.0), 0.0)


def _values(
    patients: Sequence[PatientOverlap], get: Callable[[PatientOverlap], float]
) -> FloatArray:
    return np.array([get(patient) for patient in patients], dtype=float)


def _dice(patient: PatientOverlap) -> float:
    return patient.overlap.dice or 0.0


def _surface_dice(patient: PatientOverlap) -> float:
    return patient.overlap.surface_dice or 0.0


def _volume_error_ml(patient: PatientOverlap) -> float:
    return (patient.overlap.predicted_mm3 - patient.overlap.truth_mm3) / 1000


def _absolute_volume_error(patient: PatientOverlap) -> float:
    error = abs(patient.overlap.predicted_mm3 - patient.overlap.truth_mm3)
    return error / patient.overlap.truth_mm3


def _standard_deviation(values: FloatArray) -> Estimate:
    if len(values) < 2:
        return undefined("no standard deviation of one patient", len(values))
    return Estimate(float(values.std(ddof=1)), total=len(values))


def _or_reason(value: float | None, reason: str) -> Estimate:
    return undefined(reason) if value is None else Estimate(value)


def _worst_first(patient: PatientOverlap) -> tuple[float, str]:
    dice = patient.overlap.dice
    return (2.0 if dice is None else dice, patient.case)
