"""The oracle against libraries and hand-worked cases, and its judge against doctored predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from imprint_sweep.grid.cell import Cell, stage_seed
from imprint_sweep.imprinting.components import GENS
from tests import data, oracle

CLEAN = data.clean()
UNEVEN = data.uneven()
DEGENERATE = data.degenerate()
DATASETS = (CLEAN, UNEVEN, DEGENERATE, *data.joined())
TRAIN = {dataset.name: dataset.train for dataset in DATASETS}
TEST = {dataset.name: dataset.test for dataset in DATASETS}
EUCLIDEAN_1NN = {"agg": "mnn", "metric": "euclidean", "m": 1}


def predicted_classes(cell: Cell) -> np.ndarray:
    """The oracle's predictions for a task over one dataset, as that dataset's own class numbers."""
    labels = oracle.predict(cell, oracle.generate(cell, TRAIN), TEST).labels
    return np.array([label[0][1] for label in cell.task.labels])[labels]


def task_queries(cell: Cell) -> np.ndarray:
    return oracle.queries(cell.task, TEST)[0]


# Generation


def test_all_is_every_sample_in_task_order() -> None:
    cell = data.cell(data.task(CLEAN, classes=(1000, -5)), gen="all")
    first, second = oracle.generate(cell, TRAIN)
    np.testing.assert_array_equal(first, CLEAN.train.features[CLEAN.train.labels == 1000])
    np.testing.assert_array_equal(second, CLEAN.train.features[CLEAN.train.labels == -5])


def test_parts_of_a_label_come_in_its_order() -> None:
    left, right = data.joined()
    of = data.task(left, right, classes=(1,))
    (proxies,) = oracle.generate(data.cell(of, gen="all"), TRAIN)
    parts = [d.train.features[d.train.labels == 1] for d in (left, right)]
    np.testing.assert_array_equal(proxies, np.concatenate(parts))


def test_shots_are_nested_and_keyed_by_the_label_alone() -> None:
    whole, single = data.task(CLEAN), data.task(CLEAN, classes=(7,))
    position = CLEAN.classes.index(7)
    five, ten = (oracle.generate(data.cell(whole, gen="all", n_shot=n), TRAIN)[position] for n in (5, 10))
    assert {row.tobytes() for row in five} < {row.tobytes() for row in ten}
    np.testing.assert_array_equal(oracle.generate(data.cell(single, gen="all", n_shot=5), TRAIN)[0], five)
    other_seed = oracle.generate(data.cell(whole, gen="all", n_shot=5, seed=1), TRAIN)[position]
    assert not np.array_equal(other_seed, five)


@pytest.mark.parametrize("gen", [name for name, generator in GENS.items() if not generator.joint])
def test_no_more_samples_than_k_are_all_returned_and_otherwise_k(gen: str) -> None:
    cell = data.cell(data.task(UNEVEN), gen=gen, k=5)
    takes_k = GENS[gen].takes_k
    for label, proxies in zip(cell.task.labels, oracle.generate(cell, TRAIN), strict=True):
        samples = oracle.samples_of(label, TRAIN)
        expected = min(5, len(samples)) if takes_k else 1 if gen == "mean" else len(samples)
        assert proxies.shape == (expected, 16)
        assert proxies.dtype == np.float32
        if takes_k and len(samples) <= 5:
            np.testing.assert_array_equal(proxies, samples)


def test_cov_max_takes_the_largest_column_sums_of_the_covariance_over_samples() -> None:
    cell = data.cell(data.task(CLEAN, classes=(7,)), gen="cov_max", k=4)
    samples = oracle.samples_of(cell.task.labels[0], TRAIN)
    largest = np.argsort(-np.cov(samples.astype(np.float64)).sum(axis=0))[:4]
    np.testing.assert_array_equal(oracle.generate(cell, TRAIN)[0], samples[largest])


def test_farthest_points_by_brute_force() -> None:
    cell = data.cell(data.task(CLEAN, classes=(7,)), gen="fps", k=6)
    label = cell.task.labels[0]
    samples = oracle.samples_of(label, TRAIN)
    distances = cdist(samples, samples)
    chosen = [int(np.random.default_rng(stage_seed("fps", 0, label)).integers(len(samples)))]
    for _ in range(5):
        chosen.append(int(distances[:, chosen].min(axis=1).argmax()))
    np.testing.assert_array_equal(oracle.generate(cell, TRAIN)[0], samples[chosen])


def test_least_squares_is_ridge_on_scaled_one_hot_targets() -> None:
    cell = data.cell(data.task(UNEVEN), gen="least_squares", weight_decay=0.05)
    samples = [oracle.samples_of(label, TRAIN) for label in cell.task.labels]
    n, labels = sum(map(len, samples)), len(samples)
    targets = np.zeros((n, labels))
    start = 0
    for label, x in enumerate(samples):
        targets[start : start + len(x), label] = n / (labels * len(x))
        start += len(x)
    ridge = Ridge(alpha=n * 0.05, fit_intercept=False).fit(np.concatenate(samples).astype(np.float64), targets)
    np.testing.assert_allclose(np.concatenate(oracle.generate(cell, TRAIN)), ridge.coef_, rtol=1e-5, atol=1e-7)


def test_k_least_squares_with_one_cluster_is_least_squares() -> None:
    one, plain = (data.cell(data.task(CLEAN), gen=gen, k=1) for gen in ("k_least_squares", "least_squares"))
    for a, b in zip(oracle.generate(one, TRAIN), oracle.generate(plain, TRAIN), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


def test_k_least_squares_has_one_weight_vector_per_cluster() -> None:
    cell = data.cell(data.task(UNEVEN), gen="k_least_squares", k=5)
    assert [len(p) for p in oracle.generate(cell, TRAIN)] == [5, 5, 3, 2, 1]


# Normalisation


def test_l2_gives_unit_rows_and_leaves_zero_rows() -> None:
    rows = oracle.l2(np.array([[3, 4], [0, 0]], dtype=np.float32))
    np.testing.assert_array_equal(rows, np.array([[0.6, 0.8], [0, 0]], dtype=np.float32))


def test_quantile_by_hand() -> None:
    """Reference 0, 1, 2, 3 at levels 1/4 and 3/4: 0.75 and 2.25; equal values take them by feature index."""
    first = np.array([[3, 0], [1, 2]], dtype=np.float32)
    second = np.array([[9, 5]], dtype=np.float32)
    third = np.array([[7, 7]], dtype=np.float32)
    normalised = oracle.quantile([first, second, third])
    np.testing.assert_array_equal(normalised[0], first)
    np.testing.assert_array_equal(normalised[1], [[2.25, 0.75]])
    np.testing.assert_array_equal(normalised[2], [[0.8125, 2.1875]])  # of 0, 0.75, 1, 2, 2.25, 3


# Aggregation


@pytest.mark.parametrize("dataset", [CLEAN, UNEVEN], ids=lambda dataset: dataset.name)
def test_mean_with_one_neighbor_is_nearest_centroid(dataset: data.Dataset) -> None:
    cell = data.cell(data.task(dataset), gen="mean", **EUCLIDEAN_1NN)
    expected = NearestCentroid().fit(dataset.train.features, dataset.train.labels).predict(task_queries(cell))
    np.testing.assert_array_equal(predicted_classes(cell), expected)


@pytest.mark.parametrize("weighting", ["uniform", "inverse_distance"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("m", [1, 4, 30])
def test_m_nearest_neighbors_are_scikit_learns(metric: str, m: int, weighting: str) -> None:
    cell = data.cell(data.task(CLEAN), gen="all", agg="mnn", metric=metric, m=m, weighting=weighting)
    classifier = KNeighborsClassifier(
        m,
        algorithm="brute",
        metric=metric,
        weights="uniform" if weighting == "uniform" else lambda distances: 1 / (distances + 1e-10),
    )
    classifier.fit(CLEAN.train.features.astype(np.float64), CLEAN.train.labels)
    np.testing.assert_array_equal(predicted_classes(cell), classifier.predict(task_queries(cell).astype(np.float64)))


@pytest.mark.parametrize("gen", ["all", "mean"])
def test_mahalanobis_is_scipys(gen: str) -> None:
    """More proxies than dimensions, and fewer: then only the 1e-6 makes the covariance invertible."""
    cell = data.cell(data.task(CLEAN), gen=gen, agg="mnn", metric="mahalanobis", m=3)
    generated = oracle.generate(cell, TRAIN)
    proxies = np.concatenate(generated).astype(np.float64)
    inverse = np.linalg.inv(np.cov(proxies, rowvar=False) + 1e-6 * np.eye(proxies.shape[1]))
    expected = np.sort(cdist(task_queries(cell).astype(np.float64), proxies, "mahalanobis", VI=inverse), axis=1)
    distances = oracle.predict(cell, generated, TEST).distances
    np.testing.assert_allclose(distances, expected[:, :3], rtol=1e-7)


def test_max_is_the_largest_inner_product() -> None:
    cell = data.cell(data.task(CLEAN), gen="kmeans", k=4)
    generated = oracle.generate(cell, TRAIN)
    products = task_queries(cell).astype(np.float64) @ np.concatenate(generated).astype(np.float64).T
    prediction = oracle.predict(cell, generated, TEST)
    np.testing.assert_array_equal(prediction.neighbors[:, 0], products.argmax(axis=1))
    np.testing.assert_array_equal(prediction.labels, products.argmax(axis=1) // 4)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_equal_distances_go_to_the_lowest_proxy_also_at_the_mth_place(metric: str) -> None:
    cell = data.cell(data.task(DEGENERATE), gen="all", agg="mnn", metric=metric, m=4)
    prediction = oracle.predict(cell, oracle.generate(cell, TRAIN), TEST)
    for neighbors, distances in zip(prediction.neighbors, prediction.distances, strict=True):
        np.testing.assert_array_equal(np.lexsort((neighbors, distances)), np.arange(4))
    duplicated = np.flatnonzero(prediction.distances[:, 0] == prediction.distances[:, 3])
    assert len(duplicated), "the data should have a query with four equally near proxies"


def test_tied_votes_go_to_the_lowest_label() -> None:
    prediction = oracle.predict(
        data.cell(data.task(CLEAN), gen="all", agg="mnn", metric="euclidean", m=2, weighting="uniform"),
        oracle.generate(data.cell(data.task(CLEAN), gen="all"), TRAIN),
        TEST,
    )
    tied = (prediction.votes == 1).sum(axis=1) == 2
    assert tied.any()
    np.testing.assert_array_equal(prediction.labels[tied], (prediction.votes[tied] == 1).argmax(axis=1))


def test_a_query_has_the_same_distances_alone() -> None:
    cell = data.cell(data.task(CLEAN), gen="all", agg="mnn", metric="euclidean", m=5)
    generated = oracle.generate(cell, TRAIN)
    whole = oracle.predict(cell, generated, TEST)
    single = {name: data.Split(split.features[:1], split.labels[:1]) for name, split in TEST.items()}
    only = replace(cell, task=data.task(CLEAN, classes=(int(CLEAN.test.labels[0]),)))
    one = oracle.predict(only, generated, single)
    position = int(np.flatnonzero((task_queries(cell) == CLEAN.test.features[0]).all(axis=1))[0])
    np.testing.assert_array_equal(one.distances[0], whole.distances[position])


# Metrics


def test_scores_by_hand() -> None:
    """Label 0 has 2 hits, 1 miss, 1 false alarm; label 1 one of each; label 2 is neither there nor predicted."""
    truth, labels = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0])
    nothing = np.zeros((5, 1))
    scores = oracle.scores(oracle.Prediction(truth, labels, nothing.astype(int), nothing, np.zeros((5, 3))))
    assert (scores.n_correct, scores.n_test) == (3, 5)
    assert scores.f1 == pytest.approx((2 / 3, 1 / 2, 0))
    assert scores.f1_macro == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert scores.f1_weighted == pytest.approx((3 * 2 / 3 + 2 * 1 / 2) / 5)


# The judge


def doctored(cell: Cell) -> Iterator[tuple[int, int, str | None]]:
    """Every wrong label for every query of a cell, with the judge's answer."""
    generated = oracle.generate(cell, TRAIN)
    prediction = oracle.predict(cell, generated, TEST)
    for query, label in enumerate(prediction.labels.tolist()):
        for other in range(len(generated)):
            if other != label:
                yield query, other, oracle.explain(cell, generated, TEST, query, other, draws=30)


@pytest.mark.parametrize(
    "axes",
    [
        {"gen": "kmeans", "norm_pre": "l2", "norm_post": "l2", "norm_inf": "l2"},
        {"gen": "mean", "norm_post": "quantile"},
        {"gen": "all", "agg": "mnn", "metric": "cosine", "m": 5, "norm_post": "l2"},
        {"gen": "all", "agg": "mnn", "metric": "manhattan", "m": 4},
        {"gen": "all", "agg": "mnn", "metric": "mahalanobis", "m": 4},
        {"gen": "mean", "agg": "mnn", "metric": "mahalanobis", "norm_post": "l2"},
    ],
    ids=str,
)
def test_the_judge_excuses_no_wrong_label(axes: dict[str, object]) -> None:
    assert [(query, other) for query, other, tie in doctored(data.cell(data.task(CLEAN), **axes)) if tie] == []


def samples(*by_label: Sequence[Sequence[float]]) -> dict[str, data.Split]:
    """Hand-made samples of dataset "hand" with classes 0, 1, ..."""
    rows = np.concatenate([np.array(rows, dtype=np.float32) for rows in by_label])
    return {"hand": data.Split(rows, np.repeat(np.arange(len(by_label)), [len(rows) for rows in by_label]))}


def verdict(train: dict[str, data.Split], query: list[float], other: int, **axes: object) -> str | None:
    """The judge on one query, which counts as a test sample of class 0."""
    names = tuple(int(number) for number in np.unique(train["hand"].labels))
    of = data.task(data.Dataset("hand", train["hand"], train["hand"]), classes=names)
    cell = data.cell(of, gen="all", **axes)
    test = samples([query])
    return oracle.explain(cell, oracle.generate(cell, train), test, 0, other)


def test_the_judge_names_a_tie_at_the_top() -> None:
    assert verdict(samples([[1, 2]], [[1, 2]], [[0, 1]]), [1, 1], other=1) == "top"
    assert verdict(samples([[1, 2]], [[1, 2]], [[0, 1]]), [1, 1], other=2) is None


def test_the_judge_names_a_tie_at_the_mth_neighbor() -> None:
    """Distances 1, 1, 2, 2: whoever of the last two is let in decides."""
    axes = {"agg": "mnn", "metric": "euclidean", "m": 3, "weighting": "uniform"}
    train = samples([[1, 0], [0, 2]], [[0, -2], [-1, 0]], [[9, 9]])
    assert verdict(train, [0, 0], other=1, **axes) == "m-th neighbor"
    assert verdict(train, [0, 0], other=2, **axes) is None
    assert verdict(train, [0.01, 0.01], other=1, **axes) is None


def test_the_judge_names_a_tie_between_vote_sums() -> None:
    train = samples([[1, 0], [3, 0]], [[0, 1], [0, 3]], [[9, 9]])
    axes = {"agg": "mnn", "metric": "euclidean", "m": 4, "weighting": "inverse_distance"}
    assert verdict(train, [0, 0], other=1, **axes) == "vote sums"
    assert verdict(train, [0, 0], other=2, **axes) is None
    assert verdict(train, [1e-4, 0], other=1, **axes) is None


def test_unrounded_vectors_leave_the_judge_only_float64() -> None:
    """A gap of one float32 step is no tie where the embeddings themselves are compared, and one after a norm."""
    near = float(np.nextafter(np.float32(1), np.float32(2)))
    train = samples([[1, 2]], [[1, near * 2]])
    assert verdict(train, [3, 1], other=0) is None
    assert verdict(samples([[1, 1]], [[1, near]]), [1, 1], other=1, norm_post="l2", norm_inf="l2") == "top"


def test_uniform_votes_that_tie_exactly_are_no_excuse() -> None:
    """Whole votes do not round: the lowest label is the only answer."""
    axes = {"agg": "mnn", "metric": "euclidean", "m": 2, "weighting": "uniform"}
    assert verdict(samples([[0, 1]], [[0, 2]], [[9, 9]]), [0, 0], other=1, **axes) is None


def test_the_judge_refuses_to_explain_agreement() -> None:
    with pytest.raises(ValueError, match="nothing to explain"):
        verdict(samples([[1, 2]], [[0, 1]]), [1, 1], other=0)
