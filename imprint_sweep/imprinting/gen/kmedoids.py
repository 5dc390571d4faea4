"""k-medoids within a class."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.components import ClassSamples, Gen, Keep, Making, Piece, Rows, Sizes, Variant

MAX_ITERATIONS = 300
_ROWS = 64
"""Rows of distances that are gathered at a time, within the processor's cache."""


class KMedoids(Gen):
    """The k medoids of the samples of the class."""

    name = "kmedoids"
    label = "k-medoids"
    takes_k = True
    making = Making.IN_ONE_JOB

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The medoids in the order of their clusters; all samples in order where there are no more than k."""
        x = given.samples
        n = len(x)
        # The distances, and half as much: what scikit-learn makes them from, then those of a part of a cluster.
        given.reserve(6 * n**2, f"the distances between the {n:,} samples", instead="draw fewer samples with n_shot")

        def compute() -> dict[str, NDArray[np.int64]]:
            distances = given.once("distances", None, lambda: pairwise_distances(x), Keep.JOB)
            totals = given.once("totals", None, lambda: distances.sum(axis=1), Keep.JOB)
            return {"medoids": given.run(self.name, lambda: kmedoids(distances, totals, variant.k))}

        medoids = given.stored(self.name, (variant.k,), compute, self.version)["medoids"]
        chosen: Rows = x[medoids]
        return chosen

    def shares(self, variant: Variant) -> Hashable:
        """One matrix of distances for every k."""
        return "distances"

    def stays_with(self, variant: Variant) -> Hashable:
        """One matrix of distances for every k."""
        return "distances"

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """The matrix of distances, and alternation over it."""
        return [
            Piece("distances", None, of.n**2 * (2 * d + 200) / 60e9),
            Piece(self.name, variant, np.where(of.n > variant.k, of.n**2 * 2e-9, 0.0)),
        ]


def pairwise_distances(x: Rows) -> NDArray[np.float32]:
    """The Euclidean distances that scikit-learn-extra's KMedoids computes for itself: (n, n) float32.

    Across the diagonal they may differ by one rounding, so sums over rows are not quite those over columns.

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


def kmedoids(distances: NDArray[np.float32], totals: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Alternating k-medoids from the k samples nearest to all others; deterministic, as scikit-learn-extra defines it.

    In turn every sample joins its nearest medoid, and every cluster takes the member with the least sum of distances to
    the others for its medoid, if that is less than the present one's. Only clusters that changed are looked at again.
    Sums are NumPy's, in float32, like those of scikit-learn-extra's KMedoids (``alternate``, ``heuristic``), the oracle
    of the tests, which looks at all clusters every time.

    Args:
        distances: (n, n) float32 from :func:`pairwise_distances`; one matrix serves every k.
        totals: (n,) float32, its sums over each row.
        k: medoids wanted, at least 1.

    Returns:
        (min(k, n),) int64 indices of the medoids in the order of their clusters; all samples in order where there are
        no more than k. A medoid whose cluster becomes empty is kept.
    """
    n = len(distances)
    if n <= k:
        return np.arange(n, dtype=np.int64)
    medoids = np.argpartition(totals, k - 1)[:k].astype(np.int64)
    clusters: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * k
    for _ in range(MAX_ITERATIONS):
        nearest = distances[medoids].argmin(axis=0)
        before = medoids.copy()
        for cluster in range(k):
            members = np.flatnonzero(nearest == cluster)
            if not len(members) or np.array_equal(members, clusters[cluster]):
                continue
            clusters[cluster] = members
            costs = _costs(distances, members)
            best = costs.argmin()
            # The medoid itself may be a member of another cluster, where duplicates of it are; then the first stands.
            if costs[best] < costs[(members == before[cluster]).argmax()]:
                medoids[cluster] = members[best]
        if np.array_equal(medoids, before):
            break
    return medoids


def _costs(distances: NDArray[np.float32], members: NDArray[np.int64]) -> NDArray[np.float32]:
    """The sum of the distances of all members to each, added in their order: (m,) float32."""
    m, part = len(members), -(-len(distances) // 2)
    costs, room = np.empty(m, np.float32), np.empty((min(m, part), m), np.float32)
    for first in range(0, m, part):
        targets = members[first : first + part]
        to_each = room[: len(targets)]
        for start in range(0, m, _ROWS):
            some = slice(start, start + _ROWS)
            to_each[:, some] = distances[members[some]][:, targets].T  # rows are gathered faster than columns
        costs[first : first + part] = to_each.sum(axis=1)
    return costs


KMEDOIDS = KMedoids()
