"""k-means: scikit-learn on the data itself as oracle; threads; duplicates."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from imprint_sweep.imprinting.gen import kmeans
from imprint_sweep.imprinting.gen.kmeans import Clustering
from imprint_sweep.imprinting.gen.mean import mean

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


@pytest.mark.parametrize(("k", "seed"), [(1, 0), (2, 1), (5, 2), (20, 123)])
def test_kmeans_is_scikit_learns(k: int, seed: int) -> None:
    x = samples()
    with threadpool_limits(1):
        found = kmeans.kmeans(x, k, seed)
        oracle = KMeans(n_clusters=k, random_state=seed).fit(x)
    assert found.centers.dtype == np.float32
    assert found.assignment.dtype == np.int32
    np.testing.assert_array_equal(found.centers, oracle.cluster_centers_)
    np.testing.assert_array_equal(found.assignment, oracle.labels_)


@pytest.mark.parametrize(("seed", "same"), [(-1, 2**32 - 1), (2**32, 0), (2**63 - 1, (2**63 - 1) % 2**32)])
def test_any_integer_is_a_seed(seed: int, same: int) -> None:
    x = samples(60, 8)
    with threadpool_limits(1):
        assert_same(kmeans.kmeans(x, 4, seed), kmeans.kmeans(x, 4, same))


def test_seeds_differ_and_global_ones_do_not_matter() -> None:
    x = samples(n=500)
    with threadpool_limits(1):
        np.random.seed(0)  # noqa: NPY002
        one = kmeans.kmeans(x, 20, 0)
        np.random.seed(1)  # noqa: NPY002
        assert_same(kmeans.kmeans(x, 20, 0), one)
        assert not np.array_equal(kmeans.kmeans(x, 20, 1).centers, one.centers)


def test_each_center_is_the_mean_of_its_samples() -> None:
    x = samples()
    found = kmeans.kmeans(x, 6, 0)
    for cluster, center in enumerate(found.centers):
        np.testing.assert_allclose(center, x[found.assignment == cluster].mean(axis=0), rtol=1e-4, atol=1e-5)


def test_one_cluster_is_the_mean() -> None:
    x = samples()
    np.testing.assert_allclose(kmeans.kmeans(x, 1, 0).centers, mean(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_kmeans_of_no_more_than_k_samples_is_the_samples(n: int) -> None:
    x = samples(n)
    found = kmeans.kmeans(x, 5, 0)
    np.testing.assert_array_equal(found.centers, x)
    np.testing.assert_array_equal(found.assignment, np.arange(n))
    assert found.assignment.dtype == np.int32


def test_kmeans_of_few_distinct_samples_finds_them() -> None:
    distinct = samples(3)
    x = np.repeat(distinct, 10, axis=0)
    found = kmeans.kmeans(x, 5, 0)
    assert found.centers.shape == (5, x.shape[1])
    assert np.isfinite(found.centers).all()
    np.testing.assert_allclose(found.centers[found.assignment], x, rtol=1e-5, atol=1e-6)
    assert len(np.unique(found.assignment)) == 3


def test_zero_vectors_form_a_cluster() -> None:
    x = np.concatenate([np.zeros((10, 4), np.float32), np.full((10, 4), 3, np.float32)])
    found = kmeans.kmeans(x, 2, 0)
    np.testing.assert_allclose(np.sort(found.centers[:, 0]), [0, 3], atol=1e-6)


def test_kmeans_scales_by_powers_of_two() -> None:
    x = samples()
    with threadpool_limits(1):
        found, scaled = kmeans.kmeans(x, 5, 0), kmeans.kmeans(x * np.float32(8), 5, 0)
    np.testing.assert_array_equal(scaled.assignment, found.assignment)
    np.testing.assert_array_equal(scaled.centers, found.centers * np.float32(8))


def test_worker_threads_limited_to_one_give_the_bits_of_the_main_thread() -> None:
    jobs = [(samples(1200, 96, seed), k, seed) for seed in range(3) for k in (3, 20)]
    with threadpool_limits(1):
        expected = [kmeans.kmeans(*job) for job in jobs]
        with ThreadPoolExecutor(3, initializer=threadpool_limits, initargs=(1,)) as pool:
            found = list(pool.map(lambda job: kmeans.kmeans(*job), jobs))
        for one, other in zip(expected, found, strict=True):
            assert_same(one, other)


def test_duplicates_warn_in_no_thread_of_a_run() -> None:
    program = """
import warnings
import numpy as np
from imprint_sweep.engine.workers import workers
from imprint_sweep.imprinting.gen import kmeans
x = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
filters = list(warnings.filters)
with workers(4) as crew:
    for _, found in crew.map(lambda seed: kmeans.kmeans(x, 5, seed), range(100)):
        assert len(set(found.assignment)) == 3
assert warnings.filters == filters
"""
    # scikit-learn-extra compares versions with distutils at import.
    quiet = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    finished = subprocess.run([sys.executable, *quiet, "-c", program], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_memory_maps_are_accepted_and_left(tmp_path: Path) -> None:
    x = samples(50)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with threadpool_limits(1):
        assert_same(kmeans.kmeans(mapped, 4, 0), kmeans.kmeans(x, 4, 0))
    np.testing.assert_array_equal(mapped, samples(50))
    np.testing.assert_array_equal(x, samples(50))
