"""The main cord: its largest pieces, and how far to either side it can reach.

Pure numpy and scipy. A network that looks at single slices takes bright fluid beside
the cord for cord; seen from all slices together it lies where no cord can be.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray, Float32Array, Volume
from spinaldx.stages.cross_section import SectionOptions, fit_cross_sections
from spinaldx.stages.pieces import number_pieces


@dataclass(frozen=True, slots=True)
class CordOptions:
    """Which voxels are the main cord.

    Attributes:
        threshold: Cord probability from which a voxel is cord.
        share: A piece of cord of at least this share of the largest is main cord
            too: a lesion or a dim region may cut the cord in two.
        spare_mm: How far beyond its side the cord, and what lies in it, may reach.
        window_mm: Length of cord that is looked at together.
        every_mm: How often along the cord its cross-section is looked for.
        lesion_weight: What a voxel that is surely lesion counts for when the cord's
            middle is expected; cord without lesion counts 1 more.
        section: Which cross-sections are looked for.
    """

    threshold: float = 0.5
    share: float = 0.2
    spare_mm: float = 0.75
    window_mm: float = 30.0
    every_mm: float = 6.0
    lesion_weight: float = 0.03
    section: SectionOptions = field(default_factory=SectionOptions)


@dataclass(frozen=True, slots=True, eq=False)
class Lateral:
    """Where places lie from side to side; both broadcast with (I, J, K).

    Attributes:
        place: From the cord's middle in half widths of the cord: -1 at its side in the
            slices that come first, 1 at the other. All 0 where nothing is cord.
        reach: Bool, where the cord can be.
    """

    place: Float32Array
    reach: BoolArray

    @property
    def offset(self) -> Float32Array:
        """Distance from the cord's middle to either side in half widths of the cord."""
        return np.abs(self.place)


@dataclass(frozen=True, slots=True, eq=False)
class MainCord:
    """The cord of one series.

    Attributes:
        voxels: (I, J, K) bool, empty when nothing is cord.
        lateral: Where, from side to side, each place lies.
    """

    voxels: BoolArray
    lateral: Lateral

    @property
    def reach(self) -> BoolArray:
        """Where the cord and what lies in it can be; broadcasts with the voxels."""
        return self.lateral.reach


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
    lateral = find_lateral(cord, volume, options, weights=weights)
    return MainCord(_largest(cord & lateral.reach, options.share), lateral)


def _weights(
    cord: BoolArray, lesion_probability: Float32Array | None, options: CordOptions
) -> Float32Array:
    if lesion_probability is None:
        return cord.astype(np.float32)
    plain = np.clip(1 - 2 * lesion_probability, 0, 1) + options.lesion_weight
    return np.asarray(plain * cord, dtype=np.float32)


def find_lateral(
    cord: BoolArray,
    volume: Volume,
    options: CordOptions,
    *,
    weights: Float32Array | None = None,
) -> Lateral:
    """Say where from side to side each place lies, and where the cord can be at all.

    Every few millimetres an ellipse is fitted to the cord's mean thickness in each
    slice over the rows nearby (`stages.cross_section`). Of places that fit nearly
    alike the one nearest to the median of the voxels counts.

    Args:
        cord: (I, J, K) bool on the volume's grid.
        volume: Says which axes are which.
        options: How far it reaches.
        weights: What each voxel counts for in the median, (I, J, K), above 0 where
            there is cord and 0 elsewhere; None: all alike.

    Returns:
        Offsets and reach; reaching anywhere where nothing is cord.
    """
    upright = volume.upright_axis
    lateral = volume.slice_axis
    depth = volume.depth_axis
    axes = upright, lateral, depth
    counts = _count(cord, axes)
    seen = np.flatnonzero(counts.any(axis=1))
    if not len(seen):
        return Lateral(np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), np.bool_))
    spacing_mm = np.asarray(volume.spacing_mm)
    near = round(options.window_mm / spacing_mm[upright] / 2)
    rows = _spread(seen, options.every_mm / spacing_mm[upright])
    totals = _moving_sum(counts, near)
    weighed = totals if weights is None else _moving_sum(_count(weights, axes), near)
    rows_seen = _moving_sum(counts.sum(axis=1, keepdims=True) > 0, near)
    thickness_mm = (totals / np.maximum(rows_seen, 1))[rows] * spacing_mm[depth]
    expected_mm = _weighted_median(weighed[rows]) * spacing_mm[lateral]
    fitted = fit_cross_sections(
        thickness_mm, expected_mm, spacing_mm[lateral], options.section
    )
    sections = fitted.at(rows, np.arange(len(counts)))
    places_mm = np.arange(counts.shape[1]) * spacing_mm[lateral]
    away_mm = places_mm - sections.middle_mm[:, None]
    half_width_mm = sections.half_width_mm[:, None]
    place = (away_mm / half_width_mm)[:, :, None].astype(np.float32)
    reach = (np.abs(away_mm) <= half_width_mm + options.spare_mm)[:, :, None]
    return Lateral(
        np.moveaxis(place, (0, 1, 2), axes),
        np.asarray(np.moveaxis(reach, (0, 1, 2), axes)),
    )


def _spread(rows: NDArray[np.intp], apart: float) -> NDArray[np.intp]:
    """Of some rows, first and last and others about so many rows apart."""
    count = max(round(len(rows) / max(apart, 1.0)), 1) + 1
    places = np.linspace(0, len(rows) - 1, count).round().astype(np.intp)
    return np.asarray(rows[np.unique(places)])


def _count(
    voxels: NDArray[np.generic], axes: tuple[int, int, int]
) -> NDArray[np.generic]:
    """Sum (I, J, K) over depth: rows, then slices."""
    moved = np.moveaxis(voxels, axes, (0, 1, 2))
    return np.asarray(moved.sum(axis=2))


def _largest(cord: BoolArray, share: float) -> BoolArray:
    pieces, count = number_pieces(cord)
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
