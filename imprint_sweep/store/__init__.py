"""The results table: one declared schema, immutable parts, one row per cell."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.store.compaction import Compaction, compact
from imprint_sweep.store.parts import Writer, check_writable
from imprint_sweep.store.reading import Lookup, load_results, look_up, part_files, read_parts, to_pandas
from imprint_sweep.store.schema import COLUMNS, SCHEMA, Provenance

__all__ = ["COLUMNS", "SCHEMA", "Compaction", "Lookup", "Provenance", "ResultStore", "Writer", "load_results"]


class ResultStore:
    """A results table in a folder, which need not exist yet.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def check_writable(self) -> None:
        """Raise :class:`StoreError` if rows could not be written."""
        check_writable(self.root)

    def writer(self, provenance: Provenance, **when: Any) -> Writer:
        """A context manager that appends rows; `when` as in :class:`Writer`."""
        return Writer(self.root, provenance, **when)

    def look_up(
        self,
        cell_ids: NDArray[np.bytes_],
        fingerprints: NDArray[np.bytes_],
        *,
        method_version: int,
        since: datetime | None = None,
    ) -> Lookup:
        """What the table holds for some cells, see :func:`imprint_sweep.store.reading.look_up`."""
        return look_up(self.root, cell_ids, fingerprints, method_version=method_version, since=since)

    def history(self, prefix: str) -> list[dict[str, Any]]:
        """Every row of the cells whose id begins with `prefix`, newest first, column -> value."""
        table = read_parts(self.root, SCHEMA.names)
        frame = to_pandas(table).sort_values("finished_at", ascending=False, kind="stable")
        chosen = frame[frame["cell_id"].str.startswith(prefix)]
        rows: list[dict[str, Any]] = chosen.astype(object).where(chosen.notna(), None).to_dict("records")
        return rows

    def row(self, cell_id: str, *, fingerprint: str) -> dict[str, Any]:
        """The newest good row of a cell that is done."""
        good = (r for r in self.history(cell_id) if r["status"] == "ok" and r["fingerprint"] == fingerprint)
        return next(good)

    def parts(self) -> list[Path]:
        """The files of the table."""
        return part_files(self.root)

    def compact(self) -> Compaction:
        """Merge the parts into few files, see :func:`imprint_sweep.store.compaction.compact`."""
        return compact(self.root)
