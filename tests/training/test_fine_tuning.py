import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_cases import Listener, read_table, tiny_request, write_cohort, write_table

from spinaldx.cascade import run_case
from spinaldx.errors import NotPromotedError, OutputError, TableError, UsageError
from spinaldx.models import load_bundle, open_networks, verify_bundle
from spinaldx.records import Task
from spinaldx.study import read_cases
from spinaldx.training import pipeline
from spinaldx.training.calibration import Decision
from spinaldx.training.cases import read_volume
from spinaldx.training.fine_tuning import (
    BundleFacts,
    check_table,
    fine_tune,
    name_for,
)
from spinaldx.training.options import (
    Budget,
    ClassifierOptions,
    Learning,
    MaskSource,
    Stage,
)
from spinaldx.training.run_folder import alone_in

FILES = sorted(["segmentation.safetensors", *(f"{t.value}.safetensors" for t in Task)])


class TestFineTune:
    def test_writes_a_bundle_that_verifies(self, finished):
        request, outcome = finished
        bundle = load_bundle(request.out)
        verify_bundle(bundle)

        assert bundle.info == outcome.bundle.info
        assert bundle.info.is_simulated

    def test_the_bundle_predicts(self, finished, cohort):
        bundle = load_bundle(finished[0].out)
        volume = read_volume(read_cases(cohort)[0])
        networks = open_networks(bundle, "cpu", "fp32")
        result = run_case("p01", [volume], networks, bundle)
        networks.close()

        assert result.series[0].mask.labels.shape == volume.voxels.shape

    def test_says_what_it_was_trained_on(self, finished):
        metrics = finished[1].bundle.metrics

        assert metrics["patients"]["train"]["ms"] == 3
        assert metrics["patients"]["validation"]["ms"] == 1
        assert metrics["started_from"] == "scratch"
        assert len(metrics["table_sha256"]) == 64
        assert metrics["environment"]["threads"] == 1

    def test_writes_card_history_and_curves(self, finished):
        out = finished[0].out
        card = (out / "README.md").read_text()

        assert "Research use only" in card
        assert "NOT PROMOTED" in card
        assert "no person's data" in card
        assert (out / "history.csv").read_text().count("segmentation") >= 3
        assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")

    def test_names_no_patient(self, finished):
        out = finished[0].out
        written = (out / "README.md").read_text() + (out / "bundle.json").read_text()

        assert "p01" not in written

    @pytest.mark.usefixtures("finished")
    def test_tells_what_it_does(self, listener):
        assert ("Reading images", 18, 18) in listener.steps
        assert ("Cutting crops", 16, 16) in listener.steps
        assert ("Judging the new bundle", 5, 5) in listener.steps

    def test_an_untrained_bundle_is_not_promoted(self, finished):
        with pytest.raises(NotPromotedError, match="not promoted") as raised:
            finished[1].raise_unless_promoted()

        assert raised.value.exit_code == 9
        assert finished[1].bundle.metrics["status"] == "not_promoted"

    def test_a_better_one_is_no_error(self, finished):
        verdict = replace(finished[1].verdict, is_promoted=True)

        replace(finished[1], verdict=verdict).raise_unless_promoted()


class TestStages:
    def tune(self, cohort, finished, tmp_path, stage, init=""):
        request = tiny_request(
            cohort,
            tmp_path / "out",
            stage=stage,
            init=init or str(finished[0].out),
            budget=Budget(epochs=0.1),
        )
        return fine_tune(request, Listener()).bundle

    def test_segmentation_keeps_the_classifiers(self, cohort, finished, tmp_path):
        bundle = self.tune(cohort, finished, tmp_path, Stage.SEGMENTATION)
        old = finished[1].bundle

        assert bundle.segmentation.sha256 != old.segmentation.sha256
        assert bundle.classifiers == old.classifiers
        assert bundle.metrics["started_from"] == "tiny 1.0"
        assert set(bundle.metrics["against_old"]) == {"dice"}

    def test_classification_keeps_the_segmentation(self, cohort, finished, tmp_path):
        bundle = self.tune(cohort, finished, tmp_path, Stage.CLASSIFICATION)
        old = finished[1].bundle

        assert bundle.segmentation == old.segmentation
        assert set(bundle.metrics["training"]) == {task.value for task in Task}

    @pytest.mark.parametrize(
        ("stage", "said"),
        [(Stage.CLASSIFICATION, "simulated"), (Stage.ALL, "patients")],
    )
    def test_weights_are_simulation_s_while_any_network_is(
        self, cohort, finished, tmp_path, stage, said
    ):
        request = tiny_request(
            cohort,
            tmp_path / "out",
            stage=stage,
            init=str(finished[0].out),
            budget=Budget(epochs=0.1),
        )
        facts = replace(request.facts, training_data="patients", ethics="Approved.")
        bundle = fine_tune(replace(request, facts=facts), Listener()).bundle

        assert bundle.training_data == said
        assert bundle.metrics["learned_from"] == "patients"
        assert bundle.ethics == "Approved."

        options = replace(request.options, init=str(request.out))
        again = replace(request, options=options, out=tmp_path / "again")
        assert fine_tune(again, Listener()).bundle.metrics["learned_from"] == "patients"

    def test_true_masks_and_an_own_learning_rate(self, cohort, finished, tmp_path):
        request = tiny_request(
            cohort,
            tmp_path / "out",
            stage=Stage.CLASSIFICATION,
            init=str(finished[0].out),
            budget=Budget(epochs=0.1),
            classifier=ClassifierOptions(mask_source=MaskSource.TRUTH),
            learning=Learning(batch_size=2, accumulate=2, learning_rate=0.5),
        )
        fine_tune(request, Listener())
        rates = (tmp_path / "out" / "history.csv").read_text()

        assert "ms_vs_nmosd" in rates

    def test_a_fitted_shift_is_in_the_weights(self, finished):
        state = {"classifier.bias": torch.tensor([1.0, 2.0]), "other": torch.ones(1)}
        moved = pipeline.shifted(state, 0.5)

        assert moved["classifier.bias"].tolist() == [0.75, 2.25]
        assert moved["other"] is state["other"]
        assert state["classifier.bias"].tolist() == [1.0, 2.0]

    def test_the_bundle_answers_as_it_was_fitted(self, cohort, tmp_path, monkeypatch):
        fitted = Decision(shift=60.0, cut_off=0.4, patients=9)
        monkeypatch.setattr(pipeline, "fit_decision", lambda *_: fitted)
        fine_tune(tiny_request(cohort, tmp_path / "out"), Listener())
        bundle = load_bundle(tmp_path / "out")
        networks = open_networks(bundle, "cpu", "fp32")
        crops = np.random.default_rng(0).random((2, 3, *bundle.crop.shape))

        for task in Task:
            logits = networks.classify(task, crops.astype(np.float32)).logits
            # So much is far more than an hour of training gives, let alone seconds.
            assert (logits[:, 1] - logits[:, 0] > 30).all()
        networks.close()

    def test_untrained_classifiers_decide_nothing(self, cohort, finished, tmp_path):
        bundle = self.tune(cohort, finished, tmp_path, Stage.SEGMENTATION, "scratch")

        assert all(part.margin == 0.5 for part in bundle.classifiers.values())


class TestBeforeTraining:
    """What can be known to end badly ends before anything is read."""

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": "our weights"},
            {"name": "../x"},
            {"name": "Köln"},
            {"version": "1/2"},
            {"version": ""},
            {"licence": " "},
            {"licence": "a\nb"},
        ],
    )
    def test_facts_that_no_bundle_can_have(self, wrong):
        with pytest.raises(UsageError) as raised:
            BundleFacts(**{"name": "ours", **wrong})

        assert raised.value.exit_code == 2
        assert raised.value.hint

    @pytest.mark.parametrize(
        ("folder", "name"),
        [
            ("ours", "ours"),
            ("Gewichte für Köln 2", "Gewichte_fur_Koln_2"),
            ("模型", "unnamed"),
        ],
    )
    def test_a_name_is_made_of_the_folder_s(self, folder, name):
        assert name_for(Path("a") / folder) == name

    @pytest.mark.parametrize("out", [".", "..", "/"])
    def test_a_folder_without_a_name(self, tmp_path, out):
        request = tiny_request(tmp_path / "cases.csv", Path(out))
        with pytest.raises(UsageError, match="no name for a bundle's folder"):
            fine_tune(request, Listener())

    @pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
    def test_no_budget(self, minutes):
        with pytest.raises(UsageError, match="positive number"):
            Budget(minutes=minutes)

    @pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
    def test_no_learning_rate(self, rate):
        with pytest.raises(UsageError, match="learning rate"):
            Learning(learning_rate=rate)

    def test_a_corrected_table_is_run_with_the_same_command(self, cohort, tmp_path):
        table = Path(shutil.copytree(cohort.parent, tmp_path / "cohort")) / cohort.name
        rows = read_table(table)
        right = rows[0]["diagnosis"]
        rows[0]["diagnosis"] = "asctrocytoma"
        write_table(table, rows)
        request = tiny_request(table, tmp_path / "out", budget=Budget(epochs=0.1))
        with pytest.raises(TableError):
            fine_tune(request, Listener())
        rows[0]["diagnosis"] = right
        write_table(table, rows)

        assert fine_tune(request, Listener()).bundle.name == "tiny"


class TestKnownPatients:
    """A bundle that is trained further is not judged on those it learned from."""

    def test_who_was_learned_from_is_learned_from_again(
        self, cohort, finished, tmp_path
    ):
        listener = Listener()
        options = {"init": str(finished[0].out), "budget": Budget(epochs=0.1)}
        request = tiny_request(cohort, tmp_path / "out", seed=5, **options)
        bundle = fine_tune(request, listener).bundle
        splits = [_splits_of(one.work) for one in (finished[0], request)]

        assert splits[0] == splits[1]
        assert bundle.metrics["known_judges"] == 0
        assert not any("known to the bundle" in text for text in listener.notes)
        assert bundle.metrics["training_images"] == sorted(
            finished[1].bundle.metrics["training_images"]
        )

    def test_known_patients_that_the_table_holds_out_are_told(
        self, cohort, finished, tmp_path
    ):
        table = Path(shutil.copytree(cohort.parent, tmp_path / "cohort")) / cohort.name
        splits = _splits_of(finished[0].work)
        other = {"train": "validation", "validation": "train"}
        rows = read_table(table)
        write_table(
            table, [{**row, "split": other[splits[row["case"]]]} for row in rows]
        )
        listener = Listener()
        options = {"init": str(finished[0].out), "budget": Budget(epochs=0.1)}
        request = tiny_request(
            table, tmp_path / "out", stage=Stage.SEGMENTATION, **options
        )
        bundle = fine_tune(request, listener).bundle
        held_out = list(splits.values()).count("train")

        assert f"{held_out} held-out patients are known" in " ".join(listener.notes)
        assert bundle.metrics["known_judges"] == held_out
        assert len(bundle.metrics["training_images"]) == len(splits)
        card = (request.out / "README.md").read_text()
        assert f"{held_out} of the held-out patients were learned from before" in card


def _splits_of(work):
    return {row["case"]: row["split"] for row in read_table(work / "split.csv")}


class TestResume:
    def test_a_finished_run_gives_the_same_bytes(self, finished):
        request, _ = finished
        before = [(request.out / name).read_bytes() for name in FILES]
        fine_tune(replace(request, resume=True), Listener())

        assert [(request.out / name).read_bytes() for name in FILES] == before

    def test_the_number_of_workers_may_change(self, finished):
        request, _ = finished
        before = [(request.out / name).read_bytes() for name in FILES]
        compute = replace(request.options.compute, workers=2)
        options = replace(request.options, compute=compute)
        fine_tune(replace(request, options=options, resume=True), Listener())

        assert [(request.out / name).read_bytes() for name in FILES] == before

    def test_with_nothing_to_resume_says_so(self, cohort, tmp_path):
        listener = Listener()
        request = tiny_request(cohort, tmp_path / "out", budget=Budget(epochs=0.1))
        fine_tune(replace(request, resume=True), listener)

        assert "holds no earlier run" in listener.notes[0]

    def test_two_runs_in_one_folder_do_not_meet(self, finished):
        request = finished[0]
        with (
            alone_in(request.work),
            pytest.raises(UsageError, match="Another run is at work"),
        ):
            fine_tune(replace(request, resume=True), Listener())

    def test_an_earlier_run_is_not_overwritten(self, finished):
        with pytest.raises(UsageError, match="an earlier run"):
            fine_tune(finished[0], Listener())

    def test_a_run_of_other_options_is_not_resumed(self, finished):
        request = finished[0]
        options = replace(request.options, seed=9)

        with pytest.raises(UsageError, match="other options"):
            fine_tune(replace(request, options=options, resume=True), Listener())

    def test_other_images_or_weights_are_not_gone_on_with(
        self, cohort, finished, tmp_path
    ):
        table = Path(shutil.copytree(cohort.parent, tmp_path / "cohort")) / cohort.name
        first = Path(shutil.copytree(finished[0].out, tmp_path / "first"))
        options = {"init": str(first), "budget": Budget(epochs=0.1)}
        request = tiny_request(
            table, tmp_path / "out", stage=Stage.SEGMENTATION, **options
        )
        fine_tune(request, Listener())
        again = replace(request, resume=True)
        mask, description = table.parent / "p01_mask.nii.gz", first / "bundle.json"
        old_mask, old_description = mask.read_bytes(), description.read_bytes()

        shutil.copyfile(table.parent / "p05_mask.nii.gz", mask)
        with pytest.raises(UsageError, match="other images, masks or first weights"):
            fine_tune(again, Listener())
        mask.write_bytes(old_mask)
        description.write_bytes(old_description.replace(b'"1.0"', b'"1.1"', 1))
        with pytest.raises(UsageError, match="other images, masks or first weights"):
            fine_tune(again, Listener())
        description.write_bytes(old_description)
        fine_tune(again, Listener())

    @pytest.mark.parametrize("steps", [3, pytest.param(13, marks=pytest.mark.slow)])
    def test_sigkill_and_resume_give_the_same_bytes(
        self, cohort, finished, tmp_path, steps
    ):
        killed = _run_apart(cohort, tmp_path / "bundle", steps)
        request = tiny_request(cohort, tmp_path / "bundle")
        fine_tune(replace(request, resume=True), Listener())
        whole = finished[0].out

        assert killed.returncode == -signal.SIGKILL
        for name in FILES:
            assert (tmp_path / "bundle" / name).read_bytes() == (
                whole / name
            ).read_bytes()


_APART = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from training_cases import Listener, tiny_request
from spinaldx.training import loop
from spinaldx.training.fine_tuning import fine_tune

torch.set_num_threads(1)
steps, whole = int(sys.argv[3]), loop._Run._step
counted = iter(range(1, 10**6))

def step(run, batches):
    whole(run, batches)
    if next(counted) == steps:
        os.kill(os.getpid(), signal.SIGKILL)

loop._Run._step = step
request = tiny_request(Path(sys.argv[1]), Path(sys.argv[2]), checkpoint_s=0.0)
fine_tune(replace(request, resume=True), Listener())
"""


def _run_apart(cohort, out, steps):
    """Train in a process of its own that kills itself after so many steps."""
    here = Path(__file__).resolve().parents[1]
    # The rest as here: numpy's products, too, depend on the number of threads.
    environment = {**os.environ, "PYTHONPATH": str(here)}
    arguments = [sys.executable, "-c", _APART, str(cohort), str(out), str(steps)]
    return subprocess.run(
        arguments, env=environment, capture_output=True, text=True, check=False
    )


class TestErrors:
    def test_faults_of_the_table_come_before_training(self, tmp_path):
        table = write_cohort(tmp_path, patients=1)
        with pytest.raises(TableError, match="at least 4 are needed"):
            fine_tune(tiny_request(table, tmp_path / "out"), Listener())

        assert not (tmp_path / "out").exists()

    def test_a_missing_table(self, tmp_path):
        with pytest.raises(TableError, match="cannot be read"):
            fine_tune(tiny_request(tmp_path / "no.csv", tmp_path / "out"), Listener())

    def test_a_full_disk_while_reading(self, cohort, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "save", fail)
        with pytest.raises(OutputError, match="No space left"):
            fine_tune(tiny_request(cohort, tmp_path / "out"), Listener())


def test_check_table_writes_nothing(cohort):
    before = set(cohort.parent.parent.iterdir())
    lint = check_table(cohort, Stage.ALL, Listener())

    assert lint.faults == ()
    assert set(cohort.parent.parent.iterdir()) == before


def test_minutes_are_shared_between_networks(cohort, tmp_path, monkeypatch):
    settings = []

    class Seen(Exception):  # noqa: N818 - ends the run
        pass

    def train(_network, _objective, given, *_):
        settings.append(given)
        raise Seen

    monkeypatch.setattr(pipeline, "train", train)
    request = tiny_request(cohort, tmp_path / "out", budget=Budget(minutes=10.0))
    with pytest.raises(Seen):
        fine_tune(request, Listener())

    assert settings[0].seconds == pytest.approx(390.0)
    assert settings[0].steps is None


def test_stations_of_a_patient_stay_together(tmp_path):
    table = write_cohort(tmp_path)
    rows = read_table(table)
    for row in rows:
        row["series"] = "a"
    # The second patient's images become a second station of the sixth (same disease).
    rows[1]["case"], rows[1]["series"] = rows[5]["case"], "b"
    write_table(table, [*rows])
    lint = check_table(table, Stage.SEGMENTATION, Listener())

    assert lint.faults == ()
    assert [len(one.rows) for one in lint.patients if one.name == "p06"] == [2]


def test_run_json_holds_all_options(finished):
    stored = json.loads((finished[0].work / "run.json").read_text())

    assert stored["options"]["segmentation"]["patch"] == [32, 32]
    assert "checkpoint_s" not in stored["options"]
