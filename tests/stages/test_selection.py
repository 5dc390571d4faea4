"""Generators that choose samples: NumPy's covariance, SciPy's distances and hand-worked cases as oracles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestCentroid

from imprint_sweep.stages.generation import selection

Samples = NDArray[np.float32]
Indices = NDArray[np.int64]
Rule = Callable[[Samples, int], Indices]

RULES: dict[str, Rule] = {
    "random": lambda x, k: selection.random(len(x), k, np.random.default_rng(3)),
    "cov_max": selection.cov_max,
    "fps": lambda x, k: selection.fps(x, k, np.random.default_rng(3)),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())

small = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.integers(-3, 3).map(float))
"""Few different values: ties, duplicates and zero vectors are common, and float64 sums of them exact."""


def samples(n: int, d: int, seed: int = 0) -> Samples:
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1, (n, d)), 0).astype(np.float32)


# every rule


@every_rule
@given(small, st.integers(1, 14))
def test_chooses_k_different_samples_or_all_in_order(rule: Rule, x: Samples, k: int) -> None:
    x.flags.writeable = False
    chosen = rule(x, k)
    assert chosen.dtype == np.int64
    assert len(set(chosen)) == len(chosen) == min(k, len(x))
    assert set(chosen) <= set(range(len(x)))
    if len(x) <= k:
        np.testing.assert_array_equal(chosen, np.arange(len(x)))


@every_rule
@given(small, st.integers(1, 11))
def test_a_smaller_k_chooses_the_first_of_a_larger(rule: Rule, x: Samples, k: int) -> None:
    if k + 1 < len(x):
        np.testing.assert_array_equal(rule(x, k), rule(x, k + 1)[:k])


@every_rule
@given(small, st.integers(1, 11), st.integers(-30, 30))
def test_does_not_see_the_scale(rule: Rule, x: Samples, k: int, exponent: int) -> None:
    np.testing.assert_array_equal(rule(x, k), rule(x * np.float32(2.0**exponent), k))


@every_rule
def test_reads_a_memory_map_and_leaves_it(rule: Rule, tmp_path: Path) -> None:
    x = samples(20, 8)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(rule(mapped, 5), rule(x, 5))
    np.testing.assert_array_equal(mapped, samples(20, 8))


def test_all_samples() -> None:
    np.testing.assert_array_equal(selection.all_samples(3), [0, 1, 2])
    assert selection.all_samples(3).dtype == np.int64


# random


def test_random_is_the_beginning_of_one_permutation() -> None:
    expected = np.random.default_rng(5).permutation(30)[:4]
    np.testing.assert_array_equal(selection.random(30, 4, np.random.default_rng(5)), expected)


# mean


def test_mean_agrees_with_nearest_centroid() -> None:
    x = samples(301, 40)
    other = x[:2] + 100
    centroids = NearestCentroid().fit(np.concatenate([x, other]).astype(np.float64), [0] * len(x) + [1] * 2).centroids_
    mean = selection.mean(x)
    assert mean.dtype == np.float32
    assert mean.shape == (1, 40)
    np.testing.assert_allclose(mean, centroids[:1], rtol=2**-23)


def test_mean_is_summed_in_float64() -> None:
    x = np.array([[2**24], [1], [1], [-(2**24)]], dtype=np.float32)
    np.testing.assert_array_equal(selection.mean(x), np.array([[0.5]], dtype=np.float32))


@given(small)
def test_mean_of_samples_in_any_order_and_any_multiplicity(x: Samples) -> None:
    mean = selection.mean(x)
    np.testing.assert_array_equal(selection.mean(x[::-1]), mean)
    np.testing.assert_array_equal(selection.mean(np.concatenate([x, x])), mean)
    np.testing.assert_array_equal(selection.mean(x * np.float32(4)), mean * np.float32(4))


def test_mean_of_one_sample_is_the_sample() -> None:
    x = samples(1, 7)
    np.testing.assert_array_equal(selection.mean(x), x)


# cov_max


@pytest.mark.parametrize(("n", "d"), [(30, 5), (12, 200), (200, 64), (3, 2)])
def test_cov_max_agrees_with_the_whole_covariance_matrix(n: int, d: int) -> None:
    x = samples(n, d, seed=n)
    column_sums = np.cov(x.astype(np.float64)).sum(axis=0)
    expected = np.argsort(-column_sums, kind="stable")
    for k in (1, 2, n // 2):
        np.testing.assert_array_equal(selection.cov_max(x, k), expected[:k])


def test_cov_max_by_hand() -> None:
    x = np.array([[0, 2], [5, 9], [1, 1], [7, 13]], dtype=np.float32)
    # Centred: (-1, 1), (-2, 2), (0, 0), (-3, 3), sum (-6, 6): scores 12, 24, 0, 36.
    np.testing.assert_array_equal(selection.cov_max(x, 3), [3, 1, 0])


@pytest.mark.parametrize("d", [2, 3, 64, 1279, 1280])
def test_equal_samples_tie_wherever_they_stand(d: int) -> None:
    equal = [2, 7, 31, 48]
    x = samples(50, d, seed=d)
    x[equal] = x[9]
    chosen = selection.cov_max(x, 49).tolist()
    start = chosen.index(2)
    assert chosen[start : start + 5] == [2, 7, 9, 31, 48]


def test_without_covariance_the_first_samples_are_chosen() -> None:
    np.testing.assert_array_equal(selection.cov_max(np.ones((5, 3), np.float32), 2), [0, 1])
    np.testing.assert_array_equal(selection.cov_max(samples(5, 1), 2), [0, 1])


def test_cov_max_of_permuted_samples_is_permuted() -> None:
    x = samples(60, 32)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_array_equal(order[selection.cov_max(x[order], 10)], selection.cov_max(x, 10))


def test_cov_max_does_not_see_a_shift_of_a_sample() -> None:
    x = np.random.default_rng(0).integers(-8, 9, (40, 16)).astype(np.float32)
    shifted = x + np.arange(40, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(selection.cov_max(shifted, 10), selection.cov_max(x, 10))


# fps


def naive_fps(x: Samples, k: int, first: int) -> list[int]:
    """From SciPy's whole distance matrix."""
    distances = cdist(x.astype(np.float64), x.astype(np.float64), "sqeuclidean")
    chosen = [first]
    while len(chosen) < k:
        left = [i for i in range(len(x)) if i not in chosen]
        chosen.append(max(left, key=lambda i: (min(distances[i, j] for j in chosen), -i)))
    return chosen


@given(small, st.integers(1, 11), st.integers(0, 2**32))
def test_fps_agrees_with_the_definition_on_ties(x: Samples, k: int, seed: int) -> None:
    if len(x) > k:
        expected = naive_fps(x, k, int(np.random.default_rng(seed).integers(len(x))))
        np.testing.assert_array_equal(selection.fps(x, k, np.random.default_rng(seed)), expected)


def test_fps_agrees_with_the_definition_on_features() -> None:
    x = samples(80, 50)
    expected = naive_fps(x, 20, int(np.random.default_rng(1).integers(80)))
    np.testing.assert_array_equal(selection.fps(x, 20, np.random.default_rng(1)), expected)


def test_fps_by_hand() -> None:
    x = np.array([[0], [1], [10], [4], [4]], dtype=np.float32)
    for seed in range(20):
        first = int(np.random.default_rng(seed).integers(5))
        then = {0: [2, 3, 1], 1: [2, 3, 0], 2: [0, 3, 1], 3: [2, 0, 1], 4: [2, 0, 1]}[first]
        np.testing.assert_array_equal(selection.fps(x, 4, np.random.default_rng(seed)), [first, *then])


def test_fps_goes_through_duplicates_in_order() -> None:
    x = np.ones((6, 4), dtype=np.float32)
    first = int(np.random.default_rng(2).integers(6))
    left = [i for i in range(6) if i != first]
    np.testing.assert_array_equal(selection.fps(x, 4, np.random.default_rng(2)), [first, *left[:3]])


def test_fps_covers_every_distinct_sample_before_a_duplicate() -> None:
    x = np.repeat(samples(5, 6), 4, axis=0)
    for seed in range(5):
        chosen = selection.fps(x, 5, np.random.default_rng(seed))
        assert set(chosen // 4) == set(range(5))


def test_fps_keeps_small_differences_of_large_vectors() -> None:
    x = np.float32(2**20) + np.array([[0], [0.125], [0.25]], dtype=np.float32)
    for seed in range(6):
        first, second = selection.fps(x, 2, np.random.default_rng(seed))
        assert second == {0: 2, 1: 0, 2: 0}[int(first)]
