"""Lesions painted into the healthy cords of training windows.

The same cord is met with and without a lesion, of any size, place and brightness; in
whole patients brightness goes with swelling, so that a network may wait for swelling.
Drawing is apart from doing, as in `augmentation`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinaldx.records import Float32Array

# Rows with fewer pixels that are mostly cord have none to paint into.
_LEAST_WIDTH_PX = 3
_MOSTLY = 0.5

# Reach of the mean over the cord that a lesion's brightness is relative to.
_LOCAL_PX = 6.0

# A voxel of cord is at most this much brighter than the cord nearby, or holds fluid.
_BRIGHTEST_CORD = 1.3

# The centre and width of the cord are smoothed over this many rows.
_SMOOTHING_ROWS = 4.0

# Knots of the random fields, rows by columns.
_KNOTS = (28, 20)

# Windows with more lesion than this many pixels hold one already.
_LESION_PX = 2.0

# The middle slice lies at most this far from a lesion's middle, in half its depth; so
# that it always holds some of it.
_DEEPEST_MIDDLE = 0.8

_BRIGHTEST = 2.0


@dataclass(frozen=True, slots=True)
class PaintOptions:
    """Which lesions are painted.

    Attributes:
        several: How often a second one is painted.
        half_length_px: Bounds of half the length; its log is drawn evenly.
        breadth: Bounds of the half width in half widths of the cord.
        half_depth: Bounds of half the extent across the slices, in slices for a
            lesion as broad as the cord.
        ratio: Bounds of the brightness relative to the cord nearby; its log is drawn
            evenly.
        softness_px: Bounds of the width of the edge.
        roughness: Largest standard deviation of the outline, relative.
        texture: Largest standard deviation of the log brightness inside.
        core: How often the middle has a brightness of its own.
        log_core: Largest log of the middle's brightness relative to the rest.
    """

    several: float = 0.25
    half_length_px: tuple[float, float] = (3.0, 45.0)
    breadth: tuple[float, float] = (0.3, 1.6)
    half_depth: tuple[float, float] = (1.2, 2.6)
    ratio: tuple[float, float] = (1.3, 2.8)
    softness_px: tuple[float, float] = (1.0, 4.0)
    roughness: float = 0.35
    texture: float = 0.08
    core: float = 0.3
    log_core: float = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Painting:
    """One lesion, relative to a cord that is not known yet.

    Attributes:
        middle: Place along the cord seen in the window, 0 to 1.
        half_length_px: Half the length along the rows.
        offset: Place between the middle (0) and the edge (-1, 1) of the cord.
        breadth: Half the width in half widths of the cord.
        bluntness: Exponent along the cord: 2 an ellipse, more a box with round ends.
        ratio: Brightness relative to the cord nearby.
        core_ratio: Brightness of the middle relative to the rest.
        softness_px: Width of the edge.
        own_share: How much of the cord's own texture shines through, 0 to 1.
        across: Its middle, in slices from the middle one.
        half_depth: Half its extent across the slices, in slices.
        outline: Relative change of the outline at coarse knots, (28, 20).
        log_texture: Log brightness inside at the same knots.
    """

    middle: float
    half_length_px: float
    offset: float
    breadth: float
    bluntness: float
    ratio: float
    core_ratio: float
    softness_px: float
    own_share: float
    across: float
    half_depth: float
    outline: Float32Array
    log_texture: Float32Array


def draw_paintings(
    generator: np.random.Generator, frequency: float, options: PaintOptions
) -> tuple[Painting, ...]:
    """Draw what is painted into one window.

    Args:
        generator: Source of chance.
        frequency: How often anything is, 0 to 1.
        options: Bounds.

    Returns:
        One or two lesions, or none.
    """
    fires, again = generator.random(2) < (frequency, options.several)
    count = int(fires) * (1 + int(again))
    return tuple(_draw_painting(generator, options) for _ in range(count))


def _draw_painting(generator: np.random.Generator, options: PaintOptions) -> Painting:
    def even(bounds: tuple[float, float]) -> float:
        return float(generator.uniform(*bounds))

    def log_even(bounds: tuple[float, float]) -> float:
        return float(np.exp(generator.uniform(*np.log(bounds))))

    def knots(strength: float) -> Float32Array:
        drawn = generator.standard_normal(_KNOTS) * generator.uniform(0, strength)
        return np.asarray(drawn, dtype=np.float32)

    breadth = even(options.breadth)
    half_depth = breadth * even(options.half_depth)
    has_core = generator.random() < options.core
    return Painting(
        middle=even((0.0, 1.0)),
        half_length_px=log_even(options.half_length_px),
        # What fills the cord lies in its middle.
        offset=even((-1.0, 1.0)) * max(1.1 - breadth, 0.1),
        breadth=breadth,
        bluntness=even((2.0, 6.0)),
        ratio=log_even(options.ratio),
        core_ratio=float(np.exp(even((0.0, 1.0)) * options.log_core * has_core)),
        softness_px=even(options.softness_px),
        own_share=even((0.0, 1.0)),
        across=even((-1.0, 1.0)) * _DEEPEST_MIDDLE * half_depth,
        half_depth=half_depth,
        outline=knots(options.roughness),
        log_texture=knots(options.texture),
    )


def paint(window: Float32Array, paintings: tuple[Painting, ...]) -> Float32Array:
    """Paint lesions into the cord of one window.

    Args:
        window: Image (0 to 2), share of lesion and share of cord in each pixel of a
            slice and its neighbours, (3, C, H, W); rows run along the cord.
        paintings: What is painted; later ones over earlier ones.

    Returns:
        (3, C, H, W), the cord unchanged; the window itself when nothing is to be
        painted, when it holds a lesion already or hardly any cord.
    """
    _, lesion, cord = window
    course = _follow(cord)
    if not paintings or course is None or lesion.sum() > _LESION_PX:
        return window
    painted = window.copy()
    for place in range(cord.shape[0]):
        local = local_brightness(window[0, place], cord[place])
        for one in paintings:
            away = (place - cord.shape[0] // 2 - one.across) / one.half_depth
            # Slices that are seen alone hold the middle of their lesion.
            away = away if cord.shape[0] > 1 else 0.0
            if abs(away) < 1:
                _paint_one(painted[:, place], one, course, local, away)
    return painted


@dataclass(frozen=True, slots=True, eq=False)
class _Course:
    """Where the cord runs in the slice that shows most of it.

    Attributes:
        rows: Rows with cord, at least one.
        middle: Its middle column in every row of the window, (H, 1).
        half_width: Half its width in pixels, (H, 1).
    """

    rows: NDArray[np.intp]
    middle: Float32Array
    half_width: Float32Array


def _follow(cords: Float32Array) -> _Course | None:
    """Follow the cord through (C, H, W) slices; None where there is hardly any."""
    cord = cords[int(np.argmax(cords.sum(axis=(1, 2))))]
    pixels = np.count_nonzero(cord >= _MOSTLY, axis=1)
    rows = np.flatnonzero(pixels >= _LEAST_WIDTH_PX)
    if not rows.size:
        return None
    width = cord[rows].sum(axis=1)
    centre = (cord[rows] * np.arange(cord.shape[1])).sum(axis=1) / width
    every = np.arange(cord.shape[0])
    middle = np.interp(every, rows, _smoothed(centre))[:, None]
    half_width = np.interp(every, rows, _smoothed(width / 2))[:, None]
    return _Course(rows, middle.astype(np.float32), half_width.astype(np.float32))


def local_brightness(image: Float32Array, cord: Float32Array) -> Float32Array:
    """Mean over the cord nearby, its edges left out, (H, W)."""
    inner = np.clip(cord * 2 - 1, 0, 1)
    weight = ndimage.gaussian_filter(inner, _LOCAL_PX)
    total = ndimage.gaussian_filter(inner * image, _LOCAL_PX)
    return np.asarray(total / np.maximum(weight, 1e-6), dtype=np.float32)


def _paint_one(
    window: Float32Array,
    painting: Painting,
    course: _Course,
    local: Float32Array,
    away: float,
) -> None:
    image, lesion, cord = window
    level = _levels(cord.shape, painting, course, away)
    radius = np.minimum(course.half_width * painting.breadth, painting.half_length_px)
    depth_px = (1 - level) * radius
    share = np.clip(depth_px / painting.softness_px + 0.5, 0, 1) * cord
    inside = np.clip(depth_px + 0.5, 0, 1) * cord
    own = np.minimum(image, local * _BRIGHTEST_CORD)
    core = np.clip(2 - 3 * level, 0, 1)
    value = local + painting.own_share * (own - local)
    value *= painting.ratio * (1 + (painting.core_ratio - 1) * core)
    value *= np.exp(_field(painting.log_texture, image.shape))
    image += share * (np.clip(value, 0, _BRIGHTEST) - image)
    np.maximum(lesion, inside, out=lesion)


def _levels(
    shape: tuple[int, ...], painting: Painting, course: _Course, away: float
) -> Float32Array:
    """0 in a lesion's middle, 1 at its outline; `away` is the slice's own level."""
    every = np.arange(shape[0])
    at = course.rows[round(painting.middle * (len(course.rows) - 1))]
    columns = np.arange(shape[1])
    off = columns - course.middle - painting.offset * course.half_width
    across = off / (course.half_width * painting.breadth)
    along = np.abs(every - at)[:, None] / painting.half_length_px
    power = painting.bluntness / 2
    level = np.sqrt(across**2 + (along**2) ** power + away**2)
    level = level * (1 + _field(painting.outline, shape))
    return np.asarray(level, dtype=np.float32)


def _smoothed(values: NDArray[np.floating]) -> NDArray[np.floating]:
    smooth = ndimage.gaussian_filter1d(values, _SMOOTHING_ROWS, mode="nearest")
    return np.asarray(smooth)


def _field(knots: Float32Array, shape: tuple[int, ...]) -> Float32Array:
    """Interpolate knots to a window, quadratic splines."""
    zoom = [size / count for size, count in zip(shape, knots.shape, strict=True)]
    return np.asarray(ndimage.zoom(knots, zoom, order=2), dtype=np.float32)
