"""Queries against the proxies of one task under one metric, for whoever has no passes to share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.agg import class_scores, search
from imprint_sweep.imprinting.components import (
    METRICS,
    ClassScore,
    DenseMetric,
    FittedMetric,
    Map,
    ProductMetric,
    Rows,
    Setting,
)
from imprint_sweep.imprinting.vectors import Filter, Vectors, inner_products, narrowed

_SCORES = 1 << 24
"""Fast scores that are held at a time."""


@dataclass(frozen=True, eq=False)
class _Block:
    rows: slice
    scores: NDArray[np.float32]
    bounds: Filter
    queries: Vectors


class Comparison:
    """The proxies of a task as a metric sees them.

    Args:
        metric: of :data:`~imprint_sweep.imprinting.components.METRICS`.
        proxies: (p, d) float32 after NORM_post, in task order. A metric may be fitted to them, on as many cores as
            libraries take: see :func:`~imprint_sweep.imprinting.one_core.one_core`.
        biases: (p,) float32 of proxies that have some.
    """

    def __init__(self, metric: Setting, proxies: Rows, biases: NDArray[np.float32] | None = None) -> None:
        self.metric = metric
        of = METRICS[metric]
        self.map: Map | None = of.fit(proxies) if isinstance(of, FittedMetric) else None
        self.proxies = Vectors.of(proxies, biases=biases) if self.map is None else self.map.transform(proxies)
        # As the fast scores take them.
        self._narrow = proxies if self.map is None else narrowed(self.proxies.rows)

    def nearest(self, queries: Rows, m: int, *, distances: bool = True) -> search.Neighbors:
        """The m nearest proxies of each query; see :func:`~imprint_sweep.imprinting.agg.search.nearest`.

        Args:
            queries: (n, d) float32 after NORM_inf.
            m: how many; all of them if there are fewer.
            distances: whether the exact values are needed.
        """
        m = min(m, len(self.proxies))
        found = search.Neighbors(np.empty((len(queries), m), np.int32), np.empty((len(queries), m)))
        for block in self._blocks(queries):
            among = self._among(block, (0, len(self.proxies)), m, distances)
            found.position[block.rows], found.distance[block.rows] = among.position, among.distance
        return found

    def scores(self, queries: Rows, sizes: Sequence[int], aggregation: ClassScore) -> NDArray[np.float64]:
        """The score of each class, (n, C) float64, from exact values.

        Args:
            queries: (n, d) float32 after NORM_inf.
            sizes: proxies of each class, in task order.
            aggregation: makes the scores.
        """
        metric, reads = METRICS[self.metric], aggregation.reads
        out = np.empty((len(queries), len(sizes)))
        for block in self._blocks(queries):
            rows = np.arange(len(block.queries))
            for c, columns in enumerate(_ranges(sizes)):
                if reads is None:
                    found = class_scores.exact(metric, block.queries, self.proxies, rows, columns, aggregation)
                else:
                    found = aggregation.scores(self._among(block, columns, reads, distances=True).distance)
                out[block.rows, c] = found
        return out

    def highest(self, queries: Rows, sizes: Sequence[int], aggregation: ClassScore) -> NDArray[np.int32]:
        """The class with the largest score, the first of equal ones, (n,); see :meth:`scores`."""
        metric, columns = METRICS[self.metric], _ranges(sizes)
        out = np.empty(len(queries), np.int32)
        for block in self._blocks(queries):
            (out[block.rows],) = class_scores.highest(
                block.scores, block.bounds, metric, block.queries, self.proxies, columns, [aggregation]
            )
        return out

    def _among(self, block: _Block, columns: tuple[int, int], m: int, distances: bool) -> search.Neighbors:
        metric = METRICS[self.metric]
        return search.nearest(
            block.scores, block.bounds, metric, block.queries, self.proxies, [columns], m, distances=distances
        )

    def _blocks(self, queries: Rows) -> Iterator[_Block]:
        size = max(16, min(1024, _SCORES // len(self.proxies)))
        for start in range(0, len(queries), size):
            rows = slice(start, min(start + size, len(queries)))
            yield _Block(rows, *self._scored(queries[rows]))

    def _scored(self, rows: Rows) -> tuple[NDArray[np.float32], Filter, Vectors]:
        metric: Any = METRICS[self.metric]
        queries = Vectors.of(rows) if self.map is None else self.map.transform(rows)
        match metric:
            case DenseMetric():
                return metric.fast(rows, self._narrow), metric.bounds(queries, self.proxies), queries
            case FittedMetric():
                rows = narrowed(queries.rows)
            case ProductMetric():
                pass
        bounds: Filter = metric.bounds(queries, self.proxies, queries, self.proxies)
        return inner_products(rows, self._narrow), bounds, queries


def _ranges(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where the proxies of each class start and stop."""
    stops = np.cumsum(sizes).tolist()
    return [(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]
