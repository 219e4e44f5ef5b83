import numpy as np
import pytest
from network_cases import CLASSIFIERS, images, wild_tensors

torch = pytest.importorskip("torch")
captum = pytest.importorskip("captum.attr")

from spinaldx.models.specs import DenseNetSpec  # noqa: E402 - torch first
from spinaldx.models.torch_networks import build_densenet  # noqa: E402
from spinaldx.models.torch_networks.gradcam import logits_and_maps  # noqa: E402


def classifier(spec, seed=0):
    network = build_densenet(spec)
    tensors = wild_tensors(spec, seed)
    state = {name: torch.from_numpy(values) for name, values in tensors.items()}
    network.load_state_dict(state, strict=False)
    return network.eval()


def captum_maps(network, crops):
    """Grad-CAM of both logits by autograd, (N, 2, h, w)."""
    explain = captum.LayerGradCam(network, network.features.denseblock3)
    maps = [
        explain.attribute(crops, target=target, relu_attributions=True)
        for target in (0, 1)
    ]
    return torch.cat(maps, dim=1).detach()


@pytest.mark.parametrize("size", [(64, 32), (80, 112)])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("spec", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_equals_captum(spec, seed, size):
    network = classifier(spec, seed)
    crops = torch.from_numpy(images(3, spec.in_channels, *size, seed))

    logits, maps = logits_and_maps(network, crops)

    expected = captum_maps(network, crops)
    assert expected.max() > 0
    assert torch.allclose(maps, expected, rtol=1e-4, atol=1e-4 * float(expected.max()))
    assert torch.allclose(logits, network(crops), atol=1e-5)


def test_equals_captum_at_full_width():
    network = classifier(DenseNetSpec())
    crops = torch.from_numpy(images(1, 3, 64, 32))

    _, maps = logits_and_maps(network, crops)

    expected = captum_maps(network, crops)
    assert torch.allclose(maps, expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


def test_keeps_no_graph_and_needs_no_autograd():
    network = classifier(CLASSIFIERS["small"])
    crops = torch.from_numpy(images(1, 3, 64, 32))

    with torch.inference_mode():
        _, maps = logits_and_maps(network, crops)

    assert maps.shape == (1, 2, 4, 2)
    assert not maps.requires_grad
    assert np.isfinite(maps.numpy()).all()
