from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import FakeNetworks

from spinaldx.grid import CropSpec, GridSpec
from spinaldx.models.specs import MultiResUNetSpec
from spinaldx.records import Disease, Task
from spinaldx.stages.marking import crop_inputs
from spinaldx.study import read_cases
from spinaldx.training import predictions
from spinaldx.training.cache import SeriesCache
from spinaldx.training.calibration import MASK_CHOICES, MaskChoice
from spinaldx.training.cases import group_patients
from spinaldx.training.inference import SegmentationInTraining
from spinaldx.training.predictions import CropMaker, Segmenter, score_choices

CROP = CropSpec(height_mm=64.0, width_mm=32.0)


@pytest.fixture
def patients(cohort):
    return group_patients(read_cases(cohort))


@pytest.fixture
def networks():
    return FakeNetworks()


@pytest.fixture
def maker(tmp_path, networks):
    segmenter = Segmenter(networks, GridSpec(), MultiResUNetSpec(), "digest")
    return CropMaker(SeriesCache(tmp_path), segmenter, MaskChoice(), CROP)


class TestCropMaker:
    def test_cuts_a_crop_a_lesion_slice(self, maker, patients):
        made = maker.make(patients[0])
        (truth,) = made.truth
        stored = maker.cache.read(truth.key, "crops")

        assert (made.diagnosis, truth.count) == (Disease.ASTROCYTOMA, 2)
        assert stored.shape == (2, 3, 128, 64)

    def test_cuts_them_once(self, maker, patients, networks):
        first = maker.make(patients[0])
        seen = len(networks.slices_seen)

        assert maker.make(patients[0]) == first
        assert len(networks.slices_seen) == seen

    def test_and_anew_when_lesions_are_marked_otherwise(
        self, maker, patients, networks, monkeypatch
    ):
        first = maker.make(patients[0])
        seen = len(networks.slices_seen)
        monkeypatch.setattr(predictions, "MARKING_VERSION", -1)

        assert maker.make(patients[0]).truth != first.truth
        assert len(networks.slices_seen) > seen

    def test_and_anew_on_another_grid(self, maker, patients, networks):
        first = maker.make(patients[0])
        seen = len(networks.slices_seen)
        grid = GridSpec(reference_percentile=99.5)
        other = replace(maker, segmenter=replace(maker.segmenter, grid=grid))

        assert other.make(patients[0]).truth != first.truth
        assert len(networks.slices_seen) > seen

    def test_a_missed_lesion_has_no_predicted_crops(self, maker, patients, monkeypatch):
        blind = FakeNetworks()
        monkeypatch.setattr(maker.segmenter.networks, "segment", blind.segment)
        monkeypatch.setattr("phantoms._FAKE_LESION", 9.0)
        made = maker.make(patients[0])

        assert made.truth
        assert made.predicted == ()

    def test_true_lesions_are_told_apart_as_in_the_cascade(
        self, maker, patients, monkeypatch
    ):
        # Two plaques: as one lesion they would lie in the middle between them.
        (row,) = patients[0].rows
        series = predictions.read_series(row)
        lesion = np.zeros_like(series.lesion)
        lesion[2, 10:14, 28:31] = 1
        lesion[2, 40:44, 33:36] = 1
        two = replace(series, lesion=lesion)
        seen = []
        monkeypatch.setattr(predictions, "read_series", lambda _: two)
        monkeypatch.setattr(
            predictions,
            "crop_inputs",
            lambda volume, labels, *rest: (
                seen.append(labels) or crop_inputs(volume, labels, *rest)
            ),
        )
        maker.make(patients[0], predicted=False)

        (labels,) = seen
        assert np.array_equal(labels > 0, lesion > 0)
        assert {labels[2, 12, 29], labels[2, 42, 34]} == {1, 2}

    def test_a_mask_of_countless_lesions_ends_no_run(
        self, maker, patients, monkeypatch
    ):
        (row,) = patients[0].rows
        series = predictions.read_series(row)
        lesion = np.zeros_like(series.lesion)
        lesion[::2, ::2, ::2] = 1
        many = replace(series, lesion=lesion)
        monkeypatch.setattr(predictions, "read_series", lambda _: many)

        assert maker.make(patients[0], predicted=False).truth

    def test_true_masks_alone_when_asked(self, maker, patients):
        made = maker.make(patients[0], predicted=False)

        assert made.truth
        assert made.predicted == ()


def test_score_choices_gives_a_score_a_choice(maker, patients):
    scores = score_choices(patients[0], maker.segmenter)

    assert len(scores) == len(MASK_CHOICES)
    assert all(0.0 <= score <= 1.0 for score in scores)


class TestSegmentationInTraining:
    def test_gives_probabilities(self):
        networks = SegmentationInTraining(torch.nn.Identity(), "cpu")
        slices = torch.full((2, 1, 4, 4), 20.0).numpy()

        assert networks.segment(slices).min() > 0.99
        networks.close()

    def test_has_no_classifiers(self):
        networks = SegmentationInTraining(torch.nn.Identity(), "cpu")
        with pytest.raises(RuntimeError, match="not trained"):
            networks.classify(Task.MS_VS_NMOSD, torch.zeros(1).numpy())
