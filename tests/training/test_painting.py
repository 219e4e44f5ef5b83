from dataclasses import replace

import numpy as np
import pytest

from spinaldx.training.painting import (
    Painting,
    PaintOptions,
    draw_paintings,
    local_brightness,
    paint,
)

SHAPE = (60, 40)
CORD = slice(15, 25)  # ten columns wide, its middle between columns 19 and 20


def plain_window(cord_value=0.4, slices=1):
    """A straight cord of one brightness in brighter fluid, without lesion."""
    window = np.zeros((3, slices, *SHAPE), dtype=np.float32)
    window[0] = 1.0
    window[0, ..., CORD] = cord_value
    window[2, ..., CORD] = 1.0
    return window


def paint_alone(window, paintings):
    """Paint into a slice that is seen alone; returns image, lesion, cord."""
    return paint(window, paintings)[:, 0]


def painting(**changes):
    still = np.zeros((28, 20), dtype=np.float32)
    one = Painting(
        middle=0.5,
        half_length_px=10.0,
        offset=0.0,
        breadth=0.6,
        bluntness=2.0,
        ratio=1.5,
        core_ratio=1.0,
        softness_px=1.0,
        own_share=0.0,
        across=0.0,
        half_depth=2.0,
        outline=still,
        log_texture=still,
    )
    return replace(one, **changes)


class TestDrawPaintings:
    @pytest.mark.parametrize("frequency", [0.0, 0.4, 1.0])
    def test_how_often(self, frequency):
        generator = np.random.default_rng(0)
        options = PaintOptions(several=0.0)
        drawn = [
            len(draw_paintings(generator, frequency, options)) for _ in range(1000)
        ]

        assert np.mean(drawn) == pytest.approx(frequency, abs=0.05)

    def test_a_second_one_only_beside_a_first(self):
        generator = np.random.default_rng(0)
        options = PaintOptions(several=0.5)
        drawn = [len(draw_paintings(generator, 0.5, options)) for _ in range(2000)]

        share = np.bincount(drawn) / 2000
        np.testing.assert_allclose(share, (0.5, 0.25, 0.25), atol=0.04)

    def test_stays_within_its_bounds(self):
        generator = np.random.default_rng(1)
        drawn = [draw_paintings(generator, 1.0, PaintOptions())[0] for _ in range(500)]

        assert 1.3 <= min(one.ratio for one in drawn) < 1.35
        assert 2.6 < max(one.ratio for one in drawn) <= 2.8
        # No part of a lesion is darker than the rest.
        assert min(one.core_ratio for one in drawn) == 1
        assert min(one.half_length_px for one in drawn) >= 3
        assert max(one.half_length_px for one in drawn) <= 45
        # Whatever its place, a lesion reaches into the cord.
        assert all(abs(one.offset) <= max(1.1 - one.breadth, 0.1) for one in drawn)
        assert np.mean([one.core_ratio == 1 for one in drawn]) == pytest.approx(
            0.7, abs=0.07
        )

    def test_same_generator_same_paintings(self):
        first, again = (
            draw_paintings(np.random.default_rng(5), 1.0, PaintOptions())[0]
            for _ in range(2)
        )

        assert first.ratio == again.ratio
        np.testing.assert_array_equal(first.outline, again.outline)


class TestPaint:
    def test_an_ellipse_of_the_brightness_asked(self):
        image, lesion, cord = paint_alone(plain_window(), (painting(),))

        # By hand: 1.5 times 0.4; half axes of 10 rows and 0.6 of 5 columns about row
        # 30 (the 60 rows' middle, rounded) and column 19.5.
        assert image[30, 19:21] == pytest.approx(0.6, abs=1e-5)
        inside = lesion >= 0.5
        rows, columns = np.nonzero(inside)
        assert (rows.min(), rows.max()) == pytest.approx((20, 40), abs=1)
        assert (columns.min(), columns.max()) == (17, 22)
        assert inside.sum() == pytest.approx(np.pi * 10 * 3, rel=0.12)
        np.testing.assert_array_equal(cord, plain_window()[2, 0])

    def test_nothing_outside_of_the_cord(self):
        painted = paint_alone(
            plain_window(), (painting(breadth=3.0, half_length_px=90.0),)
        )
        outside = plain_window()[2, 0] == 0

        assert not painted[1][outside].any()
        assert (painted[0][outside] == 1.0).all()
        assert (painted[1][:, CORD] == 1.0).all()

    def test_at_its_place_beside_the_middle(self):
        lesion = paint_alone(plain_window(), (painting(offset=0.5, breadth=0.4),))[1]

        # Half of five columns beside 19.5.
        assert np.nonzero(lesion >= 0.5)[1].mean() == pytest.approx(22.0, abs=0.3)

    def test_a_soft_edge_changes_the_brightness_and_not_the_outline(self):
        sharp, soft = (
            paint_alone(plain_window(), (painting(softness_px=width),))
            for width in (1.0, 4)
        )

        np.testing.assert_array_equal(sharp[1], soft[1])
        assert soft[0, 30, 18] < sharp[0, 30, 18]

    def test_a_middle_of_its_own(self):
        image = paint_alone(plain_window(), (painting(core_ratio=1.4),))[0]

        assert image[30, 19] == pytest.approx(0.4 * 1.5 * 1.4, rel=0.05)
        assert image[38, 19] == pytest.approx(0.4 * 1.5, rel=0.05)

    def test_the_cord_shines_through_and_its_fluid_does_not(self):
        window = plain_window()
        window[0, 0, 30, 19] = 0.44
        window[0, 0, 30, 20] = 1.0
        image = paint_alone(window, (painting(own_share=1.0),))[0]

        local = local_brightness(window[0, 0], window[2, 0])[30, 19:21]
        assert image[30, 19] == pytest.approx(0.44 * 1.5, rel=1e-4)
        assert image[30, 20] == pytest.approx(local[1] * 1.3 * 1.5, rel=1e-4)

    def test_stays_within_the_intensities_of_the_grid(self):
        assert paint_alone(plain_window(0.9), (painting(ratio=3.0),))[0].max() == 2.0

    def test_several_join_in_the_truth(self):
        one, other = painting(middle=0.2), painting(middle=0.8)
        both = paint_alone(plain_window(), (one, other))[1]
        alone = [paint_alone(plain_window(), (each,))[1] for each in (one, other)]

        np.testing.assert_array_equal(both, np.maximum(*alone))

    @pytest.mark.parametrize("why", ["nothing to paint", "a lesion", "grazed cord"])
    def test_some_windows_stay_as_they_are(self, why):
        window = plain_window()
        drawn = () if why == "nothing to paint" else (painting(),)
        if why == "a lesion":
            window[1, 0, 5, 15:25] = 1.0
        if why == "grazed cord":
            window[2] *= 0.4
        before = window.copy()

        assert paint(window, drawn) is window
        np.testing.assert_array_equal(window, before)

    def test_follows_a_bent_cord(self):
        window = plain_window()
        for row in range(SHAPE[0]):
            window[..., row, :] = np.roll(window[..., row, :], (row - 30) // 4, -1)
        lesion = paint_alone(window, (painting(half_length_px=25.0),))[1]

        for row in (15, 45):
            columns = np.flatnonzero(lesion[row] >= 0.5)
            assert columns.mean() == pytest.approx(19.5 + (row - 30) // 4, abs=1.0)


class TestPaintAcrossSlices:
    def test_the_middle_slice_is_as_if_seen_alone(self):
        among, alone = plain_window(slices=3), plain_window()
        drawn = (painting(half_depth=1.5),)

        np.testing.assert_array_equal(
            paint(among, drawn)[:, 1], paint(alone, drawn)[:, 0]
        )

    def test_shrinks_from_its_middle_as_an_ellipsoid_does(self):
        lesion = paint(plain_window(slices=5), (painting(half_depth=2.0),))[1]
        rows = [np.flatnonzero((one >= 0.5).any(axis=1)) for one in lesion]

        # One slice away, half the depth: sqrt(1 - 1/4) of 10 rows is 8.66, by hand.
        assert np.ptp(rows[1]) / 2 == 8
        np.testing.assert_array_equal(lesion[1], lesion[3])
        assert not lesion[0].any()
        assert not lesion[4].any()

    def test_its_middle_may_lie_beside_the_middle_slice(self):
        one = painting(across=1.0, half_depth=2.0)
        lesion = paint(plain_window(slices=3), (one,))[1]
        areas = (lesion >= 0.5).sum(axis=(1, 2))

        assert areas[0] == 0
        assert 0 < areas[1] < areas[2]

    def test_a_grazed_slice_gets_what_is_left_of_its_cord(self):
        window = plain_window(slices=3)
        window[2, 0] *= 0.4  # cord fills four tenths of each pixel
        lesion = paint(window, (painting(half_depth=4.0),))[1]

        assert lesion[0].max() == pytest.approx(0.4)
        assert lesion[0, 30, 19] == pytest.approx(0.4)

    def test_a_slice_without_cord_gets_none(self):
        window = plain_window(slices=3)
        window[2, 2] = 0
        painted = paint(window, (painting(half_depth=4.0),))

        np.testing.assert_array_equal(painted[:, 2], window[:, 2])
        assert painted[1, 1].any()

    def test_the_middle_slice_always_holds_some(self):
        generator = np.random.default_rng(3)
        drawn = [draw_paintings(generator, 1.0, PaintOptions())[0] for _ in range(500)]

        assert max(abs(one.across) / one.half_depth for one in drawn) <= 0.8


class TestLocalBrightness:
    def test_of_a_plain_cord(self):
        window = plain_window(0.4)
        local = local_brightness(window[0, 0], window[2, 0])

        np.testing.assert_allclose(local[:, CORD], 0.4, rtol=1e-5)

    def test_without_cord_it_is_zero(self):
        local = local_brightness(np.ones(SHAPE, np.float32), np.zeros(SHAPE, "f4"))

        assert not local.any()
