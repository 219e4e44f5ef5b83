"""The bodies that a lesion is made of, before they are scaled and painted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

# Share of lesions whose ends fade along the cord, and over how much of half the length.
_FADING = 0.35
_FADE = (0.2, 1.0)

Extent = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """A smooth random function and how much it moves surface and brightness.

    Attributes:
        waves: Rows of wave numbers along s, p, u (1/mm) and a phase.
        wobble: Share of the radius by which the surface moves.
        texture: Share of the contrast by which the brightness varies.
    """

    waves: tuple[tuple[float, float, float, float], ...]
    wobble: float
    texture: float


@dataclass(frozen=True, slots=True)
class Body:
    """One soft body of a lesion, in cord coordinates.

    Attributes:
        centre_mm: Middle along the canal.
        half_mm: Half its length.
        p_mm: Behind the cord's centre.
        u_mm: Left of the cord's centre.
        radius_p: Half its section from front to back, mm.
        radius_u: Half its section from side to side, mm.
        bluntness: 1.5 pointed, 2 an ellipsoid, 6 a cylinder.
        margin_mm: Width over which it fades at its surface.
        ratio: Brightness relative to normal cord.
        look: Surface and texture.
        pushes: Whether the cord swells to make room for it.
        follows: 1 when its offset grows with its section, 0 when it stays.
        is_sign: Whether it is a sign (cyst, cap, oedema, bright spot), not the lesion
            itself.
        may_fade: Whether its ends can fade along the canal: tissue, not fluid or blood.
        fade_mm: Length over which each end fades, half of it beyond `half_mm`.
    """

    centre_mm: float
    half_mm: float
    p_mm: float
    u_mm: float
    radius_p: float
    radius_u: float
    bluntness: float
    margin_mm: float
    ratio: float
    look: Look
    pushes: bool = True
    follows: float = 0.0
    is_sign: bool = False
    may_fade: bool = False
    fade_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """One lesion before its sections are scaled to the planned volume.

    Attributes:
        bodies: In the order in which they are painted.
        rim_mm: Cord tissue left around bodies that push.
        taper_mm: How gently the swelling ends.
        most_swelling: Widest cord relative to normal.
    """

    bodies: tuple[Body, ...]
    rim_mm: float
    taper_mm: float
    most_swelling: float


def without_signs(recipe: Recipe) -> Recipe:
    """Leave the lesion itself, drawn out to where the signs reached along the canal.

    Args:
        recipe: One lesion.

    Returns:
        The bodies that are no signs, at least one.
    """
    kept = [body for body in recipe.bodies if not body.is_sign]
    low, high = _reach(recipe.bodies)
    old_low, old_high = _reach(kept)
    scale = (high - low) / (old_high - old_low)
    drawn_out = (
        replace(
            body,
            centre_mm=low + (body.centre_mm - old_low) * scale,
            half_mm=body.half_mm * scale,
        )
        for body in kept
    )
    return replace(recipe, bodies=tuple(drawn_out))


def with_fading_ends(rng: np.random.Generator, recipe: Recipe) -> Recipe:
    """Let the ends of some lesions fade along the canal, whatever their disease.

    Args:
        rng: Source of chance; asked for two numbers.
        recipe: One lesion.

    Returns:
        The recipe, in about one of three cases with bodies that fade.
    """
    fades, share = rng.random() < _FADING, rng.uniform(*_FADE)
    if not fades:
        return recipe
    bodies = (
        replace(body, fade_mm=share * body.half_mm) if body.may_fade else body
        for body in recipe.bodies
    )
    return replace(recipe, bodies=tuple(bodies))


def _reach(bodies: Sequence[Body]) -> Extent:
    return (
        min(body.centre_mm - body.half_mm for body in bodies),
        max(body.centre_mm + body.half_mm for body in bodies),
    )
