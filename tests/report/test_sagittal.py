from dataclasses import replace

import numpy as np
import pytest
from phantoms import ORDERS, affine_of, reordered, reordered_volume
from report_cases import case_of, spine_image

from spinaldx.records import CaseResult, Heatmap, Mask, SeriesResult, Volume
from spinaldx.report.painter import Box
from spinaldx.report.results import write_case
from spinaldx.report.sagittal import (
    Crop,
    crop_around,
    grey,
    heat_at,
    look_at,
    outline_mm,
    place,
    window_of,
)

SHAPE, SPACING = (5, 40, 30), (3.0, 1.0, 1.5)
EIGHT = ORDERS[::6]


def marked(degrees=(0.0, 0.0, 0.0)):
    """A dark image with one bright corner: right, head, front."""
    voxels = np.full(SHAPE, 10, np.float32)
    voxels[0, :6, :4] = 500
    affine = affine_of(SHAPE, SPACING, degrees=degrees)
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[1, 20:26, 8:12] = 1
    return Volume(voxels, affine, "t2w"), lesion


class TestLookAt:
    def test_shows_head_up_and_front_left(self):
        stack = look_at(*marked())

        assert stack.letters == ("H", "P", "F", "A")
        assert (stack.image[0, :6, :4] == 500).all()
        assert stack.pixel_mm == (1.0, 1.5)

    @pytest.mark.parametrize(("order", "flips"), ORDERS)
    def test_every_axis_order_gives_the_same_picture(self, order, flips):
        volume, lesion = marked(degrees=(6.0, -9.0, 4.0))
        expected = look_at(volume, lesion)
        turned = reordered_volume(volume, order, flips)
        stack = look_at(turned, reordered(lesion, order, flips))

        assert np.array_equal(stack.image, expected.image)
        assert np.array_equal(stack.lesion, expected.lesion)
        assert stack.letters == expected.letters == ("H", "P", "F", "A")
        assert stack.pixel_mm == pytest.approx(expected.pixel_mm)

    @pytest.mark.parametrize(
        ("degrees", "letters"),
        [
            ((20.0, 0.0, 0.0), ("H", "P", "F", "A")),
            ((30.0, 0.0, 0.0), ("HP", "PF", "FA", "AH")),
            ((-30.0, 0.0, 0.0), ("HA", "PH", "FP", "AF")),
            ((0.0, 0.0, 30.0), ("H", "PR", "F", "AL")),
            ((0.0, 0.0, -30.0), ("H", "PL", "F", "AR")),
            ((0.0, 30.0, 0.0), ("HL", "P", "FR", "A")),
        ],
    )
    def test_oblique_edges_get_two_letters(self, degrees, letters):
        assert look_at(*marked(degrees)).letters == letters

    def test_names_slices_by_their_source_index(self):
        volume, lesion = marked()
        left_first = reordered_volume(volume, (0, 1, 2), (True, False, False))
        stack = look_at(left_first, lesion[::-1])

        assert stack.slice_indices == (4, 3, 2, 1, 0)
        assert [stack.slice_indices[i] for i in stack.lesion_slices] == [3]


class TestProofOnPaper:
    """The pictures themselves, from the array to the file."""

    @staticmethod
    def figures(folder, order, flips):
        voxels, _ = spine_image(SHAPE, SPACING)
        volume, lesion = marked((5.0, 8.0, -6.0))
        volume = replace(volume, voxels=np.maximum(voxels, volume.voxels))
        turned = reordered_volume(volume, order, flips)
        labels = reordered(lesion, order, flips)
        heat = np.where(labels > 0, np.float32(1), np.float32(0.2))
        base = case_of(shape=SHAPE)
        heatmaps = tuple(
            Heatmap(h.task, h.target, heat, 8.0) for h in base.series[0].heatmaps
        )
        series = SeriesResult(turned, Mask(labels, turned.affine_ras), (), heatmaps)
        result = CaseResult("a", (series,), base.prediction, base.provenance)
        write_case(result, folder)
        return [
            (folder / "figures" / f"{name}.png").read_bytes()
            for name in ("key_image", "gradcam")
        ]

    def test_eight_axis_orders_give_one_picture(self, tmp_path):
        found = [self.figures(tmp_path / str(n), *how) for n, how in enumerate(EIGHT)]

        assert len(EIGHT) == 8
        assert all(item == found[0] for item in found)


class TestGrey:
    def test_pixels_become_square(self):
        stack = look_at(*marked())
        pixels = grey(stack, 0, stack.whole, window_of(stack, stack.whole), 2.0)

        assert pixels.shape == (80, 90)
        assert pixels[:8, :8].mean() > 200
        assert pixels[40:, 40:].max() < 60

    def test_a_constant_image_is_black(self):
        volume, lesion = marked()
        flat = replace(volume, voxels=np.full(SHAPE, 7, np.float32))
        stack = look_at(flat, lesion)

        assert not grey(stack, 0, stack.whole, window_of(stack, stack.whole), 1.0).any()

    def test_one_bright_voxel_does_not_darken_the_rest(self):
        voxels, _ = spine_image((5, 96, 64), (3.0, 1.0, 1.0))
        voxels[2, 50, 30] = 1e6
        volume = Volume(voxels, affine_of(voxels.shape, (3.0, 1.0, 1.0)), "t2w")
        stack = look_at(volume, np.zeros(voxels.shape, np.uint8))

        assert window_of(stack, stack.whole)[1] < 300


def test_heat_is_zero_where_nobody_looked():
    stack = look_at(*marked())
    heat = np.full(SHAPE[1:], np.nan, np.float32)
    heat[10:20] = 1
    shown = heat_at(heat, stack, stack.whole, 1.0)

    assert (shown[12:18].min(), shown[30:].max()) == (1, 0)


class TestCropAround:
    def test_adds_the_margin_in_mm(self):
        stack = look_at(*marked())

        assert crop_around(stack, stack.lesion[1], 3.0) == Crop(17, 29, 6, 14)

    def test_stops_at_the_edge_without_shrinking(self):
        stack = look_at(*marked())
        inside = np.zeros(SHAPE[1:], bool)
        inside[0, 29] = True

        assert crop_around(stack, inside, 0.0, (10.0, 15.0)) == Crop(0, 10, 20, 30)

    def test_never_exceeds_the_image(self):
        stack = look_at(*marked())

        assert crop_around(stack, stack.lesion[1], 500.0) == stack.whole

    def test_of_nothing_is_everything(self):
        stack = look_at(*marked())

        assert crop_around(stack, stack.lesion[0], 3.0) == stack.whole


class TestOutline:
    def test_runs_halfway_between_pixels(self):
        stack = look_at(*marked())
        points = outline_mm(stack, 1, stack.whole).reshape(-1, 2)

        assert points.min(axis=0) == pytest.approx((8 * 1.5, 20.0))
        assert points.max(axis=0) == pytest.approx((12 * 1.5, 26.0))

    def test_follows_the_crop(self):
        stack = look_at(*marked())
        points = outline_mm(stack, 1, Crop(20, 30, 8, 20)).reshape(-1, 2)

        assert points.min(axis=0) == pytest.approx((0.0, 0.0))

    def test_is_closed(self):
        rng = np.random.default_rng(0)
        volume, lesion = marked()
        lesion[2] = rng.random(SHAPE[1:]) < 0.5
        stack = look_at(volume, lesion)
        points = outline_mm(stack, 2, stack.whole).reshape(-1, 2)
        _, counts = np.unique(points.round(6), axis=0, return_counts=True)

        assert (counts % 2 == 0).all()

    def test_pixels_that_share_a_corner_stay_apart(self):
        volume, lesion = marked()
        lesion[3, 10, 10] = lesion[3, 11, 11] = 1
        lesion[4, 10, 11] = lesion[4, 11, 10] = 1
        stack = look_at(volume, lesion)

        # Two diamonds of four lines each.
        assert len(outline_mm(stack, 3, stack.whole)) == 8
        assert len(outline_mm(stack, 4, stack.whole)) == 8
        for index in (3, 4):
            lines = outline_mm(stack, index, stack.whole)
            middle = np.array([11 * 1.5, 11.0])
            # No line crosses between the two: none passes through the corner.
            assert np.linalg.norm(lines.mean(axis=1) - middle, axis=1).min() > 0.3

    def test_of_nothing_is_nothing(self):
        stack = look_at(*marked())

        assert outline_mm(stack, 0, stack.whole).shape == (0, 2, 2)


def test_place_keeps_the_aspect():
    stack = look_at(*marked())
    area, scale = place(stack, stack.whole, Box(0, 0, 100, 100))

    assert (area.height / 40, area.width / 45) == pytest.approx((scale, scale))
    assert area.y == pytest.approx(50 - area.height / 2)
