"""Freed memory is used again where it should be, and given back afterwards."""

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest

_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# Around an aligned block glibc frees slivers, and the first seven of a size it sets aside (its thread cache), where
# they keep freed blocks from joining. So the first blocks may be new ones, however often they are freed.
_FIRST_BLOCKS = 16
_PROGRAM = f"""
import json, resource
import torch
from rlpt.pipeline.memory import freed_memory_kept

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 << 20, dtype=torch.uint8)  # larger than any of glibc's thresholds
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = page_faults()
with freed_memory_kept():
    for _ in range({_FIRST_BLOCKS}):
        page_faults()
    kept = page_faults()
print(json.dumps([given_back, kept, page_faults()]))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
@pytest.mark.skipif(_HUGE_PAGES.is_file() and "[always]" in _HUGE_PAGES.read_text(), reason="pages are not 4 KB")
def test_a_freed_block_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    given_back, kept, afterwards = json.loads(done.stdout)
    assert kept < given_back / 10
    assert afterwards > given_back / 2
