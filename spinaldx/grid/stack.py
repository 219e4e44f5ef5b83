"""Scanner space to the networks' grid and exactly back.

The networks' grid is a stack of sagittal slices, (S, H, W): slices from the
patient's right to left, rows from head to foot, columns from front to back,
pixels square. Every source slice has its own place on it: only the two in-plane axes
are resampled, each by its own weights, about the common centre of both grids. Where
slices are thinner than those a network has learned from, each is shown to it averaged
with what lies beside it.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError
from spinaldx.records import Float32Array, Volume

# Rows are the target axes in RAS: to the left, to the feet, to the back.
_TARGET_DIRECTIONS = np.array([(-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, -1.0, 0.0)])

# A voxel belongs to the body above this share of the 99.5th percentile.
_FOREGROUND_SHARE = 0.1

# Normalised intensities end here, so that one bright vessel cannot dominate.
BRIGHTEST = 2.0


@dataclass(frozen=True, slots=True)
class GridSpec:
    """The segmentation network's grid; a part of every bundle.

    Attributes:
        pixel_mm: Edge of a square pixel.
        size_multiple: Height and width are padded with zeros to a multiple.
        reference_percentile: Percentile of the foreground that becomes 1.
        least_slice_mm: Thinner slices are averaged with what lies beside them to this
            thickness, see `thick_slices`; 0 leaves every slice as it is.
        bright_percentile: Percentile that becomes 1 in a second, brighter look for what
            is faint; 0 for none.
    """

    pixel_mm: float = 1.0
    size_multiple: int = 32
    reference_percentile: float = 98.0
    least_slice_mm: float = 0.0
    bright_percentile: float = 0.0


@dataclass(frozen=True, slots=True)
class GridTransform:
    """How one volume lies on the networks' grid.

    Attributes:
        source_shape: (I, J, K) of the volume.
        axes: Source axes that become slices, rows, columns.
        flips: Whether each of these runs against the target direction.
        spacing_mm: Source spacing along slices, rows, columns.
        pixel_mm: Edge of a grid pixel.
        shape: (S, H, W) of the grid.
    """

    source_shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    spacing_mm: tuple[float, float, float]
    pixel_mm: float
    shape: tuple[int, int, int]

    def slice_index(self, stack_index: int) -> int:
        """Return the index along the source's slice axis of a stack slice."""
        if self.flips[0]:
            return self.source_shape[self.axes[0]] - 1 - stack_index
        return stack_index


@dataclass(frozen=True, slots=True, eq=False)
class GridImage:
    """A volume on the networks' grid.

    Attributes:
        pixels: (S, H, W) float32, reference tissue at 1, 0 to 2.
        transform: The way back.
    """

    pixels: Float32Array
    transform: GridTransform


def anatomical_axes(
    volume: Volume,
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Match source axes to left, foot and back directions.

    Returns:
        Source axes for slices, rows and columns, and whether each is flipped.
        The slice axis is the volume's; of the other two, the pair that turns the
        image least. Oblique images keep their obliquity.
    """
    directions = volume.affine_ras[:3, :3] / np.asarray(volume.spacing_mm)
    cosines = _TARGET_DIRECTIONS @ directions
    first = volume.slice_axis
    rest = [axis for axis in range(3) if axis != first]
    row, column = max(
        itertools.permutations(rest),
        key=lambda pair: abs(cosines[1, pair[0]]) + abs(cosines[2, pair[1]]),
    )
    axes = (first, row, column)
    flips = tuple(bool(cosines[target, axis] < 0) for target, axis in enumerate(axes))
    return axes, (flips[0], flips[1], flips[2])


def plan_grid(volume: Volume, spec: GridSpec) -> GridTransform:
    """Choose the grid for a volume: its field of view at the spec's pixels."""
    axes, flips = anatomical_axes(volume)
    spacing = volume.spacing_mm
    ordered = (spacing[axes[0]], spacing[axes[1]], spacing[axes[2]])
    height, width = (
        _round_up(volume.voxels.shape[axis] * spacing[axis] / spec.pixel_mm, spec)
        for axis in axes[1:]
    )
    i, j, k = volume.voxels.shape
    return GridTransform(
        source_shape=(i, j, k),
        axes=axes,
        flips=flips,
        spacing_mm=ordered,
        pixel_mm=spec.pixel_mm,
        shape=(volume.voxels.shape[axes[0]], height, width),
    )


def _round_up(pixels: float, spec: GridSpec) -> int:
    steps = int(np.ceil(np.round(pixels, 6) / spec.size_multiple))
    return max(steps, 1) * spec.size_multiple


def reference_intensity(voxels: Float32Array, percentile: float) -> float:
    """Return the intensity that becomes 1: a percentile of the foreground.

    Returns:
        A positive number; 1.0 when the image is not positive.
    """
    bright = np.percentile(voxels, 99.5)
    foreground = voxels[voxels > _FOREGROUND_SHARE * bright]
    if bright <= 0 or foreground.size == 0:
        return 1.0
    return float(np.percentile(foreground, percentile))


def to_grid(volume: Volume, spec: GridSpec) -> GridImage:
    """Bring a volume to the networks' grid and intensity scale.

    Args:
        volume: Any axis order, flips, obliquity and spacing.
        spec: The bundle's grid.

    Returns:
        The stack; outside the field of view it is 0.
    """
    transform = plan_grid(volume, spec)
    stack, scale = shown_stack(volume, transform, spec)
    pixels = _resample_stack(stack, transform)
    return GridImage(np.clip(pixels / scale, 0.0, BRIGHTEST), transform)


def shown_stack(
    volume: Volume, transform: GridTransform, spec: GridSpec
) -> tuple[Float32Array, float]:
    """Return what networks are shown of a volume, before any resampling.

    Args:
        volume: The image.
        transform: From `plan_grid`.
        spec: The bundle's grid.

    Returns:
        Slices, rows, columns of the source, (S, H, W), as thick as the spec wants
        them; and the intensity that becomes 1.
    """
    stack = to_stack(volume.voxels, transform)
    stack = thick_slices(stack, transform.spacing_mm[0], spec.least_slice_mm)
    return stack, reference_intensity(stack, spec.reference_percentile)


def thick_slices(stack: Float32Array, slice_mm: float, least_mm: float) -> Float32Array:
    """Show each thin slice as a thicker one about the same place would.

    Networks that learned from clinical slices of 3 to 4 mm have met neither the noise
    of thin ones nor lesions without partial volume.

    Args:
        stack: (S, H, W) float32.
        slice_mm: Distance of the slices' centres.
        least_mm: Thickness to average to.

    Returns:
        (S, H, W) float32: of each slice the mean over `least_mm` about its centre, as
        far as there are slices; the stack itself where slices are as thick as that.
    """
    if slice_mm >= least_mm:
        return stack
    places = np.arange(len(stack)) * slice_mm
    apart = np.abs(places[:, None] - places[None, :])
    shared = np.clip((least_mm + slice_mm) / 2 - apart, 0.0, slice_mm)
    weights = shared / shared.sum(axis=1, keepdims=True)
    return _resample_axis(stack, weights.astype(np.float32), 0)


def labels_to_grid(
    labels: NDArray[np.generic], transform: GridTransform
) -> Float32Array:
    """Bring a mask to the networks' grid.

    Args:
        labels: Non-zero inside, (I, J, K) on the source grid.
        transform: Of the volume the mask belongs to.

    Returns:
        Share of each pixel inside the mask, (S, H, W) float32, 0 to 1.

    Raises:
        GeometryError: If the shape is not the volume's.
    """
    if labels.shape != transform.source_shape:
        message = f"Mask {labels.shape} does not fit image {transform.source_shape}."
        raise GeometryError(message)
    inside = (labels != 0).astype(np.float32)
    return _resample_stack(to_stack(inside, transform), transform)


def to_source(stack: Float32Array, transform: GridTransform) -> Float32Array:
    """Bring a stack on the networks' grid back to the source voxels.

    Args:
        stack: (S, H, W) float32 as given by the network.
        transform: From `to_grid`.

    Returns:
        (I, J, K) float32, linearly interpolated in the slice planes.

    Raises:
        GeometryError: If the stack is not on the transform's grid.
    """
    if stack.shape != transform.shape:
        message = f"Stack {stack.shape} is not on the grid {transform.shape}."
        raise GeometryError(message)
    rows, columns = _axis_weights(transform, back=True)
    return from_stack(resample_plane(stack, rows, columns), transform)


def to_stack(voxels: Float32Array, transform: GridTransform) -> Float32Array:
    """Order (I, J, K) voxels as slices, rows, columns; no value is changed."""
    ordered = np.transpose(voxels, transform.axes)
    flipped = tuple(axis for axis, flip in enumerate(transform.flips) if flip)
    return np.ascontiguousarray(np.flip(ordered, flipped))


def from_stack(ordered: Float32Array, transform: GridTransform) -> Float32Array:
    """Order slices, rows, columns as the source's (I, J, K)."""
    flipped = tuple(axis for axis, flip in enumerate(transform.flips) if flip)
    inverse = np.argsort(transform.axes)
    return np.ascontiguousarray(np.transpose(np.flip(ordered, flipped), inverse))


def _resample_stack(stack: Float32Array, transform: GridTransform) -> Float32Array:
    rows, columns = _axis_weights(transform, back=False)
    return resample_plane(stack, rows, columns)


def resample_plane(
    values: Float32Array, rows: Float32Array, columns: Float32Array
) -> Float32Array:
    """Apply weights to the last two axes."""
    return _resample_axis(_resample_axis(values, rows, -2), columns, -1)


def _resample_axis(
    values: Float32Array, weights: Float32Array, axis: int
) -> Float32Array:
    """Multiply one axis by weights whose rows are zero but for a narrow band.

    A few gathers touch less memory than a matrix product, and do not start the
    threads of a linear algebra library.
    """
    used = weights != 0
    first = np.argmax(used, axis=1)
    each = np.arange(len(weights))
    along = [1] * values.ndim
    along[axis] = len(weights)
    shape = list(values.shape)
    shape[axis] = len(weights)
    total = np.zeros(shape, dtype=np.float32)
    for tap in range(int(used.sum(axis=1).max())):
        place = np.minimum(first + tap, weights.shape[1] - 1)
        share = np.where(place == first + tap, weights[each, place], np.float32(0))
        total += np.take(values, place, axis=axis) * share.reshape(along)
    return total


def _axis_weights(
    transform: GridTransform, *, back: bool
) -> tuple[Float32Array, Float32Array]:
    weights = []
    for place in (1, 2):
        source = transform.source_shape[transform.axes[place]]
        own = (source, transform.spacing_mm[place])
        grid = (transform.shape[place], transform.pixel_mm)
        pair = (*grid, *own) if back else (*own, *grid)
        weights.append(linear_weights(*pair))
    return weights[0], weights[1]


def linear_weights(
    n_from: int, from_mm: float, n_to: int, to_mm: float, *, shift_mm: float = 0.0
) -> Float32Array:
    """Weights that resample one axis about the common centre of both grids.

    Linear interpolation when the target is finer; a triangle as wide as the
    target's pixel when it is coarser, so that nothing is skipped.

    Args:
        n_from: Samples of the source.
        from_mm: Their distance.
        n_to: Samples of the target.
        to_mm: Their distance.
        shift_mm: Target centre minus source centre.

    Returns:
        (n_to, n_from) float32; rows sum to 1 inside the source and to 0 where a
        sample lies more than half a source pixel outside.
    """
    place_to = (np.arange(n_to) - (n_to - 1) / 2) * to_mm + shift_mm
    place_from = (np.arange(n_from) - (n_from - 1) / 2) * from_mm
    reach_mm = max(from_mm, to_mm)
    # Samples up to half a pixel beyond the outermost centre repeat its value.
    inside = np.abs(place_to) <= n_from * from_mm / 2 + 1e-6
    nearest = np.clip(place_to, place_from[0], place_from[-1])
    weights = 1.0 - np.abs(nearest[:, None] - place_from[None, :]) / reach_mm
    weights = np.where(weights > 0, weights, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    weights = np.where(total > 0, weights / np.where(total > 0, total, 1.0), 0.0)
    return np.asarray(weights * inside[:, None], dtype=np.float32)
