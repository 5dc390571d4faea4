"""How far a sweep has come: shards report into small files, the terminal reads them.

The same files serve the bar of the command that waits, `status` in another shell, and shards on other machines.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from imprint_sweep import telling
from imprint_sweep.files.replacing import replacing
from imprint_sweep.grid.outcome import OK, Outcome
from imprint_sweep.heartbeat import Heartbeat

REPORT_SECONDS = 1.0
"""A shard tells what is new so often."""
BEAT_SECONDS = 5.0
"""And where nothing is new, that it lives."""
WATCH_SECONDS = 0.5


@dataclass
class Progress:
    """What became of the cells of one shard, or of several added up.

    Args:
        total: cells of the shard.
        done: cells that have an outcome, good or failed.
        failed: cells whose outcome is a failure.
        best: highest accuracy so far; 0 while there is none.
        alone_seconds: compute time that the cells computed here would have taken one by one.
        finished: shards that came to their end.
        before: of those done, the cells that were done before the shard was first started.
        interrupted: of the shards that came to their end, those that were told to.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    best: float = 0.0
    alone_seconds: float = 0.0
    finished: int = 0
    before: int = 0
    interrupted: int = 0

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
            before=self.before + other.before,
            interrupted=self.interrupted + other.interrupted,
        )

    def rate(self, seconds: float) -> float:
        """Cells computed per second of those `seconds`."""
        return max(0, self.done - self.before) / max(seconds, 1e-3)

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


def finished_shards(folder: Path) -> set[int]:
    """The shards of a sweep that came to their end by themselves; one that was told to end may be started again."""
    known = {path: Progress.load(path) for path in reports(folder)}
    return {shard_of(path) for path, progress in known.items() if progress.finished and not progress.interrupted}


def shard_of(report: Path) -> int:
    """The index of the shard that writes a report."""
    return int(report.stem.rpartition("-")[2])


class Reporter:
    """Writes a shard's progress. Use as a context manager around the shard.

    The file is there as soon as the shard starts, is written every second in which something happened and every few
    seconds in which nothing did, and says at the end that this is the end, whatever led to it. A shard that runs again
    (it was requeued) goes on from what it wrote before.

    Args:
        path: the shard's own file.
        total: cells of the shard.
    """

    def __init__(self, path: Path, total: int) -> None:
        earlier = Progress.load(path)
        self._runs_again = earlier.total > 0
        earlier.total, earlier.finished, earlier.interrupted = total, 0, 0
        self.progress = earlier
        self._path = path
        self._written, self._last = "", 0.0
        self._lock = threading.RLock()
        self._heartbeat = Heartbeat(REPORT_SECONDS, self.beat)

    def __enter__(self) -> Self:
        self.write()
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        self.progress.finished = 1
        # Ctrl-C, or a signal that ends the process: no other shard will follow.
        self.progress.interrupted = int(kind is not None and not issubclass(kind, Exception))
        self.write()

    def begin(self, *, done: int, failed: int, best: float) -> None:
        """Say what the table holds of the shard's cells before any is computed.

        Args:
            done: cells that will not be computed.
            failed: those of them that failed.
            best: highest accuracy among them.
        """
        with self._lock:
            self.progress.done, self.progress.failed = done, failed
            self.progress.best = max(self.progress.best, best)
            if not self._runs_again:
                self.progress.before = done

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        with self._lock:
            self.progress.add(outcome)

    def beat(self) -> None:
        """Write if there is news, or if nothing was written for long."""
        with self._lock:
            if json.dumps(asdict(self.progress)) != self._written or time.monotonic() - self._last >= BEAT_SECONDS:
                self.write()

    def write(self) -> None:
        """Replace the file. Progress is a convenience: a full disk must not end a shard."""
        with self._lock, suppress(OSError):
            self._written, self._last = json.dumps(asdict(self.progress)), time.monotonic()
            with replacing(self._path) as file:
                file.write(self._written.encode())


@contextmanager
def watching(folder: Path, total: int) -> Iterator[None]:
    """Tell the progress of a sweep while the body runs."""
    with telling.counting(total, "cell") as count:

        def update() -> None:
            progress = Progress.read(folder)
            count.update(progress.done, before=progress.before, details=_details(progress))

        heartbeat = Heartbeat(WATCH_SECONDS, update)
        heartbeat.start()
        try:
            yield
        finally:
            heartbeat.stop()
            update()


def _details(progress: Progress) -> str:
    told = [f"{progress.failed:,} failed"] if progress.failed else []
    if progress.done > progress.failed:
        told.append(f"best {progress.best:.4f}")
    return ", ".join(told)
