"""What of a mask hangs together, and the box that it lies in.

Voxels that share a face, an edge or a corner hang together. Pure numpy and scipy.
"""

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray

_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


def bounding_box(inside: BoolArray, margin_voxels: int = 0) -> tuple[slice, ...]:
    """Return the smallest box that holds all True voxels.

    Args:
        inside: (I, J, K) bool.
        margin_voxels: So much wider on every side, where the image goes on.

    Returns:
        One slice an axis; empty ones where nothing is True.
    """
    sides = []
    for axis, size in enumerate(inside.shape):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        places = np.flatnonzero(inside.any(axis=others))
        if not len(places):
            sides.append(slice(0))
            continue
        first, last = int(places[0]), int(places[-1]) + 1
        sides.append(
            slice(max(first - margin_voxels, 0), min(last + margin_voxels, size))
        )
    return tuple(sides)


def number_pieces(inside: BoolArray) -> tuple[NDArray[np.int32], int]:
    """Number the pieces of a mask from 1, in the order of their first voxels.

    Args:
        inside: (I, J, K) bool.

    Returns:
        (I, J, K) int32, 0 outside; and how many there are.
    """
    from scipy import ndimage  # noqa: PLC0415 - slow; imported beside other work

    numbers = np.zeros(inside.shape, dtype=np.int32)
    # A mask fills a small part of the image, and labels cost by the voxel.
    box = bounding_box(inside)
    if not inside[box].size:
        return numbers, 0
    count = ndimage.label(inside[box], _NEIGHBOURS, output=numbers[box])
    return numbers, int(count)
