import warnings

import numpy as np
import pytest
from evaluation_cases import box
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import as_tensor

from spinaldx.errors import GeometryError
from spinaldx.evaluation.overlap import Overlap, OverlapOptions, compare_masks

SPACING = (3.0, 0.5, 0.8)


def blobs(seed, shape=(9, 30, 26)):
    """A random mask of a few smooth lesions."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, (0.8, 2.5, 2.5)) > 0.09


@pytest.fixture(scope="module")
def monai_metrics():
    # MONAI warns about its own optional parts while it is imported.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("monai.metrics", reason="oracle MONAI is absent")


@pytest.mark.parametrize("seed", range(6))
def test_hd95_and_surface_dice_are_those_of_monai(monai_metrics, seed):
    truth, predicted = blobs(seed), blobs(seed) & ~blobs(seed + 50) | blobs(seed + 90)
    tensors = [as_tensor(mask[None, None]) for mask in (predicted, truth)]
    keys = {"include_background": True, "spacing": SPACING}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hd95 = monai_metrics.compute_hausdorff_distance(*tensors, percentile=95, **keys)
        nsd = monai_metrics.compute_surface_dice(
            *tensors, class_thresholds=[1.0], **keys
        )
        dice = monai_metrics.compute_dice(*tensors, include_background=True)
    found = compare_masks(truth, predicted, SPACING)

    theirs = (float(hd95), float(nsd), float(dice))
    assert (found.hd95_mm, found.surface_dice, found.dice) == pytest.approx(
        theirs, rel=1e-6
    )


def test_a_shifted_box_by_hand():
    # 2x4x4 voxels of 2x1x1 mm, moved by one voxel along the last axis: 3/4 shared.
    truth = box() > 0
    predicted = box(start=(2, 5, 6)) > 0
    found = compare_masks(truth, predicted, (2.0, 1.0, 1.0), OverlapOptions(0.5))

    assert (found.truth_mm3, found.predicted_mm3, found.common_mm3) == (64, 64, 48)
    assert (found.dice, found.hd95_mm) == (0.75, 1.0)
    # All 32 voxels of a box two slices thick are surface; 8 of each lie outside.
    assert (found.surface_near, found.surface_all) == (48, 64)


class TestLesions:
    def test_a_tenth_of_a_lesion_is_enough(self):
        truth = np.zeros((4, 8, 20), bool)
        truth[1, 2, :10] = True
        predicted = np.zeros_like(truth)
        predicted[1, 2, 9:19] = True
        found = compare_masks(truth, predicted, (1, 1, 1))

        counts = (found.true_lesions, found.found_lesions)
        assert counts == (1, 1)
        assert (found.predicted_lesions, found.right_lesions) == (1, 1)

    def test_less_than_the_share_is_not(self):
        truth = np.zeros((4, 8, 20), bool)
        truth[1, 2, :10] = True
        predicted = np.zeros_like(truth)
        predicted[1, 2, 9:19] = True
        found = compare_masks(truth, predicted, (1, 1, 1), OverlapOptions(1.0, 0.11))

        assert (found.found_lesions, found.right_lesions) == (0, 0)

    def test_corners_join_lesions(self):
        truth = np.zeros((3, 3, 3), bool)
        truth[0, 0, 0] = truth[1, 1, 1] = True

        assert compare_masks(truth, truth, (1, 1, 1)).true_lesions == 1

    def test_no_overlap_is_never_found(self):
        truth, predicted = box() > 0, box(start=(2, 12, 12)) > 0
        found = compare_masks(truth, predicted, (1, 1, 1), OverlapOptions(1.0, 0.0))

        assert (found.found_lesions, found.right_lesions, found.dice) == (0, 0, 0.0)


class TestEmpty:
    def test_both(self):
        empty = np.zeros((3, 4, 5), bool)
        found = compare_masks(empty, empty, (1, 1, 1))

        assert found == Overlap()
        assert (found.dice, found.surface_dice, found.hd95_mm) == (None, None, None)

    @pytest.mark.parametrize("is_truth_empty", [True, False])
    def test_one(self, is_truth_empty):
        masks = [np.zeros((6, 20, 20), bool), box() > 0]
        found = compare_masks(*(masks if is_truth_empty else masks[::-1]), (1, 1, 1))

        assert (found.dice, found.surface_dice, found.hd95_mm) == (0.0, 0.0, None)


def test_series_add_up_and_the_worst_distance_counts():
    near = compare_masks(box() > 0, box() > 0, (1, 1, 1))
    far = compare_masks(box() > 0, box(start=(2, 5, 7)) > 0, (1, 1, 1))

    total = near + far + Overlap()
    assert (total.truth_mm3, total.common_mm3, total.true_lesions) == (64, 48, 2)
    assert total.hd95_mm == far.hd95_mm


def test_other_shapes_are_refused():
    with pytest.raises(GeometryError, match="differ in shape"):
        compare_masks(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), (1, 1, 1))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 1000),
    st.permutations(range(3)),
    st.tuples(*[st.booleans()] * 3),
)
def test_orientation_does_not_matter(seed, order, flips):
    truth, predicted = blobs(seed), blobs(seed + 1)
    axes = [axis for axis in range(3) if flips[axis]]
    turned = [np.flip(mask.transpose(order), axes) for mask in (truth, predicted)]
    spacing = tuple(SPACING[axis] for axis in order)

    ours, theirs = (
        compare_masks(truth, predicted, SPACING),
        compare_masks(*turned, spacing),
    )
    assert ours.hd95_mm == pytest.approx(theirs.hd95_mm)
    assert ours.surface_near == theirs.surface_near
    assert (ours.dice, ours.found_lesions) == (
        pytest.approx(theirs.dice),
        theirs.found_lesions,
    )
