"""The plain, obvious computation of one cell: what the engine is tested against, and what its speed is compared with.

Written from the method alone, one cell at a time: scikit-learn and NumPy in float64, no sharing, no representatives, no
float32 filters, nothing of :mod:`imprint_sweep.imprinting`. The only thing it has in common with the engine is
:func:`imprint_sweep.grid.cell.stage_seed`, because keyed draws must be the same draws.

It is plain and not slow on purpose: one cell as a competent researcher would write it, with vectorised NumPy and
blocks of queries, so that all 60,000 x 1280 samples as proxies against 10,000 queries stay below 4 GB.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, softmax
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.covariance import ledoit_wolf, oas, shrunk_covariance
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.metrics.pairwise import euclidean_distances, pairwise_distances
from threadpoolctl import threadpool_limits

from imprint_sweep.grid.cell import Cell, Label, Task, stage_seed
from imprint_sweep.grid.scheme import Scheme

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Map = Callable[[Float64], Float64]
"""Of rows, (n, d)."""


class Samples(Protocol):
    """One split of one dataset: an entry of the embedding cache, or any pair of arrays."""

    @property
    def features(self) -> Float32:
        """(n, d) float32."""

    @property
    def labels(self) -> Int64:
        """(n,) class of each sample, any integers."""


@dataclass(frozen=True)
class Held:
    """Some samples of one split."""

    features: Float32
    labels: Int64


@dataclass(frozen=True)
class Prediction:
    """What one cell says of every query of its task.

    Args:
        truth: (n,) label positions.
        labels: (n,) predicted label positions.
        neighbors: (n, m) indices into all proxies in task order, nearest first; m = 1 under ``max``, all under ``lse``.
        distances: (n, m) float64 distances to them; under inner products the negated product.
        votes: (n, C) float64 vote sums, all zero but one under ``max``; the scores under ``lse``.
    """

    truth: Int64
    labels: Int64
    neighbors: Int64
    distances: Float64
    votes: Float64


@dataclass(frozen=True)
class Scores:
    """The metrics of section 8."""

    n_correct: int
    n_test: int
    f1: tuple[float, ...]
    f1_macro: float
    f1_weighted: float


def run(cell: Cell, train: Mapping[str, Samples], test: Mapping[str, Samples]) -> Scores:
    """One cell from cached embeddings (by dataset) to its metrics."""
    return scores(predict(cell, generate(cell, train), tested_on(cell, train, test), class_maps(cell, train)))


# Sections 2 to 4: from training samples to proxies ------------------------------------------------------------------


def generate(cell: Cell, train: Mapping[str, Samples]) -> list[Float32]:
    """Sections 2 to 4: proxies before NORM_post, one (k_c, d) float32 array per label, in task order."""
    scheme, labels, shots = cell.scheme, cell.task.labels, trained_on(cell, train)
    if scheme.gen in ("least_squares", "k_least_squares"):
        return _least_squares(scheme, shots)
    if scheme.gen == "lda":
        return _discriminant(scheme, shots)
    if scheme.gen == "ranpac":
        return _ranpac(scheme, labels, shots)
    if scheme.gen == "logistic":
        return _logistic(scheme, labels, shots)
    return [_per_class(scheme, label, x) for label, x in zip(labels, shots, strict=True)]


def trained_on(cell: Cell, train: Mapping[str, Samples]) -> list[Float32]:
    """Sections 2 and 3: what GEN sees of each label, in task order."""
    whole = ((label, samples_of(label, train)) for label in cell.task.labels)
    shots = [x[_split(cell.scheme, label, len(x))[0]] for label, x in whole]
    return [l2(x) for x in shots] if cell.scheme.norm_pre == "l2" else shots


def samples_of(label: Label, split: Mapping[str, Samples]) -> Float32:
    """All samples of a label: its parts in order, each in the order of its dataset."""
    return np.concatenate([split[dataset].features[split[dataset].labels == number] for dataset, number in label])


def tested_on(cell: Cell, train: Mapping[str, Samples], test: Mapping[str, Samples]) -> Mapping[str, Samples]:
    """Section 2: the test split, or the training samples that a cell holds out."""
    if cell.scheme.split == "test":
        return test
    held_out = {dataset: np.zeros(len(train[dataset].labels), bool) for dataset in cell.task.datasets}
    for label in cell.task.labels:
        rows = [(dataset, row) for dataset, number in label for row in np.flatnonzero(train[dataset].labels == number)]
        for position in _split(cell.scheme, label, len(rows))[1]:
            dataset, row = rows[position]
            held_out[dataset][row] = True
    return {name: Held(train[name].features[chosen], train[name].labels[chosen]) for name, chosen in held_out.items()}


def _split(scheme: Scheme, label: Label, n: int) -> tuple[Int64, Int64]:
    """The positions of a label's n samples that are trained on, and of those that are held out."""
    shots = np.arange(n)
    if scheme.n_shot is not None:
        rng = np.random.default_rng(stage_seed("n_shot", scheme.seed, label))
        shots = np.sort(rng.permutation(n)[: scheme.n_shot])
    if scheme.split == "test":
        return shots, shots[:0]
    order = np.random.default_rng(stage_seed("validation", scheme.seed, label)).permutation(len(shots))
    fifth = len(shots) // 5
    return shots[np.sort(order[fifth:])], shots[np.sort(order[:fifth])]


def _per_class(scheme: Scheme, label: Label, x: Float32) -> Float32:
    if scheme.gen == "mean":
        mean: Float32 = x.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
        return mean
    k = scheme.k
    if scheme.gen == "all" or k is None or len(x) <= k:
        return x
    if scheme.gen == "random":
        rng = np.random.default_rng(stage_seed("random", scheme.seed, label))
        return x[rng.permutation(len(x))[:k]]
    if scheme.gen == "fps":
        return x[_farthest_points(x, k, np.random.default_rng(stage_seed("fps", scheme.seed, label)))]
    if scheme.gen == "cov_max":
        # The column sums of np.cov(x) over samples as variables, without the n x n matrix that 60,000 samples of a
        # merged label would need.
        centered = x.astype(np.float64) - x.mean(axis=1, dtype=np.float64, keepdims=True)
        column_sums = centered @ centered.sum(axis=0) / (x.shape[1] - 1)
        return x[np.argsort(-column_sums, kind="stable")[:k]]
    if scheme.gen == "kmeans":
        return _kmeans(x, k, scheme.seed)[0]
    if scheme.gen == "kmedoids":
        from sklearn_extra.cluster import KMedoids

        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # says when duplicated samples leave a cluster empty
            kmedoids = KMedoids(k, metric="euclidean", method="alternate", init="heuristic").fit(x)
            medoids: Float32 = x[kmedoids.medoid_indices_]
            return medoids
    raise AssertionError(f"the oracle does not know gen={scheme.gen}")


def _kmeans(x: Float32, k: int, seed: int) -> tuple[Float32, NDArray[np.integer]]:
    """Centres and labels: scikit-learn's draws, then Lloyd's iterations decided in float64 (method, section 4)."""
    mean = x.mean(axis=0)
    centred = x - mean
    tolerance = 1e-4 * float(np.mean(np.var(x, axis=0)))
    # One thread: with two, most bits of the centres differ.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct samples than k
        centers, _ = kmeans_plusplus(centred, k, random_state=np.random.RandomState(seed % 2**32))
        labels: NDArray[np.integer] = np.full(len(x), -1)
        for _ in range(300):
            before, labels = labels, _nearest_center(centred, centers)
            if len(np.unique(labels)) < k:  # its relocation of empty clusters is the library's own
                whole = KMeans(n_clusters=k, random_state=seed).fit(x)
                return whole.cluster_centers_.astype(np.float32), whole.labels_
            moved = np.stack([centred[labels == c].mean(axis=0, dtype=np.float64) for c in range(k)]).astype(np.float32)
            shift = float(((moved - centers) ** 2).sum())
            centers = moved
            if np.array_equal(labels, before):
                break
            if shift <= tolerance:
                labels = _nearest_center(centred, centers)
                break
    return centers + mean, labels


def _nearest_center(x: Float32, centers: Float32) -> NDArray[np.integer]:
    squares = [((x.astype(np.float64) - center.astype(np.float64)) ** 2).sum(axis=1) for center in centers]
    nearest: NDArray[np.integer] = np.argmin(squares, axis=0)
    return nearest


def _farthest_points(x: Float32, k: int, rng: np.random.Generator) -> list[int]:
    wide = x.astype(np.float64)
    chosen = [int(rng.integers(len(x)))]
    nearest = np.full(len(x), np.inf)
    while len(chosen) < k:
        nearest = np.minimum(nearest, ((wide - wide[chosen[-1]]) ** 2).sum(axis=1))
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
    return chosen


def _least_squares(scheme: Scheme, shots: Sequence[Float32]) -> list[Float32]:
    """Eq. A.1, and Algorithm 1 where every cluster is a class of its own."""
    groups = [[x] if scheme.gen == "least_squares" else _clusters(x, scheme) for x in shots]
    means = np.stack([x.mean(axis=0, dtype=np.float64) for clusters in groups for x in clusters])
    samples = np.concatenate(shots).astype(np.float64)
    overall = samples.mean(axis=0)
    total_covariance = (samples - overall).T @ (samples - overall) / len(samples)
    assert scheme.weight_decay is not None
    matrix = total_covariance + np.outer(overall, overall) + scheme.weight_decay * np.eye(samples.shape[1])
    weights = (np.linalg.solve(matrix, means.T).T / len(means)).astype(np.float32)
    return np.split(weights, np.cumsum([len(clusters) for clusters in groups])[:-1])


def _discriminant(scheme: Scheme, shots: Sequence[Float32]) -> list[Float32]:
    """Gaussian classes with one covariance; a bias is the last feature, of which queries have a one."""
    groups = [[x] if scheme.k == 1 else _clusters(x, scheme) for x in shots]
    means = np.stack([x.mean(axis=0, dtype=np.float64) for clusters in groups for x in clusters])
    centred = np.concatenate([x - x.mean(axis=0, dtype=np.float64) for x in shots])
    shrinkage = scheme.parameter("gen.shrinkage")
    if shrinkage in ("ledoit_wolf", "oas"):
        covariance, _ = {"ledoit_wolf": ledoit_wolf, "oas": oas}[shrinkage](centred, assume_centered=True)
    else:
        covariance = shrunk_covariance(centred.T @ centred / len(centred), shrinkage)
    weights = np.linalg.solve(covariance, means.T).T
    priors = np.ones(len(means))
    if scheme.parameter("gen.priors") == "empirical":
        priors = np.array([len(x) for clusters in groups for x in clusters])
    biases = np.log(priors / priors.sum()) - (means * weights).sum(axis=1) / 2
    augmented = np.column_stack([weights, biases]).astype(np.float32)
    return np.split(augmented, np.cumsum([len(clusters) for clusters in groups])[:-1])


def _clusters(x: Float32, scheme: Scheme) -> list[Float32]:
    assert scheme.k is not None
    if len(x) <= scheme.k:
        return [x[i : i + 1] for i in range(len(x))]
    assignment = _kmeans(x, scheme.k, scheme.seed)[1]
    return [x[assignment == cluster] for cluster in np.unique(assignment)]


def _ranpac(scheme: Scheme, labels: Sequence[Label], shots: Sequence[Float32]) -> list[Float32]:
    """Ridge regression of one-hot targets, from random features."""
    features = [random_features(scheme, x).astype(np.float64) for x in shots]
    ridge = dict(scheme.parameters)["gen.ridge"]
    if ridge == "chosen":
        rngs = [np.random.default_rng(stage_seed("ridge", scheme.seed, label)) for label in labels]
        orders = [rng.permutation(len(x)) for rng, x in zip(rngs, shots, strict=True)]
        held = [h[order[: len(h) // 5]] for h, order in zip(features, orders, strict=True)]
        kept = [h[order[len(h) // 5 :]] for h, order in zip(features, orders, strict=True)]
        truth = np.repeat(np.eye(len(held)), [len(h) for h in held], axis=0)
        fits = {10.0**power: _ridge(kept, 10.0**power) for power in range(-8, 9)}
        ridge = min(fits, key=lambda one: float(((np.concatenate(held) @ fits[one].T - truth) ** 2).sum()))
    return np.split(_ridge(features, float(ridge)).astype(np.float32), len(features))


def _logistic(scheme: Scheme, labels: Sequence[Label], shots: Sequence[Float32]) -> list[Float32]:
    """Weights and bias of each class; the scores of two classes are plus and minus a half of one."""
    if len(shots) == 1:
        return [np.zeros((1, shots[0].shape[1] + 1), np.float32)]

    def fitted(by_class: Sequence[Float32], c: float) -> LogisticRegression:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            x = np.concatenate(by_class).astype(np.float64)
            return LogisticRegression(C=c, max_iter=1000).fit(x, _owners(by_class))

    strength = dict(scheme.parameters)["gen.c"]
    if strength == "chosen":
        rngs = [np.random.default_rng(stage_seed("logistic", 0, label)) for label in labels]
        orders = [rng.permutation(len(x)) for rng, x in zip(rngs, shots, strict=True)]
        held = [x[np.sort(order[: len(x) // 5])] for x, order in zip(shots, orders, strict=True)]
        kept = [x[np.sort(order[len(x) // 5 :])] for x, order in zip(shots, orders, strict=True)]
        fits = {10.0**power: fitted(kept, 10.0**power) for power in range(-3, 4)}
        tested = np.concatenate(held).astype(np.float64), _owners(held)
        strength = max(fits, key=lambda one: float(fits[one].score(*tested)))
    fit = fitted(shots, float(strength))
    found = np.column_stack([fit.coef_, fit.intercept_])
    found = np.concatenate([-found, found]) / 2 if len(shots) == 2 else found
    return np.split(found.astype(np.float32), len(shots))


def _ridge(by_class: Sequence[Float64], ridge: float) -> Float64:
    targets = np.repeat(np.eye(len(by_class)), [len(x) for x in by_class], axis=0)
    found = Ridge(alpha=ridge, fit_intercept=False).fit(np.concatenate(by_class), targets).coef_
    return np.asarray(found, np.float64).reshape(len(by_class), -1)


def random_features(scheme: Scheme, x: Float32) -> Float32:
    """What is compared with proxies: the rows themselves but for ranpac."""
    if scheme.gen != "ranpac":
        return x
    shape = int(dict(scheme.parameters)["gen.features"]), x.shape[1]
    rng = np.random.default_rng((int.from_bytes(b"random_features", "big"), scheme.seed % 2**64, *shape))
    projection = np.rint(256 * rng.standard_normal(shape)).clip(-2047, 2047) / 256
    mapped: Float32 = np.maximum(x.astype(np.float64) @ projection.T, 0.0).astype(np.float32)
    return mapped


# Sections 5 to 8: from proxies and test samples to metrics ----------------------------------------------------------


def predict(
    cell: Cell, generated: Sequence[Float32], test: Mapping[str, Samples], maps: Sequence[Map] | None = None
) -> Prediction:
    """Sections 5 to 7, from what :func:`generate` and :func:`class_maps` return.

    Queries come by task label, then part, then in the order of their dataset.
    """
    x, truth = queries(cell.task, test)
    x = random_features(cell.scheme, _after_norm_inf(cell.scheme, x))
    imprinted = normalize(cell.scheme, generated)
    points = np.concatenate(imprinted).astype(np.float64)
    return _classify(cell.scheme, x, truth, points, _owners(generated), maps)


def class_maps(cell: Cell, train: Mapping[str, Samples]) -> list[Map] | None:
    """Section 7, Mahalanobis by class: the map of each label after which Euclidean distances are its own."""
    if cell.scheme.metric != "class_mahalanobis":
        return None
    own = dict(cell.scheme.parameters)
    return [_class_map(x, float(own["agg.shrinkage"]), float(own["agg.tukey"])) for x in trained_on(cell, train)]


def _class_map(samples: Float32, shrinkage: float, tukey: float) -> Map:
    def raised(x: NDArray[np.floating[Any]]) -> Float64:
        wide = x.astype(np.float64)
        return wide if tukey == 1.0 else (np.maximum(wide, 0.0) ** tukey).astype(np.float32).astype(np.float64)

    x, d = raised(samples), samples.shape[1]
    covariance = np.cov(x, rowvar=False, bias=True).reshape(d, d) if len(x) > 1 else np.zeros((d, d))
    constant = np.diag(covariance) <= len(x) * np.finfo(np.float64).eps * (x**2).mean(axis=0)
    covariance[constant] = covariance[:, constant] = 0.0
    trace = np.trace(covariance)
    variance, others = trace / d, (covariance.sum() - trace) / max(d * (d - 1), 1)
    covariance += shrinkage * (variance * np.eye(d) + others * (1 - np.eye(d)))
    deviation = np.where(np.diag(covariance) > 0.0, np.diag(covariance), 1.0) ** 0.5
    correlation = covariance / np.outer(deviation, deviation)
    np.fill_diagonal(correlation, 1.0)
    factor, mean = np.linalg.cholesky(correlation), x.mean(axis=0)
    return lambda rows: np.ascontiguousarray(solve_triangular(factor, (raised(rows) - mean).T, lower=True).T)


def _after_norm_inf(scheme: Scheme, x: Float32) -> Float32:
    x = l2(x) if scheme.norm_inf == "l2" else x
    return np.column_stack([x, np.ones(len(x), np.float32)]) if scheme.gen in ("lda", "logistic") else x


def normalize(scheme: Scheme, generated: Sequence[Float32]) -> list[Float32]:
    """Section 5, NORM_post: one (k_c, d) float32 array per label."""
    if scheme.norm_post == "l2":
        return [l2(p) for p in generated]
    return quantile(generated) if scheme.norm_post == "quantile" else list(generated)


def l2(x: NDArray[np.floating[Any]]) -> Float32:
    """Rows divided by their Euclidean length; zero rows stay zero."""
    unit: Float32 = _unit(x.astype(np.float64)).astype(np.float32)
    return unit


def quantile(generated: Sequence[NDArray[np.floating[Any]]]) -> list[Float32]:
    """Section 5: every proxy's values replaced, rank by rank, by the quantiles of all classes imprinted before."""
    d = generated[0].shape[1]
    done = [generated[0].astype(np.float32)]
    for proxies in generated[1:]:
        reference = np.concatenate([p.ravel() for p in done]).astype(np.float64)
        values = np.quantile(reference, (np.arange(d) + 0.5) / d, overwrite_input=True).astype(np.float32)
        ranks = np.argsort(np.argsort(proxies, axis=1, kind="stable"), axis=1)
        done.append(values[ranks])
    return done


def queries(task: Task, test: Mapping[str, Samples]) -> tuple[Float32, Int64]:
    """The test samples of a task, (n, d) float32, and their label positions, (n,)."""
    by_label = [samples_of(label, test) for label in task.labels]
    return np.concatenate(by_label), np.repeat(np.arange(len(by_label)), [len(x) for x in by_label])


def scores(prediction: Prediction) -> Scores:
    """Section 8."""
    truth, labels = prediction.truth, prediction.labels
    every = np.arange(prediction.votes.shape[1])

    def f1(average: str | None) -> Any:
        return f1_score(truth, labels, labels=every, average=average, zero_division=0)

    return Scores(
        n_correct=int((truth == labels).sum()),
        n_test=len(truth),
        f1=tuple(float(value) for value in f1(None)),
        f1_macro=float(f1("macro")),
        f1_weighted=float(f1("weighted")),
    )


def _classify(
    scheme: Scheme,
    x: NDArray[np.floating[Any]],
    truth: Int64,
    points: Float64,
    owners: Int64,
    maps: Sequence[Map] | None = None,
    noise: Float64 | None = None,
) -> Prediction:
    """Section 7 for queries x (n, d) and proxies `points` (p, d) of the labels `owners` (p,) in task order."""
    m = {"max": 1, "lse": len(points)}.get(scheme.agg) or min(scheme.m or 1, len(points))
    metric = scheme.metric
    if metric == "mahalanobis":
        whiten = whitening(points, noise)
        x, points, metric = whiten(x.astype(np.float64)), whiten(points), "euclidean"
    if metric == "cosine":
        points = _unit(points)
    # What is compared in one way, and how queries come there.
    group, seen_by = np.zeros(len(points), np.int64), list(maps or [_as_they_are])
    if maps is not None:
        group, metric = owners, "euclidean"
        points = np.concatenate([one(points[owners == c]) for c, one in enumerate(maps) if (owners == c).any()])
    longest = np.linalg.norm(points, axis=1).max()

    neighbors = np.empty((len(x), m), dtype=np.int64)
    distances = np.empty((len(x), m))
    block = max(1, 2**25 // len(points))
    for start in range(0, len(x), block):
        wide = x[start : start + block].astype(np.float64)
        if metric == "cosine":
            wide = _unit(wide)
        # A matrix product is fast and loses the last digits (all of them where a sample meets its duplicate), so it
        # only says which proxies can be among the m nearest; their distances are then summed directly.
        seen = np.stack([one(wide) for one in seen_by])
        rough, slack = np.empty((len(wide), len(points))), np.zeros(len(wide))
        for number in np.unique(group):
            found, off = _rough_distances(metric, seen[number], points[group == number], longest)
            rough[:, group == number], slack = found, np.maximum(slack, off)
        limits = (np.partition(rough, m - 1, axis=1)[:, m - 1] + slack)[:, None]
        for row, near in enumerate(rough <= limits):
            candidates = np.flatnonzero(near)
            exact = _distances(metric, seen[group[candidates], row], points[candidates])
            order = np.argsort(exact, kind="stable")[:m]
            neighbors[start + row], distances[start + row] = candidates[order], exact[order]

    labels, t = range(owners.max() + 1), float(dict(scheme.parameters).get("agg.temperature", 1.0))
    if scheme.agg == "lse":
        of_class = [np.where(owners[neighbors] == label, -distances / t, -np.inf) for label in labels]
        scores = np.stack([t * logsumexp(values, axis=1) for values in of_class], axis=1)
        return Prediction(truth, scores.argmax(axis=1), neighbors, distances, scores)
    weights = np.ones_like(distances)
    if scheme.weighting == "inverse_distance":
        weights = 1 / (distances + 1e-10)
    if scheme.weighting == "softmax":
        weights = softmax(-distances / t, axis=1)
    votes = np.stack([(weights * (owners[neighbors] == label)).sum(axis=1) for label in labels], axis=1)
    return Prediction(truth, votes.argmax(axis=1), neighbors, distances, votes)


def _as_they_are(rows: Float64) -> Float64:
    return rows


def _rough_distances(metric: str, x: Float64, points: Float64, longest: float) -> tuple[Float64, Float64]:
    """(n, p) values in the order of the distances, and (n,) by how much they may be off: far above float64 rounding."""
    lengths = np.linalg.norm(x, axis=1)
    if metric == "euclidean":
        return euclidean_distances(x, points, squared=True), 1e-11 * (lengths + longest) ** 2
    if metric == "manhattan":
        rough = pairwise_distances(x, points, metric="manhattan", n_jobs=1 if x.size * len(points) < 1e9 else -1)
        return rough, 1e-11 * (lengths + longest) * x.shape[1] ** 0.5
    return -(x @ points.T), 1e-11 * lengths * longest


def _distances(metric: str, query: Float64, points: Float64) -> Float64:
    """(p,) distances by definition, of one query or (p, d) one for each; negated products, so that less is nearer."""
    if metric == "euclidean":
        euclidean: Float64 = np.linalg.norm(points - query, axis=1)
        return euclidean
    if metric == "manhattan":
        manhattan: Float64 = np.abs(points - query).sum(axis=1)
        return manhattan
    products: Float64 = (points * query).sum(axis=1)
    return -products if metric == "inner_product" else np.clip(1 - products, 0, 2)


def _unit(x: Float64) -> Float64:
    """Unit rows; a zero row stays zero and so has the cosine distance 1 to everything, as in scikit-learn."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length == 0, 1, length)


def whitening(points: Float64, noise: Float64 | None = None) -> Callable[[Float64], Float64]:
    """The map after which Euclidean distances are Mahalanobis ones with VI = inv(cov(proxies) + 1e-6 I).

    With cov(proxies) + 1e-6 I = L Lᵀ it is x -> inv(L) x. VI itself is never formed: with fewer proxies than dimensions
    its condition is 1e8 and more, and what float64 leaves of it need not be positive definite.

    Args:
        points: (p, d) proxies; the covariance of a single one is taken as zero.
        noise: (d, d) symmetric relative error of the matrix that is inverted, for :func:`explain`.
    """
    d = points.shape[1]
    matrix = (np.cov(points, rowvar=False).reshape(d, d) if len(points) > 1 else np.zeros((d, d))) + 1e-6 * np.eye(d)
    if noise is not None:
        matrix = matrix + noise * np.linalg.norm(matrix, ord=2)
    factor = np.linalg.cholesky(matrix)
    return lambda x: np.ascontiguousarray(solve_triangular(factor, x.T, lower=True).T)


def _owners(by_label: Sequence[Float32]) -> Int64:
    return np.repeat(np.arange(len(by_label)), [len(proxies) for proxies in by_label])


# Where the engine says something else -------------------------------------------------------------------------------

FLOAT32 = 2.0**-24
FLOAT64 = 2.0**-53
COMPUTED = ("mean", "kmeans", "least_squares", "k_least_squares", "lda", "ranpac", "logistic")
"""Gens whose proxies are results of arithmetic, not samples."""


def rounding(scheme: Scheme) -> float:
    """How far, relative to their size, the float32 vectors of a scheme may be off, given how they are computed.

    Every normalisation rounds once, a computed proxy a few times. Where neither is asked for, the vectors are the
    cached embeddings themselves and only the float64 arithmetic of the distances is left.
    """
    steps = 4.0 * (scheme.gen in COMPUTED) + (scheme.gen == "ranpac")
    steps += (scheme.norm_pre != "none") + (scheme.norm_post != "none") + (scheme.norm_inf != "none")
    return 4 * FLOAT32 * steps + 64 * FLOAT64


def explain(
    cell: Cell,
    generated: Sequence[Float32],
    test: Mapping[str, Samples],
    query: int,
    other: int,
    maps: Sequence[Map] | None = None,
    *,
    draws: int = 200,
) -> str | None:
    """Whether another predicted label is within a tie, and within which.

    It is one if the label is the exact answer for vectors that differ from the oracle's by no more than
    :func:`rounding`: a backward error, so that conditioning (near duplicates under inverse distances, a nearly
    singular covariance) counts for exactly what it is. Random vectors within the rounding are tried until one gives
    ``other``; what changed on the way says where the tie was.

    Args:
        cell: the cell as asked for.
        generated: its proxies, from :func:`generate`.
        test: test samples by dataset.
        query: position of the query in the task's order.
        other: the label position that was predicted instead of the oracle's.
        maps: from :func:`class_maps`.
        draws: how many random vectors to try.

    Returns:
        ``"top"``, ``"m-th neighbor"`` or ``"vote sums"``, or ``"rank"`` where two features of a computed proxy tie so
        that its quantiles go either way; None if the label is no tie but wrong.

    Raises:
        ValueError: the label is the oracle's own.
    """
    scheme, owners = cell.scheme, _owners(generated)
    rows, truth = queries(cell.task, test)
    rows, truth = rows[query : query + 1], truth[query : query + 1]
    x = random_features(scheme, _after_norm_inf(scheme, rows)).astype(np.float64)
    points = np.concatenate(normalize(scheme, generated)).astype(np.float64)
    asked = _classify(scheme, x, truth, points, owners, maps)
    if asked.labels[0] == other:
        raise ValueError(f"query {query}: {other} is what the oracle predicts too, there is nothing to explain")

    rng = np.random.default_rng([query, other])
    if (tie := _explained(scheme, x, truth, points, owners, maps, asked, other, draws, rng)) is not None:
        return tie
    if scheme.norm_post == "quantile" and scheme.gen in COMPUTED:
        for _ in range(draws):
            moved = quantile([_perturb_ranks(proxies, rng) for proxies in generated])
            points = np.concatenate(moved).astype(np.float64)
            found = _classify(scheme, x, truth, points, owners, maps)
            if found.labels[0] == other or _explained(scheme, x, truth, points, owners, maps, found, other, 1, rng):
                return "rank"
    return None


def _explained(
    scheme: Scheme,
    x: Float64,
    truth: Int64,
    points: Float64,
    owners: Int64,
    maps: Sequence[Map] | None,
    asked: Prediction,
    other: int,
    draws: int,
    rng: np.random.Generator,
) -> str | None:
    if scheme.metric not in ("mahalanobis", "class_mahalanobis"):  # for which nearness here says little
        m = asked.neighbors.shape[1]
        sides = (_unit(x)[0], _unit(points)) if scheme.metric == "cosine" else (x[0], points)
        keep = np.sort(np.argsort(_distances(scheme.metric, *sides), kind="stable")[: m + 64])
        points, owners = points[keep], owners[keep]
        asked = _classify(scheme, x, truth, points, owners, maps)
    error = rounding(scheme)
    for _ in range(draws):
        noise = rng.uniform(-1, 1, (points.shape[1],) * 2) * 8 * FLOAT64 if scheme.metric == "mahalanobis" else None
        noise = None if noise is None else (noise + noise.T) / 2
        moved = _perturb(points, error, rng)
        found = _classify(scheme, _perturb(x, error, rng), truth, moved, owners, maps, noise)
        if found.labels[0] == other:
            if found.neighbors.shape[1] == 1:
                return "top"
            same = set(found.neighbors[0].tolist()) == set(asked.neighbors[0].tolist())
            return "vote sums" if same else "m-th neighbor"
    return None


def _perturb(x: Float64, error: float, rng: np.random.Generator) -> Float64:
    size = np.maximum(np.abs(x), np.sqrt((x**2).mean(axis=1, keepdims=True)))
    moved: Float64 = x + error * size * rng.uniform(-1, 1, x.shape)
    return moved


def _perturb_ranks(x: Float32, rng: np.random.Generator) -> Float64:
    """Exact zeros stay: a feature that no sample has is zero however its mean is computed."""
    wide = x.astype(np.float64)
    return np.where(wide == 0, 0, _perturb(wide, 16 * FLOAT32, rng))
