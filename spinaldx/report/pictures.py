"""The pictures of a study as files."""

from collections.abc import Callable
from pathlib import Path

from spinaldx.files import write_bytes
from spinaldx.report.painter import Box, Painter
from spinaldx.report.panels import (
    CasePictures,
    draw_gradcam,
    draw_key_image,
    draw_strip,
)
from spinaldx.report.raster import Raster

FIGURES = "figures"
_DPI = 150


def write_pictures(pictures: CasePictures, folder: Path) -> None:
    """Write the key image, Grad-CAM and strip of a study as PNG.

    Args:
        pictures: The study, turned for looking at.
        folder: Of the study; pictures go to `figures` in it.

    Raises:
        OutputError: If a picture cannot be written.
    """
    for name, width, height, draw in _figures(pictures):
        raster = Raster(width, height, _DPI)
        draw(raster, Box(0, 0, width, height), pictures)
        write_bytes(folder / FIGURES / f"{name}.png", raster.png())


_Figure = tuple[str, float, float, Callable[[Painter, Box, CasePictures], None]]


def _figures(pictures: CasePictures) -> list[_Figure]:
    figures: list[_Figure] = [("key_image", 250.0, 400.0, draw_key_image)]
    if pictures.tasks():
        figures.append(("gradcam", 360.0, 250.0, draw_gradcam))
    if pictures.lesion_slices():
        figures.append(("lesion_slices", 500.0, 300.0, draw_strip))
    return figures
