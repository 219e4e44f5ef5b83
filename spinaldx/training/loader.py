"""Batches made ahead of the network by a background thread.

A batch is a function of its number alone, so a resumed run sees the same batches
as one that was never interrupted.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Batch = TypeVar("Batch")

# Batches in store: enough to even out slow ones, few enough for any memory.
_DEPTH = 6


@contextmanager
def batches_ahead(
    make_batch: Callable[[int], Batch], first: int
) -> Iterator[Callable[[], Batch]]:
    """Make batches in the background while the block runs.

    Args:
        make_batch: Makes the batch of a step; runs in one other thread, in order.
        first: Number of the first step.

    Yields:
        A function that gives the next batch; what `make_batch` raised is raised
        there.
    """
    ready: queue.Queue[Batch | BaseException] = queue.Queue(_DEPTH)
    stopped = threading.Event()

    def put(item: Batch | BaseException) -> None:
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
                put(make_batch(step))
            except BaseException as error:  # noqa: BLE001 - raised by the reader
                put(error)
                return
            step += 1

    def take() -> Batch:
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
