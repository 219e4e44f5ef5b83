"""Figures of the evaluation, drawn without any window, same data = same bytes."""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy import stats
from sklearn.metrics import roc_curve

from spinaldx.evaluation.calibration import reliability, scored_patients
from spinaldx.evaluation.classification import (
    ANSWER_TITLES,
    DISEASE_TITLES,
    POSITIVE_TITLES,
    TASK_TITLES,
    matrix_counts,
)
from spinaldx.evaluation.decision import THRESHOLDS, net_benefit
from spinaldx.evaluation.delong import auc
from spinaldx.evaluation.estimates import FloatArray
from spinaldx.evaluation.scored import TASKS, Scored, ask

# Okabe and Ito's colours and three line styles: told apart without colour too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73")
_LINES = ("-", "--", "-.")
_GREY = "#666666"

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "spinaldx",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
}
# Of the footer's font, so that it is wrapped and not cut.
_LETTERS_AN_INCH = 15

_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def draw_figures(
    scored: Scored, dice: Mapping[str, FloatArray], footer: str
) -> dict[str, dict[str, bytes]]:
    """Draw every figure that the data allow.

    Args:
        scored: Truth and answers.
        dice: Dice of patients with a lesion, by disease; empty without masks.
        footer: What the figures rest on; written under each.

    Returns:
        By name (``roc``, ``matrix``, ``dice``, ``reliability``,
        ``decision_curve``), the bytes by format (``png``, ``svg``).
    """
    drawings: dict[str, Callable[[], Figure | None]] = {
        "roc": lambda: _roc(scored),
        "matrix": lambda: _matrix(scored),
        "dice": lambda: _dice(dice),
        "reliability": lambda: _reliability(scored),
        "decision_curve": lambda: _decision(scored),
    }
    figures = {}
    with mpl.rc_context(_STYLE):
        for name, draw in drawings.items():
            figure = draw()
            if figure is not None:
                wrapped = textwrap.fill(
                    footer, int(_LETTERS_AN_INCH * figure.get_figwidth())
                )
                figure.supxlabel(wrapped, fontsize=7, color=_GREY)
                # Laid out once: both formats would do it again.
                figure.draw_without_rendering()
                figure.set_layout_engine("none")
                figures[name] = {kind: _encode(figure, kind) for kind in _METADATA}
    return figures


def _encode(figure: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=_METADATA[kind])
    return stream.getvalue()


def _roc(scored: Scored) -> Figure | None:
    figure = Figure(figsize=(4.6, 4.6))
    axes = figure.add_subplot(aspect="equal")
    for task, colour, line in zip(TASKS, _COLOURS, _LINES, strict=True):
        question = ask(scored, task)
        positive, score = question.positive, question.worst_case_score()
        area = auc(positive, score)
        if area.value is None or np.isnan(question.score).all():
            continue
        # Ranks stand in for the scores: those of patients without one are infinite.
        false, true, _ = roc_curve(positive, stats.rankdata(score))
        label = f"{TASK_TITLES[task]}, AUC {area.value:.2f}"
        axes.plot(false, true, line, color=colour, label=label, linewidth=1.6)
    if not axes.lines:
        return None
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.6)
    axes.set(
        xlabel="1 - specificity",
        ylabel="Sensitivity",
        title="ROC, every labelled patient, true subsets",
    )
    axes.legend(loc="lower right", fontsize=7, frameon=False)
    return figure


def _matrix(scored: Scored) -> Figure | None:
    counts = matrix_counts(scored)
    names = [*DISEASE_TITLES, "healthy"]
    kept = [place for place in range(len(names)) if place < 4 or counts[place].any()]
    counts = counts[kept]
    if not counts.any():
        return None
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    columns = list(ANSWER_TITLES)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(kept)), [names[place] for place in kept])
    axes.axvline(len(DISEASE_TITLES) - 0.5, color=_GREY, linewidth=0.8)
    axes.set(ylabel="Truth", title="Truth by final answer (shade: share of the row)")
    return figure


def _dice(dice: Mapping[str, FloatArray]) -> Figure | None:
    groups = {name: values for name, values in dice.items() if len(values)}
    if not groups:
        return None
    figure = Figure(figsize=(1.6 + 1.1 * len(groups), 3.8))
    axes = figure.add_subplot()
    generator = np.random.default_rng(0)
    for place, values in enumerate(groups.values()):
        spread = generator.uniform(-0.18, 0.18, len(values))
        axes.plot(
            place + spread, values, "o", color=_COLOURS[0], markersize=2.5, alpha=0.45
        )
    axes.boxplot(
        list(groups.values()),
        positions=range(len(groups)),
        widths=0.5,
        showfliers=False,
        medianprops={"color": _COLOURS[1], "linewidth": 1.6},
    )
    labels = [f"{name}\nn = {len(values)}" for name, values in groups.items()]
    axes.set_xticks(range(len(groups)), labels)
    axes.set(ylim=(-0.03, 1.03), ylabel="Dice", title="Dice of patients with a lesion")
    return figure


def _reliability(scored: Scored) -> Figure | None:
    figure, panels = _panels("Observed share", sharey=True)
    is_empty = True
    for axes, task, colour in zip(panels, TASKS, _COLOURS, strict=True):
        positive, score, _ = scored_patients(scored, task)
        bins = reliability(positive, score)
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.6)
        axes.set(title=TASK_TITLES[task], xlabel=f"Score for {POSITIVE_TITLES[task]}")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        if not bins:
            continue
        is_empty = False
        ends = [
            (item.observed.value, item.observed.low, item.observed.high)
            for item in bins
        ]
        middle, low, high = np.array(ends, dtype=float).T
        axes.errorbar(
            [item.score for item in bins],
            middle,
            yerr=(middle - low, high - middle),
            color=colour,
            marker="o",
            markersize=4,
            linewidth=1.2,
            elinewidth=0.7,
        )
    return None if is_empty else figure


def _decision(scored: Scored) -> Figure | None:
    figure, panels = _panels("Net benefit", sharey=False)
    is_empty = True
    for axes, task, colour in zip(panels, TASKS, _COLOURS, strict=True):
        positive, score, _ = scored_patients(scored, task)
        axes.set(title=TASK_TITLES[task], xlabel="Threshold")
        if len(score) == 0:
            continue
        is_empty = False
        model = net_benefit(positive, score, THRESHOLDS)
        everybody = net_benefit(positive, np.ones_like(score), THRESHOLDS)
        axes.plot(THRESHOLDS, model, color=colour, label="model", linewidth=1.6)
        axes.plot(THRESHOLDS, everybody, "--", color=_GREY, label="all positive")
        axes.axhline(0, color=_GREY, linewidth=0.8, label="none positive")
        # Acting on all falls without bound: what lies far below zero says nothing.
        axes.set_ylim(-0.1, max(0.1, float(positive.mean()) * 1.1))
        axes.legend(fontsize=7, frameon=False)
    return None if is_empty else figure


def _panels(ylabel: str, *, sharey: bool) -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=(9.6, 3.4))
    panels = list(figure.subplots(1, 3, sharey=sharey))
    panels[0].set_ylabel(ylabel)
    return figure, panels
