from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from spinaldx.training.augmentation import (
    AugmentationOptions,
    Changes,
    add_noise,
    change_appearance,
    change_contrast,
    change_cord_and_fluid,
    change_gamma,
    draw_changes,
    resample,
    soften,
    softening_matrix,
    window_of,
)

NOTHING = AugmentationOptions(
    rotation_deg=0,
    log_scale=0,
    shear=0,
    bend_px=0,
    log_gamma=0,
    log_gain=0,
    contrast=0,
    log_bias=0,
    log_streaks=0,
    log_fluid=0,
    log_dimming=0,
    log_core=0,
    log_core_along=0,
    log_rim=0,
    log_background=0,
    sharpness=0,
    noise=0,
    blur_px=0,
    coarseness=1,
)


def changes(count=2, options=NOTHING, seed=0) -> Changes:
    return draw_changes(np.random.default_rng(seed), count, options)


def picture(count=2, height=32, width=24):
    """Smooth structure between 0.2 and 1.2, nowhere 0."""
    rows, columns = np.mgrid[:height, :width]
    wave = 0.7 + 0.5 * np.sin(rows / 5) * np.cos(columns / 4)
    return torch.from_numpy(np.tile(wave.astype(np.float32), (count, 1, 1, 1)))


def only(**bounds):
    return changes(options=replace(NOTHING, frequency=1.0, **bounds))


KNOWN = torch.ones(2)


class TestDrawChanges:
    def test_same_seed_same_changes(self):
        first, second = (changes(4, AugmentationOptions(), seed=7) for _ in range(2))

        for name in Changes.__dataclass_fields__:
            assert np.array_equal(getattr(first, name), getattr(second, name))

    def test_nothing_asked_nothing_done(self):
        images = picture()
        none = changes()

        assert torch.allclose(change_appearance(images, none), images, atol=1e-6)
        assert torch.allclose(resample(images, none, (32, 24)), images, atol=1e-5)

    def test_never_turns_upside_down_nor_mirrors(self):
        affine = changes(500, AugmentationOptions()).affine

        assert (np.diagonal(affine, axis1=1, axis2=2) > 0.7).all()
        assert (np.linalg.det(affine) > 0).all()

    def test_stays_within_its_bounds(self):
        options = AugmentationOptions()
        drawn = changes(500, options)

        assert np.abs(np.log(drawn.gamma)).max() <= options.log_gamma + 1e-6
        assert drawn.noise.max() <= options.noise
        assert drawn.coarseness.min() >= 1.0
        assert drawn.coarseness.max() <= options.coarseness
        assert drawn.blur_px.max() <= options.blur_px


class TestResample:
    def test_takes_the_middle_of_a_larger_layer(self):
        layers = torch.rand(1, 2, 40, 40)

        middle = resample(layers, changes(1), (20, 10))

        assert torch.allclose(middle, layers[:, :, 10:30, 15:25], atol=1e-5)

    def test_turns_by_the_angle(self):
        layers = torch.zeros(1, 1, 41, 41)
        layers[0, 0, 5, 20] = 1.0
        quarter = np.array([[[0.0, 1.0], [-1.0, 0.0]]], np.float32)

        turned = resample(layers, replace(changes(1), affine=quarter), (41, 41))

        assert turned[0, 0].argmax().item() in {20 * 41 + 5, 20 * 41 + 35}

    def test_zooms(self):
        layers = torch.zeros(1, 1, 41, 41)
        layers[0, 0, 15:26, 15:26] = 1.0
        half = np.array([[[0.5, 0.0], [0.0, 0.5]]], np.float32)

        zoomed = resample(layers, replace(changes(1), affine=half), (41, 41))

        assert zoomed.sum().item() == pytest.approx(4 * 121, rel=0.02)

    def test_bends_all_channels_alike(self):
        layers = picture().expand(-1, 2, -1, -1).contiguous()

        bent = resample(layers, only(bend_px=2.0), (32, 24))

        assert torch.equal(bent[:, 0], bent[:, 1])
        assert not torch.allclose(bent, layers, atol=1e-2)

    def test_is_zero_outside(self):
        assert resample(picture(), changes(), (64, 24))[0, 0, 0].abs().max() == 0.0


class TestIntensities:
    def test_gamma_keeps_nothing_and_reference(self):
        images = torch.tensor([0.0, 0.5, 1.0, 2.0]).reshape(1, 1, 2, 2)

        changed = change_gamma(images, np.array([2.0], np.float32))

        assert changed.flatten().tolist() == [0.0, 0.25, 1.0, 4.0]

    def test_contrast_keeps_the_mean(self):
        images = picture()

        changed = change_contrast(images, np.array([1.3, 0.7], np.float32))

        assert torch.allclose(changed.mean((1, 2, 3)), images.mean((1, 2, 3)))
        assert changed[0].std() > images[0].std() > changed[1].std()

    def test_noise_has_its_size_and_its_seed(self):
        images = torch.ones(1, 1, 64, 64)
        noise = np.array([0.1], np.float32)

        noisy = add_noise(images, noise, 5)

        assert noisy.std().item() == pytest.approx(0.1, rel=0.05)
        assert torch.equal(noisy, add_noise(images, noise, 5))

    def test_no_noise_is_no_change(self):
        images = picture()

        assert add_noise(images, np.zeros(2, np.float32), 0) is images

    def test_bias_is_smooth_and_positive(self):
        biased = change_appearance(torch.ones(2, 1, 64, 48), only(log_bias=0.3))

        assert biased.min() > 0.2
        assert biased.diff(dim=2).abs().max() < 0.15

    def test_bias_has_a_frequency_of_its_own(self):
        drawn = changes(400, replace(NOTHING, log_bias=0.3, bias_frequency=0.7))
        shaded = drawn.log_bias.any(axis=(1, 2, 3)).mean()

        assert shaded == pytest.approx(0.7, abs=0.08)

    def test_streaks_run_along_the_spine(self):
        streaked = change_appearance(
            torch.ones(2, 1, 192, 128), only(log_streaks=0.08, bias_frequency=1.0)
        )

        across = streaked.diff(dim=3).abs().mean()
        along = streaked.diff(dim=2).abs().mean()
        assert across > 5 * along > 0
        assert streaked.mean() == pytest.approx(1.0, abs=0.03)

    def test_fluid_is_dimmed_and_cord_and_dark_tissue_stay(self):
        images = torch.full((2, 1, 64, 48), 1.2)
        images[:, :, :, :8] = 0.25
        cord = torch.zeros_like(images)
        cord[:, :, :, 20:28] = 1.0

        changed = change_cord_and_fluid(
            images, cord, KNOWN, only(log_dimming=0.6, bias_frequency=1.0)
        )

        factor = changed / images
        assert torch.allclose(factor[:, :, :, :8], torch.ones(1))
        assert torch.allclose(factor[:, :, :, 20:28], torch.ones(1))
        assert (factor[:, :, :, 30:] < 1.0).all()
        # exp(-0.6) at most.
        assert factor.min() >= 0.548

    def test_finer_pixels_are_changed_as_far_in_mm(self):
        images = torch.full((2, 1, 64, 48), 0.25)
        cord = torch.zeros_like(images)
        cord[:, :, :, 20:28] = 1.0
        options = only(log_background=0.8, log_core=0.2, log_rim=0.3, bias_frequency=1)
        twice = [
            one.repeat_interleave(2, 2).repeat_interleave(2, 3)
            for one in (images, cord)
        ]

        coarse = change_cord_and_fluid(images, cord, KNOWN, options)
        fine = change_cord_and_fluid(*twice, KNOWN, options, pixel_mm=0.5)

        assert coarse.min() < 0.2
        assert coarse.max() > 0.26
        joined = functional.avg_pool2d(fine, 2)
        assert torch.allclose(joined[:, :, 8:-8], coarse[:, :, 8:-8], atol=0.02)

    def test_fluid_changes_smoothly_along_the_spine(self):
        images = torch.ones(2, 1, 192, 128)
        cord = torch.zeros_like(images)
        cord[:, :, :, 120:] = 1.0
        changed = change_cord_and_fluid(
            images, cord, KNOWN, only(log_fluid=0.6, bias_frequency=1.0)
        )

        assert changed[..., :100].std() > 0.02
        assert changed.diff(dim=2).abs().max() < 0.2
        assert changed.max() <= 2.0

    def test_the_middle_of_the_cord_brightens_most(self):
        images = torch.full((2, 1, 64, 48), 0.4)
        cord = torch.zeros_like(images)
        cord[:, :, :, 20:29] = 1.0
        changed = change_cord_and_fluid(
            images, cord, KNOWN, only(log_core=0.3, bias_frequency=1.0)
        )
        across = (changed / images)[:, :, 10:54].mean(dim=(0, 1, 2))

        assert across[24] == across.max() > 1.05
        assert across.max() <= 1.35  # exp(0.3)
        assert across[20] < 1.0 + (across[24] - 1.0) / 2
        assert torch.allclose(across[:19], torch.ones(1))

    def test_the_middle_of_the_cord_brightens_alike_along_it(self):
        # A stretch brighter than the rest is what a lesion looks like.
        images = torch.full((8, 1, 160, 48), 0.4)
        cord = torch.zeros_like(images)
        cord[:, :, :, 20:29] = 1.0
        options = replace(NOTHING, log_core=0.4, log_core_along=0.05, bias_frequency=1)
        changed = change_cord_and_fluid(
            images, cord, torch.ones(8), changes(8, options)
        )
        middle = (changed / images)[:, 0, 10:150, 24]

        assert middle.max() > 1.2
        assert (middle.amax(dim=1) / middle.amin(dim=1)).max() < 1.15
        assert middle.std(dim=1).min() > 0

    def test_the_rim_of_the_cord_darkens_and_its_middle_stays(self):
        images = torch.full((2, 1, 64, 48), 0.4)
        cord = torch.zeros_like(images)
        cord[:, :, :, 18:31] = 1.0
        changed = change_cord_and_fluid(
            images, cord, KNOWN, only(log_rim=0.6, bias_frequency=1.0)
        )
        across = (changed / images)[:, :, 10:54].mean(dim=(0, 1, 2))

        assert across[18] < across[20] < across[24]
        assert across[18] < 0.95
        assert across[18] >= 0.54  # exp(-0.6)
        assert across[24] > 0.99
        assert torch.allclose(across[:18], torch.ones(18))

    def test_the_background_dims_and_the_canal_stays(self):
        images = torch.full((2, 1, 64, 96), 0.2)  # nothing as bright as fluid
        cord = torch.zeros_like(images)
        cord[:, :, :, 44:53] = 1.0
        changed = change_cord_and_fluid(
            images, cord, KNOWN, only(log_background=1.2, bias_frequency=1.0)
        )
        across = (changed / images)[:, :, 20:44].mean(dim=(0, 1, 2))

        assert torch.allclose(across[40:57], torch.ones(17))
        assert across[0] < 0.9
        assert across[0] >= 0.3  # exp(-1.2)

    def test_without_a_cord_in_sight_there_is_no_background(self):
        images = torch.full((2, 1, 64, 48), 0.2)

        changed = change_cord_and_fluid(
            images,
            torch.zeros_like(images),
            KNOWN,
            only(log_background=1.2, bias_frequency=1.0),
        )

        assert torch.equal(changed, images)

    def test_where_nobody_marked_the_cord_nothing_is_changed(self):
        images = picture()
        drawn = only(log_fluid=0.6, log_core=0.3, log_rim=0.3, bias_frequency=1.0)
        is_known = torch.tensor([0.0, 1.0])

        changed = change_cord_and_fluid(
            images, torch.zeros_like(images), is_known, drawn
        )

        assert torch.equal(changed[0], images[0])
        # A slice beside the cord shows fluid too.
        assert not torch.allclose(changed[1], images[1])

    def test_outside_the_field_of_view_stays_zero(self):
        images = picture()
        images[:, :, :4] = 0.0

        changed = change_appearance(
            images, changes(2, AugmentationOptions(frequency=1))
        )

        assert changed[:, :, :4].abs().max() == 0.0

    @pytest.mark.parametrize("seed", range(20))
    def test_never_blackens_a_slice(self, seed):
        # The published blur cast 0..1 to bytes: a fifth of the slices went black.
        images = picture(8)

        changed = change_appearance(images, changes(8, AugmentationOptions(), seed))

        assert torch.isfinite(changed).all()
        assert (changed.mean((1, 2, 3)) > 0.3).all()
        assert (changed.std((1, 2, 3)) > 0.05).all()
        assert changed.min() >= 0.0
        assert changed.max() <= 2.0


class TestSoften:
    def test_sharpening_darkens_the_rim_beside_something_bright(self):
        edge = torch.full((1, 1, 16, 24), 0.4)
        edge[..., 12:] = 1.4
        drawn = replace(changes(1), sharpness=np.ones(1, np.float32))
        row = soften(edge, drawn)[0, 0, 8]

        assert row[11] < 0.2
        assert row[12] > 1.6
        assert row[4].item() == pytest.approx(0.4, abs=1e-3)

    def test_a_flat_image_is_not_sharpened(self):
        matrix = softening_matrix(20, 0.0, 1.0, 1.0)

        assert np.allclose(matrix.sum(axis=1), 1.0, atol=1e-5)

    def test_keeps_the_brightness_of_a_flat_picture(self):
        flat = torch.full((2, 1, 40, 30), 0.8)

        soft = soften(flat, only(blur_px=2.0, coarseness=2.5))

        assert torch.allclose(soft, flat, atol=1e-5)

    def test_smooths_noise(self):
        noise = torch.rand(2, 1, 40, 30)

        assert soften(noise, only(blur_px=2.0)).std() < noise.std()
        assert soften(noise, only(coarseness=2.5)).std() < noise.std()

    def test_touches_only_windows_that_were_drawn(self):
        noise = torch.rand(2, 1, 40, 30)
        blur = np.array([[0.0, 0.0], [2.0, 2.0]], np.float32)

        soft = soften(noise, replace(changes(), blur_px=blur))

        assert torch.equal(soft[0], noise[0])
        assert not torch.equal(soft[1], noise[1])

    def test_matrix_has_no_numbers_too_small_for_processors(self):
        matrix = softening_matrix(320, 4.0, 1.0)

        assert matrix[matrix > 0].min() > np.finfo(np.float32).tiny * 1e20

    @pytest.mark.parametrize(
        ("blur", "coarseness"), [(0, 1), (1.5, 1), (0, 2.3), (1, 3)]
    )
    def test_matrix_rows_sum_to_one(self, blur, coarseness):
        matrix = softening_matrix(37, blur, coarseness)

        assert np.allclose(matrix.sum(axis=1), 1.0, atol=1e-5)


class TestWindowOf:
    STACK = np.arange(20.0).reshape(4, 5)

    def test_cuts_around_the_centre(self):
        assert window_of(self.STACK, (2, 2), (2, 2)).tolist() == [[6, 7], [11, 12]]

    def test_is_zero_outside(self):
        window = window_of(self.STACK, (0, 0), (4, 4))

        assert window[:2].max() == window[:, :2].max() == 0.0
        assert window[2:, 2:].tolist() == [[0, 1], [5, 6]]

    def test_far_outside_is_empty(self):
        assert window_of(self.STACK, (90, -90), (4, 4)).max() == 0.0
