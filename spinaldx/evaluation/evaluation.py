"""The whole evaluation as one value, and how it was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from spinaldx.evaluation.estimates import Bootstrap
from spinaldx.evaluation.overlap import OverlapOptions
from spinaldx.evaluation.tables import Table


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How to evaluate.

    Attributes:
        split: Only patients of this split of the truth table; empty for all.
        bootstrap: Number of drawn cohorts and seed.
        overlap: Tolerance of the surface Dice and lesion rule.
    """

    split: str = ""
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    overlap: OverlapOptions = field(default_factory=OverlapOptions)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything `evaluate` found.

    Attributes:
        statement: What the results are and are not; on every output.
        folders: Names of the results folders; tables are of the first.
        tables: In the order of the page.
        headline: The few figures to read first, name and text.
        warnings: What to know before quoting a figure.
        missing: What could not be scored, and why.
        provenance: Version, weights, hashes and options, JSON values.
        figures: Pictures by name, then format (``png``, ``svg``).
    """

    statement: str
    folders: tuple[str, ...]
    tables: tuple[Table, ...]
    headline: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]
    provenance: Mapping[str, object]
    figures: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)

    def table(self, key: str) -> Table:
        """Return a table by its key.

        Raises:
            KeyError: If the data did not allow it.
        """
        for table in self.tables:
            if table.key == key:
                return table
        raise KeyError(key)
