"""What became of each study, and what the process ends with."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Outcome(StrEnum):
    """What became of one study."""

    COMPLETE = "complete"
    FAILED = "failed"
    UNCHANGED = "unchanged"
    FAILED_BEFORE = "failed_before"

    @property
    def is_failure(self) -> bool:
        """Whether the study has no result."""
        return self in {Outcome.FAILED, Outcome.FAILED_BEFORE}


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """One study at its end.

    Attributes:
        study: Name of its folder.
        outcome: What became of it.
        exit_code: What the process would end with if it were the only study.
        message: Why it failed; empty otherwise.
        hint: What to do about it; may be empty.
        answer: ``diagnosis`` of a complete study.
        seconds: From the start of reading to the end of writing, without waiting.
    """

    study: str
    outcome: Outcome
    exit_code: int = 0
    message: str = ""
    hint: str = ""
    answer: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What is being done to one study; given to a callback, from any thread.

    Attributes:
        study: Name of its folder.
        index: Its place in the run, from 0.
        total: Studies in the run.
        stage: ``reading``, ``computing``, ``writing`` or ``done``.
        outcome: With ``done``, what became of it.
    """

    study: str
    index: int
    total: int
    stage: str
    outcome: StudyOutcome | None = None


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """All studies of one process at its end.

    Attributes:
        studies: In the order of the plan.
        warnings: Sentences for the user.
        run_file: The process's record in ``OUT/runs``.
    """

    studies: tuple[StudyOutcome, ...]
    warnings: tuple[str, ...]
    run_file: Path

    @property
    def counts(self) -> dict[str, int]:
        """Number of studies by outcome."""
        found = Counter(item.outcome for item in self.studies)
        return {outcome.value: found[outcome] for outcome in Outcome}

    @property
    def failures(self) -> tuple[StudyOutcome, ...]:
        """Studies without a result, those of earlier runs included."""
        return tuple(item for item in self.studies if item.outcome.is_failure)

    @property
    def exit_code(self) -> int:
        """0 when all is well; the only study's own code; 6 some, 7 all failed."""
        if not self.failures:
            return 0
        if len(self.studies) == 1:
            return self.failures[0].exit_code
        return 7 if len(self.failures) == len(self.studies) else 6
