"""Classification in the shape of the paper's Table 2, and the matrix it lacks."""

from collections.abc import Mapping

import numpy as np

from spinaldx.evaluation.delong import auc
from spinaldx.evaluation.estimates import BoolArray, Estimate, undefined
from spinaldx.evaluation.proportions import proportion
from spinaldx.evaluation.scored import (
    ANSWER_NAMES,
    DISEASES,
    HEALTHY,
    NO_LESION,
    TASKS,
    Mode,
    Scored,
    TwoClass,
    ask,
    ask_disease,
)
from spinaldx.evaluation.tables import Cell, Column, Kind, Table, text_columns
from spinaldx.records import Task

TASK_TITLES = {
    Task.TUMOUR_VS_DEMYELINATION: "Model 1: tumour vs demyelination",
    Task.ASTROCYTOMA_VS_EPENDYMOMA: "Model 2: astrocytoma vs ependymoma",
    Task.MS_VS_NMOSD: "Model 3: MS vs NMOSD",
}
MODE_TITLES = {
    Mode.STAGE: "network alone, true subset",
    Mode.END_TO_END: "end to end",
}
POSITIVE_TITLES = {
    Task.TUMOUR_VS_DEMYELINATION: "demyelination",
    Task.ASTROCYTOMA_VS_EPENDYMOMA: "ependymoma",
    Task.MS_VS_NMOSD: "NMOSD",
}
DISEASE_TITLES = ("astrocytoma", "ependymoma", "MS", "NMOSD")
ANSWER_TITLES = (*DISEASE_TITLES, "indeterminate", "no lesion", "failed")

_PRIMARY = (
    "Every labelled patient counts: failed, no_lesion and indeterminate are wrong "
    "answers (a false negative or a false positive), and a patient without a score is "
    "ranked wholly wrong in the AUC. The AUC of an indeterminate patient uses the score."
)
_SECONDARY = (
    "Patients without one of the four diseases as answer are left out of this table; "
    "the column says how many. It is the kinder table: quote the primary one."
)

RATE_COLUMNS = (
    Column("patients", "Patients", Kind.COUNT),
    Column("no_answer", "Without answer", Kind.COUNT),
    Column("accuracy", "Accuracy", Kind.PERCENT),
    Column("sensitivity", "Sensitivity", Kind.PERCENT),
    Column("specificity", "Specificity", Kind.PERCENT),
    Column("ppv", "PPV", Kind.PERCENT),
    Column("npv", "NPV", Kind.PERCENT),
    Column("precision", "Precision", Kind.PERCENT),
    Column("recall", "Recall", Kind.PERCENT),
    Column("auc", "AUC (DeLong)", Kind.NUMBER),
)


def rate_cells(two_class: TwoClass, *, with_auc: bool = True) -> tuple[Cell, ...]:
    """Fill `RATE_COLUMNS` for one question.

    Patients without an answer are wrong: pass ``only_answered()`` to leave them out.
    """
    positive, correct = two_class.positive, two_class.correct
    positives, negatives = int(positive.sum()), int((~positive).sum())
    tp, tn = int((correct & positive).sum()), int((correct & ~positive).sum())
    called_positive, called_negative = tp + negatives - tn, tn + positives - tp
    sensitivity = proportion(tp, positives, "positive patient")
    ppv = proportion(tp, called_positive, "positive answer")
    npv = proportion(tn, called_negative, "negative answer")
    return (
        len(positive),
        int((~two_class.answered).sum()),
        proportion(tp + tn, len(positive), "patient"),
        sensitivity,
        proportion(tn, negatives, "negative patient"),
        ppv,
        npv,
        ppv,
        sensitivity,
        _auc_cell(two_class) if with_auc else undefined("a reader gives no score"),
    )


def _auc_cell(two_class: TwoClass) -> Estimate:
    if len(two_class.score) and np.isnan(two_class.score).all():
        return undefined("no AUC: no patient has a score", len(two_class.score))
    return auc(two_class.positive, two_class.worst_case_score())


def task_rows(scored: Scored, *, secondary: bool = False) -> list[tuple[Cell, ...]]:
    """Rows of the three models: task, mode, positive class, then the rates."""
    rows: list[tuple[Cell, ...]] = []
    for task in TASKS:
        for mode in task_modes(task):
            question = ask(scored, task, mode)
            counted = question.only_answered() if secondary else question
            rates = list(rate_cells(counted))
            if secondary:
                rates[1] = int((~question.answered).sum())
            labels = (TASK_TITLES[task], MODE_TITLES[mode], POSITIVE_TITLES[task])
            rows.append((*labels, *rates))
    return rows


def task_modes(task: Task) -> tuple[Mode, ...]:
    """Ways to score a task; model 1 opens the cascade, so both are one."""
    if task is Task.TUMOUR_VS_DEMYELINATION:
        return (Mode.STAGE,)
    return (Mode.STAGE, Mode.END_TO_END)


def classification_table(
    scored: Scored, blocks: Mapping[str, BoolArray], *, secondary: bool = False
) -> Table:
    """Table 2: the three models in every block of patients.

    Args:
        scored: The cohort.
        blocks: Which patients belong to each block, (N,).
        secondary: Leave out patients without an answer.
    """
    rows = [
        (name, *row)
        for name, chosen in blocks.items()
        for row in task_rows(scored.take(chosen), secondary=secondary)
    ]
    columns = text_columns(
        ("block", "Patients of"),
        ("model", "Model"),
        ("mode", "Scored on"),
        ("positive_class", "Positive class"),
    )
    key = "classification_secondary" if secondary else "classification"
    kind = "Secondary: answered patients only" if secondary else "Primary"
    return Table(
        key,
        f"{kind}: models 1 to 3 in the shape of the paper's Table 2",
        (*columns, *RATE_COLUMNS),
        tuple(rows),
        (_SECONDARY if secondary else _PRIMARY,),
    )


def disease_table(scored: Scored, blocks: Mapping[str, BoolArray]) -> Table:
    """Four-disease accuracy, and each disease against the others."""
    rows: list[tuple[Cell, ...]] = []
    for name, chosen in blocks.items():
        part = scored.take(chosen & scored.is_labelled)
        rows.extend(
            (name, title, *rate_cells(ask_disease(part, place)))
            for place, title in enumerate(DISEASE_TITLES)
        )
    return Table(
        "diseases",
        "Each disease against the other three, by the final answer",
        (
            *text_columns(("block", "Patients of"), ("disease", "Disease")),
            *RATE_COLUMNS,
        ),
        tuple(rows),
        (_PRIMARY,),
    )


def cascade_table(scored: Scored, blocks: Mapping[str, BoolArray]) -> Table:
    """Four-disease accuracy of the final answer, with and without the unanswered."""
    rows: list[tuple[Cell, ...]] = []
    for name, chosen in blocks.items():
        part = scored.take(chosen & scored.is_labelled)
        right = int((part.answer == part.truth).sum())
        answered = int(part.is_answered.sum())
        rows.append(
            (
                name,
                proportion(right, len(part.cases), "labelled patient"),
                _balanced_accuracy(part),
                proportion(right, answered, "answered patient"),
                len(part.cases) - answered,
            )
        )
    columns = (
        Column("block", "Patients of"),
        Column("accuracy", "Accuracy, every labelled patient", Kind.PERCENT),
        Column("balanced_accuracy", "Mean of the four recalls", Kind.PERCENT),
        Column("accuracy_answered", "Accuracy, answered only", Kind.PERCENT),
        Column("no_answer", "Without answer", Kind.COUNT),
    )
    title = "Four diseases, whole cascade"
    return Table("cascade", title, columns, tuple(rows))


def _balanced_accuracy(part: Scored) -> Estimate:
    recalls = []
    for place, title in enumerate(DISEASE_TITLES):
        of_disease = part.truth == place
        if not of_disease.any():
            return undefined(f"no mean of recalls: no patient with {title}")
        recalls.append(float((part.answer[of_disease] == place).mean()))
    value = float(np.mean(recalls))
    return Estimate(value, total=len(part.cases))


def matrix_counts(scored: Scored) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Truth against answer, (5, 7): four diseases and healthy, by ANSWER_NAMES."""
    counts = np.zeros((HEALTHY + 1, len(ANSWER_NAMES)), dtype=np.int64)
    known = scored.truth >= 0
    np.add.at(counts, (scored.truth[known], scored.answer[known]), 1)
    return counts


def matrix_table(scored: Scored) -> Table:
    """The 4x4 matrix, with the answers that are no disease; healthy as a fifth row."""
    counts = matrix_counts(scored)
    names = (*DISEASE_TITLES, "healthy")
    rows: list[tuple[Cell, ...]] = [
        (name, *(int(count) for count in row), int(row.sum()))
        for name, row in zip(names, counts, strict=True)
        if name != "healthy" or row.any()
    ]
    columns = (
        Column("truth", "Truth"),
        *(
            Column(name, title, Kind.COUNT)
            for name, title in zip(ANSWER_NAMES, ANSWER_TITLES, strict=True)
        ),
        Column("total", "All", Kind.COUNT),
    )
    return Table("matrix", "Truth by final answer", columns, tuple(rows))


def detection_table(scored: Scored) -> Table:
    """Lesion found or not: diseased patients against healthy ones."""
    diseased, healthy = scored.is_labelled, scored.truth == HEALTHY
    found = scored.answer < NO_LESION
    silent = scored.answer == NO_LESION
    row: tuple[Cell, ...] = (
        proportion(
            int((diseased & found).sum()), int(diseased.sum()), "diseased patient"
        ),
        proportion(
            int((healthy & silent).sum()), int(healthy.sum()), "healthy patient"
        ),
    )
    columns = (
        Column("sensitivity", "A lesion is found in diseased patients", Kind.PERCENT),
        Column("specificity", "no_lesion in healthy patients", Kind.PERCENT),
    )
    notes = (
        "A lesion found anywhere counts. A failed study is wrong in both columns. "
        f"{int(healthy.sum())} healthy patients are left out of the classification "
        "tables.",
    )
    return Table("detection", "Lesion or no lesion", columns, (row,), notes)


def flow_table(scored: Scored) -> Table:
    """How many patients each step leaves."""
    counts = {
        "in the truth table": len(scored.cases),
        "without a label": int((scored.truth < 0).sum()),
        "healthy": int((scored.truth == HEALTHY).sum()),
        "labelled with one of the four diseases": int(scored.is_labelled.sum()),
    }
    labelled = scored.take(scored.is_labelled)
    for place in range(len(DISEASES), len(ANSWER_NAMES)):
        name = ANSWER_NAMES[place]
        counts[f"labelled, {name}"] = int((labelled.answer == place).sum())
    counts["labelled, answered"] = int(labelled.is_answered.sum())
    rows = tuple((name, count) for name, count in counts.items())
    columns = (Column("patients", "Patients"), Column("n", "n", Kind.COUNT))
    notes = ("A patient of the truth table without a result counts as failed.",)
    return Table("flow", "Who is counted", columns, rows, notes)
