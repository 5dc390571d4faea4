"""Unknown keywords of a call, answered by what may have been meant."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec

from imprint_sweep.errors import did_you_mean
from imprint_sweep.grid.scheme import known_parameters

P = ParamSpec("P")


def advising(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Decorate an ``__init__`` that has an argument `parameters`: a keyword it does not have gets a helpful TypeError.

    Its signature stays what it is, which scikit-learn reads.

    Args:
        name: of the class, for messages.
    """

    def decorate(init: Callable[P, None]) -> Callable[P, None]:
        known = list(signature(init).parameters)[1:]

        @wraps(init)
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            for keyword, value in kwargs.items():
                if keyword not in known:
                    raise TypeError(f"{name} has no argument {keyword!r}{_advice(keyword, value, known)}")
            init(*args, **kwargs)

        return checked

    return decorate


def _advice(keyword: str, value: Any, known: list[str]) -> str:
    """What to write in the place of a keyword."""
    written = keyword.casefold()
    own = [key for key in known_parameters() if written in (key, key.partition(".")[2], key.replace(".", "_"))]
    if own:
        mappings = (f"{{{key!r}: {value!r}}}" for key in own)
        return f"; a parameter of a component goes into a mapping: parameters={' or '.join(mappings)}"
    return did_you_mean(keyword, known)
