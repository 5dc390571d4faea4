"""What a run tells whoever watches it. Without a listener nothing is said: only the command line prints.

A process has one listener, as it has one terminal; what runs in its threads is heard, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


class Count:
    """How far something countable has come. This one shows it to nobody."""

    def update(self, done: int, *, before: int = 0, details: str = "") -> None:
        """Show how many are done.

        Args:
            done: so many of the total.
            before: of these, so many were done before the clock started.
            details: what else there is to say, in a few words.
        """


class Listener:
    """Hears what is told. This one keeps it to itself."""

    def say(self, text: str) -> None:
        """Hear what the user asked for: a plan, a result, a table."""

    def note(self, text: str) -> None:
        """Hear what the user may want to know."""

    def warn(self, text: str) -> None:
        """Hear what may be wrong."""

    def counting(self, total: int, thing: str, title: str, *, brief: bool) -> AbstractContextManager[Count]:
        """Hear how far something has come while the body of the context runs; see :func:`counting`."""
        return nullcontext(Count())


_listener = Listener()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a listener hear what is told while the body runs."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def say(text: str) -> None:
    """Tell what the user asked for: a plan, a result, a table."""
    _listener.say(text)


def note(text: str) -> None:
    """Tell what the user may want to know, one sentence."""
    _listener.note(text)


def warn(text: str) -> None:
    """Tell what may be wrong, one sentence."""
    _listener.warn(text)


def counting(total: int, thing: str, title: str = "", *, brief: bool = False) -> AbstractContextManager[Count]:
    """Tell how far something has come while the body of the context runs.

    Args:
        total: how many there are.
        thing: what is counted, in the singular.
        title: what it is about.
        brief: nothing is left of it at the end.
    """
    return _listener.counting(total, thing, title, brief=brief)
