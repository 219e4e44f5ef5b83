import pytest

torch = pytest.importorskip("torch")

from spinaldx.models.specs import (  # noqa: E402 - after torch is known to be there
    DenseNetSpec,
    MultiResUNetSpec,
    expected_tensors,
)
from spinaldx.models.torch_networks import (  # noqa: E402
    build_densenet,
    build_multiresunet,
)
from spinaldx.models.torch_networks.multiresunet import MultiResBlock  # noqa: E402

SMALL = DenseNetSpec(blocks=(2, 2, 2, 2), growth=4, initial_features=6)
VARIANTS = (
    MultiResUNetSpec(base_width=8, levels=3),
    MultiResUNetSpec(base_width=8, levels=4, stem=2, channel_multiple=8, head="bias"),
    MultiResUNetSpec(in_channels=3, outputs=("lesion",), base_width=5, levels=2),
)


def count(module):
    """All numbers of the state but the batch counters, as Keras counts."""
    return sum(
        tensor.numel()
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )


def state_shapes(module):
    return {
        name: tuple(tensor.shape)
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def spread_of_logits(head):
    """Standard deviation of the logits of a network whose last kernel is large."""
    network = build_multiresunet(MultiResUNetSpec(base_width=4, levels=2, head=head))
    last = network.head.conv if head == "norm" else network.head
    with torch.no_grad():
        last.weight.mul_(100.0)
        return float(network(torch.rand(2, 1, 32, 32))[:, 0].std())


class TestMultiResUNet:
    @pytest.mark.parametrize(
        ("in_channels", "total", "trainable"),
        [(1, 7_262_504, 7_237_982), (3, 7_262_750, 7_238_228)],
    )
    def test_has_the_published_size(self, in_channels, total, trainable):
        spec = MultiResUNetSpec(in_channels=in_channels, outputs=("lesion",))

        network = build_multiresunet(spec)

        assert count(network) == total
        assert sum(weight.numel() for weight in network.parameters()) == trainable

    def test_has_the_published_widths(self):
        spec = MultiResUNetSpec()

        assert spec.block_widths == (
            (8, 17, 26),
            (17, 35, 53),
            (35, 71, 106),
            (71, 142, 213),
            (142, 284, 427),
        )
        assert spec.path_lengths == (4, 3, 2, 1)
        assert spec.nominal_widths == (32, 64, 128, 256, 512)

    @pytest.mark.parametrize("spec", VARIANTS)
    def test_owns_the_tensors_expected_of_it(self, spec):
        assert state_shapes(build_multiresunet(spec)) == expected_tensors(spec)

    @pytest.mark.parametrize("spec", VARIANTS)
    def test_gives_one_logit_channel_an_output(self, spec):
        slices = torch.rand(2, spec.in_channels, 32, 48)

        logits = build_multiresunet(spec).eval()(slices)

        assert logits.shape == (2, len(spec.outputs), 32, 48)

    def test_a_normalised_head_holds_the_spread_of_logits_at_one(self):
        assert spread_of_logits("norm") == pytest.approx(1.0, rel=0.05)

    def test_a_bare_head_lets_logits_spread(self):
        assert spread_of_logits("bias") > 20.0

    def test_normalises_after_the_relu_of_a_sum(self):
        block = MultiResBlock(3, (2, 2, 2)).eval()
        torch.nn.init.constant_(block.sum_norm.bias, -5.0)

        # BatchNorm last can go below zero, ReLU last cannot.
        assert block(torch.rand(1, 3, 4, 4)).min() < -1.0

    def test_convolutions_norm_has_no_scale(self):
        names = expected_tensors(MultiResUNetSpec())

        assert "encoder.0.first.norm.weight" not in names
        assert "encoder.0.joined_norm.weight" in names

    def test_pools_the_block_and_not_the_path(self):
        network = build_multiresunet(VARIANTS[0]).eval()
        seen = {}
        network.encoder[0].register_forward_hook(
            lambda *args: seen.update(block=args[2])
        )
        network.encoder[1].register_forward_hook(
            lambda *args: seen.update(entering=args[1][0])
        )

        network(torch.rand(1, 1, 8, 8))

        pooled = torch.nn.functional.max_pool2d(seen["block"], 2)
        assert torch.equal(pooled, seen["entering"])


class TestDenseNet:
    def test_has_the_size_of_densenet121(self):
        network = build_densenet(DenseNetSpec())

        assert sum(weight.numel() for weight in network.parameters()) == 6_955_906
        assert len(network.state_dict()) == 727

    @pytest.mark.parametrize("spec", [SMALL, DenseNetSpec(in_channels=4)])
    def test_owns_the_tensors_expected_of_it(self, spec):
        assert state_shapes(build_densenet(spec)) == expected_tensors(spec)

    def test_gives_two_logits_a_crop(self):
        assert build_densenet(SMALL).eval()(torch.rand(3, 3, 64, 32)).shape == (3, 2)
