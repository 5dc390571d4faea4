"""Estimates need not be right, but sane: positive, growing with the work, and counting shared work once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imprint_sweep.embeddings.cache import EmbeddingCache, EntryHeader, EntryKey
from imprint_sweep.engine import EngineSettings, Ledger, run
from imprint_sweep.grid.cell import Cell, Model
from imprint_sweep.grid.outcome import OK
from imprint_sweep.grid.scheme import TESTED_ON
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, METRICS, Position, norms_at
from imprint_sweep.planning.cost import CELL_SECONDS, COPY_RATE, IDLE, Estimate, estimate
from imprint_sweep.planning.plan import Plan, look_up, shards
from tests import data

BLOBS = data.blobs(train_sizes=dict.fromkeys(range(10), 20))
ALL, EVEN = data.task(BLOBS), data.task(BLOBS, classes=(0, 2, 4, 6, 8))
LARGE = data.blobs("large", train_sizes=dict.fromkeys(range(10), 20))
AXES: list[dict[str, object]] = [
    {"gen": gen, "agg": agg, "metric": metric, "norm_pre": pre, "norm_post": post, "n_shot": n_shot}
    for gen in GENS
    for agg in AGGREGATIONS
    for metric in METRICS
    for pre in norms_at(Position.PRE)
    for post in norms_at(Position.POST)
    for n_shot in (None, 10)
]
GRID = [axes for axes in AXES if any(data.meaningful([(ALL, axes)]))]


def headers(plan: Plan, *, per_class: int = 5000, d: int = 1280) -> Mapping[EntryKey, EntryHeader]:
    """Headers of all that a plan reads, without any embeddings: so many training samples per class, a fifth to test."""
    found = {}
    for key in {key for keys in plan.sources().values() for key in keys}:
        count = per_class if key.split == "train" else per_class // 5
        counts = dict.fromkeys(range(10), count)
        found[key] = EntryHeader(Path("nowhere"), key, 10 * count, d, f"{key}", counts, {}, 0)
    return found


def total(*cells: Cell, per_class: int = 5000, d: int = 1280) -> float:
    """Core-seconds of cells that run together, without what every cell costs."""
    plan = Plan.of_cells(cells)
    estimated = estimate(plan, headers(plan, per_class=per_class, d=d))
    return float(estimated.seconds.sum()) - CELL_SECONDS * len(plan)


def cells(axes: Sequence[Mapping[str, object]] = GRID) -> list[Cell]:
    return list(data.meaningful((task, one) for one in axes for task in (ALL, EVEN)))


@pytest.fixture(scope="module")
def grid() -> tuple[Plan, Estimate]:
    """A plan of everything, with its estimate."""
    plan = Plan.of_cells(cells())
    return plan, estimate(plan, headers(plan))


def test_every_cell_costs_something(grid: tuple[Plan, Estimate]) -> None:
    plan, estimated = grid
    assert estimated.seconds.shape == estimated.source.shape == estimated.unit.shape == (len(plan),)
    assert np.isfinite(estimated.seconds).all()
    assert (estimated.seconds > CELL_SECONDS).all()


@pytest.mark.parametrize("axes", GRID[::7], ids=str)
def test_more_samples_and_longer_embeddings_cost_more(axes: Mapping[str, object]) -> None:
    cell = data.cell(ALL, **axes)
    assert total(cell, per_class=10_000) > total(cell, per_class=5000) > total(cell, per_class=500) > 0
    assert total(cell, d=2048) > total(cell, d=512) > 0


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"gen": "kmeans", "k": 2}, {"gen": "kmeans", "k": 20}),
        ({"gen": "fps", "k": 2}, {"gen": "fps", "k": 20}),
        ({"gen": "mean"}, {"gen": "kmeans", "k": 20}),
        ({"gen": "mean"}, {"gen": "least_squares"}),
        ({"gen": "least_squares"}, {"gen": "k_least_squares", "k": 5}),
        ({"gen": "kmeans", "n_shot": 50}, {"gen": "kmeans", "n_shot": 500}),
        ({"gen": "kmeans", "n_shot": 500}, {"gen": "kmeans"}),
        ({"gen": "mean"}, {"gen": "all"}),
        ({"gen": "all", "metric": "cosine"}, {"gen": "all", "metric": "manhattan"}),
        ({"gen": "all", "metric": "cosine"}, {"gen": "all", "metric": "mahalanobis"}),
        ({"gen": "all", "agg": "mnn", "m": 3}, {"gen": "all", "agg": "mnn", "m": 50}),
    ],
)  # fmt: skip
def test_more_work_costs_more(less: Mapping[str, object], more: Mapping[str, object]) -> None:
    euclidean = {"metric": "euclidean"}
    assert total(data.cell(ALL, **{**euclidean, **less})) < total(data.cell(ALL, **{**euclidean, **more}))


def test_a_cell_that_is_equal_by_construction_is_free() -> None:
    one = data.cell(ALL, gen="kmeans")
    assert total(one, data.cell(ALL, gen="kmeans", norm_inf="l2")) == pytest.approx(total(one))


def test_shares_add_up_to_the_cost_of_the_work() -> None:
    base = data.cell(ALL, gen="kmeans", metric="cosine")
    manhattan = data.cell(ALL, gen="kmeans", metric="manhattan")
    other_gen = data.cell(ALL, gen="mean", metric="cosine", n_shot=50)
    other_model = replace(base, model=Model("toy", "none", 32))
    # What shares nothing costs as much together as apart, what shares GEN less, but no less than GEN.
    assert total(base, other_gen) == pytest.approx(total(base) + total(other_gen))
    assert total(base, other_model) == pytest.approx(2 * total(base))
    plan = Plan.of_cells([base])
    stages = estimate(plan, headers(plan, per_class=5000, d=1280)).by_stage()
    gen = (stages["samples"] + stages["kmeans"]) * (1 + IDLE)
    assert 0 < gen < total(base)
    assert total(base) + total(manhattan) - total(base, manhattan) == pytest.approx(gen)
    # The even classes are among all: their GEN is there already. Under quantile their proxies are others.
    base, even = (data.cell(task, gen="kmeans", metric="cosine", norm_post="quantile") for task in (ALL, EVEN))
    assert total(base, even) == pytest.approx(total(base) + search(even))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"metric": "cosine"}, {"metric": "euclidean", "norm_post": "none"}),
        ({"metric": "cosine"}, {"metric": "cosine", "task": EVEN}),
        ({"metric": "manhattan"}, {"metric": "manhattan", "task": EVEN}),
        ({"metric": "mahalanobis", "norm_inf": "l2"}, {"metric": "mahalanobis", "norm_inf": "none"}),
    ],
)
def test_searches_share_scores_as_the_engine_does(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Inner products serve every scaling, every score but Mahalanobis' every task, a whitening either NORM_inf.

    The queries after each NORM_inf are whitened and multiplied for themselves, which is three quarters of it.
    """
    first, second = (data.cell(axes.pop("task", ALL), gen="all", **axes) for axes in (dict(one), dict(other)))
    less, more = sorted([total(first), total(second)])
    assert more < total(first, second) < more + 0.8 * less


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"metric": "manhattan", "norm_inf": "l2"}, {"metric": "manhattan", "norm_inf": "none"}),
        ({"metric": "mahalanobis"}, {"metric": "mahalanobis", "task": EVEN}),
        ({"metric": "mahalanobis", "norm_post": "l2"}, {"metric": "mahalanobis", "norm_post": "none"}),
        ({"metric": "cosine", "norm_post": "quantile"}, {"metric": "cosine", "norm_post": "quantile", "task": EVEN}),
    ],
)
def test_other_scores_are_made_anew(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = (data.cell(axes.pop("task", ALL), gen="all", **axes) for axes in (dict(one), dict(other)))
    # The samples of the smaller task are there.
    gen = 5000 * min(len(cell.task.labels) for cell in (first, second)) * 1280 / COPY_RATE * (1 + IDLE)
    assert total(first, second) == pytest.approx(total(first) + total(second) - gen)


def search(cell: Cell) -> float:
    """What one more search of this size adds to a GEN result."""
    one, other = (replace(cell, scheme=replace(cell.scheme, norm_post=post)) for post in ("none", "quantile"))
    return total(one, other) - total(one)


def test_a_draw_of_cells_costs_no_more_than_its_cells_apart(grid: tuple[Plan, Estimate]) -> None:
    plan, _ = grid
    some = [plan.cell(position) for position in range(0, len(plan), 37)]
    assert total(*some) <= sum(total(cell) for cell in some) * (1 + 1e-9)
    assert total(*some) >= max(total(cell) for cell in some) * (1 - 1e-9)


def test_cells_without_embeddings_cost_next_to_nothing() -> None:
    present, missing = data.cell(ALL, gen="all"), data.cell(data.task(LARGE), gen="all")
    plan = Plan.of_cells([present, missing])
    known = {key: header for key, header in headers(plan).items() if key.dataset == "blobs"}
    seconds = estimate(plan, known).seconds
    assert seconds[0] == pytest.approx(total(present) + CELL_SECONDS)
    assert CELL_SECONDS <= seconds[1] < 1e-3
    assert (estimate(plan, {}).seconds < 1e-3).all()


def test_nothing_costs_nothing() -> None:
    estimated = estimate(Plan.of_cells([]), {})
    assert len(estimated.seconds) == len(estimated.atoms(4)) == 0


# --- The engine's own account -----------------------------------------------------------------------------------------

UNEVEN = data.blobs("uneven", train_sizes={number: 20 + number for number in range(6)})
SUBSETS = [data.task(UNEVEN, classes=c) for c in ((0, 1, 2, 3, 4, 5), (0, 2, 4), (1, 3, 5), (0, 1, 2))]
REMAPS = [data.task(UNEVEN, classes=c, merge=m) for m in (1, 2, 3) for c in ((0, 1, 2, 3, 4, 5), (5, 3, 1, 0, 2, 4))]
COUNTED = (
    *("samples", "kmeans", "bic", "kmedoids", "distances", "mean", "fps", "cov_max", "random", "class_means", "moment"),
    *("spread", "factorization", "solve", "random_features", "ridge", "query_map", "logistic"),
    *("inner_products", "manhattan", "mahalanobis", "search", "class_mahalanobis", "class_covariance"),
)
READOUTS = [
    {"agg": "mnn", "metric": metric, "m": m, "norm_post": post, "norm_inf": inf}
    for metric in METRICS
    for m in (1, 3)
    for post in norms_at(Position.POST)
    for inf in norms_at(Position.INF)
    if metric != "inner_product"
]
PLANS: dict[str, list[Cell]] = {
    "subsets": [data.cell(t, gen=gen, k=k, seed=s) for t in SUBSETS for gen in GENS for k in (2, 5) for s in (0, 1)],
    "remaps": [data.cell(t, gen=gen, k=k, seed=s) for t in REMAPS for gen in GENS for k in (1, 3) for s in (0, 1)],
    "draws": list(
        data.meaningful(
            (task, {"gen": gen, "k": k, "n_shot": n, "seed": seed, "norm_pre": pre})
            for task in SUBSETS[:2]
            for gen in GENS
            for k in (1, 4)
            for n in (1, 4, 12, None)
            for seed in (0, 1)
            for pre in ("none", "l2")
        )
    ),
    "validation": [
        data.cell(task, gen=gen, k=k, n_shot=n, seed=seed, split=split, metric=metric)
        for task in SUBSETS[:2]
        for gen in ("kmeans", "mean", "least_squares")
        for k in (1, 4)
        for n in (5, 12, None)
        for seed in (0, 1)
        for split in TESTED_ON
        for metric in ("cosine", "manhattan")
    ],
    "readouts": [data.cell(task, gen=gen, **one) for task in SUBSETS for gen in ("mean", "all") for one in READOUTS],
    "chosen": [
        data.cell(task, gen=gen, k=None if rule else 5, n_shot=n, seed=seed, select_rule=rule, select_max_k=most)
        for task in SUBSETS[:2]
        for gen in ("kmeans", "k_least_squares")
        for rule, most in ((None, None), ("bic", 8), ("bic", 13))
        for n in (3, 12, None)
        for seed in (0, 1)
        if gen == "kmeans" or rule is None
    ],
    "some tasks ask for more": [
        data.cell(task, gen="kmeans", k=k, seed=seed)
        for number, task in enumerate((*SUBSETS, *REMAPS))
        for k in range(2, 4 + number % 3)
        for seed in range(1 + number % 2)
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_an_estimate_counts_what_the_engine_counts(name: str, tmp_path: Path) -> None:
    """Every distinct piece once, also for merged and remapped tasks; and the operations of the dense stages."""
    plan, cache, ledger = Plan.of_cells(PLANS[name]), EmbeddingCache(tmp_path), Ledger()
    data.write(cache, UNEVEN)
    outcomes = list(run([plan.cell(i) for i in range(len(plan))], cache, EngineSettings(threads=2), ledger=ledger))
    assert {outcome.status for outcome in outcomes} == {OK}
    estimated = estimate(plan, look_up(plan, cache).headers)
    counted = {stage: estimated.calls.get(stage, 0) for stage in COUNTED}
    assert counted == {stage: ledger.calls[stage] for stage in COUNTED}
    assert set(estimated.calls) <= set(COUNTED)
    for stage in ("inner_products", "manhattan"):
        if name == "chosen":  # nobody knows k before, so the largest counts
            assert estimated.operations.get(stage, 0) >= ledger.operations[stage]
        else:
            assert estimated.operations.get(stage, 0) == ledger.operations[stage]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_union_costs_at_least_its_costliest_part_and_at_most_all_parts(draw: st.DataObject) -> None:
    """At most all parts where no task is within another: such a task is searched among the proxies of the other."""
    everything = [cell for some in PLANS.values() for cell in some]
    beside = [cell for cell in everything if cell.task not in SUBSETS[1:]]
    drawn = st.lists(st.sampled_from(draw.draw(st.sampled_from([everything, beside]))), min_size=1, max_size=12)
    parts = draw.draw(st.lists(drawn, min_size=2, max_size=4))
    costs = [total(*part) for part in parts]
    cells = [cell for part in parts for cell in part]
    union = total(*cells)
    assert max(costs) * (1 - 1e-9) <= union
    if not any(cell.task in SUBSETS[1:] for cell in cells):
        assert union <= sum(costs) * (1 + 1e-9)


def test_merged_tasks_are_counted_one_by_one() -> None:
    """No task stands for the others: their labels, hence their clusterings, are different ones."""
    whole = data.blobs("large", train_sizes=dict.fromkeys(range(10), 20))
    orders = [tuple(np.random.default_rng(remap).permutation(10).tolist()) for remap in range(8)]
    tasks = [data.task(whole, classes=order, merge=5) for order in orders]
    assert len({label for task in tasks for label in task.labels}) == 16
    apart = [total(data.cell(task, gen="kmeans")) for task in tasks]
    assert total(*(data.cell(task, gen="kmeans") for task in tasks)) == pytest.approx(sum(apart))


def test_tasks_that_share_no_label_may_go_to_different_shards() -> None:
    disjoint = [data.task(BLOBS, classes=(a, a + 1)) for a in range(0, 10, 2)]
    plan = Plan.of_cells([data.cell(task, gen="kmeans", k=k) for task in disjoint for k in (2, 3)])
    estimated = estimate(plan, headers(plan))
    shard = shards(estimated.atoms(5), estimated.seconds, 5)
    assert len(set(shard.tolist())) == 5
    assert len(set(zip(shard.tolist(), plan.task.tolist(), strict=True))) == 5
    # One task that shares a label with two of them keeps the three together.
    plan = Plan.of_cells([data.cell(task, gen="kmeans") for task in (*disjoint, data.task(BLOBS, classes=(0, 2)))])
    estimated = estimate(plan, headers(plan))
    shard = shards(estimated.atoms(5), estimated.seconds, 5)
    assert shard[0] == shard[1] == shard[5]
    assert len(set(shard.tolist())) == 4


def test_shards_of_remapped_tasks_are_balanced() -> None:
    """By what each task is estimated to take: labels of one class take a tenth of those of ten."""
    whole = data.blobs("large", train_sizes=dict.fromkeys(range(10), 20))
    orders = [tuple(np.random.default_rng(remap).permutation(10).tolist()) for remap in range(6)]
    tasks = [data.task(whole, classes=order, merge=merge) for merge in (2, 3, 5) for order in orders]
    plan = Plan.of_cells([data.cell(task, gen="kmeans", k=k) for task in tasks for k in (2, 5, 20)])
    estimated = estimate(plan, headers(plan))
    for ratios in ({}, {"kmeans": 20.0, "search": 0.1}):
        known = estimated.on(ratios)
        load = np.bincount(shards(known.atoms(4), known.seconds, 4), weights=known.seconds)
        assert len(load) == 4
        assert load.max() < 1.2 * load.mean()


# --- Atoms -----------------------------------------------------------------------------------------------------------


def test_cells_that_share_embeddings_stay_together_while_they_are_few() -> None:
    models = [Model("toy", "none", size) for size in range(1, 9)]
    plan = Plan.of_cells([replace(cell, model=model) for model in models for cell in cells(GRID[::29])])
    estimated = estimate(plan, headers(plan))
    atoms = estimated.atoms(4)
    assert len(set(atoms.tolist())) == len(set(plan.model.tolist())) == 8
    assert len(set(zip(atoms.tolist(), plan.model.tolist(), strict=True))) == 8


def test_a_large_source_is_split_along_its_gen_work(grid: tuple[Plan, Estimate]) -> None:
    plan, estimated = grid
    assert len(set(estimated.source.tolist())) == 1
    assert len(set(estimated.atoms(1).tolist())) == 1
    atoms = estimated.atoms(4)
    assert len(set(atoms.tolist())) > 4
    by_work: dict[tuple[object, ...], set[int]] = {}
    for position in range(len(plan)):
        scheme = plan.cell(position).scheme
        if scheme.gen == "kmedoids":  # every k shares a distance matrix
            by_work.setdefault((scheme.norm_pre, scheme.n_shot), set()).add(int(atoms[position]))
    assert by_work
    assert all(len(found) == 1 for found in by_work.values())


def test_samples_as_proxies_feed_several_workers() -> None:
    """GEN takes nothing there, and searches nearly all of the time: one unit would keep every other worker waiting."""
    searches: list[dict[str, object]] = [
        {"metric": metric, "norm_post": post, "norm_inf": inf, "m": m}
        for metric in ("cosine", "manhattan", "mahalanobis")
        for post in ("none", "l2")
        for inf in ("none", "l2")
        for m in (1, 5)
    ]
    plan = Plan.of_cells([data.cell(task, gen="all", agg="mnn", **one) for task in (ALL, EVEN) for one in searches])
    estimated = estimate(plan, headers(plan))
    assert len(set(estimated.unit.tolist())) == 1
    shard = shards(estimated.atoms(4), estimated.seconds, 4)
    load = np.bincount(shard, weights=estimated.seconds)
    assert len(load) == 4
    assert load.max() < 1.5 * load.mean()
    # A search for 5 neighbours finds the nearest, too.
    of_search: dict[tuple[object, ...], set[int]] = {}
    for position, number in enumerate(shard.tolist()):
        cell = plan.cell(position)
        scheme = cell.scheme
        of_search.setdefault((cell.task, scheme.metric, scheme.norm_post, scheme.norm_inf), set()).add(number)
    assert all(len(numbers) == 1 for numbers in of_search.values())


@pytest.mark.parametrize(
    ("shard", "workers", "threads", "expected"),
    [
        ([0, 0, 0, 0], 1, 1, 16.0),  # one worker, all of the work
        ([0, 0, 0, 0], 4, 1, 16.0),  # nothing to do for the others
        ([0, 1, 2, 3], 4, 1, 10.0),  # the longest shard
        ([0, 1, 2, 3], None, 2, 5.0),  # two cores each
        ([0, 1, 2, 2], 1, 1, 16.0),  # one after the other
        ([0, 1, 1, 1], 2, 2, 5.0),
        ([], None, 1, 0.0),
    ],
)
def test_a_sweep_takes_as_long_as_its_longest_shard_or_all_of_its_work(
    shard: list[int], workers: int | None, threads: int, expected: float
) -> None:
    codes = np.zeros(len(shard), np.int64)
    stages = {"kmeans": np.array([10.0, 1.0, 2.0, 3.0][: len(shard)])}
    estimated = Estimate(codes, codes, codes, codes, codes, stages)
    assert estimated.duration(np.array(shard, np.int32), workers=workers, threads=threads) == expected


def test_what_is_computed_at_once_is_not_split_over_shards(grid: tuple[Plan, Estimate]) -> None:
    plan, estimated = grid
    shard = shards(estimated.atoms(3), estimated.seconds, 3)
    assert sorted(set(shard.tolist())) == [0, 1, 2]
    of_computation: dict[int, set[int]] = {}
    for computation, number in zip(plan.computation.tolist(), shard.tolist(), strict=True):
        of_computation.setdefault(computation, set()).add(number)
    assert all(len(numbers) == 1 for numbers in of_computation.values())
