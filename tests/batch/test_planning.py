import json

import pytest
import study_cases as cases
from batch_cases import settings_for, write_study
from phantoms import fake_bundle

from spinaldx import batch
from spinaldx.batch import Shard
from spinaldx.errors import OutputError, StudyError, UsageError
from spinaldx.study import StudySource, find_studies


def sources(*names):
    return [StudySource(name) for name in names]


def names_of(plan):
    return [study.name for study in plan.studies]


class TestPlan:
    def test_studies_come_by_name(self, out):
        assert names_of(batch.plan(sources("b", "c", "a"), settings_for(out))) == [
            "a",
            "b",
            "c",
        ]

    @pytest.mark.parametrize("count", [1, 2, 3, 7])
    def test_shards_share_everything_once(self, out, count):
        given = sources(*"hgfedcba")
        shards = [
            batch.plan(given, settings_for(out, shard=Shard(number, count)))
            for number in range(1, count + 1)
        ]

        assert sorted(name for plan in shards for name in names_of(plan)) == [
            *"abcdefgh"
        ]
        sizes = [len(plan.studies) for plan in shards]
        assert max(sizes) - min(sizes) <= 1
        assert {plan.total for plan in shards} == {8}

    def test_nothing_is_written(self, out):
        batch.plan(sources("a"), settings_for(out))

        assert not out.exists()

    def test_no_study_is_refused(self, out):
        with pytest.raises(StudyError, match="no study") as caught:
            batch.plan([], settings_for(out))
        assert caught.value.exit_code == 3

    def test_names_differing_in_case_alone_are_refused(self, out):
        with pytest.raises(UsageError, match="Several studies"):
            batch.plan(sources("Ada", "ada"), settings_for(out))

    @pytest.mark.parametrize("name", ["runs", "Runs", "studies.csv", "Cohort.pdf"])
    def test_names_of_result_files_are_refused(self, out, name):
        with pytest.raises(UsageError, match="cannot be named"):
            batch.plan(sources(name), settings_for(out))

    def test_an_output_folder_that_holds_the_images_is_refused(self, tmp_path):
        source = write_study(tmp_path, "ada")

        with pytest.raises(OutputError, match="no result"):
            batch.plan([source], settings_for(tmp_path))

    def test_masks_of_no_study_are_warned_of(self, out, tmp_path):
        for name in ("ada", "zoe"):
            (tmp_path / "masks" / name).mkdir(parents=True)

        plan = batch.plan(sources("ada"), settings_for(out, masks=tmp_path / "masks"))

        assert plan.warnings == ("1 folders of masks belong to no study, such as zoe.",)

    def test_a_mask_under_the_name_of_one_that_became_several_is_warned_of(
        self, out, tmp_path
    ):
        (tmp_path / "masks" / "a_b").mkdir(parents=True)
        for name in ("a b", "a_b"):
            cases.write_nifti(tmp_path / "in" / name / "t2w.nii")

        plan = batch.plan(
            find_studies([tmp_path / "in"]),
            settings_for(out, masks=tmp_path / "masks"),
        )

        assert plan.warnings == ("1 folders of masks belong to no study, such as a_b.",)

    def test_a_result_of_when_the_name_was_one_study_s_is_warned_of(
        self, out, tmp_path
    ):
        (out / "a_b").mkdir(parents=True)
        (out / "a_b" / "failure.json").write_text("{}")
        cases.write_nifti(tmp_path / "in" / "a b" / "t2w.nii")
        alone = batch.plan(find_studies([tmp_path / "in"]), settings_for(out))
        cases.write_nifti(tmp_path / "in" / "a_b" / "t2w.nii")
        both = batch.plan(find_studies([tmp_path / "in"]), settings_for(out))

        assert alone.warnings == ()
        assert both.warnings == (
            "out/a_b is of an earlier run, when one study alone had that name: remove "
            "it, or its patient counts twice.",
        )

    def test_weights_that_were_not_promoted_are_warned_of(self, out):
        bundle = fake_bundle(metrics={"status": "not_promoted"})

        (warning,) = batch.plan(
            sources("ada", "bob"), settings_for(out, bundle=bundle)
        ).warnings

        assert warning == (
            "The weights fake 1 were not shown to be better than what they began with; "
            "see their card."
        )

    def test_masks_of_every_study_are_fine(self, out, tmp_path):
        (tmp_path / "masks" / "ada").mkdir(parents=True)
        settings = settings_for(out, masks=tmp_path / "masks")

        assert batch.plan(sources("ada"), settings).warnings == ()

    @pytest.mark.parametrize(
        ("names", "text"),
        [
            (["ada.nii.gz"], "1 file lies loose"),
            (["bob.mha", "zoe.NII"], "2 files lie loose"),
        ],
    )
    def test_masks_of_no_folder_are_warned_of(self, out, tmp_path, names, text):
        masks = tmp_path / "masks"
        masks.mkdir()
        for name in (*names, "notes.txt", ".hidden"):
            (masks / name).write_text("")

        (warning,) = batch.plan(sources("ada"), settings_for(out, masks=masks)).warnings

        assert warning.startswith(text)
        assert names[0] in warning

    def test_a_mask_that_would_not_be_used_is_refused(self, out, tmp_path):
        # Of another shard too: nothing is computed before somebody looks.
        masks = tmp_path / "masks"
        (masks / "bob").mkdir(parents=True)
        (masks / "bob/t2w.nrrd").write_text("")
        settings = settings_for(out, masks=masks, shard=Shard(1, 2))

        with pytest.raises(UsageError, match=r"bob/t2w\.nrrd"):
            batch.plan(sources("ada", "bob"), settings)

    def test_a_missing_folder_of_masks_is_refused(self, out, tmp_path):
        with pytest.raises(UsageError, match="no such folder"):
            batch.plan(sources("a"), settings_for(out, masks=tmp_path / "none"))


class TestEstimate:
    def estimate(self, studies, out, **changes):
        settings = settings_for(out, **changes)
        return batch.estimate(batch.plan(studies, settings), settings)

    def test_everything_is_new(self, studies, out):
        found = self.estimate(studies, out)

        assert found.to_run == ("ada", "bob", "eve")
        assert found.to_keep == ()
        assert found.seconds == 1.0 + 3 * 1.5
        assert not found.is_measured

    def test_what_is_there_is_kept(self, run, studies, out):
        run(studies[:2])

        found = self.estimate(studies, out)

        assert (found.to_run, found.to_keep) == (("eve",), ("ada", "bob"))
        assert found.is_measured

    def test_nothing_to_run_takes_no_time(self, run, studies, out):
        run(studies)

        assert self.estimate(studies, out).seconds == 0.0

    @pytest.mark.parametrize(
        ("changes", "due"),
        [
            ({"retry_failed": True}, ("eve",)),
            ({"overwrite": True}, ("ada", "bob", "eve")),
        ],
    )
    def test_options_count(self, run, studies, out, changes, due):
        run(studies)

        assert self.estimate(studies, out, **changes).to_run == due

    @pytest.mark.parametrize(
        "text", ["broken", "{}", '{"studies": [{}]}', '{"studies": []}']
    )
    def test_unreadable_run_files_are_passed_over(self, run, studies, out, text):
        run(studies)
        (out / "runs" / "99999999T000000Z-0.json").write_text(text)

        assert self.estimate(studies, out, overwrite=True).is_measured

    def test_the_latest_run_s_median_counts(self, studies, out):
        record = {
            "studies": [{"outcome": "complete", "seconds": s} for s in (1.0, 2.0, 9.0)]
        }
        (out / "runs").mkdir(parents=True)
        (out / "runs" / "1.json").write_text(json.dumps(record))

        assert self.estimate(studies, out).seconds == 1.0 + 3 * 2.0
