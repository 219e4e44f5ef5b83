"""Frozen values that travel between the units, with checked invariants.

Spaces: ``ijk`` are voxel indices of the source image, ``ras`` are patient
millimetres that grow to the right, to the front and to the head (RAS+, as NIfTI).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinaldx.errors import GeometryError

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Affine = NDArray[np.float64]

RESEARCH_USE = "Research use only. Not a medical device."

# Thickest over thinnest voxel edge from which an image counts as 2-D slices.
_ANISOTROPIC_FROM = 1.5


class Disease(StrEnum):
    """The four diseases of the cascade, in the order of every table."""

    ASTROCYTOMA = "astrocytoma"
    EPENDYMOMA = "ependymoma"
    MS = "ms"
    NMOSD = "nmosd"


class Diagnosis(StrEnum):
    """What the classifiers put out for one study; never a clinical diagnosis."""

    ASTROCYTOMA = "astrocytoma"
    EPENDYMOMA = "ependymoma"
    MS = "ms"
    NMOSD = "nmosd"
    INDETERMINATE = "indeterminate"
    NO_LESION = "no_lesion"


class Task(StrEnum):
    """The three two-class decisions of the cascade (paper, Table 2)."""

    TUMOUR_VS_DEMYELINATION = "tumour_vs_demyelination"
    ASTROCYTOMA_VS_EPENDYMOMA = "astrocytoma_vs_ependymoma"
    MS_VS_NMOSD = "ms_vs_nmosd"

    @property
    def negative(self) -> str:
        """Class of output 0, as the name of the task has it."""
        return self.value.split("_vs_")[0]

    @property
    def positive(self) -> str:
        """Class of output 1 (paper, Table 2): the second name of the task."""
        return self.value.split("_vs_")[1]


class Plane(StrEnum):
    """Anatomical plane of an image's slices."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"
    ISOTROPIC = "isotropic"


class MaskOrigin(StrEnum):
    """Who drew a mask."""

    NETWORK = "network"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class QualityFlag:
    """One doubt about an input or a result.

    Attributes:
        code: Stable lower-case identifier such as ``weighting_unknown``.
        message: One plain sentence for a reader.
        needs_review: Whether a person should look at the study because of it.
    """

    code: str
    message: str
    needs_review: bool = True


def check_affine(affine_ras: Affine) -> None:
    """Refuse an affine that cannot place voxels in the patient.

    Raises:
        GeometryError: If it is not 4x4, finite, invertible, with last row 0 0 0 1.
    """
    if affine_ras.shape != (4, 4) or not np.isfinite(affine_ras).all():
        message = "The affine is not a finite 4x4 matrix."
        raise GeometryError(message)
    if not np.array_equal(affine_ras[3], (0.0, 0.0, 0.0, 1.0)):
        message = "The last row of the affine is not 0 0 0 1."
        raise GeometryError(message)
    spacing_mm = np.linalg.norm(affine_ras[:3, :3], axis=0)
    if not np.all(spacing_mm > 0):
        message = "The affine has a voxel edge of length zero."
        raise GeometryError(message)
    # Relative to the voxel volume, so that small voxels are not mistaken for flat.
    if abs(np.linalg.det(affine_ras[:3, :3] / spacing_mm)) < 1e-3:
        message = "The affine's axes lie in one plane."
        raise GeometryError(message)


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """One image on the scanner's grid.

    Attributes:
        voxels: Intensities, (I, J, K) float32, finite, any axis order.
        affine_ras: Voxel indices to patient mm, (4, 4) float64.
        name: Series name, safe as a folder name, never from a patient tag.
        flags: Doubts raised while reading.
        source_sha256: Hash of the bytes it was read from; empty when made in memory.
        source_format: ``dicom`` or ``nifti``; empty when made in memory.
        source_name: File name of a NIfTI image, without folders; else empty.
    """

    voxels: Float32Array
    affine_ras: Affine
    name: str
    flags: tuple[QualityFlag, ...] = ()
    source_sha256: str = ""
    source_format: str = ""
    source_name: str = ""

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or min(self.voxels.shape) < 1:
            message = f"{self.name}: expected a 3-D image, got {self.voxels.shape}."
            raise GeometryError(message)
        check_affine(self.affine_ras)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edge lengths along I, J, K."""
        i, j, k = np.linalg.norm(self.affine_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine_ras[:3, :3])))

    @property
    def plane(self) -> Plane:
        """Plane of the slices, decided by the thick axis; see `slice_axis`."""
        spacing = self.spacing_mm
        if max(spacing) < _ANISOTROPIC_FROM * min(spacing):
            return Plane.ISOTROPIC
        normal = self.affine_ras[:3, self.slice_axis]
        planes = (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)
        return planes[int(np.argmax(np.abs(normal)))]

    @property
    def slice_axis(self) -> int:
        """Source axis across the slices: the thick one, or left-right if none."""
        spacing = self.spacing_mm
        if max(spacing) >= _ANISOTROPIC_FROM * min(spacing):
            return int(np.argmax(spacing))
        directions = self.affine_ras[:3, :3] / np.asarray(spacing)
        return int(np.argmax(np.abs(directions[0])))

    @property
    def upright_axis(self) -> int:
        """Source axis in the slices that is nearest to head-foot."""
        directions = np.abs(self.affine_ras[2, :3]) / np.asarray(self.spacing_mm)
        directions[self.slice_axis] = -1.0
        return int(np.argmax(directions))

    @property
    def depth_axis(self) -> int:
        """Source axis in the slices that is not the upright one: front-back."""
        return ({0, 1, 2} - {self.upright_axis, self.slice_axis}).pop()


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Lesion labels on the grid of a volume.

    Attributes:
        labels: 0 background, n the n-th lesion or 1 for all, (I, J, K) uint8.
        affine_ras: Affine of the volume it belongs to.
        origin: Network or person.
    """

    labels: NDArray[np.uint8]
    affine_ras: Affine
    origin: MaskOrigin = MaskOrigin.NETWORK

    def __post_init__(self) -> None:
        if self.labels.ndim != 3 or self.labels.dtype != np.uint8:
            message = (
                f"A mask is 3-D uint8, not {self.labels.ndim}-D {self.labels.dtype}."
            )
            raise GeometryError(message)
        check_affine(self.affine_ras)


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected component of a mask.

    Attributes:
        number: 1 for the most cranial lesion of the series.
        series: Name of the series.
        voxel_count: Voxels in it.
        volume_mm3: Volume.
        length_mm: Extent along the cord's axis.
        slices: Indices along the source's slice axis, ascending.
        centroid_ras_mm: Centre of mass in patient mm.
    """

    number: int
    series: str
    voxel_count: int
    volume_mm3: float
    length_mm: float
    slices: tuple[int, ...]
    centroid_ras_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class SliceScore:
    """Softmax of the positive class on one lesion-bearing slice, by task."""

    series: str
    slice_index: int
    positive: Mapping[Task, float]


@dataclass(frozen=True, slots=True)
class StageResult:
    """One two-class decision about the whole study.

    Attributes:
        task: Which decision.
        positive_probability: Calibrated score of the positive class, 0 to 1.
        cut_off: The bundle's; at or above it the answer is the positive class.
        margin: The bundle's; nearer to the cut-off than this is undecided.
    """

    task: Task
    positive_probability: float
    cut_off: float
    margin: float

    @property
    def answer(self) -> str:
        """Name of the class on whose side of the cut-off the score lies."""
        is_positive = self.positive_probability >= self.cut_off
        return self.task.positive if is_positive else self.task.negative

    @property
    def is_near_cut_off(self) -> bool:
        """Whether the score lies within the margin of the cut-off."""
        return abs(self.positive_probability - self.cut_off) < self.margin


def stages_on_path(stages: Sequence[StageResult]) -> tuple[StageResult, ...]:
    """Return the first stage and the one that follows its answer.

    Args:
        stages: The three stages in any order, or none.
    """
    by_task = {stage.task: stage for stage in stages}
    if not by_task:
        return ()
    first = by_task[Task.TUMOUR_VS_DEMYELINATION]
    if first.answer == first.task.positive:
        return first, by_task[Task.MS_VS_NMOSD]
    return first, by_task[Task.ASTROCYTOMA_VS_EPENDYMOMA]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The classifiers' output for one study.

    Attributes:
        diagnosis: Hard path, or `indeterminate`, or `no_lesion`.
        stages: The three stages in cascade order; empty for `no_lesion`.
        probabilities: Joint probabilities, sum 1; empty for `no_lesion`.
        slice_scores: One an analysed slice, by series, then slice index.
    """

    diagnosis: Diagnosis
    stages: tuple[StageResult, ...] = ()
    probabilities: Mapping[Disease, float] = field(default_factory=dict)
    slice_scores: tuple[SliceScore, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """Grad-CAM of one task over one series, for the class reported.

    Attributes:
        task: The classifier explained.
        target: Name of the class whose logit was the target.
        values: 0 to 1 on the source grid, (I, J, K) float32; NaN where the
            classifier did not look.
        cell_mm: Edge of one Grad-CAM cell in the slice plane.
    """

    task: Task
    target: str
    values: Float32Array
    cell_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class SeriesResult:
    """Everything computed for one series.

    Attributes:
        volume: The image as read.
        mask: Lesions on its grid.
        lesions: From head to foot; empty when the mask is.
        heatmaps: One a task in play: first stage, then the second on the path.
        lesion_probability: (I, J, K) float32 in 0..1, or None with a person's mask.
        flags: Doubts about this series.
        told_numbers: What the classifiers were told about its lesions as numbers, by
            name, None where a usual value stood for what is not known.
    """

    volume: Volume
    mask: Mask
    lesions: tuple[Lesion, ...]
    heatmaps: tuple[Heatmap, ...] = ()
    lesion_probability: Float32Array | None = None
    flags: tuple[QualityFlag, ...] = ()
    told_numbers: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WeightsInfo:
    """Which weights made a result.

    Attributes:
        name: Bundle name.
        version: Bundle version.
        training_data: ``simulated`` while any network learned from simulated
            patients only, else ``patients``.
        sha256: Hash over the bundle description, which holds the files' hashes.
    """

    name: str
    version: str
    training_data: str
    sha256: str

    @property
    def is_simulated(self) -> bool:
        """Whether any network never saw a patient."""
        return self.training_data == "simulated"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is needed to make a result again.

    Attributes:
        program_version: Version of spinaldx.
        weights: The bundle.
        engine: ``openvino`` or ``torch``.
        device: ``cpu``, ``cuda:0``, ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        options: Options that change results, by name; JSON values.
        resume_key: Hash over input bytes, masks, bundle and options: a study with
            the same key need not be computed again. Empty outside a batch.
    """

    program_version: str
    weights: WeightsInfo
    engine: str
    device: str
    precision: str
    options: Mapping[str, Any] = field(default_factory=dict)
    resume_key: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CaseResult:
    """One study through the whole cascade.

    Attributes:
        study: Name of the study, safe as a folder name.
        series: One result a sagittal T2w series, from head to foot.
        prediction: The study's answer.
        provenance: How it was made.
        flags: Doubts about the study as a whole.
    """

    study: str
    series: tuple[SeriesResult, ...]
    prediction: Prediction
    provenance: Provenance
    flags: tuple[QualityFlag, ...] = ()

    @property
    def all_flags(self) -> tuple[QualityFlag, ...]:
        """Flags of the study, then of its series and their images."""
        of_series = (
            flag for item in self.series for flag in (*item.volume.flags, *item.flags)
        )
        return (*self.flags, *of_series)

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """All lesions, series by series."""
        return tuple(lesion for item in self.series for lesion in item.lesions)
