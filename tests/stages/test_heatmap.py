from dataclasses import replace

import numpy as np
import pytest
from phantoms import FakeNetworks, fake_bundle, spine_phantom

from spinaldx.errors import GeometryError
from spinaldx.grid import CropInputs, lesion_crops
from spinaldx.records import Heatmap, Mask, Prediction, StageResult, Task
from spinaldx.stages.heatmap import SeriesMaps, build_heatmaps, heat_shares

FIRST, TUMOUR, DEMYELINATION = Task
SPEC = fake_bundle().crop


def seen(spine, gain=1.0):
    """Maps of a phantom: class 1 looks at the lesion, class 0 at the rest."""
    bundle = fake_bundle()
    inputs = CropInputs(spine.volume, spine.lesion.astype(np.uint8))
    crops = lesion_crops(inputs, bundle.segmentation.grid, bundle.crop)
    if not crops.windows:
        return SeriesMaps(crops, {})
    output = FakeNetworks().classify(FIRST, crops.pixels)
    return SeriesMaps(crops, dict.fromkeys(Task, output.maps * np.float32(gain)))


def answered(*positive):
    stages = tuple(
        StageResult(task, value, 0.5, 0.05)
        for task, value in zip(Task, positive, strict=True)
    )
    return Prediction("unused", stages)


class TestBuildHeatmaps:
    def test_the_first_stage_and_the_one_it_leads_to(self):
        ((first, second),) = build_heatmaps(
            [seen(spine_phantom())], answered(0.9, 0.2, 0.2), SPEC
        )

        assert (first.task, first.target) == (FIRST, "demyelination")
        assert (second.task, second.target) == (DEMYELINATION, "ms")

    def test_the_target_is_the_class_answered(self):
        ((demyelination, ms),) = build_heatmaps(
            [seen(spine_phantom())], answered(0.9, 0.2, 0.2), SPEC
        )

        # Class 1 looks at the lesion, class 0 away from it.
        lesion_slice = demyelination.values[2]
        hottest = np.unravel_index(np.nanargmax(lesion_slice), lesion_slice.shape)
        # Of the cells of 8 mm, that of rows 24 to 31 and columns 8 to 15 holds most.
        assert hottest == pytest.approx((27.5, 11.5), abs=0.5)
        assert ms.values[2][hottest] < np.nanmax(ms.values[2])

    def test_values_are_0_to_1_of_the_study_s_maximum(self):
        strong, weak = seen(spine_phantom()), seen(spine_phantom(), gain=0.25)

        maps = build_heatmaps([strong, weak], answered(0.9, 0.2, 0.9), SPEC)

        peaks = [np.nanmax(of_series[0].values) for of_series in maps]
        assert peaks[0] <= 1.0
        assert peaks[1] == pytest.approx(peaks[0] / 4, rel=1e-5)

    def test_cells_are_stated(self):
        ((heatmap, _),) = build_heatmaps(
            [seen(spine_phantom())], answered(0.9, 0.2, 0.9), SPEC
        )

        assert heatmap.cell_mm == 8.0

    def test_slices_without_lesion_were_not_looked_at(self):
        ((heatmap, _),) = build_heatmaps(
            [seen(spine_phantom())], answered(0.9, 0.2, 0.9), SPEC
        )

        looked_at = np.isfinite(heatmap.values).any(axis=(1, 2))
        assert looked_at.tolist() == [False, False, True, True, False]

    def test_a_series_without_lesion_has_none(self):
        healthy = seen(spine_phantom(rows=None))

        maps = build_heatmaps(
            [healthy, seen(spine_phantom())], answered(0.1, 0.9, 0.2), SPEC
        )

        assert [len(of_series) for of_series in maps] == [0, 2]
        assert maps[1][1].task is TUMOUR

    def test_no_lesion_has_no_maps(self):
        healthy = seen(spine_phantom(rows=None))

        assert build_heatmaps([healthy], Prediction("no_lesion"), SPEC) == ((),)

    def test_no_positive_evidence_stays_zero(self):
        ((heatmap, _),) = build_heatmaps(
            [seen(spine_phantom(), gain=-1.0)], answered(0.9, 0.2, 0.9), SPEC
        )

        assert np.nanmax(heatmap.values) == 0.0


def heat_of(values, cell_mm=4.0):
    return Heatmap(FIRST, "tumour", values.astype(np.float32), cell_mm)


def lesion_mask(spine):
    return Mask(spine.lesion.astype(np.uint8), spine.volume.affine_ras)


class TestHeatShares:
    def test_even_heat_is_shared_by_size(self):
        spine = spine_phantom(rows=(20, 30), slices=(2, 3), columns=(13, 18))
        looked_at = np.full(spine.lesion.shape, np.nan)
        looked_at[2] = 1.0

        shares = heat_shares(heat_of(looked_at), lesion_mask(spine), spine.volume)

        # 10 x 5 lesion pixels in a ring of 5 mm: straight sides and round corners.
        corner = sum(np.hypot(i, j) <= 5 for i in range(1, 6) for j in range(1, 6))
        assert shares["lesion"] == pytest.approx(50 / (64 * 32))
        assert shares["ring"] == pytest.approx((150 + 4 * corner) / (64 * 32))
        assert sum(shares.values()) == pytest.approx(1.0)

    def test_cells_wider_than_the_ring_give_no_ring(self):
        spine = spine_phantom()
        heat = heat_of(np.ones(spine.lesion.shape), cell_mm=8.0)

        shares = heat_shares(heat, lesion_mask(spine), spine.volume)

        assert set(shares) == {"lesion", "elsewhere"}
        assert shares["lesion"] == pytest.approx(spine.lesion.mean())

    def test_no_heat_has_no_shares(self):
        spine = spine_phantom()
        heat = heat_of(np.zeros(spine.lesion.shape))

        assert heat_shares(heat, lesion_mask(spine), spine.volume) == {}

    def test_an_empty_mask_leaves_all_elsewhere(self):
        spine = spine_phantom(rows=None)
        heat = heat_of(np.ones(spine.lesion.shape))

        shares = heat_shares(heat, lesion_mask(spine), spine.volume)

        assert shares == {"lesion": 0.0, "ring": 0.0, "elsewhere": 1.0}

    def test_refuses_a_mask_of_another_image(self):
        spine = spine_phantom()
        other = replace(lesion_mask(spine), labels=np.zeros((1, 2, 3), np.uint8))

        with pytest.raises(GeometryError, match="differ in shape"):
            heat_shares(heat_of(np.ones(spine.lesion.shape)), other, spine.volume)
