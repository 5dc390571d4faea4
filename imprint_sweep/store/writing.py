"""Rows on their way into the table: collected, and written as a part every few seconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from imprint_sweep.errors import StoreError
from imprint_sweep.outcome import Outcome
from imprint_sweep.store.parts import SUFFIX, unique_stem, write_part
from imprint_sweep.store.rows import Provenance, table_of

PART = "part-"


class ResultWriter:
    """Collects outcomes and writes them as parts. Use as a context manager: leaving it, however, writes the rest.

    Several processes may write into one folder at once; one writer belongs to one thread.

    Args:
        root: the folder of the table.
        provenance: of every row.
        seconds: write when an outcome is added so long after the last part.
        rows: write when so many outcomes have been added.
    """

    def __init__(self, root: Path, provenance: Provenance, *, seconds: float = 5.0, rows: int = 5_000) -> None:
        self._root, self._provenance = root, provenance
        self._seconds, self._rows = seconds, rows
        self._waiting: list[tuple[Outcome, datetime]] = []
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except StoreError:
            # The same news twice would bury the first; any other error must not hide that rows were lost.
            if not isinstance(error, StoreError):
                raise

    @property
    def waiting(self) -> int:
        """Outcomes that were added and are not in the table yet."""
        return len(self._waiting)

    def add(self, outcome: Outcome) -> None:
        """Take an outcome, finished now; write if it is time to.

        Raises:
            StoreError: as :meth:`flush`.
        """
        self._waiting.append((outcome, datetime.now(UTC)))
        if len(self._waiting) >= self._rows or time.monotonic() - self._last >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write what was added so far.

        Raises:
            StoreError: it cannot be written. Nothing of it is in the table, all of it is kept for another attempt.
        """
        self._last = time.monotonic()
        if not self._waiting:
            return
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            write_part(self._root, f"{PART}{unique_stem()}{SUFFIX}", table_of(self._waiting, self._provenance))
        except OSError as error:
            raise StoreError(
                f"{len(self._waiting):,} rows were not written to {self._root}: {error.strerror or error}; "
                "make room or choose another place with paths.outputs=<folder>, then run the same command again"
            ) from error
        self._waiting.clear()
