"""A cell has one result: alone, in any sweep, order, thread count and memory; the oracle's, up to ties that are shown.

Random grids over every gen, normalisation, aggregation, metric, weighting and kind of task, on small embeddings with
everything that breaks ties and assumptions (``tests/data.py``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache as cache_of
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, evaluation, predictions, run
from imprint_sweep.engine.memory import ProxyCache
from imprint_sweep.grid.cell import Cell, Task
from imprint_sweep.grid.outcome import OK, Outcome
from imprint_sweep.imprinting.agg.directions import Directions
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, METRICS, WEIGHTINGS, ClassMetric, Position, norms_at
from imprint_sweep.imprinting.vectors import Vectors
from tests import data, oracle

# Some classes here hold fewer distinct samples than k, which both libraries remark on.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Number of distinct clusters:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Cluster .* is empty:UserWarning"),
]

CLEAN, UNEVEN, DEGENERATE, PIXELS = data.clean(), data.uneven(), data.degenerate(), data.digits()
LEFT, RIGHT = data.joined()
DATASETS = (CLEAN, UNEVEN, DEGENERATE, PIXELS, LEFT, RIGHT)
TRAIN = {dataset.name: dataset.train for dataset in DATASETS}
TEST = {dataset.name: dataset.test for dataset in DATASETS}
TASKS = {
    "all": data.task(CLEAN),
    "listed out of order": data.task(CLEAN, classes=(1000, -5)),
    "one label": data.task(CLEAN, classes=(7,)),
    "tiny classes": data.task(UNEVEN),
    "tiny classes, even": data.task(UNEVEN, classes=(0, 2, 4)),
    "duplicates and zeros": data.task(DEGENERATE),
    "real": data.task(PIXELS),
    "real, odd": data.task(PIXELS, classes=(1, 3, 5, 7, 9)),
    "joined": data.task(LEFT, RIGHT),
    "2 in 1": data.task(PIXELS, classes=(4, 0, 9, 2, 7, 1), merge=2),
}
PLAIN = EngineSettings(threads=1, memory_gb=1.0, proxy_cache=None)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    """All datasets of this module."""
    cache = EmbeddingCache(tmp_path_factory.mktemp("embeddings"))
    data.write(cache, *DATASETS)
    return cache


@cache_of
def smallest(task: Task) -> int:
    """Training samples of the smallest label."""
    return min(len(oracle.samples_of(label, TRAIN)) for label in task.labels)


JOINT = [name for name, gen in GENS.items() if gen.joint]
OF_PAIRS = [name for name, metric in METRICS.items() if not isinstance(metric, ClassMetric)]
"""Metrics that make sense under every gen."""


def random_cells(n: int, seed: int, tasks: Iterable[Task] = TASKS.values()) -> list[Cell]:
    """Distinct random points of the grid; every gen and every task comes up equally often."""
    rng, rng_of_split, own = (np.random.default_rng(key) for key in (seed, [seed, 1], [seed, 2]))
    cells: dict[str, Cell] = {}
    gens_and_tasks = list(product(GENS, tasks))
    while len(cells) < n:
        gen, task = gens_and_tasks[rng.integers(len(gens_and_tasks))]
        agg, metric = rng.choice(list(AGGREGATIONS)), rng.choice(list(METRICS))
        if agg == "mnn" and metric == "inner_product":
            continue
        if gen in JOINT and metric not in OF_PAIRS:
            continue
        n_shot = (None, None, 1, 4, 10)[rng.integers(5)]
        held_out = n_shot in (None, 10) and smallest(task) >= 5 and rng_of_split.random() < 0.4
        axes: dict[str, object] = {
            "split": "validation" if held_out else "test",
            "gen": gen,
            "agg": str(agg),
            "metric": str(metric),
            "k": int(rng.choice([1, 2, 5])),
            "n_shot": n_shot,
            "m": int(rng.choice([1, 3, 8, 10_000])),
            "weighting": str(rng.choice(list(WEIGHTINGS))),
            "parameters": {
                "agg.temperature": float(rng.choice([0.02, 0.07, 3.0])),
                "gen.features": 20,
                "gen.ridge": "chosen" if n_shot in (None, 10) and own.random() < 0.7 else 10.0,
                "agg.shrinkage": float(own.choice([1.0, 0.3])),
                # A center of k-means may be negative by a rounding.
                "agg.tukey": 1.0 if gen == "kmeans" else float(own.choice([1.0, 0.5])),
            },
            "norm_pre": str(rng.choice(norms_at(Position.PRE))),
            "norm_post": str(rng.choice(norms_at(Position.POST))),
            "norm_inf": str(rng.choice(norms_at(Position.INF))),
            "seed": int(rng.integers(3)),
        }
        if GENS[gen].biased:  # most of the grid means nothing under it
            axes |= {"agg": str(rng.choice(["max", "lse"])), "metric": "inner_product", "norm_post": "none"}
            axes["parameters"] = {
                "agg.temperature": 0.07,
                "gen.shrinkage": (0.2, "oas", "ledoit_wolf")[own.integers(3)],
                "gen.priors": str(own.choice(["equal", "empirical"])),
                "gen.c": (1.0, 0.1, "chosen" if n_shot in (None, 10) else 10.0)[own.integers(3)],
            }
        for cell in data.meaningful([(task, axes)]):
            cells[cell.cell_id] = cell
    return list(cells.values())


def results(
    cells: Sequence[Cell], cache: EmbeddingCache, settings: EngineSettings = PLAIN
) -> dict[str, tuple[object, ...]]:
    """By cell id, everything of an outcome that is a result; that there is exactly one good outcome a cell."""
    found: dict[str, tuple[object, ...]] = {}
    for outcome in run(cells, cache, settings):
        assert outcome.status == OK, f"{outcome.error}: {outcome.cell}"
        assert outcome.cell.cell_id not in found, f"two outcomes for {outcome.cell}"
        found[outcome.cell.cell_id] = result(outcome)
    assert found.keys() == {cell.cell_id for cell in cells}
    return found


def result(outcome: Outcome) -> tuple[object, ...]:
    """What must not depend on circumstances."""
    return (
        outcome.computation_id,
        outcome.fingerprint,
        outcome.n_correct,
        outcome.n_test,
        outcome.f1,
        outcome.f1_macro,
        outcome.f1_weighted,
        outcome.n_proxies,
    )


# Circumstances


@pytest.fixture(scope="module")
def grid() -> list[Cell]:
    """The grid that is computed under many circumstances."""
    return random_cells(150, seed=0)


@pytest.fixture(scope="module")
def reference(grid: list[Cell], cache: EmbeddingCache) -> dict[str, tuple[object, ...]]:
    """Its results in one sweep."""
    return results(grid, cache)


def test_a_cell_alone_is_the_cell_in_a_sweep(
    grid: list[Cell], reference: Mapping[str, tuple[object, ...]], cache: EmbeddingCache
) -> None:
    for cell in grid[::3]:
        assert results([cell], cache) == {cell.cell_id: reference[cell.cell_id]}, cell


def test_subsets_and_order_do_not_matter(
    grid: list[Cell], reference: Mapping[str, tuple[object, ...]], cache: EmbeddingCache
) -> None:
    rng = np.random.default_rng(1)
    for size in (3, 20, 60, len(grid)):
        chosen = [grid[i] for i in rng.permutation(len(grid))[:size]]
        assert results(chosen, cache) == {cell.cell_id: reference[cell.cell_id] for cell in chosen}


@pytest.mark.parametrize("memory_gb", [1.0, 1e-4])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_memory_do_not_matter(
    threads: int,
    memory_gb: float,
    grid: list[Cell],
    reference: Mapping[str, tuple[object, ...]],
    cache: EmbeddingCache,
) -> None:
    assert results(grid, cache, EngineSettings(threads=threads, memory_gb=memory_gb, proxy_cache=None)) == reference


def test_the_proxy_cache_does_not_matter(
    grid: list[Cell],
    reference: Mapping[str, tuple[object, ...]],
    cache: EmbeddingCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ProxyCache, "WORTH_SECONDS", 0.0)
    settings = EngineSettings(threads=2, memory_gb=1.0, proxy_cache=tmp_path)
    half = grid[::2]
    assert results(half, cache, settings) == {cell.cell_id: reference[cell.cell_id] for cell in half}
    assert any(tmp_path.rglob("*")), "nothing was cached"
    assert results(grid, cache, settings) == reference


def products_in_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all inner products in half of the directions."""

    def always(queries: Vectors, *_: object) -> Directions:
        return Directions.of_most(queries.rows, max(1, queries.rows.shape[1] // 2))

    monkeypatch.setattr(evaluation, "LARGE", 0)
    monkeypatch.setattr(evaluation, "directions_that_save_time", always)


def test_products_in_directions_do_not_matter(
    grid: list[Cell],
    reference: Mapping[str, tuple[object, ...]],
    cache: EmbeddingCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    products_in_directions(monkeypatch)
    assert results(grid, cache) == reference


def test_searching_each_class_once_for_all_tasks_does_not_matter(
    grid: list[Cell],
    reference: Mapping[str, tuple[object, ...]],
    cache: EmbeddingCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "SHARED", 0)
    assert results(grid, cache) == reference
    assert results(grid[::3], cache, replace(PLAIN, threads=3, memory_gb=1e-4)) == {
        cell.cell_id: reference[cell.cell_id] for cell in grid[::3]
    }
    monkeypatch.setattr(evaluation, "MERGED_AT_ONCE", 1)
    products_in_directions(monkeypatch)
    assert results(grid, cache) == reference


def test_the_global_seed_does_not_matter(
    grid: list[Cell], reference: Mapping[str, tuple[object, ...]], cache: EmbeddingCache
) -> None:
    seeded = [cell for cell in grid if GENS[cell.scheme.gen].seeded][:20]
    np.random.seed(12345)  # noqa: NPY002
    assert results(seeded, cache) == {cell.cell_id: reference[cell.cell_id] for cell in seeded}
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(12345)  # noqa: NPY002
    assert drawn == np.random.random(), "the engine drew from NumPy's global generator"  # noqa: NPY002


# The oracle


def disagreements(cell: Cell, labels: np.ndarray) -> Iterator[tuple[int, str | None]]:
    """Each query on which predictions differ from the oracle's, with the tie that explains it, or None."""
    generated = oracle.generate(cell, TRAIN)
    test = oracle.tested_on(cell, TRAIN, TEST)
    maps = oracle.class_maps(cell, TRAIN)
    expected = oracle.predict(cell, generated, test, maps).labels
    assert labels.shape == expected.shape
    for query in np.flatnonzero(labels != expected).tolist():
        yield query, oracle.explain(cell, generated, test, query, int(labels[query]), maps)


@pytest.mark.parametrize("name", TASKS)
def test_predictions_are_the_oracles_up_to_ties(name: str, cache: EmbeddingCache) -> None:
    ties: Counter[str] = Counter()
    n_predictions = 0
    for cell in random_cells(60, seed=len(name), tasks=[TASKS[name]]):
        labels = predictions(cell, cache, PLAIN)
        n_predictions += len(labels)
        for query, tie in disagreements(cell, labels):
            assert tie is not None, f"query {query} is predicted {labels[query]}, which is no tie: {cell}"
            ties[tie] += 1
    # Ties are rare on data without duplicates, so that an engine that rounds too much cannot hide among them.
    if TASKS[name].datasets != ("degenerate",):
        assert ties.total() <= 0.002 * n_predictions, ties


def test_outcomes_are_scikit_learns_metrics_of_the_predictions(cache: EmbeddingCache) -> None:
    for cell in random_cells(40, seed=3):
        (outcome,) = run([cell], cache, PLAIN)
        labels = predictions(cell, cache, PLAIN).astype(np.int64)
        _, truth = oracle.queries(cell.task, oracle.tested_on(cell, TRAIN, TEST))
        empty = np.zeros((len(labels), len(cell.task.labels)))
        expected = oracle.scores(oracle.Prediction(truth, labels, empty.astype(np.int64), empty, empty))
        assert (outcome.n_correct, outcome.n_test) == (expected.n_correct, expected.n_test)
        assert outcome.f1 == pytest.approx(expected.f1, abs=1e-12)
        assert outcome.f1_macro == pytest.approx(expected.f1_macro, abs=1e-12)
        assert outcome.f1_weighted == pytest.approx(expected.f1_weighted, abs=1e-12)


def test_an_outcome_counts_the_proxies(cache: EmbeddingCache) -> None:
    cells = random_cells(40, seed=4)
    counts = {outcome.cell.cell_id: outcome.n_proxies for outcome in run(cells, cache, PLAIN)}
    for cell in cells:
        assert counts[cell.cell_id] == sum(len(p) for p in oracle.generate(cell, TRAIN)), cell


# Equal by construction


def equal_by_construction(task: Task) -> list[list[Cell]]:
    """Groups of at least two cells of one task that share a computation, out of a dense grid."""
    groups: dict[str, list[Cell]] = defaultdict(list)
    gens = [("kmeans", 1), ("mean", 1), ("k_least_squares", 1), ("least_squares", 1), ("random", 2), ("all", 2)]
    aggs = [(agg, 1, metric, "uniform") for agg in ("max", "lse") for metric in OF_PAIRS]
    aggs += [
        ("mnn", m, metric, weighting)
        for m, weighting in ((1, "uniform"), (500, "uniform"), (500, "softmax"))
        for metric in OF_PAIRS
        if metric != "inner_product"
    ]
    norms = product(norms_at(Position.PRE), norms_at(Position.POST), norms_at(Position.INF))
    for (gen, k), (agg, m, metric, weighting), (pre, post, inf), seed in product(gens, aggs, list(norms), (0, 1)):
        axes = {"gen": gen, "k": k, "agg": agg, "m": m, "metric": metric, "weighting": weighting, "seed": seed}
        cell = data.cell(task, **axes, norm_pre=pre, norm_post=post, norm_inf=inf)
        groups[cell.computation_id()].append(cell)
    return [cells for cells in groups.values() if len(cells) > 1]


def test_cells_that_share_a_computation_have_equal_results(cache: EmbeddingCache) -> None:
    groups = equal_by_construction(TASKS["all"])
    found = results([cell for cells in groups for cell in cells], cache, replace(PLAIN, threads=2))
    by_computation: dict[object, set[tuple[object, ...]]] = defaultdict(set)
    for outcome in found.values():
        by_computation[outcome[0]].add(outcome)
    assert len(by_computation) < len(found) / 2
    assert all(len(equal) == 1 for equal in by_computation.values())


@pytest.mark.parametrize("name", ["all", "tiny classes", "real", "joined"])
def test_equal_by_construction_holds_for_the_literal_cells(name: str) -> None:
    """Of the oracle alone: what the identity calls one computation is one, up to ties, when computed as asked."""
    rng = np.random.default_rng(0)
    n_predictions = n_ties = 0
    groups = equal_by_construction(TASKS[name])
    for index in rng.permutation(len(groups))[:100]:
        cells = groups[index]
        first, other = (cells[i] for i in rng.permutation(len(cells))[:2])
        labels = oracle.predict(first, oracle.generate(first, TRAIN), TEST).labels
        n_predictions += len(labels)
        for query, tie in disagreements(other, labels):
            assert tie is not None, f"query {query} differs between\n{first.scheme} and\n{other.scheme}"
            n_ties += 1
    assert n_ties <= 0.002 * n_predictions


# The tasks


def test_the_order_of_labels_permutes_the_result(cache: EmbeddingCache) -> None:
    """Where no tie is decided by it: without duplicates and without whole votes. Only quantile depends on the order."""
    cells = [
        cell
        for cell in random_cells(120, seed=5, tasks=[TASKS["all"]])
        if cell.scheme.norm_post != "quantile" and (cell.scheme.m in (None, 1) or cell.scheme.weighting != "uniform")
    ]
    assert len(cells) > 40
    order = [2, 0, 1]
    permuted = data.task(CLEAN, classes=tuple(CLEAN.classes[i] for i in order))
    for cell in cells:
        (straight,) = run([cell], cache, PLAIN)
        (turned,) = run([replace(cell, task=permuted)], cache, PLAIN)
        assert straight.f1 is not None
        assert turned.n_correct == straight.n_correct, cell
        assert turned.f1 == tuple(straight.f1[i] for i in order), cell


def test_a_joined_label_is_the_class_it_would_be_in_one_dataset(cache: EmbeddingCache, tmp_path: Path) -> None:
    """Copying the parts of every label into one class of one dataset changes nothing but the keys of the draws."""
    drawless = [
        cell
        for name in ("joined", "2 in 1")
        for cell in random_cells(60, seed=6, tasks=[TASKS[name]])
        if not cell.scheme.draws_samples
        and cell.scheme.gen not in ("random", "fps")
        and cell.scheme.parameter("gen.ridge") != "chosen"  # by samples that are drawn
    ]
    for cell in drawless:
        whole = EmbeddingCache(tmp_path / cell.cell_id)
        splits = []
        for split in (TRAIN, TEST):
            rows = [oracle.samples_of(label, split) for label in cell.task.labels]
            numbers = np.repeat(np.arange(len(rows)), [len(x) for x in rows])
            splits.append(data.Split(np.concatenate(rows), numbers))
        dataset = data.Dataset("whole", *splits)
        data.write(whole, dataset)
        same = replace(cell, task=data.task(dataset))
        np.testing.assert_array_equal(predictions(same, whole, PLAIN), predictions(cell, cache, PLAIN))
