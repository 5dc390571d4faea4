"""Votes against scikit-learn's classifier, by hand, and the rules for ties and prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from imprint_sweep.imprinting import vectors
from imprint_sweep.imprinting.agg import search, voting
from imprint_sweep.imprinting.components import METRICS, WEIGHTINGS, DenseMetric, ProductMetric
from imprint_sweep.imprinting.vectors import Vectors


def votes(
    labels: NDArray[np.int32], distance: NDArray[np.float64], ballots: Sequence[tuple[int, str]], n_labels: int
) -> NDArray[np.int32]:
    """Ballots with the names of weightings."""
    return voting.votes(labels, distance, [(m, WEIGHTINGS[name]) for m, name in ballots], n_labels)


BALLOTS = st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["uniform", "inverse_distance"])), max_size=6)


@st.composite
def neighbor_lists(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.float64], int]:
    """(labels, distances, n_labels) with equal and zero distances and labels without neighbours."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    b, most, n_labels = draw(st.integers(1, 5)), draw(st.integers(1, 30)), draw(st.integers(1, 6))
    labels = rng.integers(0, n_labels, size=(b, most), dtype=np.int32)
    spread = rng.choice([0.0, 1e-12, 0.5, 1.0, 2.0], size=(b, most)) * draw(st.sampled_from((1.0, 1e-9, 1e9)))
    return labels, np.sort(spread, axis=1), n_labels


def elect(labels: NDArray[np.int32], distance: NDArray[np.float64], m: int, weighting: str, n_labels: int) -> list[int]:
    """One ballot in plain Python."""
    winners = []
    for mine, away in zip(labels.tolist(), distance.tolist(), strict=True):
        tally = [0.0] * n_labels
        for label, x in list(zip(mine, away, strict=True))[:m]:
            tally[label] += 1 / (x + 1e-10) if weighting == "inverse_distance" else 1
        winners.append(tally.index(max(tally)))
    return winners


@given(
    neighbor_lists(),
    BALLOTS,
)
def test_every_ballot_is_the_one_of_its_own_prefix(
    given_: tuple[NDArray[np.int32], NDArray[np.float64], int], ballots: list[tuple[int, str]]
) -> None:
    labels, distance, n_labels = given_
    found = votes(labels, distance, ballots, n_labels)
    assert found.dtype == np.int32
    assert found.shape == (len(ballots), len(labels))
    for row, (m, weighting) in zip(found, ballots, strict=True):
        assert row.tolist() == elect(labels, distance, m, weighting, n_labels)


def test_by_hand() -> None:
    labels = np.array([[2, 1, 1, 0, 0]], np.int32)
    distance = np.array([[0.5, 1.0, 1.0, 2.0, 4.0]])
    ballots = [(1, "uniform"), (2, "uniform"), (3, "uniform"), (5, "uniform")]
    # Votes: 2; 2 and 1 tie; 1 has two; 0 and 1 tie.
    np.testing.assert_array_equal(votes(labels, distance, ballots, 3), [[2], [1], [1], [0]])
    # Weights 2; 1, 1; 0.5, 0.25: label 2 and label 1 tie from three on, up to 1e-10, which weakens near ones more.
    weighted = [(m, "inverse_distance") for m in (1, 2, 3, 5)]
    np.testing.assert_array_equal(votes(labels, distance, weighted, 3), [[2], [2], [1], [1]])


def test_a_neighbour_at_no_distance_outweighs_everything() -> None:
    labels, distance = np.array([[1] + [0] * 99], np.int32), np.array([[0.0] + [1e-6] * 99])
    np.testing.assert_array_equal(votes(labels, distance, [(100, "inverse_distance"), (100, "uniform")], 2), [[1], [0]])


def test_equal_votes_go_to_the_lowest_label() -> None:
    labels = np.array([[3, 2, 1], [1, 3, 2], [2, 3, 3]], np.int32)
    found = votes(labels, np.ones((3, 3)), [(3, "uniform"), (2, "inverse_distance")], 4)
    np.testing.assert_array_equal(found, [[1, 1, 3], [2, 1, 2]])


def test_more_than_there_are_means_all() -> None:
    labels, distance = np.array([[0, 1, 1]], np.int32), np.array([[1.0, 2.0, 3.0]])
    found = votes(labels, distance, [(3, "uniform"), (50, "uniform")], 2)
    np.testing.assert_array_equal(found, [[1], [1]])


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("weighting", ["uniform", "inverse_distance"])
def test_agrees_with_scikit_learn(metric: str, weighting: str) -> None:
    rng = np.random.default_rng(0)
    proxies, queries = (rng.normal(0.5, 1.0, size=(n, 20)).astype(np.float32) for n in (400, 300))
    labels = rng.integers(0, 5, size=400, dtype=np.int32)
    given_queries, given_proxies = Vectors.of(queries), Vectors.of(proxies)
    compared = METRICS[metric]
    if isinstance(compared, DenseMetric):
        scores, bounds = compared.fast(queries, proxies), compared.bounds(given_queries, given_proxies)
    else:
        assert isinstance(compared, ProductMetric)
        scores = vectors.inner_products(queries, proxies)
        bounds = compared.bounds(given_queries, given_proxies, given_queries, given_proxies)
    found = search.nearest(scores, bounds, compared, given_queries, given_proxies, [(0, 400)], 50)
    sizes = [1, 3, 20, 50]
    predicted = votes(labels[found.position], found.distance, [(m, weighting) for m in sizes], 5)

    def inverse(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (x + 1e-10)

    weights: Any = "uniform" if weighting == "uniform" else inverse
    for m, row in zip(sizes, predicted, strict=True):
        oracle = KNeighborsClassifier(m, weights=weights, metric=metric, algorithm="brute")
        oracle.fit(proxies.astype(np.float64), labels)
        np.testing.assert_array_equal(row, oracle.predict(queries.astype(np.float64)))
