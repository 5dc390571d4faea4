"""The nearest proxies of each query, exactly (method, section 7: float32 filters, float64 decides).

A filter value v of a pair comes with a bound e: the exact value, put into v's terms, lies within v - e .. v + e. The
m-th smallest v + e is a ceiling for the m-th nearest, so only pairs with v - e below it can be among the m nearest.
Those few are scored in float64; they alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from imprint_sweep.stages.distances import CODES, LANES, Vectors, dissimilarity, error_bound

# Between these lengths neither products nor squares leave float32's normal range by enough to matter beside the bound.
_SHORTEST, _LONGEST = 1e-12, 1e12
_UNDERFLOW = 1e-34  # d subnormal terms, flushed to zero or not
_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The m nearest proxies of each query.

    Args:
        position: (b, m) int32, nearest first, equally near ones by position; positions count along the columns asked
            for.
        distance: (b, m) float64 exact values; undefined (0) where they were not asked for.
    """

    position: NDArray[np.int32]
    distance: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Filter:
    """How filter scores S (b, p) bound the exact values of one view.

    For query q and proxy j the true value is a monotone function of something between
    ``add_low[j] + low[q] mul[j] S[q, j] - err_scale[q] err[j]`` and
    ``add_high[j] + high[q] mul[j] S[q, j] + err_scale[q] err[j]``. The exact value is that in float64: where two of
    these things are within ``rounding[q]`` of each other, their exact values may be equal, or in the wrong order.
    All float32; ``usable`` is False where lengths are so extreme that float32 promises nothing: then every pair is
    scored exactly.
    """

    add_low: NDArray[np.float32]
    add_high: NDArray[np.float32]
    mul: NDArray[np.float32]
    err: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    err_scale: NDArray[np.float32]
    rounding: NDArray[np.float32]
    usable: bool


def product_filter(
    metric: str, raw_queries: Vectors, raw_proxies: Vectors, queries: Vectors, proxies: Vectors
) -> Filter:
    """The filter of a view whose scores are inner products of *other* scalings of the same vectors.

    Args:
        metric: ``"inner_product"``, ``"cosine"``, ``"euclidean"`` or ``"mahalanobis"``.
        raw_queries, raw_proxies: what the scores were computed from, (b, d) and (p, d).
        queries, proxies: the vectors of the view: the same rows, as they are or divided by their lengths.
    """
    d = raw_queries.rows.shape[1]
    bound = error_bound(d)
    usable = _moderate(raw_queries) and _moderate(raw_proxies) and _moderate(queries) and _moderate(proxies)
    q_scale = _ratio(queries.lengths, raw_queries.lengths)
    p_scale = _ratio(proxies.lengths, raw_proxies.lengths)
    p_length = proxies.lengths
    if metric == "cosine":
        p_scale = _ratio(np.ones(len(proxies)), raw_proxies.lengths)
        p_length = np.ones(len(proxies))
    if metric in ("inner_product", "cosine"):
        # The query's own length changes no order: divide it out.
        row = -_ratio(np.ones(len(queries)), raw_queries.lengths)
        return _filter(np.zeros(len(proxies)), np.zeros(len(proxies)), p_scale, p_length, row, row, bound, usable)
    squares = p_length**2
    row = -2.0 * q_scale
    # The filter leaves out what all proxies of a query share. Exact values hold it, and its rounding with it: a query
    # a billion times longer than its proxies is as far from all of them.
    rounding = _rounding(d) * (queries.lengths**2 + queries.rest)
    return _filter(
        squares, 2.0 * bound * squares, p_scale, p_length, row, row, 4.0 * bound * queries.lengths, usable, rounding
    )


def manhattan_filter(queries: Vectors, proxies: Vectors) -> Filter:
    """The filter of a Manhattan view, whose scores are the distances themselves.

    Args:
        queries, proxies: the vectors of the view, (b, d) and (p, d).
    """
    bound = error_bound(queries.rows.shape[1])
    zeros, ones, one = np.zeros(len(proxies)), np.ones(len(proxies)), np.ones(len(queries))
    usable = _moderate(queries) and _moderate(proxies)
    return _filter(zeros, zeros, ones, zeros, (1.0 - bound) * one, (1.0 + bound) * one, 0.0, usable)


def nearest(
    scores: NDArray[np.float32],
    view: Filter,
    metric: str,
    queries: Vectors,
    proxies: Vectors,
    columns: Sequence[tuple[int, int]],
    m: int,
    *,
    distances: bool = True,
) -> Neighbors:
    """The m nearest of some of the proxies.

    Args:
        scores: (b, p) float32 filter scores.
        view: how they bound the exact values.
        metric: decides the exact values, see :func:`imprint_sweep.stages.distances.exact`.
        queries: (b, d), the vectors of the view.
        proxies: (p, d), the vectors of the view.
        columns: ranges (start, stop) of the columns that take part; in this order they define positions.
        m: how many; all of them if there are fewer.
        distances: whether the exact values are needed; where m is 1, going without saves most of them.

    Returns:
        The neighbours, min(m, number of columns) of them.
    """
    starts = np.array([start for start, _ in columns], np.int64)
    stops = np.array([stop for _, stop in columns], np.int64)
    m = min(m, int((stops - starts).sum()))
    position = np.empty((len(scores), m), np.int32)
    distance = np.zeros((len(scores), m))
    _nearest(
        scores,
        view.add_low,
        view.add_high,
        view.mul,
        view.err,
        view.low,
        view.high,
        view.err_scale,
        view.rounding,
        view.usable,
        CODES[metric],
        queries.rows,
        proxies.rows,
        queries.lengths,
        proxies.lengths,
        queries.rest,
        starts,
        stops,
        distances or m > 1,
        position,
        distance,
    )
    return Neighbors(position, distance)


def _filter(
    add: NDArray[np.float64],
    slack: NDArray[np.float64],
    mul: NDArray[np.float64],
    err: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    err_scale: NDArray[np.float64] | float,
    usable: bool,
    rounding: NDArray[np.float64] | float = 0.0,
) -> Filter:
    with np.errstate(over="ignore"):  # where it overflows, the filter is not usable
        return Filter(
            add_low=(add - slack - _UNDERFLOW).astype(np.float32),
            add_high=(add + slack + _UNDERFLOW).astype(np.float32),
            mul=mul.astype(np.float32),
            err=err.astype(np.float32),
            low=low.astype(np.float32),
            high=high.astype(np.float32),
            err_scale=np.broadcast_to(np.asarray(err_scale), low.shape).astype(np.float32),
            rounding=np.broadcast_to(np.asarray(rounding), low.shape).astype(np.float32),
            usable=usable,
        )


def _rounding(d: int) -> float:
    """Bound of the rounding in comparing two squared float64 distances, relative to the square of the query's length.

    A sum of d squares in the exact order, its root and the ``rest`` are off by at most d/64 + 140 units of 2^-53. Two
    of them, each at most twice the sum of both squared lengths, make a factor of four; it is doubled. What the proxies'
    lengths contribute is far below the filter's own bound.
    """
    return (d + 256) * 2.0**-50


def _moderate(vectors: Vectors) -> bool:
    lengths = vectors.lengths[vectors.lengths > 0.0]
    return bool(((lengths > _SHORTEST) & (lengths < _LONGEST)).all())


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0.0)


@numba.njit(nogil=True, cache=True)
def _replace_largest(heap, x):  # type: ignore[no-untyped-def]
    """Put x in the place of the largest element of a max-heap."""
    m = heap.shape[0]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= m:
            break
        if child + 1 < m and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= x:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = x


@numba.njit(nogil=True, cache=True)
def _nearest(  # type: ignore[no-untyped-def]
    scores,
    add_low,
    add_high,
    mul,
    err,
    low,
    high,
    err_scale,
    rounding,
    usable,
    metric,
    queries,
    proxies,
    q_lengths,
    p_lengths,
    rest,
    starts,
    stops,
    distances,
    position,
    distance,
):
    b, m = position.shape
    total = 0
    for s in range(starts.shape[0]):
        total += stops[s] - starts[s]
    heap = np.empty(m, np.float32)
    values = np.empty(_BLOCK, np.float32)
    columns = np.empty(total, np.int64)
    positions = np.empty(total, np.int64)
    lanes = np.empty(LANES)
    for q in range(b):
        ceiling = np.float32(np.inf)
        if usable:
            heap[:] = np.inf
            scale = high[q]
            e = err_scale[q]
            for s in range(starts.shape[0]):
                for j in range(starts[s], stops[s], _BLOCK):
                    n = min(_BLOCK, stops[s] - j)
                    # Whole blocks are compared at once; few hold anything below the ceiling.
                    row, a, c, w = scores[q, j : j + n], add_high[j : j + n], mul[j : j + n], err[j : j + n]
                    below = 0
                    for i in range(n):
                        v = a[i] + scale * c[i] * row[i] + e * w[i]
                        values[i] = v
                        below += v < ceiling
                    if below:
                        for i in range(n):
                            if values[i] < ceiling:
                                _replace_largest(heap, values[i])
                                ceiling = heap[0]
            ceiling += rounding[q]
        count = 0
        offset = 0
        scale = low[q]
        e = err_scale[q]
        for s in range(starts.shape[0]):
            for j in range(starts[s], stops[s], _BLOCK):
                n = min(_BLOCK, stops[s] - j)
                row, a, c, w = scores[q, j : j + n], add_low[j : j + n], mul[j : j + n], err[j : j + n]
                within = n
                if usable:
                    within = 0
                    for i in range(n):
                        v = a[i] + scale * c[i] * row[i] - e * w[i]
                        values[i] = v
                        within += v <= ceiling
                if within:
                    for i in range(n):
                        if not usable or values[i] <= ceiling:
                            columns[count] = j + i
                            positions[count] = offset + i
                            count += 1
                offset += n
        if count == 1 and not distances:
            position[q, 0] = positions[0]
            continue
        kept = 0
        for i in range(count):
            j = columns[i]
            x = dissimilarity(metric, queries[q], proxies[j], q_lengths[q], p_lengths[j], rest[q], lanes)
            # Candidates come by position, so an equally near one goes behind.
            if kept < m:
                slot = kept
                kept += 1
            elif x < distance[q, m - 1]:
                slot = m - 1
            else:
                continue
            while slot > 0 and x < distance[q, slot - 1]:
                distance[q, slot] = distance[q, slot - 1]
                position[q, slot] = position[q, slot - 1]
                slot -= 1
            distance[q, slot] = x
            position[q, slot] = positions[i]
