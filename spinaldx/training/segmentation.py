"""The segmentation network's objective: windows of slices, validation by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spinaldx.grid import neighbour_offsets, with_neighbours
from spinaldx.records import Affine, Float32Array, Volume
from spinaldx.stages.lesions import LesionOptions
from spinaldx.stages.marking import mark_lesions
from spinaldx.stages.segmentation import Segmentation
from spinaldx.training.augmentation import (
    AugmentationOptions,
    change_appearance,
    change_cord_and_fluid,
    draw_changes,
    resample,
    window_of,
)
from spinaldx.training.cache import CachedSeries, SeriesCache
from spinaldx.training.inference import SegmentationInTraining
from spinaldx.training.losses import segmentation_loss
from spinaldx.training.options import SegmentationOptions
from spinaldx.training.painting import PaintOptions, draw_paintings, paint
from spinaldx.training.tilt import TiltOptions, draw_places, leaning_slice

# Windows are cut this much larger, so that turning leaves no empty corners.
_ROOM = 1.4

# Where the slice of a window without lesion comes from: with cord in it, one or two
# slices beside the cord, or anywhere. Of all slices without lesion one in five shows
# cord (216 of 1,094, simulated); drawn evenly they leave five lesions for one healthy
# cord, and cords are marked on suspicion. The series is drawn first: of one that shows
# no cord without lesion any slice is taken, so fewer windows show cord than this share
# (48 % of those of 28 simulated patients; the weights that ship learned from such). Beside it lie the slices that graze the cord.
_WITH_CORD_SHARE = 0.8
_BESIDE_SHARE = 0.15
_BESIDE = 2

# How often a window without lesion lies below the cord's end, if one of so many drawn
# series shows that: roots in fluid, 30 mm or more of it. Seldom met, it was taken for
# cord with lesions in it.
_BELOW_SHARE = 0.2
_BELOW_DRAWS = 8
_BELOW_MM = 30.0

# Slices of a stack are at least so many times as thick as a pixel is wide.
_THICKER = 1.001

# Slices that graze the cord, with less cord than this share of the widest, teach
# lesions less often: a lesion can hardly be told from fluid there. A quarter instead
# left the outer slices of lesions unmarked, a third of a tumour's volume.
_GRAZING = 0.35
_GRAZING_KEPT = 0.7

# Where a window's centre comes from: inside what is marked, or anywhere.
_CORD_SHARE = 0.92

# A window lies outside of its slice by at most this share on either side, if it can.
_OUTSIDE = 0.15

# How often a patient is met with left and right exchanged.
_MIRRORED_SHARE = 0.5

# How often a slice is met as its own neighbours, as a study of one slice is.
_LONE_SHARE = 0.12

_INSIDE = 0.5
_INSIDE_BYTE = 128

# Slices that go through the network together in validation.
_VALIDATION_BATCH = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One series that a loop may draw from.

    Attributes:
        case: Name of the patient.
        diagnosis: Group of the patient, ``healthy`` without a lesion.
        series: Its entry in the cache.
    """

    case: str
    diagnosis: str
    series: CachedSeries


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    # Image, lesion and cord of a slice and its neighbours, (3, C, H, W).
    layers: NDArray[np.float32]
    known: tuple[float, float]


@dataclass(slots=True, eq=False)
class SegmentationObjective:
    """Windows from training patients, Dice of validation patients.

    Attributes:
        cache: Where the pixels are.
        training: Series to learn from.
        validation: Series to validate on.
        options: Window size, batch size, shares.
        outputs: Names of the network's outputs, of ``lesion`` and ``cord``.
        in_channels: A slice and as many on either side; odd.
        pixel_mm: Edge of a pixel of the cached series.
        seed: Of everything drawn.
        augmentation: How far windows are changed.
        tilt: How far slices lean into their neighbours.
        painting: Which lesions are painted into healthy cords, if any.
        device: Where validation runs.
    """

    cache: SeriesCache
    training: Sequence[Sample]
    validation: Sequence[Sample]
    options: SegmentationOptions
    outputs: tuple[str, ...] = ("lesion", "cord")
    in_channels: int = 1
    pixel_mm: float = 1.0
    seed: int = 0
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    tilt: TiltOptions = field(default_factory=TiltOptions)
    painting: PaintOptions = field(default_factory=PaintOptions)
    device: str = "cpu"
    _groups: list[list[Sample]] = field(init=False)
    _others: list[Sample] = field(init=False)
    _clear: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False)
    _ends: dict[str, tuple[int, int] | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        diseased: dict[str, list[Sample]] = {}
        for sample in self.training:
            if sample.series.lesion_slices:
                diseased.setdefault(sample.diagnosis, []).append(sample)
        self._groups = list(diseased.values())
        self._others = [
            sample
            for sample in self.training
            if len(sample.series.lesion_slices) < sample.series.shape[0]
        ]

    @property
    def batch_size(self) -> int:
        """Windows a batch."""
        return self.options.batch_size

    def make_batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Make the batch of a step.

        Returns:
            Images (N, in_channels, H, W) 0 to 2, truths (N, outputs, H, W) 0 to 1,
            of the middle slice, and which truths are known, (N, outputs).
        """
        generator = np.random.default_rng((self.seed, step))
        windows = [self._draw_window(generator) for _ in range(self.batch_size)]
        changes = draw_changes(generator, self.batch_size, self.augmentation)
        layers = torch.from_numpy(np.stack([one.layers for one in windows]))
        shape = self.options.patch
        sampled = resample(layers.flatten(1, 2), changes, shape)
        sampled = sampled.reshape(*layers.shape[:3], *shape)
        often = self.options.painted_share
        paintings = [draw_paintings(generator, often, self.painting) for _ in windows]
        known = torch.tensor([one.known for one in windows])
        for window, is_known, drawn in zip(
            sampled.numpy(), known[:, 1] > 0, paintings, strict=True
        ):
            if is_known and drawn:
                window[:] = paint(window, drawn)
        # A cord mask that breaks off at a lesion makes no fluid of the lesion.
        images, cord = sampled[:, 0], torch.maximum(sampled[:, 2], sampled[:, 1])
        images = change_cord_and_fluid(
            images, cord, known[:, 1], changes, self.pixel_mm
        )
        images = change_appearance(images, changes)
        known = known[:, : len(self.outputs)]
        middle = self.in_channels // 2
        lone = torch.from_numpy(generator.random(self.batch_size) < _LONE_SHARE)
        images = torch.where(
            lone[:, None, None, None], images[:, middle : middle + 1], images
        )
        truth = sampled[:, 1 : 1 + len(self.outputs), middle].contiguous()
        return images, truth, known

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Return cross-entropy plus soft Dice of a batch."""
        images, truth, known = batch
        return segmentation_loss(network(images), truth, known)

    def validate(self, network: nn.Module) -> tuple[float, ...]:
        """Return the mean score of the validation patients.

        Lesions are marked on the grid as `predict` marks them, at its usual threshold.
        """
        scores = []
        for samples in by_case(self.validation).values():
            counts = [self._count(network, sample) for sample in samples]
            marked, true, overlap = (
                sum(column) for column in zip(*counts, strict=True)
            )
            scores.append(patient_score(marked, true, overlap))
        return (float(np.mean(scores)) if scores else 0.0,)

    def _draw_window(self, generator: np.random.Generator) -> _Window:
        sample, index, centre = self._draw_place(generator)
        series = sample.series
        names = ("image", "lesion", "cord")[: 3 if series.has_cord else 2]
        stacks = {name: self.cache.read(series.key, name) for name in names}
        height, width = self.options.patch
        rows = np.arange(series.shape[1])
        places = draw_places(generator, rows, (centre[0], height), self.tilt)
        shape = (round(height * _ROOM), round(width * _ROOM))
        layers = np.zeros((3, self.in_channels, *shape), dtype=np.float32)
        offsets = self._offsets(series)
        if generator.random() < _MIRRORED_SHARE:
            offsets = offsets[::-1]
        for number, name in enumerate(names):
            for channel, offset in enumerate(offsets):
                leaning = leaning_slice(stacks[name], index + offset, places)
                layers[number, channel] = window_of(leaning, centre, shape)
        layers[1:] /= 255.0
        return _Window(layers, (1.0, 1.0 if series.has_cord else 0.0))

    def _draw_place(
        self, generator: np.random.Generator
    ) -> tuple[Sample, int, tuple[int, int]]:
        """Choose a window's patient, slice and centre."""
        healthy = generator.random() < self.options.healthy_share
        if (healthy or not self._groups) and self._others:
            below = generator.random() < _BELOW_SHARE
            place = self._place_below(generator) if below else None
            if place:
                return place
            sample, index = self._healthy_slice(generator)
        else:
            sample, index = self._lesion_slice(generator)
        series = sample.series
        marked = np.asarray(self.cache.read(series.key, "lesion")[index], np.uint8)
        if index not in series.lesion_slices and series.cord_slices:
            near = min(series.cord_slices, key=lambda at: abs(at - index))
            marked = np.asarray(self.cache.read(series.key, "cord")[near], np.uint8)
        return sample, index, self._centre(generator, marked, series.shape[1:])

    def _place_below(
        self, generator: np.random.Generator
    ) -> tuple[Sample, int, tuple[int, int]] | None:
        """Choose a slice without lesion and a place below the cord's end in it."""
        for _ in range(_BELOW_DRAWS):
            sample = self._others[generator.integers(len(self._others))]
            series = sample.series
            slices = sorted(set(series.cord_slices) - set(series.lesion_slices))
            end = self._cord_end(series)
            if slices and end:
                row = generator.integers(end[0], series.shape[1])
                width = self.options.patch[1]
                column = end[1] + generator.uniform(-0.35, 0.35) * width
                index = slices[generator.integers(len(slices))]
                centre = self._held_inside(int(row), int(column), series.shape[1:])
                return sample, index, centre
        return None

    def _cord_end(self, series: CachedSeries) -> tuple[int, int] | None:
        """Lowest row and column of the cord, None where the image ends near it."""
        if not series.cord_slices:
            return None
        if series.key not in self._ends:
            cord = np.asarray(self.cache.read(series.key, "cord")) >= _INSIDE_BYTE
            rows, columns = np.nonzero(cord.any(axis=0))
            lowest = int(rows.max())
            column = int(columns[rows == lowest].mean())
            is_end = (series.shape[1] - lowest) * self.pixel_mm >= _BELOW_MM
            self._ends[series.key] = (lowest, column) if is_end else None
        return self._ends[series.key]

    def _offsets(self, series: CachedSeries) -> tuple[int, ...]:
        return neighbour_offsets(self.in_channels, self._slice_mm(series))

    def _lesion_slice(self, generator: np.random.Generator) -> tuple[Sample, int]:
        group = self._groups[generator.integers(len(self._groups))]
        sample = group[generator.integers(len(group))]
        slices = sample.series.lesion_slices
        if generator.random() >= _GRAZING_KEPT:
            slices = self._through_cord(sample.series)
        return sample, slices[generator.integers(len(slices))]

    def _through_cord(self, series: CachedSeries) -> tuple[int, ...]:
        """Slices with lesion that do not merely graze the cord, all if all do."""
        if series.key not in self._clear:
            self._clear[series.key] = series.lesion_slices
            if series.has_cord:
                cord = self.cache.read(series.key, "cord")
                area = (np.asarray(cord) >= _INSIDE_BYTE).sum(axis=(1, 2))
                wide = np.flatnonzero(area >= _GRAZING * area.max()).tolist()
                clear = tuple(at for at in series.lesion_slices if at in wide)
                self._clear[series.key] = clear or series.lesion_slices
        return self._clear[series.key]

    def _healthy_slice(self, generator: np.random.Generator) -> tuple[Sample, int]:
        sample = self._others[generator.integers(len(self._others))]
        series = sample.series
        slices = set(range(series.shape[0])) - set(series.lesion_slices)
        with_cord = slices & set(series.cord_slices)
        near = {at + by for at in with_cord for by in range(-_BESIDE, _BESIDE + 1)}
        beside = near & (slices - with_cord)
        drawn = generator.random()
        if drawn < _WITH_CORD_SHARE:
            chosen = with_cord or slices
        else:
            chosen = (drawn < _WITH_CORD_SHARE + _BESIDE_SHARE and beside) or slices
        return sample, sorted(chosen)[generator.integers(len(chosen))]

    def _centre(
        self,
        generator: np.random.Generator,
        marked: NDArray[np.uint8],
        shape: tuple[int, int],
    ) -> tuple[int, int]:
        """Choose a window's centre: near what is marked, or anywhere."""
        height, width = self.options.patch
        jitter = generator.uniform(-0.35, 0.35, 2) * (height, width)
        inside = np.flatnonzero(marked >= _INSIDE_BYTE)
        row, column = (int(generator.integers(size)) for size in shape)
        if len(inside) and generator.random() < _CORD_SHARE:
            place = inside[generator.integers(len(inside))]
            row, column = divmod(int(place), shape[1])
            row, column = int(row + jitter[0]), int(column + jitter[1])
        return self._held_inside(row, column, shape)

    def _held_inside(
        self, row: int, column: int, shape: tuple[int, int]
    ) -> tuple[int, int]:
        """Move a window's centre so that little of it lies outside of its slice."""
        height, width = self.options.patch
        return _held(row, height, shape[0]), _held(column, width, shape[1])

    def _count(self, network: nn.Module, sample: Sample) -> tuple[float, float, float]:
        """Return the volumes marked, true and common of a series in mm3."""
        series = sample.series
        image = np.asarray(self.cache.read(series.key, "image"), dtype=np.float32)
        truth = np.asarray(self.cache.read(series.key, "lesion")) >= _INSIDE_BYTE
        affine_ras = _stack_affine(self._slice_mm(series), self.pixel_mm)
        marking = mark_lesions(
            self._segmentation(network, image, self._offsets(series)),
            Volume(image, affine_ras, sample.case),
            LesionOptions(),
        )
        answer = marking.mask.labels > 0
        counts = np.array((answer.sum(), truth.sum(), (answer & truth).sum()))
        marked, true, overlap = counts * series.pixel_mm3
        return marked, true, overlap

    def _segmentation(
        self, network: nn.Module, image: Float32Array, offsets: tuple[int, ...]
    ) -> Segmentation:
        running = SegmentationInTraining(network, self.device)
        every = range(len(image))
        parts = [
            running.segment(
                with_neighbours(image, every[at : at + _VALIDATION_BATCH], offsets)
            )
            for at in every[::_VALIDATION_BATCH]
        ]
        share = dict(
            zip(self.outputs, np.concatenate(parts).swapaxes(0, 1), strict=True)
        )
        return Segmentation(share["lesion"], share.get("cord"))

    def _slice_mm(self, series: CachedSeries) -> float:
        return series.pixel_mm3 / self.pixel_mm**2


def _stack_affine(slice_mm: float, pixel_mm: float) -> Affine:
    """Place a stack in a patient: slices run to the left, rows down, columns back.

    Slices thinner than a pixel's edge are placed as if they were hardly thicker: the
    thickest axis of a volume is that of its slices.
    """
    affine_ras = np.eye(4)
    affine_ras[:3, :3] = (
        (-max(slice_mm, _THICKER * pixel_mm), 0.0, 0.0),
        (0.0, 0.0, -pixel_mm),
        (0.0, -pixel_mm, 0.0),
    )
    return affine_ras


def _held(centre: int, size: int, slice_size: int) -> int:
    """Move a window's centre so that little of it lies outside of the slice."""
    least = size // 2 - round(size * _OUTSIDE)
    return max(min(centre, slice_size - least), min(least, slice_size // 2))


def patient_score(marked_mm3: float, true_mm3: float, common_mm3: float) -> float:
    """Return a patient's Dice; for a healthy one, how little is marked.

    Returns:
        0 to 1. Without a true lesion it is 1 when nothing is marked and halves at
        0.1 ml.
    """
    if true_mm3 == 0:
        return float(1.0 / (1.0 + marked_mm3 / 100.0))
    return float(2.0 * common_mm3 / (marked_mm3 + true_mm3))


def by_case(samples: Sequence[Sample]) -> Mapping[str, list[Sample]]:
    """Group series by patient, in the order of the samples."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.case, []).append(sample)
    return groups
