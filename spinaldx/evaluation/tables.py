"""Tables of text, counts and estimates, and how one cell reads."""

from dataclasses import dataclass
from enum import StrEnum

from spinaldx.evaluation.estimates import Estimate
from spinaldx.report.table import guard_cell

Cell = str | int | Estimate


class Kind(StrEnum):
    """What a column holds, which decides how a cell reads."""

    TEXT = "text"
    COUNT = "count"
    PERCENT = "percent"
    NUMBER = "number"
    P_VALUE = "p_value"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: Stable name in CSV and JSON.
        title: Heading for a reader.
        kind: What the cells are.
        digits: Decimals of a number.
    """

    key: str
    title: str
    kind: Kind = Kind.TEXT
    digits: int = 3


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the evaluation.

    Attributes:
        key: Stable name; the CSV file is called so.
        title: Heading for a reader.
        columns: Columns in order.
        rows: Rows of cells, each as long as the columns.
        notes: Rules and warnings that belong to it.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def text_columns(*names: tuple[str, str]) -> tuple[Column, ...]:
    """Columns of text from pairs of key and title."""
    return tuple(Column(key, title) for key, title in names)


def p_cell(p: float | None, reason: str) -> Estimate:
    """Make a cell for a p value, or for a test that could not be made."""
    return Estimate(p, reason="" if p is not None else reason)


def cell_text(cell: Cell, column: Column) -> str:
    """Write one cell for a reader, such as ``97.4 % (76/78), 91.1 to 99.3``."""
    if not isinstance(cell, Estimate):
        return str(cell)
    if cell.value is None:
        return "n/a"
    if column.kind is Kind.P_VALUE:
        return "<0.001" if cell.value < 0.001 else f"{cell.value:.3f}"
    scale, unit = (100, " %") if column.kind is Kind.PERCENT else (1, "")
    digits = 1 if column.kind is Kind.PERCENT else column.digits
    text = f"{_fixed(cell.value * scale, digits)}{unit}"
    if cell.count is not None:
        text += f" ({cell.count}/{cell.total})"
    if cell.low is None or cell.high is None:
        return text
    low, high = _fixed(cell.low * scale, digits), _fixed(cell.high * scale, digits)
    return f"{text}, {low} to {high}"


def _fixed(value: float, digits: int) -> str:
    # Rounding first and adding zero keeps "-0.00" away.
    return f"{round(value, digits) + 0.0:.{digits}f}"


def reasons(table: Table) -> tuple[str, ...]:
    """Why cells of a table have no value or no interval, each reason once."""
    cells = (cell for row in table.rows for cell in row)
    found = (cell.reason for cell in cells if isinstance(cell, Estimate))
    return tuple(dict.fromkeys(reason for reason in found if reason))


def csv_rows(table: Table) -> list[list[str]]:
    """Spread a table into plain cells: value, low, high, n and N apart.

    Returns:
        The header and one list a row. Numbers are in full precision; an undefined
        value is ``n/a`` and its reason stands in the column that ends in
        ``_reason``; parts that no cell of a column has are left out.
    """
    parts = [_parts(table, place) for place in range(len(table.columns))]
    header = [
        column.key if part == "value" else f"{column.key}_{part}"
        for column, names in zip(table.columns, parts, strict=True)
        for part in names
    ]
    rows = [
        [
            _part_text(cell, part)
            for cell, names in zip(row, parts, strict=True)
            for part in names
        ]
        for row in table.rows
    ]
    return [header, *rows]


def _parts(table: Table, place: int) -> list[str]:
    cells = [row[place] for row in table.rows]
    estimates = [cell for cell in cells if isinstance(cell, Estimate)]
    optional = ("low", "high", "count", "total", "reason")
    used = [name for name in optional if any(_has(item, name) for item in estimates)]
    return ["value", *used]


def _has(estimate: Estimate, part: str) -> bool:
    return getattr(estimate, part) not in {None, ""}


def _part_text(cell: Cell, part: str) -> str:
    if isinstance(cell, str):
        return guard_cell(cell) if part == "value" else ""
    if isinstance(cell, int):
        return str(cell) if part == "value" else ""
    found = getattr(cell, part)
    if found is None:
        return "n/a" if part == "value" else ""
    return str(found)
