import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from report_cases import FLAG, SCORES, case_of

from spinaldx.errors import InferenceError, OutputError
from spinaldx.records import (
    Diagnosis,
    Disease,
    MaskOrigin,
    QualityFlag,
    Task,
    WeightsInfo,
)
from spinaldx.report import json_schema, write_case
from spinaldx.report.case import StoredHeatmap
from spinaldx.report.prediction_json import (
    COLUMNS,
    case_record,
    failure_record,
    number,
    parse_case,
)

PATIENTS = WeightsInfo("clinic", "2", "patients", "12" * 32)


def record_of(**changes):
    result = case_of(**changes)
    names = [item.volume.name for item in result.series]
    heatmaps = {
        item.volume.name: tuple(
            StoredHeatmap(h.task, h.target, h.cell_mm, "heatmap.nii.gz", {})
            for h in item.heatmaps
        )
        for item in result.series
    }
    return case_record(result, dict.fromkeys(names, "ef" * 32), heatmaps)


class TestCaseRecord:
    @pytest.mark.parametrize("diagnosis", list(Diagnosis))
    def test_follows_the_schema(self, diagnosis):
        record = record_of(diagnosis=diagnosis, series=("a", "b"), flags=(FLAG,))

        jsonschema.validate(
            json.loads(json.dumps(record, allow_nan=False)), json_schema()
        )

    def test_the_schema_is_a_schema_and_closed(self):
        jsonschema.Draft202012Validator.check_schema(json_schema())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**record_of(), "patient": "x"}, json_schema())

    @pytest.mark.parametrize(
        "name", ["lesion_count", "lesion_volume_ml", "lesion_length_mm"]
    )
    def test_the_schema_says_that_overlapping_series_add(self, name):
        described = json_schema()["properties"][name]["description"]

        assert "two overlapping series" in described

    def test_the_schema_says_from_where_slices_count(self):
        properties = json_schema()["properties"]
        lesion = properties["lesions"]["items"]["properties"]

        assert "from 0" in properties["slice_scores"]["description"]
        assert "from 0" in lesion["slices"]["description"]

    def test_begins_with_the_row_of_the_table(self):
        assert tuple(record_of())[: len(COLUMNS)] == COLUMNS

    def test_holds_the_sums_over_all_lesions(self):
        record = record_of(lesions=3, series=("a", "b"))
        lesions = record["lesions"]

        assert record["lesion_count"] == 6
        assert record["lesion_volume_ml"] == pytest.approx(
            sum(item["volume_mm3"] for item in lesions) / 1000
        )
        assert record["lesion_length_mm"] == pytest.approx(
            sum(item["length_mm"] for item in lesions)
        )

    def test_no_lesion_has_no_probability(self):
        record = record_of(diagnosis=Diagnosis.NO_LESION)

        assert [record[f"p_{d.value}"] for d in Disease] == [None] * 4
        assert (record["lesion_count"], record["needs_review"]) == (0, False)

    def test_indeterminate_needs_review_with_the_reason(self):
        record = record_of(diagnosis=Diagnosis.INDETERMINATE)

        assert record["needs_review"]
        assert "within 0.05 of the cut-off 0.50" in record["review_reason"]

    def test_only_flags_that_need_review_are_a_reason(self):
        note = QualityFlag("note", "A remark.", needs_review=False)
        record = record_of(flags=(FLAG, note, FLAG))

        assert record["review_reason"] == FLAG.message
        assert [flag["code"] for flag in record["flags"]] == ["many_lesions", "note"]

    @pytest.mark.parametrize(
        ("names", "messages"),
        [(("a",), ["A remark."]), (("a", "b"), ["a: A remark.", "b: A remark."])],
    )
    def test_of_several_series_a_flag_names_its_own(self, names, messages):
        note = QualityFlag("note", "A remark.", needs_review=False)
        result = case_of(series=names)
        flagged = tuple(replace(item, flags=(note, note)) for item in result.series)
        written = dict.fromkeys(names, "ef" * 32)
        flagged = replace(result, series=flagged)
        record = case_record(flagged, written, dict.fromkeys(names, ()))

        assert [flag["message"] for flag in record["flags"]] == messages

    def test_says_simulation_only_where_it_is_true(self):
        assert "simulated patients" in record_of()["simulation_notice"]
        assert "trained on simulation" in record_of()["answer"]
        assert record_of(weights=PATIENTS)["simulation_notice"] == ""
        assert "simulation" not in record_of(weights=PATIENTS)["answer"]

    def test_a_corrected_mask_is_marked(self):
        record = record_of(origin=MaskOrigin.PERSON)

        assert record["series"][0]["mask_origin"] == "corrected"

    def test_the_notice_is_there_and_diagnosis_is_never_said(self):
        record = record_of()

        assert record["notice"] == "Research use only. Not a medical device."
        assert "diagnosis" not in record["answer"].lower()


class TestParseCase:
    @pytest.mark.parametrize("diagnosis", list(Diagnosis))
    def test_gives_back_what_was_written(self, diagnosis):
        result = case_of(diagnosis=diagnosis, lesions=2, flags=(FLAG,))
        stored = parse_case(
            json.loads(
                json.dumps(record_of(diagnosis=diagnosis, lesions=2, flags=(FLAG,)))
            )
        )

        assert stored.prediction.diagnosis is diagnosis
        assert stored.provenance == result.provenance
        assert stored.flags == (FLAG,)
        assert [item.slices for item in stored.lesions] == [
            item.slices for item in result.lesions
        ]
        for stage, task in zip(stored.prediction.stages, Task, strict=False):
            expected = SCORES[diagnosis][list(Task).index(task)]
            assert stage.positive_probability == pytest.approx(expected, abs=1e-6)

    def test_gives_back_what_the_classifiers_were_told(self):
        told = {"volume_ml": 1.25, "contrast": None, "cord_share": 0.61}
        result = case_of()
        series = replace(result.series[0], told_numbers=told)
        record = case_record(
            replace(result, series=(series,)),
            {series.volume.name: "ef" * 32},
            {series.volume.name: ()},
        )
        jsonschema.validate(record, json_schema())
        assert parse_case(record).series[0].told_numbers == told

        del record["series"][0]["told_numbers"]  # as in older results
        jsonschema.validate(record, json_schema())
        assert parse_case(record).series[0].told_numbers == {}

    def test_keeps_the_affine_exactly(self):
        result = case_of(degrees=(3.0, 14.0, -27.0))
        stored = parse_case(
            json.loads(json.dumps(record_of(degrees=(3.0, 14.0, -27.0))))
        )

        assert np.array_equal(
            stored.series[0].affine_ras, result.series[0].volume.affine_ras
        )

    @pytest.mark.parametrize(
        "change",
        [
            {"schema_version": 2},
            {"status": "failed"},
            {"diagnosis": "flu"},
            {"series": [{}]},
            {"lesions": None},
        ],
    )
    def test_refuses_what_is_not_a_result(self, change):
        with pytest.raises(OutputError):
            parse_case({**record_of(), **change})


class TestFailureRecord:
    def test_keeps_the_message_of_our_own_errors(self):
        error = InferenceError("No such device.", hint="Take cpu.")
        record = failure_record("a", error, "key", PATIENTS)

        assert (record["message"], record["hint"]) == ("No such device.", "Take cpu.")
        assert (record["status"], record["exit_code"]) == ("failed", 5)
        assert (record["weights"], record["weights_training_data"]) == (
            "clinic 2",
            "patients",
        )

    def test_keeps_nothing_but_the_type_of_others(self):
        record = failure_record("a", ValueError("Doe^John"), "", None)

        assert "Doe" not in json.dumps(record)
        assert (record["error"], record["exit_code"]) == ("ValueError", 1)
        assert record["weights"] is None


@pytest.mark.parametrize(
    ("value", "expected"), [(np.float32(0.1), 0.1), (-0.0, 0.0), (1 / 3, 0.333333)]
)
def test_number_is_rounded_and_plain(value, expected):
    assert repr(number(value)) == repr(expected)


def test_the_file_is_the_record(tmp_path):
    write_case(case_of(), tmp_path)
    record = json.loads((tmp_path / "prediction.json").read_text())

    jsonschema.validate(record, json_schema())
