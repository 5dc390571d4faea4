"""What cells will cost: rough core-seconds, good enough to balance shards and to say "about 3 min".

The constants are throughputs of one core as `benchmarks/` measures them; a machine twice as fast shifts every shard
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.embeddings.cache import SPLITS, EntryHeader, EntryKey, label_sizes
from imprint_sweep.grid.cell import Model, Task
from imprint_sweep.grid.keys import GenSpec, Readout
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.components import (
    GENS,
    METRICS,
    NORMS,
    DenseMetric,
    FittedMetric,
    SequentialNorm,
    seconds_of,
)
from imprint_sweep.planning.plan import Plan

Codes = NDArray[np.int64]
Columns = NDArray[np.int64] | NDArray[np.int32]

FLOPS = 80e9
"""float32 matrix products, operations per second."""
FLOPS_64 = 40e9
"""float64 matrix products, operations per second."""
WHITENING_FLOPS = 20e9
"""Whitening, whose order of summation is fixed: operations per second."""
RESCORE_RATE = 2.5e9
"""float64 rescoring, elements per second."""
SCAN_RATE = 1e9
"""Scanning filter scores for the nearest, scores per second."""
VOTE_SECONDS = 2e-7
"""Voting and counting, per query."""
CELL_SECONDS = 2e-4
"""What a cell costs whatever it computes: identity, outcome, row."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Estimated cost of a plan's cells when run together.

    Args:
        source: (n,) code of the embeddings that a cell reads; cells of different sources share nothing.
        unit: (n,) code of the GEN work that a cell shares with others of its source.
        part: (n,) code of what a cell shares with others where GEN takes no time: the scores that its search reads.
            That of its unit for every other GEN.
        task: (n,) the same one step finer: the searches of one task in these scores.
        seconds: (n,) each cell's share of the core-seconds.
    """

    source: Codes
    unit: Codes
    part: Codes
    task: Codes
    seconds: NDArray[np.float64]

    def atoms(self, count: int) -> NDArray[np.int64]:
        """Groups of cells that a split into `count` shards keeps together.

        A source; where that is more than a shard's share of the work, its units; where such a unit still is and its
        GEN takes no time, the cells that read the same scores, and at last those of one task among them.
        """
        share = self.seconds.sum() / count
        atoms = self.source
        for finer in (self.unit, self.part, self.task):
            load = np.bincount(atoms, weights=self.seconds)
            large = load > max(share * (1 + 1e-9), 1e-9)  # sums of equal work may round differently
            atoms = _group(np.where(large[atoms], finer + 1, 0), np.where(large[atoms], 0, atoms))
        return atoms

    def duration(self, shard: NDArray[np.int32], *, workers: int | None, threads: int) -> float:
        """Estimated seconds that shards take: the longest of them, or all of them on the workers that there are.

        Args:
            shard: (n,) shard of each cell.
            workers: shards that run at the same time; None means all.
            threads: cores of each of them.
        """
        load = np.bincount(shard, weights=self.seconds)
        if not len(load):
            return 0.0
        return float(max(load.max(), load.sum() / (workers or len(load)))) / threads


def estimate(plan: Plan, headers: Mapping[EntryKey, EntryHeader]) -> Estimate:
    """Estimate what a plan's cells cost together.

    Args:
        plan: the cells to run.
        headers: headers of the cache entries they read; cells without headers cost nothing.
    """
    form, forms = plan.normal_forms
    specs = [GenSpec.of(s) for s in forms]
    gen = _codes(specs)[form]
    family = _codes(spec.unit for spec in specs)[form]
    view = _codes(Readout.of(s).view for s in forms)[form]
    scores = _codes(_scores(s) for s in forms)[form]

    pairs, pair = np.unique(plan.pair, return_inverse=True)
    reads = [(plan.models[p // len(plan.tasks)], plan.tasks[p % len(plan.tasks)]) for p in pairs.tolist()]
    source = _codes((model, task.datasets, task.limit) for model, task in reads)[pair]
    sizes = [_Size.of(model, task, headers) for model, task in reads]
    # Tasks of the same labels are one computation.
    labels = _codes(task.computation_fragment for _, task in reads)[pair]
    alone = np.array([_of_one_task(s) for s in forms], bool)[form]
    scores = _group(source, gen, scores, np.where(alone, labels + 1, 0))

    def gen_seconds(p: int, f: int) -> float:
        return sizes[p].gen_seconds(forms[f])

    def score_seconds(p: int, f: int) -> float:
        return sizes[p].score_seconds(forms[f])

    def view_seconds(p: int, f: int) -> float:
        return sizes[p].view_seconds(forms[f])

    def vote_seconds(p: int, _: int) -> float:
        return sizes[p].n_test * VOTE_SECONDS

    seconds: NDArray[np.float64] = np.full(len(plan), CELL_SECONDS)
    # GEN is done once for all tasks of a source: the largest task stands for them, as its classes contain the others'.
    seconds += _shares(_group(source, gen), pair, form, cost=gen_seconds)
    seconds += _shares(scores, pair, form, cost=score_seconds)
    seconds += _shares(_group(pair, gen, view), pair, form, cost=view_seconds)
    seconds += _shares(plan.computation, pair, form, cost=vote_seconds)
    unit = _group(source, family)
    free = np.array([GENS[s.gen].cheap for s in forms], bool)[form]
    part = _group(unit, np.where(free, scores + 1, 0))
    # Not by view: cells equal by construction may come to differ in it once the proxies are known.
    return Estimate(source, unit, part, _group(part, np.where(free, labels + 1, 0)), seconds)


def _scores(s: Scheme) -> tuple[str, ...]:
    """Readouts of one GEN result with the same value read the same filter scores (see the engine's passes)."""
    match METRICS[s.metric]:
        case DenseMetric():
            return (s.metric, s.norm_post, s.norm_inf)
        case FittedMetric():
            return (s.metric, s.norm_post)
    return ("products", *("" if NORMS[name].scales else name for name in (s.norm_post, s.norm_inf)))


def _of_one_task(s: Scheme) -> bool:
    """Whether each task has scores of its own, because its proxies or what is fitted to them are."""
    return (
        isinstance(METRICS[s.metric], FittedMetric)
        or isinstance(NORMS[s.norm_post], SequentialNorm)
        or GENS[s.gen].joint
    )


@dataclass(frozen=True)
class _Size:
    """How large one (model, task) is; all zero where embeddings are missing."""

    n_train: int = 0
    n_test: int = 0
    d: int = 0
    n_labels: int = 1

    @classmethod
    def of(cls, model: Model, task: Task, headers: Mapping[EntryKey, EntryHeader]) -> _Size:
        train, test = (label_sizes(model, task, split, headers.get) for split in SPLITS)
        if train is None or test is None:
            return cls()
        d = headers[EntryKey(model, task.datasets[0], "train", task.limit)].d
        return cls(sum(train), sum(test), d, len(task.labels))

    def _n(self, s: Scheme) -> int:
        return self.n_train if s.n_shot is None else min(self.n_train, s.n_shot * self.n_labels)

    def gen_seconds(self, s: Scheme) -> float:
        return seconds_of(s.gen, self._n(s), self.d, s.k or 0, self.n_labels)

    def _p(self, s: Scheme) -> int:
        most = s.max_proxies(self.n_labels)
        return self._n(s) if most is None else min(most, self._n(s))

    def score_seconds(self, s: Scheme) -> float:
        """Filter scores of all queries against all proxies, in one geometry."""
        p = self._p(s)
        products = self.n_test * p * self.d
        metric = METRICS[s.metric]
        if isinstance(metric, DenseMetric):
            return products / metric.rate
        if not isinstance(metric, FittedMetric):
            return products * 2 / FLOPS
        # Few proxies have a span of their own, which takes a decomposition, and two products more per row.
        r = min(p, self.d)
        fit = (p * self.d**2 * 2 + self.d**3) / FLOPS_64 if p > self.d else p * self.d * r * 14 / FLOPS_64
        rows = (p + self.n_test) * self.d * r * (2 if p > self.d else 6)
        return fit + rows / WHITENING_FLOPS + self.n_test * p * r * 2 / FLOPS

    def view_seconds(self, s: Scheme) -> float:
        """The search of one view in its scores."""
        m = min(s.m or 1, self._p(s))
        rescored = self.n_test * (m * 1.2 if m > 1 else 0.1) * self.d
        return self.n_test * self._p(s) / SCAN_RATE + rescored / RESCORE_RATE


def _codes(keys: Iterable[Hashable]) -> Codes:
    """The code of each key, in order of first appearance."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)


def _group(*columns: Columns) -> Codes:
    """The code of each combination of codes, 0 .. number of combinations - 1."""
    combined = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        combined = combined * (int(column.max(initial=0)) + 1) + column
    codes: Codes = np.unique(combined, return_inverse=True)[1]
    return codes


def _shares(group: Codes, *arguments: Columns, cost: Callable[..., float]) -> NDArray[np.float64]:
    """Each cell's equal share of its group's cost, which is that of the group's costliest member."""
    combination = _group(*arguments)
    first = np.unique(combination, return_index=True)[1]
    each = np.array([cost(*(int(column[i]) for column in arguments)) for i in first.tolist()])[combination]
    largest = np.zeros(int(group.max(initial=-1)) + 1)
    np.maximum.at(largest, group, each)
    shares: NDArray[np.float64] = (largest / np.bincount(group))[group]
    return shares
