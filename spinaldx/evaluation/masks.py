"""Pair each patient's true masks with those of the results, and compare them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinaldx.errors import GeometryError, OutputError, UnreadableFileError
from spinaldx.evaluation.estimates import BoolArray
from spinaldx.evaluation.overlap import (
    TOUCHING,
    Overlap,
    OverlapOptions,
    compare_masks,
)
from spinaldx.evaluation.patients import (
    HEALTHY_NAME,
    Cohort,
    Patient,
    StudyRow,
    some,
)
from spinaldx.evaluation.segmentation import PatientOverlap
from spinaldx.files import sha256_of
from spinaldx.records import Affine
from spinaldx.study.masks import in_order_of, read_mask_image

_LESION_MASK = "lesion_mask.nii.gz"

# Grids whose corners lie nearer than this are one grid (files round affines).
_SAME_GRID_MM = 0.1

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TrueLesions:
    """Size of one patient's true lesions.

    Attributes:
        lesion_count: Connected components.
        volume_ml: Volume of all.
        length_mm: Sum of their extents from head to foot.
    """

    lesion_count: int
    volume_ml: float
    length_mm: float


@dataclass(frozen=True, slots=True)
class MaskScores:
    """Everything learnt from the masks of a cohort.

    Attributes:
        overlaps: One a patient whose masks could be compared.
        lesions: True lesions by case.
        missing: What could not be scored, in sentences.
    """

    overlaps: tuple[PatientOverlap, ...]
    lesions: Mapping[str, TrueLesions]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LabelImage:
    """A mask in the order right, front, head.

    Attributes:
        voxels: (I, J, K).
        affine_ras: Voxel indices to patient mm, (4, 4).
        names: Names under which its series may be known.
    """

    voxels: BoolArray
    affine_ras: Affine
    names: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edges along I, J, K."""
        i, j, k = np.linalg.norm(self.affine_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    def is_on_grid_of(self, other: "LabelImage") -> bool:
        """Whether both cover the same voxels, whatever their order in the files."""
        if self.voxels.shape != other.voxels.shape:
            return False
        ends = itertools.product(*((0, edge - 1) for edge in self.voxels.shape))
        corners = np.array([(*corner, 1) for corner in ends]).T
        moved = (self.affine_ras - other.affine_ras) @ corners
        return bool(np.abs(moved).max() < _SAME_GRID_MM)


def score_masks(
    cohort: Cohort, options: OverlapOptions, progress: Progress | None = None
) -> MaskScores:
    """Compare the masks of every patient that the truth table lets be compared.

    A healthy patient without a mask file has an empty true mask. A failed study,
    and a true image that the program did not use, count as an empty prediction. A
    patient whose masks cannot be read, lie on different grids, or were changed since
    the run wrote them, is left out and listed.

    Args:
        cohort: The cohort.
        options: Tolerance and lesion rule.
        progress: Called with the number of patients done and of all.
    """
    pairs = zip(cohort.patients, cohort.results, strict=True)
    known = [pair for pair in pairs if _has_truth(pair[0])]
    if not any(image.mask for patient, _ in known for image in patient.images):
        return MaskScores((), {}, ("No true masks: segmentation was not scored.",))
    has_masks = any(_mask_files(cohort, row) for row in cohort.results)
    overlaps: list[PatientOverlap] = []
    lesions: dict[str, TrueLesions] = {}
    missing: list[str] = []
    notes: dict[str, list[str]] = {}
    if not has_masks:
        missing.append("No masks in the results: segmentation was not scored.")
    for done, (patient, row) in enumerate(known, start=1):
        try:
            truths = _read_truths(patient)
            lesions[patient.case] = _measure(truths)
            if has_masks:
                files = _mask_files(cohort, row)
                _check_unchanged(files, row)
                overlap, found = _compare(truths, files, options)
                overlaps.append(_patient_overlap(patient, row, overlap))
                for note in found:
                    notes.setdefault(note, []).append(patient.case)
        except (UnreadableFileError, GeometryError, OutputError) as error:
            text = f"masks not scored: {error.message}"
            notes.setdefault(text, []).append(patient.case)
        if progress:
            progress(done, len(known))
    missing += [f"{some(cases, ', ')}: {note}" for note, cases in notes.items()]
    return MaskScores(tuple(overlaps), lesions, tuple(missing))


def read_labels(path: Path, names: tuple[str, ...] = ()) -> LabelImage:
    """Read a mask and bring its axes to right, front, head, without resampling.

    Raises:
        UnreadableFileError: If the file is missing or damaged, or holds voxels that
            are not finite numbers.
        GeometryError: If it does not say where it lies.
    """
    image = read_mask_image(path)
    voxels, affine_ras = in_order_of(
        image.voxels != 0, image.header.affine_ras, np.eye(4)
    )
    return LabelImage(voxels, affine_ras, names)


def _has_truth(patient: Patient) -> bool:
    has_mask = any(image.mask for image in patient.images)
    return has_mask or patient.diagnosis == HEALTHY_NAME


def _mask_files(cohort: Cohort, row: StudyRow | None) -> Mapping[str, Path]:
    """Predicted masks of a study by series; none when it failed."""
    if row is None or row.is_failed:
        return {}
    found = sorted((cohort.folder / row.study).glob(f"*/{_LESION_MASK}"))
    return {path.parent.name: path for path in found}


def _check_unchanged(files: Mapping[str, Path], row: StudyRow | None) -> None:
    """Refuse masks that are not the run's: somebody's edits are no automatic answer.

    Raises:
        OutputError: If one was changed after the run, as far as its record is there.
        UnreadableFileError: If one cannot be read.
    """
    if row is None or not row.mask_sha256:
        return
    for series, path in files.items():
        try:
            found = sha256_of(path)
        except OSError as error:
            message = f"{series}: {path.name} cannot be read."
            raise UnreadableFileError(message) from error
        if found != row.mask_sha256.get(series):
            message = f"{series}: {path.name} was changed after the run."
            raise OutputError(message, hint="Run predict with --masks to use it.")


def _read_truths(patient: Patient) -> list[LabelImage]:
    images = [image for image in patient.images if image.mask]
    return [read_labels(item.mask, item.series) for item in images if item.mask]


def _compare(
    truths: Sequence[LabelImage], files: Mapping[str, Path], options: OverlapOptions
) -> tuple[Overlap, list[str]]:
    predicted = [read_labels(path, (name,)) for name, path in files.items()]
    total = Overlap()
    notes: list[str] = []
    left = list(predicted)
    for truth in truths:
        match = _match(truth, left, is_only=len(truths) == len(predicted) == 1)
        if match is not None:
            left = [item for item in left if item is not match]
        elif predicted:
            notes.append("a true mask belongs to no series used, counted as empty.")
        labels = np.zeros_like(truth.voxels) if match is None else match.voxels
        total += compare_masks(truth.voxels, labels, truth.spacing_mm, options)
    for item in left:
        if truths:
            notes.append(f"series {item.names[0]} has no true mask, left out.")
            continue
        empty = np.zeros_like(item.voxels)
        total += compare_masks(empty, item.voxels, item.spacing_mm, options)
    return total, notes


def _match(
    truth: LabelImage, predicted: Sequence[LabelImage], *, is_only: bool
) -> LabelImage | None:
    """Find the predicted mask of a true one: by name, else by grid.

    Raises:
        GeometryError: If the names agree, or there is one of each, but not the grids.
    """
    named = [item for item in predicted if set(item.names) & set(truth.names)]
    candidates = named or (list(predicted) if is_only else [])
    if candidates:
        if candidates[0].is_on_grid_of(truth):
            return candidates[0]
        message = "the true mask and the prediction lie on different grids."
        raise GeometryError(message)
    return next((item for item in predicted if item.is_on_grid_of(truth)), None)


def _patient_overlap(
    patient: Patient, row: StudyRow | None, overlap: Overlap
) -> PatientOverlap:
    return PatientOverlap(
        patient.case,
        patient.diagnosis,
        overlap,
        is_corrected=row is not None and row.is_corrected,
        is_failed=row is None or row.is_failed,
    )


def _measure(truths: Sequence[LabelImage]) -> TrueLesions:
    count, volume_mm3, length_mm = 0, 0.0, 0.0
    for truth in truths:
        volume_mm3 += float(truth.voxels.sum()) * float(np.prod(truth.spacing_mm))
        labels, found = ndimage.label(truth.voxels, structure=TOUCHING)
        count += found
        for place in range(1, found + 1):
            heights = np.argwhere(labels == place) @ truth.affine_ras[2, :3]
            length_mm += float(np.ptp(heights)) + abs(float(truth.affine_ras[2, 2]))
    return TrueLesions(count, volume_mm3 / 1000, length_mm)
