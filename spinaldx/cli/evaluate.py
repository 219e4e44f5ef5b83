"""``spinaldx evaluate``: results against truth, in the tables of the paper."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spinaldx.cli import console, options, progress
from spinaldx.cli.console import OutputFormat

if TYPE_CHECKING:
    from spinaldx.evaluation import Evaluation

# The number of masks is known only inside: the bar counts percent, a folder.
_STEPS = 100


def evaluate(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="Folders that `predict` wrote; a second one is compared with the first.",
            show_default=False,
        ),
    ],
    truth: Annotated[
        Path,
        typer.Option(metavar="CASES.csv", help="Table of diagnoses and true masks."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="EVAL", help="Folder for the evaluation."
        ),
    ] = Path("evaluation"),
    split: Annotated[
        str, typer.Option(help="Only these patients: train, validation or test.")
    ] = "",
    tolerance_mm: Annotated[
        float, typer.Option(min=0, help="Tolerance of the surface Dice.")
    ] = 1.0,
    bootstrap: Annotated[
        int, typer.Option(min=100, help="Cohorts drawn for bootstrap intervals.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawing.")] = 0,
    output_format: options.Format = OutputFormat.HUMAN,
    quiet: options.Quiet = False,
) -> None:
    """Score results against truth: Dice, Table 2, 4x4 matrix, readers, subgroups.

    Masks and diagnoses are each optional; what is missing is listed. The folder gets
    one page (`evaluation.html`), Markdown, JSON, a CSV a table, and figures.

    Example: `spinaldx evaluate results --truth cohort/cases.csv -o evaluation`
    """
    from spinaldx import evaluation  # noqa: PLC0415 - imports scipy, sklearn, matplotlib
    from spinaldx.evaluation.estimates import Bootstrap  # noqa: PLC0415
    from spinaldx.evaluation.overlap import OverlapOptions  # noqa: PLC0415

    chosen = evaluation.EvaluationOptions(
        split=split,
        bootstrap=Bootstrap(bootstrap, seed),
        overlap=OverlapOptions(tolerance_mm),
    )
    total = _STEPS * len(results)
    with progress.bar("Comparing masks", total, quiet=quiet) as advance:
        found = evaluation.evaluate(results, truth, out, chosen, percent_of(advance))
    if output_format is OutputFormat.JSON:
        console.show_json(evaluation.as_json(found))
        return
    _show(found)
    for sentence in found.missing:
        console.note(f"Missing: {sentence}", quiet=quiet)
    for sentence in found.warnings:
        console.warn(sentence)
    console.note(f"Wrote {out / 'evaluation.html'} and what it shows.", quiet=quiet)


def percent_of(advance: Callable[..., None]) -> Callable[[int, int], None]:
    """Turn numbers of masks done and of all into steps of one in a hundred."""

    def show(done: int, total: int) -> None:
        steps = done * _STEPS // total - (done - 1) * _STEPS // total
        advance(steps=steps)

    return show


def _show(found: "Evaluation") -> None:
    console.show_table(
        f"Evaluation of {found.folders[0]}", ("Figure", "Value"), found.headline
    )
    console.note(found.statement)
