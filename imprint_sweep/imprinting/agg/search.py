"""The nearest proxies of each query, exactly: float32 narrows down, float64 decides (method, section 7).

A fast score v of a pair comes with a bound e: the exact value, put into v's terms, lies within v - e .. v + e. The
m-th smallest v + e is a ceiling for the m-th nearest, so only pairs with v - e below it can be among the m nearest.
Those few are scored exactly, by the metric; they alone decide. Where e is large, as for products in a few directions, a
lower ceiling comes from the whole inner products of the pairs that look nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import Metric
from imprint_sweep.imprinting.vectors import LANES, Filter, Vectors, dot

_BLOCK = 64
_CANDIDATES = 1 << 16
"""Pairs that are scored exactly at a time, and the candidates of one query more."""
LOOKING_NEAR = 16
"""Pairs whose inner products lower the ceiling, besides m."""


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
class Products:
    """What the inner products of single pairs are made of.

    Args:
        queries: (b, d) float32 in any scaling.
        proxies: (p, d) float32 in any scaling.
        bounds: how the products bound the exact values.
    """

    queries: NDArray[np.float32]
    proxies: NDArray[np.float32]
    bounds: Filter


def nearest(
    scores: NDArray[np.float32],
    bounds: Filter,
    metric: Metric,
    queries: Vectors,
    proxies: Vectors,
    columns: Sequence[tuple[int, int]],
    m: int,
    *,
    distances: bool = True,
    products: Products | None = None,
) -> Neighbors:
    """The m nearest of some of the proxies.

    Args:
        scores: (b, p) float32 fast scores.
        bounds: how they bound the exact values.
        metric: decides the exact values.
        queries: (b, d), what is compared.
        proxies: (p, d), what is compared.
        columns: ranges (start, stop) of the columns that take part; in this order they define positions.
        m: how many; all of them if there are fewer.
        distances: whether the exact values are needed; where m is 1, going without saves most of them.
        products: if given, lower the ceilings of scores that are far less exact.

    Returns:
        The neighbours, min(m, number of columns) of them.
    """
    m = min(m, sum(stop - start for start, stop in columns))
    found = _nearest(scores, bounds, metric, queries, proxies, [columns], m, distances=distances, products=products)
    return Neighbors(found.position[:, 0], found.distance[:, 0])


def nearest_of_each(
    scores: NDArray[np.float32],
    bounds: Filter,
    metric: Metric,
    queries: Vectors,
    proxies: Vectors,
    classes: Sequence[tuple[int, int]],
    m: int,
    *,
    products: Products | None = None,
) -> NDArray[np.float64]:
    """The exact values of the m nearest proxies of each class.

    Args:
        classes: ranges (start, stop) of the columns of each class.
        scores, bounds, metric, queries, proxies, m, products: as for :func:`nearest`.

    Returns:
        (b, classes, m) float64, nearest first; behind the last proxy of a class 0. No class has more than m, if that is
        less than what was asked for.
    """
    m = min(m, max(stop - start for start, stop in classes))
    groups = [[columns] for columns in classes]
    return _nearest(scores, bounds, metric, queries, proxies, groups, m, distances=True, products=products).distance


def _nearest(
    scores: NDArray[np.float32],
    bounds: Filter,
    metric: Metric,
    queries: Vectors,
    proxies: Vectors,
    groups: Sequence[Sequence[tuple[int, int]]],
    m: int,
    *,
    distances: bool,
    products: Products | None,
) -> Neighbors:
    """The m nearest of each group of columns, (b, groups, m); see :func:`nearest`."""
    ranges = np.array([columns for group in groups for columns in group], np.int64)
    starts, stops = ranges[:, 0].copy(), ranges[:, 1].copy()
    of_group = np.cumsum([0, *map(len, groups)])
    total = max(sum(stop - start for start, stop in group) for group in groups)
    b = len(scores) * len(groups)
    position = np.empty((b, m), np.int32)
    distance = np.zeros((b, m))
    room = min(b * total, _CANDIDATES + total)
    query, column, place = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
    ends = np.zeros(b + 1, np.int64)
    looking_near = 0 if products is None else LOOKING_NEAR
    finer = products or Products(_NO_ROWS, _NO_ROWS, bounds)
    first = 0
    while first < b:
        last = _candidates(
            scores,
            bounds.add_low,
            bounds.add_high,
            bounds.mul,
            bounds.err,
            bounds.low,
            bounds.high,
            bounds.err_scale,
            bounds.rounding,
            bounds.usable,
            looking_near,
            finer.queries,
            finer.proxies,
            finer.bounds.add_high,
            finer.bounds.mul,
            finer.bounds.err,
            finer.bounds.high,
            finer.bounds.err_scale,
            starts,
            stops,
            of_group,
            total,
            distances or m > 1,
            first,
            query,
            column,
            place,
            ends,
            position,
        )
        found = slice(0, int(ends[last]))
        values = metric.exact(queries, proxies, query[found], column[found])
        _keep_nearest(values, place, ends, first, last, position, distance)
        first = last
    shape = len(scores), len(groups), m
    return Neighbors(position.reshape(shape), distance.reshape(shape))


_NO_ROWS = np.empty((0, 1), np.float32)


@compiled()
def _replace_largest(heap, places, x, place):  # type: ignore[no-untyped-def]
    """Put x in the place of the largest element of a max-heap; each element has a place."""
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
        places[i] = places[child]
        i = child
    heap[i] = x
    places[i] = place


@compiled()
def _candidates(  # type: ignore[no-untyped-def]
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
    looking_near,
    rows,
    columns,
    fine_add_high,
    fine_mul,
    fine_err,
    fine_high,
    fine_err_scale,
    starts,
    stops,
    of_group,
    total,
    exact,
    first,
    query,
    column,
    place,
    ends,
    position,
):
    """List the pairs that need an exact value, search by search while there is room; the search after the last one.

    The columns of group g are the ranges of_group[g] .. of_group[g + 1], at most `total`; a query is searched for in
    each group. The candidates of search i are ends[i] .. ends[i + 1]. One that has a single candidate and needs no
    exact value has none, but its position.
    """
    b, m = position.shape
    groups = of_group.shape[0] - 1
    heap, places = np.empty(m + looking_near, np.float32), np.empty(m + looking_near, np.int64)
    fine_heap, fine_places = np.empty(m, np.float32), np.empty(m, np.int64)
    lanes = np.empty(LANES)
    values = np.empty(_BLOCK, np.float32)
    count = 0
    ends[first] = 0
    search = first
    while search < b and count + total <= column.shape[0]:
        q, g = search // groups, search % groups
        ceiling = np.float32(np.inf)
        if usable:
            heap[:] = np.inf
            places[:] = -1
            scale = high[q]
            e = err_scale[q]
            for s in range(of_group[g], of_group[g + 1]):
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
                                _replace_largest(heap, places, values[i], j + i)
                                ceiling = heap[0]
            if looking_near > 0:
                fine_heap[:] = np.inf
                for i in places:
                    if i >= 0:
                        product = np.float32(dot(rows[q], columns[i], lanes))
                        v = fine_add_high[i] + fine_high[q] * fine_mul[i] * product + fine_err_scale[q] * fine_err[i]
                        if v < fine_heap[0]:
                            _replace_largest(fine_heap, fine_places, v, i)
                ceiling = fine_heap[0]
            ceiling += rounding[q]
        before = count
        offset = 0
        scale = low[q]
        e = err_scale[q]
        for s in range(of_group[g], of_group[g + 1]):
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
                            query[count] = q
                            column[count] = j + i
                            place[count] = offset + i
                            count += 1
                offset += n
        if count == before + 1 and not exact:
            position[search, 0] = place[before]
            count = before
        search += 1
        ends[search] = count
    return search


@compiled()
def _keep_nearest(values, place, ends, first, last, position, distance):  # type: ignore[no-untyped-def]
    """The m nearest of each search's candidates; where it has none, its position is known."""
    m = position.shape[1]
    for q in range(first, last):
        kept = 0
        for i in range(ends[q], ends[q + 1]):
            x = values[i]
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
            position[q, slot] = place[i]
