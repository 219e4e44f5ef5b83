"""What is known of studies and series before a pixel is read."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from spinaldx.errors import StudyError
from spinaldx.records import Plane, QualityFlag
from spinaldx.study.archive import ImageFile, digest_of
from spinaldx.study.nifti import stored_in

Vector = tuple[float, float, float]
Orientation = tuple[float, float, float, float, float, float]


class Verdict(StrEnum):
    """What becomes of a series.

    `chosen` series are read; `spare` ones fit, but a better one shows the same
    region; `doubtful` ones are read only when asked for or when nothing better
    is there, with a flag; `rejected` ones only when asked for by `--series`.
    """

    CHOSEN = "chosen"
    SPARE = "spare"
    DOUBTFUL = "doubtful"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class DicomTags:
    """What one DICOM file says about its series; empty where it says nothing.

    Of the patient only a hash of PatientID, or else of the name, is kept, to tell patients apart. Texts hold
    descriptions as the hospital typed them: they may be shown on the terminal through
    `printable`, and never go into results.
    """

    study_uid: str
    series_uid: str
    sop_class: str = ""
    syntax: str = ""
    frame_of_reference: str = ""
    series_number: int | None = None
    modality: str = ""
    image_type: tuple[str, ...] = ()
    description: str = ""
    sequence: str = ""
    body_part: str = ""
    scanning: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    repetition_ms: float | None = None
    echo_ms: float | None = None
    inversion_ms: float | None = None
    flip_degrees: float | None = None
    contrast_agent: bool = False
    images_expected: int | None = None
    samples: int = 1
    stored: str = ""
    mosaic: bool = False
    patient_sha256: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DicomSlice:
    """One slice, a single-frame file or one frame of a multi-frame file.

    Attributes:
        file: Where it lies.
        frame: 0 in a single-frame file.
        sop_uid: SOPInstanceUID of the file.
        rows: Height in pixels.
        columns: Width in pixels.
        instance_number: Position in the series as numbered by the scanner.
        spacing_mm: Between rows, between columns.
        orientation: ImageOrientationPatient.
        position_mm: ImagePositionPatient.
        thickness_mm: SliceThickness.
        contrast: What tells images of one place apart: echo, component, b-value,
            time, acquisition.
    """

    file: ImageFile
    frame: int
    sop_uid: str
    rows: int
    columns: int
    instance_number: int | None = None
    spacing_mm: tuple[float, float] | None = None
    orientation: Orientation | None = None
    position_mm: Vector | None = None
    thickness_mm: float | None = None
    contrast: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """One DICOM image file without its pixels."""

    tags: DicomTags
    slices: tuple[DicomSlice, ...]


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One row of `cases.csv`; empty texts and None where a cell is empty.

    Attributes:
        case: Name of the case, safe as a folder name.
        t2w: Image: a NIfTI file, a DICOM folder or a zip archive.
        mask: Lesion mask on the image's grid.
        diagnosis: ``astrocytoma``, ``ependymoma``, ``ms``, ``nmosd`` or, for a
            case without lesion, ``healthy``.
        series: Which series of a folder or archive; for a NIfTI file, which is the
            image itself, the name of its station.
        cord: Cord mask.
        ct1w: Contrast-enhanced T1w image.
        age: Years.
        sex: ``F``, ``M`` or empty.
        site: Name of the hospital or scanner.
        split: ``train``, ``validation`` or ``test``.
        difficult: Whether the reference readers called it difficult.
        raters: Diagnosis given by each reader, by column name.
        location: Region of the lesions, such as ``cervical``; free text.
        number: Row of the table, counted from 1 for the header; 0 without one.
    """

    case: str
    t2w: Path | None = None
    mask: Path | None = None
    diagnosis: str = ""
    series: str = ""
    cord: Path | None = None
    ct1w: Path | None = None
    age: float | None = None
    sex: str = ""
    site: str = ""
    split: str = ""
    difficult: bool | None = None
    raters: tuple[tuple[str, str], ...] = ()
    location: str = ""
    number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class StudySource:
    """One study found, nothing of its pixels read.

    Attributes:
        name: Safe, unique in one call of `find_studies`, without any tag's text.
        nifti: Its NIfTI images; masks are left out.
        dicom: Headers of its DICOM images.
        rows: The rows of the CSV table it comes from.
        notes: How the name came about, what was left out.
        flags: Doubts, such as files that could not be read.
        problem: Why it cannot be used at all; raised by `scan_study`.
    """

    name: str
    nifti: tuple[ImageFile, ...] = ()
    dicom: tuple[DicomHeader, ...] = field(default=(), repr=False)
    rows: tuple[CaseRow, ...] = ()
    notes: tuple[str, ...] = ()
    flags: tuple[QualityFlag, ...] = ()
    problem: StudyError | None = None

    @property
    def source_files(self) -> tuple[ImageFile, ...]:
        """Every image file of the study, sorted, each once."""
        of_dicom = {item.file for header in self.dicom for item in header.slices}
        return tuple(sorted({*self.nifti, *of_dicom}))

    def fingerprint(self) -> str:
        """Return a sha256 over all that decides what is read of the study.

        All image files count, not only those chosen, since a file added or
        changed may change the choice. Folder names do not count; names of NIfTI
        files do, because series are named after them. The `.img` of a `.hdr`
        counts with it.

        Raises:
            UnreadableFileError: If a file cannot be read.
        """
        digest = hashlib.sha256()
        stored = [part for file in self.nifti for part in stored_in(file)]
        named = {(part.name, digest_of(part)) for part in stored}
        unnamed = {("", digest_of(file)) for file in self.source_files} - named
        places = list(dict.fromkeys(row.t2w for row in self.rows))
        chosen = {
            (f"series of {places.index(row.t2w)}", row.series) for row in self.rows
        }
        for name, value in sorted(named | unnamed | chosen):
            digest.update(f"{name}\0{value}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class SeriesCandidate:
    """One series of a study, judged by its header.

    Attributes:
        name: Safe as a folder name; unique in the study.
        kind: ``dicom`` or ``nifti``.
        description: Printable text for the terminal, never for results.
        score: 0 to 100, how much it looks like a sagittal T2w spine.
        reasons: Why, in the order of weight.
        verdict: What becomes of it.
        plane: Of its slices; None when its header does not say.
        spacing_mm: Row, column, slice spacing; None when unknown.
        n_slices: Slices.
        station: ``cervical``, ``thoracic``, ``lumbar``, ``whole`` or empty.
        flags: Doubts that travel with the volume.
        series_number: DICOM SeriesNumber.
        series_uid: DICOM SeriesInstanceUID.
        tags: DICOM tags; None for NIfTI.
        slices: DICOM slices in spatial order; empty for NIfTI.
        file: The NIfTI file.
        fault: Why the slices cannot become a volume; empty when they can.
        extent_z_mm: Lowest and highest point of its voxel centres, towards the head.
    """

    name: str
    kind: str
    description: str
    score: float
    reasons: tuple[str, ...]
    verdict: Verdict
    plane: Plane | None = None
    spacing_mm: Vector | None = None
    n_slices: int = 0
    station: str = ""
    flags: tuple[QualityFlag, ...] = ()
    series_number: int | None = None
    series_uid: str = ""
    tags: DicomTags | None = field(default=None, repr=False)
    slices: tuple[DicomSlice, ...] = field(default=(), repr=False)
    file: ImageFile | None = None
    fault: str = ""
    extent_z_mm: tuple[float, float] | None = None

    @property
    def chosen(self) -> bool:
        """Whether it will be read."""
        return self.verdict is Verdict.CHOSEN

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, for `scan --format json`."""
        return {
            "name": self.name,
            "kind": self.kind,
            "description": self.description,
            "series_number": self.series_number,
            "verdict": self.verdict.value,
            "score": round(self.score, 1),
            "reasons": list(self.reasons),
            "plane": self.plane.value if self.plane else None,
            "station": self.station or None,
            "slices": self.n_slices,
            "spacing_mm": [round(x, 4) for x in self.spacing_mm or ()] or None,
            "flags": [flag.code for flag in self.flags],
        }


@dataclass(frozen=True, slots=True)
class StudyScan:
    """All series of a study with the choice made among them.

    Attributes:
        study: Name of the study.
        candidates: In order of SeriesNumber, then name.
        notes: What was left out and why, printable.
        flags: Doubts about the study as a whole.
        is_named: Whether `--series` or the table made the choice.
        wanted: What they asked for, printable; empty when they made no choice.
    """

    study: str
    candidates: tuple[SeriesCandidate, ...]
    notes: tuple[str, ...] = ()
    flags: tuple[QualityFlag, ...] = ()
    is_named: bool = False
    wanted: str = ""

    @property
    def chosen(self) -> tuple[SeriesCandidate, ...]:
        """Series that will be read, from head to foot where that is known."""
        order = {"cervical": 0, "whole": 1, "": 1, "thoracic": 2, "lumbar": 3}
        picked = [item for item in self.candidates if item.chosen]
        return tuple(sorted(picked, key=lambda item: order[item.station]))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, for `scan --format json`."""
        return {
            "study": self.study,
            "series": [item.as_json() for item in self.candidates],
            "notes": list(self.notes),
            "flags": [flag.code for flag in self.flags],
        }


def printable(text: str, longest: int = 64) -> str:
    """Make a text of unknown origin safe to show on a terminal."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(shown.split())[:longest]
