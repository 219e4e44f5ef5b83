"""Folders as `report` writes them, read back by `evaluate`."""

import pytest
from evaluation_cases import write_mask, write_table
from report_cases import case_of

from spinaldx.errors import NoUsableSeriesError
from spinaldx.evaluation import EvaluationOptions, evaluate
from spinaldx.evaluation.estimates import Bootstrap
from spinaldx.records import Diagnosis, MaskOrigin
from spinaldx.report import WriteOptions, update_studies_csv, write_case, write_failure

ANSWERS = {
    "a": Diagnosis.ASTROCYTOMA,
    "b": Diagnosis.NMOSD,
    "c": Diagnosis.INDETERMINATE,
    "d": Diagnosis.NO_LESION,
}
TRUTH = {"a": "astrocytoma", "b": "ms", "c": "ms", "d": "healthy", "e": "nmosd"}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rows = []
    for name, answer in ANSWERS.items():
        origin = MaskOrigin.PERSON if name == "b" else MaskOrigin.NETWORK
        result = case_of(
            study=name,
            diagnosis=answer,
            origin=origin,
            shape=(5, 64, 48),
            series=("t2w-01", "t2w-02"),
            degrees=(3.0, 8.0, -5.0),
        )
        write_case(result, folder / "out" / name, WriteOptions(report=False))
        for item in result.series:
            path = folder / f"{name}-{item.volume.name}.nii.gz"
            write_mask(path, item.mask.labels, item.volume.affine_ras)
            rows.append(
                {
                    "case": name,
                    "series": item.volume.name,
                    "diagnosis": TRUTH[name],
                    "mask": path.name,
                }
            )
    rows.append({"case": "e", "series": "", "diagnosis": TRUTH["e"], "mask": ""})
    write_failure("e", NoUsableSeriesError("No series."), folder / "out" / "e")
    update_studies_csv(folder / "out")
    truth = write_table(folder / "cases.csv", rows)
    options = EvaluationOptions(bootstrap=Bootstrap(100))
    return evaluate([folder / "out"], truth, folder / "evaluation", options)


def test_every_study_is_found_with_its_answer(found):
    counts = {row[0]: list(row[1:]) for row in found.table("matrix").rows}

    assert counts["astrocytoma"] == [1, 0, 0, 0, 0, 0, 0, 1]
    assert counts["MS"] == [0, 0, 0, 1, 1, 0, 0, 2]
    assert counts["NMOSD"] == [0, 0, 0, 0, 0, 0, 1, 1]
    assert counts["healthy"] == [0, 0, 0, 0, 0, 1, 0, 1]


def test_masks_of_both_stations_are_found(found):
    rows = {row[0]: row for row in found.table("segmentation_patients").rows}

    assert [rows[name][4].value for name in "abc"] == [1.0, 1.0, 1.0]
    assert [rows[name][2] for name in "ab"] == ["automatic", "corrected"]
    assert rows["d"][4].reason == "both masks are empty"


def test_nothing_else_is_missing(found):
    assert [text for text in found.missing if "mask" in text] == []
    assert found.statement.startswith("Classifier output (trained on simulation).")
