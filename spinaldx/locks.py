"""Locks between processes; the system lets go of them however a process ends."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from spinaldx.errors import OutputError


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[int]:
    """Open a file for `lock`; what holds it lets go of it after the block.

    Args:
        path: Made when missing, with its folder; it stays there.

    Yields:
        The handle, not locked yet.

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        message = f"Cannot write {path.parent}: {error.strerror or error}"
        hint = "Check free space and permissions, or choose another output folder."
        raise OutputError(message, hint=hint) from error
    try:
        yield handle
    finally:
        # Closing releases the lock, and so does the end of the process.
        os.close(handle)


def lock(handle: int, *, is_shared: bool = False, waits: bool = True) -> None:
    """Lock an open file or folder until the handle is closed.

    Args:
        handle: Of `os.open`.
        is_shared: Others may hold it at the same time in the same way.
        waits: Until others let go of it.

    Raises:
        BlockingIOError: If another process holds it and this one does not wait.
        OSError: If the system or the file system has no such locks.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError as error:  # pragma: no cover - Windows alone
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
    fcntl.flock(handle, kind if waits else kind | fcntl.LOCK_NB)
