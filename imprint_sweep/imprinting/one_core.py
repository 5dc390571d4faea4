"""The state of the process while proxies are made: libraries compute on one core, so that no bit depends on cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_core() -> Iterator[None]:
    """Limit BLAS, LAPACK and OpenMP to one thread each; OpenMP's limit belongs to the thread that sets it."""
    with threadpool_limits(limits=1):
        yield
