"""Many studies: order, overlap of reading and computing, resume, shards."""

from spinaldx.batch.outcome import BatchOutcome, Outcome, Progress, StudyOutcome
from spinaldx.batch.pipeline import run
from spinaldx.batch.planning import (
    BatchPlan,
    Estimate,
    PlannedStudy,
    estimate,
    plan,
)
from spinaldx.batch.settings import BatchSettings, Shard

__all__ = [
    "BatchOutcome",
    "BatchPlan",
    "BatchSettings",
    "Estimate",
    "Outcome",
    "PlannedStudy",
    "Progress",
    "Shard",
    "StudyOutcome",
    "estimate",
    "plan",
    "run",
]
