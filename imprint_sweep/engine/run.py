"""A set of cells -> an iterator of outcomes, every shared thing computed once.

The order is: embeddings -> draw and NORM_pre -> GEN -> searches -> readouts. What lives at one level is
forgotten when the loop leaves it. So what is held does not grow with the number of cells: the queries, one draw's
samples (and second moments, where they fit), the proxies of a few specs, and the searches of one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.embeddings.cache import READS, EmbeddingCache
from imprint_sweep.embeddings.features import Features
from imprint_sweep.engine.evaluation import AnyQueries, Evaluation, Proxies, evaluate
from imprint_sweep.engine.gen import Generation, KnownOfClasses, Samples
from imprint_sweep.engine.ledger import Ledger
from imprint_sweep.engine.memory import ProxyCache, Timed
from imprint_sweep.engine.queries import Queries
from imprint_sweep.engine.workers import Failure, Workers, workers
from imprint_sweep.errors import EmbeddingsError
from imprint_sweep.grid.cell import Cell, Label, Model, Task
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.keys import Draw, GenSpec, Readout
from imprint_sweep.grid.outcome import FAILED, Outcome
from imprint_sweep.imprinting.components import (
    GENS,
    METRICS,
    ClassMetric,
    Component,
    JointGen,
    Making,
    QueryMap,
    Setting,
)
from imprint_sweep.imprinting.scores import scores

Cells = Mapping[Task, Sequence[Cell]]

AT_ONCE = 64
"""Specs that are made in one round: more gain nothing, and delay the first results."""


@dataclass(frozen=True)
class EngineSettings:
    """How the engine computes; nothing here can change a result.

    Args:
        threads: cores to use.
        memory_gb: gigabytes that blocks and shared stages are sized to.
        proxy_cache: folder for clusterings and medoids shared between runs; None keeps nothing.
    """

    threads: int = 1
    memory_gb: float = 4.0
    proxy_cache: Path | None = None


def run(
    cells: Iterable[Cell], cache: EmbeddingCache, settings: EngineSettings, *, ledger: Ledger | None = None
) -> Iterator[Outcome]:
    """Compute cells, in an order that shares work; an outcome is yielded as soon as it is known.

    A stage that fails becomes the outcome of the cells that depend on it; the others go on.

    Args:
        cells: any cells, from any number of models and tasks.
        cache: where their embeddings are.
        settings: threads and memory.
        ledger: if given, told what was computed and how long it took.

    Yields:
        One outcome per cell.
    """
    ledger = Ledger() if ledger is None else ledger
    disk = ProxyCache(settings.proxy_cache)
    disk.prune()
    groups: dict[tuple[Model, int | None, tuple[str, ...]], dict[Task, list[Cell]]]
    groups = defaultdict(lambda: defaultdict(list))
    names: dict[tuple[str, str], None] = {}
    for cell in cells:
        groups[cell.model, cell.task.limit, cell.task.datasets][cell.task].append(cell)
        names[cell.scheme.gen, cell.scheme.metric] = None
    with workers(settings.threads, _components(names)) as crew:
        for (model, limit, _), by_task in groups.items():
            yield from _Group(Features(cache, model, limit), crew, settings, disk, ledger).run(by_task)


def predictions(cell: Cell, cache: EmbeddingCache, settings: EngineSettings) -> NDArray[np.int32]:
    """The predicted label of every query of one cell, as positions in the task's list of labels.

    Returns:
        (n_test,) int32; queries ordered by task label, then by its parts, then by the dataset's own order.
        They are training samples where the cell is validated.

    Raises:
        ImprintError, Exception: whatever the failing stage raised.
    """
    with workers(settings.threads, _components([(cell.scheme.gen, cell.scheme.metric)])) as crew:
        features = Features(cache, cell.model, cell.task.limit)
        group = _Group(features, crew, settings, ProxyCache(settings.proxy_cache), Ledger(), keep_predictions=True)
        for _, result in group.evaluations({cell.task: [cell]}):
            if isinstance(result, Failure):
                raise result.error
            blocks = result.evaluation.predictions
            return np.concatenate([block for label in sorted(blocks) for block in blocks[label]])
    raise AssertionError("a cell has one evaluation")


def _components(names: Iterable[tuple[str, str]]) -> Iterator[Component]:
    """The components of some (gen, metric)."""
    for gen, metric in names:
        yield from (GENS[gen], METRICS[metric])


@dataclass(frozen=True)
class _Result:
    """One readout on one task, with what its outcomes say of GEN; `sizes` are the numbers of proxies of each label."""

    evaluation: Evaluation
    zero_proxies: bool
    sizes: tuple[int, ...]
    gen_seconds: float


class _Group:
    """The cells that read the same embeddings."""

    def __init__(
        self,
        features: Features,
        crew: Workers,
        settings: EngineSettings,
        disk: ProxyCache,
        ledger: Ledger,
        *,
        keep_predictions: bool = False,
    ) -> None:
        self._features, self._crew, self._disk, self._ledger = features, crew, disk, ledger
        self._bytes = int(settings.memory_gb * 1e9)
        self._keep_predictions = keep_predictions
        self._queries = Queries(features, ledger)

    def run(self, by_task: Cells) -> Iterator[Outcome]:
        """The outcomes of the cells."""
        fingerprints: dict[tuple[Task, str], str] = {}
        good: dict[Task, list[Cell]] = {}
        for task, cells in by_task.items():
            for split in dict.fromkeys(cell.scheme.split for cell in cells):
                some = [cell for cell in cells if cell.scheme.split == split]
                try:
                    fingerprints[task, split] = self._features.open(task, READS[split])
                except EmbeddingsError as error:
                    # The fingerprint under which the plan looks the cells up.
                    recorded = self._features.recorded(task, READS[split])
                    for cell in some:
                        yield _failed(cell, recorded, error)
                else:
                    good.setdefault(task, []).extend(some)
        for cells, result in self.evaluations(good):
            if isinstance(result, Failure):
                for cell in cells:
                    yield _failed(cell, fingerprints[cell.task, cell.scheme.split], result.error)
                continue
            counts = scores(result.evaluation.confusion)
            for cell in cells:
                yield Outcome(
                    cell=cell,
                    computation_id=cell.computation_id(zero_proxies=result.zero_proxies),
                    fingerprint=fingerprints[cell.task, cell.scheme.split],
                    n_correct=counts.n_correct,
                    n_test=counts.n_test,
                    correct=counts.correct,
                    f1=counts.f1,
                    f1_macro=counts.f1_macro,
                    f1_weighted=counts.f1_weighted,
                    n_proxies=sum(result.sizes),
                    k_chosen=None if cell.scheme.select_rule is None else result.sizes,
                    gen_seconds=result.gen_seconds,
                    eval_seconds=result.evaluation.seconds,
                )

    def evaluations(self, by_task: Cells) -> Iterator[tuple[Sequence[Cell], _Result | Failure]]:
        """Each distinct computation with the cells that share it."""
        draws: dict[Draw, dict[GenSpec, dict[Task, list[Cell]]]] = {}
        for task, cells in by_task.items():
            for cell in cells:
                form = normal_form(cell.scheme, len(task.labels))
                if form.select_rule not in (None, *GENS[form.gen].rules):
                    raise ValueError(f"the cells that choose k for {cell.cell_id} come first")
                spec = GenSpec.of(form)
                draws.setdefault(spec.draw, {}).setdefault(spec, {}).setdefault(task, []).append(cell)
        for draw in sorted(draws):
            queries = Queries(self._features, self._ledger, draw) if draw.validation else self._queries
            for specs in self._parts(draws[draw]):
                labels = dict.fromkeys(label for tasks in specs.values() for task in tasks for label in task.labels)
                generation = Generation(
                    self._features,
                    self._ledger,
                    self._disk,
                    memory_bytes=self._bytes,
                    threads=self._crew.threads,
                    keep_samples=self._features.nbytes("train", labels) < self._bytes / 4,
                    keep_moments=self._moment_bytes(specs) < self._bytes / 4,
                )
                for batch in self._batches(specs):
                    yield from self._batch(generation, batch, queries)
                    generation.forget()

    def _parts(self, specs: Mapping[GenSpec, Cells]) -> Iterator[Mapping[GenSpec, Cells]]:
        """Parts of a draw, by task, whose second moments fit into memory, where those of all do not.

        Remapped tasks share few labels, if any, so hardly anything is made twice. Tasks whose moments do not fit even
        alone stay together: they make theirs again and again.
        """
        tasks = dict.fromkeys(task for by_task in specs.values() for task in by_task)
        if self._moment_bytes(specs) < self._bytes / 4:
            yield specs
            return
        part: list[Task] = []
        large: list[Task] = []
        for task in tasks:
            if self._moment_bytes(_of_tasks(specs, [task])) >= self._bytes / 4:
                large.append(task)
                continue
            if self._moment_bytes(_of_tasks(specs, [*part, task])) >= self._bytes / 4:
                yield _of_tasks(specs, part)
                part = []
            part.append(task)
        for some in (part, large):
            if some:
                yield _of_tasks(specs, some)

    def _batches(self, specs: Mapping[GenSpec, Cells]) -> Iterator[Mapping[GenSpec, Cells]]:
        """Specs of one draw that are made at once: enough to keep the threads busy, and few enough to hold."""
        batch: dict[GenSpec, Cells] = {}
        n_jobs, n_bytes = 0, 0.0
        for round_ in self._rounds(specs):
            jobs = self._jobs({spec: specs[spec] for spec in round_})
            size = sum(self._proxy_bytes(label, spec) for label, made in jobs for spec in made)
            if batch and (n_jobs >= 2 * self._crew.threads or n_bytes + size > self._bytes / 16):
                yield batch
                batch, n_jobs, n_bytes = {}, 0, 0.0
            batch |= {spec: specs[spec] for spec in round_}
            n_jobs, n_bytes = n_jobs + len(jobs), n_bytes + size
        yield batch

    def _rounds(self, specs: Mapping[GenSpec, Cells]) -> list[list[GenSpec]]:
        """Specs of one draw that share what is forgotten after them, as far as that fits into memory."""
        sharing: dict[object, list[GenSpec]] = defaultdict(list)
        for spec in sorted(specs):
            sharing[spec.round].append(spec)
        rounds: list[list[GenSpec]] = []
        for together in sharing.values():
            rounds.append([])
            held = 0.0
            # What two gens share of a (k, seed) they share in one round; a rule shares every k of a seed.
            key = _seed if any(spec.variant.rule for spec in together) else _fit
            for _, alike in groupby(sorted(together, key=key), key=key):
                these = list(alike)
                size = sum(self._batch_bytes(spec, specs[spec]) for spec in these)
                full = held + size > self._bytes / 8 or len(rounds[-1]) >= AT_ONCE
                if rounds[-1] and full:
                    rounds.append([])
                    held = 0.0
                rounds[-1] += these
                held += size
        return rounds

    def _batch_bytes(self, spec: GenSpec, by_task: Cells) -> float:
        """What a spec adds to a round: to the batches of as many classes as there are threads, and what all keep."""
        labels = dict.fromkeys(label for task in by_task for label in task.labels)
        kept, batches = 0.0, []
        for label in labels:
            n = self._features.count("train", label)
            d = self._features_of(label)
            n = min(n, spec.draw.n_shot or n)
            kept += 4 * n + self._proxy_bytes(label, spec)
            batches.append(GENS[spec.gen].batch_bytes(n, d, spec.variant))
        return kept + sum(sorted(batches, reverse=True)[: self._crew.threads])

    def _jobs(self, specs: Mapping[GenSpec, Cells]) -> list[tuple[Label, list[GenSpec]]]:
        """What one thread makes at once: one spec for one label, all of a round, or a batch."""
        jobs: dict[tuple[Label, object], list[GenSpec]] = defaultdict(list)
        batches: dict[tuple[Label, object], list[GenSpec]] = defaultdict(list)
        for spec, by_task in specs.items():
            for label in dict.fromkeys(label for task in by_task for label in task.labels):
                match GENS[spec.gen].making:
                    case Making.ONE_BY_ONE:
                        jobs[label, spec].append(spec)
                    case Making.IN_ONE_JOB:
                        jobs[label, spec.round].append(spec)
                    case Making.IN_BATCHES:
                        batches[label, (spec.gen, spec.round)].append(spec)
        # Every thread gets a batch where there are fewer classes than threads.
        parts = -(-self._crew.threads // max(len(batches), 1))
        for (label, key), wanted in batches.items():
            for part in range(min(parts, len(wanted))):
                jobs[label, (key, part)] = wanted[part::parts]
        return [(label, wanted) for (label, _), wanted in jobs.items()]

    def _proxy_bytes(self, label: Label, spec: GenSpec) -> float:
        """What the proxies of one label take, at most."""
        n = self._features.count("train", label)
        most = GENS[spec.gen].per_class(spec.variant.k)
        rows = min(n, spec.draw.n_shot or n, n if most is None else most)
        by = self._map(spec, label)
        return 4 * rows * (self._features_of(label) if by is None else by.width)

    def _features_of(self, label: Label) -> int:
        """d."""
        return self._features.nbytes("train", [label]) // (4 * self._features.count("train", label))

    def _map(self, spec: GenSpec, label: Label) -> QueryMap | None:
        """The map of queries into the space of a spec's proxies."""
        return GENS[spec.gen].query_map(self._features_of(label), spec.variant)

    def _moment_bytes(self, specs: Mapping[GenSpec, Cells]) -> float:
        """What is kept of all labels and tasks: second moments, what is solved of them, what metrics know of labels."""
        tasks: dict[tuple[object, object], tuple[GenSpec, dict[Task, None]]] = {}
        known: dict[tuple[Label, Setting], None] = {}
        for spec, by_task in specs.items():
            if isinstance(gen := GENS[spec.gen], JointGen):
                key = spec.unit, gen.solver(spec.variant)
                tasks.setdefault(key, (spec, {}))[1].update(dict.fromkeys(by_task))
            metrics = {(task, cell.scheme.setting("metric")) for task, cells in by_task.items() for cell in cells}
            of_classes = (one for one in metrics if isinstance(METRICS[one[1]], ClassMetric))
            known |= {(label, metric): None for task, metric in of_classes for label in task.labels}
        labels: dict[tuple[object, Label], GenSpec] = {}
        total = sum(cast(ClassMetric, METRICS[of]).nbytes(self._features_of(label)) for label, of in known)
        for (unit, _), (spec, solved) in tasks.items():
            gen = cast(JointGen, GENS[spec.gen])
            labels |= {(unit, label): spec for task in solved for label in task.labels}
            total += len(solved) * gen.task_bytes(self._features_of(next(iter(solved)).labels[0]), spec.variant)
        for (_, label), spec in labels.items():
            n = self._features.count("train", label)
            n = min(n, spec.draw.n_shot or n)
            total += cast(JointGen, GENS[spec.gen]).class_bytes(n, self._features_of(label), spec.variant)
        return total

    def _batch(
        self, generation: Generation, specs: Mapping[GenSpec, Cells], queries: Queries
    ) -> Iterator[tuple[Sequence[Cell], _Result | Failure]]:
        """GEN for some specs, labels and specs in parallel, then the searches of each spec."""
        made: dict[GenSpec, dict[Label, Timed[Samples] | Failure]] = {spec: {} for spec in specs}
        # k_least_squares after kmeans: it finds the clusterings, and no thread waits for those of another.
        for joint in (False, True):
            jobs = self._jobs({spec: by_task for spec, by_task in specs.items() if spec.joint == joint})
            for (label, wanted), found in self._crew.map(lambda job: generation.per_label(*job), jobs):
                for spec in wanted:
                    if isinstance(found, Failure):
                        made[spec][label] = found
                    elif spec in found:
                        made[spec][label] = found[spec]
        for spec, by_task in specs.items():
            of_spec, known = made.pop(spec), KnownOfClasses(generation, spec.draw)
            failed = {label: found for label, found in of_spec.items() if isinstance(found, Failure)}
            sound: dict[Task, Sequence[Cell]] = {}
            for task, cells in by_task.items():
                failure = next((failed[label] for label in task.labels if label in failed), None)
                if failure is None:
                    sound[task] = cells
                else:
                    yield cells, failure
            if spec.joint:
                for task, solved in self._crew.map(lambda task: generation.joint(task.labels, spec), sound):  # noqa: B023
                    if isinstance(solved, Failure):
                        yield sound[task], solved
                    else:
                        yield from self._readouts(spec, solved, {task: sound[task]}, queries, known)
            else:
                proxies = {label: found for label, found in of_spec.items() if not isinstance(found, Failure)}
                for largest, tasks in _families(sound).items():
                    of_family = {label: proxies[label] for label in largest.labels}
                    by_tasks = {task: sound[task] for task in tasks}
                    yield from self._readouts(spec, of_family, by_tasks, queries, known)

    def _readouts(
        self,
        spec: GenSpec,
        made: Mapping[Label, Timed[Samples]],
        by_task: Cells,
        queries: Queries,
        known: KnownOfClasses,
    ) -> Iterator[tuple[Sequence[Cell], _Result | Failure]]:
        """The searches of one GEN result."""
        proxies = Proxies(
            {label: len(timed.value) for label, timed in made.items()},
            next(iter(made.values())).value.shape[1] - GENS[spec.gen].biased,
            lambda: {label: timed.value for label, timed in made.items()},
            biased=GENS[spec.gen].biased,
        )
        sharing: dict[tuple[Task, Readout], list[Cell]] = defaultdict(list)
        zero_labels = {label for label, timed in made.items() if not timed.value.any(axis=1).all()}
        zero = {task: not zero_labels.isdisjoint(task.labels) for task in by_task}
        for task, cells in by_task.items():
            for cell in cells:
                form = normal_form(cell.scheme, len(task.labels), zero_proxies=zero[task])
                sharing[task, Readout.of(form)].append(cell)
        compared, mapping = self._compared(spec, list(sharing), queries)
        found = evaluate(
            proxies,
            list(sharing),
            compared,
            known,
            self._crew,
            memory_bytes=self._bytes,
            ledger=self._ledger,
            keep_predictions=self._keep_predictions,
        )
        for (task, readout), evaluation in found:
            if isinstance(evaluation, Failure):
                yield sharing[task, readout], evaluation
                continue
            evaluation.seconds += sum(mapping.get((label, readout.norm_inf), 0.0) for label in task.labels)
            yield (
                sharing[task, readout],
                _Result(
                    evaluation=evaluation,
                    zero_proxies=zero[task],
                    sizes=tuple(len(made[label].value) for label in task.labels),
                    gen_seconds=sum(made[label].seconds for label in task.labels),
                ),
            )

    def _compared(
        self, spec: GenSpec, wanted: Sequence[tuple[Task, Readout]], queries: Queries
    ) -> tuple[AnyQueries, Mapping[tuple[Label, Setting], float]]:
        """The queries of a spec, mapped where its gen does that; and what mapping them took, by label and NORM_inf."""
        asked = dict.fromkeys((label, readout.norm_inf) for task, readout in wanted for label in task.labels)
        by = self._map(spec, next(iter(asked))[0])
        if by is None:
            return queries, {}
        mapped = queries.mapped(by, asked, self._bytes // 8)
        timed = self._crew.map(lambda key: mapped.seconds(*key), asked)
        return mapped, {key: took for key, took in timed if not isinstance(took, Failure)}  # a search fails as well


def _of_tasks(specs: Mapping[GenSpec, Cells], tasks: Sequence[Task]) -> dict[GenSpec, Cells]:
    """The cells of some tasks."""
    chosen = {spec: {task: by_task[task] for task in tasks if task in by_task} for spec, by_task in specs.items()}
    return {spec: by_task for spec, by_task in chosen.items() if by_task}


def _fit(spec: GenSpec) -> tuple[int, int]:
    return spec.variant.k, spec.variant.seed


def _seed(spec: GenSpec) -> tuple[int]:
    return (spec.variant.seed,)


def _families(tasks: Iterable[Task]) -> dict[Task, list[Task]]:
    """Tasks that are searched together: a task, and those whose labels are all among its own."""
    families: dict[Task, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: -len(task.labels)):
        fitting = (largest for largest in families if set(task.labels) <= set(largest.labels))
        families.setdefault(next(fitting, task), []).append(task)
    return families


def _failed(cell: Cell, fingerprint: str, error: Exception) -> Outcome:
    return Outcome(
        cell=cell,
        computation_id=cell.computation_id(),
        fingerprint=fingerprint,
        status=FAILED,
        error=str(Failure(error)),
    )
