"""MultiResUNet as its authors published it (Ibtehaz & Rahman 2020, Keras).

The order is the reference's: sums pass ReLU, then BatchNorm; the convolutions'
own BatchNorm has no scale; the output layer has BatchNorm too, unless the spec
says otherwise.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spinaldx.models.specs import MULTIRESUNET_EPSILON, MultiResUNetSpec


class ShiftNorm(nn.BatchNorm2d):
    """BatchNorm with a shift and no scale."""

    ones: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=MULTIRESUNET_EPSILON)
        self.register_parameter("weight", None)
        self.register_buffer("ones", torch.ones(channels), persistent=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Map (N, channels, H, W) to the same shape."""
        # Without any scale CUDA gives the shift no gradient, and training fails.
        return functional.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.ones,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=MULTIRESUNET_EPSILON)


class ConvNorm(nn.Module):
    """Convolution without bias and BatchNorm, size kept."""

    def __init__(self, entering: int, leaving: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            entering, leaving, kernel, padding=kernel // 2, bias=False
        )
        self.norm = ShiftNorm(leaving)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, entering, H, W) to (N, leaving, H, W)."""
        normalised: Tensor = self.norm(self.conv(image))
        return normalised


class MultiResBlock(nn.Module):
    """Three chained 3x3 convolutions, joined, beside a 1x1 shortcut."""

    def __init__(self, entering: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = widths
        total = sum(widths)
        self.shortcut = ConvNorm(entering, total, 1)
        self.first = ConvNorm(entering, first, 3)
        self.second = ConvNorm(first, second, 3)
        self.third = ConvNorm(second, third, 3)
        self.joined_norm = _norm(total)
        self.sum_norm = _norm(total)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, entering, H, W) to (N, sum of the widths, H, W)."""
        first = functional.relu(self.first(image))
        second = functional.relu(self.second(first))
        third = functional.relu(self.third(second))
        joined = self.joined_norm(torch.cat((first, second, third), dim=1))
        block: Tensor = self.sum_norm(functional.relu(self.shortcut(image) + joined))
        return block


class ResPathUnit(nn.Module):
    """One 3x3 convolution beside a 1x1 shortcut."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        self.shortcut = ConvNorm(entering, leaving, 1)
        self.residual = ConvNorm(entering, leaving, 3)
        self.sum_norm = _norm(leaving)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, entering, H, W) to (N, leaving, H, W)."""
        residual = functional.relu(self.residual(image))
        unit: Tensor = self.sum_norm(functional.relu(self.shortcut(image) + residual))
        return unit


class MultiResUNet(nn.Module):
    """The segmentation network.

    Args:
        spec: Width, depth, stem, channels.
    """

    def __init__(self, spec: MultiResUNetSpec) -> None:
        super().__init__()
        self.spec = spec
        blocks, nominal = spec.block_widths, spec.nominal_widths
        leaving = tuple(sum(widths) for widths in blocks)
        entering = (spec.in_channels * spec.stem**2, *leaving[:-1])
        self.encoder = nn.ModuleList(
            MultiResBlock(*pair) for pair in zip(entering, blocks, strict=True)
        )
        self.paths = nn.ModuleList(
            _res_path(leaving[stage], nominal[stage], length)
            for stage, length in enumerate(spec.path_lengths)
        )
        below = range(spec.levels - 1)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(leaving[stage + 1], nominal[stage], 2, stride=2)
            for stage in below
        )
        self.decoder = nn.ModuleList(
            MultiResBlock(2 * nominal[stage], blocks[stage]) for stage in below
        )
        channels = leaving[0], len(spec.outputs) * spec.stem**2
        self.head: nn.Module = (
            ConvNorm(*channels, 1) if spec.head == "norm" else nn.Conv2d(*channels, 1)
        )
        self.apply(_initialise)

    def forward(self, slices: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to logits (N, outputs, H, W)."""
        features = functional.pixel_unshuffle(slices, self.spec.stem)
        bridged: list[Tensor] = []
        for block, path in zip(self.encoder, self.paths, strict=False):
            features = block(features)
            bridged.append(path(features))
            features = functional.max_pool2d(features, 2)
        features = self.encoder[-1](features)
        for stage in reversed(range(len(bridged))):
            joined = torch.cat((self.ups[stage](features), bridged[stage]), dim=1)
            features = self.decoder[stage](joined)
        return functional.pixel_shuffle(self.head(features), self.spec.stem)


def _res_path(entering: int, width: int, length: int) -> nn.Sequential:
    widths = (entering, *(width for _ in range(length - 1)))
    return nn.Sequential(*(ResPathUnit(before, width) for before in widths))


def _initialise(module: nn.Module) -> None:
    # Keras' default, Glorot's uniform, for every convolution; biases at zero.
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build_multiresunet(spec: MultiResUNetSpec) -> MultiResUNet:
    """Build a segmentation network with random weights, on the CPU.

    Args:
        spec: Width, depth, stem, channels.

    Returns:
        A module from (N, in_channels, H, W) to logits (N, outputs, H, W); H and W
        must be multiples of `spec.size_multiple`.
    """
    return MultiResUNet(spec)
