"""Carrying a bundle in one file, and every way in which the file may lie."""

import io
import json
import shutil
import socket
import stat
import zipfile
from hashlib import sha256

import pytest
from hub_faults import files_of, flip, leftovers

from spinaldx.errors import ChecksumError, IncompatibleWeightsError, WeightsError
from spinaldx.files import sha256_of
from spinaldx.models import archive
from spinaldx.models.bundle_store import describe_bundle, known_bundles
from spinaldx.models.hub import find_known
from spinaldx.models.manifest import ArchiveSource, HubSource
from spinaldx.models.user_store import locked_store, place_bundle, staging_folder

WEIGHTS = "tiny/segmentation.safetensors"


@pytest.fixture
def carried(tiny_bundle, tmp_path):
    """An archive of the tiny bundle."""
    entry = describe_bundle(tiny_bundle, ArchiveSource())
    file = tmp_path / "tiny.zip"
    archive.export_bundle("tiny", entry, tiny_bundle.folder, file)
    return file


def members(file):
    """Every member as (info, content), in order."""
    with zipfile.ZipFile(file) as opened:
        return [(info, opened.read(info)) for info in opened.infolist()]


def rebuilt(file, changed):
    """Write an archive from members that a test has changed."""
    with zipfile.ZipFile(file, "w") as target:
        for info, content in changed:
            target.writestr(info, content)
    return file


def plain(name, mode=stat.S_IFREG | 0o644):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def test_the_same_bundle_gives_the_same_bytes(carried, tiny_bundle, tmp_path):
    copy = tmp_path / "other" / "tiny"
    shutil.copytree(tiny_bundle.folder, copy)
    entry = describe_bundle(tiny_bundle, ArchiveSource())
    archive.export_bundle("tiny", entry, copy, tmp_path / "again.zip")

    assert (tmp_path / "again.zip").read_bytes() == carried.read_bytes()


def test_a_round_trip_needs_no_network(carried, tiny_bundle, store, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)

    bundle = archive.import_bundle(carried, store)

    assert bundle.folder == store / "tiny"
    assert files_of(bundle.folder) == files_of(tiny_bundle.folder)
    assert leftovers(store) == []


def test_importing_twice_is_fine(carried, store):
    archive.import_bundle(carried, store)
    (store / WEIGHTS).write_bytes(b"damaged")

    assert archive.import_bundle(carried, store).name == "tiny"
    assert archive.import_bundle(carried, store).name == "tiny"


def test_export_refuses_a_damaged_bundle(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "tiny")
    entry = describe_bundle(tiny_bundle, ArchiveSource())
    (folder / "README.md").write_bytes(b"other")

    with pytest.raises(ChecksumError):
        archive.export_bundle("tiny", entry, folder, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_another_bundle_of_that_name_is_not_replaced(carried, store, tmp_path):
    archive.import_bundle(carried, store)
    found = members(carried)
    manifest = json.loads(found[0][1])
    manifest["bundles"]["tiny"]["summary"] = "Another."
    other = b"# another card\n"

    pins = {"sha256": sha256(other).hexdigest(), "size": len(other)}
    manifest["bundles"]["tiny"]["files"]["README.md"] = pins
    found[0] = (plain(found[0][0].filename), json.dumps(manifest).encode())
    found[1] = (plain("tiny/README.md"), other)

    with pytest.raises(IncompatibleWeightsError, match="already here"):
        archive.import_bundle(rebuilt(tmp_path / "other.zip", found), store)


HUB = HubSource("lab/tiny", "a" * 40)


def claiming(file, target, *, card=None):
    """Let an archive say that it is a commit of a repository."""
    found = members(file)
    manifest = json.loads(found[0][1])
    manifest["bundles"]["tiny"]["source"] = {
        "kind": "hub", "repo_id": HUB.repo_id, "commit": HUB.commit
    }  # fmt: skip
    if card is not None:
        pins = {"sha256": sha256(card).hexdigest(), "size": len(card)}
        manifest["bundles"]["tiny"]["files"]["README.md"] = pins
        found[1] = (plain("tiny/README.md"), card)
    found[0] = (plain(found[0][0].filename), json.dumps(manifest).encode())
    return rebuilt(target, found)


def test_an_archive_s_claim_to_be_a_commit_is_not_believed(carried, store, tmp_path):
    archive.import_bundle(claiming(carried, tmp_path / "claims.zip"), store)

    assert known_bundles(store)["tiny"].entry.source == ArchiveSource()
    assert find_known(f"{HUB.repo_id}@{HUB.commit}", store) is None


def test_a_pinned_bundle_is_not_replaced_by_an_archive(
    carried, store, tiny_bundle, tmp_path
):
    entry = describe_bundle(tiny_bundle, HUB)
    with locked_store(store), staging_folder(store) as staged:
        for path in tiny_bundle.folder.iterdir():
            shutil.copyfile(path, staged / path.name)
        place_bundle(store, "tiny", staged, entry)
    altered = claiming(carried, tmp_path / "altered.zip", card=b"# altered\n")

    with pytest.raises(IncompatibleWeightsError, match="already here"):
        archive.import_bundle(altered, store)
    # The same bytes mend it, and it stays what it was pinned as.
    (store / WEIGHTS).write_bytes(b"damaged")
    archive.import_bundle(carried, store)
    assert known_bundles(store)["tiny"].entry == entry
    assert archive.import_bundle(carried, store).name == "tiny"


# Hostile archives: what is done to the members of a good one.


def with_member(name, content=b"x", mode=stat.S_IFREG | 0o644):
    return lambda found: [*found, (plain(name, mode), content)]


def with_content(change):
    return lambda found: [
        (info, change(content) if info.filename == WEIGHTS else content)
        for info, content in found
    ]


def with_info(**traits):
    def change(found):
        for info, _ in found:
            if info.filename == WEIGHTS:
                for name, value in traits.items():
                    setattr(info, name, value)
        return found

    return change


def with_manifest(change):
    def changed(found):
        manifest = json.loads(found[0][1])
        change(manifest)
        return [
            (plain(found[0][0].filename), json.dumps(manifest).encode()),
            *found[1:],
        ]

    return changed


def rename_bundle(manifest):
    manifest["bundles"]["other"] = manifest["bundles"].pop("tiny")


def name_a_path(manifest):
    files = manifest["bundles"]["tiny"]["files"]
    files["../x"] = files.pop("README.md")


LINK = stat.S_IFLNK | 0o777
HOSTILE = {
    "a path up": with_member("../../evil"),
    "a path up inside": with_member("tiny/../../evil"),
    "an absolute path": with_member("/etc/evil"),
    "a drive": with_member("C:\\evil"),
    "an extra file": with_member("tiny/extra.pkl"),
    "a folder": with_member("tiny/", b"", stat.S_IFDIR | 0o755),
    "an extra link": with_member("tiny/link", b"/etc/passwd", LINK),
    "a link in place of a file": with_info(external_attr=LINK << 16),
    "a device": with_info(external_attr=(stat.S_IFCHR | 0o644) << 16),
    "a compressed file": with_info(compress_type=zipfile.ZIP_DEFLATED),
    "a bomb": lambda found: [
        (
            (info, content)
            if info.filename != WEIGHTS
            else (with_info(compress_type=8)([(info, b"")])[0][0], bytes(10_000_000))
        )
        for info, content in found
    ],
    "hidden fields": with_info(extra=b"\xfe\xca\x04\x00evil"),
    "a comment": with_info(comment=b"evil"),
    "a file too few": lambda found: found[:-1],
    "another order": lambda found: [found[0], *reversed(found[1:])],
    "no manifest": lambda found: found[1:],
    "the manifest last": lambda found: [*found[1:], found[0]],
    "nothing": lambda _: [],
    "a flipped bit": with_content(flip),
    "a short file": with_content(lambda content: content[:-1]),
    "a long file": with_content(lambda content: content + b"x"),
    "no bundle in the manifest": with_manifest(lambda m: m["bundles"].clear()),
    "another bundle in the manifest": with_manifest(rename_bundle),
    "a path in the manifest": with_manifest(name_a_path),
    "a newer manifest": with_manifest(lambda m: m.update(schema_version=2)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_places_nothing(name, carried, store, tmp_path):
    hostile = rebuilt(tmp_path / "hostile.zip", HOSTILE[name](members(carried)))
    before = {path for path in tmp_path.rglob("*") if store not in path.parents}

    with pytest.raises(WeightsError) as caught:
        archive.import_bundle(hostile, store)

    after = {path for path in tmp_path.rglob("*") if store not in path.parents}
    assert caught.value.exit_code == 4
    assert after - before <= {store}
    assert not (store / "tiny").exists()
    assert leftovers(store) == []


BYTES = {
    "empty": lambda _: b"",
    "no zip": lambda _: b"no zip at all",
    "cut in half": lambda content: content[: len(content) // 2],
    "something before": lambda content: b"#!/bin/sh\n" + content,
    "something behind": lambda content: content + b"evil",
    "a pickle": lambda _: b"\x80\x04K\x01.",
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_archive_is_refused(name, carried, store):
    carried.write_bytes(BYTES[name](carried.read_bytes()))

    with pytest.raises(WeightsError, match="no bundle archive"):
        archive.import_bundle(carried, store)
    assert not (store / "tiny").exists()


@pytest.mark.parametrize("step", range(12))
def test_a_flipped_bit_anywhere_never_changes_a_bundle(
    step, carried, store, tiny_bundle
):
    content = bytearray(carried.read_bytes())
    content[step * len(content) // 12] ^= 1 << step % 8
    carried.write_bytes(bytes(content))

    try:
        archive.import_bundle(carried, store)
    except WeightsError:
        assert not (store / "tiny").exists()
    else:  # A date, which nothing reads.
        assert files_of(store / "tiny") == files_of(tiny_bundle.folder)


def test_a_missing_file_is_named(store, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.zip"):
        archive.import_bundle(tmp_path / "none.zip", store)


def test_by_the_commands(spinaldx, tiny_bundle, store, tmp_path):
    file = tmp_path / "tiny.zip"

    code, out, _ = spinaldx("weights", "export", tiny_bundle.folder, file)

    assert (code, sha256_of(file) in out) == (0, True)
    assert spinaldx("weights", "import", file)[0] == 0
    assert spinaldx("weights", "verify", "tiny")[0] == 0
    listed = json.loads(spinaldx("weights", "list", "--format", "json")[1])
    assert ("tiny", True) in [(b["name"], b["present"]) for b in listed["bundles"]]
    assert "imported from a file" in spinaldx("weights", "list")[1]
    assert spinaldx("weights", "export", "tiny", tmp_path / "again.zip")[0] == 0
    assert (tmp_path / "again.zip").read_bytes() == file.read_bytes()
    assert spinaldx("weights", "remove", "tiny", "--yes")[0] == 0
    assert not (store / "tiny").exists()
    assert spinaldx("weights", "verify", "tiny")[0] == 4


def test_remove_names_what_is_not_there(spinaldx):
    code, _, err = spinaldx("weights", "remove", "nothing", "--yes")

    assert (code, "is not one of the bundles" in err) == (4, True)


def test_a_card_cannot_steer_the_terminal(spinaldx, tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "tiny")
    (folder / "README.md").write_bytes(b"# card \x1b[2J\n")

    assert "\x1b[2J" not in spinaldx("weights", "show", folder)[1]


def test_members_are_stored_with_nothing_that_varies(carried):
    infos = [info for info, _ in members(carried)]

    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert io.BytesIO(carried.read_bytes()).read(2) == b"PK"
