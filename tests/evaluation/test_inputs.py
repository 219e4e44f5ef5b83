import json

import pytest
from evaluation_cases import (
    Case,
    balanced_cases,
    cohort_of,
    result_row,
    scores_for,
    write_prediction,
    write_results,
    write_table,
    write_truth,
)

from spinaldx.errors import OutputError, TableError
from spinaldx.evaluation.inputs import join_results, read_patients
from spinaldx.records import Disease, Task


class TestPatients:
    def test_rows_of_one_case_are_one_patient(self, tmp_path):
        rows = [
            {"case": "a", "diagnosis": "ms", "series": "cervical", "mask": "c.nii.gz", "t2w": "x/c1.nii.gz", "age": "40", "sex": "F", "site": ""},
            {"case": "a", "diagnosis": "ms", "series": "", "mask": "", "t2w": "x/t 1.nii", "age": "", "sex": "", "site": "s"},
            {"case": "b", "diagnosis": "healthy", "series": "", "mask": "", "t2w": "", "age": "", "sex": "", "site": ""},
        ]  # fmt: skip
        a, b = read_patients(write_table(tmp_path / "cases.csv", rows))

        assert (a.diagnosis, a.age, a.sex, a.site) == ("ms", 40.0, "female", "s")
        assert [image.series for image in a.images] == [("cervical", "c1"), ("t_1",)]
        assert [image.mask is None for image in a.images] == [False, True]
        assert (b.diagnosis, b.age, b.images[0].series) == ("healthy", None, ())

    def test_a_reader_s_answer_may_stand_in_any_row(self, tmp_path):
        rows = [
            {"case": "a", "series": "c", "rater1": "ms", "rater2": ""},
            {"case": "a", "series": "t", "rater1": "", "rater2": "nmosd"},
        ]
        (patient,) = read_patients(write_table(tmp_path / "cases.csv", rows))

        assert patient.raters == (("rater1", "ms"), ("rater2", "nmosd"))

    def test_readers_that_disagree_with_themselves_are_a_fault(self, tmp_path):
        rows = [
            {"case": "a", "series": "c", "rater1": "ms"},
            {"case": "a", "series": "t", "rater1": "nmosd"},
        ]
        with pytest.raises(TableError, match="case 'a' disagree in column 'rater1'"):
            read_patients(write_table(tmp_path / "cases.csv", rows))

    def test_rows_that_disagree_are_a_fault(self, tmp_path):
        cases = [Case("a", "ms", truth={"series": "1"}), Case("a", "nmosd", truth={"series": "2"})]  # fmt: skip
        with pytest.raises(TableError, match="case 'a' disagree in column 'diagnosis'"):
            read_patients(write_truth(tmp_path / "cases.csv", cases))

    def test_no_diagnosis_column(self, tmp_path):
        table = write_table(tmp_path / "cases.csv", [{"case": "a", "mask": "m.nii.gz"}])

        assert read_patients(table)[0].diagnosis == ""


class TestJoin:
    def test_reads_scores_lesions_and_weights(self, tmp_path):
        cohort = cohort_of(tmp_path, [Case("a", "ms", (0.9, 0.2, 0.4))])
        row = cohort.results[0]

        assert (row.diagnosis, row.weights, row.training_data) == (
            "ms",
            "test 1",
            "patients",
        )
        assert (row.lesion_count, row.volume_ml, row.length_mm) == (1, 2.0, 20.0)
        assert row.stages[Task.MS_VS_NMOSD] == 0.4
        assert row.joint[Disease.MS] == pytest.approx(0.54)
        assert row.cut_offs == {}

    def test_missing_and_extra_studies_are_listed(self, tmp_path):
        cases = balanced_cases(1)
        cohort = cohort_of(tmp_path, cases[:3], cases[1:])

        assert cohort.results[0] is None
        assert [text.split(": ") for text in cohort.missing] == [
            ["1 in the truth table without a result, counted as failed", "astrocytoma-0."],
            ["1 with a result but not in the truth table, left out", "nmosd-0."],
        ]  # fmt: skip

    def test_long_lists_are_cut(self, tmp_path):
        cases = balanced_cases(3)
        cohort = cohort_of(tmp_path, cases, cases[:1])

        assert cohort.missing[0].endswith("and 6 more.")

    def test_names_are_matched_as_made_safe_and_unguarded(self, tmp_path):
        truth = write_truth(
            tmp_path / "cases.csv", [Case("=a b", "ms"), Case("-c", "ms")]
        )
        rows = [Case("a_b", "ms", scores_for(2)), Case("'-c", "ms", scores_for(3))]
        cohort = join_results(read_patients(truth), write_results(tmp_path / "o", rows))

        assert [row.diagnosis for row in cohort.results] == ["ms", "nmosd"]

    def test_prediction_json_adds_cut_offs_and_who_drew_the_mask(self, tmp_path):
        cases = [Case("a", "ms", (0.9, 0.2, 0.4)), Case("f", "ms", None, "failed")]
        folder = write_results(tmp_path / "out", cases)
        write_prediction(folder, cases[0], cut_offs=(0.4, 0.5, 0.6), origin="corrected")
        patients = read_patients(write_truth(tmp_path / "cases.csv", cases))
        first, failed = join_results(patients, folder).results

        assert first.cut_offs[Task.MS_VS_NMOSD] == 0.6
        assert first.is_corrected
        assert first.mask_sha256 == {"t2w": "0" * 64}
        assert (failed.is_failed, failed.diagnosis) == (True, "")

    def test_a_table_alone_is_enough(self, tmp_path):
        cases = balanced_cases(1)
        table = write_results(tmp_path / "out", cases) / "studies.csv"
        patients = read_patients(write_truth(tmp_path / "cases.csv", cases))

        assert join_results(patients, table).name == "out"

    def test_json_alone_is_enough(self, tmp_path):
        case = Case("a", "ms", scores_for(2))
        record = {key: value or None for key, value in result_row(case).items()}
        record |= {"stages": [], "series": []}
        path = tmp_path / "out" / "a" / "prediction.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record))
        patients = read_patients(write_truth(tmp_path / "cases.csv", [case]))

        assert join_results(patients, tmp_path / "out").results[0].diagnosis == "ms"


class TestFaults:
    def join(self, tmp_path, results):
        patients = read_patients(write_truth(tmp_path / "cases.csv", balanced_cases(1)))
        return join_results(patients, results)

    def rejected(self, tmp_path, match, **cells):
        cases = balanced_cases(1)
        cases[0].result = cells
        with pytest.raises(TableError, match=match) as caught:
            self.join(tmp_path, write_results(tmp_path / "out", cases))
        assert caught.value.exit_code == 3

    def test_nothing_there(self, tmp_path):
        with pytest.raises(TableError, match="no results of predict there"):
            self.join(tmp_path, tmp_path)

    @pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "much"])
    def test_a_score_out_of_range(self, tmp_path, value):
        match = "row 2, column 'p_demyelination': not a number in range"
        self.rejected(tmp_path, match, p_demyelination=value)

    def test_a_count_that_is_none(self, tmp_path):
        self.rejected(tmp_path, "column 'lesion_count'", lesion_count="x")

    def test_an_unknown_answer(self, tmp_path):
        match = "row 2, column 'diagnosis': not an answer of predict"
        self.rejected(tmp_path, match, diagnosis="glioma")

    def test_the_same_study_twice(self, tmp_path):
        self.rejected(tmp_path, "twice", study="ms-0")

    def test_no_name_in_common(self, tmp_path):
        cases = [Case("study-0001", "ms", scores_for(2))]
        with pytest.raises(TableError, match="no study bears the name") as caught:
            self.join(tmp_path, write_results(tmp_path / "out", cases))

        assert "pseudonyms" in caught.value.hint

    def test_a_missing_column(self, tmp_path):
        table = write_table(tmp_path / "studies.csv", [{"study": "a", "status": "x"}])
        with pytest.raises(TableError, match="column 'diagnosis' is missing"):
            self.join(tmp_path, table)

    def test_not_a_table(self, tmp_path):
        (tmp_path / "studies.csv").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(TableError, match="cannot be read as a table"):
            self.join(tmp_path, tmp_path)

    @pytest.mark.parametrize("text", ["{", "{}", '{"stages": [{"task": "x"}]}'])
    def test_a_damaged_prediction(self, tmp_path, text):
        folder = write_results(tmp_path / "out", balanced_cases(1))
        (folder / "ms-0").mkdir()
        (folder / "ms-0" / "prediction.json").write_text(text)
        with pytest.raises(TableError, match=r"ms-0/prediction.json: cannot be read"):
            self.join(tmp_path, folder)

    def test_a_damaged_result_without_a_table(self, tmp_path):
        (tmp_path / "out" / "a").mkdir(parents=True)
        (tmp_path / "out" / "a" / "prediction.json").write_text("{")
        with pytest.raises(OutputError):
            self.join(tmp_path, tmp_path / "out")
