"""NIfTI-1 and NIfTI-2 files, judged by their headers before memory is taken.

Written here because the usual library imports pydicom (0.3 s), does not notice a
damaged gzip checksum, guesses an orientation where none is given, and raises
seven kinds of error; the tests compare every good file with it.
"""

import hashlib
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError, UnreadableFileError
from spinaldx.records import Affine, Float32Array, QualityFlag
from spinaldx.study import limits
from spinaldx.study.archive import ImageFile, list_archive, read_bytes
from spinaldx.study.nifti_affine import affine_of

_PAIR_SUFFIXES = (".hdr", ".hdr.gz")
SUFFIXES = (".nii", ".nii.gz", *_PAIR_SUFFIXES)

_GZIP_MAGIC = b"\x1f\x8b"
_HEADER_BYTES = 540
# Between header and voxels, whether there are extensions.
_EXTENSION_BYTES = 4

# A file may be padded; more than this behind the image is something else.
_PADDING_BYTES = 1 << 20
# Fewer than the voxels of one slice: what is more means a wrong header.
_MOST_TRAILING = 4096

# Share of voxels that are NaN or infinite from which an image is refused.
_MOST_NON_FINITE = 0.01

_DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_REFUSED_TYPES = {
    1: "one bit a voxel",
    32: "complex numbers",
    128: "RGB colours",
    1536: "128-bit floats",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colours",
}
_UNITS = {1: "metres", 3: "micrometres"}

# Offsets and types of the fields that matter, for both versions of the format.
_FIELDS_1 = {
    "dim": (40, "8i2"),
    "datatype": (70, "i2"),
    "bitpix": (72, "i2"),
    "pixdim": (76, "8f4"),
    "vox_offset": (108, "f4"),
    "slope": (112, "f4"),
    "inter": (116, "f4"),
    "units": (123, "u1"),
    "qform_code": (252, "i2"),
    "sform_code": (254, "i2"),
    "quaternion": (256, "6f4"),
    "srow": (280, "12f4"),
    "magic": (344, "S4"),
}
_FIELDS_2 = {
    "magic": (4, "S8"),
    "datatype": (12, "i2"),
    "bitpix": (14, "i2"),
    "dim": (16, "8i8"),
    "pixdim": (104, "8f8"),
    "vox_offset": (168, "i8"),
    "slope": (176, "f8"),
    "inter": (184, "f8"),
    "qform_code": (344, "i4"),
    "sform_code": (348, "i4"),
    "quaternion": (352, "6f8"),
    "srow": (400, "12f8"),
    "units": (500, "i4"),
}


@dataclass(frozen=True, slots=True, eq=False)
class NiftiHeader:
    """The part of a NIfTI header that decides how an image is read.

    Attributes:
        shape: (I, J, K).
        dtype: Of the stored voxels, with byte order.
        offset: First byte of the voxels in their file.
        slope: Stored value to intensity.
        inter: Added after the slope.
        affine_ras: Voxel indices to patient mm, (4, 4) float64.
        is_pair: Whether the voxels lie in an `.img` file beside the header.
        flags: Doubts.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    affine_ras: Affine
    is_pair: bool
    flags: tuple[QualityFlag, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of the stored voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True, eq=False)
class NiftiImage:
    """A NIfTI file read to its end.

    Attributes:
        voxels: Intensities, (I, J, K) float32, finite.
        header: Its header.
        flags: Doubts of header and voxels.
        sha256: Of the file's bytes as stored.
    """

    voxels: Float32Array
    header: NiftiHeader
    flags: tuple[QualityFlag, ...]
    sha256: str


def stem_of(name: str) -> str:
    """Return a file name without `.nii`, `.nii.gz` and the like."""
    lower = name.lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if lower.endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_nifti_name(name: str) -> bool:
    """Whether a file is taken for a NIfTI image by its name."""
    return name.lower().endswith(SUFFIXES)


def stored_in(file: ImageFile) -> tuple[ImageFile, ...]:
    """Return all files that hold an image: a `.hdr` has its voxels in an `.img`.

    A partner that is missing is left out; reading the image says so.

    Raises:
        UnreadableFileError: If the folder or archive of a `.hdr` cannot be listed.
    """
    is_pair = file.name.lower().endswith(_PAIR_SUFFIXES)
    partner = _partner(file) if is_pair else None
    return (file,) if partner is None else (file, partner)


def read_header(file: ImageFile) -> NiftiHeader:
    """Read the header alone.

    Raises:
        UnreadableFileError: If it is damaged, hostile or of a kind not read.
        GeometryError: If it does not place the image in the patient.
    """
    raw = read_bytes(file) if file.member else _first_bytes(file)
    return parse_header(_Inflater(raw, file.name).take(_HEADER_BYTES), file.name)


def read_image(file: ImageFile) -> NiftiImage:
    """Read header and voxels, to the last byte, so that checksums are checked.

    Raises:
        UnreadableFileError: If the file is damaged, hostile or of a kind not read.
        GeometryError: If it does not place the image in the patient.
    """
    raw = read_bytes(file)
    digest = hashlib.sha256(raw)
    stream = _Inflater(raw, file.name)
    head = stream.take(_HEADER_BYTES)
    header = parse_header(head, file.name)
    if header.is_pair:
        stream.finish()
        other = _required_partner(file)
        raw = read_bytes(other)
        digest.update(raw)
        stream, head = _Inflater(raw, other.name), b""
    wanted = header.offset + header.n_bytes
    content = head + stream.take(max(wanted - len(head), 0))
    if len(content) < wanted:
        message = f"{file.name}: ends before its last voxel."
        raise UnreadableFileError(message, hint="Copy or convert the file again.")
    trailing = stream.finish() + len(content) - wanted
    stored = np.frombuffer(
        content, header.dtype, math.prod(header.shape), header.offset
    )
    voxels, flags = _scaled(stored.reshape(header.shape, order="F"), header, file.name)
    if trailing > _MOST_TRAILING:
        message = f"{file.name}: holds {trailing} bytes more than its header says."
        raise UnreadableFileError(message)
    if trailing:
        text = f"{trailing} bytes follow the last voxel and were ignored."
        flags = (*flags, QualityFlag("trailing_bytes", text, needs_review=False))
    return NiftiImage(voxels, header, (*header.flags, *flags), digest.hexdigest())


def parse_header(raw: bytes, name: str) -> NiftiHeader:
    """Parse the first 540 bytes of a file (348 are enough for NIfTI-1).

    Raises:
        UnreadableFileError: If they are damaged, hostile or of a kind not read.
        GeometryError: If they do not place the image in the patient.
    """
    fields, is_version_2 = _fields(raw, name)
    order = fields["order"]
    magic = fields["magic"]
    is_pair = magic[:3] == (b"ni2" if is_version_2 else b"ni1")
    if not is_pair and magic[:3] != (b"n+2" if is_version_2 else b"n+1"):
        message = f"{name}: an Analyze file or a damaged one, without NIfTI's mark."
        raise UnreadableFileError(message, hint="Convert it to NIfTI.")
    if is_pair and not name.lower().endswith(_PAIR_SUFFIXES):
        message = f"{name}: says that its voxels lie in another file, as only .hdr may."
        raise UnreadableFileError(message, hint="Convert it to NIfTI again.")
    shape = _shape(fields["dim"], name)
    dtype = _dtype(int(fields["datatype"]), int(fields["bitpix"]), name)
    header_bytes = _HEADER_BYTES if is_version_2 else 348
    usual = 0 if is_pair else header_bytes
    offset = _offset(float(fields["vox_offset"]), name, usual)
    unit = _UNITS.get(int(fields["units"]) & 7)
    if unit:
        message = f"{name}: is measured in {unit}, not millimetres."
        raise GeometryError(message, hint="Write it in millimetres.")
    affine, flags = affine_of(fields, shape, name)
    slope, inter, scale_flags = _scaling(fields, name)
    return NiftiHeader(
        shape=shape,
        dtype=dtype.newbyteorder(order),
        offset=offset,
        slope=slope,
        inter=inter,
        affine_ras=affine,
        is_pair=is_pair,
        flags=(*flags, *scale_flags),
    )


class _Inflater:
    """Gives plain bytes of a file that may be gzip, and checks its end."""

    def __init__(self, raw: bytes, name: str) -> None:
        self._name = name
        self._is_gzip = raw[:2] == _GZIP_MAGIC
        self._left = raw
        self._engine = zlib.decompressobj(wbits=31)

    def take(self, count: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        if not self._is_gzip:
            piece, self._left = self._left[:count], self._left[count:]
            return piece
        pieces: list[bytes] = []
        while count > 0:
            try:
                piece = self._engine.decompress(self._left, count)
            except zlib.error as error:
                message = f"{self._name}: its gzip data are damaged."
                raise UnreadableFileError(message, hint="Copy it again.") from error
            pieces.append(piece)
            count -= len(piece)
            self._left = self._engine.unconsumed_tail or self._engine.unused_data
            if self._engine.eof and self._left[:2] == _GZIP_MAGIC:
                self._engine = zlib.decompressobj(wbits=31)
            elif self._engine.eof or not piece:
                break
        return b"".join(pieces)

    def finish(self) -> int:
        """Read to the end and return how many bytes were left.

        Raises:
            UnreadableFileError: If the checksum is wrong, the end is missing or
                much more follows than padding.
        """
        extra = len(self.take(_PADDING_BYTES + 1))
        if extra > _PADDING_BYTES:
            message = f"{self._name}: holds far more data than its header says."
            raise UnreadableFileError(message)
        if not self._is_gzip:
            return extra
        if not self._engine.eof:
            message = f"{self._name}: its gzip data are cut off."
            raise UnreadableFileError(message, hint="Copy it again.")
        return extra + len(self._left.strip(b"\0"))


def _first_bytes(file: ImageFile) -> bytes:
    try:
        with file.path.open("rb") as stream:
            return stream.read(1 << 16)
    except OSError as error:
        message = f"{file.name}: cannot be read: {error.strerror or 'no reason'}."
        raise UnreadableFileError(message) from error


def _required_partner(file: ImageFile) -> ImageFile:
    found = _partner(file)
    if found is None:
        message = f"{file.name}: the .img file beside it is missing."
        raise UnreadableFileError(message)
    return found


def _partner(file: ImageFile) -> ImageFile | None:
    """Find the `.img` beside a `.hdr`."""
    stem = stem_of(file.name)
    wanted = {f"{stem}.img".lower(), f"{stem}.img.gz".lower()}
    return next((item for item in _beside(file) if item.name.lower() in wanted), None)


def _beside(file: ImageFile) -> list[ImageFile]:
    """List the files of a file's folder, or of its folder inside an archive."""
    if file.member:
        folder = file.member[: -len(file.name)]
        return [
            item
            for item in list_archive(file.path)
            if item.member[: -len(item.name)] == folder
        ]
    try:
        return [ImageFile(path) for path in sorted(file.path.parent.iterdir())]
    except OSError as error:
        message = f"{file.name}: its folder cannot be read: {error.strerror}."
        raise UnreadableFileError(message) from error


def _fields(raw: bytes, name: str) -> tuple[dict[str, Any], bool]:
    for order in ("<", ">"):
        size = int(np.frombuffer(raw[:4].ljust(4, b"\0"), f"{order}i4")[0])
        if size not in {348, 540}:
            continue
        if len(raw) < size:
            break
        layout = _FIELDS_2 if size == 540 else _FIELDS_1
        names = list(layout)
        dtype = np.dtype(
            {
                "names": names,
                "formats": [_ordered(layout[key][1], order) for key in names],
                "offsets": [layout[key][0] for key in names],
                "itemsize": size,
            }
        )
        record = np.frombuffer(raw, dtype, 1)[0]
        return {**{key: record[key] for key in names}, "order": order}, size == 540
    message = f"{name}: not a NIfTI file, or a damaged one."
    raise UnreadableFileError(message)


def _ordered(code: str, order: str) -> str:
    return f"{code[:-2]}{order}{code[-2:]}" if code[0] != "S" else code


def _shape(dim: NDArray[np.signedinteger[Any]], name: str) -> tuple[int, int, int]:
    rank = int(dim[0])
    edges = [int(edge) for edge in dim[1 : rank + 1]] if 1 <= rank <= 7 else []
    if not edges or min(edges) < 1:
        message = f"{name}: its dimensions make no sense."
        raise UnreadableFileError(message)
    edges += [1] * (3 - len(edges))
    if math.prod(edges[3:]) > 1:
        message = f"{name}: holds {math.prod(edges[3:])} images, not one."
        raise UnreadableFileError(message, hint="Split it, and give one of them.")
    shape = (edges[0], edges[1], edges[2])
    limits.check_voxels(shape, name)
    return shape


def _dtype(code: int, bits: int, name: str) -> np.dtype[Any]:
    if code not in _DTYPES:
        kind = _REFUSED_TYPES.get(code, "an unknown type of voxel")
        message = f"{name}: holds {kind}, not intensities."
        raise UnreadableFileError(message)
    dtype = np.dtype(_DTYPES[code])
    if bits not in {0, dtype.itemsize * 8}:
        message = f"{name}: its voxel type and voxel size contradict each other."
        raise UnreadableFileError(message)
    return dtype


def _offset(value: float, name: str, header_bytes: int) -> int:
    """Return where voxels begin; `header_bytes` is 0 for a pair of files."""
    if not math.isfinite(value) or value < 0 or value > limits.LARGEST_FILE_BYTES:
        message = f"{name}: its voxels start at no sensible place."
        raise UnreadableFileError(message)
    offset = int(value)
    if offset < header_bytes:
        # Some writers leave 0 and mean the usual place behind the header.
        if offset != 0:
            message = f"{name}: its voxels start inside its header."
            raise UnreadableFileError(message)
        return header_bytes + _EXTENSION_BYTES
    return offset


def _scaling(
    fields: dict[str, Any], name: str
) -> tuple[float, float, tuple[QualityFlag, ...]]:
    slope, inter = float(fields["slope"]), float(fields["inter"])
    if math.isinf(slope) or math.isinf(inter):
        message = f"{name}: its intensity scale is infinite."
        raise UnreadableFileError(message)
    if slope == 0.0:
        return 1.0, 0.0, ()
    if math.isnan(slope) or math.isnan(inter):
        text = "The intensity scale is not a number and was ignored."
        return 1.0, 0.0, (QualityFlag("scale_ignored", text, needs_review=False),)
    return slope, inter, ()


def _scaled(
    stored: NDArray[Any], header: NiftiHeader, name: str
) -> tuple[Float32Array, tuple[QualityFlag, ...]]:
    with np.errstate(over="ignore", invalid="ignore"):
        if (header.slope, header.inter) == (1.0, 0.0):
            voxels = stored.astype(np.float32)
        else:
            scaled = stored * np.float64(header.slope) + header.inter
            voxels = scaled.astype(np.float32)
    bad = ~np.isfinite(voxels)
    share = float(bad.mean())
    if share == 0.0:
        return voxels, ()
    if share > _MOST_NON_FINITE:
        message = f"{name}: {share:.0%} of its voxels are not finite numbers."
        raise UnreadableFileError(message)
    voxels[bad] = 0.0
    text = f"{int(bad.sum())} voxels were not finite numbers and were set to 0."
    return voxels, (QualityFlag("non_finite_voxels", text),)
