"""The one sink for output: data to stdout, everything else to stderr."""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from spinaldx.errors import SpinalDxError

# Exit code when what reads our output has ended: 128 and SIGPIPE.
NOBODY_READS = 141


class OutputFormat(StrEnum):
    """How data is written to stdout."""

    HUMAN = "human"
    JSON = "json"


class _Console(Console):
    """Ends the program as other programs end when nobody reads what they print."""

    def on_broken_pipe(self) -> None:
        try:
            super().on_broken_pipe()
        except SystemExit as stop:
            raise SystemExit(NOBODY_READS) from stop


def messages() -> Console:
    """Return the console for messages: stderr, made anew so that tests capture it."""
    return _Console(stderr=True, highlight=False, soft_wrap=True)


def data() -> Console:
    """Return the console for data: stdout."""
    return _Console(highlight=False)


def printable(text: str) -> str:
    """Make any text harmless for a terminal: control characters and markup escaped."""
    plain = "".join(char if char.isprintable() else "�" for char in text)
    return escape(plain)


def show_error(error: SpinalDxError) -> None:
    """Print an expected error: one line, and one hint where there is one."""
    console = messages()
    console.print(f"[bold red]Error:[/] {printable(error.message)}")
    if error.hint:
        console.print(f"[bold]Hint:[/] {printable(error.hint)}")


def show_interruption(to_go_on: str) -> None:
    """Say that the run was stopped from outside, and how it goes on."""
    messages().print(f"Stopped. {to_go_on}")


def note(text: str, *, quiet: bool = False) -> None:
    """Print one message for a person, unless asked to be quiet."""
    if not quiet:
        messages().print(printable(text))


def warn(text: str) -> None:
    """Print one warning, also when quiet."""
    messages().print(f"[bold yellow]Warning:[/] {printable(text)}")


def show_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print one JSON value to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Print a table to stdout; every cell is plain text."""
    table = Table(title=title, title_justify="left", show_lines=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(printable(str(cell)) for cell in row))
    data().print(table)


def show_entries(title: str, entries: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Print labels to stdout, each with lines of text beside it that may be long."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, lines in entries:
        for index, line in enumerate(lines):
            grid.add_row("" if index else printable(label), printable(line))
    console = data()
    console.print(f"[bold]{printable(title)}[/]")
    console.print(Padding(grid, (0, 0, 0, 2)))


def show_values(title: str, values: Mapping[str, object]) -> None:
    """Print names and values to stdout, one a line."""
    console = data()
    console.print(f"[bold]{printable(title)}[/]")
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        console.print(f"  {printable(name):<{width}}  {printable(str(value))}")


class _MessageHandler(logging.Handler):
    """Shows the library's warnings in the form of the program's own."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            warn(record.getMessage())
        else:
            # Looked up anew, for a progress bar may stand in for it meanwhile.
            sys.stderr.write(f"{self.format(record)}\n")


def set_up_logging(verbosity: int) -> None:
    """Send the library's log to stderr: warnings, also when quiet, or with -v more.

    Args:
        verbosity: Negative is quiet, 0 the default, 1 info, 2 and more debug.
    """
    levels = {-1: logging.WARNING, 0: logging.WARNING, 1: logging.INFO}
    logger = logging.getLogger("spinaldx")
    logger.setLevel(levels.get(verbosity, logging.DEBUG))
    logger.propagate = False
    handler = _MessageHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.handlers[:] = [handler]
