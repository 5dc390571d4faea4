"""Lloyd's iterations of many k-means fits in lockstep, each as scikit-learn's KMeans makes them.

The centres of all fits are one matrix, so that the first iterations are one float32 product each, at the rate of the
processor. Later most samples are certain of their centre without any (:mod:`.nearest_centers`), and the few pairs that
are not have products of their own. Each fit's sums change, in float64, by its own samples that changed cluster, in
their order. So nothing of a fit depends on the fits beside it, nor on how products were computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.kmeans.nearest_centers import (
    CHUNK,
    down,
    error_factors,
    open_pairs,
    renew_all,
    renew_open,
    up,
)
from imprint_sweep.imprinting.kmeans.squared_distances import aligned, own_distances, squared_lengths

MAX_ITERATIONS = 300  # scikit-learn's default
_BLOCK = 4 * CHUNK  # samples of one product: what it reads stays in the cache for what follows

# One matrix product of everything costs less than the pairs that are open by themselves if they are more than this
# share, unless the product is a thin one. Measured at 6,000 x 1280.
_DENSE = 0.1
_FEW = 32
_SAMPLED = 8  # the share is that of every so manieth chunk of samples


@dataclass(frozen=True, eq=False)
class LloydFit:
    """The end of one fit.

    Args:
        centers: (k, d) float32.
        labels: (n,) int32.
        iterations: as scikit-learn counts them.
        products: inner products of samples and centres that it took; first ones that fits share count for one of them.
    """

    centers: NDArray[np.float32]
    labels: NDArray[np.int32]
    iterations: int
    products: int


def lloyd(
    x: NDArray[np.float32],
    squares: NDArray[np.float64],
    starts: Sequence[NDArray[np.int64]],
    tolerance: float,
    most: int = MAX_ITERATIONS,
) -> list[LloydFit]:
    """Run every fit to its end.

    A sample belongs to the nearest centre, the first of several. A centre is the float64 mean of its samples, rounded
    to float32. A fit ends when no label changes, when the squared shifts of its centres sum to no more than the
    tolerance (then labels are found once more), or after so many iterations (likewise).

    Args:
        x: (n, d) float32 samples of length at most about 1e12, C-contiguous.
        squares: (n,) float64, their squared lengths.
        starts: (k,) int64 of each fit: the samples that are its first centres.
        tolerance: of the squared shifts.
        most: iterations.
    """
    if not starts:
        return []
    batch = _Batch.start(x, squares, starts)
    fits = [_Fit(number, slice(int(first), int(first + k))) for number, (first, k) in enumerate(batch.spans)]
    running = fits
    while running:
        batch.assign(running)
        for fit in running:
            batch.update(fit, tolerance, most)
        running = [fit for fit in running if not fit.done]
    return [
        LloydFit(
            centers=batch.centers[fit.rows].copy(),
            labels=batch.labels[fit.number].copy(),
            iterations=fit.iterations,
            products=int(batch.products[fit.rows].sum()),
        )
        for fit in fits
    ]


@dataclass(eq=False)
class _Fit:
    """Where one fit stands.

    Args:
        number: which.
        rows: of its centres among all.
        iterations: so far.
        last: only labels are still to be found.
        relocated: whether the centres hold samples that were moved to empty clusters.
        done: whether it has ended.
    """

    number: int
    rows: slice
    iterations: int = 0
    last: bool = False
    relocated: bool = False
    done: bool = False


@dataclass(eq=False)
class _Batch:
    """The centres of all fits, one below the other; K in all.

    Args:
        x: (n, d) float32.
        squares, lengths: (n,) float32, squared lengths, and at least the lengths.
        spans: (fits, 2) int64, first row and number of each fit's centres.
        centers: (K, d) float32.
        center_squares, center_lengths: (K,) float32, likewise.
        travelled: (K,) float64, the way that each centre has moved.
        fresh: (K,) bool, whether all lower bounds are those of where the centre is.
        low, high, high_way: bounds, see :func:`~imprint_sweep.imprinting.kmeans.nearest_centers.renew_all`.
        sums: (K, d) float64 of the samples of each cluster.
        counts: (K,) int64 of them.
        labels: (fits, n) int32.
        touched: (K,) bool, whose samples the last assignment changed.
        first: (K,) int64 samples that the centres are; None once they have moved.
        products: (K,) int64 of each centre with samples, so far.
    """

    x: NDArray[np.float32]
    squares: NDArray[np.float32]
    lengths: NDArray[np.float32]
    spans: NDArray[np.int64]
    centers: NDArray[np.float32]
    center_squares: NDArray[np.float32]
    center_lengths: NDArray[np.float32]
    travelled: NDArray[np.float64]
    fresh: NDArray[np.bool_]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    high_way: NDArray[np.float32]
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    labels: NDArray[np.int32]
    touched: NDArray[np.bool_]
    first: NDArray[np.int64] | None
    products: NDArray[np.int64]

    @classmethod
    def start(cls, x: NDArray[np.float32], squares: NDArray[np.float64], starts: Sequence[NDArray[np.int64]]) -> _Batch:
        sizes = np.array([len(ids) for ids in starts])
        ids = np.concatenate(starts)
        total, fits, (n, d) = len(ids), len(starts), x.shape
        centers, sums = aligned((total, d), np.float32), aligned((total, d), np.float64)
        centers[:], sums[:] = x[ids], 0.0
        return cls(
            x=x,
            squares=squares.astype(np.float32),
            lengths=up(np.sqrt(squares)),
            spans=np.stack([np.cumsum(sizes) - sizes, sizes], axis=1),
            centers=centers,
            center_squares=squares[ids].astype(np.float32),
            center_lengths=up(np.sqrt(squares[ids])),
            travelled=np.zeros(total),
            fresh=np.zeros(total, bool),
            low=np.empty((-(-n // CHUNK), total, CHUNK), np.float32),
            high=np.empty((fits, n), np.float32),
            high_way=np.empty((fits, n), np.float32),
            sums=sums,
            counts=np.zeros(total, np.int64),
            labels=np.full((fits, n), -1, np.int32),
            touched=np.zeros(total, bool),
            first=ids,
            products=np.zeros(total, np.int64),
        )

    def assign(self, fits: Sequence[_Fit]) -> None:
        """Find the labels of some fits, and change their sums by the samples that changed cluster."""
        self.touched[:] = False
        dense, sparse = self._split(fits)
        way, before = up(self.travelled), down(self.travelled)
        factors = error_factors(self.x.shape[1])
        bounds = (self.low, way, before, self.high, self.high_way)
        out = (self.labels, self.sums, self.counts, self.touched)
        if sparse:
            renew_open(
                *(self.x, self.squares, self.lengths, self.spans, *_numbers(sparse)),
                *(self.centers, self.center_squares, self.center_lengths, factors, *bounds, *out, self.products),
            )
        if dense:
            rows, place = self._stale(dense)
            moved = self.centers[rows]
            for start in range(0, len(self.x), _BLOCK):
                products = moved @ self.x[start : start + _BLOCK].T
                renew_all(
                    *(self.x, self.squares, self.lengths, start, products, place, self.spans, *_numbers(dense)),
                    *(self.centers, self.center_squares, self.center_lengths, factors, *bounds, *out),
                )
            self.fresh[place >= 0] = True
            self.products[rows] += len(self.x)

    def _split(self, fits: Sequence[_Fit]) -> tuple[list[_Fit], list[_Fit]]:
        """Fits for which one matrix product is the faster way, and the others; results are the same either way."""
        if self.first is not None:
            return list(fits), []
        share = np.empty(len(fits))
        way = up(self.travelled)
        bounds = (self.low, way, self.high, self.high_way)
        open_pairs(self.spans, _numbers(fits)[0], self.labels, *bounds, _SAMPLED, share)
        dense = [fit for fit, open_ in zip(fits, share, strict=True) if open_ > _DENSE]
        if sum(fit.rows.stop - fit.rows.start for fit in dense) < _FEW:
            return [], list(fits)
        return dense, [fit for fit in fits if fit not in dense]

    def _stale(self, fits: Sequence[_Fit]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the centres whose products are needed, and the place of every centre among them, or -1."""
        if self.first is not None:
            # Fits of one chain start from the same samples.
            _, rows, place = np.unique(self.first, return_index=True, return_inverse=True)
            self.first = None
            return rows, place
        place = np.full(len(self.fresh), -1, np.int64)
        rows = np.concatenate([np.arange(fit.rows.start, fit.rows.stop) for fit in fits])
        rows = rows[~self.fresh[rows]]
        place[rows] = np.arange(len(rows))
        return rows, place

    def update(self, fit: _Fit, tolerance: float, most: int) -> None:
        """Move the centres of a fit, and see whether it ends."""
        if fit.last:
            fit.done = True
            return
        rows = fit.rows
        fit.iterations += 1
        changed = bool(self.touched[rows].any())
        if not changed and not fit.relocated:
            # What scikit-learn calls strict convergence: it computes the centres that are there already.
            fit.done = True
            return
        stale = np.flatnonzero(self.touched[rows]) if not fit.relocated else np.arange(rows.stop - rows.start)
        counts = self.counts[rows]
        if counts.all():
            fit.relocated = False
            means = (self.sums[rows][stale] / counts[stale, None]).astype(np.float32)
        else:
            fit.relocated = True
            stale = np.arange(len(counts))
            means = self._relocated(fit)
        old = self.centers[rows][stale]
        differ = (means != old).any(axis=1)
        ids = stale[differ] + rows.start
        shifts = own_distances(old[differ], means[differ], np.arange(len(ids), dtype=np.int32))
        self.centers[ids] = means[differ]
        squares = squared_lengths(means[differ])
        self.center_squares[ids] = squares.astype(np.float32)
        self.center_lengths[ids] = up(np.sqrt(squares))
        self.travelled[ids] += np.sqrt(shifts)
        self.fresh[ids] = False
        if not changed:
            fit.done = True
        elif sum(shifts.tolist()) <= tolerance or fit.iterations == most:
            fit.last = True

    def _relocated(self, fit: _Fit) -> NDArray[np.float32]:
        """Centres of a fit with empty clusters, as scikit-learn makes them.

        The samples farthest from their centres, the first of several, become the empty clusters in turn. A cluster that
        is empty even so is put where the largest is: at its mean, or at its *sum* if that is still to be divided.
        """
        rows = fit.rows
        labels = self.labels[fit.number]
        sums, counts = self.sums[rows].copy(), self.counts[rows].copy()
        empty = np.flatnonzero(counts == 0)
        distances = own_distances(self.x, self.centers[rows], labels)
        if distances.max() > 0.0:
            far = np.argsort(-distances, kind="stable")[: len(empty)]
            for cluster, sample in zip(empty, far, strict=True):
                vector = self.x[sample].astype(np.float64)
                sums[labels[sample]] -= vector
                sums[cluster] = vector
                counts[labels[sample]] -= 1
                counts[cluster] = 1
        largest = int(counts.argmax())
        for number, count in enumerate(counts):
            sums[number] = sums[number] / count if count else sums[largest]
        return sums.astype(np.float32)


def _numbers(fits: Sequence[_Fit]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which fits, and whether their sums follow, as the kernels want it."""
    return np.array([fit.number for fit in fits], np.int64), np.array([not fit.last for fit in fits])
