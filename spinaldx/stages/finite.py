"""What networks put out must be numbers: others would become an empty mask unseen."""

import numpy as np

from spinaldx.errors import InferenceError
from spinaldx.records import Float32Array


def check_finite(values: Float32Array, network: str) -> Float32Array:
    """Return a network's output as it is.

    Args:
        values: Of any shape.
        network: ``segmentation`` or the name of a task.

    Raises:
        InferenceError: If one of them is no number, or infinite.
    """
    if not np.isfinite(values).all():
        message = f"The network {network} put out values that are no numbers."
        hint = "Try --precision fp32; if that fails too, the weights are at fault."
        raise InferenceError(message, hint=hint)
    return values
