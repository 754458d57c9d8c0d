"""When jobs save, and which signals stop them."""

import os
import signal
from pathlib import Path

import pytest
import torch

from rlpt.runs.checkpoint import State
from rlpt.runs.interruption import Checkpoints, Paused, Schedule, StopRequest, stopping_on_signals


def test_a_job_saves_as_often_as_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    checkpoints = Checkpoints(tmp_path / "checkpoint.safetensors", Schedule(minutes=10))
    saved: list[float] = []

    def state() -> State:
        saved.append(now[0])
        return {"x": torch.zeros(1)}

    for now[0] in (599.0, 600.0, 601.0, 1_199.0, 1_200.0):
        checkpoints.poll(state)
    assert saved == [600.0, 1_200.0]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """nohup has SIGHUP ignored, so that logging out stops nothing."""
    heard: list[str] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals(heard.append):
            os.kill(os.getpid(), signal.SIGHUP)
        assert heard == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_are_as_before_when_the_job_has_ended() -> None:
    numbers = (signal.SIGTERM, signal.SIGUSR1)  # the others may be ignored, as below nohup or in the background
    before = [signal.getsignal(number) for number in numbers]
    with stopping_on_signals(lambda _: None):
        assert all(signal.getsignal(number) != old for number, old in zip(numbers, before, strict=True))
    assert [signal.getsignal(number) for number in numbers] == before


def test_several_signals_in_a_row_still_let_the_job_save() -> None:
    """Clusters send a job more than one: SIGUSR1 before the end, SIGTERM at it."""
    heard: list[str] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" ignores it
    with stopping_on_signals(heard.append):
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert heard == ["SIGTERM", "SIGUSR1", "SIGTERM"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_one_time_limit_holds_for_all_jobs_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stop = StopRequest(10)
    first, second = (Checkpoints(Path("x"), Schedule(1e9), stop=stop) for _ in range(2))
    first.poll(None)
    now[0] = 11.0
    for checkpoints in (first, second):
        with pytest.raises(Paused, match="time limit"):
            checkpoints.poll(None)
