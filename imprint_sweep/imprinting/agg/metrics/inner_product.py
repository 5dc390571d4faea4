"""The inner product: what a linear layer computes with proxies as its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import ProductMetric
from imprint_sweep.imprinting.vectors import LANES, Filter, Vectors, dot, error_bound, ratio

_LARGEST_BIAS = 1e30
"""Larger ones leave float32 too little room."""


class InnerProduct(ProductMetric):
    """Minus the inner product, and minus the bias of a proxy that has one."""

    name = "inner_product"
    label = "inner product"
    is_distance = False
    ignores_query_length = True
    takes_biases = True
    nearest_on_unit_proxies = "cosine"
    zero_proxies = True

    def exact(
        self, queries: Vectors, proxies: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Minus the inner product of each pair, minus the bias."""
        out = np.empty(len(query))
        _pairs(queries.rows, proxies.rows, query, proxy, out)
        return out if proxies.biases is None else out - proxies.biases[proxy]

    def bounds(self, raw_queries: Vectors, raw_proxies: Vectors, queries: Vectors, proxies: Vectors) -> Filter:
        """Each product is off by at most the error bound times both lengths."""
        bound = error_bound(raw_queries.rows.shape[1])
        moderate = all(vectors.moderate for vectors in (raw_queries, raw_proxies, queries, proxies))
        mul = ratio(proxies.lengths, raw_proxies.lengths)
        if proxies.biases is None:
            # The query's own length changes no order: divide it out.
            row = -ratio(np.ones(len(queries)), raw_queries.lengths)
            none = np.zeros(len(proxies))
            return Filter.of(
                add=none,
                mul=mul,
                err=proxies.lengths,
                low=row,
                high=row,
                err_scale=bound,
                scale=queries.lengths,
                usable=moderate,
            )
        row = -ratio(queries.lengths, raw_queries.lengths)
        biases = proxies.biases.astype(np.float64)
        return Filter.of(
            add=-biases,
            slack=bound * np.abs(biases),
            mul=mul,
            err=proxies.lengths,
            low=row,
            high=row,
            err_scale=bound * queries.lengths,
            scale=1.0,
            usable=moderate and float(np.abs(biases).max(initial=0.0)) < _LARGEST_BIAS,
        )

    def on_tensors(self, queries: Any, of_proxies: Any) -> Any:
        """The values of all pairs."""
        values = -(queries @ of_proxies["proxies"].T)
        return values - of_proxies["biases"] if "biases" in of_proxies else values


@compiled()
def _pairs(queries, proxies, query, proxy, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    for i in range(query.shape[0]):
        out[i] = -dot(queries[query[i]], proxies[proxy[i]], lanes)


INNER_PRODUCT = InnerProduct()
