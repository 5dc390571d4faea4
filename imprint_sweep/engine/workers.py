"""Threads that compute: each runs BLAS and OpenMP on one core, so that no result depends on how many there are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import walk_tb
from typing import TypeVar

from threadpoolctl import threadpool_limits

from imprint_sweep.errors import ImprintError
from imprint_sweep.imprinting.components import Component
from imprint_sweep.imprinting.one_core import one_core

_LIBRARIES = ("numpy", "scipy", "sklearn", "numba")
"""Packages that components call: the line that matters to their authors is the one that calls."""

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Failure:
    """What a job returns instead of raising."""

    error: Exception

    def __str__(self) -> str:
        kind = type(self.error).__name__
        return f"{kind}: {self.error}{self._place()}"

    def _place(self) -> str:
        """Where an error arose that is no sentence of this project: the innermost line outside of numeric libraries."""
        frames = [] if isinstance(self.error, ImprintError | MemoryError) else [*walk_tb(self.error.__traceback__)]
        for frame, line in reversed(frames):
            module = frame.f_globals.get("__name__", "")
            if module.partition(".")[0] not in _LIBRARIES:
                return f" ({module}, line {line})"
        return ""


class GivenUpError(Exception):
    """Raised inside a job after the run was given up."""


class Workers:
    """A pool of threads for jobs that release the GIL.

    A job's exception becomes a :class:`Failure` in the worker thread itself. The main thread catches nothing, so what a
    signal raises there (Ctrl-C, a SLURM timeout, a preemption) always gets through.
    """

    def __init__(self, pool: ThreadPoolExecutor, threads: int) -> None:
        self._pool = pool
        self.threads = threads
        self._stopped = threading.Event()

    def check(self) -> None:
        """Called by long jobs between blocks: end early if the run was given up."""
        if self._stopped.is_set():
            raise GivenUpError

    def stop(self) -> None:
        """Give up: queued jobs never start, running ones end at their next check."""
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def map(self, job: Callable[[Item], T], items: Iterable[Item]) -> Iterator[tuple[Item, T | Failure]]:
        """Run a job per item; yields (item, result or failure) in the order of the items."""
        futures = [(item, self.submit(job, item)) for item in items]
        for item, future in futures:
            yield item, future.result()

    def submit(self, job: Callable[[Item], T], item: Item) -> Future[T | Failure]:
        """Queue one job."""

        def guarded() -> T | Failure:
            try:
                self.check()
                return job(item)
            except Exception as error:  # a worker thread: no signal's exception can arrive here
                return Failure(error)

        return self._pool.submit(guarded)


@contextmanager
def workers(threads: int, components: Iterable[Component] = ()) -> Iterator[Workers]:
    """A pool of `threads` threads, BLAS and OpenMP limited to one thread each while `components` compute.

    What libraries remark on duplicated samples is not shown meanwhile. Everything is restored at the end.

    A run that is given up does not wait for the jobs that are running: what it knows can be saved at once.
    """

    def initialise() -> None:
        threadpool_limits(limits=1)  # OpenMP's limit belongs to the thread that sets it

    with one_core(components):
        pool = ThreadPoolExecutor(threads, thread_name_prefix="imprint", initializer=initialise)
        crew = Workers(pool, threads)
        try:
            yield crew
        except BaseException:
            crew.stop()
            raise
        pool.shutdown()
