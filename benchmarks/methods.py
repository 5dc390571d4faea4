"""What the methods beyond the paper cost in a sweep, beside scikit-learn and NumPy: a ratio for each, from one run.

Run from a checkout::

    python benchmarks/methods.py                   # digits: the embedded default, made if it is missing
    python benchmarks/methods.py --repeats 5
    python benchmarks/methods.py --method ranpac   # one of them: lda, class_mahalanobis, ranpac, logistic, softmax

The cells are those of ``+experiment=baselines``: four choices of classes, three seeds. The plain side computes one cell
after another, each distinct computation once, as one would write it with a library: scikit-learn's estimators for lda,
logistic and softmax votes, its Ridge on NumPy's random features for ranpac, NumPy for distances by class. The engine
computes the same cells in one run, as a sweep does, without what is kept on disk.

Both sides have one thread. They alternate, and times are of the process's CPU, so that a busy machine stretches them
less; figures are medians. How many predictions are right on either side stands beside them: they differ where rounding
decides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from imprint_sweep import engine
from imprint_sweep.api.samples import features_of, settings_of
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import SPLITS, Split
from imprint_sweep.grid.cell import Cell
from imprint_sweep.grid.outcome import OK
from tests import oracle, sweeping

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=PLAIN, action="append", help="which; all by default")
    parser.add_argument("--task", default="digits", help="of the experiment's: digits or fashion_mnist")
    parser.add_argument("--repeats", type=int, default=3, help="of each side, alternating")
    parser.add_argument("--outputs", help="the paths.outputs of the embeddings (default: theirs)")
    given = parser.parse_args()
    settings = settings_of(given.outputs)
    request = sweeping.requested(sweeping.tree_of(), "+experiment=baselines", f"task={given.task}")
    methods: dict[str, list[Cell]] = {name: [] for name in given.method or PLAIN}
    for cell in sweeping.cells(request):
        if (name := method(cell)) in methods:
            methods[name].append(cell)
    cells = [cell for of_method in methods.values() for cell in of_method]
    features_of(cells[0].model, cells[0].task, settings)
    splits = {
        split: {dataset: loaded(cells[0], dataset, split, settings) for dataset in cells[0].task.datasets}
        for split in SPLITS
    }
    measure(methods, splits, settings, given.repeats)


def measure(
    methods: Mapping[str, Sequence[Cell]], splits: Mapping[Split, Mapping[str, Any]], settings: Settings, repeats: int
) -> None:
    """Print a line for each method, and one for all of them in one run of the engine."""
    print(f"load {os.getloadavg()[0]:.1f}, float64 matrix products at {gemm():.0f} GFLOP/s; CPU seconds, one thread")
    print(f"{'method':18} {'rows':>5} {'distinct':>8} {'plain':>9} {'engine':>9} {'ratio':>7}   right: plain, engine")
    plain_total = 0.0
    for name, cells in methods.items():
        distinct = list({cell.computation_id(): cell for cell in cells}.values())
        alone = partial(one_by_one, distinct, splits, PLAIN[name])
        plain, together = alternating(alone, partial(in_one_run, cells, distinct, settings), repeats)
        plain_total += plain[0]
        line(name, len(cells), len(distinct), plain, together)
    everything = [cell for cells in methods.values() for cell in cells]
    took = [timed(partial(in_one_run, everything, [], settings))[0] for _ in range(repeats)]
    distinct_in_all = len({cell.computation_id() for cell in everything})
    all_in_one = (statistics.median(took), 0)
    line("all, in one run", len(everything), distinct_in_all, (plain_total, 0), all_in_one)
    print(f"load {os.getloadavg()[0]:.1f}, float64 matrix products at {gemm():.0f} GFLOP/s")


def line(name: str, rows: int, distinct: int, plain: tuple[float, int], together: tuple[float, int]) -> None:
    """Print the figures of a method."""
    right = f"   {plain[1]:,}, {together[1]:,}" if plain[1] else ""
    ratio = plain[0] / together[0]
    print(f"{name:18} {rows:5} {distinct:8} {plain[0]:9.2f} {together[0]:9.2f} {ratio:7.2f}{right}", flush=True)


def alternating(
    first: Callable[[], int], second: Callable[[], int], repeats: int
) -> tuple[tuple[float, int], tuple[float, int]]:
    """The median CPU seconds of two computations, and what they return; both are warm."""
    second()
    found = [(timed(first), timed(second)) for _ in range(repeats)]
    sides = list(zip(*found, strict=True))
    one, other = ((statistics.median(seconds for seconds, _ in side), side[0][1]) for side in sides)
    return one, other


def timed(compute: Callable[[], int]) -> tuple[float, int]:
    """CPU seconds of the process, and the result."""
    start = time.process_time()
    result = compute()
    return time.process_time() - start, result


def gemm() -> float:
    """float64 operations per second of matrix products on one core, in 1e9."""
    a = np.ones((1024, 1024))
    with threadpool_limits(1):
        a @ a
        return 2 * 1024**3 / min(timed(lambda: int((a @ a).size))[0] for _ in range(5)) / 1e9


def method(cell: Cell) -> str:
    """What a cell of the experiment is one of, as the command line of this script calls it."""
    scheme = cell.scheme
    return next((name for name in (scheme.gen, scheme.metric, scheme.weighting) if name in PLAIN), "")


def loaded(cell: Cell, dataset: str, split: Split, settings: Settings) -> oracle.Held:
    """The samples of a split, in memory."""
    features = features_of(cell.model, cell.task, settings)
    labels = [label for label in cell.task.labels if label[0][0] == dataset]
    rows = [np.array(features.rows(split, label)) for label in labels]
    return oracle.Held(np.concatenate(rows), np.repeat([label[0][1] for label in labels], [len(x) for x in rows]))


def in_one_run(cells: Sequence[Cell], counted: Sequence[Cell], settings: Settings) -> int:
    """All cells in the engine; how many predictions of those that are counted are right."""
    wanted = {cell.cell_id for cell in counted}
    right = 0
    for outcome in engine.run(cells, settings.cache, engine.EngineSettings(threads=1, memory_gb=4.0)):
        assert outcome.status == OK, outcome.error
        assert outcome.n_correct is not None
        right += outcome.n_correct * (outcome.cell.cell_id in wanted)
    return right


def one_by_one(cells: Sequence[Cell], splits: Mapping[Split, Mapping[str, Any]], predict: Predict) -> int:
    """Each cell by itself, with a library; how many predictions are right."""
    right = 0
    with threadpool_limits(1):
        for cell in cells:
            shots = oracle.trained_on(cell, splits["train"])
            queries, truth = oracle.queries(cell.task, splits["test"])
            if cell.scheme.norm_inf == "l2":
                queries = oracle.l2(queries)
            x, y = np.concatenate(shots), np.repeat(np.arange(len(shots)), [len(rows) for rows in shots])
            right += int((predict(cell, x, y, queries) == truth).sum())
    return right


# Each as one would write it ------------------------------------------------------------------------------------------


def discriminant(cell: Cell, x: Floats, y: Labels, queries: Floats) -> Labels:
    """Ledoit and Wolf's shrinkage of what is left about the means, then scikit-learn's estimator."""
    x = x.astype(np.float64)
    means = np.stack([x[y == c].mean(axis=0) for c in range(y.max() + 1)])
    shrinkage = ledoit_wolf_shrinkage(x - means[y], assume_centered=True)
    equal = np.full(len(means), 1 / len(means))
    fit = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=equal).fit(x, y)
    return np.asarray(fit.predict(queries.astype(np.float64)))


def by_class(cell: Cell, x: Floats, y: Labels, queries: Floats) -> Labels:
    """FeCAM: the distance from the mean of each class by its own shrunk correlations."""
    distances = []
    for c in range(y.max() + 1):
        samples = x[y == c].astype(np.float64)
        d, covariance = samples.shape[1], np.cov(samples, rowvar=False)
        trace = np.trace(covariance)
        variance, others = trace / d, (covariance.sum() - trace) / (d * (d - 1))
        covariance += variance * np.eye(d) + others * (1 - np.eye(d))
        deviation = np.sqrt(np.diag(covariance))
        away = queries - samples.mean(axis=0)
        distances.append(((away @ np.linalg.inv(covariance / np.outer(deviation, deviation))) * away).sum(axis=1))
    return np.asarray(np.argmin(distances, axis=0))


def random_features(cell: Cell, x: Floats, y: Labels, queries: Floats) -> Labels:
    """Ridge regressions from random features: one for each λ on four fifths of the samples, and that of the best.

    Of ten λ: the seven smallest of the published ones are lost in the rounding of the matrix, and take scikit-learn a
    decomposition each.
    """
    own, rng = dict(cell.scheme.parameters), np.random.default_rng(cell.scheme.seed)
    projection = rng.standard_normal((x.shape[1], int(own["gen.features"])))
    mapped = np.maximum(x.astype(np.float64) @ projection, 0)
    targets, held = np.eye(y.max() + 1)[y], rng.permutation(len(x)) < len(x) // 5

    def fitted(rows: NDArray[np.bool_], ridge: float) -> Ridge:
        return Ridge(alpha=ridge, fit_intercept=False, solver="cholesky").fit(mapped[rows], targets[rows])

    def error(ridge: float) -> float:
        return float(((fitted(~held, ridge).predict(mapped[held]) - targets[held]) ** 2).sum())

    best = fitted(np.ones(len(x), bool), min((10.0**power for power in range(-1, 9)), key=error))
    return np.asarray(best.predict(np.maximum(queries.astype(np.float64) @ projection, 0)).argmax(axis=1))


def logistic(cell: Cell, x: Floats, y: Labels, queries: Floats) -> Labels:
    """scikit-learn's estimator."""
    strength = float(dict(cell.scheme.parameters)["gen.c"])
    fit = LogisticRegression(C=strength, max_iter=1000).fit(x.astype(np.float64), y)
    return np.asarray(fit.predict(queries.astype(np.float64)))


def neighbours(cell: Cell, x: Floats, y: Labels, queries: Floats) -> Labels:
    """scikit-learn's estimator, with weights of our own."""
    temperature = float(dict(cell.scheme.parameters)["agg.temperature"])
    fit = KNeighborsClassifier(
        cell.scheme.m,
        metric=cell.scheme.metric,
        algorithm="brute",
        weights=lambda distances: softmax(-distances / temperature, axis=1),
    ).fit(x, y)
    return np.asarray(fit.predict(queries))


Predict = Callable[[Cell, Floats, Labels, Floats], Labels]
PLAIN: dict[str, Predict] = {
    "lda": discriminant,
    "class_mahalanobis": by_class,
    "ranpac": random_features,
    "logistic": logistic,
    "softmax": neighbours,
}
"""Method -> one cell of it: trained on (n, d) samples of the classes `y`, the class of each query."""


if __name__ == "__main__":
    main()
