"""Fetch one file from a hub: bounded, resumed where cut, hashed on the way."""

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

import httpx2
import spinaldx
from spinaldx.models.hub_session import HubSession

# Less than this between two looks at the clock is a stall, not a slow line.
_PROGRESS_BYTES = 4096
_CHUNK_BYTES = 1 << 16

_PARTIAL = 206
_BAD_RANGE = 416

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known of a file before it comes.

    Attributes:
        size: In bytes; not one byte more is read.
        sha256: 64 hex digits, empty where unknown.
        blob_id: Name of the bytes in git (sha1), empty where unknown.
    """

    size: int
    sha256: str = ""
    blob_id: str = ""


class Received:
    """Bytes as they arrive: written, counted and hashed.

    Args:
        stream: Writable, seekable, empty.
        wanted: What they must be.
        on_bytes: Told how many more there are; negative when they start anew.
    """

    def __init__(self, stream: BinaryIO, wanted: Wanted, on_bytes: OnBytes) -> None:
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
    def is_right(self) -> bool:
        """Whether size and every known hash are those wanted."""
        wanted = self._wanted
        return (
            self.size == wanted.size
            and wanted.sha256 in ("", self.sha256)
            and wanted.blob_id in ("", self._sha1.hexdigest())
        )


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
        token=session.options.token or None,
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
        elif now - started > session.options.patience_s:
            message = "the transfer has stalled"
            raise httpx2.ReadTimeout(message)
        if received.is_complete:
            return
    if not received.is_complete:
        message = "the connection was cut"
        raise httpx2.ReadError(message)
