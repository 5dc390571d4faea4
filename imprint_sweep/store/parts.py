"""Parts: the immutable Parquet files of a results table. Written whole or not at all, read even if some are damaged.

The table's own files are named ``part-…`` (written by a run) or ``compact-…`` (merged from others). Another Parquet
file in the folder is read if it holds rows of the table, and is never changed. Names that begin with ``_`` or ``.`` are
skipped, as pyarrow and pandas skip them. Reading renames and removes nothing.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq

from imprint_sweep.errors import StoreError, one_line
from imprint_sweep.files.replacing import replacing
from imprint_sweep.grid import commands
from imprint_sweep.grid.cell import split_weights
from imprint_sweep.store.schema import is_parameter, table_schema

SUFFIX = ".parquet"
WRITTEN, COMPACTED = "part-", "compact-"
QUARANTINED = "_quarantined-"

# Checksums are written with every page (see write_part), so that a flipped bit is found and not believed.
_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=False)
)
_ATTEMPTS = 20
_WEIGHTS = ("weights", "precision")

READ_ERRORS = (pa.ArrowException, OSError, MemoryError, UnicodeError)
"""What reading a Parquet file raises. :func:`is_damage` tells bad files from a system that is short of something."""

_OF_CONTENT = (
    pa.ArrowInvalid,
    pa.ArrowNotImplementedError,
    pa.ArrowTypeError,
    pa.ArrowKeyError,
    pa.ArrowIndexError,
    UnicodeError,
)
# Libraries below Arrow report these like unreadable content: "Couldn't deserialize thrift: std::bad_alloc".
_NO_MEMORY = re.compile(r"std::bad_alloc|Allocation error|annot allocate|ut of memory|malloc of size")
_NO_THREAD = re.compile(r"Failed to launch worker thread|Resource temporarily unavailable")


class DamagedPartWarning(UserWarning):
    """A file of the results table cannot be read; its rows are missing from what was returned."""


@dataclass(frozen=True)
class Rows:
    """What was read.

    Args:
        table: the rows of all parts, in the order of the parts' names.
        parts: the parts that were read whole.
        damaged: those that were not -> why.
    """

    table: pa.Table
    parts: tuple[Path, ...]
    damaged: Mapping[Path, str]


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
    path = root / name
    with replacing(path, durable=True) as file:
        file.write(memoryview(sink.getvalue()))
    # The name must be on disk, too. The part is whole already: not every file system can do this.
    with suppress(OSError):
        folder = os.open(root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def check_table(root: Path) -> None:
    """Check that there is a folder.

    Raises:
        StoreError: there is none, or nobody may look.
    """
    try:
        there = root.is_dir()
    except OSError as error:
        raise StoreError(f"the results table {root} cannot be read: {shortage(error)}") from error
    if not there:
        raise StoreError(f"there is no results table at {root}; run a cell, or give the folder of one")


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


def read_parts(root: Path, columns: Sequence[str] | None = None) -> Rows:
    """Read all rows while others write and compact. Nothing in the folder is changed.

    Each damaged part is named in a :class:`DamagedPartWarning`, at every read, and the others are read. Columns that an
    old part lacks are null.

    Args:
        root: the folder of the table.
        columns: which columns; all of :func:`table_schema` by default. ``cell_id`` is read in any case.

    Raises:
        StoreError: the table cannot be read now, though it may be intact: no memory, no file handles, no permission.
    """
    rows = try_parts(root, columns)
    warn_of_damage(rows.damaged)
    return rows


def try_parts(
    root: Path, columns: Sequence[str] | None = None, *, only: Callable[[Path], bool] = lambda part: True
) -> Rows:
    """The same as :func:`read_parts` of some parts, without warnings.

    Args:
        root, columns: as there.
        only: which parts.

    Raises:
        StoreError: as there.
    """
    names = list(table_schema().names if columns is None else dict.fromkeys(["cell_id", *columns]))
    schema = table_schema() if set(names) <= set(table_schema().names) else schema_found(root)
    damaged: dict[Path, str] = {}
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            parts = [part for part in list_parts(root) if part not in damaged and only(part)]
            try:
                return Rows(_scan(parts, names, schema), tuple(parts), damaged)
            except READ_ERRORS as error:
                # A part is damaged, or a compaction removed one since it was listed: then its rows are elsewhere.
                last = error
                if not (is_damage(error) or _is_gone(error)):
                    raise
                damaged |= {part: why for part in parts if (why := damage(part, names, schema)) is not None}
        except READ_ERRORS as error:
            raise StoreError(
                f"the results table {root} cannot be read now: {shortage(error)}; nothing in it was changed"
            ) from error
    raise StoreError(
        f"the results table {root} cannot be read, {_ATTEMPTS} attempts failed; the last: {last}"
    ) from last


def schema_found(root: Path) -> pa.Schema:
    """:func:`table_schema`, and the columns of parameters of components that are not here but have rows in the table.

    Parts that cannot be read now are passed over: reading their rows will tell.

    Raises:
        StoreError: the folder cannot be read.
    """
    schema = table_schema()
    for part in list_parts(root):
        with suppress(*READ_ERRORS):
            for field in pq.read_schema(part):
                if field.name not in schema.names and is_parameter(field):
                    schema = schema.append(field.with_nullable(True))
    return schema


def damage(path: Path, columns: Sequence[str] | None = None, schema: pa.Schema | None = None) -> str | None:
    """Why a part cannot be read; None if it can, or is gone.

    Args:
        path: the file.
        columns: which columns are wanted; all of `schema` by default.
        schema: of the table; :func:`table_schema` by default.

    Raises:
        OSError, MemoryError, pyarrow.ArrowException: the reason is not the file, see :func:`is_damage`.
    """
    try:
        schema = schema or table_schema()
        _scan([path], list(columns or schema.names), schema, threads=False)
    except READ_ERRORS as error:
        if os.path.lexists(path) and not path.is_file():
            return "it is not a file"
        if _is_gone(error):
            return None
        if not is_damage(error):
            raise
        return re.sub(r"^Could not open Parquet input source '.*?': ", "", one_line(error))
    return None


def is_damage(error: BaseException) -> bool:
    """Whether an error of reading a Parquet file is about its content.

    It is not if memory, threads or file handles ran out, or a permission or a network file system was in the way.
    """
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) or _NO_THREAD.search(str(error)):
        return False
    # Arrow reports damaged pages as OSError without a number; one with a number comes from the system.
    return error.errno is None if isinstance(error, OSError) else isinstance(error, _OF_CONTENT)


def shortage(error: BaseException) -> str:
    """What the system lacked or refused, for a message."""
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return f"there is not enough memory ({one_line(error)})"
    return (isinstance(error, OSError) and error.strerror) or one_line(error)


def is_own(path: Path) -> bool:
    """Whether a file has a name that the table gives."""
    return path.name.startswith((WRITTEN, COMPACTED))


def warn_of_damage(damaged: Mapping[Path, str]) -> None:
    """Name each damaged part in a :class:`DamagedPartWarning`."""
    for path, why in damaged.items():
        if is_own(path):
            message = (
                f"{path} is damaged and was passed over ({why}); cells without another row will be computed again. "
                f"Move it aside with: {commands.repair(path.parent)}"
            )
        else:
            message = (
                f"{path} is not a part of this results table and was passed over ({why}); keep it in another folder"
            )
        # With a registry of Python's a warning of the same words would be shown once: each read must tell it.
        warnings.warn_explicit(message, DamagedPartWarning, *_caller(), registry={})


def _names(root: Path) -> set[str]:
    try:
        return {name for name in os.listdir(root) if name.endswith(SUFFIX) and not name.startswith((".", "_"))}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise StoreError(f"the results table {root} cannot be read: {error.strerror or error}") from error


def _scan(parts: Sequence[Path], columns: list[str], schema: pa.Schema, *, threads: bool = True) -> pa.Table:
    """The rows of some parts, columns of a schema.

    Raises:
        OSError, MemoryError, UnicodeError, pyarrow.ArrowException: a part is gone or damaged, or the system is short of
            something.
    """
    if not parts:
        return schema.empty_table().select(columns)
    read = list(dict.fromkeys([*columns, *_WEIGHTS])) if set(_WEIGHTS) & set(columns) else columns
    # An absent column is null, which a column declared without nulls could not be.
    nullable = pa.schema([field.with_nullable(True) for field in schema], metadata=schema.metadata)
    dataset = ds.FileSystemDataset.from_paths(
        [str(part) for part in parts], schema=nullable, format=_FORMAT, filesystem=fs.LocalFileSystem()
    )
    table = dataset.to_table(columns=read, fragment_readahead=32, use_threads=threads)
    # Page checksums do not cover the footer, where a flipped bit can rename a column; and others' files may lie around.
    for name in read:
        if not schema.field(name).nullable and table[name].null_count:
            raise pa.ArrowInvalid(f"it is no part of a results table: it has rows without {name}")
    return with_precision(table).select(columns) if read is not columns else table


def with_precision(table: pa.Table) -> pa.Table:
    """A table with the precision of every network; in files of former versions it is the end of the weights' name.

    Args:
        table: columns ``weights`` and ``precision``, this one null in rows of such files.
    """
    if not table["precision"].null_count:
        return table
    weights, precision = (table[name].combine_chunks() for name in _WEIGHTS)
    given = weights.dictionary_encode()
    names, precisions = zip(*(split_weights(name) for name in given.dictionary.to_pylist()), strict=True)
    filled = {
        "weights": pc.if_else(precision.is_valid(), weights, pa.array(names).take(given.indices)),
        "precision": pc.coalesce(precision, pa.array(precisions, pa.string()).take(given.indices)),
    }
    for name, column in filled.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    return table


def _caller() -> tuple[str, int, str]:
    """File, line and module of the call that came from outside of the package."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("imprint_sweep."):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "")


def _is_gone(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.errno == errno.ESTALE)
