"""Ranks and tests against SciPy, statsmodels, full enumeration, hand-worked cases and the p-values of the paper."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from imprint_sweep.analysis.data import published
from imprint_sweep.analysis.stats.ranking import (
    MANY,
    cliques,
    friedman,
    holm,
    needed,
    rank,
    ranks_within,
    signed_rank,
)

Floats = NDArray[np.float64]

LEAST = 7.105427357601002e-15
"""2 / 2**48: 48 differences of one sign."""

small_differences = arrays.arrays(np.float64, st.integers(1, 10), elements=st.integers(-4, 4).map(float))
counts = arrays.arrays(
    np.float64, st.tuples(st.integers(2, 12), st.integers(3, 6)), elements=st.integers(0, 9).map(float)
)


def by_enumeration(differences: Floats) -> float:
    """The p-value from all signs that the ranks could have had."""
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    positive = differences[differences != 0] > 0
    least = min(ranks[positive].sum(), ranks[~positive].sum())
    sums = np.array([sum(chosen) for n in range(len(ranks) + 1) for chosen in itertools.combinations(ranks, n)])
    return min(1.0, 2 * float((sums <= least).mean()))


def differences_of(rank_sum: float, *, zeros: int = 0, tied: int = 0, n: int = 48) -> Floats:
    """Differences of which the negative ones have a given sum of ranks.

    Args:
        rank_sum: that sum; zeros take part in the ranking.
        zeros: how many are zero.
        tied: how many pairs of the others have the same size.
        n: how many there are.
    """
    for first_tied in (n - 2 * tied, zeros):  # among the largest, else among the smallest
        sizes = np.arange(1.0, n + 1)
        sizes[:zeros] = 0
        for place in range(first_tied, first_tied + 2 * tied, 2):
            sizes[place] = sizes[place + 1]
        halves = np.rint(2 * stats.rankdata(sizes)).astype(int).tolist()
        left = round(2 * rank_sum)
        reachable = [{0}]
        for half in halves[zeros:]:
            reachable.append(reachable[-1] | {total + half for total in reachable[-1] if total + half <= left})
        if left not in reachable[-1]:
            continue
        for place in reversed(range(zeros, n)):
            if left not in reachable[place - zeros]:
                sizes[place], left = -sizes[place], left - halves[place]
        return sizes
    raise AssertionError(f"no {n} differences have a rank sum of {rank_sum}")


# --- the signed-rank test ---------------------------------------------------------------------------------------------


def test_48_differences_of_one_sign_have_the_published_p_value() -> None:
    rng = np.random.default_rng(0)
    assert signed_rank(rng.integers(1, 500, 48) / 10_000) == LEAST  # tied or not
    assert signed_rank(-rng.uniform(0.1, 1, 48)) == LEAST


@pytest.mark.parametrize(
    ("p", "rank_sum", "zeros", "tied"),
    [
        # exact
        (0.00696877055073486, 328, 0, 0),  # Fig. 2, Qi and Janson
        (0.866842398448064, 571, 0, 0),  # Fig. 8, max and 50-nn
        (2.3447910280083306e-13, 9, 0, 0),  # max and 3-nn
        (9.271630574403389e-09, 85, 0, 0),  # 3-nn and 50-nn
        (3.8551952741272544e-08, 101, 0, 0),  # max and 20-nn
        (7.105427357601002e-14, 5, 0, 0),  # Fig. 9, max and 5-nn
        (5.4143356464919634e-12, 24, 0, 0),  # max and 3-nn
        (6.423306331271306e-12, 25, 0, 0),  # 20-nn and 50-nn
        # with zeros
        (2.3249055551682568e-05, 174, 2, 2),  # Fig. 2, Qi and Hosoda
        (0.00019654242290023075, 223.5, 2, 2),  # Janson and Hosoda
        (0.7080786544642487, 548.5, 3, 2),  # Fig. 8, 3-nn and 20-nn
        (2.0334988543495002e-09, 3, 1, 2),  # 5-nn and 50-nn
        (5.6815542961782025e-09, 19.5, 1, 2),  # max and 5-nn
        (1.007358645914269e-05, 157, 1, 3),  # 3-nn and 5-nn
        (7.053033487826415e-05, 200, 1, 1),  # 5-nn and 20-nn
        (2.964927026943099e-09, 9, 1, 1),  # Fig. 9, 3-nn and 5-nn
    ],
)
def test_every_other_published_p_value_has_differences_that_give_it(
    p: float, rank_sum: float, zeros: int, tied: int
) -> None:
    """The published differences are unknown; these have the only rank sum, zeros and ties that give the p-value."""
    differences = differences_of(rank_sum, zeros=zeros, tied=tied)
    assert signed_rank(differences, published=True) == pytest.approx(p, rel=1e-12)
    # With zeros the published ones are approximate, and far too large in the tail.
    assert (signed_rank(differences) == pytest.approx(p, rel=1e-12)) == (zeros == 0)
    stated = [value for name in ("fig2", "fig8", "fig9") for value in published.comparison(name).p.values()]
    assert p in stated


@given(small_differences)
def test_few_differences_are_counted_out_tied_or_zero(differences: Floats) -> None:
    assert signed_rank(differences) == pytest.approx(by_enumeration(differences), rel=1e-12)


@given(small_differences, st.integers(0, 60))
def test_zeros_and_ties_are_counted_out_however_many_they_are(differences: Floats, zeros: int) -> None:
    differences = np.concatenate([np.zeros(zeros), differences])
    assert signed_rank(differences) == pytest.approx(by_enumeration(differences), rel=1e-12)


@pytest.mark.parametrize(("zeros", "unequal"), [(44, 4), (45, 3), (47, 1), (300, 5), (2, 12), (0, 4)])
def test_no_p_value_is_below_what_the_signs_of_the_unequal_allow(zeros: int, unequal: int) -> None:
    """A tie is no evidence: of 48 instances that differ on four, all for the better, p is 2 / 2⁴ and not 0.0456."""
    assert signed_rank(np.append(np.zeros(zeros), np.arange(1.0, unequal + 1))) == 2 / 2**unequal
    assert signed_rank(np.append(np.zeros(zeros), np.full(unequal, 0.5))) == 2 / 2**unequal


def test_ties_are_called_different_no_more_often_than_the_level_allows() -> None:
    """Under the null, with four unequal instances of 48, no sign pattern is significant; two of 2⁵ are at 0.0625."""
    patterns = np.array(list(itertools.product([-1.0, 1.0], repeat=6)))
    sizes = np.array([1.0, 2, 2, 5, 7, 7])
    for unequal, most in ((4, 0.0), (5, 0.0), (6, 0.05)):
        p = [signed_rank(np.append(np.zeros(44), signs[:unequal] * sizes[:unequal])) for signs in patterns]
        assert np.mean(np.array(p) <= 0.05) <= most


@pytest.mark.parametrize("zeros", [1, 4])
def test_with_zeros_the_exact_distribution_is_scipys(zeros: int) -> None:
    rng = np.random.default_rng(zeros)
    differences = np.append(np.zeros(zeros), rng.integers(1, 6, 8) * rng.choice([-1, 1, 1], 8))
    every_sign = stats.PermutationMethod(n_resamples=2 ** len(differences))
    expected = stats.wilcoxon(differences, zero_method="pratt", method=every_sign).pvalue
    assert signed_rank(differences) == pytest.approx(expected, rel=1e-10)


@given(st.integers(14, 50), st.integers(0, 2**32))
def test_without_ties_the_exact_distribution_is_scipys(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.permutation(np.arange(1.0, n + 1)) * rng.choice([-1, 1], n)
    assert signed_rank(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, rel=1e-10)


def test_published_p_values_with_zeros_are_scipys_normal_approximation() -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(-20, 30, 48).astype(float)
    differences[:3] = 0
    expected = stats.wilcoxon(differences, zero_method="pratt", method="approx").pvalue
    assert signed_rank(differences, published=True) == expected
    assert expected != pytest.approx(stats.wilcoxon(differences, method="approx").pvalue)  # zeros dropped
    assert signed_rank(differences) == pytest.approx(expected, rel=0.05)
    assert signed_rank(differences) != expected


def test_the_approximation_takes_over_where_it_is_as_good() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(0.15, 1, MANY)
    approximate = stats.wilcoxon(exact, method="approx").pvalue
    assert signed_rank(exact) != approximate
    assert signed_rank(exact) == pytest.approx(approximate, rel=0.02)
    more = np.append(exact, 0.5)
    assert signed_rank(more) == stats.wilcoxon(more, method="approx").pvalue
    # What counts is how many are not zero.
    tied = np.append(np.zeros(100), exact)
    assert signed_rank(tied) != stats.wilcoxon(tied, zero_method="pratt", method="approx").pvalue
    tied = np.append(np.zeros(100), more)
    assert signed_rank(tied) == stats.wilcoxon(tied, zero_method="pratt", method="approx").pvalue


@given(small_differences, st.permutations(range(10)), st.sampled_from([2.0, 3.0, 1e-4]))
def test_order_sign_and_unit_of_the_differences_do_not_matter(
    differences: Floats, order: list[int], unit: float
) -> None:
    p = signed_rank(differences)
    shuffled = differences[[place for place in order if place < len(differences)]]
    assert signed_rank(shuffled) == p
    assert signed_rank(-differences) == p
    assert signed_rank(unit * differences) == p


def test_no_difference_is_no_evidence() -> None:
    assert signed_rank(np.zeros(48)) == 1
    assert signed_rank(np.array([0.1])) == 1


# --- ranks, Friedman, Holm --------------------------------------------------------------------------------------------


@given(counts)
def test_ranks_sum_to_what_ranks_sum_to_and_agree_with_scipy(scores: Floats) -> None:
    ranks = ranks_within(scores)
    k = scores.shape[1]
    assert ranks.sum(axis=1) == pytest.approx(k * (k + 1) / 2)
    for row, of_row in zip(scores, ranks, strict=True):
        assert of_row.tolist() == stats.rankdata([-score for score in row]).tolist()
    dense = ranks_within(scores, "dense")
    assert [len(set(row)) for row in scores] == dense.max(axis=1).tolist()


@given(counts)
def test_friedman_is_conovers_statistic(scores: Floats) -> None:
    """Conover, Practical Nonparametric Statistics, 5.8: ties enter through the sum of squared ranks."""
    n, k = scores.shape
    ranks = ranks_within(scores)
    squares = (ranks**2).sum() - n * k * (k + 1) ** 2 / 4
    if squares == 0:
        assert friedman(scores) == 1
        return
    statistic = (k - 1) * ((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum() / squares
    assert friedman(scores) == pytest.approx(stats.chi2.sf(statistic, k - 1), rel=1e-9)


@pytest.mark.parametrize("K", [1, 2, 10, 15, 36])  # few: statsmodels collects garbage in every call
def test_holm_agrees_with_statsmodels(K: int) -> None:
    rng = np.random.default_rng(K)
    p = rng.choice(rng.uniform(0, 0.1, K) ** 2, K)  # some equal
    rejected, adjusted, *_ = multipletests(p, alpha=0.05, method="holm")
    assert holm(p) == pytest.approx(adjusted, rel=1e-12)
    assert (holm(p) <= 0.05).tolist() == rejected.tolist()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array))
def test_holm_keeps_order_and_only_ever_raises(p: Floats) -> None:
    adjusted = holm(p)
    assert (p <= adjusted).all()
    assert (adjusted <= np.minimum(1, len(p) * p)).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_holm_steps_down() -> None:
    """Once one is not rejected no larger one is, although 0.02 alone would pass its own step, 0.05 / 2."""
    assert holm(np.array([0.001, 0.019, 0.02])).tolist() == pytest.approx([0.003, 0.038, 0.038])
    assert holm(np.array([0.02, 0.018, 0.019])).tolist() == pytest.approx([0.054, 0.054, 0.054])


def test_the_fewest_unequal_instances_that_can_tell() -> None:
    for pairs in (1, 3, 10, 36):
        n = needed(pairs)
        assert holm(np.full(pairs, signed_rank(np.arange(1.0, n + 1))))[0] <= 0.05
        assert holm(np.full(pairs, signed_rank(np.arange(1.0, n))))[0] > 0.05
        # Ties add nothing.
        assert holm(np.full(pairs, signed_rank(np.append(np.zeros(48), np.arange(1.0, n)))))[0] > 0.05


# --- cliques ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 6).flatmap(lambda k: arrays.arrays(np.bool_, (k, k))), st.permutations(range(6)))
def test_cliques_are_the_largest_groups_without_a_difference(matrix: NDArray[np.bool_], order: list[int]) -> None:
    alike = matrix & matrix.T
    k = len(alike)
    ranks = np.array([place for place in order if place < k], dtype=np.float64)
    groups = [
        set(group)
        for size in range(2, k + 1)
        for group in itertools.combinations(range(k), size)
        if all(alike[a, b] for a, b in itertools.combinations(group, 2))
    ]
    largest = [group for group in groups if not any(group < other for other in groups)]
    found = cliques(alike, ranks)
    assert sorted(map(sorted, found)) == sorted(map(sorted, largest))
    assert all(list(group) == sorted(group, key=lambda member: ranks[member]) for group in found)


def test_a_clique_need_not_be_neighbours_in_rank() -> None:
    alike = np.ones((3, 3), np.bool_)
    alike[0, 1] = alike[1, 0] = False
    assert cliques(alike, np.array([1.0, 2.0, 3.0])) == ((0, 2), (1, 2))


# --- all together -----------------------------------------------------------------------------------------------------

# Found by search: the p-values and average ranks of Fig. 2 have many tables; the paper's is unknown.
QI = """
 224 115 1004 691 118 554 752 343 -38 -1444 275 409 119 -130 1053 -496 -272 412 389 416 430 310 260 -49 297 -413 163 649
 391 574 339 -290 275 -429 -232 652 61 242 545 -315 -106 295 1079 -53 441 226 386 267"""
JANSON = """
 197 279 263 768 -43 -71 102 -641 151 -263 -279 -538 144 -495 322 -157 85 772 49 442 485 -305 101 3247 -80 439 120 303
 -176 373 -520 -271 -205 -369 -468 346 567 -416 172 -523 -18 71 -19 43 472 -205 219 -294"""
HOSODA = """
 -141 305 -306 149 -309 -359 -362 -414 213 -1931 -367 -634 161 -1167 -200 -98 256 220 -257 -348 -348 -345 367 281 -474
 -292 320 -353 433 87 -517 -226 -1616 -369 -232 -205 646 -416 49 -315 75 -277 -288 304 97 -511 -161 -849"""


def test_a_table_with_all_p_values_and_ranks_of_fig_2() -> None:
    qi, janson, hosoda = (np.array(column.split(), np.float64) for column in (QI, JANSON, HOSODA))
    ours, oracle = np.full(48, 10_000.0), np.full(48, 20_000.0)
    columns = {
        "Qi et al. 2018": qi,
        "Hosoda et al. 2024": hosoda,
        "Janson et al. 2022": janson,
        "Ours (the paper's)": ours,
        "Oracle (least squares)": oracle,
    }
    n_correct = 50_000 + np.stack(list(columns.values()), axis=1)
    found = rank(n_correct, np.full(48, 100_000.0), published=True)
    stated = published.comparison("fig2")
    assert dict(zip(columns, found.ranks, strict=True)) == pytest.approx(stated.rank, abs=1e-3)
    names = list(columns)
    assert len(stated.p) == 10
    for pair, p in stated.p.items():
        first, second = sorted(map(names.index, pair))
        assert found.p[first, second] == pytest.approx(p, rel=1e-12)
    # Every pair differs: no bars.
    assert found.cliques == ()
    assert found.differ.sum() == 5 * 4


def fig8() -> tuple[Floats, Floats]:
    """n_correct of 3-nn, 5-nn, 20-nn, max, 1-nn, 50-nn with the published bars and the published p-values of them."""
    near = differences_of(548.5, zeros=3, tied=2)
    far = differences_of(571)
    five = np.full(48, 9_500.0)
    twenty = np.full(48, 9_000.0)
    largest = np.full(48, 8_000.0)
    return np.stack([twenty + near, five, twenty, largest, largest, largest - far], axis=1), np.full(48, 10_000.0)


def test_a_table_with_the_bars_of_fig_8() -> None:
    n_correct, n_test = fig8()
    found = rank(n_correct, n_test)
    assert found.tested
    assert found.p[0, 2] == pytest.approx(0.7080786544642487, rel=0.01)  # three ties: published is an approximation
    assert found.p[3, 5] == pytest.approx(0.866842398448064, rel=1e-12)
    assert found.p[3, 4] == 1
    assert found.p[1, 3] == LEAST
    assert found.adjusted[1, 3] == pytest.approx(15 * LEAST)
    names = ("3-nn", "5-nn", "20-nn", "max", "1-nn", "50-nn")
    bars = {frozenset(names[member] for member in group) for group in found.cliques}
    assert bars == {frozenset({"20-nn", "3-nn"}), frozenset({"50-nn", "max", "1-nn"})}


def test_the_published_way_keeps_identical_results_apart_and_counts_ties_densely() -> None:
    n_correct, n_test = fig8()
    ours, theirs = rank(n_correct, n_test), rank(n_correct, n_test, published=True)
    names = ("3-nn", "5-nn", "20-nn", "max", "1-nn", "50-nn")
    bars = {frozenset(names[member] for member in group) for group in theirs.cliques}
    assert bars == {frozenset({"20-nn", "3-nn"}), frozenset({"50-nn", "max"}), frozenset({"50-nn", "1-nn"})}
    assert theirs.differ[3, 4]
    assert not ours.differ[3, 4]
    # Holm's K counts the pair in both.
    assert theirs.adjusted.tolist() == ours.adjusted.tolist()
    assert ours.ranks[3] == ours.ranks[4]
    assert theirs.ranks[1] == 1
    assert theirs.ranks.max() <= 5 < ours.ranks.max()


def test_without_evidence_no_pair_is_tested() -> None:
    rng = np.random.default_rng(0)
    found = rank(rng.integers(0, 100, (10, 4)).astype(float), np.full(10, 100.0))
    assert found.friedman is not None
    assert found.friedman > 0.05
    assert not found.tested
    assert np.isnan(found.p).all()
    assert not found.differ.any()
    assert found.cliques == ()


def test_two_are_tested_without_friedman() -> None:
    n_correct = np.stack([np.arange(10.0) + 1, np.arange(10.0)], axis=1)
    found = rank(n_correct, np.full(10, 20.0))
    assert found.friedman is None
    assert found.tested
    assert found.p[0, 1] == 2 / 2**10
    assert found.differ[0, 1]
    assert found.ranks.tolist() == [1, 2]


def test_one_configuration_and_one_instance_are_ranked_and_not_tested() -> None:
    alone = rank(np.array([[5.0], [6.0]]), np.array([10.0, 10.0]))
    assert alone.ranks.tolist() == [1]
    assert not alone.tested
    once = rank(np.array([[5.0, 6.0, 7.0]]), np.array([10.0]))
    assert once.ranks.tolist() == [3, 2, 1]
    assert not once.tested


def test_nothing_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="at least one instance"):
        rank(np.empty((0, 3)), np.empty(0))


@given(counts, st.integers(0, 2**32))
def test_the_order_of_instances_and_configurations_does_not_matter(scores: Floats, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k = scores.shape
    rows, columns = rng.permutation(n), rng.permutation(k)
    n_test = np.array(rng.integers(10, 20, n), np.float64)
    before = rank(scores, n_test)
    after = rank(scores[rows][:, columns], n_test[rows])
    assert after.ranks == pytest.approx(before.ranks[columns])
    assert after.friedman == pytest.approx(before.friedman)
    if before.tested == after.tested:  # a p-value at the level itself may round to either side
        assert after.p == pytest.approx(before.p[np.ix_(columns, columns)], nan_ok=True)
        back = {frozenset(int(columns[member]) for member in group) for group in after.cliques}
        assert back == {frozenset(group) for group in before.cliques}


def test_equal_shares_of_different_tests_stay_equal() -> None:
    """0.7 - 0.4 and 0.6 - 0.3 differ in floating point; 3 / 10 and 6 / 20 do not."""
    n_correct = np.array([[7.0, 4.0], [6.0, 3.0], [14.0, 20.0], [1.0, 0.0]])
    n_test = np.array([10.0, 10.0, 20.0, 10.0])
    assert 0.7 - 0.4 != 0.6 - 0.3
    assert rank(n_correct, n_test).p[0, 1] == signed_rank(np.array([3.0, 3.0, -3.0, 1.0]))
