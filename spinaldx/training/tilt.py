"""Slices that leave the plane: patients lie askew and spines curve sideways.

A sagittal slice of a tilted or scoliotic spine shows the cord in part of its length
and bright fluid, which ends above and below in bone, in the rest. A network that saw
only straight spines takes such a spindle of fluid for a cyst in the cord.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Float32Array

# Farther than this from its slice no row is taken, in slices.
_FARTHEST = 6.0


@dataclass(frozen=True, slots=True)
class TiltOptions:
    """How far a slice may lean into its neighbours.

    Attributes:
        frequency: How often it does, 0 to 1.
        lean: Standard deviation of the tilt, slices at the end of the window.
        bow: Standard deviation of the curve, slices at both ends of the window.
    """

    frequency: float = 0.5
    lean: float = 1.2
    bow: float = 0.8


def draw_places(
    generator: np.random.Generator,
    rows: NDArray[np.integer],
    window: tuple[int, int],
    options: TiltOptions,
) -> Float32Array:
    """Draw from how many slices away each row is taken.

    Args:
        generator: Source of chance; asked for the same numbers in any case.
        rows: Row numbers of a slice, (H,).
        window: Middle row, which stays, and height of the training window.
        options: Bounds.

    Returns:
        (H,) in slices, 0 at the middle row, zeros where there is no tilt.
    """
    fires = generator.random() < options.frequency
    lean, bow = generator.standard_normal(2) * (options.lean, options.bow)
    middle, height = window
    along = (rows - middle) / max(height / 2, 1)
    places = (lean * along + bow * along**2) * fires
    limited = np.clip(places, -_FARTHEST, _FARTHEST)
    return np.asarray(limited, dtype=np.float32)


def leaning_slice(
    stack: NDArray[np.generic], index: int, places: Float32Array
) -> Float32Array:
    """Take one slice whose rows come from other places across the stack.

    Args:
        stack: (S, H, W), any numeric type; may be memory-mapped.
        index: The slice where `places` is 0; beyond the ends the outermost one.
        places: Offset of each row in slices, (H,).

    Returns:
        (H, W) float32, linear between slices, the outermost ones beyond the ends.
    """
    last = len(stack) - 1
    if not places.any():
        return np.asarray(stack[min(max(index, 0), last)], dtype=np.float32)
    at = np.clip(index + places, 0, last)
    below = np.floor(at).astype(np.intp)
    above = np.minimum(below + 1, len(stack) - 1)
    rows = np.arange(len(places))
    lower = np.asarray(stack[below, rows], dtype=np.float32)
    upper = np.asarray(stack[above, rows], dtype=np.float32)
    share = (at - below).astype(np.float32)[:, None]
    return np.asarray(lower + share * (upper - lower), dtype=np.float32)
