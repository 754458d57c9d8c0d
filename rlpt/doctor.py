"""Is this machine ready? Every check says what it found and, if it is wrong, how to mend it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlpt.pipeline.disk import existing_folder
from rlpt.runs.provenance import PACKAGES, available_cores, code_version, package_versions, version_text

Verdict = Literal["fine", "warning", "wrong"]

_MARKS: dict[Verdict, str] = {"fine": "ok  ", "warning": "warn", "wrong": "FAIL"}
_SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swrast")
_ENOUGH_DISK = 10e9
# Run in a process of its own: a broken OpenGL driver may take its process down.
_RENDER = """
from rlpt.envs.pixels import PixelEnvironment
from rlpt.envs.rendering import renderer_name
from rlpt.settings import EnvironmentSettings
env = PixelEnvironment("reacher-easy", EnvironmentSettings(size=64))
env.reset()
assert env.frame.std() > 0, "the rendered frame is blank"
print(renderer_name())
"""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    topic: str
    verdict: Verdict
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Returns the finding for a terminal."""
        remedy = f"\n       → {self.remedy}" if self.remedy else ""
        return f"{_MARKS[self.verdict]}  {self.topic}: {self.text}{remedy}"


def examine(runs: Path) -> list[Finding]:
    """Makes every check."""
    checks: list[Callable[[], Finding]] = [_code, _python, _packages, _device, _renderer, lambda: _disk(runs)]
    return [check() for check in checks]


def _code() -> Finding:
    return Finding("rlpt", "fine", version_text(code_version()).removeprefix("rlpt "))


def _python() -> Finding:
    version = sys.version.split()[0]
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return Finding("Python", "fine", version)
    return Finding(
        "Python",
        "warning",
        f"{version} is not tested",
        "use Python 3.11 or 3.12: make clean setup PYTHON=python3.12",
    )


def _packages() -> Finding:
    versions = package_versions()
    missing = [name for name in PACKAGES if name not in versions]
    if missing:
        verdict: Verdict = "warning" if missing == ["av"] else "wrong"  # av reads background videos alone
        return Finding("packages", verdict, f"{', '.join(missing)}: not installed", "make setup")
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    if versions["mujoco"].startswith("4."):
        return Finding("packages", "wrong", text, "dm_control 1.0.50 needs mujoco 3.17.0: make setup")
    return Finding("packages", "fine", text)


def _device() -> Finding:
    import torch

    cores = available_cores()
    if torch.cuda.is_available():
        return Finding("device", "fine", f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda}), {cores} cores")
    if _has_nvidia_gpu():
        return Finding(
            "device", "warning", f"an NVIDIA GPU that PyTorch {torch.__version__} does not see; {cores} cores",
            "install the CUDA build and a driver for it: make setup TORCH=cuda",
        )  # fmt: skip
    return Finding("device", "fine", f"no GPU; {cores} cores, PyTorch {torch.__version__}")


def _has_nvidia_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def _renderer() -> Finding:
    backend = os.environ.get("MUJOCO_GL", "egl")
    done = subprocess.run([sys.executable, "-P", "-c", _RENDER], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return Finding(
            "rendering", "wrong", f"{backend} does not render: {lines[-1]}",
            "apt-get install libegl1 libopengl0 libgl1-mesa-dri, and leave MUJOCO_GL unset or set it to egl",
        )  # fmt: skip
    name = done.stdout.strip()
    software = any(renderer in name.lower() for renderer in _SOFTWARE_RENDERERS)
    if software and _has_nvidia_gpu():
        return Finding(
            "rendering", "warning", f"{backend}, {name}: software, beside a GPU",
            "install the driver's EGL library (libnvidia-gl); in a container set "
            "NVIDIA_DRIVER_CAPABILITIES=graphics,compute,utility",
        )  # fmt: skip
    return Finding("rendering", "fine", f"{backend}, {name}" + (" (software)" if software else ""))


def _disk(runs: Path) -> Finding:
    existing = existing_folder(runs)
    if not os.access(existing, os.W_OK):
        return Finding("disk", "wrong", f"{existing} is not writable", "choose another folder with --runs")
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:,.0f} GB free in {existing}"
    if free < _ENOUGH_DISK:
        return Finding("disk", "warning", text, "`rlpt plan` says how much a manifest needs")
    return Finding("disk", "fine", text)
