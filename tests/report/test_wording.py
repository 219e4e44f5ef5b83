import pytest
from report_cases import WEIGHTS, case_of

from spinaldx.records import (
    Diagnosis,
    Disease,
    Lesion,
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
            (
                {MaskOrigin.NETWORK},
                "The network marked nothing, or only what is left out",
            ),
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


def lesion(number, series, z, length_mm=10.0):
    return Lesion(number, series, 9, 90.0, length_mm, (3,), (1.0, -20.0, z))


class TestLengthSentence:
    @pytest.mark.parametrize(
        ("length_mm", "words"),
        [
            (20.0, "20.0 mm or 1.1 cervical levels: less than the 3"),
            (53.0, "53.0 mm or 2.9 cervical levels: less than the 3"),
            (53.8, "53.8 mm or 3.0 cervical levels: at least the 3"),
            (80.0, "80.0 mm or 4.4 cervical levels: at least the 3"),
        ],
    )
    def test_never_contradicts_what_it_prints(self, length_mm, words):
        found = (lesion(1, "a", 0.0), lesion(2, "a", 9.0, length_mm))

        assert words in wording.length_sentence(found)


def test_every_answer_has_a_name():
    assert [wording.answer_name(d) for d in Diagnosis] == [
        "astrocytoma",
        "ependymoma",
        "MS",
        "NMOSD",
        "indeterminate",
        "no lesion marked",
    ]
