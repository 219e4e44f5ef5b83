"""The last step of each study: its folder, complete or failed."""

import importlib
import logging
import traceback
from dataclasses import dataclass
from pathlib import Path

from spinaldx import report
from spinaldx.batch.folders import replaced_folder
from spinaldx.batch.outcome import Outcome, StudyOutcome
from spinaldx.batch.planning import PlannedStudy
from spinaldx.batch.pseudonyms import hide_in_error
from spinaldx.batch.resume import may_be_masks
from spinaldx.batch.settings import BatchSettings
from spinaldx.errors import OutputError, SpinalDxError
from spinaldx.records import CaseResult
from spinaldx.study.nifti import stem_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ComputedStudy:
    """One study after computing.

    Attributes:
        study: Which.
        key: Its resume key.
        outcome: Its result, or what went wrong.
        seconds: Time that reading and computing took.
    """

    study: PlannedStudy
    key: str
    outcome: CaseResult | Exception
    seconds: float


def import_late() -> None:
    """Import what the end of a study needs, while its beginning is computed."""
    # Together a third of a second, which nobody has to wait for.
    importlib.import_module("scipy.ndimage")
    importlib.import_module("scipy.linalg")
    importlib.import_module("spinaldx.report.results")


def write_study(computed: ComputedStudy, settings: BatchSettings) -> StudyOutcome:
    """Write a study's folder as a whole; an older one is replaced.

    Raises:
        OutputError: If it cannot be written.
    """
    folder = settings.out / computed.study.name
    if isinstance(computed.outcome, Exception):
        return _write_failure(computed, computed.outcome, settings)
    try:
        _write_result(computed.outcome, folder, settings)
    except OutputError:
        raise
    except Exception as error:  # noqa: BLE001 - one broken study stops no other
        return _write_failure(computed, error, settings)
    return StudyOutcome(
        study=computed.study.name,
        outcome=Outcome.COMPLETE,
        answer=computed.outcome.prediction.diagnosis.value,
    )


def _write_result(result: CaseResult, folder: Path, settings: BatchSettings) -> None:
    options = report.WriteOptions(
        report=settings.report, probabilities=settings.cascade.keep_probabilities
    )
    with replaced_folder(folder) as writing:
        report.write_case(result, writing, options)


def _write_failure(
    computed: ComputedStudy, error: Exception, settings: BatchSettings
) -> StudyOutcome:
    name = computed.study.name
    if settings.pseudonyms:
        others = {settings.series, *_mask_names(settings.masks, name)}
        error = hide_in_error(error, computed.study.source, others)
    _log_failure(name, error, settings)
    with replaced_folder(settings.out / name) as writing:
        report.write_failure(
            name,
            error,
            writing,
            resume_key=computed.key,
            weights=settings.bundle.info,
        )
    if isinstance(error, SpinalDxError):
        code, message, hint = error.exit_code, error.message, error.hint
    else:
        code = 1
        message = f"Internal error, {type(error).__name__}: a bug in spinaldx."
        hint = (
            "Run it again with --retry-failed -vv and report what it says, without "
            "names."
        )
    return StudyOutcome(name, Outcome.FAILED, code, message, hint)


def _mask_names(masks: Path | None, study: str) -> set[str]:
    if masks is None or not (masks / study).is_dir():
        return set()
    names = {path.name for path in may_be_masks(masks / study)}
    return names | {stem_of(name) for name in names}


def _log_failure(name: str, error: Exception, settings: BatchSettings) -> None:
    if settings.pseudonyms and not isinstance(error, SpinalDxError):
        # A foreign message may quote the input, names and all; its place does not.
        place = "".join(traceback.format_tb(error.__traceback__))
        _log.debug("%s failed\n%s%s", name, place, type(error).__name__)
    else:
        _log.debug("%s failed", name, exc_info=error)
