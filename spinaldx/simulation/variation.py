"""Harmless differences between people that a network may take for lesions."""

from dataclasses import dataclass

import numpy as np

from spinaldx.records import Float32Array
from spinaldx.simulation.bodies import Look
from spinaldx.simulation.fields import Reals, soft_step
from spinaldx.simulation.spine import Spine

_LEVELS = 26


@dataclass(frozen=True, slots=True, eq=False)
class Variation:
    """One person's variants.

    Attributes:
        disc_bulge: Disc into the canal below each vertebra, (26,) float32 mm.
        flavum_bulge: Yellow ligament into the canal there, (26,) float32 mm.
        disc_wear: 0 hydrated to 1 black, (26,) float32.
        dura: Visibility of the dura, 0 to 1.
        front_fat: Fat share of the space before the sac.
        back_fat: Fat share of the space behind it.
        rootlets: Visibility of rootlets beside the cord.
        flow: Strength of flow voids in the fluid, 0 to 1.
        flow_look: Their shape.
        cord_look: Slow changes of the cord's brightness.
        stripe_look: Stripes along the cord: its tracts, and ringing at its edges.
        central_canal_mm: Width of a visible central canal; 0 when not visible.
        central_canal_at: Its middle along the canal, mm.
        central_canal_half_mm: Half its length.
        central_canal_share: How much of it is fluid.
        cauda: Rows of start and end place and radius of the roots in the sac.
        haemangiomas: Rows of s, depth into the body, u, radius, mm.
    """

    disc_bulge: Float32Array
    flavum_bulge: Float32Array
    disc_wear: Float32Array
    dura: float
    front_fat: float
    back_fat: float
    rootlets: float
    flow: float
    flow_look: Look
    cord_look: Look
    stripe_look: Look
    central_canal_mm: float
    central_canal_at: float
    central_canal_half_mm: float
    central_canal_share: float
    cauda: Float32Array
    haemangiomas: Float32Array

    def cauda_share(
        self, below: Reals, p: Reals, u: Reals, edge_mm: float
    ) -> Float32Array:
        """Coverage by the roots of the cauda equina.

        Args:
            below: Way below the conus, mm.
            p: Place from front (-1) to back (1) of the sac.
            u: Place from right (-1) to left (1) of the sac.
            edge_mm: Softness of the strands' edges.
        """
        share = np.zeros(below.shape, dtype=np.float32)
        way = np.clip((below + 45) / 160, 0, 1)
        for p_top, u_top, p_end, u_end, radius, leaves in self.cauda:
            p_here = p_top + (p_end - p_top) * way
            u_here = u_top + (u_end - u_top) * way
            # The sac is about 7 mm by 9 mm in its halves.
            distance = np.hypot((p - p_here) * 7, (u - u_here) * 9)
            strand = soft_step(radius - distance, edge_mm + 0.3)
            np.maximum(share, strand * (below < leaves), out=share)
        return share


def bulge_mm(spine: Spine, bulges: Float32Array, s: Reals) -> Float32Array:
    """How far things bulge into the canal at places along it."""
    level = spine.at(spine.level, s)
    nearest = np.clip(np.round(level), 0, _LEVELS - 1).astype(np.int32)
    away = (level - nearest) * np.float32(18)
    return np.asarray(bulges[nearest] * np.exp(-((away / 3.5) ** 2)), dtype=np.float32)


def draw_variation(rng: np.random.Generator, spine: Spine, age: int) -> Variation:
    """Draw the variants of a person of that age."""
    worn = float(np.interp(age, (10, 30, 80), (0.05, 0.25, 0.75)))
    wear = np.clip(rng.normal(worn, 0.28, _LEVELS), 0, 1)
    bulge = np.maximum(rng.normal(0.2, 0.5, _LEVELS) + 1.1 * wear, 0)
    bulge[rng.random(_LEVELS) < 0.05 + 0.06 * worn] += rng.uniform(0.8, 3.0)
    bulge[:2] = 0
    flavum = np.maximum(rng.normal(0.1, 0.4, _LEVELS) + 0.8 * wear, 0)
    shows_canal = rng.random() < 0.16
    shows_flow = rng.random() < 0.5
    return Variation(
        disc_bulge=bulge.astype(np.float32),
        flavum_bulge=flavum.astype(np.float32),
        disc_wear=wear.astype(np.float32),
        dura=float(rng.uniform(0.2, 1.0)),
        front_fat=float(rng.uniform(0.1, 0.9)),
        back_fat=float(rng.uniform(0.4, 1.0)),
        rootlets=float(rng.uniform(0, 0.5)),
        flow=float(rng.uniform(0.2, 0.9)) if shows_flow else 0.0,
        flow_look=_draw_look(rng, 0.0, rng.uniform(14, 40)),
        cord_look=_draw_look(rng, abs(rng.normal(0, 0.05)), rng.uniform(20, 60)),
        stripe_look=_draw_stripes(rng),
        central_canal_mm=float(rng.uniform(0.4, 1.6)) if shows_canal else 0.0,
        central_canal_at=float(rng.uniform(30, max(spine.conus_mm - 30, 31))),
        central_canal_half_mm=float(rng.uniform(8, 120)),
        central_canal_share=float(rng.uniform(0.1, 0.6)),
        cauda=_draw_cauda(rng),
        haemangiomas=_draw_haemangiomas(rng, spine),
    )


def _draw_look(rng: np.random.Generator, texture: float, wave_mm: float) -> Look:
    rows = []
    for _ in range(4):
        k_s = 2 * np.pi / (wave_mm * rng.uniform(0.6, 1.6))
        k_p, k_u = rng.normal(0, 2 * np.pi / 25, 2)
        rows.append((float(k_s), float(k_p), float(k_u), float(rng.uniform(0, 6.3))))
    return Look(tuple(rows), 0.0, texture)


def _draw_stripes(rng: np.random.Generator) -> Look:
    rows = []
    for _ in range(3):
        k_s = 2 * np.pi / rng.uniform(50, 300)
        k_p = 2 * np.pi / rng.uniform(2.2, 6.0)
        k_u = rng.normal(0, 2 * np.pi / 9)
        rows.append((float(k_s), float(k_p), float(k_u), float(rng.uniform(0, 6.3))))
    # Fine 3-D scans show the tracts plainly.
    is_plain = rng.random() < 0.2
    strength = rng.uniform(0.08, 0.22) if is_plain else abs(rng.normal(0, 0.05))
    return Look(tuple(rows), 0.0, float(strength))


def _draw_cauda(rng: np.random.Generator) -> Float32Array:
    count = int(rng.integers(12, 22))
    sinks = rng.uniform(0.0, 0.75)
    rows = np.stack(
        [
            rng.normal(0, 0.35, count),
            rng.normal(0, 0.4, count),
            np.clip(rng.normal(sinks, 0.28, count), -0.7, 0.9),
            rng.uniform(-0.8, 0.8, count),
            rng.uniform(0.45, 1.0, count),
            rng.uniform(30, 200, count),
        ],
        axis=1,
    )
    return rows.astype(np.float32)


def _draw_haemangiomas(rng: np.random.Generator, spine: Spine) -> Float32Array:
    count = int(rng.integers(1, 4)) if rng.random() < 0.25 else 0
    rows = np.stack(
        [
            rng.uniform(20, float(spine.edges[-1]), count),
            rng.uniform(3, 16, count),
            rng.uniform(-10, 10, count),
            rng.uniform(2.5, 9, count),
        ],
        axis=1,
    )
    return rows.astype(np.float32)
