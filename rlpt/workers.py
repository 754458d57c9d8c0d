"""Worker processes: heedless of stop signals, which are meant for their parent, and gone when it is gone."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from rlpt.runs.interruption import STOP_SIGNALS


@contextmanager
def worker_pool(workers: int, initialise: Any = None, arguments: tuple[Any, ...] = ()) -> Iterator[ProcessPoolExecutor]:
    """Yields a pool of new processes (a fork would share the parent's OpenGL state), which ends with the block.

    Args:
        workers: how many.
        initialise: called first in each, with `arguments`.
        arguments: must be picklable.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (initialise, arguments))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(initialise: Any, arguments: tuple[Any, ...]) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if initialise:
        initialise(*arguments)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
