from pathlib import Path

import pytest

from spinaldx.batch import BatchOutcome, Outcome, StudyOutcome


def ended(*outcomes, code=3):
    studies = tuple(
        StudyOutcome(f"s{place}", outcome, code if outcome.is_failure else 0)
        for place, outcome in enumerate(outcomes)
    )
    return BatchOutcome(studies, (), Path("run.json"))


DONE, FAILED, KEPT, BEFORE = (
    Outcome.COMPLETE,
    Outcome.FAILED,
    Outcome.UNCHANGED,
    Outcome.FAILED_BEFORE,
)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((), 0),
        ((DONE, KEPT), 0),
        ((FAILED,), 3),
        ((BEFORE,), 3),
        ((DONE, FAILED), 6),
        ((KEPT, BEFORE), 6),
        ((FAILED, BEFORE), 7),
    ],
)
def test_the_exit_code(outcomes, code):
    assert ended(*outcomes).exit_code == code


def test_counts_name_every_outcome():
    assert ended(DONE, DONE, BEFORE).counts == {
        "complete": 2,
        "failed": 0,
        "unchanged": 0,
        "failed_before": 1,
    }
