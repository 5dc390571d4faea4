"""Memory is reused while it is kept, and given back afterwards."""

from __future__ import annotations

import ctypes
import gc
import mmap
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from imprint_sweep.extraction.allocation import kept_memory
from tests.outputs import ROOT

LARGE = 80 << 20
"""Bytes of a block: more than glibc keeps of its own accord, and more than fits into the heap of a thread."""
PAGES = LARGE // mmap.PAGESIZE
BLOCKS = 40
PR_SET_THP_DISABLE = 41

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")


@pytest.fixture(autouse=True)
def _small_pages() -> Iterator[None]:
    """Faults count pages of the usual size, also where the system is set to give larger ones."""
    set_large_pages(False)
    yield
    set_large_pages(True)


def set_large_pages(allowed: bool) -> None:
    """Whether the system may give this process large pages (and those that it starts)."""
    assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, int(not allowed), 0, 0, 0) == 0


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


PRELUDE = f"""
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from imprint_sweep.extraction.process import prepare_process
prepare_process()
from tests.extraction.test_allocation import faults, kept_memory, write

def new_pages(threads=1):
    before = faults()
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(write, [{BLOCKS}] * threads))
    return faults() - before

"""


def printed(program: str) -> list[list[int]]:
    """The numbers that a program prints in a process of its own, whose heap is in order."""
    finished = subprocess.run(
        [sys.executable, "-c", PRELUDE + program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return [list(map(int, line.split())) for line in finished.stdout.splitlines()]


def test_blocks_are_reused_whichever_thread_asks_for_them() -> None:
    """Threads that start after the process was prepared, that is."""
    program = """
for threads in (1, 2):
    usual = new_pages(threads)
    with kept_memory():
        print(usual, new_pages(threads))
"""
    for threads, (usual, kept) in zip((1, 2), printed(program), strict=True):
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
    program = """
with suppress(RuntimeError), kept_memory():
    raise RuntimeError
print(new_pages())
"""
    ((usual,),) = printed(program)
    assert usual > 0.9 * BLOCKS * PAGES
