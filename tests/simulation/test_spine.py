"""Levels, sizes and curves of simulated spines."""

import numpy as np
import pytest

from spinaldx.simulation.levels import LEVEL_NAMES
from spinaldx.simulation.spine import draw_spine, level_at


@pytest.fixture(scope="module")
def spine():
    return draw_spine(np.random.default_rng(1), 40, "M")


def test_level_names_count_from_the_head():
    assert LEVEL_NAMES[1] == "C1"
    assert LEVEL_NAMES[8] == "T1"
    assert LEVEL_NAMES[20] == "L1"
    assert LEVEL_NAMES[102] == "C2/C3"
    assert LEVEL_NAMES[124] == "L5/S1"
    assert 101 not in LEVEL_NAMES


def test_levels_grow_towards_the_feet(spine):
    assert (np.diff(spine.edges) > 8).all()
    assert (np.diff(spine.level) > 0).all()
    assert level_at(spine.edges, float(spine.edges[7])) == pytest.approx(7)


def test_the_way_along_is_the_length_of_the_curve(spine):
    steps = np.hypot(np.diff(spine.y), np.diff(spine.z))

    assert steps == pytest.approx(0.5, abs=1e-3)


def test_the_cord_ends_near_the_first_lumbar_vertebra(spine):
    assert 18.5 < level_at(spine.edges, spine.conus_mm) < 21.3
    assert spine.at(spine.cord_p, np.array([spine.conus_mm + 1])) == 0


def test_the_cord_lies_in_the_sac(spine):
    in_spine = (spine.level > 0) & (spine.level < 24)
    reach = np.abs(spine.cord_shift) + spine.cord_p

    assert (reach <= spine.sac_p + 0.1)[in_spine].all()
    assert (spine.cord_u <= spine.sac_u)[in_spine].all()


def test_tables_are_read_linearly(spine):
    between = spine.at(spine.z, np.array([10.25]))

    assert between == pytest.approx(np.interp(10.25, spine.s, spine.z), abs=1e-3)


def test_children_are_smaller():
    child = draw_spine(np.random.default_rng(2), 6, "F")
    adult = draw_spine(np.random.default_rng(2), 40, "F")

    assert child.edges[-1] < 0.85 * adult.edges[-1]
