"""Distances between queries and proxies: exact in float64, and fast in float32 (method, section 7).

The *exact* value of a pair is defined by one order of summation: :data:`LANES` partial sums over the features, each
taking every ``LANES``-th one, then the lanes in order, then the features left over. It depends on nothing but the two
vectors.
The *fast* values are matrices; they only narrow down which pairs need an exact value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

LANES = 64  # measured: 8 or 16 leave half of the vector units idle

INNER_PRODUCT, COSINE, EUCLIDEAN, MANHATTAN, MAHALANOBIS = range(5)
CODES = {
    "inner_product": INNER_PRODUCT,
    "cosine": COSINE,
    "euclidean": EUCLIDEAN,
    "manhattan": MANHATTAN,
    "mahalanobis": MAHALANOBIS,
}
"""What the compiled kernels call the metrics."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Rows with their lengths.

    Args:
        rows: (n, d) float32, or float64 after whitening; C-contiguous.
        lengths: (n,) float64 Euclidean lengths.
        rest: (n,) float64, what whitening leaves out of the rows: squared distance to the span of the proxies.
    """

    rows: NDArray[Any]
    lengths: NDArray[np.float64]
    rest: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[Any], rest: NDArray[np.float64] | None = None) -> Vectors:
        """Measure rows, (n, d) float32 or float64."""
        rows = np.ascontiguousarray(rows)
        return cls(rows, lengths(rows), np.zeros(len(rows)) if rest is None else rest)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Vectors:
        return Vectors(self.rows[part], self.lengths[part], self.rest[part])


def inner_products(queries: NDArray[np.float32], proxies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fast inner products.

    Args:
        queries: (b, d) float32.
        proxies: (p, d) float32.

    Returns:
        (b, p) float32, each within ``error_bound(d) |q| |p|`` of the exact value, as long as |q| |p| is below 1e38.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # lengths that could overflow are no case for a filter
        scores: NDArray[np.float32] = queries @ proxies.T
    return scores


def manhattan_distances(queries: NDArray[np.float32], proxies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fast Manhattan distances.

    Args:
        queries: (b, d) float32.
        proxies: (p, d) float32.

    Returns:
        (b, p) float32, each within ``error_bound(d)`` of the exact value, relatively.
    """
    scores = np.empty((len(queries), len(proxies)), np.float32)
    _manhattan(queries, proxies, scores)
    return scores


def error_bound(d: int) -> float:
    """Bound of a float32 sum of d products, relative to the lengths of both vectors, whatever the order of summation.

    The rigorous bound is about d 2^-24; the factor of two and the 32 cover the rounding of the vectors themselves
    (normalised, or cast from float64) and of what is computed from the sum.
    """
    return (d + 32) * 2.0**-23


def lengths(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Euclidean lengths, (n,) float64: of each row by itself, in the exact order of summation.

    Args:
        rows: (n, d) float32 or float64.
    """
    out = np.empty(len(rows))
    _lengths(rows, out)
    return out


def exact(
    metric: str, queries: Vectors, proxies: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The values that decide: the dissimilarity of pairs, smaller is nearer.

    ========================  ========================================================================
    ``inner_product``         minus the inner product
    ``cosine``                1 minus the cosine, at least 0; the cosine with a zero vector is 0
    ``euclidean``             length of the difference
    ``manhattan``             sum of absolute differences
    ``mahalanobis``           length of the difference of whitened vectors, with the query's ``rest``
    ========================  ========================================================================

    Args:
        metric: a name of the table.
        queries: (b, d).
        proxies: (p, d).
        query: (n,) int64 row numbers of queries.
        proxy: (n,) int64 row numbers of proxies.

    Returns:
        (n,) float64.
    """
    out = np.empty(len(query))
    _pairs(
        CODES[metric],
        queries.rows,
        proxies.rows,
        queries.lengths,
        proxies.lengths,
        queries.rest,
        query,
        proxy,
        out,
    )
    return out


@numba.njit(nogil=True, cache=True)
def dissimilarity(metric, q, p, q_length, p_length, rest, lanes):  # type: ignore[no-untyped-def]
    """The exact value of one pair; `lanes` is scratch of LANES float64. Callable from compiled code only."""
    d = q.shape[0]
    whole = d - d % LANES
    lanes[:] = 0.0
    total = 0.0
    if metric in (INNER_PRODUCT, COSINE):
        for i in range(0, whole, LANES):
            a = q[i : i + LANES]
            b = p[i : i + LANES]
            for lane in range(LANES):
                lanes[lane] += np.float64(a[lane]) * np.float64(b[lane])
        for lane in range(LANES):
            total += lanes[lane]
        for i in range(whole, d):
            total += np.float64(q[i]) * np.float64(p[i])
        if metric == INNER_PRODUCT:
            return -total
        if q_length == 0.0 or p_length == 0.0:
            return 1.0
        return max(0.0, 1.0 - total / (q_length * p_length))
    if metric == MANHATTAN:
        for i in range(0, whole, LANES):
            a = q[i : i + LANES]
            b = p[i : i + LANES]
            for lane in range(LANES):
                lanes[lane] += abs(np.float64(a[lane]) - np.float64(b[lane]))
        for lane in range(LANES):
            total += lanes[lane]
        for i in range(whole, d):
            total += abs(np.float64(q[i]) - np.float64(p[i]))
        return total
    for i in range(0, whole, LANES):
        a = q[i : i + LANES]
        b = p[i : i + LANES]
        for lane in range(LANES):
            difference = np.float64(a[lane]) - np.float64(b[lane])
            lanes[lane] += difference * difference
    for lane in range(LANES):
        total += lanes[lane]
    for i in range(whole, d):
        difference = np.float64(q[i]) - np.float64(p[i])
        total += difference * difference
    return np.sqrt(total + rest)


@numba.njit(nogil=True, cache=True)
def _pairs(metric, queries, proxies, q_lengths, p_lengths, rest, query, proxy, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    for i in range(query.shape[0]):
        a, b = query[i], proxy[i]
        out[i] = dissimilarity(metric, queries[a], proxies[b], q_lengths[a], p_lengths[b], rest[a], lanes)


@numba.njit(nogil=True, cache=True)
def _lengths(rows, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    for i in range(rows.shape[0]):
        out[i] = np.sqrt(-dissimilarity(INNER_PRODUCT, rows[i], rows[i], 0.0, 0.0, 0.0, lanes))


# Reassociation is what lets the sums over features use vector registers; any order keeps the error bound.
@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _manhattan(queries, proxies, out):  # type: ignore[no-untyped-def]
    # 4 x 4 pairs at a time: each feature that is loaded takes part in four differences.
    b, d = queries.shape
    p = proxies.shape[0]
    zero = np.float32(0)
    for j in range(0, p, 4):
        n = min(4, p - j)
        p0, p1 = proxies[j], proxies[j + min(1, n - 1)]
        p2, p3 = proxies[j + min(2, n - 1)], proxies[j + min(3, n - 1)]
        for i in range(0, b, 4):
            m = min(4, b - i)
            q0, q1 = queries[i], queries[i + min(1, m - 1)]
            q2, q3 = queries[i + min(2, m - 1)], queries[i + min(3, m - 1)]
            s00 = s01 = s02 = s03 = zero
            s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = zero
            s30 = s31 = s32 = s33 = zero
            for f in range(d):
                a0, a1, a2, a3 = q0[f], q1[f], q2[f], q3[f]
                b0, b1, b2, b3 = p0[f], p1[f], p2[f], p3[f]
                s00 += abs(a0 - b0)
                s01 += abs(a0 - b1)
                s02 += abs(a0 - b2)
                s03 += abs(a0 - b3)
                s10 += abs(a1 - b0)
                s11 += abs(a1 - b1)
                s12 += abs(a1 - b2)
                s13 += abs(a1 - b3)
                s20 += abs(a2 - b0)
                s21 += abs(a2 - b1)
                s22 += abs(a2 - b2)
                s23 += abs(a2 - b3)
                s30 += abs(a3 - b0)
                s31 += abs(a3 - b1)
                s32 += abs(a3 - b2)
                s33 += abs(a3 - b3)
            tile = (
                (s00, s01, s02, s03),
                (s10, s11, s12, s13),
                (s20, s21, s22, s23),
                (s30, s31, s32, s33),
            )
            for r in range(m):
                for c in range(n):
                    out[i + r, j + c] = tile[r][c]
