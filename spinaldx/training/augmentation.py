"""Random changes of training windows that a scanner or a patient could make.

Drawing is apart from doing: `draw_changes` gives numbers, the other functions
apply them and are deterministic. Nothing is turned front
to back or stood on its head.
Intensities are those of `grid`: reference tissue at 1, all of it in 0 to 2.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spinaldx.grid import linear_weights
from spinaldx.records import Float32Array

_BRIGHTEST = 2.0

# Outside of the cord nothing darker than the first is fluid, all brighter than the
# second is; the reference tissue, mostly fluid and fat, lies at 1.
_FLUID_FROM, _FLUID_TO = 0.3, 0.7
_CORE_BLUR_MM = 2.0

# How far around the cord its canal reaches before the background begins: a cord blurred
# this much and multiplied is 1 in the canal.
_CANAL_BLUR_MM = 7.0
_CANAL_GAIN = 6.0

_NEGLIGIBLE = 1e-9

# Reach of the detail that sharpening adds.
_DETAIL_PX = 1.0

# Knots of the random fields of brightness and of the random bend, rows by columns.
# Streaks are long along the spine and three pixels wide; fluid changes along it.
_BIAS_KNOTS = (7, 5)
_STREAK_KNOTS = (5, 44)
_FLUID_KNOTS = (9, 3)
_BEND_KNOTS = (6, 4)


@dataclass(frozen=True, slots=True)
class AugmentationOptions:
    """How far training windows may be changed; each bound is at full strength.

    Attributes:
        rotation_deg: Largest turn in the plane.
        log_scale: Largest log of the zoom.
        shear: Largest shear.
        bend_px: Standard deviation of the smooth displacement.
        log_gamma: Largest log of the exponent.
        log_gain: Largest log of the factor on all intensities.
        contrast: Largest relative change of contrast about the mean.
        log_bias: Largest standard deviation of the log bias field.
        bias_frequency: How often there is a bias field, how often streaks and how
            often a change of fluid and core; they teach that a brighter stretch of cord beside
            brighter fluid is no lesion, nor one beside darker fluid.
        log_streaks: Largest standard deviation of the log of streaks along the
            spine, as tracts and ghosts make them.
        log_fluid: Largest standard deviation of the log of the brightness of fluid
            outside of the cord, along the spine. In real scans it falls to a third
            where it flows or thins while the cord stays as it is; without this a
            network takes a cord beside dim fluid for a lesion.
        log_dimming: Largest log by which all fluid is dimmed.
        noise: Largest standard deviation of the added noise.
        log_core: Largest log of the factor on the middle of the cord, the same along
            all of the window. Real cords have a brighter core of grey matter and a
            rim that ringing darkens; without it they are taken for lesions.
        log_core_along: Largest log of what is added to that along the spine. A stretch
            brighter than this is a lesion: with 0.4 lesions 1.4 times as bright as the
            cord were learned to be none.
        log_rim: Largest log by which the cord's rim is darkened, the same along all of
            the window.
        log_background: Largest log by which all that is far from the cord is dimmed;
            in heavily weighted scans hardly anything but fluid is bright.
        blur_px: Largest standard deviation of the blur along one axis.
        sharpness: Largest share of the detail finer than about a pixel that is added
            again, as scanners' edge filters do.
        coarseness: Largest factor by which one axis loses resolution.
        frequency: How often each other change of intensity is made, 0 to 1.
    """

    rotation_deg: float = 12.0
    log_scale: float = 0.2
    shear: float = 0.06
    bend_px: float = 1.5
    log_gamma: float = 0.2
    log_gain: float = 0.12
    contrast: float = 0.15
    log_bias: float = 0.25
    bias_frequency: float = 0.6
    log_streaks: float = 0.05
    log_fluid: float = 0.35
    log_dimming: float = 0.7
    noise: float = 0.035
    log_core: float = 0.2
    log_core_along: float = 0.05
    log_rim: float = 0.3
    log_background: float = 0.8
    blur_px: float = 0.6
    sharpness: float = 1.0
    coarseness: float = 1.3
    frequency: float = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What is done to each of N windows; ones and zeros where nothing is.

    Attributes:
        affine: Output to input pixel offsets from the centre, (N, 2, 2), rows
            before columns.
        bend_px: Displacements at coarse knots, (N, 2, 6, 4).
        gamma: (N,).
        gain: (N,).
        contrast: (N,).
        log_bias: Log bias field at coarse knots, (N, 1, 7, 5).
        log_streaks: Log of the streaks at knots dense across the spine,
            (N, 1, 5, 44).
        log_fluid: Log of the factor on fluid at coarse knots, (N, 1, 9, 3).
        log_core: Log of the factor on the cord's middle at the same knots.
        log_rim: Log of the factor on the cord's rim, (N,).
        log_background: Log of the factor far from the cord, (N,).
        noise: Standard deviations, (N,).
        blur_px: Standard deviations along rows and columns, (N, 2).
        sharpness: Share of fine detail added, (N,).
        coarseness: Loss of resolution along rows and columns, (N, 2), 1 or more.
        noise_seed: Seed of the noise's pixels.
    """

    affine: Float32Array
    bend_px: Float32Array
    gamma: Float32Array
    gain: Float32Array
    contrast: Float32Array
    log_bias: Float32Array
    log_streaks: Float32Array
    log_fluid: Float32Array
    log_core: Float32Array
    log_rim: Float32Array
    log_background: Float32Array
    noise: Float32Array
    blur_px: Float32Array
    sharpness: Float32Array
    coarseness: Float32Array
    noise_seed: int


def draw_changes(
    generator: np.random.Generator, count: int, options: AugmentationOptions
) -> Changes:
    """Draw the changes of `count` windows, each on its own."""

    def spread(*shape: int) -> Float32Array:
        return generator.uniform(-1.0, 1.0, (count, *shape)).astype(np.float32)

    def rare(*shape: int, frequency: float = options.frequency) -> Float32Array:
        fires = generator.random((count, *shape)) < frequency
        return fires.astype(np.float32)

    def bell(*shape: int) -> Float32Array:
        return generator.standard_normal((count, *shape)).astype(np.float32)

    fluid = bell(1, *_FLUID_KNOTS) * np.abs(spread(1, 1, 1)) * options.log_fluid
    fluid = fluid - np.abs(spread(1, 1, 1)) * options.log_dimming
    fluid = fluid * rare(1, 1, 1, frequency=options.bias_frequency)
    blur = np.abs(spread(2)) * rare(1) * options.blur_px
    coarse = 1.0 + np.abs(spread(2)) * rare(2) * (options.coarseness - 1.0)
    return Changes(
        affine=_affine(spread(4), options),
        bend_px=bell(2, *_BEND_KNOTS) * options.bend_px,
        gamma=np.exp(spread() * rare() * options.log_gamma),
        gain=np.exp(spread() * options.log_gain),
        contrast=1.0 + spread() * rare() * options.contrast,
        log_bias=bell(1, *_BIAS_KNOTS)
        * np.abs(spread(1, 1, 1))
        * rare(1, 1, 1, frequency=options.bias_frequency)
        * options.log_bias,
        log_streaks=bell(1, *_STREAK_KNOTS)
        * np.abs(spread(1, 1, 1))
        * rare(1, 1, 1, frequency=options.bias_frequency)
        * options.log_streaks,
        log_fluid=fluid.astype(np.float32),
        log_core=(
            np.abs(spread(1, 1, 1)) * options.log_core
            + spread(1, *_FLUID_KNOTS) * options.log_core_along
        )
        * rare(1, 1, 1, frequency=options.bias_frequency),
        log_rim=-np.abs(spread())
        * rare(frequency=options.bias_frequency)
        * options.log_rim,
        log_background=-np.abs(spread())
        * rare(frequency=options.bias_frequency)
        * options.log_background,
        noise=np.abs(spread()) * rare(frequency=0.5) * options.noise,
        blur_px=blur,
        sharpness=np.abs(spread()) * rare(frequency=0.5) * options.sharpness,
        coarseness=coarse,
        noise_seed=int(generator.integers(2**62)),
    )


def _affine(drawn: Float32Array, options: AugmentationOptions) -> Float32Array:
    angle = np.deg2rad(options.rotation_deg) * drawn[:, 0]
    scale = np.exp(options.log_scale * drawn[:, 1])
    # The axes' zooms differ by a quarter of the common zoom at most.
    squeeze = np.exp(options.log_scale / 4 * drawn[:, 2])
    shear = options.shear * drawn[:, 3]
    cosine, sine = np.cos(angle), np.sin(angle)
    rows = np.stack((cosine * scale * squeeze, sine * scale + shear), axis=-1)
    columns = np.stack((-sine * scale, cosine * scale / squeeze), axis=-1)
    return np.stack((rows, columns), axis=1).astype(np.float32)


def resample(layers: Tensor, changes: Changes, shape: tuple[int, int]) -> Tensor:
    """Turn, zoom, shear and bend windows, cutting them out of larger ones.

    Args:
        layers: (N, C, H, W) around each window's centre.
        changes: Of which `affine` and `bend_px` are used.
        shape: Height and width of the windows given back.

    Returns:
        (N, C, h, w), linearly interpolated, 0 outside the layers.
    """
    height, width = shape
    rows = torch.arange(height, dtype=torch.float32) - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float32) - (width - 1) / 2
    offsets = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)
    affine = torch.from_numpy(changes.affine)
    places = torch.einsum("nab,hwb->nhwa", affine, offsets)
    places = places + _smooth(changes.bend_px, shape).permute(0, 2, 3, 1)
    # grid_sample wants columns first, -1 and 1 at the outer edges.
    half = torch.tensor([layers.shape[3] / 2, layers.shape[2] / 2])
    grid = places.flip(-1) / half
    return functional.grid_sample(layers, grid, align_corners=False)


def change_appearance(images: Tensor, changes: Changes) -> Tensor:
    """Apply all changes of intensity in the order in which a scan meets them.

    Args:
        images: (N, C, H, W), 0 to 2; the channels are slices and change alike.
        changes: All but the geometric ones, `log_fluid` and `log_core` are used.

    Returns:
        (N, C, H, W), 0 to 2; what was exactly 0 stays so.
    """
    outside = images <= 0
    images = change_gamma(images, changes.gamma)
    images = change_contrast(images, changes.contrast)
    height, width = images.shape[2:]
    shading = _smooth(changes.log_bias, (height, width))
    streaks = _smooth(changes.log_streaks, (height, width))
    images = images * torch.exp(shading + streaks)
    images = images * _per_window(changes.gain)
    images = soften(images, changes)
    noisy = add_noise(images, changes.noise, changes.noise_seed)
    # Padding beyond the field of view is exactly 0 in inference too.
    return torch.where(outside, torch.zeros_like(noisy), noisy).clamp(0.0, _BRIGHTEST)


def change_cord_and_fluid(
    images: Tensor,
    cord: Tensor,
    is_known: Tensor,
    changes: Changes,
    pixel_mm: float = 1.0,
) -> Tensor:
    """Change cord, fluid and background apart from each other.

    Args:
        images: (N, C, H, W), 0 to 2; the channels are slices.
        cord: Share of cord in each pixel, (N, C, H, W), 0 to 1.
        is_known: Whether somebody marked the cord of a window, (N,), 0 or 1; where
            nobody did, cord and fluid cannot be told apart and nothing is changed.
        changes: Of which `log_fluid`, `log_core`, `log_rim` and `log_background` are
            used.
        pixel_mm: Edge of a pixel.

    Returns:
        (N, C, H, W); lesions change with the cord around them.
    """
    shape = (images.shape[2], images.shape[3])
    fluid = (images - _FLUID_FROM).clamp(min=0.0) / (_FLUID_TO - _FLUID_FROM)
    share = fluid.clamp(max=1.0) * (1.0 - cord)
    # 0 at a straight edge, nearly 1 in the middle.
    core = (_blurred(cord, _CORE_BLUR_MM / pixel_mm) * 2.0 - 1.0).clamp(min=0.0)
    field = _smooth(changes.log_fluid, shape) * share
    field = field + _smooth(changes.log_core, shape) * core
    field = field + _per_window(changes.log_rim) * cord * (1.0 - core)
    field = field + _per_window(changes.log_background) * _background(cord, pixel_mm)
    field = field * is_known[:, None, None, None]
    return (images * torch.exp(field)).clamp(max=_BRIGHTEST)


def _background(cord: Tensor, pixel_mm: float) -> Tensor:
    """1 far from the cord, 0 in its canal; 0 where no cord is to be seen."""
    # One canal for all slices: beside the cord lies fluid, not background.
    widest = cord.amax(dim=1, keepdim=True)
    canal = (_blurred(widest, _CANAL_BLUR_MM / pixel_mm) * _CANAL_GAIN).clamp(max=1.0)
    is_seen = canal.amax(dim=(1, 2, 3), keepdim=True) >= 1.0
    return (1.0 - canal) * is_seen.to(canal.dtype)


def _blurred(shares: Tensor, blur_px: float) -> Tensor:
    rows, columns = (
        torch.from_numpy(softening_matrix(size, blur_px, 1.0))
        for size in shares.shape[2:]
    )
    return rows @ shares @ columns.T


def change_gamma(images: Tensor, gamma: Float32Array) -> Tensor:
    """Raise intensities to a power; 0 and the reference tissue at 1 stay."""
    return images.clamp(min=0.0) ** _per_window(gamma)


def change_contrast(images: Tensor, contrast: Float32Array) -> Tensor:
    """Stretch intensities about the mean of the body; never below 0."""
    inside = (images > 0).to(images.dtype)
    mean = (images * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp(min=1)
    centre = mean[:, None, None, None]
    return ((images - centre) * _per_window(contrast) + centre).clamp(min=0.0)


def add_noise(images: Tensor, noise: Float32Array, seed: int) -> Tensor:
    """Add noise to both parts of a complex signal and take its magnitude."""
    if not noise.any():
        return images
    generator = torch.Generator().manual_seed(seed)
    shape = (2, *images.shape)
    real, imaginary = torch.randn(shape, generator=generator) * _per_window(noise)
    return torch.hypot(images + real, imaginary)


def soften(images: Tensor, changes: Changes) -> Tensor:
    """Blur, lose resolution and sharpen along each axis, where a window needs it."""
    touched = (changes.blur_px > 0).any(axis=1) | (changes.coarseness > 1).any(axis=1)
    touched |= changes.sharpness > 0
    if not touched.any():
        return images
    rows, columns = (
        torch.from_numpy(
            np.stack(
                [
                    softening_matrix(
                        images.shape[axis + 2],
                        _rounded(changes.blur_px[window, axis]),
                        _rounded(changes.coarseness[window, axis]),
                        _rounded(changes.sharpness[window]),
                    )
                    for window in np.flatnonzero(touched)
                ]
            )
        )
        for axis in (0, 1)
    )
    chosen = torch.from_numpy(np.flatnonzero(touched))
    result = images.clone()
    result[chosen] = rows[:, None] @ images[chosen] @ columns.transpose(1, 2)[:, None]
    return result


def _rounded(value: float) -> float:
    # Few distinct values, so that matrices can be kept.
    return round(float(value) * 10) / 10


@lru_cache(maxsize=512)
def softening_matrix(
    size: int, blur_px: float, coarseness: float, sharpness: float = 0.0
) -> Float32Array:
    """Weights that blur an axis, sample it down and up again, and sharpen it.

    Args:
        size: Pixels along the axis.
        blur_px: Standard deviation of the blur.
        coarseness: Factor by which pixels grow in between, 1 or more.
        sharpness: Share of fine detail added at the end.

    Returns:
        (size, size) float32; rows sum to 1.
    """
    matrix = np.eye(size, dtype=np.float32)
    if blur_px > 0:
        matrix = _bell_matrix(size, blur_px)
    if coarseness > 1:
        # Rounded up, so that the coarse grid covers the fine one.
        coarse = int(np.ceil(size / coarseness))
        down = linear_weights(size, 1.0, coarse, coarseness)
        up = linear_weights(coarse, coarseness, size, 1.0)
        joined = up @ _rows_to_one(down) @ matrix
        matrix = _rows_to_one(joined)
    if sharpness > 0:
        fine = np.eye(size, dtype=np.float32) - _bell_matrix(size, _DETAIL_PX)
        matrix = (matrix + sharpness * (fine @ matrix)).astype(np.float32)
    return matrix


def _bell_matrix(size: int, blur_px: float) -> Float32Array:
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    bell = np.exp(-0.5 * (distance / blur_px) ** 2)
    # Far tails become numbers so small that processors take ten times as long for them.
    return _rows_to_one(np.where(bell < _NEGLIGIBLE, 0.0, bell))


def _rows_to_one(matrix: NDArray[np.floating]) -> Float32Array:
    total = matrix.sum(axis=1, keepdims=True)
    return np.asarray(matrix / np.where(total > 0, total, 1.0), dtype=np.float32)


def _per_window(values: Float32Array) -> Tensor:
    return torch.from_numpy(values)[:, None, None, None]


def _smooth(knots: Float32Array, shape: tuple[int, int]) -> Tensor:
    """Interpolate (N, C, h, w) knots to whole windows; the outer knots lie at edges."""
    rows, columns = (
        _knot_weights(knots.shape[axis + 2], shape[axis]) for axis in (0, 1)
    )
    return rows @ torch.from_numpy(knots) @ columns.T


@lru_cache(maxsize=64)
def _knot_weights(knots: int, size: int) -> Tensor:
    unit = torch.eye(knots)[None, :, :, None]
    smooth = functional.interpolate(unit, (size, 1), mode="bicubic", align_corners=True)
    # One unit knot a channel gives one column of the matrix.
    return smooth[0, :, :, 0].T.contiguous()


def window_of(
    stack: NDArray[np.generic], centre: tuple[int, int], shape: tuple[int, int]
) -> Float32Array:
    """Cut a window out of one slice, zero outside it.

    Args:
        stack: (H, W), any numeric type.
        centre: Row and column of the window's middle.
        shape: Height and width of the window.

    Returns:
        (h, w) float32.
    """
    window = np.zeros(shape, dtype=np.float32)
    source, target = [], []
    for axis in (0, 1):
        first = centre[axis] - shape[axis] // 2
        start, stop = max(first, 0), min(first + shape[axis], stack.shape[axis])
        stop = max(stop, start)
        source.append(slice(start, stop))
        target.append(slice(start - first, stop - first))
    window[target[0], target[1]] = stack[source[0], source[1]]
    return window
