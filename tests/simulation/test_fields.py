"""Soft edges and smooth noise."""

import numpy as np
import pytest

from spinaldx.simulation.fields import (
    TurningField,
    ellipse_depth_mm,
    smooth_noise,
    soft_line,
    soft_step,
)


def test_soft_step_is_half_covered_on_the_edge():
    covered = soft_step(np.array([-1.0, -0.25, 0.0, 0.25, 1.0]), 1.0)

    assert covered == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert covered.dtype == np.float32


def test_soft_line_covers_about_its_thickness():
    across = np.arange(-5, 5, 0.01)

    assert soft_line(across, 2.0).sum() * 0.01 == pytest.approx(2.0, rel=0.1)


def test_ellipse_depth_is_exact_on_the_axes():
    p, u = np.array([3.0, 0.0, 4.0, 0.0]), np.array([0.0, 5.0, 0.0, 7.0])
    depth = ellipse_depth_mm(p, u, np.full(4, 4.0), np.full(4, 6.0))

    assert depth == pytest.approx([1.0, 1.0, 0.0, -1.0], abs=0.25)


def test_ellipse_covers_its_area():
    p, u = np.meshgrid(np.arange(-9, 9, 0.1), np.arange(-9, 9, 0.1))
    depth = ellipse_depth_mm(p, u, np.full_like(p, 4.0), np.full_like(p, 6.0))

    area = soft_step(depth, 0.5).sum() * 0.01
    assert area == pytest.approx(np.pi * 24, rel=0.02)


@pytest.mark.parametrize("cells", [(1.5, 6.0), (12.0, 4.0)])
def test_smooth_noise_has_unit_spread(cells):
    field = smooth_noise(np.random.default_rng(1), (300, 300), cells)

    assert field.std() == pytest.approx(1.0, abs=0.2)
    assert abs(np.diff(field, axis=0)).mean() < field.std()


def test_neighbouring_slices_share_a_turning_field():
    field = TurningField(np.random.default_rng(2), (80, 80), (4, 4), turn_mm=20.0)
    here, near, far = field.at(0.0), field.at(2.0), field.at(31.4)

    assert np.corrcoef(here.ravel(), near.ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(here.ravel(), far.ravel())[0, 1]) < 0.5
