"""The painter that makes SVG pictures, for papers."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.report.painter import Box, Colour, Points, Style

_ANCHORS = {"start": "left", "middle": "center", "end": "right"}


class Vector:
    """Draws on a matplotlib figure without pyplot; see `Painter`."""

    def __init__(self, width: float, height: float) -> None:
        """Start an empty picture, sizes in points."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

        self._figure = Figure(figsize=(width / 72, height / 72))
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_xlim(0, width)
        self._axes.set_ylim(height, 0)
        self._axes.axis("off")
        self._order = 0

    def svg(self) -> bytes:
        """Return the picture as an SVG file: letters stay text, no times."""
        from matplotlib import rc_context  # noqa: PLC0415 - half a second

        stream = io.BytesIO()
        with rc_context({"svg.hashsalt": "spinaldx", "svg.fonttype": "none"}):
            metadata = {"Date": None, "Creator": "spinaldx"}
            self._figure.savefig(stream, format="svg", metadata=metadata)
        return stream.getvalue()

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, stroke: Colour | None = None
    ) -> None:
        """See `Painter`."""
        from matplotlib.patches import Rectangle  # noqa: PLC0415 - half a second

        patch = Rectangle(
            (box.x, box.y),
            box.width,
            box.height,
            facecolor=fill or "none",
            edgecolor=stroke or "none",
            linewidth=0.5,
        )
        self._add(self._axes.add_patch(patch))

    def segments(
        self, lines: Points, colour: Colour, *, width: float, dashed: bool = False
    ) -> None:
        """See `Painter`."""
        from matplotlib.collections import LineCollection  # noqa: PLC0415 - as above

        collection = LineCollection(
            list(lines),
            colors=[colour],
            linewidths=width,
            linestyles="dashed" if dashed else "solid",
            capstyle="round",
        )
        self._add(self._axes.add_collection(collection, autolim=False))

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """See `Painter`."""
        from matplotlib.patches import Circle  # noqa: PLC0415 - half a second

        self._add(self._axes.add_patch(Circle((x, y), radius, color=colour)))

    def text(self, x: float, y: float, text: str, style: Style) -> None:
        """See `Painter`."""
        written = self._axes.text(
            x,
            y,
            text,
            fontsize=style.size,
            family="DejaVu Sans",
            weight="bold" if style.bold else "normal",
            color=style.colour,
            ha=_ANCHORS[style.anchor],
            va="baseline",
            # A dollar sign in a name is a dollar sign.
            parse_math=False,
        )
        self._add(written)

    def image(self, pixels: NDArray[np.uint8], box: Box) -> None:
        """See `Painter`."""
        coloured = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
        shown = self._axes.imshow(
            coloured,
            extent=(box.x, box.right, box.bottom, box.y),
            aspect="auto",
            interpolation="none",
        )
        self._add(shown)

    def _add(self, artist: Any) -> None:  # noqa: ANN401 - matplotlib is untyped
        # What is drawn later lies on top, whatever its kind.
        self._order += 1
        artist.set_zorder(self._order)
