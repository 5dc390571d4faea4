"""Ends runs that are interrupted (Ctrl-C, scancel, a closed terminal) or abandoned, once what they know is written."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from imprint_sweep.running.processes import Process
from imprint_sweep.running.progress import Progress, reports

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
        this = Process.find(os.getpid())
        jobs = [process for process in this.descendants() if _JOB in process.words] if this is not None else []
        for job in jobs:
            job.send(signal.SIGINT)  # submitit lets a job pass over SIGTERM
        _await_end(running, lambda: any(job.lives for job in jobs))
        for job in jobs:
            job.send(signal.SIGKILL)

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


# --- Launchers that are gone -----------------------------------------------------------------------------------------

LAUNCHER = "IMPRINT_SWEEP_LAUNCHER"
"""The environment variable that tells jobs on this machine which process launched them."""
WATCH_SECONDS = 1.0
"""Interval at which a job looks for the process that launched it."""


def mark_launcher() -> None:
    """Let the jobs that this process launches on this machine from now on end soon after it, however it ends."""
    this = Process.find(os.getpid())
    if this is not None:
        os.environ[LAUNCHER] = str(this)


@contextmanager
def launching() -> Iterator[None]:
    """Let the jobs that the body launches on this machine end soon after this process, however it ends."""
    mark_launcher()
    try:
        yield
    finally:
        os.environ.pop(LAUNCHER, None)  # jobs of SLURM inherit the environment, too, and outlive who submitted them


@contextmanager
def ending_with_launcher() -> Iterator[None]:
    """End this process if the one that launched it is gone, killed perhaps without a word to anybody.

    The body is interrupted, as by Ctrl-C, and has :data:`FLUSH_SECONDS` to write what it knows. The process is watched
    on after the body, until it ends: workers of a pool wait for more work.

    Does nothing in a process that nothing of :func:`mark_launcher` launched.
    """
    global _watch
    if _watch is None and LAUNCHER in os.environ:
        launcher = Process.parse(os.environ[LAUNCHER])
        if launcher.pid != os.getpid():
            _watch = _Watch(launcher)
    if _watch is None:
        yield
        return
    with _watch.working():
        yield


class _Watch:
    """Looks for a process in a thread, for as long as this process lives.

    The kernel could send a signal instead (PR_SET_PDEATHSIG), but when the *thread* ends that started this process,
    and between a job of submitit and the launcher is a process that lives on.
    """

    def __init__(self, launcher: Process) -> None:
        self._launcher = launcher
        self._working = False
        self._end_if_gone()
        threading.Thread(target=self._watch, name="imprint-launcher", daemon=True).start()

    @contextmanager
    def working(self) -> Iterator[None]:
        self._working = True
        try:
            yield
        finally:
            self._working = False
            self._end_if_gone()

    def _watch(self) -> None:
        while self._launcher.lives:
            time.sleep(WATCH_SECONDS)
        if self._working:
            # All of them: submitit passes over SIGTERM, nohup over SIGHUP, what a script started with & over SIGINT.
            # To the main thread: only there do handlers run, and one given to another thread does not wake it.
            main = threading.main_thread().ident
            assert main is not None
            for number in _SIGNALS:
                signal.pthread_kill(main, number)
            time.sleep(FLUSH_SECONDS)
        self._end_if_gone()

    def _end_if_gone(self) -> None:
        # At once: there is nobody to take a result or to read an error, and other threads may be amid a long stage.
        if not self._launcher.lives:
            os._exit(TERMINATED)


_watch: _Watch | None = None
