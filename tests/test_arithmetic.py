"""What precision a GPU is told to multiply in."""

import pytest
import torch

from rlpt.arithmetic import computing
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
