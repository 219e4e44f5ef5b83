from itertools import permutations

import numpy as np
import pytest

from spinaldx.records import Volume
from spinaldx.stages.fluid import FluidOptions, without_fluid

# Five sagittal slices of 3 mm, 10 columns and 20 rows of 1 mm; the cord's middle is the
# third slice's, its half width 2.2 slices.
SHAPE = (5, 10, 20)
AFFINE = np.diag([3.0, 1.0, 1.0, 1.0])
OFFSET = (np.abs(np.arange(-2, 3)) / 2.2).astype(np.float32)[:, None, None]
MARK = (slice(None), slice(3, 7), slice(5, 15))


def marked(*places):
    labels = np.zeros(SHAPE, np.uint8)
    for number, place in enumerate(places, 1):
        labels[place] = number
    return labels


def scan(levels):
    """Cord at 1; the lesion in each slice as given."""
    voxels = np.ones(SHAPE, np.float32)
    voxels[MARK] = np.reshape(levels, (5, 1, 1))
    return voxels


def left(voxels, labels=None, **options):
    labels = marked(MARK) if labels is None else labels
    inside = without_fluid(
        labels, OFFSET, Volume(voxels, AFFINE, "fluid"), FluidOptions(**options)
    )
    assert not (inside & (labels == 0)).any()
    return inside


def slices(inside):
    return inside.any(axis=(1, 2)).tolist()


@pytest.mark.parametrize(
    ("lateral", "stays"), [(1.4, True), (1.59, True), (1.61, False), (3.0, False)]
)
def test_what_is_a_fifth_more_above_the_cord_than_the_lesion_is_fluid(lateral, stays):
    # The lesion is 0.5 above the cord, so the limit is 0.6.
    inside = left(scan([lateral, 1.5, 1.5, 1.5, 1.5]))

    assert slices(inside) == [stays, True, True, True, True]
    assert inside[1:].sum() == 160


def test_each_slice_is_judged_by_its_median():
    voxels = scan([1.5, 1.5, 1.5, 1.5, 1.5])
    voxels[0, 3:7, 5:9] = 3.0
    voxels[4, 3:7, 5:11] = 3.0

    assert slices(left(voxels)) == [True, True, True, True, False]


def test_a_lesion_with_a_cyst_may_have_one_at_the_side():
    voxels = scan([3.0, 1.5, 1.5, 1.5, 3.0])
    voxels[1:4, 3:7, 5:9] = 3.0

    assert left(voxels).sum() == marked(MARK).sum()


def test_a_bright_slice_nearer_to_the_middle_stays():
    assert slices(left(scan([1.5, 3.0, 1.5, 1.5, 1.5]))) == [True] * 5


def test_where_the_middle_shows_too_little_nothing_is_taken():
    labels = marked(MARK)
    labels[1:4] = 0
    labels[2, 3, 5:14] = 1

    # 27 mm3 in the middle.
    voxels = scan([3.0, 1.5, 1.5, 1.5, 3.0])
    np.testing.assert_array_equal(left(voxels, labels), labels > 0)
    assert slices(left(voxels, labels, least_volume_mm3=27.0)) == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_nor_where_it_shows_nothing_whatever_the_limit():
    # All of the mark lies between the middle and the side.
    labels = marked((slice(3, 4), *MARK[1:]))
    inside = left(
        scan([1.0, 1.0, 1.0, 1.5, 1.0]), labels, least_volume_mm3=0.0, most_central=0.4
    )

    assert inside.sum() == 40


def test_nor_where_it_is_no_brighter_than_the_cord():
    assert slices(left(scan([3.0, 1.0, 0.9, 1.0, 3.0]))) == [True] * 5


def test_each_mark_is_compared_with_itself():
    upper = (slice(None), slice(3, 7), slice(5, 10))
    lower = (slice(None), slice(3, 7), slice(10, 15))
    voxels = scan([2.0, 1.5, 1.5, 1.5, 2.0])
    voxels[1:4, 3:7, 10:15] = 2.0
    inside = left(voxels, marked(upper, lower))

    assert slices(inside[:, :, 5:10]) == [False, True, True, True, False]
    assert slices(inside[:, :, 10:15]) == [True] * 5


def test_nothing_in_nothing_out():
    assert not left(scan([3.0] * 5), marked()).any()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_any_order_of_axes(order):
    voxels = scan([3.0, 1.5, 1.5, 1.5, 1.4])
    turned = Volume(voxels.transpose(order), AFFINE[:, [*order, 3]], "fluid")
    inside = without_fluid(
        marked(MARK).transpose(order), OFFSET.transpose(order), turned
    )

    np.testing.assert_array_equal(inside, left(voxels).transpose(order))
    assert inside.sum() == 160
