"""Lesion and cord probabilities of a whole image, slice by slice."""

from dataclasses import dataclass, replace

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
from spinaldx.models.bundle import SEGMENTATION
from spinaldx.models.specs import MultiResUNetSpec
from spinaldx.records import BoolArray, Float32Array, Volume
from spinaldx.stages.finite import check_finite
from spinaldx.stages.pieces import number_pieces

# Slices a call: on CPUs single slices were fastest and take the least memory.
_SLICES_ON_CPU = 1
_SLICES_ELSEWHERE = 16

# More likely lesion, or cord, than not.
_LIKELY = 0.5

# Of what both looks mark together the share that the first must have marked: of lesions
# about as bright as those learned from it marks nearly all.
_WELL_SEEN = 0.65


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
        grid: The bundle's grid. Where it asks for a second, brighter look and the first
            saw a lesion, slices that show cord are looked at twice, see
            `with_faint_parts`.
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
    runs = _Runs(volume, networks, options)
    first = runs.of(grid)
    if not grid.bright_percentile or not (first.lesion_probability >= _LIKELY).any():
        return first
    bright = replace(grid, reference_percentile=grid.bright_percentile)
    again = runs.of(bright, _slices_with_cord(first, volume.slice_axis))
    lesion = with_faint_parts(first.lesion_probability, again.lesion_probability)
    return replace(first, lesion_probability=lesion)


def with_faint_parts(first: Float32Array, bright: Float32Array) -> Float32Array:
    """Take from a second, brighter look the rest of what the first saw a part of.

    Networks see a lesion best at the brightness that they learned from. What is bright
    is marked too far when the image is made brighter; of what is faint a part is missed
    when it is not. What the brighter look alone marks does not count: in healthy cords
    that is their core.

    Args:
        first: (I, J, K) float32 in 0..1, lesion probabilities.
        bright: The same of the brighter look.

    Returns:
        (I, J, K) float32: in pieces that both mark together, and of which the first
        marks some, but less than 0.65, the larger of both; elsewhere the first.
    """
    larger = np.maximum(first, bright)
    pieces, count = number_pieces(larger >= _LIKELY)
    if not count:
        return first
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    seen = np.bincount(pieces[first >= _LIKELY], minlength=count + 1)
    is_faint = (seen > 0) & (seen < _WELL_SEEN * sizes)
    is_faint[0] = False
    return np.where(is_faint[pieces], larger, first)


def _slices_with_cord(found: Segmentation, slice_axis: int) -> BoolArray | None:
    """Say of each slice of the source whether it shows cord; None if unknown."""
    if found.cord_probability is None:
        return None
    others = tuple(axis for axis in range(3) if axis != slice_axis)
    return np.asarray((found.cord_probability >= _LIKELY).any(axis=others))


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of the segmentation network over one image."""

    volume: Volume
    networks: Networks
    options: SegmentationOptions

    def of(self, grid: GridSpec, wanted: BoolArray | None = None) -> Segmentation:
        """Run it over all or some slices; probabilities of the others are 0.

        Args:
            grid: Says how the image is shown.
            wanted: (S,) bool, slices in the source's order; None for all.

        Raises:
            InferenceError: If the network's output is not finite.
        """
        image = to_grid(self.volume, grid)
        transform = image.transform
        every = [
            place
            for place in range(len(image.pixels))
            if wanted is None or wanted[transform.slice_index(place)]
        ]
        offsets = neighbour_offsets(self.options.in_channels, transform.spacing_mm[0])
        at_once = self.options.slices_at_once or _slices_for(self.networks.device)
        shape = (len(image.pixels), len(self.options.outputs), *image.pixels.shape[1:])
        stacks = np.zeros(shape, np.float32)
        for start in range(0, len(every), at_once):
            some = every[start : start + at_once]
            found = self.networks.segment(with_neighbours(image.pixels, some, offsets))
            stacks[some] = check_finite(found, SEGMENTATION)
        maps = {
            name: np.clip(to_source(stacks[:, place], transform), 0.0, 1.0)
            for place, name in enumerate(self.options.outputs)
            if name in {"lesion", "cord"}
        }
        return Segmentation(maps["lesion"], maps.get("cord"))


def _slices_for(device: str) -> int:
    return _SLICES_ON_CPU if device == "cpu" else _SLICES_ELSEWHERE
