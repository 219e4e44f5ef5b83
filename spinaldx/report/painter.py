"""What figures and pages draw on: one interface for paper and for pictures.

Coordinates are points (1/72 inch) from the top left, y grows downwards.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Points = NDArray[np.float64]

BLACK: Colour = (0.0, 0.0, 0.0)
WHITE: Colour = (1.0, 1.0, 1.0)
INK: Colour = (0.13, 0.15, 0.18)
GREY: Colour = (0.42, 0.45, 0.49)
PALE: Colour = (0.90, 0.91, 0.93)
BLUE: Colour = (0.0, 0.33, 0.62)
# Okabe and Ito's vermilion and yellow: told apart with any colour vision, and by
# their grey too.
VERMILION: Colour = (0.84, 0.37, 0.0)
YELLOW: Colour = (0.94, 0.89, 0.26)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle.

    Attributes:
        x: Left edge.
        y: Top edge.
        width: To the right.
        height: Downwards.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge."""
        return self.y + self.height

    def inset(self, left: float, top: float, right: float, bottom: float) -> "Box":
        """Return the box with margins taken off its four sides."""
        return Box(
            self.x + left,
            self.y + top,
            self.width - left - right,
            self.height - top - bottom,
        )


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks.

    Attributes:
        size: Font size.
        colour: Of the letters.
        bold: Whether bold.
        anchor: Which end of the text lies at the point given.
    """

    size: float = 8.0
    colour: Colour = INK
    bold: bool = False
    anchor: Literal["start", "middle", "end"] = "start"


class Painter(Protocol):
    """Something to draw on."""

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, stroke: Colour | None = None
    ) -> None:
        """Fill a box, or draw its outline half a point wide, or both."""
        ...

    def segments(
        self, lines: Points, colour: Colour, *, width: float, dashed: bool = False
    ) -> None:
        """Draw straight lines, (N, 2, 2): from and to, each x and y."""
        ...

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        ...

    def text(self, x: float, y: float, text: str, style: Style) -> None:
        """Write printable text; y is its baseline."""
        ...

    def image(self, pixels: NDArray[np.uint8], box: Box) -> None:
        """Stretch an image over a box, (H, W) grey or (H, W, 3) RGB."""
        ...


def line(
    painter: Painter,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: Colour = GREY,
    width: float = 0.5,
) -> None:
    """Draw one straight line."""
    painter.segments(np.array([(start, end)], dtype=float), colour, width=width)


# Dark violet over red and orange to pale yellow. Its luminance grows in equal
# steps, so that the order of values survives grey print and any colour vision.
_HEAT_STOPS = np.array(
    [
        (0.00, 0.02, 0.00, 0.10),
        (0.25, 0.31, 0.05, 0.43),
        (0.50, 0.76, 0.17, 0.36),
        (0.75, 0.95, 0.52, 0.15),
        (1.00, 0.99, 0.96, 0.62),
    ]
)


def heat_colours(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Colour heat from 0 to 1; one more axis of red, green, blue, 0 to 1."""
    channels = [
        np.interp(values, _HEAT_STOPS[:, 0], _HEAT_STOPS[:, channel])
        for channel in (1, 2, 3)
    ]
    return np.stack(channels, axis=-1)
