"""One file a process in ``OUT/runs``: what ran, with what, when and how long.

Times and places live here alone, so that results have the same bytes on every run.
"""

import datetime
import platform
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from spinaldx import __version__
from spinaldx.batch.outcome import BatchOutcome, StudyOutcome
from spinaldx.batch.planning import RUNS, BatchPlan
from spinaldx.batch.settings import BatchSettings
from spinaldx.files import write_json
from spinaldx.models import Networks
from spinaldx.report.table import studies_lock

_PACKAGES = ("numpy", "scipy", "nibabel", "pydicom", "openvino", "torch", "reportlab")


@dataclass(slots=True)
class RunFile:
    """The record of this process, written at its start and at its end."""

    settings: BatchSettings
    plan: BatchPlan
    started: datetime.datetime = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC)
    )
    networks: Networks | None = None
    suffix: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def path(self) -> Path:
        """Where it lies; names sort by time."""
        stamp = self.started.strftime("%Y%m%dT%H%M%SZ")
        return self.settings.out / RUNS / f"{stamp}-{self.suffix}.json"

    def write(self, state: str, outcome: BatchOutcome | None = None) -> None:
        """Write it anew.

        Args:
            state: ``running``, ``finished``, ``interrupted`` or ``failed``.
            outcome: What is known of the studies.

        Raises:
            OutputError: If it cannot be written.
        """
        with studies_lock(self.settings.out):
            write_json(self.path, self._record(state, outcome))

    def _record(self, state: str, outcome: BatchOutcome | None) -> dict[str, Any]:
        ended = None
        seconds = None
        if state != "running":
            now = datetime.datetime.now(datetime.UTC)
            ended = now.isoformat(timespec="seconds")
            seconds = round((now - self.started).total_seconds(), 3)
        return {
            "id": self.path.stem,
            "state": state,
            "started": self.started.isoformat(timespec="seconds"),
            "ended": ended,
            "seconds": seconds,
            "program_version": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": _versions(_PACKAGES),
            **self._networks_record(),
            "weights": self._weights_record(),
            "options": self._options_record(),
            "counts": outcome.counts if outcome else {},
            "studies": [_study(item) for item in outcome.studies] if outcome else [],
            "warnings": self._warnings(outcome.warnings if outcome else ()),
        }

    def _warnings(self, warnings: Sequence[str]) -> list[str]:
        # They name files and folders.
        if warnings and self.settings.pseudonyms:
            return [
                f"{len(warnings)} warnings, shown when it ran; they may name people."
            ]
        return list(warnings)

    def _networks_record(self) -> dict[str, Any]:
        networks = self.networks
        return {
            "engine": networks.engine if networks else None,
            "device": networks.device if networks else None,
            "precision": networks.precision if networks else None,
        }

    def _weights_record(self) -> dict[str, Any]:
        bundle = self.settings.bundle
        return {
            "name": bundle.name,
            "version": bundle.version,
            "training_data": bundle.training_data,
            "sha256": bundle.info.sha256,
            "files": {name: part.sha256 for name, part in bundle.parts.items()},
        }

    def _options_record(self) -> dict[str, Any]:
        settings = self.settings
        # Paths and series may name patients: not where names are to be hidden.
        named = not settings.pseudonyms
        return {
            **settings.cascade.as_json(),
            "device": settings.device,
            "precision": settings.precision,
            "engine": settings.engine.engine,
            "threads": settings.engine.threads,
            "report": settings.report,
            "series": settings.series if named else bool(settings.series),
            "masks": str(settings.masks) if named and settings.masks else None,
            "shard": str(settings.shard),
            "studies_in_all_shards": self.plan.total,
            "retry_failed": settings.retry_failed,
            "overwrite": settings.overwrite,
            "pseudonyms": settings.pseudonyms,
            "inputs": list(settings.inputs) if named else [],
        }


def _study(item: StudyOutcome) -> dict[str, Any]:
    return {
        "study": item.study,
        "outcome": item.outcome.value,
        "seconds": round(item.seconds, 3),
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def remove_strays(out: Path) -> None:
    """Remove files that a killed process was just writing.

    Every file directly in the output folder and in its runs is written under the
    lock that is held here, so what has a temporary name now belongs to nobody.
    """
    with studies_lock(out):
        for folder in (out, out / RUNS):
            for path in folder.glob(".writing-*"):
                if path.is_file():
                    path.unlink(missing_ok=True)
