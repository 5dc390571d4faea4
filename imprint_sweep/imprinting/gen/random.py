"""Samples drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import ClassSamples, Gen, Piece, Rows, Sizes, Variant


class Random(Gen):
    """k samples drawn without replacement."""

    name = "random"
    label = "k-random"
    takes_k = True
    seeded = True
    chooses_blindly = True
    cheap = True

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The samples in the order in which they were drawn; all of them where there are no more than k."""
        x = given.samples
        rng = given.rng(self.name, variant.seed)
        return given.run(self.name, lambda: x[draw(len(x), variant.k, rng)])

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """A permutation, and a copy of the chosen."""
        return [Piece(self.name, variant, of.n * 2e-8 + variant.k * d / 5e8)]


def draw(n_samples: int, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """k samples drawn without replacement: the first of one permutation, so a smaller k chooses some of the same.

    Args:
        n_samples: samples of the class.
        k: proxies wanted, at least 1.
        rng: the stream of this draw and of nothing else.

    Returns:
        (min(k, n),) int64 indices in the order in which they were drawn; all in order where there are no more than k.
    """
    if n_samples <= k:
        return np.arange(n_samples, dtype=np.int64)
    return rng.permutation(n_samples)[:k]


RANDOM = Random()
