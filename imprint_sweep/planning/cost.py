"""Estimates what cells will take: core-seconds by stage, each piece of work that the engine shares counted once.

Components say what their pieces of work are and how long each takes
(:class:`~imprint_sweep.imprinting.components.Piece`); searches are counted here by pass and view, as
:mod:`imprint_sweep.engine.evaluation` makes them. Constants are throughputs of one core of the machine that the
benchmarks were measured on. How much faster or slower another machine is at each stage is learned
(:mod:`imprint_sweep.running.calibration`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.embeddings.cache import SPLITS, EntryHeader, EntryKey, label_sizes
from imprint_sweep.grid.cell import Label, Model, Task
from imprint_sweep.grid.keys import Draw, GenSpec, Readout
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting import validation
from imprint_sweep.imprinting.agg.directions import EXACT, LARGE, PART
from imprint_sweep.imprinting.agg.search import LOOKING_NEAR
from imprint_sweep.imprinting.agg.several_tasks import SHARED
from imprint_sweep.imprinting.components import (
    AGGREGATIONS,
    GENS,
    METRICS,
    NORMS,
    ClassMetric,
    ClassScore,
    DenseMetric,
    FittedMetric,
    JointGen,
    MappedMetric,
    Metric,
    Piece,
    QueryMap,
    SequentialNorm,
    Setting,
    Sizes,
    work_of,
)
from imprint_sweep.imprinting.one_core import one_core
from imprint_sweep.planning.factorize import combined, factorize
from imprint_sweep.planning.plan import Plan

Codes = NDArray[np.int64]
Columns = NDArray[np.int64] | NDArray[np.int32]
Seconds = NDArray[np.float64]

FLOPS = 95e9
"""float32 matrix products, operations per second."""
FLOPS_64 = 80e9
"""float64 matrix products, operations per second."""
WHITENING_FLOPS = 33e9
"""Whitening, whose order of summation is fixed: operations per second."""
WIDENING_SECONDS = 1e-8
"""Centring a row in float64 before it is whitened, per feature."""
COPY_RATE = 1e9
"""Copying rows of embeddings and measuring their lengths, elements per second."""
SCAN_RATE = 1e9
"""Scanning filter scores for the nearest, scores per second."""
PAIR_SECONDS = 1.6e-7
"""Keeping one of several nearest proxies, without its exact distance."""
ELEMENT_SECONDS = (1.2e-10, 7e-10)
"""An element of an exact distance where the proxies stay in the processor's cache, and where they do not."""
CACHE_BYTES = 16e6
ROUGHLY_NEAR = (42.0, 0.7)
"""Pairs a query, c m^e for m neighbours, that scores in directions leave to be scored exactly: of real embeddings."""
VALUE_SECONDS = 4e-9
"""Making a value of a pair from its filter score, for the score of a class."""
UNDECIDED = 5e-4
"""The share of the pairs that take an exact value where classes are scored."""
VOTE_SECONDS = 1e-7
"""Voting and counting, per query."""
SEARCH_SECONDS = 3e-4
"""What a search takes for the queries of one label, however few they are."""
CELL_SECONDS = 2e-4
"""What a cell takes whatever it computes: identity, outcome, row."""
IDLE = 0.05
"""The share of the cores' time in which threads wait for each other."""
REST = "rest"
"""The time that no stage accounts for, as a stage."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a plan's cells take when run together.

    Args:
        source: (n,) code of the embeddings that a cell reads; cells of different sources share nothing.
        unit: (n,) code of the GEN work that a cell shares with others of its source.
        joined: (n,) the same one step finer: cells of a unit whose tasks share labels, directly or through others.
        part: (n,) code of what a cell shares with others where GEN takes no time: the scores that its search reads.
            That of `joined` for every other GEN.
        task: (n,) the same one step finer: the searches of one task in these scores.
        stages: (n,) each cell's share of the core-seconds of every stage, on the machine of the benchmarks.
        calls: how often the engine will count each stage.
        operations: floating-point operations of the stages for which the engine counts them.
        ratios: how many times longer this machine takes, by stage; 1 where nothing is known.
    """

    source: Codes
    unit: Codes
    joined: Codes
    part: Codes
    task: Codes
    stages: Mapping[str, Seconds]
    calls: Mapping[str, int] = field(default_factory=dict)
    operations: Mapping[str, int] = field(default_factory=dict)
    ratios: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def seconds(self) -> Seconds:
        """(n,) each cell's share of the core-seconds."""
        total = np.zeros(len(self.source))
        for stage, shares in self.stages.items():
            total += self.ratios.get(stage, 1.0) * shares
        return total

    def by_stage(self) -> dict[str, float]:
        """The core-seconds of each stage."""
        return {stage: self.ratios.get(stage, 1.0) * float(shares.sum()) for stage, shares in self.stages.items()}

    def of_cells(self, chosen: NDArray[np.bool_]) -> Estimate:
        """The share of some cells in what all of them take; calls and operations are shared by nobody.

        Args:
            chosen: (n,) bool.
        """
        return Estimate(
            self.source[chosen],
            self.unit[chosen],
            self.joined[chosen],
            self.part[chosen],
            self.task[chosen],
            {stage: shares[chosen] for stage, shares in self.stages.items()},
            ratios=self.ratios,
        )

    def on(self, ratios: Mapping[str, float]) -> Estimate:
        """The same on a machine of which something is known."""
        return replace(self, ratios=ratios)

    def atoms(self, count: int) -> NDArray[np.int64]:
        """Groups of cells that a split into `count` shards keeps together.

        A source; where that is more than a shard's share of the work, its units; of those that still are, the cells
        whose tasks share labels; where GEN takes no time, the cells that read the same scores, and at last those of one
        task among them.
        """
        share = self.seconds.sum() / count
        atoms = self.source
        for finer in (self.unit, self.joined, self.part, self.task):
            load = np.bincount(atoms, weights=self.seconds)
            large = load > max(share * (1 + 1e-9), 1e-9)  # sums of equal work may round differently
            atoms = combined(np.where(large[atoms], finer + 1, 0), np.where(large[atoms], 0, atoms))
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
    """Estimate what a plan's cells take together.

    Args:
        plan: the cells to run.
        headers: headers of the cache entries they read; cells without headers take next to nothing.
    """
    form, forms = plan.normal_forms
    schemes = _Schemes.of(forms)
    pairs, pair = np.unique(plan.pair, return_inverse=True)
    reads = [(plan.models[p // len(plan.tasks)], plan.tasks[p % len(plan.tasks)]) for p in pairs.tolist()]
    of_pair = factorize((model, task.datasets, task.limit) for model, task in reads)[0].astype(np.int64)
    source = of_pair[pair]
    bill = _Bill(len(plan))
    with one_core():  # threads would take longer to wait for each other than these products do
        for cells in _split(source):
            mine, task = np.unique(pair[cells], return_inverse=True)
            embeddings = _Embeddings.of([reads[i] for i in mine.tolist()], headers)
            if embeddings is not None:
                _Source(embeddings, schemes, cells, task, form[cells], bill).add()
    rest = CELL_SECONDS + IDLE * sum(bill.stages.values(), start=np.zeros(len(plan)))
    # Tasks of the same labels are one computation.
    labels = factorize(task.computation_fragment for _, task in reads)[0].astype(np.int64)[pair]
    unit = combined(source, schemes.unit[form])
    joined = combined(unit, _components(of_pair, [task for _, task in reads])[pair])
    free = np.array([GENS[s.gen].cheap for s in forms], bool)[form]
    alone = schemes.alone[form]
    scores = combined(schemes.gen[form], schemes.scores[form], np.where(alone, labels + 1, 0))
    part = combined(joined, np.where(free, scores + 1, 0))
    return Estimate(
        source,
        unit,
        joined,
        part,
        # Not by view: cells equal by construction may come to differ in it once the proxies are known.
        task=combined(part, np.where(free, labels + 1, 0)),
        stages={**bill.stages, REST: rest},
        calls=dict(bill.calls),
        operations=dict(bill.operations),
    )


class _Bill:
    """What has been counted so far.

    Args:
        n: cells.
    """

    def __init__(self, n: int) -> None:
        self.stages: defaultdict[str, Seconds] = defaultdict(lambda: np.zeros(n))
        self.calls: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()


@dataclass(frozen=True, eq=False)
class _Schemes:
    """The normal forms of a plan, by what they share; codes are one for each form.

    Args:
        forms: the normal forms.
        specs: the distinct specs of GEN.
        draw: code of the draw of each spec.
        gen: code of the spec.
        of_draw: code of what is made of the samples of a draw: the spec, and what the metric knows of each class.
        made: spec and metric of each such code; None for a metric that does not depend on the class.
        unit: code of what a shard keeps together.
        readout, view, scores: codes of everything after GEN, of the search, and of the scores that it reads.
        scoring: code of the stage that makes the scores.
        stages: name of each such stage, and a metric that reads its scores.
        m: neighbours that vote, 0 where none do.
        values: seconds of scoring classes, for each value of a proxy.
        alone: whether each task has scores of its own, because its proxies or what is fitted to them are.
        norming: (forms,) float64, seconds that a norm takes for a value of a proxy.
    """

    forms: Sequence[Scheme]
    specs: Sequence[GenSpec]
    draw: Codes
    gen: Codes
    of_draw: Codes
    made: Sequence[tuple[GenSpec, ClassMetric | None]]
    unit: Codes
    readout: Codes
    view: Codes
    scores: Codes
    scoring: Codes
    stages: Sequence[tuple[str, Metric]]
    m: Codes
    values: Seconds
    alone: NDArray[np.bool_]
    norming: Seconds

    @classmethod
    def of(cls, forms: Sequence[Scheme]) -> _Schemes:
        specs = [GenSpec.of(s) for s in forms]
        readouts = [Readout.of(s) for s in forms]
        distinct = list(dict.fromkeys(specs))
        metrics = [METRICS[s.setting("metric")] for s in forms]
        by_class = [metric if isinstance(metric, ClassMetric) else None for metric in metrics]
        of_draw, of_each = factorize(zip(specs, by_class, strict=True))
        scoring, firsts = factorize(map(_stage, metrics))
        return cls(
            forms,
            distinct,
            factorize(spec.draw for spec in distinct)[0].astype(np.int64),
            factorize(specs)[0].astype(np.int64),
            of_draw.astype(np.int64),
            [(specs[i], by_class[i]) for i in of_each],
            factorize(spec.unit for spec in specs)[0].astype(np.int64),
            factorize(readouts)[0].astype(np.int64),
            factorize(readout.view for readout in readouts)[0].astype(np.int64),
            factorize(map(_scores, forms, specs))[0].astype(np.int64),
            scoring.astype(np.int64),
            [(_stage(metrics[i]), metrics[i]) for i in firsts],
            np.array([readout.m for readout in readouts], np.int64),
            np.array([_seconds_a_value(readout) for readout in readouts]),
            np.array([_of_one_task(s) for s in forms], bool),
            np.array(
                [1.0 / norm.rate if isinstance(norm := NORMS[s.norm_post], SequentialNorm) else 0.0 for s in forms]
            ),
        )


def _scores(s: Scheme, spec: GenSpec) -> tuple[Setting | str, ...]:
    """Readouts of one GEN result with the same value read the same filter scores (see the engine's passes)."""
    match METRICS[s.metric]:
        case DenseMetric() | ClassMetric():
            return (s.setting("metric"), s.norm_post, s.norm_inf)
        case FittedMetric():
            return (s.setting("metric"), s.norm_post)
    maps = GENS[spec.gen].query_map(1, spec.variant) is not None  # then each NORM_inf has products of its own
    norm_inf = "" if NORMS[s.norm_inf].scales and not maps else s.norm_inf
    return ("products", "" if NORMS[s.norm_post].scales else s.norm_post, norm_inf)


def _stage(metric: Metric) -> str:
    """The stage that makes the scores which a metric reads."""
    return metric.name if isinstance(metric, DenseMetric | MappedMetric) else "inner_products"


def _seconds_a_value(readout: Readout) -> float:
    """What a readout takes for each pair of a query and a proxy, beside its votes."""
    aggregation = AGGREGATIONS[readout.agg]
    return VALUE_SECONDS + 1.0 / aggregation.rate if isinstance(aggregation, ClassScore) else 0.0


def _of_one_task(s: Scheme) -> bool:
    """Whether each task has scores of its own, because its proxies or what is fitted to them are."""
    return (
        isinstance(METRICS[s.metric], FittedMetric)
        or isinstance(NORMS[s.norm_post], SequentialNorm)
        or GENS[s.gen].joint
    )


@dataclass(frozen=True, eq=False)
class _Embeddings:
    """The embeddings of one source, by the labels of its tasks.

    Args:
        tasks: those that read them.
        members: (labels, tasks) float64, 1 where a task has a label.
        train, test: (labels,) float64, samples; no test samples where nothing reads them.
        parts: (labels,) float64, classes of datasets that a label unites.
        d: features.
    """

    tasks: Sequence[Task]
    members: NDArray[np.float64]
    train: Seconds
    test: Seconds
    parts: Seconds
    d: int

    @classmethod
    def of(cls, reads: Sequence[tuple[Model, Task]], headers: Mapping[EntryKey, EntryHeader]) -> _Embeddings | None:
        """None where those to train on are missing."""
        number: dict[Label, int] = {}
        sizes: dict[str, dict[Label, int]] = {split: {} for split in SPLITS}
        for model, task in reads:
            for split in SPLITS:
                found = label_sizes(model, task, split, headers.get)
                if found is None and split == "train":
                    return None
                found = found or [0] * len(task.labels)
                sizes[split].update(zip(task.labels, found, strict=True))
            for label in task.labels:
                number.setdefault(label, len(number))
        members = np.zeros((len(number), len(reads)))
        for column, (_, task) in enumerate(reads):
            members[[number[label] for label in task.labels], column] = 1.0
        model, task = reads[0]
        d = headers[EntryKey(model, task.datasets[0], "train", task.limit)].d
        train, test = (np.array([sizes[split][label] for label in number], np.float64) for split in SPLITS)
        parts = np.array([len(label) for label in number], np.float64)
        return cls([task for _, task in reads], members, train, test, parts, d)

    def drawn(self, draw: Draw) -> Seconds:
        """(labels,) training samples after the draw."""
        shots = self._shots(draw)
        return validation.trained(shots) if draw.validation else shots

    def queries(self, draw: Draw) -> Seconds:
        """(labels,) test samples, or those that the draw holds out."""
        return self._shots(draw) - self.drawn(draw) if draw.validation else self.test

    def _shots(self, draw: Draw) -> Seconds:
        return np.minimum(self.train, draw.n_shot) if draw.n_shot else self.train

    def families(self, tasks: Sequence[int]) -> dict[int, int]:
        """The task in whose passes each of some tasks is searched: the largest first that has all of its labels."""
        found: dict[int, int] = {}
        for task in sorted(tasks, key=lambda task: -len(self.tasks[task].labels)):
            mine = set(self.tasks[task].labels)
            within = (other for other in found.values() if mine <= set(self.tasks[other].labels))
            found[task] = next(within, task)
        return found


@dataclass(frozen=True, eq=False)
class _Source:
    """The cells of one source, to be billed.

    Args:
        embeddings: what they read.
        schemes: of the plan.
        cells: (m,) their positions in the plan.
        task: (m,) number of their task among those of the source.
        form: (m,) their normal forms.
        bill: where the work goes.
    """

    embeddings: _Embeddings
    schemes: _Schemes
    cells: Codes
    task: Codes
    form: Columns
    bill: _Bill

    def add(self) -> None:
        """Count everything."""
        gen = self.schemes.gen[self.form]
        proxies, queries = np.zeros((2, len(self.schemes.specs), len(self.embeddings.tasks)))
        for number in np.unique(gen).tolist():
            spec = self.schemes.specs[number]
            proxies[number] = self._proxies(spec)
            queries[number] = self.embeddings.queries(spec.draw) @ self.embeddings.members
        draw = self.schemes.draw[gen]
        for chosen in _split(draw):
            self._add_draw(gen, chosen, proxies)
        self._add_maps(gen)
        self._add_searches(gen, proxies, queries)

    def _map(self, spec: GenSpec) -> QueryMap | None:
        """The map of queries into the space of a spec's proxies."""
        return GENS[spec.gen].query_map(self.embeddings.d, spec.variant)

    def _widths(self, gen: Codes) -> Seconds:
        """Features of the proxies of some specs."""
        numbers, spec = np.unique(gen, return_inverse=True)
        maps = (self._map(self.schemes.specs[number]) for number in numbers)
        return np.array([self.embeddings.d if by is None else by.width for by in maps], np.float64)[spec]

    def _add_maps(self, gen: Codes) -> None:
        """Queries under the maps of gens: once for each map and NORM_inf."""
        users: defaultdict[tuple[QueryMap, Draw | None, Setting], list[int]] = defaultdict(list)
        for cells in _split(gen):
            spec = self.schemes.specs[gen[cells[0]]]
            by = self._map(spec)
            if by is None:
                continue
            for cell in cells.tolist():
                norm_inf = self.schemes.forms[self.form[cell]].setting("norm_inf")
                users[by, spec.draw if spec.draw.validation else None, norm_inf].append(cell)
        for (by, draw, _), together in users.items():
            asked = self.embeddings.members[:, np.unique(self.task[together])].any(axis=1)
            queries = self.embeddings.test if draw is None else self.embeddings.queries(draw)
            self.bill.stages["query_map"][self.cells[together]] += by.seconds(float(queries @ asked)) / len(together)
            self.bill.calls["query_map"] += int(asked.sum())

    def _proxies(self, spec: GenSpec) -> Seconds:
        """(tasks,) proxies of a spec, at most."""
        sizes = self.embeddings.drawn(spec.draw)
        most = GENS[spec.gen].per_class(spec.variant.k)
        return (sizes if most is None else np.minimum(sizes, most)) @ self.embeddings.members

    def _add_draw(self, gen: Codes, chosen: Codes, proxies: NDArray[np.float64]) -> None:
        """The proxies of one draw, and what metrics know of its classes, for some of the cells."""
        of_draw, first, spec = np.unique(
            self.schemes.of_draw[self.form[chosen]], return_index=True, return_inverse=True
        )
        numbers = gen[chosen[first]]
        tasks, task = np.unique(self.task[chosen], return_inverse=True)
        specs, cells = [self.schemes.made[number][0] for number in of_draw], self.cells[chosen]
        count = np.zeros((len(specs), len(tasks)))
        np.add.at(count, (spec, task), 1.0)
        asks = (count > 0).astype(np.float64)
        members = self.embeddings.members[:, tasks]
        labels = np.flatnonzero(members.any(axis=1))
        members, d = members[labels], self.embeddings.d
        sizes = Sizes(self.embeddings.drawn(specs[0].draw)[labels], self.embeddings.parts[labels])
        reading = Piece("samples", None, self.embeddings.train[labels] * d / COPY_RATE)
        of_label: list[tuple[int, Piece]] = []
        of_task: list[tuple[int, Piece]] = []
        for i, one in enumerate(specs):
            component = GENS[one.gen]
            work = work_of(f"gen={one.gen}", partial(component.work, sizes, d, one.variant), classes=len(labels))
            of_label += [(i, reading), *((i, piece) for piece in work)]
            if (metric := self.schemes.made[of_draw[i]][1]) is not None:
                work = work_of(f"agg.metric={metric.name}", partial(metric.work, sizes, d), classes=len(labels))
                of_label += [(i, piece) for piece in work]
            if isinstance(component, JointGen):
                asked = partial(component.task_work, sizes.n @ members, d, proxies[numbers[i], tasks], one.variant)
                of_task += [(i, piece) for piece in work_of(f"gen={one.gen}", asked, classes=len(tasks))]
        for stage, shares in self._divided(of_label, asks @ members.T).items():
            self.bill.stages[stage][cells] += (shares @ members / np.maximum(count, 1.0))[spec, task]
        for stage, shares in self._divided(of_task, asks).items():
            self.bill.stages[stage][cells] += (shares / np.maximum(count, 1.0))[spec, task]

    def _divided(
        self, pieces: Iterable[tuple[int, Piece]], users: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """Count the calls of pieces of work, each distinct piece once, and divide its seconds among its users.

        Args:
            pieces: each with the spec that needs it; its seconds are those at every place, a label or a task.
            users: (specs, places) float64, how many tasks need what a spec needs at a place.

        Returns:
            Stage -> (specs, places) float64, seconds of each user. A piece takes as long as the largest of its key.
        """
        needed = users > 0
        found: dict[tuple[str, Hashable], tuple[Piece, Seconds, dict[int, None]]] = {}
        for spec, piece in pieces:
            new = piece, np.zeros(users.shape[1]), dict[int, None]()
            _, seconds, specs = found.setdefault((piece.stage, piece.key), new)
            np.maximum(seconds, piece.seconds, out=seconds, where=needed[spec])
            specs[spec] = None
        shares: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros_like(users))
        for piece, seconds, specs in found.values():
            n_users = users[list(specs)].sum(axis=0)
            shares[piece.stage][list(specs)] += seconds / np.maximum(n_users, 1.0)
            self.bill.calls[piece.stage] += piece.calls * int(np.count_nonzero(n_users))
        return shares

    def _add_searches(self, gen: Codes, proxies: NDArray[np.float64], queries: NDArray[np.float64]) -> None:
        """Passes, the searches in them, and votes."""
        schemes, form, task = self.schemes, self.form, self.task
        family = np.empty(len(task), np.int64)
        of_set: dict[bytes, dict[int, int]] = {}
        for cells in _split(gen):
            tasks = np.unique(task[cells])
            families = of_set.get(tasks.tobytes())
            if families is None:
                families = of_set[tasks.tobytes()] = self.embeddings.families(tasks.tolist())
            table = np.zeros(len(self.embeddings.tasks), np.int64)
            table[list(families)] = list(families.values())
            family[cells] = table[task[cells]]
        # A pass has the proxies of a family, or of a task alone; all queries of the tasks that read it take part.
        holder = np.where(schemes.alone[form], task, family)
        passes = combined(gen, schemes.scores[form], holder)
        views = combined(gen, schemes.view[form], task)
        m = np.minimum(schemes.m[form], proxies[gen, task])
        rough = self._add_passes(passes, holder, gen, views, proxies, queries, m)
        most = np.zeros(int(views.max()) + 1)
        np.maximum.at(most, views, m)
        first = np.unique(views, return_index=True)[1]
        p, q, d = proxies[gen[first], task[first]], queries[gen[first], task[first]], self._widths(gen[first])
        fitted = np.array([isinstance(metric, FittedMetric) for _, metric in schemes.stages])[schemes.scoring]
        width = np.where(fitted[form[first]], np.minimum(p, d), d)
        element = np.where(4 * p * width < CACHE_BYTES, *ELEMENT_SECONDS)
        kept = q * np.where(rough[passes[first]], _roughly_near(most), np.where(most > 1, most, 0.02))
        # Rough scores have bounds of their own for each query and proxy.
        scanned = q * p / SCAN_RATE * np.where(rough[passes[first]], 2, 1)
        exact = PAIR_SECONDS + width * element
        # Where that would take longer, each class is searched once for all tasks.
        alike = combined(passes[first], schemes.view[form[first]])
        whole = proxies[gen[first], holder[first]] * queries[gen[first], holder[first]]
        share = np.minimum(1.0, SHARED * whole / np.maximum(np.bincount(alike, weights=p * q)[alike], 1.0))
        of_neighbours = np.where(most > 0, share * (scanned + kept * exact), 0.0)
        of_labels = SEARCH_SECONDS * self.embeddings.members.sum(axis=0)[task[first]]
        self._share(views, "search", of_neighbours + of_labels)
        self.bill.calls["search"] += len(first)
        ballots = combined(gen, schemes.readout[form], task)
        first = np.unique(ballots, return_index=True)[1]
        p, q, values = proxies[gen[first], task[first]], queries[gen[first], task[first]], schemes.values[form[first]]
        undecided = np.where(values > 0.0, UNDECIDED * exact[views[first]], 0.0)
        self._share(ballots, "search", q * (VOTE_SECONDS + p * (values + undecided)))

    def _add_passes(
        self,
        passes: Codes,
        holder: Codes,
        gen: Codes,
        views: Codes,
        proxies: NDArray[np.float64],
        asked: NDArray[np.float64],
        m: Seconds,
    ) -> NDArray[np.bool_]:
        """Passes; says which of them have scores in directions (:mod:`imprint_sweep.imprinting.agg.directions`)."""
        schemes = self.schemes
        first = np.unique(passes, return_index=True)[1]
        d = self._widths(gen[first])
        p, queries = proxies[gen[first], holder[first]], self._queries(passes, holder, gen, asked)
        most, searching = np.zeros((2, len(first)))
        np.maximum.at(most, passes, m)
        of_view = np.unique(views, return_index=True)[1]
        np.add.at(searching, passes[of_view], asked[gen[of_view], self.task[of_view]])
        in_pass = np.unique(np.stack([passes, schemes.view[self.form]], 1), axis=0)[:, 0]
        products = queries * p * d
        reading = (queries + p) * d / COPY_RATE + p * d * schemes.norming[self.form[first]]
        # Scores in directions, where they take less than whole products.
        exact = searching / np.maximum(queries, 1.0) * _roughly_near(most) * EXACT * d
        rough = (queries * p * d >= LARGE) & (p * d / PART + exact < p * d)
        rough[passes[schemes.m[self.form] == 0]] = False  # scores of classes take the values of all proxies
        scoring = schemes.scoring[self.form[first]]
        for number in np.unique(scoring).tolist():
            stage, metric = schemes.stages[number]
            of_stage = scoring == number
            if isinstance(metric, FittedMetric):
                seconds = _fitted_seconds(queries * np.bincount(in_pass), p, d) + reading
                operations = 2 * np.bincount(in_pass) * queries * p * np.minimum(p, d)
                rough[of_stage] = False
            elif isinstance(metric, ClassMetric):
                classes = self.embeddings.members.sum(axis=0)[holder[first]]
                # Half of a triangular matrix takes no time.
                seconds = (queries * classes + p) * d**2 / WHITENING_FLOPS + 2 * products / FLOPS + reading
                operations = queries * classes * d**2 + 2 * products
                rough[of_stage] = False
            elif isinstance(metric, DenseMetric):
                seconds, operations = products / metric.rate + reading, products
                rough[of_stage] = False
            else:
                operations = 2 * products / np.where(rough, PART, 1)
                rotation = np.where(rough, 2 * (queries + p) * d**2 / PART / FLOPS_64, 0.0)
                seconds = operations / FLOPS + reading + rotation
            self._share(passes, stage, np.where(of_stage, seconds, 0.0))
            self.bill.calls[stage] += int(np.count_nonzero(of_stage))
            self.bill.operations[stage] += int(operations[of_stage].sum())
        return rough

    def _queries(self, passes: Codes, holder: Codes, gen: Codes, asked: NDArray[np.float64]) -> Seconds:
        """Queries of each pass: those of all tasks that read it, of which the holder has the labels of all."""
        first = np.unique(passes, return_index=True)[1]
        queries = asked[gen[first], holder[first]]
        absent = np.ones(len(first), bool)
        absent[passes[self.task == holder]] = False
        others = np.flatnonzero(absent[passes])
        for cells in _split(passes[others]):
            some = others[cells]
            labels = self.embeddings.members[:, self.task[some]].any(axis=1)
            queries[passes[some[0]]] = self.embeddings.queries(self.schemes.specs[gen[some[0]]].draw) @ labels
        return queries

    def _share(self, group: Codes, stage: str, seconds: Seconds) -> None:
        """Bill the seconds of each group to its cells, equally."""
        self.bill.stages[stage][self.cells] += (seconds / np.bincount(group))[group]


def _roughly_near(m: Seconds) -> Seconds:
    """Pairs a query that scores in directions leave to be scored exactly, for m neighbours."""
    factor, exponent = ROUGHLY_NEAR
    near: Seconds = LOOKING_NEAR + m + factor * m**exponent
    return near


def _fitted_seconds(queries: Seconds, p: Seconds, d: Seconds) -> Seconds:
    """Fitting a whitening to p proxies, mapping them and the queries, and their inner products."""
    # Few proxies have a span of their own, which takes a decomposition, and two products more per row.
    r = np.minimum(p, d)
    fit = np.where(p > d, p * d**2 * 2 + d**3 * 4, p * d * r * 45) / FLOPS_64
    # Half of a triangular matrix takes no time.
    mapping = d * r * np.where(p > d, 1, 6) / WHITENING_FLOPS + d * WIDENING_SECONDS
    seconds: Seconds = fit + (p + queries) * mapping + queries * p * r * 2 / FLOPS
    return seconds


def _components(source: Codes, tasks: Sequence[Task]) -> Codes:
    """The component of each task: tasks of a source that share a label, directly or through others, are of one."""
    leader = list(range(len(tasks)))

    def find(task: int) -> int:
        while leader[task] != task:
            leader[task] = leader[leader[task]]
            task = leader[task]
        return task

    first: dict[tuple[int, Label], int] = {}
    for number, task in enumerate(tasks):
        for label in task.labels:
            leader[find(number)] = find(first.setdefault((int(source[number]), label), number))
    return np.array([find(number) for number in range(len(tasks))], np.int64)


def _split(codes: Codes) -> list[Codes]:
    """The positions of each code."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return np.split(order, starts[1:]) if len(order) else []
