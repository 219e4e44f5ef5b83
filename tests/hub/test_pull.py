"""Pulling from a hub that works."""

import hashlib
import io
import json
import shutil
import threading

import hub_faults
import pytest
from hub_faults import files_of, leftovers

from spinaldx.errors import (
    ChecksumError,
    HubError,
    IncompatibleWeightsError,
    UsageError,
)
from spinaldx.models import hub as models_hub
from spinaldx.models.bundle_store import known_bundles
from spinaldx.models.hub import Listener, Reference, parse_reference


class TestParseReference:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("lab/net", Reference("lab/net", "main")),
            ("lab/net@v1.0", Reference("lab/net", "v1.0")),
            ("lab/net@refs/pr/1", Reference("lab/net", "refs/pr/1")),
        ],
    )
    def test_reads(self, text, expected):
        assert parse_reference(text) == expected

    @pytest.mark.parametrize(
        "text", ["net", "", "a/b/c", "../x", "lab/net@", "lab/net@a b", "lab/\x1bnet"]
    )
    def test_refuses(self, text):
        with pytest.raises(UsageError, match="neither"):
            parse_reference(text)


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", "@{commit}"])
def test_pulls_by_branch_tag_and_commit(revision, hub, published, store, spinaldx):
    words = f"lab/tiny{revision}".format(commit=published)

    code, out, err = spinaldx("weights", "pull", words, "--yes")

    assert (code, err.count("Error")) == (0, 0)
    assert str(store / "tiny") in out
    assert files_of(store / "tiny") == hub.repos["lab/tiny"].commits[published]
    assert leftovers(store) == []


def test_pins_what_it_saw(published, store, spinaldx):
    spinaldx("weights", "pull", "lab/tiny@v1.0", "--yes")

    entry = json.loads((store / "weights_manifest.json").read_text())["bundles"]["tiny"]
    assert entry["source"] == {
        "kind": "hub",
        "repo_id": "lab/tiny",
        "commit": published,
    }
    assert len(entry["files"]) == 6


def test_shows_what_it_will_fetch(published, spinaldx):
    _, _, err = spinaldx("weights", "pull", "lab/tiny@v1.0", "--yes")

    for told in (published, "Apache-2.0", "simulated", "segmentation.safetensors"):
        assert told in err


def test_asks_nobody_without_a_terminal(published, store, hub, spinaldx, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())

    code, _, err = spinaldx("weights", "pull", "lab/tiny@v1.0")

    assert (code, "--yes" in err, store.exists()) == (2, True, False)
    assert all("safetensors" not in asked[2] for asked in hub.requests)


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 2)])
def test_asks_once(answer, code, published, spinaldx, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answer)

    assert spinaldx("weights", "pull", "lab/tiny")[0] == code


def test_a_second_pull_sends_nothing(hub, published, spinaldx):
    spinaldx("weights", "pull", "lab/tiny", "--yes")
    hub.requests.clear()

    assert spinaldx("weights", "pull", "tiny")[0] == 0
    assert spinaldx("weights", "pull", f"lab/tiny@{published}")[0] == 0
    assert hub.requests == []


@pytest.mark.parametrize(
    "name", ["bundle.json", "segmentation.safetensors", "README.md"]
)
@pytest.mark.parametrize("damage", ["flip", "empty", "delete"])
def test_a_pull_mends_what_is_damaged(name, damage, published, store, spinaldx):
    spinaldx("weights", "pull", "lab/tiny", "--yes")
    path = store / "tiny" / name
    whole = path.read_bytes()
    path.write_bytes(hub_faults.flip(whole) if damage == "flip" else b"")
    if damage == "delete":
        path.unlink()

    assert spinaldx("weights", "verify", "tiny")[0] == 4
    assert spinaldx("weights", "pull", "tiny")[0] == 0
    assert path.read_bytes() == whole


def test_a_moved_tag_does_not_move_what_is_pinned(hub, published, store, spinaldx):
    spinaldx("weights", "pull", "lab/tiny@v1.0", "--yes")
    old = files_of(store / "tiny")
    hub.add("lab/tiny", {"README.md": b"# other\n"})
    shutil.rmtree(store / "tiny")

    assert spinaldx("weights", "pull", "tiny")[0] == 0
    assert files_of(store / "tiny") == old


def test_a_newer_commit_takes_the_place_of_the_older(hub, published, store, spinaldx):
    spinaldx("weights", "pull", "lab/tiny", "--yes")
    hub.add("lab/tiny", {"README.md": b"# newer\n"}, tag="v1.1")

    assert spinaldx("weights", "pull", "lab/tiny@v1.1", "--yes")[0] == 0
    assert (store / "tiny" / "README.md").read_bytes() == b"# newer\n"
    assert leftovers(store) == []


def test_another_repository_cannot_take_its_place(hub, published, store, spinaldx):
    spinaldx("weights", "pull", "lab/tiny", "--yes")
    hub.add("evil/tiny", hub.repos["lab/tiny"].commits[published])

    code, _, err = spinaldx("weights", "pull", "evil/tiny", "--yes")

    assert (code, "weights remove tiny" in err) == (4, True)


def test_files_that_are_no_part_of_the_bundle_stay_there(
    hub, published, store, spinaldx
):
    hub.add("lab/tiny", {"evil.pkl": b"x", "sub/../../x": b"y"})

    _, _, err = spinaldx("weights", "pull", "lab/tiny", "--yes")

    assert "2 other files are not fetched" in err
    assert len(files_of(store / "tiny")) == 6


class TestOffer:
    def test_refuses_a_repository_without_a_bundle(self, hub, hub_options):
        hub.add("lab/other", {"model.bin": b"x"})

        with pytest.raises(HubError, match="no spinaldx bundle"):
            models_hub.request_offer(Reference("lab/other"), hub_options)

    def test_refuses_weights_that_are_not_those_described(
        self, hub, published, hub_options
    ):
        hub.add("lab/tiny", {"segmentation.safetensors": b"other"})

        with pytest.raises(ChecksumError, match=r"its bundle\.json says"):
            models_hub.request_offer(Reference("lab/tiny"), hub_options)

    @pytest.mark.parametrize("name", ["ms_vs_nmosd.safetensors"])
    def test_refuses_a_bundle_with_a_file_missing(
        self, name, hub, published, hub_options
    ):
        files = dict(hub.repos["lab/tiny"].commits[published])
        files = {k: v for k, v in files.items() if "safetensors" not in k}
        hub.add("lab/poor", files)

        with pytest.raises(HubError, match="lacks"):
            models_hub.request_offer(Reference("lab/poor"), hub_options)

    def test_refuses_a_huge_description(self, hub, hub_options):
        hub.add("lab/huge", {"bundle.json": b" " * (1 << 20) + b"{}"})

        with pytest.raises(HubError, match="too large"):
            models_hub.request_offer(Reference("lab/huge"), hub_options)


def test_bundles_with_bad_tensors_are_not_placed(hub, published, store, hub_options):
    files = dict(hub.repos["lab/tiny"].commits[published])
    old = json.loads(files["bundle.json"])
    bad = b"\x80\x04pickle"
    old["segmentation"]["sha256"] = hashlib.sha256(bad).hexdigest()
    files |= {
        "segmentation.safetensors": bad,
        "bundle.json": json.dumps(old).encode(),
    }
    hub.add("lab/bad", files)
    offer = models_hub.request_offer(Reference("lab/bad"), hub_options)

    with pytest.raises(IncompatibleWeightsError, match="not a safetensors file"):
        models_hub.pull_offer(offer, store, hub_options, Listener())
    assert known_bundles(store) == known_bundles()
    assert leftovers(store) == []


def test_two_pulls_at_once_fetch_once(hub, published, store, hub_options):
    offer = models_hub.request_offer(Reference("lab/tiny"), hub_options)
    models_hub.pull_offer(offer, store, hub_options, Listener())
    shutil.rmtree(store / "tiny")
    hub.requests.clear()
    known = models_hub.find_known("tiny", store)
    pulls = [
        threading.Thread(
            target=models_hub.pull_known, args=(known, store, hub_options, Listener())
        )
        for _ in range(2)
    ]
    for pull in pulls:
        pull.start()
    for pull in pulls:
        pull.join()

    assert hub.count("file") == 6
    assert leftovers(store) == []


def test_a_proxy_of_the_environment_is_used(hub, published, spinaldx, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("http_proxy", hub.endpoint)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")

    code, _, _ = spinaldx("weights", "pull", "lab/tiny", "--yes")

    assert code == 0


def test_the_token_is_sent_and_usage_is_not(hub, published, spinaldx):
    seen = []

    def look(handler):
        seen.append({k.lower(): v for k, v in handler.headers.items()})
        handler.answer()

    hub.faults = {kind: [look] for kind in ("revision", "tree", "file")}
    spinaldx("weights", "pull", "lab/tiny", "--yes")

    assert {item["authorization"] for item in seen} == {"Bearer hf_right"}
    assert all("spinaldx/" in item["user-agent"] for item in seen)
    assert not any("torch" in item["user-agent"] for item in seen)
