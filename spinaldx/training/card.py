"""The model card of a bundle, written from the facts of its training run."""

import platform
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from spinaldx import __version__
from spinaldx.models import Bundle
from spinaldx.models.bundle import NOT_PROMOTED
from spinaldx.records import RESEARCH_USE, Disease
from spinaldx.study import HEALTHY
from spinaldx.training.calibration import Decision
from spinaldx.training.cases import Patient
from spinaldx.training.compute import Machine
from spinaldx.training.loop import Trained
from spinaldx.training.promotion import Interval, Verdict
from spinaldx.training.splits import Split

_GROUPS = (*(disease.value for disease in Disease), HEALTHY)


@dataclass(frozen=True, slots=True, eq=False)
class RunFacts:
    """What a card is written from.

    Attributes:
        patients: Patients by split.
        trained: Outcome of each loop that ran.
        verdict: New against old.
        machine: Where it was trained.
        decisions: Patients each cut-off was fitted on, by task name.
        options: What was asked for, JSON values.
        table_sha256: Of `cases.csv`.
        old: Name and version of the bundle it started from, or ``scratch``.
        known_judges: Held-out patients that it had learned from.
    """

    patients: Mapping[Split, Sequence[Patient]]
    trained: Mapping[str, Trained]
    verdict: Verdict
    machine: Machine
    decisions: Mapping[str, Decision]
    options: Mapping[str, Any]
    table_sha256: str
    old: str
    known_judges: int = 0


def collect_metrics(facts: RunFacts) -> dict[str, Any]:
    """Return what a bundle's description keeps of its training, as JSON values."""
    verdict = facts.verdict
    return {
        "status": "promoted" if verdict.is_promoted else NOT_PROMOTED,
        "reason": verdict.reason,
        "validation": _intervals(verdict.figures),
        "against_old": _intervals(verdict.against_old),
        "against_nothing": _intervals(verdict.against_nothing),
        "patients": {
            split.value: dict(_count(patients))
            for split, patients in facts.patients.items()
        },
        "calibrated_on": {
            task: decision.patients for task, decision in facts.decisions.items()
        },
        "training": {
            part: {"steps": run.steps, "minutes": round(run.seconds / 60, 2)}
            for part, run in facts.trained.items()
        },
        "started_from": facts.old,
        "known_judges": facts.known_judges,
        "options": dict(facts.options),
        "table_sha256": facts.table_sha256,
        "environment": describe_environment(facts.machine),
    }


def _intervals(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {
        name: {
            "mean": round(one.mean, 4),
            "low": round(one.low, 4),
            "high": round(one.high, 4),
            "patients": one.patients,
        }
        for name, one in intervals.items()
    }


def _count(patients: Sequence[Patient]) -> Counter[str]:
    return Counter(patient.diagnosis for patient in patients)


def describe_environment(machine: Machine) -> dict[str, Any]:
    """Return versions and hardware, without the machine's name."""
    return {
        "spinaldx": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "processor": platform.machine(),
        "device": machine.device,
        "precision": machine.precision,
        "threads": machine.threads,
    }


def write_card(bundle: Bundle, facts: RunFacts) -> str:
    """Return the card's Markdown."""
    sections = (
        _head(bundle, facts),
        _data(bundle, facts),
        _training(facts),
        _figures(facts),
        _decisions(bundle, facts),
        _ethics(bundle),
    )
    return "\n".join(sections)


def _head(bundle: Bundle, facts: RunFacts) -> str:
    worth = (
        "The figures come from held-out patients of the same table; other "
        "hospitals and scanners may give other ones."
        if bundle.has_met_patients
        else "Trained on simulated patients only: the figures say how well simulation "
        "is recognised, and nothing about patients."
    )
    if bundle.has_met_patients and bundle.training_data == "simulated":
        worth += " Some of its networks learned from simulated patients only."
    status = "promoted" if facts.verdict.is_promoted else "NOT PROMOTED"
    return (
        f"# {bundle.name} {bundle.version}\n\n"
        f"**{RESEARCH_USE}**\n\n"
        "Weights for spinaldx: intramedullary lesions on sagittal T2w spinal MRI, "
        "segmented and classified as astrocytoma, ependymoma, MS or NMOSD.\n\n"
        f"{worth}\n\n"
        f"- Status: {status}. {facts.verdict.reason}\n"
        f"- Training data: {bundle.training_data}\n"
        f"- Licence: {bundle.licence}\n"
        f"- Started from: {facts.old}\n"
    )


def _data(bundle: Bundle, facts: RunFacts) -> str:
    del bundle
    known = ""
    if facts.known_judges:
        known = (
            f"\n{facts.known_judges} of the held-out patients were learned from before, "
            f"by {facts.old} or what it came from: the figures flatter.\n"
        )
    header = "| split | patients | " + " | ".join(_GROUPS) + " | sex F/M | age |"
    lines = [header, "|---" * (len(_GROUPS) + 4) + "|"]
    for split, patients in facts.patients.items():
        counts = _count(patients)
        cells = [split.value, str(len(patients)), *(str(counts[g]) for g in _GROUPS)]
        lines.append(
            "| " + " | ".join([*cells, _sexes(patients), _ages(patients)]) + " |"
        )
    return (
        "## Patients\n\n" + "\n".join(lines) + "\n\n"
        "Split by patient. Validation patients choose the weights and judge the "
        "bundle; cut-offs are fitted on calibration patients, or on validation "
        "patients where there are none. Test patients were not used.\n"
        f"{known}"
    )


def _sexes(patients: Sequence[Patient]) -> str:
    counts = Counter(patient.sex for patient in patients)
    if not counts["F"] + counts["M"]:
        return "not given"
    return f"{counts['F']}/{counts['M']}"


def _ages(patients: Sequence[Patient]) -> str:
    ages = [patient.age for patient in patients if patient.age is not None]
    if not ages:
        return "not given"
    spread = statistics.stdev(ages) if len(ages) > 1 else 0.0
    return f"{statistics.mean(ages):.0f} +- {spread:.0f}"


def _training(facts: RunFacts) -> str:
    lines = ["| network | steps | minutes |", "|---|---|---|"]
    lines += [
        f"| {part} | {run.steps} | {run.seconds / 60:.1f} |"
        for part, run in facts.trained.items()
    ]
    told = describe_environment(facts.machine)
    environment = ", ".join(f"{name} {value}" for name, value in told.items())
    return (
        "## Training\n\n" + "\n".join(lines) + "\n\n"
        f"Seed {facts.options.get('seed', 0)}; {environment}. "
        "Curves in `curves.png`, lines in `history.csv`; all options in "
        "`bundle.json` under `metrics`.\n"
    )


def _figures(facts: RunFacts) -> str:
    verdict = facts.verdict
    lines = ["| figure | this bundle | minus old | minus knowing nothing |"]
    lines.append("|---|---|---|---|")
    for name, figure in verdict.figures.items():
        cells = [name, _shown(figure), _shown(verdict.against_old.get(name))]
        cells.append(_shown(verdict.against_nothing.get(name)))
        lines.append("| " + " | ".join(cells) + " |")
    return (
        "## Validation\n\n" + "\n".join(lines) + "\n\n"
        "Mean over validation patients with its 95 % interval (bootstrap; Student's "
        "below 20 patients), the whole cascade without any help; the difference from "
        "knowing nothing is that of diseased patients. `dice`: Dice of all lesions of "
        "a patient; for a "
        "healthy one 1 when nothing is marked, a half at 0.1 ml. `classes`: 1 minus "
        "half the Brier score of the four probabilities; guessing gives 0.625.\n"
    )


def _shown(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _decisions(bundle: Bundle, facts: RunFacts) -> str:
    names = ("task", "shift", "cut-off", "margin", "temperature", "fitted on")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for task, part in bundle.classifiers.items():
        fitted = facts.decisions.get(task.value)
        patients = "the bundle before"
        if fitted is not None:
            patients = f"{fitted.patients} patients" if fitted.patients else "too few"
        lines.append(
            f"| {task.value} | {'-' if fitted is None else f'{fitted.shift:.2f}'} | "
            f"{part.cut_off:.3f} | {part.margin:.3f} | "
            f"{part.temperature:.2f} | {patients} |"
        )
    mask = bundle.segmentation
    return (
        "## Decisions\n\n" + "\n".join(lines) + "\n\n"
        f"A voxel is lesion from probability {mask.threshold:.2f}; components below "
        f"{mask.min_lesion_mm3:.0f} mm3 are dropped. Frozen: never fitted on the data "
        "being scored.\n"
    )


def _ethics(bundle: Bundle) -> str:
    stated = bundle.ethics or (
        "No statement was given."
        if bundle.has_met_patients
        else "Simulated patients; no person's data were used."
    )
    return (
        f"## Ethics and limits\n\n{stated}\n\n"
        f"Intended use: {bundle.intended_use} Other diseases than the four are not "
        "recognised as such. Performance may differ with age, sex, region, scanner "
        "and protocol.\n"
    )
