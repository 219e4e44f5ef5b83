"""The three pages of a report: the answer, the evidence, the measurements."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spinaldx.records import Diagnosis, Lesion, stages_on_path
from spinaldx.report import wording
from spinaldx.report.case import StoredCase, StoredSeries
from spinaldx.report.charts import (
    draw_probabilities,
    draw_ranges,
    draw_slice_scores,
    draw_stages,
)
from spinaldx.report.fonts import printable
from spinaldx.report.layout import Column, TableColumn, banner
from spinaldx.report.painter import GREY, INK, Box, Painter, Style
from spinaldx.report.panels import (
    CasePictures,
    draw_gradcam,
    draw_key_image,
    draw_strip,
    key_crop,
    size_mm,
    strip_slices,
)
from spinaldx.report.reference import LEVEL_NOTE, SOURCE, VOLUME_NOTE, levels_of
from spinaldx.stages.heatmap import RING_MM
from spinaldx.stages.lesions import double_flags

_MOST_LESION_ROWS = 18
_MOST_FLAGS = 6
# Heights of headings, weights and one more flag, and of a series.
_BELOW_FLAGS = 125.0
_SERIES_HEIGHT = 21.0
_MOST_DOUBLES = 4
_MOST_SERIES = 6

# Heading and form of what classifiers are told, in order.
_TOLD = {
    "volume_ml": ("volume, ml", "{:.3f}"),
    "contrast": ("brightness, cord is 1", "{:.2f}"),
    "eccentricity": ("off the middle, edge is 1", "{:.2f}"),
    "cord_share": ("share of cross-section", "{:.0%}"),
}
_ORDER = "from the patient's right to left"


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What the pages of one study show.

    Attributes:
        pictures: The study, turned for looking at.
        patient_header: Label and text of patient tags that the user asked for.
    """

    pictures: CasePictures
    patient_header: tuple[tuple[str, str], ...]

    @property
    def case(self) -> StoredCase:
        """What the study's JSON says."""
        return self.pictures.case.stored


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        title: In the document's outline.
        draw: Draws it into a box.
    """

    title: str
    draw: Callable[[Painter, Box, Content], None]


def draw_answer(painter: Painter, box: Box, content: Content) -> None:
    """Draw page 1."""
    case = content.case
    column = Column(painter, box)
    _head(column, "Spinal cord lesion report", case)
    _patient_header(column, content.patient_header)
    weights = case.provenance.weights
    column.space(4)
    column.paragraph(wording.headline(case.prediction, weights), 13, bold=True)
    column.space(2)
    column.paragraph(wording.explanation(case.prediction, case.mask_origins), 8.5)
    column.space(6)
    rest = column.rest
    image_width = rest.width * 0.47
    left = Column(
        painter, Box(rest.x, rest.y, rest.width - image_width - 16, rest.height)
    )
    _answer_column(left, case)
    _explain_code_points(left, content)
    right = Column(
        painter, Box(rest.right - image_width, rest.y, image_width, rest.height)
    )
    _key_image_column(right, content)


def _head(column: Column, title: str, case: StoredCase) -> None:
    style = Style(8, GREY)
    column.painter.text(column.box.x, column.y + 8, f"spinaldx · {title}", style)
    column.space(12)
    column.paragraph(case.study, 15, bold=True, most_lines=2)
    notice = wording.simulation_notice(case.provenance.weights)
    if notice:
        banner(column, notice)
    column.space(3)


def _patient_header(column: Column, header: tuple[tuple[str, str], ...]) -> None:
    if not header:
        return
    column.heading("Patient (from the DICOM header, on request)")
    for label, text in header:
        column.fact(label, text)


def _answer_column(column: Column, case: StoredCase) -> None:
    if case.prediction.stages:
        column.heading("Joint probabilities of the four diseases")
        draw_probabilities(column.painter, column.take(62), case)
        column.heading("The three decisions")
        draw_stages(column.painter, column.take(105), case)
        path = " > ".join(
            wording.SHORT_NAMES[stage.answer]
            for stage in stages_on_path(case.prediction.stages)
        )
        column.paragraph(
            f"Path: {path}. The third decision, in grey, is off the path. "
            "Shaded: margin in which a decision counts as undecided.",
            6.5,
            colour=GREY,
        )
    _review(column, case)
    _inputs(column, case)
    _weights(column, case)


def _explain_code_points(column: Column, content: Content) -> None:
    case = content.case
    texts = [case.study, *(series.name for series in case.series)]
    texts += [flag.message for flag in case.flags]
    texts += [text for _, text in content.patient_header]
    if any(printable(text) != text for text in texts):
        column.space(4)
        note = "[U+...] stands for a character that the fonts of this report lack."
        column.paragraph(note, 6.5, colour=GREY)


def _review(column: Column, case: StoredCase) -> None:
    reasons = [
        *wording.indeterminate_reasons(case.prediction),
        *(flag.message for flag in case.flags if flag.needs_review),
    ]
    notes = [flag.message for flag in case.flags if not flag.needs_review]
    column.heading("Please review" if reasons else "Review flags")
    if not reasons:
        column.paragraph("None was raised.", 7.5)
    told = [(f"• {message}", INK) for message in reasons]
    told += [(f"Note: {message}", GREY) for message in notes]
    # What stands below must not run into the footer.
    needed = _BELOW_FLAGS + _SERIES_HEIGHT * min(len(case.series), _MOST_SERIES)
    shown = 0
    for text, colour in told[:_MOST_FLAGS]:
        if column.rest.height < needed:
            break
        column.paragraph(text, 7.5, colour=colour, most_lines=3)
        shown += 1
    if len(told) > shown:
        more = f"and {len(told) - shown} more, in prediction.json"
        column.paragraph(more, 7.5, colour=GREY)


def _inputs(column: Column, case: StoredCase) -> None:
    column.heading("Input")
    for series in case.series[:_MOST_SERIES]:
        column.fact(series.name, _geometry(series))
    if len(case.series) > _MOST_SERIES:
        column.paragraph(f"and {len(case.series) - _MOST_SERIES} more series", 7)


def _geometry(series: StoredSeries) -> str:
    shape = " x ".join(str(edge) for edge in series.shape)
    spacing = " x ".join(f"{edge:.2f}" for edge in series.spacing_mm)
    return (
        f"{series.plane}, {shape} voxels of {spacing} mm, "
        f"mask {wording.mask_origin(series.mask_origin)}"
    )


def _weights(column: Column, case: StoredCase) -> None:
    column.heading("Weights")
    weights = case.provenance.weights
    trained = "simulated patients" if weights.is_simulated else "patients"
    column.fact("name", f"{weights.name} {weights.version}")
    column.fact("trained on", trained)
    column.fact("sha256", weights.sha256)


def _key_image_column(column: Column, content: Content) -> None:
    pictures = content.pictures
    name = pictures.key_slice()
    stack = pictures.stacks[name.series]
    crop = key_crop(pictures)
    caption = f"Slice with most lesion ({name}), lesions outlined."
    if content.case.prediction.diagnosis is Diagnosis.NO_LESION:
        caption = f"Middle slice ({name}); nothing was marked."
    if crop != stack.whole:
        caption += " Cut in front and behind."
    rest = column.rest
    height_mm, width_mm = size_mm(crop, stack)
    height = min(rest.height - 40, (rest.width - 22) * height_mm / width_mm + 36)
    draw_key_image(column.painter, column.take(height), pictures)
    column.paragraph(caption, 7, colour=GREY, most_lines=3)


def draw_evidence(painter: Painter, box: Box, content: Content) -> None:
    """Draw page 2."""
    case = content.case
    column = Column(painter, box)
    _head(column, "Evidence", case)
    _gradcam(column, content)
    if case.prediction.slice_scores:
        column.heading("Score of every lesion slice")
        draw_slice_scores(painter, column.take(100), case)
    shown = strip_slices(content.pictures)
    total = len(content.pictures.lesion_slices())
    which = f"All {total}" if len(shown) == total else f"{len(shown)} of {total}"
    which = "The only" if total == 1 else which
    what = "lesion slice" if total == 1 else f"lesion slices, {_ORDER}"
    column.heading(f"{which} {what}")
    draw_strip(painter, column.rest, content.pictures)


def _gradcam(column: Column, content: Content) -> None:
    if not content.pictures.tasks():
        return
    column.heading(f"Grad-CAM on {content.pictures.key_slice()}")
    whole = column.take(225)
    panels = Box(whole.x, whole.y, 375, whole.height)
    draw_gradcam(column.painter, panels, content.pictures)
    beside = Box(panels.right + 10, whole.y, whole.width - 385, whole.height)
    Column(column.painter, beside).paragraph(_heat_note(content.case), 7)
    _heat_table(column, content.case)


def _heat_note(case: StoredCase) -> str:
    cell_mm = max(h.cell_mm for series in case.series for h in series.heatmaps)
    told = any(series.told_numbers for series in case.series)
    numbers = " (they are on the next page)" if told else ""
    note = (
        "Where the evidence for the class reported came from, from 0 to 1, the "
        "strongest place of this study for that model. The picture explains the "
        "classifier, not the disease; what a model is told as a number, such as the "
        f"lesions' volume, it cannot show{numbers}. One cell of the map is {cell_mm:.1f} "
        "mm wide: finer detail is interpolated."
    )
    if cell_mm <= RING_MM:
        return note
    return (
        f"{note} That is too coarse to tell the {RING_MM:.0f} mm around a lesion "
        "apart, so no share is given for them."
    )


def _heat_table(column: Column, case: StoredCase) -> None:
    columns = (
        TableColumn("share of the heat: model", 2.6),
        TableColumn("for", 1.4),
        TableColumn("series", 2.2),
        TableColumn("in lesions", 1, is_number=True),
        TableColumn(f"within {RING_MM:.0f} mm", 1, is_number=True),
        TableColumn("elsewhere", 1, is_number=True),
    )
    rows = [
        (
            wording.TASK_NAMES[heatmap.task],
            wording.SHORT_NAMES[heatmap.target],
            series.name,
            *_share_cells(heatmap.shares),
        )
        for series in case.series[:_MOST_SERIES]
        for heatmap in series.heatmaps
    ]
    column.table(columns, rows)


def _share_cells(shares: Mapping[str, float]) -> tuple[str, str, str]:
    if not shares:
        return "no heat", "-", "-"
    ring = f"{shares['ring']:.1%}" if "ring" in shares else "-"
    return f"{shares['lesion']:.1%}", ring, f"{shares['elsewhere']:.1%}"


def draw_measurements(painter: Painter, box: Box, content: Content) -> None:
    """Draw page 3."""
    case = content.case
    column = Column(painter, box)
    _head(column, "Measurements", case)
    column.heading("Lesions")
    _lesion_table(column, case)
    if case.lesions:
        column.heading("Beside the patients of the paper")
        draw_ranges(painter, column.take(130), case)
        column.paragraph(
            f"Bars: middle half of each group, tick: median ({SOURCE}). {LEVEL_NOTE} "
            f"{VOLUME_NOTE}",
            6.5,
            colour=GREY,
        )
    _told_table(column, case)
    _provenance(column, case)


def _lesion_table(column: Column, case: StoredCase) -> None:
    if not case.lesions:
        column.paragraph("No lesion was marked.", 8)
        return
    columns = (
        TableColumn("lesion", 0.7),
        TableColumn("series", 2.0),
        TableColumn("volume, ml", 1.1, is_number=True),
        TableColumn("length, mm", 1.1, is_number=True),
        TableColumn("levels", 0.8, is_number=True),
        TableColumn("slices", 1.6, is_number=True),
        TableColumn("centroid R, A, H in mm", 2.2, is_number=True),
    )
    rows = [_lesion_row(lesion) for lesion in case.lesions[:_MOST_LESION_ROWS]]
    row = case.row
    total = (
        "all",
        "",
        f"{row['lesion_volume_ml']:.3f}",
        f"{row['lesion_length_mm']:.1f}",
    )
    levels = f"{levels_of(row['lesion_length_mm']):.1f}"
    column.table(columns, [*rows, (*total, levels, "", "")])
    if len(case.lesions) > _MOST_LESION_ROWS:
        more = len(case.lesions) - _MOST_LESION_ROWS
        column.paragraph(f"and {more} more, in prediction.json", 7, colour=GREY)
    column.space(3)
    column.paragraph(wording.length_sentence(case.lesions), 8)
    for flag in double_flags(case.lesions)[:_MOST_DOUBLES]:
        column.paragraph(flag.message, 8, most_lines=2)


def _told_table(column: Column, case: StoredCase) -> None:
    """Draw the numbers that classifiers see beside the image, if they see any."""
    told = [series for series in case.series if series.told_numbers]
    if not told:
        return
    names = [name for name in _TOLD if name in told[0].told_numbers]
    column.heading(
        "What the classifiers were told as numbers, of all lesions of a series"
    )
    columns = [TableColumn("series", 2.0)]
    columns += [TableColumn(_TOLD[name][0], 1.6, is_number=True) for name in names]
    column.table(
        columns,
        [
            (
                series.name,
                *(_told_cell(name, series.told_numbers.get(name)) for name in names),
            )
            for series in told[:_MOST_SERIES]
        ],
    )


def _told_cell(name: str, value: float | None) -> str:
    return "not known" if value is None else _TOLD[name][1].format(value)


def _lesion_row(lesion: Lesion) -> tuple[str, ...]:
    first, last = lesion.slices[0] + 1, lesion.slices[-1] + 1
    slices = f"{first}" if first == last else f"{first} to {last}"
    return (
        f"{lesion.number}",
        lesion.series,
        f"{lesion.volume_mm3 / 1000:.3f}",
        f"{lesion.length_mm:.1f}",
        f"{levels_of(lesion.length_mm):.1f}",
        slices,
        ", ".join(f"{x:.1f}" for x in lesion.centroid_ras_mm),
    )


def _provenance(column: Column, case: StoredCase) -> None:
    made = case.provenance
    column.heading("How it was made")
    column.fact("program", f"spinaldx {made.program_version}")
    column.fact("weights", f"{made.weights.name} {made.weights.version}")
    column.fact("computed by", f"{made.engine} on {made.device}, {made.precision}")
    options = ", ".join(f"{name}={value}" for name, value in made.options.items())
    column.fact("options", options or "defaults")
    for series in case.series[:_MOST_SERIES]:
        origin = wording.mask_origin(series.mask_origin)
        column.fact(
            f"{printable(series.name)}", f"image {series.source_sha256 or 'in memory'}"
        )
        column.fact("", f"mask {series.mask_sha256} ({origin})")
