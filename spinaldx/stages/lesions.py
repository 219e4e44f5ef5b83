"""From probabilities to numbered, measured lesions.

Pure numpy and scipy; everything is measured on the voxels of the source image.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError, StudyError
from spinaldx.records import (
    Affine,
    BoolArray,
    Float32Array,
    Lesion,
    Mask,
    MaskOrigin,
    QualityFlag,
    Volume,
)
from spinaldx.stages.pieces import number_pieces

Points = NDArray[np.float64]

# Labels are uint8.
_MOST_LESIONS = 255

# More separate lesions than this are rather noise than disease.
_MANY_LESIONS = 20

# A lesion this near to the cord's lower end may be fluid below it, unless the cord only
# ends with the image, from whose edge it may be this far.
_CORD_END_MM = 7.0
_IMAGE_END_MM = 5.0

# Centres of one lesion in two overlapping series: slices are 3 to 5 mm thick, and
# each series may see another part of it.
_SAME_PLACE_MM = 10.0

# The cord's centre line is smoothed over this distance, about one vertebra.
_SMOOTHING_MM = 8.0

# A lesion without a cord has an axis of its own when it is this many times as long
# as wide and points head to foot rather than across.
_ELONGATED_FROM = 2.0
_UPRIGHT_FROM = 0.5


@dataclass(frozen=True, slots=True)
class LesionOptions:
    """Which voxels are kept as lesions.

    Attributes:
        threshold: Lesion probability from which a voxel is marked.
        min_volume_mm3: Components below this volume are left out.
        needs_cord: Keep only components on the main cord, where a cord is known.
        cord_reach_mm: Widest gap between a lesion and the cord it belongs to.
        most_lateral: Marks that lie farther than this from the cord's middle, in its
            half widths and by the median of their voxels, are left out: slices that
            graze the cord show fluid as well as cord.
        least_cord: Marks are left out to whose voxels the network gives in the median
            less than this share of the cord probability where it is surest of cord: it
            holds them for fluid itself.
        min_contrast: Lesions less bright than this, relative to the cord without lesion
            nearby, are left out, whether the cord's shading is evened out or not; 0
            keeps all. Where there is no such cord they stay.
        min_cut_contrast: The same for what is left of a mark whose ends are no brighter
            than the cord: it was doubtful.
        swollen: They stay too where the cord is this many times as thick as nearby:
            solid tumours can be as bright as cord.
        clear_contrast: What is this many times as bright as the cord is marked although
            its mark is smaller than the size filter asks for, or was left out, see
            `stages.islands`; 0 adds nothing.
        grows: Whether lesions are grown, and cut, to about where their brightness has
            fallen half way to the cord's (`stages.extent`).
    """

    threshold: float = 0.5
    min_volume_mm3: float = 30.0
    needs_cord: bool = True
    cord_reach_mm: float = 2.0
    most_lateral: float = 0.65
    least_cord: float = 0.85
    min_contrast: float = 1.25
    min_cut_contrast: float = 1.3
    clear_contrast: float = 1.35
    swollen: float = 1.3
    grows: bool = True


def keep_lesions(
    lesion_probability: Float32Array,
    volume: Volume,
    options: LesionOptions,
    *,
    cord: BoolArray | None = None,
    reach: BoolArray | None = None,
) -> Mask:
    """Turn lesion probabilities into numbered lesions.

    Args:
        lesion_probability: (I, J, K) float32 in 0..1 on the volume's grid.
        volume: Gives voxel size and the direction of the head.
        options: Threshold, size filter and cord filter.
        cord: Voxels of the main cord; None keeps lesions wherever they lie. An
            empty cord keeps none.
        reach: Where from side to side lesions can lie, broadcasting; None: anywhere.

    Returns:
        Components numbered from head to foot; at most the 255 largest.

    Raises:
        GeometryError: If the shapes differ.
    """
    _check_shape(lesion_probability, volume)
    marked = lesion_probability >= options.threshold
    if reach is not None and options.needs_cord:
        marked = marked & reach
    labels, count = number_pieces(marked)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes * volume.voxel_mm3 >= options.min_volume_mm3
    keep[0] = False
    if cord is not None and options.needs_cord:
        _check_shape(cord, volume)
        around = _reach(options.cord_reach_mm, volume)
        keep[keep] = _is_near(labels, np.flatnonzero(keep), cord, around)
    return _numbered(keep[labels], volume, MaskOrigin.NETWORK)


def number_lesions(mask: Mask, volume: Volume) -> Mask:
    """Number the components of a mask from head to foot; nothing is filtered.

    Args:
        mask: Non-zero inside, on the volume's grid; a person's, as a rule.
        volume: The image it belongs to.

    Returns:
        The same voxels; of more than 255 components that a network marked the 255
        largest.

    Raises:
        GeometryError: If the shapes differ.
        StudyError: If a person's mask has more than 255 components.
    """
    _check_shape(mask.labels, volume)
    return _numbered(mask.labels != 0, volume, mask.origin)


def _check_shape(values: NDArray[np.generic], volume: Volume) -> None:
    if values.shape != volume.voxels.shape:
        message = f"{volume.name}: {values.shape} does not fit {volume.voxels.shape}."
        raise GeometryError(message)


def _reach(reach_mm: float, volume: Volume) -> NDArray[np.int64]:
    """Return offsets between voxels whose surfaces are no further apart, (N, 3).

    Voxels that share a corner touch: the gap between them is 0.
    """
    spacing_mm = np.asarray(volume.spacing_mm)
    steps = (reach_mm // spacing_mm).astype(int) + 1
    offsets = np.stack(
        np.meshgrid(*[np.arange(-step, step + 1) for step in steps]), axis=-1
    ).reshape(-1, 3)
    gaps_mm = np.maximum(np.abs(offsets) - 1, 0) * spacing_mm
    within = np.linalg.norm(gaps_mm, axis=1) <= reach_mm + 1e-6
    return np.asarray(offsets[within], dtype=np.int64)


def _is_near(
    labels: NDArray[np.integer[Any]],
    numbers: NDArray[np.intp],
    cord: BoolArray,
    reach: NDArray[np.int64],
) -> BoolArray:
    """Say of each numbered component whether it lies on the cord or within reach."""
    size = int(labels.max()) + 1
    near = np.bincount(labels[cord], minlength=size) > 0
    # Few components do not overlap the cord: only their voxels look around.
    doubtful = np.zeros(size, dtype=bool)
    doubtful[numbers] = ~near[numbers]
    ijk = np.argwhere(doubtful[labels])
    found = labels[tuple(ijk.T)]
    margin = reach.max(axis=0)
    padded = np.pad(cord, [(step, step) for step in margin])
    for offset in reach:
        seen = padded[tuple((ijk + margin + offset).T)]
        near[found[seen]] = True
    return near[numbers]


def _numbered(inside: BoolArray, volume: Volume, origin: MaskOrigin) -> Mask:
    labels, count = number_pieces(inside)
    # A network's smallest marks are noise then; what a person drew is not cut down.
    if count > _MOST_LESIONS and origin is MaskOrigin.PERSON:
        message = (
            f"{volume.name}: the mask has {count} separate lesions; "
            f"at most {_MOST_LESIONS} can be numbered."
        )
        hint = "Look for stray voxels in it, and take them away."
        raise StudyError(message, hint=hint)
    ijk = np.argwhere(inside)
    found = labels[tuple(ijk.T)] - 1
    sizes = np.bincount(found, minlength=count)
    sums = [np.bincount(found, ijk[:, axis], minlength=count) for axis in range(3)]
    largest = np.argsort(-sizes, kind="stable")[:_MOST_LESIONS]
    centres = np.stack(sums, axis=1)[largest] / sizes[largest, None]
    places = _to_ras(centres, volume.affine_ras)
    # Rounded, so that the order does not hang on the last digit.
    order = np.lexsort(np.round(places, 3).T)
    numbers = np.zeros(count + 1, dtype=np.uint8)
    numbers[largest[order[::-1]] + 1] = np.arange(1, len(order) + 1)
    return Mask(numbers[labels], volume.affine_ras, origin)


def _to_ras(ijk: Points, affine: Affine) -> Points:
    return np.asarray(ijk @ affine[:3, :3].T + affine[:3, 3], dtype=np.float64)


def lesion_flags(
    mask: Mask, volume: Volume, *, cord: BoolArray | None = None
) -> tuple[QualityFlag, ...]:
    """Doubts that the marked lesions themselves raise.

    Args:
        mask: Lesions 1..n on the volume's grid.
        volume: Gives the direction of the head.
        cord: Voxels of the main cord, or None.

    Returns:
        Flags by code; none when the mask is empty.
    """
    flags = []
    count = int(mask.labels.max())
    # A person has looked at what is there.
    by_network = mask.origin is MaskOrigin.NETWORK
    if count > _MANY_LESIONS:
        is_cut_off = by_network and count == _MOST_LESIONS
        marked = (
            f"{count}{' or more' if is_cut_off else ''} separate lesions were marked"
        )
        kept = f", the {count} largest kept" if is_cut_off else ""
        message = f"{marked}{kept}; so many may be noise."
        flags.append(QualityFlag("many_lesions", message))
    # A series of one slice ends where it begins: that says nothing.
    ends = [axis for axis, size in enumerate(mask.labels.shape) if size > 1]
    if any(np.take(mask.labels, (0, -1), axis=axis).any() for axis in ends):
        message = "A lesion reaches the edge of the image and may be longer than seen."
        flags.append(QualityFlag("lesion_at_edge", message))
    if cord is not None and by_network and _is_at_cord_end(mask, cord, volume):
        message = (
            "A lesion lies at the lower end of what was taken for cord, where fluid "
            "of the lumbar sac can look like one."
        )
        flags.append(QualityFlag("lesion_at_cord_end", message))
    return tuple(flags)


def double_flags(lesions: Sequence[Lesion]) -> tuple[QualityFlag, ...]:
    """Name lesions of two series that may be one, because stations overlap.

    Args:
        lesions: Of all series of a study.

    Returns:
        A note for each pair whose centres lie within 10 mm; they need no review, but
        count and sums hold both.
    """
    pairs = [
        (one, other, math.dist(one.centroid_ras_mm, other.centroid_ras_mm))
        for one, other in itertools.combinations(lesions, 2)
        if one.series != other.series
    ]
    return tuple(
        QualityFlag(
            "lesion_in_two_series",
            f"Lesion {one.number} of {one.series} and lesion {other.number} of "
            f"{other.series} lie {distance_mm:.0f} mm apart: perhaps one lesion, counted "
            "and added twice.",
            needs_review=False,
        )
        for one, other, distance_mm in pairs
        if distance_mm < _SAME_PLACE_MM
    )


def _is_at_cord_end(mask: Mask, cord: BoolArray, volume: Volume) -> bool:
    """Whether lesions reach the cord's lower end, and that is not the image's."""
    inside = mask.labels > 0
    upright = volume.upright_axis
    others = tuple(axis for axis in range(3) if axis != upright)
    lesion, seen = (
        np.flatnonzero(one.any(axis=others)) for one in (inside, inside | cord)
    )
    if not len(lesion) or not cord.any():
        return False
    spacing_mm = volume.spacing_mm[upright]
    if volume.affine_ras[2, upright] > 0:
        above, below = lesion[0] - seen[0], seen[0]
    else:
        above, below = seen[-1] - lesion[-1], inside.shape[upright] - 1 - seen[-1]
    return bool(
        above * spacing_mm <= _CORD_END_MM and below * spacing_mm > _IMAGE_END_MM
    )


def measure_lesions(
    mask: Mask, volume: Volume, *, cord: BoolArray | None = None
) -> tuple[Lesion, ...]:
    """Measure every numbered lesion of a mask.

    The length runs along the smoothed centre line of the cord and the lesions in
    it. Without a cord, or where the line runs across, it runs along the lesion's own long axis when it is at least
    twice as long as wide and within 60 degrees of head to foot, and from head to
    foot otherwise.

    Args:
        mask: Lesions 1..n on the volume's grid.
        volume: The image they lie in.
        cord: Voxels of the main cord, or None.

    Returns:
        Lesions by number; empty when the mask is.

    Raises:
        GeometryError: If the shapes differ.
    """
    _check_shape(mask.labels, volume)
    ijk = np.argwhere(mask.labels)
    if not len(ijk):
        return ()
    numbers = mask.labels[tuple(ijk.T)]
    line = _centre_line(mask, volume, cord)
    return tuple(
        _measure(number, ijk[numbers == number], volume, line)
        for number in np.unique(numbers).tolist()
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """A line through the patient with a place in every row of the image.

    Attributes:
        places: Patient mm, (N, 3).
        tangents: Unit vectors, (N, 3).
        along_mm: Distance along the line, (N,).
        uprightness: Cosine between line and row axis, (N,).
        axis: Source axis of the rows; None for one place that serves all rows.
        first_row: Row of the first place.
    """

    places: Points
    tangents: Points
    along_mm: Points
    uprightness: Points
    axis: int | None = None
    first_row: int = 0

    def index(self, ijk: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.axis is None:
            return np.zeros(len(ijk), dtype=np.int64)
        return ijk[:, self.axis] - self.first_row


def _measure(
    number: int, ijk: NDArray[np.int64], volume: Volume, line: _Line | None
) -> Lesion:
    ras = _to_ras(ijk.astype(np.float64), volume.affine_ras)
    # What runs across is no cord but noise taken for one.
    if line is None or line.uprightness[line.index(ijk)].min() < _UPRIGHT_FROM:
        line = _own_axis(ras)
    slices = np.unique(ijk[:, volume.slice_axis])
    x, y, z = ras.mean(axis=0)
    return Lesion(
        number=number,
        series=volume.name,
        voxel_count=len(ijk),
        volume_mm3=len(ijk) * volume.voxel_mm3,
        length_mm=_extent_mm(ras, line.index(ijk), volume.affine_ras, line),
        slices=tuple(int(index) for index in slices),
        centroid_ras_mm=(float(x), float(y), float(z)),
    )


def _extent_mm(
    ras: Points, index: NDArray[np.int64], affine: Affine, line: _Line
) -> float:
    """Return how far voxels reach along a line, their own size included."""
    # From the place in the voxel's own row along the tangent there: exact on
    # straight lines, and off by a fraction of a voxel on a cord's bends.
    away = np.einsum("ij,ij->i", ras - line.places[index], line.tangents[index])
    along_mm = line.along_mm[index] + away
    ends = index[np.argmin(along_mm)], index[np.argmax(along_mm)]
    # Half a voxel at each end, as wide as the voxel is in that direction.
    edges_mm = [
        float(np.linalg.norm(affine[:3, :3].T @ line.tangents[end])) / 2 for end in ends
    ]
    return float(np.ptp(along_mm)) + sum(edges_mm)


def _own_axis(ras: Points) -> _Line:
    centre = ras.mean(axis=0)
    spreads, axes = np.linalg.eigh(np.cov((ras - centre).T)) if len(ras) > 1 else _ROUND
    direction = axes[:, -1] * np.sign(axes[2, -1])
    is_long = spreads[-1] >= _ELONGATED_FROM**2 * spreads[-2]
    if not is_long or direction[2] < _UPRIGHT_FROM:
        direction = np.array((0.0, 0.0, 1.0))
    return _Line(centre[None], direction[None], np.zeros(1), np.ones(1))


# Spreads and axes of a single voxel.
_ROUND = np.ones(3), np.eye(3)


def _centre_line(mask: Mask, volume: Volume, cord: BoolArray | None) -> _Line | None:
    """Follow the cord by local straight-line fits to the centres of its rows."""
    if cord is None or not cord.any():
        return None
    _check_shape(cord, volume)
    axis = volume.upright_axis
    ijk = np.argwhere(cord | (mask.labels != 0))
    rows = ijk[:, axis]
    counts = np.bincount(rows).astype(np.float64)
    sums = np.stack([np.bincount(rows, ijk[:, part]) for part in range(3)], axis=1)
    seen = np.flatnonzero(counts)
    if len(seen) < 2:
        return None
    centres = _to_ras(sums[seen] / counts[seen, None], volume.affine_ras)
    line = _smooth_line(seen, centres, counts[seen], volume.spacing_mm[axis])
    return replace(line, axis=axis, first_row=int(seen[0]))


def _smooth_line(
    seen: NDArray[np.intp], centres: Points, counts: Points, edge_mm: float
) -> _Line:
    rows = np.arange(seen[0], seen[-1] + 1)
    away_mm = (seen[None, :] - rows[:, None]) * edge_mm
    # Bounded, so that a row in a wide gap still hears the rows beyond it.
    closeness = np.maximum(-0.5 * (away_mm / _SMOOTHING_MM) ** 2, -600.0)
    weights = counts * np.exp(closeness)
    weights /= weights.sum(axis=1, keepdims=True)
    middle = weights @ centres
    mean_mm = np.sum(weights * away_mm, axis=1, keepdims=True)
    spread = weights * (away_mm - mean_mm)
    slopes = (spread @ centres) / np.sum(spread * away_mm, axis=1, keepdims=True)
    places = middle - mean_mm * slopes
    steps_mm = np.linalg.norm(np.diff(places, axis=0), axis=1)
    along_mm = np.concatenate([[0.0], np.cumsum(steps_mm)])
    # A slope advances by 1 along the rows, so its length is one over the cosine.
    lengths = np.linalg.norm(slopes, axis=1, keepdims=True)
    return _Line(places, slopes / lengths, along_mm, 1.0 / lengths[:, 0])
