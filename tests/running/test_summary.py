"""The table at the end of a sweep tells apart whatever the cells differ in, and takes the median over seeds alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.grid.cell import Cell, Model
from imprint_sweep.planning.plan import Plan, look_up
from imprint_sweep.running.summary import (
    SHOWN,
    accuracy_table,
    axes_without_meaning,
    shots_of_everything,
)
from imprint_sweep.wording import counted
from tests import data

BLOBS = data.blobs(train_sizes=dict.fromkeys(range(12), 2))
BASE = data.cell(data.task(BLOBS), gen="mean")


def table(cells: list[Cell], accuracy: list[float] | None = None) -> list[list[str]]:
    """The words of each line of the table."""
    plan = Plan.of_cells(cells)
    known = np.linspace(0.9, 0.1, len(plan)) if accuracy is None else np.array(accuracy)
    return [line.split() for line in accuracy_table(plan, known).splitlines()]


@pytest.mark.parametrize(
    ("part", "field", "values", "axis"),
    [
        ("model", "name", ("toy", "other"), "model"),
        ("model", "weights", ("none", "others"), "model.weights"),
        ("model", "image_size", (None, 112), "model.image_size"),
        ("task", "limit", (None, 1000), "limit"),
        ("task", "labels", (BASE.task.labels, BASE.task.labels[:2]), "task.labels"),
        ("scheme", "norm_inf", ("none", "l2"), "norm.inf"),
        ("scheme", "n_shot", (None, 5), "n_shot"),
        ("scheme", "weight_decay", (1e-4, 0.1), "model.weight_decay"),
    ],
)
def test_what_varies_has_a_column(part: str, field: str, values: tuple[object, ...], axis: str) -> None:
    cells = [replace(BASE, **{part: replace(getattr(BASE, part), **{field: value})}) for value in values]
    cells += [replace(cell, scheme=replace(cell.scheme, seed=seed)) for cell in cells for seed in (1, 2)]
    head, *lines = table(cells)
    assert head == [axis, "accuracy", "seeds"]
    assert len(lines) == 2
    assert {line[-1] for line in lines} == {"3"}


def test_merges_and_remaps_are_not_seeds() -> None:
    tasks = [replace(data.task(BLOBS, merge=merge), remap=remap) for merge in (2, 3) for remap in (0, 1)]
    cells = [data.cell(task, gen="mean", seed=seed) for task in tasks for seed in (1, 2)]
    head, *lines = table(cells)
    assert head == ["task.merge", "task.remap", "accuracy", "seeds"]
    assert sorted(line[:2] for line in lines) == [["2", "0"], ["2", "1"], ["3", "0"], ["3", "1"]]
    assert {line[-1] for line in lines} == {"2"}


def test_what_follows_from_other_axes_is_not_repeated() -> None:
    """The weights of a model, the labels of a selection, the weight decay that only one of two gens has."""
    other = replace(BASE, model=Model("other", "others", 112), task=data.task(BLOBS, classes=(3, 1)))
    assert table([BASE, other])[0] == ["model", "task.classes", "accuracy", "seeds"]
    assert table([BASE, data.cell(BASE.task, gen="least_squares")])[0] == ["gen", "accuracy", "seeds"]


def test_baselines_are_named() -> None:
    lines = table([BASE, data.cell(BASE.task, gen="least_squares")])
    assert " ".join(lines[-1]) == "baselines, which are no imprinting: gen=least_squares"
    assert len(table([BASE, data.cell(BASE.task, gen="all")])) == 3


def test_the_median_over_seeds_best_first() -> None:
    cells = [data.cell(BASE.task, gen=gen, k=2, seed=seed) for gen in ("fps", "kmeans") for seed in (1, 2, 3)]
    nan = float("nan")
    head, *lines = table(cells, [0.1, 0.5, 0.2, 0.9, nan, 0.7])
    assert head == ["gen", "accuracy", "seeds"]
    assert lines == [["kmeans", "0.8000", "2"], ["fps", "0.2000", "3"]]


def test_without_axes_it_is_a_line() -> None:
    seeds = [data.cell(BASE.task, gen="fps", seed=seed) for seed in range(3)]
    accuracy = np.array([0.5, 0.25, 0.75])
    assert accuracy_table(Plan.of_cells(seeds), accuracy) == "accuracy 0.5000, the median of 3 seeds"
    assert accuracy_table(Plan.of_cells(seeds[:1]), accuracy[:1]) == "accuracy 0.5000"
    assert accuracy_table(Plan.of_cells(seeds), np.full(3, np.nan)) == ""


def test_long_tables_and_long_lists_of_labels_are_cut() -> None:
    many = [data.cell(BASE.task, gen="fps", k=k) for k in range(1, SHOWN + 6)]
    assert table(many)[-1] == ["...", "and", "5", "more"]
    longer = replace(BASE, task=replace(BASE.task, labels=BASE.task.labels[::-1]))
    lines = accuracy_table(Plan.of_cells([BASE, longer]), np.array([0.1, 0.2])).splitlines()
    assert "11 10 9 8 7 6 5 4 3 2 1 0" in lines[1]
    hundred = replace(BASE, task=replace(BASE.task, labels=tuple((("blobs", n),) for n in range(100))))
    assert "... (100)" in accuracy_table(Plan.of_cells([BASE, hundred]), np.array([0.1, 0.2]))


def test_axes_that_no_cell_has_a_use_for() -> None:
    plan = Plan.of_cells([data.cell(BASE.task, gen="mean", agg="max"), data.cell(BASE.task, gen="fps", agg="max")])
    axes = ("agg.m", "k", "seed", "model.weight_decay", "task.remap", "agg.metric")
    assert axes_without_meaning(plan, axes) == ["agg.m", "model.weight_decay", "task.remap"]


def test_shots_that_are_every_sample_are_said_to_be(tmp_path: Path) -> None:
    """Of 30, 17, 3, 2 and 1 samples 30 shots are all; 20 are not. Merged classes have more samples."""
    cache = EmbeddingCache(tmp_path)
    uneven, joined = data.uneven(), data.joined()
    data.write(cache, uneven, *joined)
    merged = data.task(*joined)  # 60 samples of the largest label
    cells = [
        data.cell(data.task(uneven), gen="mean", n_shot=n, seed=seed) for n in (20, 30, 1000, None) for seed in (1, 2)
    ]
    cells += [data.cell(merged, gen="mean", n_shot=n) for n in (30, 60)]
    plan = Plan.of_cells(cells)
    assert shots_of_everything(plan, look_up(plan, cache).headers) == [
        "n_shot=30,1000 takes every training sample of uneven, whose largest class has 30: the same as n_shot=null",
        f"n_shot=60 takes every training sample of {merged.name}, whose largest class has 60: the same as n_shot=null",
    ]
    assert shots_of_everything(plan, {}) == []


def test_one_is_one() -> None:
    assert [counted(n, "cell") for n in (0, 1, 2, 1000)] == ["0 cells", "1 cell", "2 cells", "1,000 cells"]
