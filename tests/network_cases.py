"""Random networks that any engine must compute alike."""

import numpy as np

from spinaldx.models.specs import DenseNetSpec, MultiResUNetSpec, expected_tensors

SEGMENTERS = {
    "reference": MultiResUNetSpec(base_width=6, levels=3),
    "shipped": MultiResUNetSpec(
        3, base_width=8, levels=4, stem=2, channel_multiple=8, head="bias"
    ),
    "one output": MultiResUNetSpec(outputs=("lesion",), base_width=4, levels=2, stem=3),
}
CLASSIFIERS = {
    "small": DenseNetSpec(blocks=(1, 2, 3, 2), growth=4, initial_features=6),
    "wide": DenseNetSpec(4, blocks=(2, 1, 1, 4), growth=8, initial_features=16),
}


def wild_tensors(spec, seed=0):
    """Draw weights with BatchNorm far from neutral: any sign, any variance.

    Kernels are scaled so that features stay near one.
    """
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_tensors(spec).items():
        if name.endswith("running_var"):
            drawn = rng.uniform(0.3, 3.0, shape)
        elif len(shape) > 1:
            drawn = rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            drawn = rng.uniform(0.5, 1.5, shape) * rng.choice((-1.0, 1.0), shape)
        else:
            drawn = 0.3 * rng.standard_normal(shape)
        tensors[name] = drawn.astype(np.float32)
    return tensors


def images(count, channels, height, width, seed=0):
    """Draw images of about the networks' intensities."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.0, 2.0, (count, channels, height, width)).astype(np.float32)
