"""Linear discriminant analysis: scikit-learn's estimator and its rules of shrinkage as oracles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf, oas
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import imprint_sweep as ims
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, run
from imprint_sweep.errors import ImprinterError, InvalidCellError, StageError, UnknownOptionError
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.outcome import OK
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.agg.directions import Directions
from imprint_sweep.imprinting.agg.metrics.inner_product import INNER_PRODUCT
from imprint_sweep.imprinting.agg.search import Products, nearest
from imprint_sweep.imprinting.clusters import Clusters
from imprint_sweep.imprinting.gen import lda
from imprint_sweep.imprinting.gen.least_squares import second_moment
from imprint_sweep.imprinting.vectors import Vectors, inner_products
from tests import data

Samples = NDArray[np.float32]
PROBLEMS = 200


def problems(seed: int, smallest: int = 1) -> Iterator[tuple[list[Samples], np.random.Generator]]:
    """Small random problems: a few classes of any size and scale, more features than samples among them."""
    rng = np.random.default_rng(seed)
    for _ in range(PROBLEMS):
        d = int(rng.integers(1, 12))
        sizes = rng.integers(smallest, 15, rng.integers(2, 6))
        sizes[0] = max(sizes[0], 2)
        scale = 10.0 ** rng.uniform(-3, 3)
        centers = rng.normal(0, rng.uniform(0, 5), (len(sizes), d))
        yield (
            [
                (scale * (center + rng.normal(size=(n, d)) * rng.uniform(0.1, 2, d))).astype(np.float32)
                for n, center in zip(sizes, centers, strict=True)
            ],
            rng,
        )


def fitted(by_class: Sequence[Samples], **axes: Any) -> ims.Imprinter:
    """The estimator, with parameters of the gen by their own names."""
    own = {f"gen.{name}": axes.pop(name) for name in ("shrinkage", "priors") if name in axes}
    labels = np.repeat(np.arange(len(by_class)), [len(x) for x in by_class])
    clf = ims.Imprinter(**{"gen": "lda", "k": 1, "norm": "none", "parameters": own, **axes})
    return clf.fit(np.concatenate(by_class), labels)


def centred(by_class: Sequence[Samples]) -> NDArray[np.float64]:
    return np.concatenate([x - x.mean(axis=0, dtype=np.float64) for x in by_class])


# ---- numbers


@pytest.mark.filterwarnings("ignore:Only one sample available")
def test_decision_values_are_those_of_scikit_learn() -> None:
    for by_class, rng in problems(0):
        x = np.concatenate(by_class).astype(np.float64)
        y = np.repeat(np.arange(len(by_class)), [len(one) for one in by_class])
        queries = rng.normal(0, np.abs(x).max(), (9, x.shape[1])).astype(np.float32)
        shrinkage = float(rng.uniform(0.01, 1))
        clf = fitted(by_class, shrinkage=shrinkage, priors="empirical")
        assert clf.biases_ is not None
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, y)
        expected = oracle.decision_function(queries.astype(np.float64))
        # Weights and biases are float32, and their products can cancel.
        size = (np.abs(queries) @ np.abs(clf.proxies_).T + np.abs(clf.biases_)).max()
        np.testing.assert_allclose(clf.decision_function(queries), expected, rtol=1e-5, atol=1e-6 * size)


def test_priors_move_biases_alone() -> None:
    for by_class, _ in problems(1, smallest=2):
        empirical, equal = (fitted(by_class, shrinkage=0.3, priors=priors) for priors in ("empirical", "equal"))
        assert empirical.biases_ is not None
        assert equal.biases_ is not None
        np.testing.assert_array_equal(empirical.proxies_, equal.proxies_)
        sizes = np.array([len(x) for x in by_class])
        moved = np.log(sizes / sizes.mean())
        size = np.abs(equal.biases_).max()
        np.testing.assert_allclose(empirical.biases_ - equal.biases_, moved, atol=1e-6 * size + 1e-6)


@pytest.mark.parametrize(("name", "rule"), [("ledoit_wolf", ledoit_wolf), ("oas", oas)])
def test_rules_are_those_of_scikit_learn_on_centred_samples(name: str, rule: Any) -> None:
    for by_class, _ in problems(2):
        covariance, shrinkage = rule(centred(by_class), assume_centered=True)
        means = np.stack([x.mean(axis=0, dtype=np.float64) for x in by_class])
        moments = np.sum([second_moment(x) for x in by_class], axis=0)
        sizes = np.array([len(x) for x in by_class])
        found = lda.within_covariance(moments, means, sizes)
        if found.shape[0] > 1:  # of one feature the covariance is what it is shrunk towards
            spread = sum(lda.spread(x, mean) for x, mean in zip(by_class, means, strict=True))
            n = int(sizes.sum())
            ours = lda.ledoit_wolf(found, n, spread) if name == "ledoit_wolf" else lda.oas(found, n)
            assert ours == pytest.approx(shrinkage, rel=1e-6, abs=1e-9)
        expected = np.linalg.solve(covariance, means.T).T
        proxies = fitted(by_class, shrinkage=name).proxies_
        np.testing.assert_allclose(proxies, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("offset", [1.0, 1e2, 1e4])
def test_second_moments_about_zero_lose_little(offset: float) -> None:
    """Far from zero: against scikit-learn's estimate, which centres first, of the same float32 samples."""
    rng = np.random.default_rng(0)
    by_class = [(rng.normal(size=(200, 8)) + offset + 3 * c).astype(np.float32) for c in range(3)]
    means = np.stack([x.mean(axis=0, dtype=np.float64) for x in by_class])
    moments = np.sum([second_moment(x) for x in by_class], axis=0)
    found = lda.within_covariance(moments, means, np.array([200, 200, 200]))
    expected = np.cov(centred(by_class), rowvar=False, bias=True)
    assert np.abs(found - expected).max() < 1e-14 * (means**2).max()
    # Moving every sample by one rounding of float32 changes more.
    moved = [np.nextafter(x, np.float32(np.inf) * rng.choice([-1, 1], x.shape).astype(np.float32)) for x in by_class]
    assert np.abs(found - expected).max() < np.abs(np.cov(centred(moved), rowvar=False, bias=True) - expected).max()


def test_proxies_of_clusters_share_the_covariance_about_class_means() -> None:
    rng = np.random.default_rng(1)
    by_class = [rng.normal(c, 1, (n, 6)).astype(np.float32) for c, n in enumerate((40, 25, 2))]
    clf, one = fitted(by_class, k=3, shrinkage=0.2, priors="empirical"), fitted(by_class, shrinkage=0.2)
    centers = ims.Imprinter(gen="kmeans", k=3, norm="none").fit(
        np.concatenate(by_class), np.repeat(range(3), [len(x) for x in by_class])
    )
    assert clf.proxies_.shape == (8, 6)  # the third class has two samples
    covariance = np.cov(centred(by_class), rowvar=False, bias=True)
    covariance = 0.8 * covariance + 0.2 * np.trace(covariance) / 6 * np.eye(6)
    np.testing.assert_allclose(clf.proxies_ @ covariance, centers.proxies_, rtol=1e-3, atol=1e-4)
    means = np.stack([x.mean(axis=0) for x in by_class])
    np.testing.assert_allclose(one.proxies_ @ covariance, means, rtol=1e-3, atol=1e-4)
    quadratic = (centers.proxies_ * clf.proxies_).sum(axis=1) / 2
    sizes = np.exp(clf.biases_ + quadratic) * 67
    np.testing.assert_allclose(sizes, np.round(sizes), atol=1e-3)
    assert [round(float(sizes[clf.proxy_labels_ == c].sum())) for c in range(3)] == [40, 25, 2]


@pytest.mark.parametrize("change", ["scale", "move", "permute"])
def test_predictions_depend_on_neither_scale_nor_origin_nor_order(change: str) -> None:
    rng = np.random.default_rng(2)
    by_class = [rng.normal(c, 1, (20, 5)).astype(np.float32) for c in range(4)]
    queries = rng.normal(1.5, 2, (300, 5)).astype(np.float32)

    def of(x: Samples) -> Samples:
        return {"scale": 8 * x, "move": x + np.float32(4), "permute": x[:, ::-1]}[change].astype(np.float32)

    before = fitted(by_class).predict(queries)
    assert (fitted([of(x) for x in by_class]).predict(of(queries)) == before).mean() > 0.995
    shuffled = [rng.permutation(x) for x in by_class]
    assert (fitted(shuffled).predict(queries) == before).mean() > 0.995


# ---- what cannot be computed


def test_a_singular_covariance_is_a_sentence() -> None:
    rng = np.random.default_rng(0)
    few = [rng.normal(size=(3, 10)).astype(np.float32) for _ in range(2)]
    with pytest.raises(StageError, match=r"gen\.shrinkage=0 the covariance of 6 samples of 10 features is singular"):
        fitted(few, shrinkage=0)
    constant = [np.column_stack([x[:, :2], np.ones(3)]).astype(np.float32) for x in few]
    with pytest.raises(StageError, match="singular to rounding"):
        fitted(constant, shrinkage=0)
    assert np.isfinite(fitted(few).proxies_).all()
    assert fitted([rng.normal(size=(9, 3)).astype(np.float32) for _ in range(2)], shrinkage=0).proxies_.shape == (2, 3)


def test_samples_without_any_spread_are_a_sentence() -> None:
    same = [np.full((3, 4), 0.1, np.float32), np.zeros((2, 4), np.float32)]
    for shrinkage in (0, 1, "oas", "ledoit_wolf"):
        with pytest.raises(StageError, match="every sample equals the mean of its class"):
            fitted(same, shrinkage=shrinkage)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"norm_post": "l2"}, r"gen=lda has a bias .* use norm=none \(or norm.post=none alone\)$"),
        ({"norm_post": "quantile"}, r"use norm=none \(or norm.post=none alone\)$"),
        ({"metric": "cosine"}, "use agg.metric=inner_product$"),
        ({"agg": "mnn", "metric": "euclidean", "m": 3, "weighting": "uniform"}, "use agg=.*max.* agg.metric=inner_pro"),
        ({"n_shot": 1}, "n_shot must be at least 2 or null, got 1"),
        ({"parameters": {"gen.shrinkage": 1.5}}, "gen.shrinkage must be at least 0 and at most 1, got 1.5"),
    ],
)
def test_what_means_nothing_is_refused(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidCellError, match=message):
        Scheme.create(**{"gen": "lda", "k": 1, **axes})


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(UnknownOptionError, match="did you mean ledoit_wolf"):
        Scheme.create(gen="lda", k=1, parameters={"gen.shrinkage": "ledoit_wolff"})
    with pytest.raises(UnknownOptionError, match="did you mean empirical"):
        Scheme.create(gen="lda", k=1, parameters={"gen.priors": "empiric"})


# ---- identity and equalities


def test_the_length_of_a_query_matters_and_the_seed_only_with_clusters() -> None:
    def form(**axes: Any) -> Scheme:
        return normal_form(Scheme.create(**{"gen": "lda", "k": 1, **axes}), 3)

    assert form(norm_inf="l2") != form(norm_inf="none")
    assert form(seed=5) == form(seed=0)
    assert form(k=2, seed=5) != form(k=2, seed=0)
    assert form(n_shot=5, seed=5) != form(n_shot=5, seed=0)
    assert form() == form(parameters={"gen.shrinkage": "ledoit_wolf", "gen.priors": "equal"})
    assert len({form(parameters={"gen.shrinkage": value}) for value in (0, 0.5, 1, "oas", "ledoit_wolf")}) == 5


# ---- the search with biases


@settings(max_examples=200)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e3, 1e9, 1e31]),
    st.booleans(),
    st.sampled_from([1, 3]),
)
def test_the_filter_never_loses_the_winner(seed: int, size: float, rough: bool, m: int) -> None:
    """Against all exact values, with biases of any size, whole products and those in few directions."""
    rng = np.random.default_rng(seed)
    b, p, d = 6, 40, 24
    scale = 10.0 ** rng.uniform(-4, 4, 2)
    raw = Vectors.of((scale[0] * rng.normal(size=(b, d))).astype(np.float32))
    rows = (scale[1] * rng.normal(size=(p, d))).astype(np.float32)
    rows[7], raw.rows[2] = rows[3], 0.0
    biases = (size * rng.normal(size=p)).astype(np.float32)
    biases[7] = biases[3]  # equal to the last bit: the first wins
    raw, proxies = Vectors.of(raw.rows), Vectors.of(rows, biases=biases)
    lengths = np.where(raw.lengths > 0, raw.lengths, 1.0)
    queries = Vectors.of((raw.rows / lengths[:, None]).astype(np.float32)) if rng.random() < 0.5 else raw
    bounds = INNER_PRODUCT.bounds(raw, proxies, queries, proxies)
    scores, products = inner_products(raw.rows, proxies.rows), None
    if rough:
        directions = Directions.of_most(raw.rows, 4)
        few, few_proxies = directions.project(raw), directions.project(proxies)
        products = Products(raw.rows, proxies.rows, bounds)
        bounds = bounds.widened(few.outside, few_proxies.outside)
        scores = inner_products(few.rows, few_proxies.rows)
    found = nearest(scores, bounds, INNER_PRODUCT, queries, proxies, [(0, p)], m, distances=m > 1, products=products)
    query, proxy = np.repeat(np.arange(b), p), np.tile(np.arange(p), b)
    exact = INNER_PRODUCT.exact(queries, proxies, query, proxy).reshape(b, p)
    np.testing.assert_array_equal(found.position, np.argsort(exact, axis=1, kind="stable")[:, :m])
    expected = -(queries.rows.astype(np.float64) @ rows.T.astype(np.float64)) - biases.astype(np.float64)
    np.testing.assert_allclose(exact, expected, rtol=1e-12, atol=1e-12 * max(size, float(np.abs(expected).max())))


# ---- cells and the estimator


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    cache = EmbeddingCache(tmp_path)
    data.write(cache, data.clean())
    return cache


def test_cells_alone_and_together_and_the_estimator_agree(cache: EmbeddingCache) -> None:
    clean = data.clean()
    whole, part = data.task(clean), data.task(clean, classes=(1000, 7))
    cells = [
        data.cell(task, gen="lda", k=k, seed=seed, n_shot=n_shot, norm_pre=pre, norm_inf=inf, agg=agg,
                  parameters={"gen.shrinkage": shrinkage, "gen.priors": priors})
        for task in (whole, part) for k in (1, 4) for seed in (0, 1) for n_shot in (None, 6) for pre in ("none", "l2")
        for inf in ("none", "l2") for shrinkage in (0.3, "oas", "ledoit_wolf") for priors in ("equal", "empirical")
        for agg in ("max", "lse")
    ]  # fmt: skip
    assert len({cell.cell_id for cell in cells}) == len(cells)
    together = {outcome.cell: outcome for outcome in run(cells, cache, EngineSettings(threads=2))}
    assert {outcome.status for outcome in together.values()} == {OK}
    assert len({outcome.correct for outcome in together.values()}) > 3
    for cell in cells[::11]:
        (alone,) = run([cell], cache, EngineSettings(memory_gb=1e-5))
        assert alone.correct == together[cell].correct, alone.error


def test_one_factorisation_serves_every_k_seed_and_kind_of_priors(cache: EmbeddingCache) -> None:
    from imprint_sweep.engine import Ledger

    task = data.task(data.clean())
    cells = [
        data.cell(task, gen="lda", k=k, seed=seed, parameters={"gen.shrinkage": shrinkage, "gen.priors": priors})
        for k in (1, 2, 3) for seed in (0, 1) for shrinkage in (0.3, "oas", "ledoit_wolf")
        for priors in ("equal", "empirical")
    ]  # fmt: skip
    cells += [data.cell(task, gen="least_squares")]
    ledger = Ledger()
    list(run(cells, cache, EngineSettings(), ledger=ledger))
    assert ledger.calls["moment"] == len(task.labels)
    assert ledger.calls["spread"] == len(task.labels)
    assert ledger.calls["factorization"] == 3 + 1
    assert ledger.calls["kmeans"] == len(task.labels) * 4


def test_log_sum_exp_is_the_density_of_a_mixture() -> None:
    """Against scipy's logsumexp; with T = 1 and priors by samples it is the mixture of the clusters of a class."""
    rng = np.random.default_rng(3)
    by_class = [rng.normal(c, 2, (n, 5)).astype(np.float32) for c, n in enumerate((30, 20, 9))]
    queries = rng.normal(1, 3, (400, 5)).astype(np.float32)
    for temperature in (0.05, 1.0, 20.0):
        own = {"gen.shrinkage": 0.1, "gen.priors": "empirical", "agg.temperature": temperature}
        clf = fitted(by_class, k=4, agg="lse", parameters=own)
        assert clf.biases_ is not None
        values = queries.astype(np.float64) @ clf.proxies_.T.astype(np.float64) + clf.biases_
        scores = [logsumexp(values[:, clf.proxy_labels_ == c] / temperature, axis=1) for c in range(3)]
        np.testing.assert_allclose(clf.decision_function(queries), temperature * np.stack(scores, axis=1), rtol=1e-9)
        np.testing.assert_array_equal(clf.predict(queries), np.argmax(scores, axis=0))


def digits() -> tuple[Samples, NDArray[np.int64]]:
    real = data.digits()
    return real.train.features, real.train.labels


def test_real_data_are_classified_as_by_scikit_learn() -> None:
    x, y = digits()
    test = data.digits().test.features
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(x.astype(np.float64), y)
    clf = ims.Imprinter(gen="lda", k=1, norm="none", parameters={"gen.shrinkage": 0.1, "gen.priors": "empirical"})
    np.testing.assert_array_equal(clf.fit(x, y).predict(test), oracle.predict(test.astype(np.float64)))


def test_the_classifier_is_taken_elsewhere(tmp_path: Path) -> None:
    import torch

    x, y = digits()
    clf = ims.Imprinter(gen="lda", k=1, norm="none").fit(x, y)
    assert clf.biases_ is not None
    assert clf.nbytes_ == clf.proxies_.nbytes + 40
    scores = clf.decision_function(x)
    layer = clf.to_linear()
    assert layer.bias is not None
    for module in (layer, clf.to_torch()):
        with torch.no_grad():
            np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), scores, rtol=1e-4, atol=1e-3)
    clf.save(tmp_path / "head.safetensors")
    again = ims.Imprinter.load(tmp_path / "head.safetensors")
    assert again.biases_ is not None
    np.testing.assert_array_equal(again.biases_, clf.biases_)
    np.testing.assert_array_equal(again.decision_function(x), scores)
    assert again.n_features_in_ == 64


def test_a_linear_layer_knows_no_lengths_of_queries() -> None:
    x, y = digits()
    clf = ims.Imprinter(gen="lda", k=1, norm_pre="l2", norm_post="none", norm_inf="l2").fit(x, y)
    with pytest.raises(ImprinterError, match="norm_inf=l2 scales queries, and the biases of gen=lda do not follow"):
        clf.to_linear()


def test_clusters_without_samples_are_left_out() -> None:
    x = np.array([[0.0], [1.0], [3.0]], np.float32)
    found = Clusters.of(x, np.array([2, 0, 2]))
    np.testing.assert_array_equal(found.means, [[1.0], [1.5]])
    np.testing.assert_array_equal(found.sizes, [1, 2])
