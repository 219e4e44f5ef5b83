"""How a scanner stores an image: axes in its order, intensities as whole numbers."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Affine, Float32Array, Plane, Volume

_Scalar = TypeVar("_Scalar", bound=np.generic)
_DARKEST_MAXIMUM, _BRIGHTEST_MAXIMUM, _USUAL_MAXIMUM = 255.0, 4095.0, 2000.0
# Patient axis (RAS) and sign along which columns, then rows, of a frame grow.
_FRAME_AXES = {
    Plane.SAGITTAL: ((1, -1.0), (2, -1.0)),
    Plane.ISOTROPIC: ((1, -1.0), (2, -1.0)),
    Plane.CORONAL: ((0, -1.0), (2, -1.0)),
    Plane.AXIAL: ((0, -1.0), (1, -1.0)),
}


def to_counts(voxels: Float32Array) -> NDArray[np.uint16]:
    """Round intensities to the 12-bit counts that files of both formats hold.

    Negative values become 0. Where the brightest value lies outside 255 to 4095,
    all are scaled so that it becomes 2000: MR intensities have no unit.

    Args:
        voxels: Finite intensities of any shape; an empty image gives an empty one.
    """
    brightest = float(voxels.max(initial=0.0))
    factor = 1.0
    if brightest > 0 and not _DARKEST_MAXIMUM <= brightest <= _BRIGHTEST_MAXIMUM:
        factor = _USUAL_MAXIMUM / brightest
    return np.round(np.maximum(voxels, 0.0) * factor).astype(np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class ScannerGrid:
    """How an image lies when stored as slices of rows and columns.

    Attributes:
        order: Axes of the image that count columns, rows and slices.
        flips: Which of the three run backwards.
        affine_ras: Of the turned image (column, row, slice).
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    affine_ras: Affine

    def turn(self, voxels: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Turn an array of the image's shape to (column, row, slice)."""
        i, j, k = (slice(None, None, -1 if flip else None) for flip in self.flips)
        return np.transpose(voxels, self.order)[i, j, k]


def scanner_grid(volume: Volume) -> ScannerGrid:
    """Find how a scanner would store an image.

    Columns grow to the patient's back (sagittal) or left (coronal, axial), rows to
    the feet or (axial) to the back; slices along the cross product of the two,
    which is the order in which `spinaldx.study` gives a DICOM series back.

    Args:
        volume: The image; an isotropic one is cut into sagittal slices.
    """
    (column_ras, column_sign), (row_ras, row_sign) = _FRAME_AXES[volume.plane]
    directions = volume.affine_ras[:3, :3] / np.asarray(volume.spacing_mm)
    slices = int(np.argmax(np.abs(directions[3 - column_ras - row_ras])))
    in_plane = [axis for axis in range(3) if axis != slices]
    rows = max(in_plane, key=lambda axis: abs(float(directions[row_ras, axis])))
    order = (3 - slices - rows, rows, slices)
    column_back = bool(directions[column_ras, order[0]] * column_sign < 0)
    row_back = bool(directions[row_ras, order[1]] * row_sign < 0)
    is_mirrored = bool(np.linalg.det(directions[:, order]) < 0)
    flips = (column_back, row_back, is_mirrored ^ column_back ^ row_back)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1.0
    for place, (axis, flip) in enumerate(zip(order, flips, strict=True)):
        turn[axis, place] = -1.0 if flip else 1.0
        turn[axis, 3] = volume.voxels.shape[axis] - 1 if flip else 0.0
    return ScannerGrid(order, flips, volume.affine_ras @ turn)
