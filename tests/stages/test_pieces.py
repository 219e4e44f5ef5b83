from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from spinaldx.stages.pieces import bounding_box, number_pieces


def mask(*boxes, shape=(6, 7, 8)):
    inside = np.zeros(shape, np.bool_)
    for box in boxes:
        inside[tuple(slice(*side) for side in box)] = True
    return inside


class TestBoundingBox:
    def test_holds_everything_and_no_more(self):
        inside = mask(((1, 2), (3, 4), (5, 6)), ((4, 5), (2, 3), (5, 7)))

        assert bounding_box(inside) == (slice(1, 5), slice(2, 4), slice(5, 7))

    def test_a_margin_ends_with_the_image(self):
        inside = mask(((1, 2), (3, 4), (5, 6)))

        assert bounding_box(inside, 2) == (slice(0, 4), slice(1, 6), slice(3, 8))

    def test_is_empty_where_nothing_is(self):
        inside = mask()

        assert inside[bounding_box(inside)].size == 0
        assert inside[bounding_box(inside, 3)].size == 0


class TestNumberPieces:
    def test_corners_hang_together(self):
        inside = mask(((0, 1), (0, 1), (0, 1)), ((1, 2), (1, 2), (1, 2)))

        numbers, count = number_pieces(inside)

        assert count == 1
        np.testing.assert_array_equal(numbers, inside.astype(np.int32))

    def test_numbers_follow_the_first_voxels(self):
        inside = mask(((4, 5), (0, 1), (0, 1)), ((0, 2), (5, 6), (5, 6)))
        numbers, count = number_pieces(inside)

        assert (numbers[0, 5, 5], numbers[4, 0, 0], count) == (1, 2, 2)

    def test_nothing_in_nothing_out(self):
        numbers, count = number_pieces(mask())

        assert count == 0
        assert numbers.shape == (6, 7, 8)
        assert not numbers.any()

    @settings(max_examples=50, deadline=None)
    @given(arrays(np.bool_, (4, 5, 6), elements=st.booleans()))
    def test_as_the_whole_image_says(self, inside):
        expected, count = ndimage.label(inside, np.ones((3, 3, 3)))
        found = number_pieces(inside)

        np.testing.assert_array_equal(found[0], expected)
        assert found[1] == count

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_of_arrays_in_any_order(self, order):
        inside = mask(((4, 5), (0, 1), (0, 1)), ((1, 3), (5, 6), (5, 6)))
        numbers, count = number_pieces(inside.transpose(order))

        assert count == 2
        np.testing.assert_array_equal(numbers > 0, inside.transpose(order))
