"""ImageNet weights of torchvision's DenseNet121 as a start for the classifiers.

The file is one that the user has; nothing is fetched. Safetensors files are read as
such. Of torchvision's own `.pth` files only plain tensors are read (torch's
restricted reader); anything else in them is refused, so no code of the file runs.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from spinaldx.errors import ChecksumError, IncompatibleWeightsError, UsageError
from spinaldx.models.specs import DenseNetSpec, expected_tensors

# torchvision's files of 2017 have a point more in their names than its module.
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")

# torchvision ends file names with the first digits of their sha256.
_NAMED_HASH = re.compile(r"-([0-9a-f]{8})\.pth$")

# What the two readers raise for files of other kinds.
_UNREADABLE = (
    OSError,
    SafetensorError,
    UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
)

_FIRST = "features.conv0.weight"
_HEAD = "classifier."


def read_imagenet(path: Path, channels: tuple[str, ...]) -> dict[str, Tensor]:
    """Read DenseNet121 weights and fit them to the classifiers' channels.

    The image channel gets the sum of the kernels for red, green and blue, so that it
    answers as a grey picture would; masks get zeros and are learned. The head for a
    thousand classes is left out.

    Args:
        path: ``.safetensors``, or torchvision's ``.pth``.
        channels: What the classifiers' channels hold.

    Returns:
        Tensors by name, without the head.

    Raises:
        UsageError: If the file cannot be read or is of another kind.
        ChecksumError: If the bytes do not fit the hash in the file's name.
        IncompatibleWeightsError: If the tensors are not those of DenseNet121.
    """
    stored = {_OLD_NAME.sub(r"\1\2.", name): one for name, one in _read(path).items()}
    _check(stored, path)
    colours = stored[_FIRST].float().sum(dim=1, keepdim=True)
    kernels = [
        colours if name == "t2w" else torch.zeros_like(colours) for name in channels
    ]
    tensors = {
        name: tensor.float()
        for name, tensor in stored.items()
        if not name.startswith(_HEAD) and not name.endswith("num_batches_tracked")
    }
    return tensors | {_FIRST: torch.cat(kernels, dim=1)}


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        content = path.read_bytes()
        named = _NAMED_HASH.search(path.name)
        if named and not hashlib.sha256(content).hexdigest().startswith(named[1]):
            message = f"{path.name} is damaged: its hash is not the one in its name."
            raise ChecksumError(message, hint="Fetch the file again.")
        if path.suffix == ".safetensors":
            return safetensors.torch.load(content)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        message = f"{path.name} cannot be read as DenseNet121 weights."
        hint = "Give torchvision's densenet121 .pth file, or it as .safetensors."
        raise UsageError(message, hint=hint) from error
    if not isinstance(stored, Mapping) or not all(
        isinstance(one, Tensor) for one in stored.values()
    ):
        message = f"{path.name} holds something else than named tensors."
        raise UsageError(message)
    return stored


def _check(stored: Mapping[str, Tensor], path: Path) -> None:
    for name, shape in expected_tensors(DenseNetSpec()).items():
        if name.startswith(_HEAD):
            continue
        if name not in stored or tuple(stored[name].shape) != shape:
            message = f"{path.name} is not torchvision's DenseNet121: {name}."
            raise IncompatibleWeightsError(message)
