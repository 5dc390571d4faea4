"""fps: SciPy's distances and hand-worked cases as oracles."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from imprint_sweep.imprinting.gen.fps import LANES, farthest_first

Samples = NDArray[np.float32]

small = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.integers(-3, 3).map(float))
"""Few different values: ties, duplicates and zero vectors are common, and float64 sums of them exact."""


def samples(n: int, d: int, seed: int = 0) -> Samples:
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1, (n, d)), 0).astype(np.float32)


def fps(x: Samples, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    order: NDArray[np.int64] = farthest_first(x, k, [int(rng.integers(len(x)))])[0]
    return order


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
        np.testing.assert_array_equal(fps(x, k, np.random.default_rng(seed)), expected)


def test_fps_agrees_with_the_definition_on_features() -> None:
    x = samples(80, 50)
    expected = naive_fps(x, 20, int(np.random.default_rng(1).integers(80)))
    np.testing.assert_array_equal(fps(x, 20, np.random.default_rng(1)), expected)


def test_fps_by_hand() -> None:
    x = np.array([[0], [1], [10], [4], [4]], dtype=np.float32)
    for seed in range(20):
        first = int(np.random.default_rng(seed).integers(5))
        then = {0: [2, 3, 1], 1: [2, 3, 0], 2: [0, 3, 1], 3: [2, 0, 1], 4: [2, 0, 1]}[first]
        np.testing.assert_array_equal(fps(x, 4, np.random.default_rng(seed)), [first, *then])


def test_fps_goes_through_duplicates_in_order() -> None:
    x = np.ones((6, 4), dtype=np.float32)
    first = int(np.random.default_rng(2).integers(6))
    left = [i for i in range(6) if i != first]
    np.testing.assert_array_equal(fps(x, 4, np.random.default_rng(2)), [first, *left[:3]])


def test_fps_covers_every_distinct_sample_before_a_duplicate() -> None:
    x = np.repeat(samples(5, 6), 4, axis=0)
    for seed in range(5):
        chosen = fps(x, 5, np.random.default_rng(seed))
        assert set(chosen // 4) == set(range(5))


def test_fps_keeps_small_differences_of_large_vectors() -> None:
    x = np.float32(2**20) + np.array([[0], [0.125], [0.25]], dtype=np.float32)
    for seed in range(6):
        first, second = fps(x, 2, np.random.default_rng(seed))
        assert second == {0: 2, 1: 0, 2: 0}[int(first)]


@given(small, st.integers(1, 11), st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
def test_orders_do_not_depend_on_each_other_or_on_how_far_they_go(x: Samples, k: int, seeds: list[int]) -> None:
    firsts = [seed % len(x) for seed in seeds]
    together = farthest_first(x, 12, firsts)
    for first, order in zip(firsts, together, strict=True):
        np.testing.assert_array_equal(farthest_first(x, k, [first])[0], order[:k])


def test_the_distances_are_sums_in_the_order_of_the_features() -> None:
    """As a plain loop adds them up: nothing may be regrouped, whatever the width of the machine's vectors."""
    x = samples(2 * LANES + 5, 200, seed=3)
    differences = x.astype(np.float64) - x[7].astype(np.float64)
    squares = np.zeros(len(x))
    for j in range(x.shape[1]):
        squares += differences[:, j] * differences[:, j]
    nearest = np.sort(squares)
    assert len(np.unique(nearest)) == len(x)
    order = farthest_first(x, 2, [7])[0]
    assert order[1] == squares.argmax()
