import copy
import hashlib
import json
from pathlib import Path

import pytest

from spinaldx.errors import (
    ChecksumError,
    IncompatibleWeightsError,
    ManifestError,
    WeightsNotFoundError,
)
from spinaldx.models.manifest import (
    FileEntry,
    HubSource,
    Manifest,
    PackageSource,
    check_files,
    load_manifest,
    manifest_document,
    parse_manifest,
    shipped_manifest,
)

DOCUMENT = {
    "schema_version": 1,
    "bundles": {
        "inside": {
            "source": {"kind": "package"},
            "files": {"bundle.json": {"sha256": "a" * 64, "size": 10}},
            "licence": "Apache-2.0",
            "summary": "Simulated patients only.",
            "training_data": "simulated",
            "minimum_program_version": "0.1.0",
        },
        "on-the-hub": {
            "source": {"kind": "hub", "repo_id": "lab/net", "commit": "b" * 40},
            "files": {
                "bundle.json": {"sha256": "a" * 64, "size": 10},
                "README.md": {"sha256": "c" * 64, "size": 0},
            },
            "licence": "CC-BY-4.0",
            "summary": "From a lab.",
            "training_data": "patients",
            "minimum_program_version": "1.2",
        },
    },
}


def parse(document):
    return parse_manifest(json.dumps(document).encode(), Path("weights_manifest.json"))


def changed(path, value):
    """Return the document with one value replaced; None deletes it."""
    document = copy.deepcopy(DOCUMENT)
    place = document
    *way, last = path
    for key in way:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


class TestParseManifest:
    def test_reads_both_kinds_of_source(self):
        manifest = parse(DOCUMENT)

        assert manifest.bundles["inside"].source == PackageSource()
        hub = manifest.bundles["on-the-hub"]
        assert hub.source == HubSource("lab/net", "b" * 40)
        assert hub.files["README.md"] == FileEntry("c" * 64, 0)
        assert (hub.licence, hub.training_data) == ("CC-BY-4.0", "patients")

    def test_writes_back_what_it_read(self):
        assert manifest_document(parse(DOCUMENT)) == DOCUMENT

    @pytest.mark.parametrize(
        ("path", "value", "where"),
        [
            (("bundles",), None, r"\$\.bundles: missing"),
            (("bundles",), [], r"\$\.bundles: expected an object, got a list"),
            (("more",), 1, r"\$\.more: unknown key"),
            (("schema_version",), "1", r"\$\.schema_version: expected a whole number"),
            (("schema_version",), True, r"\$\.schema_version: .* got true or false"),
            (("bundles", "../x"), {}, r"\$\.bundles\.\.\./x: '\.\./x' cannot be"),
            (
                ("bundles", "inside", "licence"),
                "",
                r"\$\.bundles\.inside\.licence: expected a text",
            ),
            (
                ("bundles", "inside", "source", "kind"),
                "http",
                r"source\.kind: expected one of package, hub",
            ),
            (
                ("bundles", "inside", "source", "url"),
                "x",
                r"source\.url: unknown key",
            ),
            (
                ("bundles", "on-the-hub", "source", "commit"),
                "main",
                r"source\.commit: expected a commit of 40",
            ),
            (
                ("bundles", "on-the-hub", "source", "repo_id"),
                "../net",
                r"source\.repo_id: expected ORG/NAME",
            ),
            (
                ("bundles", "inside", "files", "bundle.json", "sha256"),
                "A" * 64,
                r"files\.bundle\.json\.sha256: expected 64 hex",
            ),
            (
                ("bundles", "inside", "files", "bundle.json", "size"),
                -1,
                r"files\.bundle\.json\.size: expected 0 to",
            ),
            (
                ("bundles", "inside", "files", "../../x"),
                {"sha256": "a" * 64, "size": 1},
                r"'\.\./\.\./x' is not a plain file name",
            ),
            (
                ("bundles", "inside", "files", "bundle.json"),
                None,
                r"files\.bundle\.json: missing",
            ),
            (
                ("bundles", "inside", "minimum_program_version"),
                "new",
                r"minimum_program_version: expected a version",
            ),
        ],
    )
    def test_names_a_fault_by_its_json_path(self, path, value, where):
        with pytest.raises(ManifestError, match=where) as caught:
            parse(changed(path, value))
        assert caught.value.exit_code == 4

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[1]",
            b"null",
            b"\xff",
            b'{"a": NaN}',
            b'{"a": 1, "a": 2}',
            b"[" * 100_000,
            b" " * (1 << 20) + b"{}",
        ],
        ids=["empty", "list", "null", "bytes", "nan", "twice", "deep", "huge"],
    )
    def test_refuses_what_is_no_json_object(self, content):
        with pytest.raises(ManifestError, match=r"\$"):
            parse_manifest(content, Path("weights_manifest.json"))

    def test_refuses_a_newer_schema_by_name(self):
        with pytest.raises(IncompatibleWeightsError, match="schema version 2") as error:
            parse(changed(("schema_version",), 2))
        assert error.value.hint == "Update spinaldx."


class TestLoadManifest:
    def test_refuses_a_missing_one(self, tmp_path):
        with pytest.raises(WeightsNotFoundError, match="none"):
            load_manifest(tmp_path / "none.json")


class TestShippedManifest:
    def test_is_valid(self):
        assert isinstance(shipped_manifest(), Manifest)

    def test_of_the_wheel_wins_over_the_checkouts(self, tmp_path):
        package = tmp_path / "spinaldx"
        package.mkdir()
        outside = tmp_path / "weights_manifest.json"
        outside.write_text(json.dumps(DOCUMENT))
        assert set(shipped_manifest(package).bundles) == {"inside", "on-the-hub"}

        inside = package / "weights_manifest.json"
        inside.write_text('{"schema_version": 1, "bundles": {}}')
        assert shipped_manifest(package) == Manifest()


class TestCheckFiles:
    @pytest.fixture
    def entry(self, tmp_path):
        (tmp_path / "bundle.json").write_bytes(b"0123456789")
        sha256 = hashlib.sha256(b"0123456789").hexdigest()
        path = ("bundles", "inside", "files", "bundle.json")
        return parse(changed((*path, "sha256"), sha256)).bundles["inside"]

    def test_accepts_the_bytes_of_the_entry(self, entry, tmp_path):
        check_files(entry, tmp_path)

    @pytest.mark.parametrize("content", [b"", b"012345678", b"012345678x"])
    def test_refuses_other_bytes(self, entry, tmp_path, content):
        (tmp_path / "bundle.json").write_bytes(content)

        with pytest.raises(ChecksumError, match="is damaged"):
            check_files(entry, tmp_path)

    def test_refuses_a_missing_file(self, entry, tmp_path):
        (tmp_path / "bundle.json").unlink()

        with pytest.raises(WeightsNotFoundError, match=r"bundle\.json"):
            check_files(entry, tmp_path)
