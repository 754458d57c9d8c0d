"""How freed memory is used again."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within the block, memory that the process frees stays with it, for its next allocations.

    The C library gives large blocks back to the system and asks for new ones, whose every page is cleared at its first
    use. An update at the paper's size makes and frees dozens of feature maps of 77 MB: page faults took a third of its
    time. Other libraries than glibc are left as they are.
    """
    library = ctypes.CDLL(None)
    mallopt, malloc_trim = (getattr(library, name, None) for name in ("mallopt", "malloc_trim"))
    if mallopt is None or malloc_trim is None:
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:  # where glibc's own rule would have come to by now: its largest thresholds
        mallopt(_MMAP_MAX, 1 << 16)
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 64 << 20)
        malloc_trim(0)
