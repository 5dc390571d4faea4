"""Exclusive locks between processes, on file systems that have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_SECONDS = 0.1


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], object] = lambda: None) -> Iterator[bool]:
    """Hold the exclusive lock of a file; other processes and threads that want it wait until the block ends.

    The file stays where it is, empty: if it were deleted, those who wait for it and those who come later would hold
    two different locks. A process that dies lets go of its lock.

    Args:
        path: the lock file; its folder exists.
        on_wait: called once if another holds the lock.

    Yields:
        Whether the lock is held. False where the file system cannot lock or the folder cannot be written: then nobody
        waits, so what the lock protects must stay whole without it.
    """
    lock = FileLock(path, poll_interval=_POLL_SECONDS, fallback_to_soft=False)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            on_wait()
            lock.acquire()
    except (OSError, NotImplementedError):  # NotImplementedError: the system has no locks at all
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
