"""Inner products in the few directions in which most of the vectors lie, with bounds for what they leave out.

Embeddings of a network fill few of their directions: a sixth of them held nine tenths of the squared lengths of those
measured. A product in these directions alone is off by at most the lengths of what both vectors have outside of them
(Cauchy-Schwarz), which is enough to rule most pairs out, at a sixth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.agg.search import LOOKING_NEAR
from imprint_sweep.imprinting.vectors import Vectors, error_bound, inner_products

LARGE = 3e10
"""Multiplications of whole products below which finding directions would take longer than it spares."""
PART = 6
"""Features for each direction."""
EXACT = 40
"""How many times longer a feature of a pair takes in an exact value than in a product of matrices."""
_TRIED = 16
"""Queries on which directions are tried."""
_ROUNDS = 2
"""Of the subspace iteration: more hardly turn the directions any further."""
_AT_ONCE = 1024
"""Rows that are widened to float64 at a time."""
_SLACK = 2.0**-22
"""What projecting may be off by, relative to a row's length: float64 products, rounded once to float32."""


@dataclass(frozen=True, eq=False)
class Projected:
    """Rows in some directions.

    Args:
        rows: (n, r) float32.
        outside: (n,) float64. The inner product of two rows and that of their projections, computed in float32, differ
            by at most the product of both.
    """

    rows: NDArray[np.float32]
    outside: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Directions:
    """Some orthonormal directions.

    Args:
        columns: (d, r) float64, orthonormal to float64's rounding.
    """

    columns: NDArray[np.float64]

    @classmethod
    def of_most(cls, rows: NDArray[np.float32], r: int) -> Directions:
        """About the r directions in which rows, (n, d), have most of their squared lengths."""
        x = rows.astype(np.float64)
        columns = np.random.default_rng(0).standard_normal((x.shape[1], r))
        for _ in range(_ROUNDS):
            columns, _ = np.linalg.qr(x.T @ (x @ columns))
        return cls(columns)

    def project(self, of: Vectors) -> Projected:
        """Project rows, (n, d) float32."""
        n, d = of.rows.shape
        rows = np.empty((n, self.columns.shape[1]), np.float32)
        for start in range(0, n, _AT_ONCE):
            rows[start : start + _AT_ONCE] = of.rows[start : start + _AT_ONCE].astype(np.float64) @ self.columns
        inside = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        squares = of.lengths**2
        left = squares - np.maximum(inside - _SLACK * of.lengths, 0.0) ** 2
        # The products' own rounding, in float32 and of both kinds, is as long as a part outside.
        return Projected(rows, np.sqrt(np.maximum(left, 0.0) + (2.0 * error_bound(d) + 4.0 * _SLACK) * squares))


def directions_that_save_time(
    queries: Vectors, proxies: Vectors, searches: float, m: int, parts: Sequence[tuple[int, int]] | None = None
) -> Directions | None:
    """The directions of a search in which rough scores rule out enough, tried with some of the queries.

    Args:
        queries: a sample of them, (b, d).
        proxies: (p, d).
        searches: how many searches a query takes part in.
        m: neighbours wanted.
        parts: ranges (start, stop) of the proxies in each of which a search looks for so many; None for all of them.

    Returns:
        A sixth of d of them; None where whole products take less time.
    """
    d, p = proxies.rows.shape[1], len(proxies)
    r = d // PART
    if r == 0 or not (queries.moderate and proxies.moderate):
        return None
    found = Directions.of_most(queries.rows, r)
    tried = queries[:: max(1, len(queries) // _TRIED)]
    some = proxies[:: max(1, p // _TRIED**2)]
    share = float(np.mean(found.project(some).outside / np.maximum(some.lengths, 1e-30)))
    projected = found.project(tried)
    squares = proxies.lengths**2
    whole = squares - 2.0 * inner_products(tried.rows, proxies.rows)
    rough = squares - 2.0 * inner_products((projected.rows @ found.columns.T).astype(np.float32), proxies.rows)
    low = rough - 2.0 * share * projected.outside[:, None] * proxies.lengths
    scored = 0.0
    for start, stop in parts or [(0, p)]:
        last = min(m, stop - start) - 1
        nearest = np.partition(whole[:, start:stop], last, axis=1)[:, last]
        within = low[:, start:stop] <= nearest[:, None]
        scored += LOOKING_NEAR + m + float(within.sum(axis=1).mean())
    return found if p * r + searches * scored * EXACT * d < p * d else None
