"""Ctrl-C, scancel, a closed terminal: a run ends once, and what it knows is written first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from imprint_sweep.progress import Progress, reports

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that was told to terminate and did so in its own time."""
FLUSH_SECONDS = 4.0
"""How long workers may take to write what they know: far more than they need, and still no hang."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_once(prepare: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let the first signal that asks the process to end raise, and ignore the others until the block is left.

    A second one would hit what the first one set in motion: rows on their way to the disk. A signal that something else
    listens to (submitit, nohup) is left alone, and so are all of them outside of the main thread.

    Args:
        prepare: called before the signal raises.

    Raises:
        KeyboardInterrupt: SIGINT arrived.
        SystemExit: SIGTERM or SIGHUP arrived; code 128 + its number, as shells say it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = (signal.SIG_DFL, signal.default_int_handler)
    previous = {number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) in ours}
    ending = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ending
        if ending:
            return
        ending = True
        prepare()
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for number in previous:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def workers_first(folder: Path) -> Callable[[], None]:
    """What to do before a pool of processes is given up, which kills them (joblib does).

    Args:
        folder: where the shards of the sweep report.

    Returns:
        A function that tells this process's children to end and waits until the shards that reported have finished.
    """

    def tell() -> None:
        running = _running(folder)
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        _await_end(running, lambda: any(child.is_alive() for child in children))

    return tell


def jobs_first(folder: Path) -> Callable[[], None]:
    """What to do before jobs of submitit's local executor are given up, which lets them run on.

    Args:
        folder: where the shards of the sweep report.

    Returns:
        A function that tells the jobs that this process started to end, waits until the shards that reported have
        finished, and kills what is left.
    """

    def tell() -> None:
        running = _running(folder)
        jobs = [pid for pid in _descendants(os.getpid()) if _JOB in _words(pid)]
        for pid in jobs:
            _send(pid, signal.SIGINT)  # submitit lets a job pass over SIGTERM
        _await_end(running, lambda: any(_JOB in _words(pid) for pid in jobs))
        for pid in jobs:
            _send(pid, signal.SIGKILL)

    return tell


_JOB = "submitit.core._submit"
"""What a job of submitit runs; submitit itself watches it from another process."""


def _running(folder: Path) -> list[Path]:
    """The reports of shards that have not come to their end."""
    return [path for path in reports(folder) if not Progress.load(path).finished]


def _await_end(running: list[Path], alive: Callable[[], bool]) -> None:
    """Wait while workers live and shards have not finished, :data:`FLUSH_SECONDS` at most."""
    end = time.monotonic() + FLUSH_SECONDS
    while time.monotonic() < end and alive():
        if running and all(Progress.load(path).finished for path in running):
            break
        time.sleep(0.05)


def _descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def _words(pid: int) -> list[str]:
    """The command line of a process; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
