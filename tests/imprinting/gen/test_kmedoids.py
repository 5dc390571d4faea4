"""k-medoids: scikit-learn-extra on the data itself as oracle; threads; duplicates."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.metrics.pairwise import euclidean_distances
from sklearn_extra.cluster import KMedoids
from threadpoolctl import threadpool_limits

from imprint_sweep.errors import StageError
from imprint_sweep.imprinting.alone import Alone
from imprint_sweep.imprinting.components import Variant
from imprint_sweep.imprinting.gen import kmedoids

# pytest replaces the process's filters, also those that the module under test sets at import.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Number of distinct clusters:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Cluster .* is empty:UserWarning"),
]

Samples = NDArray[np.float32]


def samples(n: int = 300, d: int = 32, seed: int = 0) -> Samples:
    """Six modes behind a ReLU."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(0.3, 1.5, (6, d))
    return np.maximum(centers[rng.integers(6, size=n)] + rng.normal(size=(n, d)), 0).astype(np.float32)


def medoids_of(x: Samples, k: int) -> NDArray[np.int64]:
    distances = kmedoids.pairwise_distances(x)
    return kmedoids.kmedoids(distances, distances.sum(axis=1), k)


few_values = hnp.arrays(
    np.float32, st.tuples(st.integers(2, 40), st.integers(1, 3)), elements=st.integers(-2, 2).map(float)
)
"""Ties and duplicates are common, and clusters become empty."""


@given(few_values, st.integers(1, 12))
def test_ties_duplicates_and_empty_clusters_go_as_in_scikit_learn_extra(x: Samples, k: int) -> None:
    if k < len(x):
        oracle = KMedoids(n_clusters=k, metric="precomputed", method="alternate", init="heuristic")
        expected = oracle.fit(kmedoids.pairwise_distances(x)).medoid_indices_
        np.testing.assert_array_equal(medoids_of(x, k), expected)


@pytest.mark.parametrize("make", [samples, lambda: np.repeat(samples(20), 5, axis=0), lambda: samples(4, 3)])
def test_one_distance_matrix_gives_the_medoids_of_scikit_learn_extra_for_every_k(make: object) -> None:
    assert callable(make)
    x = make()
    with threadpool_limits(1):
        distances = kmedoids.pairwise_distances(x)
        distances.flags.writeable = False
        for k in (1, 2, 3, 5, 20):
            if k < len(x):
                oracle = KMedoids(n_clusters=k, metric="euclidean", method="alternate", init="heuristic").fit(x)
                medoids = kmedoids.kmedoids(distances, distances.sum(axis=1), k)
                assert medoids.dtype == np.int64
                np.testing.assert_array_equal(medoids, oracle.medoid_indices_)


def test_no_more_memory_is_taken_than_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    x, reserved = samples(3000, 4), list[int]()
    alone = Alone(x, lambda stage, seed: np.random.default_rng())
    monkeypatch.setattr(alone, "reserve", lambda n_bytes, what, instead: reserved.append(n_bytes))
    medoids_of(samples(), 1)  # imports
    tracemalloc.start()
    kmedoids.KMEDOIDS.proxies(alone, Variant(k=1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 4 * len(x) ** 2 < peak < 1.1 * reserved[0]


def test_distances_are_those_of_scikit_learn() -> None:
    x = samples()
    with threadpool_limits(1):
        distances = kmedoids.pairwise_distances(x)
        assert distances.dtype == np.float32
        np.testing.assert_array_equal(distances, euclidean_distances(x))
    np.testing.assert_array_equal(distances.diagonal(), 0)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_kmedoids_of_no_more_than_k_samples_is_all_samples(n: int) -> None:
    np.testing.assert_array_equal(medoids_of(samples(n), 5), np.arange(n))


def test_the_medoid_of_one_cluster_has_the_least_sum_of_distances() -> None:
    x = samples()
    distances = kmedoids.pairwise_distances(x)
    np.testing.assert_array_equal(medoids_of(x, 1), [distances.sum(axis=1).argmin()])


def test_medoids_of_permuted_and_scaled_samples() -> None:
    x = samples()
    order = np.random.default_rng(0).permutation(len(x))
    medoids = medoids_of(x, 5)
    permuted = medoids_of(x[order], 5)
    np.testing.assert_array_equal(np.sort(order[permuted]), np.sort(medoids))
    scaled = medoids_of(x * np.float32(4), 5)
    np.testing.assert_array_equal(scaled, medoids)


def test_scikit_learn_extra_is_not_loaded() -> None:
    """It is the oracle: a machine where it does not build computes the same."""
    program = """
import sys
import numpy as np
from imprint_sweep.imprinting.gen.kmedoids import kmedoids, pairwise_distances
distances = pairwise_distances(np.eye(9, dtype=np.float32))
kmedoids(distances, distances.sum(axis=1), 3)
print("sklearn_extra" in sys.modules)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"


def test_worker_threads_limited_to_one_give_the_bits_of_the_main_thread() -> None:
    jobs = [samples(1200, 96, seed) for seed in range(3)]
    with threadpool_limits(1):
        expected = [kmedoids.pairwise_distances(x) for x in jobs]
        with ThreadPoolExecutor(3, initializer=threadpool_limits, initargs=(1,)) as pool:
            found = list(pool.map(kmedoids.pairwise_distances, jobs))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_memory_maps_are_accepted_and_left(tmp_path: Path) -> None:
    x = samples(50)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with threadpool_limits(1):
        np.testing.assert_array_equal(kmedoids.pairwise_distances(mapped), kmedoids.pairwise_distances(x))
    np.testing.assert_array_equal(mapped, samples(50))
    np.testing.assert_array_equal(x, samples(50))


def test_samples_beyond_float32_are_a_sentence() -> None:
    with pytest.raises(StageError, match=r"gen=kmedoids computes in float32, .* use norm.pre=l2"):
        kmedoids.pairwise_distances(samples() * np.float32(1e20))
    assert np.isfinite(kmedoids.pairwise_distances(samples() * np.float32(1e17))).all()
