"""k-means within a class: the paper's own generator, and the clusterings that Algorithm 1 starts from.

Its bits depend on the number of BLAS and OpenMP threads. The caller limits both to one, in the thread that calls:
OpenMP keeps its limit per thread.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import ClassSamples, Gen, Rows, Variant


class KMeans(Gen):
    """The k cluster centres of the samples of the class."""

    name = "kmeans"
    label = "k-means"
    takes_k = True
    seeded = True
    with_one_proxy = "mean"

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The centres, (min(k, n), d)."""
        return clustering(given, variant.k, variant.seed).centers

    def shares(self, variant: Variant) -> Hashable:
        """The clustering of a (k, seed)."""
        return "clustering", variant.k, variant.seed

    def seconds(self, n: int, d: int, k: int, n_labels: int) -> float:
        """As measured; about 100 passes over the samples for 20 clusters."""
        return n * d / 8e6 * (0.15 + 0.02 * k)


@dataclass(frozen=True, eq=False)
class Clustering:
    """Clusters of the samples of one class.

    Args:
        centers: (k, d) float32.
        assignment: (n,) int32 cluster of each sample. With duplicated samples some clusters may be empty.
    """

    centers: NDArray[np.float32]
    assignment: NDArray[np.int32]


def kmeans(x: NDArray[np.float32], k: int, seed: int) -> Clustering:
    """Scikit-learn's KMeans with its defaults (k-means++, one initialisation, Lloyd).

    Where there are no more than k samples, each is a cluster of its own.

    Args:
        x: (n, d) float32 samples of the class.
        k: clusters wanted, at least 1.
        seed: any integer; scikit-learn gets it modulo 2**32.
    """
    if len(x) <= k:
        return Clustering(x, np.arange(len(x), dtype=np.int32))
    from sklearn.cluster import KMeans

    fit = KMeans(n_clusters=k, random_state=seed % 2**32).fit(x)
    return Clustering(fit.cluster_centers_, fit.labels_)


def clustering(given: ClassSamples, k: int, seed: int) -> Clustering:
    """The k-means clustering of a class, shared by all that need it.

    Args:
        given: the samples of the class.
        k: clusters wanted, at least 1.
        seed: any integer.
    """

    def compute() -> dict[str, NDArray[np.float32] | NDArray[np.int32]]:
        fit = given.run("kmeans", lambda: kmeans(given.samples, k, seed))
        return {"centers": fit.centers, "assignment": fit.assignment}

    def stored() -> Clustering:
        arrays = given.stored("kmeans", (k, seed), compute, KMeans.version)
        return Clustering(arrays["centers"], arrays["assignment"])

    return given.once("clustering", (k, seed), stored)


KMEANS = KMeans()
