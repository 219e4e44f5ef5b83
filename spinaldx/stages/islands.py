"""Small marks that are lesions all the same: clearly brighter than the cord round them.

Of a small lesion a network may be sure in a few voxels only, fewer than the size filter
asks for. What it holds possible round them is larger, and in healthy cords no brighter
than the cord. Pure numpy and scipy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray
from spinaldx.stages.extent import Evidence, can_be_added
from spinaldx.stages.pieces import number_pieces


@dataclass(frozen=True, slots=True)
class IslandOptions:
    """What is taken for a lesion although its mark is too small or doubtful.

    Attributes:
        threshold: Lesion probability that one of its voxels must have.
        possible: Share of it that all of its voxels have.
        least_volume_mm3: It is at least so large.
        least_cord: In the median its voxels have at least this share of the cord
            probability where that is surest: they do not touch the fluid.
        most_lateral: In the median they lie no farther than this from the cord's middle,
            in its half widths: nearer to its side slices show fluid as well.
        least_contrast: It is this many times as bright as the cord without lesion
            nearby, whether the cord's shading is evened out or not.
    """

    threshold: float = 0.5
    possible: float = 0.4
    least_volume_mm3: float = 30.0
    least_cord: float = 0.93
    most_lateral: float = 0.6
    least_contrast: float = 1.35


def islands_beside(
    labels: NDArray[np.uint8], evidence: Evidence, options: IslandOptions
) -> BoolArray:
    """Find what a network holds possible round voxels that it is sure of.

    Args:
        labels: (I, J, K) uint8, marks numbered from 1.
        evidence: Probabilities, and where lesions can lie.
        options: What counts; nothing is said of brightness here.

    Returns:
        (I, J, K) bool: pieces that are large enough and touch no mark.
    """
    marked = labels > 0
    is_sure = (evidence.lesion_probability >= options.threshold) & ~marked
    # Most images show none, and the rest takes longer.
    if not is_sure.any():
        return np.zeros_like(marked)
    probability = np.where(can_be_added(evidence), evidence.lesion_probability, 0)
    is_sure &= probability > 0
    is_possible = probability >= options.possible * options.threshold
    pieces, count = number_pieces(is_possible | marked)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    keep = np.zeros(count + 1, dtype=np.bool_)
    keep[pieces[is_sure]] = True
    keep &= sizes * evidence.volume.voxel_mm3 >= options.least_volume_mm3
    keep[pieces[marked]] = False
    return keep[pieces]
