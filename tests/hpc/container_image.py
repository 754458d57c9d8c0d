"""Building the container image with `make image` and buildah, and running it with podman."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY

PROGRAMS = ("buildah", "podman", "runc")
# For machines without systemd, a network for containers, or the right to raise limits.
_PODMAN = ("podman", "--runtime=runc", "--cgroup-manager=cgroupfs")
_MODEST = ("--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096", "--health-interval=disable")


@dataclass(frozen=True)
class Image:
    """A built image."""

    name: str
    base: str
    "The image that it was built on."
    root: Path
    "Where its files can be looked at."
    config: dict[str, Any]
    layers: list[tuple[str, str]]
    "The instruction and the digest of each."

    def run(self, volumes: Path, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Runs the image read-only, with the folders runs and data of `volumes`, which belong to its user."""
        for name in ("runs", "data"):
            (volumes / name).mkdir(exist_ok=True)
            os.chown(volumes / name, 1000, 1000)
            options = (*options, f"--volume={volumes / name}:/{name}")
        # Docker's --read-only mounts nothing for temporary files.
        read_only = ("--read-only", "--read-only-tmpfs=false")
        return podman("run", "--rm", *_MODEST, *read_only, *options, self.name, *arguments)


@contextmanager
def fresh_base() -> Iterator[str]:
    """Yields the name of an image like localhost/debian:12, for which no earlier build has left a layer to take."""
    _output("buildah", "commit", "--rm", _output("buildah", "from", "localhost/debian:12"), "rlpt-test-base")
    try:
        yield "localhost/rlpt-test-base"
    finally:
        _output("buildah", "rmi", "rlpt-test-base")


@contextmanager
def built_image(name: str, base: str, *variables: str, context: Path = REPOSITORY) -> Iterator[Image]:
    """Builds an image, and removes it in the end.

    Args:
        name: the image's name.
        base: the image to build on.
        variables: more variables for make, as NAME=VALUE.
        context: a checkout or a copy of one.
    """
    fixed = ["BUILDER=buildah", f"BASE_IMAGE={base}", "TORCH=cpu"]
    _output("make", f"--directory={context}", "image", f"IMAGE={name}", *fixed, *variables)
    inspected = json.loads(_output("buildah", "inspect", "--type=image", name))
    steps = [step["created_by"] for step in inspected["OCIv1"]["history"] if not step.get("empty_layer")]
    layers = list(zip(steps, inspected["OCIv1"]["rootfs"]["diff_ids"], strict=True))
    root = Path(_output(*_PODMAN, "image", "mount", name))
    try:
        yield Image(name, base, root, inspected["Docker"]["config"], layers)
    finally:
        _output(*_PODMAN, "image", "unmount", name)
        _output("buildah", "rmi", name)


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs podman, whatever comes of it."""
    return subprocess.run([*_PODMAN, *arguments], capture_output=True, text=True, check=False)


def _output(*command: str) -> str:
    environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
