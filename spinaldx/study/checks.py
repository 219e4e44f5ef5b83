"""Whether an image is fit for the networks, judged by its voxels.

The spine test looks for what every sagittal T2w image of a spine shows and hardly
anything else does: the fluid around the cord, a tall, narrow structure inside the
body, brighter than its surroundings. Each step is one line of morphology:

1. slices about 4 mm apart, pixels of 1 mm;
2. taken away from each row: everything wider than 26 mm (fat, brain, bladder);
3. kept in each column, also tilted by up to 27 degrees: what is at least 30 mm tall;
4. the skin's fat is left out: nothing within 12 mm of the air counts;
5. what is left is measured against the body's median intensity.

The body is what is brighter than a share of the brightest; where that leaves hardly
anything, as in images weighted so heavily that only fluid is bright, of the tissue.

Error rates on real and simulated images: `docs/decisions/0012-reading-images.md`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import UnsuitableImageError
from spinaldx.grid import anatomical_axes
from spinaldx.records import Float32Array, Plane, QualityFlag, Volume

# A map of labels has at most this many values, all of them whole numbers.
_MOST_LABELS = 64
_SAMPLED_VOXELS = 400_000
_MOST_EMPTY = 0.97

_SHORTEST_MM = (8.0, 30.0, 40.0)
_DIRECTIONS = ("left to right", "front to back", "head to foot")

_SLICE_MM, _MOST_SLICES = 4.0, 11
_WIDEST_MM, _SHORTEST_TALL_MM, _SKIN_MM, _HOLE_MM = 26, 30, 12, 9
_TILTS = (-0.5, -0.25, 0.0, 0.25, 0.5)
_AIR_SHARE = 0.08
# In heavily weighted images fluid alone is bright: what is a tenth of it is fluid too.
_LEAST_BODY, _LEAST_TISSUE = 0.1, 0.02
_MEASURED_ROWS = 60

# Fluid over the body's median: T2w images reach 1.2 to 9, T1w ones 0.5 to 4.
_REFUSED_BELOW, _DOUBTFUL_BELOW, _DOUBTFUL_ABOVE = 1.0, 1.4, 15.0
# Share of the image's height along which the fluid is seen.
_SEEN_FROM, _DOUBTFUL_SHARE, _REFUSED_SHARE = 0.8, 0.45, 0.15


@dataclass(frozen=True, slots=True)
class FluidColumn:
    """The bright column that the spine test found.

    Attributes:
        contrast: Its height over its surroundings, in medians of the body.
        share: Share of the image's rows in which it is seen.
    """

    contrast: float
    share: float


def check_image(volume: Volume) -> tuple[QualityFlag, ...]:
    """Check that a volume shows a spine in sagittal T2w slices.

    Returns:
        Doubts; empty when there are none.

    Raises:
        UnsuitableImageError: If the plane is wrong, the image is constant, a map
            of labels or too small, or shows nothing like a T2w spine.
    """
    if volume.plane in {Plane.AXIAL, Plane.CORONAL}:
        _refuse(volume, f"{volume.plane.value} slices, not sagittal")
    _check_extent(volume)
    reason = label_reason(volume.voxels)
    if reason:
        _refuse(volume, reason)
    return _spine_flags(volume)


def _refuse(volume: Volume, reason: str) -> None:
    message = f"{volume.name}: {reason}."
    hint = "Needed is a T2-weighted image of the spine in sagittal slices."
    raise UnsuitableImageError(message, hint=hint)


def _check_extent(volume: Volume) -> None:
    reach_mm = np.abs(volume.affine_ras[:3, :3]) @ np.array(volume.voxels.shape)
    for direction, shortest, extent in zip(
        _DIRECTIONS, _SHORTEST_MM, reach_mm, strict=True
    ):
        if extent < shortest:
            _refuse(volume, f"only {extent:.0f} mm from {direction}")


def label_reason(voxels: Float32Array) -> str:
    """Say why voxels are no image; empty when they may be one.

    Told are constant images, maps of labels (few whole numbers) and maps that are
    zero nearly everywhere, such as probabilities of a small structure.
    """
    flat = voxels.reshape(-1, order="A")
    sample = flat[:: max(flat.size // _SAMPLED_VOXELS, 1)]
    if float(flat.min()) == float(flat.max()):
        return "the same intensity everywhere"
    values = np.unique(sample)
    is_whole = bool(np.all(values == np.round(values)))
    if len(values) <= _MOST_LABELS and is_whole:
        return f"a map of labels ({len(values)} values), not an image"
    if float((sample == 0).mean()) > _MOST_EMPTY:
        return "empty nearly everywhere"
    return ""


def _spine_flags(volume: Volume) -> tuple[QualityFlag, ...]:
    column = find_fluid_column(volume)
    if column.contrast < _REFUSED_BELOW or column.share < _REFUSED_SHARE:
        _refuse(volume, "no bright fluid around a cord, as T2w images of a spine show")
    if column.contrast < _DOUBTFUL_BELOW or column.share < _DOUBTFUL_SHARE:
        text = "The fluid around the cord is hardly seen; is it a T2w spine?"
        return (QualityFlag("spine_doubtful", text),)
    if column.contrast > _DOUBTFUL_ABOVE:
        text = "Hardly anything but fluid is seen; lesions in the cord may not be."
        return (QualityFlag("spine_doubtful", text),)
    return ()


def find_fluid_column(volume: Volume) -> FluidColumn:
    """Find the tall, narrow, bright structure inside the body.

    Returns:
        Contrast and share; both 0 where there is none.
    """
    stack = _millimetre_stack(volume)
    body = _find_body(stack)
    median = float(np.median(stack[body])) if body.any() else 0.0
    if median <= 0:
        return FluidColumn(0.0, 0.0)
    inner = _inside(body)
    narrow = stack - _open(stack, _WIDEST_MM, axis=2)
    seen = np.flatnonzero(inner.any(axis=(0, 1)))
    if not seen.size:
        return FluidColumn(0.0, 0.0)
    kept = slice(int(seen[0]), int(seen[-1]) + 1)
    inner, narrow = inner[:, :, kept], narrow[:, :, kept]
    found = np.zeros((len(stack), stack[0].shape[0]), dtype=np.float32)
    for tilt in _TILTS:
        tall = _open(_tilted(narrow, tilt), _SHORTEST_TALL_MM, axis=1)
        counted = tall * _tilted(inner, tilt)
        found = np.maximum(found, counted.max(axis=2))
    found /= median
    rows = min(_MEASURED_ROWS, found.shape[1])
    contrasts = np.sort(found, axis=1)[:, -rows:].mean(axis=1)
    best = np.sort(contrasts)[-3:]
    shares = (found > _SEEN_FROM).mean(axis=1)
    return FluidColumn(float(best.mean()), float(shares.max()))


def _find_body(stack: Float32Array) -> NDArray[np.bool_]:
    """Tell body from air; in images of fluid alone by the brightest tissue."""
    brightest, tissue = np.percentile(stack, (99.5, 90))
    body = stack > _AIR_SHARE * brightest
    if body.mean() < _LEAST_BODY and tissue > _LEAST_TISSUE * brightest:
        body = stack > _AIR_SHARE * tissue
    return np.asarray(body)


def _millimetre_stack(volume: Volume) -> Float32Array:
    """Return slices about 4 mm apart with pixels of 1 mm, (S, H, W) float32."""
    axes, flips = anatomical_axes(volume)
    spacing = [volume.spacing_mm[axis] for axis in axes]
    ordered = np.transpose(volume.voxels, axes)
    ordered = np.flip(ordered, tuple(axis for axis in range(3) if flips[axis]))
    step = max(round(_SLICE_MM / spacing[0]), 1)
    chosen = ordered[(len(ordered) // 2) % step :: step]
    spare = max(len(chosen) - _MOST_SLICES, 0) // 2
    chosen = chosen[spare : spare + _MOST_SLICES]
    rows = _area_weights(chosen.shape[1], spacing[1])
    columns = _area_weights(chosen.shape[2], spacing[2])
    return np.asarray(np.matmul(np.matmul(rows, chosen), columns.T), dtype=np.float32)


def _area_weights(n_from: int, edge_mm: float) -> Float32Array:
    """Weights that average one axis over pixels of 1 mm."""
    n_to = max(int(n_from * edge_mm), 1)
    low, start = np.arange(n_to)[:, None], np.arange(n_from)[None, :] * edge_mm
    overlap = np.minimum(low + 1, start + edge_mm) - np.maximum(low, start)
    weights = np.clip(overlap, 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _inside(body: NDArray[np.bool_]) -> Float32Array:
    """Return 1 where a row is deeper under the skin than its fat, else 0."""
    filled = _running(np.maximum, body.astype(np.float32), _around(_HOLE_MM), axis=2)
    solid = _running(np.minimum, filled, _around(_HOLE_MM), axis=2)
    return _running(np.minimum, solid, _around(2 * _SKIN_MM + 1), axis=2)


def _open(image: Float32Array, length: int, axis: int) -> Float32Array:
    """Take away bright structures shorter than a length along an axis."""
    before, behind = _around(length)
    worn = _running(np.minimum, image, (before, behind), axis)
    return _running(np.maximum, worn, (behind, before), axis)


def _tilted(image: Float32Array, tilt: float) -> Float32Array:
    """Move each row sideways, so that what is tilted stands upright."""
    _, height, width = image.shape
    spare = int(np.ceil(abs(tilt) * height / 2)) + 1
    padded = np.pad(image, ((0, 0), (0, 0), (spare, spare)))
    moves = np.round(tilt * (np.arange(height) - height / 2)).astype(int)
    columns = np.arange(width + 2 * spare)[None, :] + moves[:, None]
    columns = np.clip(columns, 0, width + 2 * spare - 1)
    return np.asarray(padded[:, np.arange(height)[:, None], columns])


def _around(length: int) -> tuple[int, int]:
    """Split a window into what lies before its middle and what behind it."""
    return length // 2, length - 1 - length // 2


def _running(
    better: np.ufunc, image: Float32Array, reach: tuple[int, int], axis: int
) -> Float32Array:
    """Running least or most from so many before to so many behind; edges repeat.

    Doubling takes few passes, and along the axis itself they run over whole rows.
    """
    margin = [(0, 0)] * image.ndim
    margin[axis] = reach
    current = np.pad(image, margin, mode="edge")
    length, size = sum(reach) + 1, 1
    while 2 * size <= length:
        current = _paired(better, current, size, axis)
        size *= 2
    if size < length:
        current = _paired(better, current, length - size, axis)
    return np.asarray(current)


def _paired(
    better: np.ufunc, lines: Float32Array, apart: int, axis: int
) -> Float32Array:
    before = tuple(slice(None) for _ in range(axis))
    first, second = (*before, slice(None, -apart)), (*before, slice(apart, None))
    return np.asarray(better(lines[first], lines[second]))
