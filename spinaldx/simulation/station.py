"""One station: anatomy and acquisition put together, with its truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Affine, Float32Array, Volume
from spinaldx.simulation.acquisition import acquire, draw_bias, draw_scan
from spinaldx.simulation.canal import CanalPainter
from spinaldx.simulation.frame import Frame, StationPlan, build_frame, stack_affine
from spinaldx.simulation.head import build_head
from spinaldx.simulation.layers import LayerPainter
from spinaldx.simulation.lesions import Lesions
from spinaldx.simulation.spine import Spine
from spinaldx.simulation.surroundings import build_surroundings
from spinaldx.simulation.tissues import Tissues
from spinaldx.simulation.variation import Variation
from spinaldx.simulation.vertebrae import Bones, build_bones

# Source axis orders seen in practice: which of slice, row, column becomes I, J, K,
# and which of them are turned round.
_LAYOUTS = (
    ((2, 1, 0), (True, True, True)),
    ((2, 1, 0), (False, False, False)),
    ((0, 2, 1), (True, True, True)),
    ((1, 2, 0), (False, False, True)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Everything about a patient that all stations share.

    Attributes:
        spine: Widened where lesions need room.
        lesions: In cord coordinates.
        tissues: Brightness.
        variation: Harmless variants.
    """

    spine: Spine
    lesions: Lesions
    tissues: Tissues
    variation: Variation


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A station as stacks of (slice, row, column).

    Attributes:
        image: Magnitudes, (S, H, W) float32.
        lesion: (S, H, W) uint8.
        cord: (S, H, W) uint8, lesions included.
        levels: (S, H, W) uint8.
        affine_ras: Of the stack, (4, 4).
    """

    image: Float32Array
    lesion: NDArray[np.uint8]
    cord: NDArray[np.uint8]
    levels: NDArray[np.uint8]
    affine_ras: Affine


def render_station(
    rng: np.random.Generator,
    plan: StationPlan,
    anatomy: Anatomy,
    noise_factor: float,
) -> Rendered:
    """Draw the anatomy of a station and acquire it."""
    frame = build_frame(plan, anatomy.spine)
    place, bones = build_bones(
        rng, frame, anatomy.spine, anatomy.tissues, anatomy.variation
    )
    layers = [
        *build_surroundings(rng, frame, place, anatomy.tissues),
        *build_head(rng, frame, anatomy.tissues),
        *bones.layers,
    ]
    painter = LayerPainter(layers, frame.shift, plan.thickness_mm)
    canal = CanalPainter(
        frame, anatomy.spine, anatomy.lesions, anatomy.tissues, anatomy.variation
    )
    stack = np.empty(frame.shape, dtype=np.float32)
    cord = np.zeros(frame.shape, dtype=np.uint8)
    lesion = np.zeros(frame.shape, dtype=np.uint8)
    for number, slice_x in enumerate(frame.slices_x):
        image = painter.paint(float(slice_x))
        seen = canal.paint(float(slice_x))
        if seen is not None:
            flat = image.ravel()
            flat[canal.pixels] = flat[canal.pixels] * (1 - seen.alpha) + seen.value
            inside = seen.lesion > 0.5
            lesion[number].ravel()[canal.pixels] = inside
            cord[number].ravel()[canal.pixels] = (seen.cord > 0.5) | inside
        stack[number] = image
    scan = draw_scan(rng, noise_factor, plan.pixel_mm)
    bias = draw_bias(rng, scan, frame, place.ahead)
    image = acquire(rng, scan, stack, bias, plan.pixel_mm)
    return Rendered(image, lesion, cord, _levels(frame, bones), stack_affine(frame))


def _levels(frame: Frame, bones: Bones) -> NDArray[np.uint8]:
    away = np.abs(frame.slices_x[:, None, None] - frame.shift)
    return np.where(away < bones.half_width, bones.labels, 0).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a stack lies in the file: axis order and turned axes."""

    order: tuple[int, int, int]
    turned: tuple[bool, bool, bool]


def draw_layout(rng: np.random.Generator) -> Layout:
    """Draw one of the usual axis orders."""
    order, turned = _LAYOUTS[int(rng.integers(len(_LAYOUTS)))]
    return Layout(order, turned)


def lay_out(stack: NDArray[np.generic], layout: Layout) -> NDArray[np.generic]:
    """Bring a (slice, row, column) stack to the file's axes."""
    turned = tuple(axis for axis, is_turned in enumerate(layout.turned) if is_turned)
    return np.ascontiguousarray(np.flip(stack.transpose(layout.order), turned))


def lay_out_affine(
    affine_ras: Affine, shape: tuple[int, ...], layout: Layout
) -> Affine:
    """Affine of a stack brought to the file's axes.

    Args:
        affine_ras: Of the (slice, row, column) stack.
        shape: Of that stack.
        layout: The file's axes.
    """
    result = np.eye(4)
    result[:3, :3] = affine_ras[:3, list(layout.order)]
    result[:3, 3] = affine_ras[:3, 3]
    for axis, is_turned in enumerate(layout.turned):
        if is_turned:
            last = shape[layout.order[axis]] - 1
            result[:3, 3] += result[:3, axis] * last
            result[:3, axis] *= -1
    return result


def as_volume(rendered: Rendered, layout: Layout, name: str) -> Volume:
    """Make the station's volume on the file's axes, integers as scanners store."""
    voxels = np.rint(np.minimum(rendered.image, 32767)).astype(np.float32)
    affine = lay_out_affine(rendered.affine_ras, voxels.shape, layout)
    laid = lay_out(voxels, layout)
    return Volume(voxels=laid.astype(np.float32), affine_ras=affine, name=name)
