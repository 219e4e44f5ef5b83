import numpy as np
import pytest
from scipy import stats

from spinaldx.evaluation.estimates import Bootstrap, mean_estimate, ratio_estimate

DRAW = Bootstrap(4000, seed=3)


def test_interval_of_a_mean_is_near_that_of_scipy():
    values = np.random.default_rng(0).normal(5, 2, 60)
    found = mean_estimate(values, DRAW, "patient")

    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.05)


def test_same_seed_same_interval_whatever_the_block_size(monkeypatch):
    values = np.arange(50.0)
    whole = mean_estimate(values, DRAW, "patient")
    monkeypatch.setattr("spinaldx.evaluation.estimates._BLOCK_DRAWS", 500)

    assert mean_estimate(values, DRAW, "patient") == whole


def test_no_patient_one_patient_and_equal_patients():
    none = mean_estimate(np.array([]), DRAW, "patient")
    one = mean_estimate(np.array([2.0]), DRAW, "patient")
    equal = mean_estimate(np.array([2.0, 2.0]), DRAW, "patient")

    assert (none.value, none.reason) == (None, "no patient")
    assert (one.value, one.low, equal.value, equal.low) == (2.0, None, 2.0, None)
    assert "no interval" in one.reason
    assert "no interval" in equal.reason


class TestRatio:
    def test_patients_are_drawn_not_lesions(self):
        found = np.array([3.0, 0.0, 2.0, 1.0])
        all_of_them = np.array([3.0, 3.0, 2.0, 2.0])
        ratio = ratio_estimate(found, all_of_them, DRAW, "true lesion")

        assert (ratio.value, ratio.count, ratio.total) == (0.6, 6, 10)
        assert 0 <= ratio.low < 0.6 < ratio.high <= 1

    def test_nothing_to_find(self):
        found = ratio_estimate(np.zeros(3), np.zeros(3), DRAW, "true lesion")

        assert (found.value, found.reason) == (None, "no true lesion")

    def test_no_interval_when_most_cohorts_have_none(self):
        counts = np.zeros(30)
        counts[0] = 1
        found = ratio_estimate(counts, counts, DRAW, "true lesion")

        assert (found.value, found.low) == (1.0, None)
        assert "no interval" in found.reason
