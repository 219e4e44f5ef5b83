"""Which run a work folder holds, and whether it may be gone on with."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spinaldx.errors import TableError, UsageError
from spinaldx.files import sha256_of, write_json
from spinaldx.locks import lock, lock_file
from spinaldx.training.options import TrainingOptions
from spinaldx.training.preparation import Cohort
from spinaldx.training.start import Start

_RUN = "run.json"
_DATA = "data.json"
_LOCK = ".lock"


@contextlib.contextmanager
def alone_in(work: Path) -> Iterator[None]:
    """Keep other runs out of a work folder during a block.

    Args:
        work: Made when missing.

    Raises:
        UsageError: If another process runs in it.
        OutputError: If it cannot be written.
    """
    with lock_file(work / _LOCK) as handle:
        # Some network file systems have no locks; they go without.
        with contextlib.suppress(OSError):
            _take(handle, work)
        yield


def _take(handle: int, work: Path) -> None:
    try:
        lock(handle, waits=False)
    except BlockingIOError as error:
        message = f"Another run is at work in {work}."
        hint = "Wait until it has ended, or choose another --output."
        raise UsageError(message, hint=hint) from error


def identity_of(table: Path, options: TrainingOptions) -> dict[str, Any]:
    """Return what must be equal for a run to be the same run.

    Raises:
        TableError: If the table cannot be read.
    """
    told = asdict(options)
    # How often a run is saved and who makes its batches do not change what it learns.
    del told["checkpoint_s"], told["compute"]["workers"]
    try:
        digest = sha256_of(table)
    except OSError as error:
        message = f"{table.name}: cannot be read: {error.strerror}."
        raise TableError(message) from error
    identity = {"table": digest, "options": told}
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def check_earlier(work: Path, identity: Mapping[str, Any], *, resume: bool) -> bool:
    """See whether a work folder holds a run, and may be worked in.

    Returns:
        Whether it holds the same run.

    Raises:
        UsageError: If it is another run, or it is not to be gone on with.
    """
    path = work / _RUN
    if not path.exists():
        return False
    same = json.loads(path.read_text(encoding="utf-8")) == identity
    if not resume or not same:
        what = "a run of other options or data" if resume else "an earlier run"
        message = f"{work} holds {what}."
        hint = "Use --resume with the same options, or remove the folder."
        raise UsageError(message, hint=hint)
    return True


def data_of(cohort: Cohort, start: Start) -> dict[str, Any]:
    """Return what must be equal, besides table and options, to go on with a run."""
    series = {
        split.value: sorted(one.series.key for one in samples)
        for split, samples in cohort.samples.items()
    }
    weights = "" if start.bundle is None else start.bundle.info.sha256
    return {"series": series, "weights": weights}


def claim(work: Path, identity: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Write down what is run in a work folder.

    Raises:
        UsageError: If it was begun with other images, masks or first weights.
    """
    path = work / _DATA
    is_known = path.exists() and (work / _RUN).exists()
    if is_known and json.loads(path.read_text(encoding="utf-8")) != data:
        message = f"{work} holds a run of other images, masks or first weights."
        hint = "Undo the change to go on with it, or remove the folder."
        raise UsageError(message, hint=hint)
    write_json(path, data)
    write_json(work / _RUN, identity)
