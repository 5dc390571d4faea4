"""The inner product: what a linear layer computes with proxies as its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import ProductMetric
from imprint_sweep.imprinting.vectors import LANES, Filter, Vectors, dot, error_bound, ratio


class InnerProduct(ProductMetric):
    """Minus the inner product."""

    name = "inner_product"
    label = "inner product"
    is_distance = False
    ignores_query_length = True
    nearest_on_unit_proxies = "cosine"
    zero_proxies = True

    def exact(
        self, queries: Vectors, proxies: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Minus the inner product of each pair."""
        out = np.empty(len(query))
        _pairs(queries.rows, proxies.rows, query, proxy, out)
        return out

    def bounds(self, raw_queries: Vectors, raw_proxies: Vectors, queries: Vectors, proxies: Vectors) -> Filter:
        """Each product is off by at most the error bound times both lengths."""
        # The query's own length changes no order: divide it out.
        row = -ratio(np.ones(len(queries)), raw_queries.lengths)
        return Filter.of(
            add=np.zeros(len(proxies)),
            mul=ratio(proxies.lengths, raw_proxies.lengths),
            err=proxies.lengths,
            low=row,
            high=row,
            err_scale=error_bound(raw_queries.rows.shape[1]),
            scale=queries.lengths,
            usable=all(vectors.moderate for vectors in (raw_queries, raw_proxies, queries, proxies)),
        )

    def on_tensors(self, queries: Any, of_proxies: Any) -> Any:
        """The values of all pairs."""
        return -(queries @ of_proxies["proxies"].T)


@compiled()
def _pairs(queries, proxies, query, proxy, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    for i in range(query.shape[0]):
        out[i] = -dot(queries[query[i]], proxies[proxy[i]], lanes)


INNER_PRODUCT = InnerProduct()
