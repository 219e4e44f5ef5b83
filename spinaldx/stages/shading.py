"""How bright the cord without lesion is along its way, and images evened out by it.

A surface coil makes the cord near to it several times as bright as the cord far away.
Over the length of a lesion that can be more than the lesion's own contrast. Pure numpy
and scipy.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import BoolArray, Float32Array, Volume

# Of a few rows hardly apart no slope is believed.
_LEAST_SPREAD_MM2 = 2.0


@dataclass(frozen=True, slots=True)
class ShadingOptions:
    """How the brightness along the cord is read off.

    Attributes:
        margin_voxels: Cord this near to any lesion, in its slice, does not count.
        margin_mm: Rows this near to a lesion's do not count either where there are
            others on both sides: what is left of the cord in them holds the lesion's
            unmarked rest.
        smoothing_mm: Standard deviation along the cord of the weights with which rows are
            smoothed; of a curve, a sixth of the shortest waves that stay.
        bends: Whether it is a curve, which is nearer to the truth where the coil is
            nearest to the lesion, and follows what is left unmarked of a faint one; or
            straight lines across the rows that say nothing.
        least_voxels: Rows with less cord than this, counted over all slices, say
            nothing.
    """

    margin_voxels: int = 2
    margin_mm: float = 7.0
    smoothing_mm: float = 8.0
    least_voxels: int = 3
    bends: bool = False


def lesion_free_cord(
    labels: NDArray[np.uint8], cord: BoolArray, volume: Volume, margin_voxels: int
) -> tuple[BoolArray, BoolArray]:
    """Find the cord that images tell apart from fluid, and its part without lesion.

    Args:
        labels: (I, J, K) uint8, lesions numbered from 1.
        cord: (I, J, K) bool, lesions included.
        volume: Says which axis goes from slice to slice.
        margin_voxels: Width of the border around lesions that is no free cord.

    Returns:
        (I, J, K) bool each: voxels whose neighbours in the slice are cord as well, and
        those of them that are not near a lesion.
    """
    from scipy import ndimage  # noqa: PLC0415 - slow; imported beside other work

    inner, free = np.zeros_like(cord), np.zeros_like(cord)
    # A cord fills a small part of the image.
    for box in ndimage.find_objects(cord.astype(np.uint8)):
        wide = tuple(
            slice(max(side.start - margin_voxels, 0), side.stop + margin_voxels)
            for side in box
        )
        in_slice = _in_slice(volume.slice_axis)
        inner[wide] = ndimage.binary_erosion(cord[wide], in_slice)
        free[wide] = inner[wide]
        if margin_voxels > 0:
            near = ndimage.binary_dilation(
                labels[wide] > 0, in_slice, iterations=margin_voxels
            )
            free[wide] &= ~near
    return inner, free


def even_out(
    labels: NDArray[np.uint8],
    cord: BoolArray,
    volume: Volume,
    options: ShadingOptions | None = None,
) -> Volume | None:
    """Divide an image by the brightness of its lesion-free cord, row by row.

    Between rows with such cord the logarithm is interpolated, beyond them it is held.

    Args:
        labels: (I, J, K) uint8, lesions numbered from 1.
        cord: (I, J, K) bool, lesions included.
        volume: Intensities on the same grid.
        options: What counts.

    Returns:
        The volume with the cord near 1; None where no row has enough bright cord.
    """
    shading = _shading(labels, cord, volume, options or ShadingOptions())
    if shading is None:
        return None
    return replace(volume, voxels=volume.voxels / shading)


def _shading(
    labels: NDArray[np.uint8], cord: BoolArray, volume: Volume, options: ShadingOptions
) -> Float32Array | None:
    """Brightness of the lesion-free cord along the upright axis; broadcasts."""
    _, free = lesion_free_cord(labels, cord, volume, options.margin_voxels)
    upright = volume.upright_axis
    rows, medians = _row_medians(
        np.moveaxis(free, upright, 0), np.moveaxis(volume.voxels, upright, 0), options
    )
    spacing_mm = volume.spacing_mm[upright]
    is_clear = _are_clear(rows, labels, upright, options.margin_mm / spacing_mm)
    rows, medians = rows[is_clear], medians[is_clear]
    if not rows.size:
        return None
    every = np.arange(volume.voxels.shape[upright])
    if options.bends:
        reach = options.smoothing_mm / spacing_mm
        smooth = _smooth_curve(rows, np.log(medians), reach)
        curve = np.interp(every, np.arange(rows[0], rows[-1] + 1), smooth)
    else:
        smooth = _smoothed(rows * spacing_mm, np.log(medians), options.smoothing_mm)
        curve = np.interp(every, rows, smooth)
    shading = np.exp(curve).astype(np.float32)
    shape = [1, 1, 1]
    shape[upright] = len(shading)
    return shading.reshape(shape)


def lesion_brightness(
    labels: NDArray[np.uint8], cord: BoolArray, volume: Volume
) -> float | None:
    """Say how many times as bright as the cord all lesions together are.

    Args:
        labels: (I, J, K) uint8, lesions numbered from 1.
        cord: (I, J, K) bool.
        volume: Intensities on the same grid.

    Returns:
        Median over the lesions' voxels, evened out; None without lesions, and where no
        cord without lesion can be compared with.
    """
    inside = labels > 0
    if not inside.any():
        return None
    shading = _shading(labels, cord | inside, volume, ShadingOptions(bends=True))
    if shading is None:
        return None
    along = np.broadcast_to(shading, inside.shape)[inside]
    return float(np.median(volume.voxels[inside] / along))


def _smoothed(
    places_mm: NDArray[np.floating], values: NDArray[np.floating], sigma_mm: float
) -> NDArray[np.float64]:
    """Fit a line about each place, so that the ends of a stretch are not drawn in."""
    apart = places_mm - places_mm[:, None]
    weights = np.exp(-0.5 * (apart / sigma_mm) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    middle = (weights * apart).sum(axis=1)
    mean = weights @ values
    spread = (weights * (apart - middle[:, None]) ** 2).sum(axis=1)
    slope = (weights * (apart - middle[:, None])) @ values
    return np.asarray(mean - middle * slope / (spread + _LEAST_SPREAD_MM2))


def _smooth_curve(
    rows: NDArray[np.intp], values: NDArray[np.float64], reach: float
) -> NDArray[np.float64]:
    """Return the curve near the values that bends least, from first to last row.

    It minimises its squared distances from the values plus `reach` to the fourth power
    times its squared second differences (Whittaker, Proc Edinb Math Soc 1923).
    """
    from scipy.linalg import solveh_banded  # noqa: PLC0415 - slow; imported beside other work

    count = int(rows[-1] - rows[0]) + 1
    # Diagonal and two below it; a curve of one or two places does not bend.
    bands = np.zeros((3, count))
    for place, part in enumerate((1.0, -2.0, 1.0)):
        for other in range(place + 1):
            product = reach**4 * part * (1.0, -2.0, 1.0)[other]
            bands[place - other, other : max(count - 2, 0) + other] += product
    target = np.zeros(count)
    bands[0, rows - rows[0]] += 1.0
    target[rows - rows[0]] = values
    if count <= 2:
        return target
    return np.asarray(solveh_banded(bands, target, lower=True))


def _are_clear(
    rows: NDArray[np.intp], labels: NDArray[np.uint8], upright: int, margin: float
) -> BoolArray:
    """Which rows are away from lesions, or lie beyond all rows that are."""
    others = tuple(axis for axis in range(3) if axis != upright)
    marked = np.flatnonzero(labels.any(axis=others))
    away = np.abs(rows[:, None] - marked.astype(float)).min(axis=1, initial=np.inf)
    is_clear = np.asarray(away > margin)
    if not is_clear.any():
        return np.ones_like(is_clear)
    clear = rows[is_clear]
    return np.asarray(is_clear | (rows < clear[0]) | (rows > clear[-1]))


def _row_medians(
    free: BoolArray, voxels: Float32Array, options: ShadingOptions
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rows with enough free cord, and its median there, above 0."""
    counts = free.sum(axis=(1, 2))
    rows = np.flatnonzero(counts >= options.least_voxels)
    medians = np.array([np.median(voxels[row][free[row]]) for row in rows], float)
    return rows[medians > 0], medians[medians > 0]


def _in_slice(slice_axis: int) -> BoolArray:
    """A voxel and its four neighbours in the slice, (3, 3, 3)."""
    cross = np.zeros((3, 3, 3), dtype=np.bool_)
    for axis in {0, 1, 2} - {slice_axis}:
        along = [1, 1, 1]
        for along[axis] in range(3):
            cross[tuple(along)] = True
    return cross
