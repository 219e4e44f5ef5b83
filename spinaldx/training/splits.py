"""Which patients are learned from, validated on and calibrated with."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from spinaldx.files import write_bytes
from spinaldx.training.cases import Patient

# Share of each diagnosis that is kept from training when the table has no splits.
_HELD_OUT = 0.2

# Held-out patients of a diagnosis from which on half of them calibrate.
_SHARED_FROM = 8


class Split(StrEnum):
    """What a patient is used for."""

    TRAIN = "train"
    VALIDATION = "validation"
    CALIBRATION = "calibration"
    TEST = "test"


def split_patients(
    patients: Sequence[Patient], seed: int, learned: Collection[str] = ()
) -> Mapping[str, Split]:
    """Assign every patient, never a slice, to a split.

    The table's splits are kept when there are any; test patients are never used.
    Else a fifth of each diagnosis is held out, of patients that the networks have not
    learned from before; when they know all of a diagnosis, of all of it. Of the
    held-out patients, given or drawn, half calibrate when every diagnosis has at least
    eight; with fewer they validate and calibrate.

    Args:
        patients: All of the table.
        seed: Of the draw.
        learned: Names of patients that the networks to start from learned from.

    Returns:
        Split by patient; without calibration patients when they are too few.
    """
    given = any(patient.split for patient in patients)
    splits: dict[str, Split] = {}
    if given:
        splits = {one.name: Split(one.split or Split.TRAIN) for one in patients}
    else:
        for group in _by_diagnosis(patients, seed):
            wanted = max(round(len(group) * _HELD_OUT), 1) if len(group) > 1 else 0
            unknown = [one for one in group if one.name not in learned]
            held_out = _names((unknown or group)[:wanted])
            splits |= dict.fromkeys(_names(group), Split.TRAIN)
            splits |= dict.fromkeys(held_out, Split.VALIDATION)
    return splits | _calibration(patients, splits, seed)


def write_splits(path: Path, splits: Mapping[str, Split]) -> None:
    """Write who is held out, as the column `split` of a table has it.

    Args:
        path: CSV of the columns case and split, for the owner's eyes.
        splits: Of every patient; those that calibrate are validation patients.

    Raises:
        OutputError: If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "split"))
    for case, split in splits.items():
        is_calibration = split is Split.CALIBRATION
        writer.writerow((case, (Split.VALIDATION if is_calibration else split).value))
    write_bytes(path, text.getvalue().encode(), private=True)


def _calibration(
    patients: Sequence[Patient], splits: Mapping[str, Split], seed: int
) -> dict[str, Split]:
    held_out = [one for one in patients if splits[one.name] is Split.VALIDATION]
    groups = _by_diagnosis(held_out, seed + 1)
    if not groups or min(len(group) for group in groups) < _SHARED_FROM:
        return {}
    chosen = [name for group in groups for name in _names(group[: len(group) // 2])]
    return dict.fromkeys(chosen, Split.CALIBRATION)


def nested_fraction(
    patients: Sequence[Patient], fraction: float, seed: int
) -> tuple[Patient, ...]:
    """Keep a share of each diagnosis; a smaller share is part of a larger one."""
    kept = set()
    for group in _by_diagnosis(patients, seed + 2):
        kept |= set(_names(group[: max(round(len(group) * fraction), 1)]))
    return tuple(patient for patient in patients if patient.name in kept)


def _by_diagnosis(patients: Sequence[Patient], seed: int) -> list[list[Patient]]:
    """Group patients and shuffle each group, whatever the order of the table."""
    groups: dict[str, list[Patient]] = {}
    for patient in sorted(patients, key=lambda one: one.name):
        groups.setdefault(patient.diagnosis, []).append(patient)
    shuffled = []
    for place, diagnosis in enumerate(sorted(groups)):
        order = np.random.default_rng((seed, place)).permutation(len(groups[diagnosis]))
        shuffled.append([groups[diagnosis][index] for index in order])
    return shuffled


def _names(patients: Sequence[Patient]) -> list[str]:
    return [patient.name for patient in patients]
