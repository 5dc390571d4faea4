"""The terminal as a listener: results on stdout, everything about them on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from imprint_sweep.telling import Count, Listener
from imprint_sweep.wording import duration

LINE_SECONDS = 30.0
"""Without a terminal there is a line so often."""


class Console(Listener):
    """Prints what it hears."""

    def say(self, text: str) -> None:
        """Print what the user asked for."""
        print(text, flush=True)

    def note(self, text: str) -> None:
        """Print a note."""
        print(f"note: {text}", file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        print(f"warning: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def counting(self, total: int, thing: str, title: str, *, brief: bool) -> Iterator[Count]:
        """Show a bar on a terminal, a line now and then elsewhere."""
        kind = Bar if sys.stderr.isatty() else Lines
        count = kind(sys.stderr, total, thing, title, brief=brief)
        try:
            yield count
        finally:
            count.close()


class Bar(Count):
    """A bar that is drawn anew in its line."""

    def __init__(self, stream: TextIO, total: int, thing: str, title: str = "", *, brief: bool = False) -> None:
        self._bar = tqdm(
            total=total,
            desc=title or None,
            unit=thing,
            file=stream,
            leave=not brief,
            dynamic_ncols=True,
            smoothing=0,  # the rate since the start; a smoothed one stays that of the last burst until another follows
        )

    def update(self, done: int, *, before: int = 0, details: str = "") -> None:
        """Draw the bar."""
        self._bar.set_postfix_str(details, refresh=False)
        self._bar.initial, self._bar.n = before, done
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is, or take it away if it was to be brief."""
        self._bar.close()


class Lines(Count):
    """A line now and then, and a last one."""

    def __init__(self, stream: TextIO, total: int, thing: str, title: str = "", *, brief: bool = False) -> None:
        self._stream, self._total, self._thing, self._title, self._brief = stream, total, thing, title, brief
        self._start = self._said = time.monotonic()
        self._now: tuple[int, int, str] = (0, 0, "")

    def update(self, done: int, *, before: int = 0, details: str = "") -> None:
        """Print a line if the last one is some time ago."""
        self._now = (done, before, details)
        if time.monotonic() - self._said >= LINE_SECONDS:
            self._print()

    def close(self) -> None:
        """Print the last line, unless it was to be brief."""
        if not self._brief:
            self._print()

    def _print(self) -> None:
        done, before, details = self._now
        self._said = time.monotonic()
        seconds = self._said - self._start
        rate = (done - before) / seconds if seconds > 0 else 0.0
        left = f"{duration((self._total - done) / rate)} left" if rate and done < self._total else ""
        title = f"{self._title}: " if self._title else ""
        plural = "s" * (self._total != 1)
        told = [f"{done:,}/{self._total:,} {self._thing}{plural}", f"{rate:,.1f} {self._thing}s/s", left, details]
        print(title + ", ".join(filter(None, told)), file=self._stream, flush=True)
