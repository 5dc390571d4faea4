"""The Mahalanobis distance for the covariance of the proxies: a Euclidean search among whitened vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.agg.metrics.euclidean import EUCLIDEAN
from imprint_sweep.imprinting.components import FittedMetric, MappedMetric, Rows
from imprint_sweep.imprinting.ordered_product import ordered_product
from imprint_sweep.imprinting.vectors import Filter, Vectors, lengths

RIDGE = 1e-6
"""VI = inv(cov(proxies) + RIDGE I)."""

_ROWS = 1024
_BLOCK = 4096


class Whitened(MappedMetric):
    """Values and bounds of whitened rows."""

    def exact(
        self, queries: Vectors, proxies: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The distance of each pair of whitened vectors."""
        return EUCLIDEAN.exact(queries, proxies, query, proxy)

    def bounds(self, raw_queries: Vectors, raw_proxies: Vectors, queries: Vectors, proxies: Vectors) -> Filter:
        """Those of the Euclidean distance."""
        return EUCLIDEAN.bounds(raw_queries, raw_proxies, queries, proxies)


class Mahalanobis(Whitened, FittedMetric):
    """The length of the difference of whitened vectors, VI = inv(cov(proxies) + 1e-6 I).

    Version 1 had a rest of rounding also where the proxies span everything.
    """

    name = "mahalanobis"
    version = 2
    label = "Mahalanobis"

    def fit(self, proxies: Rows) -> Whitening:
        """The whitening for the covariance of the proxies."""
        return fit(proxies)

    def tensors(self, proxies: Rows) -> dict[str, NDArray[Any]]:
        """The whitened proxies and the whitening, float64: float32 tells few of these distances apart."""
        whitening = fit(proxies)
        basis = {} if whitening.basis is None else {"basis": whitening.basis}
        whitened = whitening.transform(proxies).rows
        return {"proxies": whitened, "center": whitening.center, "matrix": whitening.matrix, **basis}

    def on_tensors(self, queries: Any, of_proxies: Any) -> Any:
        """The distances of all pairs."""
        centred = queries - of_proxies["center"]
        distances = EUCLIDEAN.on_tensors(centred @ of_proxies["matrix"], of_proxies)
        if "basis" not in of_proxies:
            return distances
        basis = of_proxies["basis"]
        outside = centred - (centred @ basis) @ basis.T
        return (distances**2 + (outside**2).sum(dim=1, keepdim=True) / RIDGE).sqrt()


@dataclass(frozen=True, eq=False)
class Whitening:
    """A linear map under which Mahalanobis distances to the proxies are Euclidean ones.

    Args:
        center: (d,) float64 mean of the proxies.
        matrix: (d, r) float64; a centred row times it is whitened.
        basis: (d, r) float64 orthonormal basis of the span of the centred proxies, or None where that is everything.
    """

    center: NDArray[np.float64]
    matrix: NDArray[np.float64]
    basis: NDArray[np.float64] | None

    @property
    def width(self) -> int:
        """r."""
        return int(self.matrix.shape[1])

    def transform(self, x: NDArray[np.float32]) -> Vectors:
        """Whiten rows.

        A row's result depends on that row alone, to the last bit: equal proxies stay equally near.

        Args:
            x: (n, d) float32.

        Returns:
            (n, r) float64 rows; what lies outside the span of the proxies, the same for all of them, is their ``rest``.
        """
        rows = np.empty((len(x), self.matrix.shape[1]))
        rest = np.zeros(len(x))
        for start in range(0, len(x), _ROWS):
            block = slice(start, start + _ROWS)
            centred = x[block].astype(np.float64) - self.center
            rows[block] = ordered_product(centred, self.matrix)
            if self.basis is not None:
                inside = ordered_product(ordered_product(centred, self.basis), np.ascontiguousarray(self.basis.T))
                rest[block] = lengths(centred - inside) ** 2 / RIDGE
        return Vectors.of(rows, rest)


def fit(proxies: NDArray[np.float32]) -> Whitening:
    """The whitening for the covariance of some proxies (ddof 1; zero for a single one).

    With no more proxies than features, everything outside their span is scaled by 1 / sqrt(RIDGE) and is the same for
    all proxies of a query. It would drown the differences that decide, so it is kept apart.

    Args:
        proxies: (p, d) float32.
    """
    from scipy.linalg import cholesky, solve_triangular

    p, d = proxies.shape
    center = proxies.mean(axis=0, dtype=np.float64)
    if p > d:
        # In blocks: a float64 copy of all samples as proxies is larger than everything else.
        scatter = np.zeros((d, d))
        for start in range(0, p, _BLOCK):
            block = proxies[start : start + _BLOCK] - center
            scatter += block.T @ block
        # A covariance holds the ridge only while its own rounding is far smaller; singular values are not squares.
        if np.finfo(np.float64).eps * np.trace(scatter) / (p - 1) < 1e-4 * RIDGE:
            factor = cholesky(scatter / (p - 1) + RIDGE * np.eye(d), lower=True)
            inverse = solve_triangular(factor, np.eye(d), lower=True)
            return Whitening(center, np.ascontiguousarray(inverse.T), None)
    x = proxies - center
    _, singular, right = np.linalg.svd(x, full_matrices=False)
    # Directions without variance beyond rounding belong to what lies outside the span.
    inside = singular > max(p, d) * np.finfo(np.float64).eps * max(singular.max(initial=0.0), np.finfo(np.float64).tiny)
    basis = np.ascontiguousarray(right[inside].T)
    variance = singular[inside] ** 2 / max(p - 1, 1)
    # Where the proxies span everything nothing is left outside, and rounding must not pass for it.
    return Whitening(center, basis / np.sqrt(variance + RIDGE), basis if basis.shape[1] < d else None)


MAHALANOBIS = Mahalanobis()
