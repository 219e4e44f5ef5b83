"""Files as bytes: written whole or not at all, hashed, safely named."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from spinaldx.errors import OutputError

_CHUNK_BYTES = 1 << 20
_LONGEST_NAME = 80
_MOST_BYTES = 200


@contextlib.contextmanager
def atomic_writer(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when the block ends well.

    Args:
        path: Target; its folder is made when missing. An existing file is
            replaced in one step, and kept when the block raises.
        private: Whether the owner alone may read it.

    Yields:
        A binary file in the target's folder.

    Raises:
        OutputError: If the folder or the file cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files for the owner only; results are shared as usual.
        if not private:
            temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        # numpy says how much it wrote, not why that was not all.
        reason = error.strerror or "not all of it was written, as on a full disk."
        message = f"Cannot write {path}: {reason}"
        hint = "Check free space and permissions, or choose another output folder."
        raise OutputError(message, hint=hint) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def write_bytes(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a whole file atomically; see `atomic_writer`."""
    with atomic_writer(path, private=private) as stream:
        stream.write(content)


def json_bytes(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return JSON as a file has it: UTF-8, two spaces, same value = same bytes.

    Raises:
        ValueError: If the value holds NaN or infinity, which are not JSON.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write JSON atomically; see `json_bytes`.

    Raises:
        ValueError: If the value holds NaN or infinity, which are not JSON.
        OutputError: If the file cannot be written.
    """
    write_bytes(path, json_bytes(value))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits.

    Raises:
        OSError: If the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def safe_name(text: str) -> str:
    """Make one portable file name out of any text.

    Letters, digits, ``.``, ``_`` and ``-`` stay; everything else becomes ``_``.
    The result is never empty, hidden, longer than 80 characters or 200 bytes, or a
    path; two texts may give the same name.
    """
    plain = unicodedata.normalize("NFKC", text)
    name = re.sub(r"[^\w.-]+", "_", plain).strip("._-")[:_LONGEST_NAME]
    # File systems count bytes, and a prefix must still fit.
    name = name.encode()[:_MOST_BYTES].decode(errors="ignore").rstrip("._-")
    return name or "unnamed"
