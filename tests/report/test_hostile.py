"""Hostile text and patients' data, from DICOM tags and folder names to every output."""

import gzip
import io
import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pydicom
import pypdf
import pytest
from handmade import handmade_patient
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from report_cases import case_of, measured

from spinaldx.errors import UnreadableFileError
from spinaldx.records import CaseResult, Mask, SeriesResult
from spinaldx.report import (
    WriteOptions,
    rebuild,
    update_studies_csv,
    write_case,
    write_failure,
)
from spinaldx.report.cohort import write_cohort
from spinaldx.report.fonts import printable
from spinaldx.report.header import read_patient_header
from spinaldx.report.pictures import FigureFormat
from spinaldx.report.rebuild import RebuildOptions, rebuild_reports
from spinaldx.simulation import vendors
from spinaldx.simulation.dicom import StudyOptions, write_study
from spinaldx.study import ImageFile, find_studies, load_study

HOSTILE = {
    "markup": "<b>bold</b> & <font color='red'>x</font>",
    "image": '<img src="/etc/passwd" width="9"/>',
    "unclosed": "<para><i>never closed",
    "code": '<font color="[c for c in ().__class__]">x</font>',
    "right to left": "\N{ARABIC LETTER MEEM}\N{ARABIC LETTER HAH}\N{HEBREW LETTER ALEF}",
    "override": "ann\N{RIGHT-TO-LEFT OVERRIDE}fdp.exe",
    "emoji": "x\N{GRINNING FACE}\N{ZERO WIDTH JOINER}y",
    "long": "m" * 10_000,
    "control": "a\x01b\x7fc\x1b[31m",
    "formula": "=cmd|'/c calc'!A1",
    "formula 2": "@SUM(1+1)*cmd",
    "script": "'; DROP TABLE x; --${jndi:ldap://x}",
}
TAGS = (
    "PatientName",
    "PatientID",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "InstitutionName",
    "AccessionNumber",
    "ImageComments",
)
CANARY_TAGS = (
    *TAGS,
    "PatientAddress",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientTelephoneNumbers",
    "OtherPatientNames",
    "OtherPatientIDs",
    "EthnicGroup",
    "Occupation",
    "AdditionalPatientHistory",
    "PatientComments",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "RequestingPhysician",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "DeviceSerialNumber",
    "StudyID",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
    "MedicalAlerts",
    "Allergies",
)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """The files of one sagittal T2w series."""
    folder = tmp_path_factory.mktemp("dicom")
    options = StudyOptions(
        axial_size=40, localizer_size=32, localizer_pixel_mm=3.0, with_stir=False
    )
    write_study(handmade_patient(), vendors.VENDORS[0], folder, "key", options)
    found = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    return [dataset for dataset in found if int(dataset.SeriesNumber) == 2]


def write_with(series, folder, texts, key):
    """Write the series as a study of its own with texts in its tags."""
    folder.mkdir(parents=True)
    for number, dataset in enumerate(series):
        changed = pydicom.Dataset(dataset)
        changed.file_meta = dataset.file_meta
        changed.StudyInstanceUID = f"2.25.{1000 + key}"
        changed.SpecificCharacterSet = "ISO_IR 192"
        for keyword, text in texts.items():
            tag = tag_for_keyword(keyword)
            element = DataElement(tag, dictionary_VR(tag), text, validation_mode=IGNORE)
            changed[tag] = element
        pydicom.config.settings.writing_validation_mode, before = (
            IGNORE,
            pydicom.config.settings.writing_validation_mode,
        )
        changed.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        pydicom.config.settings.writing_validation_mode = before


def result_of(source):
    """Read a study and give it a lesion by hand."""
    base = case_of()
    series = []
    for volume in load_study(source, series="2"):
        labels = np.zeros(volume.voxels.shape, np.uint8)
        i, j, k = (edge // 2 for edge in labels.shape)
        labels[i - 4 : i + 4, j - 3 : j + 3, k] = 1
        mask = Mask(labels, volume.affine_ras)
        lesions = measured(labels, volume, volume.name)
        heat = tuple(
            replace(h, values=np.where(labels > 0, 1, np.nan).astype(np.float32))
            for h in base.series[0].heatmaps
        )
        series.append(SeriesResult(volume, mask, lesions, heat))
    return CaseResult(source.name, tuple(series), base.prediction, base.provenance)


def write_results(inputs, out):
    """Write results, without reports, for every study of an input."""
    for source in find_studies([inputs]):
        write_case(result_of(source), out / source.name, WriteOptions(report=False))
    write_failure("broken", UnreadableFileError("0.dcm: cut off."), out / "broken")
    update_studies_csv(out)


def contents(out):
    """Everything written, unpacked, by name."""
    found = {}
    for path in out.rglob("*"):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        if path.suffix == ".pdf":
            content += pdf_text(content).encode()
        found[str(path.relative_to(out))] = content
    return found


def pdf_text(content):
    reader = pypdf.PdfReader(io.BytesIO(content))
    streams = b"".join(page.get_contents().get_data() for page in reader.pages)
    texts = [page.extract_text() for page in reader.pages]
    return " ".join([*texts, str(reader.metadata), streams.decode("latin-1")])


def folder_name(text):
    """As much of a text as a file system takes."""
    return text.replace("/", "-").replace("\0", "")[:60]


@pytest.fixture(scope="module")
def hostile(series, tmp_path_factory):
    """Studies with hostile tags in hostile folders, and reports that print them."""
    root = tmp_path_factory.mktemp("hostile")
    for key, text in enumerate(HOSTILE.values()):
        texts = dict.fromkeys(TAGS, text)
        write_with(series, root / "in" / folder_name(text), texts, key)
    write_results(root / "in", root / "out")
    options = RebuildOptions(inputs=(root / "in",), patient_header=True)
    rebuild_reports(root / "out", options)
    write_cohort(root / "out")
    return root


class TestHostileText:
    def test_every_study_is_written(self, hostile):
        studies = find_studies([hostile / "in"])

        assert len(studies) == len(HOSTILE) == 12
        for study in studies:
            record = json.loads(
                (hostile / "out" / study.name / "prediction.json").read_text()
            )
            assert record["status"] == "complete"
            assert (hostile / "out" / study.name / "report.pdf").is_file()

    def test_nothing_is_written_elsewhere(self, hostile):
        assert {path.name for path in hostile.iterdir()} == {"in", "out"}
        for path in (hostile / "out").rglob("*"):
            assert path.name.isprintable()
            assert not set(path.name) & set("<>:\"|?*\\'=@")

    def test_reports_run_and_embed_nothing(self, hostile):
        forbidden = (
            b"/JavaScript",
            b"/Launch",
            b"/URI",
            b"/EmbeddedFile",
            b"/OpenAction",
        )
        for path in (hostile / "out").rglob("*.pdf"):
            content = path.read_bytes()

            assert not any(word in content for word in forbidden)
            assert b"root:" not in pdf_text(content).encode()
            # The pictures drawn, and nothing else.
            for page in pypdf.PdfReader(path).pages:
                for item in page["/Resources"].get("/XObject", {}).values():
                    assert item.get_object()["/Subtype"] == "/Image"
                    assert item.get_object()["/Filter"] == ["/DCTDecode"]

    def test_no_cell_is_a_formula(self, hostile):
        lines = (hostile / "out" / "studies.csv").read_text().splitlines()
        cells = [cell for line in lines for cell in line.split(",")]

        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)

    @pytest.mark.parametrize("kind", HOSTILE)
    def test_on_paper_on_request_it_is_literal(self, hostile, kind):
        (source,) = find_studies([hostile / "in" / folder_name(HOSTILE[kind])])
        header = dict(read_patient_header(source.source_files))
        report = hostile / "out" / source.name / "report.pdf"
        shown = pypdf.PdfReader(report).pages[0].extract_text()

        assert "Patient (from the DICOM header, on request)" in shown
        assert printable(header["ID"])[:24].split()[0] in shown


@pytest.fixture(scope="module")
def canaries(series, tmp_path_factory):
    """All that is written, by default, for a study whose tags are all marked."""
    root = tmp_path_factory.mktemp("canaries")
    texts = {keyword: f"CANARY{n:02d}" for n, keyword in enumerate(CANARY_TAGS)}
    texts["PatientBirthDate"] = "19010203"
    write_with(series, root / "in" / "p1", texts, 1)
    collected = Collected()
    logger = logging.getLogger()
    before = logger.level
    logger.addHandler(collected)
    logger.setLevel(logging.DEBUG)
    write_results(root / "in", root / "out")
    rebuild_reports(root / "out", RebuildOptions(figures=FigureFormat.SVG))
    write_cohort(root / "out")
    logger.removeHandler(collected)
    logger.setLevel(before)
    return root / "out", collected.texts


class TestCanaries:
    def test_there_are_thirty(self):
        assert len(set(CANARY_TAGS)) >= 30

    def test_none_is_in_any_output(self, canaries):
        found = contents(canaries[0])

        assert {"studies.csv", "cohort.pdf", "p1/report.pdf"} <= set(found)
        assert any(name.endswith(".svg") for name in found)
        for name, content in found.items():
            for mark in ("CANARY", "19010203"):
                assert mark.encode() not in content, name
                assert mark.encode("utf-16-be") not in content, name
            assert "CANARY" not in name

    def test_none_is_logged(self, canaries):
        assert not any("CANARY" in text for text in canaries[1])


class Collected(logging.Handler):
    """Everything that is logged, as text."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


class TestReadPatientHeader:
    def test_reads_what_is_there(self, series, tmp_path):
        write_with(series[:1], tmp_path / "a", {"PatientName": "Doe^Jane"}, 5)
        header = read_patient_header([ImageFile(tmp_path / "a" / "0.dcm")])

        assert dict(header)["name"] == "Doe^Jane"
        assert all(text.strip() for _, text in header)

    def test_of_no_file_is_empty(self):
        assert read_patient_header([]) == ()

    def test_a_file_that_is_gone_is_a_named_error(self, tmp_path):
        with pytest.raises(UnreadableFileError, match=r"a\.dcm"):
            read_patient_header([ImageFile(tmp_path / "a.dcm")])

    def test_a_damaged_file_is_a_named_error(self, series, tmp_path, monkeypatch):
        def fail(*args, **kwargs):
            message = "Doe^Jane"
            raise ValueError(message)

        write_with(series[:1], tmp_path / "a", {}, 6)
        monkeypatch.setattr(pydicom, "dcmread", fail)
        with pytest.raises(UnreadableFileError, match=r"0\.dcm: its patient tags"):
            read_patient_header([ImageFile(tmp_path / "a" / "0.dcm")])


class TestHeaderOfARebuiltReport:
    def test_a_study_without_dicom_says_so(self, tmp_path):
        write_case(case_of(study="a"), tmp_path / "a")
        (outcome,) = rebuild_reports(tmp_path, RebuildOptions(patient_header=True))

        assert outcome.is_rebuilt
        assert "no patient tags" in outcome.lacks[0]

    def test_unreadable_tags_are_told(self, tmp_path, series, monkeypatch):
        def fail(files):
            message = "0.dcm: its patient tags cannot be read."
            raise UnreadableFileError(message)

        write_with(series, tmp_path / "in" / "a", {}, 7)
        write_results(tmp_path / "in", tmp_path / "out")
        monkeypatch.setattr(rebuild, "read_patient_header", fail)
        options = RebuildOptions(
            studies=("a",), inputs=(tmp_path / "in",), patient_header=True
        )
        (outcome,) = rebuild_reports(tmp_path / "out", options)

        assert outcome.is_rebuilt
        assert outcome.lacks == ("0.dcm: its patient tags cannot be read.",)

    def test_tags_of_the_next_patient_in_the_folder_are_not_printed(
        self, tmp_path, series
    ):
        write_with(series, tmp_path / "in" / "a", {"PatientName": "SMITH^ANNA"}, 8)
        write_results(tmp_path / "in", tmp_path / "out")
        shutil.rmtree(tmp_path / "in" / "a")
        write_with(series, tmp_path / "in" / "a", {"PatientName": "JONES^BOB"}, 9)
        options = RebuildOptions(
            studies=("a",), inputs=(tmp_path / "in",), patient_header=True
        )
        (outcome,) = rebuild_reports(tmp_path / "out", options)

        report = (tmp_path / "out" / "a" / "report.pdf").read_bytes()
        assert "no patient tags" in outcome.lacks[0]
        assert "JONES" not in pdf_text(report)
