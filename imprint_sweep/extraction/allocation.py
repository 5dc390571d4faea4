"""How glibc hands out the memory of a network's layers. Elsewhere than on glibc nothing here changes anything.

What a layer writes is tens of megabytes. For a block of that size glibc asks the system anew, layer after layer, and
the system fills each of its pages with zeros: up to half of the time of a network on the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_LIBC = ctypes.CDLL(None)
_GLIBC = hasattr(_LIBC, "mallopt") and hasattr(_LIBC, "malloc_trim")

# Parameters of mallopt (malloc.h), a default, and the values that glibc ends with when it tunes itself.
_ARENA_MAX = -8
_MMAP_MAX, _DEFAULT_MMAP_MAX = -4, 1 << 16
_MMAP_THRESHOLD, _TUNED_MMAP_THRESHOLD = -3, 32 << 20
_TRIM_THRESHOLD, _TUNED_TRIM_THRESHOLD = -1, 64 << 20
_LARGEST = (1 << 31) - 1


def share_heap() -> None:
    """Let threads that start from now on share the main heap: heaps of their own hold no block above 64 MB.

    This is of the whole process and for good. Threads that allocate many small blocks at once would wait for each
    other; those of a network, which allocate few and large ones, do not.
    """
    if _GLIBC:
        _LIBC.mallopt(_ARENA_MAX, 1)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let freed blocks of any size be used again instead of going back to the system; at the end all of them go."""
    if not _GLIBC:
        yield
        return
    _LIBC.mallopt(_MMAP_MAX, 0)
    _LIBC.mallopt(_TRIM_THRESHOLD, _LARGEST)
    try:
        yield
    finally:
        _LIBC.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
        # Setting a threshold ends glibc's own tuning, so both are set to where that ends.
        _LIBC.mallopt(_MMAP_THRESHOLD, _TUNED_MMAP_THRESHOLD)
        _LIBC.mallopt(_TRIM_THRESHOLD, _TUNED_TRIM_THRESHOLD)
        _LIBC.malloc_trim(0)
