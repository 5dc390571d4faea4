"""GEN within a run: which proxies are needed, and each shared piece of making them once.

A stage's key holds only what the stage consumes, so sharing needs no further rule:

====================  =============================================================
n-shot draw           label, n_shot, seed
samples               draw, NORM_pre
clustering            samples, k, seed         (kmeans and k_least_squares share it)
medoids               samples; one distance matrix serves every k
second moment         samples                  (both least-squares gens, every task)
factorisation         ordered labels, draw, NORM_pre, lambda
====================  =============================================================

What is made for one draw is kept until the next one, except what there may be too many of: what belongs to one
(k, seed) is forgotten (:meth:`Generation.forget`) when all specs that share it are made, and matrices of d x d are kept
only where they all fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.cell import Label, spelled, stage_seed
from imprint_sweep.engine.memory import Arrays, ProxyCache, StageMemory, Timed
from imprint_sweep.errors import StageError
from imprint_sweep.features import Features
from imprint_sweep.keys import Draw, GenSpec
from imprint_sweep.stages import normalization, sampling
from imprint_sweep.stages.generation import clustering, least_squares, selection
from imprint_sweep.stages.generation.clustering import Clustering
from imprint_sweep.stages.generation.first_use import prepare
from imprint_sweep.stages.generation.least_squares import Solver

Samples = NDArray[np.float32]


Proxies = Mapping[GenSpec, Timed[Samples]]


class Generation:
    """Makes proxies for one :class:`Features`, computing each shared stage once.

    Every method may be called from several threads at once.

    Args:
        features: the embeddings.
        memory: where results of shared stages are kept within the run.
        disk: where clusterings and medoids are kept between runs.
        memory_bytes: what distance matrices may take.
        threads: how many call at once.
        keep_samples: whether samples stay in memory; gathering them again is cheap where they do not fit.
        keep_moments: whether second moments and factorisations do; where they do not fit, a solution makes its own.
    """

    def __init__(
        self,
        features: Features,
        memory: StageMemory,
        disk: ProxyCache,
        *,
        memory_bytes: int,
        threads: int,
        keep_samples: bool = True,
        keep_moments: bool = True,
    ) -> None:
        self._features, self._memory, self._disk = features, memory, disk
        self._keep_samples, self._keep_moments = keep_samples, keep_moments
        self._memory_bytes, self._threads = memory_bytes, threads
        self._one_matrix = Lock()

    def per_label(self, label: Label, specs: Sequence[GenSpec]) -> Proxies:
        """The proxies of one label, (k, d) float32 each: of one spec, or of several k of kmedoids.

        For the joint gens nothing is returned: the label's share is prepared for :meth:`joint`.
        """
        first = specs[0]
        prepare(first.gen)
        if first.gen == "kmedoids":
            medoids = self._medoids(label, first.draw, sorted({spec.k for spec in specs}))
            x = self._samples(label, first.draw)
            return {spec: Timed(x[medoids[spec.k].value], medoids[spec.k].seconds) for spec in specs}
        if not first.joint:
            return {spec: self._one(label, spec) for spec in specs}
        for spec in specs:
            if self._keep_moments:
                self._moment(label, spec.draw)
            self._class_means(label, spec)
        return {}

    def forget(self) -> None:
        """Drop what only specs of one (k, seed) share."""
        self._memory.forget("clustering", "class_means")

    def joint(self, labels: tuple[Label, ...], spec: GenSpec) -> dict[Label, Timed[Samples]]:
        """The weight vectors of a least-squares gen for the ordered labels of a task, (clusters, d) float32 each.

        The seconds are those of the whole solution, divided equally.
        """
        means = [self._class_means(label, spec) for label in labels]
        solver = self._solver(labels, spec)
        solved = self._memory.time(
            "solve", lambda: least_squares.weights(solver.value, np.concatenate([mean.value for mean in means]))
        )
        shared: list[Timed[Any]] = [*means, solver, solved]
        seconds = sum(timed.seconds for timed in shared) / len(labels)
        ends = np.cumsum([len(mean.value) for mean in means])[:-1]
        return {label: Timed(rows, seconds) for label, rows in zip(labels, np.split(solved.value, ends), strict=True)}

    def _one(self, label: Label, spec: GenSpec) -> Timed[Samples]:
        x = self._samples(label, spec.draw)
        match spec.gen:
            case "all":
                return Timed(x, 0.0)
            case "mean":
                return self._memory.time("mean", lambda: selection.mean(x))
            case "kmeans":
                clustering_ = self._clustering(label, spec)
                return Timed(clustering_.value.centers, clustering_.seconds)
            case "cov_max":
                return self._memory.time("cov_max", lambda: x[selection.cov_max(x, spec.k)])
            case "random":
                rng = np.random.default_rng(stage_seed("random", spec.seed, label))
                return self._memory.time("random", lambda: x[selection.random(len(x), spec.k, rng)])
            case "fps":
                rng = np.random.default_rng(stage_seed("fps", spec.seed, label))
                return self._memory.time("fps", lambda: x[selection.fps(x, spec.k, rng)])
        raise StageError(f"no proxy generator is called {spec.gen!r}")

    def _samples(self, label: Label, draw: Draw) -> Samples:
        """The label's training samples after the n-shot draw and NORM_pre, (n, d) float32."""

        def compute() -> Samples:
            x = self._features.rows("train", label)
            if draw.n_shot:
                rng = np.random.default_rng(stage_seed("n_shot", draw.seed, label))
                x = x[sampling.draw(len(x), draw.n_shot, rng)]
            return normalization.l2(x) if draw.norm_pre == "l2" else x

        return self._memory.get(("samples", label, draw), compute).value if self._keep_samples else compute()

    def _clustering(self, label: Label, spec: GenSpec) -> Timed[Clustering]:
        def compute() -> Timed[Arrays]:
            x = self._samples(label, spec.draw)
            fit = self._memory.time("kmeans", lambda: clustering.kmeans(x, spec.k, spec.seed))
            return Timed({"centers": fit.value.centers, "assignment": fit.value.assignment}, fit.seconds)

        def stored() -> Timed[Clustering]:
            fit = self._disk.get(("kmeans", *self._disk_key(label, spec.draw), spec.k, spec.seed), compute)
            return Timed(Clustering(fit.value["centers"], fit.value["assignment"]), fit.seconds)

        return self._memory.get(("clustering", label, spec.draw, spec.k, spec.seed), stored).value

    def _medoids(self, label: Label, draw: Draw, ks: Iterable[int]) -> dict[int, Timed[NDArray[np.int64]]]:
        distances: list[Timed[NDArray[np.float32]]] = []  # made when the first k is not on disk
        x = self._samples(label, draw)
        matrix_bytes = 4 * len(x) ** 2
        if matrix_bytes > self._memory_bytes:
            raise StageError(
                f"gen=kmedoids needs {_size(matrix_bytes)} for the distances between the {len(x):,} samples of "
                f"{spelled(label)}; raise sweep.memory_gb, or draw fewer with n_shot"
            )

        def compute(k: int) -> Timed[Arrays]:
            if not distances:
                distances.append(self._memory.time("distances", lambda: clustering.pairwise_distances(x)))
            matrix = distances[0]
            fit = self._memory.time("kmedoids", lambda: clustering.kmedoids(matrix.value, k))
            return Timed({"medoids": fit.value}, matrix.seconds + fit.seconds)

        def stored(k: int) -> Timed[NDArray[np.int64]]:
            fit = self._disk.get(("kmedoids", *self._disk_key(label, draw), k), lambda: compute(k))
            return Timed(fit.value["medoids"], fit.seconds)

        # One at a time where a matrix in every thread would take more than a quarter of the memory.
        with self._one_matrix if matrix_bytes * self._threads > self._memory_bytes / 4 else nullcontext():
            return {k: stored(k) for k in ks}

    def _class_means(self, label: Label, spec: GenSpec) -> Timed[NDArray[np.float64]]:
        """The means of the label's clusters, (clusters, d) float64: one for least_squares."""

        def compute() -> Timed[NDArray[np.float64]]:
            x = self._samples(label, spec.draw)
            if spec.gen == "least_squares":
                return self._memory.time(
                    "cluster_means", lambda: least_squares.cluster_means(x, np.zeros(len(x), np.int32))
                )
            fit = self._clustering(label, spec)
            means = self._memory.time("cluster_means", lambda: least_squares.cluster_means(x, fit.value.assignment))
            return Timed(means.value, fit.seconds + means.seconds)

        return self._memory.get(("class_means", label, spec.draw, spec.k, spec.seed), compute).value

    def _moment(self, label: Label, draw: Draw) -> Timed[NDArray[np.float64]]:
        def compute() -> Timed[NDArray[np.float64]]:
            x = self._samples(label, draw)  # before the clock starts
            return self._memory.time("moment", lambda: least_squares.second_moment(x))

        return self._memory.get(("moments", label, draw), compute).value if self._keep_moments else compute()

    def _solver(self, labels: tuple[Label, ...], spec: GenSpec) -> Timed[Solver]:
        """The factorised matrix of a task; its seconds are also those of the second moments."""

        def compute() -> Timed[Solver]:
            first = self._moment(labels[0], spec.draw)
            total, seconds = first.value, first.seconds
            for label in labels[1:]:  # not all of them at once
                moment = self._moment(label, spec.draw)
                total, seconds = total + moment.value, seconds + moment.seconds
            n = sum(len(self._samples(label, spec.draw)) for label in labels)
            solver = self._memory.time("factorization", lambda: least_squares.factorize(total, n, spec.weight_decay))
            return Timed(solver.value, seconds + solver.seconds)

        if self._keep_moments:
            return self._memory.get(("solver", labels, spec.draw, spec.weight_decay), compute).value
        return compute()

    def _disk_key(self, label: Label, draw: Draw) -> tuple[object, ...]:
        return (self._features.part_fingerprints(label), label, draw.n_shot, draw.seed, draw.norm_pre)


def _size(count: float) -> str:
    """A number of bytes in the unit that suits it.

    >>> _size(1600), _size(14.4e9)
    ('1.6 kB', '14.4 GB')
    """
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
