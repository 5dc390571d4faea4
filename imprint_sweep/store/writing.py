"""Rows on their way into the table: collected, and written as a part every few seconds."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from imprint_sweep.errors import StoreError
from imprint_sweep.grid.outcome import Outcome
from imprint_sweep.heartbeat import Heartbeat
from imprint_sweep.store.parts import SUFFIX, WRITTEN, shortage, unique_stem, write_part
from imprint_sweep.store.rows import Provenance, table_of


class ResultWriter:
    """Collects outcomes and writes them as parts. Use as a context manager: leaving it, however, writes the rest.

    Several processes may write into one folder at once; one writer is fed by one thread. What waits is written by a
    thread of the writer's own every few seconds: a stage of an hour must not keep the rows before it from the table.

    Args:
        root: the folder of the table.
        provenance: of every row.
        seconds: write so often, whether outcomes come or not.
        rows: write as soon as so many outcomes wait.
    """

    def __init__(self, root: Path, provenance: Provenance, *, seconds: float = 5.0, rows: int = 5_000) -> None:
        self._root, self._provenance, self._rows = root, provenance, rows
        self._waiting: list[tuple[Outcome, datetime]] = []
        self._lock = threading.RLock()
        self._error: Exception | None = None
        self._heartbeat = Heartbeat(seconds, self._flush_beside)

    def __enter__(self) -> Self:
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        try:
            self.flush()  # also what could not be written beside the computation: another attempt
        except StoreError:
            # The same news twice would bury the first; any other error must not hide that rows were lost.
            if not isinstance(error, StoreError):
                raise

    @property
    def waiting(self) -> int:
        """Outcomes that were added and are not in the table yet."""
        return len(self._waiting)

    def add(self, outcome: Outcome) -> None:
        """Take an outcome, finished now; write if many wait.

        Raises:
            StoreError: as :meth:`flush`, now or since the last call. The outcome is kept like all others.
        """
        with self._lock:
            self._waiting.append((outcome, datetime.now(UTC)))
            if self._error is not None:
                raise self._error
            if len(self._waiting) >= self._rows:
                self.flush()

    def flush(self) -> None:
        """Write what was added so far.

        Raises:
            StoreError: it cannot be written. Nothing of it is in the table, all of it is kept for another attempt.
        """
        with self._lock:
            if self._waiting:
                try:
                    self._root.mkdir(parents=True, exist_ok=True)
                    write_part(
                        self._root, f"{WRITTEN}{unique_stem()}{SUFFIX}", table_of(self._waiting, self._provenance)
                    )
                except (OSError, MemoryError) as error:
                    n = len(self._waiting)
                    raise StoreError(
                        f"{n:,} row{'s were' if n != 1 else ' was'} not written to {self._root}: "
                        f"{shortage(error)}; make room or choose another place with paths.outputs=<folder>, "
                        "then run the same command again"
                    ) from error
                self._waiting.clear()
            self._error = None

    def _flush_beside(self) -> None:
        """Write in the thread of its own, and keep an error for the one that adds."""
        with self._lock:
            try:
                self.flush()
            except Exception as error:  # of whatever kind: it must not end unseen with a thread
                self._error = error
