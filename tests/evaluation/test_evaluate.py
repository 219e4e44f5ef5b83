import csv
import json
import re

import numpy as np
import pytest
from evaluation_cases import (
    Case,
    balanced_cases,
    box,
    scores_for,
    table_2_cases,
    write_mask,
    write_prediction,
    write_results,
    write_truth,
)
from jsonschema import Draft202012Validator

from spinaldx.errors import TableError, UsageError
from spinaldx.evaluation import (
    Evaluation,
    EvaluationOptions,
    as_json,
    evaluate,
    json_schema,
)
from spinaldx.evaluation.estimates import Bootstrap
from spinaldx.evaluation.page import build_page
from spinaldx.evaluation.tables import Column, Table

FAST = EvaluationOptions(bootstrap=Bootstrap(100))
HOSTILE = "<script>alert(1)</script>|=[x](http://a.b)`"
TABLES = (
    "flow", "cascade", "classification", "classification_secondary", "matrix",
    "diseases", "detection", "segmentation", "segmentation_empty", "comparison",
    "comparison_segmentation", "readers", "readers_comparison", "calibration",
    "reliability", "decision_curve", "subgroups", "subgroups_segmentation",
    "baselines", "cohort", "cohort_pairs", "segmentation_patients",
)  # fmt: skip
FIGURES = ("decision_curve", "dice", "matrix", "reliability", "roc")


def rich_cohort(folder):
    """Everything at once: masks, readers, healthy, failed, a second folder."""
    generator = np.random.default_rng(5)
    cases = [*table_2_cases(), *[Case(f"h{n}", "healthy", answer="no_lesion") for n in range(3)]]  # fmt: skip
    cases[7].answer, cases[80].answer = "failed", "indeterminate"
    write_mask(folder / "mask.nii.gz", box())
    for n, case in enumerate(cases):
        case.truth |= {"age": f"{10 + n % 60}", "sex": "FM"[n % 2], "site": "A"}
        case.truth |= {"rater1": case.diagnosis, "rater2": "ms"}
        case.result["weights_training_data"] = "simulated"
        if n < 12 or case.diagnosis == "healthy":
            case.truth["mask"] = "mask.nii.gz" if n < 12 else ""
            for name in ("out", "other"):
                moved = box(start=(2, 5, 5 + int(generator.integers(3))))
                write_mask(
                    folder / name / case.name / "t2w" / "lesion_mask.nii.gz", moved
                )
            write_prediction(
                folder / "out", case, origin=("corrected", "automatic")[n % 2]
            )
    cases[0].truth["site"] = HOSTILE
    other = [Case(c.name, c.diagnosis, tuple(1 - s for s in c.scores)) for c in cases]
    return cases, [
        write_results(folder / "out", cases),
        write_results(folder / "other", other),
    ]


@pytest.fixture
def no_figures(monkeypatch):
    """Leave out what takes most of the time where it is not looked at."""
    monkeypatch.setattr("spinaldx.evaluation.assemble.draw_figures", lambda *_: {})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    cases, results = rich_cohort(folder)
    truth = write_truth(folder / "cases.csv", cases)
    found = evaluate(results, truth, folder / "evaluation", FAST)
    return found, folder / "evaluation", (results, truth)


class TestFiles:
    def test_every_table_and_figure_is_there(self, written):
        found, out, _ = written
        names = {
            str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()
        }

        assert tuple(table.key for table in found.tables) == TABLES
        assert names == {
            "evaluation.html", "evaluation.json", "evaluation.md", "tables/README.txt",
            *(f"tables/{key}.csv" for key in TABLES),
            *(f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")),
        }  # fmt: skip

    def test_json_follows_its_schema(self, written):
        _, out, _ = written
        record = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
        schema = json_schema()
        Draft202012Validator.check_schema(schema)

        assert list(Draft202012Validator(schema).iter_errors(record)) == []
        assert record["notice"] == "Research use only. Not a medical device."

    def test_same_input_same_bytes(self, written, tmp_path):
        _, out, (results, truth) = written
        evaluate(results, truth, tmp_path / "again", FAST)

        for path in sorted(out.rglob("*.*")):
            again = tmp_path / "again" / path.relative_to(out)
            assert again.read_bytes() == path.read_bytes(), path.name

    def test_undefined_is_never_nan(self, written):
        _, out, _ = written
        text = "".join(path.read_text() for path in out.glob("tables/*.csv"))

        assert "nan" not in text.lower()
        assert "n/a" in text

    def test_csv_files_say_what_they_rest_on(self, written):
        text = (written[1] / "tables" / "README.txt").read_text()

        assert text.startswith("Classifier output (trained on simulation).")
        assert "cascade.csv  Four diseases, whole cascade" in text

    def test_csv_has_numbers_in_parts(self, written):
        _, out, _ = written
        with (out / "tables" / "classification.csv").open(newline="") as stream:
            row = next(csv.DictReader(stream))

        share = int(row["accuracy_count"]) / int(row["accuracy_total"])
        assert float(row["accuracy"]) == share
        assert float(row["accuracy_low"]) < share < float(row["accuracy_high"])


class TestPage:
    def page(self, written):
        return (written[1] / "evaluation.html").read_text(encoding="utf-8")

    def test_nothing_is_loaded(self, written):
        page = self.page(written)
        sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s)>]+)""", page)

        assert "default-src 'none'" in page
        assert sources
        assert all(
            text.startswith(("data:image/svg+xml;base64,", "#")) for text in sources
        )
        assert "<script" not in page
        assert not re.search(r"@import|<link|<iframe|<object", page)

    def test_texts_from_outside_are_escaped(self, written):
        page = self.page(written)

        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert HOSTILE not in page

    def test_links_of_the_contents_lead_somewhere(self, written):
        page = self.page(written)

        assert set(re.findall(r'href="#(\w+)"', page)) == set(
            re.findall(r'id="(\w+)"', page)
        )

    def test_says_what_it_rests_on(self, written):
        page = self.page(written)

        assert "Classifier output (trained on simulation)" in page
        assert "Research use only. Not a medical device." in page


def test_markdown_escapes_what_it_would_obey(written):
    text = (written[1] / "evaluation.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]

    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\|=\[x\](http://a.b)\`" in text
    assert all(line.endswith(" |") for line in lines)


def test_headline_figures_are_those_of_the_primary_tables(written):
    found = dict(written[0].headline)

    assert found["Healthy patients without a false lesion"].startswith("100.0 % (3/3)")
    # Table 2 has 4 + 7 errors; one failed and one indeterminate patient join them.
    assert found["Model 1: tumour vs demyelination"].startswith("94.9 % (242/255)")


def test_warnings_name_the_folders_and_the_corrections(written):
    warnings = " ".join(written[0].warnings)

    assert "All tables but the comparisons are of out." in warnings
    assert "out: the masks of 7 patients were corrected by a person" in warnings
    assert "other: no prediction.json for some studies" in warnings


def test_json_of_the_value_is_what_was_written(written):
    found, out, _ = written

    assert json.loads((out / "evaluation.json").read_text()) == as_json(found)


class TestPartial:
    def run(self, tmp_path, cases, options=FAST, names=("out",)):
        results = [write_results(tmp_path / name, cases) for name in names]
        truth = write_truth(tmp_path / "cases.csv", cases)
        return evaluate(results, truth, tmp_path / "evaluation", options)

    @pytest.mark.usefixtures("no_figures")
    def test_diagnoses_alone(self, tmp_path):
        found = self.run(tmp_path, balanced_cases(2))

        assert found.missing == (
            "No true masks: segmentation was not scored.",
            "No ages, sexes, sites: no subgroups and baselines of these.",
            "No readers: columns rater1, rater2 ... are not there.",
        )
        assert found.statement.startswith("Classifier output, never a diagnosis.")

    def test_masks_alone(self, tmp_path):
        case = Case("a", "", scores_for(2), truth={"mask": "mask.nii.gz"})
        write_mask(tmp_path / "mask.nii.gz", box())
        write_mask(tmp_path / "out" / "a" / "t2w" / "lesion_mask.nii.gz", box())
        found = self.run(tmp_path, [case])

        assert sorted(found.figures) == ["dice"]
        assert [table.key for table in found.tables] == [
            "flow", "segmentation", "segmentation_patients",
        ]  # fmt: skip
        assert "No diagnoses: classification was not scored." in found.missing
        with pytest.raises(KeyError):
            found.table("classification")

    @pytest.mark.usefixtures("no_figures")
    def test_healthy_patients_alone(self, tmp_path):
        found = self.run(tmp_path, [Case("h", "healthy", answer="no_lesion")])

        assert found.table("detection").rows[0][1].value == 1.0

    def test_all_failed(self, tmp_path):
        cases = [Case(c.name, c.diagnosis, None, "failed") for c in balanced_cases(2)]
        found = self.run(tmp_path, cases)

        assert found.table("cascade").rows[0][1].value == 0.0
        assert sorted(found.figures) == ["matrix"]

    @pytest.mark.usefixtures("no_figures")
    def test_one_split(self, tmp_path):
        cases = [*balanced_cases(2, split="test"), Case("t", "ms", scores_for(3), truth={"split": "train"})]  # fmt: skip
        found = self.run(tmp_path, cases, EvaluationOptions("test", Bootstrap(100)))

        assert found.table("flow").rows[0] == ("in the truth table", 8)
        assert not any("marked as known" in text for text in found.warnings)

    @pytest.mark.usefixtures("no_figures")
    @pytest.mark.parametrize("split", ["train", "validation"])
    def test_patients_that_training_knew_are_a_warning(self, tmp_path, split):
        found = self.run(tmp_path, balanced_cases(2, split=split))

        assert f"marked as known: 8 as {split}." in found.warnings[0]

    @pytest.mark.usefixtures("no_figures")
    def test_no_split_is_a_warning_where_the_weights_met_patients(self, tmp_path):
        cases = balanced_cases(1)
        met = self.run(tmp_path / "a", cases).warnings
        for case in cases:
            case.result = {"weights_training_data": "simulated"}
        not_met = self.run(tmp_path / "b", cases).warnings

        assert "has no column 'split'" in met[0]
        assert not any("split" in text for text in not_met)

    @pytest.mark.usefixtures("no_figures")
    def test_a_few_patients_of_many_locations(self, tmp_path):
        cases = balanced_cases(1)
        for place, case in enumerate(cases):
            case.truth["location"] = f"place {place}"
        found = self.run(tmp_path, cases)

        assert found.table("cohort").rows

    @pytest.mark.usefixtures("no_figures")
    def test_mixed_and_unknown_weights_are_a_warning(self, tmp_path):
        cases = balanced_cases(1)
        for case in cases:
            case.result = {"weights": case.name, "weights_training_data": ""}
        found = self.run(tmp_path, cases)

        assert "results of several weights are mixed" in found.warnings[0]
        assert "not said what the weights were trained on" in found.warnings[1]

    @pytest.mark.usefixtures("no_figures")
    def test_folders_of_one_name_are_told_apart(self, tmp_path):
        found = self.run(tmp_path, balanced_cases(1), names=("a/out", "b/out"))

        assert found.folders == ("out", "out (2)")


class TestRefused:
    def test_unknown_split(self, tmp_path):
        truth = write_truth(tmp_path / "cases.csv", balanced_cases(1))
        with pytest.raises(TableError, match="belongs to the split 'test'"):
            evaluate([tmp_path], truth, tmp_path / "e", EvaluationOptions("test"))

    def test_no_folder(self, tmp_path):
        with pytest.raises(UsageError, match="No results folder"):
            evaluate([], tmp_path / "cases.csv", tmp_path / "e")

    def test_output_into_the_results(self, tmp_path):
        with pytest.raises(UsageError, match="is a results folder"):
            evaluate([tmp_path], tmp_path / "cases.csv", tmp_path)


def test_the_page_shows_the_first_rows_of_long_tables(written):
    found, out, _ = written
    page = (out / "evaluation.html").read_text(encoding="utf-8")

    assert len(found.table("segmentation_patients").rows) == 15
    assert "<summary>15 rows</summary>" in page


def test_very_long_tables_are_cut_on_the_page():
    rows = tuple((f"case {n}",) for n in range(201))
    table = Table("long", "Long", (Column("case", "Case"),), rows)
    value = Evaluation("s", ("out",), (table,), (), (), (), {"program_version": "1"})
    page = build_page(value)

    assert "case 199<" in page
    assert "case 200<" not in page
    assert "First 200 of 201 rows; all in the CSV." in page
