"""Area under the ROC curve with DeLong's variance, alone and paired.

The structural components come from midranks (Sun and Xu, IEEE Signal Processing
Letters 2014), which gives the variances of DeLong et al. (Biometrics 1988)
exactly, ties included, in N log N.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from spinaldx.evaluation.estimates import BoolArray, Estimate, FloatArray, undefined

_Z = 1.959963984540054
_ONE_CLASS = "no AUC: only one class is there"
_ONE_PATIENT = "no interval: fewer than two patients in a class"
_NO_SPREAD = (
    "no interval: DeLong's variance is zero, as where the classes are separated or "
    "all scores are equal"
)


@dataclass(frozen=True, slots=True)
class AucDifference:
    """Two scores on the same patients.

    Attributes:
        difference: AUC of the first minus AUC of the second, with its interval.
        z: Test statistic; None when undefined.
        p: Two-sided p value; None when undefined.
    """

    difference: Estimate
    z: float | None
    p: float | None


def auc_covariance(
    positive: BoolArray, scores: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """AUC of several scores on the same patients, and their covariance.

    Args:
        positive: Class of each patient, (N,); at least two of each class.
        scores: One row a score, (M, N), higher means positive; infinities allowed.

    Returns:
        The AUCs, (M,), and their covariance matrix, (M, M).
    """
    cases, controls = scores[:, positive], scores[:, ~positive]
    m, n = cases.shape[1], controls.shape[1]
    joint = stats.rankdata(np.concatenate([cases, controls], axis=1), axis=1)
    of_cases = (joint[:, :m] - stats.rankdata(cases, axis=1)) / n
    of_controls = 1 - (joint[:, m:] - stats.rankdata(controls, axis=1)) / m
    aucs = of_cases.mean(axis=1)
    covariance = np.atleast_2d(np.cov(of_cases)) / m
    covariance = covariance + np.atleast_2d(np.cov(of_controls)) / n
    return aucs, covariance


def auc(positive: BoolArray, score: FloatArray) -> Estimate:
    """AUC with DeLong's 95 % interval, cut to 0..1.

    Args:
        positive: Class of each patient, (N,).
        score: Higher means positive, (N,).
    """
    cases = int(positive.sum())
    controls = len(positive) - cases
    if min(cases, controls) == 0:
        return undefined(_ONE_CLASS, total=len(positive))
    if min(cases, controls) == 1:
        value = _mann_whitney(positive, score)
        return Estimate(value, total=len(positive), reason=_ONE_PATIENT)
    aucs, covariance = auc_covariance(positive, score[None])
    value, variance = float(aucs[0]), float(covariance[0, 0])
    if variance <= 0:
        return Estimate(value, total=len(positive), reason=_NO_SPREAD)
    half = _Z * math.sqrt(variance)
    low, high = max(0.0, value - half), min(1.0, value + half)
    return Estimate(value, low, high, total=len(positive))


def compare_aucs(
    positive: BoolArray, first: FloatArray, second: FloatArray
) -> AucDifference:
    """DeLong's paired test of two scores on the same patients."""
    total = len(positive)
    cases = int(positive.sum())
    if min(cases, total - cases) < 2:
        reason = "no test: fewer than two patients in a class"
        return AucDifference(undefined(reason, total), None, None)
    aucs, covariance = auc_covariance(positive, np.stack([first, second]))
    difference = float(aucs[0] - aucs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Identical rankings leave rounding noise where the variance should be zero.
    if variance <= 1e-15:
        reason = "no test: the two scores order the patients with no spread between"
        estimate = Estimate(difference, total=total, reason=reason)
        return AucDifference(estimate, None, 1.0 if abs(difference) < 1e-12 else None)
    error = math.sqrt(variance)
    z = difference / error
    low, high = difference - _Z * error, difference + _Z * error
    p = float(2 * stats.norm.sf(abs(z)))
    return AucDifference(Estimate(difference, low, high, total=total), z, p)


def _mann_whitney(positive: BoolArray, score: FloatArray) -> float:
    cases, controls = score[positive][:, None], score[~positive][None]
    return float(np.mean((cases > controls) + 0.5 * (cases == controls)))
