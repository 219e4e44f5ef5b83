"""Progress bars with time left, on a terminal only."""

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from spinaldx.cli import console


@contextlib.contextmanager
def bar(
    title: str, total: int, *, quiet: bool = False
) -> Iterator[Callable[..., None]]:
    """Show a bar on stderr while the block runs.

    Args:
        title: What is going on.
        total: Number of steps.
        quiet: Show nothing. Nothing is shown without a terminal either.

    Yields:
        A function that moves the bar one step on; its argument, if any, is a short
        text to show beside it.
    """
    terminal = console.messages()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}"),
    )
    hidden = quiet or not terminal.is_terminal
    with Progress(*columns, console=terminal, disable=hidden) as shown:
        task = shown.add_task(console.printable(title), total=total, what="")

        def advance(what: str = "", *, steps: int = 1) -> None:
            shown.update(task, advance=steps, what=console.printable(what))

        yield advance


@contextlib.contextmanager
def download_bar(
    title: str, total: int, *, quiet: bool = False
) -> Iterator[Callable[[str, int], None]]:
    """Show bytes, speed and time left on stderr while the block runs.

    Args:
        title: What is fetched.
        total: Bytes.
        quiet: Show nothing. Nothing is shown without a terminal either.

    Yields:
        A function of a file's name and how many more bytes of it came.
    """
    terminal = console.messages()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}"),
    )
    hidden = quiet or not terminal.is_terminal
    with Progress(*columns, console=terminal, disable=hidden) as shown:
        task = shown.add_task(console.printable(title), total=total, what="")

        def advance(what: str, count: int) -> None:
            shown.update(task, advance=count, what=console.printable(what))

        yield advance
