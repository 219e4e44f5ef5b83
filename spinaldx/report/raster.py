"""The painter that makes PNG pictures."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spinaldx.report.fonts import BOLD, REGULAR, font_file
from spinaldx.report.painter import WHITE, Box, Colour, Points, Style

_POINTS_PER_INCH = 72.0
# Below this resolution pictures are drawn twice as large and reduced, because
# lines of single pixels look ragged on a screen.
_SMOOTH_BELOW_DPI = 200
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


class Raster:
    """Draws on a picture; see `Painter`."""

    def __init__(self, width: float, height: float, dpi: int) -> None:
        """Start a white picture.

        Args:
            width: In points.
            height: In points.
            dpi: Pixels an inch.
        """
        self._reduction = 2 if dpi < _SMOOTH_BELOW_DPI else 1
        self._scale = dpi * self._reduction / _POINTS_PER_INCH
        # Whole pixels after the reduction.
        size = tuple(
            round(edge * dpi / _POINTS_PER_INCH) * self._reduction
            for edge in (width, height)
        )
        self._dpi = dpi
        self._picture = Image.new("RGB", (size[0], size[1]), _rgb(WHITE))
        self._draw = ImageDraw.Draw(self._picture)
        self._fonts: dict[tuple[str, float], ImageFont.FreeTypeFont] = {}

    def png(self) -> bytes:
        """Return the picture as a PNG file with its resolution, and no times."""
        stream = io.BytesIO()
        small = self._picture.reduce(self._reduction)
        small.save(stream, "PNG", dpi=(self._dpi, self._dpi), compress_level=2)
        return stream.getvalue()

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, stroke: Colour | None = None
    ) -> None:
        """See `Painter`."""
        self._draw.rectangle(
            self._corners(box),
            fill=None if fill is None else _rgb(fill),
            outline=None if stroke is None else _rgb(stroke),
            width=max(round(0.5 * self._scale), 1),
        )

    def segments(
        self, lines: Points, colour: Colour, *, width: float, dashed: bool = False
    ) -> None:
        """See `Painter`."""
        pixels = max(round(width * self._scale), 1)
        pieces = _dashes(lines) if dashed else lines
        for start_x, start_y, end_x, end_y in (pieces * self._scale).reshape(-1, 4):
            ends = (start_x, start_y, end_x, end_y)
            self._draw.line(ends, fill=_rgb(colour), width=pixels)

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """See `Painter`."""
        box = Box(x - radius, y - radius, 2 * radius, 2 * radius)
        self._draw.ellipse(self._corners(box), fill=_rgb(colour))

    def text(self, x: float, y: float, text: str, style: Style) -> None:
        """See `Painter`."""
        key = (BOLD if style.bold else REGULAR, style.size * self._scale)
        if key not in self._fonts:
            self._fonts[key] = ImageFont.truetype(font_file(key[0]), key[1])
        self._draw.text(
            (x * self._scale, y * self._scale),
            text,
            fill=_rgb(style.colour),
            font=self._fonts[key],
            anchor=_ANCHORS[style.anchor],
        )

    def image(self, pixels: NDArray[np.uint8], box: Box) -> None:
        """See `Painter`."""
        left, top, right, bottom = (round(edge) for edge in self._corners(box))
        size = (max(right - left, 1), max(bottom - top, 1))
        picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        self._picture.paste(picture, (left, top))

    def _corners(self, box: Box) -> tuple[float, float, float, float]:
        left, top, right, bottom = (
            edge * self._scale for edge in (box.x, box.y, box.right, box.bottom)
        )
        return left, top, right, bottom


def _dashes(lines: Points) -> Points:
    """Cut lines into dashes and gaps of two points."""
    pieces: list[Points] = []
    for start, end in lines:
        count = max(int(np.linalg.norm(end - start) / 2), 1)
        knots = start + np.linspace(0, 1, count + 1)[:, None] * (end - start)
        pieces.extend(np.stack([knots[:-1:2], knots[1::2]], axis=1))
    return np.asarray(pieces)


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * channel) for channel in colour)
    return red, green, blue
