"""Merge the parts of a results table into a few sorted ones; dying at any point loses no row.

The merged parts are written first, whole, and only then the parts that they hold are removed. Whoever dies in between
leaves rows twice, which no reader minds, and which the next compaction drops. Writers need not stop: what they add
meanwhile is left alone. A second compaction at the same time is harmless for the same reason.

A repair is the only thing that moves a damaged part aside. Files that are not the table's own are never changed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imprint_sweep.errors import StoreError
from imprint_sweep.files.replacing import TEMPORARY
from imprint_sweep.store.parts import (
    COMPACTED,
    QUARANTINED,
    READ_ERRORS,
    SUFFIX,
    WRITTEN,
    check_table,
    damage,
    is_damage,
    is_own,
    list_parts,
    shortage,
    try_parts,
    unique_stem,
    warn_of_damage,
    write_part,
)
from imprint_sweep.store.schema import table_schema

PARTS_KEY = b"imprint_sweep.parts"
"""Key of the names of the parts that a merged part holds (JSON) in its metadata."""

ROWS_PER_FILE = 1_000_000
STALE_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Compaction:
    """What a compaction did.

    Args:
        parts_before, parts_after: parts that were merged, and into how many.
        rows_before, rows_after: their rows; the difference are exact duplicates.
        newer: parts left alone because a newer version of the package wrote columns that this one does not know.
        damaged: own parts that cannot be read and were left where they are.
        moved: what a repair moved aside, under the new names.
        restored: what a repair took back, because it can be read: earlier versions also moved intact parts aside.
    """

    parts_before: int
    parts_after: int
    rows_before: int
    rows_after: int
    newer: tuple[Path, ...] = ()
    damaged: tuple[Path, ...] = ()
    moved: tuple[Path, ...] = ()
    restored: tuple[Path, ...] = ()


def compact(root: Path, *, rows_per_file: int = ROWS_PER_FILE, repair: bool = False) -> Compaction:
    """Merge the parts of a table. History stays: superseded and failed rows too.

    Rows are sorted by cell_id, then by time. All of them are in memory at once (about 1 GB per million).

    Args:
        root: the folder of the table.
        rows_per_file: rows of a merged part.
        repair: first take back what was moved aside and can be read, and move aside the own parts that cannot. Without
            it these are named in a :class:`DamagedPartWarning` and left where they are.

    Raises:
        StoreError: there is no such folder, or it cannot be read or written; nothing is lost then.
    """
    check_table(root)
    try:
        return _compact(root, rows_per_file, repair)
    except READ_ERRORS as error:
        raise StoreError(
            f"{root} cannot be compacted: {shortage(error)}; no row was lost, run it again when that is mended"
        ) from error


def _compact(root: Path, rows_per_file: int, repair: bool) -> Compaction:
    _remove_stale(root)
    restored = _restore(root) if repair else ()
    read = try_parts(root, only=lambda part: is_own(part) and _is_understood(part))
    newer = tuple(path for path in list_parts(root) if is_own(path) and not _is_understood(path))
    # A column that no version has known may also be a damaged name, or another program's.
    damaged = {**read.damaged, **{part: why for part in newer if (why := damage(part)) is not None}}
    moved: tuple[Path, ...] = ()
    if repair:
        moved = _move_aside(damaged)
    else:
        warn_of_damage(damaged)

    table = _sorted(_distinct(read.table))
    n_parts = len(read.parts)
    if not _is_compact(read.parts):
        n_parts = _replace(root, read.parts, table, rows_per_file)
    return Compaction(
        parts_before=len(read.parts),
        parts_after=n_parts,
        rows_before=len(read.table),
        rows_after=len(table),
        newer=tuple(part for part in newer if part not in damaged),
        damaged=() if repair else tuple(damaged),
        moved=moved,
        restored=restored,
    )


def _replace(root: Path, parts: Sequence[Path], table: pa.Table, rows_per_file: int) -> int:
    """Write the rows of some parts as merged ones, then remove those; returns how many were written."""
    names = json.dumps([path.name for path in parts])
    table = pa.Table.from_arrays(
        table.columns, schema=table_schema().with_metadata({**table_schema().metadata, PARTS_KEY: names.encode()})
    )
    stem = f"{COMPACTED}{unique_stem()}"
    starts = range(0, len(table), rows_per_file)
    written = [
        write_part(root, f"{stem}-{number:03d}{SUFFIX}", table.slice(start, rows_per_file))
        for number, start in enumerate(starts)
    ]
    # What was read is the only other copy: look before it goes.
    if sum(pq.read_metadata(path).num_rows for path in written) != len(table):
        raise StoreError(f"{root}: the merged parts {stem}-* are not whole; no part was removed")
    for path in parts:
        with suppress(FileNotFoundError):  # another compaction was faster
            os.remove(path)
    return len(written)


def _restore(root: Path) -> tuple[Path, ...]:
    """Take back the parts that were moved aside and can be read; returns their new paths."""
    aside = sorted(root.glob(f"{QUARANTINED}*{SUFFIX}"))
    back = [(path, path.with_name(path.name.removeprefix(QUARANTINED))) for path in aside]
    return _renamed((path, to) for path, to in back if is_own(to) and damage(path) is None)


def _move_aside(parts: Iterable[Path]) -> tuple[Path, ...]:
    """Rename parts so that no reader meets them again; returns their new paths."""
    return _renamed((part, part.with_name(QUARANTINED + part.name)) for part in parts)


def _renamed(wanted: Iterable[tuple[Path, Path]]) -> tuple[Path, ...]:
    """Rename files, each to a path like the wanted one if that is taken; returns the new paths."""
    done = []
    for path, to in wanted:
        if to.exists():
            to = to.with_name(f"{to.stem}-{secrets.token_hex(4)}{SUFFIX}")
        with suppress(FileNotFoundError):  # another repair was faster
            os.rename(path, to)
            done.append(to)
    return tuple(done)


def _is_understood(path: Path) -> bool:
    """Whether merging would keep all that a part holds."""
    try:
        return set(pq.read_schema(path).names) <= set(table_schema().names)
    except READ_ERRORS as error:
        if isinstance(error, FileNotFoundError) or is_damage(error):
            return True  # reading will tell
        raise


def _is_compact(parts: tuple[Path, ...]) -> bool:
    """Whether one compaction left exactly these: merging them again would give the same."""
    stems = {re.sub(r"-\d+$", "", path.stem) for path in parts}
    return not parts or (len(stems) == 1 and all(path.name.startswith(COMPACTED) for path in parts))


def _distinct(table: pa.Table) -> pa.Table:
    """Drop the rows that equal an earlier one in every column."""
    codes = np.zeros(len(table), np.int64)
    # The first two tell nearly all rows apart: without duplicates two columns are enough.
    first = ["cell_id", "finished_at"]
    for name in [*first, *(name for name in table.column_names if name not in first)]:
        column = _codes(table[name])
        codes = _codes(codes * (int(column.max(initial=0)) + 1) + column)
        if len(codes) == int(codes.max(initial=-1)) + 1:
            return table
    return table.take(pa.array(np.sort(np.unique(codes, return_index=True)[1])))


def _codes(values: pa.ChunkedArray | NDArray[np.int64]) -> NDArray[np.int64]:
    """A number 0, 1, ... for each distinct value; null is a value."""
    array = pa.array(values) if isinstance(values, np.ndarray) else values.combine_chunks()
    if pa.types.is_list(array.type):
        array = _lists_as_text(array)
    codes: NDArray[np.int64] = array.dictionary_encode(null_encoding="encode").indices.to_numpy().astype(np.int64)
    return codes


def _lists_as_text(array: pa.ListArray) -> pa.Array:
    """Lists as texts that are equal where the lists are: dictionary_encode does not take lists."""
    return pc.binary_join(array.cast(pa.list_(pa.string())), "\x1f")  # floats are spelled so that they read back equal


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([("cell_id", "ascending"), ("finished_at", "ascending")])


def _remove_stale(root: Path) -> None:
    """Remove temporary files that a killed process left long ago."""
    for path in root.glob(f".*{SUFFIX}*{TEMPORARY}"):
        own = path.name.startswith((f".{WRITTEN}", f".{COMPACTED}"))
        with suppress(OSError):
            if own and time.time() - path.stat().st_mtime > STALE_SECONDS:
                os.unlink(path)
