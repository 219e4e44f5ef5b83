"""The classifiers' objectives: lesion crops in class-balanced batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spinaldx.grid import NUMBER_CHANNELS
from spinaldx.records import Disease, Task
from spinaldx.training.augmentation import (
    AugmentationOptions,
    change_appearance,
    change_cord_and_fluid,
    draw_changes,
    resample,
)
from spinaldx.training.cache import SeriesCache
from spinaldx.training.calibration import patient_scores
from spinaldx.training.losses import classification_loss
from spinaldx.training.options import ClassifierOptions

_VALIDATION_BATCH = 8

# Names of channels, as in `CropSpec`.
_IMAGE, _LESION, _CORD = "t2w", "lesion", "cord"

_HALF = 0.5

# Class 1 of each task and its class 0 (paper, Table 2).
TASK_CLASSES: Mapping[Task, tuple[tuple[Disease, ...], tuple[Disease, ...]]] = {
    Task.TUMOUR_VS_DEMYELINATION: (
        (Disease.ASTROCYTOMA, Disease.EPENDYMOMA),
        (Disease.MS, Disease.NMOSD),
    ),
    Task.ASTROCYTOMA_VS_EPENDYMOMA: ((Disease.ASTROCYTOMA,), (Disease.EPENDYMOMA,)),
    Task.MS_VS_NMOSD: ((Disease.MS,), (Disease.NMOSD,)),
}

# Crops are finer than the segmentation's grid, and their windows were chosen
# around the lesion: they are moved and bent more in pixels, and zoomed less.
CROP_AUGMENTATION = AugmentationOptions(log_scale=0.12, bend_px=2.5, blur_px=1.6)

# Windows are moved by up to this share of their extent.
_LARGEST_SHIFT = (0.06, 0.10)


@dataclass(frozen=True, slots=True)
class CropSet:
    """The crops of one series made with one kind of mask.

    Attributes:
        key: Name of the stored array ``crops`` in the cache, (N, C, H, W).
        count: N.
    """

    key: str
    count: int


@dataclass(frozen=True, slots=True)
class CropSample:
    """All crops of one patient.

    Attributes:
        case: Name of the patient.
        diagnosis: Disease.
        truth: With a person's masks, one a series, none empty.
        predicted: With the network's masks, one a series, none empty.
    """

    case: str
    diagnosis: Disease
    truth: tuple[CropSet, ...]
    predicted: tuple[CropSet, ...]


def class_of(task: Task, diagnosis: Disease) -> int | None:
    """Return the class of a disease in a task, None when it has none."""
    for number, members in enumerate(TASK_CLASSES[task]):
        if diagnosis in members:
            return number
    return None


@dataclass(slots=True, eq=False)
class ClassificationObjective:
    """Crops of training patients, log loss and AUC of validation patients.

    Attributes:
        task: Which two classes.
        cache: Where the crops are.
        training: Patients to learn from; each has crops of the kinds in `sources`.
        validation: Patients to validate on.
        options: Batch size, crops without image, crops of neither class.
        predicted_share: How often a crop is made with a predicted mask where the
            patient has both kinds, 0 to 1.
        channels: What each channel holds, as in `CropSpec`.
        pixel_mm: Edge of a crop's pixel.
        seed: Of everything drawn.
        augmentation: How far crops are changed.
        device: Where validation runs.
    """

    task: Task
    cache: SeriesCache
    training: Sequence[CropSample]
    validation: Sequence[CropSample]
    options: ClassifierOptions
    predicted_share: float = 0.5
    channels: tuple[str, ...] = ("t2w", "lesion", "cord")
    pixel_mm: float = 0.5
    seed: int = 0
    augmentation: AugmentationOptions = CROP_AUGMENTATION
    device: str = "cpu"
    _classes: tuple[list[list[CropSample]], ...] = field(init=False)
    _neither: list[list[CropSample]] = field(init=False)

    def __post_init__(self) -> None:
        classes = TASK_CLASSES[self.task]
        others = tuple(one for one in Disease if class_of(self.task, one) is None)
        self._classes = tuple(self._groups(members) for members in classes)
        self._neither = self._groups(others)

    def _groups(self, diseases: Sequence[Disease]) -> list[list[CropSample]]:
        """Return the training patients of each disease that has any."""
        groups = (
            [one for one in self.training if one.diagnosis is disease]
            for disease in diseases
        )
        return [group for group in groups if group]

    @property
    def batch_size(self) -> int:
        """Crops a batch."""
        return self.options.batch_size

    def make_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Make the batch of a step, half of each class but for those of neither.

        Returns:
            Crops (N, C, H, W) and how likely class 1 is, (N,) float32: 0, 1, or 0.5
            for a patient of neither class.
        """
        generator = np.random.default_rng((self.seed, step))
        positive, crops = self._draw(generator)
        changes = draw_changes(generator, self.batch_size, self.augmentation)
        height, width = crops.shape[2:]
        shift = generator.uniform(-1, 1, (self.batch_size, 2)) * _LARGEST_SHIFT
        shift_px = (shift * (height, width)).astype(np.float32)
        changes.bend_px[...] += shift_px[:, :, None, None]
        sampled = resample(torch.from_numpy(crops), changes, (height, width))
        for place in np.flatnonzero(np.isin(self.channels, NUMBER_CHANNELS)).tolist():
            # Beyond the window's edge, where nothing is seen, a number is the same.
            number = torch.from_numpy(crops[:, place, 0, 0])
            sampled[:, place] = number[:, None, None]
        cord, is_known = self._cord(sampled)
        blank = generator.random(self.batch_size) < self.options.blank_share
        shown = torch.from_numpy(~blank)[:, None, None, None]
        for channel in np.flatnonzero(np.array(self.channels) == _IMAGE).tolist():
            image = sampled[:, channel : channel + 1]
            image = change_cord_and_fluid(image, cord, is_known, changes, self.pixel_mm)
            changed = change_appearance(image, changes)
            sampled[:, channel : channel + 1] = changed * shown
        return sampled, torch.from_numpy(positive)

    def _draw(
        self, generator: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw how likely class 1 is, (N,), and crops, (N, C, H, W)."""
        positive = (np.arange(self.batch_size) % 2).astype(np.float32)
        groups: list[list[list[CropSample]]] = [
            self._classes[int(one)] for one in positive
        ]
        if self._neither:
            is_other = generator.random(self.batch_size) < self.options.undecided_share
            positive[is_other] = _HALF
            for place in np.flatnonzero(is_other).tolist():
                groups[place] = self._neither
        return positive, np.stack([self._draw_crop(generator, one) for one in groups])

    def _cord(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cord with its lesions, (N, 1, H, W), and whether it is known."""
        part = {
            name: crops[:, place : place + 1]
            for place, name in enumerate(self.channels)
        }
        if _CORD not in part:
            return torch.zeros_like(crops[:, :1]), torch.zeros(len(crops))
        cord = part[_CORD]
        is_known = (cord.amax(dim=(1, 2, 3)) >= _HALF).to(cord.dtype)
        # A lesion that the network does not take for cord is no fluid for all that.
        return torch.maximum(cord, part.get(_LESION, cord)), is_known

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the cross-entropy of a batch."""
        crops, positive = batch
        return classification_loss(network(crops), positive)

    def validate(self, network: nn.Module) -> tuple[float, ...]:
        """Return minus the log loss of the validation patients, and their AUC."""
        truth, logits = self.slice_logits(network, self.validation)
        if not logits:
            return (0.0, 0.5)
        positive = patient_scores(logits)
        return -log_loss(truth, positive), area_under_curve(truth, positive)

    def slice_logits(
        self, network: nn.Module, patients: Sequence[CropSample]
    ) -> tuple[NDArray[np.intp], list[NDArray[np.float64]]]:
        """Return each patient's class, and the logits of the slices.

        The network's masks are used where it found the lesion, else a person's.
        Patients outside the task are left out.

        Returns:
            (N,) 0 or 1, and N arrays: logit of class 1 minus that of class 0.
        """
        classes, logits = [], []
        for patient in patients:
            number = class_of(self.task, patient.diagnosis)
            sets = patient.predicted or patient.truth
            if number is not None and sets:
                parts = [self._logits(network, one) for one in sets]
                classes.append(number)
                logits.append(np.concatenate(parts))
        return np.array(classes, dtype=np.intp), logits

    def _logits(self, network: nn.Module, crops: CropSet) -> NDArray[np.float64]:
        stored = self.cache.read(crops.key, "crops")
        parts = []
        for start in range(0, crops.count, _VALIDATION_BATCH):
            part = np.asarray(stored[start : start + _VALIDATION_BATCH], np.float32)
            placed = torch.from_numpy(part).to(
                self.device, memory_format=torch.channels_last
            )
            two = network(placed).float().cpu().numpy().astype(np.float64)
            parts.append(two[:, 1] - two[:, 0])
        return np.concatenate(parts)

    def _draw_crop(
        self, generator: np.random.Generator, groups: Sequence[Sequence[CropSample]]
    ) -> NDArray[np.float32]:
        group = groups[int(generator.integers(len(groups)))]
        patient = group[int(generator.integers(len(group)))]
        is_predicted = generator.random() < self.predicted_share
        first, second = patient.truth, patient.predicted
        sets = ((second or first) if is_predicted else (first or second)) or ()
        counts = [one.count for one in sets]
        place = int(generator.integers(sum(counts)))
        for one in sets:
            if place < one.count:
                break
            place -= one.count
        crop = self.cache.read(one.key, "crops")[place]
        return np.asarray(crop, dtype=np.float32)


def log_loss(truth: NDArray[np.generic], positive: NDArray[np.float64]) -> float:
    """Return the mean negative log likelihood of (N,) classes 0 and 1."""
    safe = np.clip(positive, 1e-7, 1.0 - 1e-7)
    return float(-np.mean(np.where(truth == 1, np.log(safe), np.log(1.0 - safe))))


def area_under_curve(
    truth: NDArray[np.generic], positive: NDArray[np.float64]
) -> float:
    """Return the AUC of (N,) scores; 0.5 when a class is missing."""
    ones, zeros = positive[truth == 1], positive[truth == 0]
    if not len(ones) or not len(zeros):
        return 0.5
    above = (ones[:, None] > zeros[None, :]).mean()
    equal = (ones[:, None] == zeros[None, :]).mean()
    return float(above + equal / 2)
