"""The first step of each study: is it due, and if so, its images."""

import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from spinaldx.batch.folders import clear_leftovers
from spinaldx.batch.outcome import Outcome, StudyOutcome
from spinaldx.batch.planning import PlannedStudy
from spinaldx.batch.pseudonyms import hide_names
from spinaldx.batch.resume import (
    find_masks,
    keep_as_is,
    keep_edits,
    mask_hashes,
    read_stored,
    resume_key,
)
from spinaldx.batch.settings import BatchSettings
from spinaldx.cascade import check_mask_names
from spinaldx.errors import SpinalDxError
from spinaldx.records import Mask, Volume
from spinaldx.stages.lesions import number_lesions
from spinaldx.study import load_study, read_mask


@dataclass(frozen=True, slots=True, eq=False)
class ReadStudy:
    """One study after reading.

    Attributes:
        study: Which.
        key: Its resume key; empty when its files could not be read.
        kept: Its outcome when it need not be run.
        error: Why it cannot be run.
        volumes: Its images, when neither.
        masks: A person's masks by series.
        seconds: Time that reading took.
    """

    study: PlannedStudy
    key: str = ""
    kept: StudyOutcome | None = None
    error: Exception | None = None
    volumes: tuple[Volume, ...] = ()
    masks: dict[str, Mask] = field(default_factory=dict)
    seconds: float = 0.0


def read_study(
    study: PlannedStudy, settings: BatchSettings, is_due: Future[bool]
) -> ReadStudy:
    """Decide about one study and read it.

    Args:
        study: Which.
        settings: Of the run.
        is_due: Set before the images are read, so that others can prepare.

    Returns:
        The study; what went wrong is in its `error`.
    """
    start = time.monotonic()
    key = ""
    try:
        key, kept = _decide(study, settings)
        is_due.set_result(kept is None)
        if kept is not None:
            return ReadStudy(study, key, kept=kept)
        volumes = load_study(study.source, series=settings.series)
        if settings.pseudonyms:
            volumes = hide_names(volumes, study.source)
        try:
            masks = _read_masks(study, volumes, settings)
        except SpinalDxError as error:
            kept = _keep_result(study, error, settings)
            if kept is None:
                raise
            return ReadStudy(study, key, kept=kept)
    except Exception as error:  # noqa: BLE001 - one broken study stops no other
        return ReadStudy(study, key, error=error, seconds=time.monotonic() - start)
    finally:
        if not is_due.done():
            is_due.set_result(False)
    seconds = time.monotonic() - start
    return ReadStudy(study, key, volumes=volumes, masks=masks, seconds=seconds)


def _decide(
    study: PlannedStudy, settings: BatchSettings
) -> tuple[str, StudyOutcome | None]:
    folder = settings.out / study.name
    clear_leftovers(folder)
    stored = read_stored(folder, report=settings.report)
    # An archive being copied or a mount that is gone is no reason to lose a result.
    gone = study.source.problem if not settings.overwrite else None
    if gone is not None and (kept := _keep_result(study, gone, settings)):
        return "", kept
    try:
        mask_hashes(settings.masks, study.name)
    except SpinalDxError as error:
        if kept := _keep_result(study, error, settings):
            return "", kept
        raise
    try:
        key = resume_key(study.source, study.name, settings)
    except Exception:
        # What cannot be read now may be readable tomorrow; edits would be lost today.
        if stored and (kept := keep_edits(stored, settings)):
            return "", kept
        raise
    return key, keep_as_is(stored, key, settings)


def _keep_result(
    study: PlannedStudy, error: SpinalDxError, settings: BatchSettings
) -> StudyOutcome | None:
    """Keep what an earlier run computed: a fault of today is no reason to lose it."""
    stored = read_stored(settings.out / study.name, report=False)
    if stored is None or stored.provenance is None:
        return None
    hint = f"{error.hint} The earlier result of the study stays.".strip()
    code = error.exit_code
    return StudyOutcome(study.name, Outcome.FAILED, code, error.message, hint)


def _read_masks(
    study: PlannedStudy, volumes: tuple[Volume, ...], settings: BatchSettings
) -> dict[str, Mask]:
    paths = find_masks(settings.masks, study.name)
    check_mask_names(study.name, volumes, paths)
    by_name = {volume.name: volume for volume in volumes}
    masks = {series: read_mask(path, by_name[series]) for series, path in paths.items()}
    # What the cascade would refuse is refused here, where an earlier result is kept.
    return {name: number_lesions(mask, by_name[name]) for name, mask in masks.items()}
