"""The main cord: its largest pieces, and how far to either side it can reach.

Pure numpy and scipy. A network that looks at single slices takes bright fluid beside
the cord for cord; seen from all slices together it lies where no cord can be.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray, Float32Array, Volume

# Voxels that share a face, an edge or a corner belong together.
_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class CordOptions:
    """Which voxels are the main cord.

    Attributes:
        threshold: Cord probability from which a voxel is cord.
        share: A piece of cord of at least this share of the largest is main cord
            too: a lesion or a dim region may cut the cord in two.
        half_width_mm: Half of the widest cord from side to side that is not swollen.
            On average they are 14.0 mm wide at C4, their widest (AJNR 1990).
        swollen: A cord thicker from front to back may reach this many times its
            thickness to either side.
        window_mm: Length of cord that is looked at together.
        lesion_weight: What a voxel that is surely lesion counts for when the cord's
            middle is sought; cord without lesion counts 1 more.
    """

    threshold: float = 0.5
    share: float = 0.2
    half_width_mm: float = 7.5
    swollen: float = 0.9
    window_mm: float = 30.0
    lesion_weight: float = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class MainCord:
    """The cord of one series.

    Attributes:
        voxels: (I, J, K) bool, empty when nothing is cord.
        reach: Where, from side to side, the cord and what lies in it can be; bool that
            broadcasts with the voxels.
    """

    voxels: BoolArray
    reach: BoolArray


def main_cord(
    cord_probability: Float32Array | None,
    volume: Volume,
    options: CordOptions | None = None,
    *,
    lesion_probability: Float32Array | None = None,
) -> MainCord | None:
    """Find the main cord: the largest 3-D pieces within its reach.

    Args:
        cord_probability: (I, J, K) float32 in 0..1 on the volume's grid.
        volume: Says which axes are which.
        options: Threshold and widths.
        lesion_probability: (I, J, K) float32 in 0..1. Bright fluid beside the cord
            may be taken for cord full of lesion; where there is cord without lesion
            too, that alone says where the middle is.

    Returns:
        None when the network gives no cord.
    """
    if cord_probability is None:
        return None
    options = options or CordOptions()
    cord = _largest(cord_probability >= options.threshold, options.share)
    weights = _weights(cord, lesion_probability, options)
    reach = lateral_reach(cord, volume, options, weights=weights)
    return MainCord(_largest(cord & reach, options.share), reach)


def _weights(
    cord: BoolArray, lesion_probability: Float32Array | None, options: CordOptions
) -> Float32Array:
    if lesion_probability is None:
        return cord.astype(np.float32)
    plain = np.clip(1 - 2 * lesion_probability, 0, 1) + options.lesion_weight
    return np.asarray(plain * cord, dtype=np.float32)


def lateral_reach(
    cord: BoolArray,
    volume: Volume,
    options: CordOptions,
    *,
    weights: Float32Array | None = None,
) -> BoolArray:
    """Say where, from side to side, the cord can be at all.

    In each row the cord's middle is the median across the slices of the voxels that
    are cord nearby, and its thickness that of the thickest slice.

    Args:
        cord: (I, J, K) bool on the volume's grid.
        volume: Says which axes are which.
        options: Widths.
        weights: What each voxel counts for in the median, (I, J, K), above 0 where
            there is cord and 0 elsewhere; None: all alike.

    Returns:
        Bool that broadcasts with (I, J, K); all True where nothing is cord.
    """
    upright = volume.upright_axis
    lateral = volume.slice_axis
    depth = ({0, 1, 2} - {upright, lateral}).pop()
    axes = upright, lateral, depth
    counts = _count(cord, axes)
    seen = np.flatnonzero(counts.any(axis=1))
    if not len(seen):
        return np.ones((1, 1, 1), dtype=np.bool_)
    spacing_mm = np.asarray(volume.spacing_mm)
    near = round(options.window_mm / spacing_mm[upright] / 2)
    totals = _moving_sum(counts, near)
    rows = seen[np.abs(np.arange(len(counts))[:, None] - seen).argmin(axis=1)]
    weighed = totals if weights is None else _moving_sum(_count(weights, axes), near)
    middle = _weighted_median(weighed[rows])
    rows_seen = _moving_sum(counts.sum(axis=1, keepdims=True) > 0, near)
    thick_mm = (totals / np.maximum(rows_seen, 1)).max(axis=1)[rows] * spacing_mm[depth]
    limit_mm = np.maximum(options.half_width_mm, options.swollen * thick_mm)
    away_mm = np.abs(np.arange(counts.shape[1]) - middle[:, None]) * spacing_mm[lateral]
    reach = (away_mm <= limit_mm[:, None])[:, :, None]
    return np.asarray(np.moveaxis(reach, (0, 1, 2), axes))


def _count(
    voxels: NDArray[np.generic], axes: tuple[int, int, int]
) -> NDArray[np.generic]:
    """Sum (I, J, K) over depth: rows, then slices."""
    moved = np.moveaxis(voxels, axes, (0, 1, 2))
    return np.asarray(moved.sum(axis=2))


def _largest(cord: BoolArray, share: float) -> BoolArray:
    from scipy import ndimage  # noqa: PLC0415 - slow; imported beside other work

    pieces, count = ndimage.label(cord, structure=_NEIGHBOURS)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    main = (sizes > 0) & (sizes >= share * sizes.max())
    return np.asarray(main[pieces], dtype=np.bool_)


def _moving_sum(rows: NDArray[np.generic], near: int) -> NDArray[np.float64]:
    """Sum (R, S) over rows no farther than `near`."""
    padded = np.pad(rows.astype(np.float64), ((near + 1, near), (0, 0)))
    running = padded.cumsum(axis=0)
    return np.asarray(running[2 * near + 1 :] - running[: -2 * near - 1])


def _weighted_median(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place, in slices, that halves each row of (R, S) non-negative weights.

    A slice's weight is spread evenly over its thickness.
    """
    running = weights.cumsum(axis=1)
    half = running[:, -1:] / 2
    first = (running < half).sum(axis=1)
    row = np.arange(len(weights))
    before = running[row, first] - weights[row, first]
    inside = (half[:, 0] - before) / np.maximum(weights[row, first], 1e-9)
    return np.asarray(first + inside - 0.5)
