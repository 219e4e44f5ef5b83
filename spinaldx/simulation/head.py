"""The head as far as cervical images show it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.simulation.fields import Reals, TurningField, soft_step
from spinaldx.simulation.frame import Frame
from spinaldx.simulation.layers import Layer
from spinaldx.simulation.tissues import Tissues


def build_head(rng: np.random.Generator, frame: Frame, tissues: Tissues) -> list[Layer]:
    """Build skull, fluid, brainstem, cerebellum and brain, painted in this order.

    Returns:
        Nothing when the station ends below the skull.
    """
    if float(frame.s.min()) > -2:
        return []
    s, p = frame.s, frame.p
    pixel = frame.plan.pixel_mm
    folds = TurningField(rng, s.shape, (2.6 / pixel, 4.5 / pixel), 6.0)
    gyri = TurningField(rng, s.shape, (7 / pixel, 7 / pixel), 9.0)
    tonsils = rng.normal(-9, 4)
    size = rng.uniform(0.92, 1.08)
    floor = 4 * np.sin(p / 17)
    low, high = (-38.0, 20.0), (-102.0, 8.0)
    outside = (s < floor) & (p > 0)
    bony = (s < floor - 2) & (p > -30)
    cerebellum = _Ball((tonsils - 30, 31), (33, 29), 46)
    opening = soft_step(11 - np.abs(p - 1), 2.0) * (s < 2) * (s > -36)
    clivus = soft_step(5.5 - np.abs(p + 20 + 0.42 * (s + 25)), 1.0)
    clivus = clivus * (s > -55) * (s < -4)
    brain, small = tissues.brain, tissues.cerebellum
    scalp = (
        _Ball(low, (54 * size, 62 * size), 78),
        _Ball(high, (80 * size, 104 * size), 88),
    )
    skull = (
        _Ball(low, (45 * size, 51 * size), 68),
        _Ball(high, (70 * size, 94 * size), 78),
    )
    return [
        *(ball.layer(s, p, tissues.fat * 0.8, (gyri, 0.1), outside) for ball in scalp),
        *(ball.layer(s, p, tissues.muscle, (gyri, 0.4), outside) for ball in scalp[:1]),
        *(ball.layer(s, p, tissues.ligament, None, bony) for ball in skull),
        _Ball(low, (37 * size, 43 * size), 60).layer(s, p, tissues.csf),
        Layer(opening, tissues.csf, far=15.0),
        _Ball(high, (62 * size, 86 * size), 70).layer(s, p, tissues.csf * 0.8),
        _Ball(high, (57 * size, 82 * size), 66).layer(s, p, small, (gyri, 0.2)),
        cerebellum.layer(s, p, small, (folds, 0.15)),
        _Ball((-60, -1), (19, 10), 17).layer(s, p, brain, (gyri, 0.04)),
        _Ball((-40, -4), (15, rng.uniform(11, 13.5)), 17).layer(
            s, p, brain, (gyri, 0.04)
        ),
        _Ball((-21, 0), (22, 6.2), 8).layer(s, p, brain, None, s < -10),
        _Ball((-39, 9.5), (11, rng.uniform(1.5, 4)), 9).layer(s, p, tissues.csf),
        Layer(clivus, tissues.marrow, far=16.0),
    ]


@dataclass(frozen=True, slots=True)
class _Ball:
    """An ellipsoid about the midline.

    Attributes:
        centre: Its place along and behind the canal, mm.
        radii: Half its size along and behind, mm.
        radius_u: Half its size from side to side, mm.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    radius_u: float

    def layer(
        self,
        s: Reals,
        p: Reals,
        value: float,
        texture: tuple[TurningField, float] | None = None,
        where: NDArray[np.bool_] | None = None,
    ) -> Layer:
        """Make the layer that shows it, where it is to be shown."""
        away = np.hypot(
            (s - self.centre[0]) / self.radii[0], (p - self.centre[1]) / self.radii[1]
        )
        cover = soft_step((1 - away) * min(self.radii), 1.2)
        if where is not None:
            cover = cover * where
        field, rough = texture or (None, 0.0)
        far = self.radius_u * np.sqrt(np.maximum(1 - away**2, 0))
        return Layer(cover, value, far=far, texture=field, rough=rough)
