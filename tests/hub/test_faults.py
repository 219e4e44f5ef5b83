"""The fault table: what a hub, a cache, a disk and a killer may do to a pull.

Whatever happens, no wrong byte counts as present, no error is foreign, and nothing
half-written stays. A pull of a known bundle that can succeed does.
"""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import hub_faults as faults
import pytest
from hub_faults import files_of, flip, leftovers, status, works

from spinaldx.errors import ChecksumError, HubError, OutputError
from spinaldx.models import hub as models_hub
from spinaldx.models import hub_download
from spinaldx.models.hub import HubOptions, Listener, Reference

WEIGHTS = "segmentation.safetensors"


@pytest.fixture
def known(hub, published, store, hub_options):
    """The tiny bundle, pinned, but not on this machine; nothing was asked yet."""
    offer = models_hub.request_offer(Reference("lab/tiny"), hub_options)
    models_hub.pull_offer(offer, store, hub_options, Listener())
    shutil.rmtree(store / "tiny")
    hub.requests.clear()
    return models_hub.find_known("tiny", store)


@pytest.fixture
def pull(known, store, hub_options):
    def pull_known(options=hub_options):
        return models_hub.pull_known(known, store, options, Listener())

    return pull_known


def assert_nothing_half_written(store):
    assert not (store / "tiny").exists()
    assert leftovers(store) == []


# Faults that are over only when patience is.
ENDLESS = (faults.hang, faults.stall, faults.trickle)

# Faults of a file's transfer that pass: the pull succeeds with the right bytes.
PASSING = {
    "503 once": [status(503), works],
    "500 twice": [status(500), status(500), works],
    "429 once": [status(429, Retry_After="0"), works],
    "reset once": [faults.reset, works],
    "cut in the middle once": [faults.cut_at(0.5), works],
    "cut in the middle three times": [faults.cut_at(0.3)] * 3 + [works],
    "cut at once": [faults.cut_at(0), works],
    "cut, then no ranges": [faults.cut_at(0.5), faults.no_range, works],
    "cut, then the wrong range": [faults.cut_at(0.5), faults.wrong_range, works],
    "one flipped bit once": [faults.changed(flip), works],
    "stalled once": [faults.stall, works],
}  # fmt: skip

# Faults that stay: the pull fails with an error of ours.
STAYING = {
    "a flipped bit": (faults.changed(flip), ChecksumError, "wrong bytes"),
    "a short body": (faults.changed(lambda b: b[:-1]), HubError, "cut"),
    "a long body": (faults.changed(lambda b: b + b"x"), ChecksumError, "wrong bytes"),
    "an empty body": (faults.changed(lambda _: b""), HubError, "cut"),
    "always cut at once": (faults.cut_at(0), HubError, "cut"),
    "always reset": (faults.reset, HubError, "Cannot reach"),
    "no answer": (faults.hang, HubError, "no answer in time"),
    "always stalled": (faults.stall, HubError, "no answer in time"),
    "a trickle": (faults.trickle, HubError, "no answer in time"),
    "garbage": (faults.garbage, HubError, "Cannot reach"),
    "always 500": (status(500), HubError, "HTTP status 500"),
    "429 for an hour": (status(429, Retry_After="3600"), HubError, "wait 3600 s"),
    "no such file": (status(404, "EntryNotFound"), HubError, "lacks a file"),
    "no such revision": (status(404, "RevisionNotFound"), HubError, "no such branch"),
    "no such repository": (status(404, "RepoNotFound"), HubError, "does not exist"),
    "a gated repository": (status(403, "GatedRepo"), HubError, "is gated"),
    "a wrong token": (
        status(401, text="Invalid credentials in Authorization header"),
        HubError,
        "refuses access",
    ),
    "forbidden": (status(403), HubError, "refuses access"),
    "gone": (status(410), HubError, "HTTP status 410"),
    "a captive portal": (faults.portal, HubError, "cut"),
    "a portal's redirect": (faults.portal_redirect, HubError, "HTTP status 404"),
    "a circle": (faults.circle, HubError, "redirects in circles"),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_is_overcome(
    name, hub, published, pull, store, hub_options
):
    hub.faults["file"] = list(PASSING[name])

    # Long enough for a busy machine; a stall costs three quarters of it.
    pull(replace(hub_options, patience_s=6.0))

    assert files_of(store / "tiny") == hub.repos["lab/tiny"].commits[published]
    assert leftovers(store) == []


@pytest.mark.parametrize("name", STAYING)
def test_a_fault_that_stays_is_named(name, hub, pull, store, hub_options, impatient):
    fault, kind, message = STAYING[name]
    hub.faults["file"] = [fault]

    with pytest.raises(kind, match=message) as caught:
        pull(impatient if fault in ENDLESS else hub_options)
    assert caught.value.exit_code == 4
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert_nothing_half_written(store)


# Faults before anything is fetched, of a repository that nobody has pinned.
QUESTIONS = {
    "a captive portal": (faults.portal, "not answer as a model hub"),
    "JSON of another kind": (faults.value([1, 2]), "not answer as a model hub"),
    "a commit that is none": (
        faults.value({"id": "lab/tiny", "sha": "main", "siblings": []}),
        "not answer as a model hub",
    ),
    "a private repository": (status(401), "lab/tiny@main"),
    "no such revision": (status(404, "RevisionNotFound"), "no such branch"),
    "always reset": (faults.reset, "Cannot reach"),
    "no answer": (faults.hang, "no answer in time"),
}


@pytest.mark.parametrize("kind", ["revision", "tree"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_that_fails_is_named(
    name, kind, hub, published, hub_options, impatient
):
    fault, message = QUESTIONS[name]
    hub.faults[kind] = [fault]
    options = impatient if fault in ENDLESS or kind == "tree" else hub_options

    with pytest.raises(HubError, match=message):
        models_hub.request_offer(Reference("lab/tiny"), options)


def test_a_question_is_asked_again(hub, published, hub_options):
    hub.faults["revision"] = [status(503), faults.reset, works]
    hub.faults["tree"] = [status(502), works]

    offer = models_hub.request_offer(Reference("lab/tiny"), hub_options)

    assert offer.source.commit == published


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}", "http://no-such.invalid"])
def test_a_server_that_is_not_there_is_named(where, known, store, home):
    endpoint = where.format(port=closed_port())
    options = HubOptions(endpoint=endpoint, cache=home)

    with pytest.raises(HubError, match="Cannot reach") as caught:
        models_hub.pull_known(known, store, options, Listener())
    assert "weights import" in caught.value.hint
    assert_nothing_half_written(store)


@pytest.mark.parametrize("fault", [None, faults.hang], ids=["refused", "hanging"])
def test_a_dead_server_costs_less_than_15_seconds(
    fault, hub, known, store, home, real_pauses
):
    # With the patience that users get; the clock is the session's own.
    endpoint = hub.endpoint if fault else f"http://127.0.0.1:{closed_port()}"
    hub.faults["file"] = [fault]
    options = HubOptions(endpoint=endpoint, cache=home)
    started = time.monotonic()

    with pytest.raises(HubError):
        models_hub.pull_known(known, store, options, Listener())

    assert time.monotonic() - started < 15


# Offline


@pytest.fixture
def no_sockets(monkeypatch):
    """Let every socket call fail."""

    def refuse(*_, **__):
        message = "a socket was asked for"
        raise AssertionError(message)

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture
def offline(home):
    return HubOptions(endpoint="http://hub.invalid", cache=home / "hub", offline=True)


def fill_cache(home, commit, files):
    """Lay files out as huggingface_hub's cache does."""
    folder = home / "hub" / "models--lab--tiny" / "snapshots" / commit
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


class TestOffline:
    def test_present(self, published, hub_options, store, offline, monkeypatch):
        offer = models_hub.request_offer(Reference("lab/tiny"), hub_options)
        models_hub.pull_offer(offer, store, hub_options, Listener())
        known = models_hub.find_known("tiny", store)
        monkeypatch.setattr(socket, "socket", None)

        assert models_hub.pull_known(known, store, offline, Listener()).name == "tiny"

    def test_missing(self, known, store, offline, no_sockets):
        with pytest.raises(HubError, match="HF_HUB_OFFLINE") as caught:
            models_hub.pull_known(known, store, offline, Listener())
        assert "weights import" in caught.value.hint
        assert_nothing_half_written(store)

    def test_unknown(self, offline, no_sockets):
        with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
            models_hub.request_offer(Reference("lab/tiny"), offline)

    def test_in_the_hubs_cache(
        self, hub, published, known, home, store, offline, no_sockets
    ):
        files = hub.repos["lab/tiny"].commits[published]
        fill_cache(home, published, files)

        models_hub.pull_known(known, store, offline, Listener())

        assert files_of(store / "tiny") == files

    def test_partly_in_the_hubs_cache(
        self, hub, published, known, home, store, offline, no_sockets
    ):
        files = dict(hub.repos["lab/tiny"].commits[published])
        del files[WEIGHTS]
        fill_cache(home, published, files)

        with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
            models_hub.pull_known(known, store, offline, Listener())
        assert_nothing_half_written(store)

    def test_by_the_command(self, hub, known, spinaldx, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

        code, _, err = spinaldx("weights", "pull", "tiny")

        assert (code, hub.requests, "Traceback" in err) == (4, [], False)
        assert err.count("\n") == 2


# The hub's cache


@pytest.mark.parametrize(
    "damage", [flip, lambda _: b"", None], ids=["flipped", "emptied", "unreadable"]
)
def test_a_damaged_cache_is_not_believed(damage, hub, published, pull, home, store):
    files = hub.repos["lab/tiny"].commits[published]
    folder = fill_cache(home, published, files)
    if damage is None:
        (folder / WEIGHTS).unlink()
        (folder / WEIGHTS).symlink_to(folder)
    else:
        (folder / WEIGHTS).write_bytes(damage(files[WEIGHTS]))

    pull()

    assert files_of(store / "tiny") == files
    assert hub.count("file") == 1


def test_a_cache_that_cannot_be_written_does_no_harm(hub, published, pull, home, store):
    home.mkdir()
    (home / "hub").write_bytes(b"a file where the cache's folder should be")

    pull()

    assert files_of(store / "tiny") == hub.repos["lab/tiny"].commits[published]


# The disk


def fill_at(monkeypatch, count):
    """Let the disk be full at the n-th piece that is written."""
    left = [count]
    add = hub_download.Received.add

    def full(self, chunk):
        left[0] -= 1
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(self, chunk)

    monkeypatch.setattr(hub_download.Received, "add", full)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_full_disk_is_named(count, pull, store, monkeypatch):
    fill_at(monkeypatch, count)

    with pytest.raises(OutputError, match="No space left") as caught:
        pull()
    assert caught.value.exit_code == 8
    assert_nothing_half_written(store)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 128 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("cannot mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(hub, tiny_bundle, small_disk, hub_options):
    files = files_of(tiny_bundle.folder)
    hub.add("lab/tiny", {**files, "curves.png": bytes(200_000)})
    offer = models_hub.request_offer(Reference("lab/tiny"), hub_options)

    with pytest.raises(OutputError, match="No space left"):
        models_hub.pull_offer(offer, small_disk, hub_options, Listener())
    assert [path.name for path in small_disk.iterdir()] == [".lock"]


def test_a_store_that_cannot_be_made_is_named(known, store, hub_options):
    blocked = store / "weights_manifest.json" / "store"

    with pytest.raises(OutputError, match="Cannot write weights"):
        models_hub.pull_known(known, blocked, hub_options, Listener())


# A pull that is killed


def start_pull(hub, store, home):
    return subprocess.Popen(
        [sys.executable, "-m", "spinaldx", "weights", "pull", "tiny"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={
            **os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home),
            "SPINALDX_WEIGHTS": str(store), "HF_HUB_OFFLINE": "",
        },
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_pull_leaves_nothing_to_the_next(
    number, hub, known, pull, store, home
):
    hub.faults["file"] = [works, faults.stall]
    process = start_pull(hub, store, home)
    deadline = time.monotonic() + 120
    while hub.count("file") < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)

    assert not (store / "tiny").exists()
    assert "Traceback" not in err
    if number != signal.SIGKILL:
        assert (process.returncode, leftovers(store)) == (128 + number, [])
    hub.faults.clear()
    pull()
    assert leftovers(store) == []
    assert models_hub.is_intact(known)


def test_a_leftover_of_another_process_is_removed(pull, store):
    (store / ".incoming-x").mkdir()
    (store / ".incoming-x" / WEIGHTS).write_bytes(b"half")
    (store / ".writing-y").write_bytes(b"half")

    pull()

    assert leftovers(store) == []


def test_a_manifest_of_the_store_that_is_damaged_is_named(known, store, spinaldx):
    manifest = store / "weights_manifest.json"
    document = json.loads(manifest.read_text())
    document["bundles"]["tiny"]["source"]["commit"] = "main"
    manifest.write_text(json.dumps(document))

    code, _, err = spinaldx("weights", "pull", "tiny")

    assert (code, "$.bundles.tiny.source.commit" in err) == (4, True)


def test_the_table_is_as_long_as_promised():
    # ecosystem.md section 9, group F: 25 online, 5 offline, 3 of the cache.
    offline = [name for name in vars(TestOffline) if name.startswith("test_")]

    assert len(PASSING) + len(STAYING) >= 25
    assert len(offline) >= 5
    assert Path(__file__).read_text().count('"flipped", "emptied", "unreadable"') >= 1
