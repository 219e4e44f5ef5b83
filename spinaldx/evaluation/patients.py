"""What is known about each patient: the truth table joined with the results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spinaldx.evaluation.estimates import BoolArray, FloatArray
from spinaldx.evaluation.scored import (
    ANSWER_NAMES,
    DISEASES,
    FAILED,
    HEALTHY,
    TASKS,
    UNLABELLED,
    Scored,
)
from spinaldx.records import Disease, Task

HEALTHY_NAME = "healthy"
ADULT_FROM_YEARS = 18

# As many names are listed in one sentence.
_SHOWN = 5

_TRUTH_CODES = {
    **{disease.value: place for place, disease in enumerate(DISEASES)},
    HEALTHY_NAME: HEALTHY,
    "": UNLABELLED,
}


@dataclass(frozen=True, slots=True)
class TrueImage:
    """One image of the truth table.

    Attributes:
        series: Names under which the results may hold it, most telling first.
        mask: The true mask; None when the table names none.
    """

    series: tuple[str, ...]
    mask: Path | None


@dataclass(frozen=True, slots=True)
class StudyRow:
    """What one results folder says about one study.

    Attributes:
        study: Name.
        is_failed: Whether the study failed.
        diagnosis: Final answer; empty when it failed.
        stages: Score of the positive class, by task; empty without a lesion.
        joint: Joint probability, by disease; empty without a lesion.
        cut_offs: By task; empty when nothing says so.
        lesion_count: Lesions in the program's masks; None when it failed.
        volume_ml: Their volume.
        length_mm: Their length along the cord.
        is_corrected: Whether a person corrected a mask.
        weights: Name and version of the weights.
        training_data: ``simulated``, ``patients``, or empty when not said.
        mask_sha256: Hash of each mask as the run wrote it, by series; empty when
            nothing says so.
    """

    study: str
    is_failed: bool
    diagnosis: str = ""
    stages: Mapping[Task, float] = field(default_factory=dict)
    joint: Mapping[Disease, float] = field(default_factory=dict)
    cut_offs: Mapping[Task, float] = field(default_factory=dict)
    lesion_count: int | None = None
    volume_ml: float | None = None
    length_mm: float | None = None
    is_corrected: bool = False
    weights: str = ""
    training_data: str = ""
    mask_sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient of the truth table.

    Attributes:
        case: Name.
        diagnosis: Disease, ``healthy``, or empty without a label.
        age: Years; None when not given.
        sex: ``female``, ``male``, or as given; empty when not.
        site: Where imaged; empty when not given.
        split: ``train``, ``val``, ``test`` or as given; empty when not.
        location: Region of the lesion; empty when not given.
        difficult: Whether marked as difficult; None when no column says so.
        raters: Column and answer of each reader in the order of the table; an answer
            is empty where none was given.
        images: Images of the patient.
    """

    case: str
    diagnosis: str = ""
    age: float | None = None
    sex: str = ""
    site: str = ""
    split: str = ""
    location: str = ""
    difficult: bool | None = None
    raters: tuple[tuple[str, str], ...] = ()
    images: tuple[TrueImage, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The truth table joined with one results folder.

    Attributes:
        name: Name of the results folder, for tables.
        folder: The results folder.
        patients: Every patient of the truth table.
        results: Result of each patient, in the same order; None when missing.
        missing: What could not be scored, in sentences.
    """

    name: str
    folder: Path
    patients: tuple[Patient, ...]
    results: tuple[StudyRow | None, ...]
    missing: tuple[str, ...] = ()

    @property
    def is_simulated(self) -> bool:
        """Whether any result was made with weights trained on simulation."""
        return any(row and row.training_data == "simulated" for row in self.results)

    def numbers(self, name: str) -> FloatArray:
        """One number of each patient's result, (N,); NaN where there is none."""
        values = [getattr(row, name, None) for row in self.results]
        return np.array([np.nan if v is None else float(v) for v in values])

    def where(self, name: str, value: object) -> BoolArray:
        """Whether each patient's attribute has a value, (N,)."""
        return np.array([getattr(item, name) == value for item in self.patients], bool)

    def values(self, name: str) -> tuple[str, ...]:
        """Values of a text attribute that occur, sorted, the empty one left out."""
        found = {getattr(patient, name) for patient in self.patients}
        return tuple(sorted(found - {""}))


def difficult_patients(patients: Sequence[Patient]) -> BoolArray | None:
    """Which patients are difficult: by the column, else where raters disagree.

    Returns:
        (N,) bool; None when there is neither a column nor two readers.
    """
    if any(patient.difficult is not None for patient in patients):
        return np.array([bool(patient.difficult) for patient in patients], bool)
    answers = [{answer for _, answer in item.raters if answer} for item in patients]
    if not any(len(item.raters) >= 2 for item in patients):
        return None
    return np.array([len(given) > 1 for given in answers], bool)


def to_scored(cohort: Cohort) -> Scored:
    """Turn a cohort into arrays; a patient without a result counts as failed."""
    count = len(cohort.patients)
    answer = np.full(count, FAILED, dtype=np.int8)
    stages = np.full((count, len(TASKS)), np.nan)
    joint = np.full((count, len(DISEASES)), np.nan)
    cut_offs = np.full((count, len(TASKS)), 0.5)
    for place, row in enumerate(cohort.results):
        if row is None or row.is_failed:
            continue
        answer[place] = ANSWER_NAMES.index(row.diagnosis)
        stages[place] = [row.stages.get(task, np.nan) for task in TASKS]
        joint[place] = [row.joint.get(disease, np.nan) for disease in DISEASES]
        cut_offs[place] = [row.cut_offs.get(task, 0.5) for task in TASKS]
    truth = [_TRUTH_CODES[patient.diagnosis] for patient in cohort.patients]
    names = tuple(patient.case for patient in cohort.patients)
    return Scored(
        names, np.array(truth, dtype=np.int8), answer, stages, joint, cut_offs
    )


def patient_blocks(cohort: Cohort) -> dict[str, BoolArray]:
    """Blocks of patients for the tables: all, each split, difficult ones."""
    blocks = {"all": np.ones(len(cohort.patients), dtype=bool)}
    splits = cohort.values("split")
    if len(splits) > 1:
        blocks |= {f"split {name}": cohort.where("split", name) for name in splits}
    difficult = difficult_patients(cohort.patients)
    if difficult is not None and difficult.any():
        blocks["difficult"] = difficult
    return blocks


def some(names: Sequence[str], separator: str) -> str:
    """Join the first few of many names, and say how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more
