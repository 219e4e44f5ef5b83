"""``spinaldx fine-tune``: train the cascade on a lab's own patients."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spinaldx.cli import console, options

if TYPE_CHECKING:
    from spinaldx.training.loop import Progress
    from spinaldx.training.options import TrainingOptions

# Seconds between two lines of progress without a terminal.
_QUIET_S = 30.0


def fine_tune(
    cases: Annotated[
        Path, typer.Argument(metavar="CASES.csv", help="Table of the patients.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="BUNDLE", help="New bundle.")
    ],
    stage: Annotated[
        str, typer.Option(metavar="segmentation|classification|all")
    ] = "all",
    init: Annotated[
        str, typer.Option(metavar="BUNDLE|scratch", help="What training starts from.")
    ] = options.DEFAULT_WEIGHTS,
    network: Annotated[
        str,
        typer.Option(metavar="small|fast|reference", help="Sizes, from scratch."),
    ] = "fast",
    minutes: Annotated[
        float | None, typer.Option(help="Training time of all networks together.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the slices, instead of minutes.")
    ] = None,
    mask_source: Annotated[
        str,
        typer.Option(
            metavar="truth|predicted|mixed", help="Masks the classifiers learn from."
        ),
    ] = "mixed",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[
        int, typer.Option(min=0, help="Processor threads; 0 leaves it to torch.")
    ] = 0,
    device: options.Device = "auto",
    precision: Annotated[str, typer.Option(metavar="auto|fp32|bf16")] = "auto",
    name: Annotated[str, typer.Option(help="Of the bundle; else the folder's.")] = "",
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "not stated",
    ethics: Annotated[
        str, typer.Option(help="Ethics statement on the patients' data.")
    ] = "",
    simulated: Annotated[
        bool, typer.Option("--simulated", help="The patients are simulated.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the cascade on the patients of a table and write a weight bundle.

    Example: `spinaldx fine-tune cases.csv -o our-weights --minutes 60`
    """
    from spinaldx.training import fine_tuning  # noqa: PLC0415 - imports torch
    from spinaldx.training import options as training  # noqa: PLC0415 - as above

    if minutes is None and epochs is None:
        minutes = 60.0
    chosen: TrainingOptions = training.TrainingOptions(
        budget=training.Budget(minutes, epochs),
        stage=training.Stage(stage),
        init=init,
        network=network,
        seed=seed,
        compute=training.Compute(device, precision, threads),
        classifier=training.ClassifierOptions(
            mask_source=training.MaskSource(mask_source)
        ),
    )
    facts = fine_tuning.BundleFacts(
        name=name or output.name,
        licence=licence,
        training_data="simulated" if simulated else "patients",
        ethics=ethics,
    )
    bundle = fine_tuning.fine_tune(
        cases, output, chosen, facts, _Lines(quiet=quiet), resume=resume
    )
    console.note(f"Wrote {bundle.folder}.", quiet=quiet)


class _Lines:
    """Progress as lines on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._last = 0.0

    def note(self, text: str) -> None:
        console.note(text, quiet=self._quiet)

    def advance(self, what: str, done: int, total: int) -> None:
        self._line(f"{what}: {done} of {total}", is_last=done == total)

    def train(self, progress: "Progress") -> None:
        figure = "" if progress.figure is None else f", figure {progress.figure:.3f}"
        last = progress.last_step or "?"
        self._line(
            f"{progress.network}: step {progress.step} of {last}, "
            f"loss {progress.loss:.4f}{figure}, {progress.slices_per_s:.1f} slices/s, "
            f"{progress.left_s / 60:.1f} min left",
            is_last=False,
        )

    def _line(self, text: str, *, is_last: bool) -> None:
        now = time.monotonic()
        if is_last or now - self._last > _QUIET_S:
            self._last = now
            console.note(text, quiet=self._quiet)
