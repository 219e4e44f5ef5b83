"""Fields of view, cord coordinates and affines."""

import numpy as np
import pytest

from spinaldx.records import Disease, check_affine
from spinaldx.simulation.frame import (
    Geometry,
    StationPlan,
    build_frame,
    plan_stations,
    stack_affine,
)
from spinaldx.simulation.population import CasePlan
from spinaldx.simulation.spine import draw_spine


@pytest.fixture(scope="module")
def spine():
    return draw_spine(np.random.default_rng(1), 40, "M")


def plan(**changes):
    values = {
        "region": "cervical",
        "centre_mm": 70.0,
        "height_mm": 100.0,
        "width_mm": 80.0,
        "front_share": 0.5,
        "pixel_mm": 1.0,
        "slices": 5,
        "thickness_mm": 3.0,
        "spacing_mm": 3.3,
        "turn": 0.1,
        "tilt": (0.02, -0.03),
        "off_mm": 0.0,
    }
    return StationPlan(**(values | changes))


def test_the_middle_pixel_lies_on_the_canal(spine):
    frame = build_frame(plan(height_mm=99, width_mm=81), spine)

    assert frame.s[49, 40] == pytest.approx(70, abs=1)
    assert frame.p[49, 40] == pytest.approx(0, abs=0.7)


def test_columns_grow_to_the_back_and_rows_to_the_feet(spine):
    frame = build_frame(plan(), spine)

    assert (np.diff(frame.p, axis=1) > 0).mean() > 0.99
    assert (np.diff(frame.s, axis=0) > 0).mean() > 0.99


def test_distances_from_the_canal_are_millimetres(spine):
    frame = build_frame(plan(), spine)

    gradient = np.hypot(*np.gradient(frame.p))
    assert np.median(gradient) == pytest.approx(1.0, abs=0.02)


def test_the_affine_is_a_rotation_times_the_spacing(spine):
    affine = stack_affine(build_frame(plan(), spine))

    check_affine(affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    assert spacing == pytest.approx([3.3, 1.0, 1.0])
    directions = affine[:3, :3] / spacing
    assert directions.T @ directions == pytest.approx(np.eye(3), abs=1e-9)


def test_slices_go_left_rows_down_columns_back(spine):
    directions = stack_affine(build_frame(plan(), spine))[:3, :3]

    assert directions[0, 0] < 0
    assert directions[2, 1] < 0
    assert directions[1, 2] < 0


def test_stations_of_one_patient_agree_about_a_place(spine):
    """The canal at one height has the same patient position in both images."""
    where = []
    for centre in (70.0, 110.0):
        frame = build_frame(plan(centre_mm=centre, turn=0.0, tilt=(0, 0)), spine)
        row, column = np.unravel_index(
            np.argmin(np.abs(frame.s - 90) + np.abs(frame.p)), frame.s.shape
        )
        where.append(stack_affine(frame) @ [2, row, column, 1])

    assert where[0][1:3] == pytest.approx(where[1][1:3], abs=2)


@pytest.mark.parametrize("seed", range(8))
def test_every_lesion_lies_inside_a_station(spine, seed):
    rng = np.random.default_rng(seed)
    case = CasePlan(Disease.NMOSD, 40, "F", "cervical_thoracic", 1, 5, 3.0)
    extent = (float(spine.edges[4]), float(spine.edges[9]))
    stations = plan_stations(rng, case, spine, extent, Geometry())

    assert any(
        station.centre_mm - station.height_mm / 2 < extent[0]
        and extent[1] < station.centre_mm + station.height_mm / 2
        for station in stations
    )


def test_geometry_can_be_fixed(spine):
    case = CasePlan(None, 40, "F", "lumbar")
    stations = plan_stations(
        np.random.default_rng(1), case, spine, (0.0, 0.0), Geometry(0.9, 5.0)
    )

    assert {station.pixel_mm for station in stations} == {0.9}
    assert {station.thickness_mm for station in stations} == {5.0}
    assert stations[-1].region == "lumbar"
