"""Networks, weight bundles, the model hub and the engines that run networks."""

from spinaldx.models.bundle import (
    Bundle,
    ClassifierPart,
    SegmentationPart,
    load_bundle,
    verify_bundle,
)
from spinaldx.models.bundle_store import find_bundle, write_bundle
from spinaldx.models.networks import (
    ClassifierOutput,
    EngineOptions,
    Networks,
    open_networks,
)
from spinaldx.models.specs import DenseNetSpec, MultiResUNetSpec

__all__ = [
    "Bundle",
    "ClassifierOutput",
    "ClassifierPart",
    "DenseNetSpec",
    "EngineOptions",
    "MultiResUNetSpec",
    "Networks",
    "SegmentationPart",
    "find_bundle",
    "load_bundle",
    "open_networks",
    "verify_bundle",
    "write_bundle",
]
