"""Which images the networks of a bundle have learned from, as one-way names.

A bundle that is trained further must not be judged on patients that it knows. Patients
may have other names in the next table, so their images are told by their voxels; from
the names neither image nor patient can be had.
"""

import hashlib
from collections.abc import Iterable, Mapping

from spinaldx.models import Bundle
from spinaldx.training.cache import SeriesFacts

_KEY = "training_images"
_PURPOSE = b"spinaldx training image "


def image_name(facts: SeriesFacts) -> str:
    """Name an image, the same however its file is packed."""
    return hashlib.sha256(_PURPOSE + facts.voxels_sha256.encode()).hexdigest()[:16]


def learned_images(bundle: Bundle | None) -> frozenset[str]:
    """Return the names of the images that a bundle says it learned from."""
    names = () if bundle is None else bundle.metrics.get(_KEY, ())
    return frozenset(str(name) for name in names)


def as_metrics(names: Iterable[str]) -> Mapping[str, list[str]]:
    """Return what a bundle's description keeps of the images."""
    return {_KEY: sorted(names)}
