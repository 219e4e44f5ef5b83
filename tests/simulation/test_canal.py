"""The painted canal against truth derived by hand."""

from dataclasses import replace

import numpy as np
import pytest

from spinaldx.simulation.bodies import Body, Look
from spinaldx.simulation.canal import CanalPainter
from spinaldx.simulation.frame import StationPlan, build_frame
from spinaldx.simulation.lesions import Lesions
from spinaldx.simulation.spine import draw_spine
from spinaldx.simulation.tissues import Tissues
from spinaldx.simulation.variation import draw_variation

PLAIN = Look((), 0.0, 0.0)
CSF = 3.0


def straight_spine():
    """A cord of 8 x 12 mm in a sac of 14 x 20 mm, without curve or shift."""
    spine = draw_spine(np.random.default_rng(1), 40, "M")
    flat = np.zeros_like(spine.s)
    return replace(
        spine,
        y=flat,
        z=-spine.s,
        x=flat,
        cord_shift=flat,
        cord_p=flat + 4,
        cord_u=flat + 6,
        sac_p=flat + 7,
        sac_u=flat + 10,
    )


def plain_variation(spine):
    drawn = draw_variation(np.random.default_rng(2), spine, 30)
    none = np.zeros(26, dtype=np.float32)
    return replace(
        drawn,
        disc_bulge=none,
        flavum_bulge=none,
        dura=0.0,
        rootlets=0.0,
        flow=0.0,
        cord_look=PLAIN,
        stripe_look=PLAIN,
        central_canal_mm=0.0,
    )


def station(slices=9, spacing=2.0):
    return StationPlan(
        "cervical", 80.0, 60.0, 40.0, 0.5, 0.5, slices, spacing, spacing, 0.0, (0, 0), 0
    )


def paint(bodies=(), plan=None, **variants):
    """Value, cord and lesion of the middle slices as (S, H, W)."""
    plan = plan or station()
    spine = straight_spine()
    variation = replace(plain_variation(spine), **variants)
    frame = build_frame(plan, spine)
    tissues = Tissues(csf=CSF, grey=1.0)
    lesions = Lesions(tuple(bodies), ((0.0, 0.0),) * len(bodies))
    painter = CanalPainter(frame, spine, lesions, tissues, variation)
    result = np.zeros((3, *frame.shape), dtype=np.float32)
    for number, x in enumerate(frame.slices_x):
        seen = painter.paint(float(x))
        if seen is not None:
            flat = result[:, number].reshape(3, -1)
            flat[:, painter.pixels] = seen.value, seen.cord, seen.lesion
    return result


def test_the_cord_has_its_analytic_volume():
    cord = paint()[1]

    # Ellipse of 8 x 12 mm over 60 mm, voxels of 2 x 0.5 x 0.5 mm.
    assert cord.sum() * 0.5 == pytest.approx(np.pi * 4 * 6 * 60, rel=0.03)


def test_cord_is_one_and_fluid_is_csf():
    value = paint()[0][4, 60]

    assert value[40] == pytest.approx(1.0, abs=0.02)
    assert value[40 + 11] == pytest.approx(CSF, rel=0.02)


def test_a_lesion_has_its_volume_and_brightness():
    body = Body(80.0, 10.0, 0.0, 0.0, 3.0, 4.0, 2.0, 0.5, 1.5, PLAIN)
    value, cord, lesion = paint([body])

    volume = lesion.sum() * 0.5
    assert volume == pytest.approx(4 / 3 * np.pi * 10 * 3 * 4, rel=0.05)
    assert value[4, 60, 40] == pytest.approx(1.5, abs=0.02)
    assert (lesion <= cord + 1e-5).all()


def test_a_lesion_that_fades_is_half_as_bright_at_its_ends():
    # Rows are 0.5 mm apart and row 60 is at 80 mm; the body ends 10 mm from there and
    # fades over 8 mm: all of it up to 6 mm, half at 10 mm, nothing at 14 mm.
    body = Body(80.0, 10.0, 0.0, 0.0, 9.0, 9.0, 20.0, 0.5, 1.5, PLAIN, fade_mm=8.0)
    value, _, lesion = paint([body])
    along = value[4, :, 40]

    assert along[60 - 12 : 60 + 12] == pytest.approx(1.5, abs=0.03)
    assert along[[60 - 20, 60 + 20]] == pytest.approx(1.25, abs=0.04)
    assert along[[60 - 30, 60 + 30]] == pytest.approx(1.0, abs=0.02)
    # The mask ends where half of it is left.
    assert np.flatnonzero(lesion[4, :, 40] > 0.5)[[0, -1]] == pytest.approx(
        [40, 80], abs=1
    )


def test_a_lesion_wider_than_the_cord_ends_at_it():
    body = Body(80.0, 10.0, 0.0, 0.0, 30.0, 30.0, 6.0, 0.5, 1.5, PLAIN)
    _, cord, lesion = paint([body])

    assert (lesion <= cord + 1e-5).all()
    assert lesion[4, 60].sum() * 0.5 == pytest.approx(8, abs=0.6)


def test_thick_slices_at_the_cords_edge_see_part_of_it():
    # Slices of 4 mm at 0, +-4, +-8: the outer ones reach from 6 mm on.
    value, cord, _ = paint(plan=station(slices=5, spacing=4.0))

    assert cord[0].max() == pytest.approx(0, abs=0.05)
    assert 0.7 < cord[1, 60, 40] <= 1.0
    assert value[1, 60, 40] < CSF


def test_nothing_is_painted_far_beside_the_spine():
    plan = station()
    spine = straight_spine()
    frame = build_frame(plan, spine)
    painter = CanalPainter(frame, spine, Lesions(), Tissues(), plain_variation(spine))

    assert painter.paint(60.0) is None


def test_a_visible_central_canal_is_no_lesion():
    value, _, lesion = paint(
        central_canal_mm=1.5,
        central_canal_at=80.0,
        central_canal_half_mm=20.0,
        central_canal_share=0.6,
    )

    assert value[4, 60, 40] > 1.3
    assert value[4, 60, 44] == pytest.approx(1.0, abs=0.02)
    assert not lesion.any()


def test_a_bulging_disc_takes_fluid_away():
    bulge = np.full(26, 3.0, dtype=np.float32)
    free, narrow = paint()[0], paint(disc_bulge=bulge)[0]

    assert (narrow < free - 0.5).sum() > 50
    assert not (narrow > free + 0.5).any()
