"""The PDF of one study: three pages, or two when there is no evidence to show."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

from reportlab import rl_config
from reportlab.pdfgen.canvas import Canvas

from spinaldx.files import write_bytes
from spinaldx.records import RESEARCH_USE
from spinaldx.report.fonts import printable, shorten
from spinaldx.report.pages import (
    Content,
    Page,
    draw_answer,
    draw_evidence,
    draw_measurements,
)
from spinaldx.report.painter import GREY, PALE, Box, Style, line
from spinaldx.report.panels import CasePictures
from spinaldx.report.paper import PAGE, Paper

MARGIN = 40.0


def write_pdf(
    pictures: CasePictures,
    path: Path,
    patient_header: tuple[tuple[str, str], ...] = (),
) -> None:
    """Write the report of a study; the same case gives the same bytes.

    Args:
        pictures: The study, turned for looking at.
        path: Target file.
        patient_header: Label and text of patient tags that the user asked for.

    Raises:
        OutputError: If the file cannot be written.
    """
    write_bytes(path, pdf_bytes(pictures, patient_header))


def pdf_bytes(
    pictures: CasePictures, patient_header: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """Return what `write_pdf` writes."""
    study = pictures.case.stored.study
    has_evidence = bool(pictures.lesion_slices())
    contents = [
        Page("Answer", draw_answer),
        *([Page("Evidence", draw_evidence)] if has_evidence else []),
        Page("Measurements", draw_measurements),
    ]
    content = Content(pictures, patient_header)
    with document(f"spinaldx report: {printable(study)}") as (canvas, stream):
        for number, page in enumerate(contents, start=1):
            bookmark(canvas, page.title)
            paper = Paper(canvas)
            page.draw(paper, body_box(), content)
            draw_footer(paper, study, f"page {number} of {len(contents)}")
            canvas.showPage()
    return stream.getvalue()


@contextlib.contextmanager
def document(title: str) -> Iterator[tuple[Canvas, io.BytesIO]]:
    """Give a PDF to draw on; its bytes lie in the stream when the block has ended."""
    stream = io.BytesIO()
    as_text = rl_config.useA85
    # Text armour around pictures makes files a quarter larger and takes half of
    # the time; the setting can only be made for the whole process.
    rl_config.useA85 = 0
    try:
        canvas = _new_canvas(stream, title)
        yield canvas, stream
        canvas.save()
    finally:
        rl_config.useA85 = as_text


def _new_canvas(stream: io.BytesIO, title: str) -> Canvas:
    """Start a PDF without times, in English, with what a reader program shows."""
    canvas = Canvas(
        stream,
        pagesize=(PAGE.width, PAGE.height),
        invariant=1,
        pageCompression=1,
        lang="en",
    )
    canvas.setTitle(shorten(title, 600, 8))
    canvas.setSubject(f"Lesions on sagittal T2w spinal MRI. {RESEARCH_USE}")
    canvas.setAuthor("spinaldx")
    canvas.setCreator("spinaldx")
    canvas.setKeywords("research use only, spinal cord, MRI")
    return canvas


def bookmark(canvas: Canvas, title: str) -> None:
    """Put the current page into the document's outline."""
    canvas.bookmarkPage(title)
    canvas.addOutlineEntry(title, title, level=0)


def body_box() -> Box:
    """Return the part of a page above its footer."""
    return PAGE.inset(MARGIN, 34, MARGIN, 46)


def draw_footer(paper: Paper, name: str, page: str) -> None:
    """Write the sentence that every page carries, the name and the page number."""
    y = PAGE.height - 28
    left, right = MARGIN, PAGE.width - MARGIN
    line(paper, (left, y - 11), (right, y - 11), PALE, 0.8)
    paper.text(left, y, RESEARCH_USE, Style(7.5, bold=True))
    middle = shorten(printable(name), 200, 7)
    paper.text(PAGE.width / 2 + 20, y, middle, Style(7, GREY, anchor="middle"))
    paper.text(right, y, page, Style(7.5, GREY, anchor="end"))
