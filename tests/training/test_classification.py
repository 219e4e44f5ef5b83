from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from spinaldx.grid import NUMBER_CHANNELS
from spinaldx.records import Disease, Task
from spinaldx.training.augmentation import AugmentationOptions
from spinaldx.training.cache import SeriesCache
from spinaldx.training.classification import (
    ClassificationObjective,
    CropSample,
    CropSet,
    area_under_curve,
    class_of,
    log_loss,
)
from spinaldx.training.options import ClassifierOptions

TASK = Task.TUMOUR_VS_DEMYELINATION
LEVELS = {disease: 0.2 + 0.2 * place for place, disease in enumerate(Disease)}


class Level(nn.Module):
    """Logit of class 1 grows with the brightness of the image channel."""

    def forward(self, crops):
        level = crops[:, 0].mean((1, 2)) - 0.5
        return torch.stack((-level, level), dim=1) * 20


@pytest.fixture
def cache(tmp_path):
    return SeriesCache(tmp_path)


def crops(cache, case, disease, count=2, kind="truth"):
    """Flat crops; the mask channel is 1 for truth and 0.5 for predicted masks."""
    array = np.zeros((count, 3, 32, 32), np.float16)
    array[:, 0] = LEVELS[disease]
    array[:, 1] = 1.0 if kind == "truth" else 0.5
    key = f"{case}-{kind}"
    cache.store_arrays(key, {"crops": array})
    return CropSet(key, count)


def sample(cache, case, disease, *, predicted=True):
    truth = (crops(cache, case, disease),)
    found = (crops(cache, case, disease, kind="predicted"),) if predicted else ()
    return CropSample(case, disease, truth, found)


def objective(cache, training, task=TASK, share=0.5, **options):
    chosen = ClassifierOptions(
        **{"batch_size": 8, "blank_share": 0.0, "undecided_share": 0.0, **options}
    )
    return ClassificationObjective(task, cache, training, training, chosen, share)


@pytest.fixture
def everybody(cache):
    return [sample(cache, disease.value, disease) for disease in Disease]


@pytest.mark.parametrize(
    ("task", "classes"),
    [
        (Task.TUMOUR_VS_DEMYELINATION, [0, 0, 1, 1]),
        (Task.ASTROCYTOMA_VS_EPENDYMOMA, [0, 1, None, None]),
        (Task.MS_VS_NMOSD, [None, None, 0, 1]),
    ],
)
def test_classes_are_those_of_the_paper(task, classes):
    assert [class_of(task, disease) for disease in Disease] == classes


class TestMakeBatch:
    def test_is_half_of_each_class(self, cache, everybody):
        pixels, classes = objective(cache, everybody).make_batch(0)

        assert classes.tolist() == [0, 1] * 4
        assert pixels.shape == (8, 3, 32, 32)
        # The changes of intensity are far smaller than the steps between levels.
        assert pixels[0::2, 0].mean() < pixels[1::2, 0].mean()

    def test_is_a_function_of_the_step(self, cache, everybody):
        made = objective(cache, everybody)

        assert torch.equal(made.make_batch(5)[0], made.make_batch(5)[0])
        assert not torch.equal(made.make_batch(5)[0], made.make_batch(6)[0])

    def test_rare_diseases_of_a_class_are_drawn_as_often(self, cache, everybody):
        many = [sample(cache, f"m{n}", Disease.MS) for n in range(9)]
        made = objective(cache, [*everybody, *many])
        generator = np.random.default_rng(0)
        groups = made._classes[1]
        levels = [
            float(made._draw_crop(generator, groups)[0, 0, 0]) for _ in range(200)
        ]
        drawn = Counter(round(level, 1) for level in levels)

        assert drawn[0.8] == pytest.approx(100, abs=25)

    @pytest.mark.parametrize(("share", "level"), [(0.0, 1.0), (1.0, 0.5)])
    def test_mask_source(self, cache, everybody, share, level):
        made = objective(cache, everybody, share=share)

        crop = made._draw_crop(np.random.default_rng(0), made._classes[0])
        assert crop[1].max() == level

    def test_missed_lesions_are_learned_from_true_masks(self, cache, everybody):
        missed = [sample(cache, "x", Disease.MS, predicted=False), everybody[0]]
        made = objective(cache, missed, share=1.0)

        crop = made._draw_crop(np.random.default_rng(0), made._classes[1])
        assert crop[1].max() == 1.0

    def test_crops_of_all_series_are_drawn(self, cache):
        sets = tuple(crops(cache, f"s{n}", Disease.MS, count=1) for n in range(3))
        patient = CropSample("a", Disease.MS, sets, ())
        other = sample(cache, "b", Disease.NMOSD)
        made = objective(cache, [patient, other], Task.MS_VS_NMOSD)

        assert made.make_batch(0)[0].shape == (8, 3, 32, 32)

    def test_masks_keep_their_values(self, cache, everybody):
        pixels, _ = objective(cache, everybody, share=0.0).make_batch(0)

        assert pixels[:, 1].max() == pytest.approx(1.0, abs=1e-5)
        assert pixels[:, 2].abs().max() == 0.0

    def test_some_crops_have_no_image_but_their_masks(self, cache, everybody):
        made = objective(cache, everybody, blank_share=0.25, batch_size=64)

        pixels, _ = made.make_batch(0)

        is_blank = pixels[:, 0].amax(dim=(1, 2)) == 0
        assert 8 <= int(is_blank.sum()) <= 26
        assert bool((pixels[is_blank, 1].amax(dim=(1, 2)) >= 0.49).all())

    def test_some_crops_are_of_neither_class_and_undecided(self, cache, everybody):
        made = objective(
            cache, everybody, Task.MS_VS_NMOSD, undecided_share=0.25, batch_size=64
        )

        pixels, positive = made.make_batch(0)

        other = positive == 0.5
        assert 8 <= int(other.sum()) <= 26
        assert set(positive.tolist()) == {0.0, 0.5, 1.0}
        # Tumours are the darker two of the four levels.
        levels = pixels[:, 0].median(dim=2)[0].median(dim=1)[0]
        assert levels[other].mean() < 0.5 < levels[~other].mean()

    def test_nobody_is_of_neither_class_of_tumour_and_demyelination(
        self, cache, everybody
    ):
        made = objective(cache, everybody, undecided_share=1.0)

        assert made.make_batch(0)[1].tolist() == [0.0, 1.0] * 4

    def test_without_patients_of_neither_class_all_are_decided(self, cache, everybody):
        two = [one for one in everybody if one.diagnosis in (Disease.MS, Disease.NMOSD)]
        made = objective(cache, two, Task.MS_VS_NMOSD, undecided_share=1.0)

        assert made.make_batch(0)[1].tolist() == [0.0, 1.0] * 4


class TestCordAndFluid:
    """Crops of a cord between fluid, with its mask and a lesion that bulges out."""

    def made(self, cache, *, cord=True, channels=("t2w", "lesion", "cord")):
        array = np.zeros((1, len(channels), 64, 48), np.float16)
        array[:, 0] = 1.2
        array[:, 0, :, 20:28] = 0.5
        array[:, 0, 30:40, 24:32] = 1.0
        array[:, 1, 30:40, 24:32] = 1.0
        array[:, 2, :, 20:28] = float(cord)
        for name in set(NUMBER_CHANNELS) & set(channels):
            array[:, channels.index(name)] = 0.37
        patients = []
        for disease in (Disease.MS, Disease.NMOSD):
            cache.store_arrays(disease.value, {"crops": array})
            crop_set = CropSet(disease.value, 1)
            patients.append(CropSample(disease.value, disease, (crop_set,), ()))
        made = objective(cache, patients, Task.MS_VS_NMOSD)
        made.channels = channels
        made.augmentation = AugmentationOptions(
            rotation_deg=0, log_scale=0, shear=0, bend_px=0, frequency=0, noise=0,
            log_gain=0, log_bias=0, log_streaks=0, log_core=0, log_core_along=0,
            log_rim=0, log_background=0, sharpness=0, bias_frequency=1.0,
        )  # fmt: skip
        return made.make_batch(0)[0]

    def test_fluid_is_dimmed_beside_cord_and_lesion(self, cache):
        pixels = self.made(cache)
        inside = pixels[:, 1] > 0.99
        only_cord = (pixels[:, 2] > 0.99) & (pixels[:, 1] == 0)
        outside = (pixels[:, 1:3].sum(dim=1) == 0) & (pixels[:, 0] > 0)

        assert pixels[:, 0][inside].median() == pytest.approx(1.0, abs=0.02)
        assert pixels[:, 0][only_cord].median() == pytest.approx(0.5, abs=0.02)
        levels = [
            float(one[place].median())
            for one, place in zip(pixels[:, 0], outside, strict=True)
        ]
        assert min(levels) < 0.9
        assert max(levels) < 1.6

    def test_without_a_cord_nothing_is_dimmed(self, cache):
        pixels = self.made(cache, cord=False)

        assert pixels[:, 0].max() == pytest.approx(1.2, abs=0.01)

    def test_without_the_channel_neither(self, cache):
        pixels = self.made(cache, channels=("t2w", "lesion", "zero"))

        assert pixels[:, 0].max() == pytest.approx(1.2, abs=0.01)

    @pytest.mark.parametrize("name", NUMBER_CHANNELS)
    def test_a_number_stays_the_same_everywhere(self, cache, name):
        pixels = self.made(cache, channels=("t2w", "lesion", "cord", name))

        assert pixels[:, 3].unique().tolist() == [pytest.approx(0.37, abs=1e-3)]


class TestValidate:
    def test_perfect_order_has_auc_one(self, cache, everybody):
        loss, auc = objective(cache, everybody).validate(Level())

        assert auc == 1.0
        assert loss > -0.1

    def test_patients_of_other_tasks_are_left_out(self, cache, everybody):
        made = objective(cache, everybody, Task.MS_VS_NMOSD)

        truth, logits = made.slice_logits(Level(), everybody)

        asked = [
            one for one in everybody if one.diagnosis in (Disease.MS, Disease.NMOSD)
        ]
        assert truth.tolist() == [one.diagnosis is Disease.NMOSD for one in asked]
        counts = [sum(part.count for part in one.predicted) for one in asked]
        assert [len(one) for one in logits] == counts

    def test_nobody_gives_no_figure(self, cache, everybody):
        made = objective(cache, everybody)
        made.validation = [CropSample("a", Disease.MS, (), ())]

        assert made.validate(Level()) == (0.0, 0.5)


def test_log_loss_of_a_guess():
    assert log_loss(np.array([0, 1]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("scores", "auc"), [([0.1, 0.9], 1.0), ([0.9, 0.1], 0.0), ([0.5, 0.5], 0.5)]
)
def test_area_under_curve(scores, auc):
    assert area_under_curve(np.array([0, 1]), np.array(scores)) == auc


def test_area_under_curve_of_one_class():
    assert area_under_curve(np.array([1, 1]), np.array([0.1, 0.9])) == 0.5
