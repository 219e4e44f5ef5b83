"""How much a series looks like a sagittal T2w spine, by its header alone.

A score from 0 to 100 starts at 50 and each finding moves it; some findings alone
are enough to reject. Missing tags move nothing: what is not said is left to the
image checks. Limits follow `docs/domain.md` 6c (TR 2500-4500, TE 85-120, 3-4 mm)
with room for 3-D and low-field protocols.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spinaldx.records import Plane, QualityFlag
from spinaldx.study.series import DicomTags, Vector, Verdict
from spinaldx.study.vocabulary import Topic, station_of, topics_of

_FIT_FROM = 60.0
_DOUBTFUL_FROM = 30.0
_FEWEST_SLICES = 5
_FINEST_MM, _COARSEST_PIXEL_MM, _LARGEST_PIXEL_MM = 0.1, 1.7, 2.5
_THICK_MM, _LARGEST_GAP_MM = 6.0, 10.0

_MR_CLASSES = {"1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"}
_DERIVED_KINDS = {
    "SUBTRACTION",
    "PROJECTION IMAGE",
    "MIP",
    "MINIP",
    "ADC",
    "FA",
    "TRACEW",
    "DIFFUSION",
    "SCREEN SAVE",
    "POSDISP",
    "CSA REPORT",
}
_MAGNITUDE = {"M", "MAGNITUDE"}
_NOT_MAGNITUDE = {"P", "R", "I", "PHASE", "REAL", "IMAGINARY", "PHASE MAP"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a series before its pixels are read.

    Attributes:
        text: Description, protocol, sequence and body part, or the file's name.
        plane: Of the slices; None when unknown.
        spacing_mm: The three voxel edges; None when unknown.
        n_slices: Across the plane; of an isotropic image, from left to right.
        tags: DICOM tags, or those of a sidecar file; None when there are none.
        fault: Why it cannot become a volume.
        component: Of complex images, where a file holds several: ``MAGNITUDE``, ``REAL``
            and the like; it counts instead of the whole file's.
    """

    text: str
    plane: Plane | None
    spacing_mm: Vector | None
    n_slices: int
    tags: DicomTags | None = None
    fault: str = ""
    component: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One step of the score.

    Attributes:
        points: Moves the score.
        reason: Plain words.
        rejects: Whether it is enough to reject alone.
        flag: A doubt that travels with the volume.
    """

    points: float
    reason: str
    rejects: bool = False
    flag: QualityFlag | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Score, reasons and verdict of one series.

    Attributes:
        score: 0 to 100.
        reasons: Heaviest first.
        verdict: `CHOSEN` stands for fit; choosing among fit ones comes later.
        flags: Doubts that travel with the volume.
        station: Region named by the texts; empty when none.
    """

    score: float
    reasons: tuple[str, ...]
    verdict: Verdict
    flags: tuple[QualityFlag, ...]
    station: str


def judge(evidence: Evidence) -> Judgement:
    """Score one series."""
    findings = [item for rule in _RULES for item in rule(evidence)]
    findings.sort(key=lambda item: (not item.rejects, -abs(item.points)))
    score = min(max(50.0 + sum(item.points for item in findings), 0.0), 100.0)
    flags = tuple(item.flag for item in findings if item.flag is not None)
    verdict = Verdict.DOUBTFUL
    if any(item.rejects for item in findings) or score < _DOUBTFUL_FROM:
        verdict, score = Verdict.REJECTED, min(score, _DOUBTFUL_FROM)
    elif score >= _FIT_FROM and not _is_suppressed(evidence):
        verdict = Verdict.CHOSEN
    reasons = tuple(item.reason for item in findings)
    return Judgement(score, reasons, verdict, flags, station_of(evidence.text))


def _reject(reason: str, points: float = -50.0) -> Finding:
    return Finding(points, reason, rejects=True)


def _flagged(points: float, reason: str, code: str, text: str) -> Finding:
    return Finding(points, reason, flag=QualityFlag(code, text))


def _by_kind(evidence: Evidence) -> Iterator[Finding]:
    if evidence.fault:
        yield _reject(evidence.fault)
    tags = evidence.tags
    if tags is None:
        return
    if tags.modality not in {"MR", ""}:
        yield _reject(f"modality {tags.modality[:4]}, not MR")
    if tags.sop_class and tags.sop_class not in _MR_CLASSES:
        yield _reject("stored as another kind of object than an MR image")
    kinds = _kinds(tags, evidence.component)
    if "LOCALIZER" in kinds:
        yield _reject("a localizer")
    for kind in sorted(kinds & _DERIVED_KINDS):
        yield _reject(f"a derived picture ({kind.lower()})")
    if kinds & _NOT_MAGNITUDE and not kinds & _MAGNITUDE:
        yield _reject("phase, real or imaginary part, not magnitude")
    if "DERIVED" in kinds:
        yield Finding(-10.0, "derived from other images")
    if "SECONDARY" in kinds:
        yield Finding(-5.0, "secondary, not as acquired")


def _kinds(tags: DicomTags, component: str) -> set[str]:
    if not component:
        return set(tags.image_type)
    others = set(tags.image_type) - _NOT_MAGNITUDE - _MAGNITUDE
    return others | set(component.split())


def _by_geometry(evidence: Evidence) -> Iterator[Finding]:
    if evidence.plane is None:
        if not evidence.fault:
            yield _reject("its plane is unknown")
        return
    if evidence.plane is Plane.SAGITTAL:
        yield Finding(15.0, "sagittal slices")
    elif evidence.plane is Plane.ISOTROPIC:
        yield Finding(5.0, "isotropic, reformatted to sagittal")
    else:
        yield _reject(f"{evidence.plane.value} slices, not sagittal")
    if evidence.n_slices < _FEWEST_SLICES:
        yield _reject(f"only {evidence.n_slices} slices")
    if evidence.spacing_mm is not None:
        yield from _by_spacing(evidence.spacing_mm)


def _by_spacing(spacing_mm: Vector) -> Iterator[Finding]:
    fine, pixel, gap = sorted(spacing_mm)
    if fine < _FINEST_MM or pixel > _LARGEST_PIXEL_MM or gap > _LARGEST_GAP_MM:
        yield _reject(f"voxels of {fine:.2f} x {pixel:.2f} x {gap:.2f} mm")
        return
    if pixel > _COARSEST_PIXEL_MM:
        text = f"Pixels of {pixel:.1f} mm are coarse for lesions of the cord."
        yield _flagged(-10.0, "coarse pixels", "coarse_pixels", text)
    if gap > _THICK_MM:
        text = f"Slices {gap:.1f} mm apart are thick for the cord."
        yield _flagged(-10.0, "thick slices", "thick_slices", text)


def _by_timing(evidence: Evidence) -> Iterator[Finding]:
    tags = evidence.tags
    if tags is None or tags.echo_ms is None or tags.echo_ms <= 0:
        return
    echo, repetition = tags.echo_ms, tags.repetition_ms
    timing = f"TE {echo:.0f} ms" + (f", TR {repetition:.0f} ms" if repetition else "")
    is_long = repetition is None or repetition >= 1200
    if _is_fluid_dark(tags):
        yield _reject(f"FLAIR timing ({timing}, TI {tags.inversion_ms:.0f} ms)")
    elif echo < 40 and repetition is not None and repetition < 1300:
        yield _reject(f"T1w timing ({timing})")
    elif echo < 40:
        yield _reject(f"echo too short for T2w ({timing})")
    elif echo > 400:
        yield _reject(f"myelographic timing ({timing})")
    elif echo < 65 or not is_long:
        text = f"Timing lies between the weightings ({timing})."
        yield _flagged(-10.0, f"unusual timing ({timing})", "timing_unusual", text)
    else:
        yield Finding(20.0, f"T2w timing ({timing})")


def _is_fluid_dark(tags: DicomTags) -> bool:
    return tags.inversion_ms is not None and tags.inversion_ms > 1300


def _by_sequence(evidence: Evidence) -> Iterator[Finding]:
    tags = evidence.tags
    if tags is None:
        return
    kinds = set(tags.scanning)
    if "EP" in kinds:
        yield _reject("echo-planar")
    elif "GR" in kinds and "SE" not in kinds:
        yield _reject("a gradient echo")
    elif "SE" in kinds:
        yield Finding(5.0, "spin echo")
    if tags.contrast_agent:
        yield Finding(-5.0, "after contrast agent")


def _is_suppressed(evidence: Evidence) -> bool:
    if Topic.SUPPRESSED in topics_of(evidence.text):
        return True
    tags = evidence.tags
    if tags is None:
        return False
    short_inversion = tags.inversion_ms is not None and 50 < tags.inversion_ms < 400
    is_inversion = short_inversion and ("IR" in tags.scanning or not tags.scanning)
    return is_inversion or not {"FS", "SFS"}.isdisjoint(tags.options)


def _by_suppression(evidence: Evidence) -> Iterator[Finding]:
    if _is_suppressed(evidence):
        text = "Fat is suppressed (or STIR); the networks know plain T2w only."
        yield _flagged(-20.0, "fat suppression or STIR", "fat_suppressed", text)


_REJECTING = (
    Topic.DIFFUSION,
    Topic.LOCALIZER,
    Topic.ANGIOGRAPHY,
    Topic.MYELOGRAPHY,
    Topic.FLAIR,
    Topic.GRADIENT,
    Topic.DERIVED,
)


def _by_words(evidence: Evidence) -> Iterator[Finding]:
    topics = topics_of(evidence.text)
    for topic in _REJECTING:
        if topic in topics:
            yield _reject(f"by its name: {topic.value}")
    if Topic.T2 in topics:
        yield Finding(15.0, "T2 by its name")
    elif topics & {Topic.T1, Topic.PROTON}:
        yield _reject("by its name: T1-weighted or proton density")
    if Topic.T1 in topics and Topic.T2 in topics:
        text = "Its name speaks of T1 and of T2."
        yield _flagged(-15.0, "T1 and T2 in its name", "weighting_unclear", text)
    if Topic.CONTRAST in topics:
        yield Finding(-5.0, "by its name after contrast agent")


def _by_region(evidence: Evidence) -> Iterator[Finding]:
    topics = topics_of(evidence.text)
    spine = {Topic.SPINE, Topic.CERVICAL, Topic.THORACIC, Topic.LUMBAR, Topic.WHOLE}
    if topics & spine:
        yield Finding(10.0, "spine by its name")
    elif Topic.ELSEWHERE in topics:
        yield _reject("by its name: another body part")
    if Topic.COMPOSED in topics:
        yield Finding(-5.0, "composed of stations")


_RULES: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    _by_kind,
    _by_geometry,
    _by_timing,
    _by_sequence,
    _by_suppression,
    _by_words,
    _by_region,
)
