import numpy as np
import pytest

from spinaldx.training.calibration import (
    MASK_CHOICES,
    Decision,
    apply_temperature,
    choose_mask,
    fit_decision,
    fit_temperature,
    youden_cut_off,
)


def coin_scores(sharpness, count=4000, seed=0):
    """Scores whose logits are `sharpness` times the true ones."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0.0, 2.0, count)
    truth = (generator.random(count) < 1 / (1 + np.exp(-logits))).astype(int)
    return truth, 1 / (1 + np.exp(-logits * sharpness))


class TestFitTemperature:
    @pytest.mark.parametrize("sharpness", [0.7, 1.0, 3.0])
    def test_finds_the_sharpness(self, sharpness):
        found = fit_temperature(*coin_scores(sharpness))

        assert found == pytest.approx(sharpness, rel=0.15)

    def test_certain_scores_stay_finite(self):
        truth = np.array([0, 0, 1, 1])

        assert fit_temperature(truth, truth.astype(float)) == 0.5


def test_temperature_one_changes_nothing():
    scores = np.array([0.1, 0.5, 0.9])

    assert np.allclose(apply_temperature(scores, 1.0), scores)
    assert np.allclose(apply_temperature(scores, 2.0), [0.25, 0.5, 0.75])


class TestYoudenCutOff:
    def test_lies_between_the_classes(self):
        scores = np.array([0.1, 0.3, 0.7, 0.8])

        assert youden_cut_off(np.array([0, 0, 1, 1]), scores) == 0.5

    def test_follows_the_data(self):
        scores = np.array([0.6, 0.65, 0.75, 0.8])

        assert youden_cut_off(np.array([0, 0, 1, 1]), scores) == pytest.approx(0.7)

    def test_stays_away_from_the_ends(self):
        scores = np.array([0.01, 0.02, 0.03, 0.04])

        assert youden_cut_off(np.array([0, 0, 1, 1]), scores) == 0.5

    def test_does_not_see_the_order_of_patients(self):
        truth, scores = coin_scores(1.0, 200)

        assert youden_cut_off(truth, scores) == youden_cut_off(
            truth[::-1], scores[::-1]
        )


class TestFitDecision:
    def test_too_few_patients_leave_it_plain(self):
        decision = fit_decision(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.9]))

        assert decision == Decision(patients=3)

    def test_margin_holds_about_a_twentieth(self):
        truth, scores = coin_scores(1.0)
        decision = fit_decision(truth, scores)
        calibrated = apply_temperature(scores, decision.temperature)
        share = (np.abs(calibrated - decision.cut_off) < decision.margin).mean()

        assert share == pytest.approx(0.05, abs=0.01)
        assert decision.patients == 4000

    def test_margin_is_bounded(self):
        truth = np.array([0, 0, 0, 1, 1, 1])
        decision = fit_decision(truth, np.array([0.01, 0.01, 0.02, 0.98, 0.99, 0.99]))

        assert decision.margin == 0.15


class TestChooseMask:
    def test_without_patients_keeps_the_first(self):
        assert choose_mask([]) == MASK_CHOICES[0]

    def test_takes_the_best_mean(self):
        scores = np.zeros((3, len(MASK_CHOICES)))
        scores[:, 4] = 0.5

        assert choose_mask(scores.tolist()) == MASK_CHOICES[4]

    def test_ties_keep_the_first(self):
        assert choose_mask([[0.5] * len(MASK_CHOICES)]) == MASK_CHOICES[0]
