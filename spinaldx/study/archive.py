"""Files by content, on disk or inside a zip archive; nothing is unpacked to disk."""

import functools
import hashlib
import io
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from spinaldx.errors import UnreadableFileError
from spinaldx.study import limits

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class ImageFile:
    """A file, or a member of a zip archive.

    Attributes:
        path: File or archive.
        member: Name inside the archive; empty for a plain file.
    """

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        """Last part of the name."""
        return PurePosixPath(self.member).name if self.member else self.path.name


def open_file(file: ImageFile) -> BinaryIO:
    """Open a file or member for reading.

    Raises:
        UnreadableFileError: If it cannot be opened or is larger than is read.
    """
    if file.member:
        return io.BytesIO(read_bytes(file))
    try:
        size = file.path.stat().st_size
        if size > limits.LARGEST_FILE_BYTES:
            raise UnreadableFileError(_too_large(file.name, size))
        return file.path.open("rb")
    except OSError as error:
        message = f"{file.name}: cannot be opened: {error.strerror or 'no reason'}."
        raise UnreadableFileError(message) from error


def read_bytes(file: ImageFile) -> bytes:
    """Read a whole file or member, bounded.

    Raises:
        UnreadableFileError: If it cannot be read, or is larger than is read.
    """
    if not file.member:
        try:
            with open_file(file) as stream:
                return stream.read()
        except OSError as error:
            message = f"{file.name}: cannot be read: {error.strerror or 'no reason'}."
            raise UnreadableFileError(message) from error
    archive, members = _open_archive(*_identity(file.path))
    info = members.get(file.member)
    if info is None or info.file_size > limits.LARGEST_FILE_BYTES:
        size = 0 if info is None else info.file_size
        raise UnreadableFileError(_too_large(file.name, size))
    try:
        with archive.open(info) as stream:
            content = stream.read(info.file_size + 1)
            # The end of a member must be reached for its checksum to be checked.
            stream.read(1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        message = f"{file.name}: damaged inside its zip archive."
        raise UnreadableFileError(message) from error
    except (NotImplementedError, RuntimeError) as error:
        message = f"{file.name}: encrypted or packed in an unknown way."
        raise UnreadableFileError(message, hint="Unpack the archive.") from error
    return content


def digest_of(file: ImageFile) -> str:
    """Return the sha256 of a file's or member's bytes.

    Raises:
        UnreadableFileError: If it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open_file(file) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        message = f"{file.name}: cannot be read: {error.strerror or 'no reason'}."
        raise UnreadableFileError(message) from error
    return digest.hexdigest()


def list_archive(path: Path) -> tuple[ImageFile, ...]:
    """List the files of a zip archive, refusing one that is built to harm.

    Nothing is ever unpacked, so no name can lead outside; names that try are
    taken as proof of ill will all the same.

    Raises:
        UnreadableFileError: If the archive is damaged, encrypted, too large, a
            bomb, or holds links or names that lead outside.
    """
    _archive, members = _open_archive(*_identity(path))
    return tuple(ImageFile(path, name) for name in sorted(members))


def _identity(path: Path) -> tuple[Path, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        message = f"{path.name}: cannot be opened: {error.strerror or 'no reason'}."
        raise UnreadableFileError(message) from error
    return path, found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=2)
def _open_archive(
    path: Path,
    _changed_ns: int,
    _size: int,
) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        message = f"{path.name}: not a readable zip archive."
        raise UnreadableFileError(message) from error
    members = [info for info in archive.infolist() if not info.is_dir()]
    reason = _hostility(members)
    if reason:
        archive.close()
        message = f"{path.name}: zip archive refused: {reason}."
        raise UnreadableFileError(message)
    return archive, {info.filename: info for info in members}


def _hostility(members: list[zipfile.ZipInfo]) -> str:
    if len(members) > limits.ARCHIVE_MEMBERS:
        return f"{len(members)} files"
    if len({info.filename for info in members}) < len(members):
        return "a name is there twice"
    if sum(info.file_size for info in members) > limits.ARCHIVE_BYTES:
        return "it unpacks to more than is read"
    return next(filter(None, map(_hostility_of, members)), "")


def _hostility_of(info: zipfile.ZipInfo) -> str:
    parts = PurePosixPath(info.filename.replace("\\", "/"))
    if ".." in parts.parts or parts.is_absolute() or ":" in info.filename[:3]:
        return "a name leads outside"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it holds a link"
    if info.flag_bits & 1:
        return "it is encrypted"
    return "it is packed like a bomb" if _is_bomb(info) else ""


def _is_bomb(info: zipfile.ZipInfo) -> bool:
    packed = max(info.compress_size, 1)
    is_large = info.file_size > limits.ARCHIVE_SMALL_BYTES
    return is_large and info.file_size > limits.ARCHIVE_RATIO * packed


def _too_large(name: str, size: int) -> str:
    return f"{name}: {size / 1e9:.1f} GB in one file, more than is read."
