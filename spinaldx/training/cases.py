"""The patients of a table: their series, read one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spinaldx.errors import (
    AmbiguousSeriesError,
    UnreadableFileError,
    UnsuitableImageError,
)
from spinaldx.records import Volume
from spinaldx.study import (
    HEALTHY,
    CaseRow,
    ImageFile,
    find_studies,
    load_series,
    load_study,
    read_mask,
    scan_study,
)
from spinaldx.study.nifti import is_nifti_name, stored_in
from spinaldx.training.cache import LoadedSeries


@dataclass(frozen=True, slots=True)
class Patient:
    """One case of the table.

    Attributes:
        name: As in the table.
        diagnosis: One of the four diseases or ``healthy``.
        split: As in the table, or empty.
        rows: One a series.
        age: Years, or None.
        sex: ``F``, ``M`` or empty.
    """

    name: str
    diagnosis: str
    split: str
    rows: tuple[CaseRow, ...]
    age: float | None = None
    sex: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether the table says that there is no lesion."""
        return self.diagnosis == HEALTHY


def group_patients(rows: Sequence[CaseRow]) -> tuple[Patient, ...]:
    """Join the rows of each case, in the order of the table.

    What a later row says differently from the first is a matter for the lint.
    """
    groups: dict[str, list[CaseRow]] = {}
    for row in rows:
        groups.setdefault(row.case, []).append(row)
    return tuple(
        Patient(
            name=name,
            diagnosis=members[0].diagnosis,
            split=members[0].split,
            rows=tuple(members),
            age=members[0].age,
            sex=members[0].sex,
        )
        for name, members in groups.items()
    )


def read_series(row: CaseRow) -> LoadedSeries:
    """Read image, lesion mask and, where there is one, cord mask of a row.

    Raises:
        StudyError: If a file cannot be read or is no sagittal T2w image, or one file
            is named as lesion and cord.
        GeometryError: If a mask is not on the image's grid.
    """
    volume = read_volume(row)
    lesion = np.zeros(volume.voxels.shape, np.uint8)
    if row.mask is not None:
        lesion = read_mask(row.mask, volume).labels
    cord = None if row.cord is None else read_mask(row.cord, volume).labels
    is_one = cord is not None and np.array_equal(lesion, cord)
    if row.mask is not None and is_one and lesion.any():
        message = f"{row.mask.name}: the lesion mask is the cord mask."
        raise UnsuitableImageError(message, hint="Name the mask of the lesion.")
    return LoadedSeries(volume, lesion, cord)


def series_files(row: CaseRow) -> tuple[tuple[str, Path], ...]:
    """List the files that a row's training data are made from.

    Returns:
        What each is for, and the file. Files of a folder are for the column and
        their path below it, since names may decide which image is read.
    """
    columns = (("t2w", row.t2w), ("mask", row.mask), ("cord", row.cord))
    return tuple(
        (f"{column}/{below}", path)
        for column, named in columns
        if named is not None
        for below, path in _files_of(named)
        if path.is_file()
    )


def _files_of(named: Path) -> list[tuple[str, Path]]:
    """Return the files of one cell with their paths below a folder."""
    if named.is_dir():
        found = sorted(named.rglob("*"))
        return [(path.relative_to(named).as_posix(), path) for path in found]
    return [("", part.path) for part in stored_in(ImageFile(named))]


def read_volume(row: CaseRow) -> Volume:
    """Read the image of a row.

    Raises:
        StudyError: If it cannot be read or is no sagittal T2w image.
    """
    if row.t2w is None:
        message = f"{row.case}: no image."
        raise UnreadableFileError(message)
    sources = find_studies([row.t2w])
    if len(sources) != 1:
        message = f"{row.t2w.name}: {len(sources)} studies, not one."
        raise AmbiguousSeriesError(message, hint="Give each row one study's folder.")
    if is_nifti_name(row.t2w.name):
        # The table says that it is the image, whatever its name suggests.
        return load_series(scan_study(sources[0]).candidates[0])
    volumes = load_study(sources[0], series=row.series)
    if len(volumes) != 1:
        names = ", ".join(volume.name for volume in volumes)
        message = f"{row.t2w.name}: several series fit: {names}."
        raise AmbiguousSeriesError(message, hint="Name one in the column series.")
    return volumes[0]
