"""A figure with its interval, its n/N, and the reason when there is none."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Replicates are drawn in blocks of about this many indices, to bound memory.
_BLOCK_DRAWS = 2_000_000

NO_INTERVAL = "no interval: one patient, or the same figure in every drawn cohort"


@dataclass(frozen=True, slots=True)
class Estimate:
    """One figure of a table.

    Attributes:
        value: The figure; None when it is undefined.
        low: Lower end of the 95 % interval; None when there is none.
        high: Upper end.
        count: n of n/N, for proportions.
        total: N of n/N, or the number of patients behind the figure.
        reason: Why the figure, or its interval, is undefined; empty otherwise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int | None = None
    total: int | None = None
    reason: str = ""


def undefined(reason: str, total: int | None = None) -> Estimate:
    """Return an estimate without a value, and say why."""
    return Estimate(None, total=total, reason=reason)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How patients are drawn.

    Attributes:
        replicates: Number of cohorts drawn with replacement.
        seed: Seed of the drawing; the same seed gives the same intervals.
    """

    replicates: int = 2000
    seed: int = 0


def bootstrap_interval(
    values: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    bootstrap: Bootstrap,
) -> tuple[float, float] | None:
    """Draw patients with replacement and take the 2.5 and 97.5 percentiles.

    Args:
        values: One row of numbers a patient, (N, C).
        statistic: Mean rows of drawn cohorts, (B, C), to one figure each, (B,);
            NaN where a cohort leaves it undefined.
        bootstrap: Number of cohorts and seed.

    Returns:
        The interval; None with fewer than two patients, when more than one drawn
        cohort in twenty leaves the figure undefined, or when all give the same
        figure, which says nothing about its uncertainty.
    """
    patients = len(values)
    if patients < 2:
        return None
    generator = np.random.default_rng(bootstrap.seed)
    block = max(1, _BLOCK_DRAWS // patients)
    figures = []
    for first in range(0, bootstrap.replicates, block):
        size = min(block, bootstrap.replicates - first)
        drawn = generator.integers(patients, size=(size, patients))
        means = np.stack(
            [
                values[:, column][drawn].mean(axis=1)
                for column in range(values.shape[1])
            ],
            axis=1,
        )
        figures.append(statistic(means))
    drawn_figures = np.concatenate(figures)
    defined = drawn_figures[~np.isnan(drawn_figures)]
    if len(defined) < 0.95 * len(drawn_figures):
        return None
    low, high = (float(end) for end in np.percentile(defined, (2.5, 97.5)))
    return None if low == high else (low, high)


def mean_estimate(values: FloatArray, bootstrap: Bootstrap, what: str) -> Estimate:
    """Mean of one number a patient with its bootstrap interval.

    Args:
        values: Finite numbers, (N,).
        bootstrap: Number of cohorts and seed.
        what: What the patients have in common, for the reason of an empty mean.
    """
    if len(values) == 0:
        return undefined(f"no {what}", total=0)
    interval = bootstrap_interval(values[:, None], _first_column, bootstrap)
    mean = float(values.mean())
    if interval is None:
        return Estimate(mean, total=len(values), reason=NO_INTERVAL)
    return Estimate(mean, *interval, total=len(values))


def ratio_estimate(
    numerators: FloatArray,
    denominators: FloatArray,
    bootstrap: Bootstrap,
    what: str,
) -> Estimate:
    """Ratio of two sums over patients, such as lesions found of all lesions.

    Args:
        numerators: Whole numbers, (N,).
        denominators: Whole numbers, (N,).
        bootstrap: Number of cohorts and seed.
        what: What the denominators count, for the reason when there are none.
    """
    count, total = float(numerators.sum()), float(denominators.sum())
    if total == 0:
        return undefined(f"no {what}", total=0)
    rows = np.stack([numerators, denominators], axis=1)
    interval = bootstrap_interval(rows, _ratio, bootstrap)
    value = Estimate(count / total, count=int(count), total=int(total))
    if interval is None:
        return replace(value, reason=NO_INTERVAL)
    return replace(value, low=interval[0], high=interval[1])


def _first_column(means: FloatArray) -> FloatArray:
    return means[:, 0]


def _ratio(means: FloatArray) -> FloatArray:
    empty = means[:, 1] == 0
    ratio = means[:, 0] / np.where(empty, 1.0, means[:, 1])
    return np.where(empty, np.nan, ratio)
