"""Reports made again from results, without running anything."""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spinaldx.errors import OutputError, SpinalDxError, StudyError, UsageError
from spinaldx.records import Volume
from spinaldx.report.case import ReportCase, SeriesArrays, StoredCase, StoredSeries
from spinaldx.report.document import write_pdf
from spinaldx.report.header import PatientHeader, read_patient_header
from spinaldx.report.nifti import read_own_nifti
from spinaldx.report.panels import CasePictures
from spinaldx.report.pictures import FigureFormat, write_figures, write_pictures
from spinaldx.report.prediction_json import FAILED, parse_case
from spinaldx.report.results import LESION_MASK, REPORT_PDF, T2W
from spinaldx.report.table import read_record, study_folders
from spinaldx.study import ImageFile, StudySource, find_studies, scan_study
from spinaldx.study.dicom_volume import slices_sha256
from spinaldx.study.nifti import read_image

RUNS = "runs"


@dataclass(frozen=True, slots=True)
class RebuildOptions:
    """What is made again.

    Attributes:
        studies: Names of studies; empty means all.
        inputs: Where the source images lie; empty means where the runs recorded
            in the results folder found them.
        figures: Also write every figure for papers, as PNG or SVG.
        patient_header: Print the patient's tags from the source DICOM.
    """

    studies: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    figures: FigureFormat | None = None
    patient_header: bool = False


@dataclass(frozen=True, slots=True)
class RebuildOutcome:
    """What became of one study.

    Attributes:
        study: Its name.
        is_rebuilt: Whether its report was made.
        lacks: What it lacks, one sentence each.
        has_failed: Whether it has no result to report, because its run failed.
    """

    study: str
    is_rebuilt: bool
    lacks: tuple[str, ...] = ()
    has_failed: bool = False


def rebuild_reports(
    out: Path,
    options: RebuildOptions | None = None,
    progress: Callable[[RebuildOutcome], None] | None = None,
) -> tuple[RebuildOutcome, ...]:
    """Make the reports of a results folder again; same results, same bytes.

    A study that lacks something keeps the report it has.

    Args:
        out: Folder of results.
        options: What to make.
        progress: Called after each study.

    Returns:
        One outcome a study, by name.

    Raises:
        UsageError: If a study asked for is not there, or there is none at all.
        OutputError: If a report cannot be written.
    """
    options = options or RebuildOptions()
    images = SourceImages(options.inputs or recorded_inputs(out))
    outcomes = []
    for folder in chosen_folders(out, options.studies):
        outcome = _rebuild(folder, images, options)
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome)
    return tuple(outcomes)


def chosen_folders(out: Path, studies: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders of the studies named, or of all.

    Raises:
        UsageError: If one is not there, or there is none at all.
    """
    folders = study_folders(out)
    if not folders:
        message = f"There are no results in {out}."
        raise UsageError(message, hint="Name the folder given to predict with -o.")
    unknown = sorted(set(studies) - {folder.name for folder in folders})
    if unknown:
        message = f"There is no study {unknown[0]} in {out}."
        raise UsageError(message, hint=f"There are {len(folders)}; see studies.csv.")
    return tuple(f for f in folders if not studies or f.name in studies)


def recorded_inputs(out: Path) -> tuple[Path, ...]:
    """Return what the runs into a results folder were given, if it is still there."""
    found: dict[Path, None] = {}
    for path in sorted((out / RUNS).glob("*.json")):
        try:
            inputs = json.loads(path.read_text(encoding="utf-8"))["options"]["inputs"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        found |= {Path(item): None for item in inputs if isinstance(item, str)}
    return tuple(path for path in found if path.exists())


class SourceImages:
    """Source images, found again by name and bytes when they are first needed."""

    def __init__(self, inputs: Sequence[Path]) -> None:
        """Look in these inputs, which are read only when an image is asked for."""
        self._inputs = tuple(inputs)
        self._sha256: dict[ImageFile, str] = {}

    @functools.cached_property
    def _studies(self) -> tuple[StudySource, ...]:
        try:
            return find_studies(self._inputs) if self._inputs else ()
        except SpinalDxError:
            # Inputs that hold no study any more are as good as none.
            return ()

    @functools.cached_property
    def _files(self) -> tuple[ImageFile, ...]:
        """All NIfTI images; of inputs whose studies would share a name too."""
        found = self._studies or [
            study for given in self._inputs for study in SourceImages((given,))._studies
        ]
        return tuple(file for study in found for file in study.nifti)

    def find(self, series: StoredSeries) -> Volume | None:
        """Return the NIfTI image a series was read from, or None.

        The name narrows the search, the hash of the bytes decides.
        """
        for file in self._files:
            known = self._sha256.get(file)
            is_wanted = series.source_name in {"", file.name}
            if not is_wanted or known not in {None, series.source_sha256}:
                continue
            try:
                image = read_image(file)
            except SpinalDxError:
                continue
            # Of hundreds of images with one name each is read once for the wrong ones.
            self._sha256[file] = image.sha256
            if image.sha256 == series.source_sha256:
                return Volume(image.voxels, series.affine_ras, series.name)
        return None

    def patient_header(self, study: str, case: StoredCase) -> PatientHeader:
        """Return the tags of a study's DICOM files; nothing when they are not there.

        The name narrows the search; the bytes of every series decide, for folders
        are used again and runs into one folder may have other inputs: tags of
        another patient must not stand above a result.
        """
        wanted = {
            series.source_sha256
            for series in case.series
            if series.source_format == "dicom"
        }
        edges = {edge for series in case.series for edge in series.shape}
        for source in self._studies:
            if source.name == study and source.dicom and source.problem is None:
                found = {
                    slices_sha256(candidate.slices): candidate.slices[0].file
                    for candidate in scan_study(source).candidates
                    # A study has thousands of files: what cannot be it is not read.
                    if len(candidate.slices) in edges
                }
                if wanted and wanted <= found.keys():
                    first = case.series[0].source_sha256
                    return read_patient_header([found.get(first) or found[min(wanted)]])
        return ()


def load_case(folder: Path, stored: StoredCase, images: SourceImages) -> ReportCase:
    """Load the arrays of a study.

    Args:
        folder: Of the study.
        stored: From `read_case`.
        images: Where NIfTI sources are found again.

    Raises:
        OutputError: If something is missing or changed; the message says what.
    """
    arrays = {}
    for series in stored.series:
        image = _image(folder / series.name, series, images)
        lesion = _lesion(folder / series.name, series)
        heat = {
            heatmap.task: read_own_nifti(
                folder / series.name / heatmap.file, series.shape
            ).astype(np.float32)
            for heatmap in series.heatmaps
        }
        arrays[series.name] = SeriesArrays(image, lesion, heat)
    return ReportCase(stored, arrays)


def _image(folder: Path, series: StoredSeries, images: SourceImages) -> Volume:
    if (folder / T2W).is_file():
        voxels = read_own_nifti(folder / T2W, series.shape).astype(np.float32)
        return Volume(voxels, series.affine_ras, series.name)
    found = images.find(series)
    if found is None or found.voxels.shape != series.shape:
        name = series.source_name or "its source image"
        message = f"{series.name}: {name} was not found where the run read it."
        raise OutputError(message, hint="Name the folder that holds it.")
    return found


def _lesion(
    folder: Path, series: StoredSeries
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    labels = read_own_nifti(folder / LESION_MASK, series.shape)
    digest = hashlib.sha256((folder / LESION_MASK).read_bytes()).hexdigest()
    if digest != series.mask_sha256:
        message = f"{series.name}: {LESION_MASK} was changed after the run."
        raise OutputError(message, hint="Run predict with --masks to use it.")
    return labels.astype(np.uint8)


def _rebuild(
    folder: Path, images: SourceImages, options: RebuildOptions
) -> RebuildOutcome:
    name = folder.name
    try:
        record = read_record(folder)
        if record.get("status") == FAILED:
            reason = f"The run failed: {record.get('message', '')}"
            return RebuildOutcome(
                name, is_rebuilt=False, lacks=(reason,), has_failed=True
            )
        case = load_case(folder, parse_case(record), images)
    except OutputError as error:
        return RebuildOutcome(name, is_rebuilt=False, lacks=(error.message,))
    header: PatientHeader = ()
    lacks: tuple[str, ...] = ()
    if options.patient_header:
        header, lacks = _header(name, case.stored, images)
    pictures = CasePictures(case)
    write_pictures(pictures, folder)
    if options.figures is not None:
        write_figures(pictures, folder, options.figures)
    write_pdf(pictures, folder / REPORT_PDF, header)
    return RebuildOutcome(name, is_rebuilt=True, lacks=lacks)


def _header(
    study: str, case: StoredCase, images: SourceImages
) -> tuple[PatientHeader, tuple[str, ...]]:
    try:
        header = images.patient_header(study, case)
    except StudyError as error:
        return (), (error.message,)
    if header:
        return header, ()
    text = (
        "The DICOM files it was made from were not found, so there are no patient tags."
    )
    return (), (text,)
