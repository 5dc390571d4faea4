"""Progress of an extraction: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

LINE_SECONDS = 30.0


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show on stderr how many of ``total`` images are done.

    Yields:
        A function that counts so many more.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, desc=title, unit=" images", smoothing=0.05, dynamic_ncols=True, leave=False) as bar:
            yield bar.update
    else:
        yield _Lines(title, total).advance


class _Lines:
    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._start = self._said = time.monotonic()

    def advance(self, n: int) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        rate = self._done / (now - self._start)
        left = (self._total - self._done) / rate
        count = f"{self._done:,} of {self._total:,} images, {rate:,.0f} images/s, {left:,.0f} s left"
        print(f"{self._title}: {count}", file=sys.stderr, flush=True)
