"""How far a lesion reaches: to where it is half as much brighter than the cord.

A network is sure of a lesion's middle and hesitates at its ends and in slices that
graze the cord, where a single slice shows little of it. What hangs together with a
mark, is as bright, and is held possible by the network belongs to it. Pure numpy and
scipy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray, Float32Array, Volume

# Voxels that share a face, an edge or a corner hang together.
_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class ExtentOptions:
    """What is added to a mark.

    Attributes:
        share: Where between the cord's brightness (0) and the mark's (1) a lesion ends.
        least_probabilities: Lesion probability that a voxel must have; the first
            with which the mark stays within `most_growth` counts, and if none does
            the mark stays as it is.
        least_cord: Cord probability that a voxel must have, so that fluid beside the
            cord is not added.
        most_growth: A mark is not made larger than this many times its volume: what
            would be is a shading of the whole cord.
        least_volume_mm3: Smaller marks stay: a short lesion is seen whole.
    """

    share: float = 0.5
    least_probabilities: tuple[float, ...] = (0.1, 0.2, 0.3)
    least_cord: float = 0.3
    most_growth: float = 2.0
    least_volume_mm3: float = 500.0


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What is known about each voxel of a series, all on one grid.

    Attributes:
        lesion_probability: (I, J, K) float32 in 0..1.
        cord_probability: (I, J, K) float32 in 0..1.
        reach: Where lesions can lie; bool that broadcasts with (I, J, K).
        volume: Intensities.
    """

    lesion_probability: Float32Array
    cord_probability: Float32Array
    reach: BoolArray
    volume: Volume


def lesion_extent(
    labels: NDArray[np.uint8],
    levels: NDArray[np.float64],
    evidence: Evidence,
    options: ExtentOptions | None = None,
) -> BoolArray:
    """Grow marks to where their brightness has fallen half way to the cord's.

    Args:
        labels: (I, J, K) uint8, marks numbered from 1.
        levels: Brightness of each mark, of the cord near it, and of that cord's
            brighter parts, (N, 3); nothing as dark as these is added. A mark with NaN
            or not brighter than the cord stays as it is.
        evidence: Probabilities and intensities.
        options: How far.

    Returns:
        (I, J, K) bool; every mark is inside. Empty without marks.
    """
    options = options or ExtentOptions()
    inside = np.asarray(labels > 0)
    possible = (
        (evidence.lesion_probability >= min(options.least_probabilities))
        & (evidence.cord_probability >= options.least_cord)
        & evidence.reach
    )
    box = _bounding_box(inside | possible)
    marks, voxels = labels[box], evidence.volume.voxels[box]
    sizes, voxel_mm3 = np.bincount(marks.ravel()), evidence.volume.voxel_mm3
    probability = np.where(possible, evidence.lesion_probability, 0)[box]
    for number, (mark_level, cord_level, cord_bright) in enumerate(levels, start=1):
        is_large = sizes[number] * voxel_mm3 >= options.least_volume_mm3
        # Not brighter either where one of them is not known.
        if is_large and mark_level > cord_level:
            end = cord_level + options.share * (mark_level - cord_level)
            bright = np.where(voxels >= max(end, cord_bright), probability, 0)
            inside[box] |= _grow(marks, number, bright, options)
    return inside


def _grow(
    marks: NDArray[np.uint8],
    number: int,
    probability: Float32Array,
    options: ExtentOptions,
) -> BoolArray:
    """Return a mark with what hangs together with it, other marks included."""
    from scipy import ndimage  # noqa: PLC0415 - slow; imported beside other work

    seed = np.asarray(marks == number)
    first = tuple(np.argwhere(seed)[0])
    for least in options.least_probabilities:
        pieces, _ = ndimage.label((probability >= least) | (marks > 0), _NEIGHBOURS)
        piece = np.asarray(pieces == pieces[first])
        marked = np.count_nonzero(piece & (marks > 0))
        if np.count_nonzero(piece) <= options.most_growth * marked:
            return piece
    return seed


def _bounding_box(inside: BoolArray) -> tuple[slice, ...]:
    """Slices that hold all True voxels; empty ones where there is none."""
    ends = []
    for axis in range(inside.ndim):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        places = np.flatnonzero(inside.any(axis=others))
        ends.append(slice(places[0], places[-1] + 1) if len(places) else slice(0))
    return tuple(ends)
