import csv
import json
import logging
import threading

import nibabel
import numpy as np
import pytest
from batch_cases import digests, write_broken, write_study
from phantoms import affine_of

from spinaldx import report
from spinaldx.batch import Outcome, Shard, pipeline, reading
from spinaldx.cascade import CascadeOptions
from spinaldx.errors import DeviceError, DeviceMemoryError, OutputError


def read_json(path):
    return json.loads(path.read_text())


def outcomes(found):
    return {item.study: item.outcome.value for item in found.studies}


class TestRun:
    def test_each_study_is_complete_or_failed(self, run, studies, out):
        found = run(studies)

        assert outcomes(found) == {
            "ada": "complete",
            "bob": "complete",
            "eve": "failed",
        }
        assert found.exit_code == 6
        assert read_json(out / "ada/prediction.json")["diagnosis"] == "nmosd"
        assert read_json(out / "bob/prediction.json")["diagnosis"] == "no_lesion"
        assert read_json(out / "eve/failure.json")["exit_code"] == 3
        assert not (out / "eve/prediction.json").exists()

    def test_the_table_holds_all(self, run, studies, out):
        run(studies)

        with (out / "studies.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert [(row["study"], row["status"]) for row in rows] == [
            ("ada", "complete"),
            ("bob", "complete"),
            ("eve", "failed"),
        ]

    def test_networks_are_opened_once_and_closed(self, run, studies, opened):
        run(studies)

        assert len(opened) == 1
        assert opened[0].is_closed

    def test_nothing_temporary_stays(self, run, studies, out):
        run(studies)

        names = {path.name for path in out.iterdir()}
        assert names == {"ada", "bob", "eve", "runs", "studies.csv", ".studies.lock"}

    def test_the_same_run_gives_the_same_bytes(self, run, studies, out, tmp_path):
        run(studies)
        out.rename(tmp_path / "first")
        run(studies)

        assert digests(out) == digests(tmp_path / "first")

    def test_alone_or_with_others_gives_the_same_bytes(
        self, run, studies, out, tmp_path
    ):
        run(studies)
        out.rename(tmp_path / "together")
        run(studies[:1])

        alone = digests(out / "ada")
        assert alone == digests(tmp_path / "together" / "ada")

    def test_a_report_is_made_on_request(self, run, studies, out):
        run(studies[:1], report=True)

        assert (out / "ada/report.pdf").read_bytes().startswith(b"%PDF")

    def test_probabilities_are_written_on_request(self, run, studies, out):
        run(studies[:1], cascade=CascadeOptions(keep_probabilities=True))

        assert (out / "ada/t2w/lesion_probability.nii.gz").exists()

    def test_an_empty_share_is_fine(self, run, studies, opened, out):
        found = run(studies, shard=Shard(4, 4))

        assert found.studies == ()
        assert found.exit_code == 0
        assert opened == []

    @pytest.mark.parametrize(
        ("changes", "times"),
        [({}, 0), ({"device": "cuda"}, 1), ({"precision": "bf16"}, 1)],
    )
    def test_what_is_asked_for_is_looked_at_although_nothing_is_due(
        self, run, studies, opened, changes, times
    ):
        run(studies[:1])
        opened.clear()
        found = run(studies[:1], **changes)

        assert [item.outcome for item in found.studies] == [Outcome.UNCHANGED]
        assert len(opened) == times
        assert ("in fp32" in "".join(found.warnings)) == ("precision" in changes)

    def test_shards_fill_one_folder(self, run, studies, out, tmp_path):
        run(studies)
        out.rename(tmp_path / "whole")
        for number in (2, 1):
            run(studies, shard=Shard(number, 2))

        assert digests(out) == digests(tmp_path / "whole")

    def test_progress_is_told_step_by_step(self, run, studies):
        told = []
        run(studies, told.append)

        assert all(event.total == 3 for event in told)
        assert [event.stage for event in told if event.study == "ada"] == [
            "reading",
            "computing",
            "writing",
            "done",
        ]
        assert [event.stage for event in told if event.study == "eve"] == [
            "reading",
            "writing",
            "done",
        ]
        last = [event.outcome for event in told if event.stage == "done"]
        assert [item.study for item in last] == ["ada", "bob", "eve"]
        assert last[0].answer == "nmosd"
        assert last[0].seconds > 0

    def test_the_series_option_reaches_the_reader(self, run, studies, out):
        run(studies[:1], series="chosen")

        assert (out / "ada/chosen/lesion_mask.nii.gz").exists()


class TestFailures:
    def test_the_only_study_decides_the_exit_code(self, run, studies):
        assert run(studies[2:]).exit_code == 3

    def test_all_of_several(self, run, tmp_path):
        broken = [write_broken(tmp_path, name) for name in ("a", "b")]

        assert run(broken).exit_code == 7

    @pytest.mark.parametrize("where", [(reading, "load_study"), (pipeline, "run_case"), (report, "write_case")])  # fmt: skip
    def test_a_bug_in_one_study_stops_no_other(
        self, run, studies, out, monkeypatch, where, caplog
    ):
        module, name = where
        real = getattr(module, name)

        def fail_for_ada(first, *rest, **named):
            study = getattr(first, "study", getattr(first, "name", first))
            if study == "ada":
                message = "patient Ada Smith"
                raise KeyError(message)
            return real(first, *rest, **named)

        monkeypatch.setattr(module, name, fail_for_ada)
        found = run(studies[:2])

        assert outcomes(found) == {"ada": "failed", "bob": "complete"}
        failure = (out / "ada/failure.json").read_text()
        assert read_json(out / "ada/failure.json")["exit_code"] == 1
        assert "KeyError" in failure
        assert "Smith" not in failure + found.studies[0].message
        assert "bug" in found.studies[0].message

    def test_tracebacks_are_for_the_verbose(self, run, studies, caplog):
        with caplog.at_level(logging.DEBUG):
            run(studies[2:])

        (record,) = [r for r in caplog.records if r.exc_info]
        assert record.levelno == logging.DEBUG

    def test_memory_of_the_device_is_the_study_s_failure(
        self, run, studies, monkeypatch
    ):
        def fail(*arguments):
            message = "The device ran out of memory."
            raise DeviceMemoryError(message)

        monkeypatch.setattr(pipeline, "run_case", fail)

        assert run(studies[:1]).exit_code == 5

    def test_a_missing_device_ends_the_run(self, run, studies, out, monkeypatch):
        def refuse(*arguments):
            message = "There is no cuda:7."
            raise DeviceError(message)

        monkeypatch.setattr(pipeline, "open_networks", refuse)

        with pytest.raises(DeviceError):
            run(studies)
        assert not (out / "ada").exists()
        assert run_record(out)["state"] == "failed"

    def test_a_full_disk_ends_the_run(self, run, studies, out, monkeypatch):
        def refuse(result, folder, options):
            message = "No space left."
            raise OutputError(message)

        monkeypatch.setattr(report, "write_case", refuse)

        with pytest.raises(OutputError, match="No space left"):
            run(studies)
        assert not (out / "ada").exists()
        assert not list(out.glob(".writing-*"))

    def test_a_table_that_cannot_be_written_ends_the_run(
        self, run, studies, monkeypatch
    ):
        def refuse(out):
            message = "No space left."
            raise OutputError(message)

        monkeypatch.setattr(pipeline, "update_studies_csv", refuse)

        with pytest.raises(OutputError):
            run(studies)

    def test_a_callback_that_fails_ends_the_run(self, run, studies):
        def fail(event):
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            run(studies, fail)


def run_record(out):
    return read_json(max((out / "runs").iterdir()))


class TestInterrupts:
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_finished_studies_stay_and_the_next_run_goes_on(
        self, run, studies, out, monkeypatch, kind, opened
    ):
        real = pipeline.run_case

        def interrupt_at_bob(study, *rest):
            if study == "bob":
                raise kind
            return real(study, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "run_case", interrupt_at_bob)
            with pytest.raises(kind):
                run(studies)

        assert run_record(out)["state"] == "interrupted"
        assert (out / "studies.csv").read_text().count("\n") == 2
        assert opened[0].is_closed
        assert outcomes(run(studies)) == {
            "ada": "unchanged",
            "bob": "complete",
            "eve": "failed",
        }


class TestOverlap:
    def test_the_next_study_is_read_while_one_is_computed(
        self, run, tmp_path, monkeypatch
    ):
        sources = [write_study(tmp_path / "in", name) for name in ("a", "b")]
        b_is_read = threading.Event()
        load, compute = reading.load_study, pipeline.run_case

        def note_reading(source, **named):
            volumes = load(source, **named)
            if source.name == "b":
                b_is_read.set()
            return volumes

        def wait_for_b(study, *rest):
            assert b_is_read.wait(timeout=20)
            return compute(study, *rest)

        monkeypatch.setattr(reading, "load_study", note_reading)
        monkeypatch.setattr(pipeline, "run_case", wait_for_b)

        assert run(sources).exit_code == 0

    def test_few_studies_are_in_memory_at_once(self, run, tmp_path, monkeypatch):
        sources = [write_study(tmp_path / "in", f"s{n}") for n in range(8)]
        alive, most = set(), []
        load, write = reading.load_study, report.write_case

        def note_reading(source, **named):
            alive.add(source.name)
            most.append(len(alive))
            return load(source, **named)

        def note_writing(result, *rest):
            write(result, *rest)
            alive.discard(result.study)

        monkeypatch.setattr(reading, "load_study", note_reading)
        monkeypatch.setattr(report, "write_case", note_writing)
        run(sources)

        assert max(most) <= 4

    def test_networks_open_before_the_first_image_is_read(
        self, run, studies, monkeypatch
    ):
        is_open = threading.Event()
        load, open_networks = reading.load_study, pipeline.open_networks

        def note_opening(*arguments):
            is_open.set()
            return open_networks(*arguments)

        def wait_for_networks(source, **named):
            assert is_open.wait(timeout=20)
            return load(source, **named)

        monkeypatch.setattr(pipeline, "open_networks", note_opening)
        monkeypatch.setattr(reading, "load_study", wait_for_networks)

        assert run(studies[:1]).exit_code == 0

    def test_the_table_is_renewed_on_the_way(self, run, studies, monkeypatch):
        calls = []
        monkeypatch.setattr(pipeline, "_TABLE_EVERY_S", 0.0)
        monkeypatch.setattr(pipeline, "update_studies_csv", calls.append)

        run(studies)

        assert len(calls) == 4


class TestPersonMasks:
    def draw(self, folder, study, inside):
        affine = affine_of(inside.shape, (3.0, 1.0, 1.0))
        path = folder / study / "t2w.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), affine), path)

    def test_a_mask_is_used_and_its_bytes_count(self, run, studies, out, tmp_path):
        masks = tmp_path / "masks"
        self.draw(masks, "ada", np.zeros((5, 64, 32)))
        first = run(studies[:1], masks=masks)
        again = run(studies[:1], masks=masks)
        self.draw(masks, "ada", np.ones((5, 64, 32)))
        changed = run(studies[:1], masks=masks)

        assert first.studies[0].answer == "no_lesion"
        assert again.studies[0].outcome is Outcome.UNCHANGED
        assert changed.studies[0].answer == "nmosd"

    def test_a_mask_that_cannot_be_read_fails_the_study(self, run, studies, tmp_path):
        (tmp_path / "masks/ada/t2w.nii.gz").mkdir(parents=True)

        found = run(studies[:2], masks=tmp_path / "masks")

        assert [item.exit_code for item in found.studies] == [3, 0]

    def test_masks_of_no_study_are_told(self, run, studies, tmp_path, caplog):
        (tmp_path / "masks" / "zoe").mkdir(parents=True)

        found = run(studies[:1], masks=tmp_path / "masks")

        assert "zoe" in found.warnings[0]
        assert "zoe" in caplog.text

    def test_a_faulty_mask_leaves_the_earlier_result(self, run, studies, out, tmp_path):
        masks = tmp_path / "masks"
        run(studies[:1])
        before = digests(out / "ada")
        self.draw(masks, "ada", np.zeros((4, 64, 32)))
        (found,) = run(studies[:1], masks=masks).studies

        assert found.outcome is Outcome.FAILED
        assert found.exit_code == 3
        assert "does not fit" in found.message
        assert found.hint.endswith("The earlier result of the study stays.")
        assert digests(out / "ada") == before

    def test_a_mask_of_too_many_lesions_leaves_it_too(
        self, run, studies, out, tmp_path
    ):
        masks = tmp_path / "masks"
        run(studies[:1])
        before = digests(out / "ada")
        specks = np.zeros((5, 64, 32))
        specks[2, ::2, ::2] = 1
        self.draw(masks, "ada", specks)
        (found,) = run(studies[:1], masks=masks).studies

        assert found.outcome is Outcome.FAILED
        assert "512 separate lesions" in found.message
        assert found.hint.endswith("The earlier result of the study stays.")
        assert digests(out / "ada") == before

    def test_a_mask_that_cannot_be_read_leaves_it_too(
        self, run, studies, out, tmp_path
    ):
        run(studies[:1])
        before = digests(out / "ada")
        (tmp_path / "masks/ada/t2w.nii.gz").mkdir(parents=True)
        (found,) = run(studies[:1], masks=tmp_path / "masks").studies

        assert found.outcome is Outcome.FAILED
        assert "mask cannot be read" in found.message
        assert digests(out / "ada") == before

    @pytest.mark.parametrize("rows", [64, 48])
    def test_a_mask_of_no_series_fails_the_study(self, run, studies, tmp_path, rows):
        # Of any size: that it fits no other series is not what is wrong with it.
        masks = tmp_path / "masks"
        self.draw(masks, "ada", np.zeros((5, rows, 32)))
        (masks / "ada/t2w.nii.gz").rename(masks / "ada/lumbar.nii.gz")

        (found,) = run(studies[:1], masks=masks).studies

        assert found.exit_code == 3
        assert found.message == "ada: a mask for lumbar, but no such series."
