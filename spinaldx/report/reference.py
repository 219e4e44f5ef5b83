"""What the paper's patients had: count, extension and volume by disease.

Zhuo et al. 2022, Table 1, training cohort. Medians with quartiles of the number
of lesions and of the vertebrae they extend over, mean and standard deviation of
the total volume.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spinaldx.records import Disease
from spinaldx.report.case import StoredCase

SOURCE = "Zhuo et al. 2022, Table 1, training cohort (94, 104, 81 and 113 patients)"

# The paper counts vertebrae, a mask has millimetres. One cervical level, body and
# disc, is 16 to 18 mm high, a thoracic one 20 to 27, a lumbar one 33 to 37.
MM_PER_LEVEL = 18.0
# From this length a lesion is called longitudinally extensive.
EXTENSIVE_LEVELS = 3.0

LEVEL_NOTE = (
    "Levels are millimetres along the cord divided by 18 mm, the height of a cervical "
    "level with its disc; a thoracic level is 20 to 27 mm and a lumbar one 33 to 37 mm "
    "high, so below the neck fewer levels are affected than stated. The paper counted "
    "vertebrae."
)
VOLUME_NOTE = (
    "Volumes: the paper prints mean and standard deviation; the bar is the middle half "
    "of a log-normal distribution with these."
)

# The middle half of a normal distribution, in standard deviations.
_QUARTILE = 0.6745


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle half of a cohort.

    Attributes:
        low: First quartile.
        middle: Median.
        high: Third quartile.
    """

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class CohortRanges:
    """One column of the table.

    Attributes:
        lesion_count: Number of lesions.
        extension_levels: Vertebrae that the lesions extend over.
        volume_ml_mean: Mean total volume.
        volume_ml_sd: Its standard deviation.
    """

    lesion_count: Spread
    extension_levels: Spread
    volume_ml_mean: float
    volume_ml_sd: float

    @property
    def volume_ml(self) -> Spread:
        """Quartiles of the log-normal distribution with this mean and deviation."""
        variance = math.log1p((self.volume_ml_sd / self.volume_ml_mean) ** 2)
        middle = self.volume_ml_mean * math.exp(-variance / 2)
        factor = math.exp(_QUARTILE * math.sqrt(variance))
        return Spread(middle / factor, middle, middle * factor)


TABLE_1: Mapping[Disease, CohortRanges] = {
    Disease.ASTROCYTOMA: CohortRanges(
        Spread(1, 1, 1), Spread(3, 4, 6), volume_ml_mean=12.64, volume_ml_sd=10.77
    ),
    Disease.EPENDYMOMA: CohortRanges(
        Spread(1, 1, 1), Spread(2, 3, 4), volume_ml_mean=15.08, volume_ml_sd=11.71
    ),
    Disease.MS: CohortRanges(
        Spread(1, 2, 3), Spread(2, 3, 5), volume_ml_mean=1.32, volume_ml_sd=1.64
    ),
    Disease.NMOSD: CohortRanges(
        Spread(1, 1, 2), Spread(2.5, 4, 6), volume_ml_mean=2.99, volume_ml_sd=2.95
    ),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement of a study beside the four cohorts.

    Attributes:
        title: What is measured, with its unit.
        value: Of this study.
        text: The value as printed.
        spreads: Middle half of each cohort.
        axis: Smallest and largest value drawn, on a logarithmic axis.
        ticks: Values named on the axis.
    """

    title: str
    value: float
    text: str
    spreads: Mapping[Disease, Spread]
    axis: tuple[float, float]
    ticks: tuple[float, ...]


def levels_of(length_mm: float) -> float:
    """Convert a length along the cord to cervical levels; see `LEVEL_NOTE`."""
    return length_mm / MM_PER_LEVEL


def measures(case: StoredCase) -> tuple[Measure, ...]:
    """Return count, volume and extension of a study beside the cohorts."""
    count = case.row["lesion_count"]
    volume_ml = case.row["lesion_volume_ml"]
    levels = levels_of(case.row["lesion_length_mm"])
    return (
        Measure(
            title="Lesions",
            value=count,
            text=f"{count}",
            spreads={d: ranges.lesion_count for d, ranges in TABLE_1.items()},
            axis=(0.8, 20.0),
            ticks=(1, 2, 5, 10, 20),
        ),
        Measure(
            title="Total volume, ml",
            value=volume_ml,
            text=f"{volume_ml:.2f}",
            spreads={d: ranges.volume_ml for d, ranges in TABLE_1.items()},
            axis=(0.05, 50.0),
            ticks=(0.1, 1, 10, 50),
        ),
        Measure(
            title="Extension, levels",
            value=levels,
            text=f"{levels:.1f}",
            spreads={d: ranges.extension_levels for d, ranges in TABLE_1.items()},
            axis=(0.2, 20.0),
            ticks=(0.5, 1, 2, 5, 10, 20),
        ),
    )
