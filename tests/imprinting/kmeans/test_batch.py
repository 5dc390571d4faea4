"""The batch k-means: scikit-learn as oracle, a plain reference for its bits, and everything they must not depend on."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from imprint_sweep.imprinting.kmeans import lloyd as lloyd_module
from imprint_sweep.imprinting.kmeans.batch import KMeansFit, batch_kmeans
from imprint_sweep.imprinting.kmeans.lloyd import lloyd
from imprint_sweep.imprinting.kmeans.nearest_centers import error_factors
from imprint_sweep.imprinting.kmeans.seeding import plus_plus, trials
from imprint_sweep.imprinting.kmeans.squared_distances import own_distances, squared_lengths

# pytest replaces the process's filters.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Number of distinct clusters:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Cluster .* is empty:UserWarning"),
]

Samples = NDArray[np.float32]
JOBS = [(k, seed) for k in (1, 2, 3, 5, 7, 8, 20, 50) for seed in (0, 1, 123)]


def samples(n: int = 300, d: int = 32, seed: int = 0) -> Samples:
    """Six modes behind a ReLU."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(0.3, 1.5, (6, d))
    return np.maximum(centers[rng.integers(6, size=n)] + rng.normal(size=(n, d)), 0).astype(np.float32)


def digits() -> Samples:
    """Real ones: 1,797 x 64, many of whose distances are equal."""
    return np.asarray(load_digits().data, np.float32)


def oracle(x: Samples, k: int, seed: int, **options: object) -> KMeans:
    with threadpool_limits(1):
        return KMeans(n_clusters=k, random_state=seed, **options).fit(x)


def assert_same(found: Sequence[KMeansFit], expected: Sequence[KMeansFit]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.centers, other.centers)
        np.testing.assert_array_equal(one.assignment, other.assignment)
        assert one.iterations == other.iterations


def inertia(x: Samples, fit: KMeansFit) -> float:
    return float(((x.astype(np.float64) - fit.centers.astype(np.float64)[fit.assignment]) ** 2).sum())


# what it computes


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(samples(), id="narrow"),
        pytest.param(samples(1000, 130), id="odd width"),
        pytest.param(samples(500, 1), id="one feature"),
        pytest.param(samples(200, 2), id="two features"),
        pytest.param(samples(51, 200), id="hardly more than k"),
        pytest.param(samples(300, 40) - np.float32(100), id="far from the origin"),
        pytest.param(np.hstack([samples(), np.full((300, 5), 3, np.float32)]), id="constant features"),
        pytest.param(np.asfortranarray(samples()), id="columns first"),
    ],
)
def test_fits_are_scikit_learns(x: Samples) -> None:
    for (k, seed), found in zip(JOBS, batch_kmeans(x, JOBS), strict=True):
        expected = oracle(x, k, seed)
        np.testing.assert_array_equal(found.assignment, expected.labels_)
        np.testing.assert_allclose(found.centers, expected.cluster_centers_, rtol=1e-5, atol=1e-5)
        assert found.iterations == expected.n_iter_
        assert found.centers.dtype == np.float32
        assert found.assignment.dtype == np.int32
        assert found.centers.flags.c_contiguous


def test_fits_of_real_samples_are_scikit_learns() -> None:
    x = digits()[:1000]
    jobs = [(k, seed) for k in (2, 5, 10, 20) for seed in range(10)]
    same = [
        np.array_equal(found.assignment, oracle(x, k, seed).labels_)
        for (k, seed), found in zip(jobs, batch_kmeans(x, jobs), strict=True)
    ]
    assert np.mean(same) >= 0.9  # pixels are whole numbers: samples lie exactly between centres, rounding decides


@pytest.mark.parametrize("x", [samples(700, 96), digits(), samples(400, 1)], ids=["modes", "digits", "one feature"])
@pytest.mark.parametrize(("dense", "few"), [(0.1, 32), (-1.0, 0), (2.0, 0)], ids=["as it is", "dense", "sparse"])
def test_bits_are_those_of_the_plain_algorithm(
    x: Samples, dense: float, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lloyd_module, "_DENSE", dense)
    monkeypatch.setattr(lloyd_module, "_FEW", few)
    jobs = [(1, 0), (2, 1), (7, 2), (20, 3), (60, 4)]
    assert_same(batch_kmeans(x, jobs), [reference(x, *job) for job in jobs])


def reference(x: Samples, k: int, seed: int) -> KMeansFit:
    """The definition, one fit by itself: every distance, in float64 in the fixed order."""
    mean = x.mean(axis=0)
    centred = x - mean
    centers = centred[reference_start(centred, k, seed)]
    labels = np.full(len(x), -1)
    sums, counts = np.zeros((k, x.shape[1])), np.zeros(k)
    iterations = 0
    for iterations in range(1, 301):  # noqa: B007
        new = all_distances(centred, centers).argmin(axis=1)
        for sample in np.flatnonzero(new != labels):
            for cluster, sign in ((labels[sample], -1), (new[sample], 1)):
                if cluster >= 0:
                    sums[cluster] += sign * centred[sample].astype(np.float64)
                    counts[cluster] += sign
        same, labels = np.array_equal(new, labels), new
        assert counts.all(), "not for empty clusters"
        old, centers = centers, (sums / counts[:, None]).astype(np.float32)
        if same:
            break
        if own_distances(old, centers, np.arange(k, dtype=np.int32)).sum() <= 1e-4 * x.var(axis=0).mean():
            labels = all_distances(centred, centers).argmin(axis=1)
            break
    return KMeansFit(centers + mean, labels.astype(np.int32), iterations, 0)


def reference_start(x: Samples, k: int, seed: int) -> list[int]:
    random = np.random.RandomState(seed)
    weights = np.ones(len(x), np.float32)
    chosen = [int(random.choice(len(x), p=weights / weights.sum()))]
    closest = all_distances(x, x[chosen])[:, 0].astype(np.float32)
    while len(chosen) < k:
        values = random.uniform(size=trials(k)) * np.float64(np.float32(sum(closest.tolist())))
        candidates = np.minimum(np.searchsorted(np.cumsum(closest), values), len(x) - 1)
        left = np.minimum(closest, all_distances(x, x[candidates]).astype(np.float32).T)
        best = int(np.argmin([np.float32(sum(row.tolist())) for row in left]))
        closest = left[best]
        chosen.append(int(candidates[best]))
    return chosen


def all_distances(x: Samples, centers: Samples) -> NDArray[np.float64]:
    """(n, k) squared distances in the fixed order."""
    return np.stack([own_distances(x, centers, np.full(len(x), j, np.int32)) for j in range(len(centers))], axis=1)


def test_the_fixed_order_is_a_sum() -> None:
    x, y = samples(50, 131), samples(50, 131, seed=1)
    expected = ((x.astype(np.float64) - y.astype(np.float64)) ** 2).sum(axis=1)
    np.testing.assert_allclose(own_distances(x, y, np.arange(50, dtype=np.int32)), expected, rtol=1e-13)
    np.testing.assert_allclose(squared_lengths(x), (x.astype(np.float64) ** 2).sum(axis=1), rtol=1e-13)


@pytest.mark.parametrize("k", [2, 3, 7, 8, 20, 21])
def test_first_centers_are_scikit_learns_alone_and_together(k: int) -> None:
    x = samples(500, 48)
    x -= x.mean(axis=0)
    jobs = [(size, seed) for size in range(1, k + 1) for seed in (0, 1)]
    together = plus_plus(x, squared_lengths(x), jobs)
    for job, found in zip(jobs, together, strict=True):
        np.testing.assert_array_equal(found, plus_plus(x, squared_lengths(x), [job])[0])
        with threadpool_limits(1):
            _, expected = kmeans_plusplus(x, job[0], random_state=job[1])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_no_more_than_k_samples_are_the_centers(n: int) -> None:
    x = samples(n)
    for found in batch_kmeans(x, [(5, 0), (n, 1)]):
        np.testing.assert_array_equal(found.centers, x)
        np.testing.assert_array_equal(found.assignment, np.arange(n))
        assert found.assignment.dtype == np.int32


def test_one_sample_less_than_clusters_and_one_more() -> None:
    x = samples(20)
    less, equal, more = batch_kmeans(x, [(21, 0), (20, 0), (19, 0)])
    assert len(less.centers) == len(equal.centers) == 20
    np.testing.assert_array_equal(more.assignment, oracle(x, 19, 0).labels_)


def test_no_fits_and_the_same_fit_twice() -> None:
    x = samples()
    assert batch_kmeans(x, []) == []
    one, other, third = batch_kmeans(x, [(3, 0), (4, 0), (3, 2**32)])
    assert_same([one], [third])
    assert len(other.centers) == 4


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_iterations_are_limited_as_in_scikit_learn(iterations: int) -> None:
    x = samples()
    centred = x - x.mean(axis=0)
    squares = squared_lengths(centred)
    tolerance = float(np.mean(np.var(x, axis=0)) * 1e-4)
    fits = lloyd(centred, squares, plus_plus(centred, squares, JOBS), tolerance, iterations)
    for (k, seed), found in zip(JOBS, fits, strict=True):
        expected = oracle(x, k, seed, max_iter=iterations)
        np.testing.assert_array_equal(found.labels, expected.labels_)
        assert found.iterations == expected.n_iter_


# duplicates and empty clusters


@pytest.mark.parametrize(("distinct", "k"), [(1, 2), (1, 5), (3, 3), (3, 5), (7, 12), (20, 20), (20, 21)])
def test_few_distinct_samples_are_found(distinct: int, k: int) -> None:
    x = np.repeat(samples(distinct), 10, axis=0)
    for seed, found in enumerate(batch_kmeans(x, [(k, seed) for seed in range(5)])):
        expected = oracle(x, k, seed)
        assert found.centers.shape == (k, x.shape[1])
        assert np.isfinite(found.centers).all()
        assert len(np.unique(found.assignment)) == len(np.unique(expected.labels_)) == min(distinct, k)
        np.testing.assert_allclose(found.centers[found.assignment], x, rtol=1e-5, atol=1e-6)


def test_duplicates_among_others() -> None:
    x = np.concatenate([samples(200), np.repeat(samples(5, seed=1), 20, axis=0)])
    for (k, seed), found in zip(JOBS, batch_kmeans(x, JOBS), strict=True):
        np.testing.assert_array_equal(found.assignment, oracle(x, k, seed).labels_)


@pytest.mark.parametrize(
    "starts",
    [
        pytest.param([3, 3, 50], id="one of three"),
        pytest.param([3, 7, 3, 7], id="two of four"),
        pytest.param([9, 9, 9, 9, 9, 9], id="all but one"),
        pytest.param([40, 2, 2, 2, 17, 40, 61], id="some"),
    ],
)
@pytest.mark.parametrize("repeats", [1, 3])
def test_empty_clusters_are_relocated_as_in_scikit_learn(starts: list[int], repeats: int) -> None:
    x = np.repeat(samples(90, 20, seed=4), repeats, axis=0)
    mean = x.mean(axis=0)
    centred = x - mean
    tolerance = float(np.mean(np.var(x, axis=0)) * 1e-4)
    (found,) = lloyd(centred, squared_lengths(centred), [np.array(starts)], tolerance)
    expected = oracle(x, len(starts), 0, init=x[starts], n_init=1)
    if repeats == 1 or np.array_equal(found.labels, expected.labels_):
        np.testing.assert_array_equal(found.labels, expected.labels_)
        np.testing.assert_allclose(found.centers + mean, expected.cluster_centers_, rtol=1e-5, atol=1e-5)
        assert found.iterations == expected.n_iter_
    fit = KMeansFit(found.centers + mean, found.labels, found.iterations, 0)
    assert len(np.unique(found.labels)) == len(starts)
    assert inertia(x, fit) <= 1.25 * expected.inertia_


def test_an_empty_cluster_that_stays_so_is_where_the_largest_is() -> None:
    x = np.repeat(np.eye(3, dtype=np.float32), [5, 9, 4], axis=0)
    centred = x - x.mean(axis=0)
    (found,) = lloyd(centred, squared_lengths(centred), [np.array([0, 5, 14, 14])], 0.0)
    np.testing.assert_array_equal(found.labels, np.repeat([0, 1, 2], [5, 9, 4]))
    np.testing.assert_array_equal(found.centers[3], found.centers[1])


def test_an_empty_cluster_before_the_largest_is_at_its_sum_as_in_scikit_learn() -> None:
    x = np.repeat(np.eye(3, dtype=np.float32), [4, 8, 4], axis=0)  # every mean is exact, so nothing is far from its own
    starts = [0, 0, 4, 12]
    centred = x - x.mean(axis=0)
    (found,) = lloyd(centred, squared_lengths(centred), [np.array(starts)], 0.0)
    expected = oracle(x, 4, 0, init=x[starts], n_init=1)
    np.testing.assert_array_equal(found.labels, expected.labels_)
    np.testing.assert_array_equal(found.centers + x.mean(axis=0), expected.cluster_centers_)
    np.testing.assert_array_equal(found.centers[1], 8 * found.centers[2])


# what the scale does


@pytest.mark.parametrize("exponent", [-140, -100, -60, -21, -3, 3, 21, 60, 100, 120])
def test_fits_scale_by_powers_of_two(exponent: int) -> None:
    x = np.round(samples(), 3)  # halves of the least numbers must stay numbers
    if exponent < -126:
        x = np.round(x)
    jobs = [(2, 0), (5, 1), (20, 2)]
    for found, expected in zip(batch_kmeans(np.ldexp(x, exponent), jobs), batch_kmeans(x, jobs), strict=True):
        np.testing.assert_array_equal(found.assignment, expected.assignment)
        assert found.iterations == expected.iterations
        if exponent > -100:
            np.testing.assert_array_equal(found.centers, np.ldexp(expected.centers, exponent))


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1e9, 1e15])
def test_large_and_small_samples_are_clustered_as_by_scikit_learn(scale: float) -> None:
    x = (samples() * scale).astype(np.float32)
    for (k, seed), found in zip(JOBS, batch_kmeans(x, JOBS), strict=True):
        np.testing.assert_array_equal(found.assignment, oracle(x, k, seed).labels_)


def test_samples_of_very_different_lengths() -> None:
    x = samples(400, 24)
    x *= np.float32(10.0) ** np.random.default_rng(0).integers(-30, 3, (400, 1)).astype(np.float32)
    jobs = [(2, 0), (7, 1), (20, 2)]
    assert_same(batch_kmeans(x, jobs), [reference(x, *job) for job in jobs])


@pytest.mark.parametrize("d", [1, 3, 64, 1280])
def test_a_product_is_within_its_bound(d: int) -> None:
    rng = np.random.default_rng(0)
    factors = error_factors(d).astype(np.float64)
    for scale in (1e-25, 1e-10, 1.0):
        # Terms that cancel, in an order that rounds badly: the bound is of any order, so of this one.
        x = (rng.normal(size=(200, d)) * rng.choice([1.0, scale], (200, d))).astype(np.float32)
        c = (np.sort(rng.normal(size=(200, d)), axis=1) * scale).astype(np.float32)
        product = np.zeros(200, np.float32)
        for feature in range(d):
            product += x[:, feature] * c[:, feature]
        xx, cc = squared_lengths(x), squared_lengths(c)
        value = (xx.astype(np.float32) + cc.astype(np.float32)) - np.float32(2) * product
        exact = own_distances(x, c, np.arange(200, dtype=np.int32))
        bound = factors[0] * np.sqrt(xx * cc) + factors[1] * (xx + cc) + factors[2]
        assert (np.abs(value - exact) <= bound).all()


# what a fit does not depend on


def test_a_fit_is_the_same_alone_in_any_batch_and_in_any_order() -> None:
    for x in (samples(1500, 96), digits(), np.repeat(samples(30), 7, axis=0)):
        together = batch_kmeans(x, JOBS)
        assert_same([batch_kmeans(x, [job])[0] for job in JOBS], together)
        assert_same(batch_kmeans(x, JOBS[::-1])[::-1], together)
        assert_same(batch_kmeans(x, JOBS[5:11]), together[5:11])


def test_threads_and_global_seeds_do_not_matter() -> None:
    x = samples(1200, 96)
    with threadpool_limits(1):
        np.random.seed(0)  # noqa: NPY002
        expected = batch_kmeans(x, JOBS)
        np.random.seed(1)  # noqa: NPY002
        assert_same(batch_kmeans(x, JOBS), expected)
    with threadpool_limits(2):
        assert_same(batch_kmeans(x, JOBS), expected)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda _: batch_kmeans(x, JOBS), range(3)):
            assert_same(found, expected)


def test_samples_are_left_as_they_are(tmp_path: Path) -> None:
    x = samples(60)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert_same(batch_kmeans(mapped, JOBS), batch_kmeans(x, JOBS))
    np.testing.assert_array_equal(x, samples(60))


DIGEST = """
import hashlib, numpy as np
from imprint_sweep.imprinting.kmeans.batch import batch_kmeans
digest = hashlib.sha256()
for n, d in ((1500, 200), (400, 1), (300, 7)):
    rng = np.random.default_rng(0)
    modes = rng.integers(-8, 9, (6, d))
    x = np.maximum(modes[rng.integers(6, size=n)] * 0.25 + rng.integers(-999, 1000, (n, d)) / 512, 0).astype(np.float32)
    for fit in batch_kmeans(x, [(k, seed) for k in (2, 3, 10, 20, 50) for seed in range(3)]):
        digest.update(fit.centers.tobytes() + fit.assignment.tobytes())
print(digest.hexdigest())
"""
SIMD = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR AVX2 FMA3 X86_V3 X86_V4"
KERNELS = [
    {},
    {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Prescott", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
    {"NPY_DISABLE_CPU_FEATURES": SIMD},
]


@pytest.mark.slow
def test_bytes_are_the_same_on_other_kernels_and_vector_units(tmp_path: Path) -> None:
    digests = []
    for number, variables in enumerate(KERNELS):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / str(number)), **variables}
        command = [sys.executable, "-W", "ignore", "-c", DIGEST]  # NumPy warns of features that it never had
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        digests.append(run.stdout)
    assert len(set(digests)) == 1, list(itertools.zip_longest(KERNELS, digests))
