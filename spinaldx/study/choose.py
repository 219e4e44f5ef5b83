"""One study: every series judged, the right ones chosen and read."""

import fnmatch
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spinaldx.errors import (
    AmbiguousSeriesError,
    GeometryError,
    NoUsableSeriesError,
    SpinalDxError,
    UnreadableFileError,
    UnsuitableImageError,
)
from spinaldx.files import safe_name
from spinaldx.records import Affine, Plane, QualityFlag, Volume
from spinaldx.study.archive import ImageFile
from spinaldx.study.checks import check_image
from spinaldx.study.masks import voxels_are_labels
from spinaldx.study.nifti import NiftiHeader, read_header, read_image, stem_of
from spinaldx.study.scoring import Evidence, judge
from spinaldx.study.series import (
    CaseRow,
    SeriesCandidate,
    StudyScan,
    StudySource,
    Verdict,
    printable,
)

# Share of the shorter extent from head to foot that two repeats have in common.
_SAME_REGION = 0.6

# Series that an error lists.
_MOST_LISTED = 8


def scan_study(source: StudySource, *, series: str = "") -> StudyScan:
    """Judge every series of a study by its headers.

    Args:
        source: From `find_studies`.
        series: Chooses by SeriesInstanceUID, SeriesNumber, or a pattern (`*`,
            `?`) over names and descriptions, whatever the scores say. Without it
            the table's column `series` chooses, where every row names something.

    Returns:
        All series with scores, reasons and the choice; nothing chosen is not an
        error here.

    Raises:
        StudyError: The source's problem, if it has one.
    """
    if source.problem is not None:
        raise source.problem
    candidates = [
        *_dicom_candidates(source),
        *_without_labels(list(_nifti_candidates(source))),
    ]
    flags = source.flags
    named = _named(candidates, series) if series else _named_by_rows(source, candidates)
    if named is None and any(row.series for row in source.rows):
        text = "The table's column series names no series of some row; not used."
        flags = (*flags, QualityFlag("series_not_found", text))
    wanted = series or ", ".join(row.series for row in source.rows if row.series)
    candidates = (
        _choose(candidates) if named is None else _choose_named(candidates, named)
    )
    return StudyScan(
        source.name,
        tuple(candidates),
        source.notes,
        flags,
        is_named=named is not None,
        wanted="" if named is None else printable(wanted),
    )


def load_study(source: StudySource, *, series: str = "") -> tuple[Volume, ...]:
    """Read every chosen series of a study, from head to foot.

    Args:
        source: From `find_studies`.
        series: As for `scan_study`.

    Returns:
        At least one volume; their flags hold those of the study.

    Raises:
        NoUsableSeriesError: If no series fits.
        AmbiguousSeriesError: If several fit equally well.
        UnsuitableImageError: If the only series read is no sagittal T2w spine.
        UnreadableFileError: If the only series is damaged.
        GeometryError: If the only series is not placed in the patient.
    """
    scan = scan_study(source, series=series)
    if not scan.chosen:
        raise nothing_chosen(scan)
    _check_ambiguous(scan)
    volumes: list[Volume] = []
    refusals: list[SpinalDxError] = []
    for candidate in scan.chosen:
        try:
            volumes.append(load_series(candidate))
        except (UnsuitableImageError, UnreadableFileError, GeometryError) as error:
            refusals.append(error)
    if not volumes:
        raise refusals[0]
    flags = [
        *scan.flags,
        *(
            QualityFlag("series_refused", f"One series left out: {refusal.message}")
            for refusal in refusals
        ),
    ]
    volumes = [
        replace(volume, flags=(*volume.flags, *(flags if index == 0 else ())))
        for index, volume in enumerate(volumes)
    ]
    return tuple(sorted(volumes, key=lambda volume: -_centre_z(volume)))


def load_series(candidate: SeriesCandidate) -> Volume:
    """Read one series and check the image.

    Raises:
        UnreadableFileError: If a file is damaged or packed in a way not read.
        GeometryError: If the slices cannot become a volume.
        UnsuitableImageError: If it is no sagittal T2w spine.
    """
    if candidate.fault:
        message = f"{candidate.name}: {candidate.fault}."
        raise GeometryError(message)
    if candidate.file is not None:
        image = read_image(candidate.file)
        volume = Volume(
            image.voxels,
            image.header.affine_ras,
            candidate.name,
            (*candidate.flags, *image.flags),
            image.sha256,
        )
    else:
        volume = _load_dicom(candidate)
    return replace(
        volume,
        flags=(*volume.flags, *check_image(volume)),
        source_format=candidate.kind,
        source_name=candidate.file.name if candidate.file else "",
    )


def _load_dicom(candidate: SeriesCandidate) -> Volume:
    from spinaldx.study.dicom_series import stack_affine  # noqa: PLC0415 - heavy
    from spinaldx.study.dicom_volume import read_voxels  # noqa: PLC0415 - heavy

    voxels, sha256, flags = read_voxels(candidate.slices)
    affine = stack_affine(candidate.slices)
    return Volume(voxels, affine, candidate.name, (*candidate.flags, *flags), sha256)


def _centre_z(volume: Volume) -> float:
    centre = (np.array(volume.voxels.shape) - 1) / 2
    return float(volume.affine_ras[2, :3] @ centre + volume.affine_ras[2, 3])


def _dicom_candidates(source: StudySource) -> Iterator[SeriesCandidate]:
    if not source.dicom:
        return
    from spinaldx.study.dicom_series import find_stacks  # noqa: PLC0415 - heavy

    counts = {"t2w": 0, "series": 0}
    for stack in find_stacks(source.dicom):
        tags = stack.tags
        shape = (stack.slices[0].columns, stack.slices[0].rows, len(stack.slices))
        plane, n_slices = _plane(stack.affine_ras, shape)
        text = " ".join((tags.description, tags.sequence, tags.body_part))
        evidence = Evidence(
            text,
            plane,
            stack.spacing_mm,
            n_slices,
            tags,
            stack.fault,
            component=dict(stack.slices[0].contrast).get("component", ""),
        )
        verdict = judge(evidence)
        kind = "series" if verdict.verdict is Verdict.REJECTED else "t2w"
        counts[kind] += 1
        yield SeriesCandidate(
            name=f"{kind}-{counts[kind]:02d}",
            kind="dicom",
            description=printable(tags.description),
            score=verdict.score,
            reasons=(*verdict.reasons, *stack.notes),
            verdict=verdict.verdict,
            plane=plane,
            spacing_mm=stack.spacing_mm,
            n_slices=n_slices,
            station=verdict.station,
            flags=(*verdict.flags, *stack.flags),
            series_number=tags.series_number,
            series_uid=tags.series_uid,
            tags=tags,
            slices=stack.slices,
            fault=stack.fault,
            extent_z_mm=_extent_z(stack.affine_ras, shape),
        )


def _nifti_candidates(source: StudySource) -> Iterator[SeriesCandidate]:
    names: set[str] = set()
    for file in source.nifti:
        name = safe_name(stem_of(file.name))
        number = 1
        while name in names:
            number += 1
            name = f"{safe_name(stem_of(file.name))}-{number}"
        names.add(name)
        yield _nifti_candidate(file, name)


def _without_labels(candidates: list[SeriesCandidate]) -> list[SeriesCandidate]:
    """Reject maps of labels among several images that would fit by their headers."""
    open_ones = [item for item in candidates if item.verdict is not Verdict.REJECTED]
    if len(open_ones) < 2:
        return candidates
    reason = "a map of labels, not an image"
    return [
        replace(item, verdict=Verdict.REJECTED, reasons=(reason, *item.reasons))
        if item in open_ones and item.file and voxels_are_labels(item.file)
        else item
        for item in candidates
    ]


def _nifti_candidate(file: ImageFile, name: str) -> SeriesCandidate:
    fault, header = "", None
    try:
        header = read_header(file)
    except (UnreadableFileError, GeometryError) as error:
        fault = error.message.removeprefix(f"{file.name}: ").rstrip(".")
    plane, n_slices, spacing = _nifti_geometry(header)
    evidence = Evidence(stem_of(file.name), plane, spacing, n_slices, None, fault)
    verdict = judge(evidence)
    return SeriesCandidate(
        name=name,
        kind="nifti",
        description=printable(file.name),
        score=verdict.score,
        reasons=verdict.reasons,
        verdict=verdict.verdict,
        plane=plane,
        spacing_mm=spacing,
        n_slices=n_slices,
        station=verdict.station,
        flags=verdict.flags,
        file=file,
        fault=fault,
        extent_z_mm=_extent_z(header.affine_ras, header.shape) if header else None,
    )


def _nifti_geometry(
    header: NiftiHeader | None,
) -> tuple[Plane | None, int, tuple[float, float, float] | None]:
    if header is None:
        return None, 0, None
    i, j, k = np.linalg.norm(header.affine_ras[:3, :3], axis=0)
    plane, n_slices = _plane(header.affine_ras, header.shape)
    return plane, n_slices, (float(i), float(j), float(k))


def _plane(
    affine_ras: Affine | None, shape: tuple[int, int, int]
) -> tuple[Plane | None, int]:
    """Return plane and slice count as the volume of this grid would have them."""
    if affine_ras is None:
        return None, shape[2]
    blank = np.broadcast_to(np.float32(0), shape)
    grid = Volume(blank, affine_ras, "grid")
    return grid.plane, shape[grid.slice_axis]


def _extent_z(
    affine_ras: Affine | None, shape: tuple[int, int, int]
) -> tuple[float, float] | None:
    if affine_ras is None:
        return None
    reach = np.abs(affine_ras[2, :3]) @ (np.array(shape) - 1) / 2
    centre = affine_ras[2, :3] @ ((np.array(shape) - 1) / 2) + affine_ras[2, 3]
    return float(centre - reach), float(centre + reach)


def _named(candidates: Sequence[SeriesCandidate], wanted: str) -> list[SeriesCandidate]:
    return [item for item in candidates if _is_named(item, wanted)]


def _named_by_rows(
    source: StudySource, candidates: Sequence[SeriesCandidate]
) -> list[SeriesCandidate] | None:
    """Return the series that the rows of a table name.

    Returns:
        None where the column is empty, or a station's row names nothing; then the
        choice is open.
    """
    if not any(row.series for row in source.rows):
        return None
    found = [_named_by_row(row, candidates) for row in source.rows]
    if len(found) > 1 and not all(found):
        return None
    return [item for items in found for item in items]


def _named_by_row(
    row: CaseRow, candidates: Sequence[SeriesCandidate]
) -> list[SeriesCandidate]:
    """Return what a row means, as `fine-tune` reads it."""
    if row.t2w is None:
        return []
    # A NIfTI file is the image itself; `series` may say which station it shows.
    meant = [item for item in candidates if item.file == ImageFile(row.t2w)]
    if meant or not row.series:
        return meant
    inside = [item for item in candidates if _lies_in(item, row.t2w)]
    alone = _numbered_alone(inside)
    return [
        item
        for item, renamed in zip(inside, alone, strict=True)
        if _is_named(renamed, row.series)
    ]


def _lies_in(item: SeriesCandidate, place: Path) -> bool:
    paths = {part.file.path for part in item.slices}
    if item.file is not None:
        paths.add(item.file.path)
    return any(place == path or place in path.parents for path in paths)


def _numbered_alone(items: Sequence[SeriesCandidate]) -> Iterator[SeriesCandidate]:
    """Name DICOM series as they are named where their folder is read alone."""
    counts: Counter[str] = Counter()
    for item in items:
        kind = item.name.partition("-")[0]
        counts[kind] += 1
        is_dicom = item.kind == "dicom"
        name = f"{kind}-{counts[kind]:02d}" if is_dicom else item.name
        yield replace(item, name=name)


def _choose_named(
    candidates: Sequence[SeriesCandidate], named: Sequence[SeriesCandidate]
) -> list[SeriesCandidate]:
    """Choose what the user or the table names; everything else becomes spare."""
    chosen = []
    for item in candidates:
        if item in named:
            item = replace(  # noqa: PLW2901 - the changed one goes on
                item,
                verdict=Verdict.CHOSEN,
                reasons=("chosen by name", *item.reasons),
            )
        elif item.chosen:
            item = replace(item, verdict=Verdict.SPARE)  # noqa: PLW2901 - as above
        chosen.append(item)
    return chosen


def _is_named(item: SeriesCandidate, wanted: str) -> bool:
    if wanted in {item.series_uid, item.name}:
        return True
    if wanted.isdecimal():
        return item.series_number == int(wanted)
    pattern = wanted.casefold()
    texts = (item.name.casefold(), item.description.casefold())
    return any(fnmatch.fnmatchcase(text, pattern) for text in texts)


_FOR_WANT = QualityFlag(
    "weighting_unknown",
    "Chosen for want of a better series: neither its name nor its tags say enough.",
)


def _choose(candidates: Sequence[SeriesCandidate]) -> list[SeriesCandidate]:
    """Keep the best of each region; take doubtful ones where nothing better is."""
    ranked = sorted(
        (item for item in candidates if item.verdict is not Verdict.REJECTED),
        key=_rank,
    )
    kept: list[SeriesCandidate] = []
    result = {id(item): item for item in candidates}
    for item in ranked:
        rival = next((other for other in kept if _same_region(item, other)), None)
        is_doubtful = item.verdict is Verdict.DOUBTFUL
        if rival is not None:
            reason = f"{rival.name} shows this region better"
            spare = Verdict.DOUBTFUL if is_doubtful else Verdict.SPARE
            changed = replace(item, verdict=spare, reasons=(reason, *item.reasons))
        elif is_doubtful and kept:
            continue
        else:
            kept.append(item)
            doubt = (_FOR_WANT,) if is_doubtful and not item.flags else ()
            flags = (*item.flags, *doubt)
            changed = replace(item, verdict=Verdict.CHOSEN, flags=flags)
        result[id(item)] = changed
    return [result[id(item)] for item in candidates]


def _rank(item: SeriesCandidate) -> tuple[object, ...]:
    spacing = sorted(item.spacing_mm or (9.0, 9.0, 9.0))
    is_doubtful = item.verdict is Verdict.DOUBTFUL
    # The later of two equal series is the repeat of a spoilt one.
    later = -(item.series_number or 0)
    return (is_doubtful, -item.score, round(spacing[1], 2), -item.n_slices, later)


def _same_region(one: SeriesCandidate, two: SeriesCandidate) -> bool:
    named = {one.station, two.station} - {""}
    if len(named) == 2 and "whole" not in named:
        return False
    if one.extent_z_mm is None or two.extent_z_mm is None:
        return True
    low = max(one.extent_z_mm[0], two.extent_z_mm[0])
    high = min(one.extent_z_mm[1], two.extent_z_mm[1])
    shorter = min(top - bottom for bottom, top in (one.extent_z_mm, two.extent_z_mm))
    return high - low > _SAME_REGION * shorter


def nothing_chosen(scan: StudyScan) -> NoUsableSeriesError:
    """Say why no series of a study would be read."""
    if scan.wanted and scan.candidates:
        return _nothing_named(scan)
    listed = "; ".join(
        f"{item.name} ({item.reasons[0] if item.reasons else 'no reason'})"
        for item in scan.candidates[:_MOST_LISTED]
    )
    more = len(scan.candidates) - _MOST_LISTED
    message = f"{scan.study}: no sagittal T2w spine among {len(scan.candidates)} series"
    if listed:
        message += f": {listed}{f'; and {more} more' if more > 0 else ''}"
    hint = "See 'spinaldx scan', and choose one with --series."
    return NoUsableSeriesError(f"{message}.", hint=hint)


def _nothing_named(scan: StudyScan) -> NoUsableSeriesError:
    # By the names that `scan` shows; descriptions may hold what a hospital typed.
    names = ", ".join(item.name for item in scan.candidates[:_MOST_LISTED])
    more = len(scan.candidates) - _MOST_LISTED
    message = f"{scan.study}: no series matches '{scan.wanted}'."
    hint = f"There are: {names}{f', and {more} more' if more > 0 else ''}."
    return NoUsableSeriesError(message, hint=hint)


def _check_ambiguous(scan: StudyScan) -> None:
    """Refuse a choice among NIfTI files that nothing but chance would decide."""
    if scan.is_named:
        return
    for item in scan.chosen:
        equals = [
            other
            for other in scan.candidates
            if other.verdict is Verdict.SPARE
            and other.kind == "nifti"
            and item.kind == "nifti"
            and other.score == item.score
            and _same_region(other, item)
        ]
        if equals:
            names = ", ".join(sorted(other.name for other in (item, *equals)))
            message = f"{scan.study}: several images fit equally well: {names}."
            hint = "Choose with --series, or give each patient a folder."
            raise AmbiguousSeriesError(message, hint=hint)
