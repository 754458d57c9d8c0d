"""What lies beside the package in its source tree and is not installed with it: manifests, claims, benchmarks."""

from pathlib import Path

from rlpt.errors import UsageError

ROOT = Path(__file__).parent.parent


def in_checkout(*parts: str) -> Path:
    """Returns a path in the source tree.

    Raises:
        UsageError: if it is not there.
    """
    path = ROOT.joinpath(*parts)
    if not path.exists():
        raise UsageError(
            f"{path}: not there; it is part of the source tree only: clone the repository and install it with "
            "`pip install -e .`"
        )
    return path
