import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from spinaldx.evaluation.proportions import holm, mcnemar_p, proportion


@pytest.mark.parametrize("counts", [(76, 78), (0, 5), (5, 5), (1, 1), (57, 79)])
def test_wilson_interval_is_that_of_statsmodels(counts):
    found = proportion(*counts, "patient")

    low, high = proportion_confint(*counts, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.value == counts[0] / counts[1]


def test_wilson_interval_of_the_papers_test_set():
    found = proportion(150, 157, "patient")

    assert (round(found.low, 3), round(found.high, 3)) == (0.911, 0.978)


def test_the_ends_are_exact():
    assert proportion(0, 9, "patient").low == 0.0
    assert proportion(9, 9, "patient").high == 1.0


def test_nothing_of_nothing_is_undefined():
    found = proportion(0, 0, "positive patient")

    assert (found.value, found.total) == (None, 0)
    assert found.reason == "no positive patient"


@pytest.mark.parametrize("counts", [(5, 12), (0, 6), (0, 0), (1, 1), (30, 11)])
def test_mcnemar_is_that_of_statsmodels(counts):
    table = [[40, counts[0]], [counts[1], 9]]

    assert mcnemar_p(*counts) == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_mcnemar_is_a_sign_test():
    assert mcnemar_p(2, 9) == pytest.approx(stats.binomtest(2, 11).pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    p = np.random.default_rng(seed).uniform(0, 0.1, 3).round(2)

    assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_a_test_that_was_not_made_does_not_count():
    assert holm([0.02, None, 0.03]) == (0.04, None, 0.04)
