"""One study through the stages in order, nothing else."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from spinaldx import __version__
from spinaldx.errors import GeometryError, NoUsableSeriesError
from spinaldx.grid import lesion_crops, told_numbers
from spinaldx.models import Bundle, Networks
from spinaldx.records import (
    CaseResult,
    Lesion,
    Mask,
    MaskOrigin,
    Provenance,
    QualityFlag,
    SeriesResult,
    SliceScore,
    Volume,
)
from spinaldx.stages.classification import decide, score_slices
from spinaldx.stages.cord import MainCord
from spinaldx.stages.heatmap import SeriesMaps, build_heatmaps
from spinaldx.stages.lesions import (
    LesionOptions,
    double_flags,
    lesion_flags,
    measure_lesions,
    number_lesions,
)
from spinaldx.stages.marking import crop_inputs, find_cord, mark_lesions
from spinaldx.stages.segmentation import Segmentation, SegmentationOptions, segment


@dataclass(frozen=True, slots=True)
class CascadeOptions:
    """What a user may change about a result; part of its provenance.

    Attributes:
        needs_cord: Keep only lesions on the main cord, where the network finds one.
        keep_probabilities: Carry lesion probabilities in the result.
    """

    needs_cord: bool = True
    keep_probabilities: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the options by name, as JSON values."""
        return asdict(self)


def run_case(
    study: str,
    volumes: Sequence[Volume],
    networks: Networks,
    bundle: Bundle,
    options: CascadeOptions | None = None,
    masks: Mapping[str, Mask] | None = None,
) -> CaseResult:
    """Take one study through segmentation, measurement, classes and heatmaps.

    Args:
        study: Name of the study, safe as a folder name.
        volumes: Its sagittal T2w series, from head to foot.
        networks: The bundle, opened.
        bundle: Thresholds, cut-offs, grid and crops.
        options: See there.
        masks: A person's masks by series name; each replaces the network's. An
            empty one means that the person sees no lesion.

    Returns:
        Everything that is written for a study.

    Raises:
        NoUsableSeriesError: If there is no volume.
        GeometryError: If a mask fits no series, or not its grid.
    """
    if not volumes:
        message = f"{study}: there is no sagittal T2w series."
        raise NoUsableSeriesError(message)
    options = options or CascadeOptions()
    masks = masks or {}
    check_mask_names(study, volumes, masks)
    cascade = _Cascade(networks, bundle, options)
    seen = [cascade.look_at(volume, masks.get(volume.name)) for volume in volumes]
    scores = [score for item in seen for score in item.slice_scores]
    lesions = [lesion for item in seen for lesion in item.result.lesions]
    prediction = decide(scores, bundle.classifiers)
    heatmaps = build_heatmaps([item.maps for item in seen], prediction, bundle.crop)
    return CaseResult(
        study=study,
        series=tuple(
            replace(item.result, heatmaps=of_series)
            for item, of_series in zip(seen, heatmaps, strict=True)
        ),
        prediction=prediction,
        provenance=Provenance(
            program_version=__version__,
            weights=bundle.info,
            engine=networks.engine,
            device=networks.device,
            precision=networks.precision,
            options=options.as_json(),
        ),
        flags=(
            *_weights_flags(bundle),
            *double_flags(lesions),
            *_nothing_kept(sum(item.left_out for item in seen), lesions),
        ),
    )


def check_mask_names(
    study: str, volumes: Sequence[Volume], masks: Collection[str]
) -> None:
    """Check that each mask of a study, by name, belongs to one of its series.

    Raises:
        GeometryError: If one belongs to none, or two series have the same name.
    """
    names = [volume.name for volume in volumes]
    if len(set(names)) < len(names):
        message = f"{study}: two series have the same name."
        raise GeometryError(message)
    if unknown := sorted(set(masks) - set(names)):
        message = f"{study}: a mask for {', '.join(unknown)}, but no such series."
        hint = f"The series are: {', '.join(names)}."
        raise GeometryError(message, hint=hint)


@dataclass(frozen=True, slots=True, eq=False)
class _Marked:
    """What is marked in one series: lesions, cord, and how sure the network was."""

    mask: Mask
    cord: MainCord | None = None
    segmentation: Segmentation | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One series after segmentation, measurement and scoring."""

    result: SeriesResult
    maps: SeriesMaps
    slice_scores: tuple[SliceScore, ...]
    left_out: int


@dataclass(frozen=True, slots=True, eq=False)
class _Cascade:
    """What all series of a study share."""

    networks: Networks
    bundle: Bundle
    options: CascadeOptions

    def look_at(self, volume: Volume, drawn: Mask | None) -> _Seen:
        marked = self._mark(volume) if drawn is None else self._adopt(volume, drawn)
        parts, cord = marked.segmentation, marked.cord
        spec = self.bundle.crop
        inputs = crop_inputs(volume, marked.mask.labels, parts, cord, spec)
        crops = lesion_crops(inputs, self.bundle.segmentation.grid, spec)
        scores = score_slices(volume.name, crops, self.networks)
        keeps = drawn is None and self.options.keep_probabilities
        inside_cord = cord.voxels if cord else None
        result = SeriesResult(
            volume=volume,
            mask=marked.mask,
            lesions=measure_lesions(marked.mask, volume, cord=inside_cord),
            lesion_probability=parts.lesion_probability if parts and keeps else None,
            flags=(
                *_origin_flags(marked),
                *lesion_flags(marked.mask, volume, cord=inside_cord),
            ),
            told_numbers=told_numbers(inputs, spec),
        )
        maps = SeriesMaps(crops, scores.maps)
        return _Seen(result, maps, scores.slice_scores, marked.left_out)

    def _mark(self, volume: Volume) -> _Marked:
        segmentation = self._segment(volume)
        marked = mark_lesions(segmentation, volume, self._lesion_options())
        return _Marked(marked.mask, marked.cord, segmentation, marked.left_out)

    def _adopt(self, volume: Volume, drawn: Mask) -> _Marked:
        mask = number_lesions(drawn, volume)
        has_cord = "cord" in self.bundle.segmentation.network.outputs
        if not has_cord or not mask.labels.any():
            return _Marked(mask)
        # The network still says where the cord is: classifiers and lengths use it.
        segmentation = self._segment(volume)
        return _Marked(mask, find_cord(segmentation, volume), segmentation)

    def _segment(self, volume: Volume) -> Segmentation:
        part = self.bundle.segmentation
        options = SegmentationOptions.of(part.network)
        return segment(volume, self.networks, part.grid, options)

    def _lesion_options(self) -> LesionOptions:
        part = self.bundle.segmentation
        return LesionOptions(
            threshold=part.threshold,
            min_volume_mm3=part.min_lesion_mm3,
            needs_cord=self.options.needs_cord,
        )


def _weights_flags(bundle: Bundle) -> tuple[QualityFlag, ...]:
    if not bundle.is_not_promoted:
        return ()
    message = (
        "The weights were not shown to be better than what they began with; "
        "see their card."
    )
    return (QualityFlag("weights_not_promoted", message),)


def _nothing_kept(left_out: int, lesions: Sequence[Lesion]) -> tuple[QualityFlag, ...]:
    """Ask for a look where all that was marked was left out.

    Of nine in sixty healthy simulated patients, and of six of the eight painted
    lesions without a mark (decision 0005).
    """
    if lesions or not left_out:
        return ()
    message = "All that was marked was left out, as fluid or as bright as the cord."
    return (QualityFlag("all_marks_left_out", message),)


def _origin_flags(marked: _Marked) -> tuple[QualityFlag, ...]:
    flags = []
    if marked.mask.origin is MaskOrigin.PERSON:
        message = "The lesion mask was drawn or corrected by a person."
        flags.append(QualityFlag("person_mask", message, needs_review=False))
    elif marked.cord is not None and not marked.cord.voxels.any():
        message = "No spinal cord was found, so nothing could be marked on it."
        flags.append(QualityFlag("cord_not_found", message))
    if marked.left_out:
        what = "1 mark was" if marked.left_out == 1 else f"{marked.left_out} marks were"
        message = f"{what} left out as fluid beside the cord, or as bright as the cord."
        flags.append(QualityFlag("marks_left_out", message, needs_review=False))
    return tuple(flags)
