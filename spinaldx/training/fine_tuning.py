"""`fine-tune`: from a table of cases to a judged weight bundle in a folder."""

import dataclasses
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinaldx.errors import NotPromotedError, UsageError
from spinaldx.files import safe_name, write_bytes
from spinaldx.models import Bundle, ClassifierPart, SegmentationPart, write_bundle
from spinaldx.models.json_fields import is_safe_name
from spinaldx.study.cases import check_cases
from spinaldx.training.cache import SeriesCache
from spinaldx.training.card import RunFacts, collect_metrics, write_card
from spinaldx.training.cases import Patient
from spinaldx.training.compute import Machine, set_up_machine
from spinaldx.training.curves import draw_curves, write_history
from spinaldx.training.learned_images import as_metrics, image_name, learned_images
from spinaldx.training.lint import Advance, Lint, lint_table
from spinaldx.training.options import Stage, TrainingOptions
from spinaldx.training.pipeline import Learned, Run, Watcher
from spinaldx.training.preparation import CachingReader, Cohort, inspect_row
from spinaldx.training.promotion import Marks, Verdict, judge, mark_patients
from spinaldx.training.run_folder import (
    alone_in,
    check_earlier,
    claim,
    data_of,
    identity_of,
)
from spinaldx.training.splits import (
    Split,
    nested_fraction,
    split_patients,
    write_splits,
)
from spinaldx.training.start import SCRATCH, Start, find_start

_SPLITS = "split.csv"
_KNOWN_JUDGES = (
    "{count} held-out patients are known to the bundle that training starts from: "
    "cut-offs and the judgement flatter. Hold others out by the column 'split'."
)
_SIMULATED_NOTICE = "TRAINED ON SIMULATED PATIENTS - NOT CLINICALLY VALID"


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What a bundle says about itself and the table cannot know.

    Attributes:
        name: Of the bundle.
        version: Of the weights.
        licence: SPDX identifier or a short text.
        training_data: ``simulated`` or ``patients``.
        ethics: Statement on the patients' data.

    Raises:
        UsageError: If name or version cannot be part of a file name, or there is no
            licence.
    """

    name: str
    version: str = "1.0"
    licence: str = "not stated"
    training_data: str = "patients"
    ethics: str = ""

    def __post_init__(self) -> None:
        hint = "Letters of the English alphabet, digits, '.', '_' and '-' will do."
        for what, text in (("name", self.name), ("version", self.version)):
            if not is_safe_name(text):
                message = f"{text!r} cannot be the {what} of a bundle."
                raise UsageError(message, hint=hint)
        if not self.licence.strip() or not self.licence.isprintable():
            message = "The licence must be a line of text."
            raise UsageError(message, hint="Leave --licence out, or say 'not stated'.")


@dataclass(frozen=True, slots=True)
class Request:
    """What to train on and where to put it.

    Attributes:
        table: `cases.csv`.
        out: Folder of the bundle.
        options: What to train, how long, where.
        facts: What the bundle says about itself.
        resume: Go on with what lies in the work folder.
        user_store: Folder of the user's bundles, for `init`.
        cache: Folder of prepared images; empty puts it into the work folder.
    """

    table: Path
    out: Path
    options: TrainingOptions
    facts: BundleFacts
    resume: bool = False
    user_store: Path | None = None
    cache: Path | None = None

    @property
    def work(self) -> Path:
        """Checkpoints and prepared images, beside the bundle."""
        return self.out.with_name(self.out.name + ".work")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a run gave.

    Attributes:
        bundle: As written.
        verdict: Whether it is better than what it started from.
    """

    bundle: Bundle
    verdict: Verdict

    def raise_unless_promoted(self) -> None:
        """Say by an error that the bundle should not be used.

        Raises:
            NotPromotedError: If it is not better.
        """
        if not self.verdict.is_promoted:
            message = f"{self.bundle.name} is not promoted. {self.verdict.reason}"
            hint = "Train longer, or on more patients; check diagnoses and masks."
            raise NotPromotedError(message, hint=hint)


def name_for(folder: Path) -> str:
    """Make a bundle's name out of its folder's: accents and blanks are left out."""
    plain = unicodedata.normalize("NFKD", folder.name)
    return safe_name(plain.encode("ascii", "ignore").decode())


def fine_tune(request: Request, watcher: Watcher) -> Outcome:
    """Train the cascade on the patients of a table and write a judged bundle.

    Args:
        request: What, where, how long.
        watcher: Told about progress.

    Returns:
        The bundle, which names its status, and the verdict behind it.

    Raises:
        TableError: If the table has faults; all are listed.
        UsageError: If options make no sense or the work folder holds another run.
        WeightsError: If the bundle to start from cannot be used.
        DeviceError: If the device is not there.
        DeviceMemoryError: If memory runs out; the last checkpoint stays.
        OutputError: If the disk is full; the last checkpoint stays.
    """
    options = request.options
    _check_output(request.out)
    start = find_start(options, user_store=request.user_store)
    identity = identity_of(request.table, options)
    is_known = check_earlier(request.work, identity, resume=request.resume)
    if request.resume and not is_known:
        watcher.note(f"{request.work} holds no earlier run: this is a new one.")
    machine = set_up_machine(options.compute)
    with alone_in(request.work):
        return _train_in_folder(request, start, machine, identity, watcher)


def _train_in_folder(
    request: Request,
    start: Start,
    machine: Machine,
    identity: Mapping[str, Any],
    watcher: Watcher,
) -> Outcome:
    options = request.options
    cache = SeriesCache(request.cache or request.work / "cache")
    cohort = _read_cohort(request, start, machine.readers, cache, watcher)
    # Only now, so that a faulty table can be corrected and the same command repeated.
    claim(request.work, identity, data_of(cohort, start))
    learned = Run(options, machine, start, cohort, cache, request.work, watcher).learn()
    bundle = describe_bundle(start, learned, request.facts)
    arrays = {
        part: {name: tensor.numpy() for name, tensor in state.items()}
        for part, state in learned.tensors.items()
    }
    candidate = write_bundle(bundle, arrays, request.work / "candidate")
    verdict = _judge(candidate, start, cohort, machine, request, watcher)
    facts = _run_facts(identity, start, cohort, machine, learned, verdict)
    images = {image_name(one.series.facts) for one in cohort.samples[Split.TRAIN]}
    met = as_metrics(images | learned_images(start.bundle))
    metrics = {**collect_metrics(facts), **bundle.metrics, **met}
    bundle = dataclasses.replace(bundle, metrics=metrics)
    _write_curves(request, learned, is_simulated=not bundle.has_met_patients)
    written = write_bundle(bundle, arrays, request.out, card=write_card(bundle, facts))
    return Outcome(written, verdict)


def _read_cohort(
    request: Request,
    start: Start,
    workers: int,
    cache: SeriesCache,
    watcher: Watcher,
) -> Cohort:
    """Read the table and every file of it, and say who is learned from.

    Raises:
        TableError: If the table has faults; all are listed.
        OutputError: If the disk is full.
    """
    reader = CachingReader(cache, start.grid)
    rows, _ = check_cases(request.table)
    reading = _counted(watcher, "Reading images")
    if reader.prepare(rows, workers, reading):
        reading = _counted(watcher, "Checking images")
    lint = lint_table(request.table, request.options.stage, reader.inspect, reading)
    lint.raise_faults(request.table)
    known = reader.known(lint.patients, learned_images(start.bundle))
    splits = split_patients(lint.patients, request.options.seed, known)
    write_splits(request.work / _SPLITS, splits)
    cohort = reader.cohort(_groups(lint.patients, splits, request.options), known)
    if cohort.known_judges:
        watcher.note(_KNOWN_JUDGES.format(count=cohort.known_judges))
    return cohort


def check_table(table: Path, stage: Stage, watcher: Watcher) -> Lint:
    """Look for every fault of a table and of the files it names; train nothing.

    Raises:
        TableError: If it is no table at all.
    """
    return lint_table(table, stage, inspect_row, _counted(watcher, "Reading images"))


def _counted(watcher: Watcher, what: str) -> Advance:
    return lambda done, total: watcher.advance(what, done, total)


def describe_bundle(start: Start, learned: Learned, facts: BundleFacts) -> Bundle:
    """Put shapes, thresholds and cut-offs together as a bundle's description."""
    return Bundle(
        name=facts.name,
        version=facts.version,
        licence=facts.licence,
        intended_use="Research use only. Not a medical device.",
        training_data=_training_data(start, learned, facts),
        metrics={"learned_from": _learned_from(start, facts)},
        ethics=facts.ethics,
        segmentation=SegmentationPart(
            network=start.segmentation,
            grid=start.grid,
            threshold=learned.mask.threshold,
            min_lesion_mm3=learned.mask.min_lesion_mm3,
        ),
        classifiers={
            task: ClassifierPart(
                network=start.classifiers[task],
                cut_off=decision.cut_off,
                margin=decision.margin,
                temperature=decision.temperature,
                file=f"{task.value}.safetensors",
            )
            for task, decision in learned.decisions.items()
        },
        crop=start.crop,
    )


def _training_data(start: Start, learned: Learned, facts: BundleFacts) -> str:
    """Say that weights come from simulation while any network does untouched."""
    old = start.bundle
    is_kept = set(learned.tensors) - set(learned.trained)
    if is_kept and old is not None and old.info.is_simulated:
        return old.training_data
    return facts.training_data


def _learned_from(start: Start, facts: BundleFacts) -> str:
    """Say whether patients have been met, now or by what training began with."""
    has_met_patients = start.bundle is not None and start.bundle.has_met_patients
    return "patients" if has_met_patients else facts.training_data


def _judge(
    candidate: Bundle,
    start: Start,
    cohort: Cohort,
    machine: Machine,
    request: Request,
    watcher: Watcher,
) -> Verdict:
    def marks(bundle: Bundle, what: str) -> Mapping[str, Marks]:
        return mark_patients(
            bundle,
            cohort.patients[Split.VALIDATION],
            threads=machine.threads,
            advance=lambda *at: watcher.advance(f"Judging the {what} bundle", *at),
        )

    new = marks(candidate, "new")
    old = None if start.bundle is None else marks(start.bundle, "old")
    return judge(new, old, request.options.stage)


def _run_facts(
    identity: Mapping[str, Any],
    start: Start,
    cohort: Cohort,
    machine: Machine,
    learned: Learned,
    verdict: Verdict,
) -> RunFacts:
    fitted = {
        task.value: decision
        for task, decision in learned.decisions.items()
        if task.value in learned.trained
    }
    old = start.bundle
    return RunFacts(
        patients=cohort.patients,
        trained=learned.trained,
        verdict=verdict,
        machine=machine,
        decisions=fitted,
        options=identity["options"],
        table_sha256=identity["table"],
        old=SCRATCH if old is None else f"{old.name} {old.version}",
        known_judges=cohort.known_judges,
    )


def _write_curves(request: Request, learned: Learned, *, is_simulated: bool) -> None:
    histories = {part: one.history for part, one in learned.trained.items()}
    rows = [row for history in histories.values() for row in history]
    write_history(request.out / "history.csv", rows)
    notice = _SIMULATED_NOTICE if is_simulated else ""
    write_bytes(request.out / "curves.png", draw_curves(histories, notice=notice))


def _groups(
    patients: tuple[Patient, ...],
    splits: Mapping[str, Split],
    options: TrainingOptions,
) -> dict[Split, tuple[Patient, ...]]:
    groups = {
        split: tuple(one for one in patients if splits[one.name] is split)
        for split in Split
    }
    training = nested_fraction(groups[Split.TRAIN], options.fraction, options.seed)
    return groups | {Split.TRAIN: training}


def _check_output(out: Path) -> None:
    if out.name in {"", ".."}:
        message = f"{str(out)!r} is no name for a bundle's folder."
        raise UsageError(
            message, hint="Give --output a new folder, such as our-weights."
        )
