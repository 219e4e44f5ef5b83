"""What a user may say about a batch."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from spinaldx.cascade import CascadeOptions
from spinaldx.errors import UsageError
from spinaldx.models import Bundle, EngineOptions


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several processes that share the studies among them.

    Attributes:
        number: 1 to `count`.
        count: Processes.
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            message = f"There is no shard {self.number} of {self.count}."
            raise UsageError(message, hint="Count from 1/n to n/n.")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``i/n``.

        Raises:
            UsageError: If the text is anything else.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
        if found is None:
            message = f"{text!r} is not a shard."
            raise UsageError(message, hint="Write it as i/n, for example 2/8.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How studies are run and where results go.

    Attributes:
        out: Folder of the results.
        bundle: Weights.
        device: See `open_networks`.
        precision: See `open_networks`.
        engine: See `open_networks`.
        cascade: Options that change results.
        report: Whether to make pictures and the PDF.
        masks: Folder with a person's masks, ``<study>/<series>.nii.gz``.
        series: Chooses the series of every study; see `load_study`.
        shard: Which share of the studies this process takes.
        retry_failed: Run studies again that failed before, though unchanged.
        overwrite: Run everything again.
        pseudonyms: Name results study-0001 and so on.
        inputs: What the user named; kept in the run file only.
    """

    out: Path
    bundle: Bundle
    device: str = "auto"
    precision: str = "auto"
    engine: EngineOptions = field(default_factory=EngineOptions)
    cascade: CascadeOptions = field(default_factory=CascadeOptions)
    report: bool = True
    masks: Path | None = None
    series: str = ""
    shard: Shard = field(default_factory=Shard)
    retry_failed: bool = False
    overwrite: bool = False
    pseudonyms: bool = False
    inputs: tuple[str, ...] = ()
