"""Where across the cord lesions lie, and how much of it they take.

Of MS most lesions lie in the lateral or dorsal columns and take less than half of the
cord's cross-section, of NMOSD most lie in the middle and take more; tumours fill the
cord. A sagittal slice shows one of the two directions across the cord, so a classifier
that sees slices cannot tell. Pure numpy.
"""

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray, Float32Array, Volume


def lesion_eccentricity(
    labels: NDArray[np.uint8], cord: BoolArray, place: Float32Array, volume: Volume
) -> float | None:
    """Say how far from the cord's middle the lesions' centres lie.

    From front to back a voxel's place is that between the cord's edges in its slice and
    row, from side to side that in the ellipse fitted to the cord; the centre is the mean
    over a lesion's voxels.

    Args:
        labels: (I, J, K) uint8, lesions numbered from 1.
        cord: (I, J, K) bool, the main cord; a lesion counts as a part of it.
        place: From the cord's middle in half widths of the cord, below 0 on one side and
            above on the other; broadcasts with (I, J, K).
        volume: Says which axes are which.

    Returns:
        Distance in half widths and half thicknesses of the cord, 0 in its middle, 1 at
        its edge; the mean over lesions weighted by their volumes. None without lesions,
        and where nothing is cord.
    """
    inside = labels > 0
    if not inside.any() or not cord.any():
        return None
    numbers = labels[inside]
    across = np.broadcast_to(place, inside.shape)[inside]
    along = _between_edges(cord | inside, inside, volume.depth_axis)
    sizes = np.bincount(numbers)[1:]
    sums = [np.bincount(numbers, weights=place)[1:] for place in (across, along)]
    return float(np.hypot(*sums).sum() / sizes.sum())


def lesion_cord_share(
    labels: NDArray[np.uint8], cord: BoolArray, volume: Volume
) -> float | None:
    """Say how much of the cord's cross-section the lesions take.

    Args:
        labels: (I, J, K) uint8, lesions numbered from 1.
        cord: (I, J, K) bool, the main cord; a lesion counts as a part of it.
        volume: Says which axes are which.

    Returns:
        Share of the cord in the rows where a lesion is, above 0 and at most 1; the mean
        over lesions weighted by their volumes. None without lesions, and where nothing
        is cord.
    """
    inside = labels > 0
    if not inside.any() or not cord.any():
        return None
    upright = volume.upright_axis
    in_row = np.moveaxis(cord | inside, upright, 0).sum(axis=(1, 2))
    rows, numbers = np.nonzero(inside)[upright], labels[inside]
    sizes = np.bincount(numbers)
    total = 0.0
    for number in range(1, len(sizes)):
        seen = in_row[np.unique(rows[numbers == number])].sum()
        total += sizes[number] ** 2 / max(seen, 1)
    return float(total / sizes.sum())


def _between_edges(
    cord: BoolArray, inside: BoolArray, depth: int
) -> NDArray[np.float64]:
    """Where voxels lie between front and back of the cord in their line, -1 to 1."""
    lines = np.moveaxis(cord, depth, -1)
    first = lines.argmax(axis=-1)
    last = lines.shape[-1] - 1 - lines[..., ::-1].argmax(axis=-1)
    middle, half = (first + last) / 2, (last - first + 1) / 2
    places = np.argwhere(inside)
    line = tuple(np.delete(places, depth, axis=1).T)
    return np.asarray((places[:, depth] - middle[line]) / half[line])
