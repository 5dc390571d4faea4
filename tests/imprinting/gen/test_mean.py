"""mean: scikit-learn's NearestCentroid as oracle."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.neighbors import NearestCentroid

from imprint_sweep.imprinting.gen.mean import mean

Samples = NDArray[np.float32]

small = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.integers(-3, 3).map(float))
"""Few different values: ties, duplicates and zero vectors are common, and float64 sums of them exact."""


def samples(n: int, d: int, seed: int = 0) -> Samples:
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1, (n, d)), 0).astype(np.float32)


def test_mean_agrees_with_nearest_centroid() -> None:
    x = samples(301, 40)
    other = x[:2] + 100
    centroids = NearestCentroid().fit(np.concatenate([x, other]).astype(np.float64), [0] * len(x) + [1] * 2).centroids_
    found = mean(x)
    assert found.dtype == np.float32
    assert found.shape == (1, 40)
    np.testing.assert_allclose(found, centroids[:1], rtol=2**-23)


def test_mean_is_summed_in_float64() -> None:
    x = np.array([[2**24], [1], [1], [-(2**24)]], dtype=np.float32)
    np.testing.assert_array_equal(mean(x), np.array([[0.5]], dtype=np.float32))


@given(small)
def test_mean_of_samples_in_any_order_and_any_multiplicity(x: Samples) -> None:
    found = mean(x)
    np.testing.assert_array_equal(mean(x[::-1]), found)
    np.testing.assert_array_equal(mean(np.concatenate([x, x])), found)
    np.testing.assert_array_equal(mean(x * np.float32(4)), found * np.float32(4))


def test_mean_of_one_sample_is_the_sample() -> None:
    x = samples(1, 7)
    np.testing.assert_array_equal(mean(x), x)
