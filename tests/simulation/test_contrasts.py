import dataclasses

import numpy as np
import pytest

from spinaldx.records import Plane
from spinaldx.simulation import contrasts


@pytest.fixture
def cervical(simulated_patient):
    return simulated_patient.stations[0]


def median(volume, inside):
    """Median over the voxels of a mask on the same grid."""
    return float(np.median(volume.voxels[inside]))


def parts(station):
    """Cord without lesion, fluid around it, tissue far away."""
    cord = (station.cord == 1) & (station.lesion == 0)
    fluid = np.zeros_like(cord)
    fluid[3:6, 15:17] = True
    far = np.zeros_like(cord)
    far[:, 34:] = True
    return cord, fluid, far


class TestT1Sagittal:
    def test_turns_fluid_darker_than_cord(self, cervical):
        image = contrasts.t1_sagittal(cervical, 0.8)
        cord, fluid, _ = parts(cervical)

        assert median(image, fluid) < 0.8 * median(image, cord)

    def test_keeps_slices_and_centre_on_larger_pixels(self, cervical):
        image = contrasts.t1_sagittal(cervical, 1.6)
        source = cervical.volume

        assert image.voxels.shape == (9, 22, 28)
        assert image.spacing_mm == pytest.approx((3.3, 1.6, 1.6))
        middles = [
            v.affine_ras @ [*((np.array(v.voxels.shape) - 1) / 2), 1]
            for v in (image, source)
        ]
        assert np.allclose(*middles)

    def test_manages_without_a_cord(self, cervical):
        blank = dataclasses.replace(cervical, cord=np.zeros_like(cervical.cord))

        assert np.isfinite(contrasts.t1_sagittal(blank, 0.8).voxels).all()


class TestStirSagittal:
    def test_keeps_fluid_and_darkens_what_is_bright_far_away(self, cervical):
        cervical.volume.voxels[:, 34:] = 900.0
        image = contrasts.stir_sagittal(cervical, 0.8)
        _, fluid, far = parts(cervical)

        assert median(image, far) < 0.4 * median(image, fluid)


class TestT2Axial:
    def test_is_centred_on_the_lesion(self, cervical):
        image = contrasts.t2_axial(cervical, 48, 0.8)

        inside = np.argwhere(cervical.lesion)
        middle = (inside.min(axis=0) + inside.max(axis=0)) / 2
        centre = image.affine_ras @ [23.5, 23.5, 7.5, 1]
        assert np.allclose(centre, cervical.volume.affine_ras @ [*middle, 1])
        assert image.plane is Plane.AXIAL

    def test_shows_the_station_where_it_has_slices_and_black_elsewhere(self, cervical):
        image = contrasts.t2_axial(cervical, 96, 0.8)

        assert image.voxels[48, 48].max() > 80
        assert image.voxels[0].max() == 0


class TestLocalizer:
    def test_has_three_planes(self, cervical):
        stacks = contrasts.localizer(cervical, 32, 3.0)

        assert [stack.plane for stack in stacks] == [
            Plane.SAGITTAL,
            Plane.CORONAL,
            Plane.AXIAL,
        ]
        assert all(stack.voxels.any() for stack in stacks)
