"""A study's result as JSON, and back: `prediction.json` and `failure.json`.

The keys of a row of `studies.csv` are the first keys of both files, with the same
values. `prediction.schema.json` in this folder describes them.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files as package_files
from typing import Any

import numpy as np

from spinaldx.errors import OutputError, SpinalDxError
from spinaldx.records import (
    RESEARCH_USE,
    CaseResult,
    Diagnosis,
    Disease,
    Lesion,
    MaskOrigin,
    Prediction,
    Provenance,
    QualityFlag,
    SeriesResult,
    SliceScore,
    StageResult,
    Task,
    WeightsInfo,
)
from spinaldx.report import wording
from spinaldx.report.case import StoredCase, StoredHeatmap, StoredSeries

SCHEMA_VERSION = 1
COMPLETE = "complete"
FAILED = "failed"

COLUMNS = (
    "study",
    "status",
    "diagnosis",
    "p_demyelination",
    "p_ependymoma_given_tumour",
    "p_nmosd_given_demyelination",
    "p_astrocytoma",
    "p_ependymoma",
    "p_ms",
    "p_nmosd",
    "lesion_count",
    "lesion_volume_ml",
    "lesion_length_mm",
    "needs_review",
    "review_reason",
    "weights",
    "weights_training_data",
    "message",
)

_STAGE_COLUMNS = {
    Task.TUMOUR_VS_DEMYELINATION: "p_demyelination",
    Task.ASTROCYTOMA_VS_EPENDYMOMA: "p_ependymoma_given_tumour",
    Task.MS_VS_NMOSD: "p_nmosd_given_demyelination",
}
_UNKNOWN = SpinalDxError("Internal error.", hint="Run this study alone to see it.")
_ORIGINS = {MaskOrigin.NETWORK: "automatic", MaskOrigin.PERSON: "corrected"}


def number(value: float) -> float:
    """Return a number as results carry it: six decimals, never ``-0.0``."""
    return round(float(value), 6) + 0.0


def case_record(
    result: CaseResult,
    mask_sha256: Mapping[str, str],
    heatmaps: Mapping[str, tuple[StoredHeatmap, ...]],
) -> dict[str, Any]:
    """Return the JSON value of a result; the same result gives the same value.

    Args:
        result: A whole study.
        mask_sha256: Hash of each mask file, by series.
        heatmaps: What is stored about the heatmaps, by series.
    """
    weights = result.provenance.weights
    return {
        **_row(result),
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_USE,
        "simulation_notice": wording.simulation_notice(weights),
        "answer": wording.headline(result.prediction, weights),
        "stages": [_stage(stage) for stage in result.prediction.stages],
        "slice_scores": [_score(score) for score in result.prediction.slice_scores],
        "lesions": [_lesion(lesion) for lesion in result.lesions],
        "series": [
            _series(item, mask_sha256[item.volume.name], heatmaps[item.volume.name])
            for item in result.series
        ],
        "flags": [
            {"code": f.code, "message": f.message, "needs_review": f.needs_review}
            for f in _flags(result)
        ],
        "provenance": _provenance(result.provenance),
    }


def failure_record(
    study: str, error: Exception, resume_key: str, weights: WeightsInfo | None
) -> dict[str, Any]:
    """Return the JSON value of a failed study.

    Only messages of our own errors are kept: others may quote the input.
    """
    known = error if isinstance(error, SpinalDxError) else _UNKNOWN
    row = dict.fromkeys(COLUMNS)
    row |= {"study": study, "status": FAILED, "message": known.message}
    if weights is not None:
        row["weights"] = _weights_cell(weights)
        row["weights_training_data"] = weights.training_data
    return {
        **row,
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_USE,
        "error": type(error).__name__,
        "exit_code": known.exit_code,
        "hint": known.hint,
        "resume_key": resume_key,
    }


def _weights_cell(weights: WeightsInfo) -> str:
    return f"{weights.name} {weights.version}".strip()


def _row(result: CaseResult) -> dict[str, Any]:
    prediction = result.prediction
    lesions = result.lesions
    reasons = _review_reasons(result)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "study": result.study,
        "status": COMPLETE,
        "diagnosis": prediction.diagnosis.value,
        "lesion_count": len(lesions),
        "lesion_volume_ml": number(sum(item.volume_mm3 for item in lesions) / 1000),
        "lesion_length_mm": number(sum(item.length_mm for item in lesions)),
        "needs_review": bool(reasons),
        "review_reason": " ".join(reasons),
        "weights": _weights_cell(result.provenance.weights),
        "weights_training_data": result.provenance.weights.training_data,
        "message": "",
    }
    for stage in prediction.stages:
        row[_STAGE_COLUMNS[stage.task]] = number(stage.positive_probability)
    for disease, probability in prediction.probabilities.items():
        row[f"p_{disease.value}"] = number(probability)
    return row


def _flags(result: CaseResult) -> tuple[QualityFlag, ...]:
    """Return each doubt once, that of a series with its name if there are several."""
    if len(result.series) == 1:
        return tuple(dict.fromkeys(result.all_flags))
    named = (
        replace(flag, message=f"{item.volume.name}: {flag.message}")
        for item in result.series
        for flag in (*item.volume.flags, *item.flags)
    )
    return tuple(dict.fromkeys((*result.flags, *named)))


def _review_reasons(result: CaseResult) -> tuple[str, ...]:
    of_flags = (flag.message for flag in _flags(result) if flag.needs_review)
    return (*wording.indeterminate_reasons(result.prediction), *of_flags)


def _stage(stage: StageResult) -> dict[str, Any]:
    return {
        "task": stage.task.value,
        "positive_class": stage.task.positive,
        "positive_probability": number(stage.positive_probability),
        "cut_off": number(stage.cut_off),
        "margin": number(stage.margin),
        "answer": stage.answer,
        "is_near_cut_off": stage.is_near_cut_off,
    }


def _score(score: SliceScore) -> dict[str, Any]:
    positive = {task.value: number(p) for task, p in score.positive.items()}
    return {
        "series": score.series,
        "slice_index": score.slice_index,
        "positive_probability": positive,
    }


def _lesion(lesion: Lesion) -> dict[str, Any]:
    return {
        "number": lesion.number,
        "series": lesion.series,
        "voxel_count": lesion.voxel_count,
        "volume_mm3": number(lesion.volume_mm3),
        "length_mm": number(lesion.length_mm),
        "slices": list(lesion.slices),
        "centroid_ras_mm": [number(x) for x in lesion.centroid_ras_mm],
    }


def _series(
    item: SeriesResult, mask_sha256: str, heatmaps: tuple[StoredHeatmap, ...]
) -> dict[str, Any]:
    volume = item.volume
    return {
        "name": volume.name,
        "shape": list(volume.voxels.shape),
        "spacing_mm": [number(x) for x in volume.spacing_mm],
        # Not rounded: the mask must lie exactly where the image does.
        "affine_ras": volume.affine_ras.tolist(),
        "plane": volume.plane.value,
        "source_format": volume.source_format,
        "source_name": volume.source_name,
        "source_sha256": volume.source_sha256,
        "mask_origin": _ORIGINS[item.mask.origin],
        "mask_sha256": mask_sha256,
        "heatmaps": [
            {
                "task": heatmap.task.value,
                "target": heatmap.target,
                "cell_mm": heatmap.cell_mm,
                "file": heatmap.file,
                "shares": dict(heatmap.shares),
            }
            for heatmap in heatmaps
        ],
        "told_numbers": {
            name: None if value is None else number(value)
            for name, value in item.told_numbers.items()
        },
    }


def _provenance(provenance: Provenance) -> dict[str, Any]:
    weights = provenance.weights
    return {
        "program_version": provenance.program_version,
        "weights": {
            "name": weights.name,
            "version": weights.version,
            "training_data": weights.training_data,
            "sha256": weights.sha256,
        },
        "engine": provenance.engine,
        "device": provenance.device,
        "precision": provenance.precision,
        "options": dict(provenance.options),
        "resume_key": provenance.resume_key,
    }


def parse_case(record: Mapping[str, Any]) -> StoredCase:
    """Turn the value of a `prediction.json` back into records.

    Raises:
        OutputError: If it is not a result of this program, or of a newer one.
    """
    version = record.get("schema_version")
    if version != SCHEMA_VERSION or record.get("status") != COMPLETE:
        message = f"Not a result of schema {SCHEMA_VERSION}: schema_version {version}."
        raise OutputError(message, hint="Read it with the spinaldx that wrote it.")
    try:
        return StoredCase(
            study=record["study"],
            row={column: record[column] for column in COLUMNS},
            series=tuple(_parse_series(item) for item in record["series"]),
            lesions=tuple(_parse_lesion(item) for item in record["lesions"]),
            prediction=_parse_prediction(record),
            flags=tuple(QualityFlag(**item) for item in record["flags"]),
            provenance=_parse_provenance(record["provenance"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"A result does not follow its schema: {error!r}."
        raise OutputError(message, hint="Run the study again.") from error


def _parse_prediction(record: Mapping[str, Any]) -> Prediction:
    probabilities = {d: record[f"p_{d.value}"] for d in Disease}
    known = {d: p for d, p in probabilities.items() if p is not None}
    return Prediction(
        diagnosis=Diagnosis(record["diagnosis"]),
        stages=tuple(
            StageResult(
                task=Task(item["task"]),
                positive_probability=item["positive_probability"],
                cut_off=item["cut_off"],
                margin=item["margin"],
            )
            for item in record["stages"]
        ),
        probabilities=known,
        slice_scores=tuple(
            SliceScore(
                series=item["series"],
                slice_index=item["slice_index"],
                positive={
                    Task(task): p for task, p in item["positive_probability"].items()
                },
            )
            for item in record["slice_scores"]
        ),
    )


def _parse_lesion(item: Mapping[str, Any]) -> Lesion:
    x, y, z = item["centroid_ras_mm"]
    fields = {**item, "slices": tuple(item["slices"]), "centroid_ras_mm": (x, y, z)}
    return Lesion(**fields)


def _parse_series(item: Mapping[str, Any]) -> StoredSeries:
    origins = {word: origin for origin, word in _ORIGINS.items()}
    i, j, k = item["shape"]
    x, y, z = item["spacing_mm"]
    return StoredSeries(
        name=item["name"],
        shape=(i, j, k),
        affine_ras=np.asarray(item["affine_ras"], dtype=np.float64),
        spacing_mm=(x, y, z),
        plane=item["plane"],
        source_format=item["source_format"],
        source_name=item["source_name"],
        source_sha256=item["source_sha256"],
        mask_origin=origins[item["mask_origin"]],
        mask_sha256=item["mask_sha256"],
        heatmaps=tuple(
            StoredHeatmap(**{**heatmap, "task": Task(heatmap["task"])})
            for heatmap in item["heatmaps"]
        ),
        told_numbers=dict(item.get("told_numbers", {})),
    )


def _parse_provenance(item: Mapping[str, Any]) -> Provenance:
    return Provenance(**{**item, "weights": WeightsInfo(**item["weights"])})


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `prediction.json` that ships in the package."""
    text = package_files("spinaldx.report").joinpath("prediction.schema.json")
    schema: dict[str, Any] = json.loads(text.read_text(encoding="utf-8"))
    return schema
