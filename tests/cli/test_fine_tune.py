import pytest
from training_cases import write_cohort
from typer.testing import CliRunner

from spinaldx.cli import fine_tune as command
from spinaldx.cli import run
from spinaldx.cli.app import app
from spinaldx.errors import NotPromotedError
from spinaldx.training import fine_tuning, fractions
from spinaldx.training.loop import Progress
from spinaldx.training.options import MaskSource, Stage


class Promoted:
    """Stands for the outcome of a run."""

    class verdict:  # noqa: N801 - a stand-in
        reason = "It is better than the old bundle."

    class bundle:  # noqa: N801 - a stand-in
        folder = "here"

    def raise_unless_promoted(self):
        pass


class NotPromoted(Promoted):
    def raise_unless_promoted(self):
        message = "not promoted"
        raise NotPromotedError(message)


@pytest.fixture
def requests(monkeypatch):
    """The requests that were made; nothing is trained."""
    made = []

    def train(request, watcher):
        made.append(request)
        return Promoted()

    monkeypatch.setattr(fine_tuning, "fine_tune", train)
    return made


def invoke(*arguments):
    return run(["fine-tune", "cases.csv", *arguments])


class TestOptions:
    def test_defaults(self, requests, tmp_path):
        code = invoke("-o", str(tmp_path / "mine"))
        (request,) = requests

        assert code == 0
        assert request.options.budget.minutes == 60.0
        assert request.options.stage is Stage.ALL
        assert request.options.compute.workers == 0
        assert request.facts.name == "mine"
        assert request.facts.training_data == "patients"

    def test_all_are_passed_on(self, requests, tmp_path):
        text = (
            "--stage segmentation --init scratch --network small --epochs 2 --seed 5 "
            "--mask-source truth --batch-size 3 --accumulate 2 --learning-rate 0.01 "
            "--device cpu --precision fp32 --threads 1 --workers 3 --name n --version 2.1 "
            "--licence MIT --ethics approved --resume --imagenet f.safetensors"
        )
        invoke("-o", str(tmp_path), *text.split())
        options, facts = requests[0].options, requests[0].facts

        assert (options.init, options.network, options.seed) == ("scratch", "small", 5)
        assert options.classifier.mask_source is MaskSource.TRUTH
        assert options.learning.accumulate == 2
        assert (options.compute.threads, options.compute.workers) == (1, 3)
        assert (facts.name, facts.version, facts.ethics) == ("n", "2.1", "approved")
        assert requests[0].resume

    def test_simulated_patients_need_no_ethics(self, requests, tmp_path):
        invoke("-o", str(tmp_path), "--simulated")

        assert requests[0].facts.training_data == "simulated"

    def test_missing_ethics_are_asked_for(self, requests, tmp_path, capsys):
        invoke("-o", str(tmp_path))

        assert "--ethics" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["-o", "x", "--minutes", "1", "--epochs", "1"],
            ["-o", "x", "--stage", "a"],
        ],
    )
    def test_nonsense_is_exit_2(self, requests, arguments):
        assert invoke(*arguments) == 2

    def test_fractions(self, requests, tmp_path, monkeypatch):
        told = []
        monkeypatch.setattr(
            fractions,
            "fine_tune_fractions",
            lambda request, parts, _: told.append(parts) or Promoted(),
        )
        invoke("-o", str(tmp_path), "--fractions", "0.5,1")

        assert told == [(0.5, 1.0)]


def test_not_promoted_is_exit_9(monkeypatch, tmp_path):
    monkeypatch.setattr(fine_tuning, "fine_tune", lambda *_: NotPromoted())

    assert invoke("-o", str(tmp_path)) == 9


class TestCheck:
    def test_a_good_table(self, tmp_path, capsys):
        table = write_cohort(tmp_path)

        assert run(["fine-tune", str(table), "--check"]) == 0
        assert "no faults, 18 patients" in capsys.readouterr().err

    def test_each_fault_once_on_a_line_and_exit_3(self, tmp_path, capsys):
        table = write_cohort(tmp_path, patients=2, healthy=0)
        (tmp_path / "p01_t2w.nii.gz").unlink()
        fault = "row 2, column 't2w': file not found"
        result = CliRunner().invoke(app, ["fine-tune", str(table), "--check"])

        assert fault in result.stderr.splitlines()
        assert run(["fine-tune", str(table), "--check", "-q"]) == 3
        quiet = capsys.readouterr().err
        assert quiet.splitlines()[0] == fault
        assert quiet.count("file not found") == 1
        assert "faults, listed above." in quiet


class TestLines:
    @pytest.fixture
    def lines(self, monkeypatch):
        monkeypatch.setattr(command, "_LINE_S", -1.0)
        return command._Lines(quiet=False)

    def test_before_the_plan(self, lines, capsys):
        lines.train(Progress("segmentation", 10, 0, 0.5, None, 20.0, 60.0))

        assert "step 10 of ?, loss 0.5000, 20.0 slices/s" in capsys.readouterr().err

    def test_with_figure_and_time_left(self, lines, capsys):
        lines.train(Progress("segmentation", 10, 90, 0.5, 0.25, 20.0, 60.0))
        told = capsys.readouterr().err

        assert "of 90" in told
        assert "figure 0.250" in told
        assert "1.0 min left" in told

    def test_not_more_often_than_needed(self, capsys):
        lines = command._Lines(quiet=False)
        for done in range(5):
            lines.advance("Reading", done, 5)
        lines.advance("Reading", 5, 5)

        assert capsys.readouterr().err.count("Reading") == 2
