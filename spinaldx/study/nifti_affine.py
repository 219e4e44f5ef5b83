"""Where a NIfTI header places its image: sform, qform, and what contradicts them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError
from spinaldx.records import Affine, QualityFlag, check_affine

# sform and qform farther apart than this anywhere in the image are worth a word.
_AGREEMENT_MM = 0.05

# pixdim and the affine's voxel edges may differ by rounding alone.
_SAME_EDGE = 2e-4


def affine_of(
    fields: dict[str, Any], shape: tuple[int, int, int], name: str
) -> tuple[Affine, tuple[QualityFlag, ...]]:
    """Return where the header places its voxels.

    The sform counts before the qform, as the standard recommends; where both are
    there they must agree.

    Args:
        fields: Of the header, by name.
        shape: (I, J, K).
        name: Of the file, for messages.

    Returns:
        Voxel indices to patient mm, (4, 4) float64, and doubts.

    Raises:
        GeometryError: If no orientation is given, or two that contradict.
    """
    codes = int(fields["qform_code"]), int(fields["sform_code"])
    if not all(0 <= code <= 5 for code in codes):
        message = f"{name}: its orientation codes make no sense."
        raise GeometryError(message)
    qform = _qform(fields) if codes[0] else None
    sform = _sform(fields) if codes[1] else None
    usable = [item for item in (sform, qform) if item is not None and _is_sound(item)]
    if not usable:
        has_any = sform is not None or qform is not None
        what = "damaged" if has_any else "missing (qform and sform code 0)"
        message = f"{name}: its orientation is {what}."
        hint = "Convert the original DICOM again; orientation is never guessed."
        raise GeometryError(message, hint=hint)
    if len(usable) < sum(item is not None for item in (sform, qform)):
        text = "One of sform and qform is damaged; the other was used."
        return usable[0], (QualityFlag("orientation_damaged", text),)
    flags = (
        *_edge_flags(usable[0], fields),
        *(_sign_flags(fields) if codes[0] else ()),
    )
    if len(usable) == 1:
        return usable[0], flags
    return usable[0], (*_disagreement(usable[0], usable[1], shape, name), *flags)


def _edge_flags(affine: Affine, fields: dict[str, Any]) -> tuple[QualityFlag, ...]:
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    claimed = np.abs(np.asarray(fields["pixdim"][1:4], dtype=np.float64))
    if np.all(np.abs(claimed - edges) <= _SAME_EDGE * edges):
        return ()
    text = "Voxel size and orientation matrix disagree; the matrix was used."
    return (QualityFlag("spacing_conflict", text),)


def _sign_flags(fields: dict[str, Any]) -> tuple[QualityFlag, ...]:
    """Flag voxel sizes below zero, which some mean as a mirrored qform."""
    if np.all(np.asarray(fields["pixdim"][1:4]) > 0):
        return ()
    text = "A voxel size is negative; its sign was ignored, so check left and right."
    return (QualityFlag("spacing_negative", text),)


def _is_sound(affine: Affine) -> bool:
    try:
        check_affine(affine)
    except GeometryError:
        return False
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(edges.min() > 1e-3 and edges.max() < 1e3)


def _disagreement(
    sform: Affine, qform: Affine, shape: tuple[int, int, int], name: str
) -> tuple[QualityFlag, ...]:
    corners = np.array(np.meshgrid(*[(0, edge - 1) for edge in shape])).reshape(3, -1)
    moved = (sform - qform)[:3, :3] @ corners + (sform - qform)[:3, 3:]
    distance = float(np.linalg.norm(moved, axis=0).max())
    if distance <= _AGREEMENT_MM:
        return ()
    if not np.array_equal(_axes(sform), _axes(qform)):
        message = f"{name}: sform and qform turn the image differently."
        raise GeometryError(message, hint="Keep the right one and clear the other.")
    text = f"sform and qform differ by up to {distance:.1f} mm; sform was used."
    return (QualityFlag("orientation_conflict", text),)


def _axes(affine: Affine) -> NDArray[np.intp]:
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    main = np.argmax(np.abs(directions), axis=0)
    signs = np.sign(directions[main, range(3)])
    return np.asarray((main + 1) * signs, dtype=np.intp)


def _sform(fields: dict[str, Any]) -> Affine:
    rows = np.asarray(fields["srow"], dtype=np.float64).reshape(3, 4)
    return np.vstack([rows, [0.0, 0.0, 0.0, 1.0]])


def _qform(fields: dict[str, Any]) -> Affine:
    """Build the affine of the quaternion (NIfTI-1 standard, method 2)."""
    b, c, d, x, y, z = (float(value) for value in fields["quaternion"])
    pixdim = np.asarray(fields["pixdim"], dtype=np.float64)
    rest = 1.0 - (b * b + c * c + d * d)
    affine = np.eye(4)
    if not rest >= -1e-5:
        return np.full((4, 4), np.nan)
    a = math.sqrt(max(rest, 0.0))
    affine[:3, :3] = [
        (a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)),
        (2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)),
        (2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c),
    ]
    # Sizes have no sign in the standard; pixdim[0] alone mirrors.
    edges = np.abs(pixdim[1:4])
    edges[2] *= -1.0 if pixdim[0] < 0 else 1.0
    affine[:3, :3] = affine[:3, :3] * edges
    affine[:3, 3] = (x, y, z)
    return affine
