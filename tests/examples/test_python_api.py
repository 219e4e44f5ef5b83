import runpy
from pathlib import Path

import pytest
from batch_cases import fake_open, load, write_broken, write_study
from phantoms import fake_bundle

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def main(monkeypatch, tmp_path):
    """The example's entry, with a good and a broken study and stand-in networks."""
    sources = [write_broken(tmp_path, "broken"), write_study(tmp_path, "good")]
    names = runpy.run_path(str(EXAMPLES / "python_api.py"))
    space = names["main"].__globals__
    monkeypatch.setitem(space, "find_bundle", lambda name: fake_bundle())
    monkeypatch.setitem(space, "open_networks", fake_open)
    monkeypatch.setitem(space, "find_studies", lambda inputs: sources)
    monkeypatch.setitem(space, "load_study", load)
    return names["main"]


def test_runs_every_study_and_outlives_a_broken_one(main, tmp_path, capsys):
    out = tmp_path / "out"

    main([str(tmp_path), str(out), "--weights", "any"])

    assert "lesion 1 in t2w" in capsys.readouterr().out
    assert (out / "good/prediction.json").exists()
    assert (out / "broken/failure.json").exists()
    assert (out / "studies.csv").read_text().count("\n") == 3
