"""What the segmentation network makes of whole patients, as the cascade uses it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinaldx.grid import CropSpec, GridSpec, lesion_crops
from spinaldx.models.specs import MultiResUNetSpec
from spinaldx.records import Disease, Mask, MaskOrigin, Volume
from spinaldx.stages.cord import MainCord
from spinaldx.stages.lesions import LesionOptions, number_lesions
from spinaldx.stages.marking import (
    MARKING_VERSION,
    crop_inputs,
    find_cord,
    mark_lesions,
)
from spinaldx.stages.segmentation import (
    Segmentation,
    SegmentationOptions,
    segment,
)
from spinaldx.training.cache import LoadedSeries, SeriesCache
from spinaldx.training.calibration import MASK_CHOICES, MaskChoice
from spinaldx.training.cases import Patient, read_series
from spinaldx.training.classification import CropSample, CropSet
from spinaldx.training.inference import SegmentationInTraining
from spinaldx.training.segmentation import patient_score

_TRUTH, _PREDICTED, _CROPS = "truth", "predicted", "crops"


@dataclass(frozen=True, slots=True, eq=False)
class Segmenter:
    """A trained segmentation network with its preprocessing.

    Attributes:
        networks: The network.
        grid: Its grid.
        network: Its shape.
        digest: Names the weights, so that stored crops of others are not used.
    """

    networks: SegmentationInTraining
    grid: GridSpec
    network: MultiResUNetSpec
    digest: str

    def segment(self, volume: Volume) -> Segmentation:
        """Return the probabilities of a whole image."""
        options = SegmentationOptions.of(self.network)
        return segment(volume, self.networks, self.grid, options)


def mark(
    segmentation: Segmentation,
    volume: Volume,
    choice: MaskChoice,
    cord: MainCord | None,
) -> NDArray[np.uint8]:
    """Return the lesions that the cascade would mark, (I, J, K) uint8."""
    options = LesionOptions(
        threshold=choice.threshold, min_volume_mm3=choice.min_lesion_mm3
    )
    return mark_lesions(segmentation, volume, options, cord=cord).mask.labels


def score_choices(patient: Patient, segmenter: Segmenter) -> list[float]:
    """Return a patient's score under each of `MASK_CHOICES`."""
    counts = np.zeros((len(MASK_CHOICES), 3))
    for row in patient.rows:
        series = read_series(row)
        segmentation = segmenter.segment(series.volume)
        cord = find_cord(segmentation, series.volume)
        true = series.lesion != 0
        for place, choice in enumerate(MASK_CHOICES):
            marked = mark(segmentation, series.volume, choice, cord) != 0
            voxels = marked.sum(), true.sum(), (marked & true).sum()
            counts[place] += np.array(voxels) * series.volume.voxel_mm3
    return [patient_score(*row) for row in counts]


def _numbered(series: LoadedSeries) -> NDArray[np.uint8]:
    """Number a person's lesions as the cascade does, (I, J, K) uint8.

    As one lesion two plaques on either side of the cord would lie in its middle.
    """
    volume = series.volume
    # Of a person's mask too many lesions would be refused, here in the midst of a run.
    mask = Mask(series.lesion, volume.affine_ras, MaskOrigin.NETWORK)
    return number_lesions(mask, volume).labels


@dataclass(frozen=True, slots=True, eq=False)
class CropMaker:
    """Cuts the classifiers' crops of a patient and keeps them on disk.

    Attributes:
        cache: Where.
        segmenter: Gives the cord, and the lesions for predicted masks.
        choice: How lesions are marked.
        crop: The classifiers' windows.
    """

    cache: SeriesCache
    segmenter: Segmenter
    choice: MaskChoice
    crop: CropSpec

    def make(self, patient: Patient, *, predicted: bool = True) -> CropSample:
        """Return a diseased patient's crops, with predicted masks too if wanted."""
        kinds: dict[str, list[CropSet]] = {_TRUTH: []}
        if predicted:
            kinds[_PREDICTED] = []
        for row in patient.rows:
            series = read_series(row)
            keys = {kind: self._key(series, kind) for kind in kinds}
            if not all(self.cache.has(key, _CROPS) for key in keys.values()):
                self._store(series, keys)
            for kind, key in keys.items():
                count = len(self.cache.read(key, _CROPS))
                kinds[kind] += [CropSet(key, count)] if count else []
        disease = Disease(patient.diagnosis)
        truth, found = tuple(kinds[_TRUTH]), tuple(kinds.get(_PREDICTED, ()))
        return CropSample(patient.name, disease, truth, found)

    def _store(self, series: LoadedSeries, keys: Mapping[str, str]) -> None:
        volume = series.volume
        segmentation = self.segmenter.segment(volume)
        cord = find_cord(segmentation, volume)
        for kind, key in keys.items():
            if kind == _PREDICTED:
                lesion = mark(segmentation, volume, self.choice, cord)
            else:
                lesion = _numbered(series)
            inputs = crop_inputs(volume, lesion, segmentation, cord, self.crop)
            crops = lesion_crops(inputs, self.segmenter.grid, self.crop).pixels
            self.cache.store_arrays(key, {_CROPS: crops.astype(np.float16)})

    def _key(self, series: LoadedSeries, kind: str) -> str:
        digest = hashlib.sha256(series.volume.source_sha256.encode())
        digest.update(np.ascontiguousarray(series.lesion).tobytes())
        net, crop = self.segmenter, self.crop
        told = (kind, net.digest, net.grid, self.choice, crop, MARKING_VERSION)
        digest.update(repr(told).encode())
        return digest.hexdigest()[:32]
