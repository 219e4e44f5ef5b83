"""A study as results carry it: what the JSON says, and the arrays beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import (
    Affine,
    Float32Array,
    Lesion,
    MaskOrigin,
    Prediction,
    Provenance,
    QualityFlag,
    Task,
    Volume,
)


@dataclass(frozen=True, slots=True)
class StoredHeatmap:
    """What the JSON says about one Grad-CAM volume.

    Attributes:
        task: The classifier explained.
        target: Class whose logit was the target.
        cell_mm: Edge of one Grad-CAM cell.
        file: Name of the NIfTI file beside the mask.
        shares: From `heat_shares`; empty when there is no heat.
    """

    task: Task
    target: str
    cell_mm: float
    file: str
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class StoredSeries:
    """What the JSON says about one series.

    Attributes:
        name: Series name, also its folder.
        shape: (I, J, K).
        affine_ras: Voxel indices to patient mm, (4, 4).
        spacing_mm: Voxel edges along I, J, K.
        plane: Plane of the slices.
        source_format: ``dicom``, ``nifti`` or empty.
        source_name: File name of a NIfTI image.
        source_sha256: Hash of the image's bytes.
        mask_origin: Who drew the mask.
        mask_sha256: Hash of ``lesion_mask.nii.gz``.
        heatmaps: In cascade order.
        told_numbers: See `SeriesResult`; empty in results of earlier versions.
    """

    name: str
    shape: tuple[int, int, int]
    affine_ras: Affine
    spacing_mm: tuple[float, float, float]
    plane: str
    source_format: str
    source_name: str
    source_sha256: str
    mask_origin: MaskOrigin
    mask_sha256: str
    heatmaps: tuple[StoredHeatmap, ...]
    told_numbers: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class StoredCase:
    """A `prediction.json`, read: everything but the arrays.

    Attributes:
        study: Name of the study.
        row: Its row of `studies.csv`; None where a cell is empty.
        series: From head to foot.
        lesions: All lesions, series by series.
        prediction: The answer.
        flags: Doubts, in the order of the study, its images, its results.
        provenance: How it was made.
    """

    study: str
    row: Mapping[str, Any]
    series: tuple[StoredSeries, ...]
    lesions: tuple[Lesion, ...]
    prediction: Prediction
    flags: tuple[QualityFlag, ...]
    provenance: Provenance

    @property
    def mask_origins(self) -> frozenset[MaskOrigin]:
        """Who drew the masks of this study."""
        return frozenset(item.mask_origin for item in self.series)


@dataclass(frozen=True, slots=True, eq=False)
class SeriesArrays:
    """The images of one series, all on the source grid.

    Attributes:
        image: The image as read.
        lesion: Non-zero inside lesions, (I, J, K) uint8.
        heat: Grad-CAM 0 to 1 by task, (I, J, K) float32, NaN where not looked.
    """

    image: Volume
    lesion: NDArray[np.uint8]
    heat: Mapping[Task, Float32Array]


@dataclass(frozen=True, slots=True, eq=False)
class ReportCase:
    """Everything a report shows.

    Attributes:
        stored: What the JSON says; every number printed comes from here.
        arrays: The images, by series.
    """

    stored: StoredCase
    arrays: Mapping[str, SeriesArrays]
