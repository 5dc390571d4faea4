"""Writing: immutable part files that appear whole or not at all."""

from __future__ import annotations

import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from imprint_sweep.errors import StoreError
from imprint_sweep.outcome import Outcome
from imprint_sweep.store.schema import Finished, Provenance, to_table

FLUSH_SECONDS = 5.0
FLUSH_ROWS = 5_000


class Writer:
    """Appends rows to a table, in parts of a few seconds each.

    As a context manager it writes what it holds when the context is left, however that happens.

    Args:
        root: the table's folder.
        provenance: what all rows have in common.
        seconds: a part is written when its first row is older than this.
        rows: or when it has so many.
    """

    def __init__(
        self, root: Path, provenance: Provenance, *, seconds: float = FLUSH_SECONDS, rows: int = FLUSH_ROWS
    ) -> None:
        self._root, self._provenance, self._seconds, self._rows = root, provenance, seconds, rows
        self._buffer: list[Finished] = []
        self._oldest = 0.0

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add(self, outcome: Outcome) -> None:
        """Append one outcome.

        Raises:
            StoreError: a part was due and could not be written; the rows are kept for the next attempt.
        """
        if not self._buffer:
            self._oldest = time.monotonic()
        self._buffer.append(Finished.now(outcome))
        if len(self._buffer) >= self._rows or time.monotonic() - self._oldest >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write the rows held back.

        Raises:
            StoreError: they cannot be written; they are kept.
        """
        if not self._buffer:
            return
        try:
            write_part(self._root / part_name("part"), to_table(self._buffer, self._provenance))
        except OSError as error:
            raise StoreError(
                f"{len(self._buffer):,} rows could not be written to {self._root}: {error.strerror or error}; "
                "rows written before are safe. Make room and run the same command again"
            ) from error
        self._buffer.clear()


def part_name(kind: str) -> str:
    """A file name that no other process chooses, in order of time."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", platform.node())[:32]
    return f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{host}-{os.getpid()}-{secrets.token_hex(4)}.parquet"


def write_part(path: Path, table: pa.Table) -> None:
    """Write a file that is either complete or not there.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, hidden from readers, that takes its place when the body succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"_{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def check_writable(root: Path) -> None:
    """Find out before computing whether the table can be written.

    Raises:
        StoreError: it cannot.
    """
    probe = root / f"_probe-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"imprint_sweep")
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"results cannot be written to {root}: {error.strerror or error}; choose another place with paths.outputs=..."
        ) from error
