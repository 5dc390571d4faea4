"""n-shot sampling (section 5.2 of the paper)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw(n_samples: int, n_shot: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw at most `n_shot` of a label's training samples without replacement.

    They are the first of one permutation of all samples, so that from generators in the same state a draw of 5 is
    contained in a draw of 10.

    Args:
        n_samples: training samples of the label.
        n_shot: how many to draw, at least 1; None means all of them.
        rng: the stream of this draw and of nothing else.

    Returns:
        (min(n_shot, n_samples),) int64 sample indices in ascending order.

    >>> draw(3, 5, np.random.default_rng(0))
    array([0, 1, 2])
    """
    if n_shot is None:
        return np.arange(n_samples, dtype=np.int64)
    return np.sort(rng.permutation(n_samples)[:n_shot])
