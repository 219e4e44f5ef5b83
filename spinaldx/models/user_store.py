"""The user's own bundles: placed whole under a lock, pinned, and removed.

A store holds one folder a bundle and a manifest that pins every byte of them. A
bundle counts as present only when both are there and agree.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from spinaldx.errors import OutputError
from spinaldx.files import write_json
from spinaldx.locks import lock
from spinaldx.models.manifest import (
    MANIFEST_NAME,
    Manifest,
    ManifestEntry,
    load_manifest,
    manifest_document,
)

_LOCK = ".lock"
_STAGING = ".incoming-"

# What a killed process may leave in a store: a bundle half there, a file half written.
_LEFTOVERS = (f"{_STAGING}*", ".writing-*")


def own_manifest(store: Path) -> Manifest:
    """Read the manifest of a store; a new store has an empty one.

    Raises:
        WeightsError: As `load_manifest` does.
    """
    path = store / MANIFEST_NAME
    return load_manifest(path) if path.is_file() else Manifest()


@contextlib.contextmanager
def locked_store(
    store: Path, on_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the store for this process, and clean what killed ones left.

    Args:
        store: Made when missing.
        on_wait: Called once when another process holds it.

    Raises:
        OutputError: If the store cannot be written.
    """
    with _named_errors(store):
        store.mkdir(parents=True, exist_ok=True)
        handle = os.open(store / _LOCK, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        _take_lock(handle, on_wait)
        for pattern in _LEFTOVERS:
            for path in store.glob(pattern):
                _delete(path)
        yield
    finally:
        # Closing releases the lock, and so does the end of the process.
        os.close(handle)


def _take_lock(handle: int, on_wait: Callable[[], None]) -> None:
    # Some network file systems have no locks; they go without.
    with contextlib.suppress(OSError):
        try:
            lock(handle, waits=False)
        except BlockingIOError:
            on_wait()
            lock(handle)


@contextlib.contextmanager
def staging_folder(store: Path) -> Iterator[Path]:
    """Give a new folder in the store that is gone after the block.

    Raises:
        OutputError: If the store cannot be written or its disk is full.
    """
    with _named_errors(store):
        folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=store))
        # mkdtemp makes it for the owner only; a store may be shared.
        folder.chmod(0o755)
    try:
        with _named_errors(store):
            yield folder
    finally:
        _delete(folder)


def place_bundle(
    store: Path, name: str, staged: Path, entry: ManifestEntry | None
) -> None:
    """Make a checked bundle count as present; the lock must be held.

    The manifest is written first: a process killed in between leaves a bundle that
    is known and not there, which a pull mends, and never one that nobody pins.

    Args:
        store: Holds the staged folder.
        name: Of the bundle; one of that name is replaced.
        staged: Folder from `staging_folder`, in it all files; it is moved.
        entry: Pins for the store's manifest; None when the shipped manifest has them.

    Raises:
        OutputError: If the store cannot be written.
    """
    if entry is not None:
        bundles = {**own_manifest(store).bundles, name: entry}
        write_json(store / MANIFEST_NAME, manifest_document(Manifest(bundles)))
    target = store / name
    with _named_errors(store):
        if target.exists():
            target.rename(Path(tempfile.mkdtemp(prefix=_STAGING, dir=store)) / name)
        staged.rename(target)
    for path in store.glob(f"{_STAGING}*"):
        _delete(path)


def remove_bundle(store: Path, name: str) -> None:
    """Remove a bundle and its pins; the lock must be held.

    Raises:
        OutputError: If the store cannot be written.
    """
    bundles = dict(own_manifest(store).bundles)
    if bundles.pop(name, None) is not None:
        write_json(store / MANIFEST_NAME, manifest_document(Manifest(bundles)))
    with _named_errors(store):
        if (store / name).exists():
            shutil.rmtree(store / name)


def _delete(path: Path) -> None:
    # What cannot be deleted now is tried again by the next who holds the lock.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def _named_errors(store: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"Cannot write weights in {store}: {error.strerror or error}"
        hint = "Check free space and permissions, or set SPINALDX_WEIGHTS."
        raise OutputError(message, hint=hint) from error
