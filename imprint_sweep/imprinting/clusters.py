"""The clusters of a class: their means, and how many samples these are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Clusters:
    """The clusters of a class that have samples, in ascending order; the class itself where it is one cluster.

    Args:
        means: (clusters, d) float64.
        sizes: (clusters,) int64, samples of each.
    """

    means: NDArray[np.float64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, x: NDArray[np.float32], assignment: NDArray[np.integer] | None = None) -> Clusters:
        """Average samples.

        Args:
            x: (n, d) float32 samples of one class.
            assignment: (n,) integers, the cluster of each sample; None puts them into one.
        """
        assignment = np.zeros(len(x), np.int32) if assignment is None else assignment
        order = np.argsort(assignment, kind="stable")
        _, starts, sizes = np.unique(assignment[order], return_index=True, return_counts=True)
        means = [x[rows].mean(axis=0, dtype=np.float64) for rows in np.split(order, starts[1:])]
        return cls(np.stack(means), sizes)

    def joined(self, more: Clusters) -> Clusters:
        """The clusters with the samples of others, which are as many: to rounding those of all samples together."""
        sizes = self.sizes + more.sizes
        means = (self.means * self.sizes[:, None] + more.means * more.sizes[:, None]) / sizes[:, None]
        return Clusters(means, sizes)


def by_class(solved: NDArray[np.float32], of_classes: Sequence[Clusters]) -> list[NDArray[np.float32]]:
    """What was solved for the clusters of all classes at once, class by class.

    Args:
        solved: a row for each cluster of each class, in task order.
        of_classes: the clusters of each class.
    """
    return np.split(solved, np.cumsum([len(own.means) for own in of_classes])[:-1])
