from dataclasses import replace

import pytest
import safetensors.torch
import torch

from spinaldx.errors import UsageError, WeightsNotFoundError
from spinaldx.grid import CropSpec
from spinaldx.models import DenseNetSpec
from spinaldx.models.bundle import SEGMENTATION
from spinaldx.models.torch_networks import build_densenet
from spinaldx.records import Task
from spinaldx.training.options import (
    Budget,
    SegmentationOptions,
    Stage,
    TrainingOptions,
)
from spinaldx.training.start import find_start, seeing

TASK = Task.MS_VS_NMOSD.value


def options(**changes):
    return TrainingOptions(Budget(epochs=1), **{"network": "tiny", **changes})


class TestFindStart:
    def test_from_scratch_classifiers_see_every_channel(self):
        crop = CropSpec(channels=("t2w", "lesion", "cord", "volume"))

        start = find_start(
            TrainingOptions(budget=Budget(epochs=1), network="tiny", crop=crop)
        )

        assert {one.in_channels for one in start.classifiers.values()} == {4}
        network = start.build("ms_vs_nmosd", 0)
        assert network(torch.zeros(1, 4, 64, 32)).shape == (1, 2)

    def test_from_scratch_follows_the_seed(self):
        start = find_start(options())
        first, again, other = (
            start.build(SEGMENTATION, seed).state_dict() for seed in (1, 1, 2)
        )
        name = "encoder.0.first.conv.weight"

        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])

    @pytest.mark.parametrize("head", ["norm", "bias"])
    def test_from_scratch_nothing_is_expected(self, head):
        start = find_start(options())
        spec = replace(start.segmentation, head=head)
        network = replace(start, segmentation=spec).build(SEGMENTATION, 0).eval()

        probability = torch.sigmoid(network(torch.rand(1, 1, 64, 64)))

        assert probability.mean() < 0.1

    def test_tasks_start_with_weights_of_their_own(self):
        start = find_start(options())
        kernels = [
            start.build(task.value, 0).state_dict()["features.conv0.weight"]
            for task in Task
        ]

        assert not torch.equal(kernels[0], kernels[1])

    def test_from_a_bundle_starts_with_its_weights(self, tiny_bundle):
        start = find_start(options(init=str(tiny_bundle.folder)))
        network = start.build(SEGMENTATION, 0).state_dict()

        assert start.bundle.name == "tiny"
        assert start.rate_factor < 1.0
        assert all(
            torch.equal(network[name], tensor)
            for name, tensor in start.tensors[SEGMENTATION].items()
        )

    def test_classifiers_alone_need_a_bundle(self):
        with pytest.raises(UsageError, match="segmentation network"):
            find_start(options(stage=Stage.CLASSIFICATION))

    def test_unknown_bundle(self, tmp_path):
        with pytest.raises(WeightsNotFoundError):
            find_start(options(init=str(tmp_path / "none")))


class TestSlices:
    def test_what_a_wider_network_answers_is_the_same_until_it_learns(
        self, tiny_bundle
    ):
        init = str(tiny_bundle.folder)
        seeing = SegmentationOptions(slices=3)
        narrow = find_start(options(init=init))
        wide = find_start(options(init=init, segmentation=seeing))
        slices = torch.rand(2, 3, 64, 64)

        with torch.no_grad():
            expected = narrow.build(SEGMENTATION, 0).eval()(slices[:, 1:2])
            answer = wide.build(SEGMENTATION, 0).eval()(slices)

        assert wide.segmentation.in_channels == 3
        assert torch.allclose(answer, expected, atol=1e-5)

    def test_the_new_slices_are_learned_from(self, tiny_bundle):
        seeing = SegmentationOptions(slices=3)
        start = find_start(options(init=str(tiny_bundle.folder), segmentation=seeing))
        network = start.build(SEGMENTATION, 0)

        network(torch.rand(2, 3, 64, 64)).square().mean().backward()

        gradient = network.get_parameter("encoder.0.first.conv.weight").grad
        first, _, last = gradient.chunk(3, dim=1)
        assert first.abs().max() > 0
        assert last.abs().max() > 0

    def test_from_scratch(self):
        start = find_start(options(segmentation=SegmentationOptions(slices=5)))

        assert start.build(SEGMENTATION, 0)(torch.rand(2, 5, 64, 64)).shape[0] == 2

    def test_a_network_is_not_narrowed(self, tiny_bundle):
        start = find_start(options(segmentation=SegmentationOptions(slices=3)))
        wide = replace(start, bundle=tiny_bundle)

        with pytest.raises(UsageError, match="sees 3 slices"):
            seeing(wide, 1)

    @pytest.mark.parametrize("slices", [2, 9, -1])
    def test_even_and_absurd_numbers_are_refused(self, slices):
        with pytest.raises(UsageError, match="must be 1, 3, 5 or 7"):
            SegmentationOptions(slices=slices)


class TestImagenet:
    def test_small_networks_are_refused(self):
        with pytest.raises(UsageError, match="DenseNet121 alone"):
            find_start(options(imagenet="file.safetensors"))

    def test_classifiers_start_from_the_file(self, tmp_path):
        path = tmp_path / "densenet121.safetensors"
        state = build_densenet(DenseNetSpec()).state_dict()
        safetensors.torch.save_file(state, path)
        start = find_start(options(network="fast", imagenet=str(path)))
        name = "features.norm5.weight"

        assert torch.equal(start.build(TASK, 0).state_dict()[name], state[name])
