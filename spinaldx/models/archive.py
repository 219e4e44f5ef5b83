"""Carry a bundle in one file, to where no network is.

The file is a zip without compression: first a manifest with the one bundle's entry,
then its files in order. The same bundle gives the same bytes, and only a file laid
out exactly so is read, which leaves no room for links, bombs or anything hidden.
"""

import contextlib
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from spinaldx.errors import (
    IncompatibleWeightsError,
    WeightsError,
    WeightsNotFoundError,
)
from spinaldx.files import atomic_writer, json_bytes
from spinaldx.models.bundle import Bundle, load_bundle, verify_bundle
from spinaldx.models.bundle_store import KnownBundle, known_bundles, load_known
from spinaldx.models.hub import check_name_is_free, check_staged, is_intact
from spinaldx.models.manifest import (
    MANIFEST_NAME,
    ArchiveSource,
    Manifest,
    ManifestEntry,
    PackageSource,
    check_files,
    manifest_document,
    parse_manifest,
)
from spinaldx.models.user_store import locked_store, place_bundle, staging_folder

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = stat.S_IFREG | 0o644

# Above it the format changes; a bundle is a hundredth of that.
_LARGEST_ARCHIVE = (1 << 31) - 1
_LARGEST_MANIFEST = 1 << 20
_LOCAL_HEADER, _DIRECTORY_HEADER, _END = 30, 46, 22

_HINT = "Export the bundle again, and copy the file again."


def export_bundle(name: str, entry: ManifestEntry, folder: Path, file: Path) -> None:
    """Write a bundle into one file; every byte and tensor is checked before.

    Args:
        name: Of the bundle.
        entry: Its pins.
        folder: Where it lies.
        file: Replaced when it exists.

    Raises:
        ChecksumError: If the folder does not hold what is pinned.
        WeightsError: If the bundle is not fit to be used.
        OutputError: If the file cannot be written.
    """
    check_files(entry, folder)
    verify_bundle(load_bundle(folder))
    if isinstance(entry.source, PackageSource):
        entry = replace(entry, source=ArchiveSource())
    manifest = json_bytes(manifest_document(Manifest({name: entry})))
    if _archive_size(_layout(name, entry, len(manifest))) > _LARGEST_ARCHIVE:
        message = f"Bundle {name} is too large for one archive."
        raise IncompatibleWeightsError(message)
    with atomic_writer(file) as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(_member(MANIFEST_NAME, len(manifest)), manifest)
        for key in sorted(entry.files):
            member = _member(f"{name}/{key}", entry.files[key].size)
            with (folder / key).open("rb") as source, archive.open(member, "w") as sink:
                shutil.copyfileobj(source, sink)


def import_bundle(
    file: Path, store: Path, on_wait: Callable[[], None] = lambda: None
) -> Bundle:
    """Put the bundle of an archive into the user's store.

    Args:
        file: From `export_bundle`.
        store: Of the user.
        on_wait: Called once when another process holds the store.

    Returns:
        The bundle as it lies in the store, checked.

    Raises:
        WeightsError: If the file is not exactly such an archive, its bytes are not
            those of its own manifest or of the program's, the bundle is not fit to
            be used, or another bundle has its name.
        OutputError: If the store cannot be written.
    """
    with _named_errors(file), file.open("rb") as stream:
        archive = zipfile.ZipFile(stream)
        name, entry = _read_entry(archive, file)
        _check_layout(
            archive, _layout(name, entry, archive.filelist[0].file_size), file
        )
        with locked_store(store, on_wait):
            known = known_bundles(store).get(name)
            is_same = known is not None and known.entry.files == entry.files
            if known is not None and is_same and is_intact(known):
                return load_known(known)
            pin = _pin(name, entry, store, known if is_same else None)
            with staging_folder(store) as staged:
                for key in entry.files:
                    with archive.open(f"{name}/{key}") as member:
                        _copy(member, staged / key)
                check_staged(name, entry, staged)
                place_bundle(store, name, staged, pin)
    return load_bundle(store / name)


def _pin(
    name: str, entry: ManifestEntry, store: Path, same: KnownBundle | None
) -> ManifestEntry | None:
    """Say what a bundle from an archive is pinned as; None keeps the program's pin.

    Nobody has asked the hub whether these bytes are the commit's that the archive
    names, so it is a bundle from a file, and takes no other's place.
    """
    if same is not None:
        return None if same.is_shipped else same.entry
    check_name_is_free(name, store, None)
    return replace(entry, source=ArchiveSource())


@contextlib.contextmanager
def _named_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"Cannot read {file}: {error.strerror or error}"
        raise WeightsNotFoundError(message) from error
    # What zipfile raises on hostile files.
    except (
        *(zipfile.BadZipFile, NotImplementedError, RuntimeError),
        *(EOFError, ValueError, struct.error),
    ) as error:
        raise _refusal(file, str(error)) from error


def _refusal(file: Path, problem: str) -> WeightsError:
    plain = "".join(sign if sign.isprintable() else "?" for sign in problem)
    return WeightsError(f"{file} is no bundle archive: {plain[:200]}.", hint=_HINT)


def _member(name: str, size: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EARLIEST)
    info.create_system = _UNIX
    info.external_attr = _MODE << 16
    info.file_size = size
    return info


def _read_entry(archive: zipfile.ZipFile, file: Path) -> tuple[str, ManifestEntry]:
    infos = archive.infolist()
    if not infos or infos[0].filename != MANIFEST_NAME:
        raise _refusal(file, f"it does not begin with {MANIFEST_NAME}")
    first = infos[0]
    is_plain = first.compress_type == zipfile.ZIP_STORED
    if not is_plain or first.file_size > _LARGEST_MANIFEST:
        raise _refusal(file, f"its {MANIFEST_NAME} is too large or compressed")
    manifest = parse_manifest(archive.read(first), file / MANIFEST_NAME)
    if len(manifest.bundles) != 1:
        raise _refusal(file, f"it names {len(manifest.bundles)} bundles, not one")
    return next(iter(manifest.bundles.items()))


def _layout(name: str, entry: ManifestEntry, manifest_bytes: int) -> dict[str, int]:
    sizes = {f"{name}/{key}": entry.files[key].size for key in sorted(entry.files)}
    return {MANIFEST_NAME: manifest_bytes, **sizes}


def _archive_size(layout: Mapping[str, int]) -> int:
    headers = _LOCAL_HEADER + _DIRECTORY_HEADER
    return _END + sum(headers + 2 * len(n) + size for n, size in layout.items())


def _check_layout(
    archive: zipfile.ZipFile, layout: Mapping[str, int], file: Path
) -> None:
    """Refuse an archive in which one byte lies elsewhere than where it should."""
    infos = archive.infolist()
    found = [info.filename for info in infos]
    for name in found:
        if name not in layout:
            raise _refusal(file, f"its manifest does not name {name!r}")
    if found != list(layout):
        raise _refusal(file, "files are missing, doubled or out of order")
    offset = 0
    for info in infos:
        size = layout[info.filename]
        if _traits(info) != (
            size,
            size,
            zipfile.ZIP_STORED,
            0,
            _MODE,
            b"",
            b"",
            offset,
        ):
            raise _refusal(file, f"{info.filename} is not stored as it should be")
        offset += _LOCAL_HEADER + len(info.filename) + size
    if file.stat().st_size != _archive_size(layout):
        raise _refusal(file, "it holds more than its files")


def _traits(info: zipfile.ZipInfo) -> tuple[object, ...]:
    return (
        info.file_size,
        info.compress_size,
        info.compress_type,
        info.flag_bits,
        info.external_attr >> 16,
        info.extra,
        info.comment,
        info.header_offset,
    )


def _copy(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
        sink.flush()
        os.fsync(sink.fileno())
