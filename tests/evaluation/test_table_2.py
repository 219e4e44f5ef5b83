"""The paper's Table 2 comes back from predictions that have its counts."""

import pytest
from evaluation_cases import table_2_cases, write_results, write_truth

from spinaldx.evaluation.classification import classification_table
from spinaldx.evaluation.inputs import join_results, read_patients
from spinaldx.evaluation.patients import patient_blocks, to_scored
from spinaldx.evaluation.tables import cell_text

# block, model, tp, positives, tn, negatives (domain notes, section 6d).
COUNTS = (
    ("split validation", 1, 47, 48, 47, 50),
    ("split validation", 2, 20, 26, 20, 24),
    ("split validation", 3, 24, 28, 18, 20),
    ("split test", 1, 76, 78, 74, 79),
    ("split test", 2, 34, 45, 31, 34),
    ("split test", 3, 36, 45, 26, 33),
    ("difficult", 1, 21, 22, 17, 18),
    ("difficult", 2, 6, 7, 9, 11),
    ("difficult", 3, 13, 15, 5, 7),
)
POSITIVE = {1: "demyelination", 2: "ependymoma", 3: "NMOSD"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table2")
    cases = table_2_cases()
    truth = write_truth(folder / "cases.csv", cases)
    cohort = join_results(read_patients(truth), write_results(folder / "out", cases))
    return classification_table(to_scored(cohort), patient_blocks(cohort))


def row_of(table, block, model, mode="network alone, true subset"):
    names = [column.key for column in table.columns]
    rows = [dict(zip(names, row, strict=True)) for row in table.rows]
    is_wanted = (
        row
        for row in rows
        if row["block"] == block
        and row["model"].startswith(f"Model {model}")
        and row["mode"] == mode
    )
    return next(is_wanted)


@pytest.mark.parametrize("counts", COUNTS)
def test_every_n_of_n_and_percentage(table, counts):
    block, model, tp, positives, tn, negatives = counts
    row = row_of(table, block, model)
    expected = {
        "accuracy": (tp + tn, positives + negatives),
        "sensitivity": (tp, positives),
        "specificity": (tn, negatives),
        "ppv": (tp, tp + negatives - tn),
        "npv": (tn, tn + positives - tp),
        "precision": (tp, tp + negatives - tn),
        "recall": (tp, positives),
    }

    assert row["positive_class"] == POSITIVE[model]
    assert {key: (row[key].count, row[key].total) for key in expected} == expected
    assert all(row[key].value == n / total for key, (n, total) in expected.items())


@pytest.mark.parametrize(
    ("model", "texts"),
    [
        (1, ("95.5 % (150/157), 91.1 to 97.8", "97.4 % (76/78)", "93.7 % (74/79)")),
        (2, ("82.3 % (65/79), 72.4 to 89.1", "75.6 % (34/45)", "91.2 % (31/34)")),
        (3, ("79.5 % (62/78), 69.2 to 87.0", "80.0 % (36/45)", "78.8 % (26/33)")),
    ],
)
def test_the_test_set_reads_as_in_the_paper(table, model, texts):
    row = row_of(table, "split test", model)
    columns = {column.key: column for column in table.columns}
    found = [
        cell_text(row[key], columns[key])
        for key in ("accuracy", "sensitivity", "specificity")
    ]

    assert found[0] == texts[0]
    assert [text.split(",")[0] for text in found[1:]] == list(texts[1:])


def test_end_to_end_counts_the_first_model_too(table):
    # 79 tumours of the test block: 14 wrong in model 2, 5 others in model 1.
    accuracy = row_of(table, "split test", 2, "end to end")["accuracy"]

    assert (accuracy.count, accuracy.total) == (79 - 14 - 5, 79)
