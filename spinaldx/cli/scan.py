"""``spinaldx scan``: which series would be used, and why."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from spinaldx.cli import console, options
from spinaldx.cli.console import OutputFormat
from spinaldx.errors import (
    AllStudiesFailedError,
    NoUsableSeriesError,
    SomeStudiesFailedError,
    StudyError,
)

if TYPE_CHECKING:
    from spinaldx.study import SeriesCandidate, StudyScan


def scan(
    inputs: options.Inputs,
    series: Annotated[
        str,
        typer.Option(
            metavar="UID|NUMBER|PATTERN",
            help="Take this series instead of choosing.",
        ),
    ] = "",
    output_format: options.Format = OutputFormat.HUMAN,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Say which series of each study would be used, and why. Nothing is run.

    Example: `spinaldx scan examples/studies`
    """
    console.set_up_logging(options.verbosity(quiet=quiet, verbose=verbose))
    from spinaldx.study import find_studies, scan_study  # noqa: PLC0415 - numpy

    sources = find_studies(inputs)
    scans: list[StudyScan] = []
    problems: list[tuple[str, StudyError]] = []
    for source in sources:
        try:
            found = scan_study(source, series=series)
        except StudyError as error:
            problems.append((source.name, error))
            continue
        scans.append(found)
        if not found.chosen:
            problems.append((source.name, _nothing_used(found)))
    if output_format is OutputFormat.JSON:
        console.show_json(_as_json(scans, problems))
    else:
        for item in scans:
            _show(item)
    _report_problems(problems, len(sources))


def _nothing_used(item: "StudyScan") -> NoUsableSeriesError:
    from spinaldx.study import nothing_chosen  # noqa: PLC0415 - numpy

    if item.wanted:
        return nothing_chosen(item)
    # What is shown of its series gives the reasons.
    return NoUsableSeriesError(f"{item.study}: no series would be used.")


def _as_json(
    scans: "list[StudyScan]", problems: list[tuple[str, StudyError]]
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "studies": [item.as_json() for item in scans],
        "unusable": [
            {"study": name, "message": error.message, "hint": error.hint}
            for name, error in problems
        ],
    }


def _show(item: "StudyScan") -> None:
    # A list, not a table: reasons are sentences and need the terminal's whole width.
    console.show_entries(
        item.study,
        [(series.verdict.value, _lines(series)) for series in item.candidates],
    )
    for text in (*item.notes, *(flag.message for flag in item.flags)):
        console.note(f"  {text}")


def _lines(series: "SeriesCandidate") -> list[str]:
    plane = series.plane.value if series.plane else ""
    facts = (plane, series.station, f"{series.n_slices} slices")
    lines = (
        f"{series.name}: {', '.join(filter(None, facts))}, score {series.score:.0f}",
        series.description,
        "; ".join((*series.reasons, *(flag.message for flag in series.flags))),
    )
    return [line for line in lines if line]


def _report_problems(problems: list[tuple[str, StudyError]], n_studies: int) -> None:
    if not problems:
        return
    if n_studies == 1:
        raise problems[0][1]
    for name, error in problems:
        console.warn(f"{name}: {error.message.removeprefix(name + ': ')}")
    message = f"{len(problems)} of {n_studies} studies cannot be used."
    failure = (
        AllStudiesFailedError if len(problems) == n_studies else SomeStudiesFailedError
    )
    raise failure(message, hint="The lines above say why.")
