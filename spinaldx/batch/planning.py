"""Which studies a process takes, under which names, and how long it may take."""

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spinaldx.batch import pseudonyms
from spinaldx.batch.folders import check_replaceable, is_result
from spinaldx.batch.resume import (
    find_masks,
    keep_as_is,
    may_be_masks,
    read_stored,
    resume_key,
)
from spinaldx.batch.settings import BatchSettings
from spinaldx.errors import StudyError, UsageError
from spinaldx.models import Bundle
from spinaldx.study import CODE_NOTE, StudySource

RUNS = "runs"

# Folders and files of the results that are no study.
_RESERVED = {RUNS, "studies.csv", "cohort.pdf"}

# Until this machine has shown its own: one study on two CPU cores, PDF included.
_SECONDS_PER_STUDY = 1.5
_SECONDS_TO_START = 1.0


@dataclass(frozen=True, slots=True)
class PlannedStudy:
    """One study of this process.

    Attributes:
        name: Of its folder below the output folder.
        source: Where it is read.
    """

    name: str
    source: StudySource


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The studies of this process, in order.

    Attributes:
        studies: This shard's.
        total: Studies of all shards.
        warnings: Sentences for the user.
        pseudonyms: By true name, those of earlier runs included; empty when names
            are not hidden.
    """

    studies: tuple[PlannedStudy, ...]
    total: int
    warnings: tuple[str, ...] = ()
    pseudonyms: Mapping[str, str] = field(default_factory=dict, repr=False)


def plan(sources: Sequence[StudySource], settings: BatchSettings) -> BatchPlan:
    """Name the studies and take this shard's share.

    Studies are sorted by name and dealt out in turn, so that processes given the
    same input share it without talking to each other.

    Args:
        sources: From `find_studies`, the same in every shard.
        settings: Output folder, shard, pseudonyms, masks.

    Returns:
        The plan; nothing is written.

    Raises:
        StudyError: If there is no study at all.
        UsageError: If two studies have one name, a name is taken by a file of the
            results, a mask of a study cannot be used, or pseudonyms and true names
            would come into one folder.
        OutputError: If a study's folder is there and is no result, or the key
            file of the pseudonyms cannot be read.
    """
    if not sources:
        message = "There is no study in the input."
        raise StudyError(message)
    ordered = sorted(sources, key=lambda source: source.name)
    names = [source.name for source in ordered]
    _check_names(names)
    known = pseudonyms.assign(settings.out, names) if settings.pseudonyms else {}
    pseudonyms.check_unmixed(settings.out, known if settings.pseudonyms else None)
    studies = tuple(
        PlannedStudy(known.get(source.name, source.name), source) for source in ordered
    )
    mine = studies[settings.shard.number - 1 :: settings.shard.count]
    for study in mine:
        check_replaceable(settings.out / study.name)
    warnings = (
        *_weights_warnings(settings.bundle),
        *_check_masks(settings.masks, [study.name for study in studies]),
        *_outgrown(settings.out, studies),
    )
    return BatchPlan(mine, len(studies), warnings, known)


def _weights_warnings(bundle: Bundle) -> tuple[str, ...]:
    if not bundle.is_not_promoted:
        return ()
    return (
        f"The weights {bundle.name} {bundle.version} were not shown to be better than "
        "what they began with; see their card.",
    )


def _outgrown(out: Path, studies: Sequence[PlannedStudy]) -> tuple[str, ...]:
    """Name a result whose study was the only one of its name, and no longer is."""
    names = {study.name for study in studies}
    with_code = [study for study in studies if CODE_NOTE in study.source.notes]
    bases = {study.name.rpartition("-")[0] for study in with_code}
    left = sorted(base for base in bases - names - {""} if is_result(out / base))
    return tuple(
        f"{out.name}/{base} is of an earlier run, when one study alone had that name: "
        "remove it, or its patient counts twice."
        for base in left
    )


def _check_names(names: Sequence[str]) -> None:
    # Many file systems do not tell upper from lower case.
    counts = Counter(name.casefold() for name in names)
    if twice := sorted(name for name in names if counts[name.casefold()] > 1):
        message = f"Several studies are named {twice[0]}."
        raise UsageError(message, hint="Rename one of them.")
    if taken := sorted(name for name in names if name.casefold() in _RESERVED):
        message = f"A study cannot be named {taken[0]}."
        raise UsageError(message, hint="Rename its folder or its case.")


def _check_masks(masks: Path | None, names: Sequence[str]) -> tuple[str, ...]:
    """Refuse masks that could not be used, and say which belong to no study."""
    if masks is None:
        return ()
    if not masks.is_dir():
        message = f"{masks}: no such folder of masks."
        raise UsageError(message)
    # Now rather than when their turn comes: handwork must not be passed over.
    for name in names:
        find_masks(masks, name)
    there = may_be_masks(masks)
    folders = {path.name for path in there if path.is_dir()}
    warnings = []
    if unused := sorted(folders - set(names)):
        warnings.append(
            f"{len(unused)} folders of masks belong to no study, such as {unused[0]}."
        )
    if loose := [path.name for path in there if not path.is_dir()]:
        many = "1 file lies" if len(loose) == 1 else f"{len(loose)} files lie"
        warnings.append(
            f"{many} loose in the folder of masks and will not be used, such as "
            f"{loose[0]}: masks lie in a folder of their study."
        )
    return tuple(warnings)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do.

    Attributes:
        to_run: Names of studies that would be run.
        to_keep: Names of those that are complete or failed, and unchanged.
        seconds: Time it may take.
        is_measured: Whether the time comes from earlier runs into this folder.
    """

    to_run: tuple[str, ...]
    to_keep: tuple[str, ...]
    seconds: float
    is_measured: bool


def estimate(the_plan: BatchPlan, settings: BatchSettings) -> Estimate:
    """Say what a run would do; images already analysed are hashed, nothing else.

    Raises:
        UnreadableFileError: If an image cannot be read.
    """
    due: list[str] = []
    kept: list[str] = []
    for study in the_plan.studies:
        stored = read_stored(settings.out / study.name, report=settings.report)
        # A study that is not there is due whatever its key: no need to read it.
        key = "" if stored is None else resume_key(study.source, study.name, settings)
        outcome = keep_as_is(stored, key, settings)
        (due if outcome is None else kept).append(study.name)
    measured = _seconds_per_study(settings.out / RUNS)
    each = _SECONDS_PER_STUDY if measured is None else measured
    seconds = _SECONDS_TO_START + each * len(due) if due else 0.0
    return Estimate(tuple(due), tuple(kept), seconds, measured is not None)


def _seconds_per_study(runs: Path) -> float | None:
    """Return the median over the studies of the latest run that computed any."""
    for path in sorted(runs.glob("*.json"), reverse=True):
        try:
            studies = json.loads(path.read_text(encoding="utf-8"))["studies"]
            found = [s["seconds"] for s in studies if s["outcome"] == "complete"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if found:
            return float(statistics.median(found))
    return None
