"""Sections that follow each other down a page, and over as many pages as they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.report.layout import Column
from spinaldx.report.painter import Box, Colour, Painter, Points, Style

# Draws some items of a section below its heading.
Draw = Callable[[Column, Sequence[Any]], None]


@dataclass(frozen=True, slots=True)
class Section:
    """Some items under one heading.

    Attributes:
        title: In the document's outline.
        heading: Above the items, again on every page; empty for none.
        items: From top to bottom; none is divided between pages.
        draw: See there.
        head: Height of all that is above the items.
        heights: Height of each item.
    """

    title: str
    heading: str
    items: Sequence[Any]
    draw: Draw
    head: float
    heights: Sequence[float]


@dataclass(frozen=True, slots=True)
class Part:
    """What one page holds of a section.

    Attributes:
        section: The section.
        start: Its first item here.
        stop: The item after the last one here.
    """

    section: Section
    start: int
    stop: int

    @property
    def height(self) -> float:
        """Room that it takes."""
        return self.section.head + sum(self.section.heights[self.start : self.stop])

    def draw(self, column: Column) -> None:
        """Draw it."""
        if self.section.heading:
            more = ", continued" if self.start else ""
            column.heading(self.section.heading + more)
        self.section.draw(column, self.section.items[self.start : self.stop])


def measured(
    title: str,
    heading: str,
    items: Sequence[Any],
    draw: Draw,
    box: Box,
    height: float | None = None,
) -> Section:
    """Make a section whose heights are those of a trial that leaves no trace.

    Args:
        title: See `Section`.
        heading: See `Section`.
        items: See `Section`.
        draw: See `Section`.
        box: As wide as the pages.
        height: Of every item, where that is known or a trial would take long.
    """
    trial = Section(title, heading, items, draw, 0.0, ())
    head = height_of(Part(trial, 0, 0).draw, box)
    heights = [
        height_of(Part(trial, place, place + 1).draw, box) - head
        if height is None
        else height
        for place in range(len(items))
    ]
    return replace(trial, head=head, heights=heights)


def height_of(draw: Callable[[Column], None], box: Box) -> float:
    """Return the height of what is drawn down a box, which may be too low for it."""
    column = Column(_Nothing(), box)
    draw(column)
    return column.y - box.y


def lay_out(sections: Sequence[Section], room: float) -> list[list[Part]]:
    """Deal sections out to pages, each as full as it can be.

    Args:
        sections: In order; one without items is left out.
        room: Height of a page; an item that is higher still gets one of its own.

    Returns:
        Parts by page; no page is empty.
    """
    pages: list[list[Part]] = []
    left = 0.0
    for section in sections:
        start = 0
        while start < len(section.items):
            part = _fitting(section, start, left)
            if part is None:
                pages.append([])
                left = room
                part = _fitting(section, start, left) or Part(section, start, start + 1)
            pages[-1].append(part)
            left -= part.height
            start = part.stop
    return pages


def _fitting(section: Section, start: int, room: float) -> Part | None:
    stop = start
    while stop < len(section.items) and Part(section, start, stop + 1).height <= room:
        stop += 1
    return Part(section, start, stop) if stop > start else None


class _Nothing(Painter):
    """Draws nothing: what is drawn on it can be measured."""

    def rectangle(
        self, box: Box, *, fill: Colour | None = None, stroke: Colour | None = None
    ) -> None:
        pass

    def segments(
        self, lines: Points, colour: Colour, *, width: float, dashed: bool = False
    ) -> None:
        pass

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        pass

    def text(self, x: float, y: float, text: str, style: Style) -> None:
        pass

    def image(self, pixels: NDArray[np.uint8], box: Box) -> None:
        pass
