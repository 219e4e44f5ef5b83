import pytest
import torch

from spinaldx.errors import DeviceError, UsageError
from spinaldx.training import compute
from spinaldx.training.compute import set_up_machine
from spinaldx.training.options import Compute


class TestSetUpMachine:
    def test_cpu_in_fp32_with_threads(self):
        machine = set_up_machine(Compute("cpu", "fp32", 1))

        assert (machine.device, machine.precision, machine.threads) == (
            "cpu",
            "fp32",
            1,
        )

    @pytest.mark.parametrize(
        ("capabilities", "precision"),
        [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "fp32")],
    )
    def test_bf16_only_where_the_processor_has_it(
        self, monkeypatch, capabilities, precision
    ):
        told = lambda: capabilities  # noqa: E731 - a stand-in
        monkeypatch.setattr(torch.cpu, "get_capabilities", told, raising=False)

        assert set_up_machine(Compute("cpu")).precision == precision

    def test_older_torch_trains_in_fp32(self, monkeypatch):
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

        assert set_up_machine(Compute("cpu")).precision == "fp32"

    def test_auto_takes_cuda_first(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
        machine = set_up_machine(Compute())

        assert (machine.device, machine.precision) == ("cuda", "bf16")
        assert set_up_machine(Compute("cuda:1")).device == "cuda:1"

    def test_mps_trains_in_fp32(self, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        machine = set_up_machine(Compute())

        assert (machine.device, machine.precision) == ("mps", "fp32")

    def test_an_absent_device_is_an_error(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(DeviceError, match="no device cuda:3"):
            set_up_machine(Compute("cuda:3"))

    def test_batches_have_processes_beside_a_gpu_alone(self, monkeypatch):
        monkeypatch.setattr(compute.os, "cpu_count", lambda: 6)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
        beside_gpu, alone = (
            set_up_machine(Compute(device, workers=0)) for device in ("auto", "cpu")
        )

        assert (beside_gpu.readers, beside_gpu.workers) == (6, 5)
        assert (alone.readers, alone.workers) == (6, 1)

    def test_many_processors_are_not_all_taken_unless_asked_for(self, monkeypatch):
        monkeypatch.setattr(compute.os, "cpu_count", lambda: 96)

        assert set_up_machine(Compute("cpu", workers=0)).readers == 16
        assert set_up_machine(Compute("cpu")).readers == 1
        asked = set_up_machine(Compute("cpu", workers=40))
        assert (asked.readers, asked.workers) == (40, 40)

    def test_fp16_is_refused(self):
        with pytest.raises(UsageError, match="fp16"):
            set_up_machine(Compute("cpu", "fp16"))

    @pytest.mark.parametrize("system", ["darwin", "linux"])
    def test_other_systems_are_left_alone(self, monkeypatch, system):
        monkeypatch.setattr(compute.sys, "platform", system)
        monkeypatch.setattr(compute.ctypes, "CDLL", lambda _: object())

        assert set_up_machine(Compute("cpu")).device == "cpu"
