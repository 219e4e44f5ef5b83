import json
import shutil

import nibabel
import pytest
from report_cases import case_of

from spinaldx.errors import UnreadableFileError, UsageError
from spinaldx.files import sha256_of
from spinaldx.records import Diagnosis
from spinaldx.report import WriteOptions, read_case, write_case, write_failure
from spinaldx.report.pictures import FigureFormat
from spinaldx.report.rebuild import (
    RebuildOptions,
    SourceImages,
    rebuild_reports,
    recorded_inputs,
)


def report_of(folder):
    return (folder / "report.pdf").read_bytes()


def record_run(out, inputs):
    (out / "runs").mkdir(parents=True, exist_ok=True)
    record = {"options": {"inputs": [str(path) for path in inputs]}}
    (out / "runs" / "run.json").write_text(json.dumps(record))


@pytest.fixture
def nifti_study(tmp_path):
    """A study read from a NIfTI file, which its results do not copy."""
    result = case_of(study="p1", source_format="nifti")
    (item,) = result.series
    source = tmp_path / "in" / "p1" / "t2w.nii.gz"
    source.parent.mkdir(parents=True)
    image = nibabel.Nifti1Image(item.volume.voxels, item.volume.affine_ras)
    nibabel.save(image, source)
    out = tmp_path / "out"
    write_case(result, out / "p1")
    path = out / "p1" / "prediction.json"
    record = json.loads(path.read_text())
    record["series"][0]["source_sha256"] = sha256_of(source)
    path.write_text(json.dumps(record))
    return out, source


class TestRebuildReports:
    @pytest.mark.parametrize("diagnosis", [Diagnosis.MS, Diagnosis.NO_LESION])
    def test_gives_the_same_bytes(self, tmp_path, diagnosis):
        write_case(case_of(diagnosis=diagnosis, series=("a", "b")), tmp_path / "s")
        first = report_of(tmp_path / "s")
        (tmp_path / "s" / "report.pdf").unlink()
        shutil.rmtree(tmp_path / "s" / "figures")
        (outcome,) = rebuild_reports(tmp_path)

        assert outcome.is_rebuilt
        assert outcome.lacks == ()
        assert report_of(tmp_path / "s") == first
        assert (tmp_path / "s" / "figures" / "key_image.png").is_file()

    def test_makes_a_report_that_was_left_out(self, tmp_path):
        write_case(case_of(), tmp_path / "s", WriteOptions(report=False))
        rebuild_reports(tmp_path)

        assert report_of(tmp_path / "s").startswith(b"%PDF")

    def test_makes_only_the_studies_named(self, tmp_path):
        for name in ("a", "b"):
            write_case(case_of(study=name), tmp_path / name, WriteOptions(report=False))
        outcomes = rebuild_reports(tmp_path, RebuildOptions(studies=("b",)))

        assert [item.study for item in outcomes] == ["b"]
        assert not (tmp_path / "a" / "report.pdf").exists()

    def test_tells_each_outcome_as_it_comes(self, tmp_path):
        write_case(case_of(study="a"), tmp_path / "a")
        told = []
        outcomes = rebuild_reports(tmp_path, progress=told.append)

        assert tuple(told) == outcomes

    def test_a_failed_study_says_why(self, tmp_path):
        write_failure("a", UnreadableFileError("x.nii: cut off."), tmp_path / "a")
        (outcome,) = rebuild_reports(tmp_path)

        assert not outcome.is_rebuilt
        assert outcome.has_failed
        assert outcome.lacks == ("The run failed: x.nii: cut off.",)

    def test_writes_figures_on_request(self, tmp_path):
        write_case(case_of(), tmp_path / "a")
        rebuild_reports(tmp_path, RebuildOptions(figures=FigureFormat.PNG))

        assert (tmp_path / "a" / "figures" / "probabilities.png").is_file()

    @pytest.mark.parametrize("damage", ["prediction.json", "t2w/heatmap.nii.gz"])
    def test_a_study_that_lacks_something_keeps_its_report(self, tmp_path, damage):
        write_case(case_of(), tmp_path / "a")
        first = report_of(tmp_path / "a")
        (tmp_path / "a" / damage).write_bytes(b"")
        (outcome,) = rebuild_reports(tmp_path)

        assert not outcome.is_rebuilt
        assert damage.split("/")[-1] in outcome.lacks[0]
        assert report_of(tmp_path / "a") == first

    def test_a_mask_changed_by_hand_is_not_passed_off_as_the_result(self, tmp_path):
        write_case(case_of(), tmp_path / "a")
        write_case(case_of(lesions=2), tmp_path / "b", WriteOptions(report=False))
        mask = "t2w/lesion_mask.nii.gz"
        shutil.copy(tmp_path / "b" / mask, tmp_path / "a" / mask)
        (outcome,) = rebuild_reports(tmp_path, RebuildOptions(studies=("a",)))

        assert "was changed after the run" in outcome.lacks[0]

    def test_nothing_there_is_a_usage_error(self, tmp_path):
        with pytest.raises(UsageError, match="no results"):
            rebuild_reports(tmp_path / "none")

    def test_an_unknown_study_is_a_usage_error(self, tmp_path):
        write_case(case_of(), tmp_path / "a", WriteOptions(report=False))
        with pytest.raises(UsageError, match="no study zz"):
            rebuild_reports(tmp_path, RebuildOptions(studies=("zz",)))


class TestSourceImages:
    def test_are_found_where_the_run_read_them(self, nifti_study):
        out, source = nifti_study
        record_run(out, [source.parent.parent])
        first = report_of(out / "p1")
        rebuild_reports(out)
        (outcome,) = rebuild_reports(out)

        assert outcome.is_rebuilt
        # The hash of the source is printed and was made up before.
        assert len(report_of(out / "p1")) == pytest.approx(len(first), abs=300)

    def test_are_found_in_the_input_named(self, nifti_study):
        out, source = nifti_study
        (outcome,) = rebuild_reports(out, RebuildOptions(inputs=(source,)))

        assert outcome.is_rebuilt

    def test_a_name_hidden_by_a_pseudonym_is_found_by_its_bytes(self, nifti_study):
        out, source = nifti_study
        path = out / "p1" / "prediction.json"
        path.write_text(path.read_text().replace('"t2w.nii.gz"', '""'))
        (outcome,) = rebuild_reports(out, RebuildOptions(inputs=(source,)))

        assert outcome.is_rebuilt

    def test_another_image_of_the_same_name_is_not_taken(self, nifti_study):
        out, source = nifti_study
        image = nibabel.load(source)
        nibabel.save(nibabel.Nifti1Image(image.get_fdata() + 1, image.affine), source)
        (outcome,) = rebuild_reports(out, RebuildOptions(inputs=(source,)))

        assert outcome.lacks == (
            "t2w: t2w.nii.gz was not found where the run read it.",
        )

    def test_a_damaged_image_is_as_good_as_none(self, nifti_study):
        out, source = nifti_study
        content = source.read_bytes()
        source.write_bytes(content[: len(content) // 2])
        images = SourceImages((source,))

        assert images.find(read_case(out / "p1").series[0]) is None

    def test_an_input_that_holds_no_study_any_more_is_no_error(self, nifti_study):
        out, source = nifti_study
        source.unlink()
        (outcome,) = rebuild_reports(out, RebuildOptions(inputs=(source.parent,)))

        assert not outcome.is_rebuilt

    def test_are_found_in_inputs_that_could_not_be_run_together(self, nifti_study):
        out, source = nifti_study
        # A copy under a path that nothing tells apart once it is made safe.
        copy = source.parents[1].with_name("in ") / "p1" / source.name
        copy.parent.mkdir(parents=True)
        shutil.copy(source, copy)
        (outcome,) = rebuild_reports(out, RebuildOptions(inputs=(source, copy)))

        assert outcome.is_rebuilt

    def test_nothing_is_searched_without_inputs(self, nifti_study):
        out, _ = nifti_study
        (outcome,) = rebuild_reports(out)

        assert not outcome.is_rebuilt


class TestRecordedInputs:
    def test_join_all_runs_and_leave_out_what_is_gone(self, tmp_path):
        record_run(tmp_path, [tmp_path, tmp_path / "gone"])

        assert recorded_inputs(tmp_path) == (tmp_path,)

    @pytest.mark.parametrize("content", ["", "[]", '{"options": 3}', "{}"])
    def test_a_damaged_run_file_is_passed_over(self, tmp_path, content):
        record_run(tmp_path, [tmp_path])
        (tmp_path / "runs" / "zz.json").write_text(content)

        assert recorded_inputs(tmp_path) == (tmp_path,)
