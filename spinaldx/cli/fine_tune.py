"""``spinaldx fine-tune``: train the cascade on a lab's own patients."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spinaldx.cli import console, options

if TYPE_CHECKING:
    from spinaldx.training.fine_tuning import Outcome, Request
    from spinaldx.training.loop import Progress

# Seconds between two lines of progress.
_LINE_S = 15.0


class Stage(StrEnum):
    """Which networks are trained."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    ALL = "all"


class MaskSource(StrEnum):
    """Which lesion masks the classifiers learn from."""

    TRUTH = "truth"
    PREDICTED = "predicted"
    MIXED = "mixed"


def fine_tune(
    cases: Annotated[
        Path,
        typer.Argument(
            metavar="CASES.csv",
            help="Table: case,t2w,mask,diagnosis and, optional, series,cord,age,sex,"
            "split.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="BUNDLE",
            help="Folder of the new bundle; BUNDLE.work beside it keeps checkpoints.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only look for faults in the table.")
    ] = False,
    stage: Annotated[
        Stage, typer.Option(help="Which networks are trained.")
    ] = Stage.ALL,
    init: Annotated[
        str,
        typer.Option(metavar="BUNDLE|scratch", help="What training starts from."),
    ] = options.DEFAULT_WEIGHTS,
    network: Annotated[
        str,
        typer.Option(
            metavar="tiny|small|fast|reference",
            help="Sizes of the networks, with --init scratch.",
        ),
    ] = "fast",
    imagenet: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="DenseNet121 of torchvision to start classifiers from."
        ),
    ] = "",
    minutes: Annotated[
        float | None,
        typer.Option(help="Training time of all networks together.", show_default="60"),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the slices, instead of minutes.")
    ] = None,
    mask_source: Annotated[
        MaskSource, typer.Option(help="Lesion masks that the classifiers learn from.")
    ] = MaskSource.MIXED,
    painted_share: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the windows without lesion that get one painted into their "
            "cord; needs cord masks.",
        ),
    ] = 0.0,
    slices: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="0|1|3|5|7",
            help="Neighbouring slices that the segmentation network sees at once; 0 "
            "leaves it as it is.",
        ),
    ] = 0,
    fractions: Annotated[
        str,
        typer.Option(
            metavar="0.1,0.25,0.5,1",
            help="Train on nested parts of the patients and draw a learning curve.",
        ),
    ] = "",
    seed: Annotated[
        int, typer.Option(min=0, help="Of splits, weights and augmentation.")
    ] = 0,
    batch_size: Annotated[
        int, typer.Option(min=0, help="Windows a batch; 0 leaves the default.")
    ] = 0,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches a step.")] = 1,
    learning_rate: Annotated[
        float, typer.Option(min=0.0, help="Highest rate; 0 leaves the default.")
    ] = 0.0,
    device: options.Device = "auto",
    precision: Annotated[
        str, typer.Option(metavar="auto|fp32|bf16", help="Of products in training.")
    ] = "auto",
    threads: Annotated[
        int, typer.Option(min=0, help="Processor threads; 0 leaves it to torch.")
    ] = 0,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processes that read images and make batches; 0 takes every processor "
            "beside a GPU, and one thread for batches beside a network on the CPU.",
        ),
    ] = 0,
    name: Annotated[
        str, typer.Option(help="Of the bundle.", show_default="the folder's")
    ] = "",
    version: Annotated[str, typer.Option(help="Of the bundle.")] = "1.0",
    licence: Annotated[
        str, typer.Option(help="Of the weights, for the card.")
    ] = "not stated",
    ethics: Annotated[
        str, typer.Option(help="Ethics statement on the patients' data, for the card.")
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

    The bundle works at once with `predict --weights BUNDLE`. One that is not better
    than what it started from is written, marked `not_promoted`, and the exit code
    is 9.

    Example: `spinaldx fine-tune cases.csv -o our-weights --minutes 60`
    """
    from spinaldx.training import options as training  # noqa: PLC0415 - slow
    from spinaldx.training.fine_tuning import (  # noqa: PLC0415 - imports torch
        BundleFacts,
        Request,
        name_for,
    )

    lines = _Lines(quiet=quiet)
    if check:
        _check(cases, stage, lines)
        return
    if output is None:
        message = "--output is needed, unless --check is given."
        raise typer.BadParameter(message)
    if minutes is None and epochs is None:
        minutes = 60.0
    learning = training.Learning(batch_size, accumulate, learning_rate)
    chosen = training.TrainingOptions(
        budget=training.Budget(minutes, epochs),
        stage=training.Stage(stage.value),
        init=init,
        network=network,
        seed=seed,
        compute=training.Compute(device, precision, threads, workers),
        learning=learning,
        segmentation=training.SegmentationOptions(
            painted_share=painted_share, slices=slices
        ),
        classifier=training.ClassifierOptions(
            mask_source=training.MaskSource(mask_source.value)
        ),
        imagenet=imagenet,
    )
    if not simulated and not ethics:
        console.warn("No --ethics statement: the card will say that none was given.")
    facts = BundleFacts(
        name=name or name_for(output),
        version=version,
        licence=licence,
        training_data="simulated" if simulated else "patients",
        ethics=ethics,
    )
    request = Request(
        table=cases,
        out=output,
        options=chosen,
        facts=facts,
        resume=resume,
        user_store=options.user_store(),
    )
    outcome = _train(request, fractions, lines)
    console.note(f"Wrote {outcome.bundle.folder}.", quiet=quiet)
    console.note(outcome.verdict.reason, quiet=quiet)
    outcome.raise_unless_promoted()


def _check(cases: Path, stage: Stage, lines: "_Lines") -> None:
    from spinaldx.training import options as training  # noqa: PLC0415 - slow
    from spinaldx.training.fine_tuning import check_table  # noqa: PLC0415 - torch

    lint = check_table(cases, training.Stage(stage.value), lines)
    # They are what was asked for, so they are printed when quiet as well.
    for fault in lint.faults:
        console.note(fault)
    lint.raise_faults(cases, listed=True)
    lines.note(f"{cases.name}: no faults, {len(lint.patients)} patients.")


def _train(request: "Request", fractions: str, lines: "_Lines") -> "Outcome":
    from spinaldx.training.fine_tuning import fine_tune as train  # noqa: PLC0415 - torch

    if not fractions:
        return train(request, lines)
    from spinaldx.training.fractions import (  # noqa: PLC0415 - imports matplotlib
        fine_tune_fractions,
        parse_fractions,
    )

    return fine_tune_fractions(request, parse_fractions(fractions), lines)


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
        if progress.last_step:
            last = str(progress.last_step)
            left = f", {progress.left_s / 60:.1f} min left"
        else:
            last, left = "?", ""
        self._line(
            f"{progress.network}: step {progress.step} of {last}, loss "
            f"{progress.loss:.4f}{figure}, {progress.slices_per_s:.1f} slices/s{left}",
            is_last=False,
        )

    def _line(self, text: str, *, is_last: bool) -> None:
        now = time.monotonic()
        if is_last or now - self._last > _LINE_S:
            self._last = now
            console.note(text, quiet=self._quiet)
