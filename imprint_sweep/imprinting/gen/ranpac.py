"""RanPAC (McDonnell et al. 2023): ridge regression of one-hot targets, from random features of the samples.

With H the (n, M) random features of all samples and Y their (n, C) targets, W = (HᵀH + λI)⁻¹ HᵀY, in which HᵀH is a sum
over classes. Where there are fewer samples than random features, Hᵀ(HHᵀ + λI)⁻¹ Y is the same and takes far less.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting import validation
from imprint_sweep.imprinting.components import (
    Additive,
    ClassSamples,
    JointGen,
    Keep,
    Parameter,
    Piece,
    QueryMap,
    Rows,
    Share,
    Shared,
    Sizes,
    Value,
    Variant,
)
from imprint_sweep.imprinting.factorisation import factorised
from imprint_sweep.imprinting.random_features import RandomFeatures, StoredFeatures
from imprint_sweep.imprinting.validation import CHOSEN

Floats = NDArray[np.float64]

CHUNK = 1024
"""Samples that are mapped at once. Fixed, because the bits of a sum depend on how it is split."""

RIDGES = tuple(10.0**power for power in range(-8, 9))
"""λ among which one is chosen, as published."""


class RanPAC(Additive, JointGen):
    """One weight vector per class for random features of the embeddings, of which queries have as many."""

    name = "ranpac"
    version = 2  # 1 chose a λ also where it is lost in the rounding of the matrix
    label = "RanPAC"
    seeded = True
    parameters = (
        Parameter("features", int, 4000, "Random features, M.", least=1, below=2**31),
        Parameter(
            "ridge",
            float,
            CHOSEN,
            "λ, added to the second moment of the random features; chosen: by the squared error on held-out samples.",
            least=0.0,
            words=(CHOSEN,),
        ),
    )

    def check(self, parameters: Mapping[str, Value], max_samples: int | None) -> None:
        """A λ can be chosen where samples can be held out."""
        validation.check_chosen("gen.ridge", parameters["ridge"], max_samples)

    def query_map(self, d: int, variant: Variant) -> RandomFeatures:
        """The random features of the seed."""
        return RandomFeatures(variant.seed, (variant["features"], d))

    def stored_map(self, arrays: Mapping[str, NDArray[np.float32]]) -> QueryMap:
        """The random features of a file."""
        return StoredFeatures(arrays["projection"])

    def prepare(self, given: ClassSamples, variant: Variant) -> None:
        """The random features of a class, or their second moments."""
        if given.room_for_moments:
            m, (n, d) = variant["features"], given.samples.shape
            rows = min(n, CHUNK)
            n_bytes = 12 * m * min(n, m) + 8 * (m + rows) * d + 20 * rows * m
            given.reserve(n_bytes, f"{m:,} random features", instead=_fewer(n, m))
            self._halves(given, variant)

    def solve(self, classes: Sequence[ClassSamples], task: Shared, variant: Variant) -> list[Rows]:
        """The weight vector of each class."""
        m = variant["features"]
        n = sum(len(given.samples) for given in classes)
        form = Few if n <= m else Many
        what = f"the ridge regression of {n:,} samples from {m:,} random features"
        classes[0].reserve(form.nbytes(n, m), what, of_task=True, instead=_fewer(n, m))
        problem = form.of((self._halves(given, variant) for given in classes), n, m)
        _, found = task.run("ridge", lambda: fitted(problem, variant["ridge"]))
        return np.split(found, len(classes))

    def share(self, given: ClassSamples, variant: Variant) -> Share:
        """What :meth:`reduced` adds up, as it is the second moments only where there are many samples."""
        halves = self._halves(given, variant)
        counts, totals = np.array([part.n for part in halves]), np.stack([part.total for part in halves])
        return Share(np.zeros(0), _Own(counts, totals, (halves,)))

    def reduced(self, total: Floats, own: Sequence[_Own], variant: Variant) -> tuple[Floats, Sequence[_Own]]:
        """With more samples than random features: second moments, class after class, in the place of samples."""
        m = variant["features"]
        if sum(of.n for of in own) <= m:
            return total, own
        total = total.copy() if total.size else np.zeros((2, m * (m + 1) // 2))
        for of in own:
            for halves in of.apart:
                _add(total, halves)
        return total, [replace(of, apart=()) for of in own]

    def settled(self, total: Floats, own: Sequence[_Own], variant: Variant) -> Variant:
        """The λ that is chosen."""
        if variant["ridge"] != CHOSEN:
            return variant
        ridge, _ = fitted(_problem(total, own, variant["features"]), CHOSEN)
        values = dict(variant.parameters) | {"ridge": ridge}
        return replace(variant, parameters=tuple(values.items()))

    def from_sums(self, total: Floats, own: Sequence[_Own], variant: Variant) -> list[Rows]:
        """The weight vector of each class."""
        _, found = fitted(_problem(total, own, variant["features"]), variant["ridge"])
        return np.split(found, len(own))

    def joined(self, own: _Own, more: _Own, variant: Variant) -> _Own:
        """Everything that there is of both."""
        return _Own(own.counts + more.counts, own.totals + more.totals, (*own.apart, *more.apart))

    def _halves(self, given: ClassSamples, variant: Variant) -> Halves:
        """The samples of a class that a λ is fitted to, and those by which it is chosen."""
        features = self.query_map(given.samples.shape[1], variant)

        def compute() -> Halves:
            x = given.samples
            kept, held_out = validation.hold_out(len(x), given.rng("ridge", variant.seed))
            return Part.of(features, x, kept), Part.of(features, x, held_out)

        return given.once("random_features", (variant.seed, features.width), compute, Keep.DRAW)

    def shares(self, variant: Variant) -> Hashable:
        """The random features, for every λ."""
        return self.name, variant.seed, variant["features"]

    def stays_with(self, variant: Variant) -> Hashable:
        """The random features, for every λ."""
        return self.shares(variant)

    def class_bytes(self, n: int, d: int, variant: Variant) -> int:
        """Random features, or second moments where these are smaller."""
        m = int(variant["features"])
        return 4 * m * min(n, 2 * m)

    def task_bytes(self, d: int, variant: Variant) -> int:
        """Nothing."""
        return 0

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """Random features, and second moments of classes that are large."""
        m = int(variant["features"])
        mapped = of.n * d * m * 2 / 50e9
        moment = np.where(validation.trained(of.n) > m, of.n * m**2 / 86e9 + m**2 / 1e8, 0.0)
        return [Piece("random_features", (variant.seed, m), mapped + moment)]

    def task_work(self, n: Floats, d: int, proxies: Floats, variant: Variant) -> Sequence[Piece]:
        """Moments that classes do not have, and a factorisation for each λ."""
        m = int(variant["features"])
        size, kept = np.minimum(n, m), np.minimum(validation.trained(n), m)
        late = np.where(validation.trained(n / proxies) > m, n - validation.trained(n), n)
        factors = size**3 + len(RIDGES) * kept**3 * (variant["ridge"] == CHOSEN)
        return [Piece("ridge", variant, late * size * m / 86e9 + factors / 130e9)]


@dataclass(frozen=True, eq=False)
class Part:
    """Some samples of a class, as the smaller one of two things.

    Args:
        n: how many.
        rows: (n, M) float32 random features, where n is not above M.
        moment: (M (M + 1) / 2,) float64, the lower triangle of their second moment, packed by columns, elsewhere.
        total: (M,) float64, their sum.
    """

    n: int
    rows: Rows | None
    moment: Floats | None
    total: Floats

    @classmethod
    def of(cls, features: RandomFeatures, x: Rows, chosen: NDArray[np.int64]) -> Part:
        """Map the chosen ones of (n, d) samples."""
        if len(chosen) <= features.width:
            rows = features.transform(x[chosen])
            return cls(len(rows), rows, None, rows.sum(axis=0, dtype=np.float64))
        chunks = (features.transform(x[chosen[start : start + CHUNK]]) for start in range(0, len(chosen), CHUNK))
        return cls(len(chosen), None, *_moment(chunks, features.width))

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """Parts that have rows, as one."""
        rows = np.concatenate([_rows(part) for part in parts])
        return cls(len(rows), rows, None, np.sum([part.total for part in parts], axis=0))

    def packed(self) -> Floats:
        """The lower triangle of the second moment, (M (M + 1) / 2,)."""
        if self.rows is None:
            assert self.moment is not None
            return self.moment
        chunks = (self.rows[start : start + CHUNK] for start in range(0, self.n, CHUNK))
        return _moment(chunks, self.rows.shape[1])[0]


Halves = tuple[Part, Part]
"""The samples of a class that a λ is fitted to, and those by which it is chosen."""


@dataclass(frozen=True, eq=False)
class _Own:
    """What the estimator keeps of a class.

    Args:
        counts: (2,) samples that a λ is fitted to, and those by which it is chosen.
        totals: (2, M) sums of their random features.
        apart: what came together of those whose second moments are not added up yet.
    """

    counts: NDArray[np.int64]
    totals: Floats
    apart: tuple[Halves, ...]

    @property
    def n(self) -> int:
        """Samples of the class."""
        return int(self.counts.sum())

    def halves(self) -> Halves:
        """All of its samples, where there are few."""
        kept, held_out = zip(*self.apart, strict=True)
        return Part.joined(kept), Part.joined(held_out)


class Problem(Protocol):
    """A ridge regression of one-hot targets."""

    @property
    def n_held_out(self) -> int:
        """Samples by which a λ is chosen."""

    def held_out_error(self, ridge: float) -> float:
        """The squared error of the held-out samples, fitted to the others.

        Raises:
            LinAlgError: the matrix is singular, to rounding.
        """

    def weights(self, ridge: float) -> Floats:
        """(C, M) weight vectors, fitted to all samples; errors as above."""


@dataclass(frozen=True, eq=False)
class Many:
    """More samples than random features: sums of M x M second moments.

    Args:
        moments: of the samples that are kept and of those held out, each (M (M + 1) / 2,) float64, packed.
        totals: (C, M) float64 sums of both.
        n_held_out: samples by which a λ is chosen.
    """

    moments: tuple[Floats, Floats]
    totals: tuple[Floats, Floats]
    n_held_out: int

    @staticmethod
    def nbytes(n: int, m: int) -> int:
        """Bytes while it is solved: both moments, packed, two matrices, and the moment of a class that comes next."""
        return 32 * m**2

    @classmethod
    def of(cls, classes: Iterable[Halves], n: int, m: int) -> Many:
        """Add up classes in task order, one at a time."""
        moments = np.zeros((2, m * (m + 1) // 2))
        totals: list[list[Floats]] = [[], []]
        n_held_out = 0
        for halves in classes:
            n_held_out += halves[1].n
            _add(moments, halves)
            for half, part in enumerate(halves):
                totals[half].append(part.total)
        return cls((moments[0], moments[1]), (np.stack(totals[0]), np.stack(totals[1])), n_held_out)

    def held_out_error(self, ridge: float) -> float:
        """|HW - Y|², from moments alone."""
        from scipy.linalg.blas import dsymm

        w = _solution(self._matrix(self.moments[0]), self.totals[0].T, ridge)
        through = dsymm(1.0, self._held_out, w, lower=1)
        return float((w * through).sum() - 2 * (w * self.totals[1].T).sum()) + self.n_held_out

    def weights(self, ridge: float) -> Floats:
        """(HᵀH + λI)⁻¹ HᵀY, transposed."""
        kept, held_out = self.totals
        return _solution(self._matrix(self.moments[0] + self.moments[1]), (kept + held_out).T, ridge).T

    @cached_property
    def _held_out(self) -> Floats:
        return self._matrix(self.moments[1])

    def _matrix(self, packed: Floats) -> Floats:
        from scipy.linalg.lapack import dtpttr

        matrix: Floats
        matrix, _ = dtpttr(self.totals[0].shape[1], packed, uplo="L")
        return matrix


@dataclass(frozen=True, eq=False)
class Few:
    """No more samples than random features: the n x n products of their random features.

    Args:
        rows: (n, M) float32, the samples that are kept before those held out, each class after class.
        gram: (n, n) float64 inner products of them.
        targets: (n, C) float64, one-hot.
        n_held_out: samples by which a λ is chosen.
    """

    rows: Rows
    gram: Floats
    targets: Floats
    n_held_out: int

    @staticmethod
    def nbytes(n: int, m: int) -> int:
        """Bytes while it is solved: the rows, the same as float64, products and a factor of them."""
        return 12 * n * m + 24 * n**2

    @classmethod
    def of(cls, classes: Iterable[Halves], n: int, m: int) -> Few:
        """The samples of classes in task order."""
        halves = list(zip(*classes, strict=True))
        rows = np.concatenate([_rows(part) for half in halves for part in half])
        owner = np.concatenate([np.full(part.n, c) for half in halves for c, part in enumerate(half)])
        wide = rows.astype(np.float64)
        targets = np.eye(len(halves[0]))[owner]
        return cls(rows, wide @ wide.T, targets, sum(part.n for part in halves[1]))

    def held_out_error(self, ridge: float) -> float:
        """|HW - Y|²."""
        kept = len(self.rows) - self.n_held_out
        found = _solution(self.gram[:kept, :kept].copy(order="F"), self.targets[:kept], ridge)
        return float(((self.gram[kept:, :kept] @ found - self.targets[kept:]) ** 2).sum())

    def weights(self, ridge: float) -> Floats:
        """Hᵀ(HHᵀ + λI)⁻¹Y, transposed."""
        found: Floats = _solution(self.gram.copy(order="F"), self.targets, ridge).T @ self.rows
        return found


def fitted(problem: Problem, ridge: float | str) -> tuple[float, Rows]:
    """A λ, and the weight vectors of all classes, (C, M) float32.

    Args:
        problem: the samples.
        ridge: λ; `chosen` takes the one of :data:`RIDGES` with the smallest squared error on the held-out samples, the
            first of equal ones, of those with which no matrix is singular to rounding.

    Raises:
        StageError: nothing to choose by, or a matrix that is singular to rounding.
    """
    from scipy.linalg import LinAlgError

    for one in _by_error(problem) if isinstance(ridge, str) else [ridge]:
        try:
            return one, np.ascontiguousarray(problem.weights(one), dtype=np.float32)
        except LinAlgError as error:
            why = error
    raise StageError(
        f"ranpac: the second moment of the random features plus gen.ridge={one:g} is not positive definite to rounding "
        f"({why}); raise gen.ridge"
    ) from why


def _by_error(problem: Problem) -> list[float]:
    """The λ that may be chosen, the best first; the largest alone where none may."""
    from scipy.linalg import LinAlgError

    if not problem.n_held_out:
        raise StageError(validation.nothing_held_out("gen.ridge"))
    errors = {}
    for ridge in RIDGES:
        with suppress(LinAlgError):  # lost in the rounding of the matrix
            errors[ridge] = problem.held_out_error(ridge)
    return sorted(errors, key=lambda ridge: errors[ridge]) or [RIDGES[-1]]


def _solution(matrix: Floats, targets: Floats, ridge: float) -> Floats:
    """(A + λI)⁻¹ B, of which the lower triangle of A counts, in Fortran's order; it is overwritten."""
    from scipy.linalg import cho_solve
    from scipy.linalg.blas import dsymv

    matrix[np.diag_indices_from(matrix)] += ridge
    norm = float(dsymv(1.0, matrix, np.ones(len(matrix)), lower=1).max())  # random features are at least 0
    solution: Floats = cho_solve((factorised(matrix, norm), True), targets, check_finite=False)
    return solution


def _problem(total: Floats, own: Sequence[_Own], m: int) -> Problem:
    """The regression that :meth:`RanPAC.solve` makes of all samples at once."""
    n = sum(of.n for of in own)
    if n <= m:
        return Few.of((of.halves() for of in own), n, m)
    kept, held_out = np.stack([of.totals for of in own], axis=1)
    return Many((total[0], total[1]), (kept, held_out), sum(int(of.counts[1]) for of in own))


def _fewer(n: int, m: int) -> str:
    """What would take less memory."""
    return "take fewer random features with gen.features" + ", or fewer samples with n_shot" * (n <= m)


def _add(moments: Floats, halves: Halves) -> None:
    """Add the second moments of samples to sums, (2, M (M + 1) / 2)."""
    for half, part in enumerate(halves):
        moments[half] += part.packed()


def _rows(part: Part) -> Rows:
    assert part.rows is not None  # there are no more than M
    return part.rows


def _moment(chunks: Iterable[Rows], m: int) -> tuple[Floats, Floats]:
    """The second moment of rows that come in chunks, packed, and their sum."""
    from scipy.linalg.blas import dsyrk
    from scipy.linalg.lapack import dtrttp

    moment, total = np.zeros((m, m), order="F"), np.zeros(m)
    for rows in chunks:
        moment = dsyrk(1.0, rows.T.astype(np.float64), beta=1.0, c=moment, lower=1, overwrite_c=1)
        total += rows.sum(axis=0, dtype=np.float64)
    packed: Floats
    packed, _ = dtrttp(moment, uplo="L")
    return packed, total


RANPAC = RanPAC()
