"""Mahalanobis distance as a Euclidean search (method, section 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from imprint_sweep.stages.distances import Vectors

RIDGE = 1e-6
"""VI = inv(cov(proxies) + RIDGE I)."""

_ROWS = 256


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

    def transform(self, x: NDArray[np.float32]) -> Vectors:
        """Whiten rows.

        Rows are taken in blocks from the first on, because the bits of a matrix product may depend on its shape: a row's
        result is reproducible only within the same array.

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
            rows[block] = centred @ self.matrix
            if self.basis is not None:
                outside = centred - (centred @ self.basis) @ self.basis.T
                rest[block] = np.einsum("ij,ij->i", outside, outside) / RIDGE
        return Vectors.of(rows, rest)


def fit(proxies: NDArray[np.float32]) -> Whitening:
    """The whitening for the covariance of some proxies (ddof 1; zero for a single one).

    With no more proxies than features, everything outside their span is scaled by 1 / sqrt(RIDGE) and is the same for all
    proxies of a query. It would drown the differences that decide, so it is kept apart.

    Args:
        proxies: (p, d) float32.
    """
    p, d = proxies.shape
    x = proxies.astype(np.float64)
    center = x.mean(axis=0)
    x -= center
    if p > d:
        factor = cholesky(x.T @ x / (p - 1) + RIDGE * np.eye(d), lower=True)
        inverse = solve_triangular(factor, np.eye(d), lower=True)
        return Whitening(center, np.ascontiguousarray(inverse.T), None)
    _, singular, right = np.linalg.svd(x, full_matrices=False)
    # Directions without variance beyond rounding belong to what lies outside the span.
    inside = singular > max(p, d) * np.finfo(np.float64).eps * max(singular.max(initial=0.0), np.finfo(np.float64).tiny)
    basis = np.ascontiguousarray(right[inside].T)
    variance = singular[inside] ** 2 / max(p - 1, 1)
    return Whitening(center, basis / np.sqrt(variance + RIDGE), basis)
