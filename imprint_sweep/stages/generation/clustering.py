"""Generators that cluster the samples of a class: k-means and k-medoids (section 3.1 of the paper).

Their bits depend on the number of BLAS and OpenMP threads. The caller limits both to one, in the thread that calls:
OpenMP keeps its limit per thread. Duplicated samples make both libraries warn, of fewer clusters or of an empty one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.cluster import KMeans

from imprint_sweep.errors import StageError


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
    fit = KMeans(n_clusters=k, random_state=seed % 2**32).fit(x)
    return Clustering(fit.cluster_centers_, fit.labels_)


def pairwise_distances(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The Euclidean distances that scikit-learn-extra's KMedoids computes for itself: (n, n) float32.

    Args:
        x: (n, d) float32 samples of the class.
    """
    distances: NDArray[np.float32] = metrics.pairwise_distances(x, metric="euclidean")
    return distances


def kmedoids(distances: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Scikit-learn-extra's KMedoids (``alternate``, heuristic initialisation), which is deterministic.

    Args:
        distances: (n, n) float32 from :func:`pairwise_distances`; one matrix serves every k.
        k: medoids wanted, at least 1.

    Returns:
        (min(k, n),) int64 indices of the medoids in the order of their clusters; all samples in order where there are
        no more than k. A medoid whose cluster becomes empty is kept.

    Raises:
        StageError: scikit-learn-extra is missing, or was built against another NumPy.
    """
    n = len(distances)
    if n <= k:
        return np.arange(n, dtype=np.int64)
    try:
        from sklearn_extra.cluster import KMedoids
    except (ImportError, ValueError) as error:
        raise StageError(
            f"gen=kmedoids needs scikit-learn-extra, which does not load ({error}). Build it against this NumPy:\n"
            "pip install cython setuptools && pip install --force-reinstall --no-deps --no-build-isolation "
            "--no-cache-dir --no-binary scikit-learn-extra scikit-learn-extra"
        ) from error
    fit = KMedoids(n_clusters=k, metric="precomputed", method="alternate", init="heuristic").fit(distances)
    return np.asarray(fit.medoid_indices_, dtype=np.int64)
