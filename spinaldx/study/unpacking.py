"""Compressed pixels, decoded in a process of their own.

Damaged JPEG data make gdcm abort the whole process, and four bytes of a JPEG 2000
header make openjpeg take 5 GB and 25 s (both seen on mutated files). So the
decoders run in a child process with a limit on memory and time; a child that dies
is a damaged file, nothing worse. Starting it takes about half a second a series.
"""

import json
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import UnreadableFileError

# Transfer syntaxes and the decoder that measured right for each.
DECODERS = {
    "1.2.840.10008.1.2.4.50": "gdcm",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
}
LOSSY = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
}

_CHILD_MEMORY_BYTES = 3 << 30
# Of computing; a busy machine may take longer by the clock.
_CHILD_SECONDS = 10
_FRAMES_A_SECOND = 10
_CLOCK_FACTOR = 6

# What libjpeg says of data it patched over instead of refusing.
_COMPLAINTS = (b"Corrupt", b"Premature", b"premature", b"Bogus", b"Unsupported")


@dataclass(frozen=True, slots=True)
class PackedFrame:
    """One compressed frame with what its decoder must know.

    Attributes:
        syntax: Transfer syntax UID, one of `DECODERS`.
        rows: Height in pixels.
        columns: Width in pixels.
        bits_allocated: 8 or 16.
        bits_stored: At most as many.
        is_signed: PixelRepresentation.
        content: The code stream.
    """

    syntax: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    content: bytes


def unpack(frames: Sequence[PackedFrame], name: str) -> list[NDArray[Any]]:
    """Decode frames of one series.

    Args:
        frames: In any order.
        name: Of the series or file, for messages.

    Returns:
        One (rows, columns) array of integers a frame, in the order given; no
        process is started for no frames.

    Raises:
        UnreadableFileError: If a frame is damaged, or decoding takes too much.
    """
    if not frames:
        return []
    seconds = _CHILD_SECONDS + len(frames) // _FRAMES_A_SECOND
    # The child is this module with this interpreter; only pixels go in.
    command = [sys.executable, "-m", "spinaldx.study.unpacking", str(seconds)]
    try:
        child = subprocess.run(  # noqa: S603 - a fixed command, no shell
            command,
            input=b"".join(map(_packed, frames)),
            capture_output=True,
            timeout=seconds * _CLOCK_FACTOR,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{name}: decoding its pixels takes too long."
        raise UnreadableFileError(message) from error
    except OSError as error:
        message = f"{name}: no process could be started to decode its pixels."
        raise UnreadableFileError(message) from error
    is_patched = any(complaint in child.stderr for complaint in _COMPLAINTS)
    arrays = [] if child.returncode or is_patched else _arrays(child.stdout, frames)
    if len(arrays) != len(frames):
        message = f"{name}: its compressed pixels are damaged."
        raise UnreadableFileError(message, hint="Export it from the archive again.")
    return arrays


def _packed(frame: PackedFrame) -> bytes:
    fields = asdict(frame)
    content: bytes = fields.pop("content")
    head = json.dumps(fields).encode()
    return struct.pack("<II", len(head), len(content)) + head + content


def _arrays(raw: bytes, frames: Sequence[PackedFrame]) -> list[NDArray[Any]]:
    arrays, place = [], 0
    for frame in frames:
        dtype = np.dtype("<i4")
        size = frame.rows * frame.columns
        if place + size * dtype.itemsize > len(raw):
            break
        flat = np.frombuffer(raw, dtype, size, place)
        arrays.append(flat.reshape(frame.rows, frame.columns))
        place += size * dtype.itemsize
    return arrays


def decode_stream(source: BinaryIO, target: BinaryIO) -> None:
    """Decode all frames of a stream; what the child process does.

    Args:
        source: Frames as `unpack` sends them.
        target: Gets the pixels, row by row, 32-bit integers.
    """
    from pydicom.encaps import encapsulate  # noqa: PLC0415 - only in the child
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415 - as above

    while head := source.read(8):
        n_head, n_content = struct.unpack("<II", head)
        fields = json.loads(source.read(n_head))
        content = source.read(n_content)
        options: dict[str, Any] = {
            "rows": fields["rows"],
            "columns": fields["columns"],
            "number_of_frames": 1,
            "samples_per_pixel": 1,
            "photometric_interpretation": "MONOCHROME2",
            "pixel_keyword": "PixelData",
            "bits_allocated": fields["bits_allocated"],
            "bits_stored": fields["bits_stored"],
            "pixel_representation": int(fields["is_signed"]),
        }
        array, _ = get_decoder(fields["syntax"]).as_array(
            encapsulate([content]),
            decoding_plugin=DECODERS[fields["syntax"]],
            **options,
        )
        if array.shape != (fields["rows"], fields["columns"]):
            message = "The code stream has another size than the header says."
            raise ValueError(message)
        target.write(np.ascontiguousarray(array, dtype="<i4").tobytes())


def _limit_resources(seconds: int) -> None:
    try:
        import resource  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return
    limits = (_CHILD_MEMORY_BYTES, _CHILD_MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, limits)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


if __name__ == "__main__":
    _limit_resources(int(sys.argv[1]))
    decode_stream(sys.stdin.buffer, sys.stdout.buffer)
