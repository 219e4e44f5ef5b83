"""The two networks in torch; imported only where torch is needed."""

from spinaldx.models.torch_networks.densenet import DenseNet, build_densenet
from spinaldx.models.torch_networks.multiresunet import (
    MultiResUNet,
    build_multiresunet,
)

__all__ = ["DenseNet", "MultiResUNet", "build_densenet", "build_multiresunet"]
