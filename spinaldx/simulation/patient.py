"""Simulated patients: the records and the one function that makes them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Disease, Volume
from spinaldx.simulation.frame import Geometry, plan_stations
from spinaldx.simulation.lesions import draw_lesions, lesion_extent
from spinaldx.simulation.population import CasePlan, draw_disease, draw_plan
from spinaldx.simulation.spine import draw_spine
from spinaldx.simulation.station import (
    Anatomy,
    Rendered,
    as_volume,
    draw_layout,
    lay_out,
    render_station,
)
from spinaldx.simulation.tissues import draw_tissues
from spinaldx.simulation.variation import draw_variation

# One of 70 MS patients in slices of 3.5 mm shows no lesion at the first try.
_MOST_TRIES = 20


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
        swelling_factor: Swelling of the cord around a lesion (width over normal width,
            minus 1) relative to what could have been drawn. Tumours that hardly swell
            the cord are rare; networks that met none take them for inflammation.
        signs: Whether lesions have cysts, caps, oedema and bright spots where drawn;
            without, they are told apart by place, size, outline and brightness only.
        regions_alike: Whether lesions of all diseases lie in the same regions, in the
            mean of the shares of Table 1. Where regions differ networks learn them as
            if they were signs: a tumour from neck to chest is an astrocytoma there.
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
    swelling_factor: float = 1.0
    signs: bool = True
    regions_alike: bool = False


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


def simulate_patient(
    case: str,
    seed: np.random.SeedSequence,
    options: PatientOptions | None = None,
) -> SimulatedPatient:
    """Simulate one patient with truth.

    Args:
        case: Name of the patient.
        seed: The same seed and options give the same bytes, in any process. The
            sequence is not changed.
        options: What to fix; all is drawn when None.

    Returns:
        One to three stations with masks. About 1 to 3 seconds.
    """
    chosen = options or PatientOptions()
    person, build, stations = _generators(seed)
    plan = _draw_case(person, chosen)
    for _ in range(_MOST_TRIES):
        patient = _make(case, plan, build, stations, chosen)
        # Of plaques below a slice's thickness it may be that none fills half a voxel.
        if plan.disease is None or _shows_lesion(patient):
            break
    return patient


def _shows_lesion(patient: SimulatedPatient) -> bool:
    return any(station.lesion.any() for station in patient.stations)


def _make(
    case: str,
    plan: CasePlan,
    build: np.random.Generator,
    stations: np.random.Generator,
    chosen: PatientOptions,
) -> SimulatedPatient:
    spine = draw_spine(build, plan.age, plan.sex)
    lesions, spine = draw_lesions(
        build,
        plan,
        spine,
        chosen.contrast_factor,
        chosen.swelling_factor,
        signs=chosen.signs,
    )
    anatomy = Anatomy(
        spine=spine,
        lesions=lesions,
        tissues=draw_tissues(build),
        variation=draw_variation(build, spine, plan.age),
    )
    geometry = Geometry(chosen.in_plane_mm, chosen.slice_mm)
    extent = lesion_extent(plan.disease, lesions)
    planned = plan_stations(stations, plan, spine, extent, geometry)
    layout = draw_layout(stations)
    made = []
    for station in planned:
        rendered = render_station(stations, station, anatomy, chosen.noise_factor)
        volume = as_volume(rendered, layout, station.region)
        lesion, cord, levels = (
            lay_out(stack, layout).astype(np.uint8) for stack in _truths(rendered)
        )
        made.append(SimulatedStation(volume, lesion, cord, levels, station.region))
    return SimulatedPatient(
        case=case,
        disease=plan.disease,
        age=plan.age,
        sex=plan.sex,
        location=plan.location,
        stations=tuple(made),
    )


def _generators(seed: np.random.SeedSequence) -> list[np.random.Generator]:
    # Not `seed.spawn`: that would change the caller's sequence.
    return [
        np.random.default_rng(
            np.random.SeedSequence(
                entropy=seed.entropy, spawn_key=(*seed.spawn_key, number)
            )
        )
        for number in range(3)
    ]


def _draw_case(rng: np.random.Generator, options: PatientOptions) -> CasePlan:
    drawn = draw_disease(rng, options.healthy_share)
    disease = options.disease or drawn
    plan = draw_plan(
        rng, disease, options.location, regions_alike=options.regions_alike
    )
    age = plan.age if options.age is None else options.age
    return replace(plan, age=age, sex=options.sex or plan.sex)


def _truths(
    rendered: Rendered,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    return rendered.lesion, rendered.cord, rendered.levels
