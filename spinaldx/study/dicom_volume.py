"""DICOM stacks to volumes: the only place where DICOM pixels are read."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from spinaldx.errors import UnreadableFileError
from spinaldx.records import Float32Array, QualityFlag
from spinaldx.study import limits
from spinaldx.study.archive import ImageFile, read_bytes
from spinaldx.study.dicom_index import PARSE_ERRORS, quiet, read_dataset
from spinaldx.study.series import DicomSlice


def read_voxels(
    slices: Sequence[DicomSlice],
) -> tuple[Float32Array, str, tuple[QualityFlag, ...]]:
    """Decode slices, apply their rescale slope and intercept, and stack them.

    Args:
        slices: In spatial order, all of one size.

    Returns:
        Intensities, (columns, rows, slices) float32, and the sha256 over the
        bytes of the files, in the order of the slices; flags.

    Raises:
        UnreadableFileError: If a slice is damaged or packed in a way not read.
    """
    first = slices[0]
    shape = (first.columns, first.rows, len(slices))
    limits.check_voxels(shape, first.file.name)
    voxels = np.empty(shape, dtype=np.float32)
    digest = hashlib.sha256()
    open_file: ImageFile | None = None
    dataset = Dataset()
    for index, item in enumerate(slices):
        if item.file != open_file:
            digest.update(hashlib.sha256(read_bytes(item.file)).digest())
            with quiet():
                dataset = read_dataset(item.file, pixels=True)
            open_file = item.file
        voxels[:, :, index] = _intensities(dataset, item).T
    return voxels, digest.hexdigest(), ()


def _intensities(dataset: Dataset, item: DicomSlice) -> NDArray[np.float32]:
    name = item.file.name
    try:
        with quiet():
            stored: NDArray[Any] = pixel_array(dataset, index=item.frame)
            slope, intercept = _rescale(dataset, item.frame)
    except PARSE_ERRORS as error:
        message = f"{name}: its pixels cannot be decoded."
        raise UnreadableFileError(message) from error
    except RuntimeError as error:
        message = f"{name}: its pixels cannot be decoded."
        raise UnreadableFileError(message) from error
    if stored.shape != (item.rows, item.columns):
        message = f"{name}: its pixels do not have the size its header says."
        raise UnreadableFileError(message)
    return np.asarray(stored * np.float64(slope) + intercept, dtype=np.float32)


def _rescale(dataset: Dataset, frame: int) -> tuple[float, float]:
    sources: list[Dataset] = [dataset]
    for keyword, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        items = dataset.get(keyword) or []
        if len(items) > index:
            inner = items[index].get("PixelValueTransformationSequence") or []
            sources = [*inner, *sources]
    for source in sources:
        if source.get("RescaleSlope") is not None:
            return float(source.RescaleSlope), float(source.get("RescaleIntercept", 0))
    return 1.0, 0.0
