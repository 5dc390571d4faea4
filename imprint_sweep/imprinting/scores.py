"""What a classifier's predictions are worth: counts and F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """The metrics of one cell.

    Args:
        n_correct: correctly classified test samples.
        n_test: test samples.
        correct: correctly classified test samples of each label, in task order.
        f1: one-vs-rest F1 per label in task order, 0 where a label has neither samples nor predictions.
        f1_macro: mean of ``f1``.
        f1_weighted: mean of ``f1`` weighted by test samples per label.
    """

    n_correct: int
    n_test: int
    correct: tuple[int, ...]
    f1: tuple[float, ...]
    f1_macro: float
    f1_weighted: float


def confusion(true: NDArray[np.integer], predicted: NDArray[np.integer], n_labels: int) -> NDArray[np.int64]:
    """Count test samples by true and predicted label.

    Args:
        true: (n,) integers from 0 to n_labels - 1.
        predicted: (n,) integers from 0 to n_labels - 1.
        n_labels: labels of the task.

    Returns:
        (n_labels, n_labels) int64, true labels as rows. Matrices of parts of the samples add up.
    """
    pairs = true.astype(np.int64) * n_labels + predicted  # narrow integers would overflow in the product
    return np.bincount(pairs, minlength=n_labels**2).reshape(n_labels, n_labels)


def scores(confusion: NDArray[np.int64]) -> Scores:
    """Read the metrics from a confusion matrix.

    Args:
        confusion: (C, C) int64 counts, true labels as rows, at least one sample.
    """
    hits = confusion.diagonal()
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    n_test = int(support.sum())
    return Scores(
        n_correct=int(hits.sum()),
        n_test=n_test,
        correct=tuple(hits.tolist()),
        f1=tuple(f1.tolist()),
        f1_macro=float(f1.mean()),
        f1_weighted=float(f1 @ support) / n_test,
    )
