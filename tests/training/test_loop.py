import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from spinaldx.errors import DeviceMemoryError, InferenceError, OutputError
from spinaldx.training import checkpoint, loop
from spinaldx.training.loop import LoopSettings, out_of_memory_named, train

SETTINGS = LoopSettings(
    name="line",
    seconds=None,
    steps=40,
    learning_rate=0.05,
    checkpoint_s=600.0,
    validations=4,
)


class Line:
    """Learn y = 2 x from noisy points; validation is minus the slope's error."""

    batch_size = 8

    def __init__(self, figures=None):
        self.figures = iter(figures) if figures else None

    def make_batch(self, step):
        generator = np.random.default_rng(step)
        points = torch.from_numpy(generator.normal(size=(8, 1, 1, 1)))
        return points.float(), points.float()[:, 0, 0, 0] * 2

    def loss(self, network, batch):
        points, truth = batch
        return ((network(points)[:, 0, 0, 0] - truth) ** 2).mean()

    def validate(self, network):
        assert not network.training
        if self.figures:
            return (next(self.figures),)
        return (-abs(float(network[1].weight.flatten()[0]) - 2.0),)


def build():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(1, affine=False), nn.Conv2d(1, 1, 1))
    network[1].bias.requires_grad_(requires_grad=False)
    return network


class Killed(BaseException):
    """Stands for a signal that nothing catches."""


def kill_at(step):
    def show(progress):
        if progress.step >= step:
            raise Killed

    return show


def ignore(_progress):
    pass


def run(folder, objective=None, show=ignore, **changes):
    return train(
        build(), objective or Line(), replace(SETTINGS, **changes), folder, show
    )


def same(first, second):
    return all(
        torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors
    )


class TestTrain:
    def test_learns(self, tmp_path):
        losses = [row.loss for row in run(tmp_path, steps=120).history]

        assert losses[-1] < losses[0] / 3

    def test_processes_that_make_batches_change_no_weight(self, tmp_path):
        alone = run(tmp_path / "a", steps=12)
        shared = run(tmp_path / "b", steps=12, workers=2)

        assert same(alone, shared)
        assert shared.steps == 12

    def test_records_each_validation(self, tmp_path):
        trained = run(tmp_path)

        assert [row.step for row in trained.history] == [10, 20, 30, 40]
        assert trained.steps == 40
        assert trained.figures == (max(row.figure for row in trained.history),)

    def test_of_figures_equal_but_for_chance_the_later_weights_are_kept(self, tmp_path):
        kept = run(tmp_path / "a", Line([0.500, 0.300, 0.400, 0.497]))
        last = run(tmp_path / "b", Line([0.1, 0.2, 0.3, 0.4]))
        first = run(tmp_path / "c", Line([0.500, 0.300, 0.400, 0.490]))

        assert kept.figures == (0.497,)
        assert same(kept, last)
        assert first.figures == (0.5,)
        assert not same(first, last)

    def test_keeps_the_weights_of_the_best_validation(self, tmp_path):
        early = run(tmp_path / "a", Line([0.9, 0.1, 0.2, 0.3]))
        late = run(tmp_path / "b", Line([0.1, 0.2, 0.3, 0.4]))

        assert early.figures == (0.9,)
        assert not same(early, late)

    def test_stops_early_without_a_better_figure(self, tmp_path):
        trained = run(tmp_path, Line([0.5, 0.4, 0.3, 0.2]), patience=2)

        assert trained.steps == 30

    def test_accumulation_joins_batches(self, tmp_path):
        joined = run(tmp_path / "a", accumulate=2, steps=20)

        assert joined.steps == 20
        assert not same(joined, run(tmp_path / "b", steps=20))

    def test_bf16_learns_too(self, tmp_path):
        assert run(tmp_path, bf16=True).steps == 40

    def test_a_finished_run_is_not_repeated(self, tmp_path):
        first = run(tmp_path)
        objective = Line()
        objective.make_batch = None
        again = run(tmp_path, objective)

        assert same(first, again)


@pytest.mark.parametrize("step", [10, 20, 30, 40])
def test_killed_and_resumed_is_as_never_killed(tmp_path, step):
    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "parts", show=kill_at(step), checkpoint_s=0.0)
    resumed = run(tmp_path / "parts")

    assert same(whole, resumed)
    assert whole.figures == resumed.figures


class Clock:
    """Time that passes in batches and validations only."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 0.01
        return self.now


class TestTimeBudget:
    @pytest.fixture
    def clock(self, monkeypatch):
        made = Clock()
        monkeypatch.setattr(loop, "time", made)
        return made

    def test_ends_near_its_budget(self, tmp_path, clock):
        trained = run(tmp_path, seconds=5.0, steps=None, checkpoint_s=1.0)

        assert trained.seconds == pytest.approx(5.0, rel=0.2)
        assert len(trained.history) == SETTINGS.validations

    def test_resumes_on_the_recorded_plan(self, tmp_path, clock):
        told = []
        with pytest.raises(Killed):
            run(tmp_path, show=kill_at(60), seconds=5.0, steps=None, checkpoint_s=0.2)
        plan = checkpoint.CheckpointStore(tmp_path).load_plan()
        run(tmp_path, show=told.append, seconds=5.0, steps=None, checkpoint_s=0.2)

        longer = checkpoint.CheckpointStore(tmp_path).load_plan()
        assert longer.turns[: len(plan.turns)] == plan.turns
        assert told[0].last_step == plan.last_step(told[0].step)

    def test_tells_progress(self, tmp_path, clock):
        told = []
        run(tmp_path, show=told.append, seconds=5.0, steps=None)

        assert told[0].last_step == 0
        assert told[-1].left_s < told[2].left_s
        assert told[-1].figure is not None
        assert told[-1].slices_per_s > 0


class TestErrors:
    def test_a_loss_that_is_no_number(self, tmp_path):
        objective = Line()
        objective.loss = lambda network, batch: network(batch[0]).sum() * float("nan")

        with pytest.raises(InferenceError, match="not a number"):
            run(tmp_path, objective)

    def test_full_disk_keeps_the_last_checkpoint(self, tmp_path, monkeypatch):
        with pytest.raises(Killed):
            run(tmp_path, show=kill_at(20), checkpoint_s=0.0)
        kept = (tmp_path / "checkpoint.safetensors").read_bytes()

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(OutputError, match="No space left") as raised:
            run(tmp_path, checkpoint_s=0.0)

        assert raised.value.exit_code == 8
        assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept
        assert not list(tmp_path.glob(".writing-*"))

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        ],
    )
    def test_too_little_memory_is_named(self, tmp_path, error):
        def fail(_network, _batch):
            raise error

        objective = Line()
        objective.loss = fail
        with pytest.raises(DeviceMemoryError) as raised:
            run(tmp_path, objective)

        assert raised.value.exit_code == 5

    def test_other_errors_stay_what_they_are(self):
        with pytest.raises(RuntimeError), out_of_memory_named():
            torch.ones(2) @ torch.ones(3)


def test_the_next_batch_is_made_while_the_network_works(tmp_path):
    ahead = threading.Event()

    class Watched(Line):
        def make_batch(self, step):
            if step >= 2:
                ahead.set()
            return super().make_batch(step)

        def loss(self, network, batch):
            assert ahead.wait(10.0)
            return super().loss(network, batch)

    assert run(tmp_path, Watched(), steps=3).steps == 3


class Clocked(Line):
    """Steps and validations that take their time on a clock of their own."""

    def __init__(self, clock, step_s, validation_s):
        super().__init__()
        self.clock, self.step_s, self.validation_s = clock, step_s, validation_s
        self.validations = 0

    def loss(self, network, batch):
        self.clock.now += self.step_s
        return super().loss(network, batch)

    def validate(self, network):
        self.clock.now += self.validation_s
        self.validations += 1
        return super().validate(network)


class StillClock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "step_s", "validation_s"),
    [(195, 0.3, 20), (195, 0.3, 5), (1200, 1, 60)],
)
def test_validations_to_come_are_planned_for(
    tmp_path, monkeypatch, seconds, step_s, validation_s
):
    clock = StillClock()
    monkeypatch.setattr(loop, "time", clock)
    objective = Clocked(clock, step_s, validation_s)
    rates = []
    step = loop._Run._step

    def noted(self, batches):
        step(self, batches)
        rates.append(self.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(loop._Run, "_step", noted)
    run(tmp_path, objective, seconds=seconds, steps=None, checkpoint_s=120, patience=9)

    assert objective.validations == SETTINGS.validations
    assert clock.now == pytest.approx(seconds, rel=0.1)
    assert rates[-1] < 0.03 * max(rates)


@pytest.mark.parametrize("validation_s", [40, 80, 200])
def test_long_validations_do_not_end_a_short_run(tmp_path, monkeypatch, validation_s):
    clock = StillClock()
    monkeypatch.setattr(loop, "time", clock)
    objective = Clocked(clock, 0.3, validation_s)
    trained = run(
        tmp_path, objective, seconds=195, steps=None, checkpoint_s=120, patience=9
    )

    assert objective.validations >= 2
    assert trained.steps * 0.3 > 195 / 5
