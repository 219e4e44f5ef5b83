"""The two networks as OpenVINO graphs, built from their tensors.

No conversion and no torch: OpenVINO's own operations. BatchNorm that follows a
convolution is folded into it. Graphs take one image at a time, so that no image's
result depends on those beside it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spinaldx.models.specs import (
    DENSENET_EPSILON,
    MULTIRESUNET_EPSILON,
    DenseNetSpec,
    MultiResUNetSpec,
)
from spinaldx.models.tensors import Tensors
from spinaldx.records import Float32Array

# OpenVINO imports its telemetry, a third of a second and a sender of usage data,
# unless the module is barred; it then takes a stub of its own.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # bars the import

import openvino  # noqa: E402 - after the line above
from openvino import opset13 as ops  # noqa: E402
from openvino.op import Constant  # noqa: E402

# OpenVINO has no types for the checker.
Node = Any
Model = Any
Core = Any


def open_core() -> Core:
    """Start OpenVINO, its telemetry kept out."""
    return openvino.Core()


def _constant(values: Float32Array | np.float32) -> Node:
    # Not `ops.constant`, whose checks of types take half the time of building.
    return Constant(np.ascontiguousarray(values, np.float32))


def _per_channel(values: Float32Array) -> Node:
    return _constant(values.reshape(1, -1, 1, 1))


def _convolve(image: Node, kernel: Float32Array, stride: int = 1) -> Node:
    edge = [kernel.shape[2] // 2] * 2
    return ops.convolution(image, _constant(kernel), [stride] * 2, edge, edge, [1, 1])


@dataclass(frozen=True, slots=True)
class _Layers:
    """Builds layers from the tensors below a prefix."""

    tensors: Tensors
    epsilon: float

    def norm(self, prefix: str) -> tuple[Float32Array, Float32Array]:
        """Return BatchNorm as scale and shift, (C,) each."""
        variance = self.tensors[f"{prefix}.running_var"]
        scale = 1.0 / np.sqrt(variance + np.float32(self.epsilon))
        if f"{prefix}.weight" in self.tensors:
            scale = scale * self.tensors[f"{prefix}.weight"]
        mean = self.tensors[f"{prefix}.running_mean"]
        return scale, self.tensors[f"{prefix}.bias"] - mean * scale

    def affine(self, image: Node, prefix: str) -> Node:
        """Apply BatchNorm by itself."""
        scale, shift = self.norm(prefix)
        return ops.add(ops.multiply(image, _per_channel(scale)), _per_channel(shift))

    def folded(self, conv: str, norm: str) -> tuple[Float32Array, Float32Array]:
        """Return a convolution's kernel and shift with its BatchNorm folded in."""
        scale, shift = self.norm(norm)
        return self.tensors[f"{conv}.weight"] * scale[:, None, None, None], shift

    def convolve(self, image: Node, conv: str, norm: str, *, stride: int = 1) -> Node:
        """Apply a convolution and the BatchNorm behind it."""
        kernel, shift = self.folded(conv, norm)
        return ops.add(_convolve(image, kernel, stride), _per_channel(shift))

    def conv_norm(self, image: Node, prefix: str) -> Node:
        """Apply one of MultiResUNet's convolutions."""
        return self.convolve(image, f"{prefix}.conv", f"{prefix}.norm")


def segmentation_model(spec: MultiResUNetSpec, tensors: Tensors) -> Model:
    """Build MultiResUNet.

    Args:
        spec: Its shape.
        tensors: By the names of `expected_tensors`.

    Returns:
        A model from (1, C, H, W) with any H and W that are multiples of the spec's
        size multiple to probabilities (1, outputs, H, W).
    """
    layers = _Layers(tensors, MULTIRESUNET_EPSILON)
    slices = ops.parameter([1, spec.in_channels, -1, -1], np.float32)
    features = slices
    if spec.stem > 1:
        features = ops.space_to_depth(features, "depth_first", spec.stem)
    bridged = []
    for stage, length in enumerate(spec.path_lengths):
        features = _multires_block(layers, features, f"encoder.{stage}")
        bridged.append(_res_path(layers, features, f"paths.{stage}", length))
        features = _max_pool(features, 2, 0)
    features = _multires_block(layers, features, f"encoder.{spec.levels - 1}")
    for stage in reversed(range(len(bridged))):
        raised = _raise(layers, features, f"ups.{stage}")
        joined = ops.concat([raised, bridged[stage]], 1)
        features = _multires_block(layers, joined, f"decoder.{stage}")
    if spec.head == "norm":
        logits = layers.conv_norm(features, "head")
    else:
        product = _convolve(features, tensors["head.weight"], 1)
        logits = ops.add(product, _per_channel(tensors["head.bias"]))
    if spec.stem > 1:
        logits = ops.depth_to_space(logits, "depth_first", spec.stem)
    return openvino.Model([ops.result(ops.sigmoid(logits))], [slices], "segmentation")


def _multires_block(layers: _Layers, image: Node, prefix: str) -> Node:
    chain = []
    features = image
    for name in ("first", "second", "third"):
        features = ops.relu(layers.conv_norm(features, f"{prefix}.{name}"))
        chain.append(features)
    joined = layers.affine(ops.concat(chain, 1), f"{prefix}.joined_norm")
    shortcut = layers.conv_norm(image, f"{prefix}.shortcut")
    return layers.affine(ops.relu(ops.add(shortcut, joined)), f"{prefix}.sum_norm")


def _res_path(layers: _Layers, image: Node, prefix: str, length: int) -> Node:
    for unit in range(length):
        residual = layers.conv_norm(image, f"{prefix}.{unit}.residual")
        shortcut = layers.conv_norm(image, f"{prefix}.{unit}.shortcut")
        total = ops.relu(ops.add(shortcut, ops.relu(residual)))
        image = layers.affine(total, f"{prefix}.{unit}.sum_norm")
    return image


def _raise(layers: _Layers, image: Node, prefix: str) -> Node:
    kernel = _constant(layers.tensors[f"{prefix}.weight"])
    raised = ops.convolution_backprop_data(
        image, kernel, [2, 2], pads_begin=[0, 0], pads_end=[0, 0]
    )
    return ops.add(raised, _per_channel(layers.tensors[f"{prefix}.bias"]))


def _max_pool(image: Node, edge: int, padding: int) -> Node:
    pads = [padding, padding]
    pooled = ops.max_pool(image, [2, 2], [1, 1], pads, pads, [edge, edge])
    return pooled.output(0)


def _average_pool(image: Node) -> Node:
    return ops.avg_pool(image, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=False)


def classifier_model(
    spec: DenseNetSpec, tensors: Tensors, shape: tuple[int, int]
) -> Model:
    """Build DenseNet with Grad-CAM at its third dense block.

    Behind the target lie transition3, denseblock4, norm5, ReLU, mean and the linear
    classifier. Their backward pass is written out below, for both classes at once
    as a batch of two; the masks of the ReLUs are shared.

    Args:
        spec: Its shape.
        tensors: By the names of `expected_tensors`.
        shape: Height and width of a crop.

    Returns:
        A model from (1, C, height, width) to logits (1, classes) and maps
        (1, classes, height / 16, width / 16), at least 0.
    """
    layers = _Layers(tensors, DENSENET_EPSILON)
    crops = ops.parameter([1, spec.in_channels, *shape], np.float32)
    stem = layers.convolve(crops, "features.conv0", "features.norm0", stride=2)
    features = _max_pool(ops.relu(stem), 3, 1)
    for number in (1, 2, 3):
        if number > 1:
            features = _transition(layers, features, number - 1)[0]
        layer_count = spec.blocks[number - 1]
        features, _ = _dense_block(layers, features, number, layer_count)
    target = features
    features, crossed = _transition(layers, target, 3)
    features, passed = _dense_block(layers, features, 4, spec.blocks[3])
    logits, gradient = _head(layers, features)
    for step in reversed(passed):
        gradient = _dense_layer_backward(gradient, step)
    weights = _channel_weights(layers, gradient, crossed)
    # (classes, C, 1, 1) over (1, C, h, w): the channels are summed away.
    weighted = ops.reduce_sum(ops.multiply(weights, target), [1], keep_dims=True)
    share = _constant(np.float32(1.0 / _averaged_cells(shape)))
    maps = ops.transpose(ops.relu(ops.multiply(weighted, share)), [1, 0, 2, 3])
    return openvino.Model([ops.result(logits), ops.result(maps)], [crops], "classifier")


@dataclass(frozen=True, slots=True)
class _DenseStep:
    """What one dense layer's backward pass needs.

    Attributes:
        entering: Channels before the layer.
        first: Scale of norm1, (C,), and features after its ReLU.
        middle: Features after the second ReLU.
        kernels: Of the 1x1 convolution with norm2 folded in, and of the 3x3.
    """

    entering: int
    first: tuple[Float32Array, Node]
    middle: Node
    kernels: tuple[Float32Array, Float32Array]


def _dense_block(
    layers: _Layers, features: Node, number: int, layer_count: int
) -> tuple[Node, Sequence[_DenseStep]]:
    steps = []
    for layer in range(layer_count):
        prefix = f"features.denseblock{number}.denselayer{layer + 1}"
        first = ops.relu(layers.affine(features, f"{prefix}.norm1"))
        narrow, shift = layers.folded(f"{prefix}.conv1", f"{prefix}.norm2")
        middle = ops.relu(ops.add(_convolve(first, narrow), _per_channel(shift)))
        wide = layers.tensors[f"{prefix}.conv2.weight"]
        features = ops.concat([features, _convolve(middle, wide)], 1)
        scale, _ = layers.norm(f"{prefix}.norm1")
        steps.append(_DenseStep(len(scale), (scale, first), middle, (narrow, wide)))
    return features, steps


def _transition(layers: _Layers, features: Node, number: int) -> tuple[Node, Node]:
    prefix = f"features.transition{number}"
    active = ops.relu(layers.affine(features, f"{prefix}.norm"))
    # A 1x1 convolution and a mean may change places; this way it is a quarter.
    kernel = layers.tensors[f"{prefix}.conv.weight"]
    return _convolve(_average_pool(active), kernel), active


def _head(layers: _Layers, features: Node) -> tuple[Node, Node]:
    active = ops.relu(layers.affine(features, "features.norm5"))
    pooled = ops.reduce_mean(active, [2, 3], keep_dims=False)
    weights = layers.tensors["classifier.weight"]
    bias = layers.tensors["classifier.bias"][None]
    # Channels by classes, as the multiplication wants them.
    by_class = _constant(weights.T)
    product = ops.matmul(pooled, by_class, transpose_a=False, transpose_b=False)
    logits = ops.add(product, bias)
    scale, _ = layers.norm("features.norm5")
    # The mean's share of each cell is left out here: it is one number for the whole
    # map, see `_averaged_cells`.
    seed = _constant((weights * scale)[:, :, None, None])
    return logits, _where_active(active, seed)


def _where_active(active: Node, gradient: Node) -> Node:
    # ReLU passes the gradient where its own output is above zero.
    zero = _constant(np.zeros((1, 1, 1, 1), np.float32))
    return ops.select(ops.greater(active, zero), gradient, zero)


def _dense_layer_backward(gradient: Node, step: _DenseStep) -> Node:
    narrow, wide = step.kernels
    growth = wide.shape[0]
    lengths = Constant(np.array([step.entering, growth], np.int64))
    before, added = ops.variadic_split(gradient, 1, lengths).outputs()
    # The transpose of a 3x3 convolution is one with the kernel turned around.
    turned = wide.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    middle = _where_active(step.middle, _convolve(added, turned))
    scale, first = step.first
    # norm1's scale goes into the transposed 1x1 convolution's kernel.
    back = narrow.transpose(1, 0, 2, 3) * scale[:, None, None, None]
    return ops.add(before, _where_active(first, _convolve(middle, back)))


def _channel_weights(layers: _Layers, gradient: Node, active: Node) -> Node:
    """Sum the gradient of each target channel, through transition3.

    The average pooling spreads a small cell's gradient evenly over 2x2 cells; the
    sum over these is the gradient times the share of open ReLUs among them.
    """
    kernel = layers.tensors["features.transition3.conv.weight"]
    scale, _ = layers.norm("features.transition3.norm")
    back = kernel.transpose(1, 0, 2, 3) * scale[:, None, None, None]
    one = _constant(np.ones((1, 1, 1, 1), np.float32))
    share = _average_pool(_where_active(active, one))
    spread = ops.multiply(_convolve(gradient, back), share)
    return ops.reduce_sum(spread, [2, 3], keep_dims=True)


def _averaged_cells(shape: tuple[int, int]) -> int:
    """Return the divisor of both means: over norm5's and over the target's cells."""
    height, width = shape
    return (height // 32) * (width // 32) * (height // 16) * (width // 16)
