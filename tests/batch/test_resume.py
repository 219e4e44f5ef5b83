import json
import re
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from batch_cases import settings_for, write_study
from phantoms import affine_of, fake_bundle, spine_phantom

from spinaldx.batch.outcome import Outcome
from spinaldx.batch.resume import find_masks, resume_key
from spinaldx.cascade import CascadeOptions
from spinaldx.errors import UnreadableFileError, UsageError


def outcomes(found):
    return {item.study: item.outcome.value for item in found.studies}


KEPT = {"ada": "unchanged", "bob": "unchanged", "eve": "failed_before"}


class TestSecondRun:
    def test_nothing_is_done_for_what_is_there(self, run, studies, opened, out):
        first = run(studies)
        before = {
            p: p.stat().st_mtime_ns for p in out.glob("*/*") if "runs" not in str(p)
        }

        second = run(studies)

        assert outcomes(second) == KEPT
        assert second.exit_code == first.exit_code == 6
        assert len(opened) == 1
        assert before == {p: p.stat().st_mtime_ns for p in before}

    @pytest.mark.parametrize("report", [False, True])
    def test_what_was_lost_is_made_again(self, run, studies, out, report):
        run(studies[:2], report=report)
        written = [path for path in out.glob("[ab]*/**/*") if path.is_file()]
        of_studies = [path for path in written if path.name != "prediction.json"]

        for path in of_studies:
            before = path.read_bytes()
            path.unlink()
            found = run(studies[:2], report=report)
            study = path.relative_to(out).parts[0]
            assert outcomes(found)[study] == "complete", path
            assert path.read_bytes() == before
        assert any(path.name.startswith("heatmap") for path in of_studies)
        assert report == any(path.suffix == ".png" for path in of_studies)

    def test_a_failure_is_remembered_with_its_reason(self, run, studies):
        (first,) = run(studies[2:]).studies
        (second,) = run(studies[2:]).studies

        assert second.message == first.message
        assert second.exit_code == first.exit_code == 3
        assert "--retry-failed" in second.hint

    def test_answers_are_remembered(self, run, studies):
        run(studies)

        assert [item.answer for item in run(studies).studies] == [
            "nmosd",
            "no_lesion",
            "",
        ]

    def test_retry_failed_runs_the_failed_ones(self, run, studies):
        run(studies)

        assert outcomes(run(studies, retry_failed=True)) == {**KEPT, "eve": "failed"}

    def test_overwrite_runs_everything(self, run, studies):
        run(studies)

        assert outcomes(run(studies, overwrite=True)) == {
            "ada": "complete",
            "bob": "complete",
            "eve": "failed",
        }

    def test_changed_input_is_run_and_replaces_the_old(
        self, run, studies, out, tmp_path
    ):
        run(studies)
        (out / "ada/other").mkdir()
        (out / "ada/other/lesion_mask.nii.gz").write_text("of a former run")
        write_study(tmp_path / "in", "ada", rows=None)

        found = run(studies)

        assert outcomes(found) == {**KEPT, "ada": "complete"}
        assert found.studies[0].answer == "no_lesion"
        assert not (out / "ada/other").exists()

    def test_a_mended_input_is_run(self, run, studies, out, tmp_path):
        run(studies)
        write_study(tmp_path / "in", "eve")

        assert outcomes(run(studies)) == {**KEPT, "eve": "complete"}
        assert not (out / "eve/failure.json").exists()

    def test_an_input_that_breaks_replaces_the_result(self, run, studies, out):
        run(studies)
        studies[0].nifti[0].path.write_bytes(b"broken")

        assert outcomes(run(studies)) == {**KEPT, "ada": "failed"}
        assert [p.name for p in (out / "ada").iterdir()] == ["failure.json"]

    @pytest.mark.parametrize(
        "changes",
        [
            {"cascade": CascadeOptions(keep_probabilities=True)},
            {"cascade": CascadeOptions(needs_cord=False)},
            {"bundle": fake_bundle(description_sha256="1" * 64)},
            {"series": "t2w"},
            {"report": True},
        ],
    )
    def test_what_changes_results_is_run_anew(self, run, studies, changes):
        run(studies[:1])

        assert outcomes(run(studies[:1], **changes)) == {"ada": "complete"}
        assert outcomes(run(studies[:1], **changes)) == {"ada": "unchanged"}

    def test_a_report_that_is_there_does_no_harm(self, run, studies):
        run(studies[:1], report=True)

        assert outcomes(run(studies[:1], report=False)) == {"ada": "unchanged"}

    @pytest.mark.parametrize(
        "harm",
        [
            lambda folder: (folder / "t2w/lesion_mask.nii.gz").unlink(),
            lambda folder: (folder / "prediction.json").write_text("{"),
            lambda folder: (folder / "prediction.json").write_text("{}"),
            lambda folder: (folder / "prediction.json").write_text(
                '{"provenance": {}}'
            ),
        ],
    )
    def test_a_damaged_result_is_made_anew(self, run, studies, out, harm):
        run(studies[:1])
        harm(out / "ada")

        assert outcomes(run(studies[:1])) == {"ada": "complete"}

    def test_inputs_may_move(self, run, studies, tmp_path):
        run(studies[:1])
        (tmp_path / "in").rename(tmp_path / "moved")
        moved = write_study(tmp_path / "moved", "ada")

        assert outcomes(run([moved])) == {"ada": "unchanged"}


class TestHandwork:
    def test_files_that_a_person_put_into_a_result_stay(self, run, studies, out):
        run(studies[:1], report=True)
        kept = ["notes.txt", "t2w/lesion_mask_corrected.nii.gz", "mine/a.nii.gz"]
        for name in kept:
            (out / "ada" / name).parent.mkdir(exist_ok=True)
            (out / "ada" / name).write_text("mine")
        (out / "ada/figures/old.png").write_text("ours")

        assert outcomes(run(studies[:1], overwrite=True)) == {"ada": "complete"}
        assert all((out / "ada" / name).read_text() == "mine" for name in kept)
        assert not (out / "ada/figures/old.png").exists()

    def test_a_person_s_mask_is_not_given_up_unasked(self, run, studies, out, tmp_path):
        given = tmp_path / "masks/ada/t2w.nii.gz"
        given.parent.mkdir(parents=True)
        inside = np.zeros((5, 64, 32), np.uint8)
        nibabel.save(
            nibabel.Nifti1Image(inside, affine_of(inside.shape, (3.0, 1.0, 1.0))), given
        )
        run(studies[:1], masks=tmp_path / "masks")
        before = (out / "ada/prediction.json").read_bytes()

        (found,) = run(studies[:1]).studies
        assert (found.outcome, found.exit_code) == (Outcome.FAILED, 2)
        assert "is a person's" in found.message
        assert "--masks" in found.hint
        assert (out / "ada/prediction.json").read_bytes() == before
        assert outcomes(run(studies[:1], overwrite=True)) == {"ada": "complete"}


def test_a_result_stays_when_its_source_cannot_be_read_any_more(run, studies, out):
    run(studies[:1])
    before = (out / "ada/prediction.json").read_bytes()
    gone = replace(studies[0], problem=UnreadableFileError("ada.zip: damaged."))

    (found,) = run([gone]).studies
    assert (found.outcome, found.exit_code) == (Outcome.FAILED, 3)
    assert "earlier result of the study stays" in found.hint
    assert (out / "ada/prediction.json").read_bytes() == before
    assert run([gone], overwrite=True).studies[0].outcome is Outcome.FAILED
    assert not (out / "ada/prediction.json").exists()


class TestEditedMasks:
    @pytest.fixture
    def edited(self, run, studies, out):
        run(studies)
        mask = out / "ada/t2w/lesion_mask.nii.gz"
        mask.write_bytes(b"edited")
        return mask

    def test_edits_are_not_lost_to_other_weights(self, run, studies, edited):
        found = run(studies, bundle=fake_bundle(description_sha256="1" * 64))

        assert outcomes(found) == {"ada": "failed", "bob": "complete", "eve": "failed"}
        assert edited.read_bytes() == b"edited"
        assert found.studies[0].exit_code == 8
        assert "--masks" in found.studies[0].hint

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_nor_to_an_input_that_cannot_be_read(self, run, studies, edited, overwrite):
        studies[0].nifti[0].path.unlink()
        found = run(studies, overwrite=overwrite)

        assert found.studies[0].outcome is Outcome.FAILED
        assert ("edited in place" in found.studies[0].message) != overwrite
        assert edited.exists() != overwrite

    def test_given_as_a_mask_they_are_not_lost(self, run, studies, edited, tmp_path):
        given = tmp_path / "masks/ada/t2w.nii.gz"
        given.parent.mkdir(parents=True)
        inside = np.zeros((5, 64, 32), np.uint8)
        affine = affine_of(inside.shape, (3.0, 1.0, 1.0))
        nibabel.save(nibabel.Nifti1Image(inside, affine), given)
        edited.write_bytes(given.read_bytes())
        found = run(studies[:1], masks=tmp_path / "masks")

        assert outcomes(found) == {"ada": "complete"}
        assert found.studies[0].answer == "no_lesion"

    def test_they_do_no_harm_to_a_run_that_changes_nothing(self, run, studies, edited):
        assert outcomes(run(studies)) == KEPT

    def test_overwrite_gives_them_up(self, run, studies, edited):
        assert outcomes(run(studies, overwrite=True))["ada"] == "complete"


class TestMixing:
    def test_another_precision_is_warned_of(self, run, studies, caplog):
        run(studies[:1])

        found = run(studies[:2], precision="bf16")

        assert outcomes(found) == {"ada": "unchanged", "bob": "complete"}
        (warning,) = found.warnings
        assert "fake 1 by fake in fp32" in warning
        assert warning in caplog.text

    def test_other_weights_of_other_studies_are_warned_of(self, run, studies):
        run(studies[:1])
        other = fake_bundle(name="other", description_sha256="2" * 64)

        assert "fake 1" in run(studies[1:2], bundle=other).warnings[0]

    @pytest.mark.parametrize(
        "changes",
        [
            {"bundle": fake_bundle(description_sha256="2" * 64)},
            {"precision": "bf16", "overwrite": True},
        ],
    )
    def test_what_is_computed_anew_is_no_mixture(self, run, studies, changes):
        run(studies)

        assert run(studies, **changes).warnings == ()

    def test_a_broken_record_is_no_mixture(self, run, studies, out):
        run(studies[:1])
        (out / "ada/prediction.json").write_text('{"provenance": {"weights": 3}}')

        assert run(studies[:2]).warnings == ()


class TestResumeKey:
    def test_hangs_on_what_changes_results(self, studies, out):
        settings = settings_for(out)
        keys = {
            resume_key(studies[0], "ada", settings),
            resume_key(studies[1], "ada", settings),
            resume_key(studies[0], "ada", replace(settings, series="x")),
            resume_key(studies[0], "ada", replace(settings, pseudonyms=True)),
        }

        assert len(keys) == 4

    def test_does_not_hang_on_where_it_runs(self, studies, out, tmp_path):
        here = resume_key(studies[0], "ada", settings_for(out))
        there = resume_key(
            studies[0],
            "ada",
            settings_for(tmp_path, device="cuda", precision="bf16", report=True),
        )

        assert here == there

    def test_a_mask_that_cannot_be_read_is_named(self, studies, out, tmp_path):
        (tmp_path / "masks/ada/t2w.nii.gz").mkdir(parents=True)

        with pytest.raises(UnreadableFileError, match="mask"):
            resume_key(studies[0], "ada", settings_for(out, masks=tmp_path / "masks"))


class TestFindMasks:
    def put(self, folder, *names):
        (folder / "ada").mkdir()
        for name in names:
            (folder / "ada" / name).write_text("")

    def test_by_series(self, tmp_path):
        self.put(tmp_path, "a.nii.gz", "b.nii", "c.NII.GZ", "d.Nii")

        found = find_masks(tmp_path, "ada")

        assert {series: path.name for series, path in found.items()} == {
            "a": "a.nii.gz",
            "b": "b.nii",
            "c": "c.NII.GZ",
            "d": "d.Nii",
        }
        assert find_masks(tmp_path, "bob") == find_masks(None, "ada") == {}

    @pytest.mark.parametrize(
        "name", ["._a.nii.gz", "notes.txt", "a.json", "Thumbs.db", "a.itksnap"]
    )
    def test_what_lies_beside_masks_is_none(self, tmp_path, name):
        self.put(tmp_path, name)

        assert find_masks(tmp_path, "ada") == {}

    @pytest.mark.parametrize("name", ["a.nrrd", "a.seg.nrrd", "a.mha", "a.nii.gz.bak"])
    def test_files_of_another_kind_are_refused(self, tmp_path, name):
        self.put(tmp_path, "b.nii", name)

        with pytest.raises(UsageError, match=f"ada/{name} is no NIfTI") as caught:
            find_masks(tmp_path, "ada")
        assert "ada/<series>.nii.gz" in caught.value.hint

    def test_folders_are_refused(self, tmp_path):
        (tmp_path / "ada" / "t2w").mkdir(parents=True)

        with pytest.raises(UsageError, match="ada/t2w is no NIfTI"):
            find_masks(tmp_path, "ada")

    @pytest.mark.parametrize("other", ["a.nii", "a.NII.gz"])
    def test_two_of_one_series_are_refused(self, tmp_path, other):
        self.put(tmp_path, "a.nii.gz", other)

        with pytest.raises(UsageError, match="two masks of a") as caught:
            find_masks(tmp_path, "ada")
        assert {"a.nii.gz", other} <= set(re.split(r"[ ,]|\.$", caught.value.message))


def test_the_key_is_in_both_kinds_of_record(run, studies, out):
    run(studies)

    complete = json.loads((out / "ada/prediction.json").read_text())
    failed = json.loads((out / "eve/failure.json").read_text())
    assert len(complete["provenance"]["resume_key"]) == 64
    assert len(failed["resume_key"]) == 64


def test_phantoms_differ():
    assert spine_phantom().lesion.any()
    assert not spine_phantom(rows=None).lesion.any()
