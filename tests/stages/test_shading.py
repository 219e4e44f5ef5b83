from itertools import permutations

import numpy as np
import pytest

from spinaldx.records import Volume
from spinaldx.stages.shading import (
    ShadingOptions,
    even_out,
    lesion_brightness,
    lesion_free_cord,
)

# Three sagittal slices of 3 mm, 33 columns and 120 rows of 1 mm.
SHAPE = (3, 33, 120)
ORDERS = list(permutations(range(3)))
BENDING = ShadingOptions(bends=True)
CORD = (slice(None), slice(12, 19), slice(None))


def cord_mask():
    cord = np.zeros(SHAPE, bool)
    cord[CORD] = True
    return cord


def labelled(*places):
    labels = np.zeros(SHAPE, np.uint8)
    for number, place in enumerate(places, 1):
        labels[place] = number
    return labels


def filling(first, last):
    """A lesion that fills the cord of all slices over some rows."""
    return (slice(None), slice(12, 19), slice(first, last))


def volume(voxels, order=(0, 1, 2)):
    affine = np.diag([3.0, 1.0, 1.0, 1.0])[:, [*order, 3]]
    return Volume(voxels.transpose(order).astype(np.float32), affine, "shaded")


def shaded(labels, ratio=1.5, per_row=0.01):
    """Cord that grows brighter by `per_row` a row, lesions `ratio` times as bright."""
    voxels = np.full(SHAPE, 300.0)
    voxels[CORD] = 100.0
    voxels[labels > 0] *= ratio
    return voxels * np.exp(per_row * np.arange(SHAPE[2]))


class TestLesionFreeCord:
    def test_is_the_cord_but_for_its_edge_and_the_lesions_border(self):
        lesion = (slice(1, 2), slice(12, 19), slice(40, 60))
        inner, free = lesion_free_cord(
            labelled(lesion), cord_mask(), volume(np.ones(SHAPE)), 2
        )

        # Rows 0 and 119 have no neighbour outside the image.
        expected = np.zeros(SHAPE, bool)
        expected[:, 13:18, 1:119] = True
        np.testing.assert_array_equal(inner, expected)
        expected[1, 13:18, 39:61] = False
        np.testing.assert_array_equal(free[1, 15], expected[1, 15] & ~_near(38, 62))
        np.testing.assert_array_equal(free[[0, 2]], expected[[0, 2]])


def _near(first, last):
    near = np.zeros(SHAPE[2], bool)
    near[first:last] = True
    return near


class TestEvenOut:
    @pytest.mark.parametrize("order", ORDERS)
    def test_the_cord_is_one_and_a_lesion_its_ratio(self, order):
        labels = labelled(filling(40, 80))
        even = even_out(
            labels.transpose(order),
            cord_mask().transpose(order),
            volume(shaded(labels), order),
        )
        voxels = np.transpose(even.voxels, np.argsort(order))

        # Means over 8 mm of an exponential are a little high, at the ends too low.
        assert voxels[1, 15, 15:35] == pytest.approx(1.0, rel=0.02)
        assert voxels[1, 15, 45:75] == pytest.approx(1.5, rel=0.03)
        assert voxels[1, 15, 85:105] == pytest.approx(1.0, rel=0.02)

    def test_a_curve_takes_a_straight_logarithm_as_it_is(self):
        labels = labelled(filling(40, 80))
        even = even_out(labels, cord_mask(), volume(shaded(labels)), BENDING)

        assert even.voxels[1, 15, 2:38] == pytest.approx(1.0, rel=1e-4)
        assert even.voxels[1, 15, 42:78] == pytest.approx(1.5, rel=1e-4)
        assert even.voxels[1, 15, 82:118] == pytest.approx(1.0, rel=1e-4)

    @pytest.mark.parametrize("per_row2", [2e-4, -2e-4])
    def test_a_coil_nearest_to_the_lesion_or_farthest_from_it(self, per_row2):
        labels = labelled(filling(40, 80))
        coil = np.exp(-per_row2 * (np.arange(SHAPE[2]) - 60.0) ** 2)
        scan = volume(shaded(labels, per_row=0.0) * coil)
        even = even_out(labels, cord_mask(), scan, BENDING)

        # A straight line from row 32 to 88, exp(0.0002 * 28^2), would be 17 % off.
        assert even.voxels[1, 15, 45:75] == pytest.approx(1.5, rel=0.03)
        straight = even_out(labels, cord_mask(), scan)
        assert abs(np.log(straight.voxels[1, 15, 60] / 1.5)) > 0.12

    def test_what_is_left_of_a_lesion_in_its_rows_says_nothing(self):
        labels = labelled((slice(1, 2), slice(12, 19), slice(40, 80)))
        voxels = shaded(labelled(filling(40, 80)), per_row=0.0)
        even = even_out(labels, cord_mask(), volume(voxels))

        # The outer slices hold lesion that nobody marked.
        assert even.voxels[1, 15, 60] == pytest.approx(1.5, rel=0.01)

    def test_beyond_the_last_row_without_lesion_what_is_seen_there_counts(self):
        labels = labelled((slice(1, 2), slice(12, 19), slice(0, 60)))
        voxels = shaded(labels, per_row=0.02)
        even = even_out(labels, cord_mask(), volume(voxels))

        assert even.voxels[1, 15, 20:50] == pytest.approx(1.5, rel=0.05)

    @pytest.mark.parametrize("rows", [slice(60, 63), slice(60, 64), slice(60, 65)])
    @pytest.mark.parametrize("options", [None, BENDING])
    def test_a_row_or_two_are_enough(self, rows, options):
        cord = np.zeros(SHAPE, bool)
        cord[:, 12:19, rows] = True
        scan = volume(np.full(SHAPE, 50.0))

        # Rows at its ends are no inner cord: 1, 2 and 3 are left.
        even = even_out(np.zeros(SHAPE, np.uint8), cord, scan, options)
        assert even.voxels == pytest.approx(1.0)

    def test_far_away_the_last_row_is_held(self):
        cord = cord_mask()
        cord[..., 60:] = False
        even = even_out(np.zeros(SHAPE, np.uint8), cord, volume(np.full(SHAPE, 50.0)))

        assert even.voxels == pytest.approx(1.0)

    @pytest.mark.parametrize("value", [0.0, -5.0])
    def test_nothing_to_read_it_off_gives_nothing(self, value):
        scan = volume(np.full(SHAPE, value))

        assert even_out(labelled(), cord_mask(), scan) is None

    def test_nor_does_a_missing_cord(self):
        scan = volume(np.ones(SHAPE))

        assert even_out(labelled(), np.zeros(SHAPE, bool), scan) is None

    def test_nor_does_a_cord_full_of_lesion(self):
        labels = labelled(filling(0, 120))
        scan = volume(shaded(labels))

        assert even_out(labels, cord_mask(), scan) is None


class TestLesionBrightness:
    @pytest.mark.parametrize("order", ORDERS)
    def test_is_the_ratio_whatever_the_coil(self, order):
        labels = labelled(filling(40, 80))
        ratio = lesion_brightness(
            labels.transpose(order),
            cord_mask().transpose(order),
            volume(shaded(labels, ratio=1.8, per_row=0.02), order),
        )

        assert ratio == pytest.approx(1.8, rel=1e-3)

    def test_is_the_median_of_all_lesions(self):
        labels = labelled(filling(20, 40), filling(80, 90))
        voxels = np.where(labels == 2, 3.0, np.where(labels == 1, 1.4, 1.0))

        assert lesion_brightness(labels, cord_mask(), volume(voxels)) == (
            pytest.approx(1.4, rel=1e-3)
        )

    def test_a_lesion_beyond_the_cord_counts(self):
        labels = labelled((slice(None), slice(19, 24), slice(40, 80)))
        voxels = np.where(labels > 0, 2.0, 1.0)

        assert lesion_brightness(labels, cord_mask(), volume(voxels)) == (
            pytest.approx(2.0, rel=1e-3)
        )

    def test_nobody_can_say_without_lesion_or_free_cord(self):
        scan = volume(np.ones(SHAPE))

        assert lesion_brightness(labelled(), cord_mask(), scan) is None
        assert lesion_brightness(labelled(filling(0, 120)), cord_mask(), scan) is None
