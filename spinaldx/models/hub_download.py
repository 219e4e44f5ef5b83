"""Fetch one file from a hub: bounded, resumed where cut, hashed on the way."""

import contextlib
import functools
import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import httpx2
import huggingface_hub
from huggingface_hub.utils import (  # type: ignore[attr-defined] # not in __all__
    build_hf_headers,
    hf_raise_for_status,
)

import spinaldx
from spinaldx.errors import ChecksumError
from spinaldx.models.hub import HubOptions, Listener, Wanted
from spinaldx.models.hub_session import HubSession, open_hub
from spinaldx.models.manifest import HubSource

_LOGGER = logging.getLogger(__name__)

# Less than this between two looks at the clock is a stall, not a slow line.
_PROGRESS_BYTES = 4096
_CHUNK_BYTES = 1 << 16

_PARTIAL = 206
_BAD_RANGE = 416

# The first and one forced repetition.
_TRIES = 2


class Received:
    """Bytes as they arrive: written, counted and hashed.

    Args:
        stream: Writable, seekable, empty.
        wanted: What they must be.
        on_bytes: Told how many more there are; negative when they start anew.
    """

    def __init__(
        self,
        stream: BinaryIO,
        wanted: Wanted,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._stream = stream
        self._wanted = wanted
        self._on_bytes = on_bytes
        self.size = 0
        self._start()

    def _start(self) -> None:
        self._on_bytes(-self.size)
        self.size = 0
        self._sha256 = hashlib.sha256()
        # Not for safety: it is how git names what a hub lists without a sha256.
        header = f"blob {self._wanted.size}\0".encode()
        self._sha1 = hashlib.sha1(header, usedforsecurity=False)

    def restart(self) -> None:
        """Drop everything."""
        self._stream.seek(0)
        self._stream.truncate()
        self._start()

    def add(self, chunk: bytes) -> None:
        """Take more bytes."""
        self._stream.write(chunk)
        self._sha256.update(chunk)
        self._sha1.update(chunk)
        self.size += len(chunk)
        self._on_bytes(len(chunk))

    @property
    def is_complete(self) -> bool:
        """Whether there are as many as there should be, or more."""
        return self.size >= self._wanted.size

    @property
    def sha256(self) -> str:
        """Of what came."""
        return self._sha256.hexdigest()

    @property
    def told(self) -> str:
        """What came and what should have come, for a message."""
        found = f"{self.size} bytes with sha256 {self.sha256}"
        wanted = self._wanted
        if self.size != wanted.size:
            return f"{found}, expected {wanted.size} bytes"
        hashed = f"sha256 {wanted.sha256}" if wanted.sha256 else f"git {wanted.blob_id}"
        return f"{found}, expected {hashed}"

    @property
    def is_right(self) -> bool:
        """Whether size and every known hash are those wanted."""
        wanted = self._wanted
        return (
            self.size == wanted.size
            and wanted.sha256 in ("", self.sha256)
            and wanted.blob_id in ("", self._sha1.hexdigest())
        )


def fetch_files(
    source: HubSource,
    wanted: Mapping[str, Wanted],
    folder: Path,
    options: HubOptions,
    listener: Listener,
) -> None:
    """Put files of a repository into a folder, every one with the bytes wanted.

    Args:
        source: Repository and commit.
        wanted: By name in the repository, which is the name in the folder.
        folder: Exists.
        options: Nothing is sent when the hub's cache holds all of them.
        listener: Told of bytes.

    Raises:
        HubError: If the hub does not give them.
        ChecksumError: If it gives other bytes, twice.
        OutputError: If the disk is full.
    """
    missing = []
    for name, item in wanted.items():
        told = functools.partial(listener.on_bytes, name)
        if not _copy_cached(source, name, options, folder, item, told):
            missing.append(name)
    if not missing:
        return
    what = f"{source.repo_id}@{source.commit[:12]}"
    with open_hub(options, what) as (_, session):
        for name in missing:
            told = functools.partial(listener.on_bytes, name)
            with (folder / name).open("wb") as stream:
                received = Received(stream, wanted[name], told)
                receive_right(session, source, name, received)
                stream.flush()
                os.fsync(stream.fileno())


def _copy_cached(
    source: HubSource,
    name: str,
    options: HubOptions,
    folder: Path,
    wanted: Wanted,
    on_bytes: Callable[[int], None],
) -> bool:
    cached = huggingface_hub.try_to_load_from_cache(
        source.repo_id, name, cache_dir=options.cache, revision=source.commit
    )
    if not isinstance(cached, str):
        return False
    with (folder / name).open("wb") as stream:
        received = Received(stream, wanted, on_bytes)
        _read_cached(Path(cached), received, wanted)
        if received.is_right:
            return True
        # What lies in a cache is often damaged, and then simply fetched.
        received.restart()
        return False


def _read_cached(path: Path, received: Received, wanted: Wanted) -> None:
    try:
        is_candidate = path.stat().st_size == wanted.size
        content = path.read_bytes() if is_candidate else b""
    except OSError as error:
        _LOGGER.info("cannot read %s: %s", path, error)
        return
    received.add(content)


def receive_right(
    session: HubSession, source: HubSource, name: str, received: Received
) -> None:
    """Fetch one file; when its bytes are wrong, once more.

    Args:
        session: From `open_hub`.
        source: Repository and commit.
        name: Of the file.
        received: Takes the bytes.

    Raises:
        ChecksumError: If they are wrong both times.
        HubError: As `receive` does.
    """
    url = huggingface_hub.hf_hub_url(
        source.repo_id, name, revision=source.commit, endpoint=session.hub.endpoint
    )
    for _ in range(_TRIES):
        receive(session, url, received)
        if received.is_right:
            return
    message = (
        f"{session.hub.shown_endpoint} gives wrong bytes for {name} of "
        f"{source.repo_id}@{source.commit[:12]}: {received.told}."
    )
    hint = "A proxy or login page may stand between, or the hub was tampered with."
    raise ChecksumError(message, hint=hint)


def receive(session: HubSession, url: str, received: Received) -> None:
    """Fetch one file; a transfer that is cut goes on where it was.

    Wrong bytes are not an error here: `Received.is_right` tells.

    Args:
        session: From `open_hub`.
        url: Of the file.
        received: Takes the bytes.

    Raises:
        HubError: If the server gives nothing for too long.
        OSError: If the bytes cannot be written, or the server refuses the file.
    """
    received.restart()
    session.persist(
        lambda: _receive_once(session, url, received), lambda: received.is_complete
    )


def _receive_once(session: HubSession, url: str, received: Received) -> None:
    headers = build_hf_headers(
        token=session.hub.token or None,
        library_name="spinaldx",
        library_version=spinaldx.__version__,
    )
    headers["Accept-Encoding"] = "identity"
    if received.size:
        headers["Range"] = f"bytes={received.size}-"
    request = session.build_request("GET", url, headers=headers)
    with contextlib.closing(session.send(request, stream=True)) as response:
        goes_on = response.headers.get("content-range", "").startswith(
            f"bytes {received.size}-"
        )
        if received.size and not (response.status_code == _PARTIAL and goes_on):
            received.restart()
        if response.status_code != _BAD_RANGE:
            hf_raise_for_status(response)
            _receive_body(session, response, received)


def _receive_body(
    session: HubSession, response: httpx2.Response, received: Received
) -> None:
    started, before = time.monotonic(), received.size
    for chunk in response.iter_raw(_CHUNK_BYTES):
        received.add(chunk)
        now = time.monotonic()
        if received.size - before >= _PROGRESS_BYTES:
            started, before = now, received.size
            session.patience.succeed()
        elif now - started > session.hub.patience_s:
            message = "the transfer has stalled"
            raise httpx2.ReadTimeout(message)
        if received.is_complete:
            return
    if not received.is_complete:
        message = "the connection was cut"
        raise httpx2.ReadError(message)
