"""From the table to samples on disk: every series read once, brought to the grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spinaldx.grid import GridSpec
from spinaldx.training.cache import SeriesCache, cache_key
from spinaldx.training.cases import Patient, read_series, series_files
from spinaldx.training.segmentation import Sample
from spinaldx.training.splits import Split


@dataclass(frozen=True, slots=True)
class Cohort:
    """The patients of a run by split.

    Attributes:
        patients: Patients to learn from, validate on, calibrate with.
        samples: Their series in the cache.
    """

    patients: Mapping[Split, tuple[Patient, ...]]
    samples: Mapping[Split, tuple[Sample, ...]]

    @property
    def held_out(self) -> tuple[Patient, ...]:
        """Patients that cut-offs are fitted on: of calibration, else validation."""
        return self.patients[Split.CALIBRATION] or self.patients[Split.VALIDATION]


def prepare_cohort(
    groups: Mapping[Split, Sequence[Patient]],
    cache: SeriesCache,
    grid: GridSpec,
    advance: Callable[[int, int], None],
) -> Cohort:
    """Store every series of the patients on the grid, unless it is there.

    Args:
        groups: Patients by split; test patients are not touched.
        cache: Where to.
        grid: The segmentation network's.
        advance: Told how many of how many patients are done.

    Raises:
        StudyError: If an image cannot be read.
        GeometryError: If a mask does not fit its image.
        OutputError: If the disk is full.
    """
    used = (Split.TRAIN, Split.VALIDATION, Split.CALIBRATION)
    total = sum(len(groups.get(split, ())) for split in used)
    done = 0
    samples: dict[Split, list[Sample]] = {split: [] for split in used}
    for split in used:
        for patient in groups.get(split, ()):
            samples[split] += _store(patient, cache, grid)
            done += 1
            advance(done, total)
    return Cohort(
        {split: tuple(groups.get(split, ())) for split in used},
        {split: tuple(stored) for split, stored in samples.items()},
    )


def _store(patient: Patient, cache: SeriesCache, grid: GridSpec) -> list[Sample]:
    samples = []
    for row in patient.rows:
        key = cache_key(series_files(row), grid)
        series = cache.find(key) or cache.store(key, read_series(row), grid)
        samples.append(Sample(patient.name, patient.diagnosis, series))
    return samples
