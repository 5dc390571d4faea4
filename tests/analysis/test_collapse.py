"""NC1: worked by hand, against the definition with a d x d pseudo-inverse, and by symmetries; the gain against it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ortho_group, rankdata, spearmanr
from sklearn.metrics import r2_score

from imprint_sweep.analysis.stats.collapse import measure, relation
from imprint_sweep.errors import StageError

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]


def samples(sizes: Sequence[int], d: int, seed: int = 0) -> list[Vectors]:
    """Classes around centres of their own, off the origin as a network's last features are."""
    rng = np.random.default_rng([seed, d, len(sizes)])
    centers = rng.normal(0.5, 1, (len(sizes), d))
    return [(center + rng.normal(0, 0.7, (n, d))).astype(np.float32) for center, n in zip(centers, sizes, strict=True)]


def nc1(classes: Sequence[Vectors]) -> float:
    return measure([[x] for x in classes]).nc1


def by_definition(classes: Sequence[Vectors], *, published: bool = False) -> float:
    """Eq. 1 word for word: covariances as d x d matrices, NumPy's pseudo-inverse.

    The published code centres classes on the mean of all samples, raw samples on the centred class means, and makes Σ_B
    of these.
    """
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300) for x in map(np.float64, classes)]
    means = np.stack([x.mean(axis=0) for x in unit])
    center = np.concatenate(unit).mean(axis=0) if published else means.mean(axis=0)
    around = [mean - center if published else mean for mean in means]
    within: Floats = np.mean([(x - c).T @ (x - c) / len(x) for x, c in zip(unit, around, strict=True)], axis=0)
    between = (means - center).T @ (means - center) / len(means)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10, hermitian=True))) / len(means)


def published_term(classes: Sequence[Vectors]) -> float:
    """μ_Gᵀ Σ_B⁺ μ_G / C with classes that weigh equally."""
    means = np.stack([(x / np.linalg.norm(x, axis=1, keepdims=True)).mean(axis=0) for x in map(np.float64, classes)])
    center = means.mean(axis=0)
    between = (means - center).T @ (means - center) / len(means)
    return float(center @ np.linalg.pinv(between, rcond=1e-10, hermitian=True) @ center) / len(means)


shapes = st.tuples(st.lists(st.integers(1, 12), min_size=2, max_size=7), st.integers(2, 9), st.integers(0, 1000))


def test_two_classes_worked_by_hand() -> None:
    # Two samples each, an angle a to either side of an axis. The means are cos(a) e1 and cos(a) e2. Along e1 - e2, the
    # one direction between them, the classes scatter by sin²(a) / 2 and the means by cos²(a) / 2; C = 2.
    a = 0.3
    first = np.array([[math.cos(a), math.sin(a)], [math.cos(a), -math.sin(a)]], np.float32)
    found = measure([[first], [first[:, ::-1]]])
    assert found.nc1 == pytest.approx(math.tan(a) ** 2 / 2, rel=1e-6)
    # Their mean is orthogonal to that direction, so that the published centring agrees.
    assert found.nc1_published == pytest.approx(found.nc1, rel=1e-12)
    assert (found.rank, found.n_samples) == (1, 4)


@given(shapes)
def test_agrees_with_the_definition(shape: tuple[list[int], int, int]) -> None:
    # Also with more classes than features, where not C - 1 but d directions lie between the means.
    classes = samples(*shape)
    found = measure([[x] for x in classes])
    assert found.nc1 == pytest.approx(by_definition(classes), rel=1e-6, abs=1e-12)
    assert found.rank == min(len(classes) - 1, classes[0].shape[1])


@given(shapes)
def test_published_centring_is_on_the_mean_of_all_samples(shape: tuple[list[int], int, int]) -> None:
    classes = samples(*shape)
    assert measure([[x] for x in classes]).nc1_published == pytest.approx(
        by_definition(classes, published=True), rel=1e-5
    )


@pytest.mark.parametrize("sizes", [(400, 8, 8), (8, 8, 400), (1, 500), (3, 30, 300, 30, 3)])
def test_published_centring_of_strongly_unequal_classes(sizes: tuple[int, ...]) -> None:
    """The large class pulls μ_G, and Σ_B with it: classes that weigh equally give another number."""
    classes = samples(sizes, 8)
    found = measure([[x] for x in classes])
    assert found.nc1_published == pytest.approx(by_definition(classes, published=True), rel=1e-6)
    assert abs(found.nc1_published / (found.nc1 + published_term(classes)) - 1) > 0.05
    # Large classes change nothing in ours.
    assert found.nc1 == pytest.approx(by_definition(classes), rel=1e-6)


@given(st.integers(1, 12), st.integers(2, 7), st.integers(2, 9), st.integers(0, 1000))
def test_published_centring_of_equal_classes_adds_exactly_one_term(n: int, n_classes: int, d: int, seed: int) -> None:
    classes = samples([n] * n_classes, d, seed)
    found = measure([[x] for x in classes])
    assert found.nc1_published == pytest.approx(found.nc1 + published_term(classes), rel=1e-5)


def test_the_two_centrings_differ_where_the_means_are_off_centre() -> None:
    found = measure([[x] for x in samples([20, 30, 10], 8)])
    assert found.nc1_published > 1.01 * found.nc1


@given(shapes)
def test_order_of_classes_and_of_samples_does_not_matter(shape: tuple[list[int], int, int]) -> None:
    classes = samples(*shape)
    rng = np.random.default_rng(shape[2])
    shuffled = [classes[c][rng.permutation(len(classes[c]))] for c in rng.permutation(len(classes))]
    assert nc1(shuffled) == pytest.approx(nc1(classes), rel=1e-9, abs=1e-13)
    before, after = (measure([[x] for x in of]).nc1_published for of in (classes, shuffled))
    assert after == pytest.approx(before, rel=1e-6)


def test_classes_weigh_equally_whatever_their_sizes() -> None:
    classes = samples([12, 5, 9], 6)
    assert nc1([np.repeat(classes[0], 40, axis=0), *classes[1:]]) == pytest.approx(nc1(classes), rel=1e-9)


def test_lengths_of_samples_do_not_matter() -> None:
    classes = samples([12, 5, 9], 6)
    rng = np.random.default_rng(0)
    # Powers of two: scaled samples are still float32.
    scaled = [x * np.exp2(rng.integers(-60, 60, (len(x), 1))).astype(np.float32) for x in classes]
    assert nc1(scaled) == pytest.approx(nc1(classes), rel=1e-9)


def test_rotations_do_not_matter() -> None:
    classes = samples([12, 5, 9], 6)
    rotation = ortho_group(6, seed=0).rvs()
    assert nc1([(x @ rotation).astype(np.float32) for x in classes]) == pytest.approx(nc1(classes), rel=1e-5)


@pytest.mark.parametrize("blocks", [2, 7, 50])
def test_how_samples_are_blocked_does_not_matter(blocks: int) -> None:
    classes = samples([50, 61, 80], 6)
    blocked = measure([[b for b in np.array_split(x, blocks) if len(b)] for x in classes])
    assert blocked.nc1 == pytest.approx(nc1(classes), rel=1e-9)
    assert blocked.n_samples == 191


def test_more_scatter_means_less_collapse() -> None:
    rng = np.random.default_rng(0)
    centers, noise = np.eye(4, 16), rng.normal(size=(4, 30, 16))
    values = [
        nc1([(center + s * x).astype(np.float32) for center, x in zip(centers, noise, strict=True)])
        for s in (0, 1e-4, 0.01, 0.1, 0.3)
    ]
    assert values == sorted(values)
    assert values[0] < 1e-12
    # No digit is lost where classes have all but collapsed: scatter grows with the square of the noise.
    assert values[2] / values[1] == pytest.approx(1e4, rel=0.01)


def test_zero_vectors_stay_zero() -> None:
    classes = samples([12, 5, 9], 6)
    classes[0][:3] = 0
    assert nc1(classes) == pytest.approx(by_definition(classes), rel=1e-6)


def test_two_equal_means_of_three_leave_one_direction() -> None:
    first, second = samples([20, 15], 6)
    found = measure([[first], [second], [second[::-1].copy()]])
    assert found.rank == 1
    assert found.nc1 == pytest.approx(by_definition([first, second, second]), rel=1e-6)


@pytest.mark.parametrize("first", [samples([20], 6)[0], np.zeros((3, 6), np.float32)])
def test_classes_with_equal_means_have_no_nc1(first: Vectors) -> None:
    # The pseudo-inverse of a matrix of zeros is zero, and NC1 would read as perfect collapse.
    with pytest.raises(StageError, match="the means of all 3 labels are equal"):
        nc1([first, first[::-1].copy(), np.concatenate([first, first])])


def test_a_single_class_has_no_nc1() -> None:
    with pytest.raises(StageError, match="expected at least two labels, got 1"):
        nc1(samples([20], 6))


# The gain against NC1


def test_relation_on_a_line_in_log10() -> None:
    nc1 = np.array([0.1, 1.0, 10.0, 100.0])
    found = relation(nc1, 5 + 3 * np.log10(nc1))
    assert found is not None
    assert (found.slope, found.intercept) == pytest.approx((3, 5))
    assert (found.spearman, found.r2) == pytest.approx((1, 1))
    # Of the 24 orders of four points one goes all the way up, one all the way down.
    assert found.p == pytest.approx(2 / 24)


def test_relation_agrees_with_numpy_and_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    nc1 = np.exp(rng.normal(size=56))
    gain = np.log10(nc1) + rng.normal(size=56)
    found = relation(nc1, gain)
    assert found is not None
    assert (found.slope, found.intercept) == pytest.approx(tuple(np.polyfit(np.log10(nc1), gain, 1)))
    assert found.r2 == pytest.approx(r2_score(gain, found.intercept + found.slope * np.log10(nc1)))
    ranks = np.corrcoef(nc1.argsort().argsort(), gain.argsort().argsort())[0, 1]
    assert found.spearman == pytest.approx(ranks)


def test_equal_gains_are_tied_whatever_their_accuracies_round_to() -> None:
    before = np.array([300, 312, 300, 312])
    gain = 100 * ((before + np.array([7, 7, 30, 3])) / 540 - before / 540)
    assert gain[0] != gain[1]  # in the last bit
    found = relation(np.array([1.0, 2.0, 3.0, 4.0]), gain)
    assert found is not None
    assert found.spearman == pytest.approx(spearmanr([1, 2, 3, 4], [7, 7, 30, 3]).statistic)


def test_p_of_the_papers_correlation_is_the_papers() -> None:
    # 56 points with a rank correlation of 0.8179 or next to it: swaps of neighbours and of others, found by trial.
    rng = np.random.default_rng(5)
    order = np.arange(56)
    while (now := relation(np.arange(1.0, 57), order.astype(float))) and now.spearman > 0.81791:
        a, b = rng.integers(56, size=2)
        swapped = order.copy()
        swapped[[a, b]] = order[[b, a]]
        after = relation(np.arange(1.0, 57), swapped.astype(float))
        if after and 0.81785 < after.spearman < now.spearman:
            order = swapped
    assert now
    assert now.spearman == pytest.approx(0.8179, abs=5e-5)
    assert now.p == pytest.approx(1.4240975922467733e-14, rel=0.02)


@pytest.mark.parametrize("n", [3, 5, 8])
def test_p_of_few_points_counts_all_orders(n: int) -> None:
    rng = np.random.default_rng(n)
    nc1, gain = rng.integers(1, 5, n).astype(float), rng.integers(0, 4, n).astype(float)
    nc1[:2], gain[:2] = (1, 2), (0, 3)
    found = relation(nc1, gain)
    assert found is not None
    x, y = rankdata(nc1), rankdata(gain)
    products = np.array([x @ np.array(order) for order in itertools.permutations(y)])
    up, down = (products >= x @ y - 1e-9).mean(), (products <= x @ y + 1e-9).mean()
    assert found.p == pytest.approx(min(1, 2 * min(up, down)))


def test_too_few_points_or_equal_ones_have_no_relation() -> None:
    assert relation(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None
    assert relation(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])) is None
    assert relation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0])) is None
