"""Engines on CUDA or MPS; apart, since nothing here needs OpenVINO."""

import numpy as np
import pytest
from network_cases import images

from spinaldx.models import EngineOptions, open_networks, torch_engine
from spinaldx.records import Task

pytestmark = pytest.mark.gpu

TORCH = EngineOptions(engine="torch")


def computed(bundle, device, precision):
    """Return probabilities, logits and maps."""
    engine = open_networks(bundle, device, precision, TORCH)
    probabilities = engine.segment(images(3, 1, 32, 48))
    output = engine.classify(Task.MS_VS_NMOSD, images(2, 3, 128, 64))
    engine.close()
    return probabilities, output.logits, output.maps / output.maps.max()


@pytest.fixture(scope="module")
def accelerator():
    device = torch_engine.resolve_device("auto")
    if device.type == "cpu":
        pytest.skip("no accelerator here")
    return str(device)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.05), ("fp16", 0.01)]
)
def test_agrees_with_the_processor(tiny_bundle, accelerator, precision, tolerance):
    exact = computed(tiny_bundle, "cpu", "fp32")

    found = computed(tiny_bundle, accelerator, precision)

    for one, other in zip(exact, found, strict=True):
        np.testing.assert_allclose(other, one, atol=tolerance)


def test_two_runs_agree(tiny_bundle, accelerator):
    first = computed(tiny_bundle, accelerator, "fp32")
    second = computed(tiny_bundle, accelerator, "fp32")

    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
