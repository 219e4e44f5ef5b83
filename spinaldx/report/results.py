"""The folder of one study: written whole, read back."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from spinaldx.files import write_json
from spinaldx.records import CaseResult, SeriesResult, WeightsInfo
from spinaldx.report.case import ReportCase, SeriesArrays, StoredCase, StoredHeatmap
from spinaldx.report.document import write_pdf
from spinaldx.report.nifti import compact, write_nifti
from spinaldx.report.panels import CasePictures
from spinaldx.report.pictures import picture_files, write_pictures
from spinaldx.report.prediction_json import (
    case_record,
    failure_record,
    number,
    parse_case,
)
from spinaldx.report.table import FAILURE_JSON, PREDICTION_JSON, read_record
from spinaldx.stages.heatmap import heat_shares

LESION_MASK = "lesion_mask.nii.gz"
LESION_PROBABILITY = "lesion_probability.nii.gz"
T2W = "t2w.nii.gz"
REPORT_PDF = "report.pdf"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What is written for a study.

    Attributes:
        report: Whether to make the PDF and the pictures.
        probabilities: Whether to keep the network's lesion probabilities.
    """

    report: bool = True
    probabilities: bool = False


def write_case(
    result: CaseResult, folder: Path, options: WriteOptions | None = None
) -> None:
    """Write everything about a study below a folder, `prediction.json` last.

    The same result gives the same bytes.

    Args:
        result: The study.
        folder: Made when missing; nothing is written elsewhere.
        options: What to write.

    Raises:
        OutputError: If a file cannot be written.
    """
    options = options or WriteOptions()
    hashes: dict[str, str] = {}
    heatmaps: dict[str, tuple[StoredHeatmap, ...]] = {}
    for item in result.series:
        name = item.volume.name
        hashes[name] = _write_series(item, folder / name, options)
        heatmaps[name] = _write_heatmaps(item, folder / name)
    record = case_record(result, hashes, heatmaps)
    if options.report:
        # Through JSON, so that a rebuilt report prints the very same numbers.
        stored = parse_case(json.loads(json.dumps(record)))
        case = ReportCase(stored, {s.volume.name: _arrays(s) for s in result.series})
        pictures = CasePictures(case)
        write_pictures(pictures, folder)
        write_pdf(pictures, folder / REPORT_PDF)
    write_json(folder / PREDICTION_JSON, record)


def write_failure(
    study: str,
    error: Exception,
    folder: Path,
    *,
    resume_key: str = "",
    weights: WeightsInfo | None = None,
) -> None:
    """Write why a study failed; the file stands instead of `prediction.json`.

    Args:
        study: Name of the study.
        error: Of our own errors the message is kept, of others the type alone.
        folder: Of the study; made when missing.
        resume_key: See `Provenance`.
        weights: The bundle that was to be used.

    Raises:
        OutputError: If the file cannot be written.
    """
    record = failure_record(study, error, resume_key, weights)
    write_json(folder / FAILURE_JSON, record)


def read_case(folder: Path) -> StoredCase:
    """Read a study's `prediction.json`; the arrays stay on disk.

    Raises:
        OutputError: If there is none or it does not follow the schema.
    """
    return parse_case(read_record(folder))


def files_of(case: StoredCase, *, report: bool) -> tuple[str, ...]:
    """List the files that `write_case` wrote beside `prediction.json`.

    Args:
        case: As stored.
        report: Whether pictures and PDF were wanted.

    Returns:
        Paths below the study's folder; kept probabilities are not among them.
    """
    files = []
    for series in case.series:
        names = [LESION_MASK, *(heatmap.file for heatmap in series.heatmaps)]
        if series.source_format != "nifti":
            names.append(T2W)
        files += [f"{series.name}/{name}" for name in names]
    if report:
        has_heatmaps = any(series.heatmaps for series in case.series)
        files += [REPORT_PDF, *picture_files(case.lesions, has_heatmaps=has_heatmaps)]
    return tuple(files)


def _write_series(item: SeriesResult, folder: Path, options: WriteOptions) -> str:
    affine_ras = item.volume.affine_ras
    mask = write_nifti(folder / LESION_MASK, item.mask.labels, affine_ras)
    if item.volume.source_format != "nifti":
        write_nifti(folder / T2W, compact(item.volume.voxels), affine_ras)
    if options.probabilities and item.lesion_probability is not None:
        write_nifti(folder / LESION_PROBABILITY, item.lesion_probability, affine_ras)
    return hashlib.sha256(mask).hexdigest()


def _write_heatmaps(item: SeriesResult, folder: Path) -> tuple[StoredHeatmap, ...]:
    stored = []
    for heatmap in item.heatmaps:
        is_last = heatmap is item.heatmaps[-1]
        name = "heatmap" if is_last else f"heatmap_{heatmap.task.value}"
        file = f"{name}.nii.gz"
        write_nifti(folder / file, heatmap.values, item.volume.affine_ras)
        shares = heat_shares(heatmap, item.mask, item.volume)
        stored.append(
            StoredHeatmap(
                task=heatmap.task,
                target=heatmap.target,
                cell_mm=number(heatmap.cell_mm),
                file=file,
                shares={place: number(share) for place, share in shares.items()},
            )
        )
    return tuple(stored)


def _arrays(item: SeriesResult) -> SeriesArrays:
    heat = {heatmap.task: heatmap.values for heatmap in item.heatmaps}
    return SeriesArrays(item.volume, item.mask.labels, heat)
