import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from spinaldx.evaluation.delong import auc, auc_covariance, compare_aucs

# 113 patients after aneurysmal subarachnoid haemorrhage (Turck et al., Intensive Care
# Med 2010; 36:107-115), the published example of R's pROC.
ASAH = Path(__file__).with_name("asah.csv")

# pROC 1.18.0 in R 4.2.2: auc, var, ci.auc of roc(poor, marker, direction = "<").
PROC = {
    "s100b": (0.73136856368563685, 0.00266868245717244, 0.63011821176162264, 0.83261891560965107),
    "ndka": (0.6119579945799458, 0.0031908105493913, 0.5012449992717026, 0.7226709898881890),
    "wfns": (0.82367886178861793, 0.00146991470882363, 0.74853488781945288, 0.89882283575778299),
}  # fmt: skip
# roc.test(first, second, method = "delong", paired = TRUE): z, p, interval; cov().
PROC_TESTS = {
    ("s100b", "ndka"): (1.3907700257355771, 0.1642951752230545, -0.0488706064228094, 0.2876917446341914, -0.000756164938056579),
    ("wfns", "s100b"): (2.2089835914409077, 0.0271757822291882, 0.0104061769564846, 0.1742144192494776, 0.00119615567376754),
    ("wfns", "ndka"): (2.79777591868903874, 0.00514557970691098, 0.06340117093398764, 0.36004056348335656, -0.000532967856762438),
}  # fmt: skip


@pytest.fixture(scope="module")
def asah():
    with ASAH.open() as stream:
        rows = list(csv.DictReader(stream))
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    return columns | {"poor": columns["poor"] == 1}


@pytest.mark.parametrize("marker", PROC)
def test_auc_variance_and_interval_are_those_of_proc(asah, marker):
    aucs, covariance = auc_covariance(asah["poor"], asah[marker][None])
    found = auc(asah["poor"], asah[marker])

    ours = (aucs[0], covariance[0, 0], found.low, found.high)
    assert ours == pytest.approx(PROC[marker], rel=1e-12)


@pytest.mark.parametrize("pair", PROC_TESTS)
def test_paired_test_is_that_of_proc(asah, pair):
    first, second = (asah[name] for name in pair)
    test = compare_aucs(asah["poor"], first, second)
    _, covariance = auc_covariance(asah["poor"], np.stack([first, second]))

    ours = (test.z, test.p, test.difference.low, test.difference.high, covariance[0, 1])
    assert ours == pytest.approx(PROC_TESTS[pair], rel=1e-10)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="oracle pROC: R is absent")
def test_ties_and_small_groups_are_as_in_a_live_proc():
    generator = np.random.default_rng(7)
    positive = np.repeat([False, True], [9, 6])
    first = np.round(generator.normal(size=15) + positive, 0)
    second = np.round(generator.normal(size=15) + 0.5 * positive, 1)
    script = (
        "if (!requireNamespace('pROC', quietly=TRUE)) quit(status=3);"
        "suppressMessages(library(pROC));"
        f"y<-c({_r(positive * 1)});a<-c({_r(first)});b<-c({_r(second)});"
        "ra<-roc(y,a,levels=c(0,1),direction='<');"
        "rb<-roc(y,b,levels=c(0,1),direction='<');"
        "t<-roc.test(ra,rb,method='delong',paired=TRUE);"
        "cat(format(c(var(ra),var(rb),t$statistic,t$p.value),digits=15))"
    )
    done = subprocess.run(
        ["Rscript", "-e", script], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("oracle pROC: the R package is absent")
    _, covariance = auc_covariance(positive, np.stack([first, second]))
    test = compare_aucs(positive, first, second)

    ours = (covariance[0, 0], covariance[1, 1], test.z, test.p)
    assert ours == pytest.approx([float(x) for x in done.stdout.split()], rel=1e-8)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=6, max_size=40))
def test_auc_is_that_of_scikit_learn(pairs):
    positive = np.array([True, False, *[is_in for is_in, _ in pairs]])
    score = np.array([2.0, 2.0, *[value for _, value in pairs]])

    assert auc(positive, score).value == pytest.approx(roc_auc_score(positive, score))


class TestUndefined:
    def test_one_class_has_no_auc(self):
        found = auc(np.array([True, True]), np.array([0.1, 0.2]))

        assert found.value is None
        assert found.reason == "no AUC: only one class is there"

    def test_one_patient_of_a_class_has_no_interval(self):
        found = auc(np.array([True, False, False]), np.array([0.5, 0.2, 0.5]))

        assert (found.value, found.low) == (0.75, None)
        assert "fewer than two patients" in found.reason

    def test_separated_classes_have_no_interval(self):
        found = auc(np.repeat([True, False], 5), np.repeat([1.0, 0.0], 5))

        assert (found.value, found.low) == (1.0, None)
        assert "separated" in found.reason

    def test_a_score_equals_itself(self, asah):
        test = compare_aucs(asah["poor"], asah["wfns"], asah["wfns"] * 3)

        assert (test.difference.value, test.z, test.p) == (0.0, None, 1.0)

    def test_perfect_against_reversed_has_no_test(self):
        positive = np.repeat([True, False], 5)
        test = compare_aucs(positive, positive * 1.0, positive * -1.0)

        assert (test.difference.value, test.p) == (1.0, None)

    def test_one_patient_of_a_class_has_no_test(self):
        test = compare_aucs(np.array([True, False]), np.zeros(2), np.ones(2))

        assert (test.difference.value, test.p) == (None, None)


def test_infinite_scores_are_ranked():
    positive = np.array([True, True, False, False])

    assert auc(positive, np.array([-np.inf, 0.9, 0.1, np.inf])).value == 0.25


def _r(values):
    return ",".join(str(float(value)) for value in values)
