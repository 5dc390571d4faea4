"""Exact distances with SciPy as oracle; fast ones within their bounds."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestCentroid

from imprint_sweep.imprinting import vectors
from imprint_sweep.imprinting.agg.metrics.manhattan import MANHATTAN
from imprint_sweep.imprinting.components import METRICS
from imprint_sweep.imprinting.vectors import Vectors

Rows = NDArray[np.float32]
NAMES = list(METRICS)
DIMENSIONS = (1, 2, 63, 64, 65, 128, 200, 1280)


def every_pair(metric: str, queries: Vectors, proxies: Vectors) -> NDArray[np.float64]:
    """(b, p) exact values."""
    query, proxy = np.indices((len(queries), len(proxies))).reshape(2, -1)
    return METRICS[metric].exact(queries, proxies, query, proxy).reshape(len(queries), len(proxies))


def oracle(metric: str, queries: Rows, proxies: Rows) -> NDArray[np.float64]:
    """The same by SciPy in float64; whitened vectors are compared as they are."""
    x, y = queries.astype(np.float64), proxies.astype(np.float64)
    if metric == "inner_product":
        products: NDArray[np.float64] = -(x @ y.T)
        return products
    if metric == "manhattan":
        return cdist(x, y, "cityblock")
    return cdist(x, y, "cosine" if metric == "cosine" else "euclidean")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Queries and proxies of mixed lengths, some equal, some zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    d = draw(st.sampled_from(DIMENSIONS))
    scale = 10.0 ** draw(st.integers(-15, 15))
    spread = draw(st.integers(0, 3))

    def some(n: int) -> Rows:
        x = draw(st.sampled_from((0.0, 1.0, 1e3))) + rng.normal(size=(n, d))
        return (x * scale * 10.0 ** rng.integers(-spread, spread + 1, size=(n, 1))).astype(np.float32)

    queries, proxies = some(draw(st.integers(1, 9))), some(draw(st.integers(1, 9)))
    proxies[-1] = queries[0]
    proxies[0] *= draw(st.booleans())
    return queries, proxies


@given(pairs(), st.sampled_from(NAMES))
def test_exact_values_agree_with_scipy(given_: tuple[Rows, Rows], metric: str) -> None:
    queries, proxies = given_
    found = every_pair(metric, Vectors.of(queries), Vectors.of(proxies))
    zero = ~((queries != 0).sum(axis=1)[:, None] * (proxies != 0).sum(axis=1)).astype(bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = oracle(metric, queries, proxies)
    if metric == "cosine":  # undefined for zero vectors: here by definition
        expected = np.where(zero, 1.0, np.maximum(expected, 0.0))
    # Sums of d float64 terms, relative to the terms; where the result is smaller than they are, to both lengths.
    q_lengths, p_lengths = (np.linalg.norm(x.astype(np.float64), axis=1) for x in (queries, proxies))
    atol = {"inner_product": q_lengths[:, None] * p_lengths, "cosine": 1.0}.get(metric, 0.0)
    d = queries.shape[1]
    assert (np.abs(found - expected) <= (d + 8) * 2.0**-52 * (np.abs(expected) + atol)).all()


@given(pairs())
def test_lengths_agree_with_numpy(given_: tuple[Rows, Rows]) -> None:
    for x in given_:
        np.testing.assert_allclose(vectors.lengths(x), np.linalg.norm(x.astype(np.float64), axis=1), rtol=1e-13)


@given(pairs())
def test_fast_inner_products_are_within_their_bound(given_: tuple[Rows, Rows]) -> None:
    queries, proxies = given_
    # Beyond that the product overflows float32; no filter is used there (test_search.py).
    assume(vectors.lengths(queries).max() * vectors.lengths(proxies).max() < 1e38)
    found = vectors.inner_products(queries, proxies)
    assert found.dtype == np.float32
    x, y = queries.astype(np.float64), proxies.astype(np.float64)
    bound = vectors.error_bound(x.shape[1]) * vectors.lengths(queries)[:, None] * vectors.lengths(proxies)
    underflow = x.shape[1] * 2.0**-126
    assert (np.abs(found - x @ y.T) <= bound + underflow).all()


@given(pairs())
def test_fast_manhattan_distances_are_within_their_bound(given_: tuple[Rows, Rows]) -> None:
    queries, proxies = given_
    found = MANHATTAN.fast(queries, proxies)
    assert found.dtype == np.float32
    expected = cdist(queries.astype(np.float64), proxies.astype(np.float64), "cityblock")
    assert (np.abs(found - expected) <= vectors.error_bound(queries.shape[1]) * expected).all()


@given(pairs(), st.sampled_from(NAMES))
def test_the_exact_value_of_a_pair_depends_on_nothing_else(given_: tuple[Rows, Rows], metric: str) -> None:
    queries, proxies = given_
    whole = every_pair(metric, Vectors.of(queries), Vectors.of(proxies))
    for i in range(len(queries)):
        for j in range(len(proxies)):
            alone = every_pair(metric, Vectors.of(queries[i : i + 1]), Vectors.of(proxies[j : j + 1]))
            assert alone == whole[i, j]


def test_exact_values_by_hand() -> None:
    queries = Vectors.of(np.array([[1, 2, 2]], np.float32), rest=np.array([16.0]))
    proxies = Vectors.of(np.array([[1, 2, 2], [-1, -2, -2], [4, 2, 2], [0, 0, 0]], np.float32))
    expected: dict[str, list[float]] = {
        "inner_product": [-9, 9, -12, 0],
        "cosine": [0, 2, 1 - 12 / (3 * math.sqrt(24)), 1],
        "manhattan": [0, 10, 3, 5],
        "mahalanobis": [4, math.sqrt(36 + 16), 5, 5],
    }
    for metric, values in expected.items():
        np.testing.assert_allclose(every_pair(metric, queries, proxies)[0], values, rtol=1e-15)
    plain = Vectors.of(queries.rows)
    np.testing.assert_allclose(every_pair("euclidean", plain, proxies)[0], [0, 6, 3, 3], rtol=1e-15)


def test_nearly_equal_vectors_keep_their_distance() -> None:
    # Where |q|^2 - 2 q.p + |p|^2 loses everything.
    x = np.full((1, 100), 1e4, np.float32)
    y = x.copy()
    y[0, 7] = np.nextafter(y[0, 7], np.float32(np.inf))
    step = float(Fraction(float(y[0, 7])) - 10_000)
    assert every_pair("euclidean", Vectors.of(x), Vectors.of(y)) == step
    assert every_pair("manhattan", Vectors.of(x), Vectors.of(y)) == step


def test_cosine_is_never_negative() -> None:
    rng = np.random.default_rng(0)
    x = Vectors.of(rng.normal(size=(500, 70)).astype(np.float32))
    each = np.arange(500)
    found = METRICS["cosine"].exact(x, x, each, each)
    assert found.min() >= 0.0
    assert found.max() < 1e-15


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_one_mean_per_class_is_the_nearest_centroid_classifier(metric: str) -> None:
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(4), 30)
    x = rng.normal(size=(120, 16)) + rng.normal(size=(4, 16))[y]
    fitted = NearestCentroid(metric=metric).fit(x, y)
    queries = rng.normal(size=(200, 16)).astype(np.float32)
    centroids = fitted.centroids_.astype(np.float32)
    found = every_pair(metric, Vectors.of(queries), Vectors.of(centroids)).argmin(axis=1)
    np.testing.assert_array_equal(found, fitted.predict(queries.astype(np.float64)))


def test_inputs_may_be_memory_mapped_and_are_not_changed() -> None:
    x = np.random.default_rng(2).normal(size=(7, 65)).astype(np.float32)
    before = x.copy()
    x.flags.writeable = False
    given_ = Vectors.of(x)
    assert given_.rows is x
    for metric in METRICS:
        every_pair(metric, given_, given_)
    vectors.inner_products(x, x)
    MANHATTAN.fast(x, x)
    np.testing.assert_array_equal(x, before)
