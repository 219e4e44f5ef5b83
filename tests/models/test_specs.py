import pytest

from spinaldx.errors import IncompatibleWeightsError
from spinaldx.models import DenseNetSpec, MultiResUNetSpec
from spinaldx.models.json_fields import parse_version


class TestMultiResUNetSpec:
    def test_rounds_widths_to_the_nearest_multiple(self):
        spec = MultiResUNetSpec(base_width=32, levels=2, channel_multiple=16)

        # 8, 17, 26 and 17, 35, 53; half a multiple goes up.
        assert spec.block_widths == ((16, 16, 32), (16, 32, 48))

    def test_size_multiple_counts_stem_and_poolings(self):
        assert MultiResUNetSpec().size_multiple == 16
        assert MultiResUNetSpec(stem=2, levels=4).size_multiple == 16

    @pytest.mark.parametrize(
        "wrong",
        [
            {"in_channels": 0},
            {"outputs": ()},
            {"outputs": ("lesion", "lesion")},
            {"base_width": 3},
            {"levels": 1},
            {"stem": 0},
            {"channel_multiple": 0},
        ],
    )
    def test_refuses_what_is_no_network(self, wrong):
        with pytest.raises(IncompatibleWeightsError, match=next(iter(wrong))):
            MultiResUNetSpec(**wrong)


class TestDenseNetSpec:
    def test_counts_channels_of_densenet121(self):
        assert DenseNetSpec().block_inputs == (64, 128, 256, 512)
        assert DenseNetSpec().block_outputs == (256, 512, 1024, 1024)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"in_channels": 0},
            {"blocks": (1, 2, 3)},
            {"blocks": (1, 2, 3, 0)},
            {"growth": 0},
            {"initial_features": 1},
            {"classes": 1},
        ],
    )
    def test_refuses_what_is_no_network(self, wrong):
        with pytest.raises(IncompatibleWeightsError, match=next(iter(wrong))):
            DenseNetSpec(**wrong)


class TestParseVersion:
    @pytest.mark.parametrize(
        ("text", "numbers"), [("1.2", (1, 2)), ("0.10.3.dev4", (0, 10, 3))]
    )
    def test_reads_numbers(self, text, numbers):
        assert parse_version(text) == numbers

    def test_refuses_words(self):
        with pytest.raises(ValueError, match="newest"):
            parse_version("newest")
