"""Coil, k-space, noise, ghosts and scale."""

from dataclasses import replace

import numpy as np
import pytest

from spinaldx.simulation.acquisition import Scan, acquire, draw_bias, draw_scan
from spinaldx.simulation.frame import StationPlan, build_frame
from spinaldx.simulation.spine import draw_spine

PLAIN = Scan(
    noise=0.0,
    resolution=(1.0, 1.0),
    apodisation=0.0,
    phase_rows=True,
    ghost=0.0,
    ghost_shift=0.25,
    coil_mm=0.0,
    coil_floor=0.1,
    ends=(0.0, 0.0),
    drift=0.0,
    band=0.0,
    band_keeps=0.1,
    gain=1.0,
    blur_mm=0.0,
)
FLAT = np.ones((64, 64), dtype=np.float32)


def square():
    stack = np.zeros((1, 64, 64), dtype=np.float32)
    stack[:, 24:40, 24:40] = 1.0
    return stack


def scan_of(stack, **changes):
    rng = np.random.default_rng(1)
    return acquire(rng, replace(PLAIN, **changes), stack, FLAT, 0.7)


def test_a_perfect_scan_changes_nothing():
    assert scan_of(square()) == pytest.approx(square(), abs=1e-5)


def test_gain_is_the_vendors_scale():
    assert scan_of(square(), gain=100.0).max() == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("resolution", [(1.0, 1.0), (0.5, 0.7)])
def test_noise_has_the_spread_asked_for(resolution):
    bright = np.full((1, 64, 64), 20.0, dtype=np.float32)
    noisy = scan_of(bright, noise=0.3, resolution=resolution)

    assert noisy.std() == pytest.approx(0.3, rel=0.1)


def test_noise_in_air_is_rayleigh():
    air = scan_of(np.zeros((4, 64, 64), dtype=np.float32), noise=1.0)

    assert air.mean() == pytest.approx(np.sqrt(np.pi / 2), rel=0.03)


def test_cutting_k_space_rings_at_edges():
    rung = scan_of(square(), resolution=(0.4, 0.4))

    assert rung.max() > 1.05
    assert np.abs(rung - square()).max() > 0.1


def test_apodisation_calms_the_ringing():
    hard = scan_of(square(), resolution=(0.4, 0.4))
    soft = scan_of(square(), resolution=(0.4, 0.4), apodisation=1.0)

    assert soft.max() < hard.max()


@pytest.mark.parametrize(("phase_rows", "place"), [(True, (48, 32)), (False, (32, 48))])
def test_ghosts_lie_along_the_phase_axis(phase_rows, place):
    ghosted = scan_of(square(), ghost=0.1, phase_rows=phase_rows)

    assert ghosted[0][place] == pytest.approx(0.1, abs=0.03)


def test_blur_spreads_edges():
    assert scan_of(square(), blur_mm=1.5)[0, 22, 32] > 0.02


def frame():
    plan = StationPlan(
        "cervical", 90.0, 200.0, 180.0, 0.5, 1.0, 3, 3.0, 3.0, 0.0, (0, 0), 0.0
    )
    return build_frame(plan, draw_spine(np.random.default_rng(1), 40, "M"))


def bias_of(**changes):
    here = frame()
    scan = replace(PLAIN, **changes)
    return here, draw_bias(np.random.default_rng(2), scan, here, -here.p)


def test_no_coil_no_bias():
    _, bias = bias_of()

    assert bias == pytest.approx(1.0)


def test_a_surface_coil_is_dim_in_front_and_bright_behind():
    here, bias = bias_of(coil_mm=30.0)

    assert bias[here.depth < -60].mean() < 0.6
    assert bias[here.depth > 40].mean() > 1.1
    assert np.median(bias[np.abs(here.p) < 5]) == pytest.approx(1.0)


def test_ends_of_the_coil_are_dim():
    here, bias = bias_of(ends=(0.0, 0.3))
    canal = np.abs(here.p) < 5

    assert bias[-5:][canal[-5:]].mean() < 0.5


def test_a_saturation_band_darkens_what_lies_before():
    here, bias = bias_of(band=10.0, band_keeps=0.1)

    assert bias[-here.p > 60].mean() == pytest.approx(0.1, abs=0.02)


def test_noise_factor_multiplies_what_is_drawn():
    quiet, loud = (
        draw_scan(np.random.default_rng(3), factor, 0.7) for factor in (1.0, 2.0)
    )

    assert loud.noise == pytest.approx(2 * quiet.noise)
