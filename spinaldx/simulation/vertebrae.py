"""Vertebrae, discs and posterior elements as layers, and their level labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Float32Array
from spinaldx.simulation.fields import (
    Reals,
    TurningField,
    smooth_noise,
    soft_line,
    soft_step,
)
from spinaldx.simulation.frame import Frame
from spinaldx.simulation.layers import Layer
from spinaldx.simulation.levels import DISC_OFFSET, SACRUM
from spinaldx.simulation.spine import Spine
from spinaldx.simulation.tissues import Tissues
from spinaldx.simulation.variation import Variation, bulge_mm


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where each pixel of the middle plane lies, (H, W) each.

    Attributes:
        s: Way along the canal, mm.
        level: Level coordinate.
        behind: Behind the canal, mm; negative in it and before it.
        ahead: Before the back wall of the vertebral bodies, mm.
        body_p: Depth of the bodies there, mm.
        depth: Behind the trunk's gentle middle line, mm.
        outer_level: Level coordinate of that line at the same height.
        edge_mm: Softness of edges.
    """

    s: Reals
    level: Reals
    behind: Reals
    ahead: Reals
    body_p: Reals
    depth: Reals
    outer_level: Reals
    edge_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Bones:
    """Bone layers of a station and what its labels are made from.

    Attributes:
        layers: In painting order.
        labels: Level of each pixel of the middle plane, (H, W) uint8.
        half_width: Half of the bodies from side to side, (H, W) float32 mm.
    """

    layers: tuple[Layer, ...]
    labels: NDArray[np.uint8]
    half_width: Reals


def find_places(rng: np.random.Generator, frame: Frame, spine: Spine) -> Place:
    """Describe each pixel of a station relative to canal and bodies.

    Away from the canal the places wobble, so that no edge is drawn with a ruler.
    """
    sac = spine.at(spine.sac_p, frame.s)
    near = np.where(frame.p < 0, sac + spine.at(spine.front_fat, frame.s), sac + 4)
    strength = np.clip((np.abs(frame.p) - near) / 6, 0, 1)
    cells = _cells(frame, 9.0, 9.0)
    wobble = np.float32(rng.uniform(0.2, 0.9)) * strength
    s = frame.s + wobble * smooth_noise(rng, frame.s.shape, cells)
    p = frame.p + wobble * smooth_noise(rng, frame.s.shape, cells)
    return Place(
        s=s,
        level=spine.at(spine.level, s),
        behind=p - sac - spine.at(spine.back_fat, s),
        ahead=-p - sac - spine.at(spine.front_fat, s),
        body_p=spine.at(spine.body_p, s),
        depth=frame.depth,
        outer_level=frame.outer_level,
        edge_mm=max(frame.plan.pixel_mm, 0.5),
    )


def build_bones(
    rng: np.random.Generator,
    frame: Frame,
    spine: Spine,
    tissues: Tissues,
    variation: Variation,
) -> tuple[Place, Bones]:
    """Build vertebrae, discs and posterior elements of a station."""
    place = find_places(rng, frame, spine)
    disc_depth, number = _disc_depth_mm(place, spine)
    ahead = place.ahead + _signed_bulge(place, spine, variation)
    waist = 1.3 * np.cos(np.pi * 2 * np.mod(place.level, 1.0))
    shrink = np.maximum(-waist, 0).astype(np.float32)
    body_depth = np.minimum(ahead - shrink * 0.4, place.body_p - ahead - shrink)
    column = _column(place)
    bone_depth = np.minimum(np.minimum(body_depth, -disc_depth), column)
    disc = np.minimum(np.minimum(body_depth + 0.8, disc_depth), column)
    half_width = spine.at(spine.body_u, frame.s)
    grain = TurningField(rng, frame.s.shape, _cells(frame, 3.0, 3.0), 7.0)
    slow = TurningField(rng, frame.s.shape, _cells(frame, 14.0, 14.0), 25.0)
    marrow = np.float32(tissues.marrow) * _marrow_factor(rng, place)
    layers = [
        *_posterior_layers(rng, frame, place, tissues, grain),
        *_lateral_layers(place, spine, tissues, half_width, grain),
        Layer(
            soft_step(body_depth + 1.6, 1.0) * (column > 0),
            tissues.ligament,
            far=half_width,
        ),
        Layer(
            soft_step(bone_depth, place.edge_mm),
            marrow,
            far=half_width,
            texture=grain,
            rough=float(rng.uniform(0.02, 0.16)),
        ),
        Layer(
            soft_line(bone_depth - 0.3, float(rng.uniform(0.7, 1.4))),
            tissues.ligament,
            far=half_width,
        ),
        Layer(
            soft_step(disc, place.edge_mm),
            _disc_value(place, disc_depth, number, tissues, variation),
            far=half_width,
            texture=slow,
            rough=0.12,
        ),
        *_haemangiomas(place, variation, tissues),
    ]
    labels = _labels(place, number, bone_depth, disc)
    return place, Bones(tuple(layers), labels, half_width)


def _cells(frame: Frame, rows_mm: float, columns_mm: float) -> tuple[float, float]:
    return max(rows_mm / frame.plan.pixel_mm, 1.2), max(
        columns_mm / frame.plan.pixel_mm, 1.2
    )


def _signed_bulge(place: Place, spine: Spine, variation: Variation) -> Float32Array:
    near = np.abs(place.ahead) < 6
    bulge = bulge_mm(spine, variation.disc_bulge, place.s)
    return np.where(near, bulge, 0).astype(np.float32)


def _column(place: Place) -> Float32Array:
    """Depth into the column as a whole: from the dens to the sacrum's end."""
    dens = np.where(place.level < 1.0, 11.0 - place.ahead, 99.0)
    top = (place.level - 0.12) * 14
    bottom = (29.0 - place.level) * 18
    return np.asarray(np.minimum(np.minimum(top, bottom), dens), dtype=np.float32)


def _disc_depth_mm(
    place: Place, spine: Spine
) -> tuple[Float32Array, NDArray[np.int32]]:
    """Depth into the nearest disc, and the number of the vertebra above it."""
    nearest = np.clip(np.round(place.level), 1, 29).astype(np.int32)
    edges = np.concatenate([spine.edges, spine.edges[-1] + 22 * np.arange(1, 6)])
    heights = np.concatenate([spine.disc_mm, np.full(6, 1.5)])
    share = np.clip(place.ahead / np.maximum(place.body_p, 1) * 2 - 1, -1.2, 1.2)
    half = heights[nearest - 1] * (0.56 - 0.16 * share**2)
    # Lordotic discs are higher in front.
    half = half * (1 + 0.12 * share)
    away = np.abs(place.s - edges[nearest])
    return (half - away).astype(np.float32), nearest


def _marrow_factor(rng: np.random.Generator, place: Place) -> Float32Array:
    by_level = rng.normal(1, rng.uniform(0.01, 0.08), 40).astype(np.float32)
    numbers = np.clip(place.level, 0, 39).astype(np.int32)
    centre = np.clip(place.ahead / np.maximum(place.body_p, 1), 0, 1) - 0.3
    # The basivertebral vein is a bright or dark wedge at mid-height.
    middle = np.exp(-(((np.mod(place.level, 1.0) - 0.45) / 0.07) ** 2))
    vein = rng.uniform(-0.3, 0.8) * middle * np.clip(0.25 - centre, 0, 0.5)
    return np.asarray(by_level[numbers] * (1 + vein), dtype=np.float32)


def _disc_value(
    place: Place,
    depth: Reals,
    number: NDArray[np.int32],
    tissues: Tissues,
    variation: Variation,
) -> Float32Array:
    wear = variation.disc_wear[np.clip(number, 0, 25)]
    share = np.abs(place.ahead / np.maximum(place.body_p, 1) * 2 - 1)
    nucleus = np.clip(1.7 - 2 * share, 0, 1) * np.clip(depth / 1.5, 0, 1)
    wet = tissues.disc * (1 - wear) + tissues.dry_disc * wear
    rim = tissues.dry_disc * 0.5
    value = rim + (wet - rim) * (0.15 + 0.85 * nucleus)
    return np.asarray(value, dtype=np.float32)


def _labels(
    place: Place,
    number: NDArray[np.int32],
    bone_depth: Reals,
    disc: Reals,
) -> NDArray[np.uint8]:
    vertebra = np.clip(np.floor(place.level) + 1, 1, SACRUM)
    labels = np.where((bone_depth > 0) & (place.level < SACRUM), vertebra, 0)
    is_disc = (disc > 0) & (number >= 2) & (number < SACRUM)
    return np.where(is_disc, number + DISC_OFFSET, labels).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _Process:
    length: float
    thick: float
    slope: float


def _process(level: int, scale: float) -> _Process:
    if level < 1:
        return _Process(6 * scale, 5 * scale, 0.0)
    if level == 1:
        return _Process(22 * scale, 11 * scale, 0.2)
    if level < 7:
        return _Process((12 + 2.6 * (level - 2)) * scale, 6.5 * scale, 0.45)
    if level < 17:
        return _Process(30 * scale, 7 * scale, 1.0 - 0.05 * abs(level - 12))
    if level < 24:
        return _Process(27 * scale, 17 * scale, 0.2)
    return _Process(12 * scale, 15 * scale, 0.3)


def _posterior_layers(
    rng: np.random.Generator,
    frame: Frame,
    place: Place,
    tissues: Tissues,
    grain: TurningField,
) -> list[Layer]:
    spines = np.zeros(frame.s.shape, dtype=np.float32)
    laminae = np.zeros_like(spines)
    scale = float(np.mean(place.body_p) / 22)
    scale = float(np.clip(scale, 0.65, 1.15))
    first = max(int(np.floor(place.level.min())) - 1, 0)
    last = min(int(np.ceil(place.level.max())) + 1, 27)
    for level in range(first, last):
        process = _process(level, scale)
        tilt, start = rng.normal(0, 0.1), 0.62 + rng.normal(0, 0.05)
        along = (place.level - level - start) * _height_mm(place, level)
        along = along - (process.slope + tilt) * np.maximum(place.behind, -2)
        inner = np.minimum(
            process.thick / 2 * rng.uniform(0.85, 1.15) - np.abs(along),
            np.minimum(place.behind - 0.8, process.length - place.behind),
        )
        np.maximum(spines, soft_step(inner, 1.0), out=spines)
        lamina = np.minimum(
            process.thick * 0.45 + 1.5 - np.abs(along),
            np.minimum(place.behind + 0.4, 6.5 * scale - place.behind),
        )
        np.maximum(laminae, soft_step(lamina, 1.0), out=laminae)
    bony = tissues.marrow * float(rng.uniform(0.7, 1.3))
    reach = soft_step(np.minimum(place.behind, 24 * scale - place.behind), 2.0)
    between = float(rng.uniform(0.1, 1.0))
    mixed = tissues.ligament * 2 + (tissues.fat * 0.8 - tissues.ligament * 2) * between
    present = (place.level > 0.3) & (place.level < 26)
    flavum = soft_step(np.minimum(place.behind + 0.5, 3.0 - place.behind), 1.0)
    return [
        Layer(reach * present, mixed, far=3.5, texture=grain, rough=0.35),
        Layer(flavum * present, tissues.ligament, far=9.0),
        Layer(spines * present, bony, far=4.0, texture=grain, rough=0.12),
        Layer(_outline(spines) * present, tissues.ligament, far=4.0),
        Layer(laminae * present, bony, far=11.0, near=3.0, texture=grain, rough=0.15),
        Layer(_outline(laminae) * present, tissues.ligament, far=11.0, near=3.0),
    ]


def _outline(cover: Reals) -> Float32Array:
    return np.asarray(4 * cover * (1 - cover), dtype=np.float32)


def _height_mm(place: Place, level: int) -> float:
    near = np.abs(place.level - level - 0.5) < 0.5
    if not near.any():
        return 20.0
    return float(np.clip(np.ptp(place.s[near]), 10, 45))


def _lateral_layers(
    place: Place,
    spine: Spine,
    tissues: Tissues,
    half_width: Reals,
    grain: TurningField,
) -> list[Layer]:
    phase = np.mod(place.level, 1.0)
    inside = (place.level > 0.4) & (place.level < 26)
    # Beside the canal: pedicles above, foramina with fat and a root below them.
    beside = -(place.ahead + place.behind) / 2
    canal = np.minimum(-place.ahead, -place.behind)
    span = soft_step(canal + 1.0, 1.0) * inside
    pedicle = span * np.clip(1.5 - np.abs(phase - 0.28) / 0.16, 0, 1)
    root = np.hypot((phase - 0.78) * 18, beside * 0 + place.behind + 6.0)
    inner = float(spine.sac_u.max() * 0.75)
    outer = half_width * np.float32(0.95)
    facet_phase = np.mod(place.level + 0.35 - 0.02 * place.behind, 1.0)
    facet = soft_step(np.minimum(place.behind + 7, 9 - place.behind), 2.0) * inside
    joint = np.clip(1 - np.abs(facet_phase - 0.5) / 0.07, 0, 1)
    return [
        Layer(
            facet,
            tissues.marrow * 0.9,
            far=outer + 4,
            near=inner - 1,
            texture=grain,
            rough=0.2,
        ),
        Layer(facet * joint, tissues.ligament, far=outer + 4, near=inner - 1),
        Layer(
            span, tissues.fat * 0.85, far=outer, near=inner, texture=grain, rough=0.2
        ),
        Layer(
            span * soft_step(3.0 - root, 1.0),
            tissues.roots * 0.9,
            far=outer,
            near=inner,
        ),
        Layer(pedicle, tissues.marrow, far=outer, near=inner - 1),
    ]


def _haemangiomas(place: Place, variation: Variation, tissues: Tissues) -> list[Layer]:
    layers = []
    for s, depth, u, radius in variation.haemangiomas:
        away = np.hypot(place.s - s, place.ahead - depth)
        cover = soft_step(radius - away, 1.5)
        cover = cover * (place.ahead > 1) * (place.ahead < place.body_p - 1)
        layers.append(
            Layer(
                cover,
                max(tissues.fluid, tissues.marrow * 1.5) * 0.9,
                far=float(radius),
                centre=float(u),
            )
        )
    return layers
