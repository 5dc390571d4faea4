"""The class mean (Qi et al. 2018; Janson et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.clusters import Clusters
from imprint_sweep.imprinting.components import Additive, ClassSamples, Gen, Piece, Rows, Share, Sizes, Variant


class Mean(Additive, Gen):
    """The mean of the samples of the class: one proxy."""

    name = "mean"
    cheap = True

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The mean, (1, d)."""
        return given.run(self.name, lambda: mean(given.samples))

    def share(self, given: ClassSamples, variant: Variant) -> Share:
        """The mean in float64, and how many samples it is of."""
        return Share(np.zeros(0), Clusters.of(given.samples))

    def from_sums(self, total: NDArray[np.float64], own: Sequence[Clusters], variant: Variant) -> list[Rows]:
        """The mean of each class, (1, d)."""
        return [of.means.astype(np.float32) for of in own]

    def joined(self, own: Clusters, more: Clusters, variant: Variant) -> Clusters:
        """The mean of all samples of the class."""
        return own.joined(more)

    def keeps_whole(self, k: int | None) -> int:
        """One sample is its own mean."""
        return 1

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """One pass over the samples."""
        return [Piece(self.name, variant, of.n * d / 1.6e9)]


def mean(x: Rows) -> Rows:
    """The mean of (n, d) float32 samples, summed in float64: (1, d) float32."""
    center: Rows = x.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    return center


MEAN = Mean()
