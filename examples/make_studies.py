"""Make `examples/studies` and their truth anew: simulated patients, no real ones.

    python examples/make_studies.py [FOLDER]

The matrices are small so that the studies fit into the repository, and the lesions
clearer than usual, so that there is something to see. A later simulator makes other
images of the same seeds.
"""

import argparse
import csv
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spinaldx.records import Disease
from spinaldx.simulation import cohort, dicom, vendors
from spinaldx.simulation.patient import (
    PatientOptions,
    SimulatedPatient,
    simulate_patient,
)
from spinaldx.study import HEALTHY

SMALL = dicom.StudyOptions(
    sagittal_pixel_mm=1.6,
    axial_size=96,
    axial_pixel_mm=1.2,
    localizer_size=72,
    localizer_pixel_mm=4.4,
    with_stir=False,
)


@dataclass(frozen=True, slots=True)
class Example:
    """One study: its folder, its seed, what is fixed about the patient."""

    name: str
    seed: int
    options: PatientOptions
    is_dicom: bool = False


EXAMPLES = (
    Example(
        "dicom_two_stations",
        seed=25,
        options=PatientOptions(
            disease=Disease.NMOSD,
            location="cervical_thoracic",
            in_plane_mm=1.0,
            slice_mm=4.0,
            contrast_factor=1.4,
        ),
        is_dicom=True,
    ),
    Example(
        "nifti_lesion",
        seed=12,
        options=PatientOptions(
            disease=Disease.ASTROCYTOMA,
            location="cervical",
            in_plane_mm=1.0,
            slice_mm=4.0,
            contrast_factor=1.4,
        ),
    ),
    Example(
        "nifti_healthy",
        seed=12,
        options=PatientOptions(
            healthy_share=1.0, location="cervical", in_plane_mm=1.0, slice_mm=4.0
        ),
    ),
)


def main() -> None:
    """Write studies, truth and the table that joins them."""
    parser = argparse.ArgumentParser(description=__doc__)
    here = Path(__file__).parent
    parser.add_argument("folder", type=Path, nargs="?", default=here)
    folder = parser.parse_args().folder
    for name in ("studies", "truth"):
        shutil.rmtree(folder / name, ignore_errors=True)
    rows = [row for example in EXAMPLES for row in write_example(example, folder)]
    with (folder / "truth/cases.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def write_example(example: Example, folder: Path) -> list[dict[str, object]]:
    """Write one study and its truth; return its rows of `cases.csv`."""
    seed = np.random.SeedSequence(example.seed)
    patient = simulate_patient(example.name, seed, example.options)
    study, truth = folder / "studies" / example.name, folder / "truth" / example.name
    if example.is_dicom:
        vendor = vendors.vendor_of(seed)
        dicom.write_study(patient, vendor, study, f"examples/{example.seed}", SMALL)
        images = [study] * len(patient.stations)
    else:
        images = list(cohort.write_images(patient, study).values())
    masks = cohort.write_masks(patient, truth, as_scanned=example.is_dicom)
    return [
        row_of(patient, number, image, paths)
        for number, (image, paths) in enumerate(
            zip(images, masks.values(), strict=True), start=1
        )
    ]


def row_of(
    patient: SimulatedPatient, number: int, image: Path, masks: dict[str, Path]
) -> dict[str, object]:
    """Join an image and its truth; paths are relative to the table."""
    base = masks["mask"].parent.parent
    is_dicom = image.is_dir()
    return {
        "case": patient.case,
        "t2w": os.path.relpath(image, base),
        "mask": masks["mask"].relative_to(base).as_posix(),
        "diagnosis": patient.disease.value if patient.disease else HEALTHY,
        "series": f"t2w-{number:02d}"
        if is_dicom
        else image.name.removesuffix(".nii.gz"),
        "cord": masks["cord"].relative_to(base).as_posix(),
        "age": patient.age,
        "sex": patient.sex,
    }


if __name__ == "__main__":
    main()
