"""A plan holds every requested cell once, in order, as columns; shards hold every cell of a plan once."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey, cell_fingerprint
from imprint_sweep.errors import SweepError
from imprint_sweep.grid.cell import Cell, Model, Task
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.planning.plan import Plan, look_up, shards
from tests import data

BLOBS, PIXELS = data.clean(), data.digits()
LEFT, RIGHT = data.joined()
OTHER = Model("toy", "none", image_size=32)
TASKS = (
    data.task(BLOBS),
    data.task(BLOBS, classes=(1000, -5)),
    data.task(BLOBS, classes=(-5, 1000)),
    data.task(PIXELS),
    data.task(LEFT, RIGHT),
    data.task(PIXELS, classes=(0, 1, 2, 3), merge=2),
)


def grid() -> list[Cell]:
    """Cells of every gen, two models and six tasks, many of them equal by construction."""
    schemes = [
        {"gen": gen, "k": k, "n_shot": n_shot, "seed": seed, "norm_post": post, "agg": agg, "metric": metric, "m": m}
        for gen, k in [("mean", 1), ("kmeans", 1), ("kmeans", 3), ("all", 1), ("fps", 5), ("least_squares", 1)]
        for n_shot, seed in [(None, 0), (None, 1), (3, 0)]
        for post in ("none", "l2")
        for agg, metric, m in [("max", "inner_product", 1), ("mnn", "euclidean", 1), ("mnn", "cosine", 50)]
    ]
    return [
        replace(data.cell(task, **axes), model=model)
        for model, task, axes in product((data.MODEL, OTHER), TASKS, schemes)
    ]


CELLS = grid()


def every(plan: Plan) -> list[Cell]:
    """All cells of a plan."""
    return list(plan.cells(np.arange(len(plan))))


# --- Rows -> cells ---------------------------------------------------------------------------------------------------


def test_rows_that_ask_for_the_same_cell_are_merged_and_the_first_stays() -> None:
    cells = CELLS[:5]
    plan = Plan.of_cells([cells[3], cells[1], cells[3], cells[0], cells[1], cells[4]])
    assert every(plan) == [cells[3], cells[1], cells[0], cells[4]]
    assert (plan.requested, len(plan)) == (6, 4)
    assert len(plan.models) == len(plan.tasks) == 1
    assert len(plan.schemes) == 4


def test_a_selection_and_the_list_that_it_stands_for_are_one_cell() -> None:
    cell = data.cell(TASKS[0], gen="mean")
    listed = data.cell(data.task(BLOBS, classes=BLOBS.classes), gen="mean")
    assert listed.task != cell.task
    assert every(Plan.of_cells([cell, listed])) == [cell]


@given(rows=st.lists(st.integers(0, len(CELLS) - 1), max_size=60))
def test_a_plan_is_the_distinct_rows_in_order(rows: list[int]) -> None:
    plan = Plan.of_cells([CELLS[row] for row in rows])
    assert every(plan) == [CELLS[row] for row in dict.fromkeys(rows)]
    assert plan.requested == len(rows)
    assert plan.cell_id.tolist() == [cell.cell_id.encode() for cell in every(plan)]


def test_codes_group_exactly_as_computation_ids_do() -> None:
    plan = Plan.of_cells(CELLS)
    ids = [cell.computation_id() for cell in every(plan)]
    pairs = set(zip(plan.computation.tolist(), ids, strict=True))
    assert len(pairs) == len(set(ids)) == len(set(plan.computation.tolist()))
    assert 1 < len(pairs) < len(plan)
    assert sorted(set(plan.computation.tolist())) == list(range(len(pairs)))


def test_normal_forms_are_those_of_the_schemes() -> None:
    plan = Plan.of_cells(CELLS)
    code, forms = plan.normal_forms
    assert len(set(forms)) == len(forms)
    assert [forms[c] for c in code] == [normal_form(c.scheme, len(c.task.labels)) for c in every(plan)]


def test_a_single_cell_is_a_plan_of_one() -> None:
    for cell in CELLS[::97]:
        single = Plan.of_cells([cell])
        assert every(single) == [cell]
        assert single.cell_id.tolist() == [cell.cell_id.encode()]
        assert single.requested == len(single) == 1


def test_part_of_a_plan() -> None:
    plan = Plan.of_cells(CELLS)
    positions = np.array([7, 300, 2])
    part = plan[positions]
    assert every(part) == [CELLS[i] for i in positions]
    assert part.cell_id.tolist() == plan.cell_id[positions].tolist()
    assert len(part) == 3
    assert len(plan[np.array([], np.int64)]) == 0


def test_nothing_is_a_plan() -> None:
    plan = Plan.of_cells([])
    assert len(plan) == len(plan.computation) == plan.requested == 0
    assert plan.sources() == {}


# --- Files -----------------------------------------------------------------------------------------------------------


def test_a_plan_and_its_columns_come_back_as_they_were_saved(tmp_path: Path) -> None:
    plan = Plan.of_cells(CELLS)
    shard = np.arange(len(plan), dtype=np.int32) % 7
    path = tmp_path / "new folder" / "plan.npz"
    plan.save(path, shard=shard)
    loaded, columns = Plan.load(path)
    assert (loaded.models, loaded.tasks, loaded.schemes) == (plan.models, plan.tasks, plan.schemes)
    assert loaded.requested == plan.requested
    for name in ("model", "task", "scheme", "cell_id"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(plan, name), strict=True)
    assert list(columns) == ["shard"]
    np.testing.assert_array_equal(columns["shard"], shard, strict=True)
    assert [cell.cell_id for cell in every(loaded)] == [cell.cell_id for cell in CELLS]
    assert [file.name for file in path.parent.iterdir()] == ["plan.npz"]


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"^there is no plan at .*plan\.npz$"):
        Plan.load(tmp_path / "plan.npz")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_plan(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "plan.npz"
    Plan.of_cells(CELLS[:50]).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(SweepError, match=r"plan\.npz is no readable plan .*; plan the sweep again$"):
        Plan.load(path)


def test_a_damaged_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.npz"
    Plan.of_cells(CELLS[:50]).save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"model.npy") - 200] ^= 0xFF  # among the data of the first array
    path.write_bytes(content)
    with pytest.raises(SweepError, match="is no readable plan"):
        Plan.load(path)


def alien(path: Path, name: str) -> None:
    """Write a file that is no plan."""
    about = np.frombuffer(json.dumps({"format": 1, "requested": 0}).encode(), np.uint8)
    match name:
        case "text":
            path.write_text("cells: many")
        case "an array":
            with path.open("wb") as file:
                np.save(file, np.arange(5))
        case "other arrays":
            np.savez(path, x=np.arange(5))
        case "no columns":
            np.savez(path, about=about)
        case "pickle":
            np.savez(path, about=np.array([{"format": 1}], dtype=object))
        case "no JSON":
            np.savez(path, about=np.frombuffer(b"{format", np.uint8))
        case "a list":
            np.savez(path, about=np.frombuffer(b"[1]", np.uint8))


@pytest.mark.parametrize("name", ["text", "an array", "other arrays", "no columns", "pickle", "no JSON", "a list"])
def test_a_file_that_is_no_plan(name: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.npz"
    alien(path, name)
    with pytest.raises(SweepError, match="is no readable plan"):
        Plan.load(path)


def test_a_plan_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "plan.npz"
    np.savez(path, about=np.frombuffer(json.dumps({"format": 99}).encode(), np.uint8))
    with pytest.raises(SweepError, match=r"plan format 99, this version reads 1; plan again$"):
        Plan.load(path)


def test_a_plan_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError, match="the plan cannot be written to"):
        Plan.of_cells(CELLS[:1]).save(tmp_path / "file" / "plan.npz")


# --- Embeddings ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    """Embeddings of the toy model; those of one half of the joined task are missing."""
    cache = EmbeddingCache(tmp_path_factory.mktemp("embeddings"))
    data.write(cache, BLOBS, PIXELS, LEFT)
    return cache


def keys(model: Model, task: Task) -> list[EntryKey]:
    return [EntryKey(model, dataset, split, task.limit) for dataset in task.datasets for split in ("train", "test")]


def test_a_plan_reads_what_its_tasks_read() -> None:
    plan = Plan.of_cells(CELLS)
    read = {pair: plan.entry_keys(pair) for pair in plan.sources()}
    assert plan.sources() == read
    for position, cell in enumerate(CELLS):
        assert read[int(plan.source[position])] == keys(cell.model, cell.task)
    both = Plan.of_cells([data.cell(TASKS[0], gen="mean", split=split) for split in ("test", "validation")])
    test, validation = (both.entry_keys(int(source)) for source in both.source)
    assert validation == [key for key in test if key.split == "train"] != test
    limited = data.cell(replace(TASKS[0], limit=20), gen="mean")
    assert list(Plan.of_cells([limited]).sources().values()) == [keys(data.MODEL, limited.task)]


def test_fingerprints_are_those_of_the_cache(cache: EmbeddingCache) -> None:
    plan = Plan.of_cells(CELLS)
    found = look_up(plan, cache)
    for position, cell in enumerate(CELLS):
        headers = [cache.header(key) for key in keys(cell.model, cell.task)]
        present = [header for header in headers if header is not None]
        expected = cell_fingerprint(present) if len(present) == len(headers) else ""
        assert found.fingerprint[position].decode() == expected
        if expected and position % 40 == 0:
            assert cell_fingerprint(cache.open(key) for key in keys(cell.model, cell.task)) == expected
    read = {key for cell in CELLS for key in keys(cell.model, cell.task)}
    assert set(found.missing) == {key for key in read if cache.header(key) is None}
    assert {key.dataset for key in found.missing if key.model == data.MODEL} == {"right"}
    assert found.headers == {key: cache.header(key) for key in read - set(found.missing)}


def test_an_empty_cache_lacks_everything(tmp_path: Path) -> None:
    found = look_up(Plan.of_cells(CELLS[:3]), EmbeddingCache(tmp_path))
    assert found.fingerprint.tolist() == [b""] * 3
    assert list(found.missing) == keys(data.MODEL, TASKS[0])
    assert found.headers == {}
    assert len(look_up(Plan.of_cells([]), EmbeddingCache(tmp_path)).fingerprint) == 0


# --- Shards ----------------------------------------------------------------------------------------------------------

CASES = st.lists(st.tuples(st.integers(0, 12), st.floats(0, 100)), max_size=80)


@given(cells=CASES, count=st.integers(1, 20))
def test_shards_lose_no_cell_split_no_atom_and_are_balanced(cells: list[tuple[int, float]], count: int) -> None:
    atoms = np.array([atom for atom, _ in cells], np.int64)
    cost = np.array([cost for _, cost in cells])
    shard = shards(atoms, cost, count)
    distinct = set(atoms.tolist())
    assert shard.shape == atoms.shape
    assert len(set(zip(atoms.tolist(), shard.tolist(), strict=True))) == len(distinct)
    assert sorted(set(shard.tolist())) == list(range(min(count, len(distinct))))
    np.testing.assert_array_equal(shards(atoms, cost, count), shard)
    if len(cells):
        loads = np.bincount(shard, weights=cost)
        of_atom = np.bincount(atoms, weights=cost)
        # Graham's bound of longest processing time first, and what it follows from: the last atom went to the least.
        assert loads.max() <= cost.sum() / len(loads) + of_atom.max() + 1e-6
        assert loads.max() - loads.min() <= of_atom.max() + 1e-6


def test_shards_of_a_hand_worked_case() -> None:
    atoms = np.array([0, 0, 1, 2, 3, 3, 4])
    cost = np.array([3.0, 4.0, 5.0, 4.0, 2.0, 1.0, 2.0])
    # 7 | 5 | 4, then 3 to the least loaded, then 2 to the first of the two with least.
    expected = {0: 0, 1: 1, 2: 2, 3: 2, 4: 1}
    assert shards(atoms, cost, 3).tolist() == [expected[atom] for atom in atoms.tolist()]


def test_free_cells_spread_over_all_shards() -> None:
    loads = np.bincount(shards(np.arange(100), np.zeros(100), 10))
    assert loads.tolist() == [10] * 10


def test_more_shards_than_atoms_are_not_made() -> None:
    assert shards(np.array([5, 5, 9]), np.ones(3), 10).tolist() == [0, 0, 1]


def test_no_cells_make_no_shards() -> None:
    empty: NDArray[np.int64] = np.array([], np.int64)
    assert len(shards(empty, np.array([]), 4)) == 0
