"""The two least-squares generators: the Oracle (Eq. A.1 of the paper) and Algorithm 1.

W = (1/C) Mᵀ (Σ_T + μ_G μ_Gᵀ + λI)⁻¹ with M the d x C matrix of class means, Σ_T the total covariance divided by n and
μ_G the mean of all samples. Because Σ_T + μ_G μ_Gᵀ = XᵀX / n, the matrix is a sum over classes: every task reuses the
share of each of its classes. In Algorithm 1 every cluster of a k-means inside each class counts as a class of its own,
whatever its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from imprint_sweep.errors import StageError

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


def cluster_means(x: NDArray[np.float32], assignment: NDArray[np.integer]) -> NDArray[np.float64]:
    """The mean of each cluster that has samples.

    Args:
        x: (n, d) float32 samples of one class.
        assignment: (n,) integers, the cluster of each sample.

    Returns:
        (non-empty clusters, d) float64, clusters in ascending order.
    """
    order = np.argsort(assignment, kind="stable")
    _, starts = np.unique(assignment[order], return_index=True)
    return np.stack([x[rows].mean(axis=0, dtype=np.float64) for rows in np.split(order, starts[1:])])


def factorize(moment_sum: NDArray[np.float64], n_total: int, weight_decay: float) -> Solver:
    """Factorise the matrix of Eq. A.1.

    Args:
        moment_sum: (d, d) float64, :func:`second_moment` summed over all classes of the task.
        n_total: samples of all these classes.
        weight_decay: λ, positive.

    Raises:
        StageError: the matrix is not positive definite, to rounding.
    """
    matrix = moment_sum / n_total
    matrix[np.diag_indices_from(matrix)] += weight_decay
    try:
        cholesky, _ = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError as error:
        raise StageError(
            f"least squares: the second moment of {n_total} samples plus weight_decay={weight_decay:g} is not positive "
            f"definite ({error}); raise model.weight_decay"
        ) from error
    return Solver(cholesky)


def weights(solver: Solver, means: NDArray[np.float64]) -> NDArray[np.float32]:
    """The weight vectors of all classes, or of all clusters of all classes.

    Args:
        solver: from :func:`factorize`.
        means: (C, d) float64, the class means or :func:`cluster_means`, in task order.

    Returns:
        (C, d) float32.
    """
    solution: NDArray[np.float64] = cho_solve((solver.cholesky, True), means.T, check_finite=False)
    return np.ascontiguousarray(solution.T / len(means), dtype=np.float32)
