"""The results table as its readers want it: one row per cell, or what is done of a list of cells."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imprint_sweep.errors import StoreError, UnknownOptionError, did_you_mean
from imprint_sweep.grid.cell import METHOD_VERSION, Cell, Label, component_versions, parsed
from imprint_sweep.grid.hashing import code
from imprint_sweep.grid.outcome import OK, Outcome
from imprint_sweep.grid.scheme import TEST, TESTED_ON
from imprint_sweep.store.parts import check_table, read_parts, schema_found
from imprint_sweep.store.rows import Provenance
from imprint_sweep.store.schema import table_schema

if TYPE_CHECKING:
    import pandas as pd

Positions = NDArray[np.int64]
Ids = NDArray[np.bytes_]
Flags = NDArray[np.bool_]
N = TypeVar("N", bound=np.generic)

_IDENTITY = np.dtype([("cell_id", "S20"), ("fingerprint", "S20"), ("method_version", "<i2"), ("versions", "<u8")])
"""What a row must share with a cell for the cell to be done (method, Identity)."""

_DIGITS = 20
"""Of a cell id."""

_LISTED = 5
"""So many ids are listed where several begin with the same digits."""


def load_results(
    path: str | PathLike[str] = "outputs/results",
    columns: Sequence[str] | None = None,
    status: str | None = OK,
    split: str | None = TEST,
) -> pd.DataFrame:
    """The results table with one row per cell: its newest good row.

    ``pd.read_parquet("outputs/results")`` reads the same files without a choice: the whole history, with failed
    attempts and with every recomputation of a cell, and only those columns that the first file has. The two agree if
    each cell was computed once and none failed.

    A cell's rows may differ in fingerprint, method version or package version, after its embeddings were replaced or
    the package changed. The newest good one counts here, whatever it was computed from; the three are columns to select
    by. (Planning a sweep is stricter: a cell is done only if a row has the present fingerprint and method version.)

    Args:
        path: the folder.
        columns: which columns, in which order; all by default (see :func:`imprint_sweep.store.column_docs`).
        status: ``"ok"`` for cells that have a good row; ``"failed"`` for those that have only failed rows, the newest
            of which stands for the cell; None for both.
        split: ``"test"`` for cells that are tested on the test split; ``"validation"`` for those that are tested on
            held-out training samples (``eval.split=validation``), by which configurations are chosen; None for both.

    Returns:
        Rows in the order in which they were finished, index 0, 1, ... Integers that can be null are ``Int64`` and the
        like, texts are pandas strings, ``labels`` and ``f1`` hold an array per row.

    Raises:
        StoreError: no such folder or column, the folder holds that of a table, or the table cannot be read now.
        UnknownOptionError: no such split.

    Warns:
        DamagedPartWarning: a file cannot be read, and its rows are missing.
    """
    if split is not None and split not in TESTED_ON:
        raise UnknownOptionError("split", split, TESTED_ON)
    root = Path(path)
    check_table(root)
    known = table_schema().names
    if columns is not None and not set(columns) <= set(known):
        known = schema_found(root).names
    wanted = known if columns is None else list(columns)
    if unknown := [name for name in wanted if name not in known]:
        raise StoreError(f"the results table has no column {unknown[0]!r}{did_you_mean(unknown[0], known)}")

    table = read_parts(root, [*wanted, "status", "split", "finished_at"]).table
    if not table.num_rows and (root / "results").is_dir():
        raise StoreError(f"{root} holds no results table, but a folder of one: {root / 'results'}")
    # Rows of the time before there was a choice are null.
    table = table.set_column(table.column_names.index("split"), "split", table["split"].fill_null(TEST))
    if split is not None:
        table = table.filter(pc.equal(table["split"], split))
    good, finished_at = _good(table), _finished_at(table)
    chosen = _newest(_codes(table["cell_id"]), good, finished_at)
    if status is not None:
        chosen = chosen[good[chosen] if status == OK else _equals(table["status"], status)[chosen]]
    chosen = chosen[np.argsort(finished_at[chosen], kind="stable")]
    # pyarrow takes the dtypes from the schema's metadata.
    frame: pd.DataFrame = table.select(wanted).take(pa.array(chosen)).to_pandas(split_blocks=True)
    return frame


def newest_row(
    path: str | PathLike[str],
    cell_id: str,
    fingerprint: str,
    *,
    good: bool = True,
    method_version: int = METHOD_VERSION,
    versions: str = "",
) -> dict[str, Any] | None:
    """The newest good, or failed, row of one cell from one set of embeddings by one version of method and components.

    Args:
        path: the folder of the results table.
        cell_id, fingerprint: 20 hex digits each.
        good: False for a failed row.
        method_version: the present one.
        versions: the present ones of the components (:func:`imprint_sweep.grid.cell.component_versions`).

    Returns:
        Column -> value, as :func:`imprint_sweep.store.table_schema` has them, nulls as None; None if there is no such
        row.
    """
    table = read_parts(Path(path)).table
    mine = _equals(table["cell_id"], cell_id) & _equals(table["fingerprint"], fingerprint) & (_good(table) == good)
    mine &= _numbers(table["method_version"], 0, np.int16) == method_version
    mine &= _versions(table["component_versions"]) == code(versions)
    table = table.filter(pa.array(mine))
    rows: list[dict[str, Any]] = table.to_pylist()
    return max(rows, key=lambda row: row["finished_at"]) if rows else None


def history(results: Path, prefix: str) -> list[dict[str, Any]]:
    """Every row of the one cell whose id begins with some digits: good rows first, the newest of each first.

    Args:
        results: the table's folder.
        prefix: 1 to 20 hex digits.

    Raises:
        StoreError: no digits, no such cell, or several.
    """
    if not isinstance(prefix, str) or not re.fullmatch(f"[0-9a-f]{{1,{_DIGITS}}}", prefix := prefix.lower()):
        raise StoreError(
            f"a cell id is {_DIGITS} hex digits like 3f9c2a...; expected the first of them, got {reprlib.repr(prefix)}"
        )
    table = read_parts(results).table
    found = table.filter(pc.starts_with(table["cell_id"], prefix))
    ids = sorted(set(found["cell_id"].to_pylist()))
    if not ids:
        raise StoreError(f"no cell in {results} begins with {prefix} ({len(table):,} rows)")
    if len(ids) > 1:
        more = f" and {len(ids) - _LISTED:,} more" if len(ids) > _LISTED else ""
        raise StoreError(f"{len(ids):,} cells begin with {prefix}: {', '.join(ids[:_LISTED])}{more}; give more digits")
    rows: list[dict[str, Any]] = found.to_pylist()
    return sorted(rows, key=lambda row: (row["status"] == OK, row["finished_at"]), reverse=True)


def is_present(row: Mapping[str, Any], cell: Cell, fingerprint: str) -> bool:
    """Whether a row is a good result of some embeddings by the present versions of the method and its components.

    Args:
        row: column -> value, one of :func:`history`.
        cell: which it is about.
        fingerprint: of the embeddings.
    """
    found = row["fingerprint"], row["method_version"], row["component_versions"] or ""
    versions = component_versions(cell.scheme, len(cell.task.labels))
    return row["status"] == OK and found == (fingerprint, METHOD_VERSION, versions)


def errors_of(path: str | PathLike[str], sweep: str) -> dict[str, str]:
    """Why cells failed in one sweep: cell id -> the error of its newest failed row.

    Args:
        path: the folder of the results table.
        sweep: the sweep's id.
    """
    table = read_parts(Path(path), ["cell_id", "status", "error", "sweep", "finished_at"]).table
    table = table.filter(pa.array(_equals(table["sweep"], sweep) & ~_good(table))).sort_by("finished_at")
    return dict(zip(table["cell_id"].to_pylist(), table["error"].to_pylist(), strict=True))


def labels_of(path: str | PathLike[str], cell_ids: Sequence[str]) -> list[tuple[Label, ...]]:
    """The ordered labels of the tasks of some cells.

    Lists are what makes a large table slow to read into pandas; this reads those of a few cells.

    Args:
        path: the folder.
        cell_ids: whose, in any order.

    Raises:
        StoreError: the table cannot be read, or lacks a cell.
    """
    table = read_parts(Path(path), ["labels"]).table
    row = pc.index_in(pa.array(cell_ids, pa.string()), value_set=table["cell_id"].combine_chunks())
    if row.null_count:
        raise StoreError(f"the results table {path} has no cell {cell_ids[row.is_null().index(True).as_py()]}")
    return [tuple(map(parsed, labels)) for labels in table["labels"].take(row).to_pylist()]


@dataclass(frozen=True, eq=False)
class LookUp:
    """What the table says of a list of cells, all arrays of its length.

    Args:
        done: whether there is a good row.
        failed: whether there are only failed rows.
        accuracy: float64, NaN where not done.
        finished_at: ``datetime64[us]`` (UTC) of the row that counts, NaT where there is none.
        outdated: whether there is a good row, but only of other embeddings or of other versions of the method or of
            components.
    """

    done: Flags
    failed: Flags
    accuracy: NDArray[np.float64]
    finished_at: NDArray[np.datetime64]
    outdated: Flags


@dataclass(frozen=True)
class Conflict:
    """A cell that was computed again and gave another result.

    Args:
        cell: which.
        before: n_correct in the table.
        now: n_correct computed now.
        finished_at: when the row in the table was finished, UTC.
    """

    cell: Cell
    before: int
    now: int
    finished_at: datetime

    def __str__(self) -> str:
        when = f"{self.finished_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"cell {self.cell.cell_id}: n_correct is {self.now}, the row of {when} has {self.before}"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The newest good row, else the newest failed one, per (cell_id, fingerprint, versions).

    Args:
        identity: (n,) structured array of ``cell_id`` S20, ``fingerprint`` S20, ``method_version`` int16 and
            ``versions`` uint64 (the components'); no two equal.
        good: (n,) bool, False where all rows failed.
        n_correct: (n,) int32, -1 where failed.
        accuracy: (n,) float64, NaN where failed.
        finished_at: (n,) ``datetime64[us]``, UTC.
    """

    identity: NDArray[np.void]
    good: Flags
    n_correct: NDArray[np.int32]
    accuracy: NDArray[np.float64]
    finished_at: NDArray[np.datetime64]

    @classmethod
    def read(cls, root: Path, *, since: datetime | None = None, provenance: Provenance | None = None) -> Snapshot:
        """Read the table under a folder.

        Args:
            root: the folder; there may be none yet.
            since: rows finished before do not count (aware).
            provenance: only rows of its host and package version count.

        Raises:
            StoreError: the table cannot be read.
        """
        columns = [
            "fingerprint",
            "method_version",
            "component_versions",
            "status",
            "n_correct",
            "accuracy",
            "finished_at",
        ]
        table = read_parts(root, columns if provenance is None else [*columns, "host", "package_version"]).table
        counts = np.ones(len(table), np.bool_)
        if since is not None:
            counts &= _finished_at(table) >= _datetime64(since)
        if provenance is not None:
            counts &= _equals(table["host"], provenance.host)
            counts &= _equals(table["package_version"], provenance.package_version)
        if not counts.all():
            table = table.filter(pa.array(counts))

        identity = _identity(
            _fixed(table["cell_id"]),
            _fixed(table["fingerprint"]),
            _numbers(table["method_version"], 0, np.int16),
            _versions(table["component_versions"]),
        )
        good, finished_at = _good(table), _finished_at(table)
        newest = _newest(_codes(_arrow(identity)), good, finished_at)
        return cls(
            identity=identity[newest],
            good=good[newest],
            n_correct=_numbers(table["n_correct"], -1, np.int32)[newest],
            accuracy=_numbers(table["accuracy"], np.nan, np.float64)[newest],
            finished_at=finished_at[newest],
        )

    def __len__(self) -> int:
        return len(self.good)

    def look_up(
        self,
        cell_id: Ids,
        fingerprint: Ids,
        *,
        method_version: int = METHOD_VERSION,
        versions: NDArray[np.uint64] | None = None,
    ) -> LookUp:
        """What of a list of cells is done.

        Args:
            cell_id: (n,) ``S20``.
            fingerprint: (n,) ``S20``, of the cells' present embeddings; empty where there are none.
            method_version: the present one.
            versions: (n,) codes of the present versions of the components
                (:func:`imprint_sweep.grid.hashing.code`); None where all are 1.
        """
        n = len(cell_id)
        present = np.zeros(n, np.uint64) if versions is None else versions
        wanted = _identity(cell_id, fingerprint, np.full(n, method_version, np.int16), present)
        found = pc.index_in(_arrow(wanted), value_set=_arrow(self.identity))
        row: Positions = found.fill_null(-1).to_numpy().astype(np.int64)
        there = row >= 0
        done, failed = there.copy(), there.copy()
        done[there] = self.good[row[there]]
        failed[there] = ~self.good[row[there]]
        accuracy = np.full(len(row), np.nan)
        accuracy[done] = self.accuracy[row[done]]
        finished_at = np.full(len(row), np.datetime64("NaT"), "datetime64[us]")
        finished_at[there] = self.finished_at[row[there]]
        known = self.identity["cell_id"][self.good]
        elsewhere = pc.is_in(_arrow(wanted["cell_id"]), value_set=_arrow(known)).to_numpy(zero_copy_only=False)
        outdated: Flags = elsewhere & ~done
        return LookUp(done, failed, accuracy, finished_at, outdated)

    def conflicts(self, outcomes: Iterable[Outcome], *, method_version: int = METHOD_VERSION) -> list[Conflict]:
        """Good outcomes whose n_correct differs from that of the good row with the same identity.

        There are none unless something outside the identity had an influence: then it must be said loudly.
        """
        found = []
        for outcome in outcomes:
            cell = outcome.cell
            versions = code(component_versions(cell.scheme, len(cell.task.labels)))
            row = self._row.get((cell.cell_id.encode(), outcome.fingerprint.encode(), method_version, versions))
            if row is None or outcome.status != OK or outcome.n_correct is None:
                continue
            before = int(self.n_correct[row])
            if before != outcome.n_correct:
                when = self.finished_at[row].item().replace(tzinfo=UTC)
                found.append(Conflict(outcome.cell, before, outcome.n_correct, when))
        return found

    @cached_property
    def _row(self) -> dict[tuple[bytes, bytes, int, int], int]:
        """Identity -> position, of good rows."""
        good = np.flatnonzero(self.good)
        return dict(zip(self.identity[good].tolist(), good.tolist(), strict=True))


def _newest(codes: Positions, good: Flags, finished_at: NDArray[np.datetime64]) -> Positions:
    """Position of the row that stands for each code: good before failed, then the newest, then the last."""
    order = np.lexsort((finished_at, good))  # stable: equal rows stay in their order
    last = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
    # Where an index is repeated the last assignment holds.
    last[codes[order]] = order
    return last


def _codes(column: pa.ChunkedArray | pa.Array) -> Positions:
    """A number 0, 1, ... for each distinct value, in order of first appearance."""
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    codes: Positions = encoded.dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _identity(
    cell_id: Ids, fingerprint: Ids, method_version: NDArray[np.int16], versions: NDArray[np.uint64]
) -> NDArray[np.void]:
    identity = np.zeros(len(cell_id), _IDENTITY)
    identity["cell_id"], identity["fingerprint"] = cell_id, fingerprint
    identity["method_version"], identity["versions"] = method_version, versions
    return identity


def _versions(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The code of each row's versions of components."""
    encoded = column.combine_chunks().cast(pa.string()).fill_null("").dictionary_encode()
    codes = np.array([code(text) for text in encoded.dictionary.to_pylist()], np.uint64)
    return codes[encoded.indices.to_numpy()] if len(codes) else np.zeros(len(column), np.uint64)


def _arrow(identity: NDArray[np.void] | Ids) -> pa.Array:
    """Identities, or ids, as fixed-size binary, which pyarrow hashes fast."""
    kind = pa.binary(identity.dtype.itemsize)
    return pa.Array.from_buffers(kind, len(identity), [None, pa.py_buffer(np.ascontiguousarray(identity))])


def _fixed(column: pa.ChunkedArray) -> Ids:
    """A column of ids as ``S20``."""
    padded = pc.utf8_rpad(column, 20, padding="\0").combine_chunks().cast(pa.binary(20))
    return np.frombuffer(padded.buffers()[1], "S20", count=len(padded), offset=padded.offset * 20)


def _good(table: pa.Table) -> Flags:
    return _equals(table["status"], OK)


def _equals(column: pa.ChunkedArray, value: str) -> Flags:
    flags: Flags = pc.equal(column, value).fill_null(False).to_numpy()
    return flags


def _finished_at(table: pa.Table) -> NDArray[np.datetime64]:
    times: NDArray[np.datetime64] = table["finished_at"].cast(pa.int64()).fill_null(0).to_numpy().view("datetime64[us]")
    return times


def _numbers(column: pa.ChunkedArray, null: float, kind: type[N]) -> NDArray[N]:
    numbers: NDArray[N] = column.fill_null(null).to_numpy().astype(kind, copy=False)
    return numbers


def _datetime64(time: datetime) -> np.datetime64:
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "us")
