import hashlib
import pickle

import numpy as np
import pytest
from network_cases import CLASSIFIERS, wild_tensors
from safetensors.numpy import save

from spinaldx.errors import (
    ChecksumError,
    IncompatibleWeightsError,
    WeightsNotFoundError,
)
from spinaldx.models.specs import expected_tensors
from spinaldx.models.tensors import parse_tensors, read_checked_bytes, write_tensors

SPEC = CLASSIFIERS["small"]
EXPECTED = expected_tensors(SPEC)
KERNEL, VARIANCE = "features.conv0.weight", "features.norm0.running_var"


def refused(content, tmp_path):
    with pytest.raises(IncompatibleWeightsError) as caught:
        parse_tensors(content, EXPECTED, tmp_path / "weights.safetensors")
    assert caught.value.exit_code == 4
    return caught.value.message


class TestReadCheckedBytes:
    def test_returns_what_it_hashed(self, tmp_path):
        (tmp_path / "file").write_bytes(b"weights")

        content = read_checked_bytes(
            tmp_path / "file", hashlib.sha256(b"weights").hexdigest()
        )

        assert content == b"weights"

    def test_refuses_other_bytes(self, tmp_path):
        (tmp_path / "file").write_bytes(b"weights")

        with pytest.raises(ChecksumError, match="file is damaged") as caught:
            read_checked_bytes(tmp_path / "file", "0" * 64)
        assert caught.value.exit_code == 4

    def test_refuses_a_missing_file(self, tmp_path):
        with pytest.raises(WeightsNotFoundError, match="absent"):
            read_checked_bytes(tmp_path / "absent", "0" * 64)


class TestParseTensors:
    def test_reads_back_what_was_written(self, tmp_path):
        tensors = wild_tensors(SPEC)

        found = parse_tensors(write_tensors(tensors, half=False), EXPECTED, tmp_path)

        assert list(found) == list(EXPECTED)
        for name, values in tensors.items():
            assert np.array_equal(found[name], values)

    def test_reads_halves_as_singles(self, tmp_path):
        tensors = wild_tensors(SPEC)

        found = parse_tensors(write_tensors(tensors, half=True), EXPECTED, tmp_path)

        assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}
        assert np.array_equal(
            found[KERNEL], tensors[KERNEL].astype(np.float16).astype(np.float32)
        )
        assert np.array_equal(found[VARIANCE], tensors[VARIANCE])

    def test_refuses_a_missing_tensor(self, tmp_path):
        tensors = wild_tensors(SPEC)
        del tensors[KERNEL], tensors[VARIANCE]

        message = refused(save(tensors), tmp_path)

        assert "lacks tensor features.conv0.weight and 1 more" in message

    def test_refuses_an_extra_tensor(self, tmp_path):
        tensors = wild_tensors(SPEC) | {"backdoor": np.zeros(3, np.float32)}

        assert "unknown tensor backdoor." in refused(save(tensors), tmp_path)

    def test_refuses_a_misshapen_tensor(self, tmp_path):
        tensors = wild_tensors(SPEC)
        tensors[KERNEL] = tensors[KERNEL][..., 0]

        assert "features.conv0.weight has shape" in refused(save(tensors), tmp_path)

    @pytest.mark.parametrize("kind", [np.float64, np.int32])
    def test_refuses_another_type(self, tmp_path, kind):
        tensors = wild_tensors(SPEC)
        tensors[KERNEL] = tensors[KERNEL].astype(kind)

        assert "features.conv0.weight has type" in refused(save(tensors), tmp_path)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_refuses_what_is_not_finite(self, tmp_path, value):
        tensors = wild_tensors(SPEC)
        tensors[KERNEL][0, 0, 0, 0] = value

        assert "NaN or infinity" in refused(save(tensors), tmp_path)

    def test_refuses_a_negative_variance(self, tmp_path):
        tensors = wild_tensors(SPEC)
        tensors[VARIANCE][0] = -1e-3

        assert "variance below zero" in refused(save(tensors), tmp_path)

    def test_refuses_a_renamed_pickle(self, tmp_path):
        content = pickle.dumps(wild_tensors(SPEC))

        assert "not a safetensors file" in refused(content, tmp_path)

    @pytest.mark.parametrize("cut", [0, 4, 100, -1])
    def test_refuses_a_cut_file(self, tmp_path, cut):
        content = write_tensors(wild_tensors(SPEC), half=True)

        assert "not a safetensors file" in refused(content[:cut], tmp_path)


class TestWriteTensors:
    def test_same_tensors_give_the_same_bytes(self):
        tensors = wild_tensors(SPEC)
        backwards = dict(reversed(tensors.items()))

        assert write_tensors(tensors, half=True) == write_tensors(backwards, half=True)

    def test_leaves_batch_counters_out(self, tmp_path):
        tensors = wild_tensors(SPEC) | {
            "features.norm0.num_batches_tracked": np.array(7)
        }

        content = write_tensors(tensors, half=False)

        assert set(parse_tensors(content, EXPECTED, tmp_path)) == set(EXPECTED)
