"""Write a bundle whose weights are the mean of those of several bundles.

Networks that were trained from one another lie so near that the mean of their weights
works, and on images unlike those they learned from better than each: decision 0013.
Everything else, cut-offs too, is the first bundle's: fit it anew afterwards with
`spinaldx fine-tune --init OUT --stage classification`.

    python benchmarks/mean_weights.py OUT BUNDLE BUNDLE [BUNDLE ...]
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from spinaldx.models import Bundle, find_bundle, write_bundle
from spinaldx.models.bundle import load_tensors


def mean_of(bundles: list[Bundle], part: str) -> dict[str, np.ndarray]:
    """Return the mean of one network's tensors, which must be of one shape."""
    states = [load_tensors(bundle, part) for bundle in bundles]
    return {
        name: np.mean([state[name] for state in states], axis=0, dtype=np.float64)
        .astype(np.float32)
        .reshape(first.shape)
        for name, first in states[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("bundles", nargs="+")
    arguments = parser.parse_args()
    bundles = [find_bundle(name) for name in arguments.bundles]
    first = bundles[0]
    arrays = {part: mean_of(bundles, part) for part in first.parts}
    bundle = dataclasses.replace(first, name=arguments.out.name)
    write_bundle(bundle, arrays, arguments.out)
    print(f"Wrote {arguments.out}: the mean of {', '.join(arguments.bundles)}.")


if __name__ == "__main__":
    main()
