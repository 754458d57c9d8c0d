"""When jobs save, and which signals stop them."""

import os
import signal
from pathlib import Path

import pytest
import torch

from rlpt.runs.checkpoint import State
from rlpt.runs.interruption import Checkpoints, Schedule, stopping_on_signals


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
