"""Farthest-point sampling."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import ClassSamples, Gen, Making, Piece, Rows, Sizes, Variant

LANES = 64
"""Samples whose distances are computed side by side."""


class FarthestPoints(Gen):
    """k samples, each the one farthest from those chosen before; the first is drawn."""

    name = "fps"
    label = "k-fps"
    takes_k = True
    seeded = True
    making = Making.IN_BATCHES

    def together(self, given: ClassSamples, variants: Sequence[Variant]) -> None:
        """The orders of all seeds at once, each as long as the largest k needs; a smaller k takes its beginning."""
        given.once_together(
            "order",
            list(dict.fromkeys((variant.k, variant.seed) for variant in variants)),
            lambda wanted: self._orders(given, wanted),
            counted_as=self.name,
            share=len,
        )

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The samples in the order in which they were chosen; all of them where there are no more than k."""
        key = (variant.k, variant.seed)
        order = given.once("order", key, lambda: given.run(self.name, lambda: self._orders(given, [key])[0]))
        chosen: Rows = given.samples[order]
        return chosen

    def _orders(self, given: ClassSamples, wanted: Sequence[tuple[int, int]]) -> list[NDArray[np.int64]]:
        x = given.samples
        seeds = sorted({seed for _, seed in wanted})
        firsts = [int(given.rng(self.name, seed).integers(len(x))) for seed in seeds]
        orders = dict(zip(seeds, farthest_first(x, max(k for k, _ in wanted), firsts), strict=True))
        return [np.arange(len(x)) if len(x) <= k else orders[seed][:k] for k, seed in wanted]

    def shares(self, variant: Variant) -> Hashable:
        """The order of a seed, with every k."""
        return "orders"

    def stays_with(self, variant: Variant) -> Hashable:
        """All seeds go through the samples together."""
        return "orders"

    def batch_bytes(self, n: int, d: int, variant: Variant) -> int:
        """What a seed adds to a batch: a distance for each sample."""
        return 8 * n

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """A pass over the samples for each proxy but the last, of the longest order of a seed."""
        passes = np.where(of.n > variant.k, of.n * d * (variant.k - 1) / 5.7e9, 0.0)
        return [
            Piece(self.name, ("order", variant.seed), passes, calls=0),
            Piece(self.name, variant, np.zeros_like(passes)),
        ]


def farthest_first(x: Rows, k: int, firsts: Sequence[int]) -> NDArray[np.int64]:
    """Farthest-point sampling: one sample first, then again and again the one farthest from those chosen.

    Distances are Euclidean, in float64, features added up in their order. No sample is chosen twice, also where only
    duplicates of chosen ones are left.

    Args:
        x: (n, d) float32 samples of the class.
        k: samples wanted, at least 1.
        firsts: the first sample of each of the orders; they do not depend on each other.

    Returns:
        (orders, min(k, n)) int64 indices in the order in which they were chosen; ties go to the lowest index.
    """
    n, d = x.shape
    chosen = np.empty((len(firsts), min(k, n)), np.int64)
    chosen[:, 0] = firsts
    # Blocks of LANES samples, feature by feature, so that the sums of a block advance together.
    blocks = np.zeros((-(-n // LANES), LANES, d), np.float32)
    blocks.reshape(-1, d)[:n] = x
    blocks = np.ascontiguousarray(blocks.transpose(0, 2, 1))
    nearest = np.full((len(firsts), len(blocks) * LANES), np.inf)
    for i in range(1, chosen.shape[1]):
        new = chosen[:, i - 1]
        _approach(blocks, x[new].astype(np.float64), nearest)
        nearest[np.arange(len(firsts)), new] = -np.inf
        chosen[:, i] = nearest[:, :n].argmax(axis=1)
    return chosen


@compiled()
def _approach(blocks, centers, nearest):  # type: ignore[no-untyped-def]
    """Lower each sample's squared distance to the nearest chosen sample of each order, now that one more is chosen."""
    n_blocks, d, _ = blocks.shape
    squares = np.empty(LANES)
    for b in range(n_blocks):
        for order in range(len(centers)):
            squares[:] = 0.0
            for j in range(d):
                center = centers[order, j]
                for lane in range(LANES):
                    difference = np.float64(blocks[b, j, lane]) - center
                    squares[lane] += difference * difference
            for lane in range(LANES):
                i = b * LANES + lane
                nearest[order, i] = min(nearest[order, i], squares[lane])


FPS = FarthestPoints()
