"""From the table to samples on disk: every series read once, brought to the grid."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from spinaldx.errors import OutputError, SpinalDxError
from spinaldx.grid import GridSpec
from spinaldx.study import CaseRow
from spinaldx.training.cache import (
    CachedSeries,
    SeriesCache,
    SeriesFacts,
    cache_key,
    gather_facts,
)
from spinaldx.training.cases import Patient, read_series, series_files
from spinaldx.training.learned_images import image_name
from spinaldx.training.lint import Advance
from spinaldx.training.segmentation import Sample
from spinaldx.training.splits import Split
from spinaldx.workers import side_by_side

# Fewer rows are read sooner than processes are started.
_FEWEST_TO_SHARE = 16


@dataclass(frozen=True, slots=True)
class Cohort:
    """The patients of a run by split.

    Attributes:
        patients: Patients to learn from, validate on, calibrate with.
        samples: Their series in the cache.
        known: Names of patients that the networks to start from learned from.
    """

    patients: Mapping[Split, tuple[Patient, ...]]
    samples: Mapping[Split, tuple[Sample, ...]]
    known: frozenset[str] = frozenset()

    @property
    def held_out(self) -> tuple[Patient, ...]:
        """Patients that cut-offs are fitted on: of calibration, else validation."""
        return self.patients[Split.CALIBRATION] or self.patients[Split.VALIDATION]

    @property
    def known_judges(self) -> int:
        """How many known patients validate or calibrate: figures flatter by them."""
        judges = (
            *self.patients[Split.VALIDATION],
            *self.patients[Split.CALIBRATION],
        )
        return sum(one.name in self.known for one in judges)


def inspect_row(row: CaseRow) -> SeriesFacts:
    """Read a row's files and keep nothing.

    Raises:
        StudyError: If a file cannot be read or is no sagittal T2w image.
        GeometryError: If a mask is not on the image's grid.
    """
    return gather_facts(read_series(row))


class CachingReader:
    """Reads rows into the cache, each once.

    Args:
        cache: Where to.
        grid: The segmentation network's.
    """

    def __init__(self, cache: SeriesCache, grid: GridSpec) -> None:
        self._cache, self._grid = cache, grid
        self._stored: dict[int, CachedSeries] = {}

    def prepare(self, rows: Sequence[CaseRow], workers: int, advance: Advance) -> bool:
        """Store the series of many rows, several at a time.

        What is wrong with a row is left for `inspect` to find again and name.

        Args:
            rows: Rows of the table, of any quality.
            workers: Processes; with one there is nothing to gain and nothing is done.
            advance: Told how many of how many rows are read.

        Returns:
            Whether anything was done.

        Raises:
            OutputError: If the disk is full or a process was killed.
        """
        if workers == 1 or len(rows) < _FEWEST_TO_SHARE:
            return False
        tasks = [_Reading(self._cache, self._grid, row) for row in rows]
        found = side_by_side(_store, tasks, workers)
        for done, (number, series) in enumerate(found, start=1):
            if series is not None:
                self._stored[number] = series
            advance(done, len(tasks))
        return True

    def inspect(self, row: CaseRow) -> SeriesFacts:
        """Store a row's series on the grid, unless it is there.

        Raises:
            StudyError: If a file cannot be read or is no sagittal T2w image.
            GeometryError: If a mask is not on the image's grid.
            OutputError: If the disk is full.
        """
        if row.number not in self._stored:
            key = cache_key(series_files(row), self._grid, series=row.series)
            series = self._cache.find(key)
            if series is None:
                series = self._cache.store(key, read_series(row), self._grid)
            self._stored[row.number] = series
        return self._stored[row.number].facts

    def known(
        self, patients: Sequence[Patient], images: Collection[str]
    ) -> frozenset[str]:
        """Return the names of patients of whom an image is among those named."""
        return frozenset(
            one.name
            for one in patients
            if any(
                image_name(self._stored[row.number].facts) in images for row in one.rows
            )
        )

    def cohort(
        self,
        groups: Mapping[Split, Sequence[Patient]],
        known: frozenset[str] = frozenset(),
    ) -> Cohort:
        """Gather what was read by split; test patients are left out."""
        used = (Split.TRAIN, Split.VALIDATION, Split.CALIBRATION)
        return Cohort(
            {split: tuple(groups.get(split, ())) for split in used},
            {
                split: tuple(
                    Sample(patient.name, patient.diagnosis, self._stored[row.number])
                    for patient in groups.get(split, ())
                    for row in patient.rows
                )
                for split in used
            },
            known,
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """One row to read: everything a worker process needs."""

    cache: SeriesCache
    grid: GridSpec
    row: CaseRow


def _store(task: _Reading) -> tuple[int, CachedSeries | None]:
    reader, number = CachingReader(task.cache, task.grid), task.row.number
    try:
        reader.inspect(task.row)
    except OutputError:
        raise
    except SpinalDxError:
        # Named by the lint, which knows row and column.
        return number, None
    return number, reader._stored[number]
