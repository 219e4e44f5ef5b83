"""The same figures by age, sex and site, with a guard for small groups."""

from collections.abc import Mapping

import numpy as np

from spinaldx.evaluation.classification import (
    MODE_TITLES,
    RATE_COLUMNS,
    TASK_TITLES,
    rate_cells,
    task_modes,
)
from spinaldx.evaluation.estimates import (
    BoolArray,
    Bootstrap,
    FloatArray,
    mean_estimate,
    undefined,
)
from spinaldx.evaluation.patients import ADULT_FROM_YEARS, Cohort
from spinaldx.evaluation.scored import TASKS, Scored, ask
from spinaldx.evaluation.tables import Cell, Column, Kind, Table, text_columns

SMALLEST_GROUP = 10

_SMALL = f"the group has fewer than {SMALLEST_GROUP} patients"
_NOTES = (
    f"A group of fewer than {SMALLEST_GROUP} patients gets no figures.",
    "Many groups are looked at and no test is made: a difference here is a question, "
    "not an answer.",
)


def subgroups(cohort: Cohort) -> Mapping[tuple[str, str], BoolArray]:
    """Groups by variable and value, (N,) each; patients without a value in none."""
    ages = np.array([_age(patient.age) for patient in cohort.patients], dtype=float)
    groups: dict[tuple[str, str], BoolArray] = {}
    if not np.isnan(ages).all():
        groups["age", f"under {ADULT_FROM_YEARS}"] = ages < ADULT_FROM_YEARS
        groups["age", "adult"] = ages >= ADULT_FROM_YEARS
    for variable in ("sex", "site"):
        for value in cohort.values(variable):
            groups[variable, value] = cohort.where(variable, value)
    corrected = np.array([bool(row and row.is_corrected) for row in cohort.results])
    if corrected.any() and not corrected.all():
        groups["masks", "corrected"] = corrected
        groups["masks", "automatic"] = ~corrected
    return groups


def subgroup_table(cohort: Cohort, scored: Scored) -> Table | None:
    """Rates of the three models in every subgroup; None when there is no group."""
    groups = subgroups(cohort)
    if not groups:
        return None
    rows: list[tuple[Cell, ...]] = []
    for (variable, value), chosen in groups.items():
        part = scored.take(chosen)
        for task in TASKS:
            for mode in task_modes(task):
                question = ask(part, task, mode)
                cells = rate_cells(question)
                if len(question.positive) < SMALLEST_GROUP:
                    blank = (undefined(_SMALL),) * (len(cells) - 2)
                    cells = (*cells[:2], *blank)
                labels = (variable, value, TASK_TITLES[task], MODE_TITLES[mode])
                rows.append((*labels, *cells))
    columns = text_columns(
        ("variable", "Variable"),
        ("group", "Group"),
        ("model", "Model"),
        ("mode", "Scored on"),
    )
    title = "Subgroups: models 1 to 3"
    return Table("subgroups", title, (*columns, *RATE_COLUMNS), tuple(rows), _NOTES)


def subgroup_dice_table(
    cohort: Cohort, dice: FloatArray, draw: Bootstrap
) -> Table | None:
    """Mean Dice in every subgroup.

    Args:
        cohort: The cohort.
        dice: Dice of each patient, (N,); NaN without a lesion in the true mask.
        draw: Number of cohorts and seed.

    Returns:
        The table; None when there is no group or no Dice.
    """
    groups = subgroups(cohort)
    if not groups or np.isnan(dice).all():
        return None
    rows: list[tuple[Cell, ...]] = []
    for (variable, value), chosen in groups.items():
        values = dice[chosen & ~np.isnan(dice)]
        mean = mean_estimate(values, draw, "patient with a lesion in the true mask")
        cell = mean if len(values) >= SMALLEST_GROUP else undefined(_SMALL)
        rows.append((variable, value, len(values), cell))
    columns = (
        Column("variable", "Variable"),
        Column("group", "Group"),
        Column("patients", "Patients", Kind.COUNT),
        Column("dice", "Dice, mean", Kind.NUMBER),
    )
    title = "Subgroups: segmentation"
    return Table("subgroups_segmentation", title, columns, tuple(rows), _NOTES)


def _age(age: float | None) -> float:
    return np.nan if age is None else age
