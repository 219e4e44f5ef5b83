import itertools

import numpy as np
import pytest

from spinaldx.records import Plane, Volume
from spinaldx.simulation.scanner import scanner_grid, to_counts


def volume(order=(0, 1, 2), flips=(1, 1, 1), spacing=(3.3, 0.9, 0.8)):
    """A 4x5x6 image whose RAS axes are stored in any order and direction."""
    affine = np.eye(4)
    for axis, (ras, sign) in enumerate(zip(order, flips, strict=True)):
        affine[:3, axis] = 0.0
        affine[ras, axis] = sign * spacing[ras]
    shape = tuple((4, 5, 6)[ras] for ras in order)
    voxels = np.arange(120, dtype=np.float32).reshape(shape)
    return Volume(voxels, affine, "cervical")


class TestScannerGrid:
    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    @pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
    def test_turns_every_axis_order_to_back_feet_right(self, order, flips):
        image = volume(order, flips)

        grid = scanner_grid(image)

        expected = np.array([[0, 0, 3.3], [-0.9, 0, 0], [0, -0.8, 0]])
        assert np.allclose(grid.affine_ras[:3, :3], expected)

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_keeps_each_voxel_where_it_is_in_the_patient(self, order):
        image = volume(order, (1, -1, 1))

        grid = scanner_grid(image)
        turned = grid.turn(image.voxels)

        here = np.argwhere(turned == 77.0)[0]
        there = np.argwhere(image.voxels == 77.0)[0]
        assert np.allclose(
            grid.affine_ras @ np.append(here, 1), image.affine_ras @ np.append(there, 1)
        )

    @pytest.mark.parametrize(
        ("spacing", "plane", "rows", "columns"),
        [
            ((3.0, 0.9, 0.8), Plane.SAGITTAL, (0, 0, -0.8), (0, -0.9, 0)),
            ((0.9, 3.0, 0.8), Plane.CORONAL, (0, 0, -0.8), (-0.9, 0, 0)),
            ((0.9, 0.8, 3.0), Plane.AXIAL, (0, -0.8, 0), (-0.9, 0, 0)),
            ((1.0, 1.0, 1.0), Plane.ISOTROPIC, (0, 0, -1.0), (0, -1.0, 0)),
        ],
    )
    def test_reads_each_plane_the_usual_way(self, spacing, plane, rows, columns):
        image = volume(spacing=spacing)

        grid = scanner_grid(image)

        assert image.plane is plane
        assert np.allclose(grid.affine_ras[:3, 1], rows)
        assert np.allclose(grid.affine_ras[:3, 0], columns)


class TestToCounts:
    def test_rounds_and_drops_negative_values(self):
        counts = to_counts(np.array([-3.0, 0.4, 300.6], np.float32))

        assert counts.tolist() == [0, 0, 301]
        assert counts.dtype == np.uint16

    @pytest.mark.parametrize("brightest", [1.0, 254.0, 4096.0, 1e6])
    def test_brings_odd_scales_to_2000(self, brightest):
        counts = to_counts(np.array([brightest / 2, brightest], np.float32))

        assert counts.tolist() == [1000, 2000]

    def test_keeps_black_black(self):
        assert to_counts(np.zeros(3, np.float32)).tolist() == [0, 0, 0]

    def test_takes_an_empty_image(self):
        assert to_counts(np.zeros((0, 2), np.float32)).shape == (0, 2)
