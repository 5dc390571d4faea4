"""k-medoids: scikit-learn-extra on the data itself as oracle; threads; duplicates."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics.pairwise import euclidean_distances
from sklearn_extra.cluster import KMedoids
from threadpoolctl import threadpool_limits

from imprint_sweep.errors import StageError
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
                medoids = kmedoids.kmedoids(distances, k)
                assert medoids.dtype == np.int64
                np.testing.assert_array_equal(medoids, oracle.medoid_indices_)


def test_distances_are_those_of_scikit_learn() -> None:
    x = samples()
    with threadpool_limits(1):
        distances = kmedoids.pairwise_distances(x)
        assert distances.dtype == np.float32
        np.testing.assert_array_equal(distances, euclidean_distances(x))
    np.testing.assert_array_equal(distances.diagonal(), 0)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_kmedoids_of_no_more_than_k_samples_is_all_samples(n: int) -> None:
    np.testing.assert_array_equal(kmedoids.kmedoids(kmedoids.pairwise_distances(samples(n)), 5), np.arange(n))


def test_the_medoid_of_one_cluster_has_the_least_sum_of_distances() -> None:
    x = samples()
    distances = kmedoids.pairwise_distances(x)
    np.testing.assert_array_equal(kmedoids.kmedoids(distances, 1), [distances.sum(axis=1).argmin()])


def test_medoids_of_permuted_and_scaled_samples() -> None:
    x = samples()
    order = np.random.default_rng(0).permutation(len(x))
    medoids = kmedoids.kmedoids(kmedoids.pairwise_distances(x), 5)
    permuted = kmedoids.kmedoids(kmedoids.pairwise_distances(x[order]), 5)
    np.testing.assert_array_equal(np.sort(order[permuted]), np.sort(medoids))
    scaled = kmedoids.kmedoids(kmedoids.pairwise_distances(x * np.float32(4)), 5)
    np.testing.assert_array_equal(scaled, medoids)


def test_scikit_learn_extra_is_loaded_only_when_needed() -> None:
    program = "import sys, imprint_sweep.imprinting.gen.kmedoids; print('sklearn_extra' in sys.modules)"
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
        kmedoids.kmedoids(np.zeros((3, 3), dtype=np.float32), 2)
    assert failure is None or failure.split("'")[1] in str(caught.value)


def test_worker_threads_limited_to_one_give_the_bits_of_the_main_thread() -> None:
    jobs = [samples(1200, 96, seed) for seed in range(3)]
    with threadpool_limits(1):
        expected = [kmedoids.pairwise_distances(x) for x in jobs]
        with ThreadPoolExecutor(3, initializer=threadpool_limits, initargs=(1,)) as pool:
            found = list(pool.map(kmedoids.pairwise_distances, jobs))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_duplicates_warn_in_no_thread_of_a_run() -> None:
    program = """
import warnings
import numpy as np
from imprint_sweep.engine.workers import workers
from imprint_sweep.imprinting.gen import kmedoids
x = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
filters = list(warnings.filters)
with workers(4) as crew:
    list(crew.map(lambda k: kmedoids.kmedoids(kmedoids.pairwise_distances(x), k), [5] * 20))
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
        np.testing.assert_array_equal(kmedoids.pairwise_distances(mapped), kmedoids.pairwise_distances(x))
    np.testing.assert_array_equal(mapped, samples(50))
    np.testing.assert_array_equal(x, samples(50))


def test_samples_beyond_float32_are_a_sentence() -> None:
    with pytest.raises(StageError, match=r"gen=kmedoids computes in float32, .* use norm.pre=l2"):
        kmedoids.pairwise_distances(samples() * np.float32(1e20))
    assert np.isfinite(kmedoids.pairwise_distances(samples() * np.float32(1e17))).all()
