"""Device, precision, threads and memory of a training process."""

import ctypes
import os
import sys
from dataclasses import dataclass

import torch
from torch import nn

from spinaldx.errors import DeviceError, UsageError
from spinaldx.training.options import Compute

# mallopt's names for its settings (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3

# More are not started unless asked for: each takes about 0.4 GB.
_MOST_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a network is trained.

    Attributes:
        device: ``cpu``, ``cuda:0``, ``mps``.
        precision: ``fp32`` or ``bf16``.
        threads: Of the network on the CPU.
        readers: Processes that read images.
        workers: Processes that make batches; 1 is a thread of this one.
    """

    device: str
    precision: str
    threads: int
    readers: int = 1
    workers: int = 1


def set_up_machine(compute: Compute) -> Machine:
    """Choose device and precision and set this process up for training.

    Raises:
        DeviceError: If a device was asked for that is not there.
        UsageError: If the precision cannot be trained in.
    """
    device = _device(compute.device)
    if compute.precision not in {"auto", "fp32", "bf16"}:
        message = f"Networks cannot be trained in {compute.precision}."
        raise UsageError(message, hint="Use --precision auto, fp32 or bf16.")
    precision = compute.precision
    if precision == "auto":
        precision = "bf16" if _multiplies_bf16(device) else "fp32"
    if compute.threads:
        torch.set_num_threads(compute.threads)
    _keep_freed_memory()
    processors = min(os.cpu_count() or 1, _MOST_WORKERS)
    # On the CPU the network itself takes every processor.
    beside = 1 if device == "cpu" else max(processors - 1, 1)
    return Machine(
        device,
        precision,
        torch.get_num_threads(),
        readers=compute.workers or processors,
        workers=compute.workers or beside,
    )


def on_device(network: nn.Module, device: str) -> nn.Module:
    """Move a network, with its kernels laid out as processors read them fastest."""
    moved = network.to(device)
    # The stubs do not know the argument.
    moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def _device(wanted: str) -> str:
    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if wanted == "auto":
        return next((name for name in ("cuda", "mps") if name in available), "cpu")
    if wanted not in available:
        message = f"There is no device {wanted} on this machine."
        raise DeviceError(message, hint=f"Available: {', '.join(available)}.")
    return wanted


def _multiplies_bf16(device: str) -> bool:
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    if device == "mps":
        return False
    # Older torch does not say; then fp32 is the safe answer.
    ask = getattr(torch.cpu, "get_capabilities", None)
    capabilities = {} if ask is None else ask()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed memory: a tenth of the time of a step is faults."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has none
        return
    mallopt(_MMAP_THRESHOLD, 1 << 30)
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(_TOP_PAD, 1 << 28)
