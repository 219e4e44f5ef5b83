"""Everything around the spine: muscle, fat, skin, organs, and things to mislead."""

import numpy as np

from spinaldx.simulation.fields import Reals, TurningField, soft_line, soft_step
from spinaldx.simulation.frame import Frame
from spinaldx.simulation.layers import Layer
from spinaldx.simulation.tissues import Tissues
from spinaldx.simulation.vertebrae import Place


def build_surroundings(
    rng: np.random.Generator, frame: Frame, place: Place, tissues: Tissues
) -> list[Layer]:
    """Build the layers that lie under the vertebrae, deepest first."""
    fields = _Fields(rng, frame)
    front = _front_reach(rng, place)
    skin = soft_step(front + place.depth - 4, 2.0)
    return [
        *_trunk(rng, place, tissues, fields, front),
        *_organs(rng, place, tissues, fields, skin),
        *_neck(rng, place, tissues, fields, skin),
        *_vessels(rng, place, tissues),
        *_back(rng, place, tissues, fields),
        *_tubes(rng, place, tissues),
    ]


class _Fields:
    """Random fields shared by the layers of a station."""

    def __init__(self, rng: np.random.Generator, frame: Frame) -> None:
        pixel, shape = frame.plan.pixel_mm, frame.s.shape
        self.large = TurningField(rng, shape, (26 / pixel, 22 / pixel), 22.0)
        self.other = TurningField(rng, shape, (40 / pixel, 30 / pixel), 30.0)
        self.middle = TurningField(rng, shape, (9 / pixel, 8 / pixel), 12.0)
        self.fine = TurningField(rng, shape, (3 / pixel, 3 / pixel), 5.0)
        streak = rng.uniform(4, 18) / pixel, rng.uniform(1.5, 4) / pixel
        self.streaks = TurningField(rng, shape, streak, 6.0)
        self.septa = TurningField(rng, shape, (3.0 / pixel, 14 / pixel), 8.0)


def _front_reach(rng: np.random.Generator, place: Place) -> Reals:
    """Distance of the front skin before the spine's middle line, mm."""
    slim = rng.uniform(0.75, 1.3)
    chin = rng.uniform(1.6, 3.4)
    face = 1 if rng.random() < 0.8 else 0.8
    levels = (-8, -3, -1, 0.5, chin - 0.3, chin + 0.5, 5, 7, 9, 12, 18, 21, 24, 28)
    reach = (118, 128, 138, 124, 122, 84, 74, 80, 105, 145, 165, 150, 140, 130)
    shape = np.array(reach) * np.where(np.array(levels) < chin + 0.2, face, slim)
    folds = 1 + 0.02 * np.sin(place.outer_level * 4.1 + rng.uniform(0, 6))
    values = np.interp(place.outer_level, levels, shape) * folds
    return np.asarray(values, dtype=np.float32)


def _trunk(
    rng: np.random.Generator,
    place: Place,
    tissues: Tissues,
    fields: _Fields,
    front: Reals,
) -> list[Layer]:
    fat_mm = float(rng.uniform(3, 25)) * (0.4 + 0.6 * (place.outer_level > 7))
    inside = soft_step(front + place.depth, 1.5) * (place.depth < 12)
    deep = soft_step(front - fat_mm + place.depth, 3.0)
    base = tissues.muscle * 1.1
    return [
        Layer(inside, tissues.fat, texture=fields.septa, rough=0.12),
        Layer(inside * deep, base, texture=fields.middle, rough=0.25),
        Layer(inside * (1 - inside) * 4, tissues.organ * 0.6),
    ]


def _organs(
    rng: np.random.Generator,
    place: Place,
    tissues: Tissues,
    fields: _Fields,
    skin: Reals,
) -> list[Layer]:
    """Nameless organs, vessels, bowel and lungs before the spine."""
    chest = (place.level > 7.5) & (place.level < 18)
    belly = place.level > 17
    deep = soft_step(place.ahead - place.body_p - 6, 4.0) * skin
    air = float(rng.uniform(0.01, 0.12))
    bowel = float(rng.uniform(0.05, 2.2)) * tissues.organ
    beyond = deep * chest
    below = deep * belly
    beside = soft_step(place.ahead + 5, 4.0) * chest
    return [
        Layer(deep, tissues.organ, gate=fields.large, texture=fields.fine, rough=0.15),
        Layer(beyond, air, gate=fields.other, texture=fields.fine, rough=0.5),
        Layer(
            beside,
            air,
            near=24.0,
            texture=fields.middle,
            rough=0.6,
        ),
        Layer(
            below, tissues.fat * 0.9, gate=fields.other, texture=fields.septa, rough=0.2
        ),
        Layer(below, bowel, gate=fields.middle, texture=fields.fine, rough=0.3),
        *_kidneys(rng, place, tissues, fields),
    ]


def _kidneys(
    rng: np.random.Generator, place: Place, tissues: Tissues, fields: _Fields
) -> list[Layer]:
    layers = []
    for side in (-1, 1):
        middle = rng.normal(19.8 + 0.3 * side, 0.4)
        along = (place.level - middle) * 32
        away = np.hypot(along / rng.uniform(45, 58), (place.ahead - 5) / 26)
        cover = soft_step((1 - away) * 26, 1.5)
        centre = side * rng.uniform(48, 66)
        layers.append(
            Layer(
                cover,
                tissues.organ * 1.5,
                far=26.0,
                centre=centre,
                texture=fields.fine,
                rough=0.1,
            )
        )
        sinus = soft_step((0.45 - away) * 26, 3.0)
        layers.append(Layer(sinus, tissues.fat, far=12.0, centre=centre))
    return layers


def _neck(
    rng: np.random.Generator,
    place: Place,
    tissues: Tissues,
    fields: _Fields,
    skin: Reals,
) -> list[Layer]:
    """Prevertebral muscle, airway, tongue, jaw and larynx."""
    before = place.ahead - place.body_p
    neck = place.level < 8.5
    strip = soft_step(np.minimum(before + 0.5, 5.0 - before), 1.5) * (place.level < 10)
    wall = rng.uniform(5, 9) + 2 * np.sin(place.level * rng.uniform(0.6, 1.4))
    wide = rng.uniform(5, 15) * (
        1 + 0.4 * np.sin(place.level * 1.3 + rng.uniform(0, 6))
    )
    airway_depth = np.minimum(before - wall, wall + wide - before)
    airway = soft_step(airway_depth.astype(np.float32), 1.5)
    airway = airway * (place.level > -2.5) * (place.level < 13)
    tongue_away = np.hypot(
        (place.level - 1.2) * 17 / rng.uniform(22, 30),
        (before - 45) / rng.uniform(24, 32),
    )
    tongue = soft_step((1 - tongue_away) * 25, 2.0)
    jaw_away = np.hypot(
        (place.level - 2.6) * 17 / 11, (before - rng.uniform(68, 82)) / 9
    )
    jaw = soft_step((1 - jaw_away) * 9, 1.5)
    palate = soft_line((place.level - rng.uniform(-1.2, -0.3)) * 17, 5.0)
    palate = palate * (before > 14) * (before < 75)
    glands = soft_step(before - 8, 4.0) * neck * skin
    cavity = (place.level < -1) * soft_step(before - 10, 4.0)
    return [
        Layer(strip, tissues.muscle, far=14.0),
        Layer(glands * (place.level > 1), tissues.fat, gate=fields.middle, near=9.0),
        Layer(
            cavity,
            tissues.organ * 1.3,
            gate=fields.middle,
            texture=fields.fine,
            rough=0.4,
        ),
        Layer(
            tongue, tissues.muscle * 1.25, far=24.0, texture=fields.streaks, rough=0.25
        ),
        Layer(jaw, tissues.marrow * 1.1, far=30.0),
        Layer(4 * jaw * (1 - jaw), tissues.ligament, far=30.0),
        Layer(palate, tissues.organ, far=25.0),
        Layer(airway, 0.03, far=float(rng.uniform(7, 14))),
        Layer(4 * airway * (1 - airway), tissues.organ * 1.8, far=12.0),
    ]


def _vessels(rng: np.random.Generator, place: Place, tissues: Tissues) -> list[Layer]:
    """Aorta, vena cava, carotids and vertebral arteries."""
    layers = []
    before = place.ahead - place.body_p
    chest = place.level > 8
    for side in (-1, 1):
        width = rng.uniform(6, 11)
        depth = rng.uniform(9, 14) + 3 * np.sin(place.level * 0.5 + rng.uniform(0, 6))
        cover = soft_step(width - np.abs(before - depth), 1.5)
        value = tissues.vessel if rng.random() < 0.75 else tissues.organ * 1.2
        layers.append(
            Layer(cover * chest, value, far=width, centre=side * rng.uniform(5, 16))
        )
        artery = soft_step(2.0 - np.abs(place.ahead - 6), 1.0)
        artery = artery * (place.level > 0.5) * (place.level < 6.5)
        bright = tissues.vessel if rng.random() < 0.7 else tissues.fluid
        layers.append(Layer(artery, bright, far=2.2, centre=side * rng.uniform(13, 16)))
    return layers


def _back(
    rng: np.random.Generator, place: Place, tissues: Tissues, fields: _Fields
) -> list[Layer]:
    """Muscles of the back, their fat, subcutaneous fat and skin."""
    level, depth = place.outer_level, place.depth
    wave = np.sin(level * rng.uniform(0.2, 0.5) + rng.uniform(0, 6.3))
    levels = (-8, -1, 2, 6, 8, 14, 20, 24, 28)
    muscle = np.interp(level, levels, (26, 44, 52, 55, 52, 46, 54, 50, 40))
    muscle = muscle * rng.uniform(0.8, 1.15) + 2 * wave
    fat = np.interp(level, levels, (6, 7, 8, 12, 12, 8, 12, 20, 28))
    fat = fat * rng.uniform(0.35, 2.4) * (1 + 0.2 * wave)
    front = np.minimum(depth + 14, place.behind + 14)
    begins = soft_step(front, 6.0)
    skin_mm = muscle + fat - depth
    outer = soft_step(skin_mm, 1.2) * begins
    inner = soft_step(muscle - depth, 2.0) * begins
    planes = rng.uniform(8, 20)
    sheet = np.cos((depth + 3 * wave) * 2 * np.pi / planes)
    sheets = np.clip((sheet - 0.86) * 7, 0, 1) * inner * (place.behind > 3)
    infiltrated = float(rng.uniform(0, 0.7)) ** 1.5
    skin = soft_line(skin_mm - 0.7, 1.8) * (depth > 10)
    return [
        Layer(
            outer,
            tissues.fat,
            texture=fields.septa,
            rough=float(rng.uniform(0.01, 0.08)),
        ),
        Layer(
            inner,
            tissues.muscle,
            texture=fields.streaks,
            rough=float(rng.uniform(0.1, 0.45)),
        ),
        Layer(inner * infiltrated, tissues.fat * 0.8, gate=fields.streaks, near=2.0),
        Layer(sheets, tissues.fat * 0.85, gate=fields.middle),
        Layer(skin, tissues.organ * 0.7),
    ]


def _tubes(rng: np.random.Generator, place: Place, tissues: Tissues) -> list[Layer]:
    """Bright and dark tubes, some with a core, that are not the canal."""
    layers: list[Layer] = []
    for _ in range(int(rng.integers(0, 5))):
        is_front = rng.random() < 0.5
        base = place.ahead - place.body_p if is_front else place.behind
        slope = rng.normal(0, 1.2)
        middle = rng.uniform(8, 60) + slope * (place.level - place.level.mean())
        middle = middle + rng.uniform(0, 5) * np.sin(place.level * rng.uniform(0.4, 2))
        away = np.abs(base - middle)
        radius = rng.uniform(1.5, 9)
        length = place.level.mean() + rng.normal(0, 3)
        reach = np.abs(place.level - length) < rng.uniform(0.8, 6)
        where = {"far": float(rng.uniform(4, 14)), "centre": float(rng.normal(0, 20))}
        value = float(rng.choice((tissues.csf, tissues.fluid, 1.0, tissues.fat)))
        cover = soft_step(radius - away, 1.0) * reach
        layers.append(Layer(cover, value, far=where["far"], centre=where["centre"]))
        if rng.random() < 0.6 and radius > 3:
            core = soft_step(radius * 0.55 - away, 1.0)
            other = float(rng.choice((1.0, tissues.organ, tissues.vessel, 1.4)))
            layers.append(
                Layer(
                    core * reach, other, far=where["far"] * 0.6, centre=where["centre"]
                )
            )
    return layers
