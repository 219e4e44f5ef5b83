"""Batches made ahead of the network, by a background thread or several processes.

A batch is a function of its number alone, so a resumed run sees the same batches
as one that was never interrupted, and any number of processes makes the same ones.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spinaldx.workers import in_order

Batches = list[tuple[Tensor, ...]]
MakeBatches = Callable[[int], Batches]

# Batches in store: enough to even out slow ones, few enough for any memory.
_DEPTH = 6
_DEPTH_OF_A_PROCESS = 2


@contextmanager
def batches_ahead(
    make_batches: MakeBatches, first: int, workers: int = 1
) -> Iterator[Callable[[], Batches]]:
    """Make batches in the background while the block runs.

    Args:
        make_batches: Makes the batches of a step. With one worker it runs in one other
            thread, in order; with several it is copied to processes.
        first: Number of the first step.
        workers: At least 1; one is a thread of this process.

    Yields:
        A function that gives the next batch; what `make_batches` raised is raised
        there, and `OutputError` if a process was killed.
    """
    start = _by_a_thread if workers == 1 else _by_processes
    with start(make_batches, first, workers) as take:
        yield take


@contextmanager
def _by_a_thread(
    make_batches: MakeBatches, first: int, _: int
) -> Iterator[Callable[[], Batches]]:
    ready: queue.Queue[Batches | BaseException] = queue.Queue(_DEPTH)
    stopped = threading.Event()

    def put(item: Batches | BaseException) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        step = first
        while not stopped.is_set():
            try:
                put(make_batches(step))
            except BaseException as error:  # noqa: BLE001 - raised by the reader
                put(error)
                return
            step += 1

    def take() -> Batches:
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    worker = threading.Thread(target=work, name="batches", daemon=True)
    worker.start()
    try:
        yield take
    finally:
        stopped.set()
        worker.join()


@contextmanager
def _by_processes(
    make_batches: MakeBatches, first: int, workers: int
) -> Iterator[Callable[[], Batches]]:
    ahead = workers * _DEPTH_OF_A_PROCESS
    with in_order(_AsArrays(make_batches), first, workers, ahead) as take:

        def placed() -> Batches:
            return [tuple(torch.from_numpy(array) for array in part) for part in take()]

        yield placed


@dataclass(frozen=True, slots=True)
class _AsArrays:
    """Batches as plain bytes: torch's own way needs a large /dev/shm."""

    make_batches: MakeBatches

    def __call__(self, step: int) -> list[tuple[NDArray[np.generic], ...]]:
        return [
            tuple(tensor.numpy() for tensor in part) for part in self.make_batches(step)
        ]
