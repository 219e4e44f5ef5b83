"""NIfTI-1 files, same array = same bytes.

Written by hand because importing a NIfTI library takes a third of a second, and
because the bytes must not depend on the clock, the file's name or the library.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError, OutputError
from spinaldx.files import write_bytes
from spinaldx.records import Affine, Float32Array, check_affine

_HEADER = np.dtype(
    [
        ("sizeof_hdr", "<i4"),
        ("unused_1", "V36"),
        ("dim", "<i2", 8),
        ("intent", "V14"),
        ("datatype", "<i2"),
        ("bitpix", "<i2"),
        ("slice_start", "<i2"),
        ("pixdim", "<f4", 8),
        ("vox_offset", "<f4"),
        ("scl_slope", "<f4"),
        ("scl_inter", "<f4"),
        ("unused_2", "V3"),
        ("xyzt_units", "u1"),
        ("unused_3", "V24"),
        ("descrip", "S80"),
        ("aux_file", "S24"),
        ("qform_code", "<i2"),
        ("sform_code", "<i2"),
        ("quatern", "<f4", 3),
        ("qoffset", "<f4", 3),
        ("srow", "<f4", (3, 4)),
        ("intent_name", "S16"),
        ("magic", "S4"),
        ("extension", "V4"),
    ]
)
_DATATYPES = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16}
_DESCRIPTION = "spinaldx, research use only"
_DTYPES_BY_CODE = {
    code: f"<{np.dtype(name).str[1:]}" for name, code in _DATATYPES.items()
}
_MILLIMETRES = 2
_SCANNER = 1

# Images barely shrink further above level 1, and masks are small at any level.
_COMPRESSION = 1


def write_nifti(path: Path, voxels: NDArray[np.generic], affine_ras: Affine) -> bytes:
    """Write an array as ``.nii.gz``, atomically and deterministically.

    Args:
        path: Target file.
        voxels: (I, J, K) uint8, int16, int32 or float32; NaN stays NaN.
        affine_ras: Voxel indices to patient mm, (4, 4); sform and qform code 1.

    Returns:
        The bytes written, for hashing.

    Raises:
        GeometryError: If the array is not 3-D or of another type, or the affine
            cannot place voxels.
        OutputError: If the file cannot be written.
    """
    content = nifti_bytes(voxels, affine_ras)
    write_bytes(path, content)
    return content


def nifti_bytes(
    voxels: NDArray[np.generic], affine_ras: Affine, description: str = _DESCRIPTION
) -> bytes:
    """Return what `write_nifti` writes, with another text in the header if wished."""
    if voxels.ndim != 3 or voxels.dtype.name not in _DATATYPES:
        message = f"Cannot write {voxels.ndim}-D {voxels.dtype} voxels as NIfTI."
        raise GeometryError(message)
    check_affine(affine_ras)
    header = _header(voxels, affine_ras)
    header["descrip"] = description.encode("ascii")
    body = voxels.astype(voxels.dtype.newbyteorder("<")).tobytes(order="F")
    return gzip.compress(header.tobytes() + body, compresslevel=_COMPRESSION, mtime=0)


def compact(voxels: Float32Array) -> NDArray[np.generic]:
    """Return the same numbers in int16 or int32 where that loses nothing."""
    for name in ("int16", "int32"):
        limits = np.iinfo(name)
        if voxels.min() < limits.min or voxels.max() > limits.max:
            continue
        whole = voxels.astype(name)
        if np.array_equal(whole, voxels):
            return whole
    return voxels


def _header(
    voxels: NDArray[np.generic], affine_ras: Affine
) -> np.ndarray[tuple[int, ...], np.dtype[np.void]]:
    header = np.zeros((), dtype=_HEADER)
    header["sizeof_hdr"] = 348
    header["dim"] = (3, *voxels.shape, 1, 1, 1, 1)
    header["datatype"] = _DATATYPES[voxels.dtype.name]
    header["bitpix"] = voxels.dtype.itemsize * 8
    header["vox_offset"] = 352
    header["scl_slope"] = 1
    header["xyzt_units"] = _MILLIMETRES
    header["sform_code"] = _SCANNER
    header["srow"] = affine_ras[:3]
    header["qoffset"] = affine_ras[:3, 3]
    header["magic"] = b"n+1"
    spacing_mm = np.linalg.norm(affine_ras[:3, :3], axis=0)
    directions = affine_ras[:3, :3] / spacing_mm
    rotation, handedness = _nearest_rotation(directions)
    # A quaternion cannot hold a sheared grid: then the sform stands alone.
    is_rigid = np.allclose(rotation * (1, 1, handedness), directions, atol=1e-4)
    header["qform_code"] = _SCANNER if is_rigid else 0
    header["pixdim"] = (handedness, *spacing_mm, 1, 1, 1, 1)
    header["quatern"] = _quaternion(rotation)
    return header


def _nearest_rotation(directions: Affine) -> tuple[Affine, float]:
    """Return the rotation nearest to the axes, and -1 if the third is mirrored."""
    left, _, right = np.linalg.svd(directions)
    rotation = left @ right
    handedness = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    return rotation * (1.0, 1.0, handedness), handedness


def _quaternion(rotation: Affine) -> tuple[float, float, float]:
    """Return b, c, d of a rotation's quaternion, its real part not negative."""
    # The quaternion is the main eigenvector of a symmetric 4x4 matrix made of the
    # rotation's entries (Bar-Itzhack 2000); unlike the textbook formula this has
    # no cases and stays accurate near half turns.
    xx, xy, xz, yx, yy, yz, zx, zy, zz = rotation.ravel()
    matrix = np.array(
        [
            (xx + yy + zz, zy - yz, xz - zx, yx - xy),
            (zy - yz, xx - yy - zz, xy + yx, xz + zx),
            (xz - zx, xy + yx, yy - xx - zz, yz + zy),
            (yx - xy, xz + zx, yz + zy, zz - xx - yy),
        ]
    )
    a, b, c, d = np.linalg.eigh(matrix)[1][:, -1]
    sign = 1.0 if a >= 0 else -1.0
    return float(sign * b), float(sign * c), float(sign * d)


def read_own_nifti(path: Path, shape: tuple[int, int, int]) -> NDArray[np.generic]:
    """Read back the voxels of a file that `write_nifti` wrote.

    Images of others are read by `spinaldx.study`, which trusts nothing; it also
    refuses the NaN that heatmaps have where the classifier did not look.

    Args:
        path: The file.
        shape: (I, J, K) that it must have.

    Raises:
        OutputError: If it is missing, damaged or of another shape.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        header = np.frombuffer(content, _HEADER, 1)[0]
        dtype = np.dtype(_DTYPES_BY_CODE[int(header["datatype"])])
        found = tuple(int(edge) for edge in header["dim"][1:4])
        voxels = np.frombuffer(content, dtype, int(np.prod(shape)), _HEADER.itemsize)
    except (OSError, EOFError, zlib.error, KeyError, ValueError) as error:
        message = f"Cannot read {path.parent.name}/{path.name}."
        raise OutputError(message, hint="Run the study again.") from error
    if found != shape:
        message = f"{path.parent.name}/{path.name} has shape {found}, not {shape}."
        raise OutputError(message, hint="Run the study again.")
    return voxels.reshape(shape, order="F")
