"""Memory is reused while it is kept, and given back afterwards."""

from __future__ import annotations

import ctypes
import gc
import mmap
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imprint_sweep.foundation.allocation import kept_memory
from tests.outputs import ROOT

LARGE = 80 << 20
"""Bytes of a block: more than glibc keeps of its own accord, and more than fits into the heap of a thread."""
PAGES = LARGE // mmap.PAGESIZE
BLOCKS = 40

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")


def faults() -> int:
    """Pages that the system had to find for this process, since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def write(times: int) -> None:
    """Write blocks one after the other."""
    for _ in range(times):
        torch.ones(LARGE // 4)


PROGRAM = """
from concurrent.futures import ThreadPoolExecutor
from tests.foundation.test_allocation import faults, kept_memory, write

def new_pages(threads):
    before = faults()
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(write, [{blocks}] * threads))
    return faults() - before

for threads in (1, 2):
    usual = new_pages(threads)
    with kept_memory():
        print(usual, new_pages(threads))
"""


def test_blocks_are_reused_whichever_thread_asks_for_them() -> None:
    """In a process of its own, whose threads start after the package is loaded and whose heap is in order."""
    program = PROGRAM.format(blocks=BLOCKS)
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    for threads, line in zip((1, 2), finished.stdout.splitlines(), strict=True):
        usual, kept = map(int, line.split())
        # Usually every block is new to the process. Kept, a few are, until the heap has found its size.
        assert usual > 0.9 * threads * BLOCKS * PAGES
        assert kept < 0.5 * threads * BLOCKS * PAGES


def test_what_was_kept_is_given_back() -> None:
    gc.collect()
    before = resident()
    with kept_memory():
        write(2)
        during = resident()
    assert during > before + LARGE // 2
    assert resident() < before + LARGE // 2


def test_an_error_ends_it() -> None:
    with pytest.raises(RuntimeError, match="amid"), kept_memory():
        raise RuntimeError("amid")
    before = faults()
    write(2)
    assert faults() - before > PAGES
