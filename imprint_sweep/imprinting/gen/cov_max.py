"""The samples with the largest covariance sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import ClassSamples, Gen, Rows, Variant


class CovMax(Gen):
    """The k samples with the largest column sums of the covariance matrix over samples."""

    name = "cov_max"
    label = "k-cov-max"
    takes_k = True

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The samples, the largest sum first; all of them where there are no more than k."""
        x = given.samples
        return given.run(self.name, lambda: x[cov_max(x, variant.k)])


def cov_max(x: Rows, k: int) -> NDArray[np.int64]:
    """The k samples with the largest column sums of the covariance matrix taken over samples as variables.

    With x̄_j the mean of sample j over its features, the column sum of sample j is, but for the factor 1/(d - 1),
    (x_j - x̄_j) · Σ_i (x_i - x̄_i): no n x n matrix is needed.

    Args:
        x: (n, d) float32 samples of the class.
        k: proxies wanted, at least 1.

    Returns:
        (min(k, n),) int64 indices, the largest sum first; ties go to the lowest index. All samples in order where
        there are no more than k.
    """
    if len(x) <= k:
        return np.arange(len(x), dtype=np.int64)
    return np.argsort(-_covariance_sums(np.asarray(x)), kind="stable")[:k]


@compiled()
def _covariance_sums(x):  # type: ignore[no-untyped-def]
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


COV_MAX = CovMax()
