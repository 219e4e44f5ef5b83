"""Locks between processes; the system lets go of them however a process ends."""

import errno
import os


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
