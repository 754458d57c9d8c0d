"""What made a run: code, versions, machine and time."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import rlpt
from rlpt.checkout import ROOT
from rlpt.errors import UsageError
from rlpt.runs.checksums import file_sha256
from rlpt.runs.files import write_json

_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
PACKAGES = ("torch", "mujoco", "dm-control", "numpy", "h5py", "safetensors", "av", "pillow")


@cache
def code_version() -> dict[str, Any]:
    """Returns rlpt's version and, in a git checkout, its commit and whether files differ from it.

    An image knows its commit from RLPT_COMMIT, which ends in "-dirty" if it was built from a changed checkout.
    """
    found: dict[str, Any] = {"rlpt": rlpt.__version__}
    if not (ROOT / ".git").exists():
        built_from = os.environ.get("RLPT_COMMIT")
        changed = {"dirty": True} if (built_from or "").endswith("-dirty") else {}
        return found | {"commit": built_from and built_from.removesuffix("-dirty")} | changed
    commit = _git(ROOT, "rev-parse", "HEAD")
    changes = _git(ROOT, "status", "--porcelain", "--", "rlpt", "install", "pyproject.toml")
    return found | {
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
    }


def version_text(code: Mapping[str, Any]) -> str:
    """Returns "rlpt 0.1.0, commit 1a2b3c4d5+changes" for a `code_version`, of this process or on record."""
    changes = "+changes" if code.get("dirty") else ""
    return f"rlpt {code['rlpt']}, commit {(code.get('commit') or 'unknown')[:9]}{changes}"


def _git(root: Path, *arguments: str) -> str | None:
    try:
        # `git status` would hold the index's lock for a moment; a job that is killed then leaves it behind.
        # Another user's checkout is refused unless it is called safe. GIT_DIR and the like mean other repositories.
        command = ["git", "--no-optional-locks", "-c", f"safe.directory={root.resolve()}", "-C", str(root), *arguments]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def package_versions() -> dict[str, str]:
    """Returns the versions of the packages that results depend on, as far as they are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def lock_files() -> dict[str, str]:
    """Returns the SHA-256 of the lock files that packages are installed from, where they are at hand."""
    found = sorted((ROOT / "install").glob("*.lock"))
    return {path.name: file_sha256(path) for path in found}


def container() -> dict[str, str] | None:
    """Returns what is known of the container that this process is in; None outside of one.

    An image cannot know its own digest: whoever starts it says so in RLPT_CONTAINER_DIGEST.
    """
    known = {"digest": os.environ.get("RLPT_CONTAINER_DIGEST"), "file": os.environ.get("APPTAINER_CONTAINER")}
    return {key: value for key, value in known.items() if value} or None


def machine(device: str) -> dict[str, Any]:
    """Returns name, operating system, processor, cores, driver, and the GPU if `device` ("cpu", "cuda") is one.

    To ask for its name takes some of its memory, and may be refused to a second process.
    """
    import torch

    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": available_cores(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "driver": _driver(),
    }


def available_cores() -> int:
    """Returns how many cores this process may use: those it is bound to, or fewer by Slurm's or a container's word."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    of_task = os.environ.get("SLURM_CPUS_PER_TASK", "") if os.environ.get("SLURM_NTASKS", "1") == "1" else ""
    limits = [bound, int(of_task) if of_task.isdecimal() else bound, _quota() or bound]
    return max(1, min(limits))


def _quota() -> int | None:
    """Returns the cores that a control group of version 2 may use, rounded up, as `docker run --cpus` limits them."""
    try:
        quota, period = _CPU_LIMIT.read_text(encoding="ascii").split()
        return None if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _driver() -> str | None:
    """Returns the NVIDIA kernel module's version, such as "580.95.05"."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", text)
    return found[0] if found else text.splitlines()[0]


@contextmanager
def describe_session(sessions_file: Path, renders: bool, how: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a run's own part of its record, which is complete when the block has ended.

    A run that is interrupted goes on in a further session; `sessions_file` remembers the earlier ones.

    Args:
        sessions_file: JSON; made where it is missing.
        renders: whether to say what renders.
        how: remembered with this session: its `device`, and anything else.
    """
    earlier = read_sessions(sessions_file)
    record: dict[str, Any] = {"code": code_version(), "packages": package_versions(), "locks": lock_files()}
    record["container"] = container()
    session = how | _begun_session(renders, how["device"])
    started = datetime.now(UTC)
    session["started"] = started.isoformat(timespec="seconds")
    write_json(sessions_file, [*earlier, session])
    end = "done"
    try:
        yield record
    except BaseException as error:
        end = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
        raise
    finally:
        finished = datetime.now(UTC)
        session["ended"] = finished.isoformat(timespec="seconds")
        session["seconds"] = round((finished - started).total_seconds(), 1)
        session["end"] = end
        record["sessions"] = [*earlier, session]
        with suppress(OSError):  # the disk may be full
            write_json(sessions_file, record["sessions"])


def read_sessions(file: Path) -> list[dict[str, Any]]:
    """Returns an unfinished run's sessions; none where the file is missing or damaged, which is no reason to stop."""
    try:
        sessions = [dict(session) for session in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []
    for session in sessions:
        session.setdefault("end", "killed")
    return sessions


def _begun_session(renders: bool, device: str) -> dict[str, Any]:
    import torch

    return {
        "commit": code_version().get("commit"),
        "packages": package_versions(),
        "machine": machine(device),
        "renderer": _renderer() if renders else None,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
    }


def _renderer() -> str | None:
    """Returns OpenGL's name of the rendering device; None if there is none, which the job itself will complain of."""
    from rlpt.envs.rendering import renderer_name

    try:
        return renderer_name()
    except UsageError:
        return None
