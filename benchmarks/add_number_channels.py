"""Write a bundle whose classifiers are told every number that new ones are told.

They make nothing of the new channels yet: what the bundle answers is the same until
they are trained on.

    python benchmarks/add_number_channels.py OUT BUNDLE
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from spinaldx.grid import NUMBER_CHANNELS
from spinaldx.models import Bundle, find_bundle, write_bundle
from spinaldx.models.bundle import SEGMENTATION, load_tensors

FIRST_CONVOLUTION = "features.conv0.weight"


def widened(bundle: Bundle, part: str, added: int) -> dict[str, np.ndarray]:
    """Return a network's tensors with zeros for more channels behind the others."""
    tensors = dict(load_tensors(bundle, part))
    if part != SEGMENTATION:
        first = tensors[FIRST_CONVOLUTION]
        more = np.zeros((len(first), added, *first.shape[2:]), first.dtype)
        tensors[FIRST_CONVOLUTION] = np.concatenate([first, more], axis=1)
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("bundle")
    arguments = parser.parse_args()
    old = find_bundle(arguments.bundle)
    added = [name for name in NUMBER_CHANNELS if name not in old.crop.channels]
    channels = (*old.crop.channels, *added)
    bundle = dataclasses.replace(
        old,
        name=arguments.out.name,
        crop=dataclasses.replace(old.crop, channels=channels),
        classifiers={
            task: dataclasses.replace(
                part,
                network=dataclasses.replace(part.network, in_channels=len(channels)),
            )
            for task, part in old.classifiers.items()
        },
    )
    arrays = {part: widened(old, part, len(added)) for part in old.parts}
    write_bundle(bundle, arrays, arguments.out)
    print(
        f"Wrote {arguments.out}: {old.name} with {', '.join(added) or 'nothing new'}."
    )


if __name__ == "__main__":
    main()
