"""Subgroups, calibration, decision curves, baselines and comparisons."""

import numpy as np
import pytest
from evaluation_cases import (
    Case,
    balanced_cases,
    cells,
    cohort_of,
    scores_for,
    table_2_cases,
)
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from spinaldx.evaluation.baselines import (
    baseline_features,
    baseline_table,
    cross_validated_scores,
)
from spinaldx.evaluation.calibration import (
    calibration_table,
    expected_calibration_error,
    reliability,
    reliability_table,
)
from spinaldx.evaluation.comparison import classification_comparison, dice_comparison
from spinaldx.evaluation.decision import decision_table, net_benefit
from spinaldx.evaluation.delong import auc
from spinaldx.evaluation.estimates import Bootstrap
from spinaldx.evaluation.overlap import Overlap
from spinaldx.evaluation.patients import to_scored
from spinaldx.evaluation.segmentation import PatientOverlap
from spinaldx.evaluation.subgroups import (
    subgroup_dice_table,
    subgroup_table,
    subgroups,
)

DRAW = Bootstrap(300)


class TestSubgroups:
    def test_age_sex_and_site(self, tmp_path):
        cases = balanced_cases(1)
        columns = [("17.9", "F", "a"), ("18", "M", "b"), ("", "", ""), ("60", "F", "a")]
        for case, (age, sex, site) in zip(cases, columns, strict=True):
            case.truth = {"age": age, "sex": sex, "site": site}
        found = subgroups(cohort_of(tmp_path, cases))

        assert {key: np.flatnonzero(chosen).tolist() for key, chosen in found.items()} == {
            ("age", "under 18"): [0], ("age", "adult"): [1, 3],
            ("sex", "female"): [0, 3], ("sex", "male"): [1],
            ("site", "a"): [0, 3], ("site", "b"): [1],
        }  # fmt: skip

    def test_small_groups_get_no_figures(self, tmp_path):
        cases = balanced_cases(10, sex="F")
        cases[0].truth = {"sex": "M"}
        table = subgroup_table(cohort := cohort_of(tmp_path, cases), to_scored(cohort))
        women, men = cells(table, 0), cells(table, 5)

        assert (women["group"], women["accuracy"].total) == ("female", 39)
        assert (men["patients"], men["accuracy"].value) == (1, None)
        assert men["accuracy"].reason == "the group has fewer than 10 patients"

    def test_nothing_to_group_by(self, tmp_path):
        cohort = cohort_of(tmp_path, balanced_cases(1))

        assert subgroup_table(cohort, to_scored(cohort)) is None
        assert subgroup_dice_table(cohort, np.ones(4), DRAW) is None

    def test_dice(self, tmp_path):
        cases = balanced_cases(3, sex="F")
        cases[0].truth = {"sex": "M"}
        dice = np.array([0.1, np.nan, *[0.5, 0.7] * 5])
        table = subgroup_dice_table(cohort_of(tmp_path, cases), dice, DRAW)

        assert cells(table, 0)["dice"].value == pytest.approx(0.6)
        assert cells(table, 1)["dice"].value is None


class TestReliability:
    def test_bins_are_those_of_scikit_learn(self):
        generator = np.random.default_rng(0)
        score = generator.uniform(size=200)
        positive = generator.uniform(size=200) < score
        bins = reliability(positive, score)

        observed, mean = calibration_curve(
            positive, score, n_bins=10, strategy="quantile"
        )
        assert [item.score for item in bins] == pytest.approx(mean)
        assert [item.observed.value for item in bins] == pytest.approx(observed)

    def test_equal_scores_share_a_bin_in_any_order(self):
        score = np.repeat([0.2, 0.8], 10)
        positive = np.tile([True, False], 10)
        bins = reliability(positive, score)

        assert [item.observed.total for item in bins] == [10, 10]
        assert expected_calibration_error(bins).value == pytest.approx(0.3)

    @given(st.lists(st.integers(0, 12), min_size=1, max_size=80))
    def test_bins_hold_five_patients_or_all(self, twelfths):
        score = np.array(twelfths) / 12
        bins = reliability(score > 0.5, score)

        sizes = [item.observed.total for item in bins]
        assert sum(sizes) == len(score)
        assert len(sizes) == 1 or min(sizes) >= 5

    def test_a_few_equal_scores_get_no_bin_of_their_own(self):
        # Halves of ten begin at 0.2, below which one patient is.
        score = np.array([0.1, *[0.2] * 9])
        bins = reliability(score > 0.1, score)

        assert [item.observed.total for item in bins] == [10]

    def test_no_patient(self):
        bins = reliability(np.zeros(0, bool), np.zeros(0))

        assert bins == ()
        assert expected_calibration_error(bins).reason == "no patient has a score"


def test_brier_scores_by_hand(tmp_path):
    cases = [Case("a", "ms", (0.8, 0.5, 0.25)), Case("f", "ms", None, "failed")]
    table = calibration_table(to_scored(cohort_of(tmp_path, cases)), DRAW)
    first, second, joint = cells(table, 0), cells(table, 1), cells(table, 3)

    assert first["brier"].value == pytest.approx(0.04)
    assert (first["patients"], first["without_score"]) == (1, 1)
    assert second["brier"].reason == "no patient with a score"
    # Joint .1 .1 .6 .2 against MS.
    assert joint["brier"].value == pytest.approx(0.01 + 0.01 + 0.16 + 0.04)


def test_nobody_has_a_score(tmp_path):
    cases = [Case("f", "ms", None, "failed")]
    scored = to_scored(cohort_of(tmp_path, cases))

    assert cells(calibration_table(scored, DRAW), 3)["ece"].value is None
    assert reliability_table(scored).rows == ()
    assert decision_table(scored).rows == ()


def test_net_benefit_by_hand():
    positive = np.array([True, True, False, False, False])
    score = np.array([0.9, 0.2, 0.6, 0.1, 0.1])
    found = net_benefit(positive, score, np.array([0.25, 0.75]))

    # At 1/4: one of five true, one of five false at odds 1/3; at 3/4 one true.
    assert found == pytest.approx([1 / 5 - 1 / 5 / 3, 1 / 5])


def test_acting_on_all_at_a_half_is_share_minus_rest(tmp_path):
    table = decision_table(to_scored(cohort_of(tmp_path, table_2_cases())))
    row = cells(table, 9)

    assert row["threshold"].value == pytest.approx(0.5)
    assert row["net_benefit_all"].value == pytest.approx((126 - 129) / 255)


class TestBaselines:
    def cases(self, of_each=15):
        generator = np.random.default_rng(0)
        cases = balanced_cases(of_each)
        for case in cases:
            is_tumour = case.diagnosis in {"astrocytoma", "ependymoma"}
            age = 30 + 20 * is_tumour + generator.normal(0, 5)
            case.truth = {"age": f"{age:.0f}", "sex": "FM"[is_tumour], "site": "a"}
            case.result = {"lesion_volume_ml": 20.0 if is_tumour else 1.0}
        return cases

    def test_a_leak_is_seen(self, tmp_path):
        cohort = cohort_of(tmp_path, self.cases())
        table = baseline_table(cohort, to_scored(cohort))
        rows = [cells(table, place) for place in range(len(table.rows))]

        assert [row["baseline"] for row in rows[::3]] == [
            "age, sex", "lesion shape (program's masks)",
        ]  # fmt: skip
        assert rows[0]["baseline_auc"].value == 1.0
        assert rows[1]["baseline_auc"].value < 0.9
        assert rows[3]["baseline_accuracy"].value == 1.0

    def test_a_useless_column_is_at_chance_not_below(self):
        found = []
        for seed in range(25):
            generator = np.random.default_rng(seed)
            positive = generator.random(120) < 0.45
            column = (generator.random((120, 1)) < 0.5).astype(float)
            _, rank = cross_validated_scores(column, positive)
            found.append(auc(positive, rank).value)

        assert np.mean(found) == pytest.approx(0.5, abs=0.02)

    def test_few_patients_get_no_baseline(self, tmp_path):
        cohort = cohort_of(tmp_path, self.cases(of_each=4))
        row = cells(baseline_table(cohort, to_scored(cohort)), 0)

        assert (row["baseline_auc"].value, row["program_accuracy"].value) == (None, 1.0)
        assert "fewer than 10" in row["baseline_auc"].reason

    def test_nothing_to_learn_from(self, tmp_path):
        cases = [Case(c.name, c.diagnosis, None, "failed") for c in balanced_cases(12)]
        cohort = cohort_of(tmp_path, cases)

        assert baseline_table(cohort, to_scored(cohort)) is None

    def test_unknown_values_are_marked(self, tmp_path):
        cases = balanced_cases(1)
        for case, (sex, site) in zip(
            cases, ["Fa", "Mb", ("", "c"), ("F", "")], strict=True
        ):
            case.truth = {"sex": sex, "site": site}
        found = baseline_features(cohort_of(tmp_path, cases))

        assert np.array_equal(found["sex"].ravel(), [0, 1, np.nan, 0], equal_nan=True)
        assert found["site"].shape == (4, 2)
        assert np.isnan(found["site"][3]).all()


class TestComparison:
    def test_one_folder_better_in_model_3(self, tmp_path):
        good = balanced_cases(12)
        poor = [Case(c.name, c.diagnosis, c.scores) for c in good]
        for n, case in enumerate(poor[24:]):
            case.scores = scores_for(2 if n % 3 else 3)
        first = to_scored(cohort_of(tmp_path / "a", good))
        other = to_scored(cohort_of(tmp_path / "b", good, poor))
        table = classification_comparison(first, {"b": other})
        rows = [cells(table, place) for place in range(len(table.rows))]

        assert [row["p_accuracy"].value for row in rows[:2]] == [1.0, 1.0]
        # 4 of 12 MS and 8 of 12 NMOSD are wrong in b alone.
        assert rows[2]["p_accuracy"].value == pytest.approx(2 * 0.5**12)
        assert rows[2]["p_accuracy_holm"].value == pytest.approx(3 * 2 * 0.5**12)
        assert rows[2]["p_auc"].value < 0.001

    def test_a_task_without_patients_is_not_tested(self, tmp_path):
        scored = to_scored(cohort_of(tmp_path, balanced_cases(2)[:4]))
        row = cells(classification_comparison(scored, {"b": scored}), 2)

        assert (row["p_accuracy"].value, row["p_auc"].value) == (None, None)
        assert row["p_accuracy"].reason == "no patient of this task"

    def test_dice_of_shared_patients(self):
        first = [_with_dice(f"{n}", 0.8) for n in range(10)]
        other = [_with_dice(f"{n}", 0.5 + 0.02 * n) for n in range(1, 12)]
        table = dice_comparison(first, {"b": other, "c": []}, DRAW)
        row = cells(table)

        assert (len(table.rows), row["patients"]) == (1, 9)
        assert row["difference"].value == pytest.approx(0.2)
        assert row["p"].value == pytest.approx(2 * 0.5**9)

    def test_dice_the_same_or_not_shared(self):
        first = [_with_dice("a", 0.8), _with_dice("b", 0.5)]
        row = cells(dice_comparison(first, {"same": first}, DRAW))

        assert row["p"].reason == "no test: Dice is the same in every patient"
        assert dice_comparison(first, {"none": []}, DRAW) is None


def _with_dice(case, dice):
    return PatientOverlap(case, "ms", Overlap(100, 100, 100 * dice, true_lesions=1))
