from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training_cases import draw_patient

from spinaldx.grid import GridSpec
from spinaldx.training import segmentation
from spinaldx.training.cache import LoadedSeries, SeriesCache
from spinaldx.training.options import SegmentationOptions
from spinaldx.training.segmentation import (
    Sample,
    SegmentationObjective,
    by_case,
    patient_score,
)
from spinaldx.training.tilt import TiltOptions

OPTIONS = SegmentationOptions(patch=(32, 24), batch_size=6)


class Bright(nn.Module):
    """Marks what is brighter than fluid halfway to the lesion, by hand."""

    def forward(self, images):
        return torch.cat((images - 0.65, images - 0.2), dim=1)


@pytest.fixture
def cache(tmp_path):
    return SeriesCache(tmp_path)


def sample(cache, diagnosis, seed, *, cord=True, case=""):
    volume, lesion, cord_mask = draw_patient(diagnosis, seed)
    series = LoadedSeries(volume, lesion, cord_mask if cord else None)
    key = f"{diagnosis}-{seed}"
    return Sample(case or key, diagnosis, cache.store(key, series, GridSpec()))


def objective(cache, training, **changes):
    validation = changes.pop("validation", ())
    options = replace(OPTIONS, **changes)
    return SegmentationObjective(cache, training, validation, options)


class TestMakeBatch:
    def test_same_step_same_batch_and_other_step_another(self, cache):
        made = objective(cache, [sample(cache, "ms", 1), sample(cache, "nmosd", 2)])
        first, again, other = (made.make_batch(step) for step in (3, 3, 4))

        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first[0], other[0])

    def test_has_the_shapes_and_ranges_promised(self, cache):
        images, truth, known = objective(cache, [sample(cache, "ms", 1)]).make_batch(0)

        assert images.shape == (6, 1, 32, 24)
        assert truth.shape == (6, 2, 32, 24)
        assert 0 <= truth.min() <= truth.max() <= 1
        assert known.tolist() == [[1, 1]] * 6

    def test_share_of_healthy_slices(self, cache):
        training = [sample(cache, "nmosd", 1), sample(cache, "healthy", 2)]
        counted = {}
        for share in (0.0, 1.0):
            made = objective(cache, training, healthy_share=share)
            made.tilt = TiltOptions(frequency=0.0)  # nothing leans into a lesion
            truths = [made.make_batch(step)[1][:, 0] for step in range(10)]
            counted[share] = (torch.cat(truths).sum((1, 2)) > 0).float().mean().item()

        assert counted[1.0] == 0.0
        assert counted[0.0] > 0.5

    @pytest.mark.parametrize(
        ("share", "cord"), [(1.0, True), (0.0, True), (1.0, False)]
    )
    def test_lesions_are_painted_where_asked_and_the_cord_is_known(
        self, cache, share, cord
    ):
        training = [sample(cache, "healthy", seed, cord=cord) for seed in range(3)]
        made = objective(cache, training, painted_share=share)
        batches = [made.make_batch(step) for step in range(20)]
        images, truth = (torch.cat([one[n] for one in batches]) for n in (0, 1))

        has_lesion = truth[:, 0].amax((1, 2)) > 0.5
        assert has_lesion.any() == (share == 1.0 and cord)
        if has_lesion.any():
            inside = truth[:, :1] > 0.9
            beside = (truth[:, 1:] > 0.9) & (truth[:, :1] < 0.1)
            assert images[inside].median() > 1.2 * images[beside].median()

    def test_diagnoses_are_drawn_alike_however_many_patients(self, cache):
        training = [sample(cache, "ms", n) for n in range(5)]
        training.append(sample(cache, "astrocytoma", 9))
        made = objective(cache, training, healthy_share=0.0)
        generator = np.random.default_rng(0)
        drawn = [made._lesion_slice(generator)[0].diagnosis for _ in range(200)]

        assert drawn.count("astrocytoma") == pytest.approx(100, abs=25)

    def test_healthy_slices_mostly_show_cord_or_lie_beside_it(self, cache):
        # Of slices 0 to 4, 1 to 3 show cord; 0 and 4 lie beside it.
        made = objective(cache, [sample(cache, "healthy", 2)])
        generator = np.random.default_rng(0)
        drawn = [made._healthy_slice(generator)[1] for _ in range(600)]
        counts = np.bincount(drawn, minlength=5)

        # 0.8, and three in five of the 0.05 drawn from anywhere.
        assert counts[1:4].sum() / 600 == pytest.approx(0.83, abs=0.05)
        assert counts[0] == pytest.approx(counts[4], rel=0.5)

    @pytest.mark.parametrize("has_cord", [True, False])
    def test_slices_that_graze_the_cord_teach_lesions_less_often(self, cache, has_cord):
        volume, lesion, cord = draw_patient("ms", 1)
        cord[...] = 0
        lesion[...] = 0
        # Sagittal slices 1 to 3, of which 1 grazes the cord.
        cord[1, 10:14, 10:14] = 1
        cord[2:4, 10:20, 10:20] = 1
        lesion[1:4, 10:14, 10:14] = 1
        series = LoadedSeries(volume, lesion, cord if has_cord else None)
        stored = cache.store("grazing", series, GridSpec())
        made = objective(cache, [Sample("grazing", "ms", stored)], healthy_share=0.0)
        generator = np.random.default_rng(0)
        drawn = [made._lesion_slice(generator)[1] for _ in range(600)]
        counts = np.sort(np.bincount(drawn, minlength=5))

        # A third of the 0.7 that take any slice; without a cord mask all alike.
        least = 0.7 / 3 if has_cord else 1 / 3
        assert stored.lesion_slices == (1, 2, 3)
        assert counts[2] / 600 == pytest.approx(least, abs=0.04)

    def test_no_slice_with_lesion_is_drawn_as_healthy(self, cache):
        patient = sample(cache, "ms", 1)
        made = objective(cache, [patient])
        generator = np.random.default_rng(0)
        drawn = {made._healthy_slice(generator)[1] for _ in range(200)}

        assert drawn == set(range(5)) - set(patient.series.lesion_slices)

    def test_windows_beside_the_cord_are_centred_where_it_would_be(
        self, cache, monkeypatch
    ):
        patient = sample(cache, "healthy", 2)
        made = objective(cache, [patient], patch=(20, 10))
        monkeypatch.setattr(
            SegmentationObjective, "_healthy_slice", lambda *_: (patient, 0)
        )
        columns = []
        monkeypatch.setattr(
            segmentation,
            "window_of",
            lambda stack, centre, shape: (
                columns.append(centre[1]) or np.zeros(shape, np.float32)
            ),
        )
        generator = np.random.default_rng(0)
        for _ in range(1000):
            made._draw_window(generator)

        # The cord's columns of slice 1, 3.5 to either side; a quarter from anywhere.
        low, high = np.flatnonzero(
            cache.read(patient.series.key, "cord")[1].any(axis=0)
        )[[0, -1]]
        near = [low - 4 <= column <= high + 4 for column in columns]
        assert np.mean(near) > 0.75

    @pytest.mark.parametrize(
        ("last_row", "has_cord", "is_shown"),
        [(20, True, True), (34, True, True), (35, True, False), (20, False, False)],
    )
    def test_healthy_windows_show_what_lies_below_the_cords_end(
        self, cache, last_row, has_cord, is_shown
    ):
        # Slices of 64 rows of 1 mm: 30 mm lie below row 34. Slice 2 has a lesion.
        volume, lesion, cord = draw_patient("healthy", 2)
        lesion[...], cord[...] = 0, 0
        cord[1:4, 4 : last_row + 1, 10:14] = 1
        lesion[2, 10:14, 10:14] = 1
        series = LoadedSeries(volume, lesion, cord if has_cord else None)
        stored = cache.store("conus", series, GridSpec())
        made = objective(cache, [Sample("conus", "ms", stored)], healthy_share=1.0)
        generator = np.random.default_rng(0)
        places = [made._place_below(generator) for _ in range(100)]
        drawn = [made._draw_place(generator)[2][0] for _ in range(600)]

        assert all((place is not None) == is_shown for place in places)
        if is_shown:
            assert {index for _, index, _ in places} == {1, 3}
            rows = {centre[0] for _, _, centre in places}
            assert min(rows) >= last_row
            assert max(rows) == 53  # 0.15 of a window of 32 may lie outside
            share = np.mean(np.array(drawn) > last_row + 12)
            # Others are at most 0.35 windows from the cord, but for one in twelve.
            below = (63 - last_row - 12) / (64 - last_row)
            assert share == pytest.approx(0.2 * below + 0.8 * 0.08 * 0.3, abs=0.06)

    def test_image_and_masks_lean_together(self, cache):
        volume, lesion, cord = draw_patient("healthy", 2)
        cord[...] = 0
        cord[:, 10:20, 10:20] = 1
        cord[2] = 0
        volume = replace(volume, voxels=np.where(cord > 0, 100.0, 1.0))
        stored = cache.store("leaning", LoadedSeries(volume, lesion, cord), GridSpec())
        made = objective(cache, [Sample("leaning", "healthy", stored)])
        made.tilt = TiltOptions(frequency=1.0)
        generator = np.random.default_rng(0)

        for _ in range(20):
            window = made._draw_window(generator)
            image, _, cord_share = window.layers
            lit = image > 0.5  # reference tissue is 1
            assert (lit == (cord_share > 0.5)).mean() > 0.97

    def test_neighbours_are_channels_and_the_middle_one_is_the_truth(self, cache):
        volume, lesion, cord = draw_patient("healthy", 2)
        cord[...] = 0
        # Slices of 3 mm whose brightness tells which they are.
        voxels = np.broadcast_to(np.arange(1.0, 6.0)[:, None, None], cord.shape)
        cord[1::2] = 1
        volume = replace(volume, voxels=np.ascontiguousarray(voxels))
        stored = cache.store("steps", LoadedSeries(volume, lesion, cord), GridSpec())
        made = objective(cache, [Sample("steps", "healthy", stored)])
        made.tilt, made.in_channels = TiltOptions(frequency=0.0), 3
        image = np.asarray(cache.read("steps", "image"), np.float32)
        levels = image.max(axis=(1, 2))  # of the stack's five slices
        generator = np.random.default_rng(0)
        mirrored = set()

        for _ in range(20):
            layers = made._draw_window(generator).layers
            seen = layers[0].max(axis=(1, 2))
            at = int(np.argmin(abs(levels - seen[1])))
            mirrored.add(bool(seen[0] > seen[2]))
            beside = [max(at - 1, 0), at, min(at + 1, 4)]
            if seen[0] > seen[2]:
                beside.reverse()
            np.testing.assert_allclose(seen, levels[beside])
            shares = np.asarray(cache.read("steps", "cord"))[beside].max(axis=(1, 2))
            np.testing.assert_allclose(layers[2].max(axis=(1, 2)), shares / 255)
        assert mirrored == {False, True}

        images, truth, _ = made.make_batch(0)
        assert images.shape == (6, 3, 32, 24)
        assert truth.shape == (6, 2, 32, 24)

    def test_healthy_slices_without_cord_masks_are_drawn_evenly(self, cache):
        made = objective(cache, [sample(cache, "healthy", 2, cord=False)])
        generator = np.random.default_rng(0)
        drawn = [made._healthy_slice(generator)[1] for _ in range(400)]

        assert np.bincount(drawn, minlength=5).min() > 50

    def test_without_a_cord_mask_the_cord_is_unknown(self, cache):
        made = objective(cache, [sample(cache, "ms", 1, cord=False)])

        assert made.make_batch(0)[2].tolist() == [[1, 0]] * 6

    @pytest.mark.parametrize(
        ("centre", "held"), [(0, 7), (7, 7), (30, 30), (60, 57), (64, 57)]
    )
    def test_windows_lie_mostly_inside_the_slice(self, centre, held):
        # 0.15 of 20 pixels may lie outside of 64.
        assert segmentation._held(centre, 20, 64) == held

    def test_windows_larger_than_the_slice_are_centred_on_it(self):
        assert segmentation._held(3, 100, 40) == 20

    def test_now_and_then_a_slice_is_its_own_neighbours(self, cache):
        made = objective(cache, [sample(cache, "ms", 1)])
        made.in_channels = 3
        images = torch.cat([made.make_batch(step)[0] for step in range(20)])
        is_lone = (images == images[:, 1:2]).flatten(1).all(dim=1)

        assert 0.03 < is_lone.float().mean().item() < 0.3

    def test_healthy_patients_alone_can_be_learned_from(self, cache):
        made = objective(cache, [sample(cache, "healthy", 1)], healthy_share=0.0)

        assert made.make_batch(0)[1][:, 0].max() == 0.0

    def test_images_stay_aligned_with_their_masks(self, cache):
        made = objective(cache, [sample(cache, "astrocytoma", 1)], healthy_share=0.0)
        images, truth, _ = made.make_batch(1)
        inside = images[:, :1][truth[:, :1] > 0.9]
        cord = images[:, :1][(truth[:, 1:] > 0.9) & (truth[:, :1] < 0.1)]

        assert inside.mean() > 1.3 * cord.mean()


class TestValidate:
    def test_scores_every_patient_once(self, cache):
        validation = [
            sample(cache, "astrocytoma", 1, case="a"),
            sample(cache, "healthy", 2, case="a"),
            sample(cache, "healthy", 3, case="b"),
        ]
        made = objective(cache, validation, validation=validation)

        assert len(by_case(validation)) == 2
        assert 0.0 < made.validate(Bright())[0] < 1.0

    def test_a_slice_among_its_neighbours_scores_as_alone(self, cache):
        class Middle(Bright):
            def forward(self, images):
                return super().forward(images[:, 1:2])

        validation = [sample(cache, "astrocytoma", 1)]
        made = objective(cache, validation, validation=validation)
        alone = made.validate(Bright())
        made.in_channels = 3

        assert made.validate(Middle()) == alone

    def test_marks_off_the_cord_do_not_count_as_in_predict(self, cache):
        class Beside(nn.Module):
            """Finds a cord in the middle columns and marks columns far behind it."""

            def forward(self, images):
                columns = torch.arange(images.shape[3]) - images.shape[3] // 2
                cord = (columns.abs() <= 4).expand_as(images)
                lesion = (columns >= 14).expand_as(images)
                return torch.cat((lesion, cord), dim=1) * 10.0 - 5.0

        validation = [sample(cache, "healthy", 1)]
        made = objective(cache, validation, validation=validation)

        assert made.validate(Beside()) == (1.0,)

    def test_no_patients_give_no_figure(self, cache):
        made = objective(cache, [sample(cache, "ms", 1)])

        assert made.validate(Bright()) == (0.0,)


class TestPatientScore:
    def test_is_dice_with_a_lesion(self):
        assert patient_score(10.0, 30.0, 10.0) == 0.5

    def test_healthy_patients_lose_by_what_is_marked(self):
        assert patient_score(0.0, 0.0, 0.0) == 1.0
        assert patient_score(100.0, 0.0, 0.0) == 0.5
