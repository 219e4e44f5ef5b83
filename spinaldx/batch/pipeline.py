"""The run itself: one study is read while another is computed and a third written.

Reading and writing have one thread each; computing stays in the caller's. At most
one study waits between two steps, so memory does not grow with their number.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from spinaldx.batch import pseudonyms
from spinaldx.batch.outcome import BatchOutcome, Progress, StudyOutcome
from spinaldx.batch.planning import BatchPlan, PlannedStudy
from spinaldx.batch.reading import ReadStudy, read_study
from spinaldx.batch.resume import other_results
from spinaldx.batch.runs import RunFile, remove_strays
from spinaldx.batch.settings import BatchSettings
from spinaldx.batch.writing import ComputedStudy, import_late, write_study
from spinaldx.cascade import run_case
from spinaldx.errors import OutputError
from spinaldx.models import Networks, open_networks
from spinaldx.records import CaseResult
from spinaldx.report.table import update_studies_csv

_log = logging.getLogger(__name__)

Callback = Callable[[Progress], None]

# Of device and precision: whatever is there will do.
_AUTOMATIC = ("auto", "auto")

# The table of all studies is made anew at most this often, and at the end.
_TABLE_EVERY_S = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """A study in the reader's hands; whether it is due is known before its images."""

    is_due: Future[bool]
    read: Future[ReadStudy]


def run(
    plan: BatchPlan, settings: BatchSettings, on_progress: Callback | None = None
) -> BatchOutcome:
    """Run the studies of a plan and write their results.

    A study that fails leaves a `failure.json` and the others go on. When the
    process is interrupted, a study being written is finished, the tables are
    brought up to date and the exception goes on to the caller; the same call later
    continues. The networks are loaded once, and only when a study is due.

    Args:
        plan: From `plan`.
        settings: The same settings.
        on_progress: Called from several threads, but never from two at once.

    Returns:
        What became of every study.

    Raises:
        WeightsError: If the bundle's files are missing or damaged.
        DeviceError: If the device is not there.
        OutputError: If results cannot be written.
    """
    return _Run(plan, settings, on_progress).run()


class _Run:
    def __init__(
        self, plan: BatchPlan, settings: BatchSettings, on_progress: Callback | None
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._on_progress = on_progress
        self._speaking = threading.Lock()
        self._run_file = RunFile(settings, plan)
        self._networks: Networks | None = None
        self._outcomes: dict[int, StudyOutcome] = {}
        self._warnings: list[str] = []
        self._table_written = time.monotonic()

    def run(self) -> BatchOutcome:
        remove_strays(self._settings.out)
        if self._plan.pseudonyms:
            pseudonyms.save(self._settings.out, self._plan.pseudonyms)
        self._run_file.write("running")
        for text in self._plan.warnings:
            self._warn(text)
        state = "failed"
        try:
            self._run_all()
            state = "finished"
        except (KeyboardInterrupt, SystemExit):
            state = "interrupted"
            raise
        finally:
            self._close(state)
        return self._outcome()

    def _close(self, state: str) -> None:
        if self._networks is not None:
            self._networks.close()
        # An error on its way to the caller counts more than one about the tables.
        quietly = contextlib.suppress(OutputError)
        with contextlib.nullcontext() if state == "finished" else quietly:
            update_studies_csv(self._settings.out)
            self._run_file.write(state, self._outcome())

    def _outcome(self) -> BatchOutcome:
        studies = tuple(self._outcomes[index] for index in sorted(self._outcomes))
        return BatchOutcome(studies, tuple(self._warnings), self._run_file.path)

    def _run_all(self) -> None:
        reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        writing: Future[None] | None = None
        try:
            for index, reading in self._read_ahead(reader):
                if reading.is_due.result() and self._networks is None:
                    writer.submit(import_late)
                    self._open()
                finished = self._compute(index, reading.read.result())
                if writing is not None:
                    writing.result()
                writing = writer.submit(self._finish, index, finished)
            if writing is not None:
                writing.result()
            asked = self._settings.device, self._settings.precision
            if self._plan.studies and asked != _AUTOMATIC:
                # Nothing was due, but what was asked for may not be there, or the
                # results may be of another precision.
                self._open()
        finally:
            # After an error or an interrupt nothing new is begun.
            reader.shutdown(wait=False, cancel_futures=True)
            writer.shutdown(wait=True)

    def _read_ahead(self, reader: ThreadPoolExecutor) -> Iterator[tuple[int, _Reading]]:
        """Yield studies in order, the next one already in the reader's hands."""
        ahead: _Reading | None = None
        for index, study in enumerate(self._plan.studies):
            reading, ahead = ahead, self._start_reading(reader, index, study)
            if reading is not None:
                yield index - 1, reading
        if ahead is not None:
            yield len(self._plan.studies) - 1, ahead

    def _start_reading(
        self, reader: ThreadPoolExecutor, index: int, study: PlannedStudy
    ) -> _Reading:
        is_due: Future[bool] = Future()
        return _Reading(is_due, reader.submit(self._read, index, study, is_due))

    def _read(self, index: int, study: PlannedStudy, is_due: Future[bool]) -> ReadStudy:
        try:
            self._say(index, "reading")
            return read_study(study, self._settings, is_due)
        finally:
            # Whoever waits for it must not wait for ever.
            if not is_due.done():
                is_due.set_result(False)

    def _open(self) -> Networks:
        if self._networks is None:
            settings = self._settings
            networks = open_networks(
                settings.bundle, settings.device, settings.precision, settings.engine
            )
            self._networks = self._run_file.networks = networks
            self._run_file.write("running")
            planned = [study.name for study in self._plan.studies]
            others = other_results(settings, networks, planned)
            if others:
                self._warn(
                    f"The folder also holds results of {'; '.join(others)}: "
                    "do not compare them with these."
                )
        return self._networks

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        _log.warning("%s", text)

    def _compute(self, index: int, read: ReadStudy) -> ComputedStudy | StudyOutcome:
        if read.kept is not None:
            return read.kept
        if read.error is not None:
            return ComputedStudy(read.study, read.key, read.error, read.seconds)
        start = time.monotonic()
        self._say(index, "computing")
        networks = self._open()
        outcome: CaseResult | Exception
        try:
            outcome = self._run_case(read, networks)
        except Exception as error:  # noqa: BLE001 - one broken study stops no other
            outcome = error
        seconds = read.seconds + time.monotonic() - start
        return ComputedStudy(read.study, read.key, outcome, seconds)

    def _run_case(self, read: ReadStudy, networks: Networks) -> CaseResult:
        result = run_case(
            read.study.name,
            read.volumes,
            networks,
            self._settings.bundle,
            self._settings.cascade,
            read.masks,
        )
        provenance = replace(result.provenance, resume_key=read.key)
        return replace(result, provenance=provenance)

    def _finish(self, index: int, finished: ComputedStudy | StudyOutcome) -> None:
        if isinstance(finished, ComputedStudy):
            start = time.monotonic()
            self._say(index, "writing")
            outcome = write_study(finished, self._settings)
            seconds = finished.seconds + time.monotonic() - start
            outcome = replace(outcome, seconds=seconds)
        else:
            outcome = finished
        self._outcomes[index] = outcome
        self._say(index, "done", outcome)
        if time.monotonic() - self._table_written > _TABLE_EVERY_S:
            update_studies_csv(self._settings.out)
            self._table_written = time.monotonic()

    def _say(self, index: int, stage: str, outcome: StudyOutcome | None = None) -> None:
        if self._on_progress is None:
            return
        studies = self._plan.studies
        progress = Progress(studies[index].name, index, len(studies), stage, outcome)
        with self._speaking:
            self._on_progress(progress)
