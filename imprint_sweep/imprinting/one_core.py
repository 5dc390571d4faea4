"""The state of the process while proxies are made: libraries compute on one core, so that no bit depends on cores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from imprint_sweep.imprinting.components import Component
from imprint_sweep.imprinting.first_use import prepare


@contextmanager
def one_core(components: Iterable[Component] = ()) -> Iterator[None]:
    """Limit BLAS, LAPACK and OpenMP to one thread each; OpenMP's limit belongs to the thread that sets it.

    Args:
        components: what computes meanwhile. Libraries that they load at their first use, as SciPy with a LAPACK of its
            own, are loaded before: a limit does not reach what comes later.
    """
    for component in components:
        prepare(component)
    with threadpool_limits(limits=1):
        yield
