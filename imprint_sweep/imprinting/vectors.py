"""Rows with their lengths, sums in one fixed order, and bounds for what is computed in any order.

The *exact* value of a sum over features is defined by one order of summation: :data:`LANES` partial sums, each taking
every ``LANES``-th feature, then the lanes in order, then the features left over. It depends on nothing but the two
vectors. *Fast* float32 values are matrices; they only narrow down which pairs need an exact value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled

LANES = 64  # measured: 8 or 16 leave half of the vector units idle

# Between these lengths neither products nor squares leave float32's normal range by enough to matter beside the bound.
_SHORTEST, _LONGEST = 1e-12, 1e12
_UNDERFLOW = 1e-34  # d subnormal terms, flushed to zero or not


@dataclass(frozen=True, eq=False)
class Vectors:
    """Rows with their lengths.

    Args:
        rows: (n, d) float32, or float64 after a map; C-contiguous.
        lengths: (n,) float64 Euclidean lengths.
        rest: (n,) float64, what a map leaves out of the rows: the squared distance to the span of the proxies.
        biases: (n,) float32, of proxies that have some.
    """

    rows: NDArray[Any]
    lengths: NDArray[np.float64]
    rest: NDArray[np.float64]
    biases: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        rows: NDArray[Any],
        rest: NDArray[np.float64] | None = None,
        biases: NDArray[np.float32] | None = None,
    ) -> Vectors:
        """Measure rows, (n, d) float32 or float64."""
        rows = np.ascontiguousarray(rows)
        return cls(rows, lengths(rows), np.zeros(len(rows)) if rest is None else rest, biases)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Vectors:
        biases = None if self.biases is None else self.biases[part]
        return Vectors(self.rows[part], self.lengths[part], self.rest[part], biases)

    @property
    def moderate(self) -> bool:
        """Whether float32 promises anything of products and squares of these rows."""
        positive = self.lengths[self.lengths > 0.0]
        return bool(((positive > _SHORTEST) & (positive < _LONGEST)).all())


@dataclass(frozen=True, eq=False)
class Filter:
    """How fast scores S (b, p) bound the exact values.

    For query q and proxy j the true value is a monotone function of something between
    ``add_low[j] + low[q] mul[j] S[q, j] - err_scale[q] err[j]`` and
    ``add_high[j] + high[q] mul[j] S[q, j] + err_scale[q] err[j]``. The exact value is that in float64: where two of
    these things are within ``rounding[q]`` of each other, their exact values may be equal, or in the wrong order.
    All float32; ``usable`` is False where lengths are so extreme that float32 promises nothing: then every pair is
    scored exactly.

    The value itself, which scores of classes are made from, is ``scale[q]`` times that something plus ``shift[q]``,
    float64, or the root of it, ``root``; None where a metric does not say so.
    """

    add_low: NDArray[np.float32]
    add_high: NDArray[np.float32]
    mul: NDArray[np.float32]
    err: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    err_scale: NDArray[np.float32]
    rounding: NDArray[np.float32]
    usable: bool
    scale: NDArray[np.float64] | None = None
    shift: NDArray[np.float64] | None = None
    root: bool = False

    @classmethod
    def of(
        cls,
        *,
        add: NDArray[np.float64],
        slack: NDArray[np.float64] | float = 0.0,
        mul: NDArray[np.float64],
        err: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        err_scale: NDArray[np.float64] | float,
        rounding: NDArray[np.float64] | float = 0.0,
        usable: bool,
        scale: NDArray[np.float64] | float | None = None,
        shift: NDArray[np.float64] | float = 0.0,
        root: bool = False,
    ) -> Filter:
        """Round the terms to float32; ``add`` is known up to ``slack``, both for each proxy."""
        with np.errstate(over="ignore"):  # where it overflows, the filter is not usable
            return cls(
                add_low=(add - slack - _UNDERFLOW).astype(np.float32),
                add_high=(add + slack + _UNDERFLOW).astype(np.float32),
                mul=mul.astype(np.float32),
                err=err.astype(np.float32),
                low=low.astype(np.float32),
                high=high.astype(np.float32),
                err_scale=np.broadcast_to(np.asarray(err_scale), low.shape).astype(np.float32),
                rounding=np.broadcast_to(np.asarray(rounding), low.shape).astype(np.float32),
                usable=usable,
                scale=None if scale is None else np.broadcast_to(scale, low.shape).astype(np.float64),
                shift=np.broadcast_to(shift, low.shape).astype(np.float64),
                root=root,
            )

    def widened(self, of_queries: NDArray[np.float64], of_proxies: NDArray[np.float64]) -> Filter:
        """The filter of other scores, each off by at most the product of two numbers from those that this one is for.

        Args:
            of_queries: (b,), at least 0.
            of_proxies: (p,), at least 0.
        """
        a = np.maximum(np.abs(self.low), np.abs(self.high)) * of_queries
        b = self.mul * of_proxies
        # e w + a b <= sqrt(e^2 + a^2) sqrt(w^2 + b^2), as for any t in e t and w / t; it is close where e/a is w/b.
        e, w, ta, tb = (float(np.median(values)) for values in (self.err_scale, self.err, a, b))
        t = np.sqrt((w / tb) / (e / ta)) if min(e, w, ta, tb) > 0.0 else 1.0
        with np.errstate(over="ignore"):  # where it overflows, the filter is not usable
            return replace(
                self,
                err_scale=np.hypot(self.err_scale * t, a).astype(np.float32),
                err=np.hypot(self.err / t, b).astype(np.float32),
            )

    @classmethod
    def relative(cls, queries: Vectors, proxies: Vectors) -> Filter:
        """The filter of fast scores that are the values themselves, each within ``error_bound(d)`` relatively."""
        bound = error_bound(queries.rows.shape[1])
        zeros, one = np.zeros(len(proxies)), np.ones(len(queries))
        return cls.of(
            add=zeros,
            mul=np.ones(len(proxies)),
            err=zeros,
            low=(1.0 - bound) * one,
            high=(1.0 + bound) * one,
            err_scale=0.0,
            usable=queries.moderate and proxies.moderate,
            scale=1.0,
        )

    @property
    def tells_values(self) -> bool:
        """Whether :meth:`values` can be asked."""
        return self.usable and self.scale is not None

    def values(
        self, scores: NDArray[np.float32], rows: slice, columns: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """About the values of pairs, and how far the exact ones may be from them.

        Args:
            scores: (b, p) float32.
            rows: which queries.
            columns: which proxies.

        Returns:
            (rows, columns) float64, and for each row by how much any of its exact values may differ at most.
        """
        assert self.scale is not None
        assert self.shift is not None
        of_queries = (self.low, self.high, self.err_scale, self.rounding, self.scale, self.shift)
        of_proxies = (self.add_low, self.add_high, self.mul, self.err)
        part = scores[rows, columns]
        values, apart = np.empty(part.shape), np.empty(len(part))
        _values(part, *(a[rows] for a in of_queries), *(a[columns] for a in of_proxies), self.root, values, apart)
        return values, apart


def inner_products(
    queries: NDArray[np.float32], proxies: NDArray[np.float32], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Fast inner products.

    Args:
        queries: (b, d) float32.
        proxies: (p, d) float32.
        out: (b, p) float32, where to put them; new memory by default.

    Returns:
        (b, p) float32, each within ``error_bound(d) |q| |p|`` of the exact value, as long as |q| |p| is below 1e38.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # lengths that could overflow are no case for a filter
        scores: NDArray[np.float32] = np.matmul(queries, proxies.T, out=out)
    return scores


def narrowed(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mapped rows as fast scores take them: (n, r) float32, infinite where float32 ends."""
    with np.errstate(over="ignore"):  # lengths that overflow are no case for a filter
        return rows.astype(np.float32)


def error_bound(d: int) -> float:
    """Bound of a float32 sum of d products, relative to the lengths of both vectors, whatever the order of summation.

    The rigorous bound is about d 2^-24; the factor of two and the 32 cover the rounding of the vectors themselves
    (normalised, or cast from float64) and of what is computed from the sum.
    """
    return (d + 32) * 2.0**-23


def rounding_of_squares(d: int) -> float:
    """Bound of the rounding in comparing two squared float64 distances, relative to the square of the query's length.

    A sum of d squares in the exact order, its root and the ``rest`` are off by at most d/64 + 140 units of 2^-53. Two
    of them, each at most twice the sum of both squared lengths, make a factor of four; it is doubled. What the proxies'
    lengths contribute is far below the filter's own bound.
    """
    return (d + 256) * 2.0**-50


def ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0.0)


def lengths(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Euclidean lengths, (n,) float64: of each row by itself, in the exact order of summation.

    Args:
        rows: (n, d) float32 or float64.
    """
    out = np.empty(len(rows))
    _lengths(rows, out)
    return out


@compiled()
def dot(q, p, lanes):  # type: ignore[no-untyped-def]
    """The inner product of two vectors; `lanes` is scratch of LANES float64. Callable from compiled code only."""
    d = q.shape[0]
    whole = d - d % LANES
    lanes[:] = 0.0
    total = 0.0
    for i in range(0, whole, LANES):
        a = q[i : i + LANES]
        b = p[i : i + LANES]
        for lane in range(LANES):
            lanes[lane] += np.float64(a[lane]) * np.float64(b[lane])
    for lane in range(LANES):
        total += lanes[lane]
    for i in range(whole, d):
        total += np.float64(q[i]) * np.float64(p[i])
    return total


@compiled()
def squared_distance(q, p, lanes):  # type: ignore[no-untyped-def]
    """The squared Euclidean distance of two vectors; see :func:`dot`."""
    d = q.shape[0]
    whole = d - d % LANES
    lanes[:] = 0.0
    total = 0.0
    for i in range(0, whole, LANES):
        a = q[i : i + LANES]
        b = p[i : i + LANES]
        for lane in range(LANES):
            difference = np.float64(a[lane]) - np.float64(b[lane])
            lanes[lane] += difference * difference
    for lane in range(LANES):
        total += lanes[lane]
    for i in range(whole, d):
        difference = np.float64(q[i]) - np.float64(p[i])
        total += difference * difference
    return total


@compiled()
def _lengths(rows, out):  # type: ignore[no-untyped-def]
    lanes = np.empty(LANES)
    for i in range(rows.shape[0]):
        out[i] = np.sqrt(dot(rows[i], rows[i], lanes))


@compiled()
def _values(  # type: ignore[no-untyped-def]
    scores, low, high, err_scale, rounding, scale, shift, add_low, add_high, mul, err, root, values, apart
):
    for q in range(scores.shape[0]):
        a, b, e = np.float64(low[q]), np.float64(high[q]), np.float64(err_scale[q])
        r, f, s = np.float64(rounding[q]), scale[q], shift[q]
        row, out = scores[q], values[q]
        widest = 0.0
        for j in range(scores.shape[1]):
            score, off = np.float64(mul[j]) * row[j], e * err[j] + r
            least = (add_low[j] + a * score - off) * f + s
            most = (add_high[j] + b * score + off) * f + s
            if root:
                least, most = np.sqrt(max(least, 0.0)), np.sqrt(max(most, 0.0))
            out[j] = 0.5 * (least + most)
            widest = max(widest, most - least)
        apart[q] = 0.5 * widest
