"""``spinaldx predict``: the whole cascade, for one study or many."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spinaldx.cli import console, hub, options, progress
from spinaldx.cli.console import OutputFormat
from spinaldx.errors import (
    AllStudiesFailedError,
    SomeStudiesFailedError,
    SpinalDxError,
)

if TYPE_CHECKING:
    from spinaldx.batch import BatchOutcome, BatchPlan, BatchSettings, StudyOutcome


def predict(
    inputs: options.Inputs,
    out: options.OutputFolder = Path("results"),
    weights: options.Weights = options.DEFAULT_WEIGHTS,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Masks drawn by a person, DIR/STUDY/SERIES.nii.gz; an empty "
            "mask means no lesion.",
        ),
    ] = None,
    series: Annotated[
        str,
        typer.Option(
            metavar="UID|NUMBER|PATTERN", help="Take this series of each study."
        ),
    ] = "",
    shard: Annotated[
        str,
        typer.Option(metavar="i/n", help="Only every n-th study, from the i-th on."),
    ] = "1/1",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed studies again.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Run complete studies again, too.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would run and how long; run nothing."),
    ] = False,
    pseudonyms: Annotated[
        bool,
        typer.Option(
            "--pseudonyms",
            help="Name results study-0001...; the key file stays beside OUT.",
        ),
    ] = False,
    save_probabilities: Annotated[
        bool,
        typer.Option("--save-probabilities", help="Write lesion_probability.nii.gz."),
    ] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="No pictures and no PDF.")
    ] = False,
    threads: Annotated[
        int, typer.Option(min=0, help="Processor threads; 0 takes all.")
    ] = 0,
    output_format: options.Format = OutputFormat.HUMAN,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Segment, classify and explain the lesions of one study or many.

    A study that is complete and unchanged is not run again, so the same command
    goes on after an interruption.

    Example: `spinaldx predict examples/studies -o results`
    """
    console.set_up_logging(options.verbosity(quiet=quiet, verbose=verbose))
    from spinaldx import batch  # noqa: PLC0415 - imports numpy
    from spinaldx.cascade import CascadeOptions  # noqa: PLC0415
    from spinaldx.models import EngineOptions  # noqa: PLC0415
    from spinaldx.study import find_studies  # noqa: PLC0415

    settings = batch.BatchSettings(
        out=out,
        bundle=hub.obtain(weights, quiet=quiet),
        device=device,
        precision=precision,
        engine=EngineOptions(threads=threads),
        cascade=CascadeOptions(keep_probabilities=save_probabilities),
        report=not no_report,
        masks=masks,
        series=series,
        shard=batch.Shard.parse(shard),
        retry_failed=retry_failed,
        overwrite=overwrite,
        pseudonyms=pseudonyms,
        inputs=tuple(str(path.absolute()) for path in inputs),
    )
    plan = batch.plan(find_studies(inputs), settings)
    if dry_run:
        _show_estimate(plan, settings, output_format)
        return
    outcome = _run(plan, settings, quiet=quiet)
    _show(outcome, out, output_format, quiet=quiet)
    _raise_for(outcome)


def _run(
    plan: "BatchPlan", settings: "BatchSettings", *, quiet: bool
) -> "BatchOutcome":
    from spinaldx import batch  # noqa: PLC0415 - imports numpy

    with progress.bar("Studies", len(plan.studies), quiet=quiet) as advance:

        def on_progress(event: batch.Progress) -> None:
            if event.outcome is not None:
                advance(event.study)
                if event.outcome.outcome.is_failure:
                    console.warn(_of_study(event.study, event.outcome.message))
            else:
                advance(f"{event.stage} {event.study}", steps=0)

        return batch.run(plan, settings, on_progress)


def _of_study(study: str, message: str) -> str:
    """Put the study's name in front, unless the message begins with it."""
    name = f"{study}: "
    return message if message.startswith(name) else name + message


def _show_estimate(
    plan: "BatchPlan", settings: "BatchSettings", output_format: OutputFormat
) -> None:
    from spinaldx import batch  # noqa: PLC0415 - imports numpy

    for text in plan.warnings:
        console.warn(text)
    found = batch.estimate(plan, settings)
    if output_format is OutputFormat.JSON:
        console.show_json(
            {
                "to_run": list(found.to_run),
                "to_keep": list(found.to_keep),
                "seconds": round(found.seconds, 1),
                "is_measured": found.is_measured,
            }
        )
        return
    rows = [(name, "run") for name in found.to_run]
    rows += [(name, "keep") for name in found.to_keep]
    console.show_table("Nothing was run", ("study", "would"), rows)
    source = "from earlier runs" if found.is_measured else "a guess"
    console.note(f"About {found.seconds:.0f} s ({source}).")


def _show(
    outcome: "BatchOutcome", out: Path, output_format: OutputFormat, *, quiet: bool
) -> None:
    # Its warnings are not repeated: the log showed them when one could still stop it.
    if output_format is OutputFormat.JSON:
        console.show_json(_as_json(outcome, out))
        return
    rows = [(item.study, item.outcome.value, _result(item)) for item in outcome.studies]
    console.show_table(f"Results in {out}", ("study", "outcome", "result"), rows)
    console.note(
        "Classifier output, not a diagnosis. Research use only. Not a medical device.",
        quiet=quiet,
    )


def _result(item: "StudyOutcome") -> str:
    return item.message if item.outcome.is_failure else item.answer


def _as_json(outcome: "BatchOutcome", out: Path) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "output": str(out),
        "run": str(outcome.run_file),
        "counts": outcome.counts,
        "warnings": list(outcome.warnings),
        "studies": [
            {
                "study": item.study,
                "outcome": item.outcome.value,
                "answer": item.answer,
                "exit_code": item.exit_code,
                "message": item.message,
                "hint": item.hint,
            }
            for item in outcome.studies
        ],
    }


def _raise_for(outcome: "BatchOutcome") -> None:
    """End with the outcome's exit code, with the reason where one study failed."""
    failures = outcome.failures
    if not failures:
        return
    if len(outcome.studies) == 1:
        only = failures[0]
        error = SpinalDxError(only.message, hint=only.hint)
        error.exit_code = only.exit_code
        raise error
    message = f"{len(failures)} of {len(outcome.studies)} studies failed."
    hint = "The lines above give the reasons; --retry-failed runs failed ones again."
    if len(failures) == len(outcome.studies):
        raise AllStudiesFailedError(message, hint=hint)
    raise SomeStudiesFailedError(message, hint=hint)
