"""Whether an image is fit for the networks, judged by its voxels."""

from spinaldx.errors import UnsuitableImageError
from spinaldx.records import Plane, QualityFlag, Volume


def check_image(volume: Volume) -> tuple[QualityFlag, ...]:
    """Check that a volume is a sagittal T2w spine.

    Returns:
        Doubts.

    Raises:
        UnsuitableImageError: If it is not.
    """
    if volume.plane in {Plane.AXIAL, Plane.CORONAL}:
        message = f"{volume.name}: {volume.plane.value} slices, not sagittal."
        raise UnsuitableImageError(message)
    return ()
