"""Who the simulated patients are: disease, age, sex, region and extent of lesions.

The shares and figures are those of the paper's Table 1, all cohorts together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from spinaldx.records import Disease

LOCATIONS: tuple[str, ...] = (
    "oblongata_cervical",
    "cervical",
    "cervical_thoracic",
    "thoracic",
    "thoracic_lumbar",
    "lumbar",
)

# Level coordinates (0 = top of C1) between which lesions of a region lie.
LOCATION_LEVELS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "oblongata_cervical": (-0.9, 7.0),
        "cervical": (0.05, 6.95),
        "cervical_thoracic": (1.0, 15.0),
        "thoracic": (7.05, 18.95),
        "thoracic_lumbar": (13.0, 21.0),
        "lumbar": (19.05, 23.9),
    }
)

# Between these levels a lesion of a two-region location must cross.
CROSSING_LEVEL: Mapping[str, float] = MappingProxyType(
    {"oblongata_cervical": 0.0, "cervical_thoracic": 7.0, "thoracic_lumbar": 19.0}
)


@dataclass(frozen=True, slots=True)
class DiseaseFigures:
    """One disease's row of Table 1, cohorts pooled.

    Attributes:
        patients: In all three cohorts, the share among the diseases.
        female: Share of women.
        age: Mean and standard deviation, years.
        locations: Shares in the order of `LOCATIONS`.
        counts: Probability of 1, 2, 3 ... lesions.
        extension: Median, and the spread of its logarithm, in vertebrae.
        volume_ml: Mean and spread of the volume's natural logarithm.
    """

    patients: int
    female: float
    age: tuple[float, float]
    locations: tuple[float, ...]
    counts: tuple[float, ...]
    extension: tuple[float, float]
    volume_ml: tuple[float, float]


FIGURES: Mapping[Disease, DiseaseFigures] = MappingProxyType(
    {
        Disease.ASTROCYTOMA: DiseaseFigures(
            patients=152,
            female=0.368,
            age=(31.9, 15.7),
            locations=(0, 0.368, 0.158, 0.336, 0.132, 0.006),
            counts=(1.0,),
            extension=(4.0, 0.50),
            volume_ml=(2.50, 0.86),
        ),
        Disease.EPENDYMOMA: DiseaseFigures(
            patients=175,
            female=0.463,
            age=(42.7, 13.3),
            locations=(0, 0.646, 0.006, 0.143, 0.006, 0.199),
            counts=(1.0,),
            extension=(2.8, 0.50),
            volume_ml=(2.70, 0.80),
        ),
        Disease.MS: DiseaseFigures(
            patients=134,
            female=0.701,
            age=(35.2, 11.9),
            locations=(0.090, 0.731, 0.142, 0.037, 0, 0),
            counts=(0.38, 0.27, 0.18, 0.11, 0.06),
            extension=(2.7, 0.60),
            volume_ml=(-0.02, 1.0),
        ),
        Disease.NMOSD: DiseaseFigures(
            patients=186,
            female=0.855,
            age=(40.9, 14.1),
            locations=(0, 0.651, 0.161, 0.177, 0.011, 0),
            counts=(0.71, 0.21, 0.06, 0.02),
            extension=(3.1, 0.75),
            volume_ml=(0.92, 0.88),
        ),
    }
)

# Of all diseases alike, for cohorts in which the region tells nothing.
_ALIKE_LOCATIONS = tuple(
    sum(figures.locations[place] for figures in FIGURES.values()) / len(FIGURES)
    for place in range(len(LOCATIONS))
)

# Rank correlation between length and volume of a patient's lesions (own choice).
_LENGTH_VOLUME = 0.85

_HEALTHY_LOCATIONS = (0, 0.45, 0.1, 0.2, 0.1, 0.15)
_YOUNGEST, _OLDEST = 5, 82


@dataclass(frozen=True, slots=True)
class CasePlan:
    """What a patient shall have before any anatomy is drawn.

    Attributes:
        disease: None when healthy.
        age: Years.
        sex: ``F`` or ``M``.
        location: One of `LOCATIONS`.
        lesion_count: Separate lesions; 0 when healthy.
        extension: Vertebral levels that the lesions touch, all together.
        volume_ml: All lesions together.
    """

    disease: Disease | None
    age: int
    sex: str
    location: str
    lesion_count: int = 0
    extension: int = 0
    volume_ml: float = 0.0


def draw_disease(rng: np.random.Generator, healthy_share: float) -> Disease | None:
    """Draw healthy or one of the diseases, in the shares of Table 1."""
    is_healthy = rng.random() < healthy_share
    shares = np.array([FIGURES[disease].patients for disease in Disease], dtype=float)
    drawn = list(Disease)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    return None if is_healthy else drawn


def draw_plan(
    rng: np.random.Generator,
    disease: Disease | None,
    location: str = "",
    *,
    regions_alike: bool = False,
) -> CasePlan:
    """Draw age, sex, region, number, extension and volume for one patient.

    Args:
        rng: Gives as many numbers whatever is fixed.
        disease: None for a healthy patient.
        location: One of `LOCATIONS`, or empty to draw it.
        regions_alike: Draw it in the same shares for all diseases, their mean.
    """
    if disease is None:
        place = location or str(rng.choice(LOCATIONS, p=_HEALTHY_LOCATIONS))
        sex = "F" if rng.random() < 0.55 else "M"
        return CasePlan(None, _draw_age(rng, 40.0, 15.0), sex, place)
    figures = FIGURES[disease]
    age = _draw_age(rng, *figures.age)
    sex = "F" if rng.random() < figures.female else "M"
    shares = _ALIKE_LOCATIONS if regions_alike else figures.locations
    place = location or str(rng.choice(LOCATIONS, p=shares))
    count = int(rng.choice(len(figures.counts), p=figures.counts)) + 1
    of_length, own = rng.standard_normal(2)
    of_volume = _LENGTH_VOLUME * of_length + np.sqrt(1 - _LENGTH_VOLUME**2) * own
    median, spread = figures.extension
    # Each lesion touches at least one level of its own.
    extension = max(round(median * float(np.exp(spread * of_length))), count)
    mean, sigma = figures.volume_ml
    return CasePlan(
        disease=disease,
        age=age,
        sex=sex,
        location=place,
        lesion_count=count,
        extension=_within_region(extension, place),
        volume_ml=float(np.exp(mean + sigma * np.clip(of_volume, -2.4, 2.2))),
    )


def _draw_age(rng: np.random.Generator, mean: float, spread: float) -> int:
    return int(np.clip(round(rng.normal(mean, spread)), _YOUNGEST, _OLDEST))


def _within_region(extension: int, location: str) -> int:
    low, high = LOCATION_LEVELS[location]
    longest = int(np.ceil(high) - np.floor(low))
    shortest = 2 if location in CROSSING_LEVEL else 1
    return int(np.clip(extension, shortest, min(longest, 11)))
