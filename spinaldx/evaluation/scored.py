"""Truth and answers of a cohort as arrays, one entry a patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from spinaldx.evaluation.estimates import BoolArray, FloatArray
from spinaldx.records import Disease, Task

DISEASES = tuple(Disease)
TASKS = tuple(Task)
HEALTHY = len(DISEASES)
UNLABELLED = -1

# What the program may answer, in the order of the matrix' columns.
ANSWERS = (*(disease.value for disease in DISEASES), "indeterminate", "no_lesion")
FAILED = len(ANSWERS)
ANSWER_NAMES = (*ANSWERS, "failed")
NO_LESION = ANSWERS.index("no_lesion")

# The diseases that belong to each task, and those that are its positive class.
_MEMBERS = {
    Task.TUMOUR_VS_DEMYELINATION: (0, 1, 2, 3),
    Task.ASTROCYTOMA_VS_EPENDYMOMA: (0, 1),
    Task.MS_VS_NMOSD: (2, 3),
}
_POSITIVE = {
    Task.TUMOUR_VS_DEMYELINATION: (2, 3),
    Task.ASTROCYTOMA_VS_EPENDYMOMA: (1,),
    Task.MS_VS_NMOSD: (3,),
}
# The disease whose joint probability is the score of a task end to end.
_POSITIVE_DISEASE = {Task.ASTROCYTOMA_VS_EPENDYMOMA: 1, Task.MS_VS_NMOSD: 3}


class Mode(StrEnum):
    """On whose answer a task is scored.

    STAGE: the task's own network on the patients who truly belong to the task,
    whatever the stages before said (the paper's Table 2).
    END_TO_END: the same patients, by the final answer of the whole cascade.
    """

    STAGE = "stage"
    END_TO_END = "end_to_end"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Truth and answers of N patients.

    Attributes:
        cases: Names, N.
        truth: 0..3 disease, 4 healthy, -1 without a label, (N,) int8.
        answer: Place in ANSWER_NAMES, (N,) int8.
        stage_scores: Score of the positive class of each task, (N, 3); NaN if none.
        joint: Joint probabilities of the four diseases, (N, 4); NaN if none.
        cut_offs: Cut-off of each task, (N, 3).
    """

    cases: tuple[str, ...]
    truth: NDArray[np.int8]
    answer: NDArray[np.int8]
    stage_scores: FloatArray
    joint: FloatArray
    cut_offs: FloatArray

    @property
    def is_labelled(self) -> BoolArray:
        """Whether the truth is one of the four diseases."""
        return (self.truth >= 0) & (self.truth < HEALTHY)

    @property
    def is_answered(self) -> BoolArray:
        """Whether the answer is one of the four diseases."""
        return self.answer < len(DISEASES)

    def take(self, chosen: BoolArray) -> "Scored":
        """Return the chosen patients, in the same order."""
        return Scored(
            tuple(
                name for name, is_in in zip(self.cases, chosen, strict=True) if is_in
            ),
            self.truth[chosen],
            self.answer[chosen],
            self.stage_scores[chosen],
            self.joint[chosen],
            self.cut_offs[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class TwoClass:
    """A two-class question put to N patients.

    Attributes:
        positive: True class, (N,).
        answered: Whether one of the four diseases was the answer, (N,).
        correct: Whether the answer is right; never without an answer, (N,).
        score: Higher means positive, NaN where there is none, (N,).
    """

    positive: BoolArray
    answered: BoolArray
    correct: BoolArray
    score: FloatArray

    def only_answered(self) -> "TwoClass":
        """Leave out the patients without an answer."""
        kept = self.answered
        return TwoClass(
            self.positive[kept], kept[kept], self.correct[kept], self.score[kept]
        )

    def worst_case_score(self) -> FloatArray:
        """Scores in which a patient without a score is ranked wholly wrong."""
        worst = np.where(self.positive, -np.inf, np.inf)
        return np.where(np.isnan(self.score), worst, self.score)


def members(scored: Scored, task: Task) -> BoolArray:
    """Whether each patient's true disease belongs to a task."""
    return np.isin(scored.truth, _MEMBERS[task])


def ask(scored: Scored, task: Task, mode: Mode = Mode.STAGE) -> TwoClass:
    """Put one task to the patients who truly belong to it.

    The call of a stage is read from the final answer where that answer lies within
    the task, because it was made with the weights' own cut-off; for the others,
    score and cut-off decide.
    """
    chosen = scored.take(members(scored, task))
    positive = np.isin(chosen.truth, _POSITIVE[task])
    place = TASKS.index(task)
    if mode is Mode.END_TO_END and task in _POSITIVE_DISEASE:
        correct = chosen.answer == chosen.truth
        score = chosen.joint[:, _POSITIVE_DISEASE[task]]
        return TwoClass(positive, chosen.is_answered, correct, score)
    score = chosen.stage_scores[:, place]
    calls = np.where(
        np.isin(chosen.answer, _MEMBERS[task]),
        np.isin(chosen.answer, _POSITIVE[task]),
        score >= chosen.cut_offs[:, place],
    )
    correct = chosen.is_answered & (calls == positive)
    return TwoClass(positive, chosen.is_answered, correct, score)


def ask_disease(scored: Scored, disease: int) -> TwoClass:
    """One disease against the three others, by the final answer."""
    chosen = scored.take(scored.is_labelled)
    positive = chosen.truth == disease
    calls = chosen.answer == disease
    correct = chosen.is_answered & (calls == positive)
    return TwoClass(positive, chosen.is_answered, correct, chosen.joint[:, disease])


def answers_as_scored(
    cases: Sequence[str], truth: NDArray[np.int8], answer: NDArray[np.int8]
) -> Scored:
    """Answers without scores, such as a reader's, in the same shape."""
    patients = len(cases)
    return Scored(
        tuple(cases),
        truth,
        answer,
        np.full((patients, len(TASKS)), np.nan),
        np.full((patients, len(DISEASES)), np.nan),
        np.full((patients, len(TASKS)), 0.5),
    )
