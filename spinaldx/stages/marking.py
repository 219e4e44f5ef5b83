"""From a segmentation to its lesions: the main cord, then what lies in it."""

from dataclasses import dataclass

from spinaldx.records import Mask, Volume
from spinaldx.stages.cord import MainCord, main_cord
from spinaldx.stages.lesions import LesionOptions, keep_lesions
from spinaldx.stages.segmentation import Segmentation


@dataclass(frozen=True, slots=True, eq=False)
class Marking:
    """What is marked in one series.

    Attributes:
        mask: Its lesions, numbered.
        cord: Its main cord; None when the network gives no cord.
    """

    mask: Mask
    cord: MainCord | None


def find_cord(segmentation: Segmentation, volume: Volume) -> MainCord | None:
    """Find the main cord, its middle where it is free of lesion."""
    return main_cord(
        segmentation.cord_probability,
        volume,
        lesion_probability=segmentation.lesion_probability,
    )


def mark_lesions(
    segmentation: Segmentation, volume: Volume, options: LesionOptions
) -> Marking:
    """Mark the lesions of one series.

    Args:
        segmentation: Probabilities on the volume's grid.
        volume: Gives voxel size and the direction of the head.
        options: Threshold, size filter and cord filter.

    Raises:
        GeometryError: If the shapes differ.
    """
    cord = find_cord(segmentation, volume)
    mask = keep_lesions(
        segmentation.lesion_probability,
        volume,
        options,
        cord=cord.voxels if cord else None,
        reach=cord.reach if cord else None,
    )
    return Marking(mask, cord)
