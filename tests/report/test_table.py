import csv
import json
import threading

import pytest
from report_cases import FLAG, case_of

from spinaldx.errors import OutputError, UnreadableFileError
from spinaldx.records import Diagnosis
from spinaldx.report import update_studies_csv, write_case, write_failure
from spinaldx.report.prediction_json import COLUMNS
from spinaldx.report.results import WriteOptions
from spinaldx.report.table import guard_cell, read_record, read_records, study_folders

NO_PDF = WriteOptions(report=False)


def rows_of(out):
    with (out / "studies.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class TestUpdateStudiesCsv:
    def test_has_the_columns_of_the_design_and_a_row_a_study(self, tmp_path):
        write_case(case_of(study="b"), tmp_path / "b", NO_PDF)
        write_failure("a", UnreadableFileError("x.nii: cut off."), tmp_path / "a")
        update_studies_csv(tmp_path)
        header = (tmp_path / "studies.csv").read_text().split("\n", 1)[0]

        assert header == ",".join(COLUMNS)
        assert [(r["study"], r["status"]) for r in rows_of(tmp_path)] == [
            ("a", "failed"),
            ("b", "complete"),
        ]
        assert rows_of(tmp_path)[0]["message"] == "x.nii: cut off."

    def test_holds_the_numbers_of_the_json(self, tmp_path):
        write_case(case_of(flags=(FLAG,)), tmp_path / "a", NO_PDF)
        update_studies_csv(tmp_path)
        record = read_record(tmp_path / "a")
        (row,) = rows_of(tmp_path)

        assert float(row["p_ms"]) == record["p_ms"]
        assert float(row["lesion_volume_ml"]) == record["lesion_volume_ml"]
        assert (row["needs_review"], row["review_reason"]) == ("true", FLAG.message)
        assert row["weights_training_data"] == "simulated"

    def test_no_lesion_leaves_probabilities_empty(self, tmp_path):
        write_case(case_of(diagnosis=Diagnosis.NO_LESION), tmp_path / "a", NO_PDF)
        update_studies_csv(tmp_path)
        (row,) = rows_of(tmp_path)

        assert (row["p_ms"], row["lesion_count"], row["needs_review"]) == (
            "",
            "0",
            "false",
        )

    def test_a_result_that_cannot_be_read_has_a_row_that_says_so(self, tmp_path):
        write_case(case_of(study="a"), tmp_path / "a", NO_PDF)
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "prediction.json").write_text("{cut")
        update_studies_csv(tmp_path)
        whole, cut = rows_of(tmp_path)

        assert whole["status"] == "complete"
        assert (cut["study"], cut["status"]) == ("b", "failed")
        assert cut["message"].startswith("Cannot read b/prediction.json.")

    def test_of_an_empty_folder_is_a_header(self, tmp_path):
        update_studies_csv(tmp_path / "new")

        assert rows_of(tmp_path / "new") == []

    def test_same_studies_same_bytes(self, tmp_path):
        write_case(case_of(), tmp_path / "a", NO_PDF)
        update_studies_csv(tmp_path)
        first = (tmp_path / "studies.csv").read_bytes()
        update_studies_csv(tmp_path)

        assert (tmp_path / "studies.csv").read_bytes() == first

    def test_the_last_of_many_writers_has_seen_every_study(self, tmp_path):
        def finish(number):
            write_case(case_of(study=f"s{number}"), tmp_path / f"s{number}", NO_PDF)
            update_studies_csv(tmp_path)

        threads = [threading.Thread(target=finish, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(rows_of(tmp_path)) == 8

    def test_a_file_in_the_way_is_a_named_error(self, tmp_path):
        (tmp_path / "out").write_text("")
        with pytest.raises(OutputError, match="Cannot write"):
            update_studies_csv(tmp_path / "out")

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r\n=", "\0+"])
    def test_a_name_never_becomes_a_formula(self, tmp_path, start):
        name = f"{start}cmd|'/c calc'!A1"
        write_failure(name, UnreadableFileError(f"{name}: no."), tmp_path / "a")
        update_studies_csv(tmp_path)
        (row,) = rows_of(tmp_path)

        assert row["study"] == "'" + "".join(
            sign if sign.isprintable() else " " for sign in name
        )
        assert row["message"].startswith("'")


class TestReadRecords:
    def test_ignores_what_is_no_study(self, tmp_path):
        write_case(case_of(), tmp_path / "a", NO_PDF)
        write_case(case_of(), tmp_path / ".writing-b", NO_PDF)
        (tmp_path / "runs").mkdir()
        (tmp_path / "notes.txt").write_text("")

        assert [folder.name for folder in study_folders(tmp_path)] == ["a"]

    def test_of_a_missing_folder_are_none(self, tmp_path):
        assert read_records(tmp_path / "none") == ()

    @pytest.mark.parametrize("content", ["", "[1]", "{"])
    def test_a_damaged_result_is_named(self, tmp_path, content):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "prediction.json").write_text(content)
        with pytest.raises(OutputError, match=r"a/prediction\.json"):
            read_records(tmp_path)

    def test_complete_wins_over_failed(self, tmp_path):
        write_failure("a", UnreadableFileError("no."), tmp_path / "a")
        write_case(case_of(study="a"), tmp_path / "a", NO_PDF)

        assert read_record(tmp_path / "a")["status"] == "complete"


def test_guard_leaves_plain_text():
    assert guard_cell("t2w=1") == "t2w=1"
    assert json.loads(json.dumps(guard_cell("=1"))) == "'=1"
