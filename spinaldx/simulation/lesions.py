"""Lesions as unions of soft bodies in the cord's own coordinates.

A body reaches a given way along the cord and has an elliptic, wobbling section.
Lengths are planned, sections are scaled until the whole lesion has its planned
volume, and the cord swells, within the canal, where the lesion needs the room.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from spinaldx.records import Disease, Float32Array
from spinaldx.simulation.appearance import draw_recipe
from spinaldx.simulation.bodies import (
    Body,
    Look,
    Recipe,
    with_fading_ends,
    without_signs,
)
from spinaldx.simulation.population import (
    CROSSING_LEVEL,
    LOCATION_LEVELS,
    CasePlan,
)
from spinaldx.simulation.spine import CORD_TOP_MM, STEP_MM, TOP_MM, Spine, level_at

# How far a sac of normal width can give way before the cord stops growing.
_SAC_GIVES = (1.42, 1.18)
_SCALINGS = 7
_PLACING_TRIES = 60


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Places in cord coordinates, arrays of one shape, float32 mm.

    Attributes:
        s: Way along the canal.
        p: Behind the cord's centre.
        u: Left of the cord's centre.
    """

    s: Float32Array
    p: Float32Array
    u: Float32Array


@dataclass(frozen=True, slots=True)
class Lesions:
    """All lesions of one patient.

    Attributes:
        bodies: In the order in which they are painted.
        extents_mm: From where to where each lesion reaches along the canal.
    """

    bodies: tuple[Body, ...] = ()
    extents_mm: tuple[tuple[float, float], ...] = ()


def waves(look: Look, points: Points) -> Float32Array:
    """Evaluate a smooth random function of about unit spread."""
    total = np.zeros(points.s.shape, dtype=np.float32)
    for k_s, k_p, k_u, phase in look.waves:
        total += np.sin(
            np.float32(k_s) * points.s
            + np.float32(k_p) * points.p
            + np.float32(k_u) * points.u
            + np.float32(phase)
        )
    return total * np.float32(0.8 / max(len(look.waves), 1) ** 0.5)


def depth_mm(body: Body, points: Points, wobble: Float32Array) -> Float32Array:
    """Signed distance into a body, about right near its surface.

    Args:
        body: The body.
        points: Where to evaluate.
        wobble: `waves` of the body's look there.

    Returns:
        Millimetres, positive inside.
    """
    along = np.abs(points.s - np.float32(body.centre_mm)) / np.float32(body.half_mm)
    profile = np.sqrt(np.maximum(1 - along**body.bluntness, 0))
    across = np.hypot(
        (points.p - np.float32(body.p_mm)) / np.float32(body.radius_p),
        (points.u - np.float32(body.u_mm)) / np.float32(body.radius_u),
    )
    radius = np.float32(np.sqrt(body.radius_p * body.radius_u))
    inward = (profile * (1 + np.float32(body.look.wobble) * wobble) - across) * radius
    depth: Float32Array = np.minimum(inward, (1 - along) * np.float32(body.half_mm))
    return depth


def draw_lesions(
    rng: np.random.Generator,
    plan: CasePlan,
    spine: Spine,
    contrast_factor: float,
    swelling_factor: float = 1.0,
    *,
    signs: bool = True,
) -> tuple[Lesions, Spine]:
    """Draw the planned lesions and make room for them.

    Args:
        rng: Source of chance; asked for the same numbers whatever the factors.
        plan: Disease, volume and the rest of the patient.
        spine: Before the lesions.
        contrast_factor: Of lesion to cord, relative to what is drawn.
        swelling_factor: Of the cord, relative to what is drawn; at 0 it stays as wide
            as it was, and a lesion that would need more room is smaller.
        signs: Whether lesions have cysts, caps, oedema and bright spots.

    Returns:
        The lesions, and the spine with cord and sac widened where needed.
        Healthy plans give no bodies and the same spine.
    """
    if plan.disease is None:
        return Lesions(), spine
    extents = _place(rng, plan, spine)
    shares = np.array([high - low for low, high in extents])
    shares = shares * np.exp(rng.normal(0, 0.3, len(shares)))
    shares = shares / shares.sum()
    bodies: list[Body] = []
    for extent, share in zip(extents, shares, strict=True):
        recipe = draw_recipe(rng, plan.disease, extent, _section(spine, extent))
        most = 1 + (recipe.most_swelling - 1) * swelling_factor
        recipe = replace(recipe, most_swelling=most)
        recipe = recipe if signs else without_signs(recipe)
        recipe = with_fading_ends(rng, recipe)
        sized = _scale_to_volume(recipe, spine, 1000 * plan.volume_ml * share)
        spine = _make_room(spine, sized)
        bodies.extend(_with_contrast(sized.bodies, contrast_factor))
    return Lesions(tuple(bodies), tuple(extents)), spine


def _with_contrast(bodies: Sequence[Body], factor: float) -> list[Body]:
    return [replace(body, ratio=1 + (body.ratio - 1) * factor) for body in bodies]


def _section(spine: Spine, extent: tuple[float, float]) -> tuple[float, float]:
    # Below the conus lesions grow from the filum, in a sac without a cord.
    inside = (spine.s >= extent[0]) & (spine.s <= extent[1])
    return (
        float(max(spine.cord_p[inside].mean(), 2.5)),
        float(max(spine.cord_u[inside].mean(), 3.0)),
    )


def _place(
    rng: np.random.Generator, plan: CasePlan, spine: Spine
) -> list[tuple[float, float]]:
    crossing = CROSSING_LEVEL.get(plan.location)
    for _ in range(_PLACING_TRIES):
        extents = _draw_extents(rng, plan, spine)
        if crossing is None or _crosses(extents, spine, crossing):
            return extents
    return _across(rng, plan, spine)


def _crosses(extents: list[tuple[float, float]], spine: Spine, crossing: float) -> bool:
    first = level_at(spine.edges, extents[0][0])
    last = level_at(spine.edges, extents[-1][1])
    return first < crossing - 0.15 and last > crossing + 0.15


def _across(
    rng: np.random.Generator, plan: CasePlan, spine: Spine
) -> list[tuple[float, float]]:
    # One lesion over the crossing, for plans that chance did not place.
    crossing = spine.edges[int(CROSSING_LEVEL[plan.location])]
    length = max(plan.extension - 1, 0.8) * 17.0 * spine.scale
    above = length * rng.uniform(0.3, 0.7)
    return [(float(crossing - above), float(crossing - above + length))]


def _draw_extents(
    rng: np.random.Generator, plan: CasePlan, spine: Spine
) -> list[tuple[float, float]]:
    low, high = LOCATION_LEVELS[plan.location]
    first, last = int(np.floor(max(low, 0))), int(np.ceil(high))
    available = last - first
    count = min(plan.lesion_count, available)
    extension = int(np.clip(plan.extension, count, available))
    parts = _split(rng, extension, count)
    spare = available - extension
    gaps = np.sort(rng.integers(0, spare + 1, count))
    if plan.location == "oblongata_cervical":
        gaps[0] = 0
    extents, begin = [], first
    previous = 0
    for part, gap in zip(parts, gaps, strict=True):
        begin += int(gap) - previous
        previous = int(gap)
        share = plan.volume_ml * part / extension
        extents.append(_within_levels(rng, spine, begin, int(part), share))
        begin += int(part)
    if plan.location == "oblongata_cervical":
        top = max(CORD_TOP_MM + 3, -rng.uniform(5, 15) * spine.scale)
        extents[0] = (float(top), extents[0][1])
    return extents


def _split(rng: np.random.Generator, total: int, count: int) -> list[int]:
    extra = rng.multinomial(total - count, np.full(count, 1 / count))
    return [1 + int(more) for more in extra]


def _within_levels(
    rng: np.random.Generator, spine: Spine, begin: int, levels: int, volume_ml: float
) -> tuple[float, float]:
    spare = float(np.clip(1.1 - 0.35 * volume_ml / levels, 0.25, 0.8))
    edges = spine.edges
    end = min(begin + levels, len(edges) - 1)
    first, last = edges[begin + 1] - edges[begin], edges[end] - edges[end - 1]
    if levels == 1:
        length = rng.uniform(0.4, 0.92)
        start = rng.uniform(0.03, 0.97 - length)
        low = edges[begin] + start * first
        return float(low), float(low + length * first)
    # Deep enough into the outer levels to be counted there; far, when a large
    # volume needs the length.
    low = edges[begin] + rng.uniform(0.05, spare) * first
    high = edges[end] - rng.uniform(0.05, spare) * last
    return float(low), float(max(high, low + 6))


def _make_room(spine: Spine, recipe: Recipe) -> Spine:
    cord_p, cord_u = _swollen(spine, recipe)
    sac_p = np.maximum(spine.sac_p, cord_p + np.float32(0.15))
    sac_u = np.maximum(spine.sac_u, cord_u + np.float32(0.3))
    room = np.maximum(sac_p - cord_p - np.float32(0.1), 0)
    return replace(
        spine,
        cord_p=cord_p,
        cord_u=cord_u,
        sac_p=sac_p,
        sac_u=sac_u,
        cord_shift=np.clip(spine.cord_shift, -room, room),
    )


def _swollen(spine: Spine, recipe: Recipe) -> tuple[Float32Array, Float32Array]:
    """Cord radii with room for a lesion, never wider than the sac can give."""
    need_p = np.zeros_like(spine.s)
    need_u = np.zeros_like(spine.s)
    for body in recipe.bodies:
        if not body.pushes:
            continue
        along = np.abs(spine.s - np.float32(body.centre_mm)) / np.float32(body.half_mm)
        profile = np.sqrt(np.maximum(1 - along**body.bluntness, 0))
        need_p = np.maximum(need_p, profile * (abs(body.p_mm) + body.radius_p))
        need_u = np.maximum(need_u, profile * (abs(body.u_mm) + body.radius_u))
    rim = np.minimum(spine.cord_p, np.float32(recipe.rim_mm))
    swell_p = np.where(need_p > 0, need_p + rim, 0)
    swell_u = np.where(need_u > 0, need_u + rim, 0)
    reach = recipe.taper_mm / STEP_MM
    swell_p = np.maximum(gaussian_filter1d(swell_p, reach), swell_p)
    swell_u = np.maximum(gaussian_filter1d(swell_u, reach), swell_u)
    limit_p, limit_u = _limits(spine, recipe.most_swelling)
    cord_p = np.maximum(spine.cord_p, np.minimum(swell_p, limit_p))
    cord_u = np.maximum(spine.cord_u, np.minimum(swell_u, limit_u))
    return cord_p.astype(np.float32), cord_u.astype(np.float32)


def _limits(spine: Spine, most_swelling: float) -> tuple[Float32Array, Float32Array]:
    """Widest cord: what the swelling allows and the canal gives."""
    cap_p = np.maximum(spine.sac_p * _SAC_GIVES[0] - 0.3, spine.cord_p)
    cap_u = np.maximum(spine.sac_u * _SAC_GIVES[1] - 0.3, spine.cord_u)
    # Below the conus there is no cord whose multiple could be the limit.
    has_cord = spine.cord_p >= 2
    limit_p = np.where(has_cord, np.minimum(cap_p, spine.cord_p * most_swelling), cap_p)
    limit_u = np.where(has_cord, np.minimum(cap_u, spine.cord_u * most_swelling), cap_u)
    return limit_p.astype(np.float32), limit_u.astype(np.float32)


def _scale_to_volume(recipe: Recipe, spine: Spine, target_mm3: float) -> Recipe:
    """Scale the sections until the lesion inside the cord has the volume."""
    low, high = np.log(0.15), np.log(8.0)
    lattice = _lattice(recipe, spine)
    wobbles = [waves(body.look, lattice[0]) for body in recipe.bodies]
    limits = _limits(spine, recipe.most_swelling)
    places = [_row(body.centre_mm) for body in recipe.bodies]
    widest = [(float(limits[0][row]), float(limits[1][row])) for row in places]
    scaled = recipe
    for _ in range(_SCALINGS):
        middle = (low + high) / 2
        scaled = _scaled(recipe, float(np.exp(middle)), widest)
        if _volume_mm3(scaled, spine, lattice, wobbles) < target_mm3:
            low = middle
        else:
            high = middle
    return scaled


def _row(s: float) -> int:
    return int((s - TOP_MM) / STEP_MM)


def _scaled(recipe: Recipe, factor: float, widest: list[tuple[float, float]]) -> Recipe:
    """Scale the sections, each only as far as the canal at its middle allows.

    Without the limit a large volume in a short lesion would give a box.
    """
    bodies = []
    for body, (most_p, most_u) in zip(recipe.bodies, widest, strict=True):
        moved = min(factor, 1.3) ** body.follows
        radius_p = min(body.radius_p * factor, 1.02 * most_p)
        radius_u = min(body.radius_u * factor, 1.02 * most_u)
        # A body that fills the section has moved to the middle of it.
        room_p = max(most_p - 0.5 * radius_p, 0.0)
        room_u = max(most_u - 0.5 * radius_u, 0.0)
        bodies.append(
            replace(
                body,
                radius_p=radius_p,
                radius_u=radius_u,
                p_mm=float(np.clip(body.p_mm * moved, -room_p, room_p)),
                u_mm=float(np.clip(body.u_mm * moved, -room_u, room_u)),
            )
        )
    return replace(recipe, bodies=tuple(bodies))


def _lattice(recipe: Recipe, spine: Spine) -> tuple[Points, float]:
    low = min(body.centre_mm - body.half_mm for body in recipe.bodies)
    high = max(body.centre_mm + body.half_mm for body in recipe.bodies)
    steps = int(np.clip((high - low) / 2.0, 10, 70))
    inside = (spine.s >= low) & (spine.s <= high)
    wide_p = float(spine.sac_p[inside].max() * _SAC_GIVES[0])
    wide_u = float(spine.sac_u[inside].max() * _SAC_GIVES[1])
    axes = [
        (np.arange(steps) + 0.5) / steps * (high - low) + low,
        ((np.arange(22) + 0.5) / 11 - 1) * wide_p,
        ((np.arange(24) + 0.5) / 12 - 1) * wide_u,
    ]
    s, p, u = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij")
    cell = (high - low) / steps * (wide_p / 11) * (wide_u / 12)
    return Points(s, p, u), float(cell)


def _volume_mm3(
    recipe: Recipe,
    spine: Spine,
    lattice: tuple[Points, float],
    wobbles: list[Float32Array],
) -> float:
    points, cell = lattice
    cord_p, cord_u = _swollen(spine, recipe)
    rows = np.clip((points.s[:, 0, 0] - TOP_MM) / STEP_MM, 0, len(cord_p) - 1)
    place = rows.astype(np.int64)
    radius_p = np.maximum(cord_p[place], np.float32(0.1))[:, None, None]
    radius_u = np.maximum(cord_u[place], np.float32(0.1))[:, None, None]
    inside = (points.p / radius_p) ** 2 + (points.u / radius_u) ** 2 < 1
    # Soft counting, because a faint plaque is only a few lattice cells wide.
    size = cell ** (1 / 3)
    covered = np.zeros(points.s.shape, dtype=np.float32)
    for body, wobble in zip(recipe.bodies, wobbles, strict=True):
        share = np.clip(0.5 + depth_mm(body, points, wobble) / size, 0, 1)
        np.maximum(covered, share, out=covered)
    return float(covered[inside].sum() * cell)


def lesion_extent(disease: Disease | None, lesions: Lesions) -> tuple[float, float]:
    """Return from where to where the lesions reach; (0, 0) when there are none."""
    if disease is None or not lesions.extents_mm:
        return 0.0, 0.0
    lows, highs = zip(*lesions.extents_mm, strict=True)
    return min(lows), max(highs)
