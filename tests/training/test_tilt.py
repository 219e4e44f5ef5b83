import numpy as np
import pytest

from spinaldx.training.tilt import TiltOptions, draw_places, leaning_slice

ROWS = np.arange(11)
WINDOW = (4, 8)  # middle row and height


def places(seed=0, **options):
    generator = np.random.default_rng(seed)
    return draw_places(generator, ROWS, WINDOW, TiltOptions(**options))


def numbered_stack(slices=5):
    """Every pixel holds the number of its slice times ten, plus its row."""
    values = 10.0 * np.arange(slices)[:, None, None] + ROWS[:, None]
    return np.broadcast_to(values, (slices, len(ROWS), 3)).astype(np.float16)


class TestDrawPlaces:
    def test_the_middle_row_stays(self):
        drawn = np.stack([places(seed, frequency=1.0) for seed in range(20)])

        assert (drawn[:, 4] == 0).all()
        assert (drawn[:, 0] != 0).all()

    def test_a_tilt_is_straight(self):
        drawn = places(frequency=1.0, bow=0.0)

        np.testing.assert_allclose(np.diff(drawn, 2), 0, atol=1e-6)

    def test_a_bow_leaves_to_the_same_side_above_and_below(self):
        drawn = places(frequency=1.0, lean=0.0)

        np.testing.assert_allclose(drawn[:4], drawn[8:4:-1], rtol=1e-6)

    def test_spreads_as_asked_at_the_ends_of_the_window(self):
        ends = [places(seed, frequency=1.0, bow=0.0)[8] for seed in range(2000)]

        assert np.std(ends) == pytest.approx(1.2, rel=0.1)

    def test_how_often(self):
        tilted = [places(seed, frequency=0.3).any() for seed in range(1000)]

        assert np.mean(tilted) == pytest.approx(0.3, abs=0.05)

    def test_goes_no_farther_than_neighbours(self):
        assert np.abs(places(frequency=1.0, lean=500.0)).max() == 6.0

    def test_what_is_drawn_next_does_not_depend_on_it(self):
        after = []
        for frequency in (0.0, 1.0):
            generator = np.random.default_rng(3)
            draw_places(generator, ROWS, WINDOW, TiltOptions(frequency=frequency))
            after.append(generator.random())

        assert after[0] == after[1]


class TestLeaningSlice:
    def test_without_tilt_it_is_the_slice(self):
        stack = numbered_stack()
        found = leaning_slice(stack, 2, np.zeros(11, np.float32))

        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, stack[2])

    def test_rows_come_from_between_slices(self):
        offsets = np.linspace(-1, 1, 11, dtype=np.float32)
        found = leaning_slice(numbered_stack(), 2, offsets)

        # By hand: slice 2 + offset, ten a slice, plus the row.
        expected = 20 + 10 * offsets + ROWS
        np.testing.assert_allclose(found, expected[:, None] * np.ones(3), rtol=1e-5)

    def test_beyond_the_stack_the_outermost_slice_is_repeated(self):
        offsets = np.full(11, 6.0, np.float32)
        found = leaning_slice(numbered_stack(), 2, offsets)

        np.testing.assert_array_equal(found, numbered_stack()[4])

    def test_a_single_slice_cannot_lean(self):
        offsets = np.linspace(-2, 2, 11, dtype=np.float32)
        found = leaning_slice(numbered_stack(1), 0, offsets)

        np.testing.assert_array_equal(found, numbered_stack(1)[0])
