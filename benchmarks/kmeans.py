"""How fast the batch k-means is, and how often it agrees with scikit-learn.

Run from a checkout, on embeddings of a class of about 6,000 x 1280, made once and named by their file::

    python scripts/embed.py task=fashion_mnist model.image_size=96
    python benchmarks/kmeans.py outputs/embeddings/.../fashion_mnist-train.safetensors
    python benchmarks/kmeans.py FILE --part agreement --seeds 6 --classes 3

*speed* fits one class for two lists of k, three seeds each, by scikit-learn one after another and in a batch,
alternating, one thread, five times; times are of the process's CPU, so that a busy machine stretches them less. The
rate of products is that of a large square float32 one, measured between.

*agreement* counts clusterings identical to scikit-learn's by (n, k), beside scikit-learn's with itself under another
kernel of OpenBLAS, and names where each fit that differs first does: at the draw of a centre, or at a label, with the
relative difference of the two squared distances that it hangs on.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits

from imprint_sweep.embeddings.cache import open_entry
from imprint_sweep.imprinting.kmeans.batch import TOLERANCE, KMeansFit, batch_kmeans
from imprint_sweep.imprinting.kmeans.lloyd import LloydFit, lloyd
from imprint_sweep.imprinting.kmeans.seeding import plus_plus
from imprint_sweep.imprinting.kmeans.squared_distances import squared_lengths
from measuring import missed

SEEDS = (17121997, 123987, 12412312)
FULL = [(k, seed) for k in range(2, 16) for seed in SEEDS]
SOME = [(k, seed) for k in (2, 3, 5, 10, 20) for seed in SEEDS]
SIZES = (50, 200, 1000, 6000)
CLUSTERS = (2, 3, 5, 10, 20, 50)
OTHER_KERNEL = "Haswell"
"""Of OpenBLAS; scikit-learn's own is that of the machine."""
BARS = {"small": 99.5, "k <= 20": 92.0, "k = 50": 88.0}

Samples = NDArray[np.float32]


def main() -> None:
    """Run the benchmark and print its figures; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", type=Path, help="file of embeddings")
    parser.add_argument("--part", choices=["speed", "agreement", "all"], default="all")
    parser.add_argument("--repeats", type=int, default=5, help="of the speed")
    parser.add_argument("--seeds", type=int, default=6, help="of each (n, k, class) of the agreement")
    parser.add_argument("--classes", type=int, default=10, help="of the agreement")
    parser.add_argument("--oracle", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    entry = open_entry(arguments.entry)
    classes = [entry.features[entry.labels == label] for label in range(arguments.classes)]
    with threadpool_limits(1):
        if arguments.oracle is not None:
            _write_oracle(classes, arguments.seeds, arguments.oracle)
            return
        n_missed = 0
        if arguments.part != "agreement":
            n_missed += speed(classes[0], arguments.repeats)
        if arguments.part != "speed":
            with tempfile.TemporaryDirectory(prefix="imprint-benchmark-") as folder:
                n_missed += agreement(classes, arguments.seeds, Path(folder))
    sys.exit(1 if n_missed else 0)


# speed


def speed(x: Samples, repeats: int) -> int:
    """Print ratios, medians over repeats; returns how many bars are missed."""
    print(f"{len(x):,} x {x.shape[1]:,}, load {os.getloadavg()[0]:.1f}")
    batch_kmeans(x[:300], FULL)  # compiles
    n_missed = 0
    for name, fits, bar in (("k = 2..15", FULL, 3.5), ("k = 2, 3, 5, 10, 20", SOME, 2.8)):
        theirs, ours, rates = [], [], []
        found: list[KMeansFit] = []
        for _ in range(repeats):
            theirs.append(_seconds(partial(_one_by_one, x, fits)))
            rates.append(_gemm_rate())
            start = time.process_time()
            found = batch_kmeans(x, fits)
            ours.append(time.process_time() - start)
        rate, seconds = statistics.median(rates), statistics.median(ours)
        all_pairs = sum(len(fit.centers) * fit.iterations for fit in found)
        products = 2.0 * x.size * all_pairs / rate
        share = sum(fit.products for fit in found) / (len(x) * all_pairs)
        ratio = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
        print(
            f"{name}: scikit-learn {statistics.median(theirs):.2f} s, batch {seconds:.2f} s; {rate / 1e9:.0f} GFLOP/s; "
            f"all products would take {products:.2f} s, {share:.1%} of them were computed"
        )
        n_missed += missed(f"{name}, times faster", ratio, bar, at_least=True)
        if fits is FULL:
            n_missed += missed(f"{name}, products / (n d sum(k x iterations))", share, 0.75)
            n_missed += missed(
                f"{name}, time / time of three quarters of the products", seconds / products / 0.75, 1.35
            )
    return n_missed


def _seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


def _one_by_one(x: Samples, fits: Sequence[tuple[int, int]]) -> None:
    for fit in fits:
        oracle(x, *fit)


def _gemm_rate() -> float:
    """Operations a second of a large float32 product."""
    a = np.random.default_rng(0).random((2048, 2048), np.float32)
    return float(2.0 * 2048**3 / min(_seconds(partial(np.matmul, a, a)) for _ in range(4)))


def _lloyd(x: Samples, fits: Sequence[tuple[int, int]], most: int = 300) -> list[LloydFit]:
    centred = x - x.mean(axis=0)
    squares = squared_lengths(centred)
    starts = plus_plus(centred, squares, fits)
    return lloyd(centred, squares, starts, float(np.mean(np.var(x, axis=0)) * TOLERANCE), most)


def oracle(x: Samples, k: int, seed: int, **options: Any) -> KMeans:
    """scikit-learn's fit."""
    return KMeans(n_clusters=k, random_state=seed, **options).fit(x)


# agreement


def agreement(classes: Sequence[Samples], seeds: int, folder: Path) -> int:
    """Print the table, and where fits that differ first do; returns how many bars are missed."""
    file = folder / "oracle.npz"
    command = [sys.executable, *sys.argv, "--oracle", str(file)]
    subprocess.run(command, check=True, env={**os.environ, "OPENBLAS_CORETYPE": OTHER_KERNEL})
    other = np.load(file)
    differences: list[float] = []
    lines: list[str] = []
    reached: dict[str, list[bool]] = {name: [] for name in BARS}
    print("     n   k   fits   identical to scikit-learn   scikit-learn to itself")
    for n in SIZES:
        same: dict[int, list[bool]] = {}
        itself: dict[int, list[bool]] = {}
        for number, rows in enumerate(classes):
            x = _sample(rows, n, number)
            fits = _fits(n, seeds)
            for (k, seed), found in zip(fits, batch_kmeans(x, fits), strict=True):
                expected = oracle(x, k, seed)
                equal = np.array_equal(found.assignment, expected.labels_)
                same.setdefault(k, []).append(equal)
                itself.setdefault(k, []).append(np.array_equal(other[_name(n, number, k, seed)], expected.labels_))
                theirs = _inertia(x, expected.cluster_centers_, expected.labels_)
                differences.append(_inertia(x, found.centers, found.assignment) / theirs - 1.0)
                if not equal:
                    lines.append(f"class {number}, n = {n}, k = {k}, seed {seed}: {_first_difference(x, k, seed)}")
        for k, equals in same.items():
            reached["small" if n <= 1000 else "k <= 20" if k <= 20 else "k = 50"] += equals
            print(f"{n:6} {k:3} {len(equals):6} {np.mean(equals):27.1%} {np.mean(itself[k]):24.1%}", flush=True)
    print(*lines, sep="\n")
    n_missed = 0
    for name, bar in BARS.items():
        n_missed += missed(f"identical, {name}, %", 100.0 * float(np.mean(reached[name])), bar, at_least=True)
    mean = float(np.mean(np.abs(differences)))
    return n_missed + missed("mean absolute relative difference of inertia, %", 100.0 * mean, 0.05)


def _fits(n: int, seeds: int) -> list[tuple[int, int]]:
    return [(k, seed) for k in CLUSTERS if k < n for seed in range(seeds)]


def _sample(rows: Samples, n: int, number: int) -> Samples:
    order = np.random.default_rng(number).permutation(len(rows))[:n]
    return np.ascontiguousarray(rows[np.sort(order)])


def _name(n: int, number: int, k: int, seed: int) -> str:
    return f"{n}-{number}-{k}-{seed}"


def _write_oracle(classes: Sequence[Samples], seeds: int, file: Path) -> None:
    labels = {}
    for n in SIZES:
        for number, rows in enumerate(classes):
            x = _sample(rows, n, number)
            for k, seed in _fits(n, seeds):
                labels[_name(n, number, k, seed)] = oracle(x, k, seed).labels_
    np.savez(file, **labels)


def _inertia(x: Samples, centers: Samples, labels: NDArray[np.int32]) -> float:
    return float(((x.astype(np.float64) - centers.astype(np.float64)[labels]) ** 2).sum())


def _first_difference(x: Samples, k: int, seed: int) -> str:
    centred = x - x.mean(axis=0)
    (ours,) = plus_plus(centred, squared_lengths(centred), [(k, seed)])
    _, theirs = kmeans_plusplus(centred, k, random_state=seed)
    if not np.array_equal(ours, theirs):
        return f"draw of centre {int((ours != theirs).argmax())}"
    low, high = 1, 300  # labels after so many iterations differ first: by halving
    while low < high:
        middle = (low + high) // 2
        if np.array_equal(_lloyd(x, [(k, seed)], middle)[0].labels, oracle(x, k, seed, max_iter=middle).labels_):
            low = middle + 1
        else:
            high = middle
    (mine,) = _lloyd(x, [(k, seed)], low)
    labels = oracle(x, k, seed, max_iter=low).labels_
    sample = int((mine.labels != labels).argmax())
    row = centred[sample].astype(np.float64)
    near, far = (
        float(((row - mine.centers[label].astype(np.float64)) ** 2).sum())
        for label in (mine.labels[sample], labels[sample])
    )
    return f"label {sample} after iteration {low}, squared distances {far / near - 1.0:.1e} apart"


if __name__ == "__main__":
    main()
