from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from spinaldx.study import find_studies, load_study, read_cases, read_mask, scan_study

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDIES, TABLE = EXAMPLES / "studies", EXAMPLES / "truth/cases.csv"
MOST_BYTES = 6_000_000


@pytest.fixture(scope="module")
def sources():
    return {source.name: source for source in find_studies([STUDIES])}


def test_are_small_enough_for_the_repository():
    files = [path for path in STUDIES.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_are_the_three_that_the_readme_names(sources):
    assert set(sources) == {"dicom_two_stations", "nifti_lesion", "nifti_healthy"}


def test_the_dicom_study_is_mixed_and_says_that_it_is_simulated():
    files = sorted((STUDIES / "dicom_two_stations").iterdir())
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]

    assert not any(path.suffix == ".dcm" for path in files)
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 5
    for dataset in datasets:
        assert str(dataset.PatientName).startswith("SIM^")
        assert "SIMULATED" in dataset.SeriesDescription
        assert dataset.SOPInstanceUID.startswith("2.25.")


def test_both_stations_of_the_dicom_study_are_used(sources):
    chosen = scan_study(sources["dicom_two_stations"]).chosen

    assert [candidate.name for candidate in chosen] == ["t2w-01", "t2w-02"]


def test_both_stations_show_the_same_lesion(sources):
    rows = [row for row in read_cases(TABLE) if row.case == "dicom_two_stations"]
    volumes = load_study(sources["dicom_two_stations"])
    centres_ras_mm = []
    for row, volume in zip(rows, volumes, strict=True):
        labels = read_mask(row.mask, volume).labels
        assert ndimage.label(labels, np.ones((3, 3, 3)))[1] == 1
        centre = np.argwhere(labels).mean(axis=0)
        affine = volume.affine_ras
        centres_ras_mm.append(affine[:3, :3] @ centre + affine[:3, 3])

    assert np.linalg.norm(centres_ras_mm[0] - centres_ras_mm[1]) < 3


@pytest.mark.parametrize(
    ("case", "has_lesion"), [("nifti_lesion", True), ("nifti_healthy", False)]
)
def test_truth_lies_on_the_image(sources, case, has_lesion):
    (volume,) = load_study(sources[case])
    (row,) = [row for row in read_cases(TABLE) if row.case == case]

    assert read_mask(row.mask, volume).labels.any() == has_lesion
    assert read_mask(row.cord, volume).labels.any()
    assert volume.flags == ()
