from dataclasses import replace

import pytest
import safetensors.torch
import torch

from spinaldx.errors import UsageError, WeightsNotFoundError
from spinaldx.models import DenseNetSpec
from spinaldx.models.bundle import SEGMENTATION
from spinaldx.models.torch_networks import build_densenet
from spinaldx.records import Task
from spinaldx.training.options import Budget, Stage, TrainingOptions
from spinaldx.training.start import find_start

TASK = Task.MS_VS_NMOSD.value


def options(**changes):
    return TrainingOptions(Budget(epochs=1), **{"network": "tiny", **changes})


class TestFindStart:
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
