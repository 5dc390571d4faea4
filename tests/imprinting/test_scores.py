"""Counts and F1 with scikit-learn as oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from imprint_sweep.imprinting import scores as metrics

Labels = NDArray[np.int64]


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Labels, Labels, int]:
    """(true, predicted, n_labels), many labels without samples or predictions."""
    n_labels = draw(st.integers(1, 8))
    pairs = draw(st.lists(st.tuples(*[st.integers(0, n_labels - 1)] * 2), min_size=1, max_size=40))
    true, predicted = np.array(pairs).T
    return true, predicted, n_labels


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(predictions())
def test_confusion_agrees_with_scikit_learn(given_: tuple[Labels, Labels, int]) -> None:
    true, predicted, n_labels = given_
    counts = metrics.confusion(true, predicted, n_labels)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, confusion_matrix(true, predicted, labels=np.arange(n_labels)))


@given(predictions())
def test_scores_agree_with_scikit_learn(given_: tuple[Labels, Labels, int]) -> None:
    true, predicted, n_labels = given_
    scores = metrics.scores(metrics.confusion(true, predicted, n_labels))

    def f1(average: str | None) -> NDArray[np.float64]:
        oracle: NDArray[np.float64] = f1_score(
            true, predicted, labels=np.arange(n_labels), average=average, zero_division=0
        )
        return oracle

    assert scores.n_test == len(true)
    assert scores.n_correct == accuracy_score(true, predicted, normalize=False)
    np.testing.assert_allclose(scores.f1, f1(None), rtol=1e-14)
    np.testing.assert_allclose(scores.f1_macro, f1("macro"), rtol=1e-14)
    np.testing.assert_allclose(scores.f1_weighted, f1("weighted"), rtol=1e-14)


def test_scores_by_hand() -> None:
    # Label 0: 2 of 3 samples found, 2 of 3 predictions right; label 1: 1 of 2 and 1 of 2; labels 2 and 3: nothing.
    counts = np.array([[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.int64)
    scores = metrics.scores(counts)
    assert (scores.n_correct, scores.n_test) == (3, 5)
    assert list(scores.f1) == [2 / 3, 1 / 2, 0, 0]
    assert scores.f1_macro == pytest.approx(7 / 24)
    assert scores.f1_weighted == pytest.approx(3 / 5)


def test_all_right_and_all_wrong() -> None:
    right = metrics.scores(np.diag(np.array([4, 1], dtype=np.int64)))
    assert (right.n_correct, right.f1, right.f1_macro, right.f1_weighted) == (5, (1.0, 1.0), 1.0, 1.0)
    wrong = metrics.scores(np.array([[0, 4], [1, 0]], dtype=np.int64))
    assert (wrong.n_correct, wrong.f1, wrong.f1_macro, wrong.f1_weighted) == (0, (0.0, 0.0), 0.0, 0.0)


@given(predictions(), st.integers(0, 40))
def test_matrices_of_parts_add_up(given_: tuple[Labels, Labels, int], cut: int) -> None:
    true, predicted, n_labels = given_
    parts = [metrics.confusion(true[part], predicted[part], n_labels) for part in (slice(cut), slice(cut, None))]
    np.testing.assert_array_equal(sum(parts), metrics.confusion(true, predicted, n_labels))


@given(predictions(), st.integers(0, 100))
def test_renaming_the_labels_renames_their_f1(given_: tuple[Labels, Labels, int], seed: int) -> None:
    true, predicted, n_labels = given_
    names = np.random.default_rng(seed).permutation(n_labels)
    scores = metrics.scores(metrics.confusion(true, predicted, n_labels))
    renamed = metrics.scores(metrics.confusion(names[true], names[predicted], n_labels))
    assert [renamed.f1[name] for name in names] == list(scores.f1)
    assert renamed.n_correct == scores.n_correct
    np.testing.assert_allclose([renamed.f1_macro, renamed.f1_weighted], [scores.f1_macro, scores.f1_weighted])


def test_narrow_integers_do_not_overflow() -> None:
    true, predicted = np.array([99, 2], dtype=np.int8), np.array([98, 2], dtype=np.int8)
    counts = metrics.confusion(true, predicted, 100)
    assert counts[99, 98] == counts[2, 2] == 1
    assert counts.sum() == 2


def test_numbers_are_plain_python() -> None:
    scores = metrics.scores(np.eye(3, dtype=np.int64))
    assert {type(count) for count in (scores.n_correct, scores.n_test)} == {int}
    assert {type(value) for value in (*scores.f1, scores.f1_macro, scores.f1_weighted)} == {float}
