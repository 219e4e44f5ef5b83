"""Text that flows down a column: headings, paragraphs, facts, tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from spinaldx.report.fonts import printable, shorten, wrap
from spinaldx.report.painter import (
    BLUE,
    GREY,
    INK,
    PALE,
    VERMILION,
    WHITE,
    Box,
    Colour,
    Painter,
    Style,
    line,
)

_LEADING = 1.32
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of a table.

    Attributes:
        title: In the head row.
        share: Of the table's width.
        is_number: Whether cells are set flush right.
    """

    title: str
    share: float
    is_number: bool = False


class Column:
    """A column of a page, filled from top to bottom."""

    def __init__(self, painter: Painter, box: Box) -> None:
        """Start at the top of a box."""
        self.painter = painter
        self.box = box
        self.y = box.y

    @property
    def rest(self) -> Box:
        """The part that is still empty."""
        return Box(self.box.x, self.y, self.box.width, self.box.bottom - self.y)

    def take(self, height: float) -> Box:
        """Return the next box of a height over the whole width."""
        box = Box(self.box.x, self.y, self.box.width, height)
        self.y += height
        return box

    def space(self, height: float) -> None:
        """Leave some room."""
        self.y += height

    def heading(self, text: str) -> None:
        """Write the title of a section, with a rule above it."""
        self.space(5)
        line(self.painter, (self.box.x, self.y), (self.box.right, self.y), PALE, 0.8)
        self.space(12)
        style = Style(9, BLUE, bold=True)
        title = shorten(printable(text), self.box.width, style.size, bold=True)
        self.painter.text(self.box.x, self.y, title, style)
        self.space(6)

    def paragraph(
        self,
        text: str,
        size: float = 8.0,
        *,
        bold: bool = False,
        colour: Colour = INK,
        most_lines: int = 40,
    ) -> None:
        """Write text over as many lines as it needs, or cut it at the most allowed."""
        width = self.box.width
        # First to what can fit at all: a name may have ten thousand characters.
        fitting = shorten(
            printable(text[:_LONGEST]), width * most_lines, size, bold=bold
        )
        lines = wrap(fitting, width, size, bold=bold)
        if len(lines) > most_lines:
            rest = " ".join(lines[most_lines - 1 :])
            last = shorten(rest, width, size, bold=bold)
            lines = [*lines[: most_lines - 1], last]
        style = Style(size, colour, bold=bold)
        for content in lines:
            self.y += size * _LEADING
            self.painter.text(self.box.x, self.y - size * 0.3, content, style)

    def fact(self, label: str, text: str, *, label_width: float = 70.0) -> None:
        """Write a label and, beside it, a text of at most three lines."""
        size = 7.0
        start = self.y
        beside = Box(
            self.box.x + label_width, start, self.box.width - label_width, 1000
        )
        inner = Column(self.painter, beside)
        baseline = start + size * (_LEADING - 0.3)
        style = Style(size, GREY)
        self.painter.text(
            self.box.x, baseline, shorten(label, label_width, size), style
        )
        inner.paragraph(text or "-", size, most_lines=3)
        self.y = inner.y + 1.0

    def table(
        self, columns: Sequence[TableColumn], rows: Sequence[Sequence[str]]
    ) -> None:
        """Write a table; cells that are too long are cut in their middle."""
        self._row(columns, [column.title for column in columns], Style(6.5, GREY))
        line(self.painter, (self.box.x, self.y), (self.box.right, self.y), GREY)
        self.space(1)
        for cells in rows:
            self._row(columns, cells, Style(7))
            line(
                self.painter, (self.box.x, self.y), (self.box.right, self.y), PALE, 0.3
            )

    def _row(
        self, columns: Sequence[TableColumn], cells: Sequence[str], style: Style
    ) -> None:
        self.y += style.size * 1.55
        left = self.box.x
        total = sum(column.share for column in columns)
        for column, cell in zip(columns, cells, strict=True):
            width = self.box.width * column.share / total
            text = shorten(printable(cell[:_LONGEST]), width - 5, style.size)
            anchored = Style(
                style.size,
                style.colour,
                bold=style.bold,
                anchor="end" if column.is_number else "start",
            )
            x = left + width - 5 if column.is_number else left
            self.painter.text(x, self.y - style.size * 0.42, text, anchored)
            left += width


def banner(column: Column, text: str) -> None:
    """Write a warning over the whole width that nobody misses."""
    column.space(5)
    box = column.take(18)
    column.painter.rectangle(box, fill=VERMILION)
    style = Style(8, WHITE, bold=True, anchor="middle")
    column.painter.text(box.x + box.width / 2, box.y + 12, text, style)
