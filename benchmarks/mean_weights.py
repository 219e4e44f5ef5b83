"""Write a bundle whose weights are the mean of those of several bundles.

Networks that were trained from one another lie so near that the mean of their weights
works, on images unlike those they learned from now and then better than each: decision
0013. Everything else, cut-offs too, is the first bundle's and no longer fits exactly.

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
        name: np.mean([one[name] for one in states], 0, np.float64).astype(np.float32)
        for name in states[0]
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
