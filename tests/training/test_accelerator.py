"""Training on CUDA or MPS."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from spinaldx.models.torch_networks import build_multiresunet
from spinaldx.training.compute import on_device, set_up_machine
from spinaldx.training.loop import LoopSettings, train
from spinaldx.training.options import PRESETS, Compute

pytestmark = pytest.mark.gpu


class Blobs:
    """Tell bright pixels from dark ones; no validation figure matters."""

    batch_size = 4

    def make_batch(self, step):
        generator = torch.Generator().manual_seed(step)
        images = torch.rand((4, 3, 16, 24), generator=generator)
        return images, (images.mean(dim=1, keepdim=True) > 0.5).float()

    def loss(self, network, batch):
        images, truth = batch
        return nn.functional.binary_cross_entropy_with_logits(network(images), truth)

    def validate(self, network):
        assert not network.training
        return (0.0,)


def trained(folder, device, *, bf16=False, workers=1):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 1)
    )
    settings = LoopSettings(
        name="blobs",
        seconds=None,
        steps=12,
        learning_rate=0.01,
        device=device,
        bf16=bf16,
        workers=workers,
    )
    return train(network, Blobs(), settings, folder, lambda _: None)


@pytest.fixture(scope="module")
def accelerator():
    device = set_up_machine(Compute()).device
    if device == "cpu":
        pytest.skip("no accelerator here")
    return device


@pytest.mark.parametrize("bf16", [False, True])
def test_learns_as_well_as_the_processor(tmp_path, accelerator, bf16):
    expected = trained(tmp_path / "cpu", "cpu")

    found = trained(tmp_path / "there", accelerator, bf16=bf16, workers=2)

    assert found.steps == expected.steps
    assert {tensor.device.type for tensor in found.tensors.values()} == {"cpu"}
    # Weights drift apart: Adam makes as much of a small gradient as of a large one.
    assert found.history[-1].loss == pytest.approx(expected.history[-1].loss, abs=0.02)


@pytest.mark.parametrize("head", ["norm", "bias"])
def test_gives_every_parameter_of_the_segmentation_a_gradient(accelerator, head):
    spec = replace(PRESETS["tiny"].segmentation, head=head)
    network = on_device(build_multiresunet(spec), accelerator).train()
    images = torch.rand((2, spec.in_channels, 32, 32), device=accelerator)

    network(images).square().mean().backward()

    missing = [name for name, one in network.named_parameters() if one.grad is None]
    assert missing == []


def test_a_finished_run_is_read_again(tmp_path, accelerator):
    first = trained(tmp_path, accelerator)

    again = trained(tmp_path, accelerator)

    assert again.steps == first.steps
    for name, tensor in first.tensors.items():
        assert torch.equal(again.tensors[name], tensor)
