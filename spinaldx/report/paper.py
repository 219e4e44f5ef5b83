"""The painter that makes PDF pages."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from spinaldx.report.fonts import BOLD, REGULAR, register_fonts
from spinaldx.report.painter import Box, Colour, Points, Style

PAGE = Box(0.0, 0.0, 595.0, 842.0)

# No visible loss; a third of the size of lossless compression.
_JPEG_QUALITY = 90


class Paper:
    """Draws on the current page of a PDF; see `Painter`."""

    def __init__(self, canvas: Canvas) -> None:
        """Draw on a canvas of the size of `PAGE`."""
        register_fonts()
        self._canvas = canvas

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, stroke: Colour | None = None
    ) -> None:
        """See `Painter`."""
        if fill is not None:
            self._canvas.setFillColorRGB(*fill)
        if stroke is not None:
            self._canvas.setStrokeColorRGB(*stroke)
            self._canvas.setLineWidth(0.5)
        bottom = PAGE.height - box.bottom
        self._canvas.rect(
            box.x,
            bottom,
            box.width,
            box.height,
            stroke=int(stroke is not None),
            fill=int(fill is not None),
        )

    def segments(
        self, lines: Points, colour: Colour, *, width: float, dashed: bool = False
    ) -> None:
        """See `Painter`."""
        self._canvas.setStrokeColorRGB(*colour)
        self._canvas.setLineWidth(width)
        self._canvas.setLineCap(1)
        self._canvas.setDash(*((2, 2) if dashed else ()))
        upwards = lines.reshape(-1, 4) * (1, -1, 1, -1)
        upwards += (0, PAGE.height, 0, PAGE.height)
        self._canvas.lines(np.round(upwards, 2).tolist())

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """See `Painter`."""
        self._canvas.setFillColorRGB(*colour)
        self._canvas.circle(x, PAGE.height - y, radius, stroke=0, fill=1)

    def text(self, x: float, y: float, text: str, style: Style) -> None:
        """See `Painter`."""
        self._canvas.setFillColorRGB(*style.colour)
        self._canvas.setFont(BOLD if style.bold else REGULAR, style.size)
        draw = {
            "start": self._canvas.drawString,
            "middle": self._canvas.drawCentredString,
            "end": self._canvas.drawRightString,
        }
        draw[style.anchor](x, PAGE.height - y, text)

    def image(self, pixels: NDArray[np.uint8], box: Box) -> None:
        """See `Painter`."""
        stream = io.BytesIO()
        picture = Image.fromarray(pixels)
        picture.save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        stream.seek(0)
        self._canvas.drawImage(
            ImageReader(stream),
            box.x,
            PAGE.height - box.bottom,
            box.width,
            box.height,
        )
