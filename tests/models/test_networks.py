import subprocess
import sys

import numpy as np
import pytest
from network_cases import images
from phantoms import tiny_bundle as write_tiny

from spinaldx.errors import (
    ChecksumError,
    DeviceError,
    DeviceMemoryError,
    GeometryError,
    InferenceError,
    UsageError,
)
from spinaldx.models import EngineOptions, networks, open_networks
from spinaldx.records import Task

OPENVINO = EngineOptions(engine="openvino")
TORCH = EngineOptions(engine="torch")

TASK = Task.MS_VS_NMOSD

# Paths of the processor that CI may not have are asked for by name.
torch = pytest.importorskip("torch")
pytest.importorskip("openvino")

from spinaldx.models import openvino_engine, torch_engine  # noqa: E402 - needs both


@pytest.fixture(params=[OPENVINO, TORCH], ids=["openvino", "torch"])
def opened(request, tiny_bundle):
    engine = open_networks(tiny_bundle, "cpu", "fp32", request.param)
    yield engine
    engine.close()


def computed(bundle, precision, options, device="cpu"):
    """Return probabilities, logits and maps of one engine."""
    engine = open_networks(bundle, device, precision, options)
    probabilities = engine.segment(images(3, 1, 32, 48))
    output = engine.classify(TASK, images(2, 3, 128, 64))
    engine.close()
    return probabilities, output.logits, output.maps / output.maps.max()


class TestBothEngines:
    def test_give_independent_probabilities(self, opened):
        probabilities = opened.segment(images(3, 1, 32, 48))

        assert probabilities.shape == (3, 2, 32, 48)
        assert probabilities.dtype == np.float32
        assert 0 <= probabilities.min() < probabilities.max() <= 1

    def test_give_logits_and_maps_of_both_classes(self, opened):
        output = opened.classify(TASK, images(3, 3, 128, 64))

        assert output.logits.shape == (3, 2)
        assert output.maps.shape == (3, 2, 8, 4)
        assert output.logits.dtype == output.maps.dtype == np.float32
        assert 0 <= output.maps.min() < output.maps.max()

    def test_take_no_images(self, opened):
        assert opened.segment(images(0, 1, 32, 32)).shape == (0, 2, 32, 32)
        assert opened.classify(TASK, images(0, 3, 128, 64)).maps.shape == (0, 2, 8, 4)

    def test_compute_each_image_by_itself(self, opened):
        slices = images(4, 1, 32, 48)
        crops = images(3, 3, 128, 64)

        together, outputs = opened.segment(slices), opened.classify(TASK, crops)

        assert np.array_equal(opened.segment(slices[2:3]), together[2:3])
        alone = opened.classify(TASK, crops[1:2])
        assert np.array_equal(alone.logits, outputs.logits[1:2])
        assert np.array_equal(alone.maps, outputs.maps[1:2])

    def test_take_slices_that_are_not_contiguous(self, opened):
        slices = images(2, 1, 48, 32)

        turned = opened.segment(slices.transpose(0, 1, 3, 2))

        copied = np.ascontiguousarray(slices.transpose(0, 1, 3, 2))
        assert np.array_equal(turned, opened.segment(copied))

    def test_have_three_different_classifiers(self, opened):
        crops = images(1, 3, 128, 64)

        logits = {tuple(opened.classify(task, crops).logits[0]) for task in Task}

        assert len(logits) == 3

    @pytest.mark.parametrize("shape", [(1, 1, 33, 32), (1, 2, 32, 32), (1, 1, 0, 32)])
    def test_refuse_slices_that_do_not_fit(self, opened, shape):
        with pytest.raises(GeometryError, match="multiples of 2"):
            opened.segment(images(*shape))

    @pytest.mark.parametrize("shape", [(1, 3, 128, 48), (1, 2, 128, 64)])
    def test_refuse_crops_that_do_not_fit(self, opened, shape):
        with pytest.raises(GeometryError, match=r"\(N, 3, 128, 64\)"):
            opened.classify(TASK, images(*shape))


class TestAgreement:
    def test_of_the_engines_in_fp32(self, tiny_bundle):
        first = computed(tiny_bundle, "fp32", TORCH)
        second = computed(tiny_bundle, "fp32", OPENVINO)

        for expected, found in zip(first, second, strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-5)

    @pytest.mark.parametrize("options", [OPENVINO, TORCH], ids=["openvino", "torch"])
    def test_of_bf16_with_fp32(self, tiny_bundle, options):
        if options is OPENVINO and "bf16" not in openvino_engine.native_precisions():
            pytest.skip("this processor does not compute in bf16")
        exact = computed(tiny_bundle, "fp32", TORCH)

        fast = computed(tiny_bundle, "bf16", options)

        assert np.abs(fast[0] - exact[0]).max() < 0.05
        np.testing.assert_allclose(fast[1], exact[1], atol=0.05)
        np.testing.assert_allclose(fast[2], exact[2], atol=0.1)

    @pytest.mark.parametrize("options", [OPENVINO, TORCH], ids=["openvino", "torch"])
    def test_of_two_runs_to_the_bit(self, tiny_bundle, options):
        first = computed(tiny_bundle, "fp32", options)
        second = computed(tiny_bundle, "fp32", options)

        for one, other in zip(first, second, strict=True):
            assert np.array_equal(one, other)


class TestOpenNetworks:
    def test_says_what_runs(self, opened):
        assert opened.engine in ("openvino", "torch")
        assert (opened.device, opened.precision) == ("cpu", "fp32")

    def test_takes_openvino_on_x86(self, tiny_bundle, monkeypatch):
        monkeypatch.setattr(networks.platform, "machine", lambda: "AMD64")

        assert open_networks(tiny_bundle, "cpu").engine == "openvino"

    def test_takes_torch_elsewhere(self, tiny_bundle, monkeypatch):
        monkeypatch.setattr(networks.platform, "machine", lambda: "aarch64")

        assert open_networks(tiny_bundle, "cpu").engine == "torch"

    def test_takes_torch_where_openvino_does_not_import(self, tiny_bundle, monkeypatch):
        monkeypatch.setitem(sys.modules, "spinaldx.models.openvino_graph", None)

        assert open_networks(tiny_bundle, "cpu").engine == "torch"

    def test_auto_asks_torch_where_an_accelerator_may_be(
        self, tiny_bundle, monkeypatch
    ):
        monkeypatch.setattr(networks, "may_have_accelerator", lambda: True)
        asked = []
        monkeypatch.setattr(
            torch_engine, "_best_device", lambda: asked.append(1) or torch.device("cpu")
        )

        assert open_networks(tiny_bundle).device == "cpu"
        assert asked

    def test_checks_the_bytes_it_loads(self, opened, tmp_path):
        bundle = write_tiny(tmp_path)
        options = EngineOptions(engine=opened.engine)
        weights = tmp_path / f"{TASK.value}.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)

        with pytest.raises(ChecksumError, match="ms_vs_nmosd"):
            open_networks(bundle, "cpu", "fp32", options)

    @pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "mps:0", "CPU", ""])
    def test_refuses_an_unknown_device(self, tiny_bundle, device):
        with pytest.raises(UsageError, match="Unknown device"):
            open_networks(tiny_bundle, device)

    def test_refuses_an_unknown_precision(self, tiny_bundle):
        with pytest.raises(UsageError, match="fp8"):
            open_networks(tiny_bundle, "cpu", "fp8")

    def test_refuses_an_unknown_engine(self, tiny_bundle):
        with pytest.raises(UsageError, match="onnx"):
            open_networks(tiny_bundle, "cpu", options=EngineOptions(engine="onnx"))

    @pytest.mark.parametrize("device", ["cuda", "cuda:99", "mps"])
    def test_never_falls_back_from_a_device_that_is_absent(
        self, tiny_bundle, device, monkeypatch
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

        with pytest.raises(DeviceError, match="There is no") as caught:
            open_networks(tiny_bundle, device)
        assert caught.value.exit_code == 5

    @pytest.mark.parametrize("device", ["cuda", "mps"])
    def test_openvino_runs_on_the_processor_only(self, tiny_bundle, device):
        with pytest.raises(DeviceError, match="OpenVINO"):
            open_networks(tiny_bundle, device, options=OPENVINO)

    @pytest.mark.parametrize("options", [OPENVINO, TORCH], ids=["openvino", "torch"])
    def test_refuses_a_precision_that_would_be_emulated(
        self, tiny_bundle, options, monkeypatch
    ):
        monkeypatch.setattr(openvino_engine, "native_precisions", lambda: ("fp32",))

        with pytest.raises(DeviceError, match="fp16") as caught:
            open_networks(tiny_bundle, "cpu", "fp16", options)
        assert "fp32" in caught.value.hint

    def test_keeps_compiled_networks_on_request(self, tiny_bundle, tmp_path):
        options = EngineOptions("openvino", threads=1, cache_folder=tmp_path)

        engine = open_networks(tiny_bundle, "cpu", "fp32", options)

        assert engine.segment(images(1, 1, 32, 32)).shape == (1, 2, 32, 32)
        engine.close()
        assert list(tmp_path.iterdir())

    def test_takes_the_threads_asked_for(self, tiny_bundle):
        open_networks(tiny_bundle, "cpu", options=EngineOptions("torch", threads=2))

        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)


class TestChoosePrecision:
    @pytest.mark.parametrize(
        ("asked", "allowed", "native", "expected"),
        [
            ("auto", (), ("fp32", "bf16"), "fp32"),
            ("auto", ("bf16",), ("fp32", "bf16"), "bf16"),
            ("auto", ("bf16",), ("fp32",), "fp32"),
            ("auto", ("bf16", "fp16"), ("fp32", "fp16"), "fp16"),
            ("bf16", (), ("fp32", "bf16"), "bf16"),
        ],
    )
    def test_is_fast_only_where_it_was_compared(
        self, tmp_path, asked, allowed, native, expected
    ):
        bundle = write_tiny(tmp_path, fast_precision=allowed)

        assert networks.choose_precision(asked, bundle, native) == expected

    def test_torch_was_not_compared(self, tmp_path):
        bundle = write_tiny(tmp_path, fast_precision=("bf16",))
        opened = {
            asked: open_networks(bundle, "cpu", asked, EngineOptions("torch"))
            for asked in ("auto", "bf16")
        }

        assert opened["auto"].precision == "fp32"
        assert opened["bf16"].precision == "bf16"


class TestMayHaveAccelerator:
    @pytest.mark.parametrize(
        ("system", "machine", "expected"),
        [("darwin", "arm64", True), ("darwin", "x86_64", False)],
    )
    def test_on_a_mac(self, monkeypatch, system, machine, expected):
        monkeypatch.setattr(networks.sys, "platform", system)
        monkeypatch.setattr(networks.platform, "machine", lambda: machine)

        assert networks.may_have_accelerator() is expected

    def test_on_windows(self, monkeypatch):
        monkeypatch.setattr(networks.sys, "platform", "win32")

        assert networks.may_have_accelerator() is False

    def test_on_linux_by_the_drivers_files(self, monkeypatch, tmp_path):
        monkeypatch.setattr(networks, "_CUDA_FILES", (tmp_path / "nvidiactl",))
        assert networks.may_have_accelerator() is False

        (tmp_path / "nvidiactl").touch()
        assert networks.may_have_accelerator() is True


class TestTorchDevices:
    def test_best_is_cuda_then_mps(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert str(torch_engine.resolve_device("auto")) == "cuda:0"

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert str(torch_engine.resolve_device("auto")) == "mps"
        assert str(torch_engine.resolve_device("mps")) == "mps"

    def test_cuda_is_taken_by_number(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

        assert str(torch_engine.resolve_device("cuda:1")) == "cuda:1"
        with pytest.raises(DeviceError, match="device 2"):
            torch_engine.resolve_device("cuda:2")

    @pytest.mark.parametrize(
        ("has_bf16", "expected"),
        [(True, ("fp32", "bf16", "fp16")), (False, ("fp32", "fp16"))],
    )
    def test_old_cuda_has_no_bf16(self, monkeypatch, has_bf16, expected):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **asked: has_bf16)

        assert torch_engine.native_precisions(torch.device("cuda")) == expected


class FailingRequest:
    """A compiled network that fails as it is told."""

    def __init__(self, error):
        self.error = error

    def result(self):
        return self

    def infer(self, images):
        raise self.error


class TestErrorsOfTheEngines:
    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (MemoryError(), DeviceMemoryError),
            (RuntimeError("std::bad_alloc"), DeviceMemoryError),
            (RuntimeError("Exception from x.cpp:1:\nshapes differ\n"), InferenceError),
            (RuntimeError(""), InferenceError),
        ],
    )
    def test_openvino(self, tiny_bundle, monkeypatch, error, kind):
        engine = open_networks(tiny_bundle, "cpu", "fp32", OPENVINO)
        monkeypatch.setitem(engine._requests, "segmentation", FailingRequest(error))

        with pytest.raises(kind) as caught:
            engine.segment(images(1, 1, 32, 32))
        assert type(caught.value) is kind
        assert "\n" not in caught.value.message
        engine.close()

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (MemoryError(), DeviceMemoryError),
            (torch.OutOfMemoryError("CUDA out of memory"), DeviceMemoryError),
            (RuntimeError("MPS backend out of memory (x)"), DeviceMemoryError),
            (RuntimeError("DefaultCPUAllocator: can't allocate"), DeviceMemoryError),
            (RuntimeError("shapes differ\nmore"), InferenceError),
        ],
    )
    def test_torch(self, tiny_bundle, monkeypatch, error, kind):
        engine = open_networks(tiny_bundle, "cpu", "fp32", TORCH)

        def fail(images):
            raise error

        monkeypatch.setattr(engine._segmenter, "forward", fail)

        with pytest.raises(kind) as caught:
            engine.segment(images(1, 1, 32, 32))
        assert type(caught.value) is kind
        assert "\n" not in caught.value.message


class PickyCore:
    """An OpenVINO that lacks one setting, or fails for another reason."""

    def __init__(self, complaint):
        self.complaint = complaint
        self.asked = []

    def compile_model(self, model, device, settings):
        self.asked.append(set(settings))
        if self.complaint in settings:
            message = f"Unsupported property {self.complaint}"
            raise RuntimeError(message)
        return "compiled"


class TestSettingsOfOpenVino:
    def test_does_without_the_undocumented_one(self):
        core = PickyCore("SNIPPETS_MODE")

        compiled = openvino_engine._compile_model(
            core, None, {"SNIPPETS_MODE": "DISABLE", "NUM_STREAMS": 1}
        )

        assert compiled == "compiled"
        assert core.asked[-1] == {"NUM_STREAMS"}

    def test_needs_the_others(self):
        with pytest.raises(RuntimeError, match="NUM_STREAMS"):
            openvino_engine._compile_model(
                PickyCore("NUM_STREAMS"), None, {"NUM_STREAMS": 1}
            )


_REAL_PROCESS = """
import sys
events = []
sys.addaudithook(lambda event, _: events.append(event))
import pathlib, os
import numpy as np
from spinaldx.models import load_bundle, open_networks
from spinaldx.records import Task
engine = open_networks(load_bundle(pathlib.Path(sys.argv[1])), "cpu")
engine.segment(np.zeros((1, 1, 32, 32), np.float32))
engine.classify(Task.MS_VS_NMOSD, np.zeros((1, 3, 128, 64), np.float32))
links = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
         if os.path.islink(f"/proc/self/fd/{n}")] if os.path.exists("/proc") else []
engine.close()
telemetry = [n for n in sys.modules if n.startswith("openvino_telemetry")]
print("torch" in sys.modules)
print([sys.modules[name] for name in telemetry])
print([event for event in events if event.startswith("socket")])
print([link for link in links if link.startswith("socket")])
"""


def test_the_processors_path_has_no_torch_no_telemetry_no_socket(tiny_bundle):
    command = [sys.executable, "-c", _REAL_PROCESS, str(tiny_bundle.folder)]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["False", "[None]", "[]", "[]"]
