"""Pulling from somebody else's server: olah, in a virtual environment of its own."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hub_faults import files_of, leftovers

REPO = "lab/tiny"
CONFIGURATION = """\
[basic]
host = "127.0.0.1"
port = {port}
repos-path = "{folder}/repos"
mirrors-path = ["{folder}/mirrors"]
[accessibility]
offline = true
"""


@pytest.fixture(scope="module")
def program():
    """The olah program, wherever it was installed."""
    found = os.environ.get("SPINALDX_OLAH") or shutil.which("olah-cli")
    if not found or not Path(found).is_file():
        pytest.skip("olah is not installed; SPINALDX_OLAH names its olah-cli")
    if shutil.which("git") is None:
        pytest.skip("olah needs git")
    return found


def git(folder, *words):
    who = ("-c", "user.name=lab", "-c", "user.email=lab@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture(scope="module")
def mirror(tiny_bundle, tmp_path_factory):
    """A folder that olah serves, and the commit of the bundle in it."""
    folder = tmp_path_factory.mktemp("olah")
    repo = folder / "mirrors" / "models" / REPO
    shutil.copytree(tiny_bundle.folder, repo)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "v1")
    git(repo, "tag", "v1.0")
    (folder / "repos").mkdir()
    return folder, git(repo, "rev-parse", "HEAD")


def answers(endpoint):
    try:
        urllib.request.urlopen(f"{endpoint}/api/models/{REPO}/revision/main", timeout=5)
    except (urllib.error.URLError, OSError):
        return False
    return True


@pytest.fixture(scope="module")
def olah(program, mirror):
    folder, commit = mirror
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = folder / "olah.toml"
    configuration.write_text(CONFIGURATION.format(port=port, folder=folder))
    endpoint = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-c", str(configuration)], cwd=folder, stdout=log, stderr=log
        )
    deadline = time.monotonic() + 120
    while not answers(endpoint) and time.monotonic() < deadline:
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.2)
    yield endpoint, commit
    process.terminate()
    process.wait(timeout=60)


@pytest.mark.parametrize("revision", ["main", "v1.0", "{commit}"])
def test_pulls_by_branch_tag_and_commit(
    revision, olah, spinaldx, store, tiny_bundle, monkeypatch
):
    endpoint, commit = olah
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    words = f"{REPO}@{revision.format(commit=commit)}"

    code, _, err = spinaldx("weights", "pull", words, "--yes")

    assert (code, commit in err) == (0, True)
    assert files_of(store / "tiny") == files_of(tiny_bundle.folder)
    assert leftovers(store) == []
    assert spinaldx("weights", "verify", "tiny")[0] == 0


def test_a_revision_that_is_not_there_is_named(olah, spinaldx, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", olah[0])

    code, _, err = spinaldx("weights", "pull", f"{REPO}@v9", "--yes")

    assert (code, "Traceback" in err, f"{REPO}@v9" in err) == (4, False, True)
