"""Axis orders: every layout shows the same patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinaldx.simulation.station import (
    Layout,
    draw_layout,
    lay_out,
    lay_out_affine,
)

AFFINE = np.array(
    [[-3.0, 0.1, 0, 20], [0, 0.05, -0.8, 40], [0.1, -0.9, 0, 90], [0, 0, 0, 1]]
)

layouts = st.builds(
    Layout,
    order=st.permutations([0, 1, 2]).map(tuple),
    turned=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)


@given(layout=layouts, voxel=st.tuples(*(st.integers(0, n - 1) for n in (3, 4, 5))))
@settings(max_examples=40, deadline=None)
def test_a_voxel_keeps_its_place_in_the_patient(layout, voxel):
    stack = np.zeros((3, 4, 5), dtype=np.uint8)
    stack[voxel] = 1
    moved = lay_out(stack, layout)
    affine = lay_out_affine(AFFINE, stack.shape, layout)
    found = np.argwhere(moved)[0]

    assert affine @ [*found, 1] == pytest.approx(AFFINE @ [*voxel, 1])


def test_layouts_differ_from_patient_to_patient():
    drawn = {draw_layout(np.random.default_rng(seed)).order for seed in range(20)}

    assert len(drawn) > 1
