import numpy as np
import pytest
from network_cases import CLASSIFIERS, SEGMENTERS, images, wild_tensors

torch = pytest.importorskip("torch")
graph = pytest.importorskip("spinaldx.models.openvino_graph")

from spinaldx.models.specs import (  # noqa: E402 - torch first
    DENSENET_EPSILON,
    MULTIRESUNET_EPSILON,
    DenseNetSpec,
    MultiResUNetSpec,
)
from spinaldx.models.torch_networks import (  # noqa: E402
    build_densenet,
    build_multiresunet,
)
from spinaldx.models.torch_networks.gradcam import logits_and_maps  # noqa: E402

SEGMENTER, CLASSIFIER = SEGMENTERS["reference"], CLASSIFIERS["small"]


def compiled(model):
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    return graph.open_core().compile_model(model, "CPU", settings)


def run_layer(build, features):
    """Compute one layer of the graph by itself."""
    entering = graph.ops.parameter(list(features.shape), np.float32)
    results = [graph.ops.result(build(entering))]
    model = graph.openvino.Model(results, [entering], "layer")
    return compiled(model)([features])[0]


def in_torch(spec, build, seed=0):
    network = build(spec)
    tensors = wild_tensors(spec, seed)
    state = {name: torch.from_numpy(values) for name, values in tensors.items()}
    network.load_state_dict(state, strict=False)
    return network.eval(), tensors


def segmenter_layers():
    network, tensors = in_torch(SEGMENTER, build_multiresunet)
    return network, graph._Layers(tensors, MULTIRESUNET_EPSILON)


def classifier_layers():
    network, tensors = in_torch(CLASSIFIER, build_densenet)
    return network, graph._Layers(tensors, DENSENET_EPSILON)


def assert_same(found, expected):
    scale = max(float(np.abs(expected).max()), 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * scale)


def torch_numpy(module, features):
    with torch.inference_mode():
        return module(torch.from_numpy(features)).numpy()


class TestLayersOfMultiResUNet:
    def test_multires_block(self):
        network, layers = segmenter_layers()
        features = images(1, 1, 12, 20) - 1

        found = run_layer(
            lambda node: graph._multires_block(layers, node, "encoder.0"), features
        )

        assert_same(found, torch_numpy(network.encoder[0], features))

    def test_res_path(self):
        network, layers = segmenter_layers()
        width = sum(SEGMENTER.block_widths[0])
        features = images(1, width, 12, 20) - 1

        found = run_layer(
            lambda node: graph._res_path(layers, node, "paths.0", 2), features
        )

        assert_same(found, torch_numpy(network.paths[0], features))

    def test_way_up(self):
        network, layers = segmenter_layers()
        features = images(1, sum(SEGMENTER.block_widths[1]), 5, 7) - 1

        found = run_layer(lambda node: graph._raise(layers, node, "ups.0"), features)

        assert_same(found, torch_numpy(network.ups[0], features))

    def test_head(self):
        network, layers = segmenter_layers()
        features = images(1, sum(SEGMENTER.block_widths[0]), 5, 7) - 1

        found = run_layer(lambda node: layers.conv_norm(node, "head"), features)

        assert_same(found, torch_numpy(network.head, features))

    @pytest.mark.parametrize(("edge", "padding"), [(2, 0), (3, 1)])
    def test_max_pooling(self, edge, padding):
        features = images(1, 3, 10, 14) - 1

        found = run_layer(lambda node: graph._max_pool(node, edge, padding), features)

        pool = torch.nn.MaxPool2d(edge, stride=2, padding=padding)
        assert_same(found, torch_numpy(pool, features))


class TestLayersOfDenseNet:
    def test_first_convolution(self):
        network, layers = classifier_layers()
        features = images(1, 3, 32, 64)

        found = run_layer(
            lambda node: layers.convolve(
                node, "features.conv0", "features.norm0", stride=2
            ),
            features,
        )

        expected = torch_numpy(network.features[:2], features)
        assert_same(found, expected)

    def test_dense_block(self):
        network, layers = classifier_layers()
        features = images(1, CLASSIFIER.block_inputs[2], 6, 8) - 1

        found = run_layer(
            lambda node: graph._dense_block(layers, node, 3, 3)[0], features
        )

        assert_same(found, torch_numpy(network.features.denseblock3, features))

    @pytest.mark.parametrize("size", [(6, 8), (7, 9)])
    def test_transition(self, size):
        network, layers = classifier_layers()
        features = images(1, CLASSIFIER.block_outputs[1], *size) - 1

        found = run_layer(lambda node: graph._transition(layers, node, 2)[0], features)

        assert_same(found, torch_numpy(network.features.transition2, features))

    def test_head(self):
        network, layers = classifier_layers()
        features = images(1, CLASSIFIER.block_outputs[3], 2, 3) - 1

        found = run_layer(lambda node: graph._head(layers, node)[0], features)

        active = torch.relu(network.features.norm5(torch.from_numpy(features)))
        expected = network.classifier(active.mean(dim=(2, 3)))
        assert_same(found, expected.detach().numpy())


@pytest.mark.parametrize("spec", SEGMENTERS.values(), ids=SEGMENTERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_whole_segmenter(spec, seed):
    network, tensors = in_torch(spec, build_multiresunet, seed)
    model = compiled(graph.segmentation_model(spec, tensors))

    for cells in ((4, 5), (6, 3)):
        size = [cell * spec.size_multiple for cell in cells]
        slices = images(1, spec.in_channels, *size, seed)
        expected = 1 / (1 + np.exp(-torch_numpy(network, slices)))
        assert_same(model([slices])[0], expected)


@pytest.mark.parametrize("spec", CLASSIFIERS.values(), ids=CLASSIFIERS)
@pytest.mark.parametrize("size", [(64, 32), (80, 112)])
def test_whole_classifier_with_maps(spec, size):
    network, tensors = in_torch(spec, build_densenet)
    crops = images(1, spec.in_channels, *size)

    logits, maps = compiled(graph.classifier_model(spec, tensors, size))(
        [crops]
    ).values()

    expected_logits, expected_maps = logits_and_maps(network, torch.from_numpy(crops))
    assert_same(logits, expected_logits.detach().numpy())
    expected = expected_maps.detach().numpy()
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.slow
def test_full_width_segmenter():
    spec = MultiResUNetSpec()
    network, tensors = in_torch(spec, build_multiresunet)
    slices = images(1, 1, 256, 256)

    found = compiled(graph.segmentation_model(spec, tensors))([slices])[0]

    assert_same(found, 1 / (1 + np.exp(-torch_numpy(network, slices))))


@pytest.mark.slow
def test_full_width_classifier():
    spec = DenseNetSpec()
    network, tensors = in_torch(spec, build_densenet)
    crops = images(1, 3, 320, 128)

    model = compiled(graph.classifier_model(spec, tensors, (320, 128)))
    logits, maps = model([crops]).values()

    expected_logits, expected_maps = logits_and_maps(network, torch.from_numpy(crops))
    assert_same(logits, expected_logits.detach().numpy())
    expected = expected_maps.detach().numpy()
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-4 * expected.max())
