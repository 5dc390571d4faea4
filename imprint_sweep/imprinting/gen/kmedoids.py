"""k-medoids within a class."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.components import ClassSamples, Gen, Keep, Making, Rows, Variant


class KMedoids(Gen):
    """The k medoids of the samples of the class."""

    name = "kmedoids"
    label = "k-medoids"
    takes_k = True
    making = Making.IN_ONE_JOB

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The medoids in the order of their clusters; all samples in order where there are no more than k."""
        x = given.samples
        given.reserve(4 * len(x) ** 2, f"the distances between the {len(x):,} samples")

        def compute() -> dict[str, NDArray[np.int64]]:
            distances = given.once("distances", None, lambda: pairwise_distances(x), Keep.JOB)
            return {"medoids": given.run(self.name, lambda: kmedoids(distances, variant.k))}

        medoids = given.stored(self.name, (variant.k,), compute, self.version)["medoids"]
        chosen: Rows = x[medoids]
        return chosen

    def shares(self, variant: Variant) -> Hashable:
        """One matrix of distances for every k."""
        return "distances"

    def stays_with(self, variant: Variant) -> Hashable:
        """One matrix of distances for every k."""
        return "distances"

    def seconds(self, n: int, d: int, k: int, n_labels: int) -> float:
        """The matrix of distances of every class."""
        return n * d * (n / n_labels) * 2 / 80e9


def pairwise_distances(x: Rows) -> NDArray[np.float32]:
    """The Euclidean distances that scikit-learn-extra's KMedoids computes for itself: (n, n) float32.

    Args:
        x: (n, d) float32 samples of the class.

    Raises:
        StageError: samples so large that float32 cannot hold their squared lengths.
    """
    from sklearn import metrics

    largest = float(np.abs(x).max())
    if largest**2 * x.shape[1] > float(np.finfo(np.float32).max):
        raise StageError(
            f"gen=kmedoids computes in float32, which cannot hold the squared length of samples with values up to "
            f"{largest:.1e}; use norm.pre=l2"
        )
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


KMEDOIDS = KMedoids()
