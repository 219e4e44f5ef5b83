"""``spinaldx report``: build PDFs again from results."""

from pathlib import Path
from typing import Annotated

import typer

from spinaldx.cli import console, options


def report(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Results folder of `predict`.")
    ] = Path("results"),
    quiet: options.Quiet = False,
) -> None:
    """Build the PDFs of a results folder again.

    Example: `spinaldx report results`
    """
    console.note(f"{out}", quiet=quiet)
