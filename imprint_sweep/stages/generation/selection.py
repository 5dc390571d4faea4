"""Generators that choose samples by a rule, and the mean (section 3.1 of the paper).

All but :func:`mean` return indices of samples: of all samples, in order, where there are no more than k of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def all_samples(n_samples: int) -> Indices:
    """Every sample: (n,) int64 indices."""
    return np.arange(n_samples, dtype=np.int64)


def random(n_samples: int, k: int, rng: np.random.Generator) -> Indices:
    """k samples drawn without replacement: the first of one permutation, so a smaller k chooses some of the same.

    Args:
        n_samples: samples of the class.
        k: proxies wanted, at least 1.
        rng: the stream of this draw and of nothing else.

    Returns:
        (min(k, n),) int64 indices in the order in which they were drawn.
    """
    if n_samples <= k:
        return all_samples(n_samples)
    return rng.permutation(n_samples)[:k]


def mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of (n, d) float32 samples, summed in float64: (1, d) float32."""
    center: NDArray[np.float32] = x.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    return center


def cov_max(x: NDArray[np.float32], k: int) -> Indices:
    """The k samples with the largest column sums of the covariance matrix taken over samples as variables.

    With x̄_j the mean of sample j over its features, the column sum of sample j is, but for the factor 1/(d - 1),
    (x_j - x̄_j) · Σ_i (x_i - x̄_i): no n x n matrix is needed.

    Args:
        x: (n, d) float32 samples of the class.
        k: proxies wanted, at least 1.

    Returns:
        (min(k, n),) int64 indices, the largest sum first; ties go to the lowest index.
    """
    if len(x) <= k:
        return all_samples(len(x))
    return np.argsort(-_covariance_sums(np.asarray(x)), kind="stable")[:k]


@njit(nogil=True, cache=True)
def _covariance_sums(x: NDArray[np.float32]) -> NDArray[np.float64]:
    # Loops rather than matrix products: samples that are equal must tie to the last bit, wherever they stand.
    n, d = x.shape
    means = np.zeros(n)
    total = np.zeros(d)
    for i in range(n):
        for j in range(d):
            means[i] += x[i, j]
        means[i] /= d
        for j in range(d):
            total[j] += x[i, j] - means[i]
    sums = np.zeros(n)
    for i in range(n):
        for j in range(d):
            sums[i] += (x[i, j] - means[i]) * total[j]
    return sums


def fps(x: NDArray[np.float32], k: int, rng: np.random.Generator) -> Indices:
    """Farthest-point sampling: a random sample first, then again and again the one farthest from those chosen.

    Distances are Euclidean, in float64. No sample is chosen twice, also where only duplicates of chosen ones are left.

    Args:
        x: (n, d) float32 samples of the class.
        k: proxies wanted, at least 1.
        rng: the stream of this draw and of nothing else.

    Returns:
        (min(k, n),) int64 indices in the order in which they were chosen; ties go to the lowest index.
    """
    if len(x) <= k:
        return all_samples(len(x))
    x = np.asarray(x)
    chosen = np.empty(k, dtype=np.int64)
    chosen[0] = rng.integers(len(x))
    nearest = np.full(len(x), np.inf)
    for i in range(1, k):
        _approach(x, chosen[i - 1], nearest)
        chosen[i] = nearest.argmax()
    return chosen


@njit(nogil=True, cache=True)
def _approach(x: NDArray[np.float32], new: int, nearest: NDArray[np.float64]) -> None:
    """Lower each sample's squared distance to its nearest chosen sample, now that `new` is one."""
    n, d = x.shape
    for i in range(n):
        squares = 0.0
        for j in range(d):
            difference = np.float64(x[i, j]) - np.float64(x[new, j])
            squares += difference * difference
        nearest[i] = min(nearest[i], squares)
    nearest[new] = -np.inf
