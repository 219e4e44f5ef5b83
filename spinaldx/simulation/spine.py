"""A patient's spine: its curve, its levels, and how thick things are along it.

Everything is a function of ``s``, the way along the spinal canal in mm: 0 at the
top of C1, growing towards the feet, negative in the head. Across the canal, ``p``
grows to the back and ``u`` to the left, both in mm from the canal's centre.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from spinaldx.records import Float32Array
from spinaldx.simulation.fields import Reals
from spinaldx.simulation.levels import VERTEBRAE

STEP_MM = 0.5
TOP_MM = -110.0
BOTTOM_MM = 740.0

# The cord's label begins here: with the medulla, as in public cord masks.
CORD_TOP_MM = -22.0

# Height of a vertebra with the disc below it, adults (docs: section 6c).
_LEVEL_MM = np.array(
    [14, 23, *[17] * 5, *np.linspace(20, 27, 12), *np.linspace(33, 36, 5), 34]
)

# Anchors: level coordinate (0 = top of C1, 7 = top of T1, 19 = top of L1), mm.
_CORD_AP = ((-1, 10.5), (0, 9.8), (1.5, 8.8), (3.5, 8.7), (6.5, 7.5), (9, 6.6))
_CORD_AP_LOW = ((13, 6.3), (16.5, 6.7), (18, 8.2), (19, 7.6))
_CORD_LR = ((-1, 13), (0, 12), (1.5, 12.4), (3.5, 13.8), (4.5, 13.9), (6.5, 11.6))
_CORD_LR_LOW = ((9, 9.2), (13, 8.4), (16.5, 9.0), (18, 9.8), (19, 8.6))
_SAC_AP = ((-1, 20), (0, 18), (1.5, 15.5), (3.5, 13.0), (6.5, 12.8), (9, 12.6))
_SAC_AP_LOW = ((13, 12.6), (17, 14), (19, 15.5), (22, 15), (24, 13), (26, 7))
_SAC_LR = ((-1, 26), (0, 24), (3.5, 21), (6.5, 20), (10, 16), (14, 15.5), (18, 19))
_SAC_LR_LOW = ((22, 21), (24, 19), (26, 10))
_FRONT_FAT = ((0, 1.0), (18, 1.2), (22, 2.2), (24.5, 6), (26, 8))
_BACK_FAT = ((0, 1.2), (6, 1.4), (9, 2.5), (13, 3.5), (18, 3.5), (22, 4.5), (26, 5))
_BODY_AP = ((1, 13), (2, 15.5), (6, 16.5), (8, 17), (12, 22), (18, 29), (20, 33))
_BODY_AP_LOW = ((24, 35), (25, 30), (27, 18))
_BODY_LR = ((1, 16), (3, 20), (6, 25), (8, 27), (13, 28), (18, 38), (22, 46), (26, 54))
_DISC_MM = ((1, 0.5), (2, 4.5), (6, 5), (8, 4), (13, 4.5), (18, 7), (21, 10), (24, 11))

# Angle of the canal against the vertical, degrees, positive = to the front on the
# way down, and how much it varies from person to person.
_ANGLES = (
    (-6.0, -14.0, 8.0),
    (-2.0, -6.0, 8.0),
    (1.0, 4.0, 8.0),
    (3.5, 6.0, 9.0),
    (5.5, -4.0, 9.0),
    (7.5, -18.0, 10.0),
    (9.5, -20.0, 9.0),
    (12.5, -8.0, 6.0),
    (15.5, 4.0, 5.0),
    (18.0, 11.0, 6.0),
    (20.5, 10.0, 7.0),
    (22.5, -4.0, 8.0),
    (24.3, -24.0, 9.0),
    (26.0, -48.0, 9.0),
    (29.0, -55.0, 9.0),
)


@dataclass(frozen=True, slots=True, eq=False)
class Spine:
    """The spine of one patient, sampled every 0.5 mm along the canal.

    Attributes:
        s: Way along the canal, (N,) float32 mm.
        y: Position to the front, (N,) float32 mm.
        z: Position to the head, (N,) float32 mm.
        x: Sideways shift (scoliosis), (N,) float32 mm.
        edges: Where each vertebra's level begins and S1 ends, (26,) mm.
        level: Level coordinate, 0 at the top of C1, (N,) float32.
        cord_p: Half of the cord from front to back, (N,) float32 mm; 0 below it.
        cord_u: Half of the cord from side to side, (N,) float32 mm.
        cord_shift: Cord centre behind the canal's centre, (N,) float32 mm.
        sac_p: Half of the dural sac from front to back, (N,) float32 mm.
        sac_u: Half of the dural sac from side to side, (N,) float32 mm.
        front_fat: Epidural fat before the sac, (N,) float32 mm.
        back_fat: Epidural fat behind the sac, (N,) float32 mm.
        body_p: Vertebral bodies from front to back, (N,) float32 mm.
        body_u: Half of the bodies from side to side, (N,) float32 mm.
        disc_mm: Height of the disc below each vertebra, (25,) mm.
        conus_mm: End of the cord.
        scale: Size of this person relative to an adult man.
    """

    s: Float32Array
    y: Float32Array
    z: Float32Array
    x: Float32Array
    edges: Float32Array
    level: Float32Array
    cord_p: Float32Array
    cord_u: Float32Array
    cord_shift: Float32Array
    sac_p: Float32Array
    sac_u: Float32Array
    front_fat: Float32Array
    back_fat: Float32Array
    body_p: Float32Array
    body_u: Float32Array
    disc_mm: Float32Array
    conus_mm: float
    scale: float

    def at(self, table: Float32Array, s: Reals) -> Float32Array:
        """Read a table of this spine at any places, linearly between samples."""
        place = np.clip((s - TOP_MM) / STEP_MM, 0, len(table) - 1.001)
        below = place.astype(np.int32)
        share = (place - below).astype(np.float32)
        low = table[below]
        return np.asarray(low + share * (table[below + 1] - low), dtype=np.float32)


def level_at(edges: Float32Array, s: float) -> float:
    """Return the level coordinate of a place: 0 at the top of C1, 7 at T1."""
    return float(_level_coordinates(edges, np.array([s], dtype=np.float32))[0])


def draw_spine(rng: np.random.Generator, age: int, sex: str) -> Spine:
    """Draw a spine for a person of that age and sex."""
    scale = _body_scale(rng, age, sex)
    s = np.arange(TOP_MM, BOTTOM_MM, STEP_MM, dtype=np.float32)
    lengths = _LEVEL_MM * scale * rng.normal(1.0, 0.03, len(_LEVEL_MM))
    edges = np.concatenate([[0.0], np.cumsum(lengths)]).astype(np.float32)
    level = _level_coordinates(edges, s)
    y, z, x = _curve(rng, s, level)
    conus_level = float(np.clip(rng.normal(19.8, 0.5), 18.6, 21.2))
    conus_mm = float(np.interp(conus_level, np.arange(26), edges))
    cord_size = 0.35 + 0.65 * scale
    cord_p, cord_u = _cord_tables(rng, level, cord_size)
    taper = np.clip((conus_mm - s) / rng.uniform(18, 40), 0, 1) ** 0.7
    sac_p, sac_u = _sac_tables(rng, level, cord_size)
    disc_scale = scale * rng.uniform(0.75, 1.15)
    return Spine(
        s=s,
        y=y,
        z=z,
        x=x,
        edges=edges,
        level=level,
        cord_p=(cord_p * taper).astype(np.float32),
        cord_u=(cord_u * taper).astype(np.float32),
        cord_shift=_cord_shift(rng, s, sac_p - cord_p * taper),
        sac_p=sac_p,
        sac_u=sac_u,
        front_fat=_table(level, _FRONT_FAT) * np.float32(rng.uniform(0.6, 1.4)),
        back_fat=_back_fat(rng, level),
        body_p=_table(level, _BODY_AP + _BODY_AP_LOW) * np.float32(scale),
        body_u=_table(level, _BODY_LR) * np.float32(0.5 * scale),
        disc_mm=_table(np.arange(1.0, 26.0), _DISC_MM) * np.float32(disc_scale),
        conus_mm=conus_mm,
        scale=scale,
    )


def _body_scale(rng: np.random.Generator, age: int, sex: str) -> float:
    adult = 1.0 if sex == "M" else 0.94
    grown = float(np.interp(age, (3, 8, 13, 17), (0.62, 0.76, 0.9, 1.0)))
    return adult * grown * float(rng.normal(1.0, 0.04))


def _table(level: Reals, anchors: tuple[tuple[float, float], ...]) -> Float32Array:
    places, values = zip(*anchors, strict=True)
    return np.asarray(np.interp(level, places, values), dtype=np.float32)


def _level_coordinates(edges: Float32Array, s: Float32Array) -> Float32Array:
    numbers = np.arange(len(edges), dtype=np.float32)
    # 18 mm a level outside of the vertebrae, so that tables go on smoothly.
    places = np.concatenate([[edges[0] - 180], edges, [edges[-1] + 180]])
    levels = np.concatenate([[-10], numbers, [len(VERTEBRAE) + 10]])
    return np.asarray(np.interp(s, places, levels), dtype=np.float32)


def _curve(
    rng: np.random.Generator, s: Float32Array, level: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    places, means, spreads = (np.array(row) for row in zip(*_ANGLES, strict=True))
    strength = rng.uniform(0.3, 2.3)
    drawn = means * strength + spreads * rng.standard_normal(len(means)) * 0.8
    angle = np.interp(level, places, np.deg2rad(drawn))
    angle = gaussian_filter1d(angle, 18 / STEP_MM, mode="nearest")
    angle = np.clip(angle, -1.05, 0.8)
    y = np.cumsum(np.sin(angle)) * STEP_MM
    z = -np.cumsum(np.cos(angle)) * STEP_MM
    scoliosis = rng.normal(0, 5) if rng.random() < 0.25 else rng.normal(0, 1.2)
    waves = np.sin(s / rng.uniform(45, 110) + rng.uniform(0, 6.3))
    x = scoliosis * waves + rng.normal(0, 0.012) * (s - 250)
    return y.astype(np.float32), z.astype(np.float32), x.astype(np.float32)


def _smooth_factor(rng: np.random.Generator, n: int, spread: float) -> Float32Array:
    knots = max(n // 60, 2)
    coarse = rng.standard_normal(knots + 1) * spread
    values = np.interp(np.arange(n), np.linspace(0, n - 1, knots + 1), coarse)
    return (1 + gaussian_filter1d(values, 14, mode="nearest")).astype(np.float32)


def _cord_tables(
    rng: np.random.Generator, level: Float32Array, size: float
) -> tuple[Float32Array, Float32Array]:
    thin = rng.uniform(0.72, 0.9) if rng.random() < 0.12 else rng.normal(1.0, 0.06)
    half = np.float32(0.5 * size * thin)
    cord_p = _table(level, _CORD_AP + _CORD_AP_LOW) * half
    cord_u = _table(level, _CORD_LR + _CORD_LR_LOW) * half
    bumps = _smooth_factor(rng, len(level), 0.05)
    return cord_p * bumps, cord_u * bumps


def _sac_tables(
    rng: np.random.Generator, level: Float32Array, size: float
) -> tuple[Float32Array, Float32Array]:
    width = np.float32(0.5 * size * np.clip(rng.normal(1.07, 0.12), 0.82, 1.4))
    bumps = _smooth_factor(rng, len(level), 0.06)
    sac_p = _table(level, _SAC_AP + _SAC_AP_LOW) * width * bumps
    sac_u = _table(level, _SAC_LR + _SAC_LR_LOW) * width * bumps
    return sac_p, sac_u


def _back_fat(rng: np.random.Generator, level: Float32Array) -> Float32Array:
    """Triangles of fat behind the sac, between the laminae."""
    phase = np.mod(level + rng.uniform(-0.08, 0.08), 1.0)
    triangle = 1 - np.abs(2 * phase - 1)
    least = rng.uniform(0.1, 0.5)
    height = least + (1 - least) * (1 - triangle) ** rng.uniform(0.8, 1.8)
    by_level = rng.uniform(0.6, 1.4, 60)[np.clip(level + 12, 0, 59).astype(int)]
    by_level = gaussian_filter1d(by_level, 4 / STEP_MM)
    amount = rng.uniform(0.5, 1.6)
    fat = _table(level, _BACK_FAT) * height * by_level * amount
    return np.asarray(np.maximum(fat, 0.4), dtype=np.float32)


def _cord_shift(
    rng: np.random.Generator, s: Float32Array, room: Float32Array
) -> Float32Array:
    knots = rng.uniform(-0.75, 0.6, len(s) // 110 + 2)
    share = np.interp(np.arange(len(s)), np.linspace(0, len(s), len(knots)), knots)
    share = gaussian_filter1d(share, 30, mode="nearest")
    return (np.maximum(room, 0) * share).astype(np.float32)
