"""Join the commands into one program."""

from typing import Annotated

import typer

from spinaldx.cli import (
    doctor,
    evaluate,
    fine_tune,
    predict,
    report,
    scan,
    simulate,
    weights,
)

_HELP = """
Segment, classify and explain intramedullary lesions on sagittal T2w spinal MRI.

**Research use only. Not a medical device.** The weights that ship were trained on
simulated patients.

Start with `spinaldx predict examples/studies -o results`.
"""

app = typer.Typer(
    name="spinaldx",
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # Rich tracebacks print local variables, and those may hold patient data.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("predict")(predict.predict)
app.command("scan")(scan.scan)
app.command("report")(report.report)
app.command("fine-tune")(fine_tune.fine_tune)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(weights.group, name="weights")
app.command("simulate")(simulate.simulate)
app.command("doctor")(doctor.doctor)


def _show_version(value: bool) -> None:
    if value:
        from spinaldx import __version__  # noqa: PLC0415 - slow, see there

        typer.echo(f"spinaldx {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass
