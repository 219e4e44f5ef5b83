import itertools
from dataclasses import replace

import fault_catalogue as catalogue
import numpy as np
import pytest
import study_cases as cases
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from spinaldx.errors import (
    AmbiguousSeriesError,
    GeometryError,
    NoUsableSeriesError,
    UnreadableFileError,
    UnsuitableImageError,
)
from spinaldx.records import Plane
from spinaldx.study import (
    Verdict,
    find_studies,
    load_series,
    load_study,
    nothing_chosen,
    scan_study,
)


def study(folder):
    return find_studies([folder])[0]


@pytest.fixture
def mixed(tmp_path):
    dict_of = {fault.name: fault for fault in catalogue.SERIES_FAULTS}
    dict_of["control: whole examination mixed"].build(tmp_path / "p")
    return study(tmp_path / "p")


class TestScan:
    def test_judges_every_series(self, mixed):
        scan = scan_study(mixed)

        verdicts = {item.series_number: item.verdict for item in scan.candidates}
        assert verdicts[5] is Verdict.CHOSEN
        assert verdicts[3] is Verdict.DOUBTFUL
        assert {verdicts[n] for n in (1, 2, 4)} == {Verdict.REJECTED}
        assert [item.name for item in scan.chosen] == ["t2w-02"]

    def test_gives_json_without_patient_data(self, mixed):
        shown = scan_study(mixed).as_json()

        chosen = [item for item in shown["series"] if item["verdict"] == "chosen"]
        assert chosen[0]["plane"] == "sagittal"
        assert chosen[0]["slices"] == 11
        assert "CANARY" not in str(shown)

    @pytest.mark.parametrize("wanted", ["3", "t2w-01", "series-0*", "T2_TSE*"])
    def test_series_are_named_in_many_ways(self, mixed, wanted):
        assert scan_study(mixed, series=wanted).chosen

    def test_a_uid_names_a_series(self, mixed):
        uid = str(cases.uid_of("series", 1, 3))

        assert scan_study(mixed, series=uid).chosen[0].series_number == 3

    @pytest.mark.parametrize("wanted", ["nothing", "²"])
    def test_an_unknown_series_is_refused(self, mixed, wanted):
        with pytest.raises(NoUsableSeriesError, match=f"no series matches '{wanted}'"):
            load_study(mixed, series=wanted)

    def test_an_unknown_series_is_answered_with_those_there_are(self, mixed):
        with pytest.raises(NoUsableSeriesError) as caught:
            load_study(mixed, series="zervikal*")

        names = [item.name for item in scan_study(mixed).candidates]
        assert caught.value.hint == f"There are: {', '.join(names)}."
        # What the hospital typed may hold anything.
        assert "tse" not in caught.value.hint

    def test_without_a_name_the_reasons_are_given(self, mixed):
        kept = [h for h in mixed.dicom if h.tags.series_number in {1, 2}]

        with pytest.raises(NoUsableSeriesError, match="among 2 series: series-01"):
            load_study(replace(mixed, dicom=tuple(kept)))

    def test_a_named_series_still_has_to_fit(self, mixed):
        with pytest.raises(UnsuitableImageError, match="axial"):
            load_study(mixed, series="4")

    def test_a_faulty_series_cannot_be_forced(self, tmp_path):
        cases.save(cases.dicom_series()[:5] + cases.dicom_series()[6:], tmp_path / "p")

        with pytest.raises(GeometryError, match="missing in the middle"):
            load_study(study(tmp_path / "p"), series="1")


def repeated(folder, change, *, echoes=1, repeats=2):
    """One series of several repeats and echoes; `change` sets further tags."""
    datasets = []
    for repeat, echo in itertools.product(range(repeats), range(echoes)):
        number = repeat * echoes + echo
        for dataset in cases.dicom_series(cases.spine_voxels(seed=number)):
            index = int(dataset.InstanceNumber) - 1
            dataset.SOPInstanceUID = cases.uid_of("repeat", number, index)
            dataset.InstanceNumber = index + 1 + 11 * number
            dataset.AcquisitionNumber = repeat + 1
            dataset.EchoTime = 90.0 + 10 * echo
            change(dataset, index, number)
            datasets.append(dataset)
    cases.save(datasets, folder)
    return study(folder)


class TestRepeats:
    def test_a_trigger_time_of_every_slice_splits_nothing(self, tmp_path):
        def trigger(dataset, index, number):
            dataset.TriggerTime = 10.0 * index + 1003 * number

        scan = scan_study(repeated(tmp_path, trigger))

        assert [item.n_slices for item in scan.candidates] == [11, 11]
        assert len(scan.chosen) == 1

    def test_nor_does_one_that_repeats_share(self, tmp_path):
        def trigger(dataset, index, number):
            dataset.TriggerTime = 10.0 * index

        scan = scan_study(repeated(tmp_path, trigger))

        assert [item.n_slices for item in scan.candidates] == [11, 11]

    def test_echoes_of_repeats_are_split_by_both(self, tmp_path):
        def trigger(dataset, index, number):
            # Slices of two images have one time, and none of them one place.
            dataset.TriggerTime = float((index + 3 * number) % 11 + 11 * (number // 2))

        scan = scan_study(repeated(tmp_path, trigger, echoes=2))

        assert [item.n_slices for item in scan.candidates] == [11] * 4

    def test_echoes_are_split_before_packages(self, tmp_path):
        def package(dataset, index, number):
            dataset.AcquisitionNumber = index % 2 + 1

        scan = scan_study(repeated(tmp_path, package, echoes=3, repeats=1))

        assert [item.n_slices for item in scan.candidates] == [11] * 3


class TestTable:
    @pytest.fixture
    def folder(self, tmp_path):
        """Two repeats of the neck and, farther down, the loins."""
        for number, down in ((1, 0), (2, 0), (3, 400)):
            places = [cases.place_of(3.3 * index, down=down) for index in range(11)]
            slices = cases.dicom_series(cases.spine_voxels(seed=number), series=number)
            for dataset, place in zip(slices, places, strict=True):
                dataset.ImagePositionPatient = place
            cases.save(slices, tmp_path / "dcm" / str(number))
        return tmp_path

    def scan(self, folder, rows):
        (folder / "cases.csv").write_text("case,t2w,series\n" + "\n".join(rows))
        return scan_study(study(folder / "cases.csv"))

    def test_every_series_named_is_chosen_and_no_other(self, folder):
        scan = self.scan(folder, ["a,dcm,1", "a,dcm,3"])

        assert [item.series_number for item in scan.chosen] == [1, 3]
        assert scan.flags == ()

    def test_each_row_names_series_of_its_own_folder(self, folder):
        rows = ["a,dcm/3,t2w-01", "a,dcm/1,T2W-01"]

        scan = self.scan(folder, rows)

        assert [item.series_number for item in scan.chosen] == [1, 3]

    def test_a_nifti_file_is_chosen_whatever_its_station_is_called(self, folder):
        for name in ("img", "scan"):
            cases.write_nifti(folder / f"{name}.nii")

        one = self.scan(folder, ["a,img.nii,cervical"])
        two = self.scan(folder, ["a,img.nii,cervical", "a,scan.nii,lumbar"])

        assert [item.name for item in one.chosen] == ["img"]
        assert [item.name for item in two.chosen] == ["img", "scan"]
        assert load_study(study(folder / "cases.csv"))

    def test_a_row_that_names_nothing_leaves_the_choice_open_and_is_told(self, folder):
        scan = self.scan(folder, ["a,dcm,1", "a,dcm,7"])

        assert [item.series_number for item in scan.chosen] == [2, 3]
        assert [flag.code for flag in scan.flags] == ["series_not_found"]
        assert scan.flags[0].needs_review

    def test_the_only_row_must_name_something(self, folder):
        scan = self.scan(folder, ["a,dcm,7"])

        assert scan.chosen == ()
        assert nothing_chosen(scan).message == "a: no series matches '7'."

    def test_an_option_beats_the_table(self, folder):
        self.scan(folder, ["a,dcm,1", "a,dcm,3"])

        scan = scan_study(study(folder / "cases.csv"), series="2")

        assert [item.series_number for item in scan.chosen] == [2]


class TestNifti:
    def test_images_that_fit_equally_are_ambiguous(self, tmp_path):
        for name in ("scanA", "scanB"):
            cases.write_nifti(tmp_path / "d" / "p" / f"{name}.nii")

        with pytest.raises(AmbiguousSeriesError, match="scanA, scanB"):
            load_study(study(tmp_path / "d"))

    def test_a_named_one_of_them_is_read(self, tmp_path):
        for name in ("scanA", "scanB"):
            cases.write_nifti(tmp_path / "d" / "p" / f"{name}.nii")

        found = load_study(study(tmp_path / "d"), series="scanA")

        assert [volume.name for volume in found] == ["scanA"]

    def test_the_name_decides(self, tmp_path):
        for name in ("t1w", "t2w", "t2w_stir"):
            cases.write_nifti(tmp_path / "p" / f"{name}.nii")

        assert [v.name for v in load_study(study(tmp_path / "p"))] == ["t2w"]

    def test_a_map_of_labels_beside_is_no_rival(self, tmp_path):
        cases.write_nifti(tmp_path / "p" / "t2_fake_lesion.nii.gz")
        labels = (cases.spine_voxels() > 600).astype(np.int16)
        cases.write_nifti(tmp_path / "p" / "t2_lesion.nii.gz", labels)

        (source,) = find_studies([tmp_path / "p"])

        assert [volume.name for volume in load_study(source)] == ["t2_fake_lesion"]

    def test_a_map_of_labels_is_known_by_its_voxels(self, tmp_path):
        cases.write_nifti(tmp_path / "d" / "p" / "scanA.nii")
        labels = (cases.spine_voxels() > 600).astype(np.int16)
        cases.write_nifti(tmp_path / "d" / "p" / "scanB.nii", labels)

        volumes = load_study(study(tmp_path / "d"))

        assert [volume.name for volume in volumes] == ["scanA"]

    def test_stations_come_from_head_to_foot(self, tmp_path):
        for name, down in (("lumbar", 300), ("cervical", 0), ("thoracic", 150)):
            affine = cases.spine_affine()
            affine[2, 3] -= down
            cases.write_nifti(tmp_path / "p" / f"{name}.nii", affine=affine)

        found = [volume.name for volume in load_study(study(tmp_path / "p"))]

        assert found == ["cervical", "thoracic", "lumbar"]

    def test_a_station_that_cannot_be_read_is_told(self, tmp_path):
        cases.write_nifti(tmp_path / "p" / "cervical.nii")
        path = cases.write_nifti(tmp_path / "p" / "lumbar.nii.gz")
        path.write_bytes(path.read_bytes()[:-4])

        (volume,) = load_study(study(tmp_path / "p"))

        assert [flag.code for flag in volume.flags] == ["series_refused"]

    def test_equal_names_are_numbered(self, tmp_path):
        for name in ("t2w.nii", "t2w.nii.gz"):
            cases.write_nifti(tmp_path / "p" / name)

        names = {item.name for item in scan_study(study(tmp_path / "p")).candidates}

        assert names == {"t2w", "t2w-2"}

    def test_a_volume_says_where_it_is_from(self, tmp_path):
        path = cases.write_nifti(tmp_path / "t2w.nii.gz")
        candidate = scan_study(study(path)).candidates[0]

        volume = load_series(candidate)

        assert (volume.source_format, volume.source_name) == ("nifti", "t2w.nii.gz")
        assert len(volume.source_sha256) == 64
        assert candidate.plane is Plane.SAGITTAL

    @pytest.mark.parametrize("sform_code", [0, 1])
    def test_a_negative_voxel_size_does_not_mirror(self, tmp_path, sform_code):
        edges = np.multiply(cases.SPACING_MM, (-1, 1, 1))
        path = cases.write_nifti(
            tmp_path / "t2w.nii", sform_code=sform_code, pixdim=(1, *edges, 1, 1, 1, 1)
        )

        (volume,) = load_study(study(path))

        np.testing.assert_allclose(volume.affine_ras, cases.spine_affine(), atol=2e-3)
        assert [flag.code for flag in volume.flags] == ["spacing_negative"]

    def test_files_that_vanish_are_unreadable(self, tmp_path):
        path = cases.write_nifti(tmp_path / "t2w.nii")
        source = study(path)
        candidate = scan_study(source).candidates[0]
        path.unlink()

        with pytest.raises(UnreadableFileError):
            load_series(candidate)
        with pytest.raises(UnreadableFileError):
            source.fingerprint()
        assert scan_study(source).candidates[0].verdict is Verdict.REJECTED


def complex_parts(order):
    """An enhanced object that holds two complex parts of each slice."""
    voxels = cases.spine_voxels()
    shown = {"MAGNITUDE": voxels, "REAL": voxels + 7}
    stored = np.concatenate([shown[part] for part in order])
    whole = cases.enhanced(stored, ImageType=["ORIGINAL", "PRIMARY", "OTHER", "MIXED"])
    for number, frame in enumerate(whole.PerFrameFunctionalGroupsSequence):
        part, at = divmod(number, len(voxels))
        place = cases.place_of(at * cases.SPACING_MM[0])
        frame.PlanePositionSequence[0].ImagePositionPatient = place
        kind = Dataset()
        kind.ComplexImageComponent = order[part]
        frame.MRImageFrameTypeSequence = Sequence([kind])
    return whole, voxels


@pytest.mark.parametrize("order", [("MAGNITUDE", "REAL"), ("REAL", "MAGNITUDE")])
def test_the_magnitude_is_read_whichever_part_comes_first(tmp_path, order):
    whole, voxels = complex_parts(order)
    cases.save([whole], tmp_path / "p")
    (source,) = find_studies([tmp_path])

    verdicts = sorted(one.verdict.value for one in scan_study(source).candidates)
    (volume,) = load_study(source)

    assert verdicts == ["chosen", "rejected"]
    assert volume.voxels.sum() == voxels.sum()


def test_a_series_chosen_for_want_of_a_better_one_is_flagged(tmp_path):
    shape, affine = (40, 96, 80), np.diag([1.0, 1.0, 1.0, 1.0])
    cases.write_nifti(tmp_path / "p" / "scan.nii", np.zeros(shape, np.int16), affine)
    cases.write_nifti(tmp_path / "q" / "T2w_sag.nii")

    first, second = (scan_study(source).chosen for source in find_studies([tmp_path]))

    assert [flag.code for flag in first[0].flags] == ["weighting_unknown"]
    assert [flag.code for flag in second[0].flags] == []
