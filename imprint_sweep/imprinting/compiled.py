"""Functions that numba compiles at their first call, so that importing a component loads no compiler."""

from __future__ import annotations

import threading
from collections.abc import Callable, Set
from functools import update_wrapper
from types import FunctionType
from typing import Any

_LOCK = threading.RLock()


class Compiled:
    """A function that becomes machine code when it is first called; it releases the GIL and is cached on disk.

    It may call other compiled functions of its module or imported into it.

    Args:
        function: what numba compiles: loops over arrays, global constants.
        fastmath: relaxations of IEEE arithmetic; none where bits decide.
    """

    def __init__(self, function: FunctionType, fastmath: Set[str] = frozenset()) -> None:
        self._function, self._fastmath = function, set(fastmath)
        self._dispatcher: Any = None
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """Run, compiled."""
        return self.dispatcher(*arguments)

    @property
    def dispatcher(self) -> Any:
        """What numba made of the function."""
        if self._dispatcher is None:
            with _LOCK:
                if self._dispatcher is None:
                    self._dispatcher = self._compile()
        return self._dispatcher

    def _compile(self) -> Any:
        from numba import njit

        original = self._function
        known = dict(original.__globals__)
        for name in original.__code__.co_names:
            if isinstance(known.get(name), Compiled) and known[name] is not self:
                known[name] = known[name].dispatcher
        function = FunctionType(original.__code__, known, original.__name__, original.__defaults__)
        function.__qualname__, function.__module__ = original.__qualname__, original.__module__
        return njit(nogil=True, cache=True, fastmath=self._fastmath)(function)


def compiled(*, fastmath: Set[str] = frozenset()) -> Callable[[Any], Compiled]:
    """Decorate a function that numba is to compile; see :class:`Compiled`."""
    return lambda function: Compiled(function, fastmath)
