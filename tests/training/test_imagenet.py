import hashlib
import pickle
import re
from collections import OrderedDict

import pytest
import safetensors.torch
import torch

from spinaldx.errors import ChecksumError, IncompatibleWeightsError, UsageError
from spinaldx.models.specs import DenseNetSpec
from spinaldx.models.torch_networks import build_densenet
from spinaldx.training.imagenet import read_imagenet

CHANNELS = ("t2w", "lesion", "cord")
FIRST = "features.conv0.weight"


@pytest.fixture(scope="module")
def state():
    """As torchvision has it: a thousand classes, points in the old names."""
    network = build_densenet(DenseNetSpec(classes=1000))
    return OrderedDict(network.state_dict())


def old_names(state):
    layer = re.compile(r"(denselayer\d+\.[a-z]+)([12])\.")
    return OrderedDict(
        (layer.sub(r"\1.\2.", name), tensor) for name, tensor in state.items()
    )


class TestReadImagenet:
    @pytest.mark.parametrize("rename", [dict, old_names])
    def test_reads_safetensors_in_both_namings(self, state, tmp_path, rename):
        path = tmp_path / "densenet121.safetensors"
        safetensors.torch.save_file(dict(rename(state)), path)

        tensors = read_imagenet(path, CHANNELS)

        name = "features.denseblock1.denselayer1.norm1.weight"
        assert torch.equal(tensors[name], state[name])

    def test_reads_torchvisions_file(self, state, tmp_path):
        path = tmp_path / "densenet121.pth"
        torch.save(old_names(state), path)
        named = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        path = path.rename(tmp_path / f"densenet121-{named}.pth")

        tensors = read_imagenet(path, CHANNELS)

        build_densenet(DenseNetSpec()).load_state_dict(tensors, strict=False)

    def test_image_channel_sees_grey_and_masks_start_at_zero(self, state, tmp_path):
        path = tmp_path / "densenet121.safetensors"
        safetensors.torch.save_file(dict(state), path)

        kernel = read_imagenet(path, ("lesion", "t2w"))[FIRST]

        assert kernel.shape == (64, 2, 7, 7)
        assert kernel[:, 0].abs().max() == 0.0
        assert torch.allclose(kernel[:, 1], state[FIRST].sum(1))

    def test_head_is_left_out(self, state, tmp_path):
        path = tmp_path / "densenet121.safetensors"
        safetensors.torch.save_file(dict(state), path)

        assert not any(
            name.startswith("class") for name in read_imagenet(path, CHANNELS)
        )

    def test_code_in_a_pickle_is_not_run(self, tmp_path):
        path, marker = tmp_path / "evil.pth", tmp_path / "marker"

        class Evil:
            def __reduce__(self):
                return (marker.touch, ())

        torch.save({"a": Evil()}, path)
        with pytest.raises(UsageError, match="cannot be read"):
            read_imagenet(path, CHANNELS)

        assert not marker.exists()

    def test_wrong_hash_in_the_name(self, tmp_path):
        path = tmp_path / "densenet121-a639ec97.pth"
        path.write_bytes(b"something else")

        with pytest.raises(ChecksumError):
            read_imagenet(path, CHANNELS)

    def test_another_network(self, tmp_path):
        path = tmp_path / "resnet.safetensors"
        safetensors.torch.save_file({"fc.weight": torch.ones(2, 2)}, path)

        with pytest.raises(IncompatibleWeightsError, match="not torchvision's"):
            read_imagenet(path, CHANNELS)

    def test_no_mapping_of_tensors(self, tmp_path):
        path = tmp_path / "list.pth"
        torch.save([torch.ones(1)], path)

        with pytest.raises(UsageError, match="something else"):
            read_imagenet(path, CHANNELS)

    @pytest.mark.parametrize("content", [b"", pickle.dumps(1, protocol=2), b"x" * 100])
    def test_what_is_no_weight_file(self, tmp_path, content):
        path = tmp_path / "file.pth"
        path.write_bytes(content)

        with pytest.raises(UsageError):
            read_imagenet(path, CHANNELS)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read_imagenet(tmp_path / "none.safetensors", CHANNELS)
