"""Small synthetic images whose truth is known by construction."""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from spinaldx.grid import CropSpec, GridSpec
from spinaldx.models import (
    Bundle,
    ClassifierOutput,
    ClassifierPart,
    DenseNetSpec,
    MultiResUNetSpec,
    SegmentationPart,
    write_bundle,
)
from spinaldx.models.specs import expected_tensors
from spinaldx.records import Task, Volume

# Columns: source axes towards left, foot, back, as a sagittal scan is stored.
SAGITTAL = np.array([(-1.0, 0, 0), (0, 0, -1.0), (0, -1.0, 0)]).T

# All ways to store the same voxels: 6 axis orders times 8 flips.
ORDERS = tuple(
    (order, flips)
    for order in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
)


def rotation(degrees=(0.0, 0.0, 0.0)):
    """Rotate about the right, front and head axes, in this order."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        turned = turn @ turned
    return turned


def affine_of(shape, spacing_mm, degrees=(0.0, 0.0, 0.0), centre_ras=(0.0, 0.0, 0.0)):
    """Place an image stored left, foot, back around a point of the patient."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) @ SAGITTAL * np.asarray(spacing_mm)
    middle = (np.asarray(shape) - 1) / 2
    affine[:3, 3] = np.asarray(centre_ras) - affine[:3, :3] @ middle
    return affine


def positions_ras(shape, affine):
    """Patient mm of every voxel centre, (I, J, K, 3)."""
    indices = np.moveaxis(np.indices(shape), 0, -1)
    return indices @ affine[:3, :3].T + affine[:3, 3]


def to_ras(ijk, affine):
    return np.asarray(ijk, float) @ affine[:3, :3].T + affine[:3, 3]


def centroid_ras(weights, affine):
    """Centre of mass in patient mm."""
    weights = np.nan_to_num(np.asarray(weights, float))
    places = positions_ras(weights.shape, affine)
    return (weights[..., None] * places).sum(axis=(0, 1, 2)) / weights.sum()


def volume_of(voxels, spacing_mm=(3.0, 1.0, 1.0), name="t2w", **placing):
    """Wrap voxels stored left, foot, back."""
    voxels = np.ascontiguousarray(voxels, dtype=np.float32)
    return Volume(voxels, affine_of(voxels.shape, spacing_mm, **placing), name)


def reordered(array, order, flips):
    """Store an array with other axes and directions."""
    flipped = [axis for axis, flip in enumerate(flips) if flip]
    return np.ascontiguousarray(np.flip(np.transpose(array, order), flipped))


def reordered_volume(volume, order, flips):
    """Store a volume with other axes and directions; no voxel moves."""
    affine = volume.affine_ras.copy()
    affine[:3, :3] = volume.affine_ras[:3, list(order)]
    shape = [volume.voxels.shape[axis] for axis in order]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
            affine[:3, axis] *= -1
    return replace(
        volume, voxels=reordered(volume.voxels, order, flips), affine_ras=affine
    )


def blob(shape, affine, centre_ras, sigma_mm):
    """Gaussian of height 1, measured in the patient."""
    away = np.linalg.norm(positions_ras(shape, affine) - centre_ras, axis=-1)
    return np.exp(-0.5 * (away / sigma_mm) ** 2).astype(np.float32)


def cylinder(shape, affine, ends_ras, radius_mm):
    """Voxels whose centres lie in a cylinder with flat ends, bool."""
    start, stop = (np.asarray(end, float) for end in ends_ras)
    length = np.linalg.norm(stop - start)
    axis = (stop - start) / length
    along = (positions_ras(shape, affine) - start) @ axis
    nearest = start + along[..., None] * axis
    beside = np.linalg.norm(positions_ras(shape, affine) - nearest, axis=-1)
    return (along >= 0) & (along <= length) & (beside <= radius_mm)


# Intensities of the box spine, told apart by `FakeNetworks`.
BACKGROUND, CORD, LESION = 100.0, 200.0, 400.0


@dataclass(frozen=True)
class SpinePhantom:
    """A straight box cord of 6 x 8 mm with a box lesion in it.

    Five slices of 3 mm, 64 rows and 32 columns of 1 mm; cord in slices 1 to 3,
    columns 12 to 19. The reference percentile of its intensities is known: more
    than 2 % of the voxels are cord, so that cord becomes 1 or more.
    """

    volume: Volume
    lesion: np.ndarray
    cord: np.ndarray


def spine_phantom(rows=(20, 30), slices=(2, 4), columns=(13, 18), name="t2w"):
    """Build the box spine; `rows=None` leaves it healthy."""
    voxels = np.full((5, 64, 32), BACKGROUND, np.float32)
    cord = np.zeros(voxels.shape, bool)
    cord[1:4, 2:62, 12:20] = True
    lesion = np.zeros(voxels.shape, bool)
    if rows is not None:
        lesion[slice(*slices), slice(*rows), slice(*columns)] = True
    voxels[cord] = CORD
    voxels[lesion] = LESION
    return SpinePhantom(volume_of(voxels, name=name), lesion, cord)


# Bright enough to be lesion or cord on the networks' scale, where cord is 1.
_FAKE_LESION, _FAKE_CORD = 1.5, 0.75


class FakeNetworks:
    """Networks whose outputs follow by hand from the box spine's intensities.

    Lesion probability is 0.9 where the image is brighter than 1.5, cord
    probability 0.9 where it is brighter than 0.75. Logits are set by task; the
    map of class 1 is the lesion channel averaged over cells, that of class 0 is
    the rest.
    """

    engine = "fake"
    device = "cpu"
    precision = "fp32"

    def __init__(self, logits=None, cell_pixels=16):
        self.logits = logits or dict.fromkeys(Task, (0.0, 2.0))
        self.cell_pixels = cell_pixels
        self.slices_seen = []
        self.is_closed = False

    def segment(self, slices):
        self.slices_seen.append(len(slices))
        parts = [0.9 * (slices[:, 0] > edge) for edge in (_FAKE_LESION, _FAKE_CORD)]
        return np.stack(parts, axis=1).astype(np.float32)

    def classify(self, task, crops):
        logits = np.tile(np.asarray(self.logits[task], np.float32), (len(crops), 1))
        edge = self.cell_pixels
        height, width = (size // edge for size in crops.shape[2:])
        cells = crops[:, 1].reshape(len(crops), height, edge, width, edge)
        lesion = cells.mean(axis=(2, 4)).astype(np.float32)
        return ClassifierOutput(logits, np.stack([1 - lesion, lesion], axis=1))

    def close(self):
        self.is_closed = True


def fake_bundle(cut_off=0.5, margin=0.05, temperature=1.0, **changes):
    """Describe `FakeNetworks`: 1 mm pixels, 64 x 32 mm crops, no files."""
    part = ClassifierPart(DenseNetSpec(), cut_off, margin, temperature, file="none")
    bundle = Bundle(
        name="fake",
        version="1",
        licence="Apache-2.0",
        intended_use="tests",
        training_data="simulated",
        segmentation=SegmentationPart(
            network=MultiResUNetSpec(),
            grid=GridSpec(size_multiple=16),
            threshold=0.5,
            min_lesion_mm3=30.0,
        ),
        classifiers=dict.fromkeys(Task, part),
        crop=CropSpec(height_mm=64.0, width_mm=32.0),
        description_sha256="0" * 64,
    )
    return replace(bundle, **changes)


def random_tensors(spec, seed=0):
    """Fill a network's tensors with numbers of a healthy size."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_tensors(spec).items():
        noise = rng.standard_normal(shape)
        if name.endswith("running_var") or (
            name.endswith("weight") and len(shape) == 1
        ):
            noise = 1.0 + 0.1 * np.abs(noise)
        elif len(shape) > 1:
            noise = noise * np.sqrt(2.0 / np.prod(shape[1:]))
        else:
            noise = 0.1 * noise
        tensors[name] = noise.astype(np.float32)
    return tensors


def tiny_bundle(folder, seed=0, **changes):
    """Write a whole bundle of tiny random networks that run in milliseconds."""
    segmentation = MultiResUNetSpec(base_width=4, levels=2)
    classifier = DenseNetSpec(blocks=(1, 1, 1, 1), growth=4, initial_features=8)
    described = fake_bundle(name="tiny", **changes)
    bundle = replace(
        described,
        segmentation=replace(described.segmentation, network=segmentation),
        classifiers={
            task: replace(part, network=classifier, file=f"{task.value}.safetensors")
            for task, part in described.classifiers.items()
        },
    )
    tensors = {
        part: random_tensors(described.network, seed + place)
        for place, (part, described) in enumerate(bundle.parts.items())
    }
    return write_bundle(bundle, tensors, folder)
