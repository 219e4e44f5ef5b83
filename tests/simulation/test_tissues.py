"""Brightness of tissues: T2w always, near the priors mostly."""

import numpy as np
import pytest

from spinaldx.simulation.tissues import Tissues, draw_tissues


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(1)
    return [draw_tissues(rng) for _ in range(400)]


def test_fluid_is_brighter_than_cord(drawn):
    assert min(tissues.csf for tissues in drawn) >= 1.35


def test_most_patients_lie_near_the_priors(drawn):
    away = [abs(np.log(item.ligament / Tissues().ligament)) for item in drawn]

    assert np.median(away) < 0.25
    assert np.mean(np.array(away) > 0.5) > 0.05


def test_some_scans_suppress_fat(drawn):
    assert 0.03 < np.mean([item.fat < 0.6 for item in drawn]) < 0.35
