"""From a segmentation to its lesions: what lies in the main cord and is brighter.

And from lesions, whoever marked them, to what classifiers see of a series.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.grid import CropInputs, CropSpec
from spinaldx.records import BoolArray, Float32Array, Mask, Volume
from spinaldx.stages.contrast import (
    FaintEndOptions,
    brightness,
    contrast_to_cord,
    cut_faint_ends,
    swelling,
)
from spinaldx.stages.cord import Lateral, MainCord, main_cord
from spinaldx.stages.extent import (
    Evidence,
    RimOptions,
    can_be_added,
    lesion_extent,
    without_dim_rims,
)
from spinaldx.stages.fluid import FluidOptions, without_fluid
from spinaldx.stages.islands import IslandOptions, islands_beside
from spinaldx.stages.lesions import LesionOptions, keep_lesions, number_lesions
from spinaldx.stages.pieces import bounding_box
from spinaldx.stages.placement import lesion_cord_share, lesion_eccentricity
from spinaldx.stages.segmentation import Segmentation
from spinaldx.stages.shading import even_out, lesion_brightness

# Goes up whenever the same segmentation gives other marks or crops than before, so that
# what was kept of earlier ones is not taken for new.
MARKING_VERSION = 6

# Of the cord's voxels: fluid taken for cord can be more than half of them.
_SUREST = 0.9

# Lesions end where they are half as much brighter than the cord; small ones have no
# ends to speak of.
_FADED_ENDS = FaintEndOptions(
    share=0.5, least_volume_mm3=500.0, window_mm=4.0, shortest_mm=3.0
)

# Voxels beside the cord that erosions and dilations look at.
_MARGIN_VOXELS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Marking:
    """What is marked in one series.

    Attributes:
        mask: Its lesions, numbered.
        cord: Its main cord; None when the network gives no cord.
        left_out: How many marks on the cord were taken for fluid beside it or for the
            cord's own brightness.
    """

    mask: Mask
    cord: MainCord | None
    left_out: int = 0


def find_cord(segmentation: Segmentation, volume: Volume) -> MainCord | None:
    """Find the main cord, its middle where it is free of lesion."""
    return main_cord(
        segmentation.cord_probability,
        volume,
        lesion_probability=segmentation.lesion_probability,
    )


def mark_lesions(
    segmentation: Segmentation,
    volume: Volume,
    options: LesionOptions,
    *,
    cord: MainCord | None = None,
) -> Marking:
    """Mark the lesions of one series.

    Args:
        segmentation: Probabilities on the volume's grid.
        volume: Gives voxel size and the direction of the head.
        options: Threshold and filters.
        cord: From `find_cord`, where it is known already; it hangs on no option.

    Raises:
        GeometryError: If the shapes differ.
    """
    cord = cord or find_cord(segmentation, volume)
    mask = keep_lesions(
        segmentation.lesion_probability,
        volume,
        options,
        cord=cord.voxels if cord else None,
        reach=cord.reach if cord else None,
    )
    if not cord or not options.needs_cord or not cord.voxels.any():
        return Marking(mask, cord)
    series = _Series(mask, cord, segmentation, volume)
    if not mask.labels.any() and not _islands(series, options).any():
        return Marking(mask, cord)
    box = _box(series)
    judged = _judged(series.cut(box), options)
    labels = np.zeros_like(mask.labels)
    labels[box] = judged.mask.labels
    return Marking(replace(mask, labels=labels), cord, judged.left_out)


def crop_inputs(
    volume: Volume,
    labels: NDArray[np.uint8],
    segmentation: Segmentation | None,
    cord: MainCord | None,
    spec: CropSpec,
) -> CropInputs:
    """Gather what the classifiers' crops of one series are cut from.

    Args:
        volume: The image.
        labels: (I, J, K) uint8, its lesions, whoever marked them.
        segmentation: Probabilities on the volume's grid, or None without any.
        cord: The main cord, with which the lesions' brightness is compared and in which
            they lie; or None.
        spec: The crops; brightness, eccentricity and share of the cord are worked out
            where they have a channel for them.

    Returns:
        All on the volume's grid.
    """
    probability = segmentation.cord_probability if segmentation else None
    if cord is None:
        return CropInputs(volume, labels, probability)
    told, voxels, place = spec.channels, cord.voxels, cord.lateral.place
    contrast = eccentricity = share = None
    if "contrast" in told:
        contrast = lesion_brightness(labels, voxels, volume)
    if "eccentricity" in told:
        eccentricity = lesion_eccentricity(labels, voxels, place, volume)
    if "cord_share" in told:
        share = lesion_cord_share(labels, voxels, volume)
    return CropInputs(volume, labels, probability, contrast, eccentricity, share)


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """Marks of one series, and what they are judged by."""

    mask: Mask
    cord: MainCord
    segmentation: Segmentation
    volume: Volume

    def cut(self, box: tuple[slice, ...]) -> "_Series":
        """Return what lies in a box."""

        def part(array: NDArray[Any]) -> NDArray[Any]:
            # Along axes of one place an array broadcasts.
            sides = zip(box, array.shape, strict=True)
            return array[tuple(side if n > 1 else slice(None) for side, n in sides)]

        found, lateral = self.segmentation, self.cord.lateral
        affine = self.volume.affine_ras.copy()
        affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
        cord = found.cord_probability
        return _Series(
            Mask(part(self.mask.labels), affine, self.mask.origin),
            MainCord(
                part(self.cord.voxels),
                Lateral(part(lateral.place), part(lateral.reach)),
            ),
            Segmentation(
                part(found.lesion_probability), None if cord is None else part(cord)
            ),
            replace(self.volume, voxels=part(self.volume.voxels), affine_ras=affine),
        )


def _box(series: _Series) -> tuple[slice, ...]:
    """Box round the cord, the marks and what can be added to them.

    Nothing else is looked at, and the whole image is many times as large.
    """
    seen = series.cord.voxels | (series.mask.labels > 0)
    if (evidence := _evidence(series, series.volume)) is not None:
        seen |= can_be_added(evidence)
    return bounding_box(seen, _MARGIN_VOXELS)


def _judged(series: _Series, options: LesionOptions) -> Marking:
    """Leave out marks that are no lesions, and say how far the others reach."""
    mask, cord, volume = series.mask, series.cord, series.volume
    mask = _kept(mask, _are_central(mask.labels, cord, options.most_lateral), volume)
    mask = _kept(
        mask,
        _are_in_cord(mask.labels, cord, series.segmentation, options.least_cord),
        volume,
    )
    even = even_out(mask.labels, cord.voxels, volume)
    if options.min_contrast > 0:
        whole = mask
        mask = _trimmed(whole, cord.voxels, even, options)
        images = (volume, even or volume)
        mask = _plausible(mask, whole, cord.voxels, images, options)
    kept = replace(series, mask=mask)
    islands = _islands(kept, options)
    if islands.any():
        mask = _with_islands(kept, islands, options)
        even = even_out(mask.labels, cord.voxels, volume)
    left_out = _count_left_out(series.mask, mask)
    if options.grows:
        mask = _trimmed(mask, cord.voxels, even, options, _FADED_ENDS)
        mask = _grown(mask, series, even or volume)
        mask = _without_fluid(mask, cord, even, options)
        mask = _without_rims(mask, cord.voxels, even or volume, options)
    return Marking(mask, cord, left_out)


def _count_left_out(found: Mask, kept: Mask) -> int:
    """Count the marks of which nothing is left."""
    still = np.unique(found.labels[(found.labels > 0) & (kept.labels > 0)])
    return int(found.labels.max(initial=0)) - len(still)


def _are_central(labels: NDArray[np.uint8], cord: MainCord, most: float) -> BoolArray:
    """Say of each lesion whether it lies elsewhere than in slices that graze the cord."""
    offset = np.broadcast_to(cord.lateral.offset, labels.shape)
    return np.asarray(_medians(labels, offset) <= most)


def _are_in_cord(
    labels: NDArray[np.uint8], cord: MainCord, found: Segmentation, least: float
) -> BoolArray:
    """Say of each lesion whether the network itself holds it for cord.

    Fluid of the sac that runs together with the cord is marked now and then. A network
    may be less sure of cord everywhere, so it is held against where it is surest.
    """
    probability = found.cord_probability
    if probability is None or not cord.voxels.any():
        return np.ones(int(labels.max(initial=0)), dtype=np.bool_)
    surest = float(np.quantile(probability[cord.voxels], _SUREST))
    return np.asarray(_medians(labels, probability) >= least * surest)


def _medians(labels: NDArray[np.uint8], values: Float32Array) -> NDArray[np.float64]:
    """Return the median of each lesion's voxels, (N,)."""
    inside = labels > 0
    numbers, seen = labels[inside], values[inside]
    count = int(numbers.max(initial=0))
    medians = [np.median(seen[numbers == number]) for number in range(1, count + 1)]
    return np.asarray(medians, dtype=np.float64)


def _kept(mask: Mask, keep: BoolArray, volume: Volume) -> Mask:
    """Keep some lesions, numbered again; `keep` says it of each, (N,)."""
    if keep.all():
        return mask
    is_kept = np.concatenate(([False], keep))
    labels = np.where(is_kept[mask.labels], mask.labels, 0).astype(np.uint8)
    return number_lesions(replace(mask, labels=labels), volume)


def _numbered(mask: Mask, inside: BoolArray, volume: Volume) -> Mask:
    """Number lesions that reach elsewhere than before."""
    return number_lesions(replace(mask, labels=inside.astype(np.uint8)), volume)


def _trimmed(
    mask: Mask,
    cord: BoolArray,
    even: Volume | None,
    options: LesionOptions,
    ends: FaintEndOptions | None = None,
) -> Mask:
    """Cut off faint ends; what is left of each lesion counts if it is large enough.

    Without lesion-free cord nothing is cut: there is nothing to be fainter than.
    """
    if even is None:
        return mask
    inside = cut_faint_ends(mask.labels, cord, even, ends)
    return _what_is_left(mask, inside, even, options)


def _what_is_left(
    mask: Mask, inside: BoolArray, volume: Volume, options: LesionOptions
) -> Mask:
    """Number what is left of marks and is large enough."""
    if inside[mask.labels > 0].all():
        return mask
    cut = _numbered(mask, inside, volume)
    sizes = np.bincount(cut.labels.ravel())[1:]
    return _kept(cut, sizes * volume.voxel_mm3 >= options.min_volume_mm3, volume)


def _plausible(
    mask: Mask,
    whole: Mask,
    cord: BoolArray,
    images: tuple[Volume, Volume],
    options: LesionOptions,
) -> Mask:
    """Leave out what neither is brighter than the cord nor swells it.

    Of the image as it is and the one evened out either may show a lesion; what was
    cut from a mark by the second is judged by the second.
    """
    plain, even = (contrast_to_cord(mask.labels, cord, image) for image in images)
    # All are False where nothing can be said.
    is_faint = (plain < options.min_contrast) & (even < options.min_contrast)
    is_faint |= _are_cut(mask.labels, whole.labels) & (even < options.min_cut_contrast)
    is_slim = swelling(mask.labels, cord, images[0]) < options.swollen
    return _kept(mask, ~(is_faint & is_slim), images[0])


def _are_cut(labels: NDArray[np.uint8], whole: NDArray[np.uint8]) -> BoolArray:
    """Say of each lesion whether it was part of a larger mark."""
    inside = labels > 0
    is_smaller = np.bincount(
        whole[inside], minlength=int(whole.max()) + 1
    ) < np.bincount(whole.ravel())
    mark_of = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.intp)
    mark_of[labels[inside]] = whole[inside]
    return np.asarray(is_smaller[mark_of[1:]])


def _islands(series: _Series, options: LesionOptions) -> BoolArray:
    """Find what may be a lesion although it was not kept as a mark."""
    evidence = _evidence(series, series.volume)
    if evidence is None or options.clear_contrast <= 0:
        return np.zeros(series.volume.voxels.shape, dtype=np.bool_)
    return islands_beside(series.mask.labels, evidence, _island_options(options))


def _island_options(options: LesionOptions) -> IslandOptions:
    return IslandOptions(
        threshold=options.threshold,
        least_volume_mm3=options.min_volume_mm3,
        least_contrast=options.clear_contrast,
    )


def _with_islands(series: _Series, islands: BoolArray, options: LesionOptions) -> Mask:
    """Add those islands that are clearly brighter than the cord and well inside it."""
    chosen, volume, cord = _island_options(options), series.volume, series.cord
    marked = series.mask.labels > 0
    both = _numbered(series.mask, marked | islands, volume)
    labels = both.labels
    if not labels[marked].all():
        # More than can be numbered: what was marked comes first.
        return series.mask
    images = [volume, even_out(labels, cord.voxels, volume)]
    is_clear = _are_central(labels, cord, chosen.most_lateral)
    is_clear &= _are_in_cord(labels, cord, series.segmentation, chosen.least_cord)
    for image in images:
        # False where nothing can be said.
        is_clear &= image is not None and (
            contrast_to_cord(labels, cord.voxels, image) >= chosen.least_contrast
        )
    is_clear[np.unique(labels[marked]) - 1] = True
    return _kept(both, is_clear, volume)


def _grown(mask: Mask, series: _Series, even: Volume) -> Mask:
    """Add to each lesion what hangs together with it and is as bright."""
    evidence = _evidence(series, even)
    if evidence is None or not mask.labels.any():
        return mask
    levels = brightness(mask.labels, series.cord.voxels, even)
    inside = lesion_extent(mask.labels, levels, evidence)
    return _numbered(mask, inside, even)


def _evidence(series: _Series, even: Volume) -> Evidence | None:
    """Gather what tells how far lesions reach; None where the network gives no cord."""
    found = series.segmentation
    if found.cord_probability is None:
        return None
    return Evidence(
        found.lesion_probability, found.cord_probability, series.cord.reach, even
    )


def _without_fluid(
    mask: Mask, cord: MainCord, even: Volume | None, options: LesionOptions
) -> Mask:
    """Take away what slices that graze the cord show brighter than the lesion itself.

    Without lesion-free cord nothing is taken: brightness can hardly be compared.
    """
    if even is None or not mask.labels.any():
        return mask
    fluid = FluidOptions(least_volume_mm3=options.min_volume_mm3)
    inside = without_fluid(mask.labels, cord.lateral.offset, even, fluid)
    return _what_is_left(mask, inside, even, options)


def _without_rims(
    mask: Mask, cord: BoolArray, even: Volume, options: LesionOptions
) -> Mask:
    """Take away from each lesion what is hardly brighter than the cord."""
    if not mask.labels.any():
        return mask
    levels = brightness(mask.labels, cord, even)
    thicker = swelling(mask.labels, cord, even)
    rims = RimOptions(least_volume_mm3=options.min_volume_mm3, swollen=options.swollen)
    inside = without_dim_rims(mask.labels, levels, thicker, cord, even, rims)
    return _numbered(mask, inside, even)
