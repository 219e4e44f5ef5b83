"""Whole results of imaginary studies, for everything that writes or shows them."""

from dataclasses import dataclass, replace

import numpy as np
from phantoms import affine_of

from spinaldx.records import (
    CaseResult,
    Diagnosis,
    Disease,
    Heatmap,
    Lesion,
    Mask,
    MaskOrigin,
    Prediction,
    Provenance,
    QualityFlag,
    SeriesResult,
    SliceScore,
    StageResult,
    Task,
    Volume,
    WeightsInfo,
    stages_on_path,
)

WEIGHTS = WeightsInfo("phantom-v1", "1.0", "simulated", "ab" * 32)

# Positive-class scores that lead to each answer.
SCORES = {
    Diagnosis.ASTROCYTOMA: (0.1, 0.2, 0.5),
    Diagnosis.EPENDYMOMA: (0.1, 0.9, 0.5),
    Diagnosis.MS: (0.9, 0.5, 0.15),
    Diagnosis.NMOSD: (0.93, 0.4, 0.84),
    Diagnosis.INDETERMINATE: (0.52, 0.3, 0.7),
}


@dataclass(frozen=True)
class Spec:
    """What an imaginary study is like."""

    study: str = "study-a"
    shape: tuple = (13, 96, 64)
    spacing_mm: tuple = (3.3, 1.0, 1.0)
    degrees: tuple = (0.0, 0.0, 0.0)
    series: tuple = ("t2w",)
    lesions: int = 1
    lesion_slices: int = 3
    diagnosis: Diagnosis = Diagnosis.MS
    weights: WeightsInfo = WEIGHTS
    origin: MaskOrigin = MaskOrigin.NETWORK
    flags: tuple = ()
    source_format: str = "dicom"
    cell_mm: float = 8.0


def spine_image(shape, spacing_mm, seed=0):
    """Something like a sagittal T2w spine, stored left, foot, back."""
    slices, rows, columns = shape
    rng = np.random.default_rng(seed)
    down = (np.arange(rows) + 0.5)[:, None] * spacing_mm[1]
    back = (np.arange(columns) + 0.5)[None, :] * spacing_mm[2]
    height, depth = rows * spacing_mm[1], columns * spacing_mm[2]
    cord_mm = depth * 0.55 + 0.06 * depth * np.sin(2.5 * np.pi * down / height)
    image = np.zeros((slices, rows, columns))
    for index in range(slices):
        aside = (index - (slices - 1) / 2) * spacing_mm[0]
        away = np.abs(back - cord_mm)
        canal = np.hypot(aside, away) < 9
        cord = np.hypot(aside * 0.8, away) < 4.5
        body = (back > cord_mm - 34) & (back < cord_mm - 9)
        disc = body & (np.mod(down, 18) < 4)
        inside = (back > 6) & (back < depth - 4)
        image[index] = np.select(
            [cord, canal, disc, body, inside], [48, 160, 30, 75, 60]
        )
    return np.abs(image + rng.normal(0, 4, shape)).round().astype(np.float32), cord_mm


def box_lesions(spec, cord_mm):
    """Boxes on the cord, evenly spread from head to foot, (I, J, K) uint8."""
    labels = np.zeros(spec.shape, np.uint8)
    slices, rows, _ = spec.shape
    first = (slices - min(spec.lesion_slices, slices)) // 2
    step = rows / max(spec.lesions, 1)
    for number in range(spec.lesions):
        top = int(number * step + 0.3 * step)
        height = max(int(step * 0.4), 1)
        for row in range(top, min(top + height, rows)):
            middle = cord_mm[row, 0] / spec.spacing_mm[2]
            half = 3.5 / spec.spacing_mm[2]
            columns = slice(int(middle - half), int(middle + half) + 1)
            labels[first : first + spec.lesion_slices, row, columns] = number + 1
    return labels


def measured(labels, volume, name):
    """Lesions with plain measurements; lengths along the rows."""
    lesions = []
    for number in range(1, int(labels.max()) + 1):
        places = np.argwhere(labels == number)
        centroid = volume.affine_ras[:3, :3] @ places.mean(axis=0)
        rows = np.unique(places[:, 1])
        lesions.append(
            Lesion(
                number=number,
                series=name,
                voxel_count=len(places),
                volume_mm3=len(places) * volume.voxel_mm3,
                length_mm=len(rows) * volume.spacing_mm[1],
                slices=tuple(np.unique(places[:, 0]).tolist()),
                centroid_ras_mm=tuple((centroid + volume.affine_ras[:3, 3]).tolist()),
            )
        )
    return tuple(lesions)


def heatmaps(labels, spec, prediction):
    """Heat that grows towards the lesions, known only in the middle rows."""
    found = []
    for stage in stages_on_path(prediction.stages):
        slices = np.flatnonzero(labels.any(axis=(1, 2)))
        values = np.full(labels.shape, np.nan, np.float32)
        rows, columns = np.indices(labels.shape[1:])
        for index in slices:
            places = np.argwhere(labels[index])
            row, column = places.mean(axis=0)
            away = np.hypot(
                (rows - row) * spec.spacing_mm[1] / 2,
                (columns - column) * spec.spacing_mm[2],
            )
            heat = np.exp(-((away / 14) ** 2))
            near = np.abs(columns - column) * spec.spacing_mm[2] < 32
            values[index] = np.where(near, heat, np.nan)
        found.append(Heatmap(stage.task, stage.answer, values, spec.cell_mm))
    return tuple(found)


def prediction_of(spec, results):
    """The answer the spec asks for, with a score a lesion slice."""
    if spec.diagnosis is Diagnosis.NO_LESION:
        return Prediction(Diagnosis.NO_LESION)
    scores = dict(zip(Task, SCORES[spec.diagnosis], strict=True))
    stages = tuple(StageResult(task, p, 0.5, 0.05) for task, p in scores.items())
    first, tumour, ms = (scores[task] for task in Task)
    joint = (
        (1 - first) * (1 - tumour),
        (1 - first) * tumour,
        first * (1 - ms),
        first * ms,
    )
    rng = np.random.default_rng(1)
    slice_scores = tuple(
        SliceScore(
            name,
            int(index),
            {
                t: float(np.clip(p + rng.normal(0, 0.08), 0, 1))
                for t, p in scores.items()
            },
        )
        for name, labels in results
        for index in np.flatnonzero(labels.any(axis=(1, 2)))
    )
    joint_by_disease = dict(zip(Disease, joint, strict=True))
    return Prediction(spec.diagnosis, stages, joint_by_disease, slice_scores)


def case_of(spec=None, **changes):
    """Build the result of an imaginary study."""
    spec = replace(spec or Spec(), **changes)
    if spec.diagnosis is Diagnosis.NO_LESION:
        spec = replace(spec, lesions=0)
    volumes, masks = [], []
    for place, name in enumerate(spec.series):
        voxels, cord_mm = spine_image(spec.shape, spec.spacing_mm, seed=place)
        labels = box_lesions(spec, cord_mm)
        voxels[labels > 0] = 105
        height_mm = spec.shape[1] * spec.spacing_mm[1]
        affine = affine_of(
            spec.shape,
            spec.spacing_mm,
            degrees=spec.degrees,
            centre_ras=(2.0, -20.0, -place * height_mm),
        )
        volumes.append(
            Volume(
                voxels,
                affine,
                name,
                source_sha256=f"{place:064x}",
                source_format=spec.source_format,
                source_name=f"{name}.nii.gz" if spec.source_format == "nifti" else "",
            )
        )
        masks.append(labels)
    prediction = prediction_of(spec, list(zip(spec.series, masks, strict=True)))
    series = tuple(
        SeriesResult(
            volume=volume,
            mask=Mask(labels, volume.affine_ras, spec.origin),
            lesions=measured(labels, volume, volume.name),
            heatmaps=heatmaps(labels, spec, prediction),
            lesion_probability=(labels > 0).astype(np.float32) * 0.9,
        )
        for volume, labels in zip(volumes, masks, strict=True)
    )
    provenance = Provenance(
        program_version="0.1.0",
        weights=spec.weights,
        engine="openvino",
        device="cpu",
        precision="fp32",
        options={"needs_cord": True},
        resume_key="cd" * 32,
    )
    return CaseResult(spec.study, series, prediction, provenance, spec.flags)


FLAG = QualityFlag("many_lesions", "More than 20 separate lesions were marked.")
