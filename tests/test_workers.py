"""Worker processes: heedless of what is meant for their parent, and gone when it is gone."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rlpt.runs.interruption import STOP_SIGNALS
from rlpt.workers import worker_pool

_POOL = """
import os, sys, time
from rlpt.workers import worker_pool
if __name__ == "__main__":
    with worker_pool(2) as pool:
        for future in [pool.submit(os.getpid) for _ in range(2)]:
            future.result()
        print(*pool._processes, flush=True)
        time.sleep(60)
"""


def test_signals_to_stop_are_not_heeded() -> None:
    with worker_pool(1) as pool:
        worker = pool.submit(os.getpid).result()
        for number in STOP_SIGNALS:
            os.kill(worker, number)
        assert pool.submit(os.getpid).result() == worker


def test_work_that_has_not_begun_is_not_done_after_the_block() -> None:
    with pytest.raises(ZeroDivisionError), worker_pool(1) as pool:
        waiting = [pool.submit(time.sleep, 0.5) for _ in range(20)]
        raise ZeroDivisionError
    assert waiting[-1].cancelled()


def is_alive(process: int) -> bool:
    """Says whether there is such a process that is no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_they_die_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "pool.py"  # whose workers import it
    script.write_text(_POOL)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert len(workers) == 2 and all(map(is_alive, workers))
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60  # reached only if they stay
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
