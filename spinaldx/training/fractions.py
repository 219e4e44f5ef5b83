"""The learning curve: the same training on nested parts of the patients."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spinaldx.errors import UsageError
from spinaldx.files import write_bytes
from spinaldx.training.fine_tuning import Outcome, Request, fine_tune
from spinaldx.training.pipeline import Watcher
from spinaldx.training.promotion import Interval
from spinaldx.training.splits import Split

_COLOURS = {"dice": "#0072B2", "classes": "#D55E00"}


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What training on a part of the patients gave.

    Attributes:
        fraction: Share of the training patients.
        patients: How many they were.
        figure: ``dice`` or ``classes``.
        interval: Over the same validation patients for every fraction.
    """

    fraction: float
    patients: int
    figure: str
    interval: Interval


def parse_fractions(text: str) -> tuple[float, ...]:
    """Parse ``0.1,0.25,1``.

    Returns:
        Ascending, each above 0 and at most 1, the last one 1.

    Raises:
        UsageError: If it is something else.
    """
    try:
        fractions = sorted({float(part) for part in text.split(",")} | {1.0})
    except ValueError as error:
        message = f"Not a list of fractions: {text[:40]}"
        raise UsageError(message, hint="Write it as 0.1,0.25,0.5,1.") from error
    if not 0 < fractions[0] <= fractions[-1] <= 1:
        message = "A fraction must lie above 0 and at most at 1."
        raise UsageError(message)
    return tuple(fractions)


def fine_tune_fractions(
    request: Request, fractions: Sequence[float], watcher: Watcher
) -> Outcome:
    """Train once a fraction with the same budget, and draw the learning curve.

    Smaller parts are contained in larger ones; validation patients are always the
    same (paper, eFigure 3). The bundle is that of the largest fraction; the others
    lie in the work folder.

    Args:
        request: What, where, how long each.
        fractions: From `parse_fractions`.
        watcher: Told about progress.

    Returns:
        The outcome of the largest fraction.

    Raises:
        SpinalDxError: As `fine_tune` does.
    """
    points: list[CurvePoint] = []
    for fraction in fractions:
        watcher.note(f"Training on {fraction:.0%} of the training patients.")
        part = _part_of(request, fraction, is_last=fraction == fractions[-1])
        outcome = fine_tune(part, watcher)
        counts = outcome.bundle.metrics["patients"][Split.TRAIN.value]
        points += [
            CurvePoint(fraction, sum(counts.values()), name, interval)
            for name, interval in outcome.verdict.figures.items()
        ]
    write_bytes(request.out / "learning_curve.csv", _table(points))
    write_bytes(request.out / "learning_curve.png", _picture(points, outcome))
    return outcome


def _part_of(request: Request, fraction: float, *, is_last: bool) -> Request:
    options = dataclasses.replace(request.options, fraction=fraction)
    folder = request.work.with_name(f"{request.out.name}.fractions")
    out = request.out if is_last else folder / f"{fraction:g}"
    cache = request.cache or folder / "cache"
    return dataclasses.replace(request, options=options, out=out, cache=cache)


def _table(points: Sequence[CurvePoint]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("fraction", "patients", "figure", "mean", "low", "high"))
    for one in points:
        ends = (one.interval.mean, one.interval.low, one.interval.high)
        writer.writerow((one.fraction, one.patients, one.figure, *ends))
    return text.getvalue().encode()


def _picture(points: Sequence[CurvePoint], outcome: Outcome) -> bytes:
    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, colour in _COLOURS.items():
        of_name = [one for one in points if one.figure == name]
        if not of_name:
            continue
        means = [one.interval.mean for one in of_name]
        below = [one.interval.mean - one.interval.low for one in of_name]
        above = [one.interval.high - one.interval.mean for one in of_name]
        patients = [one.patients for one in of_name]
        axes.errorbar(
            patients, means, (below, above), color=colour, marker="o", label=name
        )
    axes.set_xlabel("training patients")
    axes.set_ylabel("validation, mean and 95 % interval")
    if points:
        axes.legend(frameon=False)
    if not outcome.bundle.has_met_patients:
        figure.suptitle("SIMULATED PATIENTS", fontsize=8, color="#B00020")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()
