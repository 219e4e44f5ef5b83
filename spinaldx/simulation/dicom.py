"""Simulated patients as DICOM studies, the way a scanner would send them.

One folder holds every series of a study in mixed order: a localizer in three
planes, the sagittal T2w stations, a sagittal T1w, sometimes a STIR, an axial T2w.
Every object says that it is simulated: PatientName ``SIM^...``, PatientID
``SIM-...``, SeriesDescription, the model of the scanner, InstitutionName, comments.
"""

import datetime
import hashlib
import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from spinaldx import __version__
from spinaldx.errors import GeometryError
from spinaldx.files import write_bytes
from spinaldx.records import Affine, Volume
from spinaldx.simulation import contrasts
from spinaldx.simulation.patient import SimulatedPatient
from spinaldx.simulation.scanner import scanner_grid, to_counts
from spinaldx.simulation.vendors import Protocol, Role, Vendor, file_names

SIMULATED = "SIMULATED"
_STIR_SHARE = 0.4
_OWN_UIDS = uuid.UUID("6f0d4d2e-8d1c-5d0e-9a53-5b1f6e1c2a77")
_GYROMAGNETIC_MHZ = 42.577


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """Sizes of the series that are derived from the T2w stations.

    Attributes:
        sagittal_pixel_mm: Pixel of the sagittal T1w and STIR.
        axial_size: Rows and columns of the axial T2w.
        axial_pixel_mm: Its pixel.
        localizer_size: Rows and columns of the localizer.
        localizer_pixel_mm: Its pixel.
        with_stir: Whether there is a STIR; None draws it.
    """

    sagittal_pixel_mm: float = 0.9
    axial_size: int = 224
    axial_pixel_mm: float = 0.8
    localizer_size: int = 128
    localizer_pixel_mm: float = 2.6
    with_stir: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    role: Role
    region: str
    stacks: tuple[Volume, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One image (row, column) of a stack with an affine (column, row, slice)."""

    counts: NDArray[np.uint16]
    stack_affine_ras: Affine
    place: int


def write_study(
    patient: SimulatedPatient,
    vendor: Vendor,
    folder: Path,
    key: str,
    options: StudyOptions | None = None,
) -> int:
    """Write one patient's study into one folder.

    The T2w stations get ascending SeriesNumbers from head to foot. Their voxels are
    `to_counts` of the simulated ones; no rescaling is stored.

    Args:
        patient: The patient; its case becomes PatientName and PatientID.
        vendor: Whose habits the tags follow.
        folder: Where the files go; made when missing.
        key: Any text; UIDs, dates and file order follow from it and the case.
        options: Sizes of the derived series.

    Returns:
        Number of files.

    Raises:
        GeometryError: If an image's axes are not at right angles.
        OutputError: If a file cannot be written.
    """
    chosen = options or StudyOptions()
    digest = hashlib.sha256(f"{key}/{patient.case}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    with_stir = bool(rng.random() < _STIR_SHARE)
    if chosen.with_stir is not None:
        with_stir = chosen.with_stir
    common = _study_tags(patient, vendor, digest.hex(), rng)
    datasets: list[Dataset] = []
    for place, series in enumerate(
        _plan(patient, chosen, with_stir=with_stir), start=1
    ):
        tags = _series_tags(series, vendor, place, digest.hex())
        frames = _frames(series.stacks, reverse=bool(rng.random() < 0.5))
        for number, frame in enumerate(frames, start=1):
            image = _image_tags(frame, number, len(frames))
            datasets.append(_joined(common, tags, image))
    uids = [str(dataset.SOPInstanceUID) for dataset in datasets]
    for dataset, name in zip(datasets, file_names(vendor, uids, rng), strict=True):
        write_bytes(folder / name, _encoded(dataset))
    return len(datasets)


def _plan(
    patient: SimulatedPatient, options: StudyOptions, *, with_stir: bool
) -> list[_Series]:
    """List the series in the order in which they would be acquired."""
    first, *_ = patient.stations
    target = max(patient.stations, key=lambda station: int(station.lesion.sum()))
    scout = contrasts.localizer(
        first, options.localizer_size, options.localizer_pixel_mm
    )
    plan = [_Series(Role.LOCALIZER, first.region, scout)]
    plan += [
        _Series(Role.T2_SAGITTAL, station.region, (station.volume,))
        for station in patient.stations
    ]
    t1 = contrasts.t1_sagittal(target, options.sagittal_pixel_mm)
    plan.append(_Series(Role.T1_SAGITTAL, target.region, (t1,)))
    if with_stir:
        stir = contrasts.stir_sagittal(target, options.sagittal_pixel_mm)
        plan.append(_Series(Role.STIR_SAGITTAL, target.region, (stir,)))
    axial = contrasts.t2_axial(target, options.axial_size, options.axial_pixel_mm)
    plan.append(_Series(Role.T2_AXIAL, target.region, (axial,)))
    return plan


def _frames(stacks: Sequence[Volume], *, reverse: bool) -> list[_Frame]:
    frames: list[_Frame] = []
    for volume in stacks:
        grid = scanner_grid(volume)
        steps = grid.affine_ras[:3, :3]
        _check_right_angles(steps, volume.name)
        frames += [
            _Frame(image, grid.affine_ras, place)
            for place, image in enumerate(grid.turn(to_counts(volume.voxels)).T)
        ]
    return frames[::-1] if reverse else frames


def _check_right_angles(steps: Affine, name: str) -> None:
    directions = steps / np.linalg.norm(steps, axis=0)
    if np.abs(directions.T @ directions - np.eye(3)).max() > 1e-4:
        message = f"{name}: DICOM slices need axes at right angles."
        raise GeometryError(message)


def _uid(*parts: object) -> UID:
    text = "/".join(str(part) for part in parts)
    return UID(f"2.25.{uuid.uuid5(_OWN_UIDS, text).int}")


def _study_tags(
    patient: SimulatedPatient, vendor: Vendor, key: str, rng: np.random.Generator
) -> Dataset:
    day = datetime.date(2020, 1, 1) + datetime.timedelta(days=int(rng.integers(1461)))
    name = patient.case.upper()
    tags = Dataset()
    tags.SpecificCharacterSet = "ISO_IR 100"
    tags.SOPClassUID = MRImageStorage
    tags.StudyDate = tags.SeriesDate = tags.AcquisitionDate = day.strftime("%Y%m%d")
    tags.ContentDate = tags.StudyDate
    tags.StudyTime = f"{int(rng.integers(7, 19)):02d}{int(rng.integers(60)):02d}00"
    tags.AccessionNumber = ""
    tags.Modality = "MR"
    tags.Manufacturer = vendor.manufacturer
    tags.InstitutionName = SIMULATED
    tags.ReferringPhysicianName = ""
    tags.StudyDescription = f"{SIMULATED} MR SPINE"
    tags.ManufacturerModelName = f"{SIMULATED} by spinaldx"
    tags.PatientName = f"SIM^{name}"
    tags.PatientID = name if name.startswith("SIM-") else f"SIM-{name}"
    # Born on a first of January, so that the age holds on every day of the study.
    tags.PatientBirthDate = f"{day.year - patient.age}0101"
    tags.PatientSex = patient.sex
    tags.PatientAge = f"{patient.age:03d}Y"
    tags.SoftwareVersions = f"spinaldx {__version__}"
    tags.MagneticFieldStrength = vendor.field_tesla
    tags.ImagingFrequency = round(vendor.field_tesla * _GYROMAGNETIC_MHZ, 3)
    tags.ImagedNucleus = "1H"
    tags.PatientPosition = "HFS"
    tags.StudyInstanceUID = _uid(key, "study")
    tags.StudyID = "1"
    tags.FrameOfReferenceUID = _uid(key, "frame of reference")
    tags.PositionReferenceIndicator = ""
    return tags


def _series_tags(series: _Series, vendor: Vendor, place: int, key: str) -> Dataset:
    protocol = vendor.protocols[series.role]
    region = vendor.regions.get(series.region, series.region)
    described = protocol.description.format(region=region)
    number = vendor.series_step * place + vendor.series_offset
    tags = Dataset()
    tags.SeriesTime = tags.AcquisitionTime = (
        f"{9 + place // 12:02d}{place % 12 * 5:02d}30"
    )
    tags.ContentTime = tags.SeriesTime
    tags.SeriesDescription = f"{described} {SIMULATED}"
    tags.ProtocolName = described
    if series.region in vendor.body_parts:
        tags.BodyPartExamined = vendor.body_parts[series.region]
    else:
        # Without a body part, the standard asks for a side, which may be empty.
        tags.Laterality = ""
    tags.SeriesInstanceUID = _uid(key, number)
    tags.SeriesNumber = number
    tags.AcquisitionNumber = 1
    brightest = max(int(to_counts(stack.voxels).max()) for stack in series.stacks)
    tags.WindowCenter, tags.WindowWidth = brightest // 3 + 1, brightest * 2 // 3 + 1
    _add_protocol(tags, protocol)
    return tags


def _add_protocol(tags: Dataset, protocol: Protocol) -> None:
    tags.ImageType = list(protocol.image_type)
    tags.ScanningSequence = list(protocol.sequence)
    tags.SequenceVariant = list(protocol.variant)
    tags.ScanOptions = list(protocol.options)
    tags.MRAcquisitionType = "2D"
    if protocol.name:
        tags.SequenceName = protocol.name
    tags.RepetitionTime = protocol.repetition_ms
    tags.EchoTime = protocol.echo_ms
    tags.EchoNumbers = 1
    tags.EchoTrainLength = protocol.train
    tags.FlipAngle = protocol.flip_degrees
    tags.NumberOfAverages = 2
    tags.InPlanePhaseEncodingDirection = "COL"
    if protocol.inversion_ms is not None:
        tags.InversionTime = protocol.inversion_ms


def _image_tags(frame: _Frame, number: int, total: int) -> Dataset:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ frame.stack_affine_ras
    column_mm, row_mm, slice_mm = np.linalg.norm(lps[:3, :3], axis=0).tolist()
    across, down = lps[:3, 0] / column_mm, lps[:3, 1] / row_mm
    corner = lps[:3, 3] + frame.place * lps[:3, 2]
    rows, columns = frame.counts.shape
    tags = Dataset()
    tags.ImageComments = f"{SIMULATED}. No patient. Research use only."
    tags.SliceThickness = tags.SpacingBetweenSlices = _decimal(slice_mm)
    tags.InstanceNumber = number
    tags.ImagesInAcquisition = total
    tags.ImagePositionPatient = [_decimal(value) for value in corner]
    tags.ImageOrientationPatient = [_decimal(value) for value in (*across, *down)]
    tags.SliceLocation = _decimal(float(np.cross(across, down) @ corner))
    tags.AcquisitionMatrix = [rows, 0, 0, columns]
    tags.SamplesPerPixel = 1
    tags.PhotometricInterpretation = "MONOCHROME2"
    tags.Rows, tags.Columns = rows, columns
    tags.PixelSpacing = [_decimal(row_mm), _decimal(column_mm)]
    tags.BitsAllocated, tags.BitsStored, tags.HighBit = 16, 12, 11
    tags.PixelRepresentation = 0
    tags.LossyImageCompression = "00"
    tags.BurnedInAnnotation = "NO"
    tags.PixelData = np.ascontiguousarray(frame.counts, dtype="<u2").tobytes()
    return tags


def _decimal(value: float) -> str:
    # Adding zero turns -0.0 into 0.0, which some readers print oddly.
    return format_number_as_ds(round(float(value), 9) + 0.0)


def _joined(common: Dataset, series: Dataset, image: Dataset) -> Dataset:
    dataset = Dataset()
    for part in (common, series, image):
        dataset.update(part)
    dataset.SOPInstanceUID = _uid(series.SeriesInstanceUID, image.InstanceNumber)
    return dataset


def _encoded(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid("spinaldx.simulation")
    meta.ImplementationVersionName = "SPINALDX"
    dataset.file_meta = meta
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
