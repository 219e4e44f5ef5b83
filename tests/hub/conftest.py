from dataclasses import replace

import hub_faults
import pytest
from fake_hub import FakeHub

from spinaldx.cli import run
from spinaldx.models import hub_session
from spinaldx.models.hub import HubOptions


@pytest.fixture
def hub():
    """A hub that works, until a test asks for a fault."""
    server = FakeHub()
    yield server
    server.close()


@pytest.fixture
def published(hub, tiny_bundle):
    """The commit of the tiny bundle at lab/tiny."""
    return hub.add("lab/tiny", hub_faults.files_of(tiny_bundle.folder))


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def home(tmp_path):
    """The folder of huggingface_hub's own cache and token."""
    return tmp_path / "hf"


@pytest.fixture
def hub_options(hub, home):
    return HubOptions(endpoint=hub.endpoint, cache=home / "hub")


@pytest.fixture
def impatient(hub_options):
    """For faults that are over only when patience is."""
    return replace(hub_options, patience_s=0.6)


@pytest.fixture
def real_pauses():
    """Ask for this to wait between tries as users do."""


@pytest.fixture(autouse=True)
def _no_pauses(request, monkeypatch):
    if "real_pauses" not in request.fixturenames:
        monkeypatch.setattr(hub_session.Patience, "pause", lambda _self: None)


@pytest.fixture
def spinaldx(hub, store, home, monkeypatch, capsys):
    """Run a command against the hub; gives exit code, stdout, stderr."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("SPINALDX_WEIGHTS", str(store))
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    def run_command(*words):
        code = run([str(word) for word in words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_command
