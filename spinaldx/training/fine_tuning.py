"""`fine-tune`: from a table of cases to a weight bundle in a folder."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spinaldx.errors import UsageError
from spinaldx.files import sha256_of, write_bytes, write_json
from spinaldx.models.bundle import Bundle, ClassifierPart, SegmentationPart
from spinaldx.models.bundle_store import write_bundle
from spinaldx.study.cases import read_cases
from spinaldx.training.cache import SeriesCache
from spinaldx.training.cases import Patient, group_patients
from spinaldx.training.checkpoint import HistoryRow
from spinaldx.training.compute import set_up_machine
from spinaldx.training.options import TrainingOptions
from spinaldx.training.pipeline import Learned, Run, Watcher
from spinaldx.training.preparation import prepare_cohort
from spinaldx.training.splits import Split, nested_fraction, split_patients
from spinaldx.training.start import Start, find_start

_REQUIRED = ("case", "t2w", "diagnosis")
_RUN = "run.json"


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What a bundle says about itself and the table cannot know.

    Attributes:
        name: Of the bundle.
        version: Of the weights.
        licence: SPDX identifier or a short text.
        training_data: ``simulated`` or ``patients``.
        ethics: Statement on the patients' data.
    """

    name: str
    version: str = "1.0"
    licence: str = "not stated"
    training_data: str = "patients"
    ethics: str = ""


def fine_tune(
    table: Path,
    out: Path,
    options: TrainingOptions,
    facts: BundleFacts,
    watcher: Watcher,
    *,
    resume: bool = False,
) -> Bundle:
    """Train the cascade on the patients of a table and write a bundle.

    Args:
        table: `cases.csv`.
        out: Folder of the bundle; checkpoints and cache lie beside it, in
            ``<out>.work``.
        options: What to train, how long, where.
        facts: What the bundle says about itself.
        watcher: Told about progress.
        resume: Go on with what lies in the work folder.

    Returns:
        The bundle as written.

    Raises:
        TableError: If the table has faults.
        UsageError: If the work folder belongs to another run.
        SpinalDxError: As the steps do.
    """
    work = out.with_name(out.name + ".work")
    patients = group_patients(read_cases(table, required=_REQUIRED))
    start = find_start(options)
    _claim(work, _identity(table, options), resume=resume)
    machine = set_up_machine(options.compute)
    groups = _groups(patients, options)
    cache = SeriesCache(work / "cache")
    cohort = prepare_cohort(
        groups, cache, start.grid, lambda *at: watcher.advance("Reading patients", *at)
    )
    run = Run(options, machine, start, cohort, cache, work, watcher)
    learned = run.learn()
    bundle = describe_bundle(start, learned, facts)
    states = {
        part: {name: tensor.numpy() for name, tensor in state.items()}
        for part, state in learned.tensors.items()
    }
    written = write_bundle(bundle, states, out)
    write_history(out / "history.csv", learned)
    return written


def describe_bundle(start: Start, learned: Learned, facts: BundleFacts) -> Bundle:
    """Put shapes, thresholds and cut-offs together as a bundle's description."""
    return Bundle(
        name=facts.name,
        version=facts.version,
        licence=facts.licence,
        intended_use="Research use only. Not a medical device.",
        training_data=facts.training_data,
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
        metrics=_metrics(learned),
    )


def _metrics(learned: Learned) -> dict[str, Any]:
    return {
        part: {
            "figures": list(trained.figures),
            "steps": trained.steps,
            "seconds": round(trained.seconds),
        }
        for part, trained in learned.trained.items()
    }


def _groups(
    patients: tuple[Patient, ...], options: TrainingOptions
) -> dict[Split, tuple[Patient, ...]]:
    splits = split_patients(patients, options.seed)
    groups = {
        split: tuple(one for one in patients if splits[one.name] is split)
        for split in Split
    }
    training = nested_fraction(groups[Split.TRAIN], options.fraction, options.seed)
    return groups | {Split.TRAIN: training}


def _identity(table: Path, options: TrainingOptions) -> dict[str, Any]:
    """Return what must be equal for a run to be the same run."""
    told = asdict(options)
    # Neither changes what is learned from the same steps.
    for name in ("checkpoint_s",):
        told.pop(name)
    plain: dict[str, Any] = json.loads(
        json.dumps({"table": sha256_of(table), "options": told})
    )
    return plain


def _claim(work: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
    """Take a work folder, or go on in it when it holds the same run."""
    path = work / _RUN
    if path.exists():
        same = json.loads(path.read_text(encoding="utf-8")) == identity
        if not resume or not same:
            what = "the run of other options" if resume else "an earlier run"
            message = f"{work} holds {what}."
            hint = "Use --resume with the same options, or remove the folder."
            raise UsageError(message, hint=hint)
    write_json(path, identity)


def write_history(path: Path, learned: Learned) -> None:
    """Write the lines of all networks as CSV."""
    names = [field.name for field in dataclasses.fields(HistoryRow)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for trained in learned.trained.values():
        for row in trained.history:
            values = asdict(row)
            writer.writerow(
                ["" if values[name] is None else values[name] for name in names]
            )
    write_bytes(path, text.getvalue().encode())
