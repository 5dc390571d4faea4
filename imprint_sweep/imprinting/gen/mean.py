"""The class mean (Qi et al. 2018; Janson et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imprint_sweep.imprinting.components import ClassSamples, Gen, Piece, Rows, Sizes, Variant


class Mean(Gen):
    """The mean of the samples of the class: one proxy."""

    name = "mean"
    cheap = True

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The mean, (1, d)."""
        return given.run(self.name, lambda: mean(given.samples))

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
