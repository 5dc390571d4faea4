"""Least squares over all classes jointly: the paper's Oracle (Eq. A.1).

W = (1/C) Mᵀ (Σ_T + μ_G μ_Gᵀ + λI)⁻¹ with M the d x C matrix of class means, Σ_T the total covariance divided by n and
μ_G the mean of all samples. Because Σ_T + μ_G μ_Gᵀ = XᵀX / n, the matrix is a sum over classes: every task reuses the
share of each of its classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.clusters import Clusters, by_class
from imprint_sweep.imprinting.components import (
    Additive,
    ClassSamples,
    JointGen,
    Keep,
    Piece,
    Rows,
    Share,
    Shared,
    Sizes,
    Variant,
)
from imprint_sweep.imprinting.gen import kmeans


class LeastSquares(Additive, JointGen):
    """One weight vector per class, from the samples of all classes."""

    name = "least_squares"
    label = "least squares"
    uses_weight_decay = True

    def prepare(self, given: ClassSamples, variant: Variant) -> None:
        """The second moment and the means of a class."""
        if given.room_for_moments:
            moment(given)
        self.clusters(given, variant)

    def solve(self, classes: Sequence[ClassSamples], task: Shared, variant: Variant) -> list[Rows]:
        """The weight vectors of each class."""
        own = [self.clusters(given, variant) for given in classes]
        solver = task.once(
            "solver", variant.weight_decay, lambda: _factorised(classes, task, variant.weight_decay), Keep.DRAW
        )
        solved = task.run("solve", lambda: weights(solver, np.concatenate([of.means for of in own])))
        return by_class(solved, own)

    def share(self, given: ClassSamples, variant: Variant) -> Share:
        """The second moment, and the means."""
        return Share(moment(given), self.clusters(given, variant))

    def from_sums(self, total: NDArray[np.float64], own: Sequence[Clusters], variant: Variant) -> list[Rows]:
        """The weight vectors of each class."""
        n = sum(int(of.sizes.sum()) for of in own)
        solved = weights(factorize(total, n, variant.weight_decay), np.concatenate([of.means for of in own]))
        return by_class(solved, own)

    def joined(self, own: Clusters, more: Clusters, variant: Variant) -> Clusters:
        """The mean of all samples of the class."""
        return own.joined(more)

    def clusters(self, given: ClassSamples, variant: Variant) -> Clusters:
        """What weight vectors are made from: the class itself."""
        return clusters(given, 1, 0)

    def solver(self, variant: Variant) -> Hashable:
        """One for each lambda."""
        return "least_squares", variant.weight_decay

    def shares(self, variant: Variant) -> Hashable:
        """The class means, for every lambda."""
        return "class means"

    def stays_with(self, variant: Variant) -> Hashable:
        """The second moments of all classes, for every k and lambda."""
        return "moments"

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """The second moment, and the mean."""
        return [*moments(of, d), Piece("class_means", None, of.n * d / 8e8)]

    def task_work(
        self, n: NDArray[np.float64], d: int, proxies: NDArray[np.float64], variant: Variant
    ) -> Sequence[Piece]:
        """One factorisation for every k and seed, and the solution."""
        return [
            Piece("factorization", variant.weight_decay, np.array(d**3 / 80e9)),
            Piece("solve", variant, d**2 * (2 * proxies + 100) / 40e9),
        ]


CHUNK = 4096
"""Samples that are widened to float64 at once. Fixed, because the bits of a sum depend on how it is split."""


@dataclass(frozen=True, eq=False)
class Solver:
    """A factorised Σ_T + μ_G μ_Gᵀ + λI.

    Args:
        cholesky: (d, d) float64 with the factor in its lower triangle; what is above has no meaning.
    """

    cholesky: NDArray[np.float64]


def second_moment(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """XᵀX of (n, d) float32 samples: (d, d) float64, not divided by n."""
    moment = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), CHUNK):
        wide = x[start : start + CHUNK].astype(np.float64)
        moment += wide.T @ wide
    return moment


def clusters(given: ClassSamples, k: int, seed: int) -> Clusters:
    """The clusters of a class by k-means, shared by all that need them; with k = 1 the class itself.

    Args:
        given: the samples of the class.
        k: clusters wanted, at least 1.
        seed: any integer, without meaning where k is 1.
    """

    def compute() -> Clusters:
        return Clusters.of(given.samples, None if k == 1 else kmeans.clustering(given, k, seed).assignment)

    if k == 1:
        return given.once("class_means", None, compute, Keep.DRAW)
    return given.once("class_means", (k, seed), compute)


def class_mean(given: ClassSamples) -> NDArray[np.float64]:
    """The mean of a class, (d,) float64."""
    mean: NDArray[np.float64] = clusters(given, 1, 0).means[0]
    return mean


def factorize(moment_sum: NDArray[np.float64], n_total: int, weight_decay: float) -> Solver:
    """Factorise the matrix of Eq. A.1.

    Args:
        moment_sum: (d, d) float64, :func:`second_moment` summed over all classes of the task.
        n_total: samples of all these classes.
        weight_decay: λ, positive.

    Raises:
        StageError: the matrix is not positive definite, to rounding.
    """
    from scipy.linalg import LinAlgError

    try:
        return Solver(cholesky(moment_sum / n_total, weight_decay))
    except LinAlgError as error:
        raise StageError(
            f"least squares: the second moment of {n_total} samples plus weight_decay={weight_decay:g} is not positive "
            f"definite ({error}); raise model.weight_decay"
        ) from error


def cholesky(matrix: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """The Cholesky factor of a symmetric matrix plus a multiple of the identity.

    Args:
        matrix: (d, d), of which the lower triangle counts; overwritten, by the factor if it is in Fortran's order.
        ridge: the multiple.

    Returns:
        (d, d), the factor in its lower triangle.

    Raises:
        LinAlgError: the sum is not positive definite, to rounding.
    """
    from scipy.linalg import cho_factor

    matrix[np.diag_indices_from(matrix)] += ridge
    factor: NDArray[np.float64]
    factor, _ = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    return factor


def weights(solver: Solver, means: NDArray[np.float64]) -> NDArray[np.float32]:
    """The weight vectors of all classes, or of all clusters of all classes.

    Args:
        solver: from :func:`factorize`.
        means: (C, d) float64, of classes or of their clusters, in task order.

    Returns:
        (C, d) float32.
    """
    from scipy.linalg import cho_solve

    solution: NDArray[np.float64] = cho_solve((solver.cholesky, True), means.T, check_finite=False)
    return np.ascontiguousarray(solution.T / len(means), dtype=np.float32)


def moments(of: Sizes, d: int) -> list[Piece]:
    """What the second moment of a class takes."""
    return [Piece("moment", None, of.n * d**2 * 2 / 75e9 + d**2 / 5e8)]


def moment(given: ClassSamples) -> NDArray[np.float64]:
    """The second moment of a class, (d, d) float64, shared by all that need it."""
    return given.once("moment", None, lambda: second_moment(given.samples), Keep.DRAW)


def total_moment(classes: Sequence[ClassSamples]) -> NDArray[np.float64]:
    """The second moments of all classes added up in task order, (d, d) float64; a new array."""
    total = moment(classes[0]).copy()
    for given in classes[1:]:  # not all of them at once
        total += moment(given)
    return total


def _factorised(classes: Sequence[ClassSamples], task: Shared, weight_decay: float) -> Solver:
    total = total_moment(classes)
    n = sum(len(given.samples) for given in classes)
    return task.run("factorization", lambda: factorize(total, n, weight_decay))


LEAST_SQUARES = LeastSquares()
