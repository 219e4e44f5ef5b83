"""Where a station's image lies: field of view, grid, and its cord coordinates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from spinaldx.records import Affine, Float32Array
from spinaldx.simulation.population import CasePlan
from spinaldx.simulation.spine import STEP_MM, Spine

REGIONS: tuple[str, ...] = ("cervical", "thoracic", "lumbar")

# Level coordinate at the middle of each region's usual field of view.
_MIDDLES = {"cervical": 3.6, "thoracic": 12.5, "lumbar": 21.8}
_FIELDS_MM = {
    "cervical": (200.0, 270.0),
    "thoracic": (290.0, 360.0),
    "lumbar": (260.0, 340.0),
}
_LOCATION_REGIONS = {
    "oblongata_cervical": ("cervical",),
    "cervical": ("cervical",),
    "cervical_thoracic": ("cervical", "thoracic"),
    "thoracic": ("thoracic",),
    "thoracic_lumbar": ("thoracic", "lumbar"),
    "lumbar": ("lumbar",),
}

# Largest matrix along an axis; finer pixels are made coarser to keep to it.
_LARGEST_MATRIX = 448
_MARGIN_MM = 14.0

# Cord coordinates are searched on a grid this many pixels wide.
_COARSE = 4


@dataclass(frozen=True, slots=True)
class StationPlan:
    """One sagittal stack as a technician would plan it.

    Attributes:
        region: One of `REGIONS`.
        centre_mm: Way along the canal in the middle of the field.
        height_mm: Field of view from head to foot.
        width_mm: Field of view from front to back.
        front_share: Share of the width that lies before the canal.
        pixel_mm: Edge of a pixel.
        slices: Number of slices.
        thickness_mm: Of a slice.
        spacing_mm: Distance of slices.
        turn: In-plane rotation, radians.
        tilt: Slope of the slice planes against the spine along z and y.
        off_mm: How far the stack's middle lies beside the spine.
    """

    region: str
    centre_mm: float
    height_mm: float
    width_mm: float
    front_share: float
    pixel_mm: float
    slices: int
    thickness_mm: float
    spacing_mm: float
    turn: float
    tilt: tuple[float, float]
    off_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A station's grid: slices from right to left, rows to the feet, columns back.

    Attributes:
        plan: How it was planned.
        shape: (S, H, W).
        s: Way along the canal of each pixel, (H, W) float32 mm.
        p: Distance behind the canal's centre, (H, W) float32 mm.
        depth: Behind the smoothed line of the spine, straight back, (H, W) float32
            mm: trunk and skin follow this gentler line.
        outer_level: Level coordinate of that line at the same height, (H, W).
        shift: What to subtract from a slice's place to get ``u``, (H, W) float32.
        slices_x: Place of each slice, to the left, (S,) float32 mm.
        origin: Patient position (left, front, head) of the stack's middle, mm.
    """

    plan: StationPlan
    shape: tuple[int, int, int]
    s: Float32Array
    p: Float32Array
    depth: Float32Array
    outer_level: Float32Array
    shift: Float32Array
    slices_x: Float32Array
    origin: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Image geometry asked for by the caller; None is drawn."""

    in_plane_mm: float | None = None
    slice_mm: float | None = None


def plan_stations(
    rng: np.random.Generator,
    plan: CasePlan,
    spine: Spine,
    extent: tuple[float, float],
    geometry: Geometry,
) -> tuple[StationPlan, ...]:
    """Plan the stacks of one patient, from head to foot.

    Args:
        rng: Source of chance.
        plan: Gives the regions that must be scanned.
        spine: Where the levels are.
        extent: From where to where the lesions reach; (0, 0) when healthy.
        geometry: Fixed pixel size and thickness.

    Returns:
        One to three stations; every lesion lies inside at least one of them when
        a field of view can hold it.
    """
    regions = list(_LOCATION_REGIONS[plan.location])
    if len(regions) == 2 and rng.random() < 0.5:
        regions = [regions[int(rng.integers(2))]]
    for region in REGIONS:
        if region not in regions and rng.random() < 0.12:
            regions.append(region)
    regions.sort(key=REGIONS.index)
    needed = _needed_region(regions, spine, extent)
    shared = _draw_protocol(rng, geometry)
    return tuple(
        _plan_station(rng, region, spine, extent if region == needed else None, shared)
        for region in regions
    )


@dataclass(frozen=True, slots=True)
class _Protocol:
    pixel_mm: float
    thickness_mm: float
    gap: float
    slices: int
    is_wide: bool


def _draw_protocol(rng: np.random.Generator, geometry: Geometry) -> _Protocol:
    pixel = geometry.in_plane_mm or float(np.clip(rng.normal(0.72, 0.15), 0.5, 1.1))
    thin = geometry.slice_mm is None and rng.random() < 0.15
    thickness = geometry.slice_mm or float(rng.choice((3.0, 3.0, 3.3, 3.5, 4.0)))
    slices = int(rng.integers(11, 18))
    gap = float(rng.choice((0.0, 0.0, 0.05, 0.1)))
    if thin:
        thickness, gap = float(rng.uniform(0.9, 2.0)), 0.0
        slices = int(rng.integers(22, 33))
        pixel = geometry.in_plane_mm or float(rng.uniform(0.8, 1.1))
    return _Protocol(pixel, thickness, gap, slices, bool(rng.random() < 0.3))


def _needed_region(
    regions: list[str], spine: Spine, extent: tuple[float, float]
) -> str | None:
    if extent == (0.0, 0.0):
        return None
    middle = (extent[0] + extent[1]) / 2
    centres = {
        region: float(np.interp(_MIDDLES[region], np.arange(26), spine.edges))
        for region in regions
    }
    return min(regions, key=lambda region: abs(centres[region] - middle))


def _plan_station(
    rng: np.random.Generator,
    region: str,
    spine: Spine,
    extent: tuple[float, float] | None,
    protocol: _Protocol,
) -> StationPlan:
    low, high = _FIELDS_MM[region]
    height = rng.uniform(low, high) * (0.3 + 0.7 * spine.scale)
    centre = float(np.interp(_MIDDLES[region], np.arange(26), spine.edges))
    centre += rng.normal(0, 14)
    if extent is not None:
        reach = extent[1] - extent[0] + 2 * _MARGIN_MM
        # Curved spines are shorter in the image than along the canal.
        height = max(height, reach)
        slack = max((height - reach) / 2, 0.0)
        middle = (extent[0] + extent[1]) / 2
        centre = float(np.clip(centre, middle - slack, middle + slack))
    width, share = _draw_width(rng, height, is_wide=protocol.is_wide)
    turn = float(rng.normal(0, 0.11))
    if extent is not None:
        ends = _behind_mm(spine, centre, turn, np.array(extent))
        width = max(width, _least_width(ends, share))
    pixel = max(protocol.pixel_mm, max(height, width) / _LARGEST_MATRIX)
    return StationPlan(
        region=region,
        centre_mm=centre,
        height_mm=float(height),
        width_mm=float(width),
        front_share=share,
        pixel_mm=float(pixel),
        slices=protocol.slices,
        thickness_mm=protocol.thickness_mm,
        spacing_mm=protocol.thickness_mm * (1 + protocol.gap),
        turn=turn,
        tilt=(float(rng.normal(0, 0.025)), float(rng.normal(0, 0.03))),
        off_mm=float(rng.normal(0, 3.0)),
    )


def _behind_mm(
    spine: Spine, centre_mm: float, turn: float, s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far behind the middle of a turned field places of the canal lie."""
    y, z = (
        np.interp(s, spine.s, line) - np.interp(centre_mm, spine.s, line)
        for line in (spine.y, spine.z)
    )
    return np.asarray(-(np.cos(turn) * y + np.sin(turn) * z))


def _least_width(behind_mm: NDArray[np.float64], front_share: float) -> float:
    """Return the width from which on a field holds the places with a margin."""
    before = (_MARGIN_MM - behind_mm.min()) / front_share
    behind = (_MARGIN_MM + behind_mm.max()) / (1.0 - front_share)
    return float(max(before, behind))


def _draw_width(
    rng: np.random.Generator, height: float, *, is_wide: bool
) -> tuple[float, float]:
    if is_wide:
        return float(rng.uniform(1.0, 1.75) * height), float(rng.uniform(0.4, 0.62))
    if rng.random() < 0.3:
        return float(rng.uniform(85, 150)), float(rng.uniform(0.4, 0.65))
    return float(height * rng.uniform(0.75, 1.0)), float(rng.uniform(0.45, 0.68))


def build_frame(plan: StationPlan, spine: Spine) -> Frame:
    """Lay a station's pixels over the spine."""
    rows = fft.next_fast_len(round(plan.height_mm / plan.pixel_mm))
    columns = fft.next_fast_len(round(plan.width_mm / plan.pixel_mm))
    down = (np.arange(rows) - (rows - 1) / 2) * plan.pixel_mm
    back = (np.arange(columns) - (columns - 1) / 2) * plan.pixel_mm
    back = back + (0.5 - plan.front_share) * plan.width_mm
    cos, sin = np.cos(plan.turn), np.sin(plan.turn)
    y0 = float(np.interp(plan.centre_mm, spine.s, spine.y))
    z0 = float(np.interp(plan.centre_mm, spine.s, spine.z))
    y = (y0 - cos * back[None, :] + sin * down[:, None]).astype(np.float32)
    z = (z0 - cos * down[:, None] - sin * back[None, :]).astype(np.float32)
    s, p = _cord_coordinates(spine, y, z)
    depth, outer_level = _trunk_coordinates(spine, y, z)
    x0 = float(np.interp(plan.centre_mm, spine.s, spine.x)) + plan.off_mm
    shift = spine.at(spine.x, s) - np.float32(x0)
    shift = shift + np.float32(plan.tilt[0]) * (z - np.float32(z0))
    shift = shift + np.float32(plan.tilt[1]) * (y - np.float32(y0))
    places = (np.arange(plan.slices) - (plan.slices - 1) / 2) * plan.spacing_mm
    middle = (0.5 - plan.front_share) * plan.width_mm
    return Frame(
        plan=plan,
        shape=(plan.slices, rows, columns),
        s=s,
        p=p,
        depth=depth,
        outer_level=outer_level,
        shift=shift.astype(np.float32),
        slices_x=places.astype(np.float32),
        origin=(x0, y0 - cos * middle, z0 - sin * middle),
    )


def _cord_coordinates(
    spine: Spine, y: Float32Array, z: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """Way along and distance behind the canal for each pixel.

    The nearest place of the curve is searched for every fourth pixel, and found
    exactly for all by walking along the curve's direction.
    """
    curve = np.stack([spine.y, spine.z], axis=1)
    tree = cKDTree(curve[::4])
    coarse = np.stack([y[::_COARSE, ::_COARSE], z[::_COARSE, ::_COARSE]], axis=-1)
    _, nearest = tree.query(coarse)
    first = spine.s[::4][nearest].repeat(_COARSE, axis=0).repeat(_COARSE, axis=1)
    along = first[: y.shape[0], : y.shape[1]]
    to_front = np.gradient(spine.y, STEP_MM).astype(np.float32)
    to_head = np.gradient(spine.z, STEP_MM).astype(np.float32)
    for _ in range(3):
        off_y, off_z = y - spine.at(spine.y, along), z - spine.at(spine.z, along)
        t_y, t_z = spine.at(to_front, along), spine.at(to_head, along)
        step = np.clip(off_y * t_y + off_z * t_z, -8, 8)
        # To the back when walking down: the direction turned by a right angle.
        behind = off_y * t_z - off_z * t_y
        along = along + step
    return along.astype(np.float32), behind.astype(np.float32)


def _trunk_coordinates(
    spine: Spine, y: Float32Array, z: Float32Array
) -> tuple[Float32Array, Float32Array]:
    gentle = gaussian_filter1d(spine.y, 35 / STEP_MM, mode="nearest")
    heights = spine.z[::-1]
    line = np.interp(z, heights, gentle[::-1])
    level = np.interp(z, heights, spine.level[::-1])
    return (line - y).astype(np.float32), level.astype(np.float32)


def stack_affine(frame: Frame) -> Affine:
    """Affine of the (slice, row, column) stack in patient mm (RAS).

    The anatomy was drawn in the image's own frame: the small tilts of the
    slices against the spine are declared in the normals, as a scanner would.
    """
    plan = frame.plan
    cos, sin = np.cos(plan.turn), np.sin(plan.turn)
    left = np.array([-1.0, plan.tilt[1], plan.tilt[0]])
    down = np.array([0.0, sin, -cos])
    back = np.array([0.0, -cos, -sin])
    rotation = _orthonormal(np.stack([left, down, back], axis=1))
    affine = np.eye(4)
    affine[:3, :3] = rotation * [plan.spacing_mm, plan.pixel_mm, plan.pixel_mm]
    x, y, z = frame.origin
    centre = (np.array(frame.shape) - 1) / 2
    affine[:3, 3] = np.array([-x, y, z]) - affine[:3, :3] @ centre
    return affine


def _orthonormal(axes: Affine) -> Affine:
    first, _, last = np.linalg.svd(axes)
    rotation: Affine = first @ last
    return rotation
