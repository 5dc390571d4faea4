"""Mahalanobis distances by class: the published formulas in NumPy, SciPy and scikit-learn as oracles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.covariance import EmpiricalCovariance

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, Ledger, predictions, run
from imprint_sweep.errors import InvalidCellError, StageError
from imprint_sweep.grid.cell import Cell, Task
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.outcome import FAILED, OK
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.agg import search
from imprint_sweep.imprinting.agg.comparison import Comparison
from imprint_sweep.imprinting.agg.comparison import merged as merged_by_distance
from imprint_sweep.imprinting.agg.metrics.class_mahalanobis import CLASS_MAHALANOBIS, correlation
from imprint_sweep.imprinting.alone import Alone
from imprint_sweep.imprinting.components import GENS, Setting, Statistics
from imprint_sweep.imprinting.gen.least_squares import second_moment
from tests import data

Rows = NDArray[np.float32]
Float64 = NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)


def metric(shrinkage: float = 1.0, tukey: float = 1.0) -> Setting:
    return Setting("class_mahalanobis", (("shrinkage", shrinkage), ("tukey", tukey)))


def known(samples: Rows, shrinkage: float = 1.0, tukey: float = 1.0) -> Statistics:
    """What the metric knows of a class."""
    alone = Alone(samples, lambda stage, seed: np.random.default_rng(seed))
    return CLASS_MAHALANOBIS.having([("shrinkage", shrinkage), ("tukey", tukey)]).statistics(alone)


def distances(samples: Rows, queries: Rows, proxies: Rows, shrinkage: float = 1.0, tukey: float = 1.0) -> Float64:
    """(b, p) distances, in the order of the proxies."""
    compared = Comparison(metric(shrinkage, tukey), proxies, of_class=known(samples, shrinkage, tukey))
    found = compared.nearest(queries, len(proxies))
    out = np.empty(found.distance.shape)
    np.put_along_axis(out, found.position.astype(np.int64), found.distance, axis=1)
    return out


def published(samples: Rows, shrinkage: float, tukey: float = 1.0) -> Float64:
    """FeCAM's matrix: the covariance, shrunk, then normalised to correlations; (d, d)."""
    x = samples.astype(np.float64) ** tukey
    d = x.shape[1]
    matrix = np.cov(x, rowvar=False).reshape(d, d)
    off_diagonal = matrix[~np.eye(d, dtype=bool)]
    mean_covariance = off_diagonal.mean() if d > 1 else 0.0
    matrix = matrix + shrinkage * np.diag(matrix).mean() * np.eye(d) + shrinkage * mean_covariance * (1 - np.eye(d))
    deviation = np.sqrt(np.diag(matrix))
    normalised: Float64 = matrix / np.outer(deviation, deviation)
    return normalised


def test_distances_are_those_of_the_published_formulas() -> None:
    rng = np.random.default_rng(0)
    for _ in range(250):
        n, d, b, p = (int(number) for number in rng.integers((2, 1, 1, 1), (40, 24, 6, 6)))
        shrinkage, tukey = float(rng.choice([0.01, 0.3, 1.0, 100.0])), float(rng.choice([1.0, 0.5, 2.0]))
        mixing, offset = rng.normal(size=(d, d)), rng.choice([0.0, 3.0])
        samples, queries, proxies = (
            np.abs(rng.normal(size=(rows, d)) @ mixing + offset).astype(np.float32) for rows in (n, b, p)
        )
        matrix = published(samples, shrinkage, tukey)
        raised = (queries.astype(np.float64) ** tukey, proxies.astype(np.float64) ** tukey)
        expected = cdist(*raised, "mahalanobis", VI=np.linalg.inv(matrix))
        # Moments about zero lose what the means take; powers are rounded to float32.
        x = samples.astype(np.float64) ** tukey
        lost = (x**2).mean() / x.var(axis=0).mean() if d > 1 else 1.0
        rounding = 64 * d * EPSILON * (1 + lost) * np.linalg.cond(matrix) + (tukey != 1.0) * 1e-5
        scale = expected + np.abs(np.concatenate(raised)).max() * np.sqrt(d / np.linalg.eigvalsh(matrix)[0])
        assert (np.abs(distances(samples, queries, proxies, shrinkage, tukey) - expected) <= rounding * scale).all()


def test_without_shrinkage_it_is_scikit_learns_distance_of_standardised_features() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        samples = (rng.normal(size=(60, 7)) @ rng.normal(size=(7, 7))).astype(np.float32)
        queries = rng.normal(size=(5, 7)).astype(np.float32)
        mean, deviation = samples.mean(axis=0, dtype=np.float64), samples.std(axis=0, dtype=np.float64)
        fitted = EmpiricalCovariance().fit(samples / deviation)
        expected = np.sqrt(fitted.mahalanobis(queries - mean + fitted.location_))
        # The mean as a proxy is rounded to float32.
        found = distances(samples, queries, mean[None].astype(np.float32), shrinkage=0.0)[:, 0]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_matrix_depends_on_no_unit_and_no_denominator() -> None:
    samples = np.random.default_rng(2).normal(size=(30, 5)).astype(np.float32)
    mean = samples.mean(axis=0, dtype=np.float64)
    found = correlation(second_moment(samples), mean, 30, 1.0)
    np.testing.assert_allclose(correlation(second_moment(8 * samples), 8 * mean, 30, 1.0), found, rtol=1e-12)
    np.testing.assert_allclose(found, published(samples, 1.0), rtol=1e-12, atol=1e-14)
    assert (np.diag(found) == 1.0).all()
    assert np.linalg.eigvalsh(found)[0] > 0


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("shrinkage", [0.0, 1.0])
def test_a_class_whose_samples_are_all_equal_is_compared_by_euclid(n: int, shrinkage: float) -> None:
    rng = np.random.default_rng(n)
    samples = np.repeat(rng.normal(size=(1, 9)), n, axis=0).astype(np.float32) * 1e3
    queries, proxies = (rng.normal(size=(4, 9)).astype(np.float32) for _ in range(2))
    np.testing.assert_allclose(distances(samples, queries, proxies, shrinkage), cdist(queries, proxies), rtol=1e-9)


def test_a_constant_feature_is_correlated_with_none() -> None:
    rng = np.random.default_rng(3)
    samples, queries, proxies = (rng.normal(size=(n, 4)).astype(np.float32) for n in (50, 3, 2))
    samples[:, 2] = 1e3
    rest = [0, 1, 3]
    others = distances(samples[:, rest], queries[:, rest], proxies[:, rest], 0.0)
    apart = queries[:, 2].astype(np.float64)[:, None] - proxies[:, 2].astype(np.float64)
    np.testing.assert_allclose(
        distances(samples, queries, proxies, 0.0), np.sqrt(others**2 + apart**2), rtol=1e-7, atol=1e-9
    )


def test_fewer_samples_than_features_need_shrinkage() -> None:
    samples = np.random.default_rng(4).normal(size=(5, 12)).astype(np.float32)
    assert np.isfinite(known(samples, 0.01)["matrix"]).all()
    with pytest.raises(StageError, match=r"a class of 5 samples with 12 features is singular to rounding; raise agg"):
        known(samples, 0.0)
    for seed in range(30):  # as many samples as features; rounding leaves some of these matrices positive definite
        samples = np.random.default_rng(seed).normal(size=(8, 8)).astype(np.float32)
        with pytest.raises(StageError, match="singular to rounding"):
            known(samples, 0.0)
    # Rows that sum to one, as the squares of unit vectors do: their covariances sum to zero, however they are shrunk.
    rows = np.random.default_rng(5).integers(1, 2**20, (50, 16))
    rows[:, -1] = 2**24 - rows[:, :-1].sum(axis=1)
    with pytest.raises(StageError, match="singular to rounding"):
        known((rows / 2**24).astype(np.float32), 1.0)
    # Every feature is the first one: so is the mean covariance, and no shrinkage helps.
    with pytest.raises(StageError, match="or take more samples of each class"):
        known(np.array([[0, 0, 0], [1, 1, 1]], np.float32), 1.0)


def test_a_power_needs_features_of_at_least_zero() -> None:
    rng = np.random.default_rng(5)
    good = rng.uniform(size=(20, 3)).astype(np.float32)
    bad = good - np.float32(0.5)
    for samples, queries, proxies in ((bad, good, good), (good, bad, good), (good, good, bad)):
        with pytest.raises(StageError, match=r"none may be negative, but one of the .* is -0\.\d+; use agg\.tukey=1"):
            distances(samples, queries, proxies, tukey=0.5)
        assert np.isfinite(distances(samples, queries, proxies)).all()


def test_a_query_does_not_depend_on_its_block() -> None:
    rng = np.random.default_rng(6)
    samples, queries, proxies = (rng.uniform(size=(n, 65)).astype(np.float32) for n in (30, 40, 9))
    compared = Comparison(metric(tukey=0.5), proxies, of_class=known(samples, tukey=0.5))
    whole = compared.nearest(queries, 9)
    for rows in (slice(0, 1), slice(3, 10), slice(39, 40)):
        some = compared.nearest(queries[rows], 9)
        np.testing.assert_array_equal(some.distance, whole.distance[rows])
        np.testing.assert_array_equal(some.position, whole.position[rows])


def test_only_proxies_of_a_class_alone_can_be_compared_with_its_samples() -> None:
    for name, gen in GENS.items():
        axes: dict[str, Any] = {"gen": name, "k": 2, "metric": "class_mahalanobis", "weight_decay": 0.1}
        if gen.joint:
            with pytest.raises(InvalidCellError, match=f"gen={name} (makes its proxies from those of all|has a bias)"):
                Scheme.create(**axes)
        else:
            assert Scheme.create(**axes).parameter("agg.shrinkage") == 1.0
    for given in ({"agg.tukey": 0}, {"agg.tukey": -1.0}, {"agg.shrinkage": -0.1}):
        with pytest.raises(InvalidCellError, match=r"must be (more than|at least) 0, got"):
            Scheme.create(gen="mean", metric="class_mahalanobis", parameters=given)


def test_the_metric_sees_what_norm_pre_did_to_samples_that_are_chosen_blindly() -> None:
    before, after = (
        normal_form(Scheme.create(gen="all", metric=name, norm_pre="l2", norm_post="l2"), 3)
        for name in ("class_mahalanobis", "manhattan")
    )
    assert (before.norm_pre, after.norm_pre) == ("l2", "none")


# --- The engine and the estimator -------------------------------------------------------------------------------------

BLOBS, PIXELS = data.blobs(train_sizes={3: 30, -5: 12, 7: 1, 1000: 21, 8: 5}, spread=2.0), data.digits()
TASKS = [data.task(BLOBS), data.task(BLOBS, classes=(1000, 3)), data.task(PIXELS, classes=(1, 8, 3, 5, 0))]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    cache = EmbeddingCache(tmp_path_factory.mktemp("embeddings"))
    data.write(cache, BLOBS, PIXELS)
    return cache


def grid(tasks: Sequence[Task] = TASKS) -> list[Cell]:
    """Cells of every kind of readout; some with a gen that shares the second moments."""
    axes: list[dict[str, Any]] = [
        {"gen": gen, "norm_pre": pre, "norm_post": post, "norm_inf": "none", "agg": agg, "m": m, "metric": name}
        for gen in ("mean", "kmeans", "all")
        for pre, post in (("none", "none"), ("l2", "none"), ("l2", "l2"), ("none", "quantile"))
        for agg, m in (("max", None), ("mnn", 4), ("mnn", 1000), ("lse", None))
        for name in ("class_mahalanobis", "cosine")
    ]
    given = [{"agg.shrinkage": 1.0}, {"agg.shrinkage": 0.2}]
    cells = [
        data.cell(task, **one, **({"parameters": own} if one["metric"] != "cosine" else {}))
        for task in tasks
        for one in axes
        for own in (given if one["metric"] != "cosine" else given[:1])
    ]
    return [*cells, *(data.cell(task, gen="least_squares") for task in tasks)]


def plain(cell: Cell) -> NDArray[np.int64]:
    """The predictions of a cell of the mean under max, from the published formulas."""
    dataset = PIXELS if cell.task.datasets == ("pixels",) else BLOBS
    (shrinkage,) = (value for key, value in cell.scheme.parameters if key == "agg.shrinkage")
    assert isinstance(shrinkage, float)
    queries = np.concatenate([of(dataset.test, label[0][1]) for label in cell.task.labels]).astype(np.float64)
    columns = []
    for label in cell.task.labels:
        x = of(dataset.train, label[0][1])
        matrix = np.eye(x.shape[1]) if len(x) == 1 else published(x, shrinkage)
        columns.append(cdist(queries, x.mean(axis=0, keepdims=True), "mahalanobis", VI=np.linalg.inv(matrix)))
    nearest: NDArray[np.int64] = np.concatenate(columns, axis=1).argmin(axis=1)
    return nearest


def of(split: data.Split, number: int) -> Rows:
    rows: Rows = split.features[split.labels == number]
    return rows


@pytest.fixture(scope="module")
def reference(cache: EmbeddingCache) -> dict[str, tuple[int, ...]]:
    """Correct predictions of each class, by cell id."""
    return results(grid(), cache, EngineSettings(threads=2))


def results(
    cells: Sequence[Cell], cache: EmbeddingCache, settings: EngineSettings, ledger: Ledger | None = None
) -> dict[str, tuple[int, ...]]:
    found = list(run(cells, cache, settings, ledger=ledger))
    assert [outcome.error for outcome in found if outcome.status != OK] == []
    return {outcome.cell.cell_id: outcome.correct for outcome in found if outcome.correct is not None}


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_a_cell_is_what_the_formulas_say_and_what_the_estimator_predicts(
    cache: EmbeddingCache, reference: dict[str, tuple[int, ...]]
) -> None:
    for cell in grid()[::5]:
        scheme = cell.scheme
        if scheme.metric != "class_mahalanobis":
            continue
        found = predictions(cell, cache, EngineSettings())
        dataset = PIXELS if cell.task.datasets == ("pixels",) else BLOBS
        numbers = [label[0][1] for label in cell.task.labels]
        rows = np.isin(dataset.train.labels, numbers)
        clf = Imprinter(
            gen=scheme.gen, k=scheme.k, norm_pre=scheme.norm_pre, norm_post=scheme.norm_post,
            norm_inf=scheme.norm_inf, agg=scheme.agg, m=scheme.m or 1, metric=scheme.metric, classes=numbers,
            weighting=scheme.weighting or "uniform", seed=scheme.seed, parameters=dict(scheme.parameters),
        )  # fmt: skip
        if scheme.gen != "kmeans":  # whose draws are keyed by dataset and class
            clf.fit(dataset.train.features[rows], dataset.train.labels[rows])
            queries = np.concatenate([of(dataset.test, number) for number in numbers])
            np.testing.assert_array_equal(clf.predict(queries), np.array(numbers)[found])
        if (scheme.gen, scheme.agg, scheme.norm_pre, scheme.norm_post) == ("mean", "max", "none", "none"):
            np.testing.assert_array_equal(found, plain(cell))


@pytest.mark.parametrize("settings", [EngineSettings(threads=1, memory_gb=1e-4), EngineSettings(threads=3)], ids=str)
def test_memory_threads_and_company_do_not_matter(
    settings: EngineSettings, cache: EmbeddingCache, reference: dict[str, tuple[int, ...]]
) -> None:
    assert results(grid(), cache, settings) == reference
    for cell in grid()[::17]:
        assert results([cell], cache, settings) == {cell.cell_id: reference[cell.cell_id]}


def test_the_moments_of_least_squares_serve_and_each_class_is_known_once(cache: EmbeddingCache) -> None:
    ledger = Ledger()
    results(grid(TASKS[:2]), cache, EngineSettings(threads=2), ledger)
    assert ledger.calls["moment"] == 5 * 2  # with and without NORM_pre
    assert ledger.calls["class_covariance"] == 5 * 2 * 2
    ledger = Ledger()
    axes: dict[str, Any] = {"metric": "class_mahalanobis", "agg": "mnn", "weighting": "uniform"}
    results([data.cell(TASKS[0], gen="all", m=m, **axes) for m in (1, 2, 5)], cache, EngineSettings(), ledger)
    assert ledger.calls["class_mahalanobis"] == ledger.calls["search"] == 1


def test_a_class_that_cannot_be_measured_fails_its_own_tasks_alone(tmp_path: Path) -> None:
    odd = data.blobs("odd", train_sizes={0: 30, 1: 30, 2: 4, 3: 30})  # of 8 features, positive here
    for split in (odd.train, odd.test):
        np.abs(split.features, out=split.features)
    odd.test.features[np.flatnonzero(odd.test.labels == 3)[0], 0] = -1
    cache = EmbeddingCache(tmp_path)
    data.write(cache, odd)
    tasks = {classes: data.task(odd, classes=classes) for classes in ((0, 1), (0, 1, 2), (0, 1, 3))}
    own: dict[str, Any] = {"metric": "class_mahalanobis", "gen": "mean"}
    for settings in (EngineSettings(threads=2), EngineSettings(memory_gb=1e-5)):
        for parameters, failing, words in (
            ({"agg.shrinkage": 0.0}, (0, 1, 2), "a class of 4 samples"),
            ({"agg.tukey": 0.5}, (0, 1, 3), "one of the queries and proxies is -1"),
        ):
            cells = [data.cell(task, **own, parameters=parameters) for task in tasks.values()]
            found = {outcome.cell.task: outcome for outcome in run(cells, cache, settings)}
            for classes, task in tasks.items():
                assert found[task].status == (FAILED if classes == failing else OK), found[task].error
            assert words in str(found[tasks[failing]].error)


def test_the_estimator_adds_removes_saves_and_loads_classes(tmp_path: Path) -> None:
    x, y, q = PIXELS.train.features, PIXELS.train.labels, PIXELS.test.features
    order = [4, 2, 9, 0]
    parameters = {"agg.shrinkage": 0.5, "agg.tukey": 0.5}
    clf = Imprinter(gen="kmeans", k=3, norm="none", metric="class_mahalanobis", parameters=parameters, classes=order)
    rows = np.isin(y, order)
    clf.fit(x[rows], y[rows])
    rest = np.isin(y, [4, 9])
    built = Imprinter(**{**clf.get_params(), "classes": [4, 9]}).fit(x[rest], y[rest])
    built.add_class(x[y == 2], 2).remove_class(9).remove_class(4).add_class(x[y == 4], 4)
    again = Imprinter(**{**clf.get_params(), "classes": [2, 4]}).fit(x[np.isin(y, [2, 4])], y[np.isin(y, [2, 4])])
    np.testing.assert_array_equal(built.decision_function(q), again.decision_function(q))
    assert clf.nbytes_ == clf.proxies_.nbytes + 4 * 8 * (64**2 + 64)
    clf.save(tmp_path / "head.safetensors")
    loaded = Imprinter.load(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(loaded.decision_function(q), clf.decision_function(q))
    assert loaded.nbytes_ == clf.nbytes_
    np.testing.assert_array_equal(
        loaded.add_class(x[y == 7], 7).decision_function(q), clf.add_class(x[y == 7], 7).decision_function(q)
    )


def test_neighbours_of_classes_are_merged_by_distance_then_position() -> None:
    found = [
        search.Neighbors(np.array([[1, 0]], np.int32), np.array([[1.0, 2.0]])),
        search.Neighbors(np.array([[0]], np.int32), np.array([[1.0]])),
    ]
    merged = merged_by_distance(found, [2, 1], 3)
    assert merged.position.tolist() == [[1, 2, 0]]
    assert merged.distance.tolist() == [[1.0, 1.0, 2.0]]
    assert merged_by_distance(found[::-1], [1, 2], 2).position.tolist() == [[0, 2]]
