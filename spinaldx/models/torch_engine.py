"""torch on CUDA, MPS, and processors without OpenVINO."""

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from spinaldx.errors import (
    DeviceError,
    DeviceMemoryError,
    InferenceError,
    UsageError,
)
from spinaldx.models.bundle import CELL_PIXELS, SEGMENTATION, Bundle, load_tensors
from spinaldx.models.networks import (
    ClassifierOutput,
    EngineOptions,
    check_crops,
    check_slices,
)
from spinaldx.models.tensors import Tensors
from spinaldx.models.torch_networks import (
    DenseNet,
    MultiResUNet,
    build_densenet,
    build_multiresunet,
)
from spinaldx.models.torch_networks.gradcam import logits_and_maps
from spinaldx.records import Float32Array, Task

_Network = TypeVar("_Network", MultiResUNet, DenseNet)

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Images at once: an accelerator needs several to be busy; a processor's caches are
# full with one.
_AT_ONCE = {"cpu": 1, "cuda": 16, "mps": 8}


def resolve_device(asked: str) -> torch.device:
    """Find the device asked for.

    Args:
        asked: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UsageError: If it is none of these words.
        DeviceError: If it is not there; there is no fallback.
    """
    if asked == "auto":
        return _best_device()
    kind, _, number = asked.partition(":")
    is_known = asked in ("cpu", "cuda", "mps") or (
        kind == "cuda" and number.isdecimal()
    )
    if not is_known:
        message = f"Unknown device {asked!r}; known: auto, cpu, cuda, cuda:N, mps."
        raise UsageError(message)
    if kind == "cuda":
        return torch.device("cuda", _cuda_number(int(number or 0)))
    if kind == "mps" and not torch.backends.mps.is_available():
        message = "There is no MPS device here."
        raise DeviceError(message, hint="Use --device auto or --device cpu.")
    return torch.device(kind)


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _cuda_number(number: int) -> int:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= count:
        message = f"There is no CUDA device {number} here; torch sees {count}."
        hint = "Check the driver and the torch build, or use --device auto."
        raise DeviceError(message, hint=hint)
    return number


def native_precisions(device: torch.device) -> tuple[str, ...]:
    """Return the precisions that a device computes at full speed."""
    if device.type == "cpu":
        return ("fp32", "bf16")
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(
        including_emulation=False
    ):
        return ("fp32", "fp16")
    return ("fp32", "bf16", "fp16")


class TorchNetworks:
    """The networks of one bundle in torch.

    Args:
        bundle: From `load_bundle`.
        device: From `resolve_device`.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        options: Threads, for the processor.

    Raises:
        DeviceError: If the device does not compute in the precision.
        DeviceMemoryError: If the networks do not fit into its memory.
        WeightsError: If a weight file is missing, damaged or unfit.
    """

    engine = "torch"

    def __init__(
        self,
        bundle: Bundle,
        device: torch.device,
        precision: str,
        options: EngineOptions,
    ) -> None:
        native = native_precisions(device)
        # What bundles record are comparisons of OpenVINO: torch's bf16 rounds elsewhere.
        self.precision = "fp32" if precision == "auto" else precision
        if self.precision not in native:
            message = f"Device {device} does not compute in {self.precision}."
            raise DeviceError(message, hint=f"It has {', '.join(native)}.")
        self.device = str(device)
        self._bundle = bundle
        self._device = device
        if options.threads > 0:
            torch.set_num_threads(options.threads)
        with _named_errors(self.device):
            segmenter = build_multiresunet(bundle.segmentation.network)
            self._segmenter: MultiResUNet = self._place(
                segmenter, load_tensors(bundle, SEGMENTATION)
            )
            self._classifiers: dict[Task, DenseNet] = {
                task: self._place(
                    build_densenet(part.network), load_tensors(bundle, task.value)
                )
                for task, part in bundle.classifiers.items()
            }

    def segment(self, slices: Float32Array) -> Float32Array:
        """Compute probabilities; see `Networks.segment`."""
        check_slices(slices, self._bundle)
        outputs = len(self._bundle.segmentation.network.outputs)
        shape = (len(slices), outputs, *slices.shape[2:])
        probabilities = np.empty(shape, np.float32)
        for place, images in self._batches(slices):
            with self._computing():
                logits = self._segmenter(images).float()
                probabilities[place] = torch.sigmoid(logits).cpu().numpy()
        return probabilities

    def classify(self, task: Task, crops: Float32Array) -> ClassifierOutput:
        """Compute logits and maps; see `Networks.classify`."""
        check_crops(crops, self._bundle)
        network = self._classifiers[task]
        height, width = (edge // CELL_PIXELS for edge in self._bundle.crop.shape)
        classes = network.spec.classes
        logits = np.empty((len(crops), classes), np.float32)
        maps = np.empty((len(crops), classes, height, width), np.float32)
        for place, images in self._batches(crops):
            with self._computing():
                logit, cells = logits_and_maps(network, images)
                logits[place] = logit.float().cpu().numpy()
                maps[place] = cells.float().cpu().numpy()
        return ClassifierOutput(logits, maps)

    def close(self) -> None:
        """Drop the networks; see `Networks.close`."""
        del self._segmenter
        self._classifiers.clear()
        if self._device.type == "cuda":  # pragma: no cover - needs CUDA
            torch.cuda.empty_cache()

    def _place(self, network: _Network, tensors: Tensors) -> _Network:
        state = {name: torch.from_numpy(values) for name, values in tensors.items()}
        # Not strict: the batch counters are in no bundle; names are checked already.
        network.load_state_dict(state, strict=False)
        if self.precision != "fp32":
            for module in network.modules():
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                    module.to(_TYPES[self.precision])
        network.eval()
        # torch's types know no memory format.
        network.to(self._device, memory_format=self._layout)  # type: ignore[call-overload]
        return network

    @property
    def _layout(self) -> torch.memory_format:
        # On processors torch is faster with fp32 the one way, with bf16 the other.
        on_processor = self._device.type == "cpu"
        if on_processor and self.precision == "fp32":
            return torch.contiguous_format
        return torch.channels_last

    def _batches(self, images: Float32Array) -> Iterator[tuple[slice, Tensor]]:
        at_once = _AT_ONCE[self._device.type]
        for start in range(0, len(images), at_once):
            place = slice(start, start + at_once)
            batch = torch.from_numpy(np.array(images[place], np.float32))
            with _named_errors(self.device):
                moved = batch.to(self._device, memory_format=self._layout)
            yield place, moved

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute without autograd, in the precision, the same way every time."""
        low = self.precision != "fp32"
        kind = self._device.type
        with (
            _named_errors(self.device),
            torch.inference_mode(),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
            torch.autocast(kind, _TYPES.get(self.precision), enabled=low),
        ):
            yield


@contextlib.contextmanager
def _named_errors(device: str) -> Iterator[None]:
    """Turn what torch raises into the program's errors."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _memory_error(device) from error
    except RuntimeError as error:
        text = str(error).lower()
        if "out of memory" in text or "can't allocate" in text:
            raise _memory_error(device) from error
        message = f"torch failed on {device}: {str(error).splitlines()[0]}"
        raise InferenceError(message) from error


def _memory_error(device: str) -> DeviceMemoryError:
    message = f"The memory of {device} is not enough for the networks."
    hint = "Close other programs on it, or use --device cpu."
    return DeviceMemoryError(message, hint=hint)
