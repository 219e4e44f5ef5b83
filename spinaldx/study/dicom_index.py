"""DICOM files to headers: nothing of the pixels is read."""

import contextlib
import hashlib
import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from spinaldx.errors import UnreadableFileError
from spinaldx.study import limits
from spinaldx.study.archive import ImageFile, open_file
from spinaldx.study.series import (
    DicomHeader,
    DicomSlice,
    DicomTags,
    Orientation,
    Vector,
)

# Values that break the standard are common and told apart below; pydicom's
# warnings would print them, and they may be a patient's name.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

# Enough for nearly every header; what is longer is read again whole.
_HEAD_BYTES = 1 << 17

DEFLATED = "1.2.840.10008.1.2.1.99"
# DICOMDIR; presentation states, reports, documents, raw data, spectra, curves, plans.
_NO_IMAGE_CLASSES = (
    "1.2.840.10008.1.3.10",
    "1.2.840.10008.5.1.4.1.1.4.2",
    "1.2.840.10008.5.1.4.1.1.9",
    "1.2.840.10008.5.1.4.1.1.11",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.5.1.4.1.1.88",
    "1.2.840.10008.5.1.4.1.1.104",
    "1.2.840.10008.5.1.4.1.1.481",
)

_KEYWORDS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "PatientName",
    "FrameOfReferenceUID",
    "Modality",
    "ImageType",
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "SeriesDescription",
    "ProtocolName",
    "StudyDescription",
    "SequenceName",
    "PulseSequenceName",
    "BodyPartExamined",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "FlipAngle",
    "ContrastBolusAgent",
    "ImagesInAcquisition",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "TriggerTime",
    "NumberOfFrames",
    "ComplexImageComponent",
    "AcquisitionContrast",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PhotometricInterpretation",
    "PixelRepresentation",
]
_TAGS: list[Any] = [tag_for_keyword(keyword) for keyword in _KEYWORDS]

_KEYWORDS_OF_GROUPS = [
    "EffectiveEchoTime",
    "InversionTimes",
    "TemporalPositionIndex",
    "NominalCardiacTriggerDelayTime",
    "TransferSyntaxUID",
    "MediaStorageSOPClassUID",
]
_NAMED = (*_KEYWORDS, *_KEYWORDS_OF_GROUPS)
_TAG_OF: dict[str, Any] = {keyword: tag_for_keyword(keyword) for keyword in _NAMED}
_KIND_OF = {keyword: dictionary_VR(tag) for keyword, tag in _TAG_OF.items()}

# All that pydicom is known to raise on damaged bytes (fault catalogue, group B).
PARSE_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings, which quote values of patients' files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes are those of a DICOM file.

    Old files without the preamble are known by their first element, which is of
    group 0002 or 0008.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16 or head[1] != 0 or head[3] != 0:
        return False
    group, element = head[0], head[2]
    is_first = (group == 2 and element < 0x20) or (group == 8 and element < 0x20)
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return is_first and (explicit or head[6:8] == b"\0\0")


def read_headers(
    files: Iterable[ImageFile],
) -> tuple[list[DicomHeader], list[tuple[ImageFile, str]]]:
    """Read many headers.

    Returns:
        The headers, and the files that could not be read with the reason.
    """
    headers: list[DicomHeader] = []
    faults: list[tuple[ImageFile, str]] = []
    with quiet():
        for file in files:
            try:
                header = read_header(file)
            except UnreadableFileError as error:
                faults.append((file, error.message))
                continue
            if header is not None:
                headers.append(header)
    return headers, faults


def read_header(file: ImageFile) -> DicomHeader | None:
    """Read one header.

    Returns:
        The header, or None for a DICOM file that is no image (DICOMDIR, report).

    Raises:
        UnreadableFileError: If the file is damaged or hostile.
    """
    with open_file(file) as stream:
        dataset = parse_dataset(stream, file.name, pixels=False)
        try:
            return _header(dataset, file)
        except PARSE_ERRORS as error:
            message = f"{file.name}: its DICOM header is damaged."
            raise UnreadableFileError(message) from error


def parse_dataset(stream: BinaryIO, name: str, *, pixels: bool) -> Dataset:
    """Read a DICOM file with pydicom, within bounds of time and memory.

    Raises:
        UnreadableFileError: If the file is damaged or hostile.
    """
    try:
        if not pixels:
            dataset = _parse_head(stream.read(_HEAD_BYTES))
            if dataset is not None:
                return dataset
        watched = limits.WatchedStream(stream, name, limits.HEADER_SECONDS)
        is_marked = _check_deflated(watched, name)
        return _parse(watched, pixels=pixels, is_marked=is_marked)
    except PARSE_ERRORS as error:
        message = f"{name}: not a readable DICOM file."
        raise UnreadableFileError(message) from error


def _parse_head(head: bytes) -> Dataset | None:
    """Parse a header from the first bytes alone, several times as fast.

    Returns:
        None when the header does not end before the bytes do, or is deflated.
    """
    stream = io.BytesIO(head)
    is_marked = head[128:132] == b"DICM"
    if is_marked:
        stream.seek(132)
        if _transfer_syntax(stream) == DEFLATED:
            return None
        stream.seek(0)
    try:
        dataset = _parse(stream, pixels=False, is_marked=is_marked)
    except PARSE_ERRORS:
        return None
    return dataset if stream.tell() < len(head) else None


def _parse(stream: Any, *, pixels: bool, is_marked: bool) -> Dataset:  # noqa: ANN401 - pydicom takes anything that reads
    return pydicom.dcmread(
        stream,
        stop_before_pixels=not pixels,
        specific_tags=None if pixels else _TAGS,
        force=not is_marked,
    )


def _check_deflated(stream: limits.WatchedStream, name: str) -> bool:
    """Bound what a deflated file inflates to; return whether it is marked DICM."""
    head = stream.read(132)
    is_marked = head[128:] == b"DICM"
    if is_marked and _transfer_syntax(stream) == DEFLATED:
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        left, inflated = stream.read(), 0
        while left and not engine.eof:
            inflated += len(engine.decompress(left, 1 << 20))
            if inflated > limits.LARGEST_INFLATED_BYTES:
                message = f"{name}: its deflated data are built like a bomb."
                raise UnreadableFileError(message)
            left = engine.unconsumed_tail
    stream.seek(0)
    return is_marked


def _transfer_syntax(stream: io.RawIOBase | io.BytesIO) -> str:
    """Walk the file meta group, which is always explicit little endian."""
    found = ""
    while True:
        place = stream.tell()
        head = stream.read(8) or b""
        if len(head) < 8 or head[:2] != b"\x02\x00":
            stream.seek(place)
            return found
        long_form = head[4:6] in {b"OB", b"UN", b"OW", b"SQ", b"UT"}
        size = (stream.read(4) or b"") if long_form else head[6:8]
        value = stream.read(int.from_bytes(size, "little")) or b""
        if head[2:4] == b"\x10\x00":
            found = value.rstrip(b"\0 ").decode("ascii", "replace")


def _header(dataset: Dataset, file: ImageFile) -> DicomHeader | None:
    meta = getattr(dataset, "file_meta", Dataset())
    sop_class = _text(dataset, "SOPClassUID") or _text(meta, "MediaStorageSOPClassUID")
    rows, columns = _whole(dataset, "Rows"), _whole(dataset, "Columns")
    if sop_class.startswith(_NO_IMAGE_CLASSES):
        return None
    if rows is None or columns is None:
        message = f"{file.name}: holds no picture, or a damaged one."
        raise UnreadableFileError(message)
    if not _text(dataset, "SeriesInstanceUID"):
        message = f"{file.name}: has no SeriesInstanceUID."
        raise UnreadableFileError(message)
    if rows < 1 or columns < 1:
        message = f"{file.name}: claims an image of {columns} x {rows} pixels."
        raise UnreadableFileError(message)
    frames = max(_whole(dataset, "NumberOfFrames") or 1, 1)
    if frames > limits.LARGEST_FRAMES:
        message = f"{file.name}: claims {frames} frames."
        raise UnreadableFileError(message)
    limits.check_voxels((rows, columns, 1), file.name)
    tags = _tags(dataset, sop_class)
    if frames == 1 and "PerFrameFunctionalGroupsSequence" not in dataset:
        return DicomHeader(tags, (_slice(dataset, (), file, 0),))
    return DicomHeader(tags, tuple(_frames(dataset, file, frames)))


_STORED_AS = ("PhotometricInterpretation", "BitsAllocated", "PixelRepresentation")


def _tags(dataset: Dataset, sop_class: str) -> DicomTags:
    meta = getattr(dataset, "file_meta", Dataset())
    shared = _items(dataset, "SharedFunctionalGroupsSequence")
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")[:1]
    groups = (dataset, *_inner(shared), *_inner(per_frame))
    image_type = tuple(_texts(dataset, "ImageType"))
    words = ("SeriesDescription", "ProtocolName")
    sequence = ("SequenceName", "PulseSequenceName", "AcquisitionContrast")
    return DicomTags(
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        sop_class=sop_class,
        syntax=_text(meta, "TransferSyntaxUID"),
        frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
        series_number=_whole(dataset, "SeriesNumber"),
        modality=_text(dataset, "Modality").upper(),
        image_type=tuple(part.upper() for part in image_type),
        description=" ".join(filter(None, (_text(dataset, word) for word in words))),
        sequence=" ".join(filter(None, (_text(dataset, word) for word in sequence))),
        body_part=_text(dataset, "BodyPartExamined"),
        scanning=tuple(
            part.upper()
            for word in ("ScanningSequence", "SequenceVariant")
            for part in _texts(dataset, word)
        ),
        options=tuple(part.upper() for part in _texts(dataset, "ScanOptions")),
        repetition_ms=_number(groups, "RepetitionTime"),
        echo_ms=_number(groups, "EchoTime", "EffectiveEchoTime"),
        inversion_ms=_number(groups, "InversionTime", "InversionTimes"),
        flip_degrees=_number(groups, "FlipAngle"),
        contrast_agent=bool(_text(dataset, "ContrastBolusAgent")),
        images_expected=_whole(dataset, "ImagesInAcquisition"),
        samples=_whole(dataset, "SamplesPerPixel") or 1,
        stored=" ".join(_text(dataset, word) for word in _STORED_AS),
        mosaic="MOSAIC" in {part.upper() for part in image_type},
        patient_sha256=_patient(dataset),
    )


def _patient(dataset: Dataset) -> str:
    """Hash PatientID, else PatientName, only ever compared; empty without either."""
    for word in ("PatientID", "PatientName"):
        raw: Any = dataset.get_item(_TAG_OF[word])
        value = b"" if raw is None or raw.value is None else raw.value
        plain = value if isinstance(value, bytes) else str(value).encode()
        if plain := plain.strip(b"\0 ").lower():
            return f"{word}:{hashlib.sha256(plain).hexdigest()}"
    return ""


def _slice(
    dataset: Dataset, groups: Sequence[Dataset], file: ImageFile, frame: int
) -> DicomSlice:
    sources = (*groups, dataset)
    spacing = _numbers(sources, "PixelSpacing", 2)
    orientation = _numbers(sources, "ImageOrientationPatient", 6)
    position = _numbers(sources, "ImagePositionPatient", 3)
    return DicomSlice(
        file=file,
        frame=frame,
        sop_uid=_text(dataset, "SOPInstanceUID"),
        rows=_whole(dataset, "Rows") or 0,
        columns=_whole(dataset, "Columns") or 0,
        instance_number=_whole(dataset, "InstanceNumber") if not groups else frame + 1,
        spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        orientation=None if orientation is None else _six(orientation),
        position_mm=None if position is None else _three(position),
        thickness_mm=_number(sources, "SliceThickness"),
        contrast=_contrast(sources),
    )


def _frames(dataset: Dataset, file: ImageFile, frames: int) -> Iterator[DicomSlice]:
    shared = _inner(_items(dataset, "SharedFunctionalGroupsSequence"))
    per_frame = _items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(per_frame) != frames:
        # Multi-frame files without functional groups do not place their frames.
        per_frame = [Dataset()] * frames
    for index, groups in enumerate(per_frame):
        yield _slice(dataset, (*_inner([groups]), *shared), file, index)


def _inner(items: Sequence[Dataset]) -> tuple[Dataset, ...]:
    """Return the single items of the functional groups' macros."""
    return tuple(
        element.value[0]
        for item in items
        for element in item
        if element.VR == "SQ" and element.value
    )


def _three(values: tuple[float, ...]) -> Vector:
    x, y, z = values
    return x, y, z


def _six(values: tuple[float, ...]) -> Orientation:
    return (*_three(values[:3]), *_three(values[3:]))


_CONTRASTS = (
    ("echo", ("EffectiveEchoTime", "EchoTime")),
    ("inversion", ("InversionTime",)),
    ("b", ("DiffusionBValue",)),
    ("time", ("TemporalPositionIdentifier", "TemporalPositionIndex")),
    ("trigger", ("TriggerTime", "NominalCardiacTriggerDelayTime")),
    ("acquisition", ("AcquisitionNumber",)),
)


def _contrast(sources: Sequence[Dataset]) -> tuple[tuple[str, str], ...]:
    found = []
    for name, keywords in _CONTRASTS:
        value = _number(sources, *keywords)
        if value is not None:
            found.append((name, f"{value:g}"))
    parts = {"M", "P", "R", "I", "PHASE", "REAL", "IMAGINARY", "MAGNITUDE"}
    for source in sources:
        types = [part.upper() for part in _texts(source, "ImageType")[2:]]
        types += [_text(source, "ComplexImageComponent").upper()]
        component = sorted(set(types) & parts)
        if component:
            found.append(("component", " ".join(component)))
            break
    return tuple(found)


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = dataset.get(keyword)
    return list(value) if value else []


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    """Return the values of an element as texts; empty when it is not there.

    Codes, numbers and UIDs are taken from the raw bytes, three times as fast as
    through pydicom's elements; free text needs its character set.
    """
    raw: Any = dataset.get_item(_TAG_OF[keyword])
    if raw is None or raw.value is None:
        return []
    kind = _KIND_OF[keyword]
    if isinstance(raw, RawDataElement) and raw.VR in {None, kind}:
        if kind == "US" and len(raw.value) == 2:
            number = raw.value if raw.is_little_endian else raw.value[::-1]
            return [str(int.from_bytes(number, "little"))]
        if kind in {"CS", "DS", "IS", "UI"}:
            text = raw.value.rstrip(b"\0 ").decode("latin-1")
            return [part.strip() for part in text.split("\\")] if text else []
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    values = [value] if isinstance(value, str | bytes) else value
    try:
        return [str(part).strip() for part in values]
    except TypeError:
        return [str(value).strip()]


def _text(dataset: Dataset, keyword: str) -> str:
    return " ".join(_texts(dataset, keyword))


def _numbers(
    sources: Sequence[Dataset], keyword: str, count: int
) -> tuple[float, ...] | None:
    for source in sources:
        try:
            values = tuple(float(part) for part in _texts(source, keyword))
        except ValueError:
            return None
        if values:
            sound = len(values) == count and all(map(math.isfinite, values))
            return values if sound else None
    return None


def _number(sources: Sequence[Dataset], *keywords: str) -> float | None:
    for keyword in keywords:
        for source in sources:
            for part in _texts(source, keyword)[:1]:
                with contextlib.suppress(ValueError):
                    value = float(part)
                    if math.isfinite(value):
                        return value
    return None


def _whole(dataset: Dataset, keyword: str) -> int | None:
    value = _number((dataset,), keyword)
    return None if value is None else int(value)
