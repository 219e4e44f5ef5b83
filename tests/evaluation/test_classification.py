import numpy as np
import pytest
from evaluation_cases import Case, balanced_cases, cells, cohort_of, scores_for

from spinaldx.evaluation.classification import (
    cascade_table,
    classification_table,
    detection_table,
    disease_table,
    flow_table,
    matrix_counts,
    matrix_table,
)
from spinaldx.evaluation.patients import patient_blocks, to_scored
from spinaldx.evaluation.scored import TASKS, Mode, ask
from spinaldx.evaluation.tables import reasons


def scored_of(folder, cases):
    return to_scored(cohort_of(folder, cases))


def everybody(scored):
    return {"all": np.ones(len(scored.cases), bool)}


def without_answer():
    """Six MS patients: three right, one of each kind without an answer."""
    right = [Case(f"ms-{n}", "ms", scores_for(2)) for n in range(3)]
    kinds = ("failed", "no_lesion", "indeterminate")
    silent = [Case(kind, "ms", scores_for(2), answer=kind) for kind in kinds]
    nmosd = [Case(f"n-{n}", "nmosd", scores_for(3)) for n in range(4)]
    return [*right, *silent, *nmosd]


class TestDenominators:
    def test_primary_counts_patients_without_an_answer_as_wrong(self, tmp_path):
        scored = scored_of(tmp_path, without_answer())
        row = cells(classification_table(scored, everybody(scored)), 3)

        assert (row["patients"], row["no_answer"]) == (10, 3)
        assert (row["accuracy"].count, row["accuracy"].total) == (7, 10)
        assert (row["specificity"].count, row["specificity"].total) == (3, 6)
        assert (row["ppv"].count, row["ppv"].total) == (4, 7)

    def test_a_patient_without_score_is_ranked_wholly_wrong(self, tmp_path):
        scored = scored_of(tmp_path, without_answer())
        row = cells(classification_table(scored, everybody(scored)), 3)

        # 4 NMOSD against 6 MS: failed and no_lesion lose all, the others win all.
        assert row["auc"].value == pytest.approx(16 / 24)

    def test_secondary_leaves_them_out_and_says_how_many(self, tmp_path):
        scored = scored_of(tmp_path, without_answer())
        table = classification_table(scored, everybody(scored), secondary=True)
        row = cells(table, 3)

        assert (row["patients"], row["no_answer"]) == (7, 3)
        assert (row["accuracy"].count, row["accuracy"].total) == (7, 7)

    def test_a_missing_result_is_a_failed_one(self, tmp_path):
        cases = balanced_cases(2)
        scored = to_scored(cohort_of(tmp_path, cases, cases[1:]))

        assert cells(cascade_table(scored, everybody(scored)))["accuracy"].count == 7
        assert flow_table(scored).rows[6] == ("labelled, failed", 1)


class TestUndefined:
    def test_one_class_missing(self, tmp_path):
        scored = scored_of(tmp_path, balanced_cases(3)[:3])
        table = classification_table(scored, everybody(scored))
        first, third = cells(table, 0), cells(table, 3)

        assert (first["sensitivity"].value, first["specificity"].value) == (None, 1.0)
        assert (first["auc"].value, third["accuracy"].value) == (None, None)
        assert {"no positive patient", "no patient"} <= set(reasons(table))

    def test_one_patient(self, tmp_path):
        scored = scored_of(tmp_path, balanced_cases(1)[:1])
        row = cells(cascade_table(scored, everybody(scored)))

        assert row["accuracy"].value == 1.0
        assert row["balanced_accuracy"].reason.endswith("no patient with ependymoma")

    def test_all_right_has_an_auc_without_interval(self, tmp_path):
        scored = scored_of(tmp_path, balanced_cases(3))
        row = cells(classification_table(scored, everybody(scored)))

        assert (row["accuracy"].value, row["auc"].value) == (1.0, 1.0)
        assert (row["auc"].low, row["npv"].high) == (None, 1.0)

    def test_all_wrong(self, tmp_path):
        cases = [
            Case(f"{n}", "ms", scores_for(1)) if n < 3 else Case(f"{n}", "nmosd", scores_for(0))
            for n in range(6)
        ]  # fmt: skip
        scored = scored_of(tmp_path, cases)
        row = cells(classification_table(scored, everybody(scored)))

        assert (row["accuracy"].value, row["sensitivity"].value) == (0.0, 0.0)

    def test_all_failed(self, tmp_path):
        cases = [Case(c.name, c.diagnosis, None, "failed") for c in balanced_cases(2)]
        scored = scored_of(tmp_path, cases)
        table = classification_table(scored, everybody(scored))

        assert cells(table)["accuracy"].value == 0.0
        assert cells(table)["auc"].reason == "no AUC: no patient has a score"


class TestCalls:
    def test_the_answer_tells_the_call_where_no_cut_off_is_known(self, tmp_path):
        # Scored 0.6 for NMOSD, but the weights' cut-off was 0.7: the answer is MS.
        cases = [Case("a", "ms", (0.9, 0.3, 0.6), result={"diagnosis": "ms"})]
        question = ask(scored_of(tmp_path, cases), TASKS[2])

        assert question.correct.all()

    def test_a_patient_on_the_other_branch_is_called_by_the_score(self, tmp_path):
        cases = [Case("a", "nmosd", (0.1, 0.3, 0.8))]
        scored = scored_of(tmp_path, cases)

        assert ask(scored, TASKS[2], Mode.STAGE).correct.all()
        assert not ask(scored, TASKS[2], Mode.END_TO_END).correct.any()


class TestMatrix:
    def test_counts_answers_that_are_no_disease(self, tmp_path):
        healthy = [Case("h0", "healthy", answer="no_lesion"), Case("h1", "healthy")]
        scored = scored_of(tmp_path, [*without_answer(), *healthy, Case("u", "")])
        counts = matrix_counts(scored)

        assert counts[2].tolist() == [0, 0, 3, 0, 1, 1, 1]
        assert counts[4].tolist() == [1, 0, 0, 0, 0, 1, 0]
        assert counts.sum() == 12

    def test_healthy_row_only_when_there_is_one(self, tmp_path):
        table = matrix_table(scored_of(tmp_path, balanced_cases(1)))

        assert [row[0] for row in table.rows] == [
            "astrocytoma", "ependymoma", "MS", "NMOSD",
        ]  # fmt: skip


def test_healthy_patients_count_for_detection_alone(tmp_path):
    healthy = [Case("h0", "healthy", answer="no_lesion"), Case("h1", "healthy")]
    scored = scored_of(tmp_path, [*without_answer(), *healthy])
    row = cells(detection_table(scored))

    assert (row["sensitivity"].count, row["sensitivity"].total) == (8, 10)
    assert (row["specificity"].count, row["specificity"].total) == (1, 2)
    assert cells(cascade_table(scored, everybody(scored)))["accuracy"].total == 10


def test_one_disease_against_the_rest(tmp_path):
    scored = scored_of(tmp_path, [*balanced_cases(2), Case("x", "ms", scores_for(3))])
    table = disease_table(scored, everybody(scored))

    nmosd = cells(table, 3)
    assert (nmosd["sensitivity"].count, nmosd["specificity"].count) == (2, 6)
    assert (nmosd["ppv"].count, nmosd["ppv"].total) == (2, 3)


class TestBlocks:
    def test_difficult_by_the_column(self, tmp_path):
        cases = [*balanced_cases(1, difficult="no"), Case("d", "ms", truth={"difficult": "yes"})]  # fmt: skip
        blocks = patient_blocks(cohort_of(tmp_path, cases))

        assert blocks["difficult"].tolist() == [False] * 4 + [True]

    def test_difficult_where_raters_disagree(self, tmp_path):
        cases = balanced_cases(1, rater1="ms", rater2="ms")
        cases[0].truth = {"rater1": "astrocytoma", "rater2": "ms"}
        cases[1].truth = {"rater1": "astrocytoma", "rater2": ""}
        blocks = patient_blocks(cohort_of(tmp_path, cases))

        assert blocks["difficult"].tolist() == [True, False, False, False]

    def test_one_split_is_no_block(self, tmp_path):
        cohort = cohort_of(tmp_path, balanced_cases(1, split="test", rater1="ms"))

        assert list(patient_blocks(cohort)) == ["all"]
