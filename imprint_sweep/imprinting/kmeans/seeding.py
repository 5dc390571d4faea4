"""Greedy k-means++ (Arthur & Vassilvitskii 2007) with the draws of scikit-learn, for many fits at once.

For one seed and one number of trials the centres of a smaller k are the first of a larger one's, so fits share a
*chain*. All chains take a step together: their candidates are one matrix product. The product only narrows a distance
down; where that leaves open what it rounds to, it is summed in the fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.kmeans.squared_distances import ROUNDING, rounding_bound
from imprint_sweep.imprinting.vectors import LANES, squared_distance


def trials(k: int) -> int:
    """Candidates that scikit-learn draws for each centre but the first."""
    return 2 + int(np.log(k))


def plus_plus(
    x: NDArray[np.float32], squares: NDArray[np.float64], fits: Sequence[tuple[int, int]]
) -> list[NDArray[np.int64]]:
    """The samples that become the first centres of each fit.

    The distances that decide are float64 sums in a fixed order, rounded to float32. As in scikit-learn, a candidate is
    drawn from their sequential float32 cumulative sum; the potential is a float64 sum in the order of the samples,
    rounded once (scikit-learn's BLAS rounds it as it likes).

    Args:
        x: (n, d) float32 samples with squares that float32 holds, C-contiguous.
        squares: (n,) float64, their squared lengths.
        fits: k from 1 to n, and a seed from 0 to 2**32 - 1, of each.

    Returns:
        (k,) int64 row numbers for each fit. Samples that are equal may be chosen more than once, if there are fewer
        than k distinct ones.
    """
    longest: dict[tuple[int, int], int] = {}
    for k, seed in fits:
        key = (seed, trials(k))
        longest[key] = max(k, longest.get(key, 0))
    chains = {key: _Chain.start(len(x), k, *key) for key, k in longest.items()}
    distances = _Distances(x, x.astype(np.float64), squares)
    first = distances.to(np.array([chain.chosen[0] for chain in chains.values()]))
    for chain, row in zip(chains.values(), first, strict=True):
        chain.accept(0, row[None])
    step = 1
    while growing := [chain for chain in chains.values() if len(chain.chosen) > step]:
        candidates = [chain.draw() for chain in growing]
        rows = distances.to(np.concatenate(candidates))
        start = 0
        for chain, drawn in zip(growing, candidates, strict=True):
            chain.chosen[step] = drawn[chain.accept(start, rows)]
            start += len(drawn)
        step += 1
    return [chains[seed, trials(k)].chosen[:k] for k, seed in fits]


@dataclass(eq=False)
class _Chain:
    """k-means++ under way for one seed and one number of trials.

    Args:
        random: what scikit-learn's KMeans draws from.
        n_trials: candidates a step.
        chosen: (k,) int64 row numbers, as far as they are known.
        closest: (n,) float32 squared distance of each sample to the nearest centre.
        potential: their sum, rounded to float32.
    """

    random: np.random.RandomState
    n_trials: int
    chosen: NDArray[np.int64]
    closest: NDArray[np.float32]
    potential: float

    @classmethod
    def start(cls, n: int, k: int, seed: int, n_trials: int) -> _Chain:
        random = np.random.RandomState(seed)
        weights = np.ones(n, np.float32)
        chosen = np.full(k, random.choice(n, p=weights / weights.sum()), np.int64)
        return cls(random, n_trials, chosen, np.full(n, np.inf, np.float32), 0.0)

    def draw(self) -> NDArray[np.int64]:
        """Candidates for the next centre, (n_trials,)."""
        values = self.random.uniform(size=self.n_trials) * self.potential
        drawn = np.searchsorted(np.cumsum(self.closest), values)
        return np.minimum(drawn, len(self.closest) - 1)  # rounding may put a value beyond the last sum

    def accept(self, start: int, rows: NDArray[np.float32]) -> int:
        """Take the candidate that leaves the least potential, the first of several.

        Args:
            start: row of the first candidate; the first centre is the only candidate.
            rows: (m, n) float32 distances of candidates to all samples.

        Returns:
            Which.
        """
        mine = rows[start : start + self.n_trials]
        potentials = np.empty(len(mine))
        _potentials(self.closest, mine, potentials)
        rounded = potentials.astype(np.float32)
        best = int(rounded.argmin())
        np.minimum(self.closest, mine[best], out=self.closest)
        self.potential = float(rounded[best])
        return best


@dataclass(eq=False)
class _Distances:
    """Squared distances of samples to all samples.

    Args:
        x: (n, d) float32.
        exact: the same in float64.
        squares: (n,) float64 squared lengths.
    """

    x: NDArray[np.float32]
    exact: NDArray[np.float64]
    squares: NDArray[np.float64]

    def to(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Distances of the samples `ids`, (m, n) float32; chains that draw the same sample share its row."""
        unique, place = np.unique(ids, return_inverse=True)
        products = self.exact[unique] @ self.exact.T
        out = np.empty(products.shape, np.float32)
        d = self.x.shape[1]
        # Of the product (at most d roundings), of both squares and of the sum in the fixed order; doubled.
        bound = 2.0 * (2 * d + 8) * ROUNDING + 2.0 * rounding_bound(d)
        _distances(self.x, self.squares, unique, products, bound, out)
        return out[place]


@compiled()
def _distances(x, squares, ids, products, bound, out):  # type: ignore[no-untyped-def]
    n = x.shape[0]
    lanes = np.empty(LANES)
    for c in range(ids.shape[0]):
        a = ids[c]
        row, into, square = products[c], out[c], squares[a]
        open_ = 0
        for i in range(n):
            # (|a| + |b|)^2 is at most 2 (|a|^2 + |b|^2).
            both = square + squares[i]
            value = both - 2.0 * row[i]
            error = bound * both
            low = np.float32(value - error)
            into[i] = low
            # A distance is no number until it is known, so that a second walk finds what is open.
            if low != np.float32(value + error):
                into[i] = np.nan
                open_ += 1
        if open_:
            for i in range(n):
                if np.isnan(into[i]):
                    into[i] = np.float32(squared_distance(x[a], x[i], lanes))


@compiled()
def _potentials(closest, rows, out):  # type: ignore[no-untyped-def]
    for c in range(rows.shape[0]):
        row = rows[c]
        total = 0.0
        for i in range(closest.shape[0]):
            total += np.float64(min(closest[i], row[i]))
        out[c] = total
