"""How far a lesion reaches: to about where it is half as much brighter than the cord.

A network is sure of a lesion's middle and hesitates at its ends and in slices that
graze the cord, where a single slice shows little of it. What hangs together with a
mark, is as bright, and is held possible by the network belongs to it; and what it marks
beyond that, most of all in the next slice, which shows a part of the lesion, does not.
Pure numpy and scipy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray, Float32Array, Volume
from spinaldx.stages.pieces import bounding_box, number_pieces


@dataclass(frozen=True, slots=True)
class ExtentOptions:
    """What is added to a mark.

    Attributes:
        share: Where between the cord's brightness (0) and the mark's (1) a lesion ends
            that the network does not mark: fluid lights up slices that graze the cord.
        least_probabilities: Lesion probability that a voxel must have; the first
            with which the mark stays within `most_growth` counts, and if none does
            the mark stays as it is.
        least_cord: Cord probability that a voxel must have, so that fluid beside the
            cord is not added.
        small_mm3: Of marks smaller than this most voxels lie near the cord's edge, so
            they need more.
        small_least_cord: Cord probability that a voxel must have there.
        most_growth: A mark is not made larger than this many times its volume: what
            would be is a shading of the whole cord.
    """

    share: float = 0.6
    least_probabilities: tuple[float, ...] = (0.15, 0.25, 0.35)
    least_cord: float = 0.3
    small_mm3: float = 500.0
    small_least_cord: float = 0.9
    most_growth: float = 2.0


@dataclass(frozen=True, slots=True)
class RimOptions:
    """What is taken away from a mark.

    Attributes:
        share: Where between the cord's brightness (0) and the mark's (1) it begins.
        blur_mm: Brightness is smoothed by this standard deviation in each slice, over
            cord and marks, so that noise makes no holes.
        least_volume_mm3: A mark of which less is left stays as it is, and so does one
            that would fall into several pieces of this volume.
        swollen: So does one where the cord is this many times as thick as nearby:
            solid tumours can be as bright as cord.
    """

    share: float = 0.5
    blur_mm: float = 0.7
    least_volume_mm3: float = 30.0
    swollen: float = 1.3


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
    """Grow marks over what is nearly as bright, and brighter than half way to the cord's.

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
    possible = can_be_added(evidence, options)
    box = bounding_box(inside | possible)
    marks, voxels = labels[box], evidence.volume.voxels[box]
    sizes, voxel_mm3 = np.bincount(marks.ravel()), evidence.volume.voxel_mm3
    probability = np.where(possible, evidence.lesion_probability, 0)[box]
    well_inside = evidence.cord_probability[box] >= options.small_least_cord
    for number, (mark_level, cord_level, cord_bright) in enumerate(levels, start=1):
        # Not brighter either where one of them is not known.
        if mark_level > cord_level:
            end = cord_level + options.share * (mark_level - cord_level)
            bright = voxels >= max(end, cord_bright)
            if sizes[number] * voxel_mm3 < options.small_mm3:
                bright &= well_inside
            near = np.where(bright, probability, 0)
            inside[box] |= _grow(marks, number, near, options)
    return inside


def can_be_added(evidence: Evidence, options: ExtentOptions | None = None) -> BoolArray:
    """Say which voxels marks can grow over, whatever their brightness, (I, J, K)."""
    options = options or ExtentOptions()
    return np.asarray(
        (evidence.lesion_probability >= min(options.least_probabilities))
        & (evidence.cord_probability >= options.least_cord)
        & evidence.reach
    )


def without_dim_rims(
    labels: NDArray[np.uint8],
    levels: NDArray[np.float64],
    swelling: NDArray[np.float64],
    cord: BoolArray,
    volume: Volume,
    options: RimOptions | None = None,
) -> BoolArray:
    """Take away from marks what is hardly brighter than the cord.

    Args:
        labels: (I, J, K) uint8, marks numbered from 1.
        levels: As for `lesion_extent`, of these marks.
        swelling: How many times as thick as nearby the cord is at each mark, (N,); NaN
            where it is not known.
        cord: (I, J, K) bool.
        volume: Intensities.
        options: How much.

    Returns:
        (I, J, K) bool, inside the marks. Dark parts that a mark surrounds in their
        slice stay in it. Empty without marks.
    """
    options = options or RimOptions()
    inside = np.asarray(labels > 0)
    box = bounding_box(inside)
    marks = labels[box]
    if not marks.size:
        return inside
    voxels = _smoothed(volume, box, inside[box] | cord[box], options.blur_mm)
    for number, (mark_level, cord_level, _) in enumerate(levels, start=1):
        # Not brighter either where one of them is not known.
        if mark_level > cord_level and not swelling[number - 1] >= options.swollen:
            end = cord_level + options.share * (mark_level - cord_level)
            mark = marks == number
            bright = _filled(mark & (voxels >= end), volume.slice_axis) & mark
            left = _in_one_piece(bright, options.least_volume_mm3 / volume.voxel_mm3)
            if left is not None:
                inside[box] &= ~mark | left
    return inside


def _smoothed(
    volume: Volume, box: tuple[slice, ...], where: BoolArray, blur_mm: float
) -> Float32Array:
    """Smooth the box's slices over some voxels; others do not count."""
    from scipy import ndimage  # noqa: PLC0415 - slow; imported beside other work

    blur = [blur_mm / spacing for spacing in volume.spacing_mm]
    blur[volume.slice_axis] = 0.0
    weight = where.astype(np.float32)
    total = ndimage.gaussian_filter(volume.voxels[box] * weight, blur)
    share = ndimage.gaussian_filter(weight, blur)
    return np.asarray(total / np.maximum(share, 1e-3), dtype=np.float32)


def _filled(inside: BoolArray, slice_axis: int) -> BoolArray:
    """Fill what is surrounded in its slice."""
    from scipy import ndimage  # noqa: PLC0415 - slow; imported beside other work

    slices = np.moveaxis(inside, slice_axis, 0)
    filled = np.array([ndimage.binary_fill_holes(one) for one in slices])
    return np.moveaxis(filled, 0, slice_axis)


def _in_one_piece(inside: BoolArray, least_voxels: float) -> BoolArray | None:
    """Return the largest piece; None if it is small or not the only large one."""
    pieces, _ = number_pieces(inside)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    if np.count_nonzero(sizes >= least_voxels) != 1:
        return None
    return np.asarray(pieces == sizes.argmax())


def _grow(
    marks: NDArray[np.uint8],
    number: int,
    probability: Float32Array,
    options: ExtentOptions,
) -> BoolArray:
    """Return a mark with what hangs together with it, other marks included."""
    seed = np.asarray(marks == number)
    first = tuple(np.argwhere(seed)[0])
    for least in options.least_probabilities:
        pieces, _ = number_pieces((probability >= least) | (marks > 0))
        piece = np.asarray(pieces == pieces[first])
        marked = np.count_nonzero(piece & (marks > 0))
        if np.count_nonzero(piece) <= options.most_growth * marked:
            return piece
    return seed
