"""From proxies to confusion matrices: every readout of one GEN result, sharing all that its searches have in common.

A *pass* is one matrix of filter scores between queries and proxies:

* one pass of inner products serves all product metrics under every scaling of either side; a large one takes them in a
  few directions, if that rules enough out (:mod:`imprint_sweep.imprinting.agg.directions`);
* a dense metric (Manhattan) needs a pass for each normalisation of both sides;
* a fitted metric (Mahalanobis) needs one for each task and NORM_post, because it depends on the task's proxies;
* a metric by class needs a pass for each normalisation of both sides, and finds the nearest proxies class after class;
* sequential norms (quantile) and joint gens give each task proxies of its own, hence passes of its own.

Everywhere else the proxies of a class, hence the columns of the scores, serve every task that contains the class. Where
many tasks do, as the steps of a stream of classes, each class is searched once for all of them.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import chain
from typing import cast

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.engine.gen import KnownOfClasses
from imprint_sweep.engine.ledger import Ledger
from imprint_sweep.engine.memory import Once, Together, metered
from imprint_sweep.engine.queries import NONE, MappedQueries, Queries
from imprint_sweep.engine.workers import Failure, Workers
from imprint_sweep.grid.cell import Label, Task
from imprint_sweep.grid.keys import Readout, View
from imprint_sweep.imprinting import vectors
from imprint_sweep.imprinting.agg import class_scores, search, several_tasks, voting
from imprint_sweep.imprinting.agg.comparison import Comparison, merged
from imprint_sweep.imprinting.agg.directions import LARGE, PART, Directions, Projected, directions_that_save_time
from imprint_sweep.imprinting.agg.several_tasks import SHARED
from imprint_sweep.imprinting.components import (
    AGGREGATIONS,
    METRICS,
    NORMS,
    WEIGHTINGS,
    ClassMetric,
    ClassScore,
    DenseMetric,
    FittedMetric,
    Map,
    Position,
    ProductMetric,
    SequentialNorm,
    Setting,
    Weighting,
)
from imprint_sweep.imprinting.generation import normalised, without_biases
from imprint_sweep.imprinting.vectors import Filter, Vectors

Rows = NDArray[np.float32]
Key = tuple[Task, Readout]
Searches = Mapping[Task, Mapping[View, Sequence[Readout]]]
Geometry = tuple[Vectors, Vectors, Filter, search.Products | None]
AnyQueries = Queries | MappedQueries

CHUNK = 1024
"""Queries of one job."""

MAPPED_AT_ONCE = 2048
"""Proxies that one thread maps before it looks for more."""

SAMPLE = 2000
"""Queries in whose directions products may be taken."""

MERGED_AT_ONCE = 1 << 20
"""Neighbours of several tasks that are held at a time."""

AT_ONCE = 2
"""Passes in flight at most: the next one fills the threads while the last jobs of one are running."""


@dataclass
class Evaluation:
    """What one readout says of one task.

    Args:
        confusion: (C, C) int64, true label by predicted label.
        seconds: compute time of everything after GEN that it took part in, also where that was shared.
        predictions: blocks of predicted labels by true label, in sample order; only if they are to be kept.
    """

    confusion: NDArray[np.int64]
    seconds: float = 0.0
    predictions: dict[int, list[NDArray[np.int32]]] = field(default_factory=lambda: defaultdict(list))


class Proxies:
    """Proxies of several labels as one matrix, and the same after each NORM_post.

    Args:
        sizes: number of proxies of each label, in the order of the matrix.
        features: d.
        by_label: makes the proxies, (k_c, d) float32 each; called once.
        biased: whether they have a column more, their biases.
    """

    def __init__(
        self,
        sizes: Mapping[Label, int],
        features: int,
        by_label: Callable[[], Mapping[Label, Rows]],
        *,
        biased: bool = False,
    ) -> None:
        self.sizes, self.features, self._biased = sizes, features, biased
        stops = np.cumsum(list(sizes.values())).tolist()
        self._columns = {label: (stop - size, stop) for (label, size), stop in zip(sizes.items(), stops, strict=True)}
        self._make = by_label
        self._by_label = Once[Mapping[Label, Rows]]()
        self._after: dict[Setting, Once[Vectors]] = {}

    def __len__(self) -> int:
        return sum(self.sizes.values())

    def by_label(self) -> Mapping[Label, Rows]:
        """The proxies of each label, (k_c, d)."""
        return self._by_label(self._make)

    def after(self, norm_post: Setting) -> Vectors:
        """All proxies, (p, d), after a norm. (A sequential one has made other proxies by then.)"""
        if norm_post == NONE or isinstance(NORMS[norm_post], SequentialNorm):
            made = self._after.setdefault(NONE, Once())
            return made(self._measured)
        rows = self.after(NONE).rows
        made = self._after.setdefault(norm_post, Once())
        return made(lambda: Vectors.of(normalised(rows, norm_post, Position.POST)))

    def _measured(self) -> Vectors:
        rows = np.concatenate([self.by_label()[label] for label in self.sizes])
        rows, biases = without_biases(rows, biased=self._biased)
        return Vectors.of(rows, biases=biases)

    def columns(self, task: Task) -> list[tuple[int, int]]:
        """The ranges of the rows that belong to the task's labels, in task order."""
        return [self._columns[label] for label in task.labels]

    def labels(self, task: Task) -> NDArray[np.int32]:
        """The task's label of each of its proxies, in task order."""
        return np.repeat(np.arange(len(task.labels), dtype=np.int32), [self.sizes[label] for label in task.labels])

    def imprinted(self, task: Task, norm: SequentialNorm) -> Proxies:
        """The task's proxies after a norm that depends on the order of its labels."""

        def compute() -> Mapping[Label, Rows]:
            normalised = norm.imprint([self.by_label()[label] for label in task.labels])
            return dict(zip(task.labels, normalised, strict=True))

        return Proxies({label: self.sizes[label] for label in task.labels}, self.features, compute)


class _Room(threading.local):
    """Where a thread puts scores: to take new memory for each block costs several times as much as rough products."""

    def __init__(self) -> None:
        self._scores = np.empty(0, np.float32)

    def __call__(self, b: int, p: int) -> NDArray[np.float32]:
        """Room for (b, p) scores, in the place of the thread's last ones."""
        if self._scores.size < b * p:
            self._scores = np.empty(b * p, np.float32)
        return self._scores[: b * p].reshape(b, p)


_ROOM = _Room()


class Block(ABC):
    """Some queries against all proxies of a pass.

    Attributes:
        views: the views that can be searched.
        operations: floating-point operations behind the scores.
    """

    views: Sequence[View]
    operations: int

    @abstractmethod
    def nearest(
        self, view: View, columns: Sequence[tuple[int, int]], m: int, *, distances: bool = True
    ) -> search.Neighbors:
        """The m nearest of some proxies in a view; see :func:`~imprint_sweep.imprinting.agg.search.nearest`."""

    @abstractmethod
    def nearest_of_each(self, view: View, classes: Sequence[tuple[int, int]], m: int) -> NDArray[np.float64]:
        """Of each class in a view; see :func:`~imprint_sweep.imprinting.agg.search.nearest_of_each`."""

    @abstractmethod
    def highest(
        self, view: View, columns: Sequence[tuple[int, int]], aggregations: Sequence[ClassScore]
    ) -> NDArray[np.int32]:
        """The class with the largest score; see :func:`~imprint_sweep.imprinting.agg.class_scores.highest`."""


@dataclass(frozen=True, eq=False)
class Scored(Block):
    """A block of filter scores.

    Args:
        scores: (b, p) float32 filter scores; the thread's next block may take their place.
        views: the views that they serve.
        geometry: for a view, its queries, its proxies, how the scores bound their exact values, and what lowers the
            ceilings of rough scores.
        operations: floating-point operations behind the scores.
    """

    scores: NDArray[np.float32]
    views: Sequence[View]
    geometry: Callable[[View], Geometry]
    operations: int

    def nearest(
        self, view: View, columns: Sequence[tuple[int, int]], m: int, *, distances: bool = True
    ) -> search.Neighbors:
        """Narrowed down by the scores, decided by exact values."""
        queries, proxies, bounds, products = self.geometry(view)
        metric = METRICS[view.metric]
        return search.nearest(
            self.scores, bounds, metric, queries, proxies, columns, m, distances=distances, products=products
        )

    def nearest_of_each(self, view: View, classes: Sequence[tuple[int, int]], m: int) -> NDArray[np.float64]:
        """Narrowed down by the scores, decided by exact values."""
        queries, proxies, bounds, products = self.geometry(view)
        metric = METRICS[view.metric]
        return search.nearest_of_each(self.scores, bounds, metric, queries, proxies, classes, m, products=products)

    def highest(
        self, view: View, columns: Sequence[tuple[int, int]], aggregations: Sequence[ClassScore]
    ) -> NDArray[np.int32]:
        """Narrowed down by the scores, decided by exact values."""
        queries, proxies, bounds, _ = self.geometry(view)
        return class_scores.highest(self.scores, bounds, METRICS[view.metric], queries, proxies, columns, aggregations)


@dataclass(frozen=True, eq=False)
class OfClass:
    """What is found of one class for some queries.

    Args:
        nearest: of its proxies.
        scores: of the class, (b,) float64, by what makes them.
    """

    nearest: search.Neighbors
    scores: Mapping[ClassScore, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Found(Block):
    """A block of queries for which the nearest proxies of each class, or the scores of classes, are known.

    Args:
        of_class: for the first column of each class, what is found of it.
        views: the one view.
        operations: none: they were counted where the proxies were found.
    """

    of_class: Mapping[int, OfClass]
    views: Sequence[View]
    operations: int = 0

    def nearest(
        self, view: View, columns: Sequence[tuple[int, int]], m: int, *, distances: bool = True
    ) -> search.Neighbors:
        """Merged from those of the classes, which are in `columns` as a whole."""
        found = [self.of_class[start].nearest for start, _ in columns]
        return merged(found, [stop - start for start, stop in columns], m)

    def nearest_of_each(self, view: View, classes: Sequence[tuple[int, int]], m: int) -> NDArray[np.float64]:
        """What was found of them."""
        found = [self.of_class[start].nearest.distance for start, _ in classes]
        out = np.zeros((len(found[0]), len(classes), m))
        for c, distance in enumerate(found):
            out[:, c, : distance.shape[1]] = distance[:, :m]
        return out

    def highest(
        self, view: View, columns: Sequence[tuple[int, int]], aggregations: Sequence[ClassScore]
    ) -> NDArray[np.int32]:
        """The first of the largest scores."""
        scores = np.stack([[self.of_class[start].scores[one] for start, _ in columns] for one in aggregations])
        found: NDArray[np.int32] = scores.argmax(axis=1).astype(np.int32)
        return found


class Pass(ABC):
    """Filter scores of all queries against all proxies, and the searches that read them."""

    stage: str

    def __init__(self, proxies: Proxies, queries: AnyQueries, searches: Searches) -> None:
        self.proxies, self.queries, self.searches = proxies, queries, searches
        self.views = list(dict.fromkeys(view for views in searches.values() for view in views))
        self.columns = {task: proxies.columns(task) for task in searches}
        """The columns of the scores that belong to a task's labels, in task order."""
        self.width = len(proxies)
        """The number of columns of the scores."""

    @property
    def nbytes(self) -> int:
        """Bytes that the pass holds for itself while it is in flight."""
        return 0

    @cached_property
    def classes(self) -> list[tuple[int, int]]:
        """The columns of each class."""
        return list(dict.fromkeys(columns for ranges in self.columns.values() for columns in ranges))

    @cached_property
    def members(self) -> dict[Task, NDArray[np.int64]]:
        """The classes of each task, in task order, as positions in :attr:`classes`."""
        place = {columns: position for position, columns in enumerate(self.classes)}
        return {task: np.array([place[of] for of in ranges], np.int64) for task, ranges in self.columns.items()}

    @cached_property
    def widths(self) -> dict[Task, int]:
        """The number of columns of each task."""
        return {task: sum(stop - start for start, stop in ranges) for task, ranges in self.columns.items()}

    def shares(self, searches: Mapping[Task, float]) -> bool:
        """Whether each class is to be searched once for all of some tasks.

        Args:
            searches: how many searches a query takes part in, of each task.
        """
        return sum(self.widths[task] * n for task, n in searches.items()) >= SHARED * self.width

    @abstractmethod
    def blocks(self, label: Label, chunk: slice, size: int) -> Iterator[Block]:
        """A chunk of one label's queries in blocks of `size`."""

    def failure(self, task: Task, label: Label) -> Exception | None:
        """Why the queries of a label cannot be compared with the proxies of a task, once there are blocks."""
        return None

    def shared_seconds(self, task: Task) -> float:
        """What was computed for the task outside of the pass, to be shared with others."""
        return 0.0


class ProductPass(Pass):
    """Inner products of vectors in one scaling: product metrics and the other scalings are made from them."""

    stage = "inner_products"

    def __init__(self, proxies: Proxies, queries: AnyQueries, searches: Searches) -> None:
        super().__init__(proxies, queries, searches)
        self._post, self._inf = _unscaled(self.views[0], queries)
        self._parts = _split(slice(0, self.width), MAPPED_AT_ONCE)
        self._directions = Once[Directions | None]()
        self._projected = Once[Projected]()
        self._fill = Together(len(self._parts))

    @property
    def nbytes(self) -> int:
        """The proxies in directions."""
        return 4 * self.width * self.proxies.features // PART

    def _choose(self) -> Directions | None:
        labels = dict.fromkeys(label for task in self.searches for label in task.labels)
        n_queries = sum(self.queries.count(label) for label in labels)
        if n_queries * self.width * self.proxies.features < LARGE:
            return None
        step = max(1, n_queries // SAMPLE)
        sample = np.concatenate([self.queries(label, self._inf, slice(None, None, step)).rows for label in labels])
        ms = [readout.m for views in self.searches.values() for readouts in views.values() for readout in readouts]
        if not all(ms):
            return None  # the score of a class is made from the values of all of its proxies
        asked = {task: sum(map(self.queries.count, task.labels)) for task in self.searches}
        shared = self.shares({task: n / n_queries for task, n in asked.items()})
        searches = sum(len(views) * asked[task] for task, views in self.searches.items()) / n_queries
        return directions_that_save_time(
            Vectors.of(sample),
            self.proxies.after(self._post),
            len(self.views) if shared else searches,
            max(ms),
            self.classes if shared else None,
        )

    def _few_proxies(self, directions: Directions) -> Projected:
        """All proxies in directions, made in parts by the threads that wait for them."""
        shape = self.width, directions.columns.shape[1]
        few = self._projected(lambda: Projected(np.empty(shape, np.float32), np.empty(shape[0])))

        def project(part: int) -> None:
            rows = self._parts[part]
            found = directions.project(self.proxies.after(self._post)[rows])
            few.rows[rows], few.outside[rows] = found.rows, found.outside

        self._fill(project)
        return few

    def blocks(self, label: Label, chunk: slice, size: int) -> Iterator[Block]:
        raw_proxies = self.proxies.after(self._post)
        directions = self._directions(self._choose)
        few_proxies = None if directions is None else self._few_proxies(directions)
        for rows in _split(chunk, size):
            raw_queries = self.queries(label, self._inf, rows)
            few_queries = None if directions is None else directions.project(raw_queries)

            @cache  # for all tasks
            def geometry(
                view: View, rows: slice = rows, raw: Vectors = raw_queries, few: Projected | None = few_queries
            ) -> Geometry:
                queries = raw if view.norm_inf == self._inf else self.queries(label, view.norm_inf, rows)
                proxies = self.proxies.after(view.norm_post)
                bounds = cast(ProductMetric, METRICS[view.metric]).bounds(raw, raw_proxies, queries, proxies)
                if few is None or few_proxies is None:
                    return queries, proxies, bounds, None
                products = search.Products(raw.rows, raw_proxies.rows, bounds)
                return queries, proxies, bounds.widened(few.outside, few_proxies.outside), products

            of_queries, of_proxies = few_queries or raw_queries, few_proxies or raw_proxies
            scores = vectors.inner_products(of_queries.rows, of_proxies.rows, _ROOM(len(of_queries.rows), self.width))
            yield Scored(scores, self.views, geometry, 2 * scores.size * of_queries.rows.shape[1])


class DensePass(Pass):
    """The fast scores of a dense metric in the one view of `searches`."""

    def __init__(self, proxies: Proxies, queries: AnyQueries, searches: Searches) -> None:
        super().__init__(proxies, queries, searches)
        (self._view,) = self.views
        self._metric = cast(DenseMetric, METRICS[self._view.metric])
        self.stage = self._metric.name

    def blocks(self, label: Label, chunk: slice, size: int) -> Iterator[Block]:
        view, metric = self._view, self._metric
        proxies = self.proxies.after(view.norm_post)
        for rows in _split(chunk, size):
            queries = self.queries(label, view.norm_inf, rows)
            geometry = queries, proxies, metric.bounds(queries, proxies), None
            scores = metric.fast(queries.rows, proxies.rows)
            yield Scored(scores, self.views, _always(geometry), scores.size * queries.rows.shape[1])


class FittedPass(Pass):
    """Inner products of mapped vectors, for the one metric, task and NORM_post of `searches`.

    No other proxies take part.
    """

    def __init__(self, proxies: Proxies, queries: AnyQueries, searches: Searches) -> None:
        super().__init__(proxies, queries, searches)
        self._metric = cast(FittedMetric, METRICS[self.views[0].metric])
        self.stage = self._metric.name
        ((task, self._ranges),) = self.columns.items()
        stops = np.cumsum([stop - start for start, stop in self._ranges]).tolist()
        self.columns = {task: list(zip([0, *stops[:-1]], stops, strict=True))}
        self.width = stops[-1]
        # The proxies in parts, and the columns that they become.
        starts = [start for start, _ in self.columns[task]]
        self._parts = [
            (rows, slice(rows.start - a + start, rows.stop - a + start))
            for (a, b), start in zip(self._ranges, starts, strict=True)
            for rows in _split(slice(a, b), MAPPED_AT_ONCE)
        ]
        self._map = Once[Map]()
        self._mapped = Once[tuple[Vectors, NDArray[np.float32]]]()
        self._fill = Together(len(self._parts))

    @property
    def nbytes(self) -> int:
        """The mapped proxies, float64 and float32."""
        return 12 * self.width * min(self.width, self.proxies.features)

    def _rows(self) -> Rows:
        """All proxies after NORM_post, those of other tasks among them."""
        return self.proxies.after(self.views[0].norm_post).rows

    def _fitted(self) -> Map:
        def fit() -> Map:
            rows = self._rows()
            # In task order: the whole is not copied where it is what the task has.
            whole = self._ranges == self.columns[next(iter(self.columns))] and self.width == len(rows)
            return self._metric.fit(rows if whole else np.concatenate([rows[a:b] for a, b in self._ranges]))

        return self._map(fit)

    def _room(self) -> tuple[Vectors, NDArray[np.float32]]:
        """Where the mapped proxies go: exact, and as the fast scores take them. All of them share the same rest."""
        shape = self.width, self._fitted().width
        return Vectors(np.empty(shape), np.empty(shape[0]), np.zeros(shape[0])), np.empty(shape, np.float32)

    def _map_part(self, part: int) -> None:
        """Map one part of the proxies."""
        mapped, narrow = self._mapped(self._room)
        rows, columns = self._parts[part]
        found = self._fitted().transform(self._rows()[rows])
        mapped.rows[columns], mapped.lengths[columns] = found.rows, found.lengths
        narrow[columns] = vectors.narrowed(found.rows)

    def blocks(self, label: Label, chunk: slice, size: int) -> Iterator[Block]:
        self._fill(self._map_part)
        proxies, narrow = self._mapped(self._room)
        for view in self.views:
            queries = self._fitted().transform(self.queries(label, view.norm_inf, chunk).rows)
            for rows in _split(slice(0, len(queries)), size):
                block = queries[rows]
                geometry = block, proxies, self._metric.bounds(block, proxies, block, proxies), None
                scores = vectors.inner_products(vectors.narrowed(block.rows), narrow, _ROOM(len(block), self.width))
                operations = 2 * scores.size * narrow.shape[1]
                yield Scored(scores, [view], _always(geometry), operations)


_NONE_NEAR = search.Neighbors(np.empty((0, 0), np.int32), np.empty((0, 0)))


class ClassPass(Pass):
    """The nearest proxies of each class, under the map of the class, in the one view of `searches`.

    Where what the metric knows of all classes does not fit into memory, all queries are compared with one class after
    the other.
    """

    def __init__(self, proxies: Proxies, queries: AnyQueries, searches: Searches, known: KnownOfClasses) -> None:
        super().__init__(proxies, queries, searches)
        (self._view,) = self.views
        self.stage = METRICS[self._view.metric].name
        self._known = known
        wanted = [readout for views in searches.values() for readouts in views.values() for readout in readouts]
        self._m = max(readout.m for readout in wanted)
        self._scores = list(dict.fromkeys(_class_score(readout) for readout in wanted if not readout.m))
        self._columns: dict[Label, tuple[int, int]] = {}
        for task, ranges in self.columns.items():
            self._columns |= zip(task.labels, ranges, strict=True)
        self._compared = {label: Once[Comparison]() for label in self._columns}
        self._found: dict[tuple[Label, Label, int], OfClass] = {}
        self._failures: dict[tuple[Label, Label], Exception] = {}
        self._seconds: dict[Label, float] = {}
        chunks = [(label, rows) for label in self._columns for rows in _split(slice(0, queries.count(label)), CHUNK)]
        self._parts = [(of, [chunk]) for chunk in chunks for of in self._columns]
        if not known.kept:
            self._parts = [(of, chunks) for of in self._columns]
        self._fill = Together(len(self._parts))

    @property
    def nbytes(self) -> int:
        """The mapped proxies, float64 and float32, and what is found."""
        n_queries = sum(self.queries.count(label) for label in self._columns)
        found = sum(min(self._m, stop - start) for start, stop in self._columns.values())
        held = 12 * found + 8 * len(self._scores) * len(self._columns)
        return 12 * self.width * self.proxies.features * self._known.kept + n_queries * held

    def _comparison(self, of: Label) -> Comparison:
        """The proxies of a class as the metric sees them."""

        def make() -> Comparison:
            timed = self._known(of, self._view.metric)
            self._seconds[of] = timed.seconds
            rows = self.proxies.after(self._view.norm_post).rows[slice(*self._columns[of])]
            return Comparison(self._view.metric, rows, of_class=timed.value)

        return self._compared[of](make) if self._known.kept else make()

    def _find(self, part: int) -> None:
        """The nearest proxies of one class, for some chunks of queries."""
        of, chunks = self._parts[part]
        try:
            comparison = self._comparison(of)
        except Exception as error:
            self._failures |= {(label, of): error for label, _ in chunks}
            return
        for label, rows in chunks:
            try:
                queries = self.queries(label, self._view.norm_inf, rows).rows
                size = len(comparison.proxies)
                scores = {one: comparison.scores(queries, [size], one)[:, 0] for one in self._scores}
                nearest = comparison.nearest(queries, self._m) if self._m else _NONE_NEAR
                self._found[of, label, rows.start] = OfClass(nearest, scores)
            except Exception as error:
                self._failures[label, of] = error

    def blocks(self, label: Label, chunk: slice, size: int) -> Iterator[Block]:
        self._fill(self._find)
        found = {
            start: self._found[of, label, chunk.start]
            for of, (start, _) in self._columns.items()
            if (label, of) not in self._failures
        }
        n, d = chunk.stop - chunk.start, self.proxies.features
        yield Found(found, self.views, n * d * (d * len(self._columns) + 2 * self.width))

    def failure(self, task: Task, label: Label) -> Exception | None:
        return next((self._failures[label, of] for of in task.labels if (label, of) in self._failures), None)

    def shared_seconds(self, task: Task) -> float:
        return sum(self._seconds.get(label, 0.0) for label in task.labels)


def evaluate(
    proxies: Proxies,
    wanted: Sequence[Key],
    queries: AnyQueries,
    known: KnownOfClasses,
    crew: Workers,
    *,
    memory_bytes: int,
    ledger: Ledger,
    keep_predictions: bool = False,
) -> Iterator[tuple[Key, Evaluation | Failure]]:
    """Search and vote for every wanted (task, readout) over one GEN result.

    Args:
        proxies: of all labels of all tasks.
        wanted: distinct pairs.
        queries: what is classified.
        known: what metrics know of the classes whose proxies these are.
        crew: threads; a job is a chunk of one label's queries against one pass.
        memory_bytes: what everything together may take; blocks of scores and passes in flight are sized to it.
        ledger: told of the passes of each kind, and of the searches.
        keep_predictions: whether evaluations keep their predictions.

    Yields:
        Each wanted pair with its evaluation, as soon as its pass is complete.
    """
    in_flight: deque[tuple[Pass, list[tuple[Label, Future[Tally | Failure]]]]] = deque()
    block_bytes = memory_bytes // (16 * crew.threads)
    for pass_ in passes(proxies, wanted, queries, known):
        while in_flight and sum(other.nbytes for other, _ in in_flight) + pass_.nbytes > memory_bytes // 4:
            yield from _collect(*in_flight.popleft(), ledger)
        ledger.add(pass_.stage, calls=1)
        ledger.add("search", calls=sum(len(views) for views in pass_.searches.values()))
        size = max(16, min(CHUNK, block_bytes // (4 * pass_.width)))

        def job(item: tuple[Label, slice], pass_: Pass = pass_, size: int = size) -> Tally:
            return _search(pass_, *item, size, crew.check, keep_predictions)

        labels = dict.fromkeys(label for task in pass_.searches for label in task.labels)
        chunks = [(label, rows) for label in labels for rows in _split(slice(0, queries.count(label)), CHUNK)]
        in_flight.append((pass_, [(label, crew.submit(job, (label, rows))) for label, rows in chunks]))
        if len(in_flight) == AT_ONCE:
            yield from _collect(*in_flight.popleft(), ledger)
    while in_flight:
        yield from _collect(*in_flight.popleft(), ledger)


def passes(proxies: Proxies, wanted: Sequence[Key], queries: AnyQueries, known: KnownOfClasses) -> Iterator[Pass]:
    """The fewest passes that answer every wanted pair."""
    shared: dict[Task, dict[View, list[Readout]]] = defaultdict(lambda: defaultdict(list))
    sequential: dict[tuple[Setting, Task], dict[View, list[Readout]]] = defaultdict(lambda: defaultdict(list))
    for task, readout in wanted:
        alone = isinstance(NORMS[readout.norm_post], SequentialNorm)
        searches = sequential[readout.norm_post, task] if alone else shared[task]
        searches[readout.view].append(readout)
    yield from _passes(proxies, queries, shared, known)
    for (norm_post, task), views in sequential.items():
        norm = cast(SequentialNorm, NORMS[norm_post])
        yield from _passes(proxies.imprinted(task, norm), queries, {task: views}, known)


def _passes(proxies: Proxies, queries: AnyQueries, searches: Searches, known: KnownOfClasses) -> Iterator[Pass]:
    products: dict[object, list[View]] = defaultdict(list)
    fitted: dict[object, list[View]] = defaultdict(list)
    for view in sorted({view for of_task in searches.values() for view in of_task}):
        match METRICS[view.metric]:
            case ProductMetric():
                products[_unscaled(view, queries)].append(view)
            case FittedMetric():
                fitted[view.metric, view.norm_post].append(view)
            case DenseMetric():
                yield DensePass(proxies, queries, _reading(searches, [view]))
            case ClassMetric():
                yield ClassPass(proxies, queries, _reading(searches, [view]), known)
    for views in products.values():
        yield ProductPass(proxies, queries, _reading(searches, views))
    for views in fitted.values():
        for task, of_task in _reading(searches, views).items():
            yield FittedPass(proxies, queries, {task: of_task})


def _unscaled(view: View, queries: AnyQueries) -> tuple[Setting, Setting]:
    """The norms of proxies and queries without those that only scale: what inner products are made of."""
    post = NORMS[view.norm_post]
    return NONE if post.scales or isinstance(post, SequentialNorm) else view.norm_post, queries.unscaled(view.norm_inf)


def _reading(searches: Searches, views: Sequence[View]) -> Searches:
    """The searches of some of the views."""
    chosen = {task: {view: of_task[view] for view in views if view in of_task} for task, of_task in searches.items()}
    return {task: of_task for task, of_task in chosen.items() if of_task}


@dataclass
class Tally:
    """What one job found.

    Args:
        counts: for each (task, readout), how often each label was predicted.
        predictions: the predicted labels, block by block; only if they are to be kept.
        seconds: compute time of what it took part in.
        scoring: seconds of making filter scores.
        searching: seconds of everything after them.
        operations: floating-point operations of the filter scores.
        failures: tasks with whose proxies the queries cannot be compared.
    """

    counts: dict[Key, NDArray[np.int64]] = field(default_factory=dict)
    predictions: dict[Key, list[NDArray[np.int32]]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[Key, float] = field(default_factory=lambda: defaultdict(float))
    scoring: float = 0.0
    searching: float = 0.0
    operations: int = 0
    failures: dict[Task, Failure] = field(default_factory=dict)

    def add(self, found: _Predicted, shared: float, keep_predictions: bool) -> None:
        """Count predictions.

        Args:
            found: them.
            shared: seconds of the filter scores.
            keep_predictions: whether they are kept as well.
        """
        n = max(len(task.labels) for task in found.tasks)
        of_pair = np.arange(len(found.readouts) * len(found.tasks)).reshape(*found.labels.shape[:2], 1)
        counts = np.bincount((found.labels + n * of_pair).ravel(), minlength=n * of_pair.size)
        counts = counts.reshape(*found.labels.shape[:2], n)
        for r, readout in enumerate(found.readouts):
            for t, task in enumerate(found.tasks):
                key, mine = (task, readout), counts[r, t, : len(task.labels)]
                self.counts[key] = self.counts[key] + mine if key in self.counts else mine
                self.seconds[key] += shared + found.seconds
                if keep_predictions:
                    self.predictions[key].append(found.labels[r, t])


def _search(
    pass_: Pass, label: Label, chunk: slice, size: int, check: Callable[[], None], keep_predictions: bool
) -> Tally:
    """All searches of one pass for a chunk of one label's queries."""
    tally = Tally()
    searches = {task: views for task, views in pass_.searches.items() if label in task.labels}
    blocks = pass_.blocks(label, chunk, size)
    while True:
        timed, shared = metered(lambda: next(blocks, None))
        block = timed.value
        if block is None:
            return tally
        check()
        tally.scoring += shared
        tally.operations += block.operations
        for task in searches:
            if failure := pass_.failure(task, label):
                tally.failures[task] = Failure(failure)
        for view in block.views:
            of_view = {
                task: views[view] for task, views in searches.items() if view in views and task not in tally.failures
            }
            start = time.thread_time()
            for found in chain(_scored(pass_, block, view, of_view), _voted(pass_, block, view, of_view)):
                tally.add(found, shared, keep_predictions)
            tally.searching += time.thread_time() - start


@dataclass(frozen=True, eq=False)
class _Predicted:
    """What some tasks predict under the same readouts.

    Args:
        tasks: which.
        readouts: which.
        labels: (readouts, tasks, b) int32 predicted labels.
        seconds: what each of them took, what it shares with others included.
    """

    tasks: Sequence[Task]
    readouts: Sequence[Readout]
    labels: NDArray[np.int32]
    seconds: float


def _scored(pass_: Pass, block: Block, view: View, searches: Mapping[Task, Sequence[Readout]]) -> Iterator[_Predicted]:
    """The classes with the largest scores, for the readouts that score classes."""
    for task, readouts in searches.items():
        start = time.thread_time()
        if scoring := [readout for readout in readouts if not readout.m]:
            labels = block.highest(view, pass_.columns[task], [_class_score(readout) for readout in scoring])
            yield _Predicted([task], scoring, labels[:, None], time.thread_time() - start)


def _voted(pass_: Pass, block: Block, view: View, searches: Mapping[Task, Sequence[Readout]]) -> Iterator[_Predicted]:
    """The labels that the nearest proxies elect, for the readouts whose neighbours vote."""
    voting_in = {task: tuple(readout for readout in readouts if readout.m) for task, readouts in searches.items()}
    voting_in = {task: readouts for task, readouts in voting_in.items() if readouts}
    if not voting_in or not pass_.shares(dict.fromkeys(voting_in, 1.0)):
        for task, readouts in voting_in.items():
            start = time.thread_time()
            m = max(readout.m for readout in readouts)
            found = block.nearest(view, pass_.columns[task], m, distances=m > 1)
            labels = pass_.proxies.labels(task)[found.position]
            elected = voting.votes(labels, found.distance, _ballots(readouts), len(task.labels))
            yield _Predicted([task], readouts, elected[:, None], time.thread_time() - start)
        return
    start = time.thread_time()
    classes = np.unique(np.concatenate([pass_.members[task] for task in voting_in]))
    ranges = [pass_.classes[position] for position in classes.tolist()]
    of_each = block.nearest_of_each(view, ranges, max(readout.m for of in voting_in.values() for readout in of))
    sizes = np.array([stop - start for start, stop in ranges])
    once = time.thread_time() - start
    alike: dict[tuple[tuple[Readout, ...], int], list[Task]] = defaultdict(list)
    for task, readouts in voting_in.items():
        alike[readouts, min(max(readout.m for readout in readouts), pass_.widths[task])].append(task)
    for (readouts, m), tasks in alike.items():
        size = max(1, MERGED_AT_ONCE // (len(of_each) * m))
        for some in (tasks[i : i + size] for i in range(0, len(tasks), size)):
            start = time.thread_time()
            members = [np.searchsorted(classes, pass_.members[task]) for task in some]
            labels, distances = several_tasks.neighbours(of_each, sizes, members, m)
            most = max(len(task.labels) for task in some)
            elected = voting.votes(labels.reshape(-1, m), distances.reshape(-1, m), _ballots(readouts), most)
            elected = elected.reshape(len(readouts), len(some), -1)
            yield _Predicted(some, readouts, elected, once + (time.thread_time() - start) / len(some))


def _ballots(readouts: Sequence[Readout]) -> list[tuple[int, Weighting | None]]:
    return [(readout.m, WEIGHTINGS[readout.weighting] if readout.weighting else None) for readout in readouts]


def _class_score(readout: Readout) -> ClassScore:
    return cast(ClassScore, AGGREGATIONS[readout.agg])


def _collect(
    pass_: Pass, jobs: Sequence[tuple[Label, Future[Tally | Failure]]], ledger: Ledger
) -> Iterator[tuple[Key, Evaluation | Failure]]:
    """Add up the jobs of one pass; one failed job fails the pass."""
    evaluations = {
        (task, readout): Evaluation(np.zeros((len(task.labels), len(task.labels)), np.int64))
        for task, views in pass_.searches.items()
        for readouts in views.values()
        for readout in readouts
    }
    failure = None
    failures: dict[Task, Failure] = {}
    for label, future in jobs:
        tally = future.result()
        if isinstance(tally, Failure):
            failure = failure or tally
            continue
        failures |= tally.failures
        ledger.add(pass_.stage, seconds=tally.scoring, operations=tally.operations)
        ledger.add("search", seconds=tally.searching)
        for (task, readout), counts in tally.counts.items():
            evaluation = evaluations[task, readout]
            true = task.labels.index(label)
            evaluation.confusion[true] += counts
            evaluation.seconds += tally.seconds[task, readout]
            evaluation.predictions[true] += tally.predictions.get((task, readout), [])
    for (task, readout), evaluation in evaluations.items():
        evaluation.seconds += pass_.shared_seconds(task)
        yield (task, readout), failure or failures.get(task) or evaluation


def _always(geometry: Geometry) -> Callable[[View], Geometry]:
    return lambda view: geometry


def _split(rows: slice, size: int) -> list[slice]:
    return [slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]
