"""What the first call of a generator costs besides its work: compiling, importing, starting libraries."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

import numpy as np

from imprint_sweep.errors import StageError
from imprint_sweep.stages.generation import clustering, least_squares, selection


@lru_cache
def prepare(gen: str) -> None:
    """Call a generator once on three samples, so that no time of it that is measured later holds its first use.

    Args:
        gen: a name of :data:`imprint_sweep.cell.GENERATORS`.
    """
    x = np.eye(3, dtype=np.float32)
    match gen:
        case "mean":
            selection.mean(x)
        case "random":
            selection.random(len(x), 2, np.random.default_rng(0))
        case "cov_max":
            selection.cov_max(x, 2)
        case "fps":
            selection.fps(x, 2, np.random.default_rng(0))
        case "kmeans":
            clustering.kmeans(x, 2, 0)
        case "kmedoids":
            with suppress(StageError):  # raised again where it is asked for proxies
                clustering.kmedoids(clustering.pairwise_distances(x), 2)
        case "least_squares" | "k_least_squares":
            assignment = clustering.kmeans(x, 2, 0).assignment
            solver = least_squares.factorize(least_squares.second_moment(x), len(x), 1.0)
            least_squares.weights(solver, least_squares.cluster_means(x, assignment))
