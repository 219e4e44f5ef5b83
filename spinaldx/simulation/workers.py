"""Many tasks in a few processes.

Kept apart and light: a fresh process imports this module first, and only after
`_begin_worker` those that the tasks need.
"""

import multiprocessing
import multiprocessing.process
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

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
    # A forked child would inherit this process's threads and their locks; spawn is
    # also the only way that exists everywhere.
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(tasks))
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin_worker)
    try:
        for finished in as_completed([pool.submit(work, task) for task in tasks]):
            yield finished.result()
    except BrokenProcessPool as error:
        message = "A worker process was killed, perhaps for want of memory."
        raise OutputError(message, hint="Run again with fewer --workers.") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leave interruptions to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
