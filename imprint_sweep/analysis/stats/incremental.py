"""The numbers of a class-incremental stream: accuracy after each step, their mean, and forgetting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.analysis.artefact import Floats


def average(n_correct: Floats, n_test: Floats) -> float:
    """The average incremental accuracy: the mean over the steps of the accuracy on all classes seen (iCaRL).

    Args:
        n_correct: (S,) correct predictions after each step.
        n_test: (S,) test samples of all classes seen.
    """
    return float(np.mean(n_correct / n_test))


def forgetting(correct: NDArray[np.integer] | Floats, n_test: Floats) -> float:
    """The average forgetting (Chaudhry et al. 2018, Eq. 3): how far accuracy fell from its best.

    The classes that arrived together are a group. Of each group but the last: the highest accuracy after any step but
    the last, less that after the last; their mean.

    Args:
        correct: (S, S) correct predictions after step l (row) of the test samples of group j (column); what lies above
            the diagonal does not count.
        n_test: (S,) test samples of all classes seen.

    Returns:
        A share, negative where accuracy rose; NaN for a single step. Groups without test samples do not count.
    """
    sizes = np.diff(n_test, prepend=0.0)
    shares = np.asarray(correct, np.float64) / np.where(sizes > 0, sizes, np.nan)
    fell = [shares[j:-1, j].max() - shares[-1, j] for j in range(len(sizes) - 1) if sizes[j] > 0]
    return float(np.mean(fell)) if fell else float("nan")
