"""Figures that show the image: key slice, Grad-CAM, all lesion slices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Float32Array, Task
from spinaldx.report import wording
from spinaldx.report.case import ReportCase
from spinaldx.report.fonts import printable, shorten
from spinaldx.report.painter import (
    BLACK,
    GREY,
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
)

# Enough for print at the size shown; more only makes the file larger.
_PIXELS_PER_POINT = 2.5

# Around the image, for letters and the scale bar: they never cover anatomy.
_FRAME = 11.0
_BURN_IN_HEIGHT = 9.0

# The overlay covers the image by at most this much, where the heat is 1.
_STRONGEST = 0.8

_STRIP_MARGIN_MM = 18.0
_MOST_THUMBNAILS = 40


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One slice, ready to be drawn.

    Attributes:
        stack: Of its series.
        index: Slice in the stack.
        crop: Part shown.
        heat: (H, W) Grad-CAM of the slice, or None for the plain image.
        outlined: Whether the lesions' outline is drawn.
    """

    stack: SagittalStack
    index: int
    crop: Crop
    heat: Float32Array | None = None
    outlined: bool = True


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
            return max(slices, key=self._rank)
        name, stack = next(iter(self.stacks.items()))
        middle = len(stack.image) // 2
        return SliceName(name, middle, stack.slice_indices[middle])

    def _rank(self, name: SliceName) -> tuple[float, float]:
        # Of slices with as much lesion the one nearest to the middle.
        stack = self.stacks[name.series]
        off_middle = abs(name.index - (len(stack.image) - 1) / 2)
        return self.area_mm2(name), -off_middle

    def area_mm2(self, name: SliceName) -> float:
        """Return the area of lesion in a slice."""
        stack = self.stacks[name.series]
        pixel_mm2 = stack.pixel_mm[0] * stack.pixel_mm[1]
        return float(stack.lesion[name.index].sum()) * pixel_mm2

    def tasks(self) -> tuple[Task, ...]:
        """Return the tasks with a heatmap, in cascade order."""
        found = {t for arrays in self.case.arrays.values() for t in arrays.heat}
        return tuple(task for task in Task if task in found)


def draw_slice(painter: Painter, box: Box, view: View) -> None:
    """Draw one slice in a black frame with letters, outline and scale bar."""
    painter.rectangle(box, fill=BLACK)
    inner = box.inset(_FRAME, _FRAME, _FRAME, _FRAME + 3)
    area, scale = place(view.stack, view.crop, inner)
    _draw_pixels(painter, area, scale, view)
    _draw_letters(painter, area, view.stack.letters)
    _draw_scale_bar(painter, area, scale)


def _draw_pixels(painter: Painter, area: Box, scale: float, view: View) -> None:
    resolution = scale * _PIXELS_PER_POINT
    pixels = grey(view.stack, view.index, view.crop, resolution)
    if view.heat is not None:
        heat = heat_at(view.heat, view.stack, view.crop, resolution)
        pixels = blend(pixels, heat)
    painter.image(pixels, area)
    if view.outlined:
        lines = outline_mm(view.stack, view.index, view.crop) * scale
        lines += (area.x, area.y)
        painter.segments(lines, BLACK, width=1.4)
        painter.segments(lines, YELLOW, width=0.7)


def blend(pixels: NDArray[np.uint8], heat: Float32Array) -> NDArray[np.uint8]:
    """Lay heat over a grey image: the hotter, the less of the image is seen."""
    cover = (_STRONGEST * heat)[..., None]
    mixed = (1 - cover) * pixels[..., None] + cover * 255 * heat_colours(heat)
    return np.asarray(np.round(mixed), dtype=np.uint8)


def _draw_letters(
    painter: Painter, area: Box, letters: tuple[str, str, str, str]
) -> None:
    top, right, bottom, left = letters
    style = Style(7, WHITE, bold=True, anchor="middle")
    middle_x, middle_y = area.x + area.width / 2, area.y + area.height / 2
    painter.text(middle_x, area.y - 3, top, style)
    painter.text(area.right + 5.5, middle_y + 2.5, right, style)
    painter.text(middle_x, area.bottom + 8, bottom, style)
    painter.text(area.x - 5.5, middle_y + 2.5, left, style)


def _draw_scale_bar(painter: Painter, area: Box, scale: float) -> None:
    length_mm = next(
        (mm for mm in (50, 20, 10, 5, 2) if mm * scale <= area.width * 0.42), 1
    )
    start = area.right - length_mm * scale
    y = area.bottom + 4
    line(painter, (start, y), (area.right, y), WHITE, 1.5)
    style = Style(5.5, WHITE, anchor="end")
    painter.text(area.right, y + 7, f"{length_mm} mm", style)


def burn(painter: Painter, box: Box, text: str) -> Box:
    """Write the simulation notice at a figure's foot; return the rest of the box."""
    if not text:
        return box
    size = 6.0
    style = Style(size, VERMILION, bold=True, anchor="middle")
    fitting = shorten(text, box.width, size, bold=True)
    painter.text(box.x + box.width / 2, box.bottom - 2, fitting, style)
    return box.inset(0, 0, 0, _BURN_IN_HEIGHT)


def draw_key_image(painter: Painter, box: Box, pictures: CasePictures) -> None:
    """Draw the slice with most lesion, whole."""
    box = burn(painter, box, pictures.burn_in)
    name = pictures.key_slice()
    stack = pictures.stacks[name.series]
    draw_slice(painter, box, View(stack, name.index, stack.whole))


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
    titles = ["same slice, plain", *(wording.TASK_NAMES[task] for task in heats)]
    bar = 34.0
    width = (box.width - bar) / len(titles)
    for place_in_row, title in enumerate(titles):
        panel = Box(box.x + place_in_row * width, box.y, width - 5, box.height)
        style = Style(6.5, GREY)
        painter.text(panel.x, panel.y + 7, shorten(title, panel.width, 6.5), style)
        heat = list(heats.values())[place_in_row - 1] if place_in_row else None
        view = View(stack, name.index, crop, heat)
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


def draw_strip(painter: Painter, box: Box, pictures: CasePictures) -> None:
    """Draw every lesion slice with its outline; the 40 with most if there are more."""
    whole = box
    box = box.inset(0, 0, 0, _BURN_IN_HEIGHT)
    shown = strip_slices(pictures)
    crops = {name: _strip_crop(stack) for name, stack in pictures.stacks.items()}
    columns, size = _best_columns(len(shown), box, crops, pictures)
    for number, name in enumerate(shown):
        row, column = divmod(number, columns)
        cell = Box(
            box.x + column * size[0], box.y + row * size[1], size[0] - 3, size[1] - 3
        )
        _draw_thumbnail(painter, cell, name, crops[name.series], pictures)
    rows = -(-len(shown) // columns)
    used = Box(whole.x, whole.y, whole.width, rows * size[1] + _BURN_IN_HEIGHT)
    burn(painter, used, pictures.burn_in)


def strip_slices(pictures: CasePictures) -> tuple[SliceName, ...]:
    """Return the slices of the strip, in order; at most 40."""
    slices = pictures.lesion_slices()
    if len(slices) <= _MOST_THUMBNAILS:
        return slices
    by_area = sorted(slices, key=lambda name: -pictures.area_mm2(name))
    kept = set(by_area[:_MOST_THUMBNAILS])
    return tuple(name for name in slices if name in kept)


def _strip_crop(stack: SagittalStack) -> Crop:
    anywhere = np.asarray(stack.lesion.any(axis=0))
    return crop_around(stack, anywhere, _STRIP_MARGIN_MM)


_LABEL_HEIGHT = 8.0
_TALLEST_THUMBNAIL = 260.0


def _best_columns(
    count: int, box: Box, crops: dict[str, Crop], pictures: CasePictures
) -> tuple[int, tuple[float, float]]:
    """Choose the number of columns that shows the slices largest."""
    shapes = [
        (
            (crop.bottom - crop.top) * pictures.stacks[name].pixel_mm[0],
            (crop.right - crop.left) * pictures.stacks[name].pixel_mm[1],
        )
        for name, crop in crops.items()
    ]
    height_mm = max(shape[0] for shape in shapes)
    width_mm = max(shape[1] for shape in shapes)
    best = (0.0, 1, (box.width, box.height))
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        width = box.width / columns
        height = min(box.height / rows, _TALLEST_THUMBNAIL)
        scale = min((width - 3) / width_mm, (height - 3 - _LABEL_HEIGHT) / height_mm)
        tight = (width_mm * scale + 3, height_mm * scale + 3 + _LABEL_HEIGHT)
        best = max(best, (scale, columns, tight), key=lambda item: item[0])
    return best[1], best[2]


def _draw_thumbnail(
    painter: Painter, cell: Box, name: SliceName, crop: Crop, pictures: CasePictures
) -> None:
    stack = pictures.stacks[name.series]
    image_box = cell.inset(0, _LABEL_HEIGHT, 0, 0)
    area, scale = place(stack, crop, image_box)
    _draw_pixels(painter, area, scale, View(stack, name.index, crop))
    size = 5.5
    label = f"{printable(name.series)} · {name.source_index + 1}"
    if len(pictures.stacks) == 1:
        label = f"slice {name.source_index + 1}"
    painter.text(cell.x, cell.y + 6, shorten(label, cell.width, size), Style(size))
