"""Options that several commands share, so that they read the same everywhere."""

import os
from pathlib import Path
from typing import Annotated

import typer

from spinaldx.cli.console import OutputFormat

DEFAULT_WEIGHTS = "phantom-v1"

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT...",
        help="Study folders, folders of studies, NIfTI files, zip archives, "
        "or a CSV table.",
        show_default=False,
    ),
]

OutputFolder = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="OUT", help="Folder for the results."),
]

Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:N or mps; one that is absent is an error.",
    ),
]

Precision = Annotated[
    str,
    typer.Option(
        metavar="PRECISION",
        help="auto, fp32, bf16 or fp16; auto leaves fp32 only where that was measured as safe.",
    ),
]

Weights = Annotated[
    str,
    typer.Option(metavar="NAME|DIR", help="Weight bundle, by name or folder."),
]

Format = Annotated[
    OutputFormat,
    typer.Option("--format", help="What stdout gets."),
]

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Only warnings and errors on stderr."),
]

Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, help="More; repeat for most."
    ),
]


def user_store() -> Path:
    """Return the folder of the user's own bundles; `SPINALDX_WEIGHTS` moves it."""
    if folder := os.environ.get("SPINALDX_WEIGHTS"):
        return Path(folder)
    from platformdirs import user_data_path  # noqa: PLC0415 - only here

    return user_data_path("spinaldx", appauthor=False) / "weights"


def verbosity(*, quiet: bool, verbose: int) -> int:
    """Join -q and -v into one number for `console.set_up_logging`."""
    return -1 if quiet else verbose
