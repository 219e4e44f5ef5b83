import pytest
from evaluation_cases import Case, cells, cohort_of, scores_for
from scipy import stats

from spinaldx.evaluation.patients import to_scored
from spinaldx.evaluation.readers import (
    find_readers,
    reader_comparison_table,
    reader_table,
)
from spinaldx.evaluation.scored import ANSWER_NAMES


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """20 MS patients; the program misses 2, rater1 misses 8 others, rater2 read 5."""
    cases = []
    for n in range(20):
        rater1 = ("nmosd", "astrocytoma", "healthy")[n % 3] if 10 <= n < 18 else "ms"
        truth = {"rater1": rater1, "rater2": "ms" if n < 5 else ""}
        place = 3 if n < 2 else 2
        cases.append(Case(f"c{n}", "ms", scores_for(place), truth=truth))
    cohort = cohort_of(tmp_path_factory.mktemp("readers"), cases)
    scored = to_scored(cohort)
    return scored, find_readers(cohort.patients, scored)


def rows_of(table, name):
    rows = [cells(table, place) for place in range(len(table.rows))]
    return [row for row in rows if row["reader"] == name]


def test_readers_stand_in_the_same_table(read):
    table = reader_table(*read)
    third = rows_of(table, "rater1")[2]

    assert (third["accuracy"].count, third["accuracy"].total) == (12, 20)
    assert third["auc"].reason == "a reader gives no score"


def test_a_reader_who_sees_no_lesion_is_wrong_about_a_tumour_too(read):
    # Of the 8 wrong answers 3 are astrocytoma and 3 healthy.
    first = rows_of(reader_table(*read), "rater1")[0]

    wrong = 20 - first["accuracy"].count
    assert wrong == sum(n % 3 != 0 for n in range(10, 18))


def test_the_program_is_scored_on_the_patients_a_reader_read(read):
    of_few = rows_of(reader_table(*read), "program, patients of rater2")

    assert {row["patients"] for row in of_few} == {0, 5}


def test_paired_counts_and_exact_p(read):
    table = reader_comparison_table(*read)
    third = rows_of(table, "rater1")[2]

    assert (third["only_program"], third["only_reader"]) == (8, 2)
    assert third["p"].value == pytest.approx(stats.binomtest(2, 10).pvalue)


def test_holm_counts_only_tasks_that_were_read(read):
    # No tumour patient: two tests were made, the smaller p belongs to the first.
    first, second, _ = rows_of(reader_comparison_table(*read), "rater1")[:3]

    assert second["p"].reason == "no patient of this task was read"
    assert first["p_holm"].value == pytest.approx(2 * first["p"].value)


def test_readers_of_unlabelled_patients_alone_are_no_readers(tmp_path):
    cohort = cohort_of(tmp_path, [Case("u", "", truth={"rater1": "ms"})])

    assert find_readers(cohort.patients, to_scored(cohort)) == ()


def test_readers_of_the_same_patients_share_the_program_rows(tmp_path):
    cases = [Case("a", "ms", scores_for(2), truth={"rater1": "ms", "rater2": "ms"})]
    cohort = cohort_of(tmp_path, cases)
    scored = to_scored(cohort)
    table = reader_table(scored, find_readers(cohort.patients, scored))

    assert rows_of(table, "program, patients of rater1, rater2")


def test_readers_bear_the_names_of_their_columns_in_any_order(tmp_path):
    truth = {"rater3": "ms", "rater1": "nmosd"}
    cohort = cohort_of(tmp_path, [Case("a", "ms", scores_for(2), truth=truth)])

    readers = find_readers(cohort.patients, to_scored(cohort))

    given = {reader.name: ANSWER_NAMES[reader.answers.answer[0]] for reader in readers}
    assert given == {"rater3": "ms", "rater1": "nmosd"}


def test_an_empty_column_names_no_reader(tmp_path):
    truth = {"rater1": "", "rater2": "ms"}
    cohort = cohort_of(tmp_path, [Case("a", "ms", scores_for(2), truth=truth)])

    (reader,) = find_readers(cohort.patients, to_scored(cohort))

    assert reader.name == "rater2"
