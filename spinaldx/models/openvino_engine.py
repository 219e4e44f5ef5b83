"""OpenVINO on x86-64 processors: compiled in the background, one image at a time."""

import contextlib
import functools
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from spinaldx.errors import DeviceError, DeviceMemoryError, InferenceError
from spinaldx.models.bundle import (
    CELL_PIXELS,
    SEGMENTATION,
    Bundle,
    load_tensors,
)
from spinaldx.models.networks import (
    ClassifierOutput,
    EngineOptions,
    check_crops,
    check_slices,
    choose_precision,
)
from spinaldx.models.openvino_graph import (
    Core,
    Model,
    classifier_model,
    open_core,
    segmentation_model,
)
from spinaldx.models.tensors import Tensors
from spinaldx.records import Float32Array, Task

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}

# A setting that OpenVINO does not document and may drop.
_SNIPPETS = "SNIPPETS_MODE"

# Hashing and unpacking are done outside of Python's lock: two files at a time.
_READERS = 2

# OpenVINO has no types for the checker.
_Request = Any


def native_precisions() -> tuple[str, ...]:
    """Return the precisions that this processor computes by itself."""
    found = open_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name, word in _CAPABILITIES.items() if word in found)


class OpenVinoNetworks:
    """The networks of one bundle on the processor.

    Args:
        bundle: From `load_bundle`.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        options: Threads and cache folder.

    Raises:
        DeviceError: If the processor does not compute in the precision by itself.
        WeightsError: If a weight file is missing, damaged or unfit.
    """

    engine = "openvino"
    device = "cpu"

    def __init__(self, bundle: Bundle, precision: str, options: EngineOptions) -> None:
        native = native_precisions()
        self.precision = choose_precision(precision, bundle, native)
        if self.precision not in native:
            message = f"This processor does not compute in {self.precision}."
            raise DeviceError(message, hint=f"It has {', '.join(native)}.")
        self._bundle = bundle
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
        compile_part = functools.partial(
            _compile, open_core(), bundle, _settings(self.precision, options)
        )
        # Everything is read and checked before anything runs. Compiling begins with
        # what is read first and goes on while the caller reads images.
        try:
            with ThreadPoolExecutor(_READERS, thread_name_prefix="weights") as readers:
                read = {
                    part: readers.submit(load_tensors, bundle, part)
                    for part in bundle.parts
                }
                self._requests = {
                    part: self._pool.submit(compile_part, part, tensors.result())
                    for part, tensors in read.items()
                }
        except BaseException:
            self._pool.shutdown(wait=True, cancel_futures=True)
            raise

    def segment(self, slices: Float32Array) -> Float32Array:
        """Compute probabilities; see `Networks.segment`."""
        check_slices(slices, self._bundle)
        outputs = len(self._bundle.segmentation.network.outputs)
        count, _, height, width = slices.shape
        probabilities = np.empty((count, outputs, height, width), np.float32)
        for place, image in enumerate(slices):
            (probabilities[place : place + 1],) = self._infer(SEGMENTATION, image)
        return probabilities

    def classify(self, task: Task, crops: Float32Array) -> ClassifierOutput:
        """Compute logits and maps; see `Networks.classify`."""
        check_crops(crops, self._bundle)
        classes = self._bundle.classifiers[task].network.classes
        height, width = (edge // CELL_PIXELS for edge in self._bundle.crop.shape)
        logits = np.empty((len(crops), classes), np.float32)
        maps = np.empty((len(crops), classes, height, width), np.float32)
        for place, image in enumerate(crops):
            one = slice(place, place + 1)
            logits[one], maps[one] = self._infer(task.value, image)
        return ClassifierOutput(logits, maps)

    def close(self) -> None:
        """Drop the compiled networks; see `Networks.close`."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._requests.clear()

    def _infer(self, part: str, image: Float32Array) -> tuple[Float32Array, ...]:
        with self._lock, _named_errors():
            request = self._requests[part].result()
            return tuple(request.infer([np.ascontiguousarray(image[None])]).values())


def _settings(precision: str, options: EngineOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        # One image at a time on all threads.
        "NUM_STREAMS": 1,
        # Fusing chains of small operations into generated kernels takes DenseNet
        # half as long again to compile and gains nothing when it runs.
        _SNIPPETS: "DISABLE",
        # Two shards on one machine would pin their threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    if options.threads > 0:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.cache_folder is not None:
        settings["CACHE_DIR"] = str(options.cache_folder)
    return settings


def _compile(
    core: Core,
    bundle: Bundle,
    settings: Mapping[str, Any],
    part: str,
    tensors: Tensors,
) -> _Request:
    if part == SEGMENTATION:
        model = segmentation_model(bundle.segmentation.network, tensors)
    else:
        network = bundle.classifiers[Task(part)].network
        model = classifier_model(network, tensors, bundle.crop.shape)
    with _named_errors():
        return _compile_model(core, model, settings).create_infer_request()


def _compile_model(core: Core, model: Model, settings: Mapping[str, Any]) -> Any:  # noqa: ANN401 - OpenVINO has no types
    try:
        return core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        if _SNIPPETS not in str(error):
            raise
    known = {name: value for name, value in settings.items() if name != _SNIPPETS}
    return core.compile_model(model, "CPU", known)


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Turn what OpenVINO raises into the program's errors."""
    try:
        yield
    except MemoryError as error:
        raise _memory_error() from error
    except RuntimeError as error:
        if "alloc" in str(error).lower():
            raise _memory_error() from error
        # Its messages are whole C++ call stacks; the last line says what happened.
        last = (
            str(error).strip().splitlines()[-1] if str(error).strip() else "no reason"
        )
        message = f"OpenVINO failed: {last}"
        raise InferenceError(message) from error


def _memory_error() -> DeviceMemoryError:
    message = "The processor's memory is not enough for the networks."
    return DeviceMemoryError(message, hint="Close other programs and run again.")
