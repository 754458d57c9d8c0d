"""What `rlpt doctor` finds on machines that are not as this one."""

import subprocess
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rlpt import doctor
from rlpt.doctor import Finding
from rlpt.runs.provenance import PACKAGES
from tests.conftest import run_rlpt

Usage = namedtuple("Usage", "total used free")
INSTALLED = dict.fromkeys(PACKAGES, "1.0") | {"mujoco": "3.17.0"}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An NVIDIA GPU that PyTorch does not see."""
    monkeypatch.setattr(doctor, "_has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def rendering(status: int, stdout: str = "", stderr: str = "") -> Callable[..., object]:
    return lambda *_, **__: subprocess.CompletedProcess((), status, stdout, stderr)


def test_a_machine_that_is_ready_is_told_so(tmp_path: Path) -> None:
    """This one, on which the tests render."""
    result = run_rlpt("doctor", "--runs", tmp_path)
    assert result.exit_code == 0, result.output
    topics = [line[6:].partition(":")[0] for line in result.stdout.splitlines() if not line.startswith("  ")]
    assert topics == ["rlpt", "Python", "packages", "device", "rendering", "disk"]
    assert "FAIL" not in result.stdout


@pytest.mark.parametrize(
    ("installed", "verdict", "text"),
    [
        (INSTALLED, "fine", "mujoco 3.17.0"),
        ({name: version for name, version in INSTALLED.items() if name != "av"}, "warning", "av: not installed"),
        ({name: version for name, version in INSTALLED.items() if name != "torch"}, "wrong", "torch: not installed"),
        (INSTALLED | {"mujoco": "4.0.1"}, "wrong", "mujoco 4.0.1"),
    ],
)
def test_packages(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], verdict: str, text: str) -> None:
    monkeypatch.setattr(doctor, "package_versions", lambda: installed)
    found = doctor._packages()
    assert (found.verdict, text in found.text, bool(found.remedy)) == (verdict, True, verdict != "fine")


def test_a_version_of_python_that_is_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._python().verdict == "fine"
    monkeypatch.setattr("sys.version_info", (3, 14, 0))
    assert doctor._python().verdict == "warning"


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_pytorch_does_not_see() -> None:
    found = doctor._device()
    assert (found.verdict, "make setup TORCH=cuda" in found.remedy) == ("warning", True)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("process", "verdict", "text"),
    [
        (rendering(0, "NVIDIA H100/PCIe\n"), "fine", "NVIDIA H100/PCIe"),
        (rendering(0, "llvmpipe (LLVM 15.0.6, 256 bits)\n"), "warning", "software, beside a GPU"),
        (rendering(1, stderr="Traceback\nImportError: no EGL\n"), "wrong", "does not render: ImportError: no EGL"),
        (rendering(-11), "wrong", "does not render: exit status -11"),
    ],
)
def test_rendering(monkeypatch: pytest.MonkeyPatch, process: Callable[..., object], verdict: str, text: str) -> None:
    monkeypatch.setattr(subprocess, "run", process)
    found = doctor._renderer()
    assert (found.verdict, text in found.text, bool(found.remedy)) == (verdict, True, verdict != "fine")


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, verdict in ((50e9, "fine"), (5e9, "warning")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: Usage(100e9, 0, free))
        assert doctor._disk(tmp_path / "not" / "there").verdict == verdict
    monkeypatch.setattr("os.access", lambda *_: False)
    assert (doctor._disk(tmp_path).verdict, doctor._disk(tmp_path).remedy) == (
        "wrong",
        "choose another folder with --runs",
    )


def test_what_is_wrong_decides_the_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for verdict, status in (("fine", 0), ("warning", 0), ("wrong", 1)):
        monkeypatch.setattr(doctor, "_device", lambda verdict=verdict: Finding("device", verdict, "x", "mend it"))
        result = run_rlpt("doctor", "--runs", tmp_path)
        assert (result.exit_code, "→ mend it" in result.stdout) == (status, True)
