"""Training written down: `history.csv` and a picture of the curves."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spinaldx.files import write_bytes
from spinaldx.training.checkpoint import HistoryRow

# Okabe and Ito's colours, told apart by most eyes.
_LOSS, _FIGURE = "#0072B2", "#D55E00"

_FIGURE_NAMES = {"segmentation": "mean patient score"}


def write_history(path: Path, rows: Sequence[HistoryRow]) -> None:
    """Write one line a validation, all networks below each other.

    Raises:
        OutputError: If it cannot be written.
    """
    names = [field.name for field in dataclasses.fields(HistoryRow)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (getattr(row, name) for name in names)
        writer.writerow(values)
    write_bytes(path, text.getvalue().encode())


def draw_curves(
    histories: Mapping[str, Sequence[HistoryRow]], *, notice: str = ""
) -> bytes:
    """Draw loss and validation figure of every network against its minutes.

    Args:
        histories: Lines by network; networks without any are left out.
        notice: Burnt into the picture, such as that patients were simulated.

    Returns:
        A PNG file.
    """
    shown = {name: rows for name, rows in histories.items() if rows}
    figure = Figure(figsize=(3.4 * max(len(shown), 1), 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, rows) in enumerate(shown.items(), start=1):
        minutes = [row.seconds / 60 for row in rows]
        left = figure.add_subplot(1, len(shown), place)
        left.set_title(name.replace("_", " "), fontsize=8)
        left.plot(minutes, [row.loss for row in rows], color=_LOSS, marker=".")
        left.set_xlabel("minutes", fontsize=8)
        left.set_ylabel("training loss", color=_LOSS, fontsize=8)
        right = left.twinx()
        right.plot(
            minutes,
            [row.figure for row in rows],
            color=_FIGURE,
            marker="s",
            markersize=3,
            linestyle="--",
        )
        label = _FIGURE_NAMES.get(name, "minus log loss")
        right.set_ylabel(f"validation: {label}", color=_FIGURE, fontsize=8)
        for axes in (left, right):
            axes.tick_params(labelsize=7)
    if notice:
        figure.suptitle(notice, fontsize=8, color="#B00020")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()
