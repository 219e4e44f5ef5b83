"""The pictures of a study as files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from spinaldx.files import write_bytes
from spinaldx.records import Lesion
from spinaldx.report.case import StoredCase
from spinaldx.report.charts import (
    draw_probabilities,
    draw_ranges,
    draw_slice_scores,
    draw_stages,
)
from spinaldx.report.painter import Box, Painter
from spinaldx.report.panels import (
    CasePictures,
    burn,
    draw_gradcam,
    draw_key_image,
    draw_strip,
)
from spinaldx.report.raster import Raster
from spinaldx.report.vector import Vector

FIGURES = "figures"
_SCREEN_DPI = 150
_PRINT_DPI = 300
_MARGIN = 6.0


class FigureFormat(StrEnum):
    """What figures for papers are written as."""

    PNG = "png"
    SVG = "svg"


@dataclass(frozen=True, slots=True)
class _Figure:
    name: str
    width: float
    height: float
    draw: Callable[[Painter, Box, CasePictures], None]

    def draw_on(self, painter: Painter, pictures: CasePictures) -> None:
        whole = Box(0, 0, self.width, self.height)
        self.draw(painter, whole.inset(*[_MARGIN] * 4), pictures)


def write_pictures(pictures: CasePictures, folder: Path) -> None:
    """Write the key image, Grad-CAM and strip of a study as PNG for the screen.

    Args:
        pictures: The study, turned for looking at.
        folder: Of the study; pictures go to `figures` in it.

    Raises:
        OutputError: If a picture cannot be written.
    """
    for figure in _images(pictures):
        _write_png(figure, pictures, folder, _SCREEN_DPI)


def picture_files(lesions: Sequence[Lesion], *, has_heatmaps: bool) -> tuple[str, ...]:
    """List the pictures that `write_pictures` writes, as paths below the folder."""
    names = ["key_image"]
    if has_heatmaps:
        names.append("gradcam")
    if lesions:
        names.append("lesion_slices")
    return tuple(f"{FIGURES}/{name}.png" for name in names)


def write_figures(
    pictures: CasePictures, folder: Path, figure_format: FigureFormat
) -> None:
    """Write every figure of a report for a paper: PNG of 300 dpi, or SVG.

    Args:
        pictures: The study, turned for looking at.
        folder: Of the study; pictures go to `figures` in it.
        figure_format: Which of the two.

    Raises:
        OutputError: If a picture cannot be written.
    """
    for figure in (*_images(pictures), *_charts(pictures)):
        if figure_format is FigureFormat.PNG:
            _write_png(figure, pictures, folder, _PRINT_DPI)
            continue
        vector = Vector(figure.width, figure.height)
        figure.draw_on(vector, pictures)
        write_bytes(folder / FIGURES / f"{figure.name}.svg", vector.svg())


def _write_png(figure: _Figure, pictures: CasePictures, folder: Path, dpi: int) -> None:
    raster = Raster(figure.width, figure.height, dpi)
    figure.draw_on(raster, pictures)
    write_bytes(folder / FIGURES / f"{figure.name}.png", raster.png())


def _images(pictures: CasePictures) -> tuple[_Figure, ...]:
    figures = [_Figure("key_image", 262, 412, draw_key_image)]
    if pictures.tasks():
        figures.append(_Figure("gradcam", 372, 262, draw_gradcam))
    if pictures.lesion_slices():
        figures.append(_Figure("lesion_slices", 512, 312, draw_strip))
    return tuple(figures)


def _charts(pictures: CasePictures) -> tuple[_Figure, ...]:
    stored = pictures.case.stored
    figures: list[_Figure] = []
    if stored.lesions:
        figures.append(_Figure("ranges", 527, 131, _with_notice(draw_ranges)))
    if stored.prediction.stages:
        figures += [
            _Figure("probabilities", 300, 90, _with_notice(draw_probabilities)),
            _Figure("decisions", 300, 130, _with_notice(draw_stages)),
            _Figure("slice_scores", 527, 121, _with_notice(draw_slice_scores)),
        ]
    return tuple(figures)


def _with_notice(
    draw: Callable[[Painter, Box, StoredCase], None],
) -> Callable[[Painter, Box, CasePictures], None]:
    def draw_both(painter: Painter, box: Box, pictures: CasePictures) -> None:
        rest = burn(painter, box, pictures.burn_in)
        draw(painter, rest, pictures.case.stored)

    return draw_both
