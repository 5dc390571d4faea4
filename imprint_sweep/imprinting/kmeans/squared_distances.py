"""Squared Euclidean distances in float64, each summed in one fixed order: the values that decide in k-means.

The order is that of :mod:`imprint_sweep.imprinting.vectors`: ``LANES`` partial sums over the features, then the lanes
in order, then the features left over. Nothing is reassociated or contracted, so the bits depend on the two vectors
alone. There is no square root: it would make distances equal that are not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.vectors import LANES, squared_distance

ROUNDING = 2.0**-53
"""Of float64: half a unit in the last place, relatively."""


_LINE = 64


def rounding_bound(d: int) -> float:
    """Bound of the rounding of a squared distance over d features, relative to itself or to a sum of squares.

    A sum in the fixed order adds d / LANES times within a lane and ``LANES`` lanes and leftovers behind each other; a
    difference, its square and the sum it goes into are rounded once each. Doubled.
    """
    return 2.0 * (d / LANES + 2 * LANES + 4) * ROUNDING


def aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """An uninitialised array that begins where a cache line does, which makes sums over its rows a third faster."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def squared_lengths(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared Euclidean lengths.

    Args:
        rows: (n, d) float32, C-contiguous.

    Returns:
        (n,) float64, of each row by itself.
    """
    out = np.empty(len(rows))
    _squared_lengths(rows, out)
    return out


def own_distances(
    x: NDArray[np.float32], centers: NDArray[np.float32], labels: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Squared distances of samples to the centres of their clusters.

    Args:
        x: (n, d) float32, C-contiguous.
        centers: (k, d) float32, C-contiguous.
        labels: (n,) int32.

    Returns:
        (n,) float64.
    """
    out = np.empty(len(x))
    _own_distances(x, centers, labels, out)
    return out


@compiled()
def _squared_lengths(rows, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    origin = np.zeros(rows.shape[1], np.float32)
    for i in range(rows.shape[0]):
        out[i] = squared_distance(rows[i], origin, lanes)


@compiled()
def _own_distances(x, centers, labels, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    for i in range(x.shape[0]):
        out[i] = squared_distance(x[i], centers[labels[i]], lanes)
