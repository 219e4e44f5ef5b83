"""Do the scores mean what they say: reliability curve, ECE and Brier score."""

from dataclasses import dataclass

import numpy as np

from spinaldx.evaluation.classification import TASK_TITLES
from spinaldx.evaluation.estimates import (
    BoolArray,
    Bootstrap,
    Estimate,
    FloatArray,
    mean_estimate,
    undefined,
)
from spinaldx.evaluation.proportions import proportion
from spinaldx.evaluation.scored import TASKS, Scored, ask
from spinaldx.evaluation.tables import Cell, Column, Kind, Table
from spinaldx.records import Task

_MOST_BINS = 10
_SMALLEST_BIN = 5


@dataclass(frozen=True, slots=True)
class Bin:
    """Patients with similar scores.

    Attributes:
        score: Their mean score.
        observed: Share of positives with Wilson interval.
    """

    score: float
    observed: Estimate


def reliability(positive: BoolArray, score: FloatArray) -> tuple[Bin, ...]:
    """Group patients by score into bins of about equal size.

    Args:
        positive: True class, (N,).
        score: Finite, 0..1, (N,).

    Returns:
        At most ten bins of at least five patients, one bin of all when there are
        fewer than five; equal scores stay in one bin, which then may be larger;
        empty when there is no patient.
    """
    places = np.searchsorted(_edges(score), score, side="right")
    bins = []
    for place in np.unique(places):
        inside = places == place
        observed = proportion(int(positive[inside].sum()), int(inside.sum()), "patient")
        bins.append(Bin(float(score[inside].mean()), observed))
    return tuple(bins)


def _edges(score: FloatArray) -> list[float]:
    """Return the least score of each bin but the first."""
    ordered = np.sort(score)
    count = max(1, min(_MOST_BINS, len(ordered) // _SMALLEST_BIN))
    edges: list[float] = []
    below = 0
    for part in np.array_split(ordered, count)[1:]:
        # Equal scores must share a bin, or the bins depend on the order of the rows;
        # where that leaves a bin too small it is joined with its neighbour.
        under = int(np.searchsorted(ordered, part[0]))
        if min(under - below, len(ordered) - under) >= _SMALLEST_BIN:
            edges.append(float(part[0]))
            below = under
    return edges


def expected_calibration_error(bins: tuple[Bin, ...]) -> Estimate:
    """Mean gap between score and observed share, weighted by patients."""
    total = sum(item.observed.total or 0 for item in bins)
    if total == 0:
        return undefined("no patient has a score", total=0)
    gaps = (
        abs(item.score - (item.observed.value or 0.0)) * (item.observed.total or 0)
        for item in bins
    )
    return Estimate(sum(gaps) / total, total=total)


def calibration_table(scored: Scored, draw: Bootstrap) -> Table:
    """Brier score and ECE of the three models and of the joint probabilities."""
    rows: list[tuple[Cell, ...]] = []
    for task in TASKS:
        positive, score, without = scored_patients(scored, task)
        squared = (score - positive) ** 2
        rows.append(
            (
                TASK_TITLES[task],
                len(score),
                without,
                mean_estimate(squared, draw, "patient with a score"),
                expected_calibration_error(reliability(positive, score)),
            )
        )
    rows.append(_joint_row(scored, draw))
    columns = (
        Column("model", "Model"),
        Column("patients", "Patients", Kind.COUNT),
        Column("without_score", "Without score", Kind.COUNT),
        Column("brier", "Brier score", Kind.NUMBER),
        Column("ece", "ECE", Kind.NUMBER),
    )
    notes = (
        "Patients without a score (failed, no_lesion) cannot be part of this. Models 2 "
        "and 3 on their true subset. Brier score: 0 is perfect, 0.25 is a coin for two "
        "classes; of the four diseases it is the sum over the classes. ECE: at most "
        "ten bins of about equal size, five patients or more in each where there are "
        "five; with few patients it is large by chance alone.",
    )
    return Table("calibration", "Calibration", columns, tuple(rows), notes)


def _joint_row(scored: Scored, draw: Bootstrap) -> tuple[Cell, ...]:
    labelled = scored.take(scored.is_labelled)
    known = ~np.isnan(labelled.joint).any(axis=1)
    joint, truth = labelled.joint[known], labelled.truth[known]
    target = np.eye(joint.shape[1])[truth]
    squared = ((joint - target) ** 2).sum(axis=1)
    top = joint.argmax(axis=1)
    bins = reliability(top == truth, joint.max(axis=1, initial=0.0))
    return (
        "Four diseases (joint probabilities)",
        len(joint),
        int((~known).sum()),
        mean_estimate(squared, draw, "patient with a score"),
        expected_calibration_error(bins),
    )


def reliability_table(scored: Scored) -> Table:
    """The points of the reliability curves."""
    rows: list[tuple[Cell, ...]] = []
    for task in TASKS:
        positive, score, _ = scored_patients(scored, task)
        rows.extend(
            (TASK_TITLES[task], Estimate(item.score), item.observed)
            for item in reliability(positive, score)
        )
    columns = (
        Column("model", "Model"),
        Column("score", "Mean score", Kind.NUMBER),
        Column("observed", "Observed share", Kind.PERCENT),
    )
    return Table("reliability", "Reliability curves", columns, tuple(rows))


def scored_patients(scored: Scored, task: Task) -> tuple[BoolArray, FloatArray, int]:
    """True class and score of a task's patients with a score, and how many have none."""
    question = ask(scored, task)
    known = ~np.isnan(question.score)
    return question.positive[known], question.score[known], int((~known).sum())
