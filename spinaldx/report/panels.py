"""Figures that show the image: key slice, Grad-CAM, all lesion slices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Float32Array, Task
from spinaldx.report import wording
from spinaldx.report.case import ReportCase
from spinaldx.report.fonts import printable, shorten, text_width
from spinaldx.report.painter import (
    BLACK,
    GREY,
    INK,
    VERMILION,
    WHITE,
    YELLOW,
    Box,
    Painter,
    Style,
    heat_colours,
    line,
)
from spinaldx.report.sagittal import (
    Crop,
    SagittalStack,
    crop_around,
    grey,
    heat_at,
    look_at,
    outline_mm,
    place,
    turn,
    window_of,
)

# Enough for print at the size shown; more only makes the file larger.
_PIXELS_PER_POINT = 2.5

# Around the image, for letters and the scale bar: they never cover anatomy.
_FRAME = 13.0

# Points per mm from which an outline has room for a dark edge that sets it off.
_HALO_FROM = 0.5
BURN_IN_HEIGHT = 9.0

# The overlay covers the image by at most this much, where the heat is 1.
_STRONGEST = 0.8

# The key image is this many times as high as wide, unless its lesions need more.
_KEY_ASPECT = 1.6
_KEY_MARGIN_MM = 20.0

_STRIP_MARGIN_MM = 16.0
_STRIP_LEAST_MM = (70.0, 44.0)
_MOST_THUMBNAILS = 40
_LABEL_HEIGHT = 8.0
_TALLEST_THUMBNAIL = 260.0
_GAP = 3.0

# Points per mm: life size is 2.8.
_LARGEST_SCALE = 3.2


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One slice, ready to be drawn.

    Attributes:
        stack: Of its series.
        index: Slice in the stack.
        crop: Part shown.
        window: Intensities shown black and white.
        heat: (H, W) Grad-CAM of the slice, or None for the plain image.
    """

    stack: SagittalStack
    index: int
    crop: Crop
    window: tuple[float, float]
    heat: Float32Array | None = None


@dataclass(frozen=True, slots=True)
class SliceName:
    """Where a slice lies.

    Attributes:
        series: Name of the series.
        index: In the stack, from right to left.
        source_index: Along the source's slice axis.
    """

    series: str
    index: int
    source_index: int

    def __str__(self) -> str:
        return f"{printable(self.series)}, slice {self.source_index + 1}"


class CasePictures:
    """The stacks of one study, turned once."""

    def __init__(self, case: ReportCase) -> None:
        """Turn every series for looking at."""
        self.case = case
        self.stacks = {
            name: look_at(arrays.image, arrays.lesion)
            for name, arrays in case.arrays.items()
        }

    @property
    def burn_in(self) -> str:
        """Text drawn into every picture; empty for weights from patients."""
        return wording.burn_in(self.case.stored.provenance.weights)

    def lesion_slices(self) -> tuple[SliceName, ...]:
        """Every slice with lesion, series by series, from right to left."""
        return tuple(
            SliceName(name, index, stack.slice_indices[index])
            for name, stack in self.stacks.items()
            for index in stack.lesion_slices
        )

    def key_slice(self) -> SliceName:
        """Return the slice with most lesion; without any, the middle one."""
        slices = self.lesion_slices()
        if slices:
            return max(slices, key=self.rank)
        name, stack = next(iter(self.stacks.items()))
        middle = len(stack.image) // 2
        return SliceName(name, middle, stack.slice_indices[middle])

    def rank(self, name: SliceName) -> tuple[float, float]:
        """Sort slices by lesion, and those with as much from the middle outwards."""
        stack = self.stacks[name.series]
        off_middle = abs(name.index - (len(stack.image) - 1) / 2)
        pixel_mm2 = stack.pixel_mm[0] * stack.pixel_mm[1]
        return float(stack.lesion[name.index].sum()) * pixel_mm2, -off_middle

    def tasks(self) -> tuple[Task, ...]:
        """Return the tasks with a heatmap, in cascade order."""
        found = {t for arrays in self.case.arrays.values() for t in arrays.heat}
        return tuple(task for task in Task if task in found)


def draw_slice(painter: Painter, box: Box, view: View) -> None:
    """Draw one slice in a black frame with letters, outline and scale bar."""
    painter.rectangle(box, fill=BLACK)
    inner = box.inset(_FRAME, _FRAME - 2, _FRAME, _FRAME + 1)
    area, scale = place(view.stack, view.crop, inner)
    _draw_pixels(painter, area, scale, view)
    _draw_letters(painter, area, view.stack.letters)
    _draw_scale_bar(painter, box, area, scale)


def _draw_pixels(painter: Painter, area: Box, scale: float, view: View) -> None:
    resolution = scale * _PIXELS_PER_POINT
    pixels = grey(view.stack, view.index, view.crop, view.window, resolution)
    if view.heat is not None:
        heat = heat_at(view.heat, view.stack, view.crop, resolution)
        pixels = blend(pixels, heat)
    painter.image(pixels, area)
    lines = outline_mm(view.stack, view.index, view.crop) * scale
    lines += (area.x, area.y)
    if scale > _HALO_FROM:
        painter.segments(lines, BLACK, width=1.4)
    painter.segments(lines, YELLOW, width=0.7 if scale > _HALO_FROM else 0.45)


def blend(pixels: NDArray[np.uint8], heat: Float32Array) -> NDArray[np.uint8]:
    """Lay heat over a grey image: the hotter, the less of the image is seen."""
    cover = (_STRONGEST * heat)[..., None]
    mixed = (1 - cover) * pixels[..., None] + cover * 255 * heat_colours(heat)
    return np.asarray(np.round(mixed), dtype=np.uint8)


def _draw_letters(
    painter: Painter, area: Box, letters: tuple[str, str, str, str]
) -> None:
    top, right, bottom, left = letters
    style = Style(6.5, WHITE, bold=True, anchor="middle")
    middle_x, middle_y = area.x + area.width / 2, area.y + area.height / 2
    painter.text(middle_x, area.y - 3, top, style)
    painter.text(area.right + 6.5, middle_y + 2.5, right, style)
    painter.text(middle_x, area.bottom + 8, bottom, style)
    painter.text(area.x - 6.5, middle_y + 2.5, left, style)


def _draw_scale_bar(painter: Painter, box: Box, area: Box, scale: float) -> None:
    # At the frame's right end, where a narrow image leaves room beside the letter.
    end, y = box.right - 5, area.bottom + 4
    longest = (box.width / 2 - 12) / scale
    length_mm = next((mm for mm in (50, 20, 10, 5, 2) if mm <= longest), 1)
    line(painter, (end - length_mm * scale, y), (end, y), WHITE, 1.5)
    style = Style(5.5, WHITE, anchor="end")
    painter.text(end, y + 7, f"{length_mm} mm", style)


def burn(painter: Painter, box: Box, text: str) -> Box:
    """Write the simulation notice at a figure's foot; return the rest of the box."""
    if not text:
        return box
    size = 6.0
    style = Style(size, VERMILION, bold=True, anchor="middle")
    fitting = shorten(text, box.width, size, bold=True)
    painter.text(box.x + box.width / 2, box.bottom - 2, fitting, style)
    return box.inset(0, 0, 0, BURN_IN_HEIGHT)


def draw_key_image(painter: Painter, box: Box, pictures: CasePictures) -> None:
    """Draw the slice with most lesion as a figure."""
    draw_key_slice(painter, burn(painter, box, pictures.burn_in), pictures)


def draw_key_slice(painter: Painter, box: Box, pictures: CasePictures) -> None:
    """Draw the slice with most lesion."""
    name = pictures.key_slice()
    stack = pictures.stacks[name.series]
    crop = key_crop(pictures)
    draw_slice(painter, box, View(stack, name.index, crop, window_of(stack, crop)))


def key_crop(pictures: CasePictures) -> Crop:
    """Return what is shown of the key slice: all of its height, not all of its width.

    A wide image is cut to a tall one around its lesions; without lesions nothing
    is cut, because nothing says where the spine is.
    """
    name = pictures.key_slice()
    stack = pictures.stacks[name.series]
    height_mm = stack.image.shape[1] * stack.pixel_mm[0]
    inside = stack.lesion[name.index]
    least_mm = (height_mm, height_mm / _KEY_ASPECT)
    return crop_around(stack, inside, _KEY_MARGIN_MM, least_mm)


def draw_gradcam(painter: Painter, box: Box, pictures: CasePictures) -> None:
    """Draw the key slice plain, then with the heat of each model in play."""
    box = burn(painter, box, pictures.burn_in)
    name = pictures.key_slice()
    stack = pictures.stacks[name.series]
    arrays = pictures.case.arrays[name.series]
    heats = {
        task: turn(arrays.image, arrays.heat[task])[name.index]
        for task in pictures.tasks()
        if task in arrays.heat
    }
    seen = np.zeros(stack.lesion.shape[1:], dtype=bool)
    for heat in heats.values():
        seen |= np.isfinite(heat)
    crop = crop_around(stack, seen, 2.0)
    window = window_of(stack, crop)
    titles = ["same slice, plain", *(wording.TASK_NAMES[task] for task in heats)]
    bar = 34.0
    width = (box.width - bar) / len(titles)
    for place_in_row, title in enumerate(titles):
        panel = Box(box.x + place_in_row * width, box.y, width - 5, box.height)
        style = Style(6.5, GREY)
        painter.text(panel.x, panel.y + 7, shorten(title, panel.width, 6.5), style)
        heat = list(heats.values())[place_in_row - 1] if place_in_row else None
        view = View(stack, name.index, crop, window, heat)
        draw_slice(painter, panel.inset(0, 11, 0, 0), view)
    _draw_colour_bar(painter, Box(box.right - bar + 3, box.y + 24, 8, box.height - 50))


def _draw_colour_bar(painter: Painter, box: Box) -> None:
    ramp = np.linspace(1, 0, 128, dtype=np.float32)[:, None]
    middle_grey = np.full(ramp.shape, 110, dtype=np.uint8)
    painter.image(blend(middle_grey, ramp), box)
    for value in (0.0, 0.5, 1.0):
        y = box.bottom - value * box.height
        line(painter, (box.right, y), (box.right + 2, y))
        painter.text(box.right + 4, y + 2, f"{value:g}", Style(6, GREY))


@dataclass(frozen=True, slots=True)
class _Grid:
    """How thumbnails are laid out, all at one scale."""

    columns: int
    scale: float
    width: float
    height: float


def draw_strip(painter: Painter, box: Box, pictures: CasePictures) -> None:
    """Draw every lesion slice with its outline; the 40 with most if there are more."""
    shown = strip_slices(pictures)
    crops = {name.series: _strip_crop(pictures.stacks[name.series]) for name in shown}
    windows = {
        name: window_of(pictures.stacks[name], crop) for name, crop in crops.items()
    }
    grid = _best_grid(
        len(shown), box.inset(0, 0, 0, 2 * BURN_IN_HEIGHT), crops, pictures
    )
    for number, name in enumerate(shown):
        row, column = divmod(number, grid.columns)
        x, y = box.x + column * grid.width, box.y + row * grid.height
        _draw_label(
            painter, Box(x, y, grid.width - _GAP, _LABEL_HEIGHT), name, pictures
        )
        stack, crop = pictures.stacks[name.series], crops[name.series]
        height_mm, width_mm = size_mm(crop, stack)
        size = (width_mm * grid.scale, height_mm * grid.scale)
        view = View(stack, name.index, crop, windows[name.series])
        _draw_pixels(painter, Box(x, y + _LABEL_HEIGHT, *size), grid.scale, view)
    bottom = box.y + -(-len(shown) // grid.columns) * grid.height
    length_mm = 20 if 20 * grid.scale < box.width else 10
    end = box.x + length_mm * grid.scale
    line(painter, (box.x, bottom + 4), (end, bottom + 4), INK, 1.5)
    painter.text(end + 4, bottom + 6, f"{length_mm} mm, A left, P right", Style(6))
    used = Box(box.x, box.y, box.width, bottom + 2 * BURN_IN_HEIGHT - box.y)
    burn(painter, used, pictures.burn_in)


def strip_slices(pictures: CasePictures) -> tuple[SliceName, ...]:
    """Return the slices of the strip, in order; at most 40."""
    slices = pictures.lesion_slices()
    kept = set(sorted(slices, key=pictures.rank, reverse=True)[:_MOST_THUMBNAILS])
    return tuple(name for name in slices if name in kept)


def _strip_crop(stack: SagittalStack) -> Crop:
    anywhere = np.asarray(stack.lesion.any(axis=0))
    return crop_around(stack, anywhere, _STRIP_MARGIN_MM, _STRIP_LEAST_MM)


def _best_grid(
    count: int, box: Box, crops: dict[str, Crop], pictures: CasePictures
) -> _Grid:
    """Choose the number of columns that shows the slices largest."""
    height_mm, width_mm = (
        max(size_mm(crop, pictures.stacks[name])[axis] for name, crop in crops.items())
        for axis in (0, 1)
    )

    def grid(columns: int) -> _Grid:
        height = min(box.height / -(-count // columns), _TALLEST_THUMBNAIL)
        across = (box.width / columns - _GAP) / width_mm
        along = (height - _GAP - _LABEL_HEIGHT) / height_mm
        scale = min(across, along, _LARGEST_SCALE)
        return _Grid(
            columns,
            scale,
            width_mm * scale + _GAP,
            height_mm * scale + _GAP + _LABEL_HEIGHT,
        )

    return max(
        (grid(columns) for columns in range(1, count + 1)), key=lambda g: g.scale
    )


def size_mm(crop: Crop, stack: SagittalStack) -> tuple[float, float]:
    """Return height and width of a crop."""
    height = (crop.bottom - crop.top) * stack.pixel_mm[0]
    return height, (crop.right - crop.left) * stack.pixel_mm[1]


def _draw_label(
    painter: Painter, box: Box, name: SliceName, pictures: CasePictures
) -> None:
    label = f"{name.source_index + 1}"
    if len(pictures.stacks) > 1:
        # The number is never cut: `…9` could be the slice 9, 89 or 109.
        number = f" · {label}"
        room = box.width - text_width(number, 5.5)
        series = shorten(printable(name.series), room, 5.5)
        label = f"{series}{number}" if text_width(series, 5.5) <= room else label
    painter.text(box.x, box.y + 6, label, Style(5.5))
