import numpy as np
import pytest

from spinaldx.training.calibration import (
    MASK_CHOICES,
    Decision,
    apply_temperature,
    choose_mask,
    fit_decision,
    fit_shift,
    fit_temperature,
    patient_scores,
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


def coin_logits(sharpness, shift, slices=3, count=1500, seed=0):
    """Slices whose logits are so much sharper than the truth and moved."""
    truth, scores = coin_scores(1.0, count, seed)
    true_logits = np.log(scores / (1 - scores))
    return truth, [np.full(slices, one * sharpness + shift) for one in true_logits]


class TestPatientScores:
    def test_is_the_mean_of_the_softmax(self):
        logits = [np.log([1.0, 3.0]), np.array([0.0])]

        # Odds of 1 and 3 are 0.5 and 0.75.
        assert patient_scores(logits) == pytest.approx([0.625, 0.5])

    def test_a_shift_multiplies_the_odds_of_every_slice(self):
        scores = patient_scores([np.log([1.0, 3.0])], np.log(3.0))

        assert scores == pytest.approx([(0.75 + 0.9) / 2])

    def test_certain_slices_do_not_overflow(self):
        assert patient_scores([np.array([-2000.0, 2000.0])]) == pytest.approx([0.5])

    def test_nobody(self):
        assert patient_scores([]).shape == (0,)


class TestFitShift:
    @pytest.mark.parametrize(("sharpness", "moved"), [(1.0, 2.0), (2.0, -1.5), (1, 0)])
    def test_finds_what_was_moved(self, sharpness, moved):
        shift, temperature = fit_shift(*coin_logits(sharpness, moved))

        assert shift == pytest.approx(-moved, abs=0.25)
        assert temperature == pytest.approx(sharpness, rel=0.15)

    def test_rare_classes_count_as_much_as_common_ones(self):
        truth, logits = coin_logits(1.0, 0.0, count=4000)
        fewer = [n for n in range(len(truth)) if truth[n] == 1 or n % 8 == 0]
        shift, _ = fit_shift(truth[fewer], [logits[n] for n in fewer])

        # All but an eighth of class 0 left out: the odds of class 1 are eight times
        # as high in the sample, and it is not followed.
        assert shift == pytest.approx(0.0, abs=0.25)

    def test_of_equally_good_shifts_the_smallest(self):
        logits = [np.array([one]) for one in (-40.0, -40.0, 40.0, 40.0)]

        assert fit_shift(np.array([0, 0, 1, 1]), logits)[0] == 0.0


class TestYoudenCutOff:
    def test_lies_between_the_classes(self):
        scores = np.array([0.1, 0.3, 0.7, 0.8])

        assert youden_cut_off(np.array([0, 0, 1, 1]), scores) == 0.5

    def test_follows_the_data(self):
        scores = np.array([0.6, 0.65, 0.75, 0.8])

        assert youden_cut_off(np.array([0, 0, 1, 1]), scores) == pytest.approx(0.7)

    def test_a_little_better_is_chance(self):
        # One patient in 100 of each class is better off at 0.61.
        zeros = np.append(np.linspace(0.1, 0.4, 99), 0.6)
        ones = np.append(np.linspace(0.65, 0.9, 99), 0.62)
        truth = np.repeat([0, 1], 100)

        assert youden_cut_off(truth, np.concatenate((zeros, ones))) == 0.5

    def test_stays_away_from_the_ends(self):
        scores = np.array([0.01, 0.02, 0.03, 0.04])

        assert youden_cut_off(np.array([0, 0, 1, 1]), scores) == 0.5

    def test_does_not_see_the_order_of_patients(self):
        truth, scores = coin_scores(1.0, 200)

        assert youden_cut_off(truth, scores) == youden_cut_off(
            truth[::-1], scores[::-1]
        )


class TestFitDecision:
    def test_too_few_patients_are_not_fitted(self):
        truth, logits = np.array([0, 0, 1]), [np.array([n]) for n in (-2.0, -1.0, 2.0)]
        kept = Decision(0.0, 0.9, 0.45, 0.07)

        # Answers near 0.5 are none, and the card can tell that nothing was fitted.
        assert fit_decision(truth, logits) == Decision(margin=0.15, patients=0)
        assert fit_decision(truth, logits, kept) == kept

    @pytest.mark.parametrize(("of_each", "temperature"), [(4, 1.0), (5, 0.5)])
    def test_a_few_patients_make_no_answer_surer(self, of_each, temperature):
        truth = np.repeat((0, 1), of_each)
        logits = [np.array([2.0 if one else -2.0]) for one in truth]

        assert fit_decision(truth, logits).temperature == temperature

    def test_margin_holds_about_a_twentieth(self):
        truth, logits = coin_logits(1.0, 1.0)
        decision = fit_decision(truth, logits)
        scores = patient_scores(logits, decision.shift)
        calibrated = apply_temperature(scores, decision.temperature)
        share = (np.abs(calibrated - decision.cut_off) < decision.margin).mean()

        assert share == pytest.approx(0.05, abs=0.01)
        assert decision.patients == 1500
        assert decision.cut_off == pytest.approx(0.5, abs=0.1)

    def test_margin_is_bounded(self):
        truth = np.array([0, 0, 0, 1, 1, 1])
        logits = [np.array([one]) for one in (-5.0, -5.0, -4.0, 4.0, 5.0, 5.0)]
        decision = fit_decision(truth, logits)

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
