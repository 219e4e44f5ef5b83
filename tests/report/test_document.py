import io
import shutil
import subprocess
from dataclasses import replace

import pypdf
import pytest
from report_cases import FLAG, case_of
from reportlab import rl_config

from spinaldx.records import Diagnosis, Disease, MaskOrigin, QualityFlag, WeightsInfo
from spinaldx.report import WriteOptions, read_case, write_case
from spinaldx.report.document import pdf_bytes
from spinaldx.report.panels import CasePictures
from spinaldx.report.rebuild import SourceImages, load_case

PATIENTS = WeightsInfo("clinic", "2.1", "patients", "9e" * 32)
NOTICE = "Weights trained on simulated patients: not clinically valid"
BURN_IN = "SIMULATION-TRAINED WEIGHTS"


def reader_of(folder, result):
    """Write a study without its pictures and make the report alone."""
    write_case(result, folder, WriteOptions(report=False))
    case = load_case(folder, read_case(folder), SourceImages(()))
    return pypdf.PdfReader(io.BytesIO(pdf_bytes(CasePictures(case))))


def texts_of(reader):
    """The text of each page, spaces and line breaks made one."""
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def pages_of(folder, **changes):
    return texts_of(reader_of(folder, case_of(**changes)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    result = case_of(study="study-a", lesions=2, series=("neck", "back"), flags=(FLAG,))
    write_case(result, folder)
    return folder


@pytest.fixture(scope="module")
def reader(folder):
    return pypdf.PdfReader(folder / "report.pdf")


@pytest.fixture(scope="module")
def texts(reader):
    return texts_of(reader)


class TestNumbers:
    def test_page_1_has_the_four_probabilities_and_the_stages(self, folder, texts):
        stored = read_case(folder)
        numbers = [*stored.prediction.probabilities.values()]
        numbers += [stage.positive_probability for stage in stored.prediction.stages]

        assert len(numbers) == 7
        assert all(f"{number:.3f}" in texts[0] for number in numbers)

    def test_page_2_has_the_means_and_the_shares(self, folder, texts):
        stored = read_case(folder)
        for stage in stored.prediction.stages:
            scores = [s.positive[stage.task] for s in stored.prediction.slice_scores]
            mean = sum(scores) / len(scores)

            assert f"mean {mean:.3f} of {len(scores)}" in texts[1]
            assert f"study {stage.positive_probability:.3f}" in texts[1]
        for series in stored.series:
            for heatmap in series.heatmaps:
                assert f"{heatmap.shares['lesion']:.1%}" in texts[1]
                assert f"{heatmap.shares['elsewhere']:.1%}" in texts[1]
                assert f"{heatmap.cell_mm:.1f} mm" in texts[1]

    def test_page_3_has_every_lesion(self, folder, texts):
        stored = read_case(folder)
        for lesion in stored.lesions:
            centroid = ", ".join(f"{x:.1f}" for x in lesion.centroid_ras_mm)
            first, last = lesion.slices[0] + 1, lesion.slices[-1] + 1

            assert f"{lesion.volume_mm3 / 1000:.3f} {lesion.length_mm:.1f}" in texts[2]
            assert f"{first} to {last} {centroid}" in texts[2]
        row = stored.row
        assert (
            f"{row['lesion_volume_ml']:.3f} {row['lesion_length_mm']:.1f}" in texts[2]
        )
        assert f"this study {row['lesion_count']}" in texts[2]
        assert f"this study {row['lesion_volume_ml']:.2f}" in texts[2]

    def test_page_3_has_what_the_classifiers_were_told(self, tmp_path, texts):
        told = {
            "volume_ml": 1.2345,
            "contrast": None,
            "eccentricity": 0.314,
            "cord_share": 0.617,
        }
        result = case_of()
        series = replace(result.series[0], told_numbers=told)
        made = texts_of(reader_of(tmp_path, replace(result, series=(series,))))

        assert f"{series.volume.name} 1.234 not known 0.31 62%" in made[2]
        assert "(they are on the next page)" in made[1]
        assert all("told as numbers" not in text for text in texts)
        assert "next page" not in texts[1]

    def test_page_3_has_the_provenance(self, folder, texts):
        stored = read_case(folder)
        made = stored.provenance

        assert f"{made.engine} on {made.device}, {made.precision}" in texts[2]
        assert f"spinaldx {made.program_version}" in texts[2]
        for series in stored.series:
            assert series.source_sha256 in texts[2]
            assert f"{series.mask_sha256} (automatic)" in texts[2]


class TestEveryPage:
    def test_has_the_sentence_the_name_and_its_number(self, texts):
        assert len(texts) == 3
        for number, text in enumerate(texts, start=1):
            assert "Research use only. Not a medical device." in text
            assert f"page {number} of 3" in text
            assert "study-a" in text
            assert NOTICE in text

    def test_pictures_carry_the_notice(self, texts):
        assert texts[0].count(BURN_IN) == 1
        assert texts[1].count(BURN_IN) == 2

    def test_weights_from_patients_carry_none(self, tmp_path):
        text = " ".join(pages_of(tmp_path, weights=PATIENTS))

        assert NOTICE not in text
        assert BURN_IN not in text
        assert "simulat" not in text

    def test_is_read_in_order(self, texts):
        order = [
            "study-a",
            NOTICE,
            "Classifier output (trained on simulation)",
            "Joint probabilities",
            "The three decisions",
            "Please review",
            "Input",
            "Slice with most lesion",
            "Research use only",
        ]
        places = [texts[0].index(words) for words in order]

        assert places == sorted(places)

    def test_orientation_and_scale_are_written(self, texts):
        for letter in ("H", "F", "A", "P"):
            assert f" {letter} " in texts[0]
        assert "20 mm" in texts[0] or "50 mm" in texts[0]


class TestFile:
    def test_title_subject_language_and_bookmarks(self, reader):
        assert reader.metadata.title == "spinaldx report: study-a"
        assert "Research use only" in reader.metadata.subject
        assert reader.trailer["/Root"]["/Lang"] == "en"
        assert [item.title for item in reader.outline] == [
            "Answer",
            "Evidence",
            "Measurements",
        ]

    def test_every_font_used_is_embedded(self, reader):
        for page in reader.pages:
            shown = page.extract_text()
            fonts = page["/Resources"]["/Font"].get_object().values()
            embedded = [
                font.get_object()
                for font in fonts
                if "/FontDescriptor" in font.get_object()
            ]

            assert shown
            assert embedded
            assert all("/FontFile2" in font["/FontDescriptor"] for font in embedded)
            assert all("DejaVuSans" in font["/BaseFont"] for font in embedded)

    def test_is_small(self, folder):
        assert (folder / "report.pdf").stat().st_size < 500_000

    @pytest.mark.skipif(shutil.which("qpdf") is None, reason="qpdf is not installed")
    def test_qpdf_finds_nothing_wrong(self, folder):
        command = ["qpdf", "--check", str(folder / "report.pdf")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout
        assert "No syntax or stream encoding errors" in done.stdout

    def test_has_no_time_and_no_path(self, folder, reader):
        assert "2026" not in str(reader.metadata)
        assert str(folder).encode() not in (folder / "report.pdf").read_bytes()

    def test_reportlabs_own_setting_is_given_back(self, folder):
        before = rl_config.useA85
        write_case(case_of(), folder / "again")

        assert rl_config.useA85 == before


class TestAnswers:
    def test_no_lesion_has_two_pages_and_no_probability(self, tmp_path):
        first, last = pages_of(tmp_path, diagnosis=Diagnosis.NO_LESION)

        assert "No lesion was marked" in first
        assert "does not exclude a lesion" in first
        assert "Joint probabilities" not in first
        assert "Beside the patients of the paper" not in last

    def test_an_empty_mask_of_a_person_is_told_apart(self, tmp_path):
        changes = {"diagnosis": Diagnosis.NO_LESION, "origin": MaskOrigin.PERSON}
        first, last = pages_of(tmp_path, **changes)

        assert "The person who corrected the masks left them empty" in first
        assert "corrected by a person" in last

    def test_indeterminate_says_why(self, tmp_path):
        first = pages_of(tmp_path, diagnosis=Diagnosis.INDETERMINATE)[0]

        assert "Classifier output (trained on simulation): indeterminate." in first
        assert "within 0.05 of the cut-off 0.50" in first

    @pytest.mark.parametrize("disease", list(Disease))
    def test_a_disease_is_a_classifiers_output(self, tmp_path, disease):
        text = " ".join(pages_of(tmp_path, diagnosis=Diagnosis(disease.value)))

        assert "Classifier output (trained on simulation)" in text
        assert "diagnos" not in text.lower()


class TestLayout:
    @pytest.mark.parametrize(
        "changes",
        [
            {"lesions": 12, "shape": (5, 160, 64)},
            {"lesions": 30, "shape": (5, 200, 64)},
            {"lesion_slices": 1},
            {"lesion_slices": 40, "shape": (40, 64, 48), "spacing_mm": (1.0, 1.0, 1.0)},
            {"lesion_slices": 50, "shape": (50, 48, 40), "spacing_mm": (1.0, 1.0, 1.0)},
            {"series": ("t2w-01", "t2w-02", "t2w-03")},
            {"shape": (3, 512, 512), "spacing_mm": (3.3, 0.5, 0.5)},
            {"shape": (3, 96, 128), "spacing_mm": (4.0, 1.4, 1.4)},
            {"flags": tuple(QualityFlag(f"f{n}", "Look. " * 60) for n in range(12))},
            {"series": tuple(f"series-{n}" for n in range(8)), "shape": (3, 64, 48)},
            {"study": "long_name_" * 8, "series": ("a_very_long_series_" * 4,)},
        ],
        ids=str,
    )
    def test_stays_on_three_pages_and_above_the_footer(self, tmp_path, changes):
        reader = reader_of(tmp_path, case_of(**changes))
        lowest = []
        for page in reader.pages:
            found = []
            page.extract_text(
                visitor_text=lambda text, cm, tm, *rest, found=found: (
                    found.append((tm[5], text)) if text.strip() else None
                )
            )
            inside = [y for y, text in found if "Research use only" not in text]
            lowest.append(sorted(inside)[2])

        assert len(reader.pages) == 3
        # The two lowest are the footer's name and number.
        assert all(y > 40 for y in lowest), lowest
        assert len(reader.stream.getvalue()) < 1_500_000

    def test_says_how_many_slices_are_left_out(self, tmp_path):
        text = pages_of(
            tmp_path, lesion_slices=45, shape=(45, 48, 40), spacing_mm=(1.0, 1.0, 1.0)
        )[1]

        assert "40 of 45 lesion slices" in text

    def test_says_how_many_lesions_and_flags_are_left_out(self, tmp_path):
        flags = tuple(QualityFlag(f"f{n}", f"Doubt {n}.") for n in range(9))
        texts = pages_of(tmp_path, lesions=30, shape=(5, 200, 64), flags=flags)

        assert "and 3 more, in prediction.json" in texts[0]
        assert "and 12 more, in prediction.json" in texts[2]

    def test_says_what_a_code_point_stands_for(self, tmp_path):
        first = pages_of(tmp_path, series=("\u4e2d",))[0]

        assert "[U+4E2D]" in first
        assert "[U+...] stands for a character" in first

    def test_tells_notes_from_what_needs_review(self, tmp_path):
        note = QualityFlag("n", "A remark.", needs_review=False)
        first = pages_of(tmp_path, flags=(note, FLAG))[0]

        assert f"Please review • {FLAG.message} Note: A remark." in first

    def test_names_a_lesion_that_may_be_counted_twice(self, tmp_path):
        result = case_of(series=("a", "b"))
        one, other = result.series
        (twin,) = other.lesions
        place = one.lesions[0].centroid_ras_mm
        twins = (replace(twin, centroid_ras_mm=place),)
        series = (one, replace(other, lesions=twins))
        text = texts_of(reader_of(tmp_path, replace(result, series=series)))[2]

        assert "Lesion 1 of a and lesion 1 of b lie 0 mm apart" in text

    def test_a_map_without_heat_says_so(self, tmp_path):
        result = case_of()
        (item,) = result.series
        cold = tuple(replace(h, values=h.values * 0) for h in item.heatmaps)
        result = replace(result, series=(replace(item, heatmaps=cold),))
        text = texts_of(reader_of(tmp_path, result))[1]

        assert "no heat" in text

    def test_without_grad_cam_the_slices_are_still_shown(self, tmp_path):
        result = case_of()
        (item,) = result.series
        write_case(replace(result, series=(replace(item, heatmaps=()),)), tmp_path)
        text = pypdf.PdfReader(tmp_path / "report.pdf").pages[1].extract_text()

        assert "Grad-CAM" not in text
        assert "All 3 lesion slices" in text
        assert not (tmp_path / "figures" / "gradcam.png").exists()

    def test_a_fine_cell_gets_a_share_around_the_lesions(self, tmp_path):
        text = pages_of(tmp_path, cell_mm=4.0)[1]

        assert "too coarse" not in text
        assert "within 5 mm" in text


def test_a_rebuilt_report_is_the_same_file(folder):
    stored = read_case(folder)
    case = load_case(folder, stored, SourceImages(()))

    assert pdf_bytes(CasePictures(case)) == (folder / "report.pdf").read_bytes()


def test_a_patient_header_is_literal(folder):
    header = (("name", "<b>A&B</b><img src=/etc/passwd>"), ("ID", "=1+1"))
    case = load_case(folder, read_case(folder), SourceImages(()))
    content = pdf_bytes(CasePictures(case), header)
    text = pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text()

    assert "<b>A&B</b><img src=/etc/passwd>" in text
    assert "on request" in text


@pytest.mark.parametrize("flags", [0, 3, 8])
def test_nothing_is_written_over_the_footer(tmp_path, flags):
    long = "The weighting of this image is not known from its tags. " * 4
    write_case(
        case_of(
            study="a_name_that_goes_over_the_line_" * 3,
            series=("cervical", "thoracic", "lumbar"),
            diagnosis=Diagnosis.INDETERMINATE,
            flags=tuple(QualityFlag(f"f{n}", f"{n}: {long}") for n in range(flags)),
        ),
        tmp_path,
    )
    case = load_case(tmp_path, read_case(tmp_path), SourceImages(()))
    header = tuple((f"tag {n}", "text") for n in range(7))
    page = pypdf.PdfReader(io.BytesIO(pdf_bytes(CasePictures(case), header))).pages[0]
    placed = []

    def note(text, _cm, tm, _font, _size):
        if text.strip():
            placed.append((float(tm[5]), text.strip()))

    page.extract_text(visitor_text=note)
    footer = next(y for y, text in placed if text.startswith("Research use only"))
    sha256 = next(y for y, text in placed if text.startswith("sha256"))

    assert sha256 > footer + 12
    assert min(y for y, _ in placed) == pytest.approx(footer, abs=1)
    assert ("more, in prediction.json" in page.extract_text()) == (flags > 3)
