"""The estimator keeps scikit-learn's contract, is exact, and says what is wrong with what it is given."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, predictions
from imprint_sweep.errors import ImprinterError, ImprintError, StageError
from imprint_sweep.imprinting.components import (
    GENS,
    METRICS,
    NORMS,
    WEIGHTINGS,
    ClassMetric,
    ClassSamples,
    DenseMetric,
    Gen,
    Parameter,
    Position,
    Rows,
    Variant,
    norms_at,
)
from imprint_sweep.imprinting.keyed_labels import KeyedLabels
from imprint_sweep.imprinting.vectors import Filter, Vectors
from tests import data, same_as_cells, same_everywhere

DIGITS = data.digits()
X, Y = DIGITS.train.features, DIGITS.train.labels
Q, T = DIGITS.test.features, DIGITS.test.labels
SEPARATE = [name for name, gen in GENS.items() if not gen.joint]
JOINT = [name for name, gen in GENS.items() if gen.joint]


def random_parameters(rng: random.Random) -> dict[str, Any]:
    """Parameters that fit each other."""
    agg = rng.choice(["max", "mnn"])
    found: dict[str, Any] = {
        "gen": rng.choice(list(GENS)),
        "k": rng.choice([1, 2, 5]),
        "norm_pre": rng.choice(norms_at(Position.PRE)),
        "norm_post": rng.choice(norms_at(Position.POST)),
        "norm_inf": rng.choice(norms_at(Position.INF)),
        "agg": agg,
        "m": rng.choice([1, 2, 4, 500]),
        "metric": rng.choice([name for name, metric in METRICS.items() if agg == "max" or metric.is_distance]),
        "weighting": rng.choice(list(WEIGHTINGS)),
        "seed": rng.choice([0, 1, -7]),
        "n_shot": rng.choice([None, 3]),
        "parameters": {"gen.features": rng.choice([5, 50]), "gen.ridge": 0.5},
    }
    if GENS[found["gen"]].biased:
        found |= {"norm_post": "none", "agg": "max", "metric": "inner_product"}
    if isinstance(METRICS[found["metric"]], ClassMetric):
        found["gen"] = rng.choice(SEPARATE)
    return found


def state(clf: Imprinter) -> list[Any]:
    """Everything that a fitted classifier is, to be compared bit for bit."""
    return [
        clf.proxies_.tobytes(),
        clf.proxies_.shape,
        None if clf.biases_ is None else clf.biases_.tobytes(),
        clf.proxy_labels_.tolist(),
        clf.classes_.tolist(),
        clf.classes_.dtype,
        clf.keys_,
        clf.nbytes_,
        clf.n_features_in_,
        clf.decision_function(Q).tobytes(),
        clf.predict(Q).tolist(),
    ]


# --- scikit-learn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"agg": "mnn"}, {"gen": "least_squares", "norm": "none"}, {"gen": "random", "k": 2, "metric": "manhattan"}],
    ids=str,
)
@pytest.mark.filterwarnings("default")
def test_scikit_learn_accepts_it(parameters: dict[str, Any]) -> None:
    found = check_estimator(Imprinter(**parameters), on_skip=None, on_fail=None)
    assert len(found) > 50
    # What is skipped needs an environment variable of SciPy's.
    assert {one["check_name"] for one in found if one["status"] == "skipped"} <= {"check_array_api_input"}
    assert [(one["check_name"], one["exception"]) for one in found if one["status"] not in ("passed", "skipped")] == []


def test_it_works_in_pipelines_searches_and_cross_validation() -> None:
    pipeline = make_pipeline(StandardScaler(), Imprinter())
    grid = {"imprinter__gen": ["kmeans", "mean"], "imprinter__k": [1, 3], "imprinter__agg": ["max", "mnn"]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, Y)
    assert search.best_score_ > 0.8
    assert search.score(Q, T) > 0.8
    assert cross_val_score(Imprinter(k=3), X, Y.astype(str), error_score="raise").min() > 0.8


def test_the_constructor_keeps_what_it_is_given_and_clones_are_equal() -> None:
    given: dict[str, Any] = {"classes": [3, 1, 2], "parameters": {"gen.trim": 0.5}, "k": "many", "norm": None}
    clf = Imprinter(**given)
    assert all(getattr(clf, name) is value for name, value in given.items())
    assert clone(clf).get_params() == clf.get_params()
    assert clf.set_params(k=3, norm_post="quantile").get_params()["norm_post"] == "quantile"


def test_it_pickles_with_its_keys() -> None:
    keys = {number: (("pixels", number),) for number in range(10)}
    clf = Imprinter(gen="random", k=3).fit(X, KeyedLabels(Y, keys))
    again = pickle.loads(pickle.dumps(clf))
    assert state(again) == state(clf)
    assert again.keys_ == tuple(keys.values())
    assert state(again.remove_class(3)) == state(clf.remove_class(3))


def test_changing_a_parameter_changes_nothing_before_the_next_fit() -> None:
    clf = Imprinter(gen="mean", norm_post="quantile").fit(X, Y)
    before = clf.predict(Q)
    clf.set_params(norm_inf="none", metric="manhattan", agg="mnn", norm_post="none")
    np.testing.assert_array_equal(clf.predict(Q), before)
    assert state(clf.remove_class(3)) == state(Imprinter(gen="mean", norm_post="quantile").fit(X[Y != 3], Y[Y != 3]))


def test_nothing_given_is_changed_and_the_global_state_neither_matters_nor_changes() -> None:
    x, y = X.copy(), Y.copy()
    np.random.seed(1)  # noqa: NPY002
    first = Imprinter(gen="random", k=3).fit(x, y)
    np.random.seed(2)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert state(Imprinter(gen="random", k=3).fit(x, y)) == state(first)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert x.flags.writeable


# --- oracles ----------------------------------------------------------------------------------------------------------


def test_all_samples_with_one_vote_are_scikit_learns_nearest_neighbour() -> None:
    x, q = X + np.random.default_rng(0).normal(0, 0.01, X.shape), Q
    for metric in ("euclidean", "manhattan", "cosine"):
        clf = Imprinter(gen="all", norm="none", metric=metric).fit(x, Y)
        oracle = KNeighborsClassifier(1, metric=metric, algorithm="brute").fit(x.astype(np.float32), Y)
        np.testing.assert_array_equal(clf.predict(q), oracle.predict(q))


def test_all_samples_with_votes_are_scikit_learns_neighbours() -> None:
    x = X + np.random.default_rng(0).normal(0, 0.01, X.shape)
    clf = Imprinter(gen="all", norm="none", agg="mnn", m=5, weighting="uniform").fit(x, Y)
    oracle = KNeighborsClassifier(5, algorithm="brute").fit(x.astype(np.float32), Y)
    np.testing.assert_array_equal(clf.predict(Q), oracle.predict(Q))
    np.testing.assert_array_equal(clf.decision_function(Q), 5 * oracle.predict_proba(Q))


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_:UserWarning")  # of the oracle
def test_means_are_scikit_learns_nearest_centroid() -> None:
    clf = Imprinter(gen="mean", norm="none", metric="euclidean").fit(X, Y)
    np.testing.assert_array_equal(clf.predict(Q), NearestCentroid().fit(X, Y).predict(Q))
    np.testing.assert_allclose(clf.proxies_, NearestCentroid().fit(X, Y).centroids_, rtol=1e-6)


def test_least_squares_is_ridge() -> None:
    clf = Imprinter(gen="least_squares", norm="none", weight_decay=0.1).fit(X, Y)
    n, targets = len(X), np.zeros((len(X), 10))
    for c, label in enumerate(clf.classes_):
        targets[label == Y, c] = n / (10 * np.sum(label == Y))
    ridge = Ridge(alpha=n * 0.1, fit_intercept=False).fit(X.astype(np.float64), targets)
    np.testing.assert_allclose(clf.proxies_, ridge.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(clf.decision_function(Q), ridge.predict(Q), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm_inf", ["none", "l2"])
@pytest.mark.parametrize("metric", ["inner_product", "cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize("norm_post", ["none", "l2", "quantile"])
@pytest.mark.parametrize("gen", ["kmeans", "random"])
def test_scores_are_in_the_terms_of_what_was_asked_for(gen: str, norm_post: str, metric: str, norm_inf: str) -> None:
    """Whatever equalities the prediction makes use of."""
    clf = Imprinter(gen=gen, k=3, norm_pre="l2", norm_post=norm_post, norm_inf=norm_inf, metric=metric).fit(X, Y)
    q = Q / np.linalg.norm(Q, axis=1, keepdims=True) if norm_inf == "l2" else Q
    p = clf.proxies_.astype(np.float64)
    names = {"manhattan": "cityblock"}
    values = q @ p.T if metric == "inner_product" else -cdist(q, p, names.get(metric, metric))  # type: ignore[call-overload]
    best = np.stack([values[:, clf.proxy_labels_ == label].max(axis=1) for label in clf.classes_], axis=1)
    np.testing.assert_allclose(clf.decision_function(Q), best, rtol=1e-5, atol=1e-6)


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_the_first_of_the_largest_scores_is_the_prediction(seed: int) -> None:
    """Small integers: many ties."""
    rng = random.Random(seed)
    draws = np.random.default_rng(seed)
    n_classes = rng.choice([1, 2, 3, 5])
    x, q = draws.integers(-1, 2, (30, 3)), draws.integers(-1, 2, (40, 3))
    y = np.arange(30) % n_classes
    try:
        clf = Imprinter(**random_parameters(rng)).fit(x, y)
    except StageError as error:  # the covariance of so few integers may be singular
        assume("singular" not in str(error))
        raise
    scores = clf.decision_function(q)
    if n_classes == 2:
        assert scores.shape == (40,)
        expected = (scores > 0).astype(int)
    else:
        assert scores.shape == (40, n_classes)
        expected = scores.argmax(axis=1)
    np.testing.assert_array_equal(clf.predict(q), clf.classes_[expected])


# --- the engine -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    """Embeddings with duplicates, zeros and small classes."""
    cache = EmbeddingCache(tmp_path_factory.mktemp("outputs") / "embeddings")
    data.write(cache, data.degenerate(), data.uneven(), *data.joined())
    return cache


@pytest.mark.parametrize("seed", range(40))
def test_every_prediction_is_the_cells(seed: int, cache: EmbeddingCache) -> None:
    from imprint_sweep.api.cells import unfitted
    from imprint_sweep.api.samples import samples
    from imprint_sweep.embeddings.features import Features

    rng = random.Random(seed)
    tasks = [
        data.task(data.degenerate()),
        data.task(data.uneven(), classes=(4, 1, 0)),
        data.task(*data.joined(), merge=2),
        data.task(*data.joined()),
    ]
    cell = data.cell(rng.choice(tasks), **random_parameters(rng))
    features = Features(cache, data.MODEL, None)
    features.open(cell.task)
    x, y = samples(features, cell.task, "test")
    clf = unfitted(cell).fit(*samples(features, cell.task, "train"))
    assert clf.keys_ == cell.task.labels
    positions = predictions(cell, cache, EngineSettings())
    assert clf.predict(x).tolist() == clf.classes_[positions].tolist()
    assert set(y.tolist()) <= set(clf.classes_.tolist())


@pytest.mark.slow
def test_cells_of_the_embedded_default_have_as_many_correct_predictions(tmp_path: Path) -> None:
    """A twentieth; ``python -m tests.same_as_cells`` does all."""
    everything = same_as_cells.cells()
    chosen = random.Random(1).sample(everything, len(everything) // 20)
    settings = Settings(outputs=tmp_path, data=tmp_path / "data")
    assert list(same_as_cells.differences(chosen, settings)) == []


@pytest.mark.slow
def test_cells_are_the_same_with_other_vector_units_and_threads(tmp_path: Path) -> None:
    """A hundred under one other environment; ``python -m tests.same_everywhere 2000`` does more under more."""
    n, different = same_everywhere.differences(["100"], tmp_path, same_everywhere.ENVIRONMENTS[:2])
    assert n == 100
    assert [name for name in different if not name.startswith("LAPACK")] == []


# --- classes ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_adding_and_removing_classes_is_fitting_in_that_order(seed: int) -> None:
    rng = random.Random(seed)
    parameters = random_parameters(rng) | {"gen": rng.choice(SEPARATE)}
    order = rng.sample(range(10), 10)
    some = np.isin(Y, order[:3])
    clf = Imprinter(**parameters, classes=order[:3]).fit(X[some], Y[some])
    present = order[:3]
    for label in order[3:7]:
        clf.add_class(X[label == Y], label)
        present.append(label)
        if rng.random() < 0.5:
            gone = rng.choice(present)
            clf.remove_class(gone)
            present.remove(gone)
    those = np.isin(Y, present)
    assert state(clf) == state(Imprinter(**parameters, classes=present).fit(X[those], Y[those]))


def test_classes_that_the_labels_know_of_are_added_with_their_keys(tmp_path: Path) -> None:
    y = KeyedLabels(Y, {number: (("pixels", number),) for number in range(10)})
    order = [1, 2, 7]
    whole = Imprinter(gen="random", k=3, classes=order).fit(X[np.isin(Y, order)], y[np.isin(Y, order)])
    clf = Imprinter(gen="random", k=3).fit(X[np.isin(Y, order[:2])], y[np.isin(Y, order[:2])])
    clf.save(tmp_path / "head")
    assert state(clf.add_class(X[Y == 7], 7)) == state(whole)
    assert state(Imprinter.load(tmp_path / "head").add_class(X[Y == 7], 7)) == state(whole)
    other = Imprinter(gen="random", k=3).fit(X[np.isin(Y, order[:2])], Y[np.isin(Y, order[:2])])
    assert other.add_class(X[Y == 7], 7).keys_ == ("1", "2", "7")
    assert other.remove_class(7).add_class(X[Y == 7], 7, key=(("pixels", 7),)).keys_[2] == (("pixels", 7),)


def test_draws_do_not_depend_on_the_type_of_labels_or_the_other_classes() -> None:
    numbers = Imprinter(gen="random", k=4).fit(X, Y)
    for labels in (Y.astype(np.int8), Y.astype(str), Y.astype(str).astype(object)):
        np.testing.assert_array_equal(Imprinter(gen="random", k=4).fit(X, labels).proxies_, numbers.proxies_)
    some = Imprinter(gen="random", k=4).fit(X[Y > 6], Y[Y > 6])
    np.testing.assert_array_equal(some.proxies_, numbers.proxies_[numbers.proxy_labels_ > 6])


def test_added_texts_may_be_longer_and_removing_the_longest_makes_room() -> None:
    few = np.array(["cat", "dog"])[Y % 2]
    clf = Imprinter(gen="mean").fit(X, few).add_class(X[:9], "penguin")
    assert clf.classes_.tolist() == ["cat", "dog", "penguin"]
    assert "penguin" in clf.predict(X)
    assert clf.remove_class("penguin").classes_.dtype == few.dtype


@pytest.mark.parametrize("gen", JOINT)
def test_gens_that_see_all_classes_refuse_to_change_one(gen: str, tmp_path: Path) -> None:
    clf = Imprinter(gen=gen, k=2, norm="none").fit(X, Y)
    clf.save(tmp_path / "head.safetensors")
    without_sums = Imprinter.load(tmp_path / "head.safetensors")
    changes: list[Callable[[], Imprinter]] = [lambda: clf.remove_class(3), lambda: without_sums.add_class(X[:3], 11)]
    for change in changes:
        with pytest.raises(ImprinterError, match=f"gen={gen} makes the proxies of a class from the samples of all"):
            change()


def test_a_failed_change_changes_nothing() -> None:
    clf = Imprinter(gen="mean").fit(X, Y)
    before = state(clf)
    changes: list[Callable[[], Imprinter]] = [
        lambda: clf.add_class(X[:3], 3),
        lambda: clf.add_class(X[:3], "x"),
        lambda: clf.add_class(X[:3], 1.5),
        lambda: clf.add_class(X[:3], True),
        lambda: clf.add_class(X[:3], None),
        lambda: clf.add_class(X[:3, :5], 11),
        lambda: clf.add_class(X[:0], 11),
        lambda: clf.add_class(np.full((2, 64), np.nan), 11),
        lambda: clf.remove_class(11),
        lambda: clf.remove_class("3"),
    ]
    for change in changes:
        with pytest.raises(ValueError):  # noqa: PT011
            change()
    assert state(clf) == before


def test_the_only_class_stays() -> None:
    clf = Imprinter().fit(X[Y == 3], Y[Y == 3])
    assert set(clf.predict(Q)) == {3}
    with pytest.raises(ImprinterError, match="the only class"):
        clf.remove_class(3)


# --- what it is given -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(object),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        pd.DataFrame,
    ],
)
def test_numbers_may_come_in_any_form(convert: Callable[[NDArray[Any]], Any]) -> None:
    clf = Imprinter(k=2).fit(X, Y)
    other = Imprinter(k=2).fit(convert(X), Y.tolist())
    np.testing.assert_array_equal(other.proxies_, clf.proxies_)
    np.testing.assert_array_equal(other.predict(convert(Q)), clf.predict(Q))


def test_columns_of_a_frame_are_remembered() -> None:
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(64)])
    clf = Imprinter(k=2).fit(frame, pd.Series(Y))
    assert clf.feature_names_in_.tolist() == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[list(frame.columns[::-1])])


@pytest.mark.parametrize("labels", [Y, Y > 4, Y.astype(str)])
def test_labels_may_be_objects(labels: NDArray[Any]) -> None:
    np.testing.assert_array_equal(
        Imprinter(k=2).fit(X, labels.astype(object)).predict(Q), Imprinter(k=2).fit(X, labels).predict(Q)
    )


@pytest.mark.parametrize("labels", [Y > 4, (Y > 4).astype(str), (Y > 4).astype(np.int16), (Y > 4).astype(float)])
def test_labels_come_back_as_they_were(labels: NDArray[Any]) -> None:
    clf = Imprinter(k=2).fit(X, labels)
    assert clf.classes_.dtype == labels.dtype
    assert clf.predict(Q).dtype == labels.dtype
    assert clf.score(X, labels) > 0.8


BAD_SAMPLES: list[tuple[Any, Any, str]] = [
    (csr_array(X), Y, "[Ss]parse"),
    (X[:, 0], Y, "2D array"),
    (X[:0], Y[:0], "0 sample"),
    (X[:, :0], Y, "0 feature"),
    (X, Y[:5], "inconsistent numbers of samples"),
    (X, None, "requires y"),
    (X, np.where(Y == 3, np.nan, Y), r"y: 32 of 300 labels are missing \(NaN\), the first at position 18; leave"),
    (X, Y + 0.5, "[Uu]nknown label type"),
    (X, np.stack([Y, Y], axis=1), "shape|label type"),
    (np.where(X == 16, np.nan, X), Y, "NaN"),
    (np.where(X == 16, np.inf, X), Y, "infinity"),
    (X.astype(np.float64) * 1e38, Y, "infinity or a value too large"),
    (np.full(X.shape, "a"), Y, "could not convert"),
    (X * 1j, Y, "[Cc]omplex"),
    (X, np.array(["a", 1] * (len(X) // 2), dtype=object), "y: expected labels of one kind, got int and str"),
    (X, np.array(["a", None] * (len(X) // 2), dtype=object), "the first at position 1; leave these samples out"),
    (X, np.array([("a", 1)] * len(X) + [None], dtype=object)[:-1], "y: expected whole numbers, texts or booleans"),
]


@pytest.mark.parametrize(("x", "y", "message"), BAD_SAMPLES)
def test_samples_that_cannot_be_used_are_refused(x: Any, y: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Imprinter(k=2).fit(x, y)


@pytest.mark.parametrize("method", ["predict", "decision_function"])
def test_fitting_again_begins_anew(method: str) -> None:
    clf = Imprinter(k=2).fit(X, Y)
    assert clf.fit(X[:, :5], Y).n_features_in_ == 5
    getattr(clf, method)(Q[:, :5])
    with pytest.raises(ValueError, match="requires y"):
        clf.fit(X, None)


@pytest.mark.parametrize("method", ["predict", "decision_function"])
def test_queries_that_cannot_be_used_are_refused(method: str) -> None:
    clf = Imprinter(k=2).fit(X, Y)
    for queries, message in [
        (Q[:, :5], "5 features, but Imprinter is expecting 64"),
        (Q[0], "2D array"),
        (csr_array(Q), "[Ss]parse"),
        (np.full_like(Q, np.nan), "NaN"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            getattr(clf, method)(queries)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gen": "kmeanz"}, r"unknown gen 'kmeanz'; did you mean kmeans"),
        ({"gen": None}, "gen: expected a name, got None"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": -3}, "k must be at least 1"),
        ({"k": 2.0}, "k: expected a whole number, got 2.0"),
        ({"k": "5"}, "k: expected a whole number, got '5'"),
        ({"k": True}, "k: expected a whole number, got True"),
        ({"k": None}, "k is missing: gen=kmeans needs it; write k=20, or select=bic, which chooses it$"),
        ({"k": None, "gen": "fps"}, "k is missing: gen=fps needs it; write k=20$"),
        ({"gen": "lda"}, r"means nothing with norm_post=l2; use norm=none \(or norm_post=none alone\)$"),
        ({"norm": "l1"}, "unknown norm"),
        ({"norm": ["l2"]}, "norm: expected a name"),
        ({"norm_pre": "quantile"}, "norm_pre=quantile means nothing"),
        ({"norm_inf": "quantile"}, "unknown norm_inf 'quantile'|norm_inf=quantile"),
        ({"agg": "mnm"}, "unknown agg 'mnm'"),
        ({"metric": "euklid"}, "unknown metric 'euklid'"),
        ({"agg": "mnn", "metric": "inner_product"}, "agg=mnn needs a distance.*use metric="),
        ({"agg": "mnn", "m": 0}, "^m must be at least 1, got 0"),
        ({"agg": "mnn", "m": 2.5}, "m: expected a whole number"),
        ({"agg": "mnn", "m": None}, "m is missing"),
        ({"agg": "mnn", "weighting": "distance"}, "unknown weighting 'distance'"),
        ({"seed": 1.5}, "seed: expected a whole number"),
        ({"seed": None}, "seed: expected a whole number, got None"),
        ({"seed": 2**63}, "seed must fit into 64 bits"),
        ({"gen": "least_squares", "weight_decay": 0}, "^weight_decay must be positive"),
        ({"gen": "least_squares", "weight_decay": "much"}, "weight_decay: expected a number"),
        ({"n_shot": 0}, "n_shot must be at least 1"),
        ({"parameters": {"gen.trim": 3}}, "unknown parameter 'gen.trim'"),
        ({"parameters": {"features": 3}}, "unknown parameter 'features'; did you mean gen.features"),
        ({"parameters": ["gen.trim"]}, "parameters: expected a mapping"),
        ({"classes": [0, 1]}, "y has samples of 2, 3, 4, 5, 6, 7, 8, 9, which are not listed"),
        ({"classes": [*range(10), 0]}, "classes: 0 is listed twice"),
        ({"classes": [*range(11)]}, "classes: y has no sample of 10"),
        ({"classes": [str(c) for c in range(10)]}, "classes: y has no sample of '0'"),
        ({"classes": 3}, "classes: expected a list of labels, got 3"),
        ({"classes": "0123456789"}, "classes: expected a list of labels, got '0123456789'"),
    ],
    ids=str,
)
def test_parameters_that_mean_nothing_are_refused_in_words(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ImprinterError, match=message) as caught:
        Imprinter(**parameters).fit(X, Y)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ImprintError)
    assert "agg." not in str(caught.value).partition(" Available:")[0]  # where the keys of `parameters` are
    assert "norm." not in str(caught.value)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"gen": "ranpac", "features": 500}, r"'features'; .* a mapping: parameters=\{'gen.features': 500\}$"),
        ({"gen": "logistic", "C": 0.1}, r"'C'; .* parameters=\{'gen.c': 0.1\}$"),
        ({"agg_temperature": 0.1}, r"parameters=\{'agg.temperature': 0.1\}$"),
        ({"gen.ridge": "chosen"}, r"parameters=\{'gen.ridge': 'chosen'\}$"),
        ({"shrinkage": 0.1}, r"parameters=\{'(gen|agg).shrinkage': 0.1\} or \{'(gen|agg).shrinkage': 0.1\}$"),
        ({"n_shots": 5}, "no argument 'n_shots'; did you mean n_shot[ ?]"),
        ({"distance": "cosine"}, r"no argument 'distance'\. Available: agg, classes, gen, k, "),
    ],
    ids=str,
)
def test_keywords_that_there_are_not_say_what_to_write(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Imprinter(**keywords)


def test_numbers_of_numpy_are_numbers() -> None:
    numbers: dict[str, Any] = {"k": np.int64(2), "seed": np.int32(3), "m": np.uint8(4), "weight_decay": np.float32(0.1)}
    clf = Imprinter(**numbers, agg="mnn").fit(X, Y)
    assert state(clf) == state(Imprinter(k=2, seed=3, m=4, agg="mnn").fit(X, Y))


def test_every_norm_has_a_name_for_all_positions() -> None:
    for norm in NORMS:
        clf = Imprinter(gen="mean", norm=norm).fit(X, Y)
        named: dict[str, Any] = {
            f"norm_{position}": norm if position in NORMS[norm].positions else "none" for position in Position
        }
        assert state(clf) == state(Imprinter(gen="mean", **named).fit(X, Y))


# --- other people's components ----------------------------------------------------------------------------------------


class Median(Gen):
    """The median of each feature, moved."""

    name = "median"
    parameters = (Parameter("shift", float, 0.0, "Added to each proxy.", least=-10.0, below=10.0),)

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        median: Rows = np.median(given.samples, axis=0, keepdims=True) + np.float32(variant["shift"])
        return median

    def seconds(self, n: int, d: int, k: int, n_labels: int) -> float:
        return 0.0


class Rude(Median):
    """Changes what it is given."""

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        given.samples[:] = 0
        return given.samples


class Chebyshev(DenseMetric):
    """The largest difference of a feature; without a form for tensors."""

    name = "chebyshev"

    def exact(
        self, queries: Vectors, proxies: Vectors, query: NDArray[Any], proxy: NDArray[Any]
    ) -> NDArray[np.float64]:
        difference = queries.rows[query].astype(np.float64) - proxies.rows[proxy]
        values: NDArray[np.float64] = np.abs(difference).max(axis=1)
        return values

    def fast(self, queries: Rows, proxies: Rows) -> NDArray[np.float32]:
        values: NDArray[np.float32] = np.abs(queries[:, None] - proxies).max(axis=2)
        return values

    def bounds(self, queries: Vectors, proxies: Vectors) -> Filter:
        return Filter.relative(queries, proxies)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Components as of other packages."""
    monkeypatch.setitem(GENS._components(), "others:median", Median())
    monkeypatch.setitem(GENS._components(), "others:rude", Rude())
    monkeypatch.setitem(METRICS._components(), "others:chebyshev", Chebyshev())


@pytest.mark.usefixtures("others")
def test_a_gen_of_another_package_has_its_parameters(tmp_path: Path) -> None:
    plain = Imprinter(gen="others:median", norm="none").fit(X, Y)
    np.testing.assert_array_equal(plain.proxies_[3], np.median(X[Y == 3], axis=0))
    moved = Imprinter(gen="others:median", norm="none", parameters={"gen.shift": 1.5}).fit(X, Y)
    np.testing.assert_array_equal(moved.proxies_, plain.proxies_ + np.float32(1.5))
    assert clone(moved).parameters == {"gen.shift": 1.5}
    grid = {"parameters": [None, {"gen.shift": 1.5}, {"gen.shift": -1.5}]}
    assert len(GridSearchCV(plain, grid, cv=3, error_score="raise").fit(X, Y).cv_results_["params"]) == 3
    moved.save(tmp_path / "head")
    assert state(Imprinter.load(tmp_path / "head")) == state(moved)
    whole = Imprinter(gen="others:median", classes=[*range(9)]).fit(X[Y < 9], Y[Y < 9]).add_class(X[Y == 9], 9)
    assert state(whole) == state(Imprinter(gen="others:median").fit(X, Y))


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    ("value", "message"), [("a", "gen.shift: expected a number"), (10, "gen.shift must be at least -10")]
)
def test_a_parameter_out_of_range_is_refused(value: object, message: str) -> None:
    with pytest.raises(ImprinterError, match=message):
        Imprinter(gen="others:median", parameters={"gen.shift": value}).fit(X, Y)


@pytest.mark.usefixtures("others")
def test_a_gen_cannot_change_the_samples() -> None:
    x = X.copy()
    with pytest.raises(ValueError, match="read-only"):
        Imprinter(gen="others:rude", norm="none").fit(x, Y)
    np.testing.assert_array_equal(x, X)


@pytest.mark.usefixtures("others")
def test_a_metric_of_another_package_predicts_and_says_that_it_has_no_tensors() -> None:
    clf = Imprinter(gen="all", norm="none", metric="others:chebyshev").fit(X, Y)
    nearest = cdist(Q, X, "chebyshev").argmin(axis=1)
    assert (clf.predict(Q) == Y[nearest]).mean() > 0.95  # integers tie
    np.testing.assert_array_equal(-clf.decision_function(Q).max(axis=1), cdist(Q, X, "chebyshev").min(axis=1))
    with pytest.raises(ImprinterError, match="chebyshev has no form for tensors"):
        clf.to_torch()


@pytest.mark.usefixtures("others")
def test_a_file_of_a_component_that_is_not_here_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Imprinter(gen="others:median").fit(X, Y).save(tmp_path / "head")
    monkeypatch.delitem(GENS._components(), "others:median")
    with pytest.raises(ImprinterError, match=r"cannot load .*: unknown gen 'others:median'"):
        Imprinter.load(tmp_path / "head")
