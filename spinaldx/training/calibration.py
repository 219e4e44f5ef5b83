"""Cut-offs, margins, temperatures and thresholds, from held-out patients alone.

A classifier answers each slice with a logit, that of its positive class minus that of
the other. A patient's score is the mean over the slices of their softmax (paper,
Methods); a shift is added to every slice's logit before, a temperature divides the
logit of the mean afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Truth = NDArray[np.generic]
SliceLogits = Sequence[NDArray[np.float64]]

# Shifts tried.
_SHIFTS = np.linspace(-5.0, 5.0, 201)

# Temperatures tried; with few patients none outside is believed.
_TEMPERATURES = np.exp(np.linspace(np.log(0.5), np.log(5.0), 181))

# Patients of each class needed to fit anything, and to believe a temperature below 1.
_FEWEST_TO_FIT = 2
_FEWEST_TO_SHARPEN = 5

# The margin holds this share of the patients, and is never wider than this. An answer
# passes two stages, so about twice the share is undecided.
_UNDECIDED_SHARE = 0.05
_WIDEST_MARGIN = 0.15

# Of cut-offs that differ by less in sensitivity plus specificity the one nearest to
# 0.5 is taken: so much is chance, and far from 0.5 cut-off and probabilities disagree.
_CHANCE = 0.02

# Cut-offs stay away from the ends, where a new scanner would tip every answer.
_LOWEST_CUT_OFF = 0.15

# Means are kept this far from 0 and 1, where the logit ends.
_TINY = 1e-7


@dataclass(frozen=True, slots=True)
class Decision:
    """What turns a classifier's mean softmax into an answer.

    Attributes:
        shift: Added to the logit of every slice. Bundles hold it in the bias of the
            classifier's last layer.
        temperature: The logit of the mean is divided by it.
        cut_off: At or above it the answer is class 1.
        margin: Nearer to the cut-off than this is undecided.
        patients: How many it was fitted on; 0 when it was not fitted.
    """

    shift: float = 0.0
    temperature: float = 1.0
    cut_off: float = 0.5
    margin: float = 0.0
    patients: int = 0


# What is known of a classifier that could not be calibrated: answers near 0.5 are none.
UNFITTED = Decision(margin=_WIDEST_MARGIN)


def fit_decision(
    truth: Truth, logits: SliceLogits, otherwise: Decision = UNFITTED
) -> Decision:
    """Fit shift, temperature, cut-off and margin of one classifier.

    Args:
        truth: Classes 0 and 1 of the patients, (N,).
        logits: Of each patient's slices, N arrays of at least one.
        otherwise: What to do with fewer than two patients of a class.

    Returns:
        The decision. With fewer than five patients of a class it is no surer than
        the classifier itself: a few patients that it separates say little.
    """
    ones = int((truth == 1).sum())
    fewest = min(ones, len(truth) - ones)
    if fewest < _FEWEST_TO_FIT:
        return otherwise
    shift, temperature = fit_shift(truth, logits)
    if fewest < _FEWEST_TO_SHARPEN:
        temperature = max(temperature, 1.0)
    calibrated = apply_temperature(patient_scores(logits, shift), temperature)
    cut_off = youden_cut_off(truth, calibrated)
    distance = np.abs(calibrated - cut_off)
    margin = min(float(np.quantile(distance, _UNDECIDED_SHARE)), _WIDEST_MARGIN)
    return Decision(shift, temperature, cut_off, margin, len(truth))


def patient_scores(logits: SliceLogits, shift: float = 0.0) -> Scores:
    """Return the mean softmax over each patient's slices, (N,)."""
    if not logits:
        return np.zeros(0)
    starts = np.cumsum([0, *(len(one) for one in logits[:-1])])
    # Without overflow on either side.
    softmax = np.exp(-np.logaddexp(0.0, -np.concatenate(logits) - shift))
    counts = np.array([len(one) for one in logits])
    return np.asarray(np.add.reduceat(softmax, starts) / counts)


def fit_shift(truth: Truth, logits: SliceLogits) -> tuple[float, float]:
    """Return shift and temperature with the smallest log loss together.

    With them 0.5 lies where both classes are as likely, so that the cut-offs of the
    stages and the probabilities of the diseases agree.
    """
    fitted = []
    for shift in _SHIFTS:
        scores = patient_scores(logits, shift)
        temperature = fit_temperature(truth, scores)
        loss = _balanced_loss(truth, scores, temperature)
        # Of equally good shifts the smallest.
        fitted.append((round(loss, 9), abs(shift), shift, temperature))
    _, _, shift, temperature = min(fitted)
    return float(round(shift, 4)), temperature


def fit_temperature(truth: Truth, scores: Scores) -> float:
    """Return the temperature with the smallest log loss, each class weighing half."""
    losses = [_balanced_loss(truth, scores, one) for one in _TEMPERATURES]
    return float(round(_TEMPERATURES[int(np.argmin(losses))], 4))


def _balanced_loss(truth: Truth, scores: Scores, temperature: float) -> float:
    calibrated = np.clip(apply_temperature(scores, temperature), _TINY, 1 - _TINY)
    ones, zeros = calibrated[truth == 1], calibrated[truth != 1]
    return float(-np.log(ones).mean() - np.log(1.0 - zeros).mean())


def apply_temperature(scores: Scores, temperature: float) -> Scores:
    """Divide the logits of scores by a temperature."""
    safe = np.clip(scores, _TINY, 1.0 - _TINY)
    logits = np.log(safe / (1.0 - safe)) / temperature
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def youden_cut_off(truth: Truth, scores: Scores) -> float:
    """Return the cut-off with the largest sensitivity plus specificity.

    Candidates lie half-way between neighbouring scores. Of those within 0.02 of the
    best the one nearest to 0.5 is taken.

    Returns:
        0.15 to 0.85.
    """
    order = np.unique(scores)
    candidates = np.concatenate(([0.5], (order[1:] + order[:-1]) / 2))
    candidates = np.clip(candidates, _LOWEST_CUT_OFF, 1.0 - _LOWEST_CUT_OFF)
    ones, zeros = scores[truth == 1], scores[truth == 0]
    youden = [(ones >= cut).mean() + (zeros < cut).mean() for cut in candidates]
    best = candidates[np.asarray(youden) >= max(youden) - _CHANCE]
    return float(round(best[int(np.argmin(np.abs(best - 0.5)))], 4))


@dataclass(frozen=True, slots=True)
class MaskChoice:
    """Which voxels become lesions.

    Attributes:
        threshold: Lesion probability from which a voxel is marked.
        min_lesion_mm3: Components below this volume are left out.
    """

    threshold: float = 0.5
    min_lesion_mm3: float = 30.0


# Tried on the held-out patients; the first is kept unless another is better.
MASK_CHOICES = (
    MaskChoice(0.5, 30.0),
    MaskChoice(0.35, 30.0),
    MaskChoice(0.65, 30.0),
    MaskChoice(0.5, 60.0),
    MaskChoice(0.5, 15.0),
    MaskChoice(0.65, 60.0),
    MaskChoice(0.8, 30.0),
    MaskChoice(0.8, 60.0),
    MaskChoice(0.9, 60.0),
)


def choose_mask(scores: Sequence[Sequence[float]]) -> MaskChoice:
    """Return the choice with the best mean score over patients.

    Args:
        scores: One row a patient, one column a member of `MASK_CHOICES`.

    Returns:
        The first choice when there is no patient.
    """
    if not scores:
        return MASK_CHOICES[0]
    means = np.asarray(scores).mean(axis=0)
    return MASK_CHOICES[int(np.argmax(np.round(means, 6)))]
