"""Two results folders on the same patients, compared in pairs."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from spinaldx.evaluation.classification import MODE_TITLES, TASK_TITLES, task_modes
from spinaldx.evaluation.delong import auc, compare_aucs
from spinaldx.evaluation.estimates import (
    Bootstrap,
    Estimate,
    FloatArray,
    mean_estimate,
    undefined,
)
from spinaldx.evaluation.proportions import holm, mcnemar_p, proportion
from spinaldx.evaluation.scored import TASKS, Mode, Scored, TwoClass, ask
from spinaldx.evaluation.segmentation import PatientOverlap
from spinaldx.evaluation.tables import Cell, Column, Kind, Table, p_cell

_NO_PATIENT = "no patient of this task"


def classification_comparison(first: Scored, others: Mapping[str, Scored]) -> Table:
    """Compare the first folder with each other one: DeLong and exact McNemar.

    Args:
        first: Answers of the first folder.
        others: Answers of the others by name, the same patients in the same order.
    """
    rows = [row for name, other in others.items() for row in _rows(name, first, other)]
    columns = (
        Column("other", "First folder against"),
        Column("model", "Model"),
        Column("mode", "Scored on"),
        Column("patients", "Patients", Kind.COUNT),
        Column("auc_first", "AUC, first", Kind.NUMBER),
        Column("auc_other", "AUC, other", Kind.NUMBER),
        Column("auc_difference", "First minus other", Kind.NUMBER),
        Column("p_auc", "DeLong p", Kind.P_VALUE),
        Column("p_auc_holm", "p, Holm", Kind.P_VALUE),
        Column("accuracy_first", "Accuracy, first", Kind.PERCENT),
        Column("accuracy_other", "Accuracy, other", Kind.PERCENT),
        Column("p_accuracy", "McNemar p", Kind.P_VALUE),
        Column("p_accuracy_holm", "p, Holm", Kind.P_VALUE),
    )
    notes = (
        "Primary rule: every labelled patient counts. Holm's correction over the three "
        "tasks, for each kind of test and way of scoring.",
    )
    title = "Results folders compared: classification"
    return Table("comparison", title, columns, tuple(rows), notes)


def _rows(name: str, first: Scored, other: Scored) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for mode in Mode:
        pairs = [(ask(first, task, mode), ask(other, task, mode)) for task in TASKS]
        tests = [
            compare_aucs(a.positive, a.worst_case_score(), b.worst_case_score())
            for a, b in pairs
        ]
        mcnemar = [_mcnemar(a, b) for a, b in pairs]
        corrected = holm([test.p for test in tests]), holm(mcnemar)
        for place, task in enumerate(TASKS):
            if mode not in task_modes(task):
                continue
            a, b = pairs[place]
            test = tests[place]
            rows.append(
                (
                    name,
                    TASK_TITLES[task],
                    MODE_TITLES[mode],
                    len(a.positive),
                    auc(a.positive, a.worst_case_score()),
                    auc(b.positive, b.worst_case_score()),
                    test.difference,
                    p_cell(test.p, test.difference.reason),
                    p_cell(corrected[0][place], test.difference.reason),
                    proportion(int(a.correct.sum()), len(a.correct), "patient"),
                    proportion(int(b.correct.sum()), len(b.correct), "patient"),
                    p_cell(mcnemar[place], _NO_PATIENT),
                    p_cell(corrected[1][place], _NO_PATIENT),
                )
            )
    return rows


def _mcnemar(a: TwoClass, b: TwoClass) -> float | None:
    if len(a.correct) == 0:
        return None
    only_a = int((a.correct & ~b.correct).sum())
    return mcnemar_p(only_a, int((b.correct & ~a.correct).sum()))


def dice_comparison(
    first: Sequence[PatientOverlap],
    others: Mapping[str, Sequence[PatientOverlap]],
    draw: Bootstrap,
) -> Table | None:
    """Difference of Dice on patients with a lesion, scored in both folders.

    Returns:
        The table; None when no patient has masks in both.
    """
    rows: list[tuple[Cell, ...]] = []
    mine = _dice(first)
    for name, patients in others.items():
        theirs = _dice(patients)
        shared = [case for case in mine if case in theirs]
        pairs = np.array([(mine[case], theirs[case]) for case in shared], dtype=float)
        if len(pairs) == 0:
            continue
        difference = pairs[:, 0] - pairs[:, 1]
        rows.append(
            (
                name,
                len(pairs),
                Estimate(float(pairs[:, 0].mean())),
                Estimate(float(pairs[:, 1].mean())),
                mean_estimate(difference, draw, "shared patient"),
                _wilcoxon(difference),
            )
        )
    columns = (
        Column("other", "First folder against"),
        Column("patients", "Patients", Kind.COUNT),
        Column("dice_first", "Dice, first", Kind.NUMBER),
        Column("dice_other", "Dice, other", Kind.NUMBER),
        Column("difference", "First minus other (bootstrap)", Kind.NUMBER),
        Column("p", "Wilcoxon p", Kind.P_VALUE),
    )
    title = "Results folders compared: Dice"
    table = Table("comparison_segmentation", title, columns, tuple(rows))
    return table if rows else None


def _dice(patients: Sequence[PatientOverlap]) -> Mapping[str, float]:
    with_lesion = [patient for patient in patients if patient.has_lesion]
    return {patient.case: patient.overlap.dice or 0.0 for patient in with_lesion}


def _wilcoxon(difference: FloatArray) -> Estimate:
    if not difference.any():
        return undefined("no test: Dice is the same in every patient")
    return Estimate(float(stats.wilcoxon(difference).pvalue))
