"""Slices as a neuroradiologist looks at them: head up, front left, true to scale.

Orientation letters come from the affine of the image, never from its file order:
H head, F foot, A anterior, P posterior, R right, L left.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spinaldx.grid import anatomical_axes
from spinaldx.records import Float32Array, Volume
from spinaldx.report.painter import Box, Points

# Percentiles of what is shown that become black and white: fat beside a surface
# coil would otherwise leave the cord in the dark.
_WINDOW = (1.0, 99.0)

# A second letter is written where the edge turns more than 22.5 degrees to it.
_SECOND_LETTER_FROM = float(np.sin(np.deg2rad(22.5)))
_LETTERS = (("L", "R"), ("P", "A"), ("F", "H"))


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a slice, in pixels: rows and columns, end excluded."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True, eq=False)
class SagittalStack:
    """A volume turned for looking at; voxels are moved, never resampled.

    Attributes:
        image: (S, H, W) float32, slices from the patient's right to left.
        lesion: (S, H, W) bool.
        pixel_mm: Height and width of a pixel.
        letters: What lies beyond the top, right, bottom and left edge.
        slice_indices: Index along the source's slice axis, by slice.
    """

    image: Float32Array
    lesion: NDArray[np.bool_]
    pixel_mm: tuple[float, float]
    letters: tuple[str, str, str, str]
    slice_indices: tuple[int, ...]

    @property
    def lesion_slices(self) -> tuple[int, ...]:
        """Slices that bear lesion, from right to left."""
        return tuple(np.flatnonzero(self.lesion.any(axis=(1, 2))).tolist())

    @property
    def whole(self) -> Crop:
        """The crop that shows everything."""
        return Crop(0, self.image.shape[1], 0, self.image.shape[2])


def look_at(volume: Volume, lesion: NDArray[np.uint8]) -> SagittalStack:
    """Turn a volume and its lesions for looking at.

    Args:
        volume: Any axis order and obliquity.
        lesion: Non-zero inside, (I, J, K).
    """
    axes, flips = anatomical_axes(volume)
    image = turn(volume, volume.voxels)
    directions = volume.affine_ras[:3, :3] / np.asarray(volume.spacing_mm)
    down, right = (
        directions[:, axis] * (-1 if flip else 1)
        for axis, flip in zip(axes[1:], flips[1:], strict=True)
    )
    count = len(image)
    order = range(count - 1, -1, -1) if flips[0] else range(count)
    return SagittalStack(
        image=image,
        lesion=turn(volume, lesion) != 0,
        pixel_mm=(volume.spacing_mm[axes[1]], volume.spacing_mm[axes[2]]),
        letters=(_letter(-down), _letter(right), _letter(down), _letter(-right)),
        slice_indices=tuple(order),
    )


def turn(volume: Volume, array: NDArray[Any]) -> NDArray[Any]:
    """Turn an array on a volume's grid as `look_at` turns the volume."""
    axes, flips = anatomical_axes(volume)
    flipped = tuple(axis for axis, flip in enumerate(flips) if flip)
    return np.flip(np.transpose(array, axes), flipped)


def _letter(direction: NDArray[np.float64]) -> str:
    """Name a direction in patient space, its largest part first."""
    by_size = np.argsort(-np.abs(direction))
    letters = [_LETTERS[axis][int(direction[axis] > 0)] for axis in by_size]
    second = abs(direction[by_size[1]]) > _SECOND_LETTER_FROM
    return letters[0] + (letters[1] if second else "")


def window_of(stack: SagittalStack, crop: Crop) -> tuple[float, float]:
    """Return the intensities shown black and white, the same in all slices."""
    # Every second pixel gives the same percentiles in a quarter of the time.
    seen = stack.image[:, crop.top : crop.bottom : 2, crop.left : crop.right : 2]
    low, high = np.percentile(seen, _WINDOW)
    return float(low), float(high)


def grey(
    stack: SagittalStack,
    index: int,
    crop: Crop,
    window: tuple[float, float],
    pixels_per_mm: float,
) -> NDArray[np.uint8]:
    """Return a windowed slice at a resolution, square pixels, (h, w) uint8."""
    low, high = window
    part = _part(stack.image[index], crop)
    scaled = np.clip((part - low) / max(high - low, 1e-6), 0.0, 1.0) * 255
    return _resize(scaled.astype(np.uint8), stack, pixels_per_mm)


def heat_at(
    heat: Float32Array, stack: SagittalStack, crop: Crop, pixels_per_mm: float
) -> Float32Array:
    """Return one slice's heat at a resolution, (h, w) float32, 0 where unknown."""
    part = np.nan_to_num(_part(heat, crop), nan=0.0).astype(np.float32)
    heat_there = np.clip(_resize(part, stack, pixels_per_mm), 0.0, 1.0)
    return np.asarray(heat_there, dtype=np.float32)


def _part(array: NDArray[Any], crop: Crop) -> NDArray[Any]:
    return array[crop.top : crop.bottom, crop.left : crop.right]


def _resize(
    part: NDArray[Any], stack: SagittalStack, pixels_per_mm: float
) -> NDArray[Any]:
    height, width = (
        max(round(count * edge_mm * pixels_per_mm), 1)
        for count, edge_mm in zip(part.shape, stack.pixel_mm, strict=True)
    )
    picture = Image.fromarray(part)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def crop_around(
    stack: SagittalStack,
    inside: NDArray[np.bool_],
    margin_mm: float,
    least_mm: tuple[float, float] = (0.0, 0.0),
) -> Crop:
    """Return the crop around marked pixels with a margin.

    Args:
        stack: Gives size and pixel edges.
        inside: (H, W); nothing marked gives the whole slice.
        margin_mm: On each side, as far as the image goes.
        least_mm: Smallest height and width, as far as the image goes.
    """
    if not inside.any():
        return stack.whole
    edges: list[int] = []
    for axis in (0, 1):
        marked = np.flatnonzero(inside.any(axis=1 - axis))
        length = int(marked[-1]) + 1 - int(marked[0])
        margin = margin_mm / stack.pixel_mm[axis]
        least = least_mm[axis] / stack.pixel_mm[axis]
        size = min(round(max(length + 2 * margin, least)), inside.shape[axis])
        start = int(marked[0]) - (size - length) // 2
        start = min(max(start, 0), inside.shape[axis] - size)
        edges.extend((start, start + size))
    return Crop(*edges)


def outline_mm(stack: SagittalStack, index: int, crop: Crop) -> Points:
    """Return the outline of the lesions in a slice.

    The line runs halfway between the centres of marked and unmarked pixels.

    Returns:
        (N, 2, 2) from and to, each x and y in mm from the crop's top left.
    """
    lines = _march(_part(stack.lesion[index], crop))
    height_mm, width_mm = stack.pixel_mm
    return lines * (width_mm, height_mm)


# Where the outline crosses the edges of a cell of four pixels, relative to the
# upper left one: top, right, bottom, left.
_CROSSINGS = np.array([(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)])
_EDGES_TOP_LEFT = np.array([True, False, False, True])
_EDGES_TOP_RIGHT = np.array([True, True, False, False])


def _march(inside: NDArray[np.bool_]) -> Points:
    """Marching squares over a binary image, in pixels from its top left corner."""
    if not inside.any():
        return np.zeros((0, 2, 2))
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    tight = inside[top : rows[-1] + 1, left : columns[-1] + 1]
    corner = np.array([left, top], dtype=np.float64)
    return np.asarray(_march_tight(tight) + corner)


def _march_tight(inside: NDArray[np.bool_]) -> Points:
    padded = np.pad(inside, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    crossed = np.stack(
        [
            upper_left != upper_right,
            upper_right != lower_right,
            lower_left != lower_right,
            upper_left != lower_left,
        ],
        axis=-1,
    )
    count = crossed.sum(axis=-1)
    simple = _lines(crossed & (count == 2)[..., None])
    # In a saddle marked pixels that share only a corner stay apart.
    saddle = (count == 4)[..., None]
    falling = saddle & upper_left[..., None]
    rising = saddle & upper_right[..., None]
    return np.concatenate(
        [
            simple,
            _lines(crossed & falling & _EDGES_TOP_LEFT),
            _lines(crossed & falling & ~_EDGES_TOP_LEFT),
            _lines(crossed & rising & _EDGES_TOP_RIGHT),
            _lines(crossed & rising & ~_EDGES_TOP_RIGHT),
        ]
    )


def _lines(crossed: NDArray[np.bool_]) -> Points:
    """Join the two crossed edges of each cell, (N, 2, 2) in pixels."""
    rows, columns, edges = np.nonzero(crossed)
    # Centre of the cell's upper left pixel, without the padding.
    corners = np.stack([columns - 0.5, rows - 0.5], axis=-1)
    return (_CROSSINGS[edges] + corners).reshape(-1, 2, 2)


def place(stack: SagittalStack, crop: Crop, box: Box) -> tuple[Box, float]:
    """Fit a crop into a box without changing its aspect.

    Returns:
        The box it fills, centred, and points per mm.
    """
    height_mm = (crop.bottom - crop.top) * stack.pixel_mm[0]
    width_mm = (crop.right - crop.left) * stack.pixel_mm[1]
    scale = min(box.width / width_mm, box.height / height_mm)
    width, height = width_mm * scale, height_mm * scale
    left = box.x + (box.width - width) / 2
    top = box.y + (box.height - height) / 2
    return Box(left, top, width, height), scale
