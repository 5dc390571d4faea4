"""Mahalanobis distances with SciPy and exact rational arithmetic as oracles, for every rank."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from imprint_sweep.imprinting import vectors
from imprint_sweep.imprinting.agg.metrics import mahalanobis as whitening
from imprint_sweep.imprinting.vectors import Vectors

Rows = NDArray[np.float32]
Float64 = NDArray[np.float64]


def mahalanobis(queries: Rows, proxies: Rows) -> Float64:
    """(b, p) distances by whitening."""
    white = whitening.fit(proxies)
    query, proxy = np.indices((len(queries), len(proxies))).reshape(2, -1)
    of_queries, of_proxies = white.transform(queries), Vectors.of(white.transform(proxies).rows)
    found = whitening.MAHALANOBIS.exact(of_queries, of_proxies, query, proxy)
    return found.reshape(len(queries), len(proxies))


def covariance(proxies: Rows) -> Float64:
    d = proxies.shape[1]
    ridge = whitening.RIDGE * np.eye(d)
    if len(proxies) == 1:
        return ridge
    ridged: Float64 = np.cov(proxies.astype(np.float64), rowvar=False).reshape(d, d) + ridge
    return ridged


def rational(queries: Rows, proxies: Rows) -> Float64:
    """The definition in exact arithmetic: solves (cov + ridge I) z = q - p by elimination for every pair."""
    p, d = proxies.shape
    wide = [[Fraction(float(v)) for v in row] for row in proxies]
    center = [sum(column) / p for column in zip(*wide, strict=True)]
    centred = [[v - c for v, c in zip(row, center, strict=True)] for row in wide]
    ridge = Fraction(whitening.RIDGE)
    matrix = [
        [sum(row[i] * row[j] for row in centred) / max(p - 1, 1) + ridge * (i == j) for j in range(d)] for i in range(d)
    ]
    found = np.empty((len(queries), p))
    for a, query in enumerate(queries):
        for b, row in enumerate(wide):
            difference = [Fraction(float(v)) - w for v, w in zip(query, row, strict=True)]
            solved = _solve([[*line, x] for line, x in zip(matrix, difference, strict=True)])
            found[a, b] = float(sum(x * y for x, y in zip(difference, solved, strict=True))) ** 0.5
    return found


def _solve(lines: list[list[Fraction]]) -> list[Fraction]:
    """Gauss-Jordan for a positive definite matrix with the right-hand side as its last column."""
    d = len(lines)
    for i in range(d):
        lines[i] = [v / lines[i][i] for v in lines[i]]
        for j in range(d):
            if j != i:
                lines[j] = [v - lines[j][i] * w for v, w in zip(lines[j], lines[i], strict=True)]
    return [line[-1] for line in lines]


def degenerate(rng: np.random.Generator, p: int, d: int, rank: int) -> Rows:
    """Proxies (p, d) that span about `rank` dimensions around their mean, with some duplicates."""
    x = rng.normal(size=(p, rank)) @ rng.normal(size=(rank, d)) + rng.normal(size=d)
    return x[rng.integers(0, p, size=p)].astype(np.float32)


@pytest.mark.parametrize(("p", "d"), [(200, 5), (300, 60), (65, 64)])
def test_agrees_with_scipy_where_that_is_well_conditioned(p: int, d: int) -> None:
    rng = np.random.default_rng(0)
    proxies, queries = rng.normal(size=(p, d)).astype(np.float32), rng.normal(size=(20, d)).astype(np.float32)
    matrix = covariance(proxies)
    expected = cdist(queries, proxies.astype(np.float64), "mahalanobis", VI=np.linalg.inv(matrix))
    np.testing.assert_allclose(mahalanobis(queries, proxies), expected, rtol=16 * 2.0**-53 * np.linalg.cond(matrix))


@pytest.mark.parametrize(("p", "d"), [(1, 1), (1, 4), (2, 4), (4, 4), (5, 4), (6, 4), (12, 3)])
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_agrees_with_exact_arithmetic_whatever_the_rank(p: int, d: int, rank: int) -> None:
    rng = np.random.default_rng([p, d, rank])
    proxies = degenerate(rng, p, d, rank)
    queries = np.concatenate([rng.normal(size=(3, d)).astype(np.float32), proxies[:1]])
    # A rank that is deficient but for the rounding to float32 has a condition of up to 1e8, and float64 has 16 digits.
    expected = rational(queries, proxies)
    np.testing.assert_allclose(mahalanobis(queries, proxies), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e3, 1e5, 1e7, 1e10])
@pytest.mark.parametrize(("p", "rank"), [(3, 2), (12, 2), (12, 4)])
def test_agrees_with_exact_arithmetic_at_any_scale(scale: float, p: int, rank: int) -> None:
    rng = np.random.default_rng(p)
    # Whole numbers: at any scale the rank is what it says, and a covariance would drown the ridge.
    basis = rng.integers(-2, 3, size=(rank, 4)) * 2.0 ** round(np.log2(scale))
    proxies, queries = ((rng.integers(-3, 4, size=(n, rank)) @ basis).astype(np.float32) for n in (p, 4))
    expected = rational(queries, proxies)
    # What rounding leaves of a query outside the span is divided by the root of the ridge.
    atol = 16 * 2.0**-53 * vectors.lengths(queries).max() / np.sqrt(whitening.RIDGE)
    np.testing.assert_allclose(mahalanobis(queries, proxies), expected, rtol=1e-6, atol=atol)


def test_constant_features_are_scaled_by_the_ridge_alone() -> None:
    rng = np.random.default_rng(1)
    proxies = rng.normal(size=(50, 6)).astype(np.float32)
    proxies[:, 2] = 0.25
    queries = proxies[:1].copy()
    queries[0, 2] += 0.5
    for some in (proxies, proxies[:4]):
        assert mahalanobis(queries, some)[0, 0] == pytest.approx(0.5 / np.sqrt(whitening.RIDGE), rel=1e-9)


def test_one_proxy_is_euclidean() -> None:
    x = np.array([[3, 4], [0, 0]], np.float32)
    np.testing.assert_allclose(mahalanobis(x[:1], x[1:]), [[5 / np.sqrt(whitening.RIDGE)]], rtol=1e-14)


def test_what_all_proxies_share_does_not_drown_their_differences() -> None:
    # 1e4 lie between the query and the span; without `rest` float32 filters would see nothing else.
    rng = np.random.default_rng(2)
    proxies, queries = rng.normal(size=(10, 100)).astype(np.float32), rng.normal(size=(5, 100)).astype(np.float32)
    white = whitening.fit(proxies)
    found = white.transform(queries)
    assert found.rows.shape == (5, 9)
    assert (found.rest > 1e6 * found.lengths**2).all()
    assert (white.transform(proxies).rest < 1e-15).all()


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 17, 63, 64, 65, 130, 257]), st.integers(1, 600))
def test_a_row_does_not_depend_on_the_others(seed: int, d: int, p: int) -> None:
    rng = np.random.default_rng(seed)
    proxies = rng.normal(size=(p, d)).astype(np.float32)
    equal = rng.integers(0, p, size=(p + 1) // 2)
    proxies[equal] = proxies[equal[0]]
    white = whitening.fit(proxies)
    found = white.transform(proxies)
    assert (found.rows[equal] == found.rows[equal[0]]).all()
    some = rng.permutation(p)[:5]
    alone = white.transform(proxies[some])
    np.testing.assert_array_equal(alone.rows, found.rows[some])
    np.testing.assert_array_equal(alone.rest, found.rest[some])
    np.testing.assert_array_equal(alone.lengths, found.lengths[some])


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 64, 70]), st.integers(2, 100))
def test_whitened_proxies_have_the_covariance_that_the_ridge_leaves(seed: int, d: int, p: int) -> None:
    rng = np.random.default_rng(seed)
    proxies = rng.normal(size=(p, d)).astype(np.float32)
    white = whitening.fit(proxies)
    rows = white.transform(proxies).rows
    assert rows.shape == (p, min(p - 1, d) if p <= d else d)
    found = np.linalg.eigvalsh(rows.T @ rows / (p - 1))
    variance = np.linalg.eigvalsh(np.cov(proxies.astype(np.float64), rowvar=False).reshape(d, d))[-rows.shape[1] :]
    np.testing.assert_allclose(found, np.sort(variance / (variance + whitening.RIDGE)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("exponent", [0, 20, 34, 40])
def test_large_proxies_that_span_everything_leave_no_rest(exponent: int) -> None:
    """What rounding left outside their span was divided by the ridge: at 2^34 it was as large as the distances."""
    rng = np.random.default_rng(exponent)
    proxies, queries = (rng.integers(-50, 51, (n, 3)).astype(np.float32) for n in (9, 4))
    scale = np.float32(2.0**exponent)
    np.testing.assert_allclose(
        mahalanobis(queries * scale, proxies * scale), rational(queries * scale, proxies * scale), rtol=1e-9
    )
