import json

import pytest
import typer
from evaluation_cases import balanced_cases, write_results, write_truth
from typer.testing import CliRunner

from spinaldx.cli.evaluate import evaluate, percent_of
from spinaldx.errors import TableError


@pytest.fixture
def app(monkeypatch):
    monkeypatch.setattr("spinaldx.evaluation.assemble.draw_figures", lambda *_: {})
    found = typer.Typer()
    found.command()(evaluate)
    return found


@pytest.fixture
def arguments(tmp_path):
    cases = balanced_cases(2, split="test")
    truth = write_truth(tmp_path / "cases.csv", cases)
    out = write_results(tmp_path / "out", cases)
    folders = [str(out), "--truth", str(truth), "-o", str(tmp_path / "e")]
    return [*folders, "--bootstrap", "100"]


def test_prints_the_headline_and_writes_the_page(app, arguments, tmp_path):
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 0
    assert "100.0 % (8/8)" in done.stdout
    assert "Missing: No true masks" in done.stderr
    assert "Classifier output, never a diagnosis." in done.stderr
    assert (tmp_path / "e" / "evaluation.html").is_file()


def test_json_on_stdout(app, arguments):
    done = CliRunner().invoke(app, [*arguments, "--format", "json", "--split", "test"])

    record = json.loads(done.stdout)
    assert record["provenance"]["options"]["split"] == "test"


def test_a_faulty_table_is_our_error(app, arguments):
    done = CliRunner().invoke(app, [*arguments, "--split", "train"])

    assert isinstance(done.exception, TableError)


def test_the_bar_counts_percent():
    taken = []
    show = percent_of(lambda *, steps: taken.append(steps))
    for done in (1, 2, 3):
        show(done, 3)

    assert taken == [33, 33, 34]
