"""The cohort in the shape of the paper's Table 1, with the paper's tests."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from spinaldx.evaluation.classification import DISEASE_TITLES
from spinaldx.evaluation.estimates import FloatArray
from spinaldx.evaluation.masks import TrueLesions
from spinaldx.evaluation.patients import Cohort
from spinaldx.evaluation.scored import DISEASES
from spinaldx.evaluation.tables import Cell, Column, Kind, Table, p_cell

# A chi-squared test needs expected counts of at least this (Cochran).
_SMALLEST_EXPECTED = 5

_NOT_TESTED = "fewer than two diseases with two values, or all values equal"


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One line of the table: its text in each column, and its tests."""

    name: str
    cells: tuple[str, ...]
    test: str
    p: float | None
    pairs: Mapping[tuple[str, str], float | None]


def cohort_tables(
    cohort: Cohort, lesions: Mapping[str, TrueLesions]
) -> tuple[Table, ...]:
    """Describe the patients by disease, and compare the diseases.

    Args:
        cohort: The cohort.
        lesions: True lesions by case; when there are none, the program's own
            measures are described, and the table says so.

    Returns:
        The table and its post-hoc comparisons.
    """
    rows = [
        row
        for row in (
            *_category_rows(cohort, "sex"),
            *_category_rows(cohort, "location"),
            *_number_rows(cohort, lesions),
        )
        if row is not None
    ]
    source = "true masks" if lesions else "the program's own masks"
    counts = [str(int(cohort.where("diagnosis", name).sum())) for name in DISEASES]
    lines: list[tuple[Cell, ...]] = [("Patients", *counts, "", p_cell(None, "no test"))]
    lines += [
        (row.name, *row.cells, row.test, p_cell(row.p, _NOT_TESTED)) for row in rows
    ]
    columns = (
        Column("variable", "Variable"),
        *(Column(name.lower(), name) for name in DISEASE_TITLES),
        Column("test", "Test"),
        Column("p", "p", Kind.P_VALUE),
    )
    notes = (
        f"Lesions measured on {source}; extension is the sum of the lesions' lengths, "
        "in mm. Healthy and unlabelled patients are not part of the table.",
        "Chi-squared, or Fisher's exact test where an expected count is below 5; "
        "one-way ANOVA; Kruskal-Wallis. No correction over the variables.",
    )
    title = "The cohort in the shape of the paper's Table 1"
    table = Table("cohort", title, columns, tuple(lines), notes)
    return table, _post_hoc_table(rows)


def _post_hoc_table(rows: Sequence[_Row]) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        made = sum(p is not None for p in row.pairs.values())
        lines.extend(
            (
                row.name,
                f"{first} vs {second}",
                p_cell(p, _NOT_TESTED),
                p_cell(None if p is None else min(1.0, p * made), _NOT_TESTED),
            )
            for (first, second), p in row.pairs.items()
        )
    columns = (
        Column("variable", "Variable"),
        Column("pair", "Pair"),
        Column("p", "p", Kind.P_VALUE),
        Column("p_bonferroni", "p, Bonferroni", Kind.P_VALUE),
    )
    notes = (
        "Pairs by the same test as the row (t test after ANOVA, Mann-Whitney after "
        "Kruskal-Wallis); Bonferroni over the pairs of a variable.",
    )
    return Table(
        "cohort_pairs", "Table 1, pairs of diseases", columns, tuple(lines), notes
    )


def _category_rows(cohort: Cohort, name: str) -> list[_Row]:
    values = cohort.values(name)
    if not values:
        return []
    counts = np.array(
        [
            [
                int(
                    (
                        cohort.where("diagnosis", disease) & cohort.where(name, value)
                    ).sum()
                )
                for value in values
            ]
            for disease in DISEASES
        ]
    )
    pairs = {
        (DISEASE_TITLES[a], DISEASE_TITLES[b]): category_test(counts[[a, b]])[1]
        for a, b in itertools.combinations(range(len(DISEASES)), 2)
    }
    test, p = category_test(counts)
    rows = []
    for place, value in enumerate(values):
        cells = tuple(_share(of[place], of.sum()) for of in counts)
        # One test compares all values of a variable: it stands on the first line.
        first = place == 0
        line = _Row(
            f"{name.capitalize()}: {value}",
            cells,
            test if first else "",
            p if first else None,
            pairs if first else {},
        )
        rows.append(line)
    return rows


def _share(count: int, total: int) -> str:
    return f"{count}/{total} ({count / total:.0%})" if total else "n/a"


def category_test(
    counts: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> tuple[str, float | None]:
    """Chi-squared test of a table of counts, Fisher's where counts are small.

    Args:
        counts: One row a group, one column a value; empty ones are dropped.

    Returns:
        Name of the test and its p value; None with fewer than two of either.
    """
    used = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if min(used.shape) < 2:
        return "", None
    expected = stats.contingency.expected_freq(used)
    if expected.min() >= _SMALLEST_EXPECTED:
        return "chi-squared", float(
            stats.chi2_contingency(used, correction=False).pvalue
        )
    if used.shape == (2, 2):
        return "Fisher", float(stats.fisher_exact(used).pvalue)
    sampling = stats.MonteCarloMethod(n_resamples=9999, rng=np.random.default_rng(0))
    # An array of one number where the table has more cells than patients.
    p_value = np.asarray(stats.fisher_exact(used, method=sampling).pvalue).item()
    return "Fisher (Monte Carlo)", float(p_value)


def _number_rows(
    cohort: Cohort, lesions: Mapping[str, TrueLesions]
) -> list[_Row | None]:
    ages = np.array(
        [np.nan if p.age is None else p.age for p in cohort.patients], float
    )

    def measure(name: str) -> FloatArray:
        if not lesions:
            return cohort.numbers(name)
        found = [lesions.get(patient.case) for patient in cohort.patients]
        return np.array(
            [np.nan if i is None else getattr(i, name) for i in found], float
        )

    return [
        _number_row(cohort, "Age, years, mean (SD)", ages, is_ranked=False),
        _number_row(
            cohort,
            "Lesions, median (quartiles)",
            measure("lesion_count"),
            is_ranked=True,
        ),
        _number_row(
            cohort,
            "Extension, mm, median (quartiles)",
            measure("length_mm"),
            is_ranked=True,
        ),
        _number_row(
            cohort,
            "Lesion volume, ml, mean (SD)",
            measure("volume_ml"),
            is_ranked=False,
        ),
    ]


def _number_row(
    cohort: Cohort, name: str, values: FloatArray, *, is_ranked: bool
) -> _Row | None:
    known = ~np.isnan(values)
    groups = [
        values[cohort.where("diagnosis", disease) & known] for disease in DISEASES
    ]
    if not any(len(group) for group in groups):
        return None
    together, pair = (kruskal, mann_whitney) if is_ranked else (anova, anova)
    pairs = {
        (DISEASE_TITLES[a], DISEASE_TITLES[b]): pair([groups[a], groups[b]])
        for a, b in itertools.combinations(range(len(DISEASES)), 2)
    }
    cells = tuple(_quartiles(g) if is_ranked else _mean_sd(g) for g in groups)
    test = "Kruskal-Wallis" if is_ranked else "ANOVA"
    return _Row(name, cells, test, together(groups), pairs)


def _quartiles(values: FloatArray) -> str:
    if len(values) == 0:
        return "n/a"
    q1, median, q3 = np.percentile(values, (25, 50, 75))
    return f"{median:.1f} ({q1:.1f} to {q3:.1f})"


def _mean_sd(values: FloatArray) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f} (n/a)" if len(values) else "n/a"
    return f"{values.mean():.2f} ({values.std(ddof=1):.2f})"


def _testable(groups: Sequence[FloatArray]) -> list[FloatArray]:
    """Groups of two values and more; none when all values are equal."""
    used = [group for group in groups if len(group) >= 2]
    if len(used) < 2 or np.ptp(np.concatenate(used)) == 0:
        return []
    return used


def kruskal(groups: Sequence[FloatArray]) -> float | None:
    """Kruskal-Wallis test over the groups of two values and more."""
    used = _testable(groups)
    return float(stats.kruskal(*used).pvalue) if used else None


def mann_whitney(groups: Sequence[FloatArray]) -> float | None:
    """Mann-Whitney test of two groups, both of two values and more."""
    used = _testable(groups)
    return float(stats.mannwhitneyu(used[0], used[1]).pvalue) if used else None


def anova(groups: Sequence[FloatArray]) -> float | None:
    """One-way ANOVA, of two groups the t test; None also when no group varies."""
    used = _testable(groups)
    if not used or all(np.ptp(group) == 0 for group in used):
        return None
    return float(stats.f_oneway(*used).pvalue)
