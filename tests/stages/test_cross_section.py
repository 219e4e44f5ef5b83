import numpy as np
import pytest

from spinaldx.stages.cross_section import (
    CrossSections,
    SectionOptions,
    fit_cross_sections,
)


def ellipse(middle_mm, half_width_mm, thickness_mm, *, slices=15, slice_mm=3.0):
    """Mean thickness in each slice of an ellipse, by 101 places a slice, (1, S)."""
    places = np.linspace(-0.5, 0.5, 101)
    across = (np.arange(slices)[:, None] + places) * slice_mm
    away = (across - middle_mm) / half_width_mm
    share = np.sqrt(np.clip(1 - away**2, 0, None))
    return (thickness_mm * share.mean(axis=1))[None]


def fit(thickness, expected_mm, slice_mm=3.0):
    found = fit_cross_sections(thickness, np.atleast_1d(expected_mm), slice_mm)
    return float(found.middle_mm[0]), float(found.half_width_mm[0])


@pytest.mark.parametrize("slice_mm", [1.0, 3.0, 4.4])
@pytest.mark.parametrize("thickness", [7.0, 9.0, 13.0])
def test_finds_the_ellipse_that_it_is_shown(slice_mm, thickness):
    slices = round(45 / slice_mm)
    half = 0.7 * thickness
    seen = ellipse(22.0, half, thickness, slices=slices, slice_mm=slice_mm)
    middle, found = fit(seen, 22.0, slice_mm)

    # The middle is sought every millimetre or quarter of a slice.
    assert middle == pytest.approx(22.0, abs=max(1.0, slice_mm / 4))
    assert found == pytest.approx(half, abs=1.2)


def test_a_spindle_of_fluid_moves_it_little():
    cord = ellipse(18.0, 6.0, 8.0)
    with_fluid = cord.copy()
    with_fluid[0, 9:11] = 3.0
    expected, half = fit(cord, 18.0)
    # The fluid has drawn the median of all voxels towards itself.
    middle, found = fit(with_fluid, 20.0)

    assert middle == pytest.approx(expected, abs=1.0)
    assert found == pytest.approx(half, abs=1.0)


def test_of_two_places_that_fit_alike_the_expected_one_counts():
    both = ellipse(9.0, 6.0, 8.0) + ellipse(33.0, 6.0, 8.0)

    assert fit(both, 12.0)[0] == pytest.approx(9.0, abs=1.0)
    assert fit(both, 30.0)[0] == pytest.approx(33.0, abs=1.0)


def test_left_and_right_are_alike():
    seen = ellipse(16.0, 5.5, 8.0)
    middle, half = fit(seen, 16.0)
    other, other_half = fit(seen[:, ::-1], 42.0 - 16.0)

    assert other == pytest.approx(42.0 - middle)
    assert other_half == pytest.approx(half)


def test_no_cord_is_narrower_than_the_least_width():
    seen = np.zeros((1, 15))
    seen[0, 7] = 4.0

    assert fit(seen, 21.0)[1] >= SectionOptions().least_half_width_mm


def test_no_rows_no_sections():
    found = fit_cross_sections(np.zeros((0, 5)), np.zeros(0), 3.0)

    assert found.middle_mm.shape == found.half_width_mm.shape == (0,)


def test_rows_between_are_interpolated_and_ends_held():
    sections = CrossSections(np.array([10.0, 20.0]), np.array([5.0, 7.0]))
    found = sections.at(np.array([2, 4]), np.arange(7))

    np.testing.assert_allclose(found.middle_mm, [10, 10, 10, 15, 20, 20, 20])
    np.testing.assert_allclose(found.half_width_mm, [5, 5, 5, 6, 7, 7, 7])
