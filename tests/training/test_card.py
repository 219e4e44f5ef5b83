from dataclasses import replace

import pytest
from phantoms import fake_bundle

from spinaldx.records import Task
from spinaldx.training.calibration import Decision
from spinaldx.training.card import RunFacts, collect_metrics, write_card
from spinaldx.training.cases import Patient
from spinaldx.training.compute import Machine
from spinaldx.training.promotion import Interval, Verdict
from spinaldx.training.splits import Split

INTERVAL = Interval(0.7, 0.6, 0.8, 12)
VERDICT = Verdict(
    is_promoted=True,
    reason="It is better.",
    figures={"dice": INTERVAL},
    against_old={"dice": Interval(0.1, 0.05, 0.15, 12)},
    against_nothing={"dice": INTERVAL},
)
PATIENTS = (
    Patient("Smith", "ms", "train", (), age=30.0, sex="F"),
    Patient("Jones", "ms", "train", (), age=50.0, sex="M"),
    Patient("Brown", "healthy", "train", ()),
)
FACTS = RunFacts(
    patients={Split.TRAIN: PATIENTS, Split.VALIDATION: PATIENTS[:1]},
    trained={},
    verdict=VERDICT,
    machine=Machine("cpu", "fp32", 2),
    decisions={Task.MS_VS_NMOSD.value: Decision(shift=-0.35, patients=9)},
    options={"seed": 3},
    table_sha256="0" * 64,
    old="phantom-v1 1.0",
)


@pytest.fixture
def card():
    return write_card(fake_bundle(training_data="patients", ethics="No. 7"), FACTS)


class TestWriteCard:
    def test_counts_patients_by_split(self, card):
        assert "| train | 3 | 0 | 0 | 2 | 0 | 1 | 1/1 | 40 +- 14 |" in card
        assert "| validation | 1 | 0 | 0 | 1 | 0 | 0 | 1/0 | 30 +- 0 |" in card

    def test_gives_figures_with_intervals(self, card):
        assert "0.700 (0.600 to 0.800) | 0.100 (0.050 to 0.150)" in card
        assert "Status: promoted" in card

    def test_says_what_decisions_rest_on(self, card):
        assert "| ms_vs_nmosd | -0.35 | 0.500 | 0.050 | 1.00 | 9 patients |" in card
        assert "| tumour_vs_demyelination | - | " in card
        assert "the bundle before" in card

    def test_has_the_ethics_statement(self, card):
        assert "No. 7" in card

    def test_says_when_there_is_no_ethics_statement(self):
        card = write_card(fake_bundle(training_data="patients"), FACTS)

        assert "No statement was given." in card

    def test_says_what_simulation_is_worth(self):
        assert "nothing about patients" in write_card(fake_bundle(), FACTS)

    def test_does_not_say_only_simulated_where_patients_were_met(self):
        bundle = fake_bundle(metrics={"learned_from": "patients"})
        card = write_card(bundle, FACTS)

        assert "Some of its networks learned from simulated patients only." in card
        assert "nothing about patients" not in card
        assert "no person's data" not in card

    def test_names_nobody(self, card):
        assert not any(patient.name in card for patient in PATIENTS)

    def test_unknown_sex_and_age(self):
        facts = replace(FACTS, patients={Split.TRAIN: PATIENTS[2:]})

        assert "| not given | not given |" in write_card(fake_bundle(), facts)


def test_metrics_are_json_values():
    metrics = collect_metrics(FACTS)

    assert metrics["status"] == "promoted"
    assert metrics["validation"]["dice"]["low"] == 0.6
    assert metrics["patients"]["train"] == {"ms": 2, "healthy": 1}
