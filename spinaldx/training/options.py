"""What a training run may be told, with the defaults that measured best."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from spinaldx.errors import UsageError
from spinaldx.grid import NUMBER_CHANNELS, CropSpec, GridSpec
from spinaldx.models.specs import DenseNetSpec, MultiResUNetSpec


class Stage(StrEnum):
    """Which networks are trained; the others come from the initial bundle."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    ALL = "all"


class MaskSource(StrEnum):
    """Which lesion masks the classifiers learn from."""

    TRUTH = "truth"
    PREDICTED = "predicted"
    MIXED = "mixed"


# A slice and three on either side are wider than any cord.
_MOST_SLICES = 7


@dataclass(frozen=True, slots=True)
class NetworkPreset:
    """Sizes of the networks when training starts from scratch.

    Attributes:
        segmentation: The segmentation network.
        classifier: Each of the three classifiers.
    """

    segmentation: MultiResUNetSpec
    classifier: DenseNetSpec


# `reference` is the paper's; the others are the variants of docs/experiments.md.
PRESETS = {
    "tiny": NetworkPreset(
        MultiResUNetSpec(
            base_width=4, levels=3, stem=2, channel_multiple=4, head="bias"
        ),
        DenseNetSpec(blocks=(1, 1, 1, 1), growth=4, initial_features=8),
    ),
    "small": NetworkPreset(
        MultiResUNetSpec(
            base_width=32, levels=4, stem=2, channel_multiple=16, head="bias"
        ),
        DenseNetSpec(blocks=(4, 6, 8, 6), growth=16, initial_features=32),
    ),
    "fast": NetworkPreset(
        MultiResUNetSpec(
            base_width=32, levels=5, stem=2, channel_multiple=16, head="bias"
        ),
        DenseNetSpec(),
    ),
    "reference": NetworkPreset(MultiResUNetSpec(), DenseNetSpec()),
}


@dataclass(frozen=True, slots=True)
class Budget:
    """When training ends: by the clock, or after a number of steps.

    Attributes:
        minutes: Wall time of all networks together; steps are planned from the
            pace measured after a warm-up.
        epochs: Instead of minutes: passes over the training slices.
    """

    minutes: float | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.epochs is None):
            message = "Give either --minutes or --epochs."
            raise UsageError(message)
        length = self.minutes or self.epochs or 0.0
        if not (math.isfinite(length) and length > 0.0):
            message = "The training budget must be a positive number."
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how numbers are crunched.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``fp32`` or ``bf16``; weights stay fp32 in any case.
        threads: Of the network; 0 leaves it to torch. The same number is needed
            for the same bytes.
        workers: Processes that read images and make batches; 1 is this one alone, 0
            chooses. Any number gives the same batches. A script that asks for more
            than one must guard its main part (`if __name__ == "__main__"`).
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Learning:
    """What a person may have to change when memory is short or a loss diverges.

    Attributes:
        batch_size: Of every network; 0 leaves each its own.
        accumulate: Batches a step.
        learning_rate: Of every network, highest of the schedule; 0 leaves each its
            own, gentler when training starts from a bundle.
    """

    batch_size: int = 0
    accumulate: int = 1
    learning_rate: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate >= 0.0):
            message = "The learning rate must be a number, and not negative."
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class SegmentationOptions:
    """How the segmentation network is trained.

    Attributes:
        patch: Height and width of a training window in grid pixels.
        batch_size: Windows a step.
        learning_rate: Highest of the schedule.
        healthy_share: Share of windows from slices without a lesion.
        painted_share: Share of these that get lesions painted into their cord.
        slices: How many the network sees at once, odd: one and its neighbours; 0
            leaves it as it is, one from scratch.
        time_share: Share of the minutes when classifiers are trained too.
    """

    patch: tuple[int, int] = (160, 96)
    batch_size: int = 8
    learning_rate: float = 2e-3
    healthy_share: float = 0.5
    painted_share: float = 0.0
    slices: int = 0
    time_share: float = 0.65

    def __post_init__(self) -> None:
        if self.slices and (
            self.slices % 2 == 0 or not 0 < self.slices <= _MOST_SLICES
        ):
            message = f"{self.slices} slices: it must be 1, 3, 5 or 7."
            raise UsageError(message, hint="A slice and as many on either side.")


@dataclass(frozen=True, slots=True)
class ClassifierOptions:
    """How the classifiers are trained.

    Attributes:
        batch_size: Crops a step, half of each class.
        learning_rate: Highest of the schedule.
        mask_source: Which lesion masks they learn from.
        blank_share: How often a crop is shown without its image, so that outlines and
            numbers are learned too, 0 to 1.
        undecided_share: How often a crop of a patient of neither class is shown in its
            stead, for whom both are as likely, 0 to 1. Every lesion is put to all three
            classifiers; one that met its own two classes alone is sure of one of them
            whatever it sees (Hendrycks et al., ICLR 2019).
    """

    batch_size: int = 16
    learning_rate: float = 1e-3
    mask_source: MaskSource = MaskSource.MIXED
    blank_share: float = 0.2
    undecided_share: float = 0.15


def _crop_with_numbers() -> CropSpec:
    # On lesions of another making numbers held when what the window shows misled
    # (decision 0013).
    return CropSpec(channels=("t2w", "lesion", "cord", *NUMBER_CHANNELS))


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Everything that decides what a run learns.

    Attributes:
        budget: When it ends.
        stage: Which networks.
        init: ``scratch``, or name or folder of the bundle to start from.
        network: Preset for `scratch`.
        seed: Of weights, splits, windows and augmentation.
        fraction: Share of the training patients used; smaller ones are subsets.
        compute: Device, precision, threads.
        learning: What overrides the networks' own settings.
        segmentation: Of the segmentation network.
        classifier: Of the classifiers.
        grid: For `scratch`; else the initial bundle's.
        crop: For `scratch`; else the initial bundle's.
        imagenet: Safetensors file with torchvision's DenseNet121, or empty.
        checkpoint_s: Seconds between checkpoints.
    """

    budget: Budget
    stage: Stage = Stage.ALL
    init: str = "scratch"
    network: str = "fast"
    seed: int = 0
    fraction: float = 1.0
    compute: Compute = field(default_factory=Compute)
    learning: Learning = field(default_factory=Learning)
    segmentation: SegmentationOptions = field(default_factory=SegmentationOptions)
    classifier: ClassifierOptions = field(default_factory=ClassifierOptions)
    grid: GridSpec = field(default_factory=GridSpec)
    crop: CropSpec = field(default_factory=_crop_with_numbers)
    imagenet: str = ""
    checkpoint_s: float = 120.0

    def __post_init__(self) -> None:
        if self.network not in PRESETS:
            message = f"Unknown network {self.network}."
            hint = f"Known: {', '.join(PRESETS)}."
            raise UsageError(message, hint=hint)
        if not 0 < self.fraction <= 1:
            message = "A fraction must lie above 0 and at most at 1."
            raise UsageError(message)
