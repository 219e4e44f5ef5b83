"""The evaluation as one HTML page that needs nothing but itself."""

import base64
import html
from collections.abc import Mapping, Sequence

from spinaldx.evaluation.evaluation import Evaluation
from spinaldx.evaluation.tables import Kind, Table, cell_text, reasons

# Nothing may be loaded or run: pictures are inside the page, there is no script.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 100rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.6rem; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
.notice { background: #fff4d6; border-left: 5px solid #b26a00; padding: .6rem .9rem; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.card { border: 1px solid #ccc; border-radius: 6px; padding: .5rem .9rem; }
.card b { display: block; font-size: 1.25rem; }
.card span { color: #444; font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left;
  vertical-align: top; }
th { background: #f3f5f7; }
td:not(.number) { min-width: 8.5rem; }
tr:hover td { background: #f7f9fb; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.number small { color: #555; }
.notes { color: #444; font-size: .85rem; max-width: 60rem; padding-left: 1.1rem; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
nav { column-width: 20rem; font-size: .9rem; } nav a { color: #00538a; }
@media print { nav { display: none; } .scroll { overflow: visible; } }
"""

_FIGURES_AFTER = {
    "classification": ("roc",),
    "matrix": ("matrix",),
    "segmentation": ("dice",),
    "calibration": ("reliability",),
    "decision_curve": ("decision_curve",),
}
_FIGURE_TEXTS = {
    "roc": "ROC curves of the three models",
    "matrix": "Truth against final answer",
    "dice": "Distribution of Dice by disease",
    "reliability": "Reliability curves with Wilson intervals",
    "decision_curve": "Decision curves",
}

# Long tables are for the CSV files: the page folds the points of curves and the list
# of patients away, and shows their first rows.
_FOLDED = {"reliability", "decision_curve", "segmentation_patients"}
_MOST_ROWS = 200


def build_page(evaluation: Evaluation) -> str:
    """Join tables, figures and notes to one HTML text.

    Every text from outside is escaped, and nothing is loaded.
    """
    figures = evaluation.figures
    tables = "".join(_section(table, figures) for table in evaluation.tables)
    title = f"Evaluation of {', '.join(evaluation.folders)}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escaped(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<h1>{_escaped(title)}</h1>
<p class="notice"><strong>{_escaped(evaluation.statement)}</strong></p>
{_cards(evaluation)}
<nav aria-label="Tables">{_contents(evaluation.tables)}</nav>
{_list("Read this first", evaluation.warnings)}
{_list("Missing", evaluation.missing)}
{tables}
<p>spinaldx {_escaped(str(evaluation.provenance["program_version"]))}. Intervals are 95 %.
 n/a: undefined; the reason stands under the table.</p>
</body>
</html>
"""


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


def _cards(evaluation: Evaluation) -> str:
    cards = "".join(
        f'<div class="card"><b>{_escaped(value)}</b><span>{_escaped(name)}</span></div>'
        for name, value in evaluation.headline
    )
    return f'<div class="cards">{cards}</div>'


def _contents(tables: Sequence[Table]) -> str:
    return "".join(
        f'<div><a href="#{_escaped(table.key)}">{_escaped(table.title)}</a></div>'
        for table in tables
    )


def _list(title: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{_escaped(sentence)}</li>" for sentence in sentences)
    return f"<h2>{_escaped(title)}</h2><ul>{items}</ul>"


def _section(table: Table, figures: Mapping[str, Mapping[str, bytes]]) -> str:
    pictures = "".join(
        _picture(name, figures[name]["svg"])
        for name in _FIGURES_AFTER.get(table.key, ())
        if name in figures
    )
    notes = [*table.notes, *(f"n/a: {reason}." for reason in reasons(table))]
    if len(table.rows) > _MOST_ROWS:
        notes.append(f"First {_MOST_ROWS} of {len(table.rows)} rows; all in the CSV.")
    listed = "".join(f"<li>{_escaped(note)}</li>" for note in notes)
    content = f'<div class="scroll">{_table(table)}</div>'
    if table.key in _FOLDED:
        summary = f"<summary>{len(table.rows)} rows</summary>"
        content = f"<details>{summary}{content}</details>"
    return (
        f'<section id="{_escaped(table.key)}"><h2>{_escaped(table.title)}</h2>'
        f'{content}<ul class="notes">{listed}</ul>{pictures}</section>\n'
    )


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col">{_escaped(column.title)}</th>' for column in table.columns
    )
    body = []
    for row in table.rows[:_MOST_ROWS]:
        cells = []
        for cell, column in zip(row, table.columns, strict=True):
            style = "" if column.kind is Kind.TEXT else ' class="number"'
            value, comma, interval = cell_text(cell, column).partition(", ")
            if column.kind is Kind.TEXT or not comma:
                cells.append(f"<td{style}>{_escaped(cell_text(cell, column))}</td>")
            else:
                small = f"<br><small>{_escaped(interval)}</small>"
                cells.append(f"<td{style}>{_escaped(value)}{small}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def _picture(name: str, svg: bytes) -> str:
    data = base64.b64encode(svg).decode("ascii")
    text = _escaped(_FIGURE_TEXTS[name])
    return f'<figure><img alt="{text}" src="data:image/svg+xml;base64,{data}"></figure>'
