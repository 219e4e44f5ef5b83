"""Folders that a living process holds, so that others do not take them for leftovers.

The system lets go of them when the process ends, however it ends.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from spinaldx.locks import lock

# Where folders cannot be held, one that was changed so lately may be in use.
_IN_USE_S = 24 * 3600.0


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Make a folder and hold it during a block, where the file system can.

    Raises:
        OSError: If it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = _made_and_held(folder)
    # Somebody may clear it in the moment before it is held.
    while handle is not None and not _is_at(handle, folder):
        os.close(handle)
        handle = _made_and_held(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _made_and_held(folder: Path) -> int | None:
    folder.mkdir(exist_ok=True)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        lock(handle, is_shared=True)
    return handle


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except OSError:
        return False


def is_held(folder: Path) -> bool:
    """Whether another process, or another block of this one, holds a folder.

    Returns:
        False for a folder that is not there. Where it cannot be told, whether the
        folder was changed within a day.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return _is_recent(folder)
    try:
        lock(handle, waits=False)
    except BlockingIOError:
        return True
    except OSError:
        return _is_recent(folder)
    else:
        return False
    finally:
        os.close(handle)


def _is_recent(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime < _IN_USE_S
    except OSError:
        return False
