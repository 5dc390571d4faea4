"""The cosine distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import ProductMetric
from imprint_sweep.imprinting.norm.l2 import L2_NORM
from imprint_sweep.imprinting.vectors import LANES, Filter, Vectors, dot, error_bound, ratio


class Cosine(ProductMetric):
    """1 minus the cosine, at least 0; the cosine with a zero vector is 0."""

    name = "cosine"
    ignores_length = True
    ignores_query_length = True

    def exact(
        self, queries: Vectors, proxies: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The cosine distance of each pair."""
        out = np.empty(len(query))
        _pairs(queries.rows, proxies.rows, queries.lengths, proxies.lengths, query, proxy, out)
        return out

    def bounds(self, raw_queries: Vectors, raw_proxies: Vectors, queries: Vectors, proxies: Vectors) -> Filter:
        """Each product is off by at most the error bound times both lengths; the proxies' are divided out."""
        ones = np.ones(len(proxies))
        row = -ratio(np.ones(len(queries)), raw_queries.lengths)
        return Filter.of(
            add=np.zeros(len(proxies)),
            mul=ratio(ones, raw_proxies.lengths),
            err=ones,
            low=row,
            high=row,
            err_scale=error_bound(raw_queries.rows.shape[1]),
            scale=1.0,
            shift=1.0,
            usable=all(vectors.moderate for vectors in (raw_queries, raw_proxies, queries, proxies)),
        )

    def on_tensors(self, queries: Any, of_proxies: Any) -> Any:
        """The values of all pairs."""
        query, proxy = (L2_NORM.on_tensors(rows) for rows in (queries, of_proxies["proxies"]))
        return (1.0 - query @ proxy.T).clamp_min(0.0)


@compiled()
def _pairs(queries, proxies, q_lengths, p_lengths, query, proxy, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    for i in range(query.shape[0]):
        a, b = query[i], proxy[i]
        product = dot(queries[a], proxies[b], lanes)
        if q_lengths[a] == 0.0 or p_lengths[b] == 0.0:
            out[i] = 1.0
        else:
            out[i] = max(0.0, 1.0 - product / (q_lengths[a] * p_lengths[b]))


COSINE = Cosine()
