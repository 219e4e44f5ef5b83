"""Windows around the lesions for the classifiers, and their maps back to the source."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError
from spinaldx.grid.stack import (
    BRIGHTEST,
    GridSpec,
    GridTransform,
    from_stack,
    linear_weights,
    plan_grid,
    resample_plane,
    shown_stack,
    to_stack,
)
from spinaldx.records import Float32Array, Volume

# What a channel can hold, see `CropSpec`; those that are one number everywhere.
NUMBER_CHANNELS = ("volume", "contrast", "eccentricity", "cord_share")
CHANNELS = ("t2w", "lesion", "cord", *NUMBER_CHANNELS, "zero")

# "Dilated" masking keeps this much around the lesion.
_DILATION_MM = 5.0

# Volumes as a channel shows them: 0 without lesion, 1 at the largest tumours, and
# steepest where plaques are.
_SMALL_ML, _LARGEST_ML = 0.1, 50.0

# Lesion to cord where that is not known: about what all lesions have together. Beyond
# the others lies no lesion, but a shading that was read off wrongly.
_USUAL_RATIO, _LEAST_RATIO, _LARGEST_RATIO = 1.6, 0.5, 5.0

# Where they are not known: near the medians of 611 simulated and painted lesions, 0.10
# and 0.74.
_USUAL_ECCENTRICITY, _USUAL_CORD_SHARE = 0.15, 0.7


@dataclass(frozen=True, slots=True)
class CropSpec:
    """The classifiers' window around the lesions; a part of every bundle.

    Attributes:
        pixel_mm: Edge of a square pixel; finer than the segmentation's, so that
            a Grad-CAM cell of 16 pixels is at most 8 mm.
        height_mm: Extent from head to foot.
        width_mm: Extent from front to back.
        channels: What the channels hold, of `CHANNELS`. Those of `NUMBER_CHANNELS`
            hold one number of all lesions of the series: ``volume``, ``contrast`` to
            the cord (see `volume_level` and `contrast_level`), ``eccentricity`` in the
            cord and ``cord_share``, how much of its cross-section they take.
        masking: ``none``, or ``lesion`` to blank everything but the lesion, or
            ``dilated`` to keep 5 mm around it.
        reference_percentile: Percentile of the foreground that becomes 1; 0 for that of
            the segmentation's grid.
    """

    pixel_mm: float = 0.5
    height_mm: float = 160.0
    width_mm: float = 64.0
    channels: tuple[str, ...] = ("t2w", "lesion", "cord")
    masking: str = "none"
    reference_percentile: float = 0.0

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
        contrast: How many times as bright as cord the lesions are, or None where
            nobody can say.
        eccentricity: How far from the cord's middle they lie, 1 at its edge, or None.
        cord_share: How much of the cord's cross-section they take, 0 to 1, or None.
    """

    volume: Volume
    lesion: NDArray[np.uint8]
    cord: Float32Array | None = None
    contrast: float | None = None
    eccentricity: float | None = None
    cord_share: float | None = None


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


def volume_level(volume_ml: float) -> float:
    """Return a lesion volume as classifiers see it, 0 to about 1.

    Size is what tells a tumour best, and a window shows it less plainly than a number.
    """
    scaled = np.log1p(volume_ml / _SMALL_ML) / np.log1p(_LARGEST_ML / _SMALL_ML)
    return float(scaled)


def contrast_level(ratio: float | None) -> float:
    """Return how bright lesions are as classifiers see it: 0 as cord, 0.7 twice that.

    A coil's shading changes what a window shows, and not this number.
    """
    known = _bounded(ratio, _LEAST_RATIO, _LARGEST_RATIO)
    return float(np.log(_USUAL_RATIO if known is None else known))


def _share_level(share: float | None, usual: float) -> float:
    """Return a number that has a range of its own as classifiers see it, 0 to 1."""
    known = _bounded(share, 0.0, 1.0)
    return usual if known is None else known


def _bounded(value: float | None, least: float, most: float) -> float | None:
    return None if value is None else float(np.clip(value, least, most))


def told_numbers(inputs: CropInputs, spec: CropSpec) -> dict[str, float | None]:
    """Return what classifiers are told about all lesions of a series as numbers.

    Args:
        inputs: What their crops are cut from.
        spec: The crops; numbers without a channel are not told.

    Returns:
        ``volume_ml``, ``contrast``, ``eccentricity`` and ``cord_share``, see
        `CropInputs`, within the bounds of what is told; None where nobody can say
        and a usual value is told instead. Empty without lesions.
    """
    if not inputs.lesion.any():
        return {}
    known = {
        "volume": ("volume_ml", _volume_ml(inputs)),
        "contrast": (
            "contrast",
            _bounded(inputs.contrast, _LEAST_RATIO, _LARGEST_RATIO),
        ),
        "eccentricity": ("eccentricity", _bounded(inputs.eccentricity, 0.0, 1.0)),
        "cord_share": ("cord_share", _bounded(inputs.cord_share, 0.0, 1.0)),
    }
    return dict(known[name] for name in NUMBER_CHANNELS if name in spec.channels)


def _volume_ml(inputs: CropInputs) -> float:
    return np.count_nonzero(inputs.lesion) * inputs.volume.voxel_mm3 / 1000.0


def lesion_crops(inputs: CropInputs, grid: GridSpec, spec: CropSpec) -> Crops:
    """Cut one window a lesion-bearing slice, at the classifiers' resolution.

    The window's centre is that of the lesions' bounding box in the slice, moved
    as little as needed to stay inside the image. Where the box is larger than the
    window, the window lies where it sees most of the lesions.

    Args:
        inputs: Image, lesion labels and cord on one grid.
        grid: Gives slice thickness and intensity scale, as for segmentation.
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
    lesion = to_stack((inputs.lesion != 0).astype(np.float32), transform)
    windows = tuple(
        _window_around(lesion[index], index, transform, spec)
        for index in np.flatnonzero(lesion.any(axis=(1, 2))).tolist()
    )
    pixels = np.zeros((len(windows), len(spec.channels), *spec.shape), np.float32)
    if not windows:
        return Crops(pixels, windows, transform)
    percentile = spec.reference_percentile or grid.reference_percentile
    shown = replace(grid, reference_percentile=percentile)
    image, scale = shown_stack(volume, transform, shown)
    cord = None if inputs.cord is None else to_stack(inputs.cord, transform)
    everywhere = {
        "zero": 0.0,
        "volume": volume_level(_volume_ml(inputs)),
        "contrast": contrast_level(inputs.contrast),
        "eccentricity": _share_level(inputs.eccentricity, _USUAL_ECCENTRICITY),
        "cord_share": _share_level(inputs.cord_share, _USUAL_CORD_SHARE),
    }
    for place, window in enumerate(windows):
        index = window.stack_index
        layers = {
            "t2w": np.clip(image[index] / scale, 0.0, BRIGHTEST),
            "lesion": lesion[index],
            "cord": None if cord is None else cord[index],
        }
        pixels[place] = _cut(layers, everywhere, window, transform, spec)
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
    everywhere: dict[str, float],
    window: CropWindow,
    transform: GridTransform,
    spec: CropSpec,
) -> Float32Array:
    rows, columns = _window_weights(window, transform, spec)
    cut = {
        name: np.full(spec.shape, value, dtype=np.float32)
        for name, value in everywhere.items()
    }
    for name, layer in layers.items():
        cut[name] = (
            cut["zero"] if layer is None else resample_plane(layer, rows, columns)
        )
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
        laid = resample_plane(coarse, rows, columns)
        stack[window.stack_index] = np.where(seen, laid, np.nan)
    return from_stack(stack, transform)
