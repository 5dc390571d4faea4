"""Ranks and tests: do configurations differ over instances, and which pairs? Pure functions on arrays.

The way of Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 2006), with Wilcoxon's test in
place of Nemenyi's, as in Benavoli, Corani, Mangili, "Should We Really Use Post-Hoc Tests Based on Mean-Ranks?" (JMLR
2016): average ranks, Friedman's test, pairwise signed-rank tests, Holm's correction, cliques of what does not differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import networkx as nx
import numpy as np
import scipy  # scipy.stats is loaded when it is first used: half a second that not every artefact needs
from numpy.typing import NDArray

from imprint_sweep.analysis.artefact import Floats

Flags = NDArray[np.bool_]
N = TypeVar("N", bound=np.generic)

MANY = 200
"""With more non-zero differences the normal approximation is used: it is as good, and counting takes n³ steps."""

FEW = 13
"""The published diagrams approximate where any of more than this many differences is zero."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """How k configurations compare over n instances.

    Args:
        ranks: (k,) average ranks, 1 = best; ties count on average, or densely in the published way.
        friedman: the p-value of Friedman's test; None for fewer than three configurations.
        tested: whether pairs were tested: Friedman rejects, or there are two configurations.
        p: (k, k) of the two-sided signed-rank tests, symmetric, 1 on the diagonal; NaN if not tested.
        adjusted: (k, k) the same after Holm's correction over all k (k - 1) / 2 pairs.
        differ: (k, k) which pairs differ significantly.
        identical: (k, k) which pairs have the same result on every instance; False on the diagonal.
        cliques: maximal groups of two or more that do not differ, best first; empty if not tested.
    """

    ranks: Floats
    friedman: float | None
    tested: bool
    p: Floats
    adjusted: Floats
    differ: Flags
    identical: Flags
    cliques: tuple[tuple[int, ...], ...]


def rank(n_correct: Floats, n_test: Floats, *, alpha: float = 0.05, published: bool = False) -> Ranking:
    """Rank configurations and test whether they differ ("How a comparison is made", step 5).

    Args:
        n_correct: (n, k) of each configuration on each instance: whole numbers, or halves where a median is one.
        n_test: (n,) of each instance.
        alpha: level of Friedman's test, and of all pairs together.
        published: pairs with identical results count as different, and ties in ranks densely; p-values of pairs with
            a tie are approximate (see :func:`signed_rank`).

    Raises:
        ValueError: there is no instance or no configuration.
    """
    n, k = n_correct.shape
    if n == 0 or k == 0:
        raise ValueError(f"ranking needs at least one instance and one configuration, got {n} and {k}")
    first, second = np.triu_indices(k, 1)
    identical = _symmetric((n_correct[:, first] == n_correct[:, second]).all(axis=0), k, diagonal=False)
    ranks = ranks_within(n_correct, ties="dense" if published else "average").mean(axis=0)
    p_of_all = friedman(n_correct) if k > 2 else None
    tested = k == 2 or (p_of_all is not None and p_of_all < alpha)
    if not tested:
        nothing = np.full((k, k), np.nan)
        return Ranking(ranks, p_of_all, False, nothing, nothing, np.zeros((k, k), np.bool_), identical, ())
    # A difference of whole numbers, divided once: equal shares stay equal, whatever accuracies round to.
    differences = (n_correct[:, first] - n_correct[:, second]) / n_test[:, None]
    p = np.array([signed_rank(column, published=published) for column in differences.T])
    adjusted = holm(p)
    differ = _symmetric(adjusted <= alpha, k, diagonal=False)
    if published:
        differ |= identical
    return Ranking(
        ranks,
        p_of_all,
        True,
        _symmetric(p, k, diagonal=1.0),
        _symmetric(adjusted, k, diagonal=1.0),
        differ,
        identical,
        cliques(~differ, ranks),
    )


def ranks_within(scores: Floats, ties: Literal["average", "dense"] = "average") -> Floats:
    """Rank within each row, 1 for the highest score.

    Args:
        scores: (n, k).
        ties: equal scores share the mean of their ranks (1.5, 1.5, 3), or count densely (1, 1, 2).

    Returns:
        (n, k) float64.

    >>> ranks_within(np.array([[0.9, 0.9, 0.4]])).tolist(), ranks_within(np.array([[0.9, 0.9, 0.4]]), "dense").tolist()
    ([[1.5, 1.5, 3.0]], [[1.0, 1.0, 2.0]])
    """
    return np.asarray(scipy.stats.rankdata(-scores, method=ties, axis=1), np.float64)


def friedman(scores: Floats) -> float:
    """The p-value of Friedman's test, corrected for ties: do any of the columns differ?

    Args:
        scores: (n, k), k >= 3.

    Returns:
        1 if no row tells any two columns apart.
    """
    if (scores == scores[:, :1]).all():
        return 1.0  # SciPy divides zero by zero
    return float(scipy.stats.friedmanchisquare(*scores.T).pvalue)


def signed_rank(differences: Floats, *, published: bool = False) -> float:
    """The p-value of Wilcoxon's two-sided signed-rank test; zeros take part in the ranking (Pratt).

    Exact: all 2ⁿ signs of the n non-zero differences are equally likely, and the sums of their ranks are counted, be
    ranks tied or sizes zero. So no p-value is below 2 / 2ⁿ, however many zeros there are. Only for more than
    :data:`MANY` non-zero differences this is SciPy's normal approximation. (SciPy's "exact" takes untied ranks for
    granted; its default approximates as soon as one of more than 13 differences is zero or tied.)

    Args:
        differences: (n,).
        published: approximate also where one of more than :data:`FEW` differences is zero, as the paper's diagrams do.

    Returns:
        1 if all differences are zero.
    """
    zero = differences == 0
    if zero.all():
        return 1.0
    if np.count_nonzero(~zero) > MANY or (published and zero.any() and len(differences) > FEW):
        return float(scipy.stats.wilcoxon(differences, zero_method="pratt").pvalue)
    # Ranks of tied sizes end in a half: counted in halves they are whole.
    halves = np.rint(2 * scipy.stats.rankdata(np.abs(differences)))[~zero].astype(np.int64)
    positive = differences[~zero] > 0
    least = int(min(halves[positive].sum(), halves[~positive].sum()))
    share = np.zeros(least + 1)  # of the signs for which the positive ranks sum to 0, 1, ... halves
    share[0] = 1.0
    for half in halves:
        # Halving is exact, so with up to 53 differences every share is.
        share *= 0.5
        share[half:] += share[: max(0, least + 1 - half)].copy()
    return min(1.0, 2 * float(share.sum()))


def holm(p: Floats) -> Floats:
    """Holm's step-down correction: a hypothesis is rejected at level alpha if its corrected p is at most alpha.

    Args:
        p: (K,).

    Returns:
        (K,) in the same order, at most 1.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)


def cliques(alike: Flags, ranks: Floats) -> tuple[tuple[int, ...], ...]:
    """Maximal groups of two or more of which each pair is alike.

    They need not be neighbours in rank: a pair can differ although a pair further apart does not.

    Args:
        alike: (k, k) symmetric; the diagonal does not matter.
        ranks: (k,) orders the members of a group, and the groups.
    """
    order = {int(member): place for place, member in enumerate(np.argsort(ranks, kind="stable"))}
    graph = nx.Graph(zip(*np.nonzero(np.triu(alike, 1)), strict=True))
    groups = [sorted(order[int(member)] for member in group) for group in nx.find_cliques(graph)]
    members = list(order)
    return tuple(tuple(members[place] for place in group) for group in sorted(groups))


def needed(pairs: int, alpha: float = 0.05) -> int:
    """The fewest non-zero differences with which any of some pairs could differ significantly.

    With n of them no two-sided signed-rank p-value is below 2 / 2ⁿ, and Holm's first step asks for alpha / pairs.

    >>> needed(1), needed(10)
    (6, 9)
    """
    return int(np.ceil(1 + np.log2(pairs / alpha)))


def _symmetric(of_pairs: NDArray[N], k: int, diagonal: float | bool) -> NDArray[N]:
    """The (k, k) matrix of what is known of its k (k - 1) / 2 pairs, in the order of ``np.triu_indices``."""
    matrix = np.full((k, k), diagonal, of_pairs.dtype)
    upper = np.triu_indices(k, 1)
    matrix[upper] = of_pairs
    matrix.T[upper] = of_pairs
    return matrix
