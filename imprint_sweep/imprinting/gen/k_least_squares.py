"""Least squares in which every cluster of a class counts as a class of its own (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.clusters import Clusters
from imprint_sweep.imprinting.components import ClassSamples, Making, Piece, Sizes, Variant
from imprint_sweep.imprinting.gen import kmeans
from imprint_sweep.imprinting.gen.least_squares import LeastSquares, clusters, moments


class KLeastSquares(LeastSquares):
    """k weight vectors per class: k-means inside each class, then one solution over all clusters of all classes.

    Clusters count alike, whatever their sizes.
    """

    name = "k_least_squares"
    version = 2
    label = "k-least-squares"
    takes_k = True
    seeded = True
    with_one_proxy = "least_squares"
    making = Making.IN_BATCHES

    def together(self, given: ClassSamples, variants: Sequence[Variant]) -> None:
        """All clusterings of the class at once."""
        kmeans.fit_together(given, variants)

    def clusters(self, given: ClassSamples, variant: Variant) -> Clusters:
        """What weight vectors are made from: the clusters that have samples."""
        return clusters(given, variant.k, variant.seed)

    def joined(self, own: Clusters, more: Clusters, variant: Variant) -> Clusters:
        """Not defined: clusters are those of all samples at once."""
        raise StageError(f"gen={self.name}: the clusters of a class are found in all of its samples at once")

    def shares(self, variant: Variant) -> Hashable:
        """The clusterings of every (k, seed), with k-means."""
        return kmeans.KMEANS.shares(variant)

    def batch_bytes(self, n: int, d: int, variant: Variant) -> int:
        """That of k-means, and the means of the clusters."""
        return kmeans.KMEANS.batch_bytes(n, d, variant) + 8 * variant.k * d

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """That of k-means, and of least squares with means of its own."""
        means = Piece("class_means", (variant.k, variant.seed), of.n * d / 8e8)
        return [*kmeans.KMEANS.work(of, d, variant), *moments(of, d), means]


K_LEAST_SQUARES = KLeastSquares()
