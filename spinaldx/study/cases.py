"""The table `cases.csv`: what `simulate` writes and the other commands read."""

import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from spinaldx.errors import TableError
from spinaldx.files import safe_name
from spinaldx.records import Disease
from spinaldx.study.series import CaseRow

HEALTHY = "healthy"

_COLUMNS = {
    "case",
    "t2w",
    "mask",
    "diagnosis",
    "series",
    "cord",
    "ct1w",
    "age",
    "sex",
    "site",
    "location",
    "split",
    "difficult",
}
_DIAGNOSES = {"", HEALTHY, *(disease.value for disease in Disease)}
_SEXES = {"", "F", "M"}
_SPLITS = {
    "": "",
    "train": "train",
    "training": "train",
    "test": "test",
} | dict.fromkeys(("validation", "val", "valid"), "validation")
_TRUTHS = {"": None} | dict.fromkeys(("1", "true", "yes", "y"), True)
_TRUTHS |= dict.fromkeys(("0", "false", "no", "n"), False)
_LARGEST_TABLE_BYTES = 64 << 20
_FAULTS_SHOWN = 20


def read_cases(
    path: Path,
    *,
    required: tuple[str, ...] = ("case", "t2w"),
    check_files: bool = True,
) -> tuple[CaseRow, ...]:
    """Read a table of cases.

    UTF-8 with a header; commas, semicolons or tabs. Paths are relative to the
    table. Several rows with one `case` and different `series`, or without one and
    with different `t2w`, are several stations of one patient. `healthy` as diagnosis
    means: no lesion.

    Args:
        path: The table.
        required: Columns that must be there and filled in every row.
        check_files: Whether every file named must exist.

    Returns:
        The rows in the order of the table; never empty.

    Raises:
        TableError: Lists every fault with its row and column.
    """
    rows, faults = check_cases(path, required=required, check_files=check_files)
    if faults:
        raise faults_error(path, faults)
    return rows


def check_cases(
    path: Path,
    *,
    required: tuple[str, ...] = ("case", "t2w"),
    check_files: bool = True,
) -> tuple[tuple[CaseRow, ...], tuple[str, ...]]:
    """Read a table of cases and list its faults instead of raising them.

    Args:
        path: As for `read_cases`.
        required: As for `read_cases`.
        check_files: As for `read_cases`.

    Returns:
        The rows, with empty cells where a cell cannot be understood, and one
        sentence a fault with row and column; no rows when the header is wrong.

    Raises:
        TableError: If it is no table at all.
    """
    header, lines = _read(path)
    faults = _header_faults(header, required)
    rows: list[CaseRow] = []
    if not faults:
        records = [(number, _record(header, line)) for number, line in lines]
        for number, record in records:
            row, problems = _parse(record, path.parent, check_files=check_files)
            problems += [
                f"column '{column}': empty"
                for column in required
                if not record[column].strip()
            ]
            problems += _surplus(record)
            faults += [f"row {number}, {problem}" for problem in problems]
            rows.append(dataclasses.replace(row, number=number))
        faults += _repeats(rows, [number for number, _ in records])
        if not rows:
            faults.append("the table has no rows")
    return tuple(rows), tuple(faults)


def faults_error(path: Path, faults: Sequence[str]) -> TableError:
    """Join the faults of a table into one error; the first 20 are named."""
    shown = "; ".join(faults[:_FAULTS_SHOWN])
    more = len(faults) - _FAULTS_SHOWN
    message = f"{path.name}: {shown}{f'; and {more} more' if more > 0 else ''}."
    return TableError(message, hint="Correct the table and run again.")


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns, and the lines that are not empty."""
    try:
        if path.stat().st_size > _LARGEST_TABLE_BYTES:
            message = f"{path.name}: too large for a table of cases."
            raise TableError(message)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        message = f"{path.name}: cannot be read: {error.strerror or 'no reason'}."
        raise TableError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path.name}: not UTF-8 text."
        raise TableError(message, hint="Save the table as UTF-8.") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        message = f"{path.name}: not a table: {error}."
        hint = "Expected a CSV file whose first line names the columns."
        raise TableError(message, hint=hint) from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    filled = [
        (number, line)
        for number, line in enumerate(lines[1:], start=2)
        if any(cell.strip() for cell in line)
    ]
    return header, filled


def _record(header: Sequence[str], line: Sequence[str]) -> dict[str, str]:
    """Return the cells by column; those of no column together under no name."""
    record = dict.fromkeys(header, "")
    record |= dict(zip(header, line, strict=False))
    nameless = [cell for name, cell in zip(header, line, strict=False) if not name]
    record[""] = "".join([*nameless, *line[len(header) :]])
    return record


def _surplus(record: Mapping[str, str]) -> list[str]:
    if not record[""].strip():
        return []
    return ["a cell without a column; cells that hold the separator need quotes"]


def _header_faults(header: list[str], required: tuple[str, ...]) -> list[str]:
    faults = [
        f"column '{column}' is missing" for column in required if column not in header
    ]
    faults += [
        f"column '{column}' is there {count} times"
        for column, count in Counter(header).items()
        if column and count > 1
    ]
    known = [name for name in header if not name or name in _COLUMNS or _is_rater(name)]
    unknown = [name for name in header if name not in known]
    faults += [f"column '{name[:40]}' is unknown" for name in unknown]
    return faults


def _is_rater(column: str) -> bool:
    return column.startswith("rater") and column[5:].isdecimal()


def _parse(
    record: dict[str, str], folder: Path, *, check_files: bool
) -> tuple[CaseRow, list[str]]:
    cells = {column: (cell or "").strip() for column, cell in record.items()}
    problems: list[str] = []

    def path_of(column: str) -> Path | None:
        text = cells.get(column, "")
        if not text:
            return None
        found = folder / text
        if check_files and ("\0" in text or not found.exists()):
            problems.append(f"column '{column}': file not found")
        return found

    def one_of(column: str, allowed: set[str]) -> str:
        text = cells.get(column, "").casefold()
        for value in allowed:
            if text == value.casefold():
                return value
        named = ", ".join(sorted(allowed - {""}))
        problems.append(f"column '{column}': not one of {named}")
        return ""

    age, age_problem = _age(cells.get("age", ""))
    split = _split(cells.get("split", ""), problems)
    difficult = cells.get("difficult", "").lower()
    if difficult not in _TRUTHS:
        problems.append("column 'difficult': not yes or no")
    raters = tuple(
        (column, one_of(column, _DIAGNOSES)) for column in cells if _is_rater(column)
    )
    row = CaseRow(
        case=cells.get("case", ""),
        t2w=path_of("t2w"),
        mask=path_of("mask"),
        diagnosis=one_of("diagnosis", _DIAGNOSES),
        series=cells.get("series", ""),
        cord=path_of("cord"),
        ct1w=path_of("ct1w"),
        age=age,
        sex=one_of("sex", _SEXES),
        site=cells.get("site", ""),
        location=cells.get("location", ""),
        split=split,
        difficult=_TRUTHS.get(difficult),
        raters=raters,
    )
    return row, problems + age_problem


def _split(text: str, problems: list[str]) -> str:
    """Return the split's standard name, noting a problem when there is none."""
    if text.lower() not in _SPLITS:
        problems.append("column 'split': not one of test, train, validation")
    return _SPLITS.get(text.lower(), "")


def _age(text: str) -> tuple[float | None, list[str]]:
    if not text:
        return None, []
    try:
        # Spreadsheets of many countries write 32,5.
        age = float(text.replace(",", ".", 1))
    except ValueError:
        age = -1.0
    if not 0 <= age <= 130:
        return None, ["column 'age': not a number of years"]
    return age, []


def _repeats(rows: list[CaseRow], numbers: list[int]) -> list[str]:
    seen: dict[tuple[str, str | Path | None], int] = {}
    named: dict[str, str] = {}
    faults = []
    for row, number in zip(rows, numbers, strict=True):
        # Without names of series, stations of one patient are different files.
        key = (row.case, row.series or row.t2w)
        if row.case and key in seen:
            text = f"row {number}, column 'case': the same case and series as row"
            faults.append(f"{text} {seen[key]}")
        seen.setdefault(key, number)
        name = safe_name(row.case).casefold()
        if named.setdefault(name, row.case) != row.case:
            text = "column 'case': gives the same folder name as another case"
            faults.append(f"row {number}, {text}")
    return faults
