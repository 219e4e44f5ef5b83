import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import (
    ORDERS,
    affine_of,
    blob,
    centroid_ras,
    cylinder,
    positions_ras,
    reordered,
    reordered_volume,
    to_ras,
    volume_of,
)

from spinaldx.errors import GeometryError
from spinaldx.grid import (
    CropInputs,
    CropSpec,
    GridSpec,
    anatomical_axes,
    contrast_level,
    labels_to_grid,
    lesion_crops,
    linear_weights,
    maps_to_source,
    neighbour_offsets,
    plan_grid,
    reference_intensity,
    thick_slices,
    to_grid,
    to_source,
    told_numbers,
    volume_level,
    with_neighbours,
)

FINE = GridSpec(pixel_mm=0.8, size_multiple=16)
SHAPE = (7, 44, 32)

angles = st.tuples(*[st.floats(-20, 20)] * 3)
spacings = st.tuples(st.floats(2.5, 4.5), st.floats(0.6, 1.3), st.floats(0.6, 1.3))
orders = st.sampled_from(ORDERS)
scans = st.tuples(spacings, angles, orders)


def scan_of(voxels, scan):
    spacing_mm, degrees, (order, flips) = scan
    volume = volume_of(voxels, spacing_mm, degrees=degrees, centre_ras=(3, -20, 90))
    return reordered_volume(volume, order, flips)


def stack_to_ras(volume, transform, stack_index):
    """Where a place on the grid lies in the patient, by the definition alone."""
    ijk = np.zeros(3)
    for place, axis in enumerate(transform.axes):
        size = transform.source_shape[axis]
        index = stack_index[place]
        if place > 0:
            from_centre = index - (transform.shape[place] - 1) / 2
            index = (size - 1) / 2 + (
                from_centre * transform.pixel_mm / transform.spacing_mm[place]
            )
        ijk[axis] = size - 1 - index if transform.flips[place] else index
    return to_ras(ijk, volume.affine_ras)


def centre_of_mass(stack):
    grids = np.indices(stack.shape)
    return [(grid * stack).sum() / stack.sum() for grid in grids]


def noise(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).gamma(2.0, 50.0, shape).astype(np.float32)


class TestAnatomicalAxes:
    def test_a_scanner_sagittal_keeps_its_order(self):
        assert anatomical_axes(volume_of(noise())) == ((0, 1, 2), (False,) * 3)

    def test_nifti_ras_order_is_turned(self):
        affine = np.diag((3.0, 1.0, 1.0, 1.0))
        volume = replace(volume_of(noise((5, 20, 30))), affine_ras=affine)

        assert anatomical_axes(volume) == ((0, 2, 1), (True, True, True))

    def test_an_isotropic_image_is_cut_into_sagittal_slices(self):
        volume = volume_of(noise((8, 9, 10)), (1.0, 1.0, 1.0))
        stored = reordered_volume(volume, (2, 0, 1), (False, True, False))

        axes, _ = anatomical_axes(stored)

        assert axes[0] == 1


class TestPlanGrid:
    @pytest.mark.parametrize(
        ("rows", "spacing_mm", "height"),
        [(64, 1.0, 64), (65, 1.0, 96), (384, 0.625, 256), (1, 0.5, 32)],
    )
    def test_pads_to_the_multiple(self, rows, spacing_mm, height):
        volume = volume_of(np.ones((5, rows, 32)), (3.0, spacing_mm, 1.0))

        assert plan_grid(volume, GridSpec()).shape == (5, height, 32)

    @given(orders)
    def test_slice_index_finds_the_source_slice(self, order):
        volume = reordered_volume(volume_of(noise()), *order)
        transform = plan_grid(volume, FINE)

        stack = to_grid(volume, FINE).pixels
        source = np.moveaxis(volume.voxels, transform.axes[0], 0)

        means = source.mean(axis=(1, 2))[
            [transform.slice_index(index) for index in range(len(stack))]
        ]
        assert np.corrcoef(means, stack.mean(axis=(1, 2)))[0, 1] > 0.99


class TestToGrid:
    def test_all_48_orders_give_the_same_bytes(self):
        volume = volume_of(noise(), (3.3, 0.7, 1.1), degrees=(9, -14, 11))
        expected = to_grid(volume, FINE).pixels.tobytes()

        stacks = {
            to_grid(reordered_volume(volume, *order), FINE).pixels.tobytes()
            for order in ORDERS
        }

        assert stacks == {expected}

    @settings(max_examples=60, deadline=None)
    @given(scans, st.tuples(*[st.floats(-4, 4)] * 3))
    def test_no_place_in_the_patient_moves(self, scan, offset_mm):
        volume = scan_of(np.zeros(SHAPE), scan)
        middle = to_ras((np.array(volume.voxels.shape) - 1) / 2, volume.affine_ras)
        spot = blob(volume.voxels.shape, volume.affine_ras, middle + offset_mm, 2.5)
        image = to_grid(replace(volume, voxels=spot), FINE)

        found = stack_to_ras(volume, image.transform, centre_of_mass(image.pixels))

        # Slices are thicker than the blob: the source's own centre is the measure.
        expected = centroid_ras(np.clip(spot, 0, None), volume.affine_ras)
        assert np.linalg.norm(found - expected) < 0.35

    def test_reference_tissue_is_one_and_the_brightest_two(self):
        voxels = np.full(SHAPE, 50.0)
        voxels[3, 20, 16] = 1e6

        pixels = to_grid(volume_of(voxels), GridSpec(size_multiple=2)).pixels

        assert pixels.max() == 2.0
        assert np.median(pixels) == 1.0

    def test_outside_the_field_of_view_is_zero(self):
        pixels = to_grid(volume_of(np.ones((3, 20, 20))), GridSpec()).pixels

        assert pixels.shape == (3, 32, 32)
        assert pixels.sum() == 3 * 20 * 20

    def test_a_coarser_grid_averages_instead_of_skipping(self):
        stripes = np.zeros((3, 64, 64))
        stripes[:, ::2] = 2.0
        pixels = to_grid(volume_of(stripes, (3, 0.5, 0.5)), GridSpec()).pixels

        assert np.allclose(pixels[:, 1:-1].std(axis=1), 0, atol=1e-6)

    def test_an_empty_image_stays_zero(self):
        assert not to_grid(volume_of(np.zeros(SHAPE)), FINE).pixels.any()


class TestThickSlices:
    def test_each_slice_is_the_mean_about_its_centre(self):
        stack = np.array([0.0, 9.0, 0.0, 3.0, 6.0], np.float32).reshape(5, 1, 1)

        thick = thick_slices(stack, 1.0, 3.0).ravel()

        # Beyond the ends there is nothing to take the mean with.
        assert np.allclose(thick, [4.5, 3.0, 4.0, 3.0, 4.5])

    def test_slices_beside_count_as_far_as_they_are_within(self):
        stack = np.array([0.0, 0.0, 6.0, 0.0, 0.0], np.float32).reshape(5, 1, 1)

        # Of 3 mm, 2 mm are the slice's own and half a millimetre each neighbour's.
        thick = thick_slices(stack, 2.0, 3.0).ravel()

        assert np.allclose(thick, [0, 1, 4, 1, 0])

    @given(st.floats(0.3, 4.0), st.floats(0.0, 5.0), st.integers(1, 9))
    def test_what_is_even_stays_even(self, slice_mm, least_mm, count):
        stack = np.full((count, 2, 2), 7.0, np.float32)

        assert np.allclose(thick_slices(stack, slice_mm, least_mm), 7.0)

    @pytest.mark.parametrize("least_mm", [0.0, 2.0, 3.0])
    def test_slices_as_thick_as_that_are_left_as_they_are(self, least_mm):
        stack = noise()

        assert thick_slices(stack, 3.0, least_mm) is stack

    @settings(max_examples=30, deadline=None)
    @given(scans)
    def test_no_place_in_the_patient_moves(self, scan):
        (_, *in_plane), degrees, order = scan
        scan = ((0.9, *in_plane), degrees, order)
        shape = (15, *SHAPE[1:])
        volume = scan_of(np.zeros(shape), scan)
        middle = to_ras((np.array(volume.voxels.shape) - 1) / 2, volume.affine_ras)
        spot = blob(volume.voxels.shape, volume.affine_ras, middle, 1.5)
        spec = replace(FINE, least_slice_mm=3.0)
        image = to_grid(replace(volume, voxels=spot), spec)

        found = stack_to_ras(volume, image.transform, centre_of_mass(image.pixels))

        expected = centroid_ras(np.clip(spot, 0, None), volume.affine_ras)
        assert np.linalg.norm(found - expected) < 0.35

    def test_networks_for_segmentation_and_classes_see_the_same(self):
        voxels = noise((9, 44, 32))
        volume = volume_of(voxels, (1.0, 1.0, 1.0))
        averaged = voxels.copy()
        averaged[1:-1] = (voxels[:-2] + voxels[1:-1] + voxels[2:]) / 3
        averaged[0], averaged[-1] = voxels[:2].mean(axis=0), voxels[-2:].mean(axis=0)
        thin, thick = (
            replace(FINE, least_slice_mm=3.0),
            replace(volume, voxels=averaged),
        )
        lesion = np.zeros(voxels.shape, np.uint8)
        lesion[3:5, 20:26, 8:12] = 1

        crops, expected = (
            lesion_crops(CropInputs(image, lesion), grid, CropSpec(1.0, 16.0, 16.0))
            for image, grid in ((volume, thin), (thick, FINE))
        )

        assert np.allclose(crops.pixels, expected.pixels, atol=1e-5)
        assert np.allclose(
            to_grid(volume, thin).pixels, to_grid(thick, FINE).pixels, atol=1e-5
        )
        # The mask is that of the slices themselves.
        assert [window.stack_index for window in crops.windows] == [3, 4]


class TestReferenceIntensity:
    def test_is_a_percentile_of_the_foreground(self):
        voxels = np.concatenate([np.zeros(900), np.arange(51, 151)]).astype(np.float32)

        assert reference_intensity(voxels, 50.0) == pytest.approx(100.5)

    @pytest.mark.parametrize("value", [0.0, -3.0])
    def test_is_one_without_foreground(self, value):
        assert reference_intensity(np.full(10, value, np.float32), 98.0) == 1.0


class TestBackToSource:
    @settings(max_examples=40, deadline=None)
    @given(scans)
    def test_a_mask_comes_back_as_it_was(self, scan):
        box = np.zeros(SHAPE, np.uint8)
        box[2:5, 10:30, 8:20] = 1
        order, flips = scan[2]
        mask = reordered(box, order, flips)
        transform = plan_grid(scan_of(np.zeros(SHAPE), scan), FINE)

        back = to_source(labels_to_grid(mask, transform), transform) >= 0.5

        overlap = 2 * (back & (mask > 0)).sum() / (back.sum() + mask.sum())
        assert overlap > 0.9

    @given(orders)
    def test_on_its_own_pixels_a_mask_is_identical(self, order):
        mask = reordered(noise() > 120, *order).astype(np.uint8)
        volume = reordered_volume(volume_of(noise()), *order)
        transform = plan_grid(volume, GridSpec(size_multiple=2))

        back = to_source(labels_to_grid(mask, transform), transform)

        assert np.array_equal(back >= 0.5, mask > 0)

    @settings(max_examples=40, deadline=None)
    @given(scans)
    def test_a_smooth_stack_lands_where_it_was(self, scan):
        volume = scan_of(np.zeros(SHAPE), scan)
        transform = plan_grid(volume, FINE)
        centre = [(size - 1) / 2 for size in transform.shape]
        grids = np.indices(transform.shape)
        away = [grid - middle for grid, middle in zip(grids, centre, strict=True)]
        stack = np.exp(-(away[1] ** 2 + away[2] ** 2) / 18).astype(np.float32)

        found = centroid_ras(to_source(stack, transform), volume.affine_ras)

        expected = stack_to_ras(volume, transform, centre)
        assert np.linalg.norm(found - expected) < 0.05

    def test_refuses_a_stack_of_another_grid(self):
        transform = plan_grid(volume_of(noise()), FINE)

        with pytest.raises(GeometryError, match=r"not on the grid") as caught:
            to_source(np.zeros((1, 2, 3), np.float32), transform)
        assert caught.value.exit_code == 3

    def test_refuses_a_mask_of_another_image(self):
        transform = plan_grid(volume_of(noise()), FINE)

        with pytest.raises(GeometryError, match="does not fit"):
            labels_to_grid(np.zeros((1, 2, 3)), transform)


class TestLinearWeights:
    @given(st.integers(1, 40), st.floats(0.3, 3), st.integers(1, 40), st.floats(0.3, 3))
    def test_rows_sum_to_one_inside_and_zero_outside(self, n, mm, to_n, to_mm):
        places = (np.arange(to_n) - (to_n - 1) / 2) * to_mm
        edge_mm = n * mm / 2

        sums = linear_weights(n, mm, to_n, to_mm).sum(axis=1)

        clear = np.abs(np.abs(places) - edge_mm) > 1e-3
        assert np.allclose(sums[clear], (np.abs(places) < edge_mm)[clear], atol=1e-5)

    def test_the_same_grid_is_the_identity(self):
        assert np.array_equal(linear_weights(5, 0.7, 5, 0.7), np.eye(5))

    def test_a_shift_moves_the_samples(self):
        weights = linear_weights(9, 1.0, 3, 1.0, shift_mm=2.0)

        assert np.argmax(weights, axis=1).tolist() == [5, 6, 7]


SPEC = CropSpec(height_mm=24.0, width_mm=16.0)


def crops_of(volume, lesion, spec=SPEC, cord=None):
    inputs = CropInputs(volume, lesion.astype(np.uint8), cord)
    return lesion_crops(inputs, GridSpec(), spec)


def one_lesion(slices=(2, 4), rows=(20, 26), columns=(8, 12)):
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[slice(*slices), slice(*rows), slice(*columns)] = 1
    return lesion


class TestLesionCrops:
    def test_one_crop_a_lesion_slice(self):
        crops = crops_of(volume_of(noise()), one_lesion())

        assert crops.pixels.shape == (2, 3, 48, 32)
        assert [window.stack_index for window in crops.windows] == [2, 3]

    def test_the_window_is_centred_on_the_lesion(self):
        crops = crops_of(volume_of(noise()), one_lesion())

        # Box centre row 22.5 of 44, column 9.5 of 32, pixels of 1 mm; the window
        # of 16 mm must stay inside the 32 columns.
        assert crops.windows[0].shift_mm == (1.0, -6.0)
        assert crops.pixels[0, 1, 19:29, 13:19].min() == 1.0

    def test_the_window_stays_inside_the_image(self):
        crops = crops_of(volume_of(noise()), one_lesion(rows=(0, 4), columns=(30, 32)))

        assert crops.windows[0].shift_mm == (-10.0, 8.0)

    def test_far_apart_lesions_leave_the_larger_in_sight(self):
        lesion = one_lesion(rows=(0, 3)) + one_lesion(rows=(34, 42), columns=(20, 26))

        crops = crops_of(volume_of(noise()), lesion, CropSpec(0.5, 12.0, 12.0))

        # Row 37.5 is 16 mm below the centre at 21.5, the last that fits the image.
        assert crops.windows[0].shift_mm == (16.0, 7.0)

    def test_pixels_are_the_image_at_their_place(self):
        volume = volume_of(noise())
        scale = reference_intensity(volume.voxels, 98.0)
        crops = crops_of(volume, one_lesion(), CropSpec(1.0, 12.0, 8.0))

        # Window centres lie between pixels as the image's do: no interpolation.
        expected = np.clip(volume.voxels[2, 17:29, 6:14] / scale, 0, 2)
        assert np.allclose(crops.pixels[0, 0], expected, atol=1e-6)

    @pytest.mark.parametrize(("percentile", "used"), [(0.0, 98.0), (60.0, 60.0)])
    def test_their_brightness_may_be_their_own(self, percentile, used):
        volume = volume_of(noise())
        scale = reference_intensity(volume.voxels, used)
        spec = CropSpec(1.0, 12.0, 8.0, reference_percentile=percentile)
        crops = crops_of(volume, one_lesion(), spec)

        expected = np.clip(volume.voxels[2, 17:29, 6:14] / scale, 0, 2)
        assert np.allclose(crops.pixels[0, 0], expected, atol=1e-6)

    def test_half_pixels_are_interpolated(self):
        ramp = np.broadcast_to(np.arange(1, 33.0), SHAPE)
        volume = volume_of(ramp)
        crops = crops_of(volume, one_lesion())

        assert np.allclose(np.diff(crops.pixels[0, 0], axis=1), 0.5 / 32, atol=1e-2)

    def test_all_48_orders_give_the_same_bytes(self):
        volume = volume_of(noise(), (3.3, 0.7, 1.1), degrees=(9, -14, 11))
        lesion, cord = one_lesion(), noise(seed=2) / 400
        expected = crops_of(volume, lesion, cord=cord)

        for order in ORDERS:
            crops = crops_of(
                reordered_volume(volume, *order),
                reordered(lesion, *order),
                cord=reordered(cord, *order),
            )

            assert crops.pixels.tobytes() == expected.pixels.tobytes()
            assert crops.windows == expected.windows

    def test_the_volume_is_that_of_all_lesions_everywhere(self):
        spec = replace(SPEC, channels=("volume", "zero"))
        lesion = one_lesion()
        volume = volume_of(noise())
        volume_ml = lesion.sum() * volume.voxel_mm3 / 1000

        pixels = crops_of(volume, lesion, spec).pixels

        # The logarithm of 1 + volume / 0.1 ml, 1 at 50 ml.
        expected = np.log(1 + volume_ml / 0.1) / np.log(501)
        np.testing.assert_allclose(pixels[:, 0], expected, rtol=1e-6)
        assert not pixels[:, 1].any()

    @pytest.mark.parametrize(("ratio", "expected"), [(1.0, 0.0), (2.0, np.log(2.0))])
    def test_the_contrast_is_the_logarithm_of_what_is_given(self, ratio, expected):
        spec = replace(SPEC, channels=("zero", "contrast"))
        inputs = CropInputs(volume_of(noise()), one_lesion().astype(np.uint8), None)

        pixels = lesion_crops(replace(inputs, contrast=ratio), GridSpec(), spec).pixels

        np.testing.assert_allclose(pixels[:, 1], expected, atol=1e-6)
        assert not pixels[:, 0].any()

    def test_the_numbers_told_are_those_with_a_channel(self):
        # 2 x 6 x 4 voxels of 3 x 1 x 1 mm.
        inputs = CropInputs(volume_of(noise()), one_lesion().astype(np.uint8), None)
        inputs = replace(inputs, contrast=1.5, cord_share=0.4)
        numbers = ("cord_share", "volume", "eccentricity")
        spec = replace(SPEC, channels=("t2w", *numbers))

        told = told_numbers(inputs, spec)

        volume_ml = 48 * inputs.volume.voxel_mm3 / 1000
        assert told == {"volume_ml": volume_ml, "eccentricity": None, "cord_share": 0.4}
        assert told_numbers(inputs, SPEC) == {}
        beyond = replace(inputs, contrast=7.3, eccentricity=1.07)
        both = replace(SPEC, channels=("contrast", "eccentricity"))
        assert told_numbers(beyond, both) == {"contrast": 5.0, "eccentricity": 1.0}
        empty = replace(inputs, lesion=np.zeros(SHAPE, np.uint8))
        assert told_numbers(empty, spec) == {}

    def test_an_unknown_contrast_is_that_of_a_usual_lesion(self):
        assert (
            contrast_level(None) == contrast_level(1.6) == pytest.approx(0.47, abs=1e-3)
        )

    def test_a_dark_lesion_has_a_bounded_contrast(self):
        assert contrast_level(-3.0) == contrast_level(0.0) == np.log(0.5)

    def test_nor_does_a_shading_gone_wrong_reach_the_classifiers(self):
        assert contrast_level(4.3) == pytest.approx(np.log(4.3))
        assert contrast_level(1e9) == contrast_level(5.0) == pytest.approx(np.log(5.0))

    @pytest.mark.parametrize(
        ("channel", "usual"), [("eccentricity", 0.15), ("cord_share", 0.7)]
    )
    @pytest.mark.parametrize(
        ("given", "shown"), [(0.0, 0.0), (0.4, 0.4), (1.7, 1.0), (None, None)]
    )
    def test_what_lies_between_0_and_1_is_shown_as_it_is(
        self, channel, usual, given, shown
    ):
        spec = replace(SPEC, channels=("zero", channel))
        inputs = CropInputs(volume_of(noise()), one_lesion().astype(np.uint8), None)

        told = replace(inputs, **{channel: given})
        pixels = lesion_crops(told, GridSpec(), spec).pixels

        expected = usual if shown is None else shown
        np.testing.assert_allclose(pixels[:, 1], expected, atol=1e-6)
        assert not pixels[:, 0].any()

    def test_volumes_grow_from_nothing_to_one(self):
        levels = [volume_level(volume_ml) for volume_ml in (0.0, 0.3, 5.0, 50.0)]

        assert levels == sorted(levels)
        assert levels[0] == 0.0
        assert levels[-1] == pytest.approx(1.0)

    def test_an_empty_mask_gives_no_crop(self):
        assert crops_of(volume_of(noise()), np.zeros(SHAPE)).pixels.shape[0] == 0

    def test_a_cord_that_is_missing_is_zero(self):
        assert not crops_of(volume_of(noise()), one_lesion()).pixels[:, 2].any()

    def test_channels_come_in_the_spec_s_order(self):
        spec = replace(SPEC, channels=("zero", "t2w", "lesion"))
        crops = crops_of(volume_of(noise()), one_lesion(), spec)

        assert not crops.pixels[:, 0].any()
        assert set(np.unique(crops.pixels[:, 2, 22:26, 14:18])) == {1.0}

    @pytest.mark.parametrize(("masking", "rows"), [("lesion", 12), ("dilated", 32)])
    def test_masking_blanks_what_is_far(self, masking, rows):
        spec = replace(SPEC, masking=masking)
        crops = crops_of(volume_of(np.full(SHAPE, 5.0)), one_lesion(), spec)

        assert np.count_nonzero(crops.pixels[0, 0].any(axis=1)) == rows

    @pytest.mark.parametrize("change", [{"channels": ("t1w",)}, {"masking": "star"}])
    def test_unknown_words_are_refused(self, change):
        with pytest.raises(GeometryError, match="Unknown"):
            crops_of(volume_of(noise()), one_lesion(), replace(SPEC, **change))

    def test_a_mask_of_another_image_is_refused(self):
        with pytest.raises(GeometryError, match="does not fit"):
            crops_of(volume_of(noise()), np.zeros((1, 2, 3)))

    def test_a_cord_of_another_image_is_refused(self):
        with pytest.raises(GeometryError, match="does not fit"):
            crops_of(volume_of(noise()), one_lesion(), cord=np.zeros((1, 2, 3)))


class TestMapsToSource:
    @settings(max_examples=40, deadline=None)
    @given(scans, st.integers(0, 2), st.integers(0, 1))
    def test_the_hottest_cell_lands_at_its_place(self, scan, row, column):
        volume = scan_of(noise(), scan)
        lesion = reordered(one_lesion(), *scan[2])
        crops = crops_of(volume, lesion)
        maps = np.zeros((2, 3, 2), np.float32)
        maps[0, row, column] = 1.0

        values = maps_to_source(maps, crops, SPEC)

        window, transform = crops.windows[0], crops.transform
        from_centre_mm = (
            (row - 1) * 8.0 + window.shift_mm[0],
            (column - 0.5) * 8.0 + window.shift_mm[1],
        )
        centre = [(size - 1) / 2 for size in transform.shape]
        place = [
            window.stack_index,
            centre[1] + from_centre_mm[0] / transform.pixel_mm,
            centre[2] + from_centre_mm[1] / transform.pixel_mm,
        ]
        expected = stack_to_ras(volume, transform, place)
        hottest = np.unravel_index(np.nanargmax(values), values.shape)
        found = to_ras(hottest, volume.affine_ras)
        # Flat tops: at a border cell the hottest value repeats to the edge.
        assert np.linalg.norm(found - expected) < 6.0
        assert np.nanmax(values) > 0.8

    def test_nan_where_the_classifier_did_not_look(self):
        crops = crops_of(volume_of(noise()), one_lesion())

        values = maps_to_source(np.ones((2, 3, 2), np.float32), crops, SPEC)

        seen = np.isfinite(values)
        assert (
            seen.any(axis=(1, 2)).tolist() == [False, False, True, True] + [False] * 3
        )
        assert (seen[2].sum(axis=0).max(), seen[2].sum(axis=1).max()) == (24, 16)
        assert np.allclose(values[seen], 1.0)

    def test_one_map_a_crop(self):
        crops = crops_of(volume_of(noise()), one_lesion())

        with pytest.raises(GeometryError, match="1 maps for 2 crops"):
            maps_to_source(np.ones((1, 3, 2), np.float32), crops, SPEC)


def test_the_crop_shape_is_in_pixels():
    assert CropSpec().shape == (320, 128)


def test_phantoms_agree_with_themselves():
    affine = affine_of(
        (5, 40, 30), (3, 1, 1), degrees=(10, 5, -7), centre_ras=(1, 2, 3)
    )
    places = positions_ras((5, 40, 30), affine)
    tube = cylinder((5, 40, 30), affine, (places[2, 5, 15], places[2, 35, 15]), 2.0)

    assert np.allclose(places.mean(axis=(0, 1, 2)), (1, 2, 3))
    assert tube[2, 6:35, 15].all()
    assert not tube[2, 36:].any()
    assert len(set(itertools.chain(ORDERS))) == 48


class TestNeighbours:
    @pytest.mark.parametrize(
        ("channels", "slice_mm", "offsets"),
        [
            (1, 3.3, (0,)),
            (3, 3.3, (-1, 0, 1)),
            (5, 3.0, (-2, -1, 0, 1, 2)),
            (3, 1.0, (-3, 0, 3)),
            (3, 0.5, (-7, 0, 7)),
            (3, 6.0, (-1, 0, 1)),
            (3, 40.0, (-1, 0, 1)),
        ],
    )
    def test_lie_about_a_clinical_slice_away(self, channels, slice_mm, offsets):
        assert neighbour_offsets(channels, slice_mm) == offsets

    def test_beyond_the_ends_the_outermost_slice_is_repeated(self):
        stack = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), "u1")
        channels = with_neighbours(stack, range(4), (-2, 0, 2))

        assert channels.shape == (4, 3, 2, 3)
        assert channels.dtype == np.float32
        expected = [(0, 0, 2), (0, 1, 3), (0, 2, 3), (1, 3, 3)]
        assert [tuple(one) for one in channels[:, :, 0, 0]] == expected

    def test_a_stack_of_one_and_no_slice(self):
        stack = np.ones((1, 2, 2), np.float32)

        assert (with_neighbours(stack, range(1), (-1, 0, 1)) == 1).all()
        assert with_neighbours(stack, range(0), (0,)).shape == (0, 1, 2, 2)
