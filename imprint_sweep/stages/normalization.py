"""NORM: ``l2`` for embeddings and proxies, ``quantile`` for proxies (section 3.1 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def l2(x: Vectors) -> Vectors:
    """Divide each row by its Euclidean length.

    A row's result depends on that row alone, to the last bit: lengths are summed in float64, feature by feature, where
    no finite float32 can overflow or vanish. Zero rows stay zero.

    Args:
        x: (n, d) float32, finite.

    Returns:
        (n, d) float32, a new array.
    """
    unit = np.empty(x.shape, dtype=np.float32)
    _l2(np.asarray(x), unit)
    return unit


@njit(nogil=True, cache=True)
def _l2(x: Vectors, unit: Vectors) -> None:
    n, d = x.shape
    for i in range(n):
        squares = 0.0
        for j in range(d):
            squares += np.float64(x[i, j]) * np.float64(x[i, j])
        length = np.sqrt(squares) if squares > 0 else 1.0
        for j in range(d):
            unit[i, j] = np.float64(x[i, j]) / length


def quantile(proxies_by_label: Sequence[Vectors]) -> list[Vectors]:
    """Imprint labels one after another, giving proxies the value distribution of the labels imprinted before them.

    The d values of every proxy are replaced, rank by rank, by the quantiles at levels (i + 0.5)/d of all values of all
    proxies of the labels before, as already normalised, with linear interpolation (`numpy.quantile`'s default, computed
    in float64). Equal values are ranked by feature index. The first label is left as it is.

    Args:
        proxies_by_label: for each label in task order (k_c, d) float32 proxies, k_c at least 1.

    Returns:
        For each label (k_c, d) float32; the first is the array that was given.
    """
    if not proxies_by_label:
        return []
    first = proxies_by_label[0]
    d = first.shape[1]
    reference = _Reference(first)
    normalized = [first]
    for proxies in proxies_by_label[1:]:
        values = reference.quantiles((np.arange(d) + 0.5) / d)
        imprinted = np.empty(proxies.shape, dtype=np.float32)
        np.put_along_axis(imprinted, np.argsort(proxies, axis=1, kind="stable"), values[None], axis=1)
        normalized.append(imprinted)
        reference.add(values, times=len(proxies))
    return normalized


class _Reference:
    """The multiset of all values imprinted so far, sorted without ever being held as a whole.

    After the first label all proxies of a label share one sorted set of d values, so the rest is small: each of its
    values occurs as many times as its label has proxies.
    """

    def __init__(self, first: Vectors) -> None:
        self._first = np.sort(first, axis=None)
        self._shared = np.empty(0, dtype=np.float32)
        self._times = np.empty(0, dtype=np.int64)

    def add(self, values: Vectors, times: int) -> None:
        """Add (d,) values, each `times` times."""
        shared = np.concatenate([self._shared, values])
        order = np.argsort(shared, kind="stable")
        self._shared = shared[order]
        self._times = np.concatenate([self._times, np.full(len(values), times)])[order]

    def quantiles(self, levels: NDArray[np.float64]) -> Vectors:
        """The quantiles at some levels, rounded to float32."""
        position = levels * (len(self._first) + self._times.sum() - 1)
        below = np.floor(position)
        weight = position - below
        low, high = self._at(below.astype(np.int64)), self._at(np.ceil(position).astype(np.int64))
        # From the nearer end, as NumPy does: no quantile ever lies beyond its neighbours.
        step = high - low
        between: Vectors = np.where(weight < 0.5, low + step * weight, high - step * (1 - weight)).astype(np.float32)
        return between

    def _at(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values at some ranks of the sorted multiset."""
        # Shared values go before equal ones of the first label; the i-th takes ranks starts[i] to stops[i] - 1.
        counted = np.cumsum(self._times)
        stops = np.searchsorted(self._first, self._shared, side="left") + counted
        starts = stops - self._times
        last = np.searchsorted(starts, ranks, side="right")  # how many shared values start at or before a rank
        is_shared = ranks < np.concatenate([[0], stops])[last]
        shared_before = np.concatenate([[0], counted])[last]
        values = np.empty(len(ranks))
        values[is_shared] = self._shared[last[is_shared] - 1]
        values[~is_shared] = self._first[(ranks - shared_before)[~is_shared]]
        return values
