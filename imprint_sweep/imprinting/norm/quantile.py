"""Quantile normalisation of proxies (Hosoda et al. 2024, as the paper uses it)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import Position, Rows, SequentialNorm

_AT_ONCE = 64
"""Proxies that are sorted at a time, within the processor's cache."""


class Quantile(SequentialNorm):
    """Each class gets the value distribution of the proxies imprinted before it."""

    name = "quantile"
    not_here = {  # noqa: RUF012 (never changed)
        Position.PRE: "quantile maps proxies onto those imprinted before, and there are none before GEN"
    }

    def imprint(self, by_label: Sequence[Rows]) -> list[Rows]:
        """See :func:`quantile`."""
        return quantile(by_label)


def quantile(proxies_by_label: Sequence[Rows]) -> list[Rows]:
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
    normalised = [first]
    for proxies in proxies_by_label[1:]:
        values = reference.quantiles((np.arange(d) + 0.5) / d)
        imprinted = np.empty(proxies.shape, dtype=np.float32)
        for start in range(0, len(proxies), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            np.put_along_axis(imprinted[rows], _order(proxies[rows]), values[None], axis=1)
        normalised.append(imprinted)
        reference.add(values, times=len(proxies))
    return normalised


def _order(rows: Rows) -> NDArray[np.int64]:
    """The features of each row by value, equal values by feature.

    Both make one whole number, of which no two are equal and which NumPy sorts with vector units.
    """
    bits = (rows + np.float32(0.0)).view(np.int32)  # adding 0 makes one zero of both
    bits ^= (bits >> 31) & 0x7FFFFFFF  # negative floats are in the reverse order of their bits
    keys = (bits.astype(np.int64) << 32) | np.arange(rows.shape[1])
    keys.sort(axis=1)
    return keys & 0xFFFFFFFF


class _Reference:
    """The multiset of all values imprinted so far, sorted without ever being held as a whole.

    After the first label all proxies of a label share one sorted set of d values, so the rest is small: each of its
    values occurs as many times as its label has proxies.
    """

    def __init__(self, first: Rows) -> None:
        self._first = np.sort(first, axis=None)
        self._shared = np.empty(0, dtype=np.float32)
        self._times = np.empty(0, dtype=np.int64)

    def add(self, values: Rows, times: int) -> None:
        """Add (d,) values, each `times` times."""
        shared = np.concatenate([self._shared, values])
        order = np.argsort(shared, kind="stable")
        self._shared = shared[order]
        self._times = np.concatenate([self._times, np.full(len(values), times)])[order]

    def quantiles(self, levels: NDArray[np.float64]) -> Rows:
        """The quantiles at some levels, rounded to float32."""
        position = levels * (len(self._first) + self._times.sum() - 1)
        below = np.floor(position)
        weight = position - below
        low, high = self._at(below.astype(np.int64)), self._at(np.ceil(position).astype(np.int64))
        # From the nearer end, as NumPy does: no quantile ever lies beyond its neighbours.
        step = high - low
        between: Rows = np.where(weight < 0.5, low + step * weight, high - step * (1 - weight)).astype(np.float32)
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


QUANTILE = Quantile()
