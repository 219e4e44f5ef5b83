"""The training loop: any network, any objective, resumable to the same weights."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from spinaldx.errors import DeviceMemoryError, InferenceError
from spinaldx.training.checkpoint import CheckpointStore, HistoryRow, Standing
from spinaldx.training.compute import on_device
from spinaldx.training.loader import batches_ahead
from spinaldx.training.schedule import plan_steps, rate_factor

Batch = tuple[Tensor, ...]

# Steps whose pace is not typical, and those measured for the first plan.
_SETTLING_STEPS = 5
_MEASURED_STEPS = 20

_LARGEST_GRADIENT = 1.0

# Figures of a few patients differ by so much by chance; of two such, the later
# weights are kept, since the learning rate only falls.
_CHANCE = 0.005
_AVERAGING = 0.998


class Objective(Protocol):
    """What a network is trained for."""

    @property
    def batch_size(self) -> int:
        """Slices a batch."""
        ...

    def make_batch(self, step: int) -> Batch:
        """Make the batch of a step: the same step, the same batch."""
        ...

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar to be made small."""
        ...

    def validate(self, network: nn.Module) -> tuple[float, ...]:
        """Return figures of the validation patients; larger is better."""
        ...


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How a loop runs.

    Attributes:
        name: Of the network, for progress and history.
        seconds: Training time, or None with `steps`.
        steps: Number of steps, or None with `seconds`.
        learning_rate: Highest of the schedule.
        weight_decay: Of kernels; shifts and scales are not decayed.
        validations: Evenly over the run.
        patience: Validations without a better figure before it stops.
        accumulate: Batches a step.
        checkpoint_s: Seconds between checkpoints.
        device: Torch device.
        bf16: Whether products are computed in bfloat16.
        workers: Processes that make batches; 1 is a thread of this one.
    """

    name: str
    seconds: float | None
    steps: int | None
    learning_rate: float
    weight_decay: float = 0.01
    validations: int = 6
    patience: int = 6
    accumulate: int = 1
    checkpoint_s: float = 120.0
    device: str = "cpu"
    bf16: bool = False
    workers: int = 1


@dataclass(frozen=True, slots=True)
class _Batches:
    """The batches of a step; light enough to be sent to other processes."""

    objective: Objective
    count: int

    def __call__(self, step: int) -> list[Batch]:
        torch.set_num_threads(1)
        first = step * self.count
        return [self.objective.make_batch(first + part) for part in range(self.count)]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a person watching wants to know.

    Attributes:
        network: Name of the network in training.
        step: Steps done.
        last_step: Steps planned; 0 before the plan is made.
        loss: Running mean.
        figure: Last validation figure, or None.
        slices_per_s: Pace.
        left_s: Time left for this network.
    """

    network: str
    step: int
    last_step: int
    loss: float
    figure: float | None
    slices_per_s: float
    left_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a loop gives.

    Attributes:
        tensors: State of the averaged network at its best validation.
        figures: Validation figures there.
        history: All lines.
        steps: Steps done.
        seconds: Training time.
    """

    tensors: Mapping[str, Tensor]
    figures: tuple[float, ...]
    history: tuple[HistoryRow, ...]
    steps: int
    seconds: float


def train(
    network: nn.Module,
    objective: Objective,
    settings: LoopSettings,
    folder: Path,
    show: Callable[[Progress], None],
) -> Trained:
    """Train a network, from its checkpoint where there is one.

    Args:
        network: With its initial weights.
        objective: Batches, loss, validation.
        settings: How.
        folder: For checkpoint and plan; what is there is resumed.
        show: Told about progress every few steps.

    Returns:
        The averaged weights at the best validation.

    Raises:
        DeviceMemoryError: If memory runs out; the last checkpoint stays.
        InferenceError: If the loss is not finite.
        OutputError: If a checkpoint cannot be written; the one before stays.
    """
    run = _Run(network, objective, settings, CheckpointStore(folder))
    with out_of_memory_named():
        run.resume()
        run.finish(show)
    return run.outcome()


class out_of_memory_named(AbstractContextManager[None]):  # noqa: N801 - reads as a phrase
    """Turn torch's several ways to run out of memory into `DeviceMemoryError`."""

    def __exit__(self, _kind: object, error: BaseException | None, _: object) -> None:
        is_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
            isinstance(error, RuntimeError) and "allocate memory" in str(error)
        )
        if is_memory:
            message = "Not enough memory to train this network."
            hint = "Use a smaller --batch-size with --accumulate, and --resume."
            raise DeviceMemoryError(message, hint=hint) from error


class _Run:
    """One network on its way; state that a checkpoint holds."""

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        settings: LoopSettings,
        store: CheckpointStore,
    ) -> None:
        self.settings, self.objective, self.store = settings, objective, store
        self.network = on_device(network, settings.device)
        self.optimizer = torch.optim.AdamW(
            _decayed_apart(self.network, settings.weight_decay),
            lr=settings.learning_rate,
        )
        self.average = _copied(self.network.state_dict())
        self.best: dict[str, Tensor] = {}
        self.standing = Standing()
        self.plan = plan_steps(settings.steps or 10**9)
        self.meter = _Meter(objective.batch_size * settings.accumulate)
        # Of the last one; 0 until one was seen.
        self.validation_s = 0.0

    def resume(self) -> None:
        self.plan = self.store.load_plan() or self.plan
        stored = self.store.load()
        if stored is None:
            return
        self.standing, groups = stored
        self.network.load_state_dict(groups["network"])
        self.average = {
            name: tensor.to(self.settings.device)
            for name, tensor in groups["average"].items()
        }
        self.best = groups.get("best", {})
        _restore_moments(self.optimizer, groups["moments"])

    def finish(self, show: Callable[[Progress], None]) -> None:
        if self.standing.is_done:
            return
        self.network.train()
        make = _Batches(self.objective, self.settings.accumulate)
        workers = self.settings.workers
        with batches_ahead(make, self.standing.step, workers) as next_batches:
            saved = time.monotonic()
            self.meter.start(self.standing.seconds)
            while not self._is_over():
                self._step(next_batches())
                self._correct_plan(first=True)
                self._validate_when_due()
                if self.standing.step % 10 == 0:
                    show(self._progress())
                if time.monotonic() - saved > self.settings.checkpoint_s:
                    self._correct_plan(first=False)
                    self._save()
                    saved = time.monotonic()
        self.standing = dataclasses.replace(self.standing, is_done=True)
        self._save()

    def outcome(self) -> Trained:
        standing = self.standing
        tensors = self.best or self.average
        return Trained(
            {name: tensor.cpu() for name, tensor in tensors.items()},
            standing.best,
            standing.history,
            standing.step,
            standing.seconds,
        )

    def _is_over(self) -> bool:
        step = self.standing.step
        waited = self.standing.since_best >= self.settings.patience
        return step >= self.plan.last_step(step) or waited

    def _step(self, batches: list[Batch]) -> None:
        settings, step = self.settings, self.standing.step
        rate = rate_factor(step, self.plan.progress(step)) * settings.learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = 0.0
        for batch in batches:
            placed = tuple(_placed(tensor, settings.device) for tensor in batch)
            with torch.autocast(
                torch.device(settings.device).type,
                dtype=torch.bfloat16,
                enabled=settings.bf16,
            ):
                loss = self.objective.loss(self.network, placed)
            (loss / len(batches)).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach()) / len(batches)
        self._check_finite(total)
        nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        self.meter.add(total)
        self.standing = dataclasses.replace(
            self.standing, step=step + 1, seconds=self.meter.seconds()
        )

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            message = f"{self.settings.name}: the loss is not a number any more."
            hint = "Resume from the last checkpoint with a lower --learning-rate."
            raise InferenceError(message, hint=hint)

    def _update_average(self) -> None:
        step = self.standing.step
        keep = min(_AVERAGING, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in self.network.state_dict().items():
                if tensor.is_floating_point():
                    self.average[name].lerp_(tensor, 1.0 - keep)
                else:
                    self.average[name].copy_(tensor)

    def _correct_plan(self, *, first: bool) -> None:
        """Fit the last step to the time left, at the first time or at later ones."""
        step = self.standing.step
        if first == (step == _SETTLING_STEPS + _MEASURED_STEPS):
            self._fit_plan()

    def _fit_plan(self) -> None:
        """Fit the last step to the time left, unless an earlier run did so here."""
        settings, step = self.settings, self.standing.step
        progress = self.plan.progress(step)
        if settings.seconds is None or self.plan.is_recorded(step) or progress >= 1.0:
            return
        if step < _SETTLING_STEPS + _MEASURED_STEPS:
            return
        # Validations take their time too, in a short run most of it.
        to_come = settings.validations - int(progress * settings.validations)
        left = settings.seconds - self.meter.seconds()
        # However long they take, half of what is left is for learning.
        for_steps = max(left - to_come * self.validation_s, left / 2)
        steps = int(for_steps / self.meter.seconds_per_step())
        plan = self.plan.corrected(step, step + max(steps, 1))
        self.store.save_plan(plan)
        self.plan = plan

    def _validate_when_due(self) -> None:
        step, count = self.standing.step, self.settings.validations
        before, now = (self.plan.progress(at) * count for at in (step - 1, step))
        if int(now) == int(before):
            return
        began = time.monotonic()
        self.network.eval()
        weights = _copied(self.network.state_dict())
        self.network.load_state_dict(self.average)
        with torch.no_grad(), self.meter.paused():
            figures = self.objective.validate(self.network)
        self.network.load_state_dict(weights)
        self.network.train()
        self._note(figures)
        self.validation_s = time.monotonic() - began
        self._fit_plan()

    def _note(self, figures: tuple[float, ...]) -> None:
        standing, step = self.standing, self.standing.step
        is_better = figures > standing.best
        is_kept = is_better or figures[0] >= standing.best[0] - _CHANCE
        if is_kept:
            self.best = _copied(self.average)
        loss, pace = self.meter.lap()
        progress = self.plan.progress(step)
        row = HistoryRow(
            network=self.settings.name,
            step=step,
            progress=progress,
            seconds=standing.seconds,
            learning_rate=rate_factor(step, progress) * self.settings.learning_rate,
            loss=loss,
            figure=figures[0],
            slices_per_s=pace,
        )
        self.standing = dataclasses.replace(
            standing,
            best=figures if is_kept else standing.best,
            since_best=0 if is_better else standing.since_best + 1,
            history=(*standing.history, row),
        )

    def _save(self) -> None:
        groups: dict[str, Mapping[str, Tensor]] = {
            "network": self.network.state_dict(),
            "average": self.average,
            "moments": _moments(self.optimizer),
        }
        if self.best:
            groups["best"] = self.best
        self.store.save(self.standing, groups)

    def _progress(self) -> Progress:
        standing = self.standing
        last = self.plan.last_step(standing.step)
        history = standing.history
        return Progress(
            network=self.settings.name,
            step=standing.step,
            last_step=0 if last == 10**9 else last,
            loss=self.meter.recent_loss,
            figure=history[-1].figure if history else None,
            slices_per_s=self.meter.pace(),
            left_s=(last - standing.step) * self.meter.seconds_per_step(),
        )


class _Meter:
    """Loss and pace; time in validation is left out of the pace."""

    def __init__(self, slices_per_step: int) -> None:
        self._slices = slices_per_step
        self._step_s: list[float] = []
        self._losses: list[float] = []
        self._offset_s = self._started = self._mark = time.monotonic()
        self.recent_loss = float("nan")

    def start(self, seconds: float) -> None:
        self._mark = time.monotonic()
        self._started = self._mark - seconds

    def add(self, loss: float) -> None:
        now = time.monotonic()
        self._step_s.append(now - self._mark)
        del self._step_s[:-200]
        self._mark = now
        self._losses.append(loss)
        old = self.recent_loss
        self.recent_loss = loss if math.isnan(old) else 0.98 * old + 0.02 * loss

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def seconds_per_step(self) -> float:
        typical = self._step_s[_SETTLING_STEPS:] or self._step_s or [1.0]
        return sum(typical) / len(typical)

    def pace(self) -> float:
        return self._slices / max(self.seconds_per_step(), 1e-9)

    def lap(self) -> tuple[float, float]:
        loss = sum(self._losses) / max(len(self._losses), 1)
        self._losses.clear()
        return loss, self.pace()

    def paused(self) -> "_Pause":
        return _Pause(self)

    def restart_step(self) -> None:
        self._mark = time.monotonic()


class _Pause(AbstractContextManager[None]):
    def __init__(self, meter: _Meter) -> None:
        self._meter = meter

    def __exit__(self, *_: object) -> None:
        self._meter.restart_step()


def _decayed_apart(network: nn.Module, decay: float) -> list[dict[str, object]]:
    parameters = [one for one in network.parameters() if one.requires_grad]
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _placed(tensor: Tensor, device: str) -> Tensor:
    if tensor.ndim == 4:
        return tensor.to(device, memory_format=torch.channels_last)
    return tensor.to(device)


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{place}.{name}": value
        for place, values in state.items()
        for name, value in values.items()
    }


def _restore_moments(
    optimizer: torch.optim.Optimizer, stored: Mapping[str, Tensor]
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = value
    whole = optimizer.state_dict()
    optimizer.load_state_dict({**whole, "state": state})
