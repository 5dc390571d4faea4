"""Random features of a row depend on that row alone, to the last bit, and are those of exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from imprint_sweep.imprinting.random_features import ROWS, RandomFeatures, StoredFeatures


def embeddings(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    x: NDArray[np.float32] = (np.maximum(rng.normal(size=(n, d)), 0) * 10.0 ** rng.integers(-3, 4, (n, 1))).astype(
        np.float32
    )
    return x


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(-30, 30))
def test_they_are_exact_sums_rounded_once(seed: int, d: int, power: float) -> None:
    features = RandomFeatures(seed, (5, d))
    x = (np.random.default_rng(seed).normal(size=(3, d)) * 10.0**power).astype(np.float32)
    found = features.transform(x)
    for row, mapped in zip(x, found, strict=True):
        unit = Fraction(2) ** (int(np.frexp(np.abs(row).max())[1]) - (42 - (d - 1).bit_length()))
        whole = [round(Fraction(float(value)) / unit) for value in row]  # to even, as IEEE does
        for weights, value in zip(features.projection, mapped, strict=True):
            exact = sum((a * unit * Fraction(float(b)) for a, b in zip(whole, weights, strict=True)), Fraction(0))
            assert np.float32(float(max(exact, Fraction(0)))) == value
            # What rounding the row changes is far below what float32 sees of the largest sum of this length.
            true = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, weights, strict=True))
            assert abs(exact - true) <= 8 * d * unit / 2


@pytest.mark.parametrize("threads", [1, 2])
def test_no_block_and_no_thread_changes_a_bit(threads: int) -> None:
    x, features = embeddings(ROWS + 300, 257), RandomFeatures(1, (130, 257))
    with threadpool_limits(threads):
        whole = features.transform(x)
        rng = np.random.default_rng(threads)
        for _ in range(20):
            a, b = sorted(rng.integers(0, len(x), 2))
            np.testing.assert_array_equal(features.transform(x[a : b + 1]), whole[a : b + 1])
        order = rng.permutation(len(x))
        np.testing.assert_array_equal(features.transform(x[order]), whole[order])


def test_powers_of_two_go_through() -> None:
    x, features = embeddings(50, 33), RandomFeatures(0, (70, 33))
    np.testing.assert_array_equal(features.transform(x * np.float32(8)), 8 * features.transform(x))
    np.testing.assert_allclose(
        features.transform(x * np.float32(0.3)), 0.3 * features.transform(x), rtol=1e-4, atol=1e-3
    )
    np.testing.assert_array_equal(features.transform(np.zeros((2, 33), np.float32)), 0)


def test_the_projection_is_normal_and_depends_on_seed_and_sizes_alone() -> None:
    weights = RandomFeatures(-3, (400, 500)).projection
    assert weights.dtype == np.float32
    assert (weights * 256 == np.rint(weights * 256)).all()
    assert abs(weights.mean()) < 0.01
    assert abs(weights.std() - 1) < 0.01
    for other in (RandomFeatures(3, (400, 500)), RandomFeatures(-3, (500, 400)), RandomFeatures(-4, (400, 500))):
        assert not np.array_equal(other.projection[:400, :400], weights[:400, :400])
    # Another stream would change every result.
    assert (RandomFeatures(0, (2, 3)).projection * 256).tolist() == [[-241, -232, 157], [-42, 174, 56]]


def test_tensors_and_stored_ones_are_the_same() -> None:
    x, features = embeddings(200, 100), RandomFeatures(0, (90, 100))
    found = features.transform(x)
    stored = StoredFeatures(features.projection.copy())
    assert (stored.d, stored.width) == (features.d, features.width)
    np.testing.assert_array_equal(stored.transform(x), found)
    arrays = {name: torch.from_numpy(array.copy()) for name, array in features.arrays().items()}
    np.testing.assert_allclose(features.on_tensors(torch.from_numpy(x), arrays).numpy(), found, rtol=3e-7, atol=1e-6)
