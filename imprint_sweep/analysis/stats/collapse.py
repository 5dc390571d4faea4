"""Neural collapse: NC1, how far samples scatter about their class means against how far the means lie apart (Eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # scipy.stats is loaded when it is first used: half a second that not every artefact needs
from numpy.typing import NDArray

from imprint_sweep.errors import StageError

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

INDISTINCT = 1e-9
"""Class means that lie no further apart than this, measured by their length, count as equal: samples are float32."""


@dataclass(frozen=True)
class Collapse:
    """NC1 of one task.

    Args:
        nc1: trace(Σ_W Σ_B⁺) / C, each class centred on its own mean.
        nc1_published: as the paper's figures have it, see :func:`measure`.
        rank: of Σ_B, at most C - 1.
        n_samples: samples of all classes together.
    """

    nc1: float
    nc1_published: float
    rank: int
    n_samples: int


def measure(classes: Sequence[Iterable[Vectors]]) -> Collapse:
    """NC1 on L2-normalised embeddings, in float64 (section 3.2, Eq. 1; Papyan et al. 2020).

    Σ_W is the mean over classes of the covariance within each, Σ_B the covariance of the class means around their mean,
    both divided by counts. Classes weigh equally whatever their sizes; neither their order nor that of samples matters.

    No d x d matrix is formed. With A the C x d centred class means, the eigenvectors u of the C x C Gram matrix A Aᵀ
    (eigenvalues λ) give the axes √C Aᵀ u / λ, on which Σ_B is the identity: NC1 is the mean squared length of centred
    samples on these axes, divided by C. Axes with λ ≤ C ε λ_max are left out (the cut of `numpy.linalg.matrix_rank`; ε
    is float64's), and so is the smallest: A has rank C - 1 at most.

    The published code subtracts μ_G, the mean of all *samples*, from the class means, divides their second moment by C
    for Σ_B, and centres raw samples on μ_c - μ_G. That adds μ_G to every sample centred on its own mean, and as those
    average to zero within each class, exactly μ_Gᵀ Σ_B⁺ μ_G / C to their scatter. In classes of equal size its Σ_B is
    ours. In others a large class pulls μ_G towards its own mean; A still has rank C - 1 at most, as its rows weighted
    by the sizes sum to zero.

    Args:
        classes: of each class its samples as blocks (n, d), finite, at least one sample; every class is read twice.
            A zero vector stays zero.

    Raises:
        StageError: a single class, or class means that are all equal: there is nothing to compare the scatter with.
    """
    n_classes = len(classes)
    if n_classes < 2:
        raise StageError(f"NC1 compares classes: expected at least two labels, got {n_classes}")
    summed = [_sum(blocks) for blocks in classes]
    means = np.stack([total / n for total, n in summed])
    n_samples = sum(n for _, n in summed)
    of_samples = np.sum([total for total, _ in summed], axis=0) / n_samples
    scale = float(np.linalg.norm(means, axis=1).max())
    axes, published = _axes(means - means.mean(axis=0), scale), _axes(means - of_samples, scale)
    both = np.hstack([axes, published])
    scatter = np.mean(
        [_scatter(blocks, mean, both) / n for blocks, mean, (_, n) in zip(classes, means, summed, strict=True)], axis=0
    )
    own, theirs = np.split(scatter, [axes.shape[1]])
    shift = of_samples @ published
    return Collapse(
        nc1=float(own.sum()) / n_classes,
        nc1_published=float(theirs.sum() + shift @ shift) / n_classes,
        rank=axes.shape[1],
        n_samples=n_samples,
    )


def _axes(centered: Floats, scale: float) -> Floats:
    """The (d, rank) axes on which the second moment of the centred class means is the identity.

    Args:
        centered: (C, d) class means around a weighted mean of theirs.
        scale: the length of the longest class mean.
    """
    n_classes = len(centered)
    eigenvalues, vectors = np.linalg.eigh(centered @ centered.T)
    largest = eigenvalues[-1]
    if largest <= (INDISTINCT * scale) ** 2:
        raise StageError(
            f"NC1 is undefined: the means of all {n_classes} labels are equal, nothing lies between the classes"
        )
    kept = eigenvalues > n_classes * np.finfo(np.float64).eps * largest
    kept[0] = False
    axes: Floats = np.sqrt(n_classes) * (centered.T @ (vectors[:, kept] / eigenvalues[kept]))
    return axes


def _sum(blocks: Iterable[Vectors]) -> tuple[Floats, int]:
    """The sum of a class's normalised samples (d,), and how many they are."""
    total, n = np.zeros(()), 0
    for block in _unit(blocks):
        total = total + block.sum(axis=0)
        n += len(block)
    return total, n


def _scatter(blocks: Iterable[Vectors], mean: Floats, axes: Floats) -> Floats:
    """The squares of a class's centred samples on each of the axes, summed over samples."""
    total = np.zeros(axes.shape[1])
    for block in _unit(blocks):
        # Centred before they are projected: of a collapsed class little but the mean would be left afterwards.
        block -= mean
        projected = block @ axes
        total += np.einsum("ij,ij->j", projected, projected)
    return total


def _unit(blocks: Iterable[Vectors]) -> Iterator[Floats]:
    """Float64 copies with rows of length one; zero rows stay zero."""
    for block in blocks:
        unit = block.astype(np.float64)
        lengths = np.linalg.norm(unit, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        unit /= lengths
        yield unit


ENOUGH = 3
"""Points that a correlation takes at least: through two there is always a line."""

DECIMALS = 9
"""Gains in percentage points that agree to so many decimals are equal: with up to 10,000 test samples they are
multiples of 0.01 or of a fraction of it."""

FEW = 8
"""With more points the p-value of a rank correlation is approximate; up to here all orders are counted."""


@dataclass(frozen=True)
class Relation:
    """How a gain goes with NC1 (Fig. 12).

    Args:
        spearman: Spearman's rank correlation.
        p: its two-sided p-value: by Student's t as published, exact for up to :data:`FEW` points.
        slope, intercept: of the least-squares line of the gain over log10 NC1.
        r2: the share of the gain's variance that the line explains.
    """

    spearman: float
    p: float
    slope: float
    intercept: float
    r2: float


def relation(nc1: Floats, gain: Floats) -> Relation | None:
    """Rank correlation of a gain with NC1, and least squares on log10 NC1.

    Args:
        nc1: (n,) positive.
        gain: (n,).

    Returns:
        None for fewer than :data:`ENOUGH` points, and if all have the same NC1 or the same gain.
    """
    if len(nc1) < ENOUGH or np.ptp(nc1) == 0 or np.ptp(gain) == 0:
        return None
    # Equal differences of different accuracies can differ in their last bit, which is no order.
    gain = np.round(gain, DECIMALS)
    found = scipy.stats.spearmanr(nc1, gain)
    p = _exact_p(nc1, gain) if len(nc1) <= FEW else found.pvalue
    line = scipy.stats.linregress(np.log10(nc1), gain)
    return Relation(float(found.statistic), float(p), float(line.slope), float(line.intercept), float(line.rvalue) ** 2)


def _exact_p(x: Floats, y: Floats) -> float:
    """The two-sided p-value of Spearman's correlation over all pairings."""
    of_y = scipy.stats.rankdata(y)

    def products(of_x: Floats, axis: int = -1) -> Floats:
        """Goes up with the correlation, as both sets of ranks are given."""
        return np.asarray(of_x @ of_y)

    ranks, orders = (scipy.stats.rankdata(x),), math.factorial(FEW)
    found = scipy.stats.permutation_test(
        ranks, products, permutation_type="pairings", n_resamples=orders, vectorized=True
    )
    return float(found.pvalue)
