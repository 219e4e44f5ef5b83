"""The fault catalogue: what hospitals and bad luck send, and what must become of it.

Each fault builds a folder; `outcome_of` reads it as `predict` would and says what
came out: `right` (the true volume, no doubts), `warned` (the true volume or part of
it, with flags), `refused` (a named error), or a forbidden end.
"""

import functools
import io
import itertools
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gdcm
import numpy as np
import phantoms
import study_cases as cases
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian

from spinaldx.errors import SpinalDxError
from spinaldx.study import find_studies, load_study

RIGHT, WARNED, REFUSED, FORBIDDEN = "right", "warned", "refused", "forbidden"
SLOW_S = 10.0


@dataclass(frozen=True)
class Fault:
    """One entry: how it is built and what must come out.

    Attributes:
        name: What is wrong.
        build: Writes the files into a folder.
        outcomes: Those allowed.
        word: Part of the message or of a flag's code that must be there.
        volumes: Number of volumes that must come out when none is refused.
    """

    name: str
    build: Callable[[Path], object]
    outcomes: tuple[str, ...]
    word: str = ""
    volumes: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came out of one folder."""

    kind: str
    detail: str
    volumes: tuple = ()
    seconds: float = 0.0


def outcome_of(folder, truth=None, affine=None):
    """Read a folder and judge what comes out against the true volume."""
    start = time.perf_counter()
    try:
        volumes = [v for source in find_studies([folder]) for v in load_study(source)]
    except SpinalDxError as error:
        took = time.perf_counter() - start
        kind = FORBIDDEN if took > SLOW_S else REFUSED
        return Outcome(kind, f"{type(error).__name__}: {error.message}", (), took)
    except BaseException as error:  # noqa: BLE001 - any other end is what is sought
        return Outcome(FORBIDDEN, f"traceback {type(error).__name__}: {error}")
    took = time.perf_counter() - start
    codes = sorted({flag.code for volume in volumes for flag in volume.flags})
    kind, detail = (WARNED if codes else RIGHT), " ".join(codes)
    if took > SLOW_S:
        kind, detail = FORBIDDEN, "too slow"
    elif truth is not None and kind == RIGHT:
        wrong = difference(volumes[0], truth, affine)
        if wrong:
            kind, detail = FORBIDDEN, f"silently wrong: {wrong}"
    return Outcome(kind, detail, tuple(volumes), took)


def difference(volume, truth, affine):
    """Say how a volume differs from the truth, stored left, foot, back."""
    order, flips = _order_of(volume.affine_ras, affine)
    if sorted(order) != [0, 1, 2]:
        return f"axes {order}"
    voxels = np.flip(np.transpose(volume.voxels, order), flips)
    if voxels.shape != truth.shape:
        return f"shape {voxels.shape}"
    edges = np.linalg.norm(volume.affine_ras[:3, :3], axis=0)[list(order)]
    if not np.allclose(edges, np.linalg.norm(affine[:3, :3], axis=0), atol=2e-3):
        return f"spacing {edges}"
    corner = np.zeros(3)
    corner[list(order)] = [
        volume.voxels.shape[axis] - 1 if place in flips else 0
        for place, axis in enumerate(order)
    ]
    away = volume.affine_ras[:3, :3] @ corner + volume.affine_ras[:3, 3] - affine[:3, 3]
    if np.linalg.norm(away) > 0.2:
        return f"moved by {np.linalg.norm(away):.2f} mm"
    scale = np.polyfit(truth.ravel()[::7], voxels.ravel()[::7], 1)
    wrong = np.abs(voxels - np.polyval(scale, truth)) > 0.02 * 900 * abs(scale[0])
    return f"{int(wrong.sum())} voxels" if wrong.sum() > 8 else ""


def _order_of(affine, like):
    """Axis order and flips that bring one grid to another of the same directions."""
    mine = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    theirs = like[:3, :3] / np.linalg.norm(like[:3, :3], axis=0)
    cosines = theirs.T @ mine
    order = tuple(int(np.argmax(np.abs(row))) for row in cosines)
    flips = tuple(i for i, axis in enumerate(order) if cosines[i, axis] < 0)
    return order, flips


# --- group A: series -------------------------------------------------------------


def _series(change=None, **tags):
    def build(folder):
        datasets = cases.dicom_series(**tags)
        return cases.save(datasets if change is None else change(datasets), folder)

    return build


def _each(**tags):
    """Change tags of every slice; a function gets the slice's number."""

    def change(datasets):
        for index, dataset in enumerate(datasets):
            for keyword, given in tags.items():
                value = given(index) if callable(given) else given
                if value is None:
                    delattr(dataset, keyword)
                else:
                    setattr(dataset, keyword, value)
        return datasets

    return _series(change)


def _one(index, **tags):
    """Change tags of one slice."""

    def change(datasets):
        for keyword, value in tags.items():
            if value is None:
                delattr(datasets[index], keyword)
            else:
                setattr(datasets[index], keyword, value)
        return datasets

    return _series(change)


def _without(*indices):
    return _series(lambda all_: [d for i, d in enumerate(all_) if i not in indices])


def _uneven(datasets):
    datasets[5].ImagePositionPatient = cases.place_of(5.4 * 3.3)
    return datasets


def _slightly_uneven(datasets):
    datasets[5].ImagePositionPatient = cases.place_of(5.05 * 3.3)
    return datasets


def _doubled_slice(datasets):
    voxels = cases.spine_voxels()
    double = cases.dicom_slice(voxels[4], 4, SOPInstanceUID=cases.uid_of("new"))
    return [*datasets, double]


def _doubled_files(folder):
    cases.save(cases.dicom_series(), folder / "one")
    cases.save(cases.dicom_series(), folder / "two")


def _tilted(datasets):
    for index, dataset in enumerate(datasets):
        place = cases.place_of(index * 3.3, back=index * 0.5)
        dataset.ImagePositionPatient = place
    return datasets


def _turned_slice(datasets):
    datasets[5].ImageOrientationPatient = [0, 1, 0, 0.3, 0, -0.954]
    return datasets


def _last_turned(datasets):
    datasets[10].ImageOrientationPatient = [0, 1, 0, 0.3, 0, -0.954]
    return datasets


def _smaller_slice(datasets):
    voxels = cases.spine_voxels()
    datasets[5] = cases.dicom_slice(voxels[5][:80], 5)
    return datasets


def _two_echoes(folder):
    short = cases.dicom_series(cases.spine_voxels(seed=3) // 2)
    for index, dataset in enumerate(short):
        dataset.EchoTime, dataset.EchoNumbers = 12.0, 2
        dataset.SOPInstanceUID = cases.uid_of("echo", index)
        dataset.InstanceNumber = 12 + index
    cases.save([*cases.dicom_series(), *short], folder)


def _stations(folder):
    datasets = []
    for number, height in enumerate((0.0, 90.0, 180.0), start=1):
        for index, dataset in enumerate(cases.dicom_series(series=number)):
            dataset.ImagePositionPatient = cases.place_of(index * 3.3, down=height)
            datasets.append(dataset)
    cases.save(datasets, folder)


def _mixed(folder):
    """A whole examination in one folder: localizer, axial, T1w, STIR and T2w."""
    datasets = cases.dicom_series(series=5)
    datasets += cases.dicom_series(
        series=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )[:3]
    datasets += cases.dicom_series(series=2, EchoTime=10.0, RepetitionTime=500.0)
    datasets += cases.dicom_series(
        series=3, InversionTime=180.0, ScanningSequence=["SE", "IR"]
    )
    for index, dataset in enumerate(cases.dicom_series(series=4)):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-40, -40, -15 + 3.3 * index]
        datasets.append(dataset)
    random.Random(1).shuffle(datasets)
    cases.save(datasets, folder, "{:08x}")


def _two_studies(folder):
    cases.save(cases.dicom_series(study=1), folder, "A{}")
    cases.save(cases.dicom_series(study=2), folder, "B{}")


def _repeat(folder):
    worse = cases.dicom_series(series=2, ImageType=["DERIVED", "SECONDARY"])
    cases.save([*cases.dicom_series(series=1), *worse], folder)


def _dynamic(folder):
    later = cases.dicom_series(cases.spine_voxels(seed=5))
    for index, dataset in enumerate(later):
        dataset.SOPInstanceUID = cases.uid_of("later", index)
        dataset.InstanceNumber, dataset.AcquisitionNumber = 12 + index, 2
    cases.save([*cases.dicom_series(), *later], folder)


def _stray(folder):
    datasets = cases.dicom_series()
    datasets[10].SeriesInstanceUID = cases.uid_of("stray")
    cases.save(datasets, folder)


def _shuffled(folder):
    datasets = cases.dicom_series()
    random.Random(3).shuffle(datasets)
    cases.save(datasets, folder, "{:02d}.bin")


def _deep(folder):
    for index, dataset in enumerate(cases.dicom_series()):
        cases.save([dataset], folder / f"a{index % 3}" / f"b{index}", "x")


def _beside_junk(folder):
    cases.save(cases.dicom_series(), folder)
    (folder / "README.txt").write_text("hello")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"../../etc/passwd")
    (folder / "report.pdf").write_bytes(b"%PDF-1.4")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def _zero_byte(folder):
    paths = cases.save(cases.dicom_series(), folder, "{:02d}.dcm")
    paths[5].write_bytes(b"")


def _zero_byte_last(folder):
    paths = cases.save(cases.dicom_series(), folder, "{:02d}.dcm")
    paths[10].write_bytes(b"")


def _cut(folder):
    paths = cases.save(cases.dicom_series(), folder)
    paths[5].write_bytes(paths[5].read_bytes()[:-500])


def _rows_lie(folder):
    paths = cases.save(cases.dicom_series(), folder)
    raw = paths[5].read_bytes()
    tag = b"\x28\x00\x10\x00US\x02\x00"
    place = raw.index(tag) + len(tag)
    paths[5].write_bytes(raw[:place] + b"\xff\xff" + raw[place + 2 :])


def _implicit(folder):
    datasets = cases.dicom_series()
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    cases.save(datasets, folder)


def _no_preamble(folder):
    for path in cases.save(cases.dicom_series(), folder):
        raw = path.read_bytes()
        # Group length of the meta group is a fixed element at its start.
        meta = 132 + 12 + int.from_bytes(raw[140:144], "little")
        path.write_bytes(raw[meta:])


def _per_slice_scale(datasets):
    for index, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = 2.0, 0.0
        if index % 2:
            dataset.RescaleSlope = 1.0
            pixels = np.frombuffer(dataset.PixelData, np.int16) * 2
            dataset.PixelData = pixels.astype(np.int16).tobytes()
    return datasets


def _inverted(folder):
    voxels = (950 - cases.spine_voxels()).clip(0)
    cases.save(cases.dicom_series(voxels), folder)


def _constant(folder):
    cases.save(cases.dicom_series(np.full(cases.SHAPE, 7, np.int16)), folder)


def _labels(folder):
    voxels = (cases.spine_voxels() > 600).astype(np.int16)
    cases.save(cases.dicom_series(voxels), folder)


def _noise(folder):
    voxels = np.random.default_rng(1).integers(0, 900, cases.SHAPE).astype(np.int16)
    cases.save(cases.dicom_series(voxels), folder)


def _few(folder):
    cases.save(cases.dicom_series()[4:7], folder)


AXIAL_IOP = [1, 0, 0, 0, 1, 0]
CORONAL_IOP = [1, 0, 0, 0, 0, -1]


def _in_plane(orientation, normal):
    def build(folder):
        datasets = cases.dicom_series()
        for index, dataset in enumerate(datasets):
            dataset.ImageOrientationPatient = orientation
            place = np.array([-40.0, -40.0, 40.0]) + np.array(normal) * index * 3.3
            dataset.ImagePositionPatient = list(place)
        cases.save(datasets, folder)

    return build


_OK, _FLAG, _NO = (RIGHT,), (WARNED,), (REFUSED,)
_EITHER = (WARNED, REFUSED)

SERIES_FAULTS = (
    Fault("control", _series(), _OK),
    Fault("control: hostile names", _each(PatientName="../../x", StudyID="$(rm)"), _OK),
    Fault("control: implicit VR", _implicit, _OK),
    Fault("control: no preamble", _no_preamble, _OK),
    Fault("control: shuffled names", _shuffled, _OK),
    Fault("control: one file a folder", _deep, _OK),
    Fault("control: junk beside", _beside_junk, _OK),
    Fault("control: every file twice", _doubled_files, _OK),
    Fault("control: whole examination mixed", _mixed, _OK),
    Fault("control: three stations", _stations, _OK, volumes=3),
    Fault(
        "control: enhanced multi-frame",
        lambda f: cases.save([cases.enhanced()], f),
        _OK,
    ),
    Fault("control: repeat of one region", _repeat, _OK),
    Fault(
        "control: two studies in one folder", _two_studies, _FLAG, "folder_shared", 2
    ),
    Fault("missing middle slice", _without(5), _NO, "missing in the middle"),
    Fault("two missing slices", _without(4, 5), _NO, "missing in the middle"),
    Fault(
        "every other slice missing", _without(1, 3, 5, 7, 9), _FLAG, "slices_missing"
    ),
    Fault(
        "last slice missing, numbers tell",
        _series(lambda d: d[:-1], ImagesInAcquisition=11),
        _FLAG,
        "slices_missing",
    ),
    Fault("first slice missing", _without(0), _FLAG, "slices_missing"),
    Fault("uneven spacing", _series(_uneven), _NO, "unevenly"),
    Fault(
        "slightly uneven spacing", _series(_slightly_uneven), _FLAG, "uneven_spacing"
    ),
    Fault("doubled slice with new UID", _series(_doubled_slice), _NO, "one place"),
    Fault("one slice turned", _series(_turned_slice), _NO, "missing in the middle"),
    Fault("last slice turned", _series(_last_turned), _FLAG, "slices_left_out"),
    Fault("one slice smaller", _series(_smaller_slice), _NO, "missing in the middle"),
    Fault("last slice astray in another series", _stray, _FLAG, "stray_slices"),
    Fault("two echoes in one series", _two_echoes, _OK),
    Fault("two time points in one series", _dynamic, _OK),
    Fault("gantry tilt", _series(_tilted), _NO, "tilt"),
    Fault("slice cut off", _cut, _NO, "cut off"),
    Fault("zero-byte file in the middle", _zero_byte, _NO, "missing in the middle"),
    Fault("zero-byte file at the end", _zero_byte_last, _FLAG, "files_unreadable"),
    Fault("no PixelData in one slice", _one(5, PixelData=None), _NO, "pixels"),
    Fault("no orientation", _each(ImageOrientationPatient=None), _NO, "where they lie"),
    Fault(
        "no position in one slice",
        _one(5, ImagePositionPatient=None),
        _NO,
        "where they lie",
    ),
    Fault(
        "all slices at one place",
        _each(ImagePositionPatient=[0, 0, 0]),
        _NO,
        "one place",
    ),
    Fault(
        "position not a number", _one(5, ImagePositionPatient=["nan", "0", "0"]), _NO
    ),
    Fault("no pixel spacing", _each(PixelSpacing=None), _NO, "spacing"),
    Fault("pixel spacing zero", _each(PixelSpacing=[0, 0]), _NO, "spacing"),
    Fault(
        "one slice with other pixel spacing",
        _one(5, PixelSpacing=[2, 2]),
        _NO,
        "missing",
    ),
    Fault(
        "orientation not at right angles",
        _each(ImageOrientationPatient=[0, 1, 0, 0, 0.5, -0.8]),
        _NO,
        "orientation",
    ),
    Fault("Rows=65535 in one slice", _rows_lie, _NO, "missing in the middle"),
    Fault(
        "scale differs between slices",
        _series(_per_slice_scale),
        _FLAG,
        "rescale_varies",
    ),
    Fault(
        "scale not a number",
        _each(RescaleSlope="nan", RescaleIntercept="0"),
        _NO,
        "finite",
    ),
    Fault("axial", _in_plane(AXIAL_IOP, (0, 0, 1)), _NO, "axial"),
    Fault("coronal", _in_plane(CORONAL_IOP, (0, 1, 0)), _NO, "coronal"),
    Fault(
        "T1w by timing", _each(EchoTime=10.0, RepetitionTime=500.0), _NO, "T1w timing"
    ),
    Fault(
        "T1w by name, T2w by timing", _each(SeriesDescription="t1_tse_sag"), _NO, "T1"
    ),
    Fault(
        "STIR",
        _each(InversionTime=180.0, ScanningSequence=["SE", "IR"]),
        _FLAG,
        "fat_suppressed",
    ),
    Fault("FLAIR", _each(InversionTime=2200.0), _NO, "FLAIR"),
    Fault("diffusion", _each(ScanningSequence="EP"), _NO, "echo-planar"),
    Fault("T2* gradient echo", _each(ScanningSequence="GR", EchoTime=18.0), _NO),
    Fault("inverted contrast", _inverted, _EITHER),
    Fault(
        "knee",
        _each(BodyPartExamined="KNEE", SeriesDescription="t2 sag knie"),
        _NO,
        "body part",
    ),
    Fault(
        "CT", _each(Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2"), _NO, "CT"
    ),
    Fault(
        "localizer alone",
        _each(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        _NO,
        "localizer",
    ),
    Fault(
        "subtraction",
        _each(ImageType=["DERIVED", "PRIMARY", "SUBTRACTION"]),
        _NO,
        "derived",
    ),
    Fault("phase images", _each(ImageType=["ORIGINAL", "PRIMARY", "P"]), _NO, "phase"),
    Fault(
        "mosaic", _each(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), _NO, "mosaic"
    ),
    Fault(
        "colour",
        _each(SamplesPerPixel=3, PhotometricInterpretation="RGB"),
        _NO,
        "colour",
    ),
    Fault(
        "screen capture",
        _each(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="OT"),
        _NO,
    ),
    Fault("three slices", _few, _NO, "only 3 slices"),
    Fault("constant", _constant, _NO, "same intensity"),
    Fault("map of labels", _labels, _NO, "labels"),
    Fault("noise", _noise, _NO, "fluid"),
    Fault(
        "thick slices",
        _each(ImagePositionPatient=lambda i: cases.place_of(i * 12.0)),
        _NO,
        "voxels of",
    ),
)


# --- group B: DICOM bytes --------------------------------------------------------


def _replaced(change, index=5):
    def build(folder):
        paths = cases.save(cases.dicom_series(), folder, "{:02d}.dcm")
        paths[index].write_bytes(change(paths[index].read_bytes()))

    return build


def _deflated_bomb(raw):
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(engine.compress(b"\0" * (1 << 20)) for _ in range(140))
    syntax = b"1.2.840.10008.1.2.1.99"
    element = b"\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax
    group = b"\x02\x00\x00\x00UL\x04\x00" + len(element).to_bytes(4, "little")
    return b"\0" * 128 + b"DICM" + group + element + packed + engine.flush()


def _nested(raw):
    place = raw.index(b"\x08\x00\x60\x00CS")
    deep = (
        b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 3000
    )
    return raw[:place] + deep + raw[place:]


def _long_element(raw):
    place = raw.index(b"\x08\x00\x70\x00LO")
    return raw[:place] + b"\x08\x00\x51\x00UT\0\0\xfe\xff\xff\xff" + raw[place:]


def _tagged(tag, value):
    def change(raw):
        place = raw.index(tag) + len(tag)
        return raw[:place] + value + raw[place + len(value) :]

    return change


def _polyglot(raw):
    return b"MZ" + b"A" * 126 + raw[128:]


BYTE_FAULTS = (
    Fault("empty", _replaced(lambda raw: b""), _NO, "missing"),
    Fault("preamble alone", _replaced(lambda raw: raw[:132]), _NO, "missing"),
    Fault(
        "cut inside the meta group", _replaced(lambda raw: raw[:200]), _NO, "missing"
    ),
    Fault("cut inside the header", _replaced(lambda raw: raw[:700]), _NO),
    Fault("cut inside the pixels", _replaced(lambda raw: raw[:-3000]), _NO, "cut off"),
    Fault("deflated bomb", _replaced(_deflated_bomb), _NO, "missing"),
    Fault("3000 nested sequences", _replaced(_nested), (REFUSED, RIGHT)),
    Fault("element of 4 GB", _replaced(_long_element), _NO),
    Fault("rows 0", _replaced(_tagged(b"\x28\x00\x10\x00US\x02\x00", b"\0\0")), _NO),
    Fault(
        "7 bits allocated",
        _replaced(_tagged(b"\x28\x00\x00\x01US\x02\x00", b"\7\0")),
        _NO,
    ),
    Fault(
        "pixel length lies",
        _replaced(_tagged(b"\xe0\x7f\x10\x00OW\0\0", b"\xf0\xff\xff\x0f")),
        (RIGHT, REFUSED),
    ),
    Fault("executable in the preamble", _replaced(_polyglot), _OK),
    Fault("text instead", _replaced(lambda raw: b"hello\n" * 99), _NO, "missing"),
    Fault(
        "random bytes behind",
        _replaced(lambda raw: raw + bytes(range(256))),
        (RIGHT, WARNED, REFUSED),
    ),
    Fault(
        "big endian claimed",
        _replaced(
            lambda raw: raw.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0")
        ),
        _NO,
    ),
)


@functools.cache
def good_files():
    """Bytes of the good series, one entry a file."""
    packed = []
    for dataset in cases.dicom_series():
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        packed.append(stream.getvalue())
    return tuple(packed)


def mutated_dicom(folder, seed):
    """A good series in which one file was changed or cut at random."""
    rng = random.Random(seed)
    files = good_files()
    folder.mkdir(parents=True)
    for index, content in enumerate(files):
        (folder / f"{index:02d}.dcm").write_bytes(content)
    index = rng.randrange(len(files))
    path, raw = folder / f"{index:02d}.dcm", bytearray(files[index])
    header = len(raw) - 96 * 80 * 2
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        reach = header if rng.random() < 0.9 else len(raw)
        raw[rng.randrange(reach)] = rng.randrange(256)
    if rng.random() < 0.1:
        del raw[rng.randrange(len(raw)) :]
    path.write_bytes(raw)


# --- group D: NIfTI --------------------------------------------------------------


def _nifti(name="t2w.nii.gz", **changes):
    return lambda folder: cases.write_nifti(folder / name, **changes)


def _bytes(change, name="t2w.nii"):
    def build(folder):
        path = cases.write_nifti(folder / name)
        path.write_bytes(change(path.read_bytes()))

    return build


def _packed_bomb(raw):
    header = cases.nifti_header(cases.spine_voxels(), cases.spine_affine())
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = io.BytesIO(engine.compress(header))
    out.seek(0, io.SEEK_END)
    for _ in range(40):
        out.write(engine.compress(b"\0" * (1 << 20)))
    return out.getvalue() + engine.flush()


def _pair_alone(folder):
    cases.write_pair(folder)
    (folder / "t2w.img").unlink()


def _float(value, count):
    def build(folder):
        voxels = cases.spine_voxels().astype(np.float32)
        voxels.ravel()[:count] = value
        cases.write_nifti(
            folder / "t2w.nii.gz", voxels, dtype="<f4", datatype=16, bitpix=32
        )

    return build


def _turned_sform():
    srow = np.array([(0, 0, 1.0, 0), (0, -1.0, 0, 0), (3.3, 0, 0, 0)])
    return _nifti(srow=srow)


def _shifted_sform():
    srow = cases.spine_affine()[:3].copy()
    srow[:, 3] += 2.0
    return _nifti(srow=srow)


_NAN = float("nan")

NIFTI_FAULTS = (
    Fault("control: packed", _nifti(), _OK),
    Fault("control: plain", _nifti("t2w.nii"), _OK),
    Fault("control: header and image apart", cases.write_pair, _OK),
    Fault("control: big endian", _nifti(dtype=">i2", order=">"), _OK),
    Fault("control: scaled", _nifti(slope=0.5, inter=10.0), _OK),
    Fault("control: float32", _float(5.0, 1), _OK),
    Fault("control: float64", _nifti(dtype="<f8", datatype=64, bitpix=64), _OK),
    Fault("control: sform alone", _nifti(qform_code=0), _OK),
    Fault("control: qform alone", _nifti(sform_code=0), _OK),
    Fault("control: slope 0 means none", _nifti(slope=0.0), _OK),
    Fault(
        "no orientation",
        _nifti(qform_code=0, sform_code=0),
        _NO,
        "orientation is missing",
    ),
    Fault(
        "sform NaN, no qform",
        _nifti(qform_code=0, srow=np.full((3, 4), _NAN)),
        _NO,
        "orientation is damaged",
    ),
    Fault(
        "sform zero, no qform",
        _nifti(qform_code=0, srow=np.zeros((3, 4))),
        _NO,
        "orientation is damaged",
    ),
    Fault(
        "sform zero, qform good",
        _nifti(srow=np.zeros((3, 4))),
        _FLAG,
        "orientation_damaged",
    ),
    Fault(
        "quaternion too long",
        _nifti(quaternion=(2, 2, 2), sform_code=0),
        _NO,
        "orientation is damaged",
    ),
    Fault(
        "sform turned against qform", _turned_sform(), _NO, "turn the image differently"
    ),
    Fault("sform moved against qform", _shifted_sform(), _FLAG, "orientation_conflict"),
    Fault(
        "voxel size against matrix",
        _nifti(qform_code=0, pixdim=(1, 1, 1, 1, 1, 1, 1, 1)),
        _FLAG,
        "spacing_conflict",
    ),
    Fault(
        "negative voxel size, qform alone",
        _nifti(sform_code=0, pixdim=(1, -3.3, 1.1, 1, 1, 1, 1, 1)),
        _FLAG,
        "spacing_negative",
    ),
    Fault(
        "negative voxel size, both forms",
        _nifti(pixdim=(1, -3.3, 1.1, 1, 1, 1, 1, 1)),
        _FLAG,
        "spacing_negative",
    ),
    Fault(
        "control: negative voxel size, sform alone",
        _nifti(qform_code=0, pixdim=(1, -3.3, 1.1, 1, 1, 1, 1, 1)),
        _OK,
    ),
    Fault("orientation code 77", _nifti(sform_code=77), _NO, "codes"),
    Fault("metres", _nifti(units=1), _NO, "metres"),
    Fault(
        "negative dimension",
        _nifti(dim=(3, -11, 96, 80, 1, 1, 1, 1)),
        _NO,
        "dimensions",
    ),
    Fault("dimension 0", _nifti(dim=(3, 0, 96, 80, 1, 1, 1, 1)), _NO, "dimensions"),
    Fault("rank 12", _nifti(dim=(12, 11, 96, 80, 1, 1, 1, 1)), _NO, "dimensions"),
    Fault(
        "32767 cubed",
        _nifti(dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)),
        _NO,
        "more than are read",
    ),
    Fault("pair named .nii", _nifti("t2w.nii", magic=b"ni1\0"), _NO, "another file"),
    Fault("four images", _nifti(dim=(4, 11, 96, 20, 4, 1, 1, 1)), _NO, "4 images"),
    Fault("two-dimensional", _nifti(dim=(2, 11, 7680, 1, 1, 1, 1, 1)), _NO),
    Fault("colour", _nifti(datatype=128, bitpix=24), _NO, "RGB"),
    Fault("complex", _nifti(datatype=32, bitpix=64), _NO, "complex"),
    Fault("unknown type", _nifti(datatype=999), _NO, "unknown type"),
    Fault("type and size contradict", _nifti(bitpix=8), _NO, "contradict"),
    Fault("slope NaN", _nifti(slope=_NAN), _FLAG, "scale_ignored"),
    Fault("slope infinite", _nifti(slope=float("inf")), _NO, "infinite"),
    Fault("some NaN", _float(_NAN, 20), _FLAG, "non_finite_voxels"),
    Fault("many NaN", _float(_NAN, 20000), _NO, "finite"),
    Fault(
        "offset inside the header", _nifti(vox_offset=100.0), _NO, "inside its header"
    ),
    Fault("offset beyond the end", _nifti(vox_offset=1e6), _NO, "ends before"),
    Fault("offset NaN", _nifti(vox_offset=_NAN), _NO, "sensible place"),
    Fault("no magic", _nifti(magic=b"\0\0\0\0"), _NO, "Analyze"),
    Fault("header size 349", _nifti(sizeof=349), _NO, "not a NIfTI"),
    Fault("empty file", _bytes(lambda raw: b""), _NO, "not a NIfTI"),
    Fault("cut inside the header", _bytes(lambda raw: raw[:200]), _NO, "not a NIfTI"),
    Fault("cut inside the voxels", _bytes(lambda raw: raw[:9000]), _NO, "ends before"),
    Fault(
        "some bytes behind",
        _bytes(lambda raw: raw + b"x" * 100),
        _FLAG,
        "trailing_bytes",
    ),
    Fault(
        "much behind",
        _bytes(lambda raw: raw + b"x" * 9999),
        _NO,
        "more than its header",
    ),
    Fault(
        "gzip cut off", _bytes(lambda raw: raw[:-40], "t2w.nii.gz"), _NO, "ends before"
    ),
    Fault(
        "gzip trailer cut off",
        _bytes(lambda raw: raw[:-4], "t2w.nii.gz"),
        _NO,
        "cut off",
    ),
    Fault(
        "gzip checksum wrong",
        _bytes(lambda raw: raw[:-6] + b"\0\0" + raw[-4:], "t2w.nii.gz"),
        _NO,
        "gzip",
    ),
    Fault(
        "gzip length wrong",
        _bytes(lambda raw: raw[:-2] + b"\7\7", "t2w.nii.gz"),
        _NO,
        "gzip",
    ),
    Fault(
        "gzip with garbage behind",
        _bytes(lambda raw: raw + b"garbage", "t2w.nii.gz"),
        _FLAG,
        "trailing_bytes",
    ),
    Fault("gzip bomb", _bytes(_packed_bomb, "t2w.nii.gz"), _NO, "far more data"),
    Fault("text named .nii", _bytes(lambda raw: b"hello\n" * 99), _NO, "not a NIfTI"),
    Fault("pair without its image", _pair_alone, _NO, ".img"),
)


def mutated_nifti(folder, seed):
    """A good file, plain or packed, changed or cut at random."""
    rng = random.Random(seed)
    name = rng.choice(("t2w.nii", "t2w.nii", "t2w.nii.gz"))
    path = cases.write_nifti(folder / name)
    raw = bytearray(path.read_bytes())
    reach = len(raw) if name.endswith(".gz") or rng.random() < 0.1 else 352
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        raw[rng.randrange(reach)] = rng.randrange(256)
    if rng.random() < 0.1:
        del raw[rng.randrange(len(raw)) :]
    path.write_bytes(raw)


# --- group C: transfer syntaxes ----------------------------------------------------

# Name, UID, what must come out, largest error of a lossy one.
SYNTAXES = (
    ("implicit little endian", "1.2.840.10008.1.2", RIGHT, 0),
    ("explicit little endian", "1.2.840.10008.1.2.1", RIGHT, 0),
    ("deflated", "1.2.840.10008.1.2.1.99", RIGHT, 0),
    ("explicit big endian", "1.2.840.10008.1.2.2", RIGHT, 0),
    ("RLE", "1.2.840.10008.1.2.5", RIGHT, 0),
    ("JPEG lossless", "1.2.840.10008.1.2.4.57", RIGHT, 0),
    ("JPEG lossless, first order", "1.2.840.10008.1.2.4.70", RIGHT, 0),
    ("JPEG-LS lossless", "1.2.840.10008.1.2.4.80", RIGHT, 0),
    ("JPEG-LS near lossless", "1.2.840.10008.1.2.4.81", WARNED, 4),
    ("JPEG 2000 lossless", "1.2.840.10008.1.2.4.90", RIGHT, 0),
    ("JPEG 2000 lossy", "1.2.840.10008.1.2.4.91", WARNED, 60),
    ("JPEG extended, 12 bits", "1.2.840.10008.1.2.4.51", REFUSED, 0),
    ("MPEG-4", "1.2.840.10008.1.2.4.102", REFUSED, 0),
)
_GDCM = {
    "1.2.840.10008.1.2.4.57": "JPEGLosslessProcess14",
    "1.2.840.10008.1.2.4.70": "JPEGLosslessProcess14_1",
}


def write_syntax(folder, uid):
    """Write the good series in one transfer syntax; 12 bits, unsigned."""
    datasets = cases.dicom_series(PixelRepresentation=0, BitsStored=12, HighBit=11)
    if uid in _GDCM:
        for path in cases.save(datasets, folder):
            _pack_with_gdcm(path, _GDCM[uid])
        return
    for dataset in datasets:
        if uid.endswith((".51", ".102")):
            dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
            dataset["PixelData"].is_undefined_length = True
        elif uid.startswith("1.2.840.10008.1.2.4") or uid.endswith("1.2.5"):
            options = {"81": {"jls_error": 2}, "91": {"j2k_cr": [4]}}.get(uid[-2:], {})
            dataset.compress(uid, generate_instance_uid=False, **options)
        elif uid.endswith("1.2.2"):
            pixels = np.frombuffer(dataset.PixelData, "<u2")
            dataset.PixelData = pixels.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = uid
    cases.save(datasets, folder)


def _pack_with_gdcm(path, name):
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.Write()


# --- group E: orientations ---------------------------------------------------------


def orientations():
    """48 axis orders and flips, each straight and oblique, as (order, flips, degrees)."""
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            for degrees in ((0.0, 0.0, 0.0), (4.0, -6.0, 9.0)):
                yield order, flips, degrees


def write_orientation(path, order, flips, degrees):
    """Write the spine stored another way; returns the affine in its own order."""
    affine = spine_affine_turned(degrees)
    voxels = cases.spine_voxels()
    stored = affine.copy()
    stored[:3, :3] = affine[:3, list(order)]
    for axis, flip in enumerate(flips):
        if flip:
            stored[:3, 3] += stored[:3, axis] * (voxels.shape[order[axis]] - 1)
            stored[:3, axis] *= -1
    flipped = [axis for axis, flip in enumerate(flips) if flip]
    changed = np.flip(np.transpose(voxels, order), flipped)
    cases.write_nifti(path, changed, stored)
    return affine


def spine_affine_turned(degrees):
    """The spine's affine, turned about its origin."""
    affine = cases.spine_affine()
    affine[:3] = phantoms.rotation(degrees) @ affine[:3]
    return affine
