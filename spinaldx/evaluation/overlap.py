"""One predicted mask against one true mask of the same image.

Surfaces are the voxels of a mask that share a face with the outside; distances
between them are in mm. HD95 is the larger of the two directed 95th percentiles,
as in MONAI; the surface Dice counts surface voxels within a tolerance (Nikolov
et al. 2021, in its voxel form).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinaldx.errors import GeometryError, UsageError
from spinaldx.evaluation.estimates import BoolArray, FloatArray
from spinaldx.stages.pieces import bounding_box

# Voxels that share a face, an edge or a corner belong to one lesion.
TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class OverlapOptions:
    """How masks are compared.

    Attributes:
        tolerance_mm: Surface voxels nearer than this agree.
        lesion_overlap: Share of a lesion that must be covered to count as found.

    Raises:
        UsageError: If the tolerance is no length.
    """

    tolerance_mm: float = 1.0
    lesion_overlap: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance_mm) and self.tolerance_mm >= 0.0):
            message = "The tolerance must be a number of mm, and not negative."
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Sums from which every segmentation metric follows; they add over series.

    Attributes:
        truth_mm3: Volume of the true mask.
        predicted_mm3: Volume of the predicted mask.
        common_mm3: Volume in both.
        surface_near: Surface voxels of both within the tolerance of the other.
        surface_all: Surface voxels of both.
        hd95_mm: HD95, of several series the largest; None if a mask is empty.
        true_lesions: Components of the true mask.
        found_lesions: Those covered enough.
        predicted_lesions: Components of the predicted mask.
        right_lesions: Those that cover truth enough.
    """

    truth_mm3: float = 0.0
    predicted_mm3: float = 0.0
    common_mm3: float = 0.0
    surface_near: int = 0
    surface_all: int = 0
    hd95_mm: float | None = None
    true_lesions: int = 0
    found_lesions: int = 0
    predicted_lesions: int = 0
    right_lesions: int = 0

    @property
    def dice(self) -> float | None:
        """Dice, 0 if one mask is empty; None if both are."""
        both = self.truth_mm3 + self.predicted_mm3
        return 2 * self.common_mm3 / both if both else None

    @property
    def surface_dice(self) -> float | None:
        """Normalised surface Dice; None if both masks are empty."""
        return self.surface_near / self.surface_all if self.surface_all else None

    def __add__(self, other: "Overlap") -> "Overlap":
        distances = [
            value for value in (self.hd95_mm, other.hd95_mm) if value is not None
        ]
        return Overlap(
            self.truth_mm3 + other.truth_mm3,
            self.predicted_mm3 + other.predicted_mm3,
            self.common_mm3 + other.common_mm3,
            self.surface_near + other.surface_near,
            self.surface_all + other.surface_all,
            max(distances, default=None),
            self.true_lesions + other.true_lesions,
            self.found_lesions + other.found_lesions,
            self.predicted_lesions + other.predicted_lesions,
            self.right_lesions + other.right_lesions,
        )


def compare_masks(
    truth: BoolArray,
    predicted: BoolArray,
    spacing_mm: tuple[float, float, float],
    options: OverlapOptions | None = None,
) -> Overlap:
    """Compare two masks on one grid.

    Args:
        truth: (I, J, K).
        predicted: (I, J, K).
        spacing_mm: Voxel edges along I, J, K.
        options: Tolerance and lesion rule.

    Raises:
        GeometryError: If the shapes differ.
    """
    if truth.shape != predicted.shape:
        message = f"Masks differ in shape: {truth.shape} and {predicted.shape}."
        raise GeometryError(message)
    options = options or OverlapOptions()
    box = bounding_box(truth | predicted)
    truth, predicted = truth[box], predicted[box]
    if not truth.size:
        return Overlap()
    voxel_mm3 = float(np.prod(spacing_mm))
    common = truth & predicted
    to_predicted, to_truth = _surface_distances(truth, predicted, spacing_mm)
    distances = np.concatenate([to_predicted, to_truth])
    true_lesions, found = _count_covered(truth, common, options.lesion_overlap)
    predicted_lesions, right = _count_covered(predicted, common, options.lesion_overlap)
    return Overlap(
        truth_mm3=int(truth.sum()) * voxel_mm3,
        predicted_mm3=int(predicted.sum()) * voxel_mm3,
        common_mm3=int(common.sum()) * voxel_mm3,
        surface_near=int((distances <= options.tolerance_mm).sum()),
        surface_all=len(distances),
        hd95_mm=_hd95(to_predicted, to_truth),
        true_lesions=true_lesions,
        found_lesions=found,
        predicted_lesions=predicted_lesions,
        right_lesions=right,
    )


def _surface_distances(
    truth: BoolArray, predicted: BoolArray, spacing_mm: tuple[float, float, float]
) -> tuple[FloatArray, FloatArray]:
    true_surface, predicted_surface = _surface(truth), _surface(predicted)
    to_predicted = _distances(true_surface, predicted_surface, spacing_mm)
    to_truth = _distances(predicted_surface, true_surface, spacing_mm)
    return to_predicted, to_truth


def _surface(mask: BoolArray) -> BoolArray:
    return mask & ~ndimage.binary_erosion(mask)


def _distances(
    start: BoolArray, target: BoolArray, spacing_mm: tuple[float, float, float]
) -> FloatArray:
    if not target.any():
        return np.full(int(start.sum()), np.inf)
    everywhere = ndimage.distance_transform_edt(~target, sampling=spacing_mm)
    return np.asarray(everywhere)[start]


def _hd95(to_predicted: FloatArray, to_truth: FloatArray) -> float | None:
    if len(to_predicted) == 0 or len(to_truth) == 0:
        return None
    one_way, other_way = np.percentile(to_predicted, 95), np.percentile(to_truth, 95)
    return float(max(one_way, other_way))


def _count_covered(
    mask: BoolArray, common: BoolArray, needed_share: float
) -> tuple[int, int]:
    labels, count = ndimage.label(mask, structure=TOUCHING)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    covered = np.bincount(labels[common], minlength=count + 1)[1:]
    # An empty overlap is never enough, whatever the share asked for.
    enough = (covered > 0) & (covered >= needed_share * sizes)
    return int(count), int(enough.sum())
