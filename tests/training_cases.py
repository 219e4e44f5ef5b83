"""A tiny cohort on disk whose masks and diagnoses follow from how it is drawn."""

import csv
from dataclasses import replace

import numpy as np
from phantoms import volume_of

from spinaldx.grid import CropSpec
from spinaldx.report.nifti import write_nifti
from spinaldx.training.fine_tuning import BundleFacts, Request
from spinaldx.training.options import (
    Budget,
    ClassifierOptions,
    Compute,
    SegmentationOptions,
    TrainingOptions,
)

DISEASES = ("astrocytoma", "ependymoma", "ms", "nmosd")

# Length and width of the box lesion in pixels of 1 mm: the diseases differ in both.
_BOXES = {
    "astrocytoma": (24, 8),
    "ependymoma": (12, 8),
    "ms": (8, 4),
    "nmosd": (30, 4),
    "healthy": (0, 0),
}
_SHAPE = (5, 64, 64)


def draw_patient(diagnosis, seed):
    """Return volume, lesion and cord of a noisy box spine with fluid around it."""
    generator = np.random.default_rng(seed)
    voxels = np.full(_SHAPE, 100.0, np.float32)
    cord = np.zeros(_SHAPE, np.uint8)
    cord[1:4, 2:62, 28:36] = 1
    voxels[1:4, 1:63, 25:39] = 400.0
    voxels[cord > 0] = 150.0
    lesion = np.zeros(_SHAPE, np.uint8)
    length, width = _BOXES[diagnosis]
    if length:
        first = int(generator.integers(4, 60 - length))
        lesion[2:4, first : first + length, 28 : 28 + width] = 1
    voxels[lesion > 0] = 300.0
    voxels += generator.normal(0.0, 4.0, _SHAPE).astype(np.float32)
    return volume_of(voxels), lesion, cord


def write_cohort(folder, patients=4, healthy=2, **changes):
    """Write so many patients of each disease; return the path of the table.

    `changes` are columns with one value for all rows.
    """
    diagnoses = [*DISEASES * patients, *["healthy"] * healthy]
    rows = []
    for number, diagnosis in enumerate(diagnoses, start=1):
        case = f"p{number:02d}"
        volume, lesion, cord = draw_patient(diagnosis, number)
        row = {"case": case, "diagnosis": diagnosis, **changes}
        for column, values in (
            ("t2w", volume.voxels),
            ("mask", lesion),
            ("cord", cord),
        ):
            row[column] = f"{case}_{column}.nii.gz"
            write_nifti(folder / row[column], values, volume.affine_ras)
        rows.append(row)
    return write_table(folder / "cases.csv", rows)


def write_table(path, rows):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def tiny_options(**changes):
    """Options of a run that takes seconds."""
    options = TrainingOptions(
        budget=Budget(epochs=0.5),
        network="tiny",
        compute=Compute(device="cpu", precision="fp32", threads=1),
        segmentation=SegmentationOptions(patch=(32, 32), batch_size=4),
        classifier=ClassifierOptions(batch_size=4),
        crop=CropSpec(height_mm=64.0, width_mm=32.0),
    )
    return replace(options, **changes)


def tiny_request(table, out, **changes):
    facts = BundleFacts("tiny", training_data="simulated")
    return Request(table, out, tiny_options(**changes), facts)


class Listener:
    """Keeps what a run tells."""

    def __init__(self):
        self.notes, self.steps, self.progress = [], [], []

    def note(self, text):
        self.notes.append(text)

    def advance(self, what, done, total):
        self.steps.append((what, done, total))

    def train(self, progress):
        self.progress.append(progress)
