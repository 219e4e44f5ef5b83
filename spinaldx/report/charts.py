"""Figures that show numbers: probabilities, decisions, slice scores, ranges."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spinaldx.grid import anatomical_axes
from spinaldx.records import (
    Diagnosis,
    Disease,
    SliceScore,
    StageResult,
    Volume,
    stages_on_path,
)
from spinaldx.report import wording
from spinaldx.report.case import StoredCase
from spinaldx.report.fonts import printable, shorten, text_width
from spinaldx.report.painter import (
    BLUE,
    GREY,
    INK,
    PALE,
    VERMILION,
    Box,
    Colour,
    Painter,
    Style,
    line,
)
from spinaldx.report.reference import Measure, measures

_LABEL_WIDTH = 92.0
_VALUE_WIDTH = 30.0

# Logits nearer to 0 than this are all rounding.
_UNTOLD = 1e-3


def draw_probabilities(painter: Painter, box: Box, case: StoredCase) -> None:
    """Draw the four joint probabilities as bars; the answer's is coloured."""
    probabilities = case.prediction.probabilities
    height = box.height / len(Disease)
    for row, disease in enumerate(Disease):
        probability = probabilities[disease]
        top = box.y + row * height
        is_answer = disease.value == case.prediction.diagnosis.value
        style = Style(8, bold=is_answer)
        baseline = top + height / 2 + 3
        painter.text(box.x, baseline, wording.SHORT_NAMES[disease.value], style)
        whole = Box(
            box.x + _LABEL_WIDTH,
            top + 2,
            box.width - _LABEL_WIDTH - _VALUE_WIDTH,
            height - 4,
        )
        painter.rectangle(whole, fill=PALE)
        filled = Box(whole.x, whole.y, whole.width * probability, whole.height)
        painter.rectangle(filled, fill=BLUE if is_answer else GREY)
        end = Style(8, bold=is_answer, anchor="end")
        painter.text(box.right, baseline, f"{probability:.3f}", end)


def draw_stages(painter: Painter, box: Box, case: StoredCase) -> None:
    """Draw each decision on a scale from 0 to 1 with cut-off and margin."""
    height = box.height / 3
    way = [stage.task for stage in stages_on_path(case.prediction.stages)]
    for row, stage in enumerate(case.prediction.stages):
        cell = Box(box.x, box.y + row * height, box.width, height)
        _draw_stage(painter, cell, stage, is_on_path=stage.task in way)


def _draw_stage(
    painter: Painter, box: Box, stage: StageResult, *, is_on_path: bool
) -> None:
    ink = INK if is_on_path else GREY
    names = wording.SHORT_NAMES
    axis = box.inset(0, 13, _VALUE_WIDTH + 4, box.height - 20)
    painter.text(axis.x, box.y + 9, names[stage.task.negative], Style(7, ink))
    end = Style(7, ink, anchor="end")
    painter.text(axis.right, box.y + 9, names[stage.task.positive], end)
    painter.rectangle(axis, fill=PALE)
    low = max(stage.cut_off - stage.margin, 0.0)
    high = min(stage.cut_off + stage.margin, 1.0)
    band = Box(
        axis.x + low * axis.width, axis.y, (high - low) * axis.width, axis.height
    )
    painter.rectangle(band, fill=(0.80, 0.82, 0.85))
    cut = axis.x + stage.cut_off * axis.width
    line(painter, (cut, axis.y - 2), (cut, axis.bottom + 2), ink, 0.8)
    middle = Style(5.5, GREY, anchor="middle")
    painter.text(cut, axis.bottom + 8, f"cut-off {stage.cut_off:.2f}", middle)
    score = axis.x + stage.positive_probability * axis.width
    colour = (VERMILION if stage.is_near_cut_off else BLUE) if is_on_path else GREY
    painter.dot(score, axis.y + axis.height / 2, 4, colour)
    value = Style(8, ink, bold=is_on_path, anchor="end")
    text = f"{stage.positive_probability:.3f}"
    painter.text(box.right, axis.y + axis.height / 2 + 3, text, value)


def draw_slice_scores(painter: Painter, box: Box, case: StoredCase) -> None:
    """Draw the score of every slice for each task, with the mean and the cut-off."""
    stages = case.prediction.stages
    way = stages_on_path(stages)
    gap = 14.0
    width = (box.width - gap * (len(stages) - 1)) / len(stages)
    for place, stage in enumerate(stages):
        cell = Box(box.x + place * (width + gap), box.y, width, box.height)
        ink = INK if stage in way else GREY
        _draw_scores(painter, cell, stage, _in_order(case), ink)


def _in_order(case: StoredCase) -> list[SliceScore]:
    """Order slices as the pictures do: from the patient's right to left."""
    left = list(case.prediction.slice_scores)
    scores: list[SliceScore] = []
    for series in case.series:
        nothing = np.broadcast_to(np.float32(0), series.shape)
        _, flips = anatomical_axes(Volume(nothing, series.affine_ras, series.name))
        own = [score for score in left if score.series == series.name]
        scores += sorted(own, key=lambda score: score.slice_index, reverse=flips[0])
    return scores + [score for score in left if score not in scores]


def _cut_off_of_means(stage: StageResult, mean: float) -> float | None:
    """Return the cut-off on the scale of slices: temperatures apply to their mean.

    Args:
        stage: Its cut-off is that of the calibrated score.
        mean: Of the slices' scores, from which the temperature follows.

    Returns:
        None where the mean is too near to 0.5 to tell the temperature.
    """
    if stage.cut_off == 0.5:
        return stage.cut_off
    calibrated, raw = (_logit(value) for value in (stage.positive_probability, mean))
    if abs(calibrated) < _UNTOLD:
        return None
    logit = raw / calibrated * _logit(stage.cut_off)
    return 1.0 / (1.0 + math.exp(-min(max(logit, -50.0), 50.0)))


def _logit(probability: float) -> float:
    inside = min(max(probability, 1e-6), 1.0 - 1e-6)
    return math.log(inside / (1.0 - inside))


def _draw_scores(
    painter: Painter,
    box: Box,
    stage: StageResult,
    scores: Sequence[SliceScore],
    ink: Colour,
) -> None:
    title = f"1 = {wording.SHORT_NAMES[stage.task.positive]}"
    title += "" if ink == INK else " (off the path)"
    painter.text(box.x, box.y + 7, title, Style(6.5, ink))
    area = box.inset(16, 14, 2, 22)
    painter.rectangle(area, stroke=GREY)
    for value in (0.0, 0.5, 1.0):
        y = area.bottom - value * area.height
        painter.text(area.x - 3, y + 2, f"{value:g}", Style(5.5, GREY, anchor="end"))
    values = [score.positive[stage.task] for score in scores]
    mean = sum(values) / len(values)
    if (cut_off := _cut_off_of_means(stage, mean)) is not None:
        y = area.bottom - cut_off * area.height
        painter.segments(
            np.array([[(area.x, y), (area.right, y)]]), GREY, width=0.5, dashed=True
        )
    y = area.bottom - mean * area.height
    line(painter, (area.x, y), (area.right, y), BLUE if ink == INK else GREY, 1.0)
    step = area.width / len(values)
    for place, value in enumerate(values):
        x = area.x + (place + 0.5) * step
        painter.dot(x, area.bottom - value * area.height, min(2.2, 0.4 * step), ink)
    _draw_series_names(painter, area, scores)
    text = f"mean {mean:.3f} of {len(values)}, study {stage.positive_probability:.3f}"
    painter.text(area.x, area.bottom + 18, text, Style(6, ink))


def _draw_series_names(
    painter: Painter, area: Box, scores: Sequence[SliceScore]
) -> None:
    """Name the runs of slices of one series below an axis, with their numbers."""
    names = [score.series for score in scores]
    step = area.width / len(names)
    runs = list(dict.fromkeys(names))
    for name in runs:
        first = names.index(name)
        count = names.count(name)
        left = area.x + first * step
        if first:
            line(painter, (left, area.y), (left, area.bottom), PALE)
        middle = left + count * step / 2
        ends = [scores[at].slice_index + 1 for at in (first, first + count - 1)]
        numbers = " to ".join(str(end) for end in dict.fromkeys(ends))
        room = count * step - text_width(f" · {numbers}", 5.5)
        series = shorten(printable(name), room, 5.5)
        fits = text_width(series, 5.5) <= room
        style = Style(5.5, GREY, anchor="middle")
        label = f"{series} · {numbers}" if fits else numbers
        painter.text(middle, area.bottom + 8, label, style)


@dataclass(frozen=True, slots=True)
class _Scale:
    """A logarithmic axis: values from `low` to `high` over a box's width."""

    low: float
    high: float
    box: Box

    def x(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        share = np.log(inside / self.low) / np.log(self.high / self.low)
        return float(self.box.x + share * self.box.width)


def draw_ranges(painter: Painter, box: Box, case: StoredCase) -> None:
    """Draw count, volume and length beside the ranges of the four diseases."""
    found = measures(case)
    gap = 16.0
    width = (box.width - gap * (len(found) - 1)) / len(found)
    for place, measure in enumerate(found):
        cell = Box(box.x + place * (width + gap), box.y, width, box.height)
        _draw_measure(painter, cell, measure, case.prediction.diagnosis)


def _draw_measure(
    painter: Painter, box: Box, measure: Measure, diagnosis: Diagnosis
) -> None:
    painter.text(box.x, box.y + 7, measure.title, Style(7, bold=True))
    area = box.inset(52, 22, 4, 14)
    scale = _Scale(measure.axis[0], measure.axis[1], area)
    height = area.height / len(Disease)
    for row, disease in enumerate(Disease):
        spread = measure.spreads[disease]
        y = area.y + (row + 0.5) * height
        is_answer = disease.value == diagnosis.value
        name = wording.SHORT_NAMES[disease.value]
        painter.text(box.x, y + 2.5, name, Style(6.5, bold=is_answer))
        line(painter, (area.x, y), (area.right, y), PALE)
        left, right = scale.x(spread.low), scale.x(spread.high)
        bar = Box(left, y - 3.5, max(right - left, 1.5), 7)
        painter.rectangle(bar, fill=(0.62, 0.66, 0.71))
        middle = scale.x(spread.middle)
        line(painter, (middle, y - 4.5), (middle, y + 4.5), INK, 1.2)
    for tick in measure.ticks:
        x = scale.x(tick)
        line(painter, (x, area.bottom), (x, area.bottom + 2))
        style = Style(5.5, GREY, anchor="middle")
        painter.text(x, area.bottom + 8, f"{tick:g}", style)
    if measure.value > 0:
        x = scale.x(measure.value)
        line(painter, (x, area.y - 3), (x, area.bottom), VERMILION, 1.2)
        is_right = x > area.x + area.width * 0.6
        style = Style(6.5, VERMILION, bold=True, anchor="end" if is_right else "start")
        painter.text(x, area.y - 5, f"this study {measure.text}", style)
