"""k-means and k-medoids: scikit-learn and scikit-learn-extra on the data itself as oracles; threads; duplicates."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import euclidean_distances
from sklearn_extra.cluster import KMedoids
from threadpoolctl import threadpool_limits

from imprint_sweep.errors import StageError
from imprint_sweep.stages.generation import clustering, selection
from imprint_sweep.stages.generation.clustering import Clustering

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


def assert_same(one: Clustering, other: Clustering) -> None:
    np.testing.assert_array_equal(one.centers, other.centers)
    np.testing.assert_array_equal(one.assignment, other.assignment)


# kmeans


@pytest.mark.parametrize(("k", "seed"), [(1, 0), (2, 1), (5, 2), (20, 123)])
def test_kmeans_is_scikit_learns(k: int, seed: int) -> None:
    x = samples()
    with threadpool_limits(1):
        found = clustering.kmeans(x, k, seed)
        oracle = KMeans(n_clusters=k, random_state=seed).fit(x)
    assert found.centers.dtype == np.float32
    assert found.assignment.dtype == np.int32
    np.testing.assert_array_equal(found.centers, oracle.cluster_centers_)
    np.testing.assert_array_equal(found.assignment, oracle.labels_)


@pytest.mark.parametrize(("seed", "same"), [(-1, 2**32 - 1), (2**32, 0), (2**63 - 1, (2**63 - 1) % 2**32)])
def test_any_integer_is_a_seed(seed: int, same: int) -> None:
    x = samples(60, 8)
    with threadpool_limits(1):
        assert_same(clustering.kmeans(x, 4, seed), clustering.kmeans(x, 4, same))


def test_seeds_differ_and_global_ones_do_not_matter() -> None:
    x = samples(n=500)
    with threadpool_limits(1):
        np.random.seed(0)  # noqa: NPY002
        one = clustering.kmeans(x, 20, 0)
        np.random.seed(1)  # noqa: NPY002
        assert_same(clustering.kmeans(x, 20, 0), one)
        assert not np.array_equal(clustering.kmeans(x, 20, 1).centers, one.centers)


def test_each_center_is_the_mean_of_its_samples() -> None:
    x = samples()
    found = clustering.kmeans(x, 6, 0)
    for cluster, center in enumerate(found.centers):
        np.testing.assert_allclose(center, x[found.assignment == cluster].mean(axis=0), rtol=1e-4, atol=1e-5)


def test_one_cluster_is_the_mean() -> None:
    x = samples()
    np.testing.assert_allclose(clustering.kmeans(x, 1, 0).centers, selection.mean(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_kmeans_of_no_more_than_k_samples_is_the_samples(n: int) -> None:
    x = samples(n)
    found = clustering.kmeans(x, 5, 0)
    np.testing.assert_array_equal(found.centers, x)
    np.testing.assert_array_equal(found.assignment, np.arange(n))
    assert found.assignment.dtype == np.int32


def test_kmeans_of_few_distinct_samples_finds_them() -> None:
    distinct = samples(3)
    x = np.repeat(distinct, 10, axis=0)
    found = clustering.kmeans(x, 5, 0)
    assert found.centers.shape == (5, x.shape[1])
    assert np.isfinite(found.centers).all()
    np.testing.assert_allclose(found.centers[found.assignment], x, rtol=1e-5, atol=1e-6)
    assert len(np.unique(found.assignment)) == 3


def test_zero_vectors_form_a_cluster() -> None:
    x = np.concatenate([np.zeros((10, 4), np.float32), np.full((10, 4), 3, np.float32)])
    found = clustering.kmeans(x, 2, 0)
    np.testing.assert_allclose(np.sort(found.centers[:, 0]), [0, 3], atol=1e-6)


def test_kmeans_scales_by_powers_of_two() -> None:
    x = samples()
    with threadpool_limits(1):
        found, scaled = clustering.kmeans(x, 5, 0), clustering.kmeans(x * np.float32(8), 5, 0)
    np.testing.assert_array_equal(scaled.assignment, found.assignment)
    np.testing.assert_array_equal(scaled.centers, found.centers * np.float32(8))


def test_worker_threads_limited_to_one_give_the_bits_of_the_main_thread() -> None:
    jobs = [(samples(1200, 96, seed), k, seed) for seed in range(3) for k in (3, 20)]
    with threadpool_limits(1):
        expected = [clustering.kmeans(*job) for job in jobs]
        with ThreadPoolExecutor(3, initializer=threadpool_limits, initargs=(1,)) as pool:
            found = list(pool.map(lambda job: clustering.kmeans(*job), jobs))
            distances = list(pool.map(lambda job: clustering.pairwise_distances(job[0]), jobs[::2]))
        for one, other in zip(expected, found, strict=True):
            assert_same(one, other)
        for job, matrix in zip(jobs[::2], distances, strict=True):
            np.testing.assert_array_equal(matrix, clustering.pairwise_distances(job[0]))


def test_duplicates_warn_in_no_thread_of_a_run() -> None:
    program = """
import warnings
import numpy as np
from imprint_sweep.engine.workers import workers
from imprint_sweep.stages.generation import clustering
x = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
filters = list(warnings.filters)
with workers(4) as crew:
    for _, found in crew.map(lambda seed: clustering.kmeans(x, 5, seed), range(100)):
        assert len(set(found.assignment)) == 3
    print(clustering.kmedoids(clustering.pairwise_distances(x), 5))
assert warnings.filters == filters
"""
    # scikit-learn-extra compares versions with distutils at import.
    quiet = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    finished = subprocess.run([sys.executable, *quiet, "-c", program], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


# kmedoids


@pytest.mark.parametrize("make", [samples, lambda: np.repeat(samples(20), 5, axis=0), lambda: samples(4, 3)])
def test_one_distance_matrix_gives_the_medoids_of_scikit_learn_extra_for_every_k(make: object) -> None:
    assert callable(make)
    x = make()
    with threadpool_limits(1):
        distances = clustering.pairwise_distances(x)
        distances.flags.writeable = False
        for k in (1, 2, 3, 5, 20):
            if k < len(x):
                oracle = KMedoids(n_clusters=k, metric="euclidean", method="alternate", init="heuristic").fit(x)
                medoids = clustering.kmedoids(distances, k)
                assert medoids.dtype == np.int64
                np.testing.assert_array_equal(medoids, oracle.medoid_indices_)


def test_distances_are_those_of_scikit_learn() -> None:
    x = samples()
    with threadpool_limits(1):
        distances = clustering.pairwise_distances(x)
        assert distances.dtype == np.float32
        np.testing.assert_array_equal(distances, euclidean_distances(x))
    np.testing.assert_array_equal(distances.diagonal(), 0)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_kmedoids_of_no_more_than_k_samples_is_all_samples(n: int) -> None:
    np.testing.assert_array_equal(clustering.kmedoids(clustering.pairwise_distances(samples(n)), 5), np.arange(n))


def test_the_medoid_of_one_cluster_has_the_least_sum_of_distances() -> None:
    x = samples()
    distances = clustering.pairwise_distances(x)
    np.testing.assert_array_equal(clustering.kmedoids(distances, 1), [distances.sum(axis=1).argmin()])


def test_medoids_of_permuted_and_scaled_samples() -> None:
    x = samples()
    order = np.random.default_rng(0).permutation(len(x))
    medoids = clustering.kmedoids(clustering.pairwise_distances(x), 5)
    permuted = clustering.kmedoids(clustering.pairwise_distances(x[order]), 5)
    np.testing.assert_array_equal(np.sort(order[permuted]), np.sort(medoids))
    scaled = clustering.kmedoids(clustering.pairwise_distances(x * np.float32(4)), 5)
    np.testing.assert_array_equal(scaled, medoids)


def test_scikit_learn_extra_is_loaded_only_when_needed() -> None:
    program = "import sys, imprint_sweep.stages.generation.clustering; print('sklearn_extra' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"


@pytest.mark.parametrize(
    "failure", ["raise ImportError('no such file')", "raise ValueError('numpy.dtype size changed')", None]
)
def test_the_error_names_the_build_that_mends_it(
    failure: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn_extra"]:
        monkeypatch.delitem(sys.modules, name)
    if failure is None:
        monkeypatch.setitem(sys.modules, "sklearn_extra", None)  # what Python holds of a module that is missing
    else:
        (tmp_path / "sklearn_extra").mkdir()
        (tmp_path / "sklearn_extra" / "__init__.py").write_text(failure)
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StageError, match=r"--no-binary scikit-learn-extra scikit-learn-extra$") as caught:
        clustering.kmedoids(np.zeros((3, 3), dtype=np.float32), 2)
    assert failure is None or failure.split("'")[1] in str(caught.value)


# both


def test_memory_maps_are_accepted_and_left(tmp_path: Path) -> None:
    x = samples(50)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with threadpool_limits(1):
        assert_same(clustering.kmeans(mapped, 4, 0), clustering.kmeans(x, 4, 0))
        np.testing.assert_array_equal(clustering.pairwise_distances(mapped), clustering.pairwise_distances(x))
    np.testing.assert_array_equal(mapped, samples(50))
    np.testing.assert_array_equal(x, samples(50))
