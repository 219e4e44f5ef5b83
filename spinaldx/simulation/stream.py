"""An endless stream of simulated slices for training."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spinaldx.grid import GridSpec, labels_to_grid, to_grid
from spinaldx.records import Disease, Float32Array
from spinaldx.simulation.patient import (
    PatientOptions,
    SimulatedPatient,
    simulate_patient,
)


@dataclass(frozen=True, slots=True)
class Share:
    """Which patients of a stream one of several workers makes.

    Attributes:
        worker: Number of the worker, from 0.
        workers: How many there are.
    """

    worker: int = 0
    workers: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSlice:
    """One sagittal slice on the networks' grid.

    Attributes:
        pixels: (H, W) float32, as inference sees it.
        lesion: Share of each pixel inside a lesion, (H, W) float32.
        cord: Share inside the cord, lesions included, (H, W) float32.
        patient: Number of the patient in the stream.
        disease: None when healthy.
    """

    pixels: Float32Array
    lesion: Float32Array
    cord: Float32Array
    patient: int
    disease: Disease | None


def stream_slices(
    seed: np.random.SeedSequence,
    grid: GridSpec | None = None,
    options: PatientOptions | None = None,
    share: Share | None = None,
) -> Iterator[TrainingSlice]:
    """Make slices of new simulated patients without end.

    Patient n of a stream is the same whatever the number of workers; slices come
    patient by patient, from right to left, so a trainer should mix them.

    Args:
        seed: Same seed, same stream; it is not changed.
        grid: The networks' grid; 1 mm pixels when None.
        options: What is fixed about the patients.
        share: Which patients this worker makes; all when None.

    Yields:
        Every slice of every station, with and without cord.
    """
    mine = share or Share()
    for number in itertools.count(mine.worker, mine.workers):
        key = (*seed.spawn_key, number)
        child = np.random.SeedSequence(entropy=seed.entropy, spawn_key=key)
        patient = simulate_patient(f"stream-{number:07d}", child, options)
        yield from _slices(patient, number, grid or GridSpec())


def _slices(
    patient: SimulatedPatient, number: int, grid: GridSpec
) -> Iterator[TrainingSlice]:
    for station in patient.stations:
        image = to_grid(station.volume, grid)
        lesion = labels_to_grid(station.lesion, image.transform)
        cord = labels_to_grid(station.cord, image.transform)
        for layers in zip(image.pixels, lesion, cord, strict=True):
            yield TrainingSlice(*layers, patient=number, disease=patient.disease)
