"""What the lesions of the four diseases look like, with the overlaps they have.

Figures of signs (polar cysts, cap sign, eccentricity, bright spots, length,
columns) follow the literature listed in the project's domain notes, section 6b;
where it gives none they are this simulator's own choice. All are broad on
purpose: no sign belongs to one disease alone.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypedDict

import numpy as np

from spinaldx.records import Disease
from spinaldx.simulation.bodies import Body, Extent, Look, Recipe

# Shares of lesions as bright as fluid, and of those outside of their disease's range.
_AS_FLUID = 0.12
_OUTSIDE = 0.1

Section = tuple[float, float]


def draw_recipe(
    rng: np.random.Generator, disease: Disease, extent: Extent, section: Section
) -> Recipe:
    """Draw one lesion of a disease that reaches over `extent` of the cord.

    Args:
        rng: Source of chance.
        disease: Which of the four.
        extent: From where to where along the canal, mm.
        section: Half of the cord there, front to back and side to side, mm.

    Returns:
        Bodies whose union reaches over the extent.
    """
    return _RECIPES[disease](rng, extent, section)


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _look(
    rng: np.random.Generator, wobble: float, texture: float, wave_mm: float = 12.0
) -> Look:
    rows = []
    for _ in range(4):
        length = wave_mm * rng.uniform(0.5, 1.6)
        direction = rng.standard_normal(3)
        direction /= max(float(np.linalg.norm(direction)), 1e-6)
        k = 2 * np.pi / length * direction
        rows.append((float(k[0]), float(k[1]), float(k[2]), float(rng.uniform(0, 6.3))))
    return Look(tuple(rows), wobble, texture)


def _ratio(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a brightness, mostly within the range, sometimes well outside.

    One lesion in eight is as bright as fluid: heavily weighted sequences show some
    so, and a network that never saw one takes it for fluid.
    """
    kind = rng.random()
    if kind < _AS_FLUID:
        return float(rng.uniform(1.8, 4.2))
    if kind < _AS_FLUID + _OUTSIDE:
        return float(rng.uniform(1.08, 2.4))
    middle, spread = (low + high) / 2, (high - low) / 3.2
    return float(max(rng.normal(middle, spread), 1.07))


def _cyst_ratio(rng: np.random.Generator) -> float:
    return float(rng.uniform(1.8, 4.0))


class _Shape(TypedDict):
    centre_mm: float
    half_mm: float
    p_mm: float
    u_mm: float
    radius_p: float
    radius_u: float


def _cylinder(extent: Extent, section: Section, size: float) -> _Shape:
    low, high = extent
    return {
        "centre_mm": (low + high) / 2,
        "half_mm": (high - low) / 2,
        "p_mm": 0.0,
        "u_mm": 0.0,
        "radius_p": section[0] * size,
        "radius_u": section[1] * size,
    }


def _polar_cysts(
    rng: np.random.Generator, extent: Extent, section: Section, share: float
) -> tuple[list[Body], Extent]:
    """Cysts at the ends of a tumour, and what they leave of its extent."""
    low, high = extent
    length = high - low
    cysts = []
    for is_top in (True, False):
        part = length * rng.uniform(0.12, 0.34)
        if not _chance(rng, share) or part < 4:
            continue
        place = (low, low + part) if is_top else (high - part, high)
        size = rng.uniform(0.35, 0.75)
        body = Body(
            **_cylinder(place, section, size),
            bluntness=rng.uniform(1.6, 2.6),
            margin_mm=rng.uniform(0.4, 1.2),
            ratio=_cyst_ratio(rng),
            look=_look(rng, rng.uniform(0.0, 0.12), 0.05),
            is_sign=True,
        )
        cysts.append(body)
        low, high = (low + part * 0.8, high) if is_top else (low, high - part * 0.8)
    return cysts, (low, high)


def _syrinx(
    rng: np.random.Generator, extent: Extent, section: Section, share: float
) -> list[Body]:
    if not _chance(rng, share):
        return []
    size = rng.uniform(0.12, 0.4)
    body = Body(
        **_cylinder(extent, section, size),
        bluntness=rng.uniform(2, 6),
        margin_mm=0.6,
        ratio=_cyst_ratio(rng),
        look=_look(rng, rng.uniform(0.05, 0.25), 0.05),
        is_sign=True,
    )
    return [body]


def _inner_cysts(
    rng: np.random.Generator, extent: Extent, section: Section, share: float
) -> list[Body]:
    bodies = []
    for _ in range(int(rng.integers(1, 4)) if _chance(rng, share) else 0):
        length = (extent[1] - extent[0]) * rng.uniform(0.08, 0.3)
        start = rng.uniform(extent[0], extent[1] - length)
        place = _cylinder((start, start + length), section, rng.uniform(0.2, 0.55))
        place["p_mm"] = section[0] * rng.uniform(-0.4, 0.4)
        place["u_mm"] = section[1] * rng.uniform(-0.4, 0.4)
        bodies.append(
            Body(
                **place,
                bluntness=2.0,
                margin_mm=rng.uniform(0.4, 1.5),
                ratio=_cyst_ratio(rng),
                look=_look(rng, 0.1, 0.1),
                is_sign=True,
                follows=1.0,
            )
        )
    return bodies


def _caps(
    rng: np.random.Generator, extent: Extent, section: Section, share: float
) -> list[Body]:
    bodies = []
    for end in extent if _chance(rng, share) else ():
        thickness = rng.uniform(2.0, 5.0)
        bodies.append(
            Body(
                **_cylinder(
                    (end - thickness / 2, end + thickness / 2),
                    section,
                    rng.uniform(0.4, 0.9),
                ),
                bluntness=2.0,
                margin_mm=0.8,
                ratio=float(rng.uniform(0.15, 0.55)),
                look=_look(rng, 0.15, 0.2),
                is_sign=True,
                pushes=False,
            )
        )
    return bodies


def _oedema(
    rng: np.random.Generator, extent: Extent, section: Section, solid: float
) -> list[Body]:
    body = Body(
        **_cylinder(extent, section, rng.uniform(0.55, 0.95)),
        bluntness=rng.uniform(1.8, 4),
        margin_mm=rng.uniform(1.0, 3.5),
        ratio=float(1 + max(solid - 1, 0.2) * rng.uniform(0.4, 1.0)),
        look=_look(rng, rng.uniform(0.05, 0.25), 0.15),
        is_sign=True,
        may_fade=True,
    )
    return [body]


def _shorter(rng: np.random.Generator, extent: Extent, most: float) -> Extent:
    length = extent[1] - extent[0]
    return (
        extent[0] + length * rng.uniform(0, most),
        extent[1] - length * rng.uniform(0, most),
    )


class _Bulk(TypedDict):
    rim_mm: float
    taper_mm: float
    most_swelling: float


def _tumour_bulk(rng: np.random.Generator) -> _Bulk:
    return {
        "rim_mm": float(rng.uniform(0.1, 1.1)),
        "taper_mm": float(rng.uniform(4, 14)),
        "most_swelling": float(rng.uniform(2.0, 2.8)),
    }


def _ependymoma(rng: np.random.Generator, extent: Extent, section: Section) -> Recipe:
    cysts, core = _polar_cysts(rng, extent, section, 0.55)
    ratio = _ratio(rng, 1.45, 2.4)
    bodies = []
    if _chance(rng, 0.7):
        bodies += _oedema(rng, extent, section, ratio)
        core = _shorter(rng, core, 0.2)
    place = _cylinder(core, section, rng.uniform(0.75, 1.05))
    # Central in all of 59 and of 47 (section 6b); a few less so for breadth.
    eccentric = 0.35 if _chance(rng, 0.1) else 0.15
    place["p_mm"] = section[0] * rng.uniform(-eccentric, eccentric)
    place["u_mm"] = section[1] * rng.uniform(-eccentric, eccentric)
    clear = _chance(rng, 0.72)
    solid = Body(
        **place,
        bluntness=rng.uniform(2.0, 4.5),
        margin_mm=rng.uniform(0.4, 1.4) if clear else rng.uniform(1.4, 4.0),
        ratio=ratio,
        look=_look(rng, rng.uniform(0.02, 0.2), rng.uniform(0.05, 0.5), 9.0),
        follows=1.0,
        may_fade=True,
    )
    bodies += [solid, *cysts]
    bodies += _inner_cysts(rng, core, section, 0.22)
    bodies += _syrinx(rng, extent, section, 0.14)
    bodies += _caps(rng, core, section, 0.29)
    return Recipe(tuple(bodies), **_tumour_bulk(rng))


def _astrocytoma(rng: np.random.Generator, extent: Extent, section: Section) -> Recipe:
    cysts, core = _polar_cysts(rng, extent, section, 0.22)
    ratio = _ratio(rng, 1.75, 2.85)
    bodies = _oedema(rng, extent, section, ratio) if _chance(rng, 0.65) else []
    if bodies:
        core = _shorter(rng, core, 0.22)
    clear = _chance(rng, 0.3)
    far = rng.uniform(0.3, 0.7) if _chance(rng, 0.6) else rng.uniform(0.0, 0.25)
    turn = rng.uniform(0, 2 * np.pi)
    side = (
        section[0] * far * float(np.sin(turn)),
        section[1] * far * float(np.cos(turn)),
    )
    for lobe in _lobes(rng, core):
        place = _cylinder(lobe, section, rng.uniform(0.55, 1.0))
        place["p_mm"] = side[0] * rng.uniform(0.6, 1.3)
        place["u_mm"] = side[1] * rng.uniform(0.6, 1.3)
        bodies.append(
            Body(
                **place,
                bluntness=rng.uniform(1.6, 3.0),
                margin_mm=rng.uniform(0.5, 1.4) if clear else rng.uniform(1.4, 4.5),
                ratio=ratio * float(np.clip(rng.normal(1, 0.07), 0.85, 1.2)),
                look=_look(rng, rng.uniform(0.08, 0.32), rng.uniform(0.15, 0.7), 9.0),
                follows=1.0,
                may_fade=True,
            )
        )
    bodies += cysts
    bodies += _inner_cysts(rng, core, section, 0.35)
    bodies += _syrinx(rng, extent, section, 0.2)
    bodies += _caps(rng, core, section, 0.07)
    return Recipe(tuple(bodies), **_tumour_bulk(rng))


def _lobes(rng: np.random.Generator, extent: Extent) -> list[Extent]:
    low, high = extent
    length = high - low
    if length < 15 or _chance(rng, 0.45):
        return [extent]
    cut = low + length * rng.uniform(0.35, 0.65)
    overlap = length * rng.uniform(0.1, 0.25)
    return [(low, cut + overlap), (cut - overlap, high)]


def _ms(rng: np.random.Generator, extent: Extent, section: Section) -> Recipe:
    is_central = _chance(rng, 0.2)
    place = _cylinder(extent, section, rng.uniform(0.35, 0.6))
    column = rng.choice(3, p=(0.59, 0.35, 0.06))
    far = rng.uniform(0.1, 0.35) if is_central else rng.uniform(0.4, 0.8)
    if column == 0:
        place["u_mm"] = section[1] * far * rng.choice((-1, 1))
        place["p_mm"] = section[0] * rng.uniform(-0.35, 0.5)
    else:
        place["p_mm"] = section[0] * far * (1 if column == 1 else -1)
        place["u_mm"] = section[1] * rng.uniform(-0.35, 0.35)
    bodies = [
        Body(
            **place,
            bluntness=rng.uniform(1.6, 3.2),
            margin_mm=float(rng.choice((rng.uniform(0.4, 1.2), rng.uniform(1, 2.6)))),
            ratio=_ratio(rng, *_ms_range(rng)),
            look=_look(rng, rng.uniform(0.03, 0.22), rng.uniform(0.05, 0.35)),
            pushes=_chance(rng, 0.3),
            may_fade=True,
        )
    ]
    if _chance(rng, 0.06):
        bodies += _spots(rng, extent, section)
    swelling = rng.uniform(1.0, 1.12) if _chance(rng, 0.25) else 1.0
    return Recipe(tuple(bodies), 0.2, float(rng.uniform(3, 8)), float(swelling))


def _ms_range(rng: np.random.Generator) -> tuple[float, float]:
    # Most of the plaques can hardly be seen on T2w (AJNR 2016, section 6b). The others
    # are drawn brighter than the 1.2 to 1.6 of the literature: margins and thick slices
    # take a part of it away.
    return (1.06, 1.24) if _chance(rng, 0.62) else (1.4, 1.8)


def _nmosd(rng: np.random.Generator, extent: Extent, section: Section) -> Recipe:
    is_peripheral = _chance(rng, 0.22)
    place = _cylinder(extent, section, rng.uniform(0.5, 0.85))
    off = rng.uniform(0.3, 0.65) if is_peripheral else rng.uniform(0, 0.25)
    turn = rng.uniform(0, 2 * np.pi)
    place["p_mm"] = section[0] * off * float(np.sin(turn))
    place["u_mm"] = section[1] * off * float(np.cos(turn))
    bodies = [
        Body(
            **place,
            bluntness=rng.uniform(1.6, 4.0),
            margin_mm=float(rng.choice((rng.uniform(0.5, 1.4), rng.uniform(1.2, 3.5)))),
            ratio=_ratio(rng, 1.25, 1.95),
            look=_look(rng, rng.uniform(0.05, 0.28), rng.uniform(0.1, 0.45)),
            may_fade=True,
        )
    ]
    if _chance(rng, 0.45):
        bodies += _spots(rng, extent, section)
    swollen = _chance(rng, 0.55)
    swelling = rng.uniform(1.08, 1.45) if swollen else rng.uniform(1.0, 1.08)
    return Recipe(
        tuple(bodies),
        float(rng.uniform(0.2, 1.0)),
        float(rng.uniform(4, 12)),
        float(swelling),
    )


def _spots(rng: np.random.Generator, extent: Extent, section: Section) -> list[Body]:
    bodies = []
    for _ in range(int(rng.integers(1, 4))):
        length = min(rng.uniform(4, 14), 0.8 * (extent[1] - extent[0]))
        start = rng.uniform(extent[0], extent[1] - length)
        place = _cylinder((start, start + length), section, rng.uniform(0.15, 0.35))
        place["p_mm"] = section[0] * rng.uniform(-0.3, 0.3)
        place["u_mm"] = section[1] * rng.uniform(-0.4, 0.4)
        bodies.append(
            Body(
                **place,
                bluntness=2.0,
                margin_mm=rng.uniform(0.4, 1.2),
                ratio=float(rng.uniform(1.7, 2.8)),
                look=_look(rng, 0.1, 0.1),
                is_sign=True,
                pushes=False,
            )
        )
    return bodies


_RECIPES: Mapping[Disease, Callable[[np.random.Generator, Extent, Section], Recipe]] = (
    MappingProxyType(
        {
            Disease.ASTROCYTOMA: _astrocytoma,
            Disease.EPENDYMOMA: _ependymoma,
            Disease.MS: _ms,
            Disease.NMOSD: _nmosd,
        }
    )
)
