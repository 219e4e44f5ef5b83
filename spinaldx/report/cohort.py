"""One PDF for a whole folder of results: what there is, and what to look at first."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spinaldx.errors import OutputError, UsageError
from spinaldx.files import write_bytes
from spinaldx.records import Diagnosis, Disease
from spinaldx.report import wording
from spinaldx.report.document import body_box, bookmark, document, draw_footer
from spinaldx.report.fonts import printable, shorten
from spinaldx.report.layout import Column, TableColumn, banner
from spinaldx.report.painter import (
    BLUE,
    GREY,
    PALE,
    VERMILION,
    Box,
    Painter,
    Style,
    line,
)
from spinaldx.report.panels import (
    BURN_IN_HEIGHT,
    CasePictures,
    burn,
    draw_key_slice,
)
from spinaldx.report.paper import Paper
from spinaldx.report.prediction_json import COMPLETE, FAILED, parse_case
from spinaldx.report.rebuild import SourceImages, load_case, recorded_inputs
from spinaldx.report.sections import Section, height_of, lay_out, measured
from spinaldx.report.table import read_records

COHORT_PDF = "cohort.pdf"

# Four rows fill a page.
_THUMBNAIL_COLUMNS = 5
_THUMBNAIL_HEIGHT = 165.0

Record = Mapping[str, Any]


def write_cohort(out: Path, inputs: Sequence[Path] = ()) -> Path:
    """Write one summary PDF for a folder of results.

    Args:
        out: Folder of results.
        inputs: Where source images lie; empty means where the runs found them.

    Returns:
        The file, ``cohort.pdf`` in the folder.

    Raises:
        UsageError: If there are no results.
        OutputError: If a result cannot be read or the file not be written.
    """
    records = read_records(out)
    if not records:
        message = f"There are no results in {out}."
        raise UsageError(message, hint="Name the folder given to predict with -o.")
    images = SourceImages(inputs or recorded_inputs(out))
    write_bytes(out / COHORT_PDF, _cohort_bytes(records, out, images))
    return out / COHORT_PDF


def _cohort_bytes(records: Sequence[Record], out: Path, images: SourceImages) -> bytes:
    box = body_box()
    name = _count(records)
    head = functools.partial(_draw_head, records=records)
    sections = _sections(records, box, out, images)
    pages = lay_out(sections, box.height - height_of(head, box))
    with document(f"spinaldx: {name}") as (canvas, stream):
        for number, parts in enumerate(pages, start=1):
            titles = ", ".join(part.section.title for part in parts)
            bookmark(canvas, f"{titles} {number}")
            paper = Paper(canvas)
            column = Column(paper, box)
            head(column)
            for part in parts:
                part.draw(column)
            draw_footer(paper, name, f"page {number} of {len(pages)}")
            canvas.showPage()
    return stream.getvalue()


def _sections(
    records: Sequence[Record], box: Box, out: Path, images: SourceImages
) -> tuple[Section, ...]:
    complete = sorted(
        (record for record in records if record["status"] == COMPLETE),
        key=lambda record: (not record["needs_review"], record["study"]),
    )
    failed = [record for record in records if record["status"] == FAILED]
    rows = [
        complete[start : start + _THUMBNAIL_COLUMNS]
        for start in range(0, len(complete), _THUMBNAIL_COLUMNS)
    ]
    summary = functools.partial(_draw_summary, complete=complete, failed=failed)
    draw_pictures = functools.partial(_draw_thumbnails, out=out, images=images)
    return (
        measured("Summary", "", (summary,), _draw_each, box),
        measured(
            "Studies",
            "Studies, those that need review first",
            complete,
            _draw_studies,
            box,
        ),
        measured(
            "Failures",
            "Studies that failed, with the reason",
            failed,
            _draw_failures,
            box,
        ),
        measured(
            "Key slices",
            "Slice with most lesion, in the order of the table",
            rows,
            draw_pictures,
            box,
            _THUMBNAIL_HEIGHT,
        ),
    )


def _count(records: Sequence[Record]) -> str:
    return "1 study" if len(records) == 1 else f"{len(records)} studies"


def _draw_head(column: Column, records: Sequence[Record]) -> None:
    column.paragraph("spinaldx · summary of a folder of results", 8, colour=GREY)
    column.paragraph(_count(records), 15, bold=True)
    if any(record["weights_training_data"] == "simulated" for record in records):
        banner(column, wording.SIMULATION_NOTICE)
    column.space(3)


def _draw_each(column: Column, items: Sequence[Callable[[Column], None]]) -> None:
    for draw in items:
        draw(column)


def _draw_summary(
    column: Column, complete: Sequence[Record], failed: Sequence[Record]
) -> None:
    review = sum(record["needs_review"] for record in complete)
    column.paragraph(
        f"{len(complete)} complete, of which {review} need review. {len(failed)} failed.",
        10,
        bold=True,
    )
    _draw_counts(column, complete)
    _warn_of_mixtures(column, complete)
    column.heading("Joint probabilities, one dot a study")
    _draw_dots(column.painter, column.take(150), complete)


def _draw_counts(column: Column, complete: Sequence[Record]) -> None:
    counts = Counter(record["diagnosis"] for record in complete)
    review = Counter(r["diagnosis"] for r in complete if r["needs_review"])
    column.heading("Classifier output")
    columns = (
        TableColumn("output", 2),
        TableColumn("studies", 1, is_number=True),
        TableColumn("need review", 1, is_number=True),
        TableColumn("", 4),
    )
    rows = [
        (
            wording.answer_name(diagnosis),
            f"{counts[diagnosis]}",
            f"{review[diagnosis]}",
            "",
        )
        for diagnosis in Diagnosis
    ]
    column.table(columns, rows)


def _warn_of_mixtures(column: Column, complete: Sequence[Record]) -> None:
    made = [record["provenance"] for record in complete]
    weights = sorted({record["weights"] for record in complete})
    precisions = sorted({item["precision"] for item in made})
    versions = sorted({item["program_version"] for item in made})
    column.space(4)
    for label, found in (
        ("weights", weights),
        ("precision", precisions),
        ("program", versions),
    ):
        mixed = "  MIXED: compare with care" if len(found) > 1 else ""
        column.fact(label, ", ".join(found) + mixed)


def _draw_dots(painter: Painter, box: Box, complete: Sequence[Record]) -> None:
    """Draw a strip of dots a disease; studies whose answer it is are coloured."""
    scored = [record for record in complete if record["p_ms"] is not None]
    box = burn(painter, box, _burn_in(complete))
    area = box.inset(24, 4, 4, 16)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = area.bottom - value * area.height
        line(painter, (area.x, y), (area.right, y), PALE)
        painter.text(area.x - 4, y + 2, f"{value:g}", Style(6, GREY, anchor="end"))
    width = area.width / len(Disease)
    for place, disease in enumerate(Disease):
        middle = area.x + (place + 0.5) * width
        name = wording.SHORT_NAMES[disease.value]
        painter.text(middle, area.bottom + 11, name, Style(8, anchor="middle"))
        for number, record in enumerate(scored):
            is_answer = record["diagnosis"] == disease.value
            # Spread evenly in the order of the table: nothing is drawn by chance.
            aside = (number + 0.5) / len(scored) - 0.5
            y = area.bottom - record[f"p_{disease.value}"] * area.height
            x = middle + aside * width * 0.7
            painter.dot(x, y, 2.4 if is_answer else 1.6, BLUE if is_answer else GREY)


def _burn_in(records: Sequence[Record]) -> str:
    simulated = any(r["weights_training_data"] == "simulated" for r in records)
    return wording.SIMULATION_BURN_IN if simulated else ""


def _draw_studies(column: Column, rows: Sequence[Record]) -> None:
    columns = (
        TableColumn("study", 2.4),
        TableColumn("output", 1.6),
        TableColumn("highest", 0.9, is_number=True),
        TableColumn("lesions", 0.8, is_number=True),
        TableColumn("ml", 0.8, is_number=True),
        TableColumn("why review", 5),
    )
    column.table(columns, [_cells(record) for record in rows])


def _cells(record: Record) -> tuple[str, ...]:
    known = [record[f"p_{disease.value}"] for disease in Disease]
    highest = [value for value in known if value is not None]
    return (
        record["study"],
        wording.answer_name(Diagnosis(record["diagnosis"])),
        f"{max(highest):.3f}" if highest else "-",
        f"{record['lesion_count']}",
        f"{record['lesion_volume_ml']:.2f}",
        record["review_reason"],
    )


def _draw_failures(column: Column, rows: Sequence[Record]) -> None:
    for record in rows:
        column.fact(record["study"], record["message"], label_width=170)


def _draw_thumbnails(
    column: Column,
    rows: Sequence[Sequence[Record]],
    out: Path,
    images: SourceImages,
) -> None:
    whole = column.take(len(rows) * _THUMBNAIL_HEIGHT + BURN_IN_HEIGHT)
    records = [record for row in rows for record in row]
    area = burn(column.painter, whole, _burn_in(records))
    width = area.width / _THUMBNAIL_COLUMNS
    for number, record in enumerate(records):
        row, place = divmod(number, _THUMBNAIL_COLUMNS)
        y = area.y + row * _THUMBNAIL_HEIGHT
        cell = Box(area.x + place * width, y, width - 5, _THUMBNAIL_HEIGHT - 4)
        _draw_thumbnail(column.painter, cell, record, out, images)


def _draw_thumbnail(
    painter: Painter, cell: Box, record: Record, out: Path, images: SourceImages
) -> None:
    name = shorten(printable(record["study"]), cell.width, 6.5, bold=True)
    painter.text(cell.x, cell.y + 7, name, Style(6.5, bold=True))
    answer = wording.answer_name(Diagnosis(record["diagnosis"]))
    colour = VERMILION if record["needs_review"] else GREY
    painter.text(cell.x, cell.y + 16, answer, Style(6.5, colour))
    picture = cell.inset(0, 19, 0, 0)
    stored = parse_case(record)
    try:
        case = load_case(out / stored.study, stored, images)
    except OutputError:
        painter.rectangle(picture, fill=PALE)
        middle = (picture.x + picture.width / 2, picture.y + picture.height / 2)
        painter.text(*middle, "image not found", Style(7, GREY, anchor="middle"))
        return
    pictures = CasePictures(case)
    draw_key_slice(painter, picture, pictures)
