"""Parts: the immutable Parquet files of a results table. Written whole or not at all, read even if some are damaged.

A part is named ``part-…`` (written by a run) or ``compact-…`` (merged from others). Names that begin with ``_`` or
``.`` are no parts: pyarrow and pandas skip them, too.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq

from imprint_sweep.errors import StoreError
from imprint_sweep.store.schema import SCHEMA

SUFFIX = ".parquet"
TEMPORARY_SUFFIX = ".tmp"
COMPACTED = "compact-"
QUARANTINED = "_quarantined-"

# Checksums are written with every page (see write_part), so that a flipped bit is found and not believed.
_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=False)
)
_ATTEMPTS = 20


class DamagedPartWarning(UserWarning):
    """A part of the results table cannot be read; its rows are missing from what was returned."""


@dataclass(frozen=True)
class Rows:
    """What was read.

    Args:
        table: the rows of all parts, in the order of the parts' names.
        parts: the parts that were read whole.
        damaged: those that were not.
    """

    table: pa.Table
    parts: tuple[Path, ...]
    damaged: tuple[Path, ...]


def unique_stem() -> str:
    """A part of a name that no other process gives, and that sorts by time: ``<utc time>-<host>-<pid>-<random>``."""
    host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:60]
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{host}-{os.getpid()}-{secrets.token_hex(4)}"


def write_part(root: Path, name: str, table: pa.Table) -> Path:
    """Write a part in one step: under its name there is nothing, or all of it.

    Args:
        root: the folder of the table.
        name: of the file.
        table: the rows.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    # Encoded in memory: then only this function writes, and sees every error of the file system itself.
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    path, temporary = root / name, root / f".{name}{TEMPORARY_SUFFIX}"
    try:
        with open(temporary, "xb") as file:
            file.write(memoryview(sink.getvalue()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    # The name must be on disk, too. The part is whole already: not every file system can do this.
    with suppress(OSError):
        folder = os.open(root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def list_parts(root: Path) -> list[Path]:
    """The parts of a table, sorted by name; none if there is no such folder.

    Raises:
        StoreError: the folder cannot be read.
    """
    # A listing is no snapshot: one that begins before a compaction wrote its file and ends after it removed the parts
    # would show neither. So it is repeated until nothing was merged or removed in between.
    names = _names(root)
    while True:
        again = _names(root)
        if names <= again and not any(name.startswith(COMPACTED) for name in again - names):
            return [root / name for name in sorted(again)]
        names = again


def read_parts(
    root: Path, columns: Sequence[str] | None = None, *, only: Callable[[Path], bool] = lambda part: True
) -> Rows:
    """Read all rows while others write and compact.

    A damaged part is named in a warning and set aside: renamed so that nobody stumbles over it again, or only skipped
    where the folder cannot be written. Columns that an old part lacks are null.

    Args:
        root: the folder of the table.
        columns: which columns; all of :data:`SCHEMA` by default. ``cell_id`` is read in any case.
        only: which parts.

    Raises:
        StoreError: the folder cannot be read.
    """
    names = list(SCHEMA.names if columns is None else dict.fromkeys(["cell_id", *columns]))
    damaged: dict[Path, None] = {}
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        parts = [part for part in list_parts(root) if part not in damaged and only(part)]
        try:
            return Rows(_scan(parts, names), tuple(parts), tuple(damaged))
        except (pa.ArrowException, OSError) as error:
            # Either a part is damaged, or a compaction removed one since it was listed: then its rows are elsewhere.
            last = error
            damaged |= dict.fromkeys(part for part in parts if _set_aside_if_damaged(part, names))
    raise StoreError(
        f"the results table {root} cannot be read, {_ATTEMPTS} attempts failed; the last: {last}"
    ) from last


def _names(root: Path) -> set[str]:
    try:
        return {name for name in os.listdir(root) if name.endswith(SUFFIX) and not name.startswith((".", "_"))}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise StoreError(f"the results table {root} cannot be read: {error.strerror or error}") from error


def _scan(parts: Sequence[Path], columns: list[str]) -> pa.Table:
    """The rows of some parts.

    Raises:
        OSError, pyarrow.ArrowException: a part is gone or damaged.
    """
    if not parts:
        return SCHEMA.empty_table().select(columns)
    # An absent column is null, which a column declared without nulls could not be.
    schema = pa.schema([field.with_nullable(True) for field in SCHEMA], metadata=SCHEMA.metadata)
    dataset = ds.FileSystemDataset.from_paths(
        [str(part) for part in parts], schema=schema, format=_FORMAT, filesystem=fs.LocalFileSystem()
    )
    table = dataset.to_table(columns=columns, fragment_readahead=32)
    # Page checksums do not cover the footer, where a flipped bit can rename a column; and others' files may lie around.
    for name in columns:
        if not SCHEMA.field(name).nullable and table[name].null_count:
            raise pa.ArrowInvalid(f"it is no part of a results table: it has rows without {name}")
    return table


def _set_aside_if_damaged(path: Path, columns: list[str]) -> bool:
    try:
        _scan([path], columns)
        return False
    except (pa.ArrowException, OSError) as error:
        # pyarrow reports damaged pages as OSError without a number; one with a number comes from the system.
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, FileNotFoundError) or number == errno.ESTALE:
            return False
        reason = str(error).splitlines()[0]
    fate = "skipped"
    if number is None:
        with suppress(OSError):
            os.rename(path, path.with_name(QUARANTINED + path.name))
            fate = f"renamed to {QUARANTINED}{path.name}"
    warnings.warn(
        f"{path} cannot be read and was {fate}; cells without another row will be computed again ({reason})",
        DamagedPartWarning,
        stacklevel=4,
    )
    return True
