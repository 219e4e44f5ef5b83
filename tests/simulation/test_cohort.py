import csv
import dataclasses
import json

import nibabel
import numpy as np
import pytest
import stand_ins
from handmade import handmade_patient

from spinaldx.errors import OutputError, UsageError
from spinaldx.records import Disease
from spinaldx.simulation import cohort, dicom
from spinaldx.simulation.patient import PatientOptions
from spinaldx.study import find_studies, load_study, read_mask
from spinaldx.study.cases import read_cases


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(cohort, "simulate_patient", stand_ins.quick_patient)
    monkeypatch.setattr(dicom, "StudyOptions", stand_ins.small_studies)


def contents(folder):
    """Bytes of every file below a folder by its path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows_of(table):
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def contrast(voxels, lesion, cord):
    """How much brighter the lesion is than the rest of the cord."""
    return voxels[lesion == 1].mean() - voxels[(cord == 1) & (lesion == 0)].mean()


class TestNifti:
    def test_writes_one_row_a_station(self, tmp_path):
        table = cohort.simulate_cohort(tmp_path, patients=2, seed=1)

        expected = [("sim-0001", "cervical_T2w"), ("sim-0001", "thoracic_T2w")]
        expected += [("sim-0002", "cervical_T2w"), ("sim-0002", "thoracic_T2w")]
        assert [(row["case"], row["series"]) for row in rows_of(table)] == expected

    def test_is_read_by_the_reader_of_tables(self, tmp_path):
        options = PatientOptions(disease=Disease.NMOSD)
        table = cohort.simulate_cohort(tmp_path, patients=[options], seed=1)

        first, _ = read_cases(table)

        assert first.diagnosis == "nmosd"
        assert first.t2w == tmp_path / "sim-0001/cervical_T2w.nii.gz"
        assert first.cord == tmp_path / "sim-0001/cervical_cord_mask.nii.gz"
        assert 20 <= first.age < 80
        assert first.site in {"sim-siemens", "sim-ge", "sim-philips"}

    def test_calls_patients_without_lesion_healthy(self, tmp_path):
        table = cohort.simulate_cohort(tmp_path, patients=1, seed=1)

        assert {row.diagnosis for row in read_cases(table)} == {"healthy"}

    def test_masks_lie_on_the_image(self, tmp_path):
        cohort.simulate_cohort(tmp_path, patients=1, seed=1)
        folder = tmp_path / "sim-0001"
        image = nibabel.load(folder / "cervical_T2w.nii.gz")

        for kind, array in (
            ("lesion", "lesion"),
            ("cord", "cord"),
            ("levels", "levels"),
        ):
            mask = nibabel.load(folder / f"cervical_{kind}_mask.nii.gz")
            expected = getattr(handmade_patient().stations[0], array)
            assert np.array_equal(mask.get_fdata(), expected)
            assert np.array_equal(mask.affine, image.affine)
        assert bytes(image.header["descrip"]).startswith(b"SIMULATED")

    def test_names_a_second_station_of_a_region(self, tmp_path, monkeypatch):
        def twice(case, seed, options):
            patient = stand_ins.quick_patient(case, seed, options)
            first = patient.stations[0]
            return dataclasses.replace(patient, stations=(first, first))

        monkeypatch.setattr(cohort, "simulate_patient", twice)
        table = cohort.simulate_cohort(tmp_path, patients=1, seed=1)

        series = [row["series"] for row in rows_of(table)]
        assert series == ["cervical_T2w", "cervical-2_T2w"]

    def test_says_simulated_beside_the_images(self, tmp_path):
        cohort.simulate_cohort(tmp_path, patients=1, seed=1)

        for name in ("cohort.json", "sim-0001/patient.json"):
            assert json.loads((tmp_path / name).read_text())["simulated"] is True


class TestDicom:
    def test_points_at_the_study_and_numbers_its_stations(self, tmp_path):
        table = cohort.simulate_cohort(
            tmp_path, patients=1, seed=1, file_format="dicom"
        )

        rows = read_cases(table)

        assert [row.series for row in rows] == ["t2w-01", "t2w-02"]
        assert {row.t2w for row in rows} == {tmp_path / "studies/sim-0001"}
        assert rows[1].mask == tmp_path / "truth/sim-0001/thoracic_lesion_mask.nii.gz"

    def test_keeps_images_and_truth_apart(self, tmp_path):
        cohort.simulate_cohort(tmp_path, patients=1, seed=1, file_format="dicom")

        truth = {path.name for path in (tmp_path / "truth/sim-0001").iterdir()}
        assert not list((tmp_path / "studies").rglob("*.nii.gz"))
        assert truth == {"patient.json"} | {
            f"{region}_{kind}_mask.nii.gz"
            for region in ("cervical", "thoracic")
            for kind in ("lesion", "cord", "levels")
        }


class TestReading:
    @pytest.mark.parametrize("file_format", cohort.FORMATS)
    def test_predict_finds_every_station_and_its_truth(self, tmp_path, file_format):
        plan = {"patients": 1, "seed": 1, "file_format": file_format}
        table = cohort.simulate_cohort(tmp_path, **plan)
        (source,) = find_studies([table])

        volumes = {volume.name: volume for volume in load_study(source)}

        assert set(volumes) == {row.series for row in source.rows}
        for row, station in zip(source.rows, handmade_patient().stations, strict=True):
            volume = volumes[row.series]
            lesion = read_mask(row.mask, volume).labels
            cord = read_mask(row.cord, volume).labels
            expected = contrast(station.volume.voxels, station.lesion, station.cord)
            assert lesion.sum() == station.lesion.sum()
            assert contrast(volume.voxels, lesion, cord) == pytest.approx(
                expected, abs=1
            )


class TestDeterminism:
    @pytest.mark.parametrize("file_format", cohort.FORMATS)
    def test_same_seed_gives_the_same_bytes(self, tmp_path, file_format):
        for name in ("a", "b"):
            cohort.simulate_cohort(
                tmp_path / name, patients=1, seed=3, file_format=file_format
            )

        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_a_larger_cohort_begins_with_the_smaller(self, tmp_path):
        cohort.simulate_cohort(tmp_path / "a", patients=1, seed=3)
        cohort.simulate_cohort(tmp_path / "b", patients=2, seed=3)

        assert contents(tmp_path / "a/sim-0001") == contents(tmp_path / "b/sim-0001")

    def test_patients_differ(self, tmp_path):
        table = cohort.simulate_cohort(tmp_path, patients=6, seed=3)

        assert len({row["age"] for row in rows_of(table)}) > 2


class TestWorkers:
    def test_their_number_does_not_matter(self, tmp_path, monkeypatch):
        plan = {"patients": 2, "seed": 3, "file_format": "dicom"}
        cohort.simulate_cohort(tmp_path / "a", **plan)
        monkeypatch.setattr(cohort, "_make", stand_ins.make_quickly)
        cohort.simulate_cohort(tmp_path / "b", **plan, workers=2)

        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_a_killed_one_is_an_error_that_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(cohort, "_make", stand_ins.die)

        with pytest.raises(OutputError, match="killed"):
            cohort.simulate_cohort(tmp_path, patients=2, seed=3, workers=2)


class TestResume:
    def test_keeps_complete_patients_and_makes_the_rest(self, tmp_path, monkeypatch):
        cohort.simulate_cohort(tmp_path, patients=2, seed=3)
        expected = contents(tmp_path)
        (tmp_path / "sim-0002/patient.json").unlink()
        (tmp_path / "sim-0002/cervical_T2w.nii.gz").write_bytes(b"cut")
        made = []

        def noting(case, seed, options):
            made.append(case)
            return stand_ins.quick_patient(case, seed, options)

        monkeypatch.setattr(cohort, "simulate_patient", noting)
        cohort.simulate_cohort(tmp_path, patients=2, seed=3)

        assert made == ["sim-0002"]
        assert contents(tmp_path) == expected

    def test_makes_a_patient_anew_when_its_options_change(self, tmp_path):
        cohort.simulate_cohort(tmp_path, patients=1, seed=3)
        changed = [PatientOptions(disease=Disease.MS)]
        table = cohort.simulate_cohort(tmp_path, patients=changed, seed=3)

        assert {row["diagnosis"] for row in rows_of(table)} == {"ms"}

    def test_refuses_the_folder_of_another_cohort(self, tmp_path):
        table = cohort.simulate_cohort(tmp_path, patients=1, seed=3)

        with pytest.raises(UsageError, match="something else"):
            cohort.simulate_cohort(tmp_path, patients=1, seed=4)
        assert table.exists()

    def test_refuses_to_become_a_smaller_cohort(self, tmp_path):
        table = cohort.simulate_cohort(tmp_path, patients=2, seed=3)

        with pytest.raises(UsageError, match="holds 2 patients") as caught:
            cohort.simulate_cohort(tmp_path, patients=1, seed=3)
        assert "at least as many" in caught.value.hint
        assert len(rows_of(table)) >= 2

    def test_refuses_a_folder_that_holds_something(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")

        with pytest.raises(UsageError) as caught:
            cohort.simulate_cohort(tmp_path, patients=1, seed=3)
        assert caught.value.exit_code == 2

    def test_refuses_a_damaged_description(self, tmp_path):
        (tmp_path / "cohort.json").write_text("{")

        with pytest.raises(OutputError):
            cohort.simulate_cohort(tmp_path, patients=1, seed=3)


class TestArguments:
    @pytest.mark.parametrize(
        "wrong",
        [{"seed": -1}, {"patients": 0}, {"workers": 0}, {"file_format": "analyze"}],
    )
    def test_refuses_nonsense(self, tmp_path, wrong):
        with pytest.raises(UsageError):
            cohort.simulate_cohort(tmp_path, **{"patients": 1, "seed": 1} | wrong)

    def test_reports_progress(self, tmp_path):
        seen = []
        cohort.simulate_cohort(
            tmp_path, patients=3, seed=1, progress=lambda *now: seen.append(now)
        )

        assert seen == [(1, 3), (2, 3), (3, 3)]
