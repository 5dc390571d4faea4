"""Linear discriminant analysis: Gaussian classes that share one covariance (Fisher 1936).

It is a classifier of frozen embeddings in streams (Hayes & Kanan 2020, SLDA) and of those of CLIP (Wang et al. 2024,
"A Hard-to-Beat Baseline"). The largest of the scores Σ⁻¹μ · x - μᵀΣ⁻¹μ / 2 + log π is the likeliest class. Because
n Σ = XᵀX - Σ_c n_c μ_c μ_cᵀ, the matrix is a sum over classes, and every task reuses the share of each of its classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import InvalidCellError, StageError
from imprint_sweep.imprinting.clusters import Clusters, by_class
from imprint_sweep.imprinting.components import (
    Additive,
    ClassSamples,
    JointGen,
    Keep,
    Making,
    Parameter,
    Piece,
    Rows,
    Share,
    Shared,
    Sizes,
    Value,
    Variant,
)
from imprint_sweep.imprinting.factorisation import factorised
from imprint_sweep.imprinting.gen import kmeans
from imprint_sweep.imprinting.gen.least_squares import CHUNK, class_mean, clusters, moment, moments, total_moment

Floats = NDArray[np.float64]

LEDOIT_WOLF, OAS = "ledoit_wolf", "oas"
EQUAL, EMPIRICAL = "equal", "empirical"


_ROUNDING = 2.0**-44
"""Less variance than this, relative to the mean square of the samples, is what rounding leaves of none."""


class LDA(Additive, JointGen):
    """A weight vector and a bias per class, or for each of k clusters of a class.

    The covariance is that of all samples about the means of their classes, whatever k.
    """

    name = "lda"
    label = "LDA"
    takes_k = True
    usual_k = 1
    seeded = True
    biased = True
    making = Making.IN_BATCHES
    parameters = (
        Parameter(
            "shrinkage",
            float,
            LEDOIT_WOLF,
            "How far the covariance is moved towards a multiple of the identity, 0 to 1; or the rule that says it.",
            least=0.0,
            most=1.0,
            words=(LEDOIT_WOLF, OAS),
        ),
        Parameter(
            "priors", str, EQUAL, "Whether proxies count alike, or by their samples.", choices=(EQUAL, EMPIRICAL)
        ),
    )

    def check(self, parameters: Mapping[str, Value], max_samples: int | None) -> None:
        """A covariance within classes takes two samples of one."""
        if max_samples == 1:
            raise InvalidCellError(
                "gen=lda takes the covariance of samples within classes, so n_shot must be at least 2 or null, got 1"
            )

    def draws(self, k: int | None) -> bool:
        """The only cluster holds all samples, whatever the seed."""
        return k != 1

    def together(self, given: ClassSamples, variants: Sequence[Variant]) -> None:
        """All clusterings of the class at once."""
        kmeans.fit_together(given, [variant for variant in variants if variant.k > 1])

    def prepare(self, given: ClassSamples, variant: Variant) -> None:
        """The second moment, the means, and what the rule of the shrinkage needs."""
        if given.room_for_moments:
            moment(given)
        if variant["shrinkage"] == LEDOIT_WOLF:
            _spread(given)
        clusters(given, variant.k, variant.seed)

    def solve(self, classes: Sequence[ClassSamples], task: Shared, variant: Variant) -> list[Rows]:
        """The weight vectors of each class, their biases in the last column."""
        d = classes[0].samples.shape[1]
        classes[0].reserve(3 * 8 * d**2, f"the covariance of {d:,} features", of_task=True)
        components = [clusters(given, variant.k, variant.seed) for given in classes]
        covariance = task.once(
            "covariance", variant["shrinkage"], lambda: _factorised(classes, task, variant["shrinkage"]), Keep.DRAW
        )
        solved = task.run("solve", lambda: weights(covariance, components, variant["priors"]))
        return by_class(solved, components)

    def share(self, given: ClassSamples, variant: Variant) -> Share:
        """The second moment; the mean and the clusters, and what the rule of the shrinkage needs."""
        spread = _spread(given) if variant["shrinkage"] == LEDOIT_WOLF else 0.0
        return Share(moment(given), _Own(clusters(given, 1, 0), clusters(given, variant.k, variant.seed), spread))

    def from_sums(self, total: Floats, own: Sequence[_Own], variant: Variant) -> list[Rows]:
        """The weight vectors of each class, their biases in the last column."""
        means, sizes = np.concatenate([of.whole.means for of in own]), np.concatenate([of.whole.sizes for of in own])
        spread = sum(of.spread for of in own)
        covariance = factorize(within_covariance(total.copy(), means, sizes), variant["shrinkage"], sizes, spread)
        components = [of.clusters for of in own]
        return by_class(weights(covariance, components, variant["priors"]), components)

    def joined(self, own: _Own, more: _Own, variant: Variant) -> _Own:
        """The mean of all samples of the class."""
        if variant.k > 1:
            raise StageError("gen=lda: with k > 1 the clusters of a class are found in all of its samples at once")
        if variant["shrinkage"] == LEDOIT_WOLF:
            raise StageError(
                f"gen=lda: gen.shrinkage={LEDOIT_WOLF} takes the distances of all samples of a class from their mean, "
                f"which moves; use {OAS} or a number"
            )
        whole = own.whole.joined(more.whole)
        return _Own(whole, whole, 0.0)

    def shares(self, variant: Variant) -> Hashable:
        """The clusterings of every (k, seed), with k-means."""
        return kmeans.KMEANS.shares(variant)

    def stays_with(self, variant: Variant) -> Hashable:
        """The second moments of all classes, with least squares."""
        return "moments"

    def solver(self, variant: Variant) -> Hashable:
        """One for each shrinkage."""
        return self.name, variant["shrinkage"]

    def batch_bytes(self, n: int, d: int, variant: Variant) -> int:
        """That of k-means, and the means of the clusters."""
        return (kmeans.KMEANS.batch_bytes(n, d, variant) if variant.k > 1 else 0) + 8 * variant.k * d

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """The second moment, the mean, the distances from it, and with k > 1 what k-means takes."""
        pieces = [*moments(of, d), Piece("class_means", None, of.n * d / 8e8)]
        if variant["shrinkage"] == LEDOIT_WOLF:
            pieces.append(Piece("spread", None, of.n * d / 4e8))
        if variant.k == 1:
            return pieces
        means = Piece("class_means", (variant.k, variant.seed), of.n * d / 8e8)
        return [*pieces, *kmeans.KMEANS.work(of, d, variant), means]

    def task_work(self, n: Floats, d: int, proxies: Floats, variant: Variant) -> Sequence[Piece]:
        """One factorisation for every k, seed and kind of priors, and the solution."""
        return [
            Piece("factorization", self.solver(variant), np.array(d**3 / 80e9 + d**2 / 1e8)),
            Piece("solve", variant, d**2 * (2 * proxies + 100) / 40e9),
        ]


@dataclass(frozen=True, eq=False)
class Covariance:
    """A shrunk covariance, factorised.

    Args:
        cholesky: (d, d) float64, the factor, lower triangular.
    """

    cholesky: Floats


@dataclass(frozen=True, eq=False)
class _Own:
    """What is kept of a class.

    Args:
        whole: its mean, and how many samples it has.
        clusters: what weight vectors are made from.
        spread: the sum of |x - mean|⁴, where the shrinkage needs it.
    """

    whole: Clusters
    clusters: Clusters
    spread: float


def within_covariance(moment_sum: Floats, means: Floats, sizes: NDArray[np.int64]) -> Floats:
    """The covariance of samples about the means of their classes, divided by their number.

    Second moments about zero are enough: the subtraction costs some 1e-15 of the squared means in float64, and means of
    embeddings are a few times as large as their spread.

    Args:
        moment_sum: (d, d) float64, the second moments of all classes added up; overwritten.
        means: (C, d) float64.
        sizes: (C,) samples of each class.

    Returns:
        (d, d) float64.

    Raises:
        StageError: it is zero, to rounding.
    """
    squares = np.trace(moment_sum)
    covariance = moment_sum
    covariance -= (means.T * sizes) @ means
    if np.trace(covariance) <= _ROUNDING * squares:
        raise StageError(
            "gen=lda: every sample equals the mean of its class, so there is no covariance within classes; take more "
            "samples (n_shot)"
        )
    covariance /= sizes.sum()
    return covariance


def spread(x: Rows, mean: Floats) -> float:
    """The sum of |x - mean|⁴ over (n, d) float32 samples, in float64."""
    total = 0.0
    for start in range(0, len(x), CHUNK):
        centred = x[start : start + CHUNK] - mean
        total += float((np.einsum("ij,ij->i", centred, centred) ** 2).sum())
    return total


def ledoit_wolf(covariance: Floats, n: int, spread: float) -> float:
    """The shrinkage of Ledoit & Wolf (2004), as scikit-learn computes it.

    Args:
        covariance: (d, d), of n samples about known means.
        n: samples.
        spread: the sum of |x - mean|⁴.
    """
    d = len(covariance)
    squares = float((covariance**2).sum())
    distance = squares - float(np.trace(covariance)) ** 2 / d
    noise = min((spread / n - squares) / n, distance)
    return max(noise, 0.0) / distance if distance > 0 else 0.0


def oas(covariance: Floats, n: int) -> float:
    """The oracle approximating shrinkage of Chen et al. (2010), as scikit-learn computes it; arguments as above."""
    d = len(covariance)
    square = float((covariance**2).mean())
    mean = (float(np.trace(covariance)) / d) ** 2
    distance = (n + 1) * (square - mean / d)
    return min((square + mean) / distance, 1.0) if distance > 0 and d > 1 else float(d > 1)


def factorize(covariance: Floats, shrinkage: float | str, sizes: NDArray[np.int64], spread: float) -> Covariance:
    """Move a covariance towards the identity times its mean variance, and factorise it.

    Args:
        covariance: (d, d); overwritten.
        shrinkage: 0 leaves it as it is, 1 makes it that multiple of the identity; or the rule that says it.
        sizes: (C,) samples of each class.
        spread: the sum of |x - mean|⁴, for ledoit_wolf.

    Raises:
        StageError: it is singular, to rounding: so is that of n <= d samples, or of a constant feature, if nothing
            moves it.
    """
    from scipy.linalg import LinAlgError

    n = int(sizes.sum())
    if isinstance(shrinkage, str):
        shrinkage = ledoit_wolf(covariance, n, spread) if shrinkage == LEDOIT_WOLF else oas(covariance, n)
    d = len(covariance)
    variance = float(np.trace(covariance)) / d
    covariance *= 1.0 - shrinkage
    covariance[np.diag_indices(d)] += shrinkage * variance
    try:
        return Covariance(factorised(covariance))
    except LinAlgError as error:
        raise StageError(
            f"gen=lda: with gen.shrinkage={shrinkage:g} the covariance of {n:,} samples of {d:,} features is singular "
            f"to rounding; raise it, or use gen.shrinkage={LEDOIT_WOLF}"
        ) from error


def weights(covariance: Covariance, classes: Sequence[Clusters], priors: str) -> Rows:
    """The weight vectors of all clusters of all classes, and their biases.

    Args:
        covariance: from :func:`factorize`.
        classes: the clusters of each class, in task order.
        priors: equal, or empirical: each cluster by its share of all samples.

    Returns:
        (clusters, d + 1) float32: Σ⁻¹μ, and in the last column -μᵀΣ⁻¹μ / 2 + log π.
    """
    from scipy.linalg import cho_solve

    means = np.concatenate([of.means for of in classes])
    sizes = np.concatenate([of.sizes for of in classes])
    prior = sizes / sizes.sum() if priors == EMPIRICAL else np.full(len(means), 1.0 / len(means))
    solution: Floats = cho_solve((covariance.cholesky, True), means.T, check_finite=False).T
    biases = np.log(prior) - np.einsum("ij,ij->i", means, solution) / 2
    return np.column_stack([solution, biases]).astype(np.float32)


def _spread(given: ClassSamples) -> float:
    return given.once("spread", None, lambda: spread(given.samples, class_mean(given)), Keep.DRAW)


def _factorised(classes: Sequence[ClassSamples], task: Shared, shrinkage: float | str) -> Covariance:
    total = total_moment(classes)
    sizes = np.array([len(given.samples) for given in classes])
    means = np.stack([class_mean(given) for given in classes])
    spread = sum(map(_spread, classes)) if shrinkage == LEDOIT_WOLF else 0.0
    return task.run(
        "factorization", lambda: factorize(within_covariance(total, means, sizes), shrinkage, sizes, spread)
    )


LINEAR_DISCRIMINANT = LDA()
