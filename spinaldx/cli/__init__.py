"""The command line: the only place that prints, reads the environment, exits."""

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from spinaldx.errors import SpinalDxError

__all__ = ["Interrupted", "main", "run"]


class Interrupted(SystemExit):
    """The user or the machine asked this process to stop; what is done is kept.

    Args:
        signal_number: SIGINT or SIGTERM.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(128 + signal_number)


def main() -> None:
    """Run the program on this process's arguments and exit with its code."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: As typed after ``spinaldx``.

    Returns:
        The exit code of the design; only a bug raises.
    """
    from spinaldx.cli import app, console  # noqa: PLC0415 - after the handlers

    try:
        app.app(args=list(arguments), prog_name="spinaldx")
    except SystemExit as stop:
        if isinstance(stop, Interrupted):
            console.show_interruption(_to_go_on(arguments))
        # Typer leaves this behind when what reads our output has ended, as `head` does.
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            return console.NOBODY_READS
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except SpinalDxError as error:
        console.show_error(error)
        return error.exit_code
    return 0


def _to_go_on(arguments: Sequence[str]) -> str:
    """Say what to type after an interruption."""
    if "fine-tune" in arguments and "--resume" not in arguments:
        return "Run the same command with --resume to go on."
    return "Run the same command again to go on."


def _interrupt(signal_number: int, _frame: FrameType | None) -> None:
    raise Interrupted(signal_number)
