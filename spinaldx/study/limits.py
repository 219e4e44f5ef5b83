"""How much one input file may take, decided before memory is taken."""

import io
import time
from typing import BinaryIO

from spinaldx.errors import UnreadableFileError

# 512 x 512 x 380: an isotropic half-millimetre spine; 0.4 GB as float32.
LARGEST_VOXELS = 100_000_000

LARGEST_EDGE = 8192

# One file of a study, as stored; a compressed or a multi-frame one included.
LARGEST_FILE_BYTES = 1 << 30

# Deflated DICOM is inflated whole by pydicom; real ones hold one slice.
LARGEST_INFLATED_BYTES = 128 << 20

# A header that takes longer than this is built to take time.
HEADER_SECONDS = 5.0

# Frames of one multi-frame file; a 4-D enhanced study stays below.
LARGEST_FRAMES = 20_000

ARCHIVE_MEMBERS = 50_000
ARCHIVE_BYTES = 8 << 30
# A blank slice packs 1000 to 1 and is small; nothing large packs like that.
ARCHIVE_RATIO = 200
ARCHIVE_SMALL_BYTES = 8 << 20


def check_voxels(shape: tuple[int, ...], name: str) -> None:
    """Refuse an image that is too large, by its header alone.

    Raises:
        UnreadableFileError: If an edge or the voxel count is above the limit.
    """
    count = 1
    for edge in shape:
        count *= edge
    if max(shape) > LARGEST_EDGE or count > LARGEST_VOXELS:
        size = " x ".join(str(edge) for edge in shape)
        message = f"{name}: claims {size} voxels, more than are read."
        raise UnreadableFileError(message, hint="Crop or resample the image.")


class WatchedStream(io.RawIOBase):
    """A stream that never gives more than it holds and stops when time is up.

    A hostile length field makes a plain `read` reserve memory for all it claims,
    and a hostile header can keep a parser busy for minutes: both end here.
    """

    def __init__(self, stream: BinaryIO, name: str, seconds: float) -> None:
        super().__init__()
        self._stream = stream
        self.name = name
        self._deadline = time.monotonic() + seconds
        self._end = stream.seek(0, io.SEEK_END)
        stream.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most what is left."""
        if time.monotonic() > self._deadline:
            message = f"{self.name}: reading its header takes too long."
            raise UnreadableFileError(message)
        left = max(self._end - self._stream.tell(), 0)
        wanted = left if size is None or size < 0 else min(size, left)
        return self._stream.read(wanted)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, never beyond what a file offset can hold."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be moved in: yes."""
        return True
