"""`benchmarks/gpu.sh`: what is checked and measured where there is a GPU."""

import os
import re
import subprocess
from pathlib import Path

from benchmarks.cases import BUILDERS
from tests.conftest import REPOSITORY


def test_one_script_measures_all_that_needs_a_gpu(tmp_path: Path) -> None:
    """Every step names what exists; a step can be chosen, and none begins when the time is over."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)

    def steps(*chosen: str, limit: str = "60") -> list[str]:
        folder = tmp_path / f"{limit} {chosen}"
        command = ["bash", str(REPOSITORY / "benchmarks" / "gpu.sh"), str(folder), *chosen]
        subprocess.run(command, env=os.environ | {"PYTHON": str(python), "LIMIT": limit}, check=True)
        return (folder / "steps.txt").read_text().splitlines()

    found = steps()
    assert all(re.fullmatch(r"\w+: exit status 0 after \d+ s", line) for line in found)
    asked = [(tmp_path / "60 ()" / f"{line.partition(':')[0]}.out").read_text().split() for line in found]
    rows = [words[words.index("--only") + 1] for words in asked if "--only" in words]
    assert {"sac_update_ik", "sac_update_imagenet", "ik_step", "train_loop"} <= set(rows) <= set(BUILDERS)
    tests = {words[-1] for words in asked if "pytest" in words}
    needing = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if re.search(r"\b(NEEDS_CUDA|DEVICES)\b", path.read_text()) and path.name != Path(__file__).name
    }
    assert tests == needing
    assert steps("ik_step")[0].startswith("ik_step: exit status 0")
    assert set(steps(limit="0")) == {f"{line.partition(':')[0]}: not begun, the time is over" for line in found}
