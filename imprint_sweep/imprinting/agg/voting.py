"""From nearest proxies to a label (method, section 7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import Weighting


def votes(
    labels: NDArray[np.int32],
    distances: NDArray[np.float64],
    ballots: Sequence[tuple[int, Weighting | None]],
    n_labels: int,
) -> NDArray[np.int32]:
    """The labels that several ballots elect from one list of neighbours.

    The m nearest are the first m of the M nearest, so one list serves every m. Votes are added in float64, nearest
    first; among labels with equal votes the lowest wins.

    Args:
        labels: (b, M) int32 label of each neighbour, nearest first.
        distances: (b, M) float64.
        ballots: (m, weighting) each; without a weighting each vote counts one; m above M means M.
        n_labels: number of labels.

    Returns:
        (len(ballots), b) int32.
    """
    out = np.empty((len(ballots), len(labels)), np.int32)
    most = labels.shape[1]
    for weighting in dict.fromkeys(weighting for _, weighting in ballots):
        mine = [i for i, ballot in enumerate(ballots) if ballot[1] is weighting]
        mine.sort(key=lambda i: ballots[i][0])
        counts = np.array([min(ballots[i][0], most) for i in mine], np.int64)
        weights = np.ones_like(distances) if weighting is None else weighting.weights(distances)
        _elect(labels, weights, counts, np.array(mine, np.int64), n_labels, out)
    return out


def tally(
    labels: NDArray[np.int32], distances: NDArray[np.float64], weighting: Weighting, n_labels: int
) -> NDArray[np.float64]:
    """The votes that each label gets from all neighbours, added as :func:`votes` adds them.

    Args:
        labels: (b, m) int32 label of each neighbour, nearest first.
        distances: (b, m) float64.
        weighting: of the votes.
        n_labels: number of labels.

    Returns:
        (b, n_labels) float64.
    """
    out = np.zeros((len(labels), n_labels))
    np.add.at(out, (np.arange(len(labels))[:, None], labels), weighting.weights(distances))
    return out


@compiled()
def _elect(labels, weights, counts, rows, n_labels, out):  # type: ignore[no-untyped-def]
    tally = np.empty(n_labels)
    for q in range(labels.shape[0]):
        tally[:] = 0.0
        counted = 0
        for i in range(counts.shape[0]):
            while counted < counts[i]:
                tally[labels[q, counted]] += weights[q, counted]
                counted += 1
            winner = 0
            for label in range(1, n_labels):
                if tally[label] > tally[winner]:
                    winner = label
            out[rows[i], q] = winner
