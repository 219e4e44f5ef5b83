import numpy as np
import pytest
from phantoms import FakeNetworks, fake_bundle
from training_cases import read_table

from spinaldx.study import read_cases
from spinaldx.training import promotion
from spinaldx.training.cases import group_patients
from spinaldx.training.options import Stage
from spinaldx.training.promotion import (
    Interval,
    Marks,
    judge,
    mark_patients,
    paired_interval,
)

GUESS = 0.625


def marks(dice, classes, count=20, spread=0.05, seed=0):
    generator = np.random.default_rng(seed)
    noise = generator.normal(0.0, spread, (count, 2))
    return {
        f"p{number}": Marks(dice + one, classes + two, is_right=True)
        for number, (one, two) in enumerate(noise)
    }


GOOD, BETTER = marks(0.6, 0.8), marks(0.7, 0.85, seed=1)


class TestJudge:
    def test_better_is_promoted(self):
        verdict = judge(BETTER, GOOD, Stage.ALL)

        assert verdict.is_promoted
        assert verdict.against_old["dice"].mean == pytest.approx(0.1, abs=0.05)

    def test_equal_is_not_promoted(self):
        verdict = judge(GOOD, GOOD, Stage.ALL)

        assert not verdict.is_promoted
        assert "not better than the old" in verdict.reason

    def test_worse_in_one_figure_is_not_promoted(self):
        verdict = judge(marks(0.9, 0.7), GOOD, Stage.ALL)

        assert "worse than the old bundle in classes" in verdict.reason

    def test_a_stage_is_judged_by_what_it_changes(self):
        assert judge(marks(0.9, 0.2), GOOD, Stage.SEGMENTATION).is_promoted
        assert judge(marks(0.2, 0.9), GOOD, Stage.CLASSIFICATION).is_promoted

    def test_no_better_than_guessing_is_not_promoted(self):
        # As after training on shuffled diagnoses, from an old bundle that is
        # certain and, measured on shuffled truth, wrong.
        verdict = judge(marks(0.7, GUESS), marks(0.6, 0.4), Stage.ALL)

        assert not verdict.is_promoted
        assert "knowing nothing in classes" in verdict.reason

    def test_from_scratch_it_must_know_something(self):
        assert judge(GOOD, None, Stage.ALL).is_promoted
        assert not judge(marks(0.0, GUESS), None, Stage.ALL).is_promoted

    def test_healthy_patients_count_for_dice_alone(self):
        healthy = {"h": Marks(0.5, None, None)}
        verdict = judge({**GOOD, **healthy}, None, Stage.ALL)

        assert verdict.figures["dice"].patients == 21
        assert verdict.figures["classes"].patients == 20

    def test_one_patient_promotes_nothing(self):
        verdict = judge(marks(0.9, 0.9, 1), marks(0.1, 0.7, 1), Stage.ALL)

        assert not verdict.is_promoted
        assert "by 1 validation patient." in verdict.reason

    def test_healthy_patients_alone_cannot_judge(self):
        verdict = judge({"h": Marks(1.0, None, None)}, None, Stage.SEGMENTATION)

        assert not verdict.is_promoted
        assert not verdict.against_nothing

    def test_nobody_to_judge_by(self):
        assert "no validation patients" in judge({}, None, Stage.ALL).reason


class TestPairedInterval:
    def test_holds_the_mean(self):
        interval = paired_interval(np.linspace(0.0, 0.6, 31))

        assert interval.mean == pytest.approx(0.3)
        assert 0.2 < interval.low < 0.3 < interval.high < 0.4

    def test_tells_the_side_of_zero(self):
        few = np.array([0.1, 0.11, 0.12])

        assert paired_interval(few).is_above_zero
        assert paired_interval(-few).is_below_zero

    def test_few_patients_have_student_s_interval(self):
        # Mean 0.2, standard error 0.1 / sqrt(3), t of two degrees of freedom 4.3027.
        interval = paired_interval(np.array([0.1, 0.2, 0.3]))

        assert interval.low == pytest.approx(0.2 - 4.3027 * 0.1 / 3**0.5, abs=1e-4)
        assert interval.high == pytest.approx(0.2 + 4.3027 * 0.1 / 3**0.5, abs=1e-4)

    def test_one_patient_tells_nothing(self):
        assert paired_interval(np.array([0.4]), lowest=0.0) == Interval(
            0.4, 0.0, 1.0, 1
        )
        assert paired_interval(np.array([0.4])).low == -1.0

    def test_equal_bundles_are_rarely_called_better_by_few_patients(self):
        generator = np.random.default_rng(0)
        draws = generator.normal(0.0, 0.1, (1000, 4))
        better = sum(paired_interval(one).is_above_zero for one in draws)

        assert better < 50


class TestMarkPatients:
    @pytest.fixture
    def patients(self, cohort):
        assert read_table(cohort)
        return group_patients(read_cases(cohort))

    @pytest.fixture
    def networks(self, monkeypatch):
        made = FakeNetworks()
        monkeypatch.setattr(promotion, "open_networks", lambda *_: made)
        return made

    def test_marks_everybody_and_closes(self, patients, networks):
        told = []
        found = mark_patients(
            fake_bundle(), patients[-3:], advance=lambda *at: told.append(at)
        )

        assert list(found) == ["p16", "p17", "p18"]
        assert told[-1] == (3, 3)
        assert networks.is_closed

    def test_a_healthy_patient_has_no_class(self, patients, networks):
        found = mark_patients(fake_bundle(), patients[-1:])

        assert found["p18"].classes is None

    def test_a_missed_lesion_counts_as_a_guess(self, patients, networks, monkeypatch):
        blind = lambda slices: np.zeros((len(slices), 2, *slices.shape[2:]), np.float32)  # noqa: E731
        monkeypatch.setattr(networks, "segment", blind)
        found = mark_patients(fake_bundle(), patients[:1])

        assert found["p01"] == Marks(0.0, GUESS, is_right=False)

    def test_a_certain_right_answer_scores_one(self, patients, networks, monkeypatch):
        def truth(slices):
            inside = slices[:, 0] > 0.7
            return np.stack((inside, inside), axis=1).astype(np.float32)

        monkeypatch.setattr(networks, "segment", truth)
        nmosd = dict.fromkeys(networks.logits, (-20.0, 20.0))
        networks.logits = nmosd
        found = mark_patients(fake_bundle(), patients[3:4])

        assert found["p04"].classes == pytest.approx(1.0)
        assert found["p04"].is_right
