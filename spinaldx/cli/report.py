"""``spinaldx report``: build PDFs again from results."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spinaldx.cli import console, options, progress
from spinaldx.errors import (
    AllStudiesFailedError,
    SomeStudiesFailedError,
    UsageError,
)

if TYPE_CHECKING:
    from spinaldx.report.rebuild import RebuildOutcome


class FigureKind(StrEnum):
    """File format of the figures for papers."""

    PNG = "png"
    SVG = "svg"


def report(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Results folder of `predict`.")
    ] = Path("results"),
    study: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this study; may be repeated."),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="INPUT",
            help="Where the source images lie now, if they were moved.",
        ),
    ] = None,
    cohort: Annotated[
        bool, typer.Option("--cohort", help="One summary PDF for all studies instead.")
    ] = False,
    figures: Annotated[
        FigureKind | None, typer.Option(help="Also write every figure for papers.")
    ] = None,
    patient_header: Annotated[
        bool,
        typer.Option(
            "--patient-header",
            help="Print the patient's name and number from the source DICOM.",
        ),
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Build the PDFs of a results folder again; nothing is computed anew.

    Example: `spinaldx report results --figures svg`
    """
    from spinaldx.report import rebuild  # noqa: PLC0415 - imports reportlab
    from spinaldx.report.cohort import write_cohort  # noqa: PLC0415
    from spinaldx.report.pictures import FigureFormat  # noqa: PLC0415

    if cohort:
        if study or figures or patient_header:
            message = "--cohort takes no --study, --figures or --patient-header."
            raise UsageError(message, hint="It is one summary of the whole folder.")
        path = write_cohort(out, tuple(inputs or ()))
        console.note(f"Wrote {path}.", quiet=quiet)
        return
    chosen = rebuild.RebuildOptions(
        studies=tuple(study or ()),
        inputs=tuple(inputs or ()),
        figures=FigureFormat(figures.value) if figures else None,
        patient_header=patient_header,
    )
    total = len(rebuild.chosen_folders(out, chosen.studies))
    with progress.bar("Reports", total, quiet=quiet) as advance:
        outcomes = rebuild.rebuild_reports(
            out, chosen, lambda outcome: advance(outcome.study)
        )
    _report_on(outcomes, quiet=quiet)


def _report_on(outcomes: "Sequence[RebuildOutcome]", *, quiet: bool) -> None:
    """Say what was made and what each study lacks.

    Raises:
        SomeStudiesFailedError: If some reports could not be made.
        AllStudiesFailedError: If none could.
    """
    for outcome in outcomes:
        for lack in outcome.lacks:
            console.warn(f"{outcome.study}: {lack}")
    made = sum(outcome.is_rebuilt for outcome in outcomes)
    console.note(f"{made} of {len(outcomes)} reports built.", quiet=quiet)
    # A study whose run failed has nothing to report: that is no new failure.
    missing = [item for item in outcomes if not (item.is_rebuilt or item.has_failed)]
    if missing:
        message = f"{len(missing)} of {len(outcomes)} reports could not be built."
        failure = SomeStudiesFailedError if made else AllStudiesFailedError
        raise failure(message, hint="The lines above say what is lacking.")
