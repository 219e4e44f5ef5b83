"""A study's folder: there as a whole or not at all, whatever happens.

A study is written into ``.writing-<study>-<token>``, a folder of this process alone,
and takes its name by one rename; a former result steps aside as
``.former-<study>-<token>`` first. What a killed process leaves behind is removed by
the next process that has the same study in its share. Two processes that write the
same study do not touch each other's folder: the later result stays.
"""

import contextlib
import errno
import functools
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from spinaldx.batch.holding import holding, is_held
from spinaldx.errors import OutputError
from spinaldx.report.table import FAILURE_JSON, PREDICTION_JSON

_WRITING = ".writing-"
_FORMER = ".former-"
_END = r"(-[0-9a-f]{8})?"

# What a run or `report` writes into a study's folder, now or in earlier versions.
_OURS = re.compile(
    r"(prediction|failure)\.json|report\.pdf|figures/.*"
    r"|[^/]+/(lesion_mask|lesion_probability|t2w|heatmap[a-z_]*)\.nii\.gz"
)

# A folder that was changed longer ago than this is listed once.
_SETTLED_NS = 2_000_000_000

# Each failure means that another process has put its result there meanwhile.
_MOST_TRIES = 100


@contextlib.contextmanager
def replaced_folder(final: Path) -> Iterator[Path]:
    """Give an empty folder that takes the final name when the block ends well.

    Args:
        final: Folder of the study. A result that is there is replaced as a whole; what
            a person put into it comes along.

    Yields:
        A folder beside it.

    Raises:
        OutputError: If it cannot be written, or the final folder holds something
            that is no result.
    """
    check_replaceable(final)
    clear_leftovers(final)
    token = f"{final.name}-{secrets.token_hex(4)}"
    writing = final.with_name(f"{_WRITING}{token}")
    former = final.with_name(f"{_FORMER}{token}")
    try:
        with holding(writing):
            yield writing
            left = _carry_over(final, writing)
            _sync_tree(writing)
            _put(writing, final, former)
            _move(left, former, final)
        _sync(final.parent)
    except OSError as error:
        message = f"Cannot write {final.name}: {error.strerror or 'no reason given'}."
        hint = "Check free space and permissions, or choose another output folder."
        raise OutputError(message, hint=hint) from error
    finally:
        _clear(writing, former, final)


def _carry_over(former: Path, writing: Path) -> list[Path]:
    """Take along what the program did not write: notes, or masks saved beside ours.

    Returns:
        Paths below the folder of what cannot be copied: another's, for example.
    """
    left = []
    for path in sorted(former.rglob("*")):
        below = path.relative_to(former)
        target = writing / below
        is_half = path.name.startswith(_WRITING)
        is_ours = is_half or _OURS.fullmatch(below.as_posix()) or target.exists()
        if path.is_file() and not is_ours:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy2(path, target)
            except PermissionError:
                target.unlink(missing_ok=True)
                left.append(below)
    return left


def _move(left: list[Path], former: Path, final: Path) -> None:
    """Move what could not be copied; that it asks for less than copying does."""
    for below in left:
        with contextlib.suppress(OSError):
            (former / below).rename(final / below)


def _put(writing: Path, final: Path, former: Path) -> None:
    """Let a written folder take its name, and whatever has it step aside."""
    for _ in range(_MOST_TRIES):
        shutil.rmtree(former, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            final.rename(former)
        try:
            writing.rename(final)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return
    message = os.strerror(errno.EBUSY)
    raise OSError(errno.EBUSY, message)


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
    """Remove what killed processes left of this study.

    A former result that had already made room for a new one that never came is put
    back. What another process is writing now stays.
    """
    name = re.compile(
        f"({re.escape(_WRITING)}|{re.escape(_FORMER)}){re.escape(final.name)}{_END}"
    )
    names = [one for one in _leftovers_in(final.parent) if name.fullmatch(one)]
    ends = {one.removeprefix(_WRITING).removeprefix(_FORMER) for one in names}
    for end in sorted(ends):
        writing = final.with_name(f"{_WRITING}{end}")
        if not is_held(writing):
            _clear(writing, final.with_name(f"{_FORMER}{end}"), final)


def _leftovers_in(out: Path) -> tuple[str, ...]:
    try:
        changed_ns = out.stat().st_mtime_ns
    except OSError:
        return ()
    # Clocks of file systems are coarse: what is quite new is looked at again.
    if time.time_ns() - changed_ns < _SETTLED_NS:
        return _list_leftovers(str(out))
    return _known_leftovers(str(out), changed_ns)


@functools.lru_cache(maxsize=4)
def _known_leftovers(out: str, _changed_ns: int) -> tuple[str, ...]:
    # A run over thousands of studies asks once for each.
    return _list_leftovers(out)


def _list_leftovers(out: str) -> tuple[str, ...]:
    names = os.listdir(out) if os.path.isdir(out) else []  # noqa: PTH112, PTH208
    return tuple(one for one in names if one.startswith((_WRITING, _FORMER)))


def _clear(writing: Path, former: Path, final: Path) -> None:
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
