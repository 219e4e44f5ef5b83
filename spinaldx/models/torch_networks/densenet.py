"""DenseNet-BC with the tensor names of torchvision (Huang et al. 2017)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from spinaldx.models.specs import BOTTLENECK, DENSENET_EPSILON, DenseNetSpec


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=DENSENET_EPSILON)


class DenseLayer(nn.Module):
    """BatchNorm, ReLU, 1x1 convolution, BatchNorm, ReLU, 3x3 convolution."""

    def __init__(self, entering: int, growth: int) -> None:
        super().__init__()
        middle = BOTTLENECK * growth
        self.norm1 = _norm(entering)
        self.conv1 = nn.Conv2d(entering, middle, 1, bias=False)
        self.norm2 = _norm(middle)
        self.conv2 = nn.Conv2d(middle, growth, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, entering, H, W) to (N, growth, H, W)."""
        middle = self.conv1(functional.relu(self.norm1(features)))
        added: Tensor = self.conv2(functional.relu(self.norm2(middle)))
        return added


class DenseBlock(nn.Module):
    """Dense layers, each fed with everything before it."""

    def __init__(self, layers: int, entering: int, growth: int) -> None:
        super().__init__()
        for layer in range(layers):
            built = DenseLayer(entering + layer * growth, growth)
            self.add_module(f"denselayer{layer + 1}", built)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, entering, H, W) to (N, entering + layers * growth, H, W)."""
        for layer in self.children():
            features = torch.cat((features, layer(features)), dim=1)
        return features


class Transition(nn.Module):
    """BatchNorm, ReLU, 1x1 convolution to half the channels, halved in size."""

    def __init__(self, entering: int) -> None:
        super().__init__()
        self.norm = _norm(entering)
        self.conv = nn.Conv2d(entering, entering // 2, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, entering, H, W) to (N, entering / 2, H / 2, W / 2)."""
        return functional.avg_pool2d(self.conv(functional.relu(self.norm(features))), 2)


class DenseNet(nn.Module):
    """A classification network.

    No ReLU works in place: the features before it are Grad-CAM's.

    Args:
        spec: Blocks, growth, channels.
    """

    def __init__(self, spec: DenseNetSpec) -> None:
        super().__init__()
        self.spec = spec
        first = spec.initial_features
        stem = nn.Conv2d(spec.in_channels, first, 7, stride=2, padding=3, bias=False)
        features: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=stem,
            norm0=_norm(first),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for place, layers in enumerate(spec.blocks):
            block = DenseBlock(layers, spec.block_inputs[place], spec.growth)
            features[f"denseblock{place + 1}"] = block
            if place + 1 < len(spec.blocks):
                transition = Transition(spec.block_outputs[place])
                features[f"transition{place + 1}"] = transition
        features["norm5"] = _norm(spec.block_outputs[-1])
        self.features = nn.Sequential(features)
        self.classifier = nn.Linear(spec.block_outputs[-1], spec.classes)
        self.apply(_initialise)

    def forward(self, crops: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to logits (N, classes)."""
        pooled = functional.relu(self.features(crops)).mean(dim=(2, 3))
        logits: Tensor = self.classifier(pooled)
        return logits


def _initialise(module: nn.Module) -> None:
    # As torchvision does.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def build_densenet(spec: DenseNetSpec) -> DenseNet:
    """Build a classification network with random weights, on the CPU.

    Args:
        spec: Blocks, growth, channels.

    Returns:
        A module from (N, in_channels, H, W) to logits (N, classes).
    """
    return DenseNet(spec)
