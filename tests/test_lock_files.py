"""The lock files agree on PyTorch's version; the one of its CPU build is kept by hand."""

import re

from tests.conftest import REPOSITORY


def test_both_builds_of_pytorch_are_of_one_version() -> None:
    texts = [(REPOSITORY / "install" / f"torch-{build}.lock").read_text(encoding="utf-8") for build in ("cpu", "cuda")]
    (cpu,), (cuda,) = (re.findall(r"^torch==([\d.]+)", text, re.MULTILINE) for text in texts)
    assert cpu == cuda
