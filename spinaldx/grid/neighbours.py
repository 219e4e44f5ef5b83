"""A slice and its neighbours as channels of the segmentation network.

In a slice that merely grazes the cord a lesion can hardly be told from fluid; in the
slice beside it both are plain to see.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Float32Array

# Neighbours lie about this far away, as in clinical scans. Of thinner slices every
# second or third is taken, so that they show what the network has learned from.
_NEIGHBOUR_MM = 3.3


def neighbour_offsets(channels: int, slice_mm: float) -> tuple[int, ...]:
    """Return where the channels of a slice come from, in slices.

    Args:
        channels: Odd; the slice itself is the middle one.
        slice_mm: Distance of the slices' centres.

    Returns:
        `channels` offsets from right to left, 0 in the middle.
    """
    step = max(round(_NEIGHBOUR_MM / slice_mm), 1)
    half = channels // 2
    return tuple(step * place for place in range(-half, half + 1))


def with_neighbours(
    stack: NDArray[np.generic], wanted: Sequence[int], offsets: tuple[int, ...]
) -> Float32Array:
    """Give slices their neighbours as channels.

    Args:
        stack: (S, H, W), any numeric type; may be memory-mapped.
        wanted: N slices.
        offsets: From `neighbour_offsets`, C of them.

    Returns:
        (N, C, H, W) float32; beyond the ends of the stack the outermost slice is
        repeated.
    """
    places = np.add.outer(np.asarray(wanted, dtype=np.intp), offsets)
    return np.asarray(stack[np.clip(places, 0, len(stack) - 1)], dtype=np.float32)
