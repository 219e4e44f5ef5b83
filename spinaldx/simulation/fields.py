"""Smooth random fields and soft edges, the brushes of the simulator."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Float32Array

# What formulas take: their results are rounded to float32 where they are kept.
Reals = NDArray[np.floating[Any]]


def soft_step(distance_mm: Reals, width_mm: float) -> Float32Array:
    """Share of a pixel inside an edge: 0 outside, 1 inside, linear over a width."""
    share = np.clip(distance_mm * np.float32(1 / width_mm) + np.float32(0.5), 0, 1)
    return np.asarray(share, dtype=np.float32)


def soft_line(distance_mm: Reals, thickness_mm: float) -> Float32Array:
    """Coverage of a line of a thickness about distance zero."""
    return np.asarray(
        np.clip(1.25 - np.abs(distance_mm) * np.float32(1.5 / thickness_mm), 0, 1),
        dtype=np.float32,
    )


def ellipse_depth_mm(
    p: Reals,
    u: Reals,
    radius_p: Reals,
    radius_u: Reals,
) -> Float32Array:
    """Distance into an ellipse about the origin, right to first order, mm."""
    across_p, across_u = p / radius_p, u / radius_u
    size = np.sqrt(across_p**2 + across_u**2) + np.float32(1e-4)
    slope = np.sqrt((across_p / radius_p) ** 2 + (across_u / radius_u) ** 2)
    depth = (1 - size) * size / np.maximum(slope, np.float32(1e-4))
    # The centre has no slope: there the shorter radius is the depth.
    shortest = np.minimum(radius_p, radius_u)
    return np.asarray(np.minimum(depth, shortest), dtype=np.float32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float]
) -> Float32Array:
    """Draw a smooth field of unit spread with features some pixels wide.

    Args:
        rng: Source of chance.
        shape: Rows and columns.
        cells: Distance of independent values along rows and columns, pixels.
    """
    sizes = [int(np.ceil(n / cell)) + 3 for n, cell in zip(shape, cells, strict=True)]
    coarse = rng.standard_normal(sizes, dtype=np.float32)
    rows = _weights(shape[0], sizes[0], cells[0])
    columns = _weights(shape[1], sizes[1], cells[1])
    return np.asarray(rows @ coarse @ columns.T, dtype=np.float32)


def _weights(n: int, knots: int, cell: float) -> Float32Array:
    """Quadratic B-spline weights, scaled so that white noise keeps its spread."""
    places = np.arange(n, dtype=np.float32) / np.float32(cell) + 1
    distance = np.abs(places[:, None] - np.arange(knots, dtype=np.float32))
    near = 0.75 - distance**2
    far = 0.5 * (1.5 - distance) ** 2
    weights = np.where(distance < 0.5, near, np.where(distance < 1.5, far, 0))
    scaled: Float32Array = (
        weights / np.linalg.norm(weights, axis=1, keepdims=True)
    ).astype(np.float32)
    return scaled


class TurningField:
    """A random field over rows and columns that changes smoothly from slice to slice.

    Two independent fields are mixed with weights that turn with the way across
    the slices, so that neighbouring slices look alike and distant ones do not.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int],
        cells: tuple[float, float],
        turn_mm: float,
    ) -> None:
        self._fields = [smooth_noise(rng, shape, cells) for _ in range(2)]
        self._phase = float(rng.uniform(0, 2 * np.pi))
        self._turn_mm = turn_mm

    def at(self, x_mm: float) -> Float32Array:
        """Return the field of the slice at a place across the slices."""
        angle = self._phase + x_mm / self._turn_mm
        first, second = self._fields
        mixed: Float32Array = np.float32(np.cos(angle)) * first
        mixed += np.float32(np.sin(angle)) * second
        return mixed
