"""Weight files: safetensors only, hashed and checked on the bytes that are used."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from spinaldx.errors import (
    ChecksumError,
    IncompatibleWeightsError,
    WeightsNotFoundError,
)
from spinaldx.models.specs import Shape
from spinaldx.records import Float32Array

Tensors = Mapping[str, Float32Array]

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}

# Only torch writes it, and only its training reads it.
_BATCH_COUNTER = ".num_batches_tracked"


def read_checked_bytes(path: Path, sha256: str) -> bytes:
    """Read a file once and check the hash of what was read.

    Args:
        path: Any file of a bundle.
        sha256: 64 hex digits that the bytes must have.

    Raises:
        WeightsNotFoundError: If the file is missing or cannot be read.
        ChecksumError: If the bytes differ.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"Cannot read {path}: {error.strerror or error}"
        hint = "Fetch or import the bundle again."
        raise WeightsNotFoundError(message, hint=hint) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        message = f"{path} is damaged: sha256 {found}, expected {sha256}."
        hint = "Fetch or import the bundle again."
        raise ChecksumError(message, hint=hint)
    return content


def parse_tensors(
    content: bytes, expected: Mapping[str, Shape], file: Path
) -> dict[str, Float32Array]:
    """Parse a weight file and check that it holds exactly what it should.

    Args:
        content: The file's bytes, already hashed.
        expected: Shapes by name.
        file: For messages.

    Returns:
        The tensors as float32, in the order expected.

    Raises:
        IncompatibleWeightsError: If it is not a safetensors file, or a tensor is
            missing, extra, misshapen, of another type than 16 or 32 bit floats,
            not finite, or a variance below zero.
    """
    try:
        # The package has no types for it.
        entries: dict[str, dict[str, Any]] = dict(
            safetensors.deserialize(content)  # type: ignore[no-untyped-call]
        )
    except safetensors.SafetensorError as error:
        message = f"{file} is not a safetensors file: {error}"
        raise IncompatibleWeightsError(message) from error
    _check_names(set(entries), set(expected), file)
    tensors = {}
    for name, shape in expected.items():
        entry = entries[name]
        if entry["dtype"] not in _DTYPES:
            message = (
                f"{file}: tensor {name} has type {entry['dtype']}, not F16 or F32."
            )
            raise IncompatibleWeightsError(message)
        if tuple(entry["shape"]) != shape:
            message = (
                f"{file}: tensor {name} has shape {tuple(entry['shape'])}, not {shape}."
            )
            raise IncompatibleWeightsError(message)
        raw: NDArray[np.floating] = np.frombuffer(
            entry["data"], dtype=_DTYPES[entry["dtype"]]
        )
        tensors[name] = raw.reshape(shape).astype(np.float32)
        _check_values(tensors[name], name, file)
    return tensors


def _check_names(found: set[str], expected: set[str], file: Path) -> None:
    for names, problem in (
        (expected - found, "lacks"),
        (found - expected, "has unknown"),
    ):
        if names:
            first = min(names)
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            message = f"{file} {problem} tensor {first}{more}."
            raise IncompatibleWeightsError(message)


def _check_values(values: Float32Array, name: str, file: Path) -> None:
    if not np.isfinite(values).all():
        message = f"{file}: tensor {name} holds NaN or infinity."
        raise IncompatibleWeightsError(message)
    if name.endswith(".running_var") and (values < 0).any():
        message = f"{file}: tensor {name} holds a variance below zero."
        raise IncompatibleWeightsError(message)


def write_tensors(tensors: Mapping[str, NDArray[np.generic]], *, half: bool) -> bytes:
    """Serialise tensors; the same tensors give the same bytes.

    Args:
        tensors: Arrays by name, as a torch module's state has them; the batch
            counters of torch's BatchNorm are left out.
        half: Store matrices and kernels as float16; BatchNorm and biases stay
            float32, their range is too wide.
    """
    kept: dict[str, NDArray[np.generic]] = {}
    for name in sorted(tensors):
        if not name.endswith(_BATCH_COUNTER):
            values = np.asarray(tensors[name])
            kind = np.float16 if half and values.ndim > 1 else np.float32
            kept[name] = np.ascontiguousarray(values.astype(kind))
    return bytes(save(kept))
