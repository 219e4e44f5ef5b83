"""Lesion and cord probabilities of a whole image, slice by slice."""

from dataclasses import dataclass

import numpy as np

from spinaldx.errors import IncompatibleWeightsError
from spinaldx.grid import (
    GridSpec,
    neighbour_offsets,
    to_grid,
    to_source,
    with_neighbours,
)
from spinaldx.models import Networks
from spinaldx.models.specs import MultiResUNetSpec
from spinaldx.records import Float32Array, Volume

# Slices a call: on CPUs single slices were fastest and take the least memory.
_SLICES_ON_CPU = 1
_SLICES_ELSEWHERE = 16


@dataclass(frozen=True, slots=True)
class SegmentationOptions:
    """How the segmentation network is run.

    Attributes:
        outputs: What the network's channels are; ``lesion`` must be among them.
        in_channels: A slice and as many on either side; odd.
        slices_at_once: Slices a call; None chooses by device.
    """

    outputs: tuple[str, ...] = ("lesion", "cord")
    in_channels: int = 1
    slices_at_once: int | None = None

    @classmethod
    def of(cls, network: MultiResUNetSpec) -> "SegmentationOptions":
        """Run a network as it is built."""
        return cls(outputs=network.outputs, in_channels=network.in_channels)


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Probabilities on the grid of the source image.

    Attributes:
        lesion_probability: (I, J, K) float32 in 0..1.
        cord_probability: The same for the cord, or None when the network has no
            such output.
    """

    lesion_probability: Float32Array
    cord_probability: Float32Array | None


def segment(
    volume: Volume,
    networks: Networks,
    grid: GridSpec,
    options: SegmentationOptions | None = None,
) -> Segmentation:
    """Run the segmentation network over every slice of an image.

    Args:
        volume: The image; all its slices are analysed (paper, Fig 2A).
        networks: An opened bundle.
        grid: The bundle's grid.
        options: See there.

    Returns:
        Probabilities on the source grid.

    Raises:
        IncompatibleWeightsError: If the network has no lesion output.
    """
    options = options or SegmentationOptions()
    if "lesion" not in options.outputs:
        message = "The segmentation network has no output named lesion."
        raise IncompatibleWeightsError(message)
    image = to_grid(volume, grid)
    offsets = neighbour_offsets(options.in_channels, image.transform.spacing_mm[0])
    at_once = options.slices_at_once or _slices_for(networks.device)
    every = range(len(image.pixels))
    stacks = np.concatenate(
        [
            networks.segment(
                with_neighbours(image.pixels, every[start : start + at_once], offsets)
            )
            for start in range(0, len(image.pixels), at_once)
        ]
    )
    maps = {
        name: np.clip(to_source(stacks[:, place], image.transform), 0.0, 1.0)
        for place, name in enumerate(options.outputs)
        if name in {"lesion", "cord"}
    }
    return Segmentation(maps["lesion"], maps.get("cord"))


def _slices_for(device: str) -> int:
    return _SLICES_ON_CPU if device == "cpu" else _SLICES_ELSEWHERE
