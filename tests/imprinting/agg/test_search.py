"""The search agrees with the exact values of all pairs to the last bit; its bounds hold with room to spare."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from imprint_sweep.imprinting import vectors
from imprint_sweep.imprinting.agg import search, several_tasks
from imprint_sweep.imprinting.agg.directions import Directions, directions_that_save_time
from imprint_sweep.imprinting.agg.metrics.euclidean import EUCLIDEAN
from imprint_sweep.imprinting.agg.search import Neighbors
from imprint_sweep.imprinting.components import METRICS, NORMS, ClassMetric, DenseMetric, FittedMetric, ProductMetric
from imprint_sweep.imprinting.vectors import Filter, Vectors

Rows = NDArray[np.float32]
Columns = Sequence[tuple[int, int]]

ALL = [name for name, metric in METRICS.items() if not isinstance(metric, ClassMetric)]
PRODUCTS = [name for name, metric in METRICS.items() if isinstance(metric, ProductMetric)]
SCALES = (1e-20, 1e-13, 1e-11, 1e-6, 1.0, 1.0, 1.0, 30.0, 1e4, 1e9, 1e11, 1e13, 1e20)


class View:
    """Queries and proxies of one metric under one normalisation, with the filter of the scores of the plain vectors."""

    def __init__(self, metric: str, queries: Rows, proxies: Rows, norm_inf: str = "none", norm_post: str = "none"):
        self.metric = METRICS[metric]
        self.queries = Vectors.of(NORMS[norm_inf].rows(queries))
        self.proxies = Vectors.of(NORMS[norm_post].rows(proxies))
        if isinstance(self.metric, DenseMetric):
            self.scores = self.metric.fast(self.queries.rows, self.proxies.rows)
            self.filter = self.metric.bounds(self.queries, self.proxies)
            return
        self.raw = raw_queries, raw_proxies = Vectors.of(queries), Vectors.of(proxies)
        if isinstance(self.metric, FittedMetric):
            fitted = self.metric.fit(self.proxies.rows)
            of_proxies = fitted.transform(self.proxies.rows)
            raw_queries = self.queries = fitted.transform(self.queries.rows)
            raw_proxies = self.proxies = Vectors.of(of_proxies.rows)
        assert isinstance(self.metric, ProductMetric | FittedMetric)
        self.scores = vectors.inner_products(raw_queries.rows.astype(np.float32), raw_proxies.rows.astype(np.float32))
        self.filter = self.metric.bounds(raw_queries, raw_proxies, self.queries, self.proxies)

    def nearest(self, m: int, columns: Columns | None = None, *, distances: bool = True) -> Neighbors:
        """The search."""
        columns = [(0, len(self.proxies))] if columns is None else columns
        return search.nearest(
            self.scores, self.filter, self.metric, self.queries, self.proxies, columns, m, distances=distances
        )

    def nearest_in_tasks(
        self, m: int, classes: Columns, tasks: Sequence[Sequence[int]]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The search of each class, for tasks of some of the classes."""
        products = self.products if isinstance(self, RoughView) else None
        of_each = search.nearest_of_each(
            self.scores, self.filter, self.metric, self.queries, self.proxies, classes, m, products=products
        )
        sizes = np.array([stop - start for start, stop in classes])
        return several_tasks.neighbours(of_each, sizes, [np.array(task) for task in tasks], m)

    def every_pair(self, m: int, columns: Columns | None = None) -> Neighbors:
        """The same from the exact value of every pair."""
        columns = [(0, len(self.proxies))] if columns is None else columns
        chosen = np.concatenate([np.arange(start, stop) for start, stop in columns])
        query, proxy = np.repeat(np.arange(len(self.queries)), len(chosen)), np.tile(chosen, len(self.queries))
        exact = self.metric.exact(self.queries, self.proxies, query, proxy)
        exact = exact.reshape(len(self.queries), len(chosen))
        position = np.argsort(exact, axis=1, kind="stable")[:, :m]
        return Neighbors(position.astype(np.int32), np.take_along_axis(exact, position, axis=1))

    def rough(self, r: int) -> RoughView:
        """With the scores in r directions instead, and the whole products that lower the ceilings."""
        part = object.__new__(RoughView)
        part.__dict__ = self.__dict__.copy()
        queries, proxies = self.raw
        directions = Directions.of_most(queries.rows, r)
        few, others = directions.project(queries), directions.project(proxies)
        part.scores = vectors.inner_products(few.rows, others.rows)
        part.products = search.Products(queries.rows, proxies.rows, self.filter)
        part.filter = self.filter.widened(few.outside, others.outside)
        return part

    def block(self, rows: slice) -> View:
        """Some queries, with the filter that they alone would have had."""
        part = object.__new__(View)
        part.metric, part.queries, part.proxies = self.metric, self.queries[rows], self.proxies
        part.scores = np.ascontiguousarray(self.scores[rows])
        f = self.filter
        part.filter = Filter(
            **{name: getattr(f, name) for name in ("add_low", "add_high", "mul", "err", "usable")},
            **{name: getattr(f, name)[rows] for name in PER_QUERY},
        )
        return part


class RoughView(View):
    """A view whose scores are inner products in a few directions."""

    products: search.Products

    def nearest(self, m: int, columns: Columns | None = None, *, distances: bool = True) -> Neighbors:
        """The search."""
        columns = [(0, len(self.proxies))] if columns is None else columns
        vectors_ = self.queries, self.proxies
        return search.nearest(
            self.scores,
            self.filter,
            self.metric,
            *vectors_,
            columns,
            m,
            distances=distances,
            products=self.products,
        )


PER_QUERY = ("low", "high", "err_scale", "rounding")


def assert_same(found: Neighbors, expected: Neighbors) -> None:
    np.testing.assert_array_equal(found.position, expected.position)
    np.testing.assert_array_equal(found.distance, expected.distance)


def rows(rng: np.random.Generator, kind: str, n: int, d: int) -> Rows:
    """Random rows (n, d) of some kind that is hard on a filter."""
    x = rng.normal(size=(n, d))
    if kind == "offset":  # differences are lost in float32
        x = 1000.0 + 1e-3 * x
    elif kind == "lattice":  # ties everywhere, zeros among them
        x = rng.integers(-1, 2, size=(n, d)).astype(np.float64)
    elif kind == "outliers":
        x *= 10.0 ** rng.integers(-9, 10, size=(n, 1))
    elif kind == "parallel":
        x = (1.0 + 1e-7 * x) * rng.uniform(0.5, 2.0, size=(n, 1))
    elif kind == "features":
        x *= 10.0 ** rng.integers(-6, 7, size=d)
    elif kind == "sparse":
        x[rng.random((n, d)) < 0.8] = 0.0
    found: Rows = x.astype(np.float32)
    if kind == "ulps":  # the same row, here and there one unit in the last place off
        found = np.where(rng.random((n, d)) < 0.1, np.nextafter(found[:1], np.float32(np.inf)), found[:1])
    return found


KINDS = ("gaussian", "offset", "lattice", "outliers", "parallel", "features", "sparse", "ulps")


@st.composite
def views(draw: st.DrawFn, metrics: Sequence[str] = ALL) -> View:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    metric = draw(st.sampled_from(metrics))
    b, p = draw(st.integers(1, 9)), draw(st.sampled_from((1, 2, 3, 10, 63, 64, 65, 130, 200)))
    d = draw(st.sampled_from((1, 2, 3, 17, 63, 64, 65, 130)))
    # Mahalanobis is defined by a ridge of 1e-6: other scales are tested with the whitening.
    scales = (1e-3, 1.0, 30.0) if metric == "mahalanobis" else SCALES
    q_scale, p_scale = draw(st.sampled_from(scales)), draw(st.sampled_from(scales))
    proxies = rows(rng, draw(st.sampled_from(KINDS)), p, d)
    proxies = proxies[rng.integers(0, draw(st.integers(1, p)), size=p)]  # some are equal
    queries = rows(rng, draw(st.sampled_from(KINDS)), b, d)
    near = rng.random(b) < draw(st.sampled_from((0.0, 0.5, 1.0)))
    queries[near] = proxies[rng.integers(0, p, size=near.sum())]
    queries, proxies = (queries * np.float32(q_scale)), (proxies * np.float32(p_scale))
    for some in (queries, proxies):
        if draw(st.booleans()):
            some[rng.integers(len(some))] = 0.0
    return View(metric, queries, proxies, draw(st.sampled_from(("none", "l2"))), draw(st.sampled_from(("none", "l2"))))


@st.composite
def column_ranges(draw: st.DrawFn, p: int) -> Columns:
    """Disjoint ranges in any order, some empty, not all."""
    cuts = [0, *sorted(draw(st.lists(st.integers(0, p), max_size=6))), p]
    ranges = draw(st.permutations(list(pairwise(cuts))))
    some = ranges[: draw(st.integers(1, len(ranges)))]
    return some if any(start < stop for start, stop in some) else [(0, p)]


@settings(max_examples=400)
@given(st.data())
def test_the_search_agrees_with_every_pair_to_the_last_bit(data: st.DataObject) -> None:
    view = data.draw(views())
    p = len(view.proxies)
    columns = data.draw(column_ranges(p))
    m = data.draw(st.sampled_from((1, 2, 3, 20, p, p + 7)))
    expected = view.every_pair(m, columns)
    found = view.nearest(m, columns)
    assert found.position.dtype == np.int32
    assert found.distance.dtype == np.float64
    assert_same(found, expected)
    np.testing.assert_array_equal(view.nearest(m, columns, distances=False).position, expected.position)


@settings(max_examples=300)
@given(st.data())
def test_rough_scores_lead_to_the_same_neighbours(data: st.DataObject) -> None:
    view = data.draw(views(PRODUCTS))
    rough = view.rough(data.draw(st.integers(1, view.queries.rows.shape[1])))
    p = len(view.proxies)
    columns = data.draw(column_ranges(p))
    m = data.draw(st.sampled_from((1, 2, 3, 20, p, p + 7)))
    expected = view.every_pair(m, columns)
    assert_same(rough.nearest(m, columns), expected)
    np.testing.assert_array_equal(rough.nearest(m, columns, distances=False).position, expected.position)


@settings(max_examples=300)
@given(st.data())
def test_classes_searched_once_for_all_tasks_lead_to_the_neighbours_of_each(data: st.DataObject) -> None:
    view = data.draw(views())
    if isinstance(view.metric, ProductMetric) and data.draw(st.booleans()):
        view = view.rough(data.draw(st.integers(1, view.queries.rows.shape[1])))
    classes = [(start, stop) for start, stop in data.draw(column_ranges(len(view.proxies))) if start < stop]
    sizes = [stop - start for start, stop in classes]
    some = st.permutations(range(len(classes))).flatmap(
        lambda order: st.integers(1, len(order)).map(lambda n: list(order[:n]))
    )
    tasks = data.draw(st.lists(some, min_size=1, max_size=5))
    m = data.draw(st.integers(1, min(20, *(sum(sizes[c] for c in task) for task in tasks))))
    labels, distances = view.nearest_in_tasks(m, classes, tasks)
    for t, task in enumerate(tasks):
        expected = view.every_pair(m, [classes[c] for c in task])
        label_of = np.repeat(np.arange(len(task)), [sizes[c] for c in task])
        np.testing.assert_array_equal(labels[t], label_of[expected.position])
        np.testing.assert_array_equal(distances[t], expected.distance)


@given(views(), st.integers(1, 5), st.integers(1, 4))
def test_fewer_neighbours_are_the_first_of_more(view: View, m: int, more: int) -> None:
    longer, shorter = view.nearest(m + more), view.nearest(m)
    assert_same(shorter, Neighbors(longer.position[:, :m], longer.distance[:, :m]))


@given(views(), st.integers(1, 8), st.integers(1, 20))
def test_a_query_does_not_depend_on_its_block(view: View, size: int, m: int) -> None:
    whole = view.nearest(m)
    for start in range(0, len(view.queries), size):
        part = slice(start, start + size)
        assert_same(view.block(part).nearest(m), Neighbors(whole.position[part], whole.distance[part]))


@pytest.mark.parametrize("metric", ALL)
def test_equal_proxies_come_by_position(metric: str) -> None:
    rng = np.random.default_rng(0)
    proxies = np.repeat(rng.normal(size=(2, 70)), [1000, 3], axis=0).astype(np.float32)
    view = View(metric, proxies[[0, 1001]] * np.float32(1.5), proxies)
    found = view.nearest(20)
    np.testing.assert_array_equal(found.position[0], np.arange(20))
    np.testing.assert_array_equal(found.position[1], [1000, 1001, 1002, *range(17)])


@pytest.mark.parametrize("metric", ["inner_product", "cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize("d", [1, 64, 1280])
@pytest.mark.parametrize("size", [1e-10, 1e-8, 1e-6])
def test_proxies_may_be_closer_than_float64_can_tell_from_a_huge_query(metric: str, d: int, size: float) -> None:
    rng = np.random.default_rng(1)
    queries, proxies = 1e10 * rng.normal(size=(5, d)), 1e10 * size * rng.normal(size=(300, d))
    view = View(metric, queries.astype(np.float32), proxies.astype(np.float32))
    assert view.filter.usable
    for m in (1, 5):
        assert_same(view.nearest(m), view.every_pair(m))


def test_proxies_may_be_closer_than_float64_can_tell_from_a_query_outside_their_span() -> None:
    rng = np.random.default_rng(1)
    proxies = rng.normal(size=(300, 3))
    queries = Vectors.of(rng.normal(size=(5, 3)), rest=np.logspace(8, 20, 5))
    view = object.__new__(View)
    view.metric, view.queries, view.proxies = METRICS["mahalanobis"], queries, Vectors.of(proxies)
    view.scores = vectors.inner_products(queries.rows.astype(np.float32), proxies.astype(np.float32))
    view.filter = EUCLIDEAN.bounds(queries, view.proxies, queries, view.proxies)
    for m in (1, 5):
        assert_same(view.nearest(m), view.every_pair(m))


@pytest.mark.parametrize(("metric", "oracle"), [("euclidean", "euclidean"), ("cosine", "cosine"), ("manhattan", "l1")])
def test_agrees_with_scikit_learn(metric: str, oracle: str) -> None:
    rng = np.random.default_rng(2)
    queries, proxies = (rng.normal(1.0, 1.0, size=(n, 100)).astype(np.float32) for n in (50, 300))
    found = View(metric, queries, proxies).nearest(20)
    neighbours = NearestNeighbors(n_neighbors=20, metric=oracle, algorithm="brute").fit(proxies.astype(np.float64))
    distance, position = neighbours.kneighbors(queries.astype(np.float64))
    np.testing.assert_array_equal(found.position, position)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-12, atol=1e-13)


def test_exact_values_in_several_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    queries, proxies = (rng.integers(-1, 2, size=(n, 4)).astype(np.float32) for n in (50, 30))
    for metric in ALL:
        view = View(metric, queries, proxies)
        at_once = view.nearest(7)
        monkeypatch.setattr(search, "_CANDIDATES", 1)
        in_batches = view.nearest(7)
        monkeypatch.undo()
        np.testing.assert_array_equal(in_batches.position, at_once.position)
        np.testing.assert_array_equal(in_batches.distance, at_once.distance)


def test_by_hand() -> None:
    proxies = np.array([[3, 0], [0, 1], [1, 1], [0, 1]], np.float32)
    view = View("euclidean", np.array([[0, 0]], np.float32), proxies)
    found = view.nearest(3, [(2, 4), (0, 1)])
    np.testing.assert_array_equal(found.position, [[1, 0, 2]])
    np.testing.assert_array_equal(found.distance, [[1, np.sqrt(2), 3]])


# The bounds ----------------------------------------------------------------------------------------------------------


def interval(view: View) -> tuple[Rows, Rows]:
    """The ends of the filter's intervals, as the search computes them in float32."""
    f = view.filter
    low = f.add_low + (f.low[:, None] * f.mul) * view.scores - f.err_scale[:, None] * f.err
    high = f.add_high + (f.high[:, None] * f.mul) * view.scores + f.err_scale[:, None] * f.err
    assert low.dtype == high.dtype == np.float32
    return low, high


def filtered(view: View) -> NDArray[np.longdouble]:
    """What the filter's intervals hold, from the view's vectors, in extended precision."""
    queries, proxies = view.queries.rows.astype(np.longdouble), view.proxies.rows.astype(np.longdouble)
    if view.metric.name == "manhattan":
        manhattan: NDArray[np.longdouble] = np.abs(queries[:, None] - proxies).sum(axis=2)
        return manhattan
    products = queries @ proxies.T
    if view.metric.name in ("euclidean", "mahalanobis"):
        squares: NDArray[np.longdouble] = (proxies**2).sum(axis=1) - 2 * products
        return squares
    q_lengths, p_lengths = (np.sqrt((x**2).sum(axis=1)) for x in (queries, proxies))
    q_lengths[q_lengths == 0] = p_lengths[p_lengths == 0] = 1
    per_query: NDArray[np.longdouble] = -products / q_lengths[:, None]
    return per_query / p_lengths if view.metric.name == "cosine" else per_query


@settings(max_examples=300)
@given(views())
def test_the_bounds_hold_with_a_third_to_spare(view: View) -> None:
    if not view.filter.usable:
        return
    low, high = (end.astype(np.longdouble) for end in interval(view))
    middle, radius = (low + high) / 2, (high - low) / 2
    assert (np.abs(filtered(view) - middle) <= 2 / 3 * radius).all()


@settings(max_examples=300)
@given(views(PRODUCTS), st.data())
def test_the_bounds_of_rough_scores_hold(view: View, data: st.DataObject) -> None:
    if not view.filter.usable:
        return
    rough = view.rough(data.draw(st.integers(1, view.queries.rows.shape[1])))
    low, high = (end.astype(np.longdouble) for end in interval(rough))
    assert (low <= filtered(view)).all()
    assert (filtered(view) <= high).all()


@pytest.mark.parametrize("of_most", [False, True])
def test_directions_are_taken_where_they_rule_enough_out(of_most: bool) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3000, 96), np.float32)
    if of_most:  # three quarters of the features hold next to nothing
        rows[:, 12:] *= np.float32(0.02)
    queries, proxies = Vectors.of(rows[:500]), Vectors.of(rows[500:])
    found = directions_that_save_time(queries, proxies, searches=2.0, m=1)
    assert (found is not None) == of_most
    if found is not None:
        np.testing.assert_allclose(found.columns.T @ found.columns, np.eye(16), atol=1e-12)
        assert directions_that_save_time(queries, proxies, searches=2.0, m=2000) is None


@pytest.mark.parametrize("metric", [*PRODUCTS, "manhattan"])
@pytest.mark.parametrize("norm", ["none", "l2"])
def test_the_bounds_hold_where_all_rounding_goes_one_way(metric: str, norm: str) -> None:
    # Equal features: every partial sum in a lane is rounded alike.
    size = np.array([[1 / 3], [0.7], [1.1], [5 / 3]], np.float32)
    view = View(metric, np.repeat(size, 4099, axis=1), -np.repeat(size, 4099, axis=1), norm, norm)
    low, high = (end.astype(np.longdouble) for end in interval(view))
    assert (np.abs(filtered(view) - (low + high) / 2) <= (high - low) / 3).all()
