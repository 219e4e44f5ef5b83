"""Readers in the same tables as the program, and compared with it in pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spinaldx.evaluation.classification import (
    MODE_TITLES,
    RATE_COLUMNS,
    TASK_TITLES,
    rate_cells,
    task_modes,
)
from spinaldx.evaluation.estimates import BoolArray
from spinaldx.evaluation.patients import HEALTHY_NAME, Patient
from spinaldx.evaluation.proportions import holm, mcnemar_p, proportion
from spinaldx.evaluation.scored import (
    ANSWER_NAMES,
    FAILED,
    NO_LESION,
    TASKS,
    Mode,
    Scored,
    answers_as_scored,
    ask,
)
from spinaldx.evaluation.tables import Cell, Column, Kind, Table, p_cell, text_columns
from spinaldx.records import Task

# A reader who calls a patient healthy sees no lesion.
_CODES = {name: place for place, name in enumerate(ANSWER_NAMES)}
_CODES |= {HEALTHY_NAME: NO_LESION, "": FAILED}


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """One reader of the truth table.

    Attributes:
        name: Column of the table, such as ``rater1``.
        answers: The reader's answers to all patients, as arrays.
        has_read: Whether the reader answered for each patient, (N,).
    """

    name: str
    answers: Scored
    has_read: BoolArray


def find_readers(patients: Sequence[Patient], scored: Scored) -> tuple[Reader, ...]:
    """Readers who answered for at least one labelled patient, in the table's order."""
    columns = dict.fromkeys(name for item in patients for name, _ in item.raters)
    readers = []
    for name in columns:
        answers = [dict(patient.raters).get(name, "") for patient in patients]
        has_read = np.array([bool(answer) for answer in answers])
        codes = np.array([_CODES[answer] for answer in answers], dtype=np.int8)
        if (has_read & scored.is_labelled).any():
            as_scored = answers_as_scored(scored.cases, scored.truth, codes)
            readers.append(Reader(name, as_scored, has_read))
    return tuple(readers)


def reader_table(scored: Scored, readers: Sequence[Reader]) -> Table:
    """Rates of each reader, and of the program on the same patients."""
    rows: list[tuple[Cell, ...]] = []
    for reader in readers:
        read = reader.answers.take(reader.has_read)
        for task in TASKS:
            cells = rate_cells(ask(read, task, Mode.END_TO_END), with_auc=False)
            rows.append((reader.name, TASK_TITLES[task], "answers given", *cells))
    for names, has_read in _same_patients(readers):
        same = scored.take(has_read)
        for task in TASKS:
            for mode in task_modes(task):
                cells = rate_cells(ask(same, task, mode))
                who = f"program, patients of {names}"
                rows.append((who, TASK_TITLES[task], MODE_TITLES[mode], *cells))
    columns = text_columns(("reader", "Who"), ("model", "Task"), ("mode", "Scored on"))
    notes = (
        "Readers choose among all diseases; an answer outside the true pair is wrong, "
        "as end to end. Read 'end to end' beside a reader: 'network alone' is told "
        "whether it is a tumour.",
    )
    title = "Readers beside the program"
    return Table("readers", title, (*columns, *RATE_COLUMNS), tuple(rows), notes)


def _same_patients(readers: Sequence[Reader]) -> list[tuple[str, BoolArray]]:
    """Join readers who read the very same patients."""
    joined: dict[bytes, tuple[str, BoolArray]] = {}
    for reader in readers:
        key = reader.has_read.tobytes()
        names = f"{joined[key][0]}, {reader.name}" if key in joined else reader.name
        joined[key] = names, reader.has_read
    return list(joined.values())


def reader_comparison_table(scored: Scored, readers: Sequence[Reader]) -> Table:
    """Program against each reader in pairs: exact McNemar, Holm over three tasks."""
    rows: list[tuple[Cell, ...]] = []
    for reader in readers:
        for mode in Mode:
            pairs = [_pair(scored, reader, task, mode) for task in TASKS]
            raw = [pair.p for pair in pairs]
            for pair, p, corrected in zip(pairs, raw, holm(raw), strict=True):
                rows.append(
                    (
                        reader.name,
                        TASK_TITLES[pair.task],
                        MODE_TITLES[mode],
                        *pair.cells(),
                        p_cell(p, "no patient of this task was read"),
                        p_cell(corrected, "no patient of this task was read"),
                    )
                )
    columns = (
        Column("reader", "Reader"),
        Column("model", "Task"),
        Column("mode", "Program scored on"),
        Column("program_accuracy", "Program", Kind.PERCENT),
        Column("reader_accuracy", "Reader", Kind.PERCENT),
        Column("only_program", "Only program right", Kind.COUNT),
        Column("only_reader", "Only reader right", Kind.COUNT),
        Column("p", "McNemar p", Kind.P_VALUE),
        Column("p_holm", "p, Holm", Kind.P_VALUE),
    )
    title = "Program against readers, paired"
    notes = ("Exact McNemar test; Holm's correction over the three tasks of a reader.",)
    return Table("readers_comparison", title, columns, tuple(rows), notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    task: Task
    program: BoolArray
    reader: BoolArray

    @property
    def only_program(self) -> int:
        return int((self.program & ~self.reader).sum())

    @property
    def only_reader(self) -> int:
        return int((self.reader & ~self.program).sum())

    @property
    def p(self) -> float | None:
        if len(self.program) == 0:
            return None
        return mcnemar_p(self.only_program, self.only_reader)

    def cells(self) -> tuple[Cell, ...]:
        count = len(self.program)
        return (
            proportion(int(self.program.sum()), count, "patient"),
            proportion(int(self.reader.sum()), count, "patient"),
            self.only_program,
            self.only_reader,
        )


def _pair(scored: Scored, reader: Reader, task: Task, mode: Mode) -> _Pair:
    program = ask(scored.take(reader.has_read), task, mode)
    given = ask(reader.answers.take(reader.has_read), task, Mode.END_TO_END)
    return _Pair(task, program.correct, given.correct)
