"""How much brighter a lesion is than the cord around it, and how much it swells it.

Lesions are brighter than cord on T2w images: MS 1.2 to 1.6 times, others more. What a
network marks and is hardly brighter is the cord's own texture, its grey matter or a
shading of the coil. Pure numpy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray, Float32Array, Volume
from spinaldx.stages.shading import lesion_free_cord


@dataclass(frozen=True, slots=True)
class ContrastOptions:
    """What a lesion is compared with.

    Attributes:
        around_mm: Cord this far above and below a lesion still counts.
        margin_voxels: Cord this near to any lesion, in its slice, does not.
        quantiles: What of the brightness is compared; the largest ratio counts, since a
            tumour as bright as cord may hold a cyst.
        bright_part: Quantile of the brightness of a lesion without its rim.
        least_voxels: With less cord than this in the lesion's slices, that of all
            slices counts; with less there too nothing can be said.
    """

    around_mm: float = 30.0
    margin_voxels: int = 2
    quantiles: tuple[float, ...] = (0.5, 0.9)
    bright_part: float = 0.7
    least_voxels: int = 20


@dataclass(frozen=True, slots=True)
class FaintEndOptions:
    """Which ends of a lesion are cut off.

    Attributes:
        least_contrast: Rows where the median is less, relative to the cord, are faint.
        share: So are those where it is less than this far between the cord (0) and the
            lesion's median (1).
        least_volume_mm3: Smaller lesions stay.
        window_mm: Length of lesion whose median is taken for a row's.
        shortest_mm: Ends shorter than this stay.
        swollen: So does all of a lesion where the cord is this many times as thick as
            nearby.
    """

    least_contrast: float = 1.15
    share: float = 0.0
    least_volume_mm3: float = 0.0
    window_mm: float = 8.0
    shortest_mm: float = 8.0
    swollen: float = 1.3


@dataclass(frozen=True, slots=True, eq=False)
class _Voxels:
    """Places (N, 3) and intensities (N,) of the voxels of a mask."""

    places: NDArray[np.intp]
    values: Float32Array

    @classmethod
    def of(cls, mask: BoolArray, volume: Volume) -> "_Voxels":
        return cls(np.argwhere(mask), volume.voxels[mask])


def contrast_to_cord(
    labels: NDArray[np.uint8],
    cord: BoolArray,
    volume: Volume,
    options: ContrastOptions | None = None,
) -> NDArray[np.float64]:
    """Compare each lesion with the cord without lesion nearby.

    Quantiles of both are over voxels whose neighbours in the slice are cord as well,
    so that fluid at the cord's edge does not count.

    Args:
        labels: (I, J, K) uint8, lesions numbered from 1.
        cord: (I, J, K) bool, lesions included.
        volume: Intensities on the same grid.
        options: What counts as nearby.

    Returns:
        Ratio of each lesion, in the order of their numbers; NaN where there is no
        cord to compare with or it is dark. Empty without lesions.
    """
    options = options or ContrastOptions()
    ratios = np.full(int(labels.max(initial=0)), np.nan)
    for number, (values, around) in _compared(labels, cord, volume, options):
        usual = np.quantile(around, options.quantiles)
        if usual.min() > 0:
            bright = np.quantile(values, options.quantiles)
            ratios[number - 1] = (bright / usual).max()
    return ratios


def brightness(
    labels: NDArray[np.uint8],
    cord: BoolArray,
    volume: Volume,
    options: ContrastOptions | None = None,
) -> NDArray[np.float64]:
    """Return how bright each lesion and the cord without it nearby are.

    The lesion's is that of its main slices, which show at least half as much of it as
    the one that shows most: others hold a part of it, and look less bright. So does its
    rim, which is most of a small lesion: its brighter part is compared with the cord's,
    so that noise raises both alike, where that says more than the medians.

    Args:
        labels: As for `contrast_to_cord`, and so are the others.
        cord: (I, J, K) bool.
        volume: Intensities.
        options: What counts as nearby.

    Returns:
        (N, 3): lesion, median of the cord, and the cord's upper quantile; NaN where
        there is no cord to compare with. (0, 3) without lesions.
    """
    levels = np.full((int(labels.max(initial=0)), 3), np.nan)
    chosen = options or ContrastOptions()
    shares = (0.5, chosen.bright_part)
    compared = _compared(labels, cord, volume, chosen, in_main_slices=True)
    for number, (values, around) in compared:
        cord_level, cord_bright = np.quantile(around, (0.5, chosen.quantiles[-1]))
        excess = np.quantile(values, shares) - np.quantile(around, shares)
        levels[number - 1] = cord_level + excess.max(), cord_level, cord_bright
    return levels


def _compared(
    labels: NDArray[np.uint8],
    cord: BoolArray,
    volume: Volume,
    options: ContrastOptions,
    *,
    in_main_slices: bool = False,
) -> Iterator[tuple[int, tuple[Float32Array, Float32Array]]]:
    """Yield number, intensities, and those of the cord nearby, where there is any."""
    if not labels.any() or not cord.any():
        return
    inner, outside = lesion_free_cord(labels, cord, volume, options.margin_voxels)
    # Lists of voxels: a pass over the volume for each lesion would be slow.
    free = _Voxels.of(outside, volume)
    marked = _Voxels.of(labels > 0, volume)
    numbers, is_inner = labels[labels > 0], inner[labels > 0]
    for number in range(1, int(labels.max()) + 1):
        lesion = numbers == number
        around = _around(marked.places[lesion], free, volume, options)
        if in_main_slices:
            lesion &= _show_most(marked.places[:, volume.slice_axis], lesion)
        seen = lesion & is_inner
        if len(around):
            yield number, (marked.values[seen if seen.any() else lesion], around)


def _show_most(slices: NDArray[np.intp], lesion: BoolArray) -> BoolArray:
    """Which voxels lie in slices with at least half as much lesion as any has."""
    counts = np.bincount(slices[lesion], minlength=int(slices.max()) + 1)
    return np.asarray(2 * counts[slices] >= counts.max())


def swelling(
    labels: NDArray[np.uint8],
    cord: BoolArray,
    volume: Volume,
    options: ContrastOptions | None = None,
) -> NDArray[np.float64]:
    """Compare the cord's thickness at each lesion with that nearby.

    Thickness is that of the thickest slice in each row, from front to back; medians of
    the rows with the lesion and of those without any are compared.

    Args:
        labels: (I, J, K) uint8, lesions numbered from 1.
        cord: (I, J, K) bool, lesions included.
        volume: Says which axes are which.
        options: What counts as nearby.

    Returns:
        Ratio of each lesion; NaN where no row nearby has cord without lesion.
    """
    options = options or ContrastOptions()
    upright, lateral = volume.upright_axis, volume.slice_axis
    depth = volume.depth_axis
    moved = np.moveaxis(cord, (upright, lateral, depth), (0, 1, 2))
    thick = moved.sum(axis=2).max(axis=1)
    is_free = (thick > 0) & ~(labels > 0).any(axis=(lateral, depth))
    ratios = []
    for number in range(1, int(labels.max(initial=0)) + 1):
        rows = np.flatnonzero((labels == number).any(axis=(lateral, depth)))
        free = thick[is_free & _is_near(rows, volume, options)]
        usual = np.median(free) if len(free) else np.nan
        ratios.append(np.median(thick[rows]) / usual)
    return np.asarray(ratios, dtype=np.float64)


def cut_faint_ends(
    labels: NDArray[np.uint8],
    cord: BoolArray,
    even: Volume,
    options: FaintEndOptions | None = None,
) -> BoolArray:
    """Cut off the ends of lesions that are no brighter than the cord there.

    A network may run from a lesion on into a stretch of cord that it doubts, or along
    an end that fades. Where the cord is swollen nothing is cut: solid tumours can be
    as bright as cord.

    Args:
        labels: (I, J, K) uint8, lesions numbered from 1.
        cord: (I, J, K) bool, lesions included.
        even: The image with the cord near 1, from `shading.even_out`.
        options: What is cut.

    Returns:
        (I, J, K) bool: what is left of all lesions. A lesion without any brighter row
        stays whole.
    """
    options = options or FaintEndOptions()
    upright = even.upright_axis
    inside = labels > 0
    if not inside.any():
        return inside
    inner, _ = lesion_free_cord(labels, cord, even, 0)
    marked = _Voxels.of(inside, even)
    numbers, is_inner = labels[inside], inner[inside]
    is_left = np.ones(len(numbers), dtype=np.bool_)
    large = np.bincount(numbers)[1:] * even.voxel_mm3 >= options.least_volume_mm3
    slim = ~(swelling(labels, cord, even) >= options.swollen)
    for number in np.flatnonzero(large & slim) + 1:
        lesion = numbers == number
        seen = lesion & is_inner
        if not seen.any():
            continue
        places = marked.places[seen, upright]
        rows = np.unique(marked.places[lesion, upright])
        ratio = _along(rows, places, marked.values[seen], even, options)
        level = 1 + options.share * (np.median(marked.values[seen]) - 1)
        bright = rows[ratio >= max(options.least_contrast, level)]
        if bright.size:
            for end in (rows[rows < bright[0]], rows[rows > bright[-1]]):
                if len(end) * even.spacing_mm[upright] >= options.shortest_mm:
                    is_left &= ~(lesion & np.isin(marked.places[:, upright], end))
    left = np.zeros_like(inside)
    left[inside] = is_left
    return left


def _along(
    rows: NDArray[np.intp],
    places: NDArray[np.intp],
    values: Float32Array,
    even: Volume,
    options: FaintEndOptions,
) -> NDArray[np.float64]:
    """Median of the values near each row; NaN where there is none."""
    reach = options.window_mm / 2 / even.spacing_mm[even.upright_axis]
    near = [values[np.abs(places - row) <= reach] for row in rows]
    return np.array([np.median(one) if one.size else np.nan for one in near])


def _around(
    lesion: NDArray[np.intp], free: _Voxels, volume: Volume, options: ContrastOptions
) -> Float32Array:
    """Intensities of the cord without lesion near a lesion; none if too few."""
    is_near = _is_near(lesion[:, volume.upright_axis], volume, options)
    nearby = is_near[free.places[:, volume.upright_axis]]
    lateral = volume.slice_axis
    in_its_slices = nearby & np.isin(free.places[:, lateral], lesion[:, lateral])
    for chosen in (in_its_slices, nearby):
        if np.count_nonzero(chosen) >= options.least_voxels:
            return free.values[chosen]
    return np.empty(0, dtype=np.float32)


def _is_near(
    rows: NDArray[np.intp], volume: Volume, options: ContrastOptions
) -> BoolArray:
    """Which rows lie between a lesion's or not far above and below them."""
    upright = volume.upright_axis
    reach = options.around_mm / volume.spacing_mm[upright]
    every = np.arange(volume.voxels.shape[upright])
    return np.asarray((every >= rows.min() - reach) & (every <= rows.max() + reach))
