"""A quick stand-in for the simulator, also for worker processes."""

import dataclasses
import os

import numpy as np
from handmade import handmade_patient

from spinaldx.simulation import cohort, dicom


def quick_patient(case, seed, options):
    """Stand in for the simulator: age and brightness are drawn."""
    rng = np.random.default_rng(seed)
    patient = handmade_patient()
    for image in patient.stations:
        image.volume.voxels[:] += rng.integers(0, 500)
    age = int(rng.integers(20, 80))
    return dataclasses.replace(patient, case=case, age=age, disease=options.disease)


def small_studies():
    """Stand in for the default sizes of a study's other series."""
    return SMALL_STUDY


SMALL_STUDY = dicom.StudyOptions(
    axial_size=32, localizer_size=24, localizer_pixel_mm=4.0, with_stir=True
)


def make_quickly(task):
    """Do a worker's job with the stand-in; runs in a fresh process."""
    cohort.simulate_patient = quick_patient
    dicom.StudyOptions = small_studies
    return cohort._make(task)


def die(task):
    """End a worker as the kernel does when memory is short."""
    os._exit(9)
