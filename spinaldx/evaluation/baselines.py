"""What metadata, site or the lesions' shape alone would give: a guard against leaks.

Logistic regressions on standardised columns, scored on held-out folds of the same
patients. They are yardsticks, not models to use.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spinaldx.evaluation.classification import TASK_TITLES
from spinaldx.evaluation.delong import auc, compare_aucs
from spinaldx.evaluation.estimates import BoolArray, Estimate, FloatArray, undefined
from spinaldx.evaluation.patients import Cohort
from spinaldx.evaluation.proportions import proportion
from spinaldx.evaluation.scored import TASKS, Scored, ask, members
from spinaldx.evaluation.tables import Cell, Column, Kind, Table, p_cell
from spinaldx.records import Task

# Fewer patients of a class than this cannot carry a cross-validation.
SMALLEST_CLASS = 10

_FOLDS = 5
_TOO_FEW = f"fewer than {SMALLEST_CLASS} patients of a class with these columns"
_NOTES = (
    "Logistic regression, five-fold cross-validated over these patients; its AUC is of "
    "ranks within the folds. A program "
    "that is not clearly better than a line of this table has learnt who comes to "
    "the scanner, not what the image shows.",
    "Site alone should be at chance: if it is not, the classes come from different "
    "places and every figure of this evaluation may rest on that.",
    "The Spinal Cord Toolbox models tumor_t2 and tumor_edema_cavity_t1_t2 were trained "
    "on patients of the hospital of the reference paper, of the same years: as a "
    "baseline or a starting point on that cohort they leak.",
)


def baseline_features(cohort: Cohort) -> Mapping[str, FloatArray]:
    """Columns of each baseline that the data allow, (N, C) each, NaN = unknown."""
    patients = cohort.patients
    ages = np.array([np.nan if p.age is None else p.age for p in patients], dtype=float)
    parts = {
        "age": ages[:, None][:, : int(not np.isnan(ages).all())],
        "sex": _one_hot([patient.sex for patient in patients]),
        "location": _one_hot([patient.location for patient in patients]),
    }
    present = {name: columns for name, columns in parts.items() if columns.shape[1]}
    shape = np.column_stack(
        [
            cohort.numbers("lesion_count"),
            np.log1p(cohort.numbers("volume_ml")),
            cohort.numbers("length_mm"),
        ]
    )
    named = {
        ", ".join(present): np.column_stack(list(parts.values())),
        "site": _one_hot([patient.site for patient in patients]),
        "lesion shape (program's masks)": shape,
    }
    return {name: columns for name, columns in named.items() if columns.shape[1]}


def cross_validated_scores(
    columns: FloatArray, positive: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Score every patient by a model that never saw this patient.

    Args:
        columns: (N, C); unknown values are replaced by the training fold's median.
        positive: True class, (N,), at least `SMALLEST_CLASS` of each.

    Returns:
        Probability of the positive class, (N,), and its rank within the patient's
        fold, 0 to 1, (N,). Probabilities of different folds pooled would rank
        useless columns below chance (0.47 instead of 0.50 in 200 random cohorts of
        120), because a fold's model leans against the patients left out.
    """
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    probability, rank = np.zeros(len(columns)), np.zeros(len(columns))
    for inside, outside in folds.split(columns, positive):
        model.fit(columns[inside], positive[inside])
        found = model.predict_proba(columns[outside])[:, 1]
        probability[outside] = found
        rank[outside] = (stats.rankdata(found) - 0.5) / len(outside)
    return probability, rank


def baseline_table(cohort: Cohort, scored: Scored) -> Table | None:
    """Baselines beside the program on the same patients; None without columns."""
    features = baseline_features(cohort)
    rows = [
        _row(name, columns, task, scored)
        for name, columns in features.items()
        for task in TASKS
    ]
    if all(row[2] == 0 for row in rows):
        return None
    columns = (
        Column("baseline", "Baseline"),
        Column("model", "Task"),
        Column("patients", "Patients", Kind.COUNT),
        Column("baseline_accuracy", "Baseline accuracy", Kind.PERCENT),
        Column("baseline_auc", "Baseline AUC", Kind.NUMBER),
        Column("program_accuracy", "Program accuracy", Kind.PERCENT),
        Column("program_auc", "Program AUC", Kind.NUMBER),
        Column("difference", "Program minus baseline, AUC", Kind.NUMBER),
        Column("p", "DeLong p", Kind.P_VALUE),
    )
    title = "Simple baselines beside the program"
    return Table("baselines", title, columns, tuple(rows), _NOTES)


def _row(
    name: str, columns: FloatArray, task: Task, scored: Scored
) -> tuple[Cell, ...]:
    # A patient of whom nothing is known can be scored only by the prior: left out.
    usable = ~np.isnan(columns).all(axis=1)
    chosen = usable & members(scored, task)
    question = ask(scored.take(chosen), task)
    positive = question.positive
    program = question.worst_case_score()
    accuracy = proportion(int(question.correct.sum()), len(positive), "patient")
    labels = (name, TASK_TITLES[task], len(positive))
    if min(int(positive.sum()), int((~positive).sum())) < SMALLEST_CLASS:
        blank = undefined(_TOO_FEW)
        return (*labels, blank, blank, accuracy, auc(positive, program), blank, blank)
    probability, rank = cross_validated_scores(columns[chosen], positive)
    right = int(((probability >= 0.5) == positive).sum())
    test = compare_aucs(positive, program, rank)
    return (
        *labels,
        proportion(right, len(positive), "patient"),
        auc(positive, rank),
        accuracy,
        auc(positive, program),
        test.difference,
        _p(test.p, test.difference),
    )


def _p(p: float | None, difference: Estimate) -> Estimate:
    return p_cell(p, difference.reason)


def _one_hot(values: Sequence[str]) -> FloatArray:
    """One column a value but the first; NaN where the value is empty; (N, 0) if one."""
    names = sorted(set(values) - {""})[1:]
    columns = np.array([[value == name for name in names] for value in values], float)
    columns = columns.reshape(len(values), len(names))
    columns[[value == "" for value in values]] = np.nan
    return columns
