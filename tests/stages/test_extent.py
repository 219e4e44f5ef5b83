from itertools import permutations

import numpy as np
import pytest

from spinaldx.records import Volume
from spinaldx.stages.extent import (
    Evidence,
    ExtentOptions,
    RimOptions,
    lesion_extent,
    without_dim_rims,
)

# Three sagittal slices, seven columns of cord, 40 rows.
SHAPE = (3, 7, 40)
MARK = (slice(1, 2), slice(2, 5), slice(15, 25))
# Voxels of 30 mm3, so that the mark has 900. Cord at 100, the mark at 200: it grows down
# to 160, and its rim begins at 150.
AFFINE = np.diag([30.0, 1.0, 1.0, 1.0])
LEVELS = np.array([[200.0, 100.0, 110.0]])
SHARP = RimOptions(blur_mm=0.0)


def evidence(possible=0.2, cord=1.0, brightness=100.0, reach=True):
    """The mark is sure and bright; everything else as given."""
    probability = np.full(SHAPE, possible, np.float32)
    probability[MARK] = 0.9
    voxels = np.full(SHAPE, brightness, np.float32)
    voxels[MARK] = 200.0
    return Evidence(
        probability,
        np.full(SHAPE, cord, np.float32),
        np.full((1, 1, 1), reach),
        Volume(voxels, AFFINE, "extent"),
    )


def marked():
    labels = np.zeros(SHAPE, np.uint8)
    labels[MARK] = 1
    return labels


def test_ends_before_brightness_has_fallen_half_way():
    known = evidence()
    # One voxel a row beyond the mark: 190, 180, ... 100.
    known.volume.voxels[1, 3, 25:35] = np.arange(190, 90, -10)
    inside = lesion_extent(marked(), LEVELS, known)

    expected = marked() > 0
    expected[1, 3, 25:29] = True  # down to 160
    np.testing.assert_array_equal(inside, expected)


def test_the_share_says_where_it_ends():
    known = evidence()
    known.volume.voxels[1, 3, 25:35] = np.arange(190, 90, -10)
    inside = lesion_extent(marked(), LEVELS, known, ExtentOptions(share=0.8))

    assert inside[1, 3, 25:].sum() == 2  # 190 and 180


def test_nothing_as_dark_as_the_brighter_parts_of_the_cord_is_added():
    known = evidence()
    known.volume.voxels[1, 3, 25:35] = np.arange(190, 90, -10)
    inside = lesion_extent(marked(), np.array([[200.0, 100.0, 175.0]]), known)

    assert inside[1, 3, 25:].sum() == 2  # 190 and 180


@pytest.mark.parametrize(
    "known",
    [
        evidence(possible=0.01, brightness=200.0),
        evidence(cord=0.1, brightness=200.0),
        evidence(reach=False, brightness=200.0),
        evidence(brightness=140.0),
    ],
    ids=["no lesion", "no cord", "out of reach", "as dark as cord"],
)
def test_what_cannot_be_lesion_is_not_added(known):
    np.testing.assert_array_equal(lesion_extent(marked(), LEVELS, known), marked() > 0)


def test_what_does_not_hang_together_is_not_added():
    known = evidence()
    known.volume.voxels[1, 3, 30:35] = 200.0

    np.testing.assert_array_equal(lesion_extent(marked(), LEVELS, known), marked() > 0)


def test_a_mark_that_would_fill_the_cord_stays():
    # All of the cord is bright: a shading, and 28 times the mark.
    known = evidence(brightness=200.0)

    np.testing.assert_array_equal(lesion_extent(marked(), LEVELS, known), marked() > 0)


def test_of_a_bright_cord_the_likelier_part_is_added():
    known = evidence(brightness=200.0)
    known.lesion_probability[1, 2:5, 25:30] = 0.25
    expected = marked() > 0
    expected[1, 2:5, 25:30] = True

    found = lesion_extent(
        marked(), LEVELS, known, ExtentOptions(least_probabilities=(0.1, 0.22))
    )
    np.testing.assert_array_equal(found, expected)


def test_neighbouring_slices_are_reached():
    known = evidence()
    known.volume.voxels[0, 2:5, 15:25] = 180.0
    inside = lesion_extent(marked(), LEVELS, known)

    assert inside[0].sum() == 30
    assert not inside[2].any()


@pytest.mark.parametrize(
    "levels", [(np.nan,) * 3, (90.0, 100.0, 110.0), (200.0, np.nan, 1.0)]
)
def test_without_a_brighter_mark_nothing_is_added(levels):
    known = evidence(brightness=200.0)
    inside = lesion_extent(marked(), np.array([levels]), known)

    np.testing.assert_array_equal(inside, marked() > 0)


@pytest.mark.parametrize(
    ("small_mm3", "cord", "grows"),
    [(900.0, 0.5, True), (901.0, 0.5, False), (901.0, 0.95, True)],
    ids=["large", "small at the cord's edge", "small inside the cord"],
)
def test_small_marks_grow_well_inside_the_cord_alone(small_mm3, cord, grows):
    known = evidence(cord=cord)
    known.volume.voxels[1, 3, 25:30] = 200.0
    options = ExtentOptions(small_mm3=small_mm3)
    inside = lesion_extent(marked(), LEVELS, known, options)

    assert inside.sum() == 30 + 5 * grows


def test_two_marks_with_a_bright_bridge_grow_together():
    labels = marked()
    labels[1, 2:5, 30:38] = 2
    known = evidence()
    known.lesion_probability[1, 2:5, 30:38] = 0.9
    known.volume.voxels[1, 2:5, 25:38] = 200.0
    inside = lesion_extent(labels, np.repeat(LEVELS, 2, axis=0), known)

    assert inside[1, 2:5, 15:38].all()
    assert inside.sum() == 3 * 23


def test_nothing_in_nothing_out():
    labels = np.zeros(SHAPE, np.uint8)

    assert not lesion_extent(labels, np.empty((0, 3)), evidence()).any()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_any_order_of_axes(order):
    known = evidence()
    known.volume.voxels[1, 3, 25:35] = np.arange(190, 90, -10)
    expected = lesion_extent(marked(), LEVELS, known).transpose(order)
    volume = Volume(known.volume.voxels.transpose(order), AFFINE, "turned")
    turned = Evidence(
        known.lesion_probability.transpose(order),
        known.cord_probability.transpose(order),
        known.reach,
        volume,
    )
    found = lesion_extent(marked().transpose(order), LEVELS, turned)

    np.testing.assert_array_equal(found, expected)


class TestWithoutDimRims:
    """The mark is one slice of 3 x 10 voxels of 30 mm3; cord 100, mark 200."""

    def trimmed(self, change, swelling=1.0, levels=LEVELS, options=None, labels=None):
        voxels = evidence().volume.voxels
        change(voxels)
        volume = Volume(voxels, AFFINE, "rims")
        cord = np.ones(SHAPE, np.bool_)
        labels = marked() if labels is None else labels
        inside = without_dim_rims(
            labels, levels, np.array([swelling]), cord, volume, options or SHARP
        )
        assert not (inside & (labels == 0)).any()
        return inside

    def test_what_is_hardly_brighter_than_the_cord_is_taken_away(self):
        # Half way between 100 and 200 is 150.
        def change(voxels):
            voxels[1, 2:5, 20:25] = (190, 170, 155, 145, 120)

        expected = marked() > 0
        expected[1, :, 23:] = False
        np.testing.assert_array_equal(self.trimmed(change), expected)

    def test_so_is_the_next_slice_that_shows_a_part_of_it(self):
        labels = marked()
        labels[2] = labels[1]

        def change(voxels):
            voxels[2, 2:5, 15:25] = 130.0

        inside = self.trimmed(change, labels=labels)
        np.testing.assert_array_equal(inside, marked() > 0)

    def test_the_share_says_how_much(self):
        def change(voxels):
            voxels[1, 2:5, 20:25] = (190, 170, 155, 145, 130)

        options = RimOptions(share=0.8, blur_mm=0.0)
        assert self.trimmed(change, options=options)[1, 3].sum() == 6

    def test_a_dark_part_inside_stays(self):
        def change(voxels):
            voxels[1, 3, 20] = 50.0

        np.testing.assert_array_equal(self.trimmed(change), marked() > 0)

    def test_noise_makes_no_hole_at_its_edge(self):
        def change(voxels):
            voxels[1, 2, 20] = 135.0

        assert not self.trimmed(change)[1, 2, 20]
        np.testing.assert_array_equal(
            self.trimmed(change, options=RimOptions()), marked() > 0
        )

    @pytest.mark.parametrize(
        ("swelling", "levels"),
        [(1.4, LEVELS), (1.0, np.full((1, 3), np.nan)), (1.0, LEVELS[:, [1, 0, 2]])],
        ids=["a swollen cord", "no cord to compare with", "darker than the cord"],
    )
    def test_stays_whole(self, swelling, levels):
        def change(voxels):
            voxels[1, 2:5, 20:25] = 120.0

        inside = self.trimmed(change, swelling, levels)
        np.testing.assert_array_equal(inside, marked() > 0)

    def test_where_swelling_is_not_known_it_is_cut(self):
        def change(voxels):
            voxels[1, 2:5, 20:25] = 120.0

        assert self.trimmed(change, np.nan).sum() == 15

    def test_what_would_fall_into_pieces_stays(self):
        def change(voxels):
            voxels[1, 2:5, 19:21] = 120.0

        np.testing.assert_array_equal(self.trimmed(change), marked() > 0)

    def test_a_small_piece_that_falls_off_is_gone(self):
        def change(voxels):
            voxels[1, 2:5, 22:24] = 120.0

        # Three voxels of 30 mm3 are left behind the gap.
        options = RimOptions(blur_mm=0.0, least_volume_mm3=100.0)
        expected = marked() > 0
        expected[1, :, 22:] = False
        np.testing.assert_array_equal(self.trimmed(change, options=options), expected)

    def test_a_mark_of_which_too_little_is_left_stays(self):
        def change(voxels):
            voxels[1, 2:5, 16:25] = 120.0

        options = RimOptions(blur_mm=0.0, least_volume_mm3=100.0)
        inside = self.trimmed(change, options=options)
        np.testing.assert_array_equal(inside, marked() > 0)

    def test_nothing_in_nothing_out(self):
        labels = np.zeros(SHAPE, np.uint8)

        assert not self.trimmed(lambda _: None, labels=labels).any()

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_whatever_the_order_of_the_axes(self, order):
        voxels = evidence().volume.voxels
        voxels[1, 2:5, 20:25] = (190, 170, 155, 145, 130)
        voxels[1, 3, 18] = 50.0
        cord = np.ones(SHAPE, np.bool_)
        affine = AFFINE[:, [*order, 3]]
        inside, moved = (
            without_dim_rims(labels, LEVELS, np.ones(1), cord_, volume)
            for labels, cord_, volume in (
                (marked(), cord, Volume(voxels, AFFINE, "rims")),
                (
                    marked().transpose(order),
                    cord.transpose(order),
                    Volume(voxels.transpose(order), affine, "rims"),
                ),
            )
        )

        assert inside.sum() < marked().sum()
        np.testing.assert_array_equal(moved, inside.transpose(order))
