"""A study's folder: there as a whole or not at all, whatever happens.

A study is written into ``.writing-<study>`` and takes its name by one rename. What
a killed process leaves behind is removed by the next process that has the same
study in its share, so that processes side by side never touch each other's.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from spinaldx.errors import OutputError
from spinaldx.report.table import FAILURE_JSON, PREDICTION_JSON

_WRITING = ".writing-"
_FORMER = ".former-"


@contextlib.contextmanager
def replaced_folder(final: Path) -> Iterator[Path]:
    """Give an empty folder that takes the final name when the block ends well.

    Args:
        final: Folder of the study. A result that is there is replaced as a whole.

    Yields:
        A folder beside it.

    Raises:
        OutputError: If it cannot be written, or the final folder holds something
            that is no result.
    """
    check_replaceable(final)
    clear_leftovers(final)
    writing = final.with_name(f"{_WRITING}{final.name}")
    former = final.with_name(f"{_FORMER}{final.name}")
    try:
        writing.mkdir(parents=True)
        yield writing
        _sync_tree(writing)
        if final.exists():
            final.rename(former)
        writing.rename(final)
        _sync(final.parent)
    except OSError as error:
        message = f"Cannot write {final.name}: {error.strerror or 'no reason given'}."
        hint = "Check free space and permissions, or choose another output folder."
        raise OutputError(message, hint=hint) from error
    finally:
        clear_leftovers(final)


def check_replaceable(final: Path) -> None:
    """Refuse to replace a folder that is no result: it may be the user's images.

    Raises:
        OutputError: If the folder holds files but no result.
    """
    if not final.exists() or is_result(final):
        return
    if not final.is_dir() or any(final.iterdir()):
        message = f"{final} is there already and is no result of spinaldx."
        raise OutputError(message, hint="Choose another output folder.")


def is_result(folder: Path) -> bool:
    """Whether a folder holds a complete or failed study."""
    return any((folder / name).is_file() for name in (PREDICTION_JSON, FAILURE_JSON))


def clear_leftovers(final: Path) -> None:
    """Remove what a killed process left of this study.

    A former result that had already made room for a new one that never came is put
    back.
    """
    writing = final.with_name(f"{_WRITING}{final.name}")
    former = final.with_name(f"{_FORMER}{final.name}")
    shutil.rmtree(writing, ignore_errors=True)
    if former.exists() and not final.exists():
        with contextlib.suppress(OSError):
            former.rename(final)
    shutil.rmtree(former, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Bring folder entries to disk; the files' bytes already are."""
    for text, _, _ in os.walk(folder):
        _sync(Path(text))


def _sync(folder: Path) -> None:
    # Not every file system and platform lets a folder be opened or synced.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
