"""Merging many parts into a few sorted files, without losing a row whenever it is stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from imprint_sweep.store.parts import part_name, write_part
from imprint_sweep.store.reading import part_files, read_parts
from imprint_sweep.store.schema import SCHEMA

ROWS = 1_000_000
"""Rows of one merged file at most."""


@dataclass(frozen=True)
class Compaction:
    """What a compaction did: files and rows before and after. Rows that were there twice are kept once."""

    files_before: int
    files_after: int
    rows_before: int
    rows_after: int


def compact(root: Path) -> Compaction:
    """Merge all parts of a table.

    The merged files are written first, each appearing whole, and then the parts deleted. Stopped in between, the table
    holds some rows twice, which no reader counts and the next compaction drops. Parts that appear meanwhile stay.

    Raises:
        OSError: a file cannot be written or deleted.
    """
    files = part_files(root)
    table = read_parts(root, SCHEMA.names, files=files)
    rows = len(table)
    merged = _without_copies(table)
    written = []
    for start in range(0, len(merged), ROWS):
        path = root / part_name("compact")
        write_part(path, merged.slice(start, ROWS))
        written.append(path)
    for path in files:
        path.unlink(missing_ok=True)
    return Compaction(len(files), len(written), rows, len(merged))


def _without_copies(table: pa.Table) -> pa.Table:
    """Sorted by cell and time, each row once. Rows are copies if everything is equal but the order of the columns."""
    order = pc.sort_indices(table, sort_keys=[("cell_id", "ascending"), ("finished_at", "ascending")])
    table = table.take(order)
    if len(table) < 2:
        return table
    same = pa.array([True] * (len(table) - 1))
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_list(column.type):
            continue  # f1 and labels follow from the rest
        a, b = column[1:], column[:-1]
        equal = pc.if_else(pc.is_null(a), pc.is_null(b), pc.fill_null(pc.equal(a, b), False))
        same = pc.and_(same, equal)
    keep = pa.concat_arrays(
        [pa.array([True]), pc.invert(same).combine_chunks() if isinstance(same, pa.ChunkedArray) else pc.invert(same)]
    )
    return table.filter(keep)
