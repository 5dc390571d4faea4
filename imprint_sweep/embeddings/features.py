"""The embeddings that a group of tasks reads: one model, one limit, any number of datasets."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.embeddings.cache import (
    SPLITS,
    EmbeddingCache,
    Embeddings,
    EntryKey,
    Split,
    cell_fingerprint,
    check_classes,
    check_pair,
)
from imprint_sweep.errors import EmbeddingsError
from imprint_sweep.grid.cell import Label, Model, Task

BLOCK_BYTES = 1 << 23
"""Embeddings that :class:`Blocks` copies out at a time."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The samples of one label, in blocks, as often as they are iterated over: no pass copies them all.

    Args:
        parts: (features (n, d) float32, row numbers) of each part of the label, in order.
    """

    parts: tuple[tuple[NDArray[np.float32], NDArray[np.int64]], ...]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Copies of at most :data:`BLOCK_BYTES` (one row at least), in the order of :meth:`Features.rows`."""
        for features, rows in self.parts:
            step = max(1, BLOCK_BYTES // (4 * features.shape[1]))
            for start in range(0, len(rows), step):
                yield features[rows[start : start + step]]


class Features:
    """Rows of cached embeddings by split and label.

    Entries are opened (and verified) at first use and stay memory-mapped; rows are copied out on request.

    Args:
        cache: where the entries are.
        model: the foundation model.
        limit: the limit under which the entries were made.
    """

    def __init__(self, cache: EmbeddingCache, model: Model, limit: int | None) -> None:
        self._cache, self._model, self._limit = cache, model, limit
        self._entries: dict[tuple[str, str], tuple[Embeddings, Mapping[int, NDArray[np.int64]]]] = {}
        self._lock = threading.Lock()

    def open(self, task: Task, splits: Sequence[Split] = SPLITS) -> str:
        """Open every entry that the task reads and check that they fit each other and hold its classes.

        Args:
            task: which.
            splits: which of its splits are read.

        Returns:
            The fingerprint of these embeddings, independent of the order of the task's labels.

        Raises:
            EmbeddingsError: an entry is missing, damaged, of another width, or lacks a class.
        """
        entries = [self._entry(dataset, split)[0] for dataset in task.datasets for split in splits]
        for entry in entries[1:]:
            check_pair(entries[0], entry)
        for dataset in task.datasets:
            for split in splits:
                check_classes(self._entry(dataset, split)[0], task.classes_in(dataset))
        return cell_fingerprint(entries)

    def recorded(self, task: Task, splits: Sequence[Split] = SPLITS) -> str:
        """The fingerprint of what :meth:`open` opens by headers alone; empty if one is missing or damaged."""
        try:
            keys = [EntryKey(self._model, name, split, self._limit) for name in task.datasets for split in splits]
            headers = [self._cache.header(key) for key in keys]
        except EmbeddingsError:
            return ""
        found = [header for header in headers if header is not None]
        return cell_fingerprint(found) if len(found) == len(keys) else ""

    def rows(self, split: Split, label: Label) -> NDArray[np.float32]:
        """A copy of the embeddings of one label, (n, d) float32: its parts in order, each in the dataset's order."""
        parts = []
        for dataset, value in label:
            entry, index = self._entry(dataset, split)
            parts.append(entry.features[index[value]])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def blocks(self, split: Split, label: Label) -> Blocks:
        """The embeddings of one label as :meth:`rows` orders them, copied block by block."""
        entries = [(self._entry(dataset, split), value) for dataset, value in label]
        return Blocks(tuple((entry.features, index[value]) for (entry, index), value in entries))

    def count(self, split: Split, label: Label) -> int:
        """Samples of one label."""
        return sum(len(self._entry(dataset, split)[1][value]) for dataset, value in label)

    def nbytes(self, split: Split, labels: Iterable[Label]) -> int:
        """Bytes that the rows of some labels take."""
        return sum(
            len(index[value]) * entry.features.shape[1] * 4
            for label in labels
            for dataset, value in label
            for entry, index in [self._entry(dataset, split)]
        )

    def part_fingerprints(self, label: Label) -> list[str]:
        """The fingerprints of the training entries behind one label, in the order of its parts."""
        return [self._entry(dataset, "train")[0].fingerprint for dataset, _ in label]

    def _entry(self, dataset: str, split: Split) -> tuple[Embeddings, Mapping[int, NDArray[np.int64]]]:
        with self._lock:
            if (dataset, split) not in self._entries:
                entry = self._cache.open(EntryKey(self._model, dataset, split, self._limit))
                self._entries[dataset, split] = entry, _rows_by_class(entry.labels)
            return self._entries[dataset, split]


def _rows_by_class(labels: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Row numbers of every class, ascending."""
    order = np.argsort(labels, kind="stable")
    values, starts = np.unique(labels[order], return_index=True)
    return {int(value): rows for value, rows in zip(values, np.split(order, starts[1:]), strict=True)}
