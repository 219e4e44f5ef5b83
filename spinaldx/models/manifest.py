"""Which bundles are known, where each comes from, and what its bytes must be."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinaldx.errors import ChecksumError, WeightsNotFoundError
from spinaldx.models.json_fields import (
    JsonFields,
    check_schema,
    is_safe_name,
    parse_json,
)

MANIFEST_NAME = "weights_manifest.json"

_SCHEMA_VERSION = 1
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_LARGEST_FILE = 1 << 40
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class PackageSource:
    """The bundle ships inside the package."""


@dataclass(frozen=True, slots=True)
class HubSource:
    """The bundle lies on a model hub.

    Attributes:
        repo_id: ``ORG/NAME``.
        commit: 40 hex digits; never a branch, whose bytes may change.
    """

    repo_id: str
    commit: str


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """The bundle came in an archive file and was never on a hub."""


Source = PackageSource | HubSource | ArchiveSource


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What one file of a bundle must be.

    Attributes:
        sha256: Of its bytes.
        size: In bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One known bundle.

    Attributes:
        source: Where it comes from.
        files: By name.
        licence: SPDX identifier or a short text.
        summary: One sentence for a list.
        training_data: ``simulated`` or ``patients``.
        minimum_program_version: Oldest spinaldx that can run it.
    """

    source: Source
    files: Mapping[str, FileEntry]
    licence: str
    summary: str
    training_data: str
    minimum_program_version: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All bundles of one manifest, by name."""

    bundles: Mapping[str, ManifestEntry] = field(default_factory=dict)


def is_repo_id(text: str) -> bool:
    """Return whether a text is ``ORG/NAME`` as a hub has them."""
    return _REPO_ID.fullmatch(text) is not None


def is_commit(text: str) -> bool:
    """Return whether a text is a whole commit: 40 hex digits."""
    return _COMMIT.fullmatch(text) is not None


def load_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        WeightsNotFoundError: If it cannot be read.
        ManifestError: If it breaks the schema; the message has the JSON path.
        IncompatibleWeightsError: If its schema is newer than the program's.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"Cannot read {path}: {error.strerror or error}"
        raise WeightsNotFoundError(message) from error
    return parse_manifest(content, path)


def parse_manifest(content: bytes, path: Path) -> Manifest:
    """Parse a manifest's bytes; see `load_manifest`."""
    top = parse_json(content, path)
    check_schema(top, _SCHEMA_VERSION)
    bundles = {}
    for name, fields in top.fields("bundles").each():
        if not is_safe_name(name):
            fields.fail("", f"{name!r} cannot be a bundle's name")
        bundles[name] = _parse_entry(fields)
    top.finish()
    return Manifest(bundles)


def shipped_manifest(package: Path = _PACKAGE) -> Manifest:
    """Read the manifest that came with the program.

    In a wheel it lies in the package, in a checkout beside it.
    """
    inside = package / MANIFEST_NAME
    return load_manifest(inside if inside.is_file() else package.parent / MANIFEST_NAME)


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON value of a manifest, names in order."""
    return {
        "schema_version": _SCHEMA_VERSION,
        "bundles": {
            name: entry_document(manifest.bundles[name])
            for name in sorted(manifest.bundles)
        },
    }


def entry_document(entry: ManifestEntry) -> dict[str, Any]:
    """Return the JSON value of one bundle's entry."""
    source: dict[str, Any] = {"kind": "package"}
    if isinstance(entry.source, HubSource):
        source = {
            "kind": "hub",
            "repo_id": entry.source.repo_id,
            "commit": entry.source.commit,
        }
    elif isinstance(entry.source, ArchiveSource):
        source = {"kind": "archive"}
    return {
        "source": source,
        "files": {
            name: {"sha256": entry.files[name].sha256, "size": entry.files[name].size}
            for name in sorted(entry.files)
        },
        "licence": entry.licence,
        "summary": entry.summary,
        "training_data": entry.training_data,
        "minimum_program_version": entry.minimum_program_version,
    }


def check_files(entry: ManifestEntry, folder: Path) -> None:
    """Check every byte of a bundle against its entry.

    Args:
        entry: From a manifest.
        folder: Of the bundle. Files that the entry does not name are ignored;
            nothing reads them.

    Raises:
        WeightsNotFoundError: If a file is missing or cannot be read.
        ChecksumError: If size or sha256 of a file differ.
    """
    for name, wanted in entry.files.items():
        check_file(folder / name, wanted)


def check_file(path: Path, wanted: FileEntry) -> None:
    """Check one file's bytes; see `check_files`."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except OSError as error:
        message = f"Cannot read {path}: {error.strerror or error}"
        raise WeightsNotFoundError(message) from error
    if (digest, size) != (wanted.sha256, wanted.size):
        message = (
            f"{path} is damaged: {size} bytes with sha256 {digest}, "
            f"expected {wanted.size} bytes with {wanted.sha256}."
        )
        raise ChecksumError(message, hint="Fetch or import the bundle again.")


def _parse_entry(fields: JsonFields) -> ManifestEntry:
    entry = ManifestEntry(
        source=_parse_source(fields.fields("source")),
        files=_parse_files(fields.fields("files")),
        licence=fields.text("licence"),
        summary=fields.text("summary"),
        training_data=fields.choice("training_data", ("simulated", "patients")),
        minimum_program_version=fields.version("minimum_program_version"),
    )
    fields.finish()
    return entry


def _parse_source(fields: JsonFields) -> Source:
    kind = fields.choice("kind", ("package", "hub", "archive"))
    if kind != "hub":
        fields.finish()
        return PackageSource() if kind == "package" else ArchiveSource()
    repo_id, commit = fields.text("repo_id"), fields.text("commit")
    if not is_repo_id(repo_id):
        fields.fail("repo_id", f"expected ORG/NAME, got {repo_id!r}")
    if not is_commit(commit):
        fields.fail("commit", "expected a commit of 40 hex digits")
    fields.finish()
    return HubSource(repo_id, commit)


def _parse_files(fields: JsonFields) -> Mapping[str, FileEntry]:
    files = {}
    for name, entry in fields.each():
        if not is_safe_name(name):
            entry.fail("", f"{name!r} is not a plain file name")
        sha256 = entry.sha256("sha256")
        files[name] = FileEntry(sha256, entry.integer("size", 0, _LARGEST_FILE))
        entry.finish()
    if "bundle.json" not in files:
        fields.fail("bundle.json", "missing")
    return files
