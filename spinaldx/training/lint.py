"""Everything that is wrong with a table, before any time is spent on training."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spinaldx.errors import OutputError, SpinalDxError, TableError
from spinaldx.records import Disease
from spinaldx.study import CaseRow
from spinaldx.study.cases import check_cases
from spinaldx.training.cache import SeriesFacts
from spinaldx.training.cases import Patient, group_patients
from spinaldx.training.options import Stage

REQUIRED = ("case", "t2w", "diagnosis")

# Patients of a disease that its classifiers need, and diseased ones in all.
_FEWEST_OF_A_DISEASE = 4
_FEWEST_DISEASED = 4

Inspect = Callable[[CaseRow], SeriesFacts]
Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Lint:
    """What the lint found.

    Attributes:
        patients: The patients of the table.
        faults: One sentence each, with row and column, in the order of the table.
    """

    patients: tuple[Patient, ...]
    faults: tuple[str, ...]

    def raise_faults(self, table: Path, *, listed: bool = False) -> None:
        """Refuse a table with faults.

        Args:
            table: The table, for its name.
            listed: Whether somebody printed them already; then they are counted only.

        Raises:
            TableError: Lists them all.
        """
        if self.faults:
            count = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
            what = ", listed above" if listed else f": {'; '.join(self.faults)}"
            message = f"{table.name}: {count}{what}."
            raise TableError(message, hint="Correct the table; --check tests it alone.")


def lint_table(
    table: Path, stage: Stage, inspect: Inspect, advance: Advance | None = None
) -> Lint:
    """Check a table and every file it names, and list all faults at once.

    Args:
        table: `cases.csv`.
        stage: What is to be trained: classifiers need patients of each disease.
        inspect: Reads a row's files; what it raises is a fault of the row.
        advance: Told how many of how many rows are read.

    Raises:
        TableError: If it is no table at all.
    """
    rows, first_faults = check_cases(table, required=REQUIRED)
    found = _Faults()
    facts: dict[int, SeriesFacts] = {}
    for done, row in enumerate(rows, start=1):
        if _are_there(row) and (fact := found.inspected(row, inspect)) is not None:
            facts[row.number] = fact
        if advance is not None:
            advance(done, len(rows))
    patients = group_patients(rows)
    _check_images(rows, facts, found)
    for patient in patients:
        _check_masks(patient, facts, found)
        _check_agreement(patient, found)
    _check_splits(rows, found)
    numbered = [*found.by_row, *((_row_of(text), text) for text in first_faults)]
    numbered += [(0, text) for text in _check_counts(patients, stage)]
    ordered = sorted(numbered, key=lambda item: item[0] or 10**9)
    return Lint(patients, tuple(text for _, text in ordered))


class _Faults:
    """Collects faults with their rows."""

    def __init__(self) -> None:
        self.by_row: list[tuple[int, str]] = []

    def add(self, row: CaseRow, column: str, problem: str) -> None:
        text = f"row {row.number}, column '{column}': {problem}"
        self.by_row.append((row.number, text))

    def inspected(self, row: CaseRow, inspect: Inspect) -> SeriesFacts | None:
        try:
            return inspect(row)
        except OutputError:
            # A full disk is no fault of the table.
            raise
        except SpinalDxError as error:
            self.add(row, _guilty_column(row, error), error.message.rstrip("."))
        return None


def _guilty_column(row: CaseRow, error: SpinalDxError) -> str:
    """Name the column whose file an error speaks of; errors begin with its name."""
    for column, path in (("mask", row.mask), ("cord", row.cord)):
        if path is not None and error.message.startswith(path.name):
            return column
    return "t2w"


def _row_of(text: str) -> int:
    number = text.removeprefix("row ").partition(",")[0]
    return int(number) if number.isdigit() else 0


def _are_there(row: CaseRow) -> bool:
    paths = (row.t2w, row.mask, row.cord)
    return row.t2w is not None and all(path is None or path.exists() for path in paths)


def _check_images(
    rows: Sequence[CaseRow], facts: Mapping[int, SeriesFacts], found: _Faults
) -> None:
    first: dict[str, CaseRow] = {}
    for row in rows:
        if row.number not in facts:
            continue
        fact = facts[row.number]
        if fact.has_non_finite:
            found.add(row, "t2w", "some voxels are not numbers")
        twin = first.setdefault(fact.voxels_sha256, row)
        if twin is not row:
            found.add(row, "t2w", f"the same image as row {twin.number}")


def _check_masks(
    patient: Patient, facts: Mapping[int, SeriesFacts], found: _Faults
) -> None:
    rows = patient.rows
    if patient.is_healthy:
        for row in rows:
            if row.number in facts and facts[row.number].lesion_voxels:
                found.add(row, "mask", "a lesion in a healthy case")
        return
    for row in rows:
        if row.mask is None:
            found.add(row, "mask", "empty, and only healthy cases need none")
    seen = [facts[row.number] for row in rows if row.number in facts]
    is_known = len(seen) == len(rows) and all(row.mask for row in rows)
    if is_known and not any(fact.lesion_voxels for fact in seen):
        found.add(rows[0], "mask", "no lesion in any mask of a diseased case")


def _check_agreement(patient: Patient, found: _Faults) -> None:
    first = patient.rows[0]
    for row in patient.rows[1:]:
        for column in ("diagnosis", "split", "sex", "age"):
            if getattr(row, column) != getattr(first, column):
                found.add(row, column, f"not as in row {first.number} of this case")


def _check_splits(rows: Sequence[CaseRow], found: _Faults) -> None:
    if not any(row.split for row in rows):
        return
    for row in rows:
        if not row.split:
            found.add(row, "split", "empty, but other rows have one")


def _check_counts(patients: Sequence[Patient], stage: Stage) -> list[str]:
    used = [patient for patient in patients if patient.split != "test"]
    counts: dict[str, int] = defaultdict(int)
    for patient in used:
        counts[patient.diagnosis] += 1
    faults = []
    diseased = sum(counts[disease] for disease in Disease)
    if diseased < _FEWEST_DISEASED:
        faults.append(
            f"column 'diagnosis': {diseased} patients with a lesion, "
            f"at least {_FEWEST_DISEASED} are needed"
        )
    if stage is not Stage.SEGMENTATION:
        faults += [
            f"column 'diagnosis': {counts[disease]} patients with {disease.value}, "
            f"at least {_FEWEST_OF_A_DISEASE} are needed"
            for disease in Disease
            if counts[disease] < _FEWEST_OF_A_DISEASE
        ]
    return faults + _check_given_splits(used)


def _check_given_splits(patients: Sequence[Patient]) -> list[str]:
    """Every diagnosis that is validated must be learned, and a disease validated."""
    if not any(patient.split for patient in patients):
        return _check_drawn_splits(patients)
    by_split: dict[str, set[str]] = defaultdict(set)
    for patient in patients:
        by_split[patient.split].add(patient.diagnosis)
    faults = [
        f"column 'split': no patient in {split}"
        for split in ("train", "validation")
        if not by_split[split]
    ]
    if by_split["validation"] and not by_split["validation"] - {"", "healthy"}:
        faults.append("column 'split': no patient with a lesion in validation")
    unlearned = sorted(by_split["validation"] - by_split["train"])
    faults += [f"column 'split': no {name} in train" for name in unlearned if name]
    return faults


def _check_drawn_splits(patients: Sequence[Patient]) -> list[str]:
    """Of a diagnosis with one patient nobody is held out."""
    diagnoses = [one.diagnosis for one in patients if not one.is_healthy]
    is_told_already = len(diagnoses) < _FEWEST_DISEASED
    if is_told_already or len(set(diagnoses)) < len(diagnoses):
        return []
    return ["column 'diagnosis': no disease has two patients, so none can be held out"]
