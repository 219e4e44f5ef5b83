import shutil

import pypdf
import pytest
from report_cases import FLAG, case_of

from spinaldx.errors import UnreadableFileError, UsageError
from spinaldx.records import Diagnosis
from spinaldx.report import WriteOptions, write_case, write_failure
from spinaldx.report.cohort import write_cohort

NO_PDF = WriteOptions(report=False)


def text_of(path):
    pages = pypdf.PdfReader(path).pages
    return [" ".join(page.extract_text().split()) for page in pages]


def pictures_of(pages):
    return " ".join(pages).split("Slice with most lesion", 1)[1]


@pytest.fixture
def out(tmp_path):
    for number, diagnosis in enumerate(Diagnosis):
        flags = (FLAG,) if diagnosis is Diagnosis.NMOSD else ()
        name = f"case-{number}"
        result = case_of(
            study=name, diagnosis=diagnosis, flags=flags, shape=(5, 48, 40)
        )
        write_case(result, tmp_path / name, NO_PDF)
    write_failure("broken", UnreadableFileError("x.nii: cut off."), tmp_path / "broken")
    return tmp_path


class TestWriteCohort:
    def test_counts_and_sorts_by_what_needs_review(self, out):
        first = text_of(write_cohort(out))[0]

        assert "7 studies" in first
        assert "6 complete, of which 2 need review. 1 failed." in first
        rows = first[first.index("those that need review first") :]
        names = ["case-3", "case-4", "case-0", "case-1", "case-2", "case-5"]
        assert sorted(names, key=rows.index) == names

    def test_gives_failures_with_their_reason(self, out):
        pages = text_of(write_cohort(out))

        assert "broken x.nii: cut off." in pages[0]

    def test_shows_every_complete_study(self, out):
        pictures = pictures_of(text_of(write_cohort(out)))

        assert all(f"case-{number}" in pictures for number in range(6))
        assert pictures.count(" H ") == 6
        assert "SIMULATION-TRAINED WEIGHTS" in pictures

    def test_few_studies_fill_one_page(self, out):
        for number in range(2, 6):
            shutil.rmtree(out / f"case-{number}")

        (page,) = text_of(write_cohort(out))

        assert "broken x.nii: cut off." in page
        assert page.count(" H ") == 2
        assert "page 1 of 1" in page

    def test_every_page_says_what_it_is(self, out):
        for number in range(60):
            shutil.copytree(out / "case-2", out / f"copy-{number:02d}")
        pages = text_of(write_cohort(out))

        assert len(pages) > 2
        for number, page in enumerate(pages, start=1):
            assert page.startswith("spinaldx · summary of a folder of results 67")
            assert "Weights trained on simulated patients" in page
            assert "Research use only. Not a medical device." in page
            assert f"page {number} of {len(pages)}" in page

    def test_a_study_without_its_image_says_so(self, out):
        (out / "case-0" / "t2w" / "t2w.nii.gz").unlink()
        pages = text_of(write_cohort(out))

        assert pictures_of(pages).count("image not found") == 1

    def test_same_results_same_bytes(self, out):
        first = write_cohort(out).read_bytes()

        assert write_cohort(out).read_bytes() == first

    def test_warns_of_mixed_precision(self, out):
        path = out / "case-0" / "prediction.json"
        path.write_text(path.read_text().replace('"fp32"', '"bf16"'))

        assert "bf16, fp32 MIXED: compare with care" in text_of(write_cohort(out))[0]

    def test_long_tables_go_on_over_pages(self, out):
        for number in range(60):
            shutil.copytree(out / "case-2", out / f"copy-{number:02d}")
        (out / "case-2" / "t2w" / "t2w.nii.gz").unlink()
        pages = text_of(write_cohort(out))

        assert "those that need review first, continued" in pages[1]
        assert "in the order of the table, continued" in pages[-1]
        table = " ".join(pages).split("Slice with most lesion")[0]
        assert table.count("case-2") == 1 + 60

    def test_of_one_failed_study_alone(self, tmp_path):
        write_failure("a", UnreadableFileError("no."), tmp_path / "a")
        pages = text_of(write_cohort(tmp_path))

        assert "1 study" in pages[0]
        assert "SIMULATION" not in " ".join(pages)

    def test_nothing_there_is_a_usage_error(self, tmp_path):
        with pytest.raises(UsageError, match="no results"):
            write_cohort(tmp_path)
