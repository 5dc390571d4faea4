"""Random features: a projection and a ReLU (McDonnell et al. 2023, RanPAC, section 4), one exact result for each row.

BLAS sums in an order of its own, so the terms are made such that no order matters. A weight is a multiple of 2^-8, and
a row is rounded to multiples of a power of two so small that float32 would not notice. Then every product and every
partial sum is a whole number of units up to 2^53, which float64 holds exactly.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.components import QueryMap, Rows

ROWS = 1024
"""Rows that are mapped at once."""

_POINT = 8  # bits of a weight behind the point
_WEIGHT = 11  # bits of a weight
_STREAM = int.from_bytes(b"random_features", "big")
_ONE_AT_A_TIME = threading.Lock()


class _Features(QueryMap):
    """x -> max(0, P x)."""

    @property
    @abstractmethod
    def projection(self) -> Rows:
        """P, (width, d) float32: multiples of 2^-8 between -8 and 8."""

    def transform(self, x: Rows) -> Rows:
        """Map rows: exact sums of rounded terms, rounded once.

        Raises:
            StageError: a result is beyond float32.
        """
        whole = self.projection.astype(np.float64) * 2.0**_POINT
        bits = 53 - _WEIGHT - (self.d - 1).bit_length()  # of a row, so that d products take 53 at most
        mapped = np.empty((len(x), self.width), np.float32)
        for start in range(0, len(x), ROWS):
            rows = x[start : start + ROWS].astype(np.float64)
            _, exponents = np.frexp(np.abs(rows).max(axis=1, keepdims=True))
            unit = np.ldexp(1.0, exponents - bits)
            sums = np.rint(rows / unit) @ whole.T
            with np.errstate(over="ignore"):  # refused below
                mapped[start : start + ROWS] = np.maximum(sums, 0.0, out=sums) * (unit * 2.0**-_POINT)
        if not np.isfinite(mapped).all():
            raise StageError("an embedding is so long that its random features are beyond float32; scale embeddings")
        return mapped

    def arrays(self) -> dict[str, NDArray[Any]]:
        """P."""
        return {"projection": self.projection}

    def on_tensors(self, x: Any, arrays: Mapping[str, Any]) -> Any:
        """:meth:`transform` of a torch tensor, but for the last bit: the sums are float64."""
        return (x.double() @ arrays["projection"].double().T).clamp_min(0.0).float()


@dataclass(frozen=True)
class RandomFeatures(_Features):
    """Standard normal weights, rounded to multiples of 2^-8, keyed by the seed and both sizes.

    Args:
        seed: any whole number of 64 bits.
        shape: (M, d), random features and features of an embedding.
    """

    seed: int
    shape: tuple[int, int]

    @property
    def width(self) -> int:
        """M."""
        return self.shape[0]

    @property
    def d(self) -> int:
        """Features of an embedding."""
        return self.shape[1]

    @property
    def projection(self) -> Rows:
        """P."""
        with _ONE_AT_A_TIME:
            return _drawn(self.seed, self.shape)


@dataclass(frozen=True, eq=False)
class StoredFeatures(_Features):
    """Random features whose weights are known.

    Args:
        stored: P.
    """

    stored: Rows

    @property
    def width(self) -> int:
        """M."""
        return len(self.stored)

    @property
    def d(self) -> int:
        """Features of an embedding."""
        return int(self.stored.shape[1])

    @property
    def projection(self) -> Rows:
        """P."""
        return self.stored


@lru_cache(maxsize=4)
def _drawn(seed: int, shape: tuple[int, int]) -> Rows:
    rng = np.random.default_rng((_STREAM, seed % 2**64, *shape))
    most = 2**_WEIGHT - 1  # a normal number this far out never comes
    whole = np.rint(rng.standard_normal(shape) * 2.0**_POINT).clip(-most, most)
    projection = (whole * 2.0**-_POINT).astype(np.float32)
    projection.flags.writeable = False
    return projection
