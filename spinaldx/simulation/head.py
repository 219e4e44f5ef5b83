"""The head as far as cervical images show it."""

import numpy as np

from spinaldx.records import Float32Array
from spinaldx.simulation.fields import TurningField, soft_step
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
    vault = _blob(s, p, (-75, 20), (76, 78 * rng.uniform(0.9, 1.1)))
    bone = _blob(s, p, (-75, 20), (82, 84))
    opening = soft_step(np.asarray(15 - np.abs(p - 2), dtype=np.float32), 2.0)
    inside = np.maximum(vault * (s < 0), opening * (s < 2) * (s > -30) * (p > -12))
    cerebellum = _blob(s, p, (tonsils - 29, 31), (31, 26))
    pons = _blob(s, p, (-41, -4), (15, 13))
    midbrain = _blob(s, p, (-62, -1), (14, 9))
    medulla = _blob(s, p, (-20, 0), (19, 6.0)) * (s < -10)
    ventricle = _blob(s, p, (-39, 9.5), (11, rng.uniform(1.5, 4)))
    cortex = _blob(s, p, (-112, 18), (50, 72))
    clivus = soft_step(
        np.asarray(5.5 - np.abs(p + 19 + 0.42 * (s + 25)), dtype=np.float32), 1.0
    )
    clivus = clivus * (s > -60) * (s < -4)
    scalp = _blob(s, p, (-75, 20), (94, 96)) * (s < 0) * (p > -20)
    return [
        Layer(scalp, tissues.fat * 0.8),
        Layer(bone * (s < -1) * (p > -26), tissues.ligament, far=78.0),
        Layer(inside, tissues.csf, far=62.0),
        Layer(cortex * inside, tissues.cerebellum, far=60.0, texture=gyri, rough=0.2),
        Layer(
            cerebellum * inside, tissues.cerebellum, far=48.0, texture=folds, rough=0.15
        ),
        Layer(ventricle, tissues.csf, far=8.0),
        Layer(pons, tissues.brain, far=15.0, texture=gyri, rough=0.04),
        Layer(midbrain, tissues.brain, far=14.0, texture=gyri, rough=0.04),
        Layer(medulla, tissues.brain, far=7.5),
        Layer(np.asarray(clivus, dtype=np.float32), tissues.marrow, far=16.0),
    ]


def _blob(
    s: Float32Array,
    p: Float32Array,
    centre: tuple[float, float],
    radii: tuple[float, float],
) -> Float32Array:
    away = np.hypot((s - centre[0]) / radii[0], (p - centre[1]) / radii[1])
    return soft_step(np.asarray((1 - away) * min(radii), dtype=np.float32), 1.2)
