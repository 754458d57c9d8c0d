"""Freed memory is used again where it should be, and given back afterwards."""

import ctypes
import resource
from pathlib import Path

import pytest
import torch

from rlpt.memory import freed_memory_kept

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")

_MEBIBYTES = 64
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def page_faults() -> int:
    """Counts the page faults of filling and freeing a block that is larger than any of glibc's thresholds."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(_MEBIBYTES << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(_HUGE_PAGES.is_file() and "[always]" in _HUGE_PAGES.read_text(), reason="pages are not 4 KB")
def test_a_freed_block_is_used_again() -> None:
    given_back = page_faults()
    with freed_memory_kept():
        page_faults()  # asks the system for the block
        assert page_faults() < given_back / 10
    assert page_faults() > given_back / 2
