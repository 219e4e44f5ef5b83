"""Decision curve: is acting on the score better than treating all or none?"""

import numpy as np

from spinaldx.evaluation.calibration import scored_patients
from spinaldx.evaluation.classification import TASK_TITLES
from spinaldx.evaluation.estimates import BoolArray, Estimate, FloatArray
from spinaldx.evaluation.scored import TASKS, Scored
from spinaldx.evaluation.tables import Cell, Column, Kind, Table

THRESHOLDS = np.linspace(0.05, 0.95, 19)


def net_benefit(
    positive: BoolArray, score: FloatArray, thresholds: FloatArray
) -> FloatArray:
    """Net benefit of acting at or above each threshold (Vickers and Elkin 2006).

    Args:
        positive: True class, (N,), at least one patient.
        score: 0..1, (N,).
        thresholds: Between 0 and 1, exclusive, (T,).

    Returns:
        True positives minus false positives weighted by the odds of the
        threshold, a patient, (T,).
    """
    acted = score[None] >= thresholds[:, None]
    true = (acted & positive).mean(axis=1)
    false = (acted & ~positive).mean(axis=1)
    benefit: FloatArray = true - false * thresholds / (1 - thresholds)
    return benefit


def decision_table(scored: Scored) -> Table:
    """Net benefit of the three models, of acting on all, and of acting on none."""
    rows: list[tuple[Cell, ...]] = []
    for task in TASKS:
        positive, score, _ = scored_patients(scored, task)
        if len(score) == 0:
            continue
        model = net_benefit(positive, score, THRESHOLDS)
        everybody = net_benefit(positive, np.ones_like(score), THRESHOLDS)
        rows.extend(
            (
                TASK_TITLES[task],
                Estimate(float(threshold)),
                Estimate(float(of_model)),
                Estimate(float(of_all)),
                Estimate(0.0),
            )
            for threshold, of_model, of_all in zip(
                THRESHOLDS, model, everybody, strict=True
            )
        )
    number = Kind.NUMBER
    columns = (
        Column("model", "Model"),
        Column("threshold", "Threshold", number, digits=2),
        Column("net_benefit", "Model", number),
        Column("net_benefit_all", "All positive", number),
        Column("net_benefit_none", "None positive", number),
    )
    notes = (
        "Net benefit a patient, patients with a score, models 2 and 3 on their true "
        "subset. It assumes scores that are calibrated and the shares of classes of "
        "this cohort, which a clinic does not have.",
    )
    return Table("decision_curve", "Decision curves", columns, tuple(rows), notes)
