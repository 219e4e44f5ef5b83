from itertools import permutations

import numpy as np
import pytest

from spinaldx.records import Volume
from spinaldx.stages.placement import lesion_cord_share, lesion_eccentricity

# Nine sagittal slices of 2 mm, 20 columns from front to back and 30 rows, both of 1 mm.
SHAPE = (9, 20, 30)
AFFINE = np.diag([2.0, 1.0, 1.0, 1.0])

# The cord fills the slices 2 to 6 and the columns 5 to 14: its middle is slice 4, its
# half width 2.5 slices, its half thickness 5 columns.
CORD = np.zeros(SHAPE, dtype=np.bool_)
CORD[2:7, 5:15] = True
PLACE = ((np.arange(9) - 4) / 2.5).astype(np.float32)[:, None, None]


def marked(*boxes):
    labels = np.zeros(SHAPE, np.uint8)
    for number, box in enumerate(boxes, 1):
        labels[box] = number
    return labels


def lesion(slices, columns, rows=slice(10, 20)):
    return slices, columns, rows


def share(labels, cord=CORD, affine=AFFINE):
    volume = Volume(np.ones(labels.shape, np.float32), affine, "share")
    return lesion_cord_share(labels, cord, volume)


def eccentricity(labels, cord=CORD, place=PLACE, affine=AFFINE):
    volume = Volume(np.ones(labels.shape, np.float32), affine, "eccentricity")
    return lesion_eccentricity(labels, cord, place, volume)


MIDDLE = lesion(slice(3, 6), slice(8, 12))


def test_a_lesion_in_the_middle_has_none():
    assert eccentricity(marked(MIDDLE)) == pytest.approx(0.0, abs=1e-6)


def test_so_has_one_that_fills_the_cord():
    whole = lesion(slice(2, 7), slice(5, 15))

    assert eccentricity(marked(whole)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("columns", [slice(5, 7), slice(13, 15)])
def test_it_counts_to_front_and_back_in_half_thicknesses(columns):
    # Columns 5 and 6 lie at 5.5, 4 before the middle at 9.5, and 13 and 14 behind it.
    labels = marked(lesion(slice(3, 6), columns))

    assert eccentricity(labels) == pytest.approx(4 / 5)


@pytest.mark.parametrize("one", [2, 6])
def test_and_to_either_side_in_half_widths(one):
    labels = marked(lesion(slice(one, one + 1), slice(8, 12)))

    assert eccentricity(labels) == pytest.approx(2 / 2.5)


def test_both_directions_make_one_distance():
    labels = marked(lesion(slice(6, 7), slice(13, 15)))

    assert eccentricity(labels) == pytest.approx(np.hypot(0.8, 0.8))


def test_the_front_and_back_of_a_slice_are_those_of_its_cord():
    # In slice 6 the cord is thinner: columns 7 to 10, their middle at 8.5.
    cord = CORD.copy()
    cord[6] = False
    cord[6, 7:11] = True
    labels = marked(lesion(slice(6, 7), slice(10, 11)))

    assert eccentricity(labels, cord) == pytest.approx(np.hypot(1.5 / 2, 0.8))


def test_a_lesion_beyond_the_cord_widens_it():
    # With column 15 the cord's middle is column 10, its half thickness 5.5.
    labels = marked(lesion(slice(4, 5), slice(14, 16)))

    assert eccentricity(labels) == pytest.approx(4.5 / 5.5)


def test_lesions_on_both_sides_do_not_cancel_out():
    front = lesion(slice(3, 6), slice(5, 7))
    back = lesion(slice(3, 6), slice(13, 15), slice(20, 25))

    assert eccentricity(marked(front, back)) == pytest.approx(0.8)


def test_larger_lesions_count_for_more():
    # 30 voxels a row in both; the central one has ten rows, the other five.
    central = lesion(slice(3, 6), slice(8, 12), slice(5, 15))
    front = lesion(slice(3, 6), slice(5, 9), slice(20, 25))

    # Columns 5 to 8 lie 3 before the middle.
    assert eccentricity(marked(central, front)) == pytest.approx(0.6 / 3)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_any_axis_order(axes):
    labels = marked(lesion(slice(6, 7), slice(12, 15)), MIDDLE)
    moved = AFFINE[:, [*axes, 3]]

    found = eccentricity(
        labels.transpose(axes), CORD.transpose(axes), PLACE.transpose(axes), moved
    )

    assert found == pytest.approx(eccentricity(labels))
    assert share(labels.transpose(axes), CORD.transpose(axes), moved) == pytest.approx(
        share(labels)
    )


def test_without_lesion_or_cord_nobody_can_say():
    nowhere = np.zeros(SHAPE, dtype=np.bool_)

    assert eccentricity(marked()) is share(marked()) is None
    assert (
        eccentricity(marked(MIDDLE), nowhere) is share(marked(MIDDLE), nowhere) is None
    )


def test_the_share_is_that_of_the_rows_with_the_lesion():
    # The cord has 5 slices of 10 columns; 12 of these 50 voxels a row are lesion.
    assert share(marked(MIDDLE)) == pytest.approx(12 / 50)


def test_a_lesion_that_fills_the_cord_has_all_of_it():
    assert share(marked(lesion(slice(2, 7), slice(5, 15)))) == 1.0


def test_a_lesion_beyond_the_cord_does_not_take_more_than_all():
    assert share(marked(lesion(slice(1, 8), slice(3, 17)))) == 1.0
    # Two slices by two columns of 50 + 4.
    beyond = lesion(slice(7, 9), slice(8, 10))
    assert share(marked(beyond)) == pytest.approx(4 / 54)


def test_lesions_side_by_side_count_each_for_itself():
    # One takes 12 of 50 in ten rows, the other 30 of 50 in five of them.
    other = lesion(slice(2, 5), slice(5, 15), slice(20, 25))

    labels = marked(MIDDLE, other)

    assert share(labels) == pytest.approx((120 * 12 / 50 + 150 * 30 / 50) / 270)
