"""Layers: one tissue each, painted over one another slice by slice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spinaldx.records import Float32Array
from spinaldx.simulation.fields import Reals, TurningField, soft_step


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One tissue of a station.

    Attributes:
        cover: Share of each pixel of the middle plane, (H, W), 0 to 1.
        value: Brightness, a number or (H, W).
        far: It ends this far from the middle, mm; a number or (H, W).
        near: It begins this far from the middle, mm.
        centre: Where its own middle lies, to the left, mm.
        texture: Field that changes its brightness, or None.
        rough: Strength of the texture.
        gate: Field that thins the layer out where it is low, or None.
    """

    cover: Reals
    value: float | Reals
    far: float | Reals = 1000.0
    near: float = -1.0
    centre: float = 0.0
    texture: TurningField | None = None
    rough: float = 0.0
    gate: TurningField | None = None


_Box = tuple[slice, slice]


class LayerPainter:
    """Paints layers in order onto the slices of a station."""

    def __init__(
        self, layers: Sequence[Layer], shift: Float32Array, thickness_mm: float
    ) -> None:
        self._shift = shift
        self._softness = max(thickness_mm, 1.0)
        # Single precision here, once: it halves the time of every slice.
        exact = [
            replace(layer, cover=layer.cover.astype(np.float32)) for layer in layers
        ]
        boxes = [(layer, _bounding_box(layer.cover)) for layer in exact]
        self._layers = [(layer, box) for layer, box in boxes if box is not None]

    def paint(self, slice_x: float) -> Float32Array:
        """Paint one slice, (H, W) float32; air is 0."""
        image = np.zeros(self._shift.shape, dtype=np.float32)
        u = np.float32(slice_x) - self._shift
        low, high = float(u.min()), float(u.max())
        for layer, box in self._layers:
            if _is_in_reach(layer, low, high, self._softness):
                self._blend(image, u, (layer, box), slice_x)
        return image

    def _blend(
        self,
        image: Float32Array,
        u: Float32Array,
        placed: tuple[Layer, _Box],
        slice_x: float,
    ) -> None:
        layer, box = placed
        share: Reals = layer.cover[box]
        if isinstance(layer.far, np.ndarray) or layer.far < 900 or layer.near > 0:
            share = share * self._window(layer, u[box], box)
        if layer.gate is not None:
            share = share * np.clip(layer.gate.at(slice_x)[box] * 1.5 + 0.5, 0, 1)
        value = layer.value[box] if isinstance(layer.value, np.ndarray) else layer.value
        target: Reals | float = value
        if layer.texture is not None:
            varied = 1 + np.float32(layer.rough) * layer.texture.at(slice_x)[box]
            target = np.maximum(varied, np.float32(0.05)) * np.float32(1) * value
        image[box] += share * (target - image[box])

    def _window(self, layer: Layer, u: Float32Array, box: _Box) -> Reals:
        away = np.abs(u - np.float32(layer.centre))
        far = layer.far[box] if isinstance(layer.far, np.ndarray) else layer.far
        window = soft_step(far - away, self._softness)
        if layer.near > 0:
            window = window * soft_step(away - np.float32(layer.near), self._softness)
        return window


def _bounding_box(cover: Reals) -> _Box | None:
    inside = cover > 0
    rows = np.flatnonzero(inside.any(axis=1))
    columns = np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _is_in_reach(layer: Layer, low: float, high: float, softness: float) -> bool:
    far = layer.far.max() if isinstance(layer.far, np.ndarray) else layer.far
    reach = float(far) + softness
    return low - layer.centre < reach and high - layer.centre > -reach
