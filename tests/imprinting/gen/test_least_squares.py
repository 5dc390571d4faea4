"""Least squares: scikit-learn's Ridge and the formula as printed (Eq. A.1) as oracles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.clusters import Clusters
from imprint_sweep.imprinting.gen import least_squares
from imprint_sweep.imprinting.kmeans.batch import batch_kmeans

Samples = NDArray[np.float32]

CHUNKED = least_squares.CHUNK + 7


def classes(sizes: Sequence[int], d: int = 12, seed: int = 0) -> list[Samples]:
    """One array per class, each of two modes behind a ReLU."""
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(0.3, 2, (2, d))[rng.integers(2, size=n)] + rng.normal(size=(n, d)) for n in sizes]
    return [np.maximum(x, 0).astype(np.float32) for x in drawn]


def one_cluster(x: Samples) -> NDArray[np.int32]:
    return np.zeros(len(x), dtype=np.int32)


def solve(
    by_class: Sequence[Samples], weight_decay: float, assignments: Sequence[NDArray[np.int32]] | None = None
) -> NDArray[np.float32]:
    """The stage as the engine joins it; without assignments each class is one cluster."""
    assignments = [one_cluster(x) for x in by_class] if assignments is None else assignments
    moment = np.sum([least_squares.second_moment(x) for x in by_class], axis=0)
    solver = least_squares.factorize(moment, sum(len(x) for x in by_class), weight_decay)
    pairs = zip(by_class, assignments, strict=True)
    return least_squares.weights(solver, np.concatenate([Clusters.of(x, a).means for x, a in pairs]))


def ridge(groups: Sequence[Samples], weight_decay: float) -> NDArray[np.float64]:
    """Ridge on one-hot targets scaled by n / (C n_c), each group a class."""
    x = np.concatenate(groups).astype(np.float64)
    n, n_groups = len(x), len(groups)
    targets = np.zeros((n, n_groups))
    owners = np.repeat(np.arange(n_groups), [len(group) for group in groups])
    targets[np.arange(n), owners] = n / (n_groups * np.bincount(owners)[owners])
    coefficients: NDArray[np.float64] = Ridge(alpha=n * weight_decay, fit_intercept=False).fit(x, targets).coef_
    return coefficients.reshape(n_groups, -1)


def as_printed(groups: Sequence[Samples], weight_decay: float) -> NDArray[np.float64]:
    """W = (1/C) Mᵀ (Σ_T + μ_G μ_Gᵀ + λI)⁻¹."""
    x = np.concatenate(groups).astype(np.float64)
    means = np.stack([group.astype(np.float64).mean(axis=0) for group in groups], axis=1)
    overall = x.mean(axis=0)
    matrix = np.cov(x, rowvar=False, bias=True) + np.outer(overall, overall) + weight_decay * np.eye(x.shape[1])
    solution: NDArray[np.float64] = means.T @ np.linalg.inv(matrix) / len(groups)
    return solution


def assert_close(found: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


sizes = pytest.mark.parametrize("n_per_class", [(30, 50, 20), (40, 1, 3), (2, 2), (9,)], ids=str)
decays = pytest.mark.parametrize("weight_decay", [1e-4, 0.1, 10.0])


@sizes
@decays
def test_the_oracle_is_a_ridge_regression_and_the_formula(n_per_class: Sequence[int], weight_decay: float) -> None:
    by_class = classes(n_per_class)
    found = solve(by_class, weight_decay)
    assert found.shape == (len(n_per_class), 12)
    assert found.flags.c_contiguous
    assert_close(found, ridge(by_class, weight_decay))
    assert_close(found, as_printed(by_class, weight_decay))


@sizes
@decays
def test_algorithm_1_is_the_same_with_clusters_as_classes(n_per_class: Sequence[int], weight_decay: float) -> None:
    by_class = classes(n_per_class)
    assignments = [batch_kmeans(x, [(4, 0)])[0].assignment for x in by_class]
    groups = [x[a == c] for x, a in zip(by_class, assignments, strict=True) for c in np.unique(a)]
    found = solve(by_class, weight_decay, assignments)
    assert len(found) == sum(min(n, 4) for n in n_per_class)
    assert_close(found, ridge(groups, weight_decay))
    assert_close(found, as_printed(groups, weight_decay))


def test_one_cluster_per_class_is_the_oracle() -> None:
    by_class = classes((30, 50, 20))
    ones = [batch_kmeans(x, [(1, 0)])[0].assignment for x in by_class]
    np.testing.assert_array_equal(solve(by_class, 0.1, ones), solve(by_class, 0.1))


def test_fewer_samples_than_dimensions_can_be_solved() -> None:
    by_class = classes((3, 2), d=64)
    assert_close(solve(by_class, 1e-4), ridge(by_class, 1e-4))


def test_order_of_classes_and_of_samples() -> None:
    by_class = classes((30, 50, 20))
    found = solve(by_class, 0.1)
    assert_close(solve(by_class[::-1], 0.1), found[::-1].astype(np.float64))
    assert_close(solve([x[::-1] for x in by_class], 0.1), found.astype(np.float64))


def test_samples_twice_are_samples_once() -> None:
    by_class = classes((30, 50, 20))
    assert_close(solve([np.concatenate([x, x]) for x in by_class], 0.1), solve(by_class, 0.1).astype(np.float64))


def test_scale_goes_with_weight_decay() -> None:
    by_class = classes((30, 50, 20))
    scaled = solve([x * np.float32(4) for x in by_class], 0.1 * 16)
    assert_close(scaled, solve(by_class, 0.1).astype(np.float64) / 4)


def test_zero_vectors_get_zero_weights() -> None:
    by_class = [np.zeros((3, 12), np.float32), *classes((10, 10))]
    assert_close(solve(by_class, 0.1), ridge(by_class, 0.1))
    np.testing.assert_array_equal(solve(by_class, 0.1)[0], 0)


@pytest.mark.parametrize("n", [1, 100, CHUNKED])
def test_second_moment_is_the_product_in_float64(n: int) -> None:
    x = classes((n,), d=5)[0]
    moment = least_squares.second_moment(x)
    assert moment.dtype == np.float64
    np.testing.assert_allclose(moment, x.astype(np.float64).T @ x.astype(np.float64), rtol=1e-12)
    np.testing.assert_array_equal(moment, moment.T)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=st.integers(-9, 9).map(float)),
    st.data(),
)
def test_cluster_means_agree_with_a_loop(x: Samples, data: st.DataObject) -> None:
    assignment = data.draw(hnp.arrays(np.int32, len(x), elements=st.integers(0, 6)))
    means = Clusters.of(x, assignment).means
    assert means.dtype == np.float64
    expected = [x[assignment == c].astype(np.float64).mean(axis=0) for c in range(7) if (assignment == c).any()]
    np.testing.assert_array_equal(means, expected)


def test_memory_maps_are_accepted_and_nothing_is_changed(tmp_path: Path) -> None:
    x = classes((CHUNKED,), d=4)[0]
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    moment = least_squares.second_moment(mapped)
    np.testing.assert_array_equal(moment, least_squares.second_moment(x))
    moment.flags.writeable = False
    means = Clusters.of(mapped, one_cluster(x)).means
    means.flags.writeable = False
    least_squares.weights(least_squares.factorize(moment, len(x), 0.1), means)
    np.testing.assert_array_equal(mapped, classes((CHUNKED,), d=4)[0])


def test_a_matrix_that_is_not_positive_definite_is_named() -> None:
    x = classes((2,), d=8)[0]
    with pytest.raises(StageError, match=r"weight_decay=1e-300 is not positive definite.*raise model\.weight_decay"):
        least_squares.factorize(least_squares.second_moment(x * np.float32(100)), 2, 1e-300)
