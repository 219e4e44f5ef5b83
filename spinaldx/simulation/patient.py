"""Simulated patients: the records and the one function that makes them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Disease, Volume


@dataclass(frozen=True, slots=True)
class PatientOptions:
    """What is fixed about a simulated patient; everything else is drawn.

    Attributes:
        disease: The disease, or None to draw it: healthy in `healthy_share` of
            the patients, else one of the four in the shares of Table 1.
        healthy_share: Share without any lesion, 0 to 1, when `disease` is None.
        age: Years, or None to draw.
        sex: ``F`` or ``M``, or empty to draw.
        location: A region of `spinaldx.simulation.population.LOCATIONS`, or
            empty to draw.
        in_plane_mm: Edge of a pixel, or None to draw (0.5 to 1.1 mm).
        slice_mm: Slice thickness, or None to draw (3 to 4 mm, some thin).
        noise_factor: Noise relative to what would have been drawn.
        contrast_factor: Lesion-to-cord contrast (ratio minus 1) relative to what
            would have been drawn.
    """

    disease: Disease | None = None
    healthy_share: float = 0.25
    age: int | None = None
    sex: str = ""
    location: str = ""
    in_plane_mm: float | None = None
    slice_mm: float | None = None
    noise_factor: float = 1.0
    contrast_factor: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedStation:
    """One sagittal T2w series with its truth, all on one grid.

    Attributes:
        volume: The image, named after its region.
        lesion: 1 inside any lesion (solid part, oedema and cysts as one class),
            (I, J, K) uint8.
        cord: 1 inside the cord, lesions included, (I, J, K) uint8.
        levels: Numbers of `spinaldx.simulation.levels.LEVEL_NAMES`, (I, J, K)
            uint8, 0 elsewhere.
        region: ``cervical``, ``thoracic`` or ``lumbar``.
    """

    volume: Volume
    lesion: NDArray[np.uint8]
    cord: NDArray[np.uint8]
    levels: NDArray[np.uint8]
    region: str


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPatient:
    """One simulated patient.

    Attributes:
        case: Name as given.
        disease: None when healthy.
        age: Years.
        sex: ``F`` or ``M``.
        location: Where the lesions lie, in the regions of Table 1; for healthy
            patients the regions that were scanned.
        stations: From head to foot; every lesion lies inside at least one.
    """

    case: str
    disease: Disease | None
    age: int
    sex: str
    location: str
    stations: tuple[SimulatedStation, ...]
