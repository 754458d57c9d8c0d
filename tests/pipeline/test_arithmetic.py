"""What a GPU is told of rounding and algorithms."""

import os

import pytest
import torch

from rlpt.pipeline.arithmetic import computing
from rlpt.settings import Precision


@pytest.mark.parametrize(("precision", "rounded"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_only_tf32_rounds_and_only_within_the_block(precision: Precision, rounded: bool) -> None:
    def settings() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = settings()
    with pytest.raises(RuntimeError, match="diverged"), computing(precision):
        assert settings() == (rounded, rounded)
        raise RuntimeError("diverged")
    assert settings() == before


@pytest.mark.parametrize("deterministic", [False, True])
def test_algorithms_are_tried_or_leave_nothing_to_chance(deterministic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cudnn.benchmark
    with computing("float32", deterministic):
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert torch.backends.cudnn.benchmark != deterministic
        assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark == before
