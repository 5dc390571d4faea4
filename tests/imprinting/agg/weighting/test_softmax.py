"""Softmax votes against scikit-learn's nearest neighbours and SciPy's softmax."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.neighbors import KNeighborsClassifier

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.errors import ImprinterError
from imprint_sweep.imprinting.components import WEIGHTINGS, Setting


def problem(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], float, int]:
    """Samples, labels, queries, temperature and m of a small problem."""
    rng = np.random.default_rng(seed)
    n, d, classes = int(rng.integers(6, 40)), int(rng.integers(2, 12)), int(rng.integers(2, 5))
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    x, queries = (rng.normal(0.3, 1.0, (rows, d)).astype(np.float32) for rows in (n, 12))
    return x, labels, queries, float(10 ** rng.uniform(-2, 0.5)), int(rng.integers(1, n + 5))


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
def test_votes_are_those_of_scikit_learn(metric: str) -> None:
    for seed in range(70):
        x, labels, queries, temperature, m = problem(seed)
        clf = Imprinter(
            gen="all",
            norm="none",
            agg="mnn",
            metric=metric,
            m=m,
            weighting="softmax",
            parameters={"agg.temperature": temperature},
        ).fit(x, labels)

        def weights(distances: NDArray[np.float64], t: float = temperature) -> NDArray[np.float64]:
            return softmax(-distances / t, axis=1)

        oracle = KNeighborsClassifier(min(m, len(x)), weights=weights, metric=metric, algorithm="brute")
        shares = oracle.fit(x.astype(np.float64), labels).predict_proba(queries.astype(np.float64))
        assert clf.predict(queries).tolist() == shares.argmax(axis=1).tolist()
        votes = clf.decision_function(queries)
        if votes.ndim == 1:  # the second class's votes less the first's: the sum is not to be seen
            assert (np.sign(votes) == np.sign(shares[:, 1] - shares[:, 0])).all()
        else:
            np.testing.assert_allclose(votes / votes.sum(axis=1, keepdims=True), shares, rtol=1e-9, atol=1e-12)


def test_cosines_are_weighted_as_by_exp_of_similarity_over_temperature() -> None:
    rng = np.random.default_rng(0)
    similarity = np.sort(rng.uniform(-1, 1, (50, 20)))[:, ::-1]
    weights = WEIGHTINGS[Setting("softmax", (("temperature", 0.07),))].weights(1.0 - similarity)
    np.testing.assert_allclose(
        weights / weights.sum(axis=1, keepdims=True), softmax(similarity / 0.07, axis=1), rtol=1e-12
    )
    assert (weights[:, 0] == 1.0).all()


def test_large_distances_and_small_temperatures_leave_the_nearest() -> None:
    weights = WEIGHTINGS[Setting("softmax", (("temperature", 1e-6),))].weights(np.array([[1e3, 1e3 + 1, 1e9]]))
    assert weights[0, 0] == 1.0
    assert 0.0 < weights[0, 2] == weights[0, 1] < 1e-300


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-7, 1e6, np.inf, np.nan, "cold", True])
def test_a_temperature_is_a_positive_number(temperature: object) -> None:
    clf = Imprinter(agg="mnn", weighting="softmax", parameters={"agg.temperature": temperature})
    with pytest.raises(ImprinterError, match=r"agg\.temperature"):
        clf.fit([[0.0], [1.0]], [0, 1])
