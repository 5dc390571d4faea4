"""Logistic regression, the linear probe: multinomial, with an L2 penalty, by the L-BFGS of scikit-learn."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting import validation
from imprint_sweep.imprinting.components import (
    ClassSamples,
    JointGen,
    Parameter,
    Piece,
    Rows,
    Shared,
    Sizes,
    Value,
    Variant,
)
from imprint_sweep.imprinting.validation import CHOSEN

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

STRENGTHS = tuple(10.0**power for power in range(-3, 4))
"""C among which one is chosen."""

MOST = 1000
"""Iterations of L-BFGS; embeddings of length one take some tens, longer ones a few hundred."""

_LOG = logging.getLogger(__name__)


class Logistic(JointGen):
    """One weight vector and a bias per class, fitted by gradients: what imprinting does without."""

    name = "logistic"
    label = "logistic regression"
    biased = True
    parameters = (
        Parameter(
            "c",
            float,
            1.0,
            "C, how little weights are penalised; chosen: by the accuracy on held-out samples.",
            least=1e-300,
            words=(CHOSEN,),
        ),
    )

    def check(self, parameters: Mapping[str, Value], max_samples: int | None) -> None:
        """A C can be chosen where samples can be held out."""
        validation.check_chosen("gen.c", parameters["c"], max_samples)

    def prepare(self, given: ClassSamples, variant: Variant) -> None:
        """Nothing: no share of a class is ever the same in another task."""

    def solve(self, classes: Sequence[ClassSamples], task: Shared, variant: Variant) -> list[Rows]:
        """The weight vector of each class, its bias in the last column."""
        n, d = sum(len(given.samples) for given in classes), classes[0].samples.shape[1]
        # All as float64; and those that a C is fitted to, and those by which it is chosen.
        classes[0].reserve(
            (18 if variant["c"] == CHOSEN else 8) * n * d,
            f"the {n:,} samples of its task",
            of_task=True,
            instead="draw fewer samples with n_shot",
        )
        return np.split(task.run(self.name, lambda: _fitted(classes, variant["c"])), len(classes))

    def class_bytes(self, n: int, d: int, variant: Variant) -> int:
        """Nothing."""
        return 0

    def task_bytes(self, d: int, variant: Variant) -> int:
        """Nothing."""
        return 0

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """Nothing for a class by itself."""
        return []

    def task_work(self, n: Floats, d: int, proxies: Floats, variant: Variant) -> Sequence[Piece]:
        """Iterations, each of two products with all samples: more for more samples, which are harder to part.

        So they are of embeddings as they are; of those of length one there are a third or fewer.
        """
        fits = 1 + 0.8 * len(STRENGTHS) * (variant["c"] == CHOSEN)
        iterations = 50 * (n / 1250) ** 0.4
        return [Piece(self.name, variant, fits * iterations * n * d * (4 * proxies / 1e10 + 1e-9))]


def _fitted(classes: Sequence[ClassSamples], strength: float | str) -> Rows:
    """Weight vectors and biases, (C, d + 1)."""
    x = np.concatenate([given.samples for given in classes], dtype=np.float64)
    y = np.repeat(np.arange(len(classes)), [len(given.samples) for given in classes])
    if isinstance(strength, str):
        strength = _chosen(classes, x, y)
    return weights(x, y, strength, len(classes))


def _chosen(classes: Sequence[ClassSamples], x: Floats, y: Labels) -> float:
    """The C with the most correct predictions of held-out samples, the smallest of equal ones."""
    halves = [validation.hold_out(len(given.samples), given.rng("logistic", 0)) for given in classes]
    starts = np.cumsum([0, *(len(given.samples) for given in classes[:-1])])
    kept, held_out = (
        np.concatenate([start + half[part] for start, half in zip(starts, halves, strict=True)]) for part in (0, 1)
    )
    if not len(held_out):
        raise StageError(validation.nothing_held_out("gen.c"))
    tested = np.column_stack([x[held_out], np.ones(len(held_out))])
    fits = (weights(x[kept], y[kept], strength, len(classes)) for strength in STRENGTHS)
    correct = [np.count_nonzero((tested @ found.T).argmax(axis=1) == y[held_out]) for found in fits]
    return STRENGTHS[int(np.argmax(correct))]


def weights(x: Floats, y: Labels, strength: float, n_classes: int) -> Rows:
    """Weight vectors and, in the last column, biases of the classes.

    Args:
        x: (n, d) samples.
        y: (n,) the class of each; every class has samples.
        strength: C.
        n_classes: C of them. Of two, whose scores are one number in scikit-learn, each gets half of it; one alone has
            zeros.

    Returns:
        (n_classes, d + 1) float32.
    """
    from sklearn.linear_model import LogisticRegression

    if n_classes == 1:
        return np.zeros((1, x.shape[1] + 1), np.float32)
    with _no_warnings():
        fit = LogisticRegression(C=strength, max_iter=MOST).fit(x, y)
    if fit.n_iter_.max() >= MOST:
        _LOG.warning(
            f"gen=logistic: L-BFGS stopped after {MOST:,} iterations on {len(x):,} samples with gen.c={strength:g}; "
            "its weights are those of the last one, and it takes fewer with norm.pre=l2 or a smaller gen.c"
        )
    found = np.column_stack([fit.coef_, fit.intercept_])
    if n_classes == 2:
        found = np.concatenate([-found / 2, found / 2])
    return found.astype(np.float32)


_QUIET = threading.Lock()
_fits = 0
_filters = warnings.catch_warnings()


@contextmanager
def _no_warnings() -> Iterator[None]:
    """No warning of scikit-learn's that a fit does not converge, which is said otherwise.

    Filters of warnings are those of the process, so the first of several threads sets them, and the last one puts them
    back.
    """
    from sklearn.exceptions import ConvergenceWarning

    global _fits, _filters
    with _QUIET:
        if not _fits:
            _filters = warnings.catch_warnings(action="ignore", category=ConvergenceWarning)
            _filters.__enter__()
        _fits += 1
    try:
        yield
    finally:
        with _QUIET:
            _fits -= 1
            if not _fits:
                _filters.__exit__(None, None, None)


LOGISTIC = Logistic()
