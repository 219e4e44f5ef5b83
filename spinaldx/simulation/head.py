"""The head as far as cervical images show it."""

import numpy as np

from spinaldx.records import Float32Array
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
    fossa = _blob(s, p, (-38, 20), (37 * size, 43 * size))
    vault = _blob(s, p, (-102, 8), (62 * size, 86 * size))
    opening = soft_step(11 - np.abs(p - 1), 2.0)
    opening = opening * (s < 2) * (s > -36)
    skull = np.maximum(
        _blob(s, p, (-38, 20), (45 * size, 51 * size)),
        _blob(s, p, (-102, 8), (70 * size, 94 * size)),
    )
    skull = skull * (s < floor - 2) * (p > -30)
    scalp = np.maximum(
        _blob(s, p, (-40, 20), (54 * size, 62 * size)),
        _blob(s, p, (-102, 8), (80 * size, 104 * size)),
    )
    scalp = scalp * (s < floor) * (p > 0)
    cerebellum = _blob(s, p, (tonsils - 30, 31), (33, 29))
    tentorium = _blob(s, p, (-102, 8), (57 * size, 82 * size))
    pons = _blob(s, p, (-40, -4), (15, rng.uniform(11, 13.5)))
    midbrain = _blob(s, p, (-60, -1), (19, 10))
    medulla = _blob(s, p, (-21, 0), (22, 6.2)) * (s < -10)
    ventricle = _blob(s, p, (-39, 9.5), (11, rng.uniform(1.5, 4)))
    clivus = soft_step(5.5 - np.abs(p + 20 + 0.42 * (s + 25)), 1.0)
    clivus = clivus * (s > -55) * (s < -4)
    return [
        Layer(scalp, tissues.fat * 0.8, far=88.0, texture=gyri, rough=0.1),
        Layer(scalp * 0.8, tissues.muscle, far=88.0, gate=gyri),
        Layer(skull, tissues.ligament, far=80.0),
        Layer(4 * skull * (1 - skull) * 0.5, tissues.marrow, far=80.0),
        Layer(np.maximum(fossa, opening), tissues.csf, far=58.0),
        Layer(vault * (p > -60), tissues.csf * 0.8, far=66.0),
        Layer(tentorium, tissues.cerebellum, far=64.0, texture=gyri, rough=0.2),
        Layer(cerebellum, tissues.cerebellum, far=48.0, texture=folds, rough=0.15),
        Layer(midbrain, tissues.brain, far=16.0, texture=gyri, rough=0.04),
        Layer(pons, tissues.brain, far=15.0, texture=gyri, rough=0.04),
        Layer(medulla, tissues.brain, far=7.5),
        Layer(ventricle, tissues.csf, far=8.0),
        Layer(clivus, tissues.marrow, far=16.0),
    ]


def _blob(
    s: Reals,
    p: Reals,
    centre: tuple[float, float],
    radii: tuple[float, float],
) -> Float32Array:
    away = np.hypot((s - centre[0]) / radii[0], (p - centre[1]) / radii[1])
    return soft_step(np.asarray((1 - away) * min(radii), dtype=np.float32), 1.2)
