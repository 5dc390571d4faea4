"""Codes of values, and of combinations of codes: ``pandas.factorize`` and ``ngroup`` without the import of pandas."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Combined = NDArray[np.int64]

_LARGEST = 2**63 - 1
_TABLE = 8
"""A table of all possible codes is faster than sorting up to this many entries for each value."""


def factorize(keys: Iterable[Hashable]) -> tuple[Codes, list[int]]:
    """The code of each key, in order of first appearance, and the position at which each code comes first.

    Returns:
        (n,) int32 codes 0 .. number of codes - 1; as many positions as there are codes.
    """
    seen: dict[Hashable, int] = {}
    codes = np.array([seen.setdefault(key, len(seen)) for key in keys], np.int32)
    return codes, np.unique(codes, return_index=True)[1].tolist()


def combined(*columns: Codes | Combined) -> Combined:
    """(n,) int64 code of each combination of codes, 0 .. number of combinations - 1.

    Args:
        columns: at least one, each (n,), of codes that are not negative.
    """
    codes, size = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        n = int(column.max(initial=0)) + 1
        if size * n > _LARGEST:
            codes, size = _numbered(codes, size), len(codes)
        codes, size = codes * n + column, size * n
    return _numbered(codes, size)


def _numbered(values: Combined, size: int) -> Combined:
    """The rank of each value, of values below `size`, among the distinct ones."""
    if size > _TABLE * len(values):
        codes: Combined = np.unique(values, return_inverse=True)[1]
        return codes
    occurs = np.zeros(size, np.int64)
    occurs[values] = 1
    return (np.cumsum(occurs) - 1)[values]
