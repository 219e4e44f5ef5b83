"""DICOM headers to stacks of slices, each fit to be one volume or said why not.

Files are taken apart by StudyInstanceUID, SeriesInstanceUID, kind, size, pixel
spacing and orientation; then, where several images lie at one place, by echo,
component, b-value, time or acquisition, whichever does it best. Doubles are dropped
by SOPInstanceUID.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError
from spinaldx.records import Affine, QualityFlag
from spinaldx.study.series import DicomHeader, DicomSlice, DicomTags, Vector

# Direction cosines within one series differ by rounding, at most about 0.1 degrees.
_SAME_DIRECTION = 2e-3

# Share of the slice spacing by which a slice may be off its place: below the first
# nothing is said, below the second it is flagged, above it the series is refused.
_PLACE_EXACT = 0.02
_PLACE_LOOSE = 0.10

# Slices that slide against each other: gantry tilt or a sheared stack.
_MOST_SHEAR = 0.01

_MM_SAME_PLACE = 0.01

# So few slices beside a stack of so many are parts of it that went astray.
_STRAY_UP_TO, _STACK_FROM = 2, 4


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices of one series that belong to one volume.

    Attributes:
        tags: Of the first file.
        slices: In spatial order when they can be a volume, else as found.
        affine_ras: Voxel indices (column, row, slice) to patient mm; None when
            the headers do not place the slices.
        fault: Why they cannot become a volume; empty when they can.
        flags: Doubts.
        notes: What was dropped.
    """

    tags: DicomTags
    slices: tuple[DicomSlice, ...]
    affine_ras: Affine | None = None
    fault: str = ""
    flags: tuple[QualityFlag, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> Vector | None:
        """Column, row and slice spacing."""
        if self.affine_ras is None:
            return None
        i, j, k = np.linalg.norm(self.affine_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)


def find_stacks(headers: Iterable[DicomHeader]) -> tuple[Stack, ...]:
    """Group the headers of one study into stacks.

    Returns:
        Stacks in the order of SeriesNumber, then of their first file.
    """
    series: dict[str, list[DicomHeader]] = defaultdict(list)
    for header in headers:
        series[header.tags.series_uid].append(header)
    found = itertools.chain.from_iterable(map(_stacks_of_series, series.values()))
    stacks = sorted(found, key=_order)
    return tuple(_with_strays(stack, stacks) for stack in stacks)


def _with_strays(stack: Stack, others: Sequence[Stack]) -> Stack:
    """Flag a stack when single slices of the same kind lie elsewhere.

    A slice whose SeriesInstanceUID is damaged or changed in an archive ends up in
    a series of its own; the stack it left may still be evenly spaced.
    """
    if len(stack.slices) < _STACK_FROM:
        return stack
    mine = _likeness(stack.tags, stack.slices[0])
    for other in others:
        is_small = len(other.slices) <= _STRAY_UP_TO
        if is_small and _likeness(other.tags, other.slices[0]) == mine:
            text = "Single slices of the same kind lie in another series."
            flags = (*stack.flags, QualityFlag("stray_slices", text))
            return replace(stack, flags=flags)
    return stack


def stack_affine(slices: Sequence[DicomSlice]) -> Affine:
    """Return the affine of slices that `find_stacks` found to be a volume.

    Raises:
        GeometryError: If they are not.
    """
    stack = _build([(DicomTags("", ""), item) for item in slices])
    if stack.fault or stack.affine_ras is None:
        message = f"The slices cannot become a volume: {stack.fault}."
        raise GeometryError(message)
    return stack.affine_ras


def _order(stack: Stack) -> tuple[bool, int, str, object]:
    number = stack.tags.series_number
    first = stack.slices[0]
    return (
        number is None,
        number or 0,
        stack.tags.series_uid,
        (first.file, first.frame),
    )


def _stacks_of_series(headers: Sequence[DicomHeader]) -> list[Stack]:
    unique, n_double, doubled = _drop_doubles(headers)
    tags = {item.tags.sop_class: item.tags for item in unique}
    groups: dict[object, list[tuple[DicomTags, DicomSlice]]] = defaultdict(list)
    for header in unique:
        for item in header.slices:
            groups[_likeness(header.tags, item)].append((header.tags, item))
    merged = _merge_directions(list(groups.values()))
    parts = [part for group in merged for part in _split_contrasts(group)]
    stacks = [_build(part) for part in parts]
    notes = (f"{n_double} double files dropped",) if n_double else ()
    flags = (*doubled, *_completeness(stacks, next(iter(tags.values()))))
    return [replace(item, notes=notes, flags=(*item.flags, *flags)) for item in stacks]


def _drop_doubles(
    headers: Sequence[DicomHeader],
) -> tuple[list[DicomHeader], int, tuple[QualityFlag, ...]]:
    """Keep one file a SOPInstanceUID; flag it when two with one UID differ."""
    seen: dict[str, DicomHeader] = {}
    differ = False
    for header in sorted(headers, key=lambda item: item.slices[0].file):
        first = header.slices[0]
        kept = seen.setdefault(first.sop_uid or str(first.file), header).slices[0]
        places = (kept.position_mm, first.position_mm)
        differ |= kept.frame == first.frame and places[0] != places[1]
    text = "Different images bear one SOPInstanceUID; only the first was used."
    flags = (QualityFlag("doubles_differ", text),) if differ else ()
    return list(seen.values()), len(headers) - len(seen), flags


def _likeness(tags: DicomTags, item: DicomSlice) -> tuple[object, ...]:
    spacing = item.spacing_mm and tuple(round(edge, 4) for edge in item.spacing_mm)
    direction = item.orientation and tuple(round(x, 3) + 0.0 for x in item.orientation)
    kind = (tags.sop_class, tags.modality, tags.samples, tags.mosaic, tags.stored)
    return (*kind, item.rows, item.columns, spacing, direction)


def _merge_directions(
    groups: list[list[tuple[DicomTags, DicomSlice]]],
) -> list[list[tuple[DicomTags, DicomSlice]]]:
    """Join groups whose directions differ by rounding alone."""
    merged: list[list[tuple[DicomTags, DicomSlice]]] = []
    for group in groups:
        key = _likeness(*group[0])[:-1]
        for other in merged:
            if key == _likeness(*other[0])[:-1] and _same_direction(group, other):
                other.extend(group)
                break
        else:
            merged.append(list(group))
    return merged


def _same_direction(
    one: list[tuple[DicomTags, DicomSlice]], two: list[tuple[DicomTags, DicomSlice]]
) -> bool:
    first, second = one[0][1].orientation, two[0][1].orientation
    if first is None or second is None:
        return first is second
    return bool(np.allclose(first, second, rtol=0, atol=_SAME_DIRECTION))


def _split_contrasts(
    group: list[tuple[DicomTags, DicomSlice]],
) -> list[list[tuple[DicomTags, DicomSlice]]]:
    """Take apart images that share a place, by the contrast that does it best.

    Of contrasts that split evenly, or into few parts, that is one with no more parts
    than there are images at a place, then one that leaves no shared place, then the
    one with the fewest parts: a time of its own for every slice, as gating writes it,
    tells no repeats apart.
    """
    at_a_place = _most_at_a_place(group)
    if at_a_place < 2:
        return [group]
    names = dict.fromkeys(name for _, item in group for name, _ in item.contrast)
    splits = [_parts(group, name) for name in names]
    splits = [parts for parts in splits if _is_split(parts)]
    if not splits:
        return [group]

    def badness(
        parts: list[list[tuple[DicomTags, DicomSlice]]],
    ) -> tuple[bool, bool, bool, int]:
        is_shared = any(_most_at_a_place(part) > 1 for part in parts)
        is_uneven = len(set(map(len, parts))) > 1
        return len(parts) > at_a_place, is_shared, is_uneven, len(parts)

    best = min(splits, key=badness)
    return [piece for part in best for piece in _split_contrasts(part)]


def _parts(
    group: list[tuple[DicomTags, DicomSlice]], name: str
) -> list[list[tuple[DicomTags, DicomSlice]]]:
    """Group by the value of one contrast."""
    parts: dict[str, list[tuple[DicomTags, DicomSlice]]] = defaultdict(list)
    for tags, item in group:
        parts[dict(item.contrast).get(name, "")].append((tags, item))
    return list(parts.values())


def _is_split(parts: list[list[tuple[DicomTags, DicomSlice]]]) -> bool:
    sizes = {len(part) for part in parts}
    n_slices = sum(map(len, parts))
    is_even = len(sizes) == 1 and sizes != {1}
    return len(parts) > 1 and (is_even or len(parts) <= n_slices / 3)


def _most_at_a_place(group: list[tuple[DicomTags, DicomSlice]]) -> int:
    places = Counter(
        tuple(round(x / _MM_SAME_PLACE) for x in item.position_mm)
        for _, item in group
        if item.position_mm is not None
    )
    return max(places.values(), default=0)


def _build(group: list[tuple[DicomTags, DicomSlice]]) -> Stack:
    tags = group[0][0]
    slices = tuple(item for _, item in group)
    stack = Stack(tags, slices)
    fault = _unplaced(tags, slices)
    if fault:
        return replace(stack, fault=fault)
    axes = _axes(slices)
    if axes is None:
        return replace(stack, fault="its orientation is damaged")
    places = np.array([item.position_mm for item in slices], dtype=np.float64)
    depth = places @ axes[2]
    order = np.argsort(depth, kind="stable")
    slices = tuple(slices[index] for index in order)
    return _place(replace(stack, slices=slices), axes, places[order], depth[order])


def _unplaced(tags: DicomTags, slices: Sequence[DicomSlice]) -> str:
    if tags.mosaic:
        return "a mosaic (many slices in one picture), which is not read"
    if tags.samples != 1:
        return "colour pictures, not intensities"
    if any(item.position_mm is None or item.orientation is None for item in slices):
        return "its slices do not say where they lie"
    if slices[0].spacing_mm is None or min(slices[0].spacing_mm) <= 0:
        return "its pixel spacing is missing or not positive"
    return ""


def _axes(slices: Sequence[DicomSlice]) -> NDArray[np.float64] | None:
    """Unit vectors along columns, rows and slices in DICOM's space (LPS).

    The median over the slices, so that one damaged slice turns nothing.
    """
    cosines = np.array([item.orientation for item in slices], dtype=np.float64)
    along = np.median(cosines, axis=0).reshape(2, 3)
    lengths = np.linalg.norm(along, axis=1)
    if abs(lengths - 1.0).max() > 0.01 or abs(along[0] @ along[1]) > 0.01:
        return None
    normal = np.cross(along[0], along[1])
    return np.vstack([along, normal / np.linalg.norm(normal)])


def _place(
    stack: Stack,
    axes: NDArray[np.float64],
    places: NDArray[np.float64],
    depth: NDArray[np.float64],
) -> Stack:
    step, fault, flags = _regularity(depth, stack.slices[0])
    if not fault and len(depth) > 1:
        slide = (places[-1] - places[0]) - axes[2] * (depth[-1] - depth[0])
        shear = float(np.linalg.norm(slide)) / (depth[-1] - depth[0])
        if shear > _MOST_SHEAR:
            fault = "its slices slide against each other (gantry tilt)"
        off = float(np.linalg.norm(places - _line(places), axis=1).max()) / step
        if not fault and off > _PLACE_LOOSE:
            fault = "its slices do not lie behind each other"
        elif off > _PLACE_EXACT and not flags:
            text = f"Slices lie up to {off * step:.2f} mm off their line."
            flags = (QualityFlag("uneven_spacing", text),)
    lps = np.eye(4)
    row_mm, column_mm = stack.slices[0].spacing_mm or (1.0, 1.0)
    lps[:3, 0] = axes[0] * column_mm
    lps[:3, 1] = axes[1] * row_mm
    lps[:3, 2] = axes[2] * step
    lps[:3, 3] = places[0]
    if not fault and len(depth) > 1:
        # The way from first to last slice holds what little shear there is.
        lps[:3, 2] = (places[-1] - places[0]) / (len(depth) - 1)
    affine_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    return replace(
        stack, affine_ras=affine_ras, fault=fault, flags=(*stack.flags, *flags)
    )


def _line(places: NDArray[np.float64]) -> NDArray[np.float64]:
    share = np.linspace(0.0, 1.0, len(places))[:, None]
    return np.asarray(places[0] + share * (places[-1] - places[0]))


def _regularity(
    depth: NDArray[np.float64], first: DicomSlice
) -> tuple[float, str, tuple[QualityFlag, ...]]:
    """Return the slice spacing, a fault and flags."""
    if len(depth) == 1:
        return first.thickness_mm or 1.0, "", ()
    steps = np.diff(depth)
    step = float(np.median(steps))
    if steps.min() <= _MM_SAME_PLACE:
        return max(step, 1e-3), "several images lie at one place", ()
    off = float(np.abs(steps / step - 1.0).max())
    even = (depth[-1] - depth[0]) / (len(depth) - 1)
    if off > _PLACE_LOOSE:
        counts = steps / steps.min()
        missing = round(float((counts - 1).sum()))
        is_gap = np.abs(counts - np.round(counts)).max() < 2 * _PLACE_LOOSE
        what = f"{missing} slices are missing in the middle"
        return step, what if is_gap else "its slices are unevenly spaced", ()
    if off > _PLACE_EXACT:
        text = f"Slice spacing varies by {off:.0%}."
        return even, "", (QualityFlag("uneven_spacing", text),)
    return even, "", ()


def _completeness(stacks: Sequence[Stack], tags: DicomTags) -> tuple[QualityFlag, ...]:
    """Find missing slices by number, since places cannot show the outermost."""
    slices = [item for stack in stacks for item in stack.slices]
    flags = []
    if len(stacks) > 1 and min(len(stack.slices) for stack in stacks) <= 2:
        sizes = sorted((len(stack.slices) for stack in stacks), reverse=True)
        if sizes[0] > 3:
            text = "Some slices have another orientation, size or kind; left out."
            flags.append(QualityFlag("slices_left_out", text))
    numbers = [item.instance_number for item in slices if item.instance_number]
    # Numbers start at 1 in a series, so that a gap before the first counts too.
    missing = max(tags.images_expected or 0, max(numbers, default=0)) - len(slices)
    is_single_file = len({item.file for item in slices}) == 1
    if missing > 0 and not is_single_file:
        text = f"By its numbers the series lacks about {missing} images."
        flags.append(QualityFlag("slices_missing", text))
    return tuple(flags)
