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
    ClassMetric,
    ClassScore,
    DenseMetric,
    FittedMetric,
    Map,
    MappedMetric,
    ProductMetric,
    Rows,
    Setting,
    Statistics,
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
        of_class: of a metric that depends on the class, whose proxies these are then.
    """

    def __init__(
        self,
        metric: Setting,
        proxies: Rows,
        biases: NDArray[np.float32] | None = None,
        of_class: Statistics | None = None,
    ) -> None:
        self.metric = metric
        of = METRICS[metric]
        self.map: Map | None = None
        if isinstance(of, ClassMetric):
            assert of_class is not None
            self.map = of.map(of_class)
        elif isinstance(of, FittedMetric):
            self.map = of.fit(proxies)
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
            case MappedMetric():
                rows = narrowed(queries.rows)
            case ProductMetric():
                pass
        bounds: Filter = metric.bounds(queries, self.proxies, queries, self.proxies)
        return inner_products(rows, self._narrow), bounds, queries


def _ranges(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where the proxies of each class start and stop."""
    stops = np.cumsum(sizes).tolist()
    return [(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]


class ComparisonByClass:
    """The proxies of a task as a metric sees them that measures those of each class in their own way.

    Args:
        metric: a :class:`~imprint_sweep.imprinting.components.ClassMetric`.
        proxies: as for :class:`Comparison`.
        sizes: how many of them each class has, in task order.
        of_classes: what the metric knows of each class.
    """

    def __init__(self, metric: Setting, proxies: Rows, sizes: Sequence[int], of_classes: Sequence[Statistics]) -> None:
        parts = np.split(proxies, np.cumsum(sizes)[:-1])
        self.of_class = [
            Comparison(metric, rows, of_class=known) for rows, known in zip(parts, of_classes, strict=True)
        ]

    def nearest(self, queries: Rows, m: int, *, distances: bool = True) -> search.Neighbors:
        """As :meth:`Comparison.nearest`; distances are there in any case."""
        found = [compared.nearest(queries, m) for compared in self.of_class]
        return merged(found, [len(compared.proxies) for compared in self.of_class], m)

    def scores(self, queries: Rows, sizes: Sequence[int], aggregation: ClassScore) -> NDArray[np.float64]:
        """As :meth:`Comparison.scores`."""
        columns = [
            compared.scores(queries, [size], aggregation) for compared, size in zip(self.of_class, sizes, strict=True)
        ]
        return np.concatenate(columns, axis=1)

    def highest(self, queries: Rows, sizes: Sequence[int], aggregation: ClassScore) -> NDArray[np.int32]:
        """As :meth:`Comparison.highest`."""
        found: NDArray[np.int32] = self.scores(queries, sizes, aggregation).argmax(axis=1).astype(np.int32)
        return found


def compared(
    metric: Setting,
    proxies: Rows,
    sizes: Sequence[int],
    of_classes: Sequence[Statistics],
    biases: NDArray[np.float32] | None,
) -> Comparison | ComparisonByClass:
    """The proxies of a task as a metric sees them.

    Args:
        metric: of :data:`~imprint_sweep.imprinting.components.METRICS`.
        proxies: (p, d) float32 after NORM_post, in task order.
        sizes: how many of them each class has.
        of_classes: what the metric knows of each class; of one that does not depend on the class nothing.
        biases: as for :class:`Comparison`.
    """
    if isinstance(METRICS[metric], ClassMetric):
        return ComparisonByClass(metric, proxies, sizes, of_classes)
    return Comparison(metric, proxies, biases)


def merged(found: Sequence[search.Neighbors], sizes: Sequence[int], m: int) -> search.Neighbors:
    """The m nearest of all proxies, from the m nearest (or more) of each class.

    Args:
        found: of each class; positions count along the proxies of the class.
        sizes: proxies of each class.
        m: how many; all of them if there are fewer.

    Returns:
        Equally near ones by position: class after class.
    """
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    distance = np.concatenate([one.distance for one in found], axis=1)
    position = np.concatenate(
        [one.position + np.int32(start) for one, start in zip(found, starts, strict=True)], axis=1
    )
    # Of each class nearest first, equally near ones by position: a stable order keeps that.
    order = np.argsort(distance, axis=1, kind="stable")[:, :m]
    return search.Neighbors(np.take_along_axis(position, order, 1), np.take_along_axis(distance, order, 1))
