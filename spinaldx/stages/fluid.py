"""Fluid beside the cord that was taken for a part of a lesion.

In a slice that grazes the cord a lesion and the fluid beside it look alike. But a part
of a lesion is hardly brighter than the lesion's middle, and fluid as a rule is. Pure
numpy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray, Float32Array, Volume


@dataclass(frozen=True, slots=True)
class FluidOptions:
    """What of a mark is fluid.

    Places are distances from the cord's middle in its half widths.

    Attributes:
        most_central: Up to here voxels show the lesion.
        least_lateral: Beyond, they may show fluid.
        quantile: Of the brightness of the central voxels: cysts make it larger.
        excess: In slices whose lateral voxels are in the median this many times as much
            brighter than the cord as that quantile, those are fluid.
        least_volume_mm3: With less than this in the middle nothing is compared, nor where
            that is no brighter than the cord.
    """

    most_central: float = 0.6
    least_lateral: float = 0.8
    quantile: float = 0.75
    excess: float = 1.2
    least_volume_mm3: float = 30.0


def without_fluid(
    labels: NDArray[np.uint8],
    offset: Float32Array,
    even: Volume,
    options: FluidOptions | None = None,
) -> BoolArray:
    """Take away from marks what slices that graze the cord show of fluid.

    Args:
        labels: (I, J, K) uint8, marks numbered from 1.
        offset: Distance from the cord's middle to either side in half widths of the
            cord; broadcasts with (I, J, K).
        even: The image with the cord near 1, from `shading.even_out`.
        options: What is fluid.

    Returns:
        (I, J, K) bool, inside the marks. Empty without marks.
    """
    options = options or FluidOptions()
    inside = np.asarray(labels > 0)
    places = np.argwhere(inside)
    numbers, values = labels[inside], even.voxels[inside]
    slices = places[:, even.slice_axis]
    away = np.broadcast_to(offset, labels.shape)[inside]
    is_left = np.ones(len(numbers), dtype=np.bool_)
    for number in range(1, int(labels.max(initial=0)) + 1):
        lesion = numbers == number
        central = lesion & (away <= options.most_central)
        central_mm3 = np.count_nonzero(central) * even.voxel_mm3
        if not central_mm3 or central_mm3 < options.least_volume_mm3:
            continue
        brighter = np.quantile(values[central], options.quantile) - 1
        if brighter <= 0:
            continue
        lateral = lesion & (away > options.least_lateral)
        for one in np.unique(slices[lateral]):
            seen = lateral & (slices == one)
            if np.median(values[seen]) - 1 > options.excess * brighter:
                is_left &= ~seen
    left = np.zeros_like(inside)
    left[inside] = is_left
    return left
