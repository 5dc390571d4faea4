"""The Euclidean distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import ProductMetric
from imprint_sweep.imprinting.tensors import distances
from imprint_sweep.imprinting.vectors import (
    LANES,
    Filter,
    Vectors,
    error_bound,
    ratio,
    rounding_of_squares,
    squared_distance,
)


class Euclidean(ProductMetric):
    """The length of the difference; of mapped vectors with what the map leaves out of the query."""

    name = "euclidean"
    label = "Euclidean"
    nearest_on_unit_proxies = "cosine"

    def exact(
        self, queries: Vectors, proxies: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The distance of each pair."""
        out = np.empty(len(query))
        _pairs(queries.rows, proxies.rows, queries.rest, query, proxy, out)
        return out

    def bounds(self, raw_queries: Vectors, raw_proxies: Vectors, queries: Vectors, proxies: Vectors) -> Filter:
        """Of the squared distance, without the squared length of the query that all proxies share."""
        d = raw_queries.rows.shape[1]
        bound = error_bound(d)
        squares = proxies.lengths**2
        row = -2.0 * ratio(queries.lengths, raw_queries.lengths)
        return Filter.of(
            add=squares,
            slack=2.0 * bound * squares,
            mul=ratio(proxies.lengths, raw_proxies.lengths),
            err=proxies.lengths,
            low=row,
            high=row,
            err_scale=4.0 * bound * queries.lengths,
            # Exact values hold what the filter leaves out, and its rounding with it: a query a billion times longer
            # than its proxies is as far from all of them.
            rounding=rounding_of_squares(d) * (queries.lengths**2 + queries.rest),
            scale=1.0,
            shift=queries.lengths**2 + queries.rest,
            root=True,
            usable=all(vectors.moderate for vectors in (raw_queries, raw_proxies, queries, proxies)),
        )

    def on_tensors(self, queries: Any, of_proxies: Any) -> Any:
        """The values of all pairs."""
        return distances(queries, of_proxies["proxies"], 2.0)


@compiled()
def _pairs(queries, proxies, rest, query, proxy, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    for i in range(query.shape[0]):
        a = query[i]
        out[i] = np.sqrt(squared_distance(queries[a], proxies[proxy[i]], lanes) + rest[a])


EUCLIDEAN = Euclidean()
