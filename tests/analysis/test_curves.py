"""Points of curves, worked by hand: which rows make one, what it is the average of, and what is said to be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.data.selection import MAIN_SEEDS
from imprint_sweep.analysis.stats import curves
from imprint_sweep.analysis.stats.curves import FM
from imprint_sweep.grid.cell import Model
from tests.analysis.table import L2, LITE0, RESNET18, Score, scores, task, write

MNIST = task("mnist")
ONE, TWO, THREE = MAIN_SEEDS
BY = [FM, "task", "gen", "k"]


def points_of(results: Results, given: tuple[int, ...] | None = None, **axes: object) -> curves.Points:
    frame = curves.with_models(results.frame)
    block = {name: [value] if isinstance(value, str) else value for name, value in axes.items()}
    return curves.points(frame, block, BY, MAIN_SEEDS, given)  # type: ignore[arg-type]


def median_of(table: pd.DataFrame) -> dict[tuple[str, int], float]:
    return dict(zip(zip(table["gen"], table["k"], strict=True), table["accuracy_median"], strict=True))


# models


def test_models_of_one_name_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    models = [Model("m", "w", 112), Model("m", "w", 224), Model("m", "w"), Model("n", "a"), Model("n", "b"), RESNET18]
    results = write(tmp_path, [s for model in models for s in scores(model, MNIST, {ONE: 1}, gen="mean")])
    named = curves.with_models(results.frame)[FM].tolist()
    assert named == ["m at 112 px", "m at 224 px", "m at its own size", "n (a)", "n (b)", "resnet18"]


def test_the_papers_models_are_those_with_its_weights_and_size(tmp_path: Path) -> None:
    models = [
        RESNET18,
        Model("resnet18", "IMAGENET1K_V1", 112),
        Model("swin_b", "IMAGENET1K_V1"),
        Model("vit_b_16", "x"),
    ]
    results = write(tmp_path, [s for model in models for s in scores(model, MNIST, {ONE: 1}, gen="mean")])
    found = curves.paper_models(curves.with_models(results.frame))
    assert found == {"resnet18 at its own size": "resnet18", "swin_b": "swin_b"}


# points


def test_a_point_is_the_median_and_the_mean_over_seeds(tmp_path: Path) -> None:
    results = write(tmp_path, scores(LITE0, MNIST, {ONE: 500, TWO: 900, THREE: 700}, gen="fps", k=2))
    (row,) = points_of(results, gen="fps").table.to_dict("records")
    assert row["accuracy_median"] == 0.7
    assert row["accuracy_mean"] == pytest.approx(0.7)
    assert row["accuracy_std"] == pytest.approx(0.2)
    assert row["seeds"] == 3


def test_the_mean_is_k_means_with_one_proxy_and_counts_once(tmp_path: Path) -> None:
    by_seed = dict.fromkeys(MAIN_SEEDS, 600)
    rows = scores(LITE0, MNIST, by_seed, gen="mean") + scores(LITE0, MNIST, by_seed, gen="kmeans", k=1)
    rows += scores(LITE0, MNIST, dict.fromkeys(MAIN_SEEDS, 800), gen="kmeans", k=2)
    rows += scores(LITE0, MNIST, dict.fromkeys(MAIN_SEEDS, 900), gen="least_squares")
    found = points_of(write(tmp_path, rows), gen=["kmeans", "k_least_squares"], k=[1, 2])
    assert median_of(found.table) == {("kmeans", 1): 0.6, ("kmeans", 2): 0.8, ("k_least_squares", 1): 0.9}
    assert found.table["seeds"].tolist() == [3, 3, 3]
    assert found.missing == ()


def test_blocks_of_axes_make_points_together(tmp_path: Path) -> None:
    results = write(
        tmp_path,
        scores(LITE0, MNIST, {ONE: 100}, gen="kmeans", k=2, **L2)
        + scores(LITE0, MNIST, {ONE: 200}, gen="kmeans", k=2)
        + scores(LITE0, MNIST, {ONE: 300}, gen="fps", k=2),
    )
    blocks = [{"gen": ["kmeans"], "norm_post": ["l2"]}, {"gen": ["fps"], "norm_post": ["none"]}]
    found = curves.points(curves.with_models(results.frame), blocks, BY, MAIN_SEEDS)
    assert median_of(found.table) == {("kmeans", 2): 0.1, ("fps", 2): 0.3}


def test_the_papers_seeds_count_where_there_are_any(tmp_path: Path) -> None:
    rows = scores(LITE0, MNIST, {ONE: 500, TWO: 700, 7: 0}, gen="fps", k=2)
    rows += scores(LITE0, MNIST, {ONE: 500}, gen="fps", k=3)
    rows += scores(RESNET18, MNIST, {7: 0}, gen="fps", k=2)
    results = write(tmp_path, rows)
    found = points_of(results, gen="fps")
    assert found.seeds == (ONE, TWO)
    assert median_of(found.table) == {("fps", 2): 0.6, ("fps", 3): 0.5}
    assert not found.complete
    assert found.missing == (
        "1 of 2 points stand on fewer than 2 seeds.",
        "Left out, as they have no row of these seeds: resnet18 on mnist.",
    )
    asked_for = points_of(results, (7,), gen="fps")
    assert asked_for.seeds == (7,)
    assert asked_for.complete
    assert len(asked_for.table) == 2


def test_there_may_be_none(tmp_path: Path) -> None:
    found = points_of(write(tmp_path, scores(LITE0, MNIST, {ONE: 1}, gen="mean")), gen="fps")
    assert found.table.empty
    assert found.complete
    assert found.missing == ()


def test_remaps_are_averaged_over_each_with_one_weight() -> None:
    table = pd.DataFrame(
        {
            "task": ["imagenet"] * 3 + ["mnist"],
            "merge": pd.array([2, 2, 3, None], "Int64"),
            "remap": pd.array([0, 1, 0, None], "Int64"),
            "accuracy_mean": [0.5, 0.9, 0.2, 0.7],
        }
    )
    found = curves.over_remaps(table, ["task", "merge"], "accuracy_mean")
    assert found["mean"].tolist() == pytest.approx([0.7, 0.2, 0.7])
    assert found["std"].iloc[0] == pytest.approx(np.std([0.5, 0.9], ddof=1))
    assert found["std"].isna().tolist() == [False, True, True]
    assert found["remaps"].tolist() == [2, 1, 0]


# shots


def shots_table(*rows: tuple[str, int | None, int | None, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["gen", "k", "n_shot", "accuracy"])
    return table.astype({"k": "Int64", "n_shot": "Int64"})


def test_with_few_shots_the_line_of_k_goes_through_k_equal_to_n() -> None:
    table = shots_table(
        ("all", None, 1, 0.1), ("all", None, 2, 0.4), ("kmeans", 1, 2, 0.3),
        ("kmeans", 1, 10, 0.5), ("kmeans", 5, 10, 0.6), ("kmeans", 5, None, 0.7), ("kmeans", 2, 10, 0.8),
    )  # fmt: skip
    found = curves.shots(table, [1, 5])
    lines = {line: rows["accuracy"].tolist() for line, rows in found.groupby("line")}
    assert lines == {"k = n": [0.1, 0.4], "k = 1": [0.1, 0.3, 0.5], "k = 5": [0.1, 0.4, 0.6, 0.7]}


@pytest.mark.parametrize(
    ("line", "other", "expected"),
    [
        ([0.3, 0.4, 0.5], [0.1, 0.2, 0.3], 1),
        ([0.1, 0.4, 0.2], [0.2, 0.2, 0.1], 5),
        ([0.3, 0.4, 0.1], [0.1, 0.2, 0.3], None),
        ([0.3, 0.2, 0.4], [0.3, 0.2, 0.4], None),
        ([0.3, np.nan, 0.5], [0.1, 0.2, 0.3], 1),
        ([np.nan] * 3, [0.1, 0.2, 0.3], None),
    ],
)
def test_a_line_is_above_from_where_it_stays_above(line: list[float], other: list[float], expected: int | None) -> None:
    assert curves.above_from([1, 5, 20], line, other) == expected


def test_the_best_k_is_the_smallest_of_equals() -> None:
    table = pd.DataFrame({"d": [1, 1, 1, 2], "k": [5, 2, 3, 9], "mean": [0.4, 0.6, 0.6, 0.1]})
    assert curves.best_k(table, ["d"])[["d", "k", "mean"]].values.tolist() == [[1, 2, 0.6], [2, 9, 0.1]]


# from points to rows and sentences


def test_a_line_is_spread_over_columns_and_gaps_stay_empty() -> None:
    table = pd.DataFrame(
        {"d": pd.array([2, 2, None], "Int64"), "k": pd.array([1, 3, 3], "Int64"), "accuracy": [0.1, 0.3, 0.9]}
    )
    found = curves.spread(table, ["d"], "k", [1, 2, 3], "accuracy")
    assert found.columns.tolist() == ["d", "k=1", "k=2", "k=3"]
    assert found["d"].isna().tolist() == [False, True]
    np.testing.assert_array_equal(
        found[["k=1", "k=2", "k=3"]].to_numpy(np.float64), [[0.1, np.nan, 0.3], [np.nan, np.nan, 0.9]]
    )


def test_missing_points_are_counted_and_named(tmp_path: Path) -> None:
    rows: list[Score] = []
    for model, gen, k in ((LITE0, "fps", 1), (LITE0, "fps", 3), (RESNET18, "random", 1), (RESNET18, "fps", 1)):
        rows += scores(model, MNIST, {ONE: 1}, gen=gen, k=k)
    table = points_of(write(tmp_path, rows), gen=["fps", "random"]).table
    wanted = pd.DataFrame([(gen, k) for gen in ("fps", "random") for k in (1, 3)], columns=["gen", "k"])
    assert curves.gaps(table, [FM, "task"], wanted, "k") == (
        "Missing are 4 of 8 points: efficientnet_lite0 on mnist, k-random (all); resnet18 on mnist, k-fps (k = 3); "
        "resnet18 on mnist, k-random (k = 3).",
    )
    assert curves.gaps(table, [FM, "task"], wanted[wanted["gen"].eq("fps") & wanted["k"].eq(1)], "k") == ()


def test_a_panel_with_few_points_belongs_to_another_experiment() -> None:
    table = pd.DataFrame({"task": ["a"] * 6 + ["b"] * 5 + ["c"] * 4})
    assert set(curves.mostly_run(table, ["task"])["task"]) == {"a", "b"}
    assert curves.mostly_run(table.iloc[:0], ["task"]).empty


def test_the_last_bit_of_a_mean_does_not_decide_the_best_k() -> None:
    table = pd.DataFrame({"d": 2, "k": [5, 7], "mean": [0.2, np.nextafter(0.2, 1)]})
    assert curves.best_k(table, ["d"])["k"].tolist() == [5]
