"""Read the truth table and results folders, and join them by case."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spinaldx.errors import TableError
from spinaldx.evaluation.patients import Cohort, Patient, StudyRow, TrueImage, some
from spinaldx.evaluation.scored import ANSWERS, DISEASES
from spinaldx.files import safe_name
from spinaldx.records import Task
from spinaldx.report.prediction_json import FAILED
from spinaldx.report.table import (
    PREDICTION_JSON,
    STUDIES_CSV,
    guard_cell,
    read_records,
)
from spinaldx.study import CaseRow, read_cases

_STAGE_COLUMNS = {
    Task.TUMOUR_VS_DEMYELINATION: "p_demyelination",
    Task.ASTROCYTOMA_VS_EPENDYMOMA: "p_ependymoma_given_tumour",
    Task.MS_VS_NMOSD: "p_nmosd_given_demyelination",
}
_JOINT_COLUMNS = {disease: f"p_{disease.value}" for disease in DISEASES}
_NEEDED = ("study", "status", "diagnosis")
_ONE_VALUE = (
    "diagnosis",
    "age",
    "sex",
    "site",
    "split",
    "difficult",
    "location",
)
_SEXES = {"F": "female", "M": "male"}


def read_patients(truth: Path) -> tuple[Patient, ...]:
    """Read the truth table; several rows of one case are one patient.

    Raises:
        TableError: If the table is faulty, or rows of one case disagree.
    """
    rows = read_cases(truth, required=("case",), check_files=False)
    by_case: dict[str, list[CaseRow]] = {}
    for row in rows:
        by_case.setdefault(row.case, []).append(row)
    faults = [
        f"the rows of case '{case}' disagree in column '{name}'"
        for case, of_case in by_case.items()
        for name in _ONE_VALUE
        if len({getattr(row, name) for row in of_case} - _EMPTY) > 1
    ]
    faults += [
        f"the rows of case '{case}' disagree in column '{name}'"
        for case, of_case in by_case.items()
        for name, answers in _answers(of_case).items()
        if len(answers) > 1
    ]
    if faults:
        message = f"{truth.name}: {some(faults, '; ')}."
        raise TableError(message, hint="Correct the table and run again.")
    return tuple(_patient(case, of_case) for case, of_case in by_case.items())


_EMPTY: set[object] = {None, ""}


def _answers(rows: Sequence[CaseRow]) -> dict[str, set[str]]:
    """Return the answers of each reader's column in the rows of a case."""
    answers: dict[str, set[str]] = {name: set() for name, _ in rows[0].raters}
    for row in rows:
        for name, answer in row.raters:
            answers[name] |= {answer} - {""}
    return answers


def _patient(case: str, rows: Sequence[CaseRow]) -> Patient:
    def first(name: str) -> Any:  # noqa: ANN401 - columns differ in type
        values = [getattr(row, name) for row in rows]
        return next((value for value in values if value not in _EMPTY), values[0])

    return Patient(
        case=case,
        diagnosis=first("diagnosis"),
        age=first("age"),
        sex=_SEXES.get(first("sex"), ""),
        site=first("site"),
        split=first("split"),
        location=first("location"),
        difficult=first("difficult"),
        raters=tuple(
            (name, next(iter(answers), "")) for name, answers in _answers(rows).items()
        ),
        images=tuple(TrueImage(_series_names(row), row.mask) for row in rows),
    )


def _series_names(row: CaseRow) -> tuple[str, ...]:
    names = [safe_name(row.series)] if row.series else []
    if row.t2w is not None:
        stem = row.t2w.name.removesuffix(".gz").removesuffix(".nii")
        names.append(safe_name(stem))
    return tuple(names)


def join_results(patients: Sequence[Patient], results: Path) -> Cohort:
    """Find each patient's result in a results folder.

    Args:
        patients: The truth table.
        results: A folder that `predict` wrote, or its `studies.csv`.

    Raises:
        TableError: If there are no results, they are faulty, or none belongs to a
            case of the truth table.
        OutputError: If a result cannot be read.
    """
    folder = results.parent if results.is_file() else results
    table = results if results.is_file() else results / STUDIES_CSV
    rows = {row.study: row for row in _read_rows(folder, table)}
    names = [_study_name(patient.case, rows) for patient in patients]
    found = set(names) & set(rows)
    if not found:
        message = f"{folder.name}: no study bears the name of a case in the table."
        hint = (
            "Studies are matched by name. For results under pseudonyms put those of "
            f"{folder.name}-key.csv, which lies beside them, into the column 'case'."
        )
        raise TableError(message, hint=hint)
    lacking = [
        patient.case
        for patient, name in zip(patients, names, strict=True)
        if name not in found
    ]
    extra = sorted(set(rows) - found)
    missing = [
        *_sentence(lacking, "in the truth table without a result, counted as failed"),
        *_sentence(extra, "with a result but not in the truth table, left out"),
    ]
    joined = tuple(
        _with_prediction(rows[name], folder / name) if name in found else None
        for name in names
    )
    return Cohort(folder.name, folder, tuple(patients), joined, tuple(missing))


def _study_name(case: str, rows: Mapping[str, StudyRow]) -> str:
    return case if case in rows else safe_name(case)


def _sentence(names: Sequence[str], what: str) -> list[str]:
    return [f"{len(names)} {what}: {some(names, ', ')}."] if names else []


def _read_rows(folder: Path, table: Path) -> list[StudyRow]:
    if table.is_file():
        records: Iterable[Mapping[str, Any]] = _read_csv(table)
    else:
        records = read_records(folder)
    numbered = list(enumerate(records, start=2))
    if not numbered:
        message = f"{folder}: no results of predict there."
        raise TableError(message, hint="Give the folder that predict wrote.")
    faults: list[str] = []
    rows = [_parse_row(record, number, faults) for number, record in numbered]
    names = [row.study for row in rows]
    if len(set(names)) < len(names):
        faults.append("the same study is there twice")
    if faults:
        message = f"{table.name}: {some(faults, '; ')}."
        raise TableError(message, hint="Make the table again with predict.")
    return rows


def _read_csv(table: Path) -> list[dict[str, Any]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{table.name}: cannot be read as a table."
        raise TableError(message) from error
    absent = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
    if absent:
        message = f"{table.name}: column '{absent[0]}' is missing."
        raise TableError(message, hint="Give the studies.csv that predict wrote.")
    return rows


def _parse_row(record: Mapping[str, Any], number: int, faults: list[str]) -> StudyRow:
    study = _unguarded(str(record["study"] or ""))
    weights = _unguarded(str(record.get("weights") or ""))
    training_data = str(record.get("weights_training_data") or "")
    if record["status"] == FAILED:
        return StudyRow(
            study, is_failed=True, weights=weights, training_data=training_data
        )

    def at(column: str, *, most: float = math.inf) -> float | None:
        value = _number(record.get(column), most)
        if value is not None and math.isnan(value):
            faults.append(f"row {number}, column '{column}': not a number in range")
        return value

    diagnosis = record["diagnosis"] or ""
    if diagnosis not in ANSWERS:
        faults.append(f"row {number}, column 'diagnosis': not an answer of predict")
    stages = {task: at(name, most=1) for task, name in _STAGE_COLUMNS.items()}
    joint = {disease: at(name, most=1) for disease, name in _JOINT_COLUMNS.items()}
    count = at("lesion_count")
    return StudyRow(
        study,
        is_failed=False,
        diagnosis=diagnosis,
        stages={task: value for task, value in stages.items() if value is not None},
        joint={name: value for name, value in joint.items() if value is not None},
        lesion_count=None if count is None or math.isnan(count) else int(count),
        volume_ml=at("lesion_volume_ml"),
        length_mm=at("lesion_length_mm"),
        weights=weights,
        training_data=training_data,
    )


def _number(value: object, most: float) -> float | None:
    """Return a number of 0 or more, None for an empty cell, NaN for a fault."""
    if value is None or value == "":
        return None
    try:
        number = float(str(value))
    except ValueError:
        return math.nan
    return number if 0 <= number <= most and math.isfinite(number) else math.nan


def _unguarded(text: str) -> str:
    """Take off the mark that keeps spreadsheets from running a cell."""
    return text[1:] if text[:1] == "'" and guard_cell(text[1:]) == text else text


def _with_prediction(row: StudyRow, folder: Path) -> StudyRow:
    """Add what only `prediction.json` says; without it the row stays as it is."""
    path = folder / PREDICTION_JSON
    if row.is_failed or not path.is_file():
        return row
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        cut_offs = {
            Task(item["task"]): float(item["cut_off"]) for item in record["stages"]
        }
        written = {str(i["name"]): str(i["mask_sha256"]) for i in record["series"]}
        corrected = any(i["mask_origin"] == "corrected" for i in record["series"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{folder.name}/{PREDICTION_JSON}: cannot be read."
        raise TableError(
            message, hint="Run the study again with --overwrite."
        ) from error
    return replace(row, cut_offs=cut_offs, mask_sha256=written, is_corrected=corrected)
