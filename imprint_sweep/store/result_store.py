"""A folder of results: the way in for those who compute cells."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from datetime import datetime
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StoreError
from imprint_sweep.grid.cell import METHOD_VERSION
from imprint_sweep.store.parts import list_parts
from imprint_sweep.store.reading import Ids, LookUp, Snapshot
from imprint_sweep.store.rows import Provenance
from imprint_sweep.store.writing import ResultWriter


class ResultStore:
    """The results table under a folder. Nothing is opened or made before a method needs it.

    Args:
        root: the folder.
    """

    def __init__(self, root: str | PathLike[str]) -> None:
        self.root = Path(root)

    def check_writable(self) -> None:
        """Find out before anything is computed whether results can be written; makes the folder.

        Raises:
            StoreError: they cannot, with the reason.
        """
        probe = self.root / f".probe-{secrets.token_hex(8)}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                with open(probe, "xb") as file:
                    file.write(bytes(4096))  # a full disk still takes an empty file
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(probe)
        except OSError as error:
            raise StoreError(
                f"results cannot be written to {self.root}: {error.strerror or error}; "
                "make it writable or choose another place with paths.outputs=<folder>"
            ) from error

    def writer(self, provenance: Provenance, *, seconds: float = 5.0, rows: int = 5_000) -> ResultWriter:
        """A context manager that takes outcomes and writes them every few seconds (see :class:`ResultWriter`)."""
        return ResultWriter(self.root, provenance, seconds=seconds, rows=rows)

    def parts(self) -> list[Path]:
        """The files of the table, sorted by name."""
        return list_parts(self.root)

    def snapshot(self, *, since: datetime | None = None, provenance: Provenance | None = None) -> Snapshot:
        """What the table holds now (see :meth:`Snapshot.read`)."""
        return Snapshot.read(self.root, since=since, provenance=provenance)

    def look_up(
        self,
        cell_id: Ids,
        fingerprint: Ids,
        *,
        method_version: int = METHOD_VERSION,
        versions: NDArray[np.uint64] | None = None,
        since: datetime | None = None,
    ) -> LookUp:
        """Which of some cells are done now.

        Args:
            cell_id: (n,) ``S20``.
            fingerprint: (n,) ``S20``, of the cells' present embeddings; empty where there are none.
            method_version: the present one.
            versions: (n,) codes of the present versions of the components; None where all are 1.
            since: rows finished before do not count (aware).
        """
        snapshot = self.snapshot(since=since)
        return snapshot.look_up(cell_id, fingerprint, method_version=method_version, versions=versions)
