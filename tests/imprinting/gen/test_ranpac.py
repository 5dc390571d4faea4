"""RanPAC: a projection in NumPy and scikit-learn's Ridge of one-hot targets as oracles."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.linear_model import Ridge

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, Ledger, run
from imprint_sweep.errors import ImprinterError, InvalidCellError, StageError
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.alone import Alone
from imprint_sweep.imprinting.components import Variant
from imprint_sweep.imprinting.gen.ranpac import RANPAC, RIDGES, Few, Many, Part, fitted
from imprint_sweep.imprinting.random_features import RandomFeatures, StoredFeatures
from imprint_sweep.imprinting.validation import hold_out
from tests import data

Floats = NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)


def streams(stage: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([len(stage), seed])


def problem(number: int) -> tuple[list[NDArray[np.float32]], int]:
    """Samples of some classes, and how many random features: more than samples, or fewer."""
    rng = np.random.default_rng(number)
    d = int(rng.integers(2, 9))
    sizes = rng.integers(5, 30, size=rng.integers(1, 5))
    scale = 10.0 ** rng.integers(-2, 3)
    classes = [(scale * (rng.normal(size=d) + rng.normal(size=(n, d)))).astype(np.float32) for n in sizes]
    return classes, int(rng.integers(1, 2 * sizes.sum()))


def solved(classes: Sequence[NDArray[np.float32]], **parameters: Any) -> NDArray[np.float32]:
    """The weight vectors as the estimator makes them."""
    given = [Alone(x, streams) for x in classes]
    for x in classes:
        x.flags.writeable = False
    variant = Variant(seed=3, parameters=tuple(parameters.items()))
    return np.concatenate(RANPAC.solve(given, given[0], variant))


def mapped(x: NDArray[np.float32], m: int) -> Floats:
    """Random features, by NumPy."""
    projection = RandomFeatures(3, (m, x.shape[1])).projection
    return np.maximum(x.astype(np.float64) @ projection.T.astype(np.float64), 0.0).astype(np.float32).astype(np.float64)


def one_hot(classes: Sequence[NDArray[np.float32]]) -> Floats:
    return np.repeat(np.eye(len(classes)), [len(x) for x in classes], axis=0)


def by_sklearn(classes: Sequence[NDArray[np.float32]], m: int, ridge: float) -> Floats:
    """(C, M) coefficients."""
    fit = Ridge(alpha=ridge, fit_intercept=False).fit(mapped(np.concatenate(classes), m), one_hot(classes))
    return np.asarray(fit.coef_).reshape(len(classes), m)


def halves(classes: Sequence[NDArray[np.float32]]) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """What a λ is fitted to, and what it is chosen by."""
    chosen = [hold_out(len(x), streams("ridge", 3)) for x in classes]
    return [x[a] for x, (a, _) in zip(classes, chosen, strict=True)], [
        x[b] for x, (_, b) in zip(classes, chosen, strict=True)
    ]


@pytest.mark.parametrize("tens", range(20))
def test_a_given_ridge_is_sklearns(tens: int) -> None:
    """200 problems, in which no matrix is so close to singular that both solutions are rounding."""
    for number in range(10 * tens, 10 * tens + 10):
        classes, m = problem(number)
        ridge = 10.0 ** (number % 5 - 1) * float(np.mean(mapped(np.concatenate(classes), m) ** 2) or 1.0)
        expected = by_sklearn(classes, m, ridge)
        found = solved(classes, features=m, ridge=ridge)
        assert found.shape == (len(classes), m)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("tens", range(20))
def test_the_chosen_ridge_has_the_smallest_error_on_held_out_samples(tens: int) -> None:
    """200 problems: that of sklearn on the same halves, where no other is as good to rounding."""
    for number in range(10 * tens, 10 * tens + 10):
        classes, m = problem(number)
        kept, held_out = halves(classes)
        assert sum(map(len, held_out)) == sum(len(x) // 5 for x in classes)
        targets = one_hot(held_out)
        predictions = {
            ridge: mapped(np.concatenate(held_out), m) @ by_sklearn(kept, m, ridge).T for ridge in RIDGES[2:]
        }
        errors = {ridge: float(((found - targets) ** 2).sum()) for ridge, found in predictions.items()}
        found = solved(classes, features=m, ridge="chosen")
        best = [ridge for ridge, error in errors.items() if error <= 1.001 * min(errors.values())]
        if best[0] == RIDGES[2]:  # of which scikit-learn's solution may be rounding, too
            best += RIDGES[:2]
        assert any(np.array_equal(found, solved(classes, features=m, ridge=ridge)) for ridge in best)


@pytest.mark.parametrize("number", range(40))
def test_both_forms_are_the_same(number: int) -> None:
    """Products of samples where there are few, second moments where there are many."""
    classes, m = problem(number)
    features = RandomFeatures(3, (m, classes[0].shape[1]))
    chosen = [hold_out(len(x), streams("ridge", 3)) for x in classes]
    as_parts = [(Part.of(features, x, a), Part.of(features, x, b)) for x, (a, b) in zip(classes, chosen, strict=True)]
    as_rows = [(whole(features, x[a]), whole(features, x[b])) for x, (a, b) in zip(classes, chosen, strict=True)]
    n = sum(map(len, classes))
    few, many = Few.of(as_rows, n, m), Many.of(as_parts, n, m)
    scale = float(np.mean(few.gram.diagonal())) or 1.0
    for ridge in (0.01 * scale, scale, 100 * scale):
        assert few.held_out_error(ridge) == pytest.approx(many.held_out_error(ridge), rel=1e-6, abs=1e-6)
        _, found = fitted(few, ridge)
        np.testing.assert_allclose(fitted(many, ridge)[1], found, rtol=1e-4, atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize("away", [10.0, 1e3, 1e5])
def test_a_ridge_that_is_lost_in_rounding_is_not_chosen(away: float) -> None:
    """Embeddings far from zero, whose random features have a huge mean in common."""
    for number in range(40):
        classes, m = problem(number)
        classes = [x + np.float32(away * np.abs(x).max()) for x in classes]
        kept, _ = halves(classes)
        matrices = []
        for of in (kept, classes):
            h = mapped(np.concatenate(of), m)
            matrices.append(h @ h.T if sum(map(len, classes)) <= m else h.T @ h)
        found, same = solved(classes, features=m, ridge="chosen"), []
        for ridge in RIDGES:
            with suppress(StageError):  # a λ that is given is refused
                if np.array_equal(found, solved(classes, features=m, ridge=ridge)):
                    same.append(ridge)
        assert same
        for a, ridge in product(matrices, same):  # LAPACK's estimate is above the number itself, a few times at most
            assert np.linalg.cond(a + ridge * np.eye(len(a)), 1) < 10 / (len(a) * EPSILON)


def whole(features: RandomFeatures, x: NDArray[np.float32]) -> Part:
    """Samples as their random features, also where second moments are smaller."""
    rows = features.transform(x)
    return Part(len(x), rows, None, rows.sum(axis=0, dtype=np.float64))


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_ridge_is_chosen_where_samples_can_be_held_out() -> None:
    message = r"gen\.ridge=chosen holds out .* and n_shot leaves 4; give a number, as in gen\.ridge=1, or raise"
    few: list[dict[str, Any]] = [{"n_shot": 4}, {"n_shot": 5, "split": "validation"}]
    for axes in few:
        with pytest.raises(InvalidCellError, match=message):
            Scheme.create(gen="ranpac", **axes)
        Scheme.create(gen="ranpac", parameters={"gen.ridge": 1}, **axes)
    Scheme.create(gen="ranpac", n_shot=5)
    with pytest.raises(StageError, match=r"no label has 5; give a number"):
        solved([np.eye(4, dtype=np.float32), np.eye(3, 4, dtype=np.float32)], features=3, ridge="chosen")


def test_a_matrix_that_is_not_positive_definite_is_named() -> None:
    ones = np.ones((3, 4), np.float32)
    with pytest.raises(StageError, match=r"plus gen\.ridge=0 is not positive definite .*; raise gen\.ridge"):
        solved([ones, ones], features=9, ridge=0.0)
    assert np.isfinite(solved([np.ones((6, 4), np.float32)] * 2, features=9, ridge="chosen")).all()


def test_a_longest_embedding_is_refused_everywhere(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    long = x * np.float32(1e38)
    with pytest.raises(StageError, match="beyond float32; scale embeddings"):
        RandomFeatures(0, (50, 3)).transform(long)
    clf = Imprinter(gen="ranpac", norm="none", parameters={"gen.features": 50}).fit(x, np.arange(12) % 2)
    with pytest.raises(StageError, match="beyond float32; scale embeddings"):
        clf.predict(long)


# --- the estimator and the engine -------------------------------------------------------------------------------------

DIGITS = data.digits()
X, Y, Q, T = DIGITS.train.features, DIGITS.train.labels, DIGITS.test.features, DIGITS.test.labels
PLAIN: dict[str, Any] = {"gen": "ranpac", "norm": "none", "parameters": {"gen.features": 300}}


def test_on_real_images_it_is_far_above_least_squares() -> None:
    linear = Imprinter(gen="least_squares", norm="none").fit(X, Y).score(Q, T)
    assert Imprinter(**PLAIN).fit(X, Y).score(Q, T) > linear + 0.02


def test_a_file_holds_the_projection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clf = Imprinter(**PLAIN).fit(X, Y)
    clf.save(tmp_path / "head")
    arrays = load_file(tmp_path / "head")
    assert (arrays["query_map.projection"].shape, arrays["proxies"].shape) == ((300, 64), (10, 300))
    assert clf.nbytes_ == 4 * (300 * 64 + 10 * 300)
    scores = np.maximum(Q.astype(float) @ arrays["query_map.projection"].T.astype(float), 0) @ arrays["proxies"].T
    np.testing.assert_allclose(scores, clf.decision_function(Q), rtol=1e-4, atol=1e-4)
    expected = clf.decision_function(Q)
    monkeypatch.setattr(RandomFeatures, "projection", None)  # nothing is drawn again
    again = Imprinter.load(tmp_path / "head")
    assert isinstance(again.query_map_, StoredFeatures)
    np.testing.assert_array_equal(again.decision_function(Q), expected)
    assert (again.n_features_in_, again.nbytes_) == (64, clf.nbytes_)
    again.save(tmp_path / "copy")
    np.testing.assert_array_equal(Imprinter.load(tmp_path / "copy").decision_function(Q), expected)


def test_it_is_no_linear_layer() -> None:
    with pytest.raises(ImprinterError, match="gen=ranpac maps queries before they are compared; use to_torch"):
        Imprinter(**PLAIN).fit(X, Y).to_linear()


def test_queries_are_mapped_once_for_all_cells_of_a_map(tmp_path: Path) -> None:
    """Of every ridge, draw and readout; those that do not fit are mapped again and again, with the same result."""
    cache = EmbeddingCache(tmp_path)
    data.write(cache, DIGITS)
    cells = [
        data.cell(data.task(DIGITS), gen="ranpac", n_shot=n, agg="mnn", metric=metric, norm_inf=inf, m=m,
                  parameters={"gen.features": 30, "gen.ridge": ridge})
        for n in (5, 9) for ridge in (0.1, "chosen") for metric in ("euclidean", "manhattan") for inf in ("none", "l2")
        for m in (1, 3)
    ]  # fmt: skip
    found = {}
    for memory in (1.0, 1e-4):
        ledger = Ledger()
        outcomes = list(run(cells, cache, EngineSettings(threads=2, memory_gb=memory), ledger=ledger))
        found[memory] = {outcome.cell.cell_id: (outcome.correct, outcome.error) for outcome in outcomes}
        assert ledger.calls["query_map"] == (20 if memory == 1.0 else 0)
        assert ledger.calls["random_features"] == 20
    assert found[1.0] == found[1e-4]
    assert {error for _, error in found[1.0].values()} == {None}
