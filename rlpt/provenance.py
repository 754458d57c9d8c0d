"""What made a run: code, versions, machine and time."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import rlpt
from rlpt.files import write_json

PACKAGES = ("torch", "mujoco", "dm-control", "numpy", "h5py", "safetensors", "gymnasium")


@cache
def code_version() -> dict[str, Any]:
    """Returns rlpt's version and, in a git checkout, its commit and whether files differ from it."""
    root = Path(rlpt.__file__).parent.parent
    found: dict[str, Any] = {"rlpt": rlpt.__version__}
    if not (root / ".git").exists():
        return found | {"commit": os.environ.get("RLPT_COMMIT")}
    commit = _git(root, "rev-parse", "HEAD")
    return found | {
        "commit": commit,
        "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def package_versions() -> dict[str, str]:
    """Returns the installed versions of the packages that results depend on."""
    return {name: metadata.version(name) for name in PACKAGES}


def machine() -> dict[str, Any]:
    """Returns operating system, processor, cores, and the GPU if there is one."""
    import torch

    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": available_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def available_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


@contextmanager
def describe_run(sessions_file: Path) -> Iterator[dict[str, Any]]:
    """Yields a dictionary that is complete when the block has ended.

    A run that is interrupted goes on in a further session; `sessions_file` remembers the earlier ones.
    """
    import torch

    earlier: list[dict[str, Any]] = json.loads(sessions_file.read_text()) if sessions_file.exists() else []
    started = datetime.now(UTC)
    record: dict[str, Any] = {"code": code_version(), "packages": package_versions()}
    session: dict[str, Any] = {
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "started": started.isoformat(timespec="seconds"),
    }
    write_json(sessions_file, [*earlier, session])
    try:
        yield record
    finally:
        finished = datetime.now(UTC)
        session["ended"] = finished.isoformat(timespec="seconds")
        session["seconds"] = round((finished - started).total_seconds(), 1)
        write_json(sessions_file, [*earlier, session])
        record["sessions"] = [*earlier, session]
