import batch_cases
import pytest

from spinaldx import batch
from spinaldx.batch import pipeline, reading


@pytest.fixture
def opened(monkeypatch):
    """Put stand-ins in place; the list grows with every opening of networks."""
    found = []

    def open_networks(*arguments):
        found.append(batch_cases.fake_open(*arguments))
        return found[-1]

    monkeypatch.setattr(pipeline, "open_networks", open_networks)
    monkeypatch.setattr(reading, "load_study", batch_cases.load)
    return found


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(opened, out):
    """Plan and run studies with the given settings."""

    def run_studies(sources, on_progress=None, **changes):
        settings = batch_cases.settings_for(out, **changes)
        return batch.run(batch.plan(sources, settings), settings, on_progress)

    return run_studies


@pytest.fixture
def studies(tmp_path):
    """Three studies: with a lesion, healthy, broken."""
    folder = tmp_path / "in"
    return [
        batch_cases.write_study(folder, "ada"),
        batch_cases.write_study(folder, "bob", rows=None),
        batch_cases.write_broken(folder, "eve"),
    ]
