from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from spinaldx.records import Volume
from spinaldx.stages.contrast import (
    ContrastOptions,
    FaintEndOptions,
    brightness,
    contrast_to_cord,
    cut_faint_ends,
    swelling,
)

# Three sagittal slices of 3 mm, 33 columns and 100 rows of 1 mm.
SHAPE = (3, 33, 100)
ORDERS = list(permutations(range(3)))
CORD = (slice(None), slice(12, 19), slice(None))
LESION = (slice(1, 2), slice(14, 17), slice(45, 55))


def labelled(*places):
    labels = np.zeros(SHAPE, np.uint8)
    for number, place in enumerate(places, 1):
        labels[place] = number
    return labels


def cord_mask():
    cord = np.zeros(SHAPE, bool)
    cord[CORD] = True
    return cord


def volume(voxels, order=(0, 1, 2)):
    affine = np.diag([3.0, 1.0, 1.0, 1.0])[:, [*order, 3]]
    return Volume(voxels.transpose(order).astype(np.float32), affine, "contrast")


def scan(ratio=1.5):
    """Cord at 100, fluid at 300 beside it, the lesion `ratio` times the cord."""
    voxels = np.full(SHAPE, 300.0)
    voxels[CORD] = 100.0
    voxels[LESION] = 100.0 * ratio
    return voxels


class TestContrastToCord:
    @pytest.mark.parametrize("ratio", [0.9, 1.0, 1.5, 4.0])
    def test_is_the_ratio_of_lesion_to_cord(self, ratio):
        found = contrast_to_cord(labelled(LESION), cord_mask(), volume(scan(ratio)))

        assert found.tolist() == [pytest.approx(ratio)]

    @pytest.mark.parametrize("order", ORDERS)
    def test_in_any_order_of_axes(self, order):
        found = contrast_to_cord(
            labelled(LESION).transpose(order),
            cord_mask().transpose(order),
            volume(scan(), order),
        )

        assert found.tolist() == [pytest.approx(1.5)]

    def test_fluid_at_the_edge_of_the_cord_does_not_count(self):
        voxels = scan()
        voxels[:, [12, 18]] = 300.0  # outermost columns of what is marked as cord
        found = contrast_to_cord(labelled(LESION), cord_mask(), volume(voxels))

        assert found.tolist() == [pytest.approx(1.5)]

    def test_a_cyst_makes_a_tumour_as_bright_as_cord_brighter(self):
        voxels = scan(1.0)
        voxels[1, 14:17, 48:51] = 250.0  # 9 of 30 voxels
        found = contrast_to_cord(labelled(LESION), cord_mask(), volume(voxels))

        assert found.tolist() == [pytest.approx(2.5)]

    def test_other_lesions_are_no_reference(self):
        second = (slice(1, 2), slice(12, 19), slice(57, 100))
        voxels = scan()
        voxels[second] = 200.0
        labels = labelled(LESION, second)

        found = contrast_to_cord(labels, cord_mask(), volume(voxels))

        assert found == pytest.approx([1.5, 2.0])

    def test_cord_far_away_is_no_reference(self):
        voxels = scan()
        voxels[:, 12:19, :36] = voxels[:, 12:19, 64:] = 500.0
        scanned = volume(voxels)
        near, far = (
            contrast_to_cord(
                labelled(LESION), cord_mask(), scanned, ContrastOptions(around_mm=reach)
            )
            for reach in (9, 30)
        )

        assert near.tolist() == [pytest.approx(1.5)]
        assert far.tolist() == [pytest.approx(0.3)]  # most of it is at 500

    def test_a_slice_full_of_lesion_is_compared_with_the_others(self):
        full = (slice(1, 2), slice(12, 19), slice(0, 100))
        voxels = scan()
        voxels[full] = 180.0
        found = contrast_to_cord(labelled(full), cord_mask(), volume(voxels))

        assert found.tolist() == [pytest.approx(1.8)]

    def test_nothing_is_said_without_cord_to_compare_with(self):
        everything = labelled(CORD)

        assert np.isnan(contrast_to_cord(everything, cord_mask(), volume(scan()))).all()
        empty = np.zeros(SHAPE, bool)
        assert np.isnan(contrast_to_cord(everything, empty, volume(scan()))).all()

    def test_nothing_is_said_of_a_dark_cord(self):
        voxels = np.zeros(SHAPE)
        found = contrast_to_cord(labelled(LESION), cord_mask(), volume(voxels))

        assert np.isnan(found).all()

    def test_without_lesions_it_is_empty(self):
        assert contrast_to_cord(labelled(), cord_mask(), volume(scan())).shape == (0,)


class TestSwelling:
    def test_of_an_even_cord_is_one(self):
        assert swelling(labelled(LESION), cord_mask(), volume(scan())).tolist() == [1.0]

    @pytest.mark.parametrize("order", ORDERS)
    def test_is_the_ratio_of_thicknesses(self, order):
        cord = cord_mask()
        cord[1, 8:22, 45:55] = True
        found = swelling(
            labelled(LESION).transpose(order),
            cord.transpose(order),
            volume(scan(), order),
        )

        assert found.tolist() == [2.0]  # 14 columns and 7

    def test_nothing_is_said_where_every_row_has_lesion(self):
        whole = swelling(labelled(CORD), cord_mask(), volume(scan()))

        assert np.isnan(whole).all()

    def test_without_lesions_it_is_empty(self):
        assert swelling(labelled(), cord_mask(), volume(scan())).shape == (0,)


class TestBrightness:
    def test_is_that_of_lesion_and_cord(self):
        found = brightness(labelled(LESION), cord_mask(), volume(scan(1.5)))

        assert found.tolist() == [[150.0, 100.0, 100.0]]

    @pytest.mark.parametrize("order", ORDERS)
    def test_slices_that_hold_a_part_of_the_lesion_do_not_count(self, order):
        # 14 of 30 voxels in either dim slice: with the dim ones of the main slice 49 of
        # 58, so that seven tenths of all are at most 120.
        sides = (slice(0, 3, 2), slice(14, 16), slice(45, 52))
        voxels = scan(1.5)
        voxels[sides] = 120.0
        voxels[1, 14:17, 45:52] = 120.0
        labels = labelled(LESION)
        labels[sides] = 1
        arrays = (one.transpose(order) for one in (labels, cord_mask()))
        found = brightness(*arrays, volume(voxels, order))

        # Of the main slice's 30 voxels 21 are dim: the place of seven tenths is 20.3 of
        # 0 to 29, three tenths of the way from the last dim one to the first bright one.
        assert found[0, 0] == pytest.approx(129.0)

    def test_slices_that_show_half_as_much_do(self):
        sides = (slice(0, 3, 2), slice(14, 17), slice(45, 50))
        voxels = scan(1.5)
        voxels[sides] = 120.0
        labels = labelled(LESION)
        labels[sides] = 1
        voxels[1, 14:17, 45:51] = 120.0

        # 48 of 60 voxels are dim, and of the main slice's 18 of 30.
        assert brightness(labels, cord_mask(), volume(voxels))[0, 0] == 120.0

    def test_the_rim_does_not_count(self):
        # 20 of 30 voxels show a part of the lesion.
        voxels = scan(1.5)
        voxels[1, 14:17:2, 45:55] = 120.0
        found = brightness(labelled(LESION), cord_mask(), volume(voxels))

        assert found[0, 0] == 150.0

    def test_what_is_spread_as_the_cord_is_is_compared_by_its_median(self):
        # Noise of +-10 in both: upper parts are 10 above the medians.
        noise = np.resize([-10.0, 0.0, 10.0], (3, 7, 100))
        voxels = scan(1.5)
        voxels[CORD] += noise
        found = brightness(labelled(LESION), cord_mask(), volume(voxels))

        assert found[0, :2].tolist() == [150.0, 100.0]

    def test_without_cord_it_is_not_known(self):
        found = brightness(labelled(LESION), np.zeros(SHAPE, bool), volume(scan()))

        assert found.shape == (1, 3)
        assert np.isnan(found).all()

    def test_nothing_in_nothing_out(self):
        assert brightness(labelled(), cord_mask(), volume(scan())).shape == (0, 3)


class TestFaintEnds:
    """A mark 40 rows long: some rows 1.5 times as bright as the cord, others alike."""

    MARK = (slice(1, 2), slice(14, 17), slice(30, 70))

    def cut(self, bright, order=(0, 1, 2), **options):
        voxels = np.full(SHAPE, 3.0)
        voxels[CORD] = 1.0
        for first, last in bright:
            voxels[1:2, 14:17, first:last] = 1.5
        left = cut_faint_ends(
            labelled(self.MARK).transpose(order),
            cord_mask().transpose(order),
            volume(voxels, order),
            FaintEndOptions(**options),
        )
        return np.transpose(left, np.argsort(order))

    def rows(self, *bright, **options):
        left = self.cut(bright, **options)
        found = np.flatnonzero(left.any(axis=(0, 1)))
        return (int(found[0]), int(found[-1]) + 1) if len(found) else None

    @pytest.mark.parametrize("order", ORDERS)
    def test_the_faint_end_goes(self, order):
        left = self.cut([(30, 50)], order)

        # A row's median is that of 8 mm: half of them are bright up to the edge.
        found = np.flatnonzero(left.any(axis=(0, 1)))
        assert found[0] == 30
        assert found[-1] + 1 == pytest.approx(50, abs=1)

    def test_at_both_ends(self):
        first, last = self.rows((42, 57))

        assert first == pytest.approx(42, abs=1)
        assert last == pytest.approx(57, abs=1)

    def test_a_short_one_stays(self):
        assert self.rows((30, 63)) == (30, 70)

    def test_what_is_faint_between_bright_rows_stays(self):
        assert self.rows((30, 40), (60, 70)) == (30, 70)

    def test_a_mark_without_a_bright_row_stays_whole(self):
        assert self.rows() == (30, 70)

    def test_where_the_cord_is_swollen_nothing_is_cut(self):
        voxels = np.full(SHAPE, 3.0)
        cord = cord_mask()
        cord[:, 10:21, 30:70] = True
        voxels[cord] = 1.0
        voxels[1:2, 14:17, 30:45] = 1.5
        left = cut_faint_ends(labelled(self.MARK), cord, volume(voxels))

        np.testing.assert_array_equal(left, labelled(self.MARK) > 0)

    def test_one_of_two_lesions(self):
        second = (slice(1, 2), slice(14, 17), slice(80, 95))
        voxels = np.full(SHAPE, 1.0)
        voxels[1:2, 14:17, 30:50] = 1.5
        voxels[second] = 1.5
        left = cut_faint_ends(labelled(self.MARK, second), cord_mask(), volume(voxels))

        assert left[second].all()
        assert not left[1, 15, 55:70].any()

    def test_nothing_in_nothing_out(self):
        assert not cut_faint_ends(labelled(), cord_mask(), volume(scan())).any()

    HALF = FaintEndOptions(share=0.5, window_mm=4.0, shortest_mm=3.0)

    def faded(self, end, **options):
        """A mark twice as bright as the cord, its last ten rows at `end`."""
        voxels = np.full(SHAPE, 1.0)
        voxels[1:2, 14:17, 30:60] = 2.0
        voxels[1:2, 14:17, 60:70] = end
        left = cut_faint_ends(
            labelled(self.MARK),
            cord_mask(),
            volume(voxels),
            replace(self.HALF, **options),
        )
        return int(np.flatnonzero(left.any(axis=(0, 1)))[-1]) + 1

    @pytest.mark.parametrize(("end", "last"), [(1.4, 60), (1.6, 70)])
    def test_or_where_it_has_faded_half_way(self, end, last):
        assert self.faded(end) == pytest.approx(last, abs=2)

    def test_but_not_of_a_small_one(self):
        # 3 x 40 voxels of 3 mm3.
        assert self.faded(1.4, least_volume_mm3=359) < 65
        assert self.faded(1.4, least_volume_mm3=361) == 70
