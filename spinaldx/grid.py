"""Scanner space to the networks' grid and exactly back.

The networks' grid is a stack of sagittal slices, (S, H, W): slices from the
patient's right to left, rows from head to foot, columns from front to back,
pixels square. Source slices are never mixed: only the two in-plane axes are
resampled, each by its own weights, about the common centre of both grids.
Training and inference use this module alone.
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
_BRIGHTEST = 2.0

# "Dilated" masking keeps this much around the lesion.
_DILATION_MM = 5.0


@dataclass(frozen=True, slots=True)
class GridSpec:
    """The segmentation network's grid; a part of every bundle.

    Attributes:
        pixel_mm: Edge of a square pixel.
        size_multiple: Height and width are padded with zeros to a multiple.
        reference_percentile: Percentile of the foreground that becomes 1.
    """

    pixel_mm: float = 1.0
    size_multiple: int = 32
    reference_percentile: float = 98.0


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
    scale = reference_intensity(volume.voxels, spec.reference_percentile)
    stack = _to_stack(volume.voxels, transform)
    pixels = _resample_stack(stack, transform)
    return GridImage(np.clip(pixels / scale, 0.0, _BRIGHTEST), transform)


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
    return _resample_stack(_to_stack(inside, transform), transform)


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
    ordered = np.matmul(np.matmul(rows, stack), columns.T)
    return _from_stack(ordered, transform)


def _to_stack(voxels: Float32Array, transform: GridTransform) -> Float32Array:
    ordered = np.transpose(voxels, transform.axes)
    flipped = tuple(axis for axis, flip in enumerate(transform.flips) if flip)
    return np.ascontiguousarray(np.flip(ordered, flipped))


def _from_stack(ordered: Float32Array, transform: GridTransform) -> Float32Array:
    flipped = tuple(axis for axis, flip in enumerate(transform.flips) if flip)
    inverse = np.argsort(transform.axes)
    return np.ascontiguousarray(np.transpose(np.flip(ordered, flipped), inverse))


def _resample_stack(stack: Float32Array, transform: GridTransform) -> Float32Array:
    rows, columns = _axis_weights(transform, back=False)
    return np.asarray(np.matmul(np.matmul(rows, stack), columns.T), dtype=np.float32)


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


@dataclass(frozen=True, slots=True)
class CropSpec:
    """The classifiers' window around the lesions; a part of every bundle.

    Attributes:
        pixel_mm: Edge of a square pixel; finer than the segmentation's, so that
            a Grad-CAM cell of 16 pixels is at most 8 mm.
        height_mm: Extent from head to foot.
        width_mm: Extent from front to back.
        channels: What the channels hold, of ``t2w``, ``lesion``, ``cord``, ``zero``.
        masking: ``none``, or ``lesion`` to blank everything but the lesion, or
            ``dilated`` to keep 5 mm around it.
    """

    pixel_mm: float = 0.5
    height_mm: float = 160.0
    width_mm: float = 64.0
    channels: tuple[str, ...] = ("t2w", "lesion", "cord")
    masking: str = "none"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (
            round(self.height_mm / self.pixel_mm),
            round(self.width_mm / self.pixel_mm),
        )


@dataclass(frozen=True, slots=True)
class CropWindow:
    """Where one crop lies in its stack.

    Attributes:
        stack_index: Slice of the stack.
        shift_mm: Window centre minus slice centre, down and back.
    """

    stack_index: int
    shift_mm: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class CropInputs:
    """What crops are cut from, all on the source grid, (I, J, K).

    Attributes:
        volume: The image.
        lesion: Lesion labels, non-zero inside.
        cord: Cord probability 0..1, or None when no network gave one.
    """

    volume: Volume
    lesion: NDArray[np.uint8]
    cord: Float32Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Windows around the lesions of one volume, ready for the classifiers.

    Attributes:
        pixels: (N, C, H, W) float32.
        windows: Where each was cut, from right to left.
        transform: Of the volume.
    """

    pixels: Float32Array
    windows: tuple[CropWindow, ...]
    transform: GridTransform


def lesion_crops(inputs: CropInputs, grid: GridSpec, spec: CropSpec) -> Crops:
    """Cut one window a lesion-bearing slice, at the classifiers' resolution.

    The window's centre is that of the lesions' bounding box in the slice, moved
    as little as needed to stay inside the image. Where the box is larger than the
    window, the window lies where it sees most of the lesions.

    Args:
        inputs: Image, lesion labels and cord on one grid.
        grid: Gives the intensity scale, the same as for segmentation.
        spec: Size, resolution and channels.

    Returns:
        N crops; N is 0 when the mask is empty.

    Raises:
        GeometryError: If image, mask and cord differ in shape, or a channel or
            masking of the spec is unknown.
    """
    volume = inputs.volume
    for part in (inputs.lesion, inputs.cord):
        if part is not None and part.shape != volume.voxels.shape:
            message = f"Mask {part.shape} does not fit {volume.voxels.shape}."
            raise GeometryError(message)
    transform = plan_grid(volume, grid)
    lesion = _to_stack((inputs.lesion != 0).astype(np.float32), transform)
    windows = tuple(
        _window_around(lesion[index], index, transform, spec)
        for index in np.flatnonzero(lesion.any(axis=(1, 2))).tolist()
    )
    scale = reference_intensity(volume.voxels, grid.reference_percentile)
    image = _to_stack(volume.voxels, transform)
    cord = None if inputs.cord is None else _to_stack(inputs.cord, transform)
    pixels = np.zeros((len(windows), len(spec.channels), *spec.shape), np.float32)
    for place, window in enumerate(windows):
        index = window.stack_index
        layers = {
            "t2w": np.clip(image[index] / scale, 0.0, _BRIGHTEST),
            "lesion": lesion[index],
            "cord": None if cord is None else cord[index],
        }
        pixels[place] = _cut(layers, window, transform, spec)
    return Crops(pixels, windows, transform)


def _window_around(
    lesion: Float32Array, stack_index: int, transform: GridTransform, spec: CropSpec
) -> CropWindow:
    rows, down_mm = _best_span(
        lesion.sum(axis=1), transform.spacing_mm[1], spec.height_mm
    )
    # Lesions above or below the window have no say in its place sideways.
    _, back_mm = _best_span(
        lesion[rows].sum(axis=0), transform.spacing_mm[2], spec.width_mm
    )
    return CropWindow(stack_index, (down_mm, back_mm))


def _best_span(
    profile: Float32Array, edge_mm: float, extent_mm: float
) -> tuple[slice, float]:
    """Return the lesions' span that is seen, and window centre minus slice centre."""
    inside = np.flatnonzero(profile)
    reach = max(int(extent_mm / edge_mm), 1)
    if inside[-1] - inside[0] >= reach:
        seen = np.convolve(profile, np.ones(reach), mode="valid")
        start = int(np.argmax(seen))
        inside = inside[(inside >= start) & (inside < start + reach)]
    centre = (inside[0] + inside[-1]) / 2 - (len(profile) - 1) / 2
    room_mm = max(len(profile) * edge_mm - extent_mm, 0.0) / 2
    shift_mm = float(np.clip(centre * edge_mm, -room_mm, room_mm))
    return slice(int(inside[0]), int(inside[-1]) + 1), shift_mm


def _cut(
    layers: dict[str, Float32Array | None],
    window: CropWindow,
    transform: GridTransform,
    spec: CropSpec,
) -> Float32Array:
    rows, columns = _window_weights(window, transform, spec)
    blank = np.zeros(spec.shape, dtype=np.float32)
    cut: dict[str, Float32Array] = {"zero": blank}
    for name, layer in layers.items():
        sampled = blank if layer is None else rows @ layer @ columns.T
        cut[name] = np.asarray(sampled, dtype=np.float32)
    cut["t2w"] = cut["t2w"] * _visible(cut["lesion"], spec)
    if unknown := set(spec.channels) - set(cut):
        message = f"Unknown classifier channels: {', '.join(sorted(unknown))}."
        raise GeometryError(message)
    return np.stack([cut[name] for name in spec.channels])


def _visible(lesion: Float32Array, spec: CropSpec) -> Float32Array | float:
    if spec.masking == "none":
        return 1.0
    if spec.masking == "lesion":
        return np.asarray(lesion >= 0.5, dtype=np.float32)
    if spec.masking == "dilated":
        from scipy import ndimage  # noqa: PLC0415 - 0.1 s that most runs never need

        radius = round(_DILATION_MM / spec.pixel_mm)
        disc = np.hypot(*np.ogrid[-radius : radius + 1, -radius : radius + 1]) <= radius
        wide = ndimage.binary_dilation(lesion >= 0.5, structure=disc)
        return np.asarray(wide, dtype=np.float32)
    message = f"Unknown masking: {spec.masking}."
    raise GeometryError(message)


def _window_weights(
    window: CropWindow, transform: GridTransform, spec: CropSpec
) -> tuple[Float32Array, Float32Array]:
    weights = [
        linear_weights(
            transform.source_shape[transform.axes[place]],
            transform.spacing_mm[place],
            spec.shape[place - 1],
            spec.pixel_mm,
            shift_mm=window.shift_mm[place - 1],
        )
        for place in (1, 2)
    ]
    return weights[0], weights[1]


def maps_to_source(maps: Float32Array, crops: Crops, spec: CropSpec) -> Float32Array:
    """Lay one coarse map a crop back onto the source voxels.

    Args:
        maps: (N, h, w) float32, one a crop, covering its whole window.
        crops: From `lesion_crops`, cut by the spec.
        spec: The crops' spec.

    Returns:
        (I, J, K) float32, linearly interpolated; NaN outside the windows.

    Raises:
        GeometryError: If there is not one map a crop.
    """
    if len(maps) != len(crops.windows):
        message = f"{len(maps)} maps for {len(crops.windows)} crops."
        raise GeometryError(message)
    transform = crops.transform
    shape = tuple(transform.source_shape[axis] for axis in transform.axes)
    stack = np.full(shape, np.nan, dtype=np.float32)
    for coarse, window in zip(maps, crops.windows, strict=True):
        rows, columns = (
            linear_weights(
                coarse.shape[axis],
                (spec.height_mm, spec.width_mm)[axis] / coarse.shape[axis],
                shape[axis + 1],
                transform.spacing_mm[axis + 1],
                shift_mm=-window.shift_mm[axis],
            )
            for axis in (0, 1)
        )
        seen = np.outer(rows.any(axis=1), columns.any(axis=1))
        stack[window.stack_index] = np.where(seen, rows @ coarse @ columns.T, np.nan)
    return _from_stack(stack, transform)
