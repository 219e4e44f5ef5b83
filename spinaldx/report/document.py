"""The PDF of one study: three pages, or two when there is no evidence to show."""

import io
from pathlib import Path

from reportlab.pdfgen.canvas import Canvas

from spinaldx.files import write_bytes
from spinaldx.records import RESEARCH_USE
from spinaldx.report import pages
from spinaldx.report.case import ReportCase
from spinaldx.report.fonts import printable, shorten
from spinaldx.report.painter import GREY, PALE, Box, Style, line
from spinaldx.report.panels import CasePictures
from spinaldx.report.paper import PAGE, Paper

MARGIN = 40.0


def write_pdf(
    case: ReportCase, path: Path, patient_header: tuple[tuple[str, str], ...] = ()
) -> None:
    """Write the report of a study; the same case gives the same bytes.

    Args:
        case: The study with its images.
        path: Target file.
        patient_header: Label and text of patient tags that the user asked for.

    Raises:
        OutputError: If the file cannot be written.
    """
    write_bytes(path, pdf_bytes(case, patient_header))


def pdf_bytes(
    case: ReportCase, patient_header: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """Return what `write_pdf` writes."""
    pictures = CasePictures(case)
    contents = [
        pages.Page("Answer", pages.draw_answer),
        *(
            [pages.Page("Evidence", pages.draw_evidence)]
            if pictures.lesion_slices()
            else []
        ),
        pages.Page("Measurements", pages.draw_measurements),
    ]
    stream = io.BytesIO()
    canvas = new_canvas(stream, f"spinaldx report: {printable(case.stored.study)}")
    for number, page in enumerate(contents, start=1):
        bookmark(canvas, page.title)
        paper = Paper(canvas)
        page.draw(paper, body_box(), pages.Content(pictures, patient_header))
        draw_footer(paper, case.stored.study, f"page {number} of {len(contents)}")
        canvas.showPage()
    canvas.save()
    return stream.getvalue()


def new_canvas(stream: io.BytesIO, title: str) -> Canvas:
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
