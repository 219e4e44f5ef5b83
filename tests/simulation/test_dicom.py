import collections
import dataclasses
import datetime
import shutil
import subprocess

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from handmade import handmade_patient

from spinaldx.errors import GeometryError
from spinaldx.records import Volume
from spinaldx.simulation import vendors
from spinaldx.simulation.dicom import StudyOptions, write_study
from spinaldx.simulation.scanner import scanner_grid, to_counts
from spinaldx.study import find_studies, load_study, read_mask

SMALL = StudyOptions(
    axial_size=40, localizer_size=32, localizer_pixel_mm=3.0, with_stir=True
)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module", params=vendors.VENDORS, ids=lambda vendor: vendor.name)
def study(request, tmp_path_factory):
    """The files of a study of one maker; read only."""
    folder = tmp_path_factory.mktemp("study")
    write_study(handmade_patient(), request.param, folder, "key", SMALL)
    return sorted(folder.iterdir())


def converted(patient, folder):
    """Write a study as DICOM and let dcm2niix read it; returns both folders."""
    program = pytest.importorskip("dcm2niix").bin
    dicom, out = folder / "in", folder / "out"
    write_study(patient, vendors.SIEMENS, dicom, "key", SMALL)
    out.mkdir()
    command = [program, "-f", "%s", "-m", "n", "-o", str(out), str(dicom)]
    subprocess.run(command, check=True, capture_output=True)
    return dicom, out


def _middle(image):
    """The place of an image's middle in patient mm."""
    return image.affine @ [*(np.array(image.shape) - 1) / 2, 1.0]


def series_of(files):
    """Read datasets by series number."""
    found = collections.defaultdict(list)
    for path in files:
        dataset = pydicom.dcmread(path)
        found[int(dataset.SeriesNumber)].append(dataset)
    return [found[number] for number in sorted(found)]


class TestGeometry:
    def test_highdicom_reads_back_the_voxels_and_their_places(
        self, study, simulated_patient
    ):
        for datasets, station in zip(
            series_of(study)[1:3], simulated_patient.stations, strict=True
        ):
            read = highdicom.get_volume_from_series(datasets)
            grid = scanner_grid(station.volume)
            expected = grid.turn(to_counts(station.volume.voxels))
            # highdicom counts slices from the other side, before rows and columns.
            affine = LPS @ read.affine[:, [2, 1, 0, 3]]
            affine[:, 3] += 8 * affine[:, 2]
            affine[:, 2] *= -1

            assert np.array_equal(read.array[::-1].T, expected)
            assert np.abs(affine - grid.affine_ras).max() < 1e-3

    def test_dcm2niix_reads_back_the_voxels_and_their_places(
        self, simulated_patient, tmp_path
    ):
        _, out = converted(simulated_patient, tmp_path)

        for number, station in enumerate(simulated_patient.stations, start=2):
            image = nibabel.as_closest_canonical(nibabel.load(out / f"{number}.nii"))
            source = nibabel.Nifti1Image(
                to_counts(station.volume.voxels), station.volume.affine_ras
            )
            expected = nibabel.as_closest_canonical(source)
            assert np.array_equal(image.get_fdata(), expected.get_fdata())
            assert np.abs(image.affine - expected.affine).max() < 1e-3

    def test_a_mask_drawn_on_what_dcm2niix_made_fits_the_dicom(
        self, simulated_patient, tmp_path
    ):
        folder, out = converted(simulated_patient, tmp_path)
        numbers = range(2, 2 + len(simulated_patient.stations))
        images = [nibabel.load(out / f"{number}.nii") for number in numbers]

        for volume in load_study(find_studies([folder])[0]):
            middle = np.array([*(np.array(volume.voxels.shape) - 1) / 2, 1.0])
            place = volume.affine_ras @ middle
            drawn_on = min(images, key=lambda one: np.abs(_middle(one) - place).max())
            bright = drawn_on.get_fdata() > np.quantile(volume.voxels, 0.99)
            mask = nibabel.Nifti1Image(bright.astype(np.uint8), drawn_on.affine)
            nibabel.save(mask, tmp_path / "mask.nii.gz")
            labels = read_mask(tmp_path / "mask.nii.gz", volume).labels

            assert labels.any()
            assert np.array_equal(
                labels, volume.voxels > np.quantile(volume.voxels, 0.99)
            )

    def test_refuses_axes_that_are_not_at_right_angles(
        self, simulated_patient, tmp_path
    ):
        first = simulated_patient.stations[0]
        sheared = first.volume.affine_ras.copy()
        sheared[2, 0] += 0.2
        volume = Volume(first.volume.voxels, sheared, "cervical")
        station = dataclasses.replace(first, volume=volume)
        patient = dataclasses.replace(simulated_patient, stations=(station,))

        with pytest.raises(GeometryError, match="right angles"):
            write_study(patient, vendors.GE, tmp_path, "key", SMALL)


class TestTags:
    def test_holds_the_series_of_a_real_study(self, study):
        sizes = [len(datasets) for datasets in series_of(study)]

        assert sizes == [9, 9, 9, 9, 9, 16]

    def test_says_simulated_in_every_file(self, study):
        for dataset in map(pydicom.dcmread, study):
            assert str(dataset.PatientName).startswith("SIM^")
            assert dataset.PatientID == "SIM-0001"
            assert "SIMULATED" in dataset.SeriesDescription
            assert dataset.InstitutionName == "SIMULATED"

    def test_gives_every_image_its_own_uid_of_the_2_25_kind(self, study):
        datasets = [pydicom.dcmread(path) for path in study]
        uids = {dataset.SOPInstanceUID for dataset in datasets}

        assert len(uids) == len(study)
        assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)
        assert len({dataset.StudyInstanceUID for dataset in datasets}) == 1

    def test_makes_the_patient_as_old_as_simulated(self, study):
        dataset = pydicom.dcmread(study[0])
        birth, day = dataset.PatientBirthDate, dataset.StudyDate

        assert dataset.PatientAge == "034Y"
        assert int(day[:4]) - int(birth[:4]) == 34
        assert datetime.date.fromisoformat(day) >= datetime.date.fromisoformat(birth)

    def test_names_files_without_ending_and_without_order(self, study):
        numbers = [pydicom.dcmread(path).SeriesNumber for path in study]

        assert not any(path.suffix == ".dcm" for path in study)
        assert numbers != sorted(numbers)

    def test_passes_the_validator(self, study):
        program = shutil.which("dciodvfy")
        if program is None:
            pytest.skip("dciodvfy of dicom3tools is not installed")
        for path in study[::6]:
            command = [program, "-new", str(path)]
            checked = subprocess.run(
                command, check=False, capture_output=True, text=True
            )

            assert "Error" not in checked.stdout + checked.stderr


class TestDeterminism:
    def test_same_key_gives_the_same_bytes(self, simulated_patient, tmp_path):
        for name in ("a", "b"):
            write_study(simulated_patient, vendors.GE, tmp_path / name, "key", SMALL)

        first, second = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
        assert [path.name for path in first] == [path.name for path in second]
        assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]

    def test_another_key_gives_other_uids(self, simulated_patient, tmp_path):
        uids = set()
        for key in ("a", "b"):
            write_study(simulated_patient, vendors.PHILIPS, tmp_path / key, key, SMALL)
            uids |= {pydicom.dcmread(p).StudyInstanceUID for p in tmp_path.glob("*/*")}

        assert len(uids) == 2

    def test_draws_whether_there_is_a_stir(self, simulated_patient, tmp_path):
        drawn = dataclasses.replace(SMALL, with_stir=None)
        counts = {
            write_study(simulated_patient, vendors.GE, tmp_path / key, key, drawn)
            for key in "ad"
        }

        assert counts == {52, 61}


class TestVendorOf:
    def test_draws_every_maker_the_same_way_each_time(self):
        seeds = [np.random.SeedSequence(5, spawn_key=(n,)) for n in range(40)]
        names = [vendors.vendor_of(seed).name for seed in seeds]

        assert set(names) == {"siemens", "ge", "philips"}
        assert names == [vendors.vendor_of(seed).name for seed in seeds]
