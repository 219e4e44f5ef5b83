import pytest
from report_cases import WEIGHTS, case_of

from spinaldx.records import (
    Diagnosis,
    Disease,
    MaskOrigin,
    Prediction,
    StageResult,
    Task,
    WeightsInfo,
)
from spinaldx.report import wording

PATIENTS = WeightsInfo("clinic", "1", "patients", "")


def prediction_of(diagnosis):
    return case_of(diagnosis=diagnosis).prediction


class TestHeadline:
    @pytest.mark.parametrize("diagnosis", list(Diagnosis))
    @pytest.mark.parametrize("weights", [WEIGHTS, PATIENTS])
    def test_never_says_diagnosis(self, diagnosis, weights):
        prediction = prediction_of(diagnosis)
        said = wording.headline(prediction, weights)
        meant = wording.explanation(prediction, frozenset({MaskOrigin.NETWORK}))

        assert "diagnos" not in f"{said} {meant}".lower()

    def test_spells_the_disease_out_with_its_probability(self):
        said = wording.headline(prediction_of(Diagnosis.MS), WEIGHTS)

        assert said == (
            "Classifier output (trained on simulation): multiple sclerosis (MS), "
            "joint probability 0.77."
        )

    def test_patient_weights_are_not_called_simulated(self):
        said = wording.headline(prediction_of(Diagnosis.ASTROCYTOMA), PATIENTS)

        assert said == "Classifier output: astrocytoma, joint probability 0.72."

    def test_no_lesion_is_no_disease(self):
        said = wording.headline(prediction_of(Diagnosis.NO_LESION), WEIGHTS)

        assert said == "No lesion was marked, so no disease class was computed."


class TestExplanation:
    @pytest.mark.parametrize(
        ("origins", "words"),
        [
            ({MaskOrigin.NETWORK}, "The network marked no component"),
            ({MaskOrigin.PERSON}, "left them empty"),
            ({MaskOrigin.NETWORK, MaskOrigin.PERSON}, "Neither the network nor"),
        ],
    )
    def test_no_lesion_says_who_found_none(self, origins, words):
        prediction = prediction_of(Diagnosis.NO_LESION)

        assert words in wording.explanation(prediction, frozenset(origins))
        assert "does not exclude" in wording.explanation(prediction, frozenset(origins))

    def test_a_disease_excludes_no_other(self):
        prediction = prediction_of(Diagnosis.NMOSD)

        assert "excludes no other cause" in wording.explanation(prediction, frozenset())


class TestIndeterminateReasons:
    def test_names_the_decision_near_its_cut_off(self):
        (reason,) = wording.indeterminate_reasons(
            prediction_of(Diagnosis.INDETERMINATE)
        )

        assert reason.startswith("Tumour vs demyelination scored 0.52")

    def test_keeps_the_capitals_of_a_disease(self):
        scores = (0.9, 0.5, 0.48)
        stages = tuple(
            StageResult(task, p, 0.5, 0.05)
            for task, p in zip(Task, scores, strict=True)
        )
        joint = dict(zip(Disease, (0.05, 0.05, 0.47, 0.43), strict=True))
        prediction = Prediction(Diagnosis.INDETERMINATE, stages, joint)

        assert wording.indeterminate_reasons(prediction) == (
            "MS vs NMOSD scored 0.48 for NMOSD, within 0.05 of the cut-off 0.50.",
        )

    def test_names_a_top_class_off_the_path(self):
        scores = (0.6, 0.05, 0.5)
        stages = tuple(
            StageResult(task, p, 0.5, 0.0) for task, p in zip(Task, scores, strict=True)
        )
        joint = dict(zip(Disease, (0.38, 0.02, 0.3, 0.3), strict=True))
        prediction = Prediction(Diagnosis.INDETERMINATE, stages, joint)

        assert wording.indeterminate_reasons(prediction) == (
            "The decisions lead to NMOSD, but the most probable of the four is "
            "astrocytoma.",
        )

    def test_an_answer_that_is_sure_has_none(self):
        assert wording.indeterminate_reasons(prediction_of(Diagnosis.MS)) == ()


class TestLengthSentence:
    @pytest.mark.parametrize(("lesions", "words"), [(1, "less than"), (2, "less than")])
    def test_short_lesions(self, lesions, words):
        said = wording.length_sentence(case_of(lesions=lesions).lesions)

        assert words in said

    def test_long_lesions_and_double_counting(self):
        result = case_of(shape=(5, 320, 64), series=("a", "b"))
        said = wording.length_sentence(result.lesions)

        assert "at least the 3" in said
        assert "counted and added in both" in said


def test_every_answer_has_a_name():
    assert [wording.answer_name(d) for d in Diagnosis] == [
        "astrocytoma",
        "ependymoma",
        "MS",
        "NMOSD",
        "indeterminate",
        "no lesion marked",
    ]
