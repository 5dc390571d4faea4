"""The class with the largest score, exactly: float32 narrows down, float64 decides (method, section 7).

A score changes by no more than the values that it is made from. So that of values that are off by at most e is off by
at most e, and only classes whose scores are that close to the largest need exact values, of all of their proxies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import ClassScore, Metric
from imprint_sweep.imprinting.vectors import Filter, Vectors

_PAIRS = 1 << 16
"""Pairs whose values are held at a time."""
_ROUNDING = 2.0**-50
"""Bound of the rounding of a score, relative to its size and that of the values, for each proxy of the class."""

Columns = Sequence[tuple[int, int]]


def highest(
    scores: NDArray[np.float32],
    bounds: Filter,
    metric: Metric,
    queries: Vectors,
    proxies: Vectors,
    columns: Columns,
    aggregations: Sequence[ClassScore],
) -> NDArray[np.int32]:
    """The class with the largest score, the first of equal ones, under several aggregations.

    Args:
        scores: (b, p) float32 fast scores.
        bounds: how they bound the exact values.
        metric: decides the exact values.
        queries: (b, d), what is compared.
        proxies: (p, d), what is compared.
        columns: the range (start, stop) of the proxies of each class.
        aggregations: make the scores of classes.

    Returns:
        (len(aggregations), b) int32.
    """
    shape = len(aggregations), len(scores), len(columns)
    if bounds.tells_values and len(columns) > 1:
        possible = _possible(scores, bounds, columns, aggregations)
    else:
        possible = np.ones(shape, bool)
    found: NDArray[np.int32] = possible.argmax(axis=2).astype(np.int32)
    for a, aggregation in enumerate(aggregations):
        rows = np.flatnonzero(possible[a].sum(axis=1) > 1)
        decisive = np.full((len(rows), len(columns)), -np.inf)
        for c, columns_of in enumerate(columns):
            these = np.flatnonzero(possible[a, rows, c])
            decisive[these, c] = exact(metric, queries, proxies, rows[these], columns_of, aggregation)
        found[a, rows] = decisive.argmax(axis=1)
    return found


def exact(
    metric: Metric,
    queries: Vectors,
    proxies: Vectors,
    rows: NDArray[np.int64],
    columns: tuple[int, int],
    aggregation: ClassScore,
) -> NDArray[np.float64]:
    """The scores of one class that decide, (len(rows),): from the exact values of all of its proxies.

    Args:
        metric: of the values.
        queries: (b, d).
        proxies: (p, d).
        rows: which queries.
        columns: the range (start, stop) of the proxies of the class.
        aggregation: makes the scores.
    """
    of_class = np.arange(*columns)
    out = np.empty(len(rows))
    for part in _parts(len(rows), len(of_class)):
        query = np.repeat(rows[part], len(of_class))
        proxy = np.tile(of_class, len(query) // len(of_class))
        values = metric.exact(queries, proxies, query, proxy)
        out[part] = aggregation.scores(values.reshape(-1, len(of_class)))
    return out


def _possible(
    scores: NDArray[np.float32], bounds: Filter, columns: Columns, aggregations: Sequence[ClassScore]
) -> NDArray[np.bool_]:
    """(aggregations, b, classes): whether a class may have the largest score; at least one of each query may."""
    about, apart = np.empty((2, len(aggregations), len(scores), len(columns)))
    for c, (start, stop) in enumerate(columns):
        for part in _parts(len(scores), stop - start):
            values, off = bounds.values(scores, part, slice(start, stop))
            largest = np.maximum(values.max(axis=1), -values.min(axis=1))
            for a, aggregation in enumerate(aggregations):
                score = aggregation.scores(values)
                about[a, part, c] = score
                apart[a, part, c] = off + _ROUNDING * (stop - start + 64) * (largest + np.abs(score))
    possible: NDArray[np.bool_] = about + apart >= (about - apart).max(axis=2, keepdims=True)
    return possible


def _parts(rows: int, each: int) -> Iterator[slice]:
    """The rows in parts of no more than so many pairs, `each` a row."""
    size = max(1, _PAIRS // each)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
