"""Classes and samples that are added through sums, against fitting to all samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imprint_sweep import Imprinter
from imprint_sweep.errors import ImprinterError, StageError
from imprint_sweep.imprinting.components import GENS, Additive
from tests import data

DIGITS = data.digits()
X, Y, Q = DIGITS.train.features, DIGITS.train.labels, DIGITS.test.features
ADDITIVE = [name for name, gen in GENS.items() if isinstance(gen, Additive)]
RANPAC: list[dict[str, Any]] = [
    {"gen": "ranpac", "parameters": {"gen.features": features, "gen.ridge": 1e4}} for features in (40, 100, 900)
]
"""Fewer random features than samples; fewer only at last; more."""
OF_SUMS: list[dict[str, Any]] = [
    {"gen": "mean", "norm": "l2"},
    {"gen": "mean", "norm": "quantile"},
    {"gen": "kmeans", "k": 1},
    {"gen": "least_squares", "norm_pre": "l2", "norm_post": "l2"},
    {"gen": "lda", "k": 1, "parameters": {"gen.shrinkage": 0.2, "gen.priors": "empirical"}},
    {"gen": "lda", "k": 1, "parameters": {"gen.shrinkage": "oas"}},
    *RANPAC,
]


def clf_of(axes: dict[str, Any], **more: Any) -> Imprinter:
    return Imprinter(**{"k": 3, "norm": "none", **axes, **more})


def assert_same(found: Imprinter, expected: Imprinter) -> None:
    """Bit for bit."""
    assert found.classes_.tolist() == expected.classes_.tolist()
    assert found.proxies_.tobytes() == expected.proxies_.tobytes()
    assert (found.biases_ is None) == (expected.biases_ is None)
    if found.biases_ is not None and expected.biases_ is not None:
        assert found.biases_.tobytes() == expected.biases_.tobytes()
    assert found.decision_function(Q).tobytes() == expected.decision_function(Q).tobytes()


@pytest.mark.parametrize(
    "axes",
    [
        *({"gen": gen} for gen in ADDITIVE if gen != "ranpac"),
        {"gen": "lda", "n_shot": 7},
        {"gen": "lda", "k": 1},
        *OF_SUMS,
        {**RANPAC[1], "n_shot": 23},
    ],
    ids=str,
)
def test_adding_classes_is_fitting_in_that_order_bit_for_bit(axes: dict[str, Any]) -> None:
    order = [7, 3, 0, 9, 1]
    few = np.isin(Y, order[:2])
    clf = clf_of(axes, classes=order[:2]).fit(X[few], Y[few])
    for label in order[2:]:
        clf.add_class(X[label == Y], label)
    chosen = np.isin(Y, order)
    assert_same(clf, clf_of(axes, classes=order).fit(X[chosen], Y[chosen]))


@pytest.mark.parametrize("axes", OF_SUMS, ids=str)
def test_adding_samples_is_fitting_to_all_to_rounding(axes: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    parts = np.array_split(rng.permutation(np.flatnonzero(Y < 7)), 5)
    clf = clf_of(axes)
    for part in parts:
        clf.partial_fit(X[part], Y[part])
    rows = np.concatenate(parts)
    whole = clf_of(axes).fit(X[rows], Y[rows])
    np.testing.assert_allclose(clf.proxies_, whole.proxies_, rtol=1e-5, atol=1e-6 * np.abs(whole.proxies_).max())
    if whole.biases_ is not None:
        assert clf.biases_ is not None
        np.testing.assert_allclose(clf.biases_, whole.biases_, rtol=1e-5)
    assert (clf.predict(Q) == whole.predict(Q)).all()


@pytest.mark.parametrize("axes", [*OF_SUMS, {"gen": "lda"}, {"gen": "k_least_squares"}], ids=str)
def test_new_labels_come_after_the_others_bit_for_bit(axes: dict[str, Any]) -> None:
    first, rest = Y >= 6, Y < 6
    clf = clf_of(axes).partial_fit(X[first], Y[first], classes=np.unique(Y)).partial_fit(X[rest], Y[rest])
    assert_same(clf, clf_of(axes, classes=[6, 7, 8, 9, 0, 1, 2, 3, 4, 5]).fit(X, Y))


@pytest.mark.parametrize("features", [40, 100, 900])
def test_a_ridge_that_was_chosen_is_kept_and_told(features: int, tmp_path: Path) -> None:
    first = Y < 2
    how: dict[str, Any] = {"gen": "ranpac", "norm": "none"}
    clf = Imprinter(**how, parameters={"gen.features": features}).fit(X[first], Y[first])
    kept = clf.chosen_
    assert set(kept) == {"gen.ridge"}
    clf.add_class(X[Y == 2], 2).partial_fit(X[Y == 3], Y[Y == 3])
    assert clf.chosen_ == kept
    given = Imprinter(**how, parameters={"gen.features": features, **kept}).fit(X[Y < 4], Y[Y < 4])
    assert_same(clf, given)
    assert given.chosen_ == {}
    clf.save(tmp_path / "head.safetensors")
    assert Imprinter.load(tmp_path / "head.safetensors").chosen_ == {}


@pytest.mark.parametrize("features", [40, 900])
def test_samples_may_come_before_classes_of_random_features(features: int) -> None:
    """Samples of an older class while there are few, then classes until there are many."""
    axes = {**RANPAC[0], "parameters": {"gen.features": features, "gen.ridge": 1e4}}
    clf = clf_of(axes).fit(X[:30], Y[:30]).partial_fit(X[30:35], Y[30:35]).partial_fit(X[35:], Y[35:])
    whole = clf_of(axes, classes=clf.classes_).fit(X, Y)
    np.testing.assert_allclose(clf.proxies_, whole.proxies_, rtol=1e-5, atol=1e-6 * np.abs(whole.proxies_).max())


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"gen": "lda", "k": 1}, "gen.shrinkage=ledoit_wolf takes the distances .* use oas or a number"),
        ({"gen": "lda", "k": 2, "parameters": {"gen.shrinkage": 0.1}}, "the clusters of a class are found in all"),
        ({"gen": "k_least_squares", "k": 2}, "the clusters of a class are found in all of its samples at once"),
    ],
)
def test_what_is_no_sum_of_a_class_is_told_and_changes_nothing(axes: dict[str, Any], message: str) -> None:
    clf = clf_of(axes).fit(X, Y)
    before = clf.proxies_.copy()
    with pytest.raises(StageError, match=message):
        clf.partial_fit(X[:50], Y[:50])
    np.testing.assert_array_equal(clf.proxies_, before)


def test_only_sums_take_samples_one_after_the_other(tmp_path: Path) -> None:
    for gen in GENS:
        assert hasattr(Imprinter(gen=gen, norm="none"), "partial_fit") == (gen in ADDITIVE)
    assert not hasattr(Imprinter(gen="meen"), "partial_fit")
    with pytest.raises(ImprinterError, match=r"gen=logistic makes .* from the samples of all classes"):
        Imprinter(gen="logistic", norm="none").fit(X, Y).add_class(X[:9], 10)
    assert not hasattr(Imprinter(gen="mean", metric="class_mahalanobis"), "partial_fit")
    with pytest.raises(ImprinterError, match="n_shot draws from all samples of a class at once"):
        Imprinter(gen="mean", n_shot=3).partial_fit(X, Y)
    with pytest.raises(ImprinterError, match="y has 9, which is none of classes"):
        Imprinter(gen="mean").partial_fit(X, Y, classes=range(9))
    clf = Imprinter(gen="mean").fit(X, Y)
    clf.save(tmp_path / "head.safetensors")
    loaded = Imprinter.load(tmp_path / "head.safetensors")
    with pytest.raises(ImprinterError, match="a classifier from a file has no sums of its samples"):
        loaded.partial_fit(X, Y)
    assert_same(loaded.add_class(X[:9], 10), clf.add_class(X[:9], 10))


def test_a_class_of_the_mean_is_removed_with_its_sums() -> None:
    clf = Imprinter(gen="mean").fit(X, Y).remove_class(4).partial_fit(X[:100], Y[:100])
    rows = np.concatenate([np.flatnonzero(Y != 4), np.arange(100)])
    whole = Imprinter(gen="mean", classes=[0, 1, 2, 3, 5, 6, 7, 8, 9, 4]).fit(X[rows], Y[rows])
    np.testing.assert_allclose(clf.proxies_, whole.proxies_, rtol=1e-5, atol=1e-6)
    assert clf.classes_.tolist() == whole.classes_.tolist()
