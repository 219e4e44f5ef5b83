"""Whole cohorts of simulated patients on disk, with truth, ready for training.

```
OUT/cases.csv                  one row a station; see `spinaldx.study.cases`
OUT/cohort.json                seed, format, program, names of the level numbers
NIfTI:  OUT/sim-0001/patient.json  <station>_T2w.nii.gz  <station>_lesion_mask.nii.gz
                     <station>_cord_mask.nii.gz  <station>_levels_mask.nii.gz
DICOM:  OUT/studies/sim-0001/      every series of the study, mixed
        OUT/truth/sim-0001/        patient.json and the masks, on the series' grids
```
"""

import csv
import dataclasses
import functools
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spinaldx import __version__
from spinaldx.errors import OutputError, UsageError
from spinaldx.files import write_bytes, write_json
from spinaldx.records import RESEARCH_USE
from spinaldx.report.nifti import nifti_bytes
from spinaldx.simulation.dicom import SIMULATED, write_study
from spinaldx.simulation.levels import LEVEL_NAMES
from spinaldx.simulation.patient import (
    PatientOptions,
    SimulatedPatient,
    SimulatedStation,
    simulate_patient,
)
from spinaldx.simulation.scanner import scanner_grid, to_counts
from spinaldx.simulation.vendors import vendor_of
from spinaldx.study import HEALTHY
from spinaldx.workers import side_by_side

FORMATS = ("nifti", "dicom")

Progress = Callable[[int, int], None]

_COLUMNS = ("case", "t2w", "mask", "diagnosis", "series", "cord", "age", "sex", "site")
_TABLE, _DESCRIPTION, _RECORD = "cases.csv", "cohort.json", "patient.json"
_NOTE = f"{SIMULATED} by spinaldx, research use only"


@dataclass(frozen=True, slots=True)
class _Task:
    """One patient to make: everything a worker process needs."""

    out: Path
    number: int
    seed: int
    file_format: str
    options: PatientOptions

    @property
    def case(self) -> str:
        return f"sim-{self.number:04d}"

    @property
    def truth(self) -> Path:
        return self.out / ("truth" if self.file_format == "dicom" else "") / self.case

    @property
    def study(self) -> Path:
        return self.out / ("studies" if self.file_format == "dicom" else "") / self.case

    @property
    def seeds(self) -> np.random.SeedSequence:
        # Depends on seed and number alone: a larger cohort begins with the same
        # patients, and the order of the workers plays no part.
        return np.random.SeedSequence(self.seed, spawn_key=(self.number,))

    @property
    def key(self) -> str:
        """Changes with all that decides the patient's bytes."""
        decided = (
            _program_sha256(),
            self.seed,
            self.number,
            self.file_format,
            dataclasses.asdict(self.options),
        )
        return hashlib.sha256(json.dumps(decided).encode()).hexdigest()


def simulate_cohort(
    out: Path,
    *,
    patients: int | Sequence[PatientOptions],
    seed: int,
    file_format: str = "nifti",
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Simulate patients and write images, truth and `cases.csv`.

    The same arguments give the same bytes for any number of workers, and the first
    patients of a larger cohort are those of a smaller one. Run again after an
    interruption, it keeps the patients that are complete.

    Args:
        out: New or empty folder, or that of the same cohort.
        patients: How many, everything about them drawn; or, one entry a patient,
            what is fixed about each.
        seed: Any whole number from 0.
        file_format: ``nifti`` or ``dicom``.
        workers: Processes that work side by side; 1 stays in this one.
        progress: Called with patients done and patients in all.

    Returns:
        The path of `cases.csv`, written last.

    Raises:
        UsageError: If an argument makes no sense or `out` holds something else.
        OutputError: If a file cannot be written.
    """
    plan = [PatientOptions()] * patients if isinstance(patients, int) else patients
    if file_format not in FORMATS:
        message = f"Unknown format {file_format}; known are {', '.join(FORMATS)}."
        raise UsageError(message)
    if seed < 0 or workers < 1 or not plan:
        message = "A cohort needs a seed from 0, and at least one patient and worker."
        raise UsageError(message)
    _claim(out, seed, file_format, len(plan))
    tasks = [
        _Task(out, number, seed, file_format, options)
        for number, options in enumerate(plan, start=1)
    ]
    records: dict[str, dict[str, Any]] = {}
    for record in side_by_side(_make, tasks, workers):
        records[record["case"]] = record
        if progress is not None:
            progress(len(records), len(tasks))
    table = out / _TABLE
    write_bytes(table, _table([records[task.case] for task in tasks]))
    return table


def write_images(patient: SimulatedPatient, folder: Path) -> dict[str, Path]:
    """Write the stations of a patient as NIfTI images of 12-bit counts.

    Args:
        patient: The patient.
        folder: Where the files go; made when missing.

    Returns:
        The path of each station's image, by name of the station.

    Raises:
        OutputError: If a file cannot be written.
    """
    written: dict[str, Path] = {}
    for name, station in _named(patient.stations):
        counts = to_counts(station.volume.voxels).astype(np.int16)
        written[name] = folder / f"{name}_T2w.nii.gz"
        write_bytes(
            written[name], nifti_bytes(counts, station.volume.affine_ras, _NOTE)
        )
    return written


def write_masks(
    patient: SimulatedPatient, folder: Path, *, as_scanned: bool
) -> dict[str, dict[str, Path]]:
    """Write the truth of a patient as NIfTI masks.

    Args:
        patient: The patient.
        folder: Where the files go; made when missing.
        as_scanned: Whether to turn the masks to the order of axes in which a DICOM
            series is read back; else they lie on the images of `write_images`.

    Returns:
        The paths of ``mask`` (lesions), ``cord`` and ``levels``, by name of the
        station.

    Raises:
        OutputError: If a file cannot be written.
    """
    written: dict[str, dict[str, Path]] = {}
    for name, station in _named(patient.stations):
        affine = station.volume.affine_ras
        arrays = {
            "mask": station.lesion,
            "cord": station.cord,
            "levels": station.levels,
        }
        if as_scanned:
            grid = scanner_grid(station.volume)
            arrays = {column: grid.turn(array) for column, array in arrays.items()}
            affine = grid.affine_ras
        written[name] = {}
        for column, array in arrays.items():
            kind = "lesion" if column == "mask" else column
            path = folder / f"{name}_{kind}_mask.nii.gz"
            write_bytes(path, nifti_bytes(array, affine, _NOTE))
            written[name][column] = path
    return written


def _named(
    stations: Sequence[SimulatedStation],
) -> Iterator[tuple[str, SimulatedStation]]:
    """Name stations after their regions; a second one of a region gets a number."""
    seen: dict[str, int] = {}
    for station in stations:
        seen[station.region] = seen.get(station.region, 0) + 1
        count = seen[station.region]
        yield (station.region if count == 1 else f"{station.region}-{count}"), station


def _claim(out: Path, seed: int, file_format: str, patients: int) -> None:
    """Make the folder this cohort's, or refuse it."""
    description = {
        "simulated": True,
        "notice": RESEARCH_USE,
        "program_version": __version__,
        "seed": seed,
        "format": file_format,
        "patients": patients,
        "levels": {str(number): name for number, name in LEVEL_NAMES.items()},
    }
    try:
        found = _described(out)
        fits = found is None or all(
            found.get(name) == description[name] for name in ("seed", "format")
        )
        if not fits:
            message = f"{out} holds something else than this cohort."
            raise UsageError(message, hint="Choose a new folder.")
        if found and found.get("patients", 0) > patients:
            message = f"{out} holds {found['patients']} patients of this cohort."
            hint = "Choose a new folder, or ask for at least as many."
            raise UsageError(message, hint=hint)
        # A table of an earlier run must not outlive the files it names.
        (out / _TABLE).unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        message = f"Cannot use {out} for a cohort."
        raise OutputError(message, hint="Choose another folder.") from error
    write_json(out / _DESCRIPTION, description)


def _described(out: Path) -> dict[str, Any] | None:
    """Read what a folder says it holds; None when it is new or empty."""
    path = out / _DESCRIPTION
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {} if out.exists() and any(out.iterdir()) else None


def _make(task: _Task) -> dict[str, Any]:
    """Make one patient unless it is there, and return its record."""
    path = task.truth / _RECORD
    if path.exists():
        record: dict[str, Any] = json.loads(path.read_text())
        if record["key"] == task.key:
            return record
    for folder in {task.truth, task.study}:
        if folder.exists():
            shutil.rmtree(folder)
    patient = simulate_patient(task.case, task.seeds, task.options)
    vendor = vendor_of(task.seeds)
    is_dicom = task.file_format == "dicom"
    if is_dicom:
        write_study(patient, vendor, task.study, task.key)
    images = {} if is_dicom else write_images(patient, task.study)
    masks = write_masks(patient, task.truth, as_scanned=is_dicom)
    stations = []
    for number, (name, station) in enumerate(_named(patient.stations), start=1):
        paths = {"t2w": images.get(name, task.study), **masks[name]}
        relative = {
            column: file.relative_to(task.out).as_posix()
            for column, file in paths.items()
        }
        series = f"t2w-{number:02d}" if is_dicom else f"{name}_T2w"
        stations.append({"series": series, "region": station.region, **relative})
    record = {
        "simulated": True,
        "notice": RESEARCH_USE,
        "key": task.key,
        "case": patient.case,
        "diagnosis": HEALTHY if patient.disease is None else patient.disease.value,
        "age": patient.age,
        "sex": patient.sex,
        "location": patient.location,
        "site": f"sim-{vendor.name}",
        "stations": stations,
    }
    # Last, so that a patient with a record is complete.
    write_json(path, record)
    return record


def _table(records: Sequence[dict[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(
        stream, _COLUMNS, extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    for record in records:
        for station in record["stations"]:
            writer.writerow({**record, **station})
    return stream.getvalue().encode()


@functools.cache
def _program_sha256() -> str:
    """Hash the simulator's own code: other code makes other patients."""
    digest = hashlib.sha256(__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
