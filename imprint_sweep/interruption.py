"""Ctrl-C, scancel, a closed terminal: a run ends once, and what it knows is written first."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        running = [path for path in reports(folder) if not Progress.load(path).finished]
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        end = time.monotonic() + FLUSH_SECONDS
        while time.monotonic() < end and any(child.is_alive() for child in children):
            if all(Progress.load(path).finished for path in running):
                break
            time.sleep(0.05)

    return tell
