"""k-means of many numbers of clusters and seeds on the same samples at once (section 3.1 of the paper).

Each fit is scikit-learn's ``KMeans(n_clusters=k, random_state=seed)`` with its defaults: one greedy k-means++
initialisation, Lloyd's iterations. What it decides is decided in float64 in a fixed order, or as scikit-learn rounds
it where it draws. So a fit depends on its samples, k and seed, and on nothing else: not on the fits beside it, threads,
BLAS, vector width or machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.kmeans.lloyd import lloyd
from imprint_sweep.imprinting.kmeans.seeding import plus_plus
from imprint_sweep.imprinting.kmeans.squared_distances import aligned, squared_lengths

TOLERANCE = 1e-4  # scikit-learn's default, of the mean variance


@dataclass(frozen=True, eq=False)
class KMeansFit:
    """One fit.

    Args:
        centers: (min(k, n), d) float32.
        assignment: (n,) int32 cluster of each sample. With duplicated samples some clusters may be empty.
        iterations: as scikit-learn counts them; 0 where each sample is a cluster of its own.
        products: inner products of samples and centres that Lloyd's iterations took, which says what the fit cost
            beside those of its batch.
    """

    centers: NDArray[np.float32]
    assignment: NDArray[np.int32]
    iterations: int
    products: int


def batch_kmeans(x: NDArray[np.float32], fits: Sequence[tuple[int, int]]) -> list[KMeansFit]:
    """Fit k-means for every (k, seed).

    Where there are no more than k samples, each is a cluster of its own. The caller limits BLAS to one thread, in the
    thread that calls; that is for speed alone. Memory is about 12 n d bytes, and sum(k) (4 n + 20 d) bytes.

    Args:
        x: (n, d) float32 samples of one class, finite; at least one sample and one feature.
        fits: k, at least 1, and any integer as the seed (taken modulo 2**32), of each.

    Returns:
        The fits, in order.
    """
    wanted = [(k, seed % 2**32) for k, seed in fits]
    distinct = list(dict.fromkeys(fit for fit in wanted if fit[0] < len(x)))
    found = dict(zip(distinct, _fits(x, distinct), strict=True)) if distinct else {}
    whole = KMeansFit(x, np.arange(len(x), dtype=np.int32), 0, 0)
    return [found.get(fit, whole) for fit in wanted]


def _fits(x: NDArray[np.float32], fits: Sequence[tuple[int, int]]) -> list[KMeansFit]:
    exponent = _exponent(x)
    scaled = np.ascontiguousarray(x)
    if exponent:
        scaled = np.ldexp(scaled, -exponent)
    mean = scaled.mean(axis=0)  # NumPy adds rows one after another, element by element
    tolerance = float(np.mean(np.var(scaled, axis=0)) * TOLERANCE)
    centred = np.subtract(scaled, mean, out=aligned(x.shape, np.float32))
    squares = squared_lengths(centred)
    ends = lloyd(centred, squares, plus_plus(centred, squares, fits), tolerance)
    return [KMeansFit(np.ldexp(end.centers + mean, exponent), end.labels, end.iterations, end.products) for end in ends]


def _exponent(x: NDArray[np.float32]) -> int:
    """A power of two that samples are divided by, so that float32 holds their squares; 0 where it does anyway.

    The division is exact, and k-means does not depend on the scale.
    """
    largest = max(float(x.max()), -float(x.min()))
    exponent = int(np.frexp(largest)[1])
    return exponent if abs(exponent) > 20 else 0
