"""Many tasks in a few processes.

Kept apart and light: a fresh process imports this module first, and only after
`_begin_worker` those that the tasks need.
"""

import itertools
import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from spinaldx.errors import OutputError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def side_by_side(
    work: Callable[[_Task], _Result], tasks: Sequence[_Task], workers: int
) -> Iterator[_Result]:
    """Do tasks in worker processes, or in this one when one is enough.

    Args:
        work: A function of a module, done once a task.
        tasks: Arguments of `work`, one each; may be none.
        workers: Processes, at least 1; never more than there are tasks.

    Yields:
        The results in the order in which they come.

    Raises:
        OutputError: If a worker process was killed.
    """
    if workers == 1 or len(tasks) < 2:
        yield from map(work, tasks)
        return
    count = min(workers, len(tasks))
    with _pool(count) as pool:
        for finished in as_completed([pool.submit(work, task) for task in tasks]):
            yield finished.result()


@contextmanager
def in_order(
    work: Callable[[int], _Result], first: int, workers: int, ahead: int
) -> Iterator[Callable[[], _Result]]:
    """Do numbered tasks without end in worker processes, a few ahead of need.

    Args:
        work: Sent to each process once; what it holds must be fit for that.
        first: Number of the first task.
        workers: Processes, at least 1.
        ahead: Tasks begun or done but not asked for yet, at least 1.

    Yields:
        A function that gives the next task's result, and raises what `work` raised,
        or `OutputError` if a worker process was killed.
    """
    numbers = itertools.count(first)
    with _pool(workers, work) as pool:
        waiting = deque(pool.submit(_do, next(numbers)) for _ in range(ahead))

        def take() -> _Result:
            waiting.append(pool.submit(_do, next(numbers)))
            result: _Result = waiting.popleft().result()
            return result

        yield take


@contextmanager
def _pool(
    workers: int, work: Callable[[int], object] | None = None
) -> Iterator[ProcessPoolExecutor]:
    # A forked child would inherit this process's threads and their locks; spawn is
    # also the only way that exists everywhere.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin_worker, initargs=(work,)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        message = "A worker process was killed, perhaps for want of memory."
        raise OutputError(message, hint="Run again with fewer --workers.") from error
    finally:
        pool.shutdown(cancel_futures=True)


_work: Callable[[int], object] | None = None


def _do(number: int) -> Any:  # noqa: ANN401 - of the type that the caller's work has
    if _work is None:
        message = "This process was begun without work."
        raise RuntimeError(message)
    return _work(number)


def _begin_worker(work: Callable[[int], object] | None) -> None:
    """Leave interruptions to the parent, and do not outlive it."""
    global _work  # noqa: PLW0603 - once, before the first task of this process
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
