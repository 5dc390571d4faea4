"""The Manhattan distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import DenseMetric, Rows
from imprint_sweep.imprinting.tensors import distances
from imprint_sweep.imprinting.vectors import LANES, Filter, Vectors


class Manhattan(DenseMetric):
    """The sum of absolute differences."""

    name = "manhattan"
    label = "Manhattan"
    rate = 24e9

    def exact(
        self, queries: Vectors, proxies: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The distance of each pair."""
        out = np.empty(len(query))
        _pairs(queries.rows, proxies.rows, query, proxy, out)
        return out

    def fast(self, queries: Rows, proxies: Rows) -> NDArray[np.float32]:
        """Distances in float32, each within the error bound relatively: all terms are positive."""
        scores = np.empty((len(queries), len(proxies)), np.float32)
        _tiles(queries, proxies, scores)
        return scores

    def bounds(self, queries: Vectors, proxies: Vectors) -> Filter:
        """The scores are the distances themselves."""
        return Filter.relative(queries, proxies)

    def on_tensors(self, queries: Any, of_proxies: Any) -> Any:
        """The values of all pairs."""
        return distances(queries, of_proxies["proxies"], 1.0)


@compiled()
def _pairs(queries, proxies, query, proxy, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    d = queries.shape[1]
    whole = d - d % LANES
    for n in range(query.shape[0]):
        q, p = queries[query[n]], proxies[proxy[n]]
        lanes[:] = 0.0
        total = 0.0
        for i in range(0, whole, LANES):
            a = q[i : i + LANES]
            b = p[i : i + LANES]
            for lane in range(LANES):
                lanes[lane] += abs(np.float64(a[lane]) - np.float64(b[lane]))
        for lane in range(LANES):
            total += lanes[lane]
        for i in range(whole, d):
            total += abs(np.float64(q[i]) - np.float64(p[i]))
        out[n] = total


# Reassociation is what lets the sums over features use vector registers; any order keeps the error bound.
@compiled(fastmath={"reassoc", "contract", "nsz"})
def _tiles(queries, proxies, out):  # type: ignore[no-untyped-def]
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


MANHATTAN = Manhattan()
