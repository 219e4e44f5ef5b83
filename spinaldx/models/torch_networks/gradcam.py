"""Grad-CAM at DenseNet's third dense block, its backward pass written out.

The gradient of a logit needs to travel only through the classifier, norm5, the
fourth dense block and the third transition; no autograd graph is kept.
"""

import itertools
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from spinaldx.models.torch_networks.densenet import DenseLayer, DenseNet, Transition


@dataclass(frozen=True, slots=True)
class _Step:
    """A dense layer of the fourth block and what its backward pass needs."""

    layer: DenseLayer
    first: Tensor
    middle: Tensor


def logits_and_maps(network: DenseNet, crops: Tensor) -> tuple[Tensor, Tensor]:
    """Run a classifier and explain every class in the same pass.

    Args:
        network: In evaluation mode.
        crops: (N, C, H, W).

    Returns:
        Logits (N, classes), and for each the Grad-CAM map at the third dense block,
        (N, classes, H / 16, W / 16), at least 0, not normalised.
    """
    target = crops
    stages = dict(network.features.named_children())
    for name in itertools.takewhile(lambda name: name != "transition3", stages):
        target = stages[name](target)
    transition = cast("Transition", stages["transition3"])
    crossed = functional.relu(transition.norm(target))
    features = functional.avg_pool2d(transition.conv(crossed), 2)
    steps = []
    for child in stages["denseblock4"].children():
        layer = cast("DenseLayer", child)
        first = functional.relu(layer.norm1(features))
        middle = functional.relu(layer.norm2(layer.conv1(first)))
        features = torch.cat((features, layer.conv2(middle)), dim=1)
        steps.append(_Step(layer, first, middle))
    logits, gradient = _head(network, features)
    for step in reversed(steps):
        gradient = _backward(gradient, step)
    weights = _channel_weights(transition, gradient, crossed)
    maps = torch.einsum("nkc,nchw->nkhw", weights, target)
    return logits, functional.relu(maps)


def _scale(norm: nn.BatchNorm2d) -> Tensor:
    """Return what BatchNorm multiplies each channel with, (C, 1, 1)."""
    variance = cast("Tensor", norm.running_var)
    return (norm.weight / torch.sqrt(variance + norm.eps))[:, None, None]


def _by_class(gradient: Tensor, active: Tensor) -> Tensor:
    """View (N * classes, C, H, W) as (N, classes, C, H, W)."""
    return gradient.reshape(len(active), -1, *gradient.shape[1:])


def _through_relu(gradient: Tensor, active: Tensor) -> Tensor:
    """Pass a gradient (N * classes, C, H, W) where its ReLU (N, C, H, W) is open."""
    open_gates = (active > 0)[:, None]
    return (_by_class(gradient, active) * open_gates).flatten(0, 1)


def _head(network: DenseNet, features: Tensor) -> tuple[Tensor, Tensor]:
    norm = cast("nn.BatchNorm2d", network.features.get_submodule("norm5"))
    active = functional.relu(norm(features))
    logits = network.classifier(active.mean(dim=(2, 3)))
    # The mean's share of each cell comes at the end: in half precision it would
    # push small gradients towards zero all the way.
    seed = network.classifier.weight[:, :, None, None] * _scale(norm)
    gradient = seed.repeat(len(features), 1, *features.shape[2:])
    return logits, _through_relu(gradient, active)


def _backward(gradient: Tensor, step: _Step) -> Tensor:
    layer = step.layer
    growth = layer.conv2.out_channels
    before, added = gradient[:, :-growth], gradient[:, -growth:]
    middle = functional.conv_transpose2d(added, layer.conv2.weight, padding=1)
    middle = _through_relu(middle, step.middle) * _scale(layer.norm2)
    first = functional.conv_transpose2d(middle, layer.conv1.weight)
    return before + _through_relu(first, step.first) * _scale(layer.norm1)


def _channel_weights(
    transition: Transition, gradient: Tensor, active: Tensor
) -> Tensor:
    """Mean gradient of each target channel, (N, classes, C).

    The average pooling spreads a small cell's gradient evenly over 2x2 cells; the
    sum over these is the gradient times the share of open ReLUs among them.
    """
    share = functional.avg_pool2d((active > 0).to(active.dtype), 2)
    back = functional.conv_transpose2d(gradient, transition.conv.weight)
    total = (_by_class(back, active) * share[:, None]).sum(dim=(3, 4))
    cells = active[0, 0].numel() * gradient[0, 0].numel()
    return total * _scale(transition.norm).flatten() / cells
