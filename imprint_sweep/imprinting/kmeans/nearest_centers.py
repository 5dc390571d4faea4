"""The nearest centre of each sample, exactly, while centres move: bounds rule out, float64 decides.

Every pair of a sample and a centre has a lower bound of its distance, every sample an upper bound of the distance to
its own centre (Elkan 2003, "Using the triangle inequality to accelerate k-means"). A bound comes from a float32
product, with the most that the product may be off by, or from the distance itself; when a centre moves, it gives way by
as much. A pair's bound is stored as bound + the way that the centre had travelled by then, so that only the way changes
when the centre moves. Samples whose own centre is not certain have their bounds renewed, and where those
leave more than one centre, the least of their squared distances in the fixed order decides, the first of several. So
the answer does not depend on which bounds were renewed when, nor on how products were computed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.kmeans.squared_distances import rounding_bound
from imprint_sweep.imprinting.vectors import LANES, squared_distance

CHUNK = 128
"""Samples whose bounds lie together: one row of them for each centre."""

# Bounds are float32, and computed in it: widened by more than a few roundings, 2^-24 each.
_UP = np.float32(1.0 + 2.0**-20)
_DOWN = np.float32(1.0 - 2.0**-20)
_ONE_UP = 1.0 + 2.0**-22
_ONE_DOWN = 1.0 - 2.0**-22


def error_factors(d: int) -> NDArray[np.float32]:
    """Factors (a, b, e): a squared distance from a float32 product is off by at most a |x| |c| + b (|x|^2 + |c|^2) + e.

    The product of d features is off by d units of 2^-24 of |x| |c|, whatever the order of summation; squares, sum and
    difference are rounded a few times; the squared distances that decide are rounded as well; and products may be too
    small for float32.
    """
    unit = 2.0**-24
    product = (d + 12) * unit / (1.0 - (d + 12) * unit)
    return np.array([2.0 * product, 16.0 * unit + 4.0 * rounding_bound(d), d * 2.0**-120]).astype(np.float32)


def up(value: NDArray[np.float64]) -> NDArray[np.float32]:
    """At least so much, float32."""
    return (value * _ONE_UP).astype(np.float32)


def down(value: NDArray[np.float64]) -> NDArray[np.float32]:
    """At most so much, float32."""
    return (value * _ONE_DOWN).astype(np.float32)


@compiled(fastmath={"reassoc", "contract", "nsz"})
def _product(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@compiled()
def _nearest_of(x, centers, first, low, i, way, ceiling, before, lanes):  # type: ignore[no-untyped-def]
    """The nearest of the centres whose bound is at most a ceiling, and a ceiling of its distance."""
    k = low.shape[0]
    count = 0
    nearest = 0
    for j in range(k):
        if low[j, i] - way[first + j] <= ceiling:
            count += 1
            nearest = j
    if count == 1:
        return nearest, ceiling
    least = np.inf
    for j in range(k):
        row = first + j
        if low[j, i] - way[row] <= ceiling:
            distance = squared_distance(x, centers[row], lanes)
            low[j, i] = (np.float32(np.sqrt(distance)) + before[row]) * _DOWN
            if distance < least:
                least = distance
                nearest = j
    return nearest, np.float32(np.sqrt(least)) * _UP


@compiled()
def _move(vector, fit, sample, nearest, first, learn, labels, sums, counts, touched):  # type: ignore[no-untyped-def]
    """Give a sample to another cluster, and its features to that cluster's sum if the sums follow."""
    old = labels[fit, sample]
    labels[fit, sample] = nearest
    if old >= 0:
        touched[first + old] = True
        if learn:
            counts[first + old] -= 1
            total = sums[first + old]
            for c in range(vector.shape[0]):
                total[c] -= np.float64(vector[c])
            if counts[first + old] == 0:
                total[:] = 0.0  # nothing that rounding left
    touched[first + nearest] = True
    if learn:
        counts[first + nearest] += 1
        total = sums[first + nearest]
        for c in range(vector.shape[0]):
            total[c] += np.float64(vector[c])


@compiled()
def open_pairs(spans, fits, labels, low, way, high, high_way, every, out):  # type: ignore[no-untyped-def]
    """The share of pairs whose bounds are to be renewed, of some fits: (m,) float64, by every so manieth chunk."""
    n = labels.shape[1]
    for f in range(fits.shape[0]):
        fit = fits[f]
        first, k = spans[fit]
        total = 0
        seen = 0
        for chunk in range(0, low.shape[0], every):
            begin = chunk * CHUNK
            m = min(CHUNK, n - begin)
            own = labels[fit, begin : begin + m]
            ceiling = np.empty(m, np.float32)
            for i in range(m):
                at = first + own[i]
                ceiling[i] = (high[fit, begin + i] + (way[at] - high_way[fit, begin + i])) * _UP
            for j in range(k):
                bounds = low[chunk, first + j]
                gone = way[first + j]
                open_ = 0
                for i in range(m):
                    open_ += (bounds[i] - gone <= ceiling[i]) & (own[i] != j)
                total += open_
            seen += m
        out[f] = total / (seen * k)


@compiled()
def renew_all(  # type: ignore[no-untyped-def]
    x,
    squares,
    lengths,
    start,
    products,
    place,
    spans,
    fits,
    learn,
    centers,
    center_squares,
    center_lengths,
    factors,
    low,
    way,
    before,
    high,
    high_way,
    labels,
    sums,
    counts,
    touched,
):
    """Find the nearest centres of a block of samples when the products of the centres that moved are known.

    Args:
        x: (n, d) float32.
        squares, lengths: (n,) float32, squared lengths, and at least the lengths.
        start: first sample of the block, a multiple of CHUNK.
        products: (m, b) float32 of some centres with the samples of the block.
        place: (K,) int64 row of each centre in `products`, -1 for those whose bounds are those of where they are.
        spans: (fits, 2) int64, first row and number of each fit's centres.
        fits: (f,) int64, those that are wanted.
        learn: (f,) bool, whether their sums follow.
        centers: (K, d) float32.
        center_squares, center_lengths: (K,) float32, likewise.
        factors: of :func:`error_factors`.
        low: (chunks, K, CHUNK) float32, lower bounds as they are stored.
        way, before: (K,) float32, at least and at most the way of each centre.
        high: (fits, n) float32, upper bounds when they were computed.
        high_way: (fits, n) float32, at most the way of the own centre by then.
        labels: (fits, n) int32; -1 before the first time.
        sums: (K, d) float64 of the samples of each cluster.
        counts: (K,) int64 of them.
        touched: (K,) bool, set for clusters that change.
    """
    stop = start + products.shape[1]
    ceiling = np.empty(CHUNK, np.float32)
    lanes = np.empty(LANES)
    for begin in range(start, stop, CHUNK):
        m = min(CHUNK, stop - begin)
        x_squares, x_lengths = squares[begin : begin + m], lengths[begin : begin + m]
        for f in range(fits.shape[0]):
            fit = fits[f]
            first, k = spans[fit]
            bounds = low[begin // CHUNK, first : first + k]
            own = labels[fit, begin : begin + m]
            for i in range(m):
                ceiling[i] = np.inf
                if own[i] >= 0 and place[first + own[i]] < 0:
                    at = first + own[i]
                    ceiling[i] = (high[fit, begin + i] + (way[at] - high_way[fit, begin + i])) * _UP
            for j in range(k):
                row = first + j
                if place[row] < 0:
                    continue
                line = products[place[row], begin - start : begin - start + m]
                renewed = bounds[j]
                square = center_squares[row]
                slope = factors[0] * center_lengths[row]
                gone = before[row]
                for i in range(m):
                    both = x_squares[i] + square
                    value = both - np.float32(2) * line[i]
                    error = slope * x_lengths[i] + factors[1] * both + factors[2]
                    least = np.sqrt(max(value - error, np.float32(0)))
                    renewed[i] = (least + gone) * _DOWN
                    ceiling[i] = min(ceiling[i], np.sqrt(max(value + error, np.float32(0))) * _UP)
            for i in range(m):
                sample = begin + i
                nearest, most = _nearest_of(x[sample], centers, first, bounds, i, way, ceiling[i], before, lanes)
                high[fit, sample] = most
                high_way[fit, sample] = before[first + nearest]
                if nearest != own[i]:
                    _move(x[sample], fit, sample, nearest, first, learn[f], labels, sums, counts, touched)


@compiled()
def renew_open(  # type: ignore[no-untyped-def]
    x,
    squares,
    lengths,
    spans,
    fits,
    learn,
    centers,
    center_squares,
    center_lengths,
    factors,
    low,
    way,
    before,
    high,
    high_way,
    labels,
    sums,
    counts,
    touched,
    computed,
):
    """Find the nearest centres of all samples, renewing only those bounds that leave them open.

    Args: as in :func:`renew_all`, and
        computed: (K,) int64, counts products.
    """
    n = x.shape[0]
    others = np.empty(CHUNK, np.float32)
    lanes = np.empty(LANES)
    for begin in range(0, n, CHUNK):
        m = min(CHUNK, n - begin)
        for f in range(fits.shape[0]):
            fit = fits[f]
            first, k = spans[fit]
            bounds = low[begin // CHUNK, first : first + k]
            own = labels[fit, begin : begin + m]
            others[:] = np.inf
            for j in range(k):
                line = bounds[j]
                gone = way[first + j]
                for i in range(m):
                    bound = np.float32(np.inf) if own[i] == j else line[i] - gone
                    others[i] = min(others[i], bound)
            for i in range(m):
                sample = begin + i
                at = first + own[i]
                ceiling = (high[fit, sample] + (way[at] - high_way[fit, sample])) * _UP
                if others[i] > ceiling:
                    continue
                ceiling = np.float32(np.inf)
                for step in range(-1, k):
                    # The own centre first: often it is enough.
                    j = own[i] if step < 0 else step
                    if step == own[i]:
                        continue
                    row = first + j
                    if step >= 0 and bounds[j, i] - way[row] > ceiling:
                        continue
                    both = squares[sample] + center_squares[row]
                    value = both - np.float32(2) * _product(x[sample], centers[row])
                    error = factors[0] * center_lengths[row] * lengths[sample] + factors[1] * both + factors[2]
                    least = np.sqrt(max(value - error, np.float32(0)))
                    bounds[j, i] = (least + before[row]) * _DOWN
                    ceiling = min(ceiling, np.sqrt(max(value + error, np.float32(0))) * _UP)
                    computed[row] += 1
                    if step < 0 and others[i] > ceiling:
                        break
                nearest, most = _nearest_of(x[sample], centers, first, bounds, i, way, ceiling, before, lanes)
                high[fit, sample] = most
                high_way[fit, sample] = before[first + nearest]
                if nearest != own[i]:
                    _move(x[sample], fit, sample, nearest, first, learn[f], labels, sums, counts, touched)
