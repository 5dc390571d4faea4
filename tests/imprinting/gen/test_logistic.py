"""Logistic regression: scikit-learn's own on the same rows as oracle."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.errors import InvalidCellError, StageError
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.alone import Alone
from imprint_sweep.imprinting.components import Variant
from imprint_sweep.imprinting.gen import logistic
from imprint_sweep.imprinting.gen.logistic import LOGISTIC, STRENGTHS
from imprint_sweep.imprinting.validation import hold_out
from tests import data

Samples = NDArray[np.float32]
DIGITS = data.digits()
X, Y, Q, T = DIGITS.train.features, DIGITS.train.labels, DIGITS.test.features, DIGITS.test.labels
PLAIN: dict[str, Any] = {"gen": "logistic", "norm": "none", "norm_pre": "l2"}


def streams(stage: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([len(stage), seed])


def problem(number: int, least: int = 1) -> list[Samples]:
    rng = np.random.default_rng(number)
    d, sizes = int(rng.integers(1, 9)), rng.integers(least, 25, size=rng.integers(2, 6))
    return [(rng.normal(size=d) + rng.normal(size=(n, d))).astype(np.float32) for n in sizes]


def solved(classes: Sequence[Samples], c: float | str) -> Samples:
    given = [Alone(x, streams) for x in classes]
    return np.concatenate(LOGISTIC.solve(given, given[0], Variant(parameters=(("c", c),))))


def whole(classes: Sequence[Samples]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return np.concatenate(classes).astype(np.float64), np.repeat(np.arange(len(classes)), [len(x) for x in classes])


@pytest.mark.parametrize("tens", range(20))
def test_it_is_scikit_learns(tens: int) -> None:
    """200 problems: the same scores, and predictions; of two classes the difference of the scores is the score."""
    for number in range(10 * tens, 10 * tens + 10):
        classes, c = problem(number), 10.0 ** (number % 4 - 2)
        (x, y), found = whole(classes), solved(classes, c)
        assert (found.dtype.name, found.shape) == ("float32", (len(classes), x.shape[1] + 1))
        oracle = LogisticRegression(C=c, max_iter=1000).fit(x, y)
        scores = np.column_stack([x, np.ones(len(x))]) @ found.T
        expected = oracle.decision_function(x)
        np.testing.assert_allclose(scores[:, 1] - scores[:, 0] if len(classes) == 2 else scores, expected, atol=1e-5)
        likely = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(likely, oracle.predict_proba(x), atol=1e-5)


def test_the_gradient_of_the_penalised_loss_is_zero() -> None:
    """Without scikit-learn: the sum of log-losses plus |W|^2 / (2 C), whose biases are free."""
    classes, c = problem(4, least=10), 0.3
    (x, y), found = whole(classes), solved(classes, c).astype(np.float64)
    assert len(classes) > 2
    scores = np.column_stack([x, np.ones(len(x))]) @ found.T
    residual = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) - np.eye(len(classes))[y]
    # L-BFGS ends where the gradient of the mean is below 1e-4.
    np.testing.assert_allclose(residual.T @ x + found[:, :-1] / c, 0, atol=1.1e-4 * len(x))
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1.1e-4 * len(x))


@pytest.mark.parametrize("number", range(5))
def test_the_chosen_c_predicts_most_held_out_samples(number: int) -> None:
    classes = problem(number, least=5)
    halves = [hold_out(len(x), streams("logistic", 0)) for x in classes]
    kept = whole([x[a] for x, (a, _) in zip(classes, halves, strict=True)])
    x, y = whole([x[b] for x, (_, b) in zip(classes, halves, strict=True)])
    correct = [float(LogisticRegression(C=c, max_iter=1000).fit(*kept).score(x, y)) for c in STRENGTHS]
    np.testing.assert_array_equal(solved(classes, "chosen"), solved(classes, STRENGTHS[int(np.argmax(correct))]))


def test_on_real_images_it_is_scikit_learns_and_reads_as_a_linear_layer() -> None:
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    clf = Imprinter(**PLAIN).fit(X, Y)
    oracle = LogisticRegression(max_iter=1000).fit(unit.astype(np.float64), Y)
    np.testing.assert_array_equal(clf.predict(Q), oracle.predict(Q))
    np.testing.assert_allclose(clf.decision_function(Q), oracle.decision_function(Q), rtol=1e-4, atol=1e-4)
    layer = clf.to_linear()
    np.testing.assert_allclose(layer.bias.numpy(), oracle.intercept_, atol=1e-4)
    assert clf.biases_ is not None


def test_one_class_alone_has_no_weights() -> None:
    assert not solved([np.ones((3, 4), np.float32)], 1.0).any()
    assert Imprinter(**PLAIN).fit(X[Y == 3], Y[Y == 3]).predict(Q).tolist() == [3] * len(Q)


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(
        InvalidCellError, match=r"gen\.c=chosen holds out .* needs 5 of them, and n_shot leaves 4; give a"
    ):
        Scheme.create(gen="logistic", parameters={"gen.c": "chosen"}, n_shot=4)
    with pytest.raises(InvalidCellError, match=r"use norm=none"):
        Scheme.create(gen="logistic", norm_post="l2")
    with pytest.raises(InvalidCellError, match=r"gen\.c must be at least 1e-300, got 0"):
        Scheme.create(gen="logistic", parameters={"gen.c": 0})
    with pytest.raises(StageError, match=r"gen\.c=chosen .* no label has 5; give a number, as in gen\.c=1"):
        solved([np.eye(4, dtype=np.float32), np.eye(3, 4, dtype=np.float32)], "chosen")


def test_where_it_does_not_converge_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In several threads at once, whose filters of warnings are the process's."""
    monkeypatch.setattr(logistic, "MOST", 3)
    classes, before = problem(4, least=10), list(warnings.filters)
    with caplog.at_level(logging.WARNING):
        threads = [Thread(target=solved, args=(classes, 10.0)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    n = len(whole(classes)[0])
    said = f"gen=logistic: L-BFGS stopped after 3 iterations on {n} samples with gen.c=10; its weights are those"
    assert [record.getMessage().startswith(said) for record in caplog.records] == [True] * 6
    assert warnings.filters == before
    with pytest.warns(ConvergenceWarning):
        LogisticRegression(max_iter=2).fit(*whole(classes))
