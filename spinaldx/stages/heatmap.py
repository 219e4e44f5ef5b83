"""Grad-CAM pictures of a study: where the classifiers' answer came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError
from spinaldx.grid import Crops, CropSpec, maps_to_source
from spinaldx.records import (
    Float32Array,
    Heatmap,
    Mask,
    Prediction,
    StageResult,
    Task,
    Volume,
    stages_on_path,
)

# Perilesional area: this far around the lesion.
RING_MM = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class SeriesMaps:
    """The classifiers' maps of one series.

    Attributes:
        crops: The windows they were computed on.
        maps: (N, 2, h, w) float32 a task, for the logit of each class; empty
            when there is no crop.
    """

    crops: Crops
    maps: Mapping[Task, Float32Array]


def build_heatmaps(
    series: Sequence[SeriesMaps], prediction: Prediction, spec: CropSpec
) -> tuple[tuple[Heatmap, ...], ...]:
    """Lay the maps of the tasks in play back onto the images.

    In play are the first stage and the second one on the path. The target is the
    class that the stage answered. Maps are divided by the largest value of the
    study and task before they are interpolated, so that slices and series can be
    compared; a map without positive evidence stays 0.

    Args:
        series: One entry a series.
        prediction: The study's answer.
        spec: The crops' spec.

    Returns:
        Heatmaps by series, in cascade order; none for a series without lesions.
    """
    path = stages_on_path(prediction.stages)
    peaks = {
        stage.task: max(_positive(item, stage).max(initial=0.0) for item in series)
        for stage in path
    }
    return tuple(
        tuple(
            _heatmap(item, stage, float(peaks[stage.task]), spec)
            for stage in path
            if item.crops.windows
        )
        for item in series
    )


def _positive(item: SeriesMaps, stage: StageResult) -> Float32Array:
    if not item.crops.windows:
        return np.zeros((0, 1, 1), dtype=np.float32)
    target = int(stage.answer == stage.task.positive)
    return np.maximum(item.maps[stage.task][:, target], 0.0)


def _heatmap(
    item: SeriesMaps, stage: StageResult, peak: float, spec: CropSpec
) -> Heatmap:
    coarse = _positive(item, stage) / np.float32(peak if peak > 0 else 1.0)
    height, width = coarse.shape[1:]
    return Heatmap(
        task=stage.task,
        target=stage.answer,
        values=maps_to_source(coarse, item.crops, spec),
        cell_mm=max(spec.height_mm / height, spec.width_mm / width),
    )


def heat_shares(
    heatmap: Heatmap, mask: Mask, volume: Volume, *, ring_mm: float = RING_MM
) -> dict[str, float]:
    """Say how much of a map's heat lies on the lesions and close around them.

    Args:
        heatmap: Values on the source grid, NaN where nothing was looked at.
        mask: Lesions on the same grid.
        volume: The image of both.
        ring_mm: Width of the ring around the lesions.

    Returns:
        Shares that sum to 1: ``lesion``, ``ring``, ``elsewhere``. There is no
        ``ring`` when a cell of the map is wider than it, since nothing could be
        told apart; its heat is then elsewhere. Empty when there is no heat.

    Raises:
        GeometryError: If map, mask and image differ in shape.
    """
    shapes = {heatmap.values.shape, mask.labels.shape, volume.voxels.shape}
    if len(shapes) > 1:
        message = f"{volume.name}: heatmap, mask and image differ in shape."
        raise GeometryError(message)
    heat = np.nan_to_num(heatmap.values, nan=0.0).astype(np.float64)
    total = heat.sum()
    if total <= 0:
        return {}
    inside = mask.labels != 0
    places = {"lesion": inside}
    if heatmap.cell_mm <= ring_mm:
        places["ring"] = _within(inside, ring_mm, volume) & ~inside
    shares = {name: float(heat[place].sum() / total) for name, place in places.items()}
    return {**shares, "elsewhere": max(1.0 - sum(shares.values()), 0.0)}


def _within(
    inside: NDArray[np.bool_], reach_mm: float, volume: Volume
) -> NDArray[np.bool_]:
    from scipy import ndimage  # noqa: PLC0415 - only maps with fine cells need it

    if not inside.any():
        return inside
    away_mm = ndimage.distance_transform_edt(~inside, sampling=volume.spacing_mm)
    return np.asarray(away_mm <= reach_mm, dtype=np.bool_)
