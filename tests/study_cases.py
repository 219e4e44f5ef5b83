"""A small T2w spine and the DICOM and NIfTI files that a scanner makes of it."""

import gzip
import struct
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
SPACING_MM = (3.3, 1.1, 1.0)
SHAPE = (11, 96, 80)
# Sagittal: columns run to the back, rows to the feet, slices to the left.
SAGITTAL_LPS = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
FIRST_LPS = np.array([-16.5, -40.0, 52.0])


def place_of(left, back=0.0, down=0.0):
    """ImagePositionPatient of a slice, in DICOM's left, back, head millimetres."""
    return [float(x) for x in FIRST_LPS + np.array([left, back, -down])]


def spine_voxels(shape=SHAPE, seed=0):
    """Slices to the left, rows to the feet, columns to the back, int16.

    Body 200, vertebrae 260 with darker discs, fluid 900 in columns 40 to 51 of
    the middle slices, cord 350 inside it.
    """
    rng = np.random.default_rng(seed)
    voxels = np.full(shape, 5.0)
    voxels[:, :, 6:74] = 200.0
    voxels[:, :, 18:38] = 260.0
    for row in range(0, shape[1], 18):
        voxels[:, row : row + 4, 18:38] = 120.0
    middle = shape[0] // 2
    voxels[middle - 2 : middle + 3, :, 40:52] = 900.0
    voxels[middle - 1 : middle + 2, :, 43:49] = 350.0
    return (voxels + rng.normal(0, 6, shape)).clip(0).round().astype(np.int16)


def spine_affine(shape=SHAPE):
    """RAS affine of the voxels above, as DICOM would place them."""
    affine = np.eye(4)
    affine[:3, 0] = (-SPACING_MM[0], 0, 0)
    affine[:3, 1] = (0, 0, -SPACING_MM[1])
    affine[:3, 2] = (0, -SPACING_MM[2], 0)
    affine[:3, 3] = FIRST_LPS * (-1, -1, 1)
    return affine


def uid_of(*parts):
    """A UID in the 2.25 root that depends on the parts alone."""
    number = int.from_bytes(repr(parts).encode(), "big") % (1 << 122)
    return UID(f"2.25.{number + 1}")


def dicom_slice(pixels, index, series=1, study=1, **tags):
    """One slice of the sagittal T2w series; `tags` replace or (None) remove."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MR
    dataset = Dataset()
    dataset.file_meta = meta
    fields = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "SOPClassUID": MR,
        "SOPInstanceUID": uid_of("image", study, series, index),
        "StudyInstanceUID": uid_of("study", study),
        "SeriesInstanceUID": uid_of("series", study, series),
        "FrameOfReferenceUID": uid_of("frame", study),
        "Modality": "MR",
        "Manufacturer": "SIM",
        "PatientName": "SIM^CANARY",
        "PatientID": "SIM-CANARY-ID",
        "SeriesDescription": "t2_tse_sag",
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "ScanOptions": "",
        "SliceThickness": 3.0,
        "SpacingBetweenSlices": SPACING_MM[0],
        "RepetitionTime": 3500.0,
        "EchoTime": 100.0,
        "EchoNumbers": 1,
        "FlipAngle": 150.0,
        "SeriesNumber": series,
        "AcquisitionNumber": 1,
        "InstanceNumber": index + 1,
        "ImagePositionPatient": place_of(index * SPACING_MM[0]),
        "ImageOrientationPatient": list(SAGITTAL_LPS),
        "PixelSpacing": [SPACING_MM[1], SPACING_MM[2]],
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "PixelData": np.ascontiguousarray(pixels, np.int16).tobytes(),
    } | tags
    for keyword, value in fields.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW"
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "")
    return dataset


def dicom_series(voxels=None, **tags):
    """The slices of a series, from the patient's right to left."""
    voxels = spine_voxels() if voxels is None else voxels
    return [dicom_slice(pixels, index, **tags) for index, pixels in enumerate(voxels)]


def enhanced(voxels=None, **tags):
    """The same series as one enhanced multi-frame object."""
    voxels = spine_voxels() if voxels is None else voxels
    first = dicom_slice(voxels[0], 0)
    for keyword in [
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "SpacingBetweenSlices",
        "EchoTime",
        "RepetitionTime",
        "ScanningSequence",
        "SequenceVariant",
        "EchoNumbers",
        "FlipAngle",
    ]:
        delattr(first, keyword)
    first.SOPClassUID = first.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence(
        [_item(ImageOrientationPatient=list(SAGITTAL_LPS))]
    )
    shared.PixelMeasuresSequence = Sequence(
        [_item(PixelSpacing=[1.1, 1.0], SliceThickness=3.0)]
    )
    shared.MRTimingAndRelatedParametersSequence = Sequence(
        [_item(RepetitionTime=3500.0)]
    )
    shared.MREchoSequence = Sequence([_item(EffectiveEchoTime=100.0)])
    first.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index in range(len(voxels)):
        position = place_of(index * SPACING_MM[0])
        frame = Dataset()
        frame.PlanePositionSequence = Sequence([_item(ImagePositionPatient=position)])
        frames.append(frame)
    first.PerFrameFunctionalGroupsSequence = Sequence(frames)
    first.NumberOfFrames = len(voxels)
    first.PixelData = np.ascontiguousarray(voxels, np.int16).tobytes()
    for keyword, value in tags.items():
        setattr(first, keyword, value)
    return first


def _item(**fields):
    item = Dataset()
    for keyword, value in fields.items():
        setattr(item, keyword, value)
    return item


def save(datasets, folder, pattern="IM{:04d}"):
    """Write datasets under names without extension; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, dataset in enumerate(datasets):
        path = folder / pattern.format(index)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def nifti_header(voxels, affine, **changes):
    """348 bytes of NIfTI-1 header with sform and qform, and 4 of extension."""
    fields = {
        "dim": (3, *voxels.shape, 1, 1, 1, 1),
        "datatype": 4,
        "bitpix": 16,
        "pixdim": (1.0, *np.linalg.norm(affine[:3, :3], axis=0), 1, 1, 1, 1),
        "vox_offset": 352.0,
        "slope": 1.0,
        "inter": 0.0,
        "units": 2,
        "qform_code": 1,
        "sform_code": 1,
        "magic": b"n+1\0",
        "sizeof": 348,
        "order": "<",
        "srow": affine[:3],
        "quaternion": quaternion_of(affine),
    } | changes
    if np.linalg.det(affine[:3, :3]) < 0 and "pixdim" not in changes:
        fields["pixdim"] = (-1.0, *fields["pixdim"][1:])
    order = fields["order"]
    raw = bytearray(352)

    def put(place, code, *values):
        struct.pack_into(order + code, raw, place, *values)

    put(0, "i", fields["sizeof"])
    put(40, "8h", *fields["dim"])
    put(70, "hh", fields["datatype"], fields["bitpix"])
    put(76, "8f", *fields["pixdim"])
    put(108, "3f", fields["vox_offset"], fields["slope"], fields["inter"])
    put(123, "B", fields["units"])
    put(252, "hh", fields["qform_code"], fields["sform_code"])
    put(256, "3f", *fields["quaternion"])
    put(268, "3f", *affine[:3, 3])
    put(280, "12f", *np.asarray(fields["srow"], float).ravel())
    put(344, "4s", fields["magic"])
    return bytes(raw)


def quaternion_of(affine):
    """b, c, d of the rotation, after the third axis was turned to make it proper."""
    rotation = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.linalg.det(rotation) < 0:
        rotation = rotation * (1, 1, -1)
    values, vectors = np.linalg.eigh(_quaternion_matrix(rotation))
    a, b, c, d = vectors[:, np.argmax(values)]
    return (b, c, d) if a >= 0 else (-b, -c, -d)


def _quaternion_matrix(r):
    """Symmetric matrix whose main eigenvector is the quaternion (Bar-Itzhack)."""
    return np.array(
        [
            [
                r[0, 0] + r[1, 1] + r[2, 2],
                r[2, 1] - r[1, 2],
                r[0, 2] - r[2, 0],
                r[1, 0] - r[0, 1],
            ],
            [
                r[2, 1] - r[1, 2],
                r[0, 0] - r[1, 1] - r[2, 2],
                r[1, 0] + r[0, 1],
                r[2, 0] + r[0, 2],
            ],
            [
                r[0, 2] - r[2, 0],
                r[1, 0] + r[0, 1],
                r[1, 1] - r[0, 0] - r[2, 2],
                r[2, 1] + r[1, 2],
            ],
            [
                r[1, 0] - r[0, 1],
                r[2, 0] + r[0, 2],
                r[2, 1] + r[1, 2],
                r[2, 2] - r[0, 0] - r[1, 1],
            ],
        ]
    )


def nifti_bytes(voxels=None, affine=None, dtype="<i2", **changes):
    """A whole NIfTI-1 file, uncompressed."""
    voxels = spine_voxels() if voxels is None else voxels
    affine = spine_affine() if affine is None else affine
    header = nifti_header(voxels, affine, **changes)
    return header + np.asarray(voxels).astype(dtype).tobytes(order="F")


def write_nifti(path, *args, **kwargs):
    """Write a NIfTI file, packed when its name says so."""
    content = nifti_bytes(*args, **kwargs)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        gzip.compress(content, 1) if path.name.endswith(".gz") else content
    )
    return path


def write_pair(folder, voxels=None, name="t2w"):
    """Write a NIfTI pair: `.hdr` and `.img`; returns the header's path."""
    voxels = spine_voxels() if voxels is None else voxels
    header = nifti_header(voxels, spine_affine(), magic=b"ni1\0", vox_offset=0.0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.hdr").write_bytes(header[:348])
    content = voxels.astype("<i2").tobytes(order="F")
    (folder / f"{name}.img").write_bytes(content)
    return folder / f"{name}.hdr"
