"""From lesion-bearing slices to the study's answer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spinaldx.grid import Crops
from spinaldx.models import ClassifierOutput, ClassifierPart, Networks
from spinaldx.records import (
    Diagnosis,
    Disease,
    Float32Array,
    Prediction,
    SliceScore,
    StageResult,
    Task,
    stages_on_path,
)
from spinaldx.stages.finite import check_finite

# Crops a call; a study has a handful, an isotropic image many.
_CROPS_AT_ONCE = 8

# Means are kept this far from 0 and 1, where the logit ends.
_TINY = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class SeriesScores:
    """What the three classifiers put out for one series.

    Attributes:
        slice_scores: One a crop, in the crops' order.
        maps: (N, 2, h, w) float32 a task: Grad-CAM for the logit of each class.
    """

    slice_scores: tuple[SliceScore, ...]
    maps: Mapping[Task, Float32Array]


def score_slices(series: str, crops: Crops, networks: Networks) -> SeriesScores:
    """Run all three classifiers over the lesion-bearing slices of one series.

    Args:
        series: Name of the series.
        crops: Its windows; none gives no scores and no maps.
        networks: An opened bundle.

    Returns:
        Softmax of the positive class a slice and task, and the maps.

    Raises:
        InferenceError: If a classifier's output is not finite.
    """
    if not crops.windows:
        return SeriesScores((), {})
    outputs = {task: _classify(task, crops.pixels, networks) for task in Task}
    positive = {task: _softmax(output.logits) for task, output in outputs.items()}
    scores = tuple(
        SliceScore(
            series=series,
            slice_index=crops.transform.slice_index(window.stack_index),
            positive={task: float(positive[task][place]) for task in Task},
        )
        for place, window in enumerate(crops.windows)
    )
    maps = {task: output.maps for task, output in outputs.items()}
    return SeriesScores(scores, maps)


def _classify(task: Task, pixels: Float32Array, networks: Networks) -> ClassifierOutput:
    parts = [
        networks.classify(task, pixels[start : start + _CROPS_AT_ONCE])
        for start in range(0, len(pixels), _CROPS_AT_ONCE)
    ]
    logits = np.concatenate([part.logits for part in parts])
    check_finite(logits, task.value)
    return ClassifierOutput(logits, np.concatenate([part.maps for part in parts]))


def _softmax(logits: Float32Array) -> Float32Array:
    """Return the positive class's share, (N,)."""
    away = logits[:, 0].astype(np.float64) - logits[:, 1]
    # Without overflow on either side.
    return np.asarray(np.exp(-np.logaddexp(0.0, away)), dtype=np.float32)


def decide(
    slice_scores: Sequence[SliceScore], parts: Mapping[Task, ClassifierPart]
) -> Prediction:
    """Turn slice scores into the study's answer.

    A stage's score is the mean over the lesion slices of all series of the softmax
    (paper, Methods), with the bundle's temperature applied to the logit of that
    mean. The answer follows the cut-offs from stage to stage. It is indeterminate
    when another class has the largest joint probability, or when a stage on the
    path lies within its margin; the stage off the path has no say in it.

    Args:
        slice_scores: Of all series; empty means no lesion.
        parts: Cut-off, margin and temperature, by task.

    Returns:
        The answer with its stages, joint probabilities and the scores by series
        as given, then slice index.
    """
    if not slice_scores:
        return Prediction(Diagnosis.NO_LESION)
    stages = tuple(_stage(task, slice_scores, parts[task]) for task in Task)
    probabilities = _joint(stages)
    path = stages_on_path(stages)
    disease = Disease(path[-1].answer)
    top = max(probabilities, key=lambda name: probabilities[name])
    undecided = top is not disease or any(stage.is_near_cut_off for stage in path)
    diagnosis = Diagnosis.INDETERMINATE if undecided else Diagnosis(disease.value)
    return Prediction(
        diagnosis=diagnosis,
        stages=stages,
        probabilities=probabilities,
        slice_scores=_ordered(slice_scores),
    )


def _stage(
    task: Task, slice_scores: Sequence[SliceScore], part: ClassifierPart
) -> StageResult:
    mean = math.fsum(score.positive[task] for score in slice_scores) / len(slice_scores)
    mean = min(max(mean, _TINY), 1.0 - _TINY)
    logit = math.log(mean / (1.0 - mean)) / part.temperature
    return StageResult(
        task=task,
        positive_probability=1.0 / (1.0 + math.exp(-logit)),
        cut_off=part.cut_off,
        margin=part.margin,
    )


def _joint(stages: tuple[StageResult, ...]) -> dict[Disease, float]:
    # In cascade order: demyelination, ependymoma given tumour, NMOSD given the first.
    first, tumour, demyelination = (stage.positive_probability for stage in stages)
    return {
        Disease.ASTROCYTOMA: (1.0 - first) * (1.0 - tumour),
        Disease.EPENDYMOMA: (1.0 - first) * tumour,
        Disease.MS: first * (1.0 - demyelination),
        Disease.NMOSD: first * demyelination,
    }


def _ordered(slice_scores: Sequence[SliceScore]) -> tuple[SliceScore, ...]:
    series = list(dict.fromkeys(score.series for score in slice_scores))
    return tuple(
        sorted(slice_scores, key=lambda s: (series.index(s.series), s.slice_index))
    )
