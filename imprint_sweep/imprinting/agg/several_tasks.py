"""The nearest proxies of several tasks from those of each class, which is searched once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled

SHARED = 4
"""So many times a query has to be searched for in all columns of a pass before each class is searched once for all
tasks instead. That takes exact values of the nearest proxies of every class."""


def neighbours(
    of_each: NDArray[np.float64], sizes: NDArray[np.int64], tasks: Sequence[NDArray[np.int64]], m: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The labels and distances of the m nearest proxies in each task.

    Args:
        of_each: (b, C, M) float64 distances to the M nearest proxies of each class, nearest first. M is at least m, or
            all proxies of the largest class.
        sizes: (C,) proxies of each class; what `of_each` has behind them does not count.
        tasks: the classes of each task, in task order: positions in `of_each`.
        m: how many; every task has as many proxies.

    Returns:
        (tasks, b, m) int32 labels, the positions of classes in their task, nearest first, and (tasks, b, m) float64
        distances. Equally near ones come class after class, as they do in a search of the task's own.
    """
    b, _, most = of_each.shape
    starts = np.cumsum([0, *map(len, tasks)])
    labels, distances = np.empty((len(tasks), b, m), np.int32), np.empty((len(tasks), b, m))
    _merge(of_each, np.minimum(sizes, most), np.concatenate(tasks), starts, labels, distances)
    return labels, distances


@compiled()
def _merge(of_each, counts, classes, starts, labels, distances):  # type: ignore[no-untyped-def]
    m = labels.shape[2]
    for t in range(labels.shape[0]):
        for q in range(labels.shape[1]):
            kept = 0
            for i in range(starts[t], starts[t + 1]):
                c = classes[i]
                for j in range(counts[c]):
                    x = of_each[q, c, j]
                    # Classes come in task order, so an equally near proxy of a later one goes behind.
                    if kept < m:
                        slot = kept
                        kept += 1
                    elif x < distances[t, q, m - 1]:
                        slot = m - 1
                    else:
                        break
                    while slot > 0 and x < distances[t, q, slot - 1]:
                        distances[t, q, slot] = distances[t, q, slot - 1]
                        labels[t, q, slot] = labels[t, q, slot - 1]
                        slot -= 1
                    distances[t, q, slot] = x
                    labels[t, q, slot] = i - starts[t]
