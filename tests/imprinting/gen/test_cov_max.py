"""cov_max: NumPy's covariance and hand-worked cases as oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from imprint_sweep.imprinting.gen.cov_max import cov_max

Samples = NDArray[np.float32]

small = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.integers(-3, 3).map(float))
"""Few different values: ties, duplicates and zero vectors are common, and float64 sums of them exact."""


def samples(n: int, d: int, seed: int = 0) -> Samples:
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1, (n, d)), 0).astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(30, 5), (12, 200), (200, 64), (3, 2)])
def test_cov_max_agrees_with_the_whole_covariance_matrix(n: int, d: int) -> None:
    x = samples(n, d, seed=n)
    column_sums = np.cov(x.astype(np.float64)).sum(axis=0)
    expected = np.argsort(-column_sums, kind="stable")
    for k in (1, 2, n // 2):
        np.testing.assert_array_equal(cov_max(x, k), expected[:k])


def test_cov_max_by_hand() -> None:
    x = np.array([[0, 2], [5, 9], [1, 1], [7, 13]], dtype=np.float32)
    # Centred: (-1, 1), (-2, 2), (0, 0), (-3, 3), sum (-6, 6): scores 12, 24, 0, 36.
    np.testing.assert_array_equal(cov_max(x, 3), [3, 1, 0])


@pytest.mark.parametrize("d", [2, 3, 64, 1279, 1280])
def test_equal_samples_tie_wherever_they_stand(d: int) -> None:
    equal = [2, 7, 31, 48]
    x = samples(50, d, seed=d)
    x[equal] = x[9]
    chosen = cov_max(x, 49).tolist()
    start = chosen.index(2)
    assert chosen[start : start + 5] == [2, 7, 9, 31, 48]


def test_without_covariance_the_first_samples_are_chosen() -> None:
    np.testing.assert_array_equal(cov_max(np.ones((5, 3), np.float32), 2), [0, 1])
    np.testing.assert_array_equal(cov_max(samples(5, 1), 2), [0, 1])


def test_cov_max_of_permuted_samples_is_permuted() -> None:
    x = samples(60, 32)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_array_equal(order[cov_max(x[order], 10)], cov_max(x, 10))


def test_cov_max_does_not_see_a_shift_of_a_sample() -> None:
    x = np.random.default_rng(0).integers(-8, 9, (40, 16)).astype(np.float32)
    shifted = x + np.arange(40, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(cov_max(shifted, 10), cov_max(x, 10))
