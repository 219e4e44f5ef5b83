import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import FakeNetworks, fake_bundle, reordered_volume, spine_phantom

from spinaldx.grid import CropInputs, lesion_crops
from spinaldx.records import Diagnosis, Disease, SliceScore, Task
from spinaldx.stages.classification import decide, score_slices

FIRST, TUMOUR, DEMYELINATION = Task


def crops_of(spine):
    bundle = fake_bundle()
    inputs = CropInputs(spine.volume, spine.lesion.astype(np.uint8))
    return lesion_crops(inputs, bundle.segmentation.grid, bundle.crop)


def scores(*triples, series="t2w"):
    """One slice each, with the positive softmax of the three tasks."""
    return [
        SliceScore(series, index, dict(zip(Task, triple, strict=True)))
        for index, triple in enumerate(triples)
    ]


def parts(**changes):
    return fake_bundle(**changes).classifiers


class TestScoreSlices:
    def test_softmax_of_the_positive_class(self):
        networks = FakeNetworks({FIRST: (1, 3), TUMOUR: (0, 0), DEMYELINATION: (9, 0)})

        found = score_slices("t2w", crops_of(spine_phantom()), networks)

        assert [score.slice_index for score in found.slice_scores] == [2, 3]
        first = found.slice_scores[0].positive
        assert first[FIRST] == pytest.approx(1 / (1 + math.exp(-2)))
        assert first[TUMOUR] == 0.5
        assert first[DEMYELINATION] == pytest.approx(1 / (1 + math.exp(9)), rel=1e-5)

    def test_slice_indices_are_the_source_s(self):
        spine = spine_phantom(slices=(1, 2))
        flipped = replace(
            spine,
            volume=reordered_volume(spine.volume, (0, 1, 2), (True, False, False)),
            lesion=spine.lesion[::-1],
        )

        (score,) = score_slices("t2w", crops_of(flipped), FakeNetworks()).slice_scores

        assert score.slice_index == 3

    def test_maps_come_along_for_every_task(self):
        maps = score_slices("t2w", crops_of(spine_phantom()), FakeNetworks()).maps

        assert {task: array.shape for task, array in maps.items()} == dict.fromkeys(
            Task, (2, 2, 8, 4)
        )

    def test_many_crops_come_in_bounded_batches(self):
        crops = crops_of(spine_phantom())
        many = replace(
            crops, pixels=np.tile(crops.pixels, (9, 1, 1, 1)), windows=crops.windows * 9
        )

        found = score_slices("t2w", many, FakeNetworks())

        assert len(found.slice_scores) == len(found.maps[FIRST]) == 18

    def test_no_crop_runs_no_network(self):
        found = score_slices("t2w", crops_of(spine_phantom(rows=None)), None)

        assert (found.slice_scores, found.maps) == ((), {})

    @pytest.mark.parametrize(("logits", "positive"), [((0, 999), 1), ((999, 0), 0)])
    def test_extreme_logits_do_not_overflow(self, logits, positive):
        networks = FakeNetworks(dict.fromkeys(Task, logits))

        found = score_slices("t2w", crops_of(spine_phantom()), networks)

        assert found.slice_scores[0].positive[FIRST] == positive


class TestDecide:
    @pytest.mark.parametrize(
        ("triple", "diagnosis"),
        [
            ((0.1, 0.2, 0.9), Diagnosis.ASTROCYTOMA),
            ((0.1, 0.8, 0.1), Diagnosis.EPENDYMOMA),
            ((0.9, 0.9, 0.2), Diagnosis.MS),
            ((0.9, 0.1, 0.8), Diagnosis.NMOSD),
        ],
    )
    def test_follows_the_path(self, triple, diagnosis):
        assert decide(scores(triple), parts()).diagnosis is diagnosis

    def test_the_score_is_the_mean_over_slices_of_all_series(self):
        both = scores((0.9, 0.5, 0.5), (0.6, 0.5, 0.5)) + scores(
            (0.3, 0.5, 0.5), series="thoracic"
        )

        stage = decide(both, parts()).stages[0]

        assert stage.positive_probability == pytest.approx(0.6)

    def test_temperature_divides_the_logit_of_the_mean(self):
        # The logit of 0.9 is ln 9; half of it is ln 3, which is 0.75.
        stage = decide(scores((0.9, 0.5, 0.5)), parts(temperature=2.0)).stages[0]

        assert stage.positive_probability == pytest.approx(0.75)

    def test_probabilities_are_products_along_the_cascade(self):
        found = decide(scores((0.8, 0.3, 0.9)), parts()).probabilities

        assert found == pytest.approx(
            {
                Disease.ASTROCYTOMA: 0.2 * 0.7,
                Disease.EPENDYMOMA: 0.2 * 0.3,
                Disease.MS: 0.8 * 0.1,
                Disease.NMOSD: 0.8 * 0.9,
            }
        )

    @given(
        st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=9),
        st.floats(0.2, 5),
    )
    def test_probabilities_sum_to_one(self, triples, temperature):
        found = decide(scores(*triples), parts(temperature=temperature))

        assert sum(found.probabilities.values()) == pytest.approx(1.0)
        assert [stage.task for stage in found.stages] == list(Task)

    def test_no_slice_is_no_lesion(self):
        found = decide([], parts())

        assert found.diagnosis is Diagnosis.NO_LESION
        assert not found.stages
        assert not found.probabilities

    @pytest.mark.parametrize("triple", [(0.54, 0.9, 0.9), (0.9, 0.9, 0.46)])
    def test_a_stage_on_the_path_near_its_cut_off_is_indeterminate(self, triple):
        assert decide(scores(triple), parts()).diagnosis is Diagnosis.INDETERMINATE

    def test_a_stage_off_the_path_has_no_say(self):
        found = decide(scores((0.9, 0.5, 0.9)), parts())

        assert found.diagnosis is Diagnosis.NMOSD

    def test_another_top_class_is_indeterminate(self):
        # Demyelination wins by 0.58, but is then split in halves: 0.33 and 0.25;
        # the tumours are not: 0.42 x 0.95 = 0.40.
        found = decide(scores((0.58, 0.95, 0.57)), parts())

        assert found.diagnosis is Diagnosis.INDETERMINATE
        assert max(found.probabilities, key=found.probabilities.get) == "ependymoma"

    def test_cut_offs_are_the_bundle_s(self):
        found = decide(scores((0.6, 0.1, 0.9)), parts(cut_off=0.7))

        assert found.stages[0].answer == "tumour"

    def test_scores_are_listed_by_series_then_slice(self):
        later = scores((0.9, 0.5, 0.9), series="b") + scores(
            (0.9, 0.5, 0.9), series="a"
        )
        mixed = [*reversed(scores(*[(0.9, 0.5, 0.9)] * 2, series="b")), *later]

        found = decide(mixed, parts()).slice_scores

        order = [(score.series, score.slice_index) for score in found]
        assert order == [("b", 0), ("b", 0), ("b", 1), ("a", 0)]

    def test_a_certain_mean_stays_finite(self):
        found = decide(scores((1.0, 0.0, 1.0)), parts(temperature=0.1))

        assert found.diagnosis is Diagnosis.NMOSD
        assert found.probabilities[Disease.NMOSD] == pytest.approx(1.0)
