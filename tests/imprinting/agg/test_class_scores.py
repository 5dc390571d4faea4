"""Scores of classes against SciPy, what narrows down against what decides, and what the log-sum-exp promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.imprinting.agg import class_scores, voting
from imprint_sweep.imprinting.agg.comparison import Comparison
from imprint_sweep.imprinting.agg.metrics.euclidean import Euclidean
from imprint_sweep.imprinting.components import (
    AGGREGATIONS,
    METRICS,
    WEIGHTINGS,
    ClassMetric,
    ClassScore,
    Rows,
    Setting,
)
from imprint_sweep.imprinting.vectors import Vectors
from tests import data

ONE_MAP = [name for name, metric in METRICS.items() if not isinstance(metric, ClassMetric)]
"""Metrics that compare the proxies of all classes in one way."""

DISTANCES: dict[str, Any] = {"cosine": "cosine", "euclidean": "euclidean", "manhattan": "cityblock"}


def lse(temperature: float) -> ClassScore:
    aggregation = AGGREGATIONS[Setting("lse", (("temperature", temperature),))]
    assert isinstance(aggregation, ClassScore)
    return aggregation


def problem(seed: int) -> tuple[Rows, Rows, list[int], float]:
    """Queries, proxies, how many each class has, and a temperature: some equal, some zero."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, size=int(rng.integers(1, 6))).tolist()
    d = int(rng.integers(1, 90))
    queries, proxies = (rng.normal(0.3, 1.0, (n, d)).astype(np.float32) for n in (15, sum(sizes)))
    proxies[rng.integers(len(proxies), size=2)] = proxies[0]
    queries[0], queries[1] = proxies[-1], 0.0
    return queries, proxies, sizes, float(10 ** rng.uniform(-3, 1))


def values(metric: str, queries: Rows, proxies: Rows) -> NDArray[np.float64]:
    """SciPy's values of all pairs."""
    wide, wide_proxies = queries.astype(np.float64), proxies.astype(np.float64)
    if metric == "inner_product":
        products: NDArray[np.float64] = -(wide @ wide_proxies.T)
        return products
    found: NDArray[np.float64] = cdist(wide, wide_proxies, DISTANCES[metric])
    return np.nan_to_num(found, nan=1.0)  # a cosine with zero


@pytest.mark.parametrize("metric", ["inner_product", *DISTANCES])
def test_scores_are_scipys(metric: str) -> None:
    for seed in range(60):
        queries, proxies, sizes, t = problem(seed)
        found = Comparison(Setting(metric), proxies).scores(queries, sizes, lse(t))
        of_class = np.split(values(metric, queries, proxies), np.cumsum(sizes)[:-1], axis=1)
        wanted = np.stack([t * logsumexp(-part / t, axis=1) for part in of_class], axis=1)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("metric", ONE_MAP)
def test_what_narrows_down_leaves_the_largest_exact_score(metric: str) -> None:
    for seed in range(40):
        queries, proxies, sizes, t = problem(seed)
        compared = Comparison(Setting(metric), proxies)
        for aggregation in (lse(t), AGGREGATIONS["max"]):
            assert isinstance(aggregation, ClassScore)
            scores = compared.scores(queries, sizes, aggregation)
            assert compared.highest(queries, sizes, aggregation).tolist() == scores.argmax(axis=1).tolist()


def twins(seed: int) -> tuple[Rows, Rows, list[int]]:
    """Queries, and the same proxies for each of three classes but for a rounding here and there."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 9)), int(rng.integers(2, 90))
    proxies = np.tile(rng.normal(0.3, 1.0, (n, d)), (3, 1)).astype(np.float32)
    moved = rng.random(proxies.shape) < rng.choice([0.0, 0.01, 0.5])
    to = rng.choice([-9.0, 9.0], proxies.shape).astype(np.float32)
    proxies = np.where(moved, np.nextafter(proxies, to), proxies)
    return rng.normal(0.3, 1.0, (15, d)).astype(np.float32), proxies, [n] * 3


@pytest.mark.parametrize("t", [1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("metric", ONE_MAP)
def test_near_ties_are_decided_exactly_at_small_temperatures(metric: str, t: float) -> None:
    """Scores of classes and votes of all, against those of all exact values without anything that narrows down."""
    softmax = WEIGHTINGS[Setting("softmax", (("temperature", t),))]
    open_ = 0
    for seed in range(25):
        queries, proxies, sizes = twins(seed)
        compared = Comparison(Setting(metric), proxies)
        (block,) = compared._blocks(queries)
        query, proxy = (indices.ravel() for indices in np.indices((len(queries), len(proxies))))
        exact = METRICS[metric].exact(block.queries, compared.proxies, query, proxy).reshape(len(queries), -1)
        scores = np.stack([lse(t).scores(part) for part in np.split(exact, 3, axis=1)], axis=1)
        assert compared.highest(queries, sizes, lse(t)).tolist() == scores.argmax(axis=1).tolist()
        ranked = np.sort(scores, axis=1)
        margin, size = ranked[:, -1] - ranked[:, -2], 1.0 + np.abs(ranked[:, -1])
        open_ += int(((margin > 0.0) & (margin < 1e-6 * size)).sum())
        if METRICS[metric].is_distance:
            m, labels = min(4, len(proxies)), np.repeat(np.arange(3, dtype=np.int32), sizes)
            order = np.argsort(exact, axis=1, kind="stable")[:, :m]
            wanted = voting.votes(labels[order], np.take_along_axis(exact, order, 1), [(m, softmax)], 3)
            found = compared.nearest(queries, m)
            assert voting.votes(labels[found.position], found.distance, [(m, softmax)], 3).tolist() == wanted.tolist()
    assert open_ > 20  # float32 could not have told these apart


@pytest.mark.parametrize("metric", ONE_MAP)
@given(st.integers(0, 10**6), st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e30]))
def test_exact_values_lie_where_the_filter_says(metric: str, seed: int, size: float) -> None:
    queries, proxies, _, _ = problem(seed)
    compared = Comparison(Setting(metric), (proxies * np.float32(size)).astype(np.float32))
    (block,) = compared._blocks(queries)
    if not block.bounds.tells_values:
        return
    about, apart = block.bounds.values(block.scores, slice(None), slice(None))
    query, proxy = (indices.ravel() for indices in np.indices(about.shape))
    exact = METRICS[metric].exact(block.queries, compared.proxies, query, proxy).reshape(about.shape)
    assert (np.abs(exact - about) <= apart[:, None] + 1e-14 * np.abs(exact)).all()


def test_exact_values_are_made_for_few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    proxies, queries = (rng.normal(size=(n, 300)).astype(np.float32) for n in (2000, 500))
    asked = []

    def counted(self: Euclidean, q: Vectors, p: Vectors, query: NDArray[np.int64], proxy: NDArray[np.int64]) -> Any:
        asked.append(len(query))
        return exact(self, q, p, query, proxy)

    exact = Euclidean.exact
    monkeypatch.setattr(Euclidean, "exact", counted)
    Comparison(Setting("euclidean"), proxies).highest(queries, [200] * 10, lse(0.07))
    assert 0 < sum(asked) < 0.02 * 2000 * 500


def test_several_aggregations_are_each_as_alone() -> None:
    queries, proxies, sizes, _ = problem(3)
    compared = Comparison(Setting("euclidean"), proxies)
    stops = np.cumsum(sizes).tolist()
    columns = [(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]
    (block,) = compared._blocks(queries)
    arguments = block.scores, block.bounds, METRICS["euclidean"], block.queries, compared.proxies, columns
    several = [lse(t) for t in (0.01, 0.3, 20.0)]
    found = class_scores.highest(*arguments, several)
    assert len({tuple(row) for row in found.tolist()}) > 1
    for row, aggregation in zip(found, several, strict=True):
        assert row.tolist() == compared.highest(queries, sizes, aggregation).tolist()


# --- what the log-sum-exp promises ------------------------------------------------------------------------------------

ROWS = st.integers(0, 10**6).map(lambda seed: np.random.default_rng(seed).normal(0, 3, (4, 1 + seed % 9)))
TEMPERATURES = st.floats(1e-3, 1e3)


@given(ROWS, TEMPERATURES)
def test_it_is_between_the_maximum_and_that_plus_t_log_n(rows: NDArray[np.float64], t: float) -> None:
    scores, best = lse(t).scores(rows), -rows.min(axis=1)
    assert (scores >= best).all()
    assert (scores <= best + t * np.log(rows.shape[1]) + 1e-12 * (t + np.abs(best))).all()


@given(ROWS, TEMPERATURES, st.floats(0.1, 10))
def test_it_moves_and_scales_with_its_values(rows: NDArray[np.float64], t: float, c: float) -> None:
    np.testing.assert_allclose(lse(c * t).scores(c * rows), c * lse(t).scores(rows), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(lse(t).scores(rows + c), lse(t).scores(rows) - c, rtol=1e-9, atol=1e-9)


@given(ROWS, TEMPERATURES, st.randoms(use_true_random=False))
def test_the_order_of_proxies_changes_no_more_than_rounding(rows: NDArray[np.float64], t: float, random: Any) -> None:
    order = random.sample(range(rows.shape[1]), rows.shape[1])
    np.testing.assert_allclose(lse(t).scores(rows[:, order]), lse(t).scores(rows), rtol=1e-12, atol=1e-12 * t)


@given(ROWS, TEMPERATURES)
def test_of_one_proxy_it_is_its_score_to_the_last_bit(rows: NDArray[np.float64], t: float) -> None:
    assert lse(t).scores(rows[:, :1]).tolist() == (-rows[:, 0]).tolist()


# --- the estimator ----------------------------------------------------------------------------------------------------

BLOBS = data.blobs(train_sizes={7: 40, -5: 25, 1000: 33}, d=24, test_size=60, spread=1.5)


@pytest.mark.parametrize("metric", METRICS)
def test_max_is_the_limit_for_small_temperatures(metric: str) -> None:
    def predicted(**how: Any) -> list[int]:
        clf = Imprinter(gen="kmeans", k=7, metric=metric, **how).fit(BLOBS.train.features, BLOBS.train.labels)
        return clf.predict(BLOBS.test.features).tolist()  # type: ignore[no-any-return]

    limit = predicted(agg="max")
    assert predicted(agg="lse", parameters={"agg.temperature": 1e-6}) == limit
    if metric != "mahalanobis":
        assert predicted(agg="lse", parameters={"agg.temperature": 100.0}) != limit


def test_the_largest_score_is_the_prediction_whatever_the_query_s_length() -> None:
    clf = Imprinter(gen="kmeans", k=7, norm="none", agg="lse").fit(BLOBS.train.features, BLOBS.train.labels)
    for length in (1e-3, 1.0, 1e3):
        queries = (length * BLOBS.test.features).astype(np.float32)
        scores = clf.decision_function(queries)
        assert (clf.classes_[scores.argmax(axis=1)] == clf.predict(queries)).all()
    # Unlike that of the nearest, a vote of all depends on it.
    ends = [clf.predict((length * BLOBS.test.features).astype(np.float32)) for length in (1e-3, 1e3)]
    assert (ends[0] != ends[1]).any()
