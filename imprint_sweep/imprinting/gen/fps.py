"""Farthest-point sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import ClassSamples, Gen, Rows, Variant


class FarthestPoints(Gen):
    """k samples, each the one farthest from those chosen before; the first is drawn."""

    name = "fps"
    label = "k-fps"
    takes_k = True
    seeded = True

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The samples in the order in which they were chosen; all of them where there are no more than k."""
        x = given.samples
        rng = given.rng(self.name, variant.seed)
        return given.run(self.name, lambda: x[fps(x, variant.k, rng)])

    def seconds(self, n: int, d: int, k: int, n_labels: int) -> float:
        """A pass over the samples for each proxy."""
        return n * d * k / 1e9


def fps(x: Rows, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Farthest-point sampling: a random sample first, then again and again the one farthest from those chosen.

    Distances are Euclidean, in float64. No sample is chosen twice, also where only duplicates of chosen ones are left.

    Args:
        x: (n, d) float32 samples of the class.
        k: proxies wanted, at least 1.
        rng: the stream of this draw and of nothing else.

    Returns:
        (min(k, n),) int64 indices in the order in which they were chosen; ties go to the lowest index. All samples in
        order where there are no more than k.
    """
    if len(x) <= k:
        return np.arange(len(x), dtype=np.int64)
    x = np.asarray(x)
    chosen = np.empty(k, dtype=np.int64)
    chosen[0] = rng.integers(len(x))
    nearest = np.full(len(x), np.inf)
    for i in range(1, k):
        _approach(x, chosen[i - 1], nearest)
        chosen[i] = nearest.argmax()
    return chosen


@compiled()
def _approach(x, new, nearest):  # type: ignore[no-untyped-def]
    """Lower each sample's squared distance to its nearest chosen sample, now that `new` is one."""
    n, d = x.shape
    for i in range(n):
        squares = 0.0
        for j in range(d):
            difference = np.float64(x[i, j]) - np.float64(x[new, j])
            squares += difference * difference
        nearest[i] = min(nearest[i], squares)
    nearest[new] = -np.inf


FPS = FarthestPoints()
