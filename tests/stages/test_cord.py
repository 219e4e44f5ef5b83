import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinaldx.records import Volume
from spinaldx.stages.cord import CordOptions, find_lateral, main_cord

# Nine sagittal slices of 3 mm, 64 rows from foot to head, 33 columns, 1 mm.
SHAPE = (9, 33, 64)
AFFINE = np.diag([3.0, 1.0, 1.0, 1.0])


def volume(shape=SHAPE, affine=AFFINE):
    return Volume(np.zeros(shape, np.float32), np.asarray(affine, float), "cord")


def boxes(*corners):
    """Probabilities of 1 in boxes of (slices, columns, rows), each (start, stop)."""
    probability = np.zeros(SHAPE, np.float32)
    for corner in corners:
        probability[tuple(slice(*ends) for ends in corner)] = 1.0
    return probability


# 7 mm from front to back, three slices wide, its middle in slice 4.
CORD = ((3, 6), (12, 19), (2, 62))


class TestMainCord:
    def test_keeps_large_pieces_only(self):
        halves = ((3, 6), (12, 19), (2, 30)), ((3, 6), (12, 19), (40, 62))
        found = main_cord(boxes(*halves, ((3, 5), (28, 31), (2, 6))), volume())

        assert found.voxels[4, 15, [10, 50]].all()
        assert not found.voxels[:, 28:].any()

    def test_is_none_without_a_cord_output(self):
        assert main_cord(None, volume()) is None

    def test_is_empty_and_reaches_anywhere_when_nothing_is_cord(self):
        found = main_cord(boxes(), volume())

        assert not found.voxels.any()
        assert found.reach.all()

    def test_fluid_beside_the_cord_is_no_cord(self):
        # Slice 7 lies 9 mm from the middle, of a cord 9 mm wide.
        fluid = ((6, 8), (13, 18), (20, 40))
        found = main_cord(boxes(CORD, fluid), volume())

        assert found.voxels[3:6, 12:19, 2:62].all()
        assert not found.voxels[7:].any()

    def test_its_middle_is_where_it_has_no_lesion(self):
        # Cord in slices 3 and 4, fluid in 7 and 8 taken for cord full of lesion.
        cord, fluid = ((3, 5), (12, 19), (2, 62)), ((7, 9), (12, 19), (2, 62))
        probability, lesion = boxes(cord, fluid), boxes(fluid)
        aware = main_cord(probability, volume(), lesion_probability=lesion)

        # Both places fit an ellipse alike; the cord without lesion chooses.
        assert aware.lateral.offset[:, 0, 30].argmin() in {3, 4}
        assert aware.voxels[3:5, 12:19, 2:62].all()
        assert not aware.voxels[7:].any()

    def test_a_lesion_that_fills_the_cord_keeps_its_middle(self):
        probability = boxes(CORD)
        found = main_cord(probability, volume(), lesion_probability=probability)
        expected = main_cord(probability, volume())

        np.testing.assert_array_equal(found.reach, expected.reach)
        np.testing.assert_array_equal(found.voxels, expected.voxels)

    def test_pieces_that_only_fluid_joined_are_judged_again(self):
        # Too small for itself; the sheet in slice 7 held it to the cord.
        sheet, crumb = ((6, 8), (12, 19), (20, 30)), ((6, 7), (19, 25), (20, 22))
        found = main_cord(boxes(CORD, sheet, crumb), volume())

        assert not found.voxels[7].any()


class TestFindLateral:
    def found(self, *corners):
        return find_lateral(boxes(*corners) > 0, volume(), CordOptions())

    def reach(self, *corners):
        return np.broadcast_to(self.found(*corners).reach, SHAPE)

    def test_is_as_wide_as_the_cord_about_its_middle(self):
        # Three slices of 3 mm show cord: their centres are at most 3 mm away.
        reach = self.reach(CORD)

        assert reach[3:6].all()
        assert not reach[[0, 1, 2, 6, 7, 8]].any()

    def test_offset_is_1_at_the_side_and_0_in_the_middle(self):
        offset = self.found(CORD).offset[:, 0, 30]

        assert offset[4] == 0
        assert offset[3] == pytest.approx(offset[5])
        assert offset[[3, 5]].max() < 1 < offset[[2, 6]].min()

    def test_a_spindle_of_fluid_does_not_widen_it(self):
        spindle = ((7, 9), (14, 17), (25, 40))
        expected = self.reach(CORD)

        np.testing.assert_array_equal(self.reach(CORD, spindle), expected)

    def test_a_swollen_cord_reaches_farther(self):
        # 14 mm from front to back: even a flat ellipse over three slices is wider.
        reach = self.reach(((3, 6), (8, 22), (2, 62)))

        assert reach[2:7].all()
        assert not reach[[0, 8]].any()

    def test_follows_a_cord_that_leaves_the_plane(self):
        low, high = ((1, 4), (12, 19), (0, 32)), ((5, 8), (12, 19), (32, 64))
        reach = self.reach(low, high)

        assert reach[1:4, :, 5].all()
        assert not reach[4:, :, 5].any()
        assert reach[5:8, :, 58].all()
        assert not reach[:5, :, 58].any()

    def test_rows_without_cord_take_the_nearest_ones(self):
        reach = self.reach(((1, 4), (12, 19), (20, 30)))

        assert (reach[:, 0, 0] == reach[:, 0, 20]).all()
        assert (reach[:, 0, 63] == reach[:, 0, 29]).all()

    def test_one_slice_is_never_out_of_reach(self):
        cord = np.zeros((1, 33, 64), bool)
        cord[0, 12:19] = True
        found = find_lateral(cord, volume((1, 33, 64)), CordOptions())

        assert found.reach.all()
        assert not found.offset.any()

    @settings(max_examples=60, deadline=None)
    @given(
        order=st.permutations((0, 1, 2)),
        flips=st.tuples(*[st.booleans()] * 3),
        seed=st.integers(0, 2**16),
    )
    def test_is_the_same_place_in_any_order_of_axes(self, order, flips, seed):
        rng = np.random.default_rng(seed)
        # Lopsided, so that no two middles fit alike.
        cord = boxes(((2, 5), (12, 19), (2, 62)), ((5, 6), (13, 17), (2, 62))) > 0
        cord &= rng.random(SHAPE) < 0.95
        expected = np.broadcast_to(
            find_lateral(cord, volume(), CordOptions()).reach, SHAPE
        )
        affine = AFFINE[:, [*order, 3]].copy()
        turned = cord.transpose(order)
        for axis, flip in enumerate(flips):
            if flip:
                affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
                affine[:3, axis] *= -1
                turned = np.flip(turned, axis)
        other = volume(turned.shape, affine)
        found = np.broadcast_to(
            find_lateral(turned, other, CordOptions()).reach, turned.shape
        )
        for axis, flip in enumerate(flips):
            if flip:
                found = np.flip(found, axis)

        assert (found == expected.transpose(order)).mean() > 0.999


@pytest.mark.parametrize("thick", [1.0, 3.0, 4.4])
def test_reaches_what_is_cord_with_slices_of_any_thickness(thick):
    slices = round(27 / thick)
    spacing = np.diag([thick, 1.0, 1.0, 1.0])
    places = (np.arange(slices) - (slices - 1) / 2) * thick
    cord = np.zeros((slices, 33, 64), bool)
    cord[np.abs(places) <= 5, 12:19] = True
    found = find_lateral(cord, volume(cord.shape, spacing), CordOptions())

    # Cord in slices whose centre is within 5 mm; its side lies up to half a slice on.
    within = np.flatnonzero(np.broadcast_to(found.reach, cord.shape)[:, 0, 30])
    shown = np.flatnonzero(np.abs(places) <= 5)
    assert set(shown) <= set(within)
    assert np.abs(places[within]).max() <= 5 + thick / 2 + 0.75
