import os
import re
import zipfile

import numpy as np
import pytest
import study_cases as cases

from spinaldx.errors import NoUsableSeriesError, UnreadableFileError, UsageError
from spinaldx.study import find_studies, load_study, scan_study


def names(*inputs):
    return [source.name for source in find_studies(inputs)]


def files_by_name(folder):
    return {
        source.name: [file.path for file in source.source_files]
        for source in find_studies([folder])
    }


def folders_by_name(folder):
    return {name: paths[0].parent for name, paths in files_by_name(folder).items()}


class TestNiftiFolders:
    def test_a_file_is_a_study(self, tmp_path):
        path = cases.write_nifti(tmp_path / "case 7.nii.gz")

        assert names(path) == ["case_7"]

    def test_a_folder_with_one_image_bears_its_name(self, tmp_path):
        cases.write_nifti(tmp_path / "anna" / "t2w.nii.gz")
        cases.write_nifti(tmp_path / "anna" / "t2w_lesion_mask.nii.gz")

        assert names(tmp_path / "anna") == ["anna"]
        assert names(tmp_path) == ["anna"]

    def test_a_flat_folder_is_one_study_a_file(self, tmp_path):
        for name in ("p1", "p2", "p3"):
            cases.write_nifti(tmp_path / f"{name}.nii.gz")

        assert names(tmp_path) == ["p1", "p2", "p3"]

    def test_stations_of_one_patient_are_one_study(self, tmp_path):
        for name in ("p1_cervical_T2w", "p1_thoracic_T2w", "p2_T2w"):
            cases.write_nifti(tmp_path / f"{name}.nii.gz")

        found = find_studies([tmp_path])

        assert [(s.name, len(s.nifti)) for s in found] == [("p1", 2), ("p2_T2w", 1)]

    def test_bids_sessions_are_studies(self, tmp_path):
        for name in ("sub-1/ses-a/anat", "sub-1/ses-b/anat", "sub-2/anat"):
            cases.write_nifti(tmp_path / name / "x_T2w.nii.gz")

        assert names(tmp_path) == ["sub-1__ses-a", "sub-1__ses-b", "sub-2"]

    def test_many_patients_in_a_folder_below_are_kept_apart(self, tmp_path):
        for number in range(13):
            cases.write_nifti(tmp_path / "all" / f"case{number:02d}.nii")

        assert len(names(tmp_path)) == 13
        assert names(tmp_path)[0] == "all__case00"

    def test_results_of_this_program_are_left_alone(self, tmp_path):
        cases.write_nifti(tmp_path / "out" / "s1" / "t2w" / "t2w.nii.gz")
        (tmp_path / "out" / "s1" / "prediction.json").write_text("{}")

        with pytest.raises(UnreadableFileError, match="no MRI study"):
            find_studies([tmp_path])

    @pytest.mark.parametrize("text", ['{"schema_version": 9}', "{", "{}"])
    def test_new_and_damaged_results_too(self, tmp_path, text):
        cases.write_nifti(tmp_path / "out" / "s1" / "t2w" / "t2w.nii.gz")
        (tmp_path / "out" / "s1" / "failure.json").write_text(text)

        with pytest.raises(UnreadableFileError, match="no MRI study"):
            find_studies([tmp_path])

    @pytest.mark.parametrize("text", ['{"prediction": "ms"}', "[1]"])
    def test_results_of_other_programs_hide_nothing(self, tmp_path, text):
        cases.write_nifti(tmp_path / "p1" / "t2w.nii.gz")
        (tmp_path / "p1" / "prediction.json").write_text(text)

        assert names(tmp_path) == ["p1"]

    def test_a_circle_of_links_ends(self, tmp_path):
        cases.write_nifti(tmp_path / "a" / "t2w.nii.gz")
        (tmp_path / "a" / "again").symlink_to(tmp_path)

        assert names(tmp_path) == ["a"]


class TestNames:
    def test_equal_files_get_their_parents_name(self, tmp_path):
        paths = [cases.write_nifti(tmp_path / p / "t2w.nii") for p in ("a", "b")]

        assert names(*paths) == ["a__t2w", "b__t2w"]

    def test_equal_parents_are_told_apart_by_theirs(self, tmp_path):
        places = [tmp_path / patient / "anat" for patient in ("p1", "p2")]
        paths = [cases.write_nifti(place / "t2w.nii") for place in places]

        assert names(*paths) == ["p1__anat__t2w", "p2__anat__t2w"]

    def test_inputs_that_nothing_tells_apart_are_refused(self, tmp_path):
        paths = [
            cases.write_nifti(tmp_path / folder / "p" / "t2w.nii")
            for folder in ("a b", "a_b")
        ]

        with pytest.raises(
            UsageError, match="Several studies would be named"
        ) as caught:
            find_studies(paths)

        assert "Rename" in caught.value.hint

    def test_names_equal_when_made_safe_get_a_code_each(self, tmp_path):
        for name in ("a b", "a_b"):
            cases.write_nifti(tmp_path / name / "t2w.nii")

        found = find_studies([tmp_path])

        assert all(re.fullmatch(r"a_b-[0-9a-f]{8}", one.name) for one in found)
        assert found[0].name != found[1].name
        assert all("code" in one.notes[0] for one in found)

    def test_a_code_stays_when_another_folder_comes_in_between(self, tmp_path):
        for name in ("a b", "a_b"):
            cases.write_nifti(tmp_path / name / "t2w.nii")
        before = folders_by_name(tmp_path)
        for name in ("A_b", "a  b"):
            cases.write_nifti(tmp_path / name / "t2w.nii")

        after = folders_by_name(tmp_path)

        assert len(after) == 4
        assert before.items() <= after.items()

    def test_the_plain_name_is_nobody_s_once_it_is_several_studies(self, tmp_path):
        cases.write_nifti(tmp_path / "a_b" / "t2w.nii")
        assert names(tmp_path) == ["a_b"]
        cases.write_nifti(tmp_path / "a b" / "t2w.nii")

        assert "a_b" not in names(tmp_path)

    def test_a_name_is_not_one_that_a_code_made(self, tmp_path):
        for name in ("a b", "a_b"):
            cases.write_nifti(tmp_path / name / "t2w.nii")
        cases.write_nifti(tmp_path / names(tmp_path)[0] / "t2w.nii")

        with pytest.raises(UsageError, match="Several studies would be named"):
            find_studies([tmp_path])

    def test_an_input_named_twice_counts_once(self, tmp_path):
        path = cases.write_nifti(tmp_path / "t2w.nii")

        assert names(path, path) == ["t2w"]

    def test_two_studies_in_one_folder_get_a_code_each(self, tmp_path):
        cases.save(cases.dicom_series(study=1)[:1], tmp_path / "p", "a{}")
        cases.save(cases.dicom_series(study=2)[:1], tmp_path / "p", "b{}")

        first, second = names(tmp_path)

        assert re.fullmatch(r"p-[0-9a-f]{8}", first)
        assert re.fullmatch(r"p-[0-9a-f]{8}", second)
        assert names(tmp_path / "p") == [first, second]

    def test_a_code_stays_when_a_study_comes_in_between(self, tmp_path):
        cases.save(cases.dicom_series(study=1)[:1], tmp_path / "p", "a{}")
        cases.save(cases.dicom_series(study=3)[:1], tmp_path / "p", "c{}")
        before = files_by_name(tmp_path)
        cases.save(cases.dicom_series(study=2)[:1], tmp_path / "p", "b{}")
        cases.write_nifti(tmp_path / "p" / "t2w.nii")

        after = files_by_name(tmp_path)

        assert len(after) == 4
        assert before.items() <= after.items()

    def test_a_code_stays_when_a_study_gets_another_series(self, tmp_path):
        for number in (1, 2):
            slices = cases.dicom_series(study=number)[:1]
            cases.save(slices, tmp_path / "p", f"{number}{{}}")
        before = names(tmp_path)
        cases.save(cases.dicom_series(study=1, series=2)[:1], tmp_path / "p", "x{}")

        assert names(tmp_path) == before

    def test_dicom_and_nifti_in_one_folder_are_two_studies(self, tmp_path):
        cases.save(cases.dicom_series()[:1], tmp_path / "p")
        cases.write_nifti(tmp_path / "p" / "t2w.nii")

        found = find_studies([tmp_path / "p"])

        assert [(len(one.dicom), len(one.nifti)) for one in found] == [(1, 0), (0, 1)]
        # Neither takes the name that the other had while it lay there alone.
        assert all(re.fullmatch(r"p-[0-9a-f]{8}", one.name) for one in found)

    def test_a_study_over_folders_bears_the_one_that_holds_all(self, tmp_path):
        for index, dataset in enumerate(cases.dicom_series()[:4]):
            cases.save([dataset], tmp_path / "p" / f"series{index % 2}", f"{index}")

        assert names(tmp_path) == ["p"]


def flags_of(folder):
    return [
        (source.name, [flag.code for flag in source.flags])
        for source in find_studies([folder])
    ]


class TestPatients:
    def save(self, folder, number, **tags):
        slices = cases.dicom_series(study=number, **tags)[:2]
        cases.save(slices, folder, f"{number}-{{}}")

    def test_without_a_study_uid_each_folder_is_a_study(self, tmp_path):
        for number in (1, 2):
            self.save(tmp_path / f"p{number}", number, StudyInstanceUID=None)

        assert flags_of(tmp_path) == [
            ("p1", ["study_uid_missing"]),
            ("p2", ["study_uid_missing"]),
        ]

    def test_patients_of_one_study_uid_are_studies(self, tmp_path):
        for number in (1, 2):
            tags = {"StudyInstanceUID": "1.2.3", "PatientID": f"CANARY-{number}"}
            self.save(tmp_path / f"p{number}", number, **tags)

        assert flags_of(tmp_path) == [
            ("p1", ["patients_split"]),
            ("p2", ["patients_split"]),
        ]
        assert "CANARY" not in repr(find_studies([tmp_path]))
        assert "CANARY" not in str([s.dicom for s in find_studies([tmp_path])])

    def test_patients_in_one_folder_without_study_uid_are_studies(self, tmp_path):
        for number in (1, 2, 3):
            patient = None if number == 3 else f"P{number}"
            tags = {"StudyInstanceUID": None, "PatientID": patient}
            self.save(tmp_path / "p", number, **tags)

        codes = ["study_uid_missing", "patients_split", "folder_shared"]
        found = flags_of(tmp_path)
        assert [flags for _, flags in found] == [codes] * 3
        assert len({name for name, _ in found}) == 3

    @pytest.mark.parametrize("study_uid", [None, "1.2.3"])
    def test_codes_stay_when_a_patient_comes_in_between(self, tmp_path, study_uid):
        for number in (1, 3):
            tags = {"StudyInstanceUID": study_uid, "PatientID": f"P{number}"}
            self.save(tmp_path / "p", number, **tags)
        before = files_by_name(tmp_path)
        self.save(tmp_path / "p", 2, StudyInstanceUID=study_uid, PatientID="P2")

        assert before.items() <= files_by_name(tmp_path).items()

    def test_a_code_does_not_depend_on_the_patient_id(self, tmp_path):
        # Eight digits of a hash of a short text can be guessed back.
        found = []
        for letter in "ab":
            for number in (1, 2):
                tags = {"StudyInstanceUID": None, "PatientID": f"{letter}{number}"}
                self.save(tmp_path / letter / "p", number, **tags)
            found.append(sorted(names(tmp_path / letter)))

        assert found[0] == found[1]

    def test_names_of_several_patients_in_a_folder_below_are_flagged(self, tmp_path):
        for name in ("a/smith_T2w", "a/jones_T2w", "b/sub-1_T1w", "b/sub-1_T2w"):
            cases.write_nifti(tmp_path / f"{name}.nii")

        assert flags_of(tmp_path) == [("a", ["patients_mixed"]), ("b", [])]
        flag = find_studies([tmp_path])[0].flags[0]
        assert flag.needs_review
        assert "smith" not in flag.message

    def test_names_tell_patients_apart_where_nobody_has_an_id(self, tmp_path):
        for number, name in enumerate(("CANARY^A", "CANARY^B"), start=1):
            tags = {"StudyInstanceUID": "1.2.3", "PatientID": "", "PatientName": name}
            self.save(tmp_path / f"p{number}", number, **tags)

        assert [flags for _, flags in flags_of(tmp_path)] == [["patients_split"]] * 2
        assert "CANARY" not in str([s.dicom for s in find_studies([tmp_path])])

    def test_a_case_of_several_patients_is_flagged(self, tmp_path):
        for number in (1, 2):
            self.save(tmp_path / f"d{number}", number, PatientID=f"CANARY-{number}")
        table = tmp_path / "cases.csv"
        table.write_text("case,t2w\np,d1\np,d2\n")

        (source,) = find_studies([table])

        (flag,) = source.flags
        assert (flag.code, flag.needs_review) == ("patients_mixed", True)
        assert "CANARY" not in flag.message

    @pytest.mark.parametrize(
        ("stems", "found"),
        [
            ("C_1_T2w T_1_T2w L_1_T2w", ["in"]),
            ("part1_T2w part2_T2w", ["in"]),
            (
                "C_01_T2w T_01_T2w C_02_T2w T_02_T2w",
                ["C_01_T2w", "C_02_T2w", "T_01_T2w", "T_02_T2w"],
            ),
        ],
    )
    def test_letters_before_numbers(self, tmp_path, stems, found):
        for stem in stems.split():
            cases.write_nifti(tmp_path / "in" / f"{stem}.nii")

        assert names(tmp_path / "in") == found
        mixed = [flags for _, flags in flags_of(tmp_path / "in")]
        assert mixed == ([["patients_mixed"]] if found == ["in"] else [[]] * 4)

    def test_folders_of_images_without_a_subject_keep_their_names(self, tmp_path):
        cases.write_nifti(tmp_path / "p1" / "anat" / "T2w.nii")
        cases.write_nifti(tmp_path / "ses-1" / "anat" / "T2w.nii")

        assert names(tmp_path) == ["p1__anat", "ses-1"]

    def test_folders_of_patients_below_a_session_are_studies(self, tmp_path):
        for patient in ("p1", "p2"):
            cases.write_nifti(tmp_path / "ses-1" / patient / "T2w.nii")

        assert names(tmp_path) == ["ses-1__p1", "ses-1__p2"]

    def test_folders_of_patients_below_a_subject_are_flagged(self, tmp_path):
        for patient in ("p1", "p2"):
            cases.write_nifti(tmp_path / "sub-ms" / patient / "T2w.nii")
        for station in ("cervical", "thoracic"):
            cases.write_nifti(tmp_path / "sub-02" / station / "T2w.nii")

        assert flags_of(tmp_path) == [("sub-02", []), ("sub-ms", ["patients_mixed"])]

    def test_one_patient_however_written_is_one(self, tmp_path):
        for number, patient in enumerate((None, "p7", "P7 "), start=1):
            tags = {"StudyInstanceUID": "1.2.3", "PatientID": patient}
            self.save(tmp_path / "p", number, **tags)

        assert flags_of(tmp_path) == [("p", [])]


class TestInputs:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(UsageError, match="no such file"):
            find_studies([tmp_path / "no"])

    def test_a_dicomdir_stands_for_its_folder(self, tmp_path):
        cases.save(cases.dicom_series()[:1], tmp_path / "cd")
        (tmp_path / "cd" / "DICOMDIR").write_bytes(b"\0" * 132)

        assert names(tmp_path / "cd" / "DICOMDIR") == ["cd"]

    def test_a_single_dicom_file(self, tmp_path):
        paths = cases.save(cases.dicom_series()[:1], tmp_path)

        assert names(paths[0]) == ["IM0000"]

    def test_a_file_that_only_is_named_like_dicom(self, tmp_path):
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "x.dcm").write_text("no")

        source = find_studies([tmp_path])[0]

        with pytest.raises(UnreadableFileError, match="named like DICOM"):
            scan_study(source)

    def test_a_table_names_the_cases(self, tmp_path):
        cases.write_nifti(tmp_path / "i" / "a.nii")
        cases.write_nifti(tmp_path / "i" / "b.nii")
        table = tmp_path / "cases.csv"
        table.write_text("case,t2w\nx 1,i/a.nii\ny,i/b.nii\nz,i/no.nii\nw,i\n")

        found = find_studies([table])

        assert [source.name for source in found] == ["x_1", "y", "z", "w"]
        assert [source.problem is None for source in found] == [
            True,
            True,
            False,
            False,
        ]

    def test_rows_of_one_case_are_stations(self, tmp_path):
        cases.write_nifti(tmp_path / "c_cervical.nii")
        cases.write_nifti(tmp_path / "c_lumbar.nii")
        table = tmp_path / "cases.csv"
        table.write_text("case,series,t2w\nc,1,c_cervical.nii\nc,2,c_lumbar.nii\n")

        found = find_studies([table])

        assert len(found) == 1
        assert len(load_study(found[0])) == 2


class TestUnreadable:
    """What cannot be read is a study with its problem, or a flag; never nothing."""

    def test_patients_of_whom_nothing_can_be_read(self, tmp_path):
        cases.write_nifti(tmp_path / "p1" / "T2w.nii")
        (tmp_path / "p2.zip").write_bytes(b"PK\3\4 damaged")
        (tmp_path / "p3" / "a").mkdir(parents=True)
        (tmp_path / "p3" / "a" / "1.dcm").write_bytes(b"cut off")
        (tmp_path / "p3" / "a" / "2.dcm").write_bytes(b"cut off")

        found = {source.name: source.problem for source in find_studies([tmp_path])}

        assert list(found) == ["p1", "p2", "p3__a"]
        assert found["p1"] is None
        assert "p2.zip" in found["p2"].message
        assert "1.dcm" in found["p3__a"].message

    def test_strays_above_studies_and_system_folders_are_nobody(self, tmp_path):
        cases.write_nifti(tmp_path / "site" / "p1" / "T2w.nii")
        for stray in ("notes.dcm", "site/x.ima", "lost+found/y.dcm"):
            (tmp_path / stray).parent.mkdir(exist_ok=True)
            (tmp_path / stray).write_text("no")

        assert flags_of(tmp_path) == [("site__p1", [])]

    def test_faults_in_a_study_s_folder_are_its_own(self, tmp_path):
        cases.save(cases.dicom_series()[:2], tmp_path / "p")
        (tmp_path / "p" / "below").mkdir()
        (tmp_path / "p" / "below" / "1.dcm").write_bytes(b"cut off")

        assert flags_of(tmp_path) == [("p", ["files_unreadable"])]

    @pytest.mark.parametrize("content", [b"", bytes(100), bytes(4000)])
    def test_an_empty_slice_without_suffix_is_flagged(self, tmp_path, content):
        cases.save(cases.dicom_series()[:3], tmp_path / "p", "IM{}")
        (tmp_path / "p" / "IM2").write_bytes(content)

        assert flags_of(tmp_path) == [("p", ["files_unreadable"])]

    def test_empty_files_elsewhere_are_nothing(self, tmp_path):
        cases.write_nifti(tmp_path / "p" / "T2w.nii")
        (tmp_path / "p" / "done").touch()

        assert flags_of(tmp_path) == [("p", [])]

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        cases.write_nifti(tmp_path / "p" / "T2w.nii")
        os.mkfifo(tmp_path / "p" / "pipe")

        assert names(tmp_path) == ["p"]

    @pytest.mark.skipif(os.getuid() == 0, reason="root reads every folder")
    def test_a_closed_folder_is_a_study_with_a_problem(self, tmp_path):
        cases.write_nifti(tmp_path / "p1" / "T2w.nii")
        (tmp_path / "p2").mkdir(mode=0)

        problem = find_studies([tmp_path])[1].problem

        assert "p2: cannot be read" in problem.message


def test_initials_that_mean_a_mask_are_read_as_images(tmp_path):
    for name in ("GT_T2w", "AB_T2w", "AB_T2w_seg"):
        cases.write_nifti(tmp_path / f"{name}.nii")
    labels = np.zeros(cases.SHAPE, np.int16)
    labels[5, 40:50, 44] = 1
    cases.write_nifti(tmp_path / "ROI_T2w.nii", labels)
    cases.write_nifti(tmp_path / "prob_T2w.nii")

    assert names(tmp_path) == ["AB_T2w", "GT_T2w"]


class TestBids:
    @pytest.mark.parametrize(
        "name", ["sub-01_T2w", "sub-01_ses-2_T2w", "sub-sub01_acq-sag_run-1_T2w"]
    )
    def test_its_images_are_read(self, tmp_path, name):
        cases.write_nifti(tmp_path / "sub-01" / "anat" / f"{name}.nii.gz")

        (source,) = find_studies([tmp_path])

        assert source.name == "sub-01"
        assert len(load_study(source)) == 1


class TestFingerprint:
    def test_follows_the_bytes_not_the_folder(self, tmp_path):
        one = cases.write_nifti(tmp_path / "a" / "t2w.nii")
        two = cases.write_nifti(tmp_path / "b" / "t2w.nii")
        first, second = (find_studies([path])[0].fingerprint() for path in (one, two))
        two.write_bytes(two.read_bytes()[:-1] + b"x")

        assert first == second
        assert find_studies([two])[0].fingerprint() != first

    def test_follows_which_series_of_which_file_is_meant(self, tmp_path):
        for name in ("a", "b"):
            cases.write_nifti(tmp_path / f"{name}.nii")
        table, found = tmp_path / "cases.csv", []
        for first, second in ((1, 2), (2, 1)):
            table.write_text(f"case,t2w,series\nc,a.nii,{first}\nc,b.nii,{second}\n")
            found.append(find_studies([table])[0].fingerprint())

        assert found[0] != found[1]

    def test_takes_every_dicom_file_once(self, tmp_path):
        cases.save([cases.enhanced()], tmp_path / "p")

        source = find_studies([tmp_path / "p"])[0]

        assert len(source.source_files) == 1
        assert len(source.fingerprint()) == 64

    def test_follows_the_voxels_of_a_pair(self, tmp_path):
        (source,) = find_studies([cases.write_pair(tmp_path / "p")])
        first = source.fingerprint()
        cases.write_pair(tmp_path / "p", cases.spine_voxels(seed=1))

        assert source.fingerprint() != first

    def test_follows_the_voxels_of_a_pair_in_an_archive(self, tmp_path):
        found = []
        for seed in (0, 1):
            header = cases.write_pair(tmp_path / "p", cases.spine_voxels(seed=seed))
            files = {
                f"p/{path.name}": path.read_bytes() for path in header.parent.iterdir()
            }
            archive = zipped(tmp_path / f"{seed}.zip", files)
            found.append(find_studies([archive])[0].fingerprint())

        assert found[0] != found[1]

    def test_a_header_without_voxels_has_one_too(self, tmp_path):
        header = cases.write_pair(tmp_path / "p")
        header.with_suffix(".img").unlink()

        assert len(find_studies([header])[0].fingerprint()) == 64


def zipped(path, files, **changes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in changes.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return path


class TestArchives:
    def test_a_study_in_an_archive(self, tmp_path):
        paths = cases.save(cases.dicom_series(), tmp_path / "x")
        files = {f"study/{path.name}": path.read_bytes() for path in paths}
        files["__MACOSX/study/._IM0001"] = b"junk"

        source = find_studies([zipped(tmp_path / "p9.zip", files)])[0]

        assert source.name == "study"
        assert load_study(source)[0].voxels.shape == (80, 96, 11)

    def test_nifti_pair_in_an_archive(self, tmp_path):
        cases.write_pair(tmp_path / "x")
        files = {
            f"a/{path.name}": path.read_bytes() for path in (tmp_path / "x").iterdir()
        }
        archive = zipped(tmp_path / "p.zip", files)

        assert load_study(find_studies([archive])[0])[0].voxels.shape == cases.SHAPE

    @pytest.mark.parametrize(
        ("files", "changes", "reason"),
        [
            ({"../../x.dcm": b"1"}, {}, "leads outside"),
            ({"/etc/x.dcm": b"1"}, {}, "leads outside"),
            ({"C:\\x.dcm": b"1"}, {}, "leads outside"),
            ({"x.dcm": b"/etc"}, {"external_attr": 0o120777 << 16}, "link"),
            ({"x.dcm": b"\0" * (9 << 20)}, {}, "bomb"),
        ],
    )
    def test_hostile_ones_are_refused(self, tmp_path, files, changes, reason):
        archive = zipped(tmp_path / "p.zip", files, **changes)

        with pytest.raises(UnreadableFileError, match=reason):
            scan_study(find_studies([archive])[0])

    def test_no_archive_at_all(self, tmp_path):
        (tmp_path / "p.zip").write_bytes(b"PK no")

        with pytest.raises(UnreadableFileError, match="not a readable zip"):
            scan_study(find_studies([tmp_path / "p.zip"])[0])

    def test_a_damaged_member(self, tmp_path):
        content = cases.nifti_bytes()
        archive = zipped(tmp_path / "p.zip", {"a/t2w.nii": content})
        raw = bytearray(archive.read_bytes())
        raw[len(raw) // 2] ^= 255
        archive.write_bytes(raw)

        with pytest.raises((UnreadableFileError, NoUsableSeriesError), match=r"t2w"):
            load_study(find_studies([archive])[0])
