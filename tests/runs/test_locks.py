"""Claims on runs: between processes, between machines, and after their holder has died."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rlpt.errors import BUSY_STATUS, Busy, UsageError
from rlpt.runs import locks
from rlpt.runs.locks import claimed, is_claimed

_HOLD = """
import sys, time
from pathlib import Path
from rlpt.runs.locks import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "folder" / ".a.lock"


def held_by_another_process(lock: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_only_one_holds_it(lock: Path) -> None:
    assert not is_claimed(lock)
    with claimed(lock):
        assert is_claimed(lock)
        with pytest.raises(Busy, match=f"process {os.getpid()} on {socket.gethostname()}"), claimed(lock):
            pass
    assert not is_claimed(lock)
    with claimed(lock):
        pass


def test_it_dies_with_its_process(lock: Path) -> None:
    process = held_by_another_process(lock)
    with pytest.raises(Busy, match=f"process {process.pid}"), claimed(lock):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads(lock.read_text())["pid"] == process.pid
    assert not is_claimed(lock)
    with claimed(lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(("age", "busy"), [(5, True), (300, False)])
def test_another_machines_claim_lasts_as_long_as_it_is_touched(lock: Path, age: float, busy: bool) -> None:
    """Storage that does not share the system's lock between machines."""
    lock.parent.mkdir()
    lock.write_text(json.dumps({"host": "another-machine", "pid": 17}))
    os.utime(lock, times=(time.time() - age,) * 2)
    assert is_claimed(lock) == busy
    if busy:
        with pytest.raises(Busy, match="process 17 on another-machine"), claimed(lock):
            pass
        assert "another-machine" in lock.read_text()
    else:
        with claimed(lock):
            pass


def test_a_holder_touches_it(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlpt.runs.locks._BEAT_SECONDS", 0.01)
    with claimed(lock):
        os.utime(lock, times=(0, 0))
        for _ in range(500):
            if lock.stat().st_mtime > 0:
                break
            time.sleep(0.01)
        assert lock.stat().st_mtime > 0
    assert lock.read_text() == ""


def test_of_two_machines_that_begin_at_once_the_later_writer_goes_on(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On storage where the system's lock does not keep the other one out."""
    monkeypatch.setattr(time, "sleep", lambda _: lock.write_text(json.dumps({"host": "another-machine", "pid": 17})))
    with pytest.raises(Busy, match="process 17 on another-machine"), claimed(lock):
        pass
    assert "another-machine" in lock.read_text()


def test_a_holder_who_was_taken_over_ends_at_once(lock: Path) -> None:
    text = _HOLD.replace("with claimed", "import rlpt.runs.locks\nrlpt.runs.locks._BEAT_SECONDS = 0.01\nwith claimed")
    command = [sys.executable, "-c", text, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        lock.write_text(json.dumps({"host": "another-machine", "pid": 17}))
        _, complaint = process.communicate(timeout=60)
    assert (process.returncode, "another machine has taken this run over" in complaint) == (BUSY_STATUS, True)
    assert "another-machine" in lock.read_text()


def test_a_claim_is_touched_several_times_before_it_counts_as_left() -> None:
    assert 3 * locks._BEAT_SECONDS < locks._STALE_SECONDS


@pytest.mark.parametrize("content", ["", "no JSON", "[1]", '{"host": 3}', "\0" * 10])
def test_a_strange_lock_file_is_taken_over(lock: Path, content: str) -> None:
    lock.parent.mkdir()
    lock.write_text(content)
    os.utime(lock, times=(0, 0))
    with claimed(lock):
        pass


def test_of_many_threads_one_gets_it_at_a_time(lock: Path) -> None:
    inside, most, busy = 0, 0, 0
    count = threading.Lock()

    def work() -> None:
        nonlocal inside, most, busy
        for _ in range(5):
            try:
                with claimed(lock):
                    with count:
                        inside += 1
                        most = max(most, inside)
                    time.sleep(0.01)
                    with count:
                        inside -= 1
            except Busy:
                busy += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_file_system_without_locks_is_refused(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", flock)
    with (
        pytest.raises(UsageError, match=r"has no locks .*mount it with flock, or choose another folder"),
        claimed(lock),
    ):
        pass


def test_what_cannot_be_locked_is_held_by_nobody(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a copy of runs, on a file system without locks, is no error."""

    def flock(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    with claimed(lock):
        pass
    monkeypatch.setattr("fcntl.flock", flock)
    assert not is_claimed(lock)


def test_who_may_only_read_sees_another_machines_claim(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    lock.parent.mkdir()
    lock.write_text(json.dumps({"host": "another-machine", "pid": 17}))
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    assert is_claimed(lock)
    os.utime(lock, times=(0, 0))
    assert not is_claimed(lock)
