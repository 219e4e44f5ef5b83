"""`studies.csv`: one row a study, derived from the per-study JSON."""

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spinaldx.errors import OutputError
from spinaldx.files import write_bytes
from spinaldx.locks import lock, lock_file
from spinaldx.report.prediction_json import COLUMNS, FAILED

STUDIES_CSV = "studies.csv"
PREDICTION_JSON = "prediction.json"
FAILURE_JSON = "failure.json"
_LOCK = ".studies.lock"

# Spreadsheets run cells that begin so as formulas.
_FORMULA_STARTS = ("=", "+", "-", "@")


def update_studies_csv(out: Path) -> None:
    """Write `studies.csv` anew from every complete or failed study of a folder.

    Several processes may finish together: each takes a lock, then reads all
    studies there are, so the last one to write has seen everything. A study whose
    result cannot be read has a row that says so: it must not stop the others.

    Raises:
        OutputError: If the folder cannot be written.
    """
    with studies_lock(out):
        rows = [_cells(_record_or_reason(folder)) for folder in study_folders(out)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
        write_bytes(out / STUDIES_CSV, text.getvalue().encode())


def read_records(out: Path) -> tuple[dict[str, Any], ...]:
    """Read every `prediction.json` and `failure.json` of a folder.

    Returns:
        JSON values in the order of the studies' names; empty for an empty folder.

    Raises:
        OutputError: If one of them cannot be read.
    """
    return tuple(read_record(folder) for folder in study_folders(out))


def study_folders(out: Path) -> tuple[Path, ...]:
    """Return the folders of complete and failed studies, by name."""
    if not out.is_dir():
        return ()
    return tuple(sorted(folder for folder in out.iterdir() if _is_study(folder)))


def _is_study(folder: Path) -> bool:
    # A hidden folder is a study that is just being written.
    return not folder.name.startswith(".") and any(
        (folder / name).is_file() for name in (PREDICTION_JSON, FAILURE_JSON)
    )


def read_record(folder: Path) -> dict[str, Any]:
    """Read the JSON value of one study, complete or failed.

    Raises:
        OutputError: If the file is missing, unreadable or not an object.
    """
    complete = folder / PREDICTION_JSON
    path = complete if complete.is_file() else folder / FAILURE_JSON
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"Cannot read {folder.name}/{path.name}."
        hint = "Run the study again with --overwrite."
        raise OutputError(message, hint=hint) from error
    if not isinstance(record, dict):
        message = f"{folder.name}/{path.name} is not a result."
        raise OutputError(message, hint="Run the study again with --overwrite.")
    return record


def _record_or_reason(folder: Path) -> Mapping[str, Any]:
    try:
        return read_record(folder)
    except OutputError as error:
        message = f"{error.message} {error.hint}"
        return {"study": folder.name, "status": FAILED, "message": message}


def guard_cell(text: str) -> str:
    """Return text on one line that no spreadsheet takes for a formula."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return f"'{plain}" if plain.lstrip().startswith(_FORMULA_STARTS) else plain


def _cells(record: Mapping[str, Any]) -> list[str]:
    return [_cell(record.get(column)) for column in COLUMNS]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return guard_cell(value) if isinstance(value, str) else repr(value)


@contextlib.contextmanager
def studies_lock(out: Path) -> Iterator[None]:
    """Hold the lock of a folder's files that all processes share.

    Raises:
        OutputError: If the folder cannot be written.
    """
    with lock_file(out / _LOCK) as handle:
        # Some network file systems have no locks; a table that one of two shards
        # finishing in the same instant made is better than none.
        with contextlib.suppress(OSError):
            lock(handle)
        yield
