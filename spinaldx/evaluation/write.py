"""The evaluation as files: JSON, CSV, Markdown, figures and the page."""

import csv
import io
import json
import re
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from spinaldx.evaluation.estimates import Estimate
from spinaldx.evaluation.evaluation import Evaluation
from spinaldx.evaluation.page import build_page
from spinaldx.evaluation.tables import Cell, Table, cell_text, csv_rows, reasons
from spinaldx.files import write_bytes, write_json
from spinaldx.records import RESEARCH_USE

SCHEMA_VERSION = 1


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write every output below a folder; `evaluation.json` last.

    The same evaluation gives the same bytes.

    Raises:
        OutputError: If a file cannot be written.
    """
    for table in evaluation.tables:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows(csv_rows(table))
        write_bytes(out / "tables" / f"{table.key}.csv", stream.getvalue().encode())
    write_bytes(out / "tables" / "README.txt", _contents(evaluation).encode())
    for name, formats in evaluation.figures.items():
        for kind, content in formats.items():
            write_bytes(out / "figures" / f"{name}.{kind}", content)
    write_bytes(out / "evaluation.md", markdown(evaluation).encode())
    page = build_page(evaluation)
    write_bytes(out / "evaluation.html", page.encode())
    write_json(out / "evaluation.json", as_json(evaluation))


def _contents(evaluation: Evaluation) -> str:
    """Say what the CSV files are: they have no place for it themselves."""
    listed = [f"{table.key}.csv  {table.title}" for table in evaluation.tables]
    return "\n".join([evaluation.statement, "", *listed, ""])


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the value of `evaluation.json`; see `evaluation.schema.json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_USE,
        "statement": evaluation.statement,
        "provenance": dict(evaluation.provenance),
        "headline": [
            {"name": name, "text": text} for name, text in evaluation.headline
        ],
        "warnings": list(evaluation.warnings),
        "missing": list(evaluation.missing),
        "tables": [_table_json(table) for table in evaluation.tables],
    }


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `evaluation.json` that ships in the package."""
    text = package_files("spinaldx.evaluation").joinpath("evaluation.schema.json")
    schema: dict[str, Any] = json.loads(text.read_text(encoding="utf-8"))
    return schema


def _table_json(table: Table) -> dict[str, Any]:
    keys = [column.key for column in table.columns]
    return {
        "key": table.key,
        "title": table.title,
        "columns": [
            {"key": column.key, "title": column.title, "kind": column.kind.value}
            for column in table.columns
        ],
        "rows": [
            dict(zip(keys, (_cell_json(cell) for cell in row), strict=True))
            for row in table.rows
        ],
        "notes": list(table.notes),
    }


def _cell_json(cell: Cell) -> object:
    if not isinstance(cell, Estimate):
        return cell
    names = ("value", "low", "high", "count", "total", "reason")
    return {name: getattr(cell, name) for name in names}


def markdown(evaluation: Evaluation) -> str:
    """Write all tables as one Markdown text."""
    parts = [
        f"# Evaluation of {_plain(', '.join(evaluation.folders))}",
        f"**{_plain(evaluation.statement)}**",
        "\n".join(
            f"- {_plain(name)}: {_plain(text)}" for name, text in evaluation.headline
        ),
    ]
    for title, sentences in (
        ("Read this first", evaluation.warnings),
        ("Missing", evaluation.missing),
    ):
        if sentences:
            listed = "\n".join(f"- {_plain(sentence)}" for sentence in sentences)
            parts.append(f"## {title}\n\n{listed}")
    parts += [_table_markdown(table) for table in evaluation.tables]
    return "\n\n".join(parts) + "\n"


def _table_markdown(table: Table) -> str:
    lines = [
        _line([column.title for column in table.columns]),
        _line(["---"] * len(table.columns), escape=False),
    ]
    lines += [
        _line(
            [
                cell_text(cell, column)
                for cell, column in zip(row, table.columns, strict=True)
            ]
        )
        for row in table.rows
    ]
    notes = [*table.notes, *(f"n/a: {reason}." for reason in reasons(table))]
    listed = "\n".join(f"- {_plain(note)}" for note in notes)
    text = f"## {_plain(table.title)}\n\n" + "\n".join(lines)
    return f"{text}\n\n{listed}" if notes else text


def _line(cells: list[str], *, escape: bool = True) -> str:
    shown = [_plain(cell) for cell in cells] if escape else cells
    return f"| {' | '.join(shown)} |"


def _plain(text: str) -> str:
    """Escape what Markdown or HTML inside it would take for a command."""
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
