"""What the two networks look like: parameters, widths and the tensors they own.

Pure arithmetic, so that bundles are checked and graphs built without torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spinaldx.errors import IncompatibleWeightsError

Shape = tuple[int, ...]

# Width of a MultiRes block over its nominal width, and how its three chained
# convolutions share it (Ibtehaz & Rahman 2020).
_ALPHA = 1.67
_SHARES = (0.167, 0.333, 0.5)

# A dense layer's 1x1 convolution gives this many times the growth (DenseNet-BC).
BOTTLENECK = 4

# Added to variances by BatchNorm: Keras' default, which the reference MultiResUNet
# has, and torch's.
MULTIRESUNET_EPSILON = 1e-3
DENSENET_EPSILON = 1e-5

# How MultiResUNet's output layer ends.
HEADS = ("norm", "bias")


def _require(*, holds: bool, message: str) -> None:
    if not holds:
        raise IncompatibleWeightsError(message)


@dataclass(frozen=True, slots=True)
class MultiResUNetSpec:
    """The segmentation network; the defaults are the reference's.

    Attributes:
        in_channels: Channels of a slice.
        outputs: One logit channel each, by name; independent, not exclusive.
        base_width: Nominal width of the first stage, doubled at each stage.
        levels: Stages of the encoder, the bottleneck included.
        stem: Space-to-depth factor in front and depth-to-space behind; 1 for none.
        channel_multiple: Widths are rounded to the nearest multiple, at least one;
            1 keeps the reference's odd widths.
        head: ``norm`` ends in BatchNorm without a scale, as the reference's code
            does; ``bias`` in a bias alone, as the paper has it. BatchNorm holds the
            logits' spread at 1, which keeps rare classes from ever being sure.
    """

    in_channels: int = 1
    outputs: tuple[str, ...] = ("lesion", "cord")
    base_width: int = 32
    levels: int = 5
    stem: int = 1
    channel_multiple: int = 1
    head: str = "norm"

    def __post_init__(self) -> None:
        _require(holds=self.head in HEADS, message=f"head must be one of {HEADS}.")
        _require(holds=self.in_channels >= 1, message="in_channels must be at least 1.")
        _require(
            holds=len(set(self.outputs)) == len(self.outputs) > 0,
            message="outputs must be distinct names, at least one.",
        )
        _require(holds=self.base_width >= 4, message="base_width must be at least 4.")
        _require(holds=2 <= self.levels <= 7, message="levels must be 2 to 7.")
        _require(holds=1 <= self.stem <= 8, message="stem must be 1 to 8.")
        _require(
            holds=1 <= self.channel_multiple <= 64,
            message="channel_multiple must be 1 to 64.",
        )

    @property
    def size_multiple(self) -> int:
        """Height and width of a slice must be multiples of this."""
        return int(self.stem * 2 ** (self.levels - 1))

    @property
    def nominal_widths(self) -> tuple[int, ...]:
        """Nominal width of each stage: of its ResPath and of the way back up."""
        return tuple(
            self._rounded(self.base_width * 2**stage) for stage in range(self.levels)
        )

    @property
    def block_widths(self) -> tuple[tuple[int, int, int], ...]:
        """Widths of the three chained convolutions of each stage's block."""
        widths = []
        for stage in range(self.levels):
            total = _ALPHA * self.base_width * 2**stage
            first, second, third = (
                self._rounded(int(total * share)) for share in _SHARES
            )
            widths.append((first, second, third))
        return tuple(widths)

    @property
    def path_lengths(self) -> tuple[int, ...]:
        """Units in each stage's ResPath: most where most is to be bridged."""
        return tuple(range(self.levels - 1, 0, -1))

    def _rounded(self, width: int) -> int:
        multiple = self.channel_multiple
        return max((width + multiple // 2) // multiple, 1) * multiple


@dataclass(frozen=True, slots=True)
class DenseNetSpec:
    """A classification network; the defaults are DenseNet121's.

    Attributes:
        in_channels: Channels of a crop.
        blocks: Dense layers in each of the four dense blocks.
        growth: Channels that each dense layer adds.
        initial_features: Channels after the first convolution.
        classes: Logits.
    """

    in_channels: int = 3
    blocks: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32
    initial_features: int = 64
    classes: int = 2

    def __post_init__(self) -> None:
        _require(holds=self.in_channels >= 1, message="in_channels must be at least 1.")
        _require(
            holds=len(self.blocks) == 4 and min(self.blocks) >= 1,
            message="blocks must be four numbers of layers, each at least 1.",
        )
        _require(holds=self.growth >= 1, message="growth must be at least 1.")
        _require(
            holds=self.initial_features >= 2,
            message="initial_features must be at least 2.",
        )
        _require(holds=self.classes >= 2, message="classes must be at least 2.")

    @property
    def block_inputs(self) -> tuple[int, ...]:
        """Channels that enter each dense block."""
        widths = [self.initial_features]
        for layers in self.blocks[:-1]:
            widths.append((widths[-1] + layers * self.growth) // 2)
        return tuple(widths)

    @property
    def block_outputs(self) -> tuple[int, ...]:
        """Channels that leave each dense block."""
        return tuple(
            width + layers * self.growth
            for width, layers in zip(self.block_inputs, self.blocks, strict=True)
        )


NetworkSpec = MultiResUNetSpec | DenseNetSpec


def expected_tensors(spec: NetworkSpec) -> Mapping[str, Shape]:
    """List the tensors that a network's weight file holds, by name.

    They are the torch modules' state without the batch counters, which inference
    never reads.
    """
    if isinstance(spec, MultiResUNetSpec):
        return dict(_multiresunet_tensors(spec))
    return dict(_densenet_tensors(spec))


_Named = Iterator[tuple[str, Shape]]


def _norm(prefix: str, channels: int, *, scaled: bool = True) -> _Named:
    if scaled:
        yield f"{prefix}.weight", (channels,)
    for name in ("bias", "running_mean", "running_var"):
        yield f"{prefix}.{name}", (channels,)


def _conv_norm(prefix: str, channels: tuple[int, int], kernel: int) -> _Named:
    entering, leaving = channels
    yield f"{prefix}.conv.weight", (leaving, entering, kernel, kernel)
    yield from _norm(f"{prefix}.norm", leaving, scaled=False)


def _multires_block(prefix: str, entering: int, widths: tuple[int, int, int]) -> _Named:
    total = sum(widths)
    yield from _conv_norm(f"{prefix}.shortcut", (entering, total), 1)
    chain = (entering, *widths)
    for place, name in enumerate(("first", "second", "third")):
        yield from _conv_norm(f"{prefix}.{name}", (chain[place], chain[place + 1]), 3)
    yield from _norm(f"{prefix}.joined_norm", total)
    yield from _norm(f"{prefix}.sum_norm", total)


def _res_path(prefix: str, entering: int, width: int, length: int) -> _Named:
    for unit in range(length):
        channels = (entering if unit == 0 else width, width)
        yield from _conv_norm(f"{prefix}.{unit}.shortcut", channels, 1)
        yield from _conv_norm(f"{prefix}.{unit}.residual", channels, 3)
        yield from _norm(f"{prefix}.{unit}.sum_norm", width)


def _multiresunet_tensors(spec: MultiResUNetSpec) -> _Named:
    blocks, nominal = spec.block_widths, spec.nominal_widths
    entering = spec.in_channels * spec.stem**2
    for stage, widths in enumerate(blocks):
        yield from _multires_block(f"encoder.{stage}", entering, widths)
        entering = sum(widths)
    for stage, length in enumerate(spec.path_lengths):
        leaving = sum(blocks[stage])
        yield from _res_path(f"paths.{stage}", leaving, nominal[stage], length)
    for stage in range(spec.levels - 1):
        below = sum(blocks[stage + 1])
        yield f"ups.{stage}.weight", (below, nominal[stage], 2, 2)
        yield f"ups.{stage}.bias", (nominal[stage],)
        joined = 2 * nominal[stage]
        yield from _multires_block(f"decoder.{stage}", joined, blocks[stage])
    leaving = len(spec.outputs) * spec.stem**2
    if spec.head == "norm":
        yield from _conv_norm("head", (sum(blocks[0]), leaving), 1)
    else:
        yield "head.weight", (leaving, sum(blocks[0]), 1, 1)
        yield "head.bias", (leaving,)


def _densenet_tensors(spec: DenseNetSpec) -> _Named:
    yield "features.conv0.weight", (spec.initial_features, spec.in_channels, 7, 7)
    yield from _norm("features.norm0", spec.initial_features)
    for place, layers in enumerate(spec.blocks):
        number = place + 1
        entering = spec.block_inputs[place]
        for layer in range(layers):
            prefix = f"features.denseblock{number}.denselayer{layer + 1}"
            yield from _dense_layer(prefix, entering + layer * spec.growth, spec.growth)
        leaving = spec.block_outputs[place]
        if number < len(spec.blocks):
            prefix = f"features.transition{number}"
            yield from _norm(f"{prefix}.norm", leaving)
            yield f"{prefix}.conv.weight", (leaving // 2, leaving, 1, 1)
    yield from _norm("features.norm5", spec.block_outputs[-1])
    yield "classifier.weight", (spec.classes, spec.block_outputs[-1])
    yield "classifier.bias", (spec.classes,)


def _dense_layer(prefix: str, entering: int, growth: int) -> _Named:
    middle = BOTTLENECK * growth
    yield from _norm(f"{prefix}.norm1", entering)
    yield f"{prefix}.conv1.weight", (middle, entering, 1, 1)
    yield from _norm(f"{prefix}.norm2", middle)
    yield f"{prefix}.conv2.weight", (growth, middle, 3, 3)
