"""What an engine offers, and the choice of one: device, engine, precision."""

import importlib
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spinaldx.errors import DeviceError, GeometryError, UsageError
from spinaldx.models.bundle import Bundle
from spinaldx.records import Float32Array, Task

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
ENGINES = ("auto", "openvino", "torch")

# Present where NVIDIA's driver is, Windows' Linux included.
_CUDA_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierOutput:
    """What a classifier gives for N crops.

    Attributes:
        logits: (N, 2) float32, without temperature.
        maps: Grad-CAM at the third dense block for the logit of class 0 and of
            class 1, (N, 2, h, w) float32, at least 0, not normalised; a cell is 16
            pixels of the crop.
    """

    logits: Float32Array
    maps: Float32Array


class Networks(Protocol):
    """The networks of one bundle, ready to run; numpy in, numpy out.

    Attributes:
        engine: ``openvino`` or ``torch``.
        device: ``cpu``, ``cuda:N`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """

    engine: str
    device: str
    precision: str

    def segment(self, slices: Float32Array) -> Float32Array:
        """Compute the probability of every output of the segmentation network.

        A slice's result does not depend on the slices beside it.

        Args:
            slices: (N, C, H, W) float32; H and W multiples of the network's size
                multiple.

        Returns:
            (N, outputs, H, W) float32 in 0..1, independent of one another, in the
            order of the network's outputs; N may be 0.

        Raises:
            GeometryError: If the shape does not fit the network.
            DeviceMemoryError: If the device ran out of memory.
        """
        ...

    def classify(self, task: Task, crops: Float32Array) -> ClassifierOutput:
        """Compute logits and Grad-CAM maps of one classifier in one pass.

        Args:
            task: Which classifier.
            crops: (N, C, H, W) float32 of the bundle's crop shape; N may be 0.

        Raises:
            GeometryError: If the shape does not fit the bundle's crops.
            DeviceMemoryError: If the device ran out of memory.
        """
        ...

    def close(self) -> None:
        """Give memory and threads back; nothing can be computed afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run, where that does not change what is computed.

    Attributes:
        engine: ``auto`` takes OpenVINO on x86-64 processors, torch elsewhere.
        threads: Processor threads; 0 leaves it to the engine.
        cache_folder: OpenVINO keeps compiled networks here; None keeps none.
    """

    engine: str = "auto"
    threads: int = 0
    cache_folder: Path | None = None


def open_networks(
    bundle: Bundle,
    device: str = "auto",
    precision: str = "auto",
    options: EngineOptions | None = None,
) -> Networks:
    """Load a bundle's networks onto a device.

    Every file's sha256 is checked on the bytes that are loaded. Compiling goes on
    in the background after the return where an engine compiles.

    Args:
        bundle: From `find_bundle` or `load_bundle`.
        device: ``auto`` (CUDA, then MPS, then the processor), ``cpu``, ``cuda``,
            ``cuda:N`` or ``mps``.
        precision: ``auto`` is fp32 unless the bundle's recorded comparison allows
            one that this device computes by itself.
        options: Engine and threads.

    Raises:
        UsageError: If device, precision or engine is not a word it knows.
        DeviceError: If the device asked for is not there or cannot compute in the
            precision asked for. There is never a silent fallback.
        WeightsError: If a file is missing, damaged, or not what it should be.
        DeviceMemoryError: If the networks do not fit into the device's memory.
    """
    options = options or EngineOptions()
    if precision not in PRECISIONS:
        message = f"Unknown precision {precision!r}."
        raise UsageError(message, hint=f"Known are {', '.join(PRECISIONS)}.")
    if _engine_for(device, options) == "openvino":
        # Late: only the engine that runs is imported.
        from spinaldx.models.openvino_engine import OpenVinoNetworks  # noqa: PLC0415

        return OpenVinoNetworks(bundle, precision, options)
    from spinaldx.models.torch_engine import TorchNetworks, resolve_device  # noqa: PLC0415 - as above

    return TorchNetworks(bundle, resolve_device(device), precision, options)


def _engine_for(device: str, options: EngineOptions) -> str:
    if options.engine not in ENGINES:
        message = f"Unknown engine {options.engine!r}; known: {', '.join(ENGINES)}."
        raise UsageError(message)
    if options.engine == "openvino":
        return _require_openvino(device)
    on_processor = device == "cpu" or (device == "auto" and not may_have_accelerator())
    if options.engine == "auto" and on_processor and _has_openvino():
        return "openvino"
    return "torch"


def _require_openvino(device: str) -> str:
    if device not in ("auto", "cpu") or not _has_openvino():
        message = f"OpenVINO cannot run on {device} here."
        raise DeviceError(message, hint="Use --device cpu, or another engine.")
    return "openvino"


def _has_openvino() -> bool:
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        importlib.import_module("spinaldx.models.openvino_graph")
    except ImportError:
        return False
    return True


def may_have_accelerator() -> bool:
    """Say without importing torch whether CUDA or MPS could be here.

    True is no promise: torch is asked then. False is: torch, which takes over a
    second to import, need not be.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return (Path("C:/Windows/System32") / "nvcuda.dll").exists()
    return any(file.exists() for file in _CUDA_FILES)


def choose_precision(asked: str, bundle: Bundle, native: tuple[str, ...]) -> str:
    """Return the precision to compute in.

    Args:
        asked: ``auto`` or a precision, which is taken as it is.
        bundle: Its recorded comparison allows precisions other than fp32.
        native: What the device computes by itself.
    """
    if asked != "auto":
        return asked
    allowed = (name for name in bundle.fast_precision if name in native)
    return next(allowed, "fp32")


def check_slices(slices: Float32Array, bundle: Bundle) -> None:
    """Refuse slices that the segmentation network cannot take.

    Raises:
        GeometryError: If there are not (N, C, H, W) of them with fitting C, H, W.
    """
    network = bundle.segmentation.network
    multiple = network.size_multiple
    fits = (
        slices.ndim == 4
        and slices.shape[1] == network.in_channels
        and min(slices.shape[2:]) > 0
        and all(edge % multiple == 0 for edge in slices.shape[2:])
    )
    if not fits:
        message = (
            f"Slices {slices.shape} do not fit (N, {network.in_channels}, "
            f"H, W) with H and W multiples of {multiple}."
        )
        raise GeometryError(message)


def check_crops(crops: Float32Array, bundle: Bundle) -> None:
    """Refuse crops that the classifiers cannot take.

    Raises:
        GeometryError: If they are not (N, C, H, W) of the bundle's crop.
    """
    wanted = (len(bundle.crop.channels), *bundle.crop.shape)
    if crops.shape[1:] != wanted:
        message = f"Crops {crops.shape} do not fit (N, {', '.join(map(str, wanted))})."
        raise GeometryError(message)
