"""Masks: told from images by name, and read for a volume."""

import itertools
import re
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError, UnreadableFileError
from spinaldx.records import Affine, Mask, MaskOrigin, Volume
from spinaldx.study.archive import ImageFile
from spinaldx.study.checks import label_reason
from spinaldx.study.nifti import NiftiImage, read_image, stem_of
from spinaldx.study.vocabulary import Topic, tokens_of, topics_of

# Words that only names of masks and maps hold.
_SURE = frozenset(
    [
        "mask",
        "masks",
        "seg",
        "segmentation",
        "dseg",
        "probseg",
        "label",
        "labels",
        "manual",
        "heatmap",
        "probability",
        "prob",
        "softseg",
        "groundtruth",
        "gt",
        "roi",
        "lesionseg",
        "annotation",
    ]
)
# Of these some may be a patient's initials.
_INITIALS = frozenset(["gt", "roi"])
# Words that names of images hold too; their voxels decide.
_POSSIBLE = frozenset(
    ["lesion", "lesions", "cord", "levels", "sc", "gm", "wm", "centerline"]
)

_SAME_PLACE_MM = 0.05

# A cord of 2 cm across and 45 cm long has 141 ml.
_MOST_ML = 300.0

_HINT = "Save it with 0 outside, 1 inside."

_Scalar = TypeVar("_Scalar", bound=np.generic)


def is_mask_name(name: str) -> bool:
    """Whether a NIfTI file is a mask or map by its name alone."""
    return not _SURE.isdisjoint(_words(name)) and not _may_be_initials(name)


def _may_be_initials(name: str) -> bool:
    """Whether the only such word stands in front of a contrast, as in `GT_T2w`."""
    words = _words(name)
    is_first_alone = words[:1] and words[0] in _INITIALS and _SURE.isdisjoint(words[1:])
    return bool(is_first_alone and topics_of(stem_of(name)) & {Topic.T1, Topic.T2})


def may_be_mask_name(name: str) -> bool:
    """Whether the name leaves it open, so that the voxels must decide."""
    return not _POSSIBLE.isdisjoint(_words(name)) or _may_be_initials(name)


def voxels_are_labels(file: ImageFile) -> bool:
    """Whether a NIfTI file is a mask or map by its voxels; reads all of it.

    Returns:
        False for a file that cannot be read; reading it later says why.
    """
    try:
        return bool(label_reason(read_image(file).voxels))
    except (UnreadableFileError, GeometryError):
        return False


def _words(name: str) -> list[str]:
    return tokens_of(re.sub(r"\d+", " ", stem_of(name)))


def read_mask_image(path: Path) -> NiftiImage:
    """Read a mask as it is, wherever it lies.

    Raises:
        GeometryError: If it does not say where it lies.
        UnreadableFileError: If it cannot be read, not all voxels are finite numbers,
            or it is larger than any cord: an image, or one with a background.
    """
    image = read_image(ImageFile(path))
    # They were set to 0, and nobody can tell whether they were drawn.
    if any(flag.code == "non_finite_voxels" for flag in image.flags):
        message = f"{path.name}: mask with voxels that are not finite numbers."
        raise UnreadableFileError(message, hint=_HINT)
    voxel_mm3 = abs(float(np.linalg.det(image.header.affine_ras[:3, :3])))
    volume_ml = np.count_nonzero(image.voxels) * voxel_mm3 / 1000.0
    if volume_ml > _MOST_ML:
        message = (
            f"{path.name}: mask of {volume_ml:.0f} ml, more than any spinal cord has."
        )
        raise UnreadableFileError(message, hint=_HINT)
    return image


def in_order_of(
    voxels: NDArray[_Scalar], affine_ras: Affine, like_ras: Affine
) -> tuple[NDArray[_Scalar], Affine]:
    """Bring an image's axes into the order and directions of another's.

    Programs store the same image in different orders (dcm2niix turns rows round). No
    voxel moves in the patient and none is resampled.

    Args:
        voxels: (I, J, K).
        affine_ras: Its voxel indices to patient mm, (4, 4).
        like_ras: Of the other image; oblique ones are compared by nearest axes.

    Returns:
        A view with the axes turned, and its affine.
    """
    directions = _directions(like_ras).T @ _directions(affine_ras)
    order = max(
        itertools.permutations(range(3)),
        key=lambda axes: sum(abs(directions[row, axes[row]]) for row in range(3)),
    )
    turned = voxels.transpose(order)
    affine = affine_ras[:, [*order, 3]].copy()
    for axis, source in enumerate(order):
        if directions[axis, source] < 0:
            turned = np.flip(turned, axis)
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
    return turned, affine


def _directions(affine_ras: Affine) -> NDArray[np.float64]:
    columns = affine_ras[:3, :3]
    return np.asarray(columns / np.linalg.norm(columns, axis=0))


def read_mask(path: Path, like: Volume) -> Mask:
    """Read a lesion mask that a person drew on a volume.

    Args:
        path: NIfTI file; 0 outside, anything else inside. All zeros means: a
            person sees no lesion. Its voxels may be stored in another order.
        like: The volume it was drawn on.

    Returns:
        The mask, labels 0 and 1, with the volume's affine.

    Raises:
        GeometryError: If it does not lie on the volume's grid.
        UnreadableFileError: As `read_mask_image` does, or if it is the image.
    """
    image = read_mask_image(path)
    voxels, affine_ras = in_order_of(
        image.voxels, image.header.affine_ras, like.affine_ras
    )
    if voxels.shape != like.voxels.shape:
        message = (
            f"{path.name}: mask of {_size(image.voxels.shape)} voxels does not fit "
            f"{like.name} of {_size(like.voxels.shape)}."
        )
        raise GeometryError(message, hint="Draw it on this very image.")
    corners = np.array(
        np.meshgrid(*[(0, edge - 1) for edge in like.voxels.shape])
    ).reshape(3, -1)
    apart = affine_ras - like.affine_ras
    moved = apart[:3, :3] @ corners + apart[:3, 3:]
    distance_mm = float(np.linalg.norm(moved, axis=0).max())
    if distance_mm > _SAME_PLACE_MM:
        message = f"{path.name}: mask lies {distance_mm:.1f} mm off {like.name}."
        raise GeometryError(message, hint="Draw it on this very image.")
    if voxels.any() and np.array_equal(voxels, like.voxels):
        message = f"{path.name}: the mask is the image itself."
        raise UnreadableFileError(message, hint=_HINT)
    labels = np.ascontiguousarray(voxels != 0).astype(np.uint8)
    return Mask(labels, like.affine_ras, MaskOrigin.PERSON)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(edge) for edge in shape)
