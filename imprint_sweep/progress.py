"""How far a sweep has come: shards report into small files, the terminal reads them.

The same files serve the bar of the command that waits, `status` in another shell, and shards on other machines.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from imprint_sweep.outcome import OK, Outcome

REPORT_SECONDS = 1.0
LINE_SECONDS = 30.0


@dataclass
class Progress:
    """What became of the cells of one shard, or of several added up.

    Args:
        total: cells to run.
        done: cells that have an outcome, good or failed.
        failed: cells whose outcome is a failure.
        best: highest accuracy so far.
        alone_seconds: compute time that the finished cells would have taken one by one.
        finished: shards that came to their end.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    best: float = 0.0
    alone_seconds: float = 0.0
    finished: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.done += 1
        self.failed += outcome.status != OK
        self.best = max(self.best, outcome.accuracy or 0.0)
        self.alone_seconds += (outcome.gen_seconds or 0.0) + (outcome.eval_seconds or 0.0)

    def __add__(self, other: Progress) -> Progress:
        return Progress(
            total=self.total + other.total,
            done=self.done + other.done,
            failed=self.failed + other.failed,
            best=max(self.best, other.best),
            alone_seconds=self.alone_seconds + other.alone_seconds,
            finished=self.finished + other.finished,
        )

    @classmethod
    def read(cls, folder: Path) -> Progress:
        """The sum over the shards that have reported into a sweep's folder."""
        return sum(map(cls.load, reports(folder)), start=cls())

    @classmethod
    def load(cls, path: Path) -> Progress:
        """What one shard reported; nothing if that cannot be read."""
        names = {field.name for field in fields(cls)}
        try:
            content = json.loads(path.read_text())
            return cls() + cls(**{name: value for name, value in content.items() if name in names})
        except (OSError, ValueError, TypeError, AttributeError):  # being replaced, or from another version
            return cls()


def reports(folder: Path) -> list[Path]:
    """The files into which the shards of a sweep have reported."""
    return sorted(folder.glob("progress-*.json"))


class Reporter:
    """Writes a shard's progress, at most once a second, and at its end.

    Args:
        path: the shard's own file; None reports nowhere.
        progress: the counts, kept by the reporter.
    """

    def __init__(self, path: Path | None, total: int) -> None:
        self.progress = Progress(total=total)
        self._path = path
        self._last = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.progress.add(outcome)
        if time.monotonic() - self._last >= REPORT_SECONDS:
            self.write()

    def finish(self) -> None:
        """Say that the shard came to its end."""
        self.progress.finished = 1
        self.write()

    def write(self) -> None:
        """Replace the file. Progress is a convenience: a full disk must not end a shard."""
        self._last = time.monotonic()
        if self._path is None:
            return
        with suppress(OSError):
            temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            temporary.write_text(json.dumps(asdict(self.progress)))
            os.replace(temporary, self._path)


@contextmanager
def watching(folder: Path, total: int, stream: TextIO | None = None) -> Iterator[None]:
    """Show the progress of a sweep while the body runs: a bar on a terminal, a line now and then elsewhere."""
    stream = stream or sys.stderr
    stop = threading.Event()
    show = _Bar(total, stream) if stream.isatty() else _Lines(total, stream)

    def watch() -> None:
        while not stop.wait(0.5):
            show.update(Progress.read(folder))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        show.close(Progress.read(folder))


class _Bar:
    def __init__(self, total: int, stream: TextIO) -> None:
        self._bar = tqdm(total=total, unit="cell", file=stream, dynamic_ncols=True, smoothing=0.1)

    def update(self, progress: Progress) -> None:
        self._bar.set_postfix_str(_postfix(progress), refresh=False)
        self._bar.update(progress.done - self._bar.n)

    def close(self, progress: Progress) -> None:
        self.update(progress)
        self._bar.close()


class _Lines:
    def __init__(self, total: int, stream: TextIO) -> None:
        self._total, self._stream = total, stream
        self._start = self._last = time.monotonic()

    def update(self, progress: Progress) -> None:
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._print(progress)

    def close(self, progress: Progress) -> None:
        self._print(progress)

    def _print(self, progress: Progress) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._start
        rate = progress.done / elapsed if elapsed > 0 else 0.0
        left = f", {duration((self._total - progress.done) / rate)} left" if 0 < progress.done < self._total else ""
        print(
            f"{progress.done:,}/{self._total:,} cells, {rate:.1f} cells/s{left}, {_postfix(progress)}",
            file=self._stream,
            flush=True,
        )


def _postfix(progress: Progress) -> str:
    failed = f"{progress.failed:,} failed, " if progress.failed else ""
    return f"{failed}best {progress.best:.4f}"


def duration(seconds: float) -> str:
    """A duration as people say it.

    >>> duration(0.4), duration(42), duration(190), duration(7300)
    ('0.4 s', '42 s', '3 min', '2.0 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
