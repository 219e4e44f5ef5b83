"""Proportions and counts: Wilson interval, exact McNemar test, Holm correction."""

import math
from collections.abc import Sequence

from scipy import stats

from spinaldx.evaluation.estimates import Estimate, undefined

_Z = 1.959963984540054


def proportion(count: int, total: int, what: str) -> Estimate:
    """Proportion with Wilson's 95 % interval (Wilson 1927, without continuity).

    Args:
        count: n of n/N.
        total: N of n/N; zero makes the proportion undefined.
        what: What is counted, for the reason when there is nothing.
    """
    if total == 0:
        return undefined(f"no {what}", total=0)
    share = count / total
    scale = 1 + _Z**2 / total
    centre = (share + _Z**2 / (2 * total)) / scale
    spread = share * (1 - share) / total + _Z**2 / (4 * total**2)
    half = _Z * math.sqrt(spread) / scale
    # At 0 and N the ends are exact, which floating point misses by a hair.
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == total else min(1.0, centre + half)
    return Estimate(share, low, high, count=count, total=total)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar test.

    Args:
        only_first: Pairs in which only the first is right.
        only_second: Pairs in which only the second is right.

    Returns:
        The p value; 1 when no pair differs.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    test = stats.binomtest(min(only_first, only_second), discordant, 0.5)
    return float(test.pvalue)


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Holm's step-down correction for several tests of one family.

    Args:
        p_values: Raw p values; None for a test that could not be made, which
            does not count as a member of the family.

    Returns:
        Corrected p values in the same order.
    """
    made = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(made):
        highest = max(highest, min(1.0, (len(made) - rank) * p))
        corrected[place] = highest
    return tuple(corrected)
