"""Reading: one row per cell out of a folder of parts, whatever state the folder is in."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imprint_sweep.errors import StoreError
from imprint_sweep.outcome import FAILED, OK
from imprint_sweep.store.schema import SCHEMA

_NULLABLE = {
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
}


@dataclass(frozen=True, eq=False)
class Lookup:
    """What the table holds for some cells, a value each.

    Args:
        done: bool, whether there is a good row.
        failed: bool, whether there is no good row but a failed one.
        n_correct: int64 of the newest good row, -1 where there is none.
        accuracy: float64 of the newest good row, NaN where there is none.
    """

    done: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    n_correct: NDArray[np.int64]
    accuracy: NDArray[np.float64]


def part_files(root: Path) -> list[Path]:
    """The parts of a table, by name. Names that begin with ``_`` or ``.`` are no parts."""
    try:
        return sorted(path for path in root.glob("*.parquet") if not path.name.startswith(("_", ".")))
    except OSError as error:
        raise StoreError(f"results cannot be read from {root}: {error.strerror or error}") from error


def read_parts(root: Path, columns: Sequence[str], *, files: Sequence[Path] | None = None) -> pa.Table:
    """All rows of a table in the declared schema, the history with duplicates and failures.

    Args:
        root: the table's folder; need not exist.
        columns: names of :data:`SCHEMA`.
        files: which parts; None means all.

    A part that cannot be read is named in a warning, set aside under a name that begins with ``_quarantined-``, and not
    fatal. Columns that an older part lacks are null.
    """
    schema = pa.schema([SCHEMA.field(name) for name in columns])

    def read(path: Path) -> pa.Table | None:
        try:
            # Opened here: what another process compacts away in between is read to its end all the same.
            with path.open("rb") as file:
                return _conform(pq.ParquetFile(file).read(columns=_present(file, columns)), schema)
        except FileNotFoundError:
            return None  # compacted since the folder was listed; its rows are in a newer file
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
            _quarantine(path, error)
            return None

    def read_all(paths: Sequence[Path]) -> pa.Table:
        with ThreadPoolExecutor(4) as pool:
            tables = [table for table in pool.map(read, paths) if table is not None]
        return pa.concat_tables(tables) if tables else schema.empty_table()

    if files is not None:
        return read_all(files)
    while True:
        files = part_files(root)
        table = read_all(files)
        # A compaction that deleted parts before they were read has put their rows into a file that the list lacks.
        if not any(path.name.startswith("compact-") for path in set(part_files(root)) - set(files)):
            return table


def load_results(
    path: str | Path = "outputs/results", columns: Sequence[str] | None = None, *, status: str | None = OK
) -> pd.DataFrame:
    """One row per cell: the newest good one.

    ``pd.read_parquet(path)`` reads the same folder as history: every attempt is a row, so a cell appears again after
    ``force=true``, after its embeddings changed, after two sweeps ran it at once, or after it failed.

    Args:
        path: the folder of the table.
        columns: which columns; None means all.
        status: ``"ok"``, or None to include cells of which there are only failed rows (their newest).

    Returns:
        A frame with pandas' nullable integers, so that k and m stay whole numbers, sorted by ``cell_id``.

    Raises:
        StoreError: there is no such folder, or no such column.
    """
    root = Path(path)
    if not root.is_dir():
        raise StoreError(f"there are no results at {root}")
    wanted = list(SCHEMA.names) if columns is None else list(columns)
    if unknown := [name for name in wanted if name not in SCHEMA.names]:
        raise StoreError(f"no column {', '.join(unknown)}; there are {', '.join(SCHEMA.names)}")
    table = read_parts(root, list(dict.fromkeys([*wanted, "cell_id", "status", "finished_at"])))
    if status is not None:
        table = table.filter(pc.equal(table["status"], status))
    newest = _newest(table, ["cell_id"])
    return to_pandas(newest.select(wanted))


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """A table as a frame in which whole numbers with nulls stay whole numbers."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_NULLABLE.get)
    return frame


def look_up(
    root: Path,
    cell_ids: NDArray[np.bytes_],
    fingerprints: NDArray[np.bytes_],
    *,
    method_version: int,
    since: datetime | None = None,
) -> Lookup:
    """What the table holds for cells with their present embeddings and the present method.

    Args:
        root: the table's folder; need not exist.
        cell_ids: (n,) ``S20``, distinct.
        fingerprints: (n,) ``S20``.
        method_version: rows of other versions do not count.
        since: older rows do not count.
    """
    n = len(cell_ids)
    result = Lookup(np.zeros(n, bool), np.zeros(n, bool), np.full(n, -1, np.int64), np.full(n, np.nan))
    columns = ["cell_id", "fingerprint", "method_version", "status", "n_correct", "accuracy", "finished_at"]
    table = read_parts(root, columns)
    keep = pc.equal(table["method_version"], method_version)
    if since is not None:
        keep = pc.and_(keep, pc.greater_equal(table["finished_at"], pa.scalar(since, table["finished_at"].type)))
    table = _newest(table.filter(keep), ["cell_id", "fingerprint"])
    if not (n and len(table)):
        return result
    rows = np.char.add(_fixed(table["cell_id"]), _fixed(table["fingerprint"]))
    asked = np.char.add(cell_ids.astype("S20"), fingerprints.astype("S20"))
    order = np.argsort(rows)
    place = np.minimum(np.searchsorted(rows, asked, sorter=order), len(rows) - 1)
    row = order[place]
    found = (rows[row] == asked) & (fingerprints != b"")
    good = np.asarray(pc.equal(table["status"], OK))[row]
    result.done[:] = found & good
    result.failed[:] = found & ~good
    result.n_correct[result.done] = np.asarray(pc.fill_null(table["n_correct"], -1))[row][result.done]
    result.accuracy[result.done] = np.asarray(pc.fill_null(table["accuracy"], np.nan))[row][result.done]
    return result


def _newest(table: pa.Table, keys: list[str]) -> pa.Table:
    """One row per key: good before failed, then the newest; of equally new ones the last in the table."""
    order = pa.table({**{key: table[key] for key in keys}, "finished_at": table["finished_at"]})
    order = order.append_column("good", pc.cast(pc.equal(table["status"], OK), pa.int8()))
    order = order.append_column("row", pa.array(np.arange(len(table))))
    by = [(key, "ascending") for key in keys] + [
        ("good", "descending"),
        ("finished_at", "descending"),
        ("row", "descending"),
    ]
    rows = order.sort_by(by)
    if not len(rows):
        return table
    first = np.ones(len(rows), bool)
    same = np.ones(len(rows) - 1, bool)
    for key in keys:
        values = rows[key].combine_chunks()
        same &= np.asarray(pc.equal(values[1:], values[:-1]).fill_null(False))
    first[1:] = ~same
    return table.take(rows["row"].filter(pa.array(first)))


def _fixed(column: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """Ids as ``S20``: 20 hex digits, or empty."""
    values = pc.fill_null(column.cast(pa.binary()), b"")
    return np.array(values.to_pylist(), dtype="S20")


def _present(file: Any, columns: Iterable[str]) -> list[str]:
    names = set(pq.ParquetFile(file).schema_arrow.names)
    return [name for name in columns if name in names]


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _quarantine(path: Path, error: Exception) -> None:
    aside = path.with_name(f"_quarantined-{path.name}")
    try:
        os.replace(path, aside)
        where = f"it is set aside as {aside.name}"
    except OSError:
        where = "it could not be set aside"
    warnings.warn(
        f"{path} cannot be read ({str(error).splitlines()[0]}); {where}. Its cells will be computed again when asked for",
        stacklevel=2,
    )


__all__ = ["FAILED", "Lookup", "load_results", "look_up", "part_files", "read_parts", "to_pandas"]
