"""The state of a training run on disk: safetensors, written whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from spinaldx.errors import UnreadableFileError
from spinaldx.files import write_bytes, write_json
from spinaldx.training.schedule import Plan, Turn

Tensors = Mapping[str, Tensor]

_NAME = "checkpoint.safetensors"
_PLAN = "plan.json"
_SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One line of `history.csv`.

    Attributes:
        network: Name of the network in training.
        step: Steps done.
        progress: Share of the run done.
        seconds: Training time so far, interruptions left out.
        learning_rate: At this step.
        loss: Mean since the line before.
        figure: First validation figure, larger is better.
        slices_per_s: Pace since the line before.
    """

    network: str
    step: int
    progress: float
    seconds: float
    learning_rate: float
    loss: float
    figure: float
    slices_per_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands, beside its tensors.

    Attributes:
        step: Steps done.
        seconds: Training time so far.
        best: Best validation figures, empty before the first.
        since_best: Validations since then.
        is_done: Whether the run has ended.
        history: Lines so far.
    """

    step: int = 0
    seconds: float = 0.0
    best: tuple[float, ...] = ()
    since_best: int = 0
    is_done: bool = False
    history: tuple[HistoryRow, ...] = ()


class CheckpointStore:
    """The checkpoint and the plan of one network in a folder.

    Args:
        folder: Made when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        self._checkpoint = folder / _NAME
        self._plan = folder / _PLAN

    def save(self, standing: Standing, groups: Mapping[str, Tensors]) -> None:
        """Replace the checkpoint.

        Args:
            standing: Where the run stands.
            groups: Tensors by group (``network``, ``average``, ...) and name.

        Raises:
            OutputError: If it cannot be written; the one before is kept.
        """
        tensors = {
            f"{group}{_SEPARATOR}{name}": tensor.detach().cpu().contiguous()
            for group, members in groups.items()
            for name, tensor in members.items()
        }
        metadata = {"standing": json.dumps(asdict(standing))}
        write_bytes(self._checkpoint, safetensors.torch.save(tensors, metadata))

    def load(self) -> tuple[Standing, dict[str, dict[str, Tensor]]] | None:
        """Return the last checkpoint, or None when there is none.

        Raises:
            UnreadableFileError: If the file is not a checkpoint.
        """
        if not self._checkpoint.exists():
            return None
        groups: dict[str, dict[str, Tensor]] = {}
        try:
            with safetensors.safe_open(self._checkpoint, framework="pt") as stored:
                standing = _parse_standing(stored.metadata()["standing"])
                for key in stored.keys():  # noqa: SIM118 - not a mapping
                    group, name = key.split(_SEPARATOR, 1)
                    groups.setdefault(group, {})[name] = stored.get_tensor(key)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            message = f"{self._checkpoint} is not a checkpoint."
            hint = "Remove it to train this network again from its start."
            raise UnreadableFileError(message, hint=hint) from error
        return standing, groups

    def save_plan(self, plan: Plan) -> None:
        """Record the plan; call it before the plan takes effect."""
        write_json(self._plan, [asdict(turn) for turn in plan.turns])

    def load_plan(self) -> Plan | None:
        """Return the recorded plan, or None when there is none."""
        if not self._plan.exists():
            return None
        turns = json.loads(self._plan.read_text(encoding="utf-8"))
        return Plan(tuple(Turn(**turn) for turn in turns))


def _parse_standing(text: str) -> Standing:
    value = json.loads(text)
    history = tuple(HistoryRow(**row) for row in value.pop("history"))
    best = tuple(value.pop("best"))
    return Standing(**value, best=best, history=history)
