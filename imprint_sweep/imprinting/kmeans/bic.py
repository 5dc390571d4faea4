"""The Bayesian information criterion of a k-means clustering (Pelleg & Moore 2000, X-means, section 3.2).

A clustering of n samples of d features into k clusters is taken for a mixture of k spherical Gaussians of one variance,
of which each sample belongs to its own. With S the sum of squared distances to the means of the clusters, the variance
of a feature is S / (d (n - k)), and::

    log likelihood = sum_j n_j log(n_j / n) - n d / 2 log(2 pi variance) - d (n - k) / 2
    BIC = log likelihood - (k - 1 + k d + 1) / 2 log n

The paper's own formulas leave out d in the variance and in the last term of the likelihood, as if d were 1 there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.vectors import LANES, squared_distance


def bic(x: NDArray[np.float32], labels: NDArray[np.int32], k: int) -> float:
    """The criterion of one clustering; larger is better.

    It is computed in float64, in the order of the samples, so its bits depend on the arguments alone.

    Args:
        x: (n, d) float32 samples.
        labels: (n,) int32 cluster of each, from 0 to k - 1; clusters may be empty.
        k: clusters, fewer than there are samples.

    Returns:
        The criterion; infinite where all samples are the means of their clusters.
    """
    n, d = len(x), int(x.shape[1])
    sizes: list[int] = np.bincount(labels, minlength=k).tolist()
    squares = float(_within(x, labels, np.zeros((k, d)), np.maximum(sizes, 1).astype(np.float64), np.empty(LANES)))
    if squares == 0.0:
        return math.inf
    mixing: float = math.fsum(size * math.log(size / n) for size in sizes if size)
    variance = squares / (d * (n - k))
    likelihood: float = mixing - n * d / 2.0 * math.log(2.0 * math.pi * variance) - d * (n - k) / 2.0
    return likelihood - (k - 1 + k * d + 1) / 2.0 * math.log(n)


def best_k(x: NDArray[np.float32], clusterings: Sequence[tuple[int, NDArray[np.int32]]]) -> int:
    """The k of the clustering with the largest criterion, the smallest of equal ones.

    Args:
        x: (n, d) float32 samples.
        clusterings: k and the labels as :func:`bic` takes them, in ascending order of k; at least one.
    """
    return max(clusterings, key=lambda one: bic(x, one[1], one[0]))[0]  # the first of equal ones


@compiled()
def _within(x, labels, means, sizes, lanes):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        for feature in range(x.shape[1]):
            means[labels[i], feature] += np.float64(x[i, feature])
    for j in range(means.shape[0]):
        for feature in range(means.shape[1]):
            means[j, feature] /= sizes[j]
    total = 0.0
    for i in range(x.shape[0]):
        total += squared_distance(x[i], means[labels[i]], lanes)
    return total
