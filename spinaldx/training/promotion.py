"""Old and new bundle on the same patients, and whether the new one is better."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spinaldx.cascade import run_case
from spinaldx.models import Bundle, EngineOptions, open_networks
from spinaldx.records import CaseResult, Disease, Volume
from spinaldx.training.cases import Patient, read_series
from spinaldx.training.options import Stage
from spinaldx.training.segmentation import patient_score

_REPLICATES = 2000

# Below so many patients drawing them again gives too narrow an interval: of two equal
# bundles one would be called better by four patients in one run of nine.
_FEW_PATIENTS = 20

DICE, CLASSES = "dice", "classes"

# What each stage changes, and is judged by.
JUDGED: Mapping[Stage, tuple[str, ...]] = {
    Stage.SEGMENTATION: (DICE,),
    Stage.CLASSIFICATION: (CLASSES,),
    Stage.ALL: (DICE, CLASSES),
}

# Score of answering a quarter for each of the four diseases.
_NO_KNOWLEDGE = 1.0 - 0.75 / 2.0


@dataclass(frozen=True, slots=True)
class Marks:
    """What one bundle scores on one patient.

    Attributes:
        dice: Dice of the lesions; for a healthy patient how little is marked.
        classes: Quadratic score of the joint probabilities, 1 minus half the Brier
            score; None for a healthy patient. A missed lesion counts as a guess.
        is_right: Whether the most probable disease is the true one; None for a
            healthy patient.
    """

    dice: float
    classes: float | None
    is_right: bool | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval over patients.

    Attributes:
        mean: Mean.
        low: Lower end.
        high: Upper end.
        patients: How many.
    """

    mean: float
    low: float
    high: float
    patients: int

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval is."""
        return self.low > 0.0

    @property
    def is_below_zero(self) -> bool:
        """Whether the whole interval is."""
        return self.high < 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a new bundle is better.

    Attributes:
        is_promoted: The answer.
        reason: One sentence.
        figures: Interval of each figure of the new bundle.
        against_old: Interval of new minus old, by figure; empty without an old one.
        against_nothing: Interval of new minus knowing nothing, by figure.
    """

    is_promoted: bool
    reason: str
    figures: Mapping[str, Interval]
    against_old: Mapping[str, Interval]
    against_nothing: Mapping[str, Interval]


def mark_patients(
    bundle: Bundle,
    patients: Sequence[Patient],
    *,
    threads: int = 0,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Marks]:
    """Run patients through the whole cascade, as `predict` does, and score them.

    Args:
        bundle: Weights, on the CPU in fp32.
        patients: With their truth.
        threads: Of the engine; 0 leaves it to the engine.
        advance: Told how many of how many patients are done.

    Returns:
        Marks by patient.
    """
    options = EngineOptions(threads=threads)
    networks = open_networks(bundle, "cpu", "fp32", options)
    marks = {}
    try:
        for done, patient in enumerate(patients, start=1):
            series = [read_series(row) for row in patient.rows]
            volumes = _distinct([one.volume for one in series])
            result = run_case(patient.name, volumes, networks, bundle)
            truths = [one.lesion != 0 for one in series]
            marks[patient.name] = _mark(patient, result, truths)
            if advance is not None:
                advance(done, len(patients))
    finally:
        networks.close()
    return marks


def _distinct(volumes: Sequence[Volume]) -> list[Volume]:
    """Give every series of a patient a name of its own."""
    return [
        dataclasses.replace(volume, name=f"{place}-{volume.name}")
        for place, volume in enumerate(volumes)
    ]


def _mark(
    patient: Patient, result: CaseResult, truths: Sequence[NDArray[np.bool_]]
) -> Marks:
    counts = np.zeros(3)
    for item, true in zip(result.series, truths, strict=True):
        marked = item.mask.labels != 0
        voxels = marked.sum(), true.sum(), (marked & true).sum()
        counts += np.array(voxels) * item.volume.voxel_mm3
    dice = patient_score(*counts)
    if patient.is_healthy:
        return Marks(dice, None, None)
    joint = result.prediction.probabilities
    if not joint:
        return Marks(dice, _NO_KNOWLEDGE, is_right=False)
    answer = np.array([joint[disease] for disease in Disease])
    truth = np.array([disease == patient.diagnosis for disease in Disease])
    brier = float(np.sum((answer - truth) ** 2))
    return Marks(dice, 1.0 - brier / 2.0, is_right=bool(truth[answer.argmax()]))


def judge(
    new: Mapping[str, Marks], old: Mapping[str, Marks] | None, stage: Stage
) -> Verdict:
    """Decide whether a new bundle is better than the old one.

    It must know more than nothing (no lesion anywhere; a quarter for each disease)
    about diseased patients in every figure its training changed, be better than the
    old bundle in at least one of them, and worse in none; each by the 95 % interval
    of the paired difference over the same patients.

    Args:
        new: Marks by patient.
        old: Of the bundle that training started from; None from scratch.
        stage: What was trained.
    """
    names = [name for name in JUDGED[stage] if _values(new, name).size]
    # Of a healthy patient, who knows nothing knows all: they are left out here.
    diseased = {name: marks for name, marks in new.items() if marks.classes is not None}
    nothing = dict.fromkeys(diseased, Marks(0.0, _NO_KNOWLEDGE, is_right=False))
    against_nothing = {
        name: _difference(diseased, nothing, name) for name in names if diseased
    }
    against_old = {name: _difference(new, old, name) for name in names if old}
    is_promoted, reason = _decide(against_nothing, against_old, has_old=bool(old))
    figures = {name: paired_interval(_values(new, name), lowest=0.0) for name in names}
    return Verdict(is_promoted, reason, figures, against_old, against_nothing)


def _decide(
    against_nothing: Mapping[str, Interval],
    against_old: Mapping[str, Interval],
    *,
    has_old: bool,
) -> tuple[bool, str]:
    if not against_nothing:
        return False, "There are no validation patients to judge it by."
    for name, interval in against_nothing.items():
        if not interval.is_above_zero:
            by = _by(interval.patients)
            return False, f"It is not better than knowing nothing in {name}, {by}."
    if not has_old:
        return True, "It is better than knowing nothing; there is no older bundle."
    for name, interval in against_old.items():
        if interval.is_below_zero:
            return False, f"It is worse than the old bundle in {name}."
    if not any(interval.is_above_zero for interval in against_old.values()):
        most = max(interval.patients for interval in against_old.values())
        return False, f"It is not better than the old bundle, {_by(most)}."
    return True, "It is better than the old bundle."


def _by(patients: int) -> str:
    return f"by {patients} validation patient{'' if patients == 1 else 's'}"


def _values(marks: Mapping[str, Marks], name: str) -> NDArray[np.float64]:
    values = [getattr(one, name) for one in marks.values()]
    return np.array([value for value in values if value is not None], dtype=np.float64)


def _difference(
    new: Mapping[str, Marks], old: Mapping[str, Marks], name: str
) -> Interval:
    paired = {patient: old[patient] for patient in new}
    return paired_interval(_values(new, name) - _values(paired, name))


def paired_interval(
    differences: NDArray[np.float64], seed: int = 0, *, lowest: float = -1.0
) -> Interval:
    """Return the mean of numbers with its 95 % interval.

    Args:
        differences: One a patient, (N,), at least one, from `lowest` to 1.
        seed: Of the bootstrap.
        lowest: No interval reaches below it, or above 1.

    Returns:
        The percentile interval of the bootstrap; of few patients Student's, and of one
        patient all that is possible.
    """
    count = len(differences)
    mean = float(differences.mean())
    if count == 1:
        return Interval(mean, lowest, 1.0, count)
    if count < _FEW_PATIENTS:
        error = float(differences.std(ddof=1)) / math.sqrt(count)
        half = float(stats.t.ppf(0.975, count - 1)) * error
        return Interval(mean, max(mean - half, lowest), min(mean + half, 1.0), count)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(count, size=(_REPLICATES, count))
    low, high = np.percentile(differences[drawn].mean(axis=1), (2.5, 97.5))
    return Interval(mean, float(low), float(high), count)
