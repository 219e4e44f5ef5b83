"""Whether a study must be run, and why."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinaldx.batch.folders import is_result
from spinaldx.batch.outcome import Outcome, StudyOutcome
from spinaldx.batch.settings import BatchSettings
from spinaldx.errors import OutputError, UnreadableFileError, UsageError
from spinaldx.files import sha256_of
from spinaldx.models import Networks
from spinaldx.records import MaskOrigin, Provenance
from spinaldx.report.case import StoredCase
from spinaldx.report.prediction_json import parse_case
from spinaldx.report.table import PREDICTION_JSON, read_record, study_folders
from spinaldx.study import StudySource

# Goes up whenever the same input would give other results than before.
RESULT_VERSION = 13

_MASK_SUFFIXES = (".nii.gz", ".nii")

# What lies beside masks and is none: notes, sidecars, workspaces, what systems leave.
_NO_MASKS = (".txt", ".md", ".csv", ".json", ".itksnap", ".mrml", ".ini", ".db")


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What an earlier run left of one study.

    Attributes:
        outcome: What becomes of the study when it is kept as it is.
        resume_key: The key it was computed under.
        is_whole: Whether the files that the settings ask for are there.
        provenance: How it was made; None for a failed study.
        mask_sha256: Hash of each mask as it was written, by series.
        corrected: Series whose masks a person had drawn or corrected.
    """

    outcome: StudyOutcome
    resume_key: str
    is_whole: bool
    provenance: Provenance | None
    mask_sha256: Mapping[str, str] = field(default_factory=dict)
    corrected: frozenset[str] = frozenset()


def read_stored(folder: Path, *, report: bool) -> Stored | None:
    """Look at what is there of a study.

    Args:
        folder: Of the study.
        report: Whether the PDF is wanted.

    Returns:
        None when there is nothing, or nothing that can be read.
    """
    if not is_result(folder):
        return None
    try:
        record = read_record(folder)
        if not (folder / PREDICTION_JSON).is_file():
            return _stored_failure(folder.name, record)
        case = parse_case(record)
    except OutputError:
        return None
    return Stored(
        outcome=StudyOutcome(
            study=folder.name,
            outcome=Outcome.UNCHANGED,
            answer=case.prediction.diagnosis.value,
        ),
        resume_key=case.provenance.resume_key,
        is_whole=_is_whole(folder, case, report=report),
        provenance=case.provenance,
        mask_sha256={series.name: series.mask_sha256 for series in case.series},
        corrected=frozenset(
            series.name
            for series in case.series
            if series.mask_origin is MaskOrigin.PERSON
        ),
    )


def _is_whole(folder: Path, case: StoredCase, *, report: bool) -> bool:
    from spinaldx.report.results import files_of  # noqa: PLC0415 - slow, and a first run needs it last

    return all((folder / name).is_file() for name in files_of(case, report=report))


def _stored_failure(name: str, record: Mapping[str, Any]) -> Stored:
    code = record.get("exit_code")
    outcome = StudyOutcome(
        study=name,
        outcome=Outcome.FAILED_BEFORE,
        exit_code=code if isinstance(code, int) else 1,
        message=str(record.get("message", "")),
        hint="It failed before and is unchanged; --retry-failed tries it again.",
    )
    key = str(record.get("resume_key", ""))
    return Stored(outcome, key, is_whole=True, provenance=None)


def resume_key(source: StudySource, name: str, settings: BatchSettings) -> str:
    """Hash everything that decides the result of a study.

    These are the bytes of its images and of a person's masks, the bundle, the
    options and the version of the method. Device, engine and precision are left
    out: a run may go on elsewhere, and results that differ in them are warned of.

    Raises:
        UnreadableFileError: If an image or mask cannot be read.
        UsageError: As `find_masks` does.
    """
    parts = {
        "version": RESULT_VERSION,
        "input": source.fingerprint(),
        "masks": mask_hashes(settings.masks, name),
        "bundle": settings.bundle.info.sha256,
        "options": settings.cascade.as_json(),
        "series": settings.series,
        "pseudonyms": settings.pseudonyms,
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_masks(folder: Path | None, study: str) -> dict[str, Path]:
    """Return a person's masks of one study by series name.

    Args:
        folder: One folder a study, in it ``<series>.nii.gz`` or ``.nii``; None
            without masks.
        study: Name of its folder.

    Raises:
        UsageError: If one cannot be used: it is of another kind, or the second of its
            series.
    """
    if folder is None or not (folder / study).is_dir():
        return {}
    found: dict[str, Path] = {}
    for path in may_be_masks(folder / study):
        lower = path.name.lower()
        suffix = next((end for end in _MASK_SUFFIXES if lower.endswith(end)), "")
        series = path.name[: len(path.name) - len(suffix)]
        if not suffix:
            message = f"The mask {study}/{path.name} is no NIfTI file."
            hint = f"Save it as {study}/<series>.nii.gz, or take it out of the folder."
            raise UsageError(message, hint=hint)
        if series in found:
            names = f"{found[series].name}, {path.name}"
            message = f"{study} has two masks of {series}: {names}."
            raise UsageError(message, hint="Take one of them out of the folder.")
        found[series] = path
    return found


def may_be_masks(folder: Path) -> list[Path]:
    """List what lies in a folder of masks, without hidden files, notes and the like."""
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and path.suffix.lower() not in _NO_MASKS
    ]


def mask_hashes(folder: Path | None, study: str) -> dict[str, str]:
    """Hash a person's masks of one study, by series.

    Raises:
        UnreadableFileError: If one cannot be read.
        UsageError: As `find_masks` does.
    """
    masks = find_masks(folder, study)
    try:
        return {series: sha256_of(path) for series, path in masks.items()}
    except OSError as error:
        message = f"A mask cannot be read: {error.strerror or 'no reason given'}."
        raise UnreadableFileError(message) from error


def keep_as_is(
    stored: Stored | None, key: str, settings: BatchSettings
) -> StudyOutcome | None:
    """Return the outcome of a study that need not be run, None when it must.

    A study whose mask somebody edited in place is not run either, unless everything
    is to be overwritten: hours of handwork would be lost.
    """
    if stored is None or settings.overwrite:
        return None
    is_retried = settings.retry_failed and stored.outcome.outcome.is_failure
    if stored.resume_key == key and stored.is_whole and not is_retried:
        return stored.outcome
    return keep_edits(stored, settings)


def keep_edits(stored: Stored, settings: BatchSettings) -> StudyOutcome | None:
    """Return why a study is left as it is: a person's work would be lost.

    That is a mask edited in place, or one that an earlier run was given by --masks.

    Returns:
        A failure that changes no file; None where nothing was edited, or edits are
        given up.
    """
    if settings.overwrite:
        return None
    from spinaldx.report.results import LESION_MASK  # noqa: PLC0415 - as above

    name = stored.outcome.study
    given = mask_hashes(settings.masks, name)
    if lost := sorted(stored.corrected - given.keys()):
        return StudyOutcome(
            study=name,
            outcome=Outcome.FAILED,
            exit_code=UsageError.exit_code,
            message=f"The mask of {lost[0]} is a person's, and this run was given none.",
            hint="Name the folder of masks with --masks, or give them up with "
            "--overwrite.",
        )
    for series, written in stored.mask_sha256.items():
        mask = settings.out / name / series / LESION_MASK
        found = sha256_of(mask) if mask.is_file() else written
        if found not in (written, given.get(series)):
            return StudyOutcome(
                study=name,
                outcome=Outcome.FAILED,
                exit_code=OutputError.exit_code,
                message=f"The mask of {series} was edited in place and would be lost.",
                hint=f"Copy it to {name}/{series}.nii.gz in a folder for --masks, "
                "or give up the edits with --overwrite.",
            )
    return None


def other_results(
    settings: BatchSettings, networks: Networks, planned: Sequence[str]
) -> tuple[str, ...]:
    """Name the weights, engine and precision of results that differ from this run's.

    Args:
        settings: Output folder and bundle.
        networks: As opened.
        planned: Studies of this run; those of other weights are computed anew.

    Returns:
        One text a kind; empty when all agree.
    """
    mine = settings.bundle.info.sha256, networks.engine, networks.precision
    found = set()
    for folder in study_folders(settings.out):
        stored = read_stored(folder, report=False)
        if stored is None or stored.provenance is None:
            continue
        made = stored.provenance
        theirs = made.weights.sha256, made.engine, made.precision
        is_planned = folder.name in planned
        is_anew = is_planned and (settings.overwrite or theirs[0] != mine[0])
        if theirs != mine and not is_anew:
            label = f"{made.weights.name} {made.weights.version}"
            found.add(f"{label} by {made.engine} in {made.precision}")
    return tuple(sorted(found))
