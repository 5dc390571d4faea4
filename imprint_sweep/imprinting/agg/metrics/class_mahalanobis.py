"""The Mahalanobis distance for the covariance of a proxy's own class (FeCAM, Goswami et al. 2023, arXiv 2309.14062).

The squared distance of query q and proxy p is (q̃ - p̃)ᵀ R⁻¹ (q̃ - p̃). R is made from the training samples of p's class:
their covariance, shrunk, and divided by the standard deviations; x̃ = x^λ is Tukey's transformation. With ``gen=mean``
this is FeCAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.agg.metrics.euclidean import EUCLIDEAN
from imprint_sweep.imprinting.agg.metrics.mahalanobis import Whitened, Whitening
from imprint_sweep.imprinting.components import (
    ClassMetric,
    ClassSamples,
    Keep,
    Map,
    Parameter,
    Piece,
    Rows,
    Sizes,
    Statistics,
)
from imprint_sweep.imprinting.factorisation import factorised
from imprint_sweep.imprinting.gen.least_squares import moment, moments, second_moment
from imprint_sweep.imprinting.vectors import Vectors


class ClassMahalanobis(Whitened, ClassMetric):
    """The length of the difference after a whitening for the samples of the proxy's class."""

    name = "class_mahalanobis"
    label = "class Mahalanobis"
    parameters = (
        Parameter(
            "shrinkage",
            float,
            1.0,
            "How many times a class's mean variance and mean covariance are added to its covariance.",
            least=0.0,
        ),
        Parameter(
            "tukey",
            float,
            1.0,
            "The power of the features that are compared by class; 1 leaves them as they are.",
            above=0.0,
        ),
    )

    def statistics(self, given: ClassSamples) -> Statistics:
        """The mean of the class and the whitening: ``center`` (d,), ``matrix`` (d, d) upper triangular."""
        n, d = given.samples.shape
        given.reserve(self.nbytes(d), f"the covariance of {d:,} features")
        power = self["tukey"]
        x = powered(given.samples, power, "training samples")
        if power == 1.0:
            of_zero = moment(given)
        else:
            of_zero = given.once("moment", ("tukey", power), lambda: second_moment(x), Keep.DRAW)

        def compute() -> Statistics:
            mean = x.mean(axis=0, dtype=np.float64)
            return {"center": mean, "matrix": whitener(correlation(of_zero, mean, n, self["shrinkage"]), n)}

        return given.run("class_covariance", compute)

    def map(self, of_class: Statistics) -> Map:
        """Tukey's transformation, then the whitening."""
        return _ClassMap(self["tukey"], Whitening(of_class["center"], of_class["matrix"], None))

    def work(self, of: Sizes, d: int) -> Sequence[Piece]:
        """The second moment, which least squares shares, and the whitening."""
        power = self["tukey"]
        (of_zero,) = moments(of, d)
        if power != 1.0:
            of_zero = Piece(of_zero.stage, ("tukey", power), of_zero.seconds)
        raised = of.n * d / 3e7 * (power != 1.0)
        values = tuple(self[own.name] for own in self.parameters)
        return [of_zero, Piece("class_covariance", values, raised + of.n * d / 8e8 + d**3 / 4e10)]

    def class_tensors(self, proxies: Rows, of_class: Statistics) -> dict[str, NDArray[Any]]:
        """The mapped proxies and the whitening, float64."""
        return {"proxies": self.map(of_class).transform(proxies).rows, **of_class}

    def on_tensors(self, queries: Any, of_proxies: Any) -> Any:
        """The distances of all pairs; NaN where a feature below 0 is raised to a power."""
        power = self["tukey"]
        x = queries if power == 1.0 else (queries**power).float().to(queries.dtype)
        return EUCLIDEAN.on_tensors((x - of_proxies["center"]) @ of_proxies["matrix"], of_proxies)


@dataclass(frozen=True, eq=False)
class _ClassMap:
    power: float
    whitening: Whitening

    @property
    def width(self) -> int:
        return self.whitening.width

    def transform(self, x: Rows) -> Vectors:
        return self.whitening.transform(powered(x, self.power, "queries and proxies"))


def powered(x: Rows, power: float, what: str) -> Rows:
    """Tukey's transformation: each feature to a power, in float64, rounded to float32.

    Args:
        x: (n, d) float32.
        power: positive; 1 leaves the rows as they are.
        what: the rows are, for the message.

    Returns:
        (n, d) float32.

    Raises:
        StageError: a feature is negative.
    """
    if power == 1.0:
        return x
    if x.min(initial=0.0) < 0.0:
        raise StageError(
            f"agg.tukey={power:g} raises features to a power, so none may be negative, but one of the {what} is "
            f"{x.min():g}; use agg.tukey=1, or embeddings of at least 0"
        )
    out = np.empty(x.shape, np.float32)
    np.power(x, power, out=out, dtype=np.float64, casting="same_kind")
    return out


def correlation(
    of_zero: NDArray[np.float64], mean: NDArray[np.float64], n: int, shrinkage: float
) -> NDArray[np.float64]:
    """The shrunk covariance, divided by the standard deviations that it has then.

    S becomes S + γ (V1 I + V2 (1 1ᵀ - I)), with V1 the mean of its diagonal and V2 that of all other elements. With one
    γ for both this is positive semidefinite. What S was divided by does not matter, as the division cancels it.

    Args:
        of_zero: (d, d) second moment XᵀX of the samples.
        mean: (d,) of the samples.
        n: samples.
        shrinkage: γ, at least 0.

    Returns:
        (d, d) with ones on the diagonal. A feature without variance is correlated with none; nor is any of a class
        whose samples are all equal.
    """
    d = len(mean)
    shrunk = of_zero / n - np.outer(mean, mean)
    # A variance that is the rounding of n squares is none.
    constant = np.diag(shrunk) <= n * np.finfo(np.float64).eps * np.diag(of_zero) / n
    shrunk[constant] = 0.0
    shrunk[:, constant] = 0.0
    trace = float(np.trace(shrunk))
    variance, covariance = trace / d, (float(shrunk.sum()) - trace) / max(d * (d - 1), 1)
    shrunk += shrinkage * covariance
    shrunk[np.diag_indices(d)] += shrinkage * (variance - covariance)
    deviation = np.sqrt(np.diag(shrunk))
    deviation[deviation == 0.0] = 1.0
    shrunk /= deviation
    shrunk /= deviation[:, None]
    shrunk[np.diag_indices(d)] = 1.0
    return shrunk


def whitener(correlations: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The upper triangular W with W Wᵀ = R⁻¹: rows times W have the distances that R⁻¹ defines.

    Args:
        correlations: R, (d, d) with ones on the diagonal; its memory is used for the result.
        n: samples that it was made from, for the message.

    Raises:
        StageError: R is singular to rounding.
    """
    from scipy.linalg import LinAlgError
    from scipy.linalg.lapack import dtrtri

    try:
        factor = factorised(correlations)
    except LinAlgError as error:
        raise StageError(
            f"agg.metric=class_mahalanobis: the covariance of a class of {n:,} samples with {len(correlations):,} "
            "features is singular to rounding; raise agg.shrinkage, or take more samples of each class"
        ) from error
    inverse, _ = dtrtri(factor, lower=1, overwrite_c=1)
    return np.ascontiguousarray(inverse.T)


CLASS_MAHALANOBIS = ClassMahalanobis()
