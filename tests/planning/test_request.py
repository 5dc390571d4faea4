"""Requested rows: the columns hold what one would get combination by combination."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from imprint_sweep.config.experiments import Block
from imprint_sweep.config.overrides import axis_names, read_axis
from imprint_sweep.config.reading import cell_from_config
from imprint_sweep.config.schemas import GROUPS
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.errors import ConfigError, InvalidCellError, UnknownOptionError
from imprint_sweep.grid.cell import Cell, Model
from imprint_sweep.grid.conditions import Condition
from imprint_sweep.planning.request import MAX_COMBINATIONS, build
from tests.sweeping import NO_EMBEDDINGS, blocks_of, cells, parts, requested, tree, tree_of

CHOICES: dict[str, list[Any]] = {
    "model": ["efficientnet_lite0", "resnet18"],
    "model.weight_decay": [0.1, 1],
    "task": ["digits", "imagenet"],
    "task.classes": ["all", [3, 1, 7]],
    "task.merge": [None, 2],
    "task.remap": [None, 0],
    "gen": ["kmeans", "mean", "least_squares", "k_least_squares"],
    "norm": ["l2", "none"],
    "norm.pre": ["none", "quantile"],
    "agg": ["max", "mnn"],
    "agg.metric": ["euclidean", "inner_product"],
    "agg.m": [1, 0, 9],
    "k": [1, 5, None],
    "select.rule": [None, "bic", "cv_1se"],
    "select.max_k": [20, 1],
    "n_shot": [None, 3, 10],
    "eval.split": ["test", "validation"],
    "seed": [0, -1],
    "limit": [None, 50],
}
CONDITIONS = ["agg.m > 4 * k", "gen == mean and k != 1", "norm.pre == none", "n_shot != null or model == resnet18"]


def block(axes: dict[str, Any], exclude: tuple[str, ...] = ()) -> Block:
    return Block(
        {axis: read_axis(axis, list(values), tree().options) for axis, values in axes.items()},
        tuple(Condition.read(text, axis_names()) for text in exclude),
    )


def value_of(cfg: Any, axis: str, chosen: dict[str, Any]) -> Any:
    """The value of an axis as a condition means it: the option of a group, else the key of the configuration."""
    defaults = {"model": "efficientnet_lite0", "task": "digits", "gen": "kmeans", "norm": "l2", "agg": "max"}
    return chosen.get(axis, defaults[axis]) if axis in GROUPS else OmegaConf.select(cfg, axis)


@settings(max_examples=15)
@given(data=st.data())
def test_the_columns_are_the_cells_of_the_combinations_one_by_one(data: st.DataObject) -> None:
    found = []
    for _ in range(data.draw(st.integers(1, 2))):
        axes = data.draw(st.lists(st.sampled_from(sorted(CHOICES)), max_size=4, unique=True))
        values = {axis: data.draw(st.lists(st.sampled_from(CHOICES[axis]), min_size=1, max_size=3)) for axis in axes}
        found.append(block(values, tuple(data.draw(st.lists(st.sampled_from(CONDITIONS), max_size=1)))))

    expected: list[Cell] = []
    invalid: Counter[str] = Counter()
    excluded = 0
    for given_block in found:
        for values_of_axes in itertools.product(*given_block.axes.values()):
            axes_of_cell = dict(zip(given_block.axes, values_of_axes, strict=True))
            cfg = OmegaConf.create(parts().cell(axes_of_cell))
            chosen = {axis: value.value for axis, value in axes_of_cell.items()}
            if any(c.holds({n: value_of(cfg, n, chosen) for n in c.names}) for c in given_block.exclude):
                excluded += 1
                continue
            try:
                expected.append(cell_from_config(cfg))
            except InvalidCellError as error:
                invalid[str(error)] += 1

    try:
        request = build(found, tree(), NO_EMBEDDINGS)
    except InvalidCellError:
        assert not expected
        return
    assert list(cells(request)) == expected
    assert request.excluded == excluded
    assert sum(request.invalid.values()) == sum(invalid.values())
    for distinct in (request.models, request.tasks, request.schemes):
        assert len(set(distinct)) == len(distinct)
    assert {column.dtype for column in (request.model, request.task, request.scheme)} == {np.dtype(np.int32)}


def test_rows_come_in_the_order_of_the_product_repeated_ones_included() -> None:
    request = requested(tree(), "gen=kmeans,mean", "k=1,5", "seed=0,1")
    shown = [(cell.scheme.gen, cell.scheme.k, cell.scheme.seed) for cell in cells(request)]
    assert shown == [
        ("kmeans", 1, 0), ("kmeans", 1, 1), ("kmeans", 5, 0), ("kmeans", 5, 1),
        ("mean", None, 0), ("mean", None, 1), ("mean", None, 0), ("mean", None, 1),
    ]  # fmt: skip
    assert request.axes == ("gen", "k", "seed")


def test_swept_axes_are_those_with_several_values_over_all_blocks() -> None:
    found = [block({"k": [1], "gen": ["kmeans"]}), block({"k": [1], "gen": ["mean"], "seed": [0]})]
    assert build(found, tree(), NO_EMBEDDINGS).axes == ("gen",)


def test_the_weight_decay_of_a_model_reaches_the_least_squares_gens_only() -> None:
    request = requested(tree(), "model=resnet18,vit_b_16", "gen=kmeans,least_squares")
    decays = [(cell.model.name, cell.scheme.gen, cell.scheme.weight_decay) for cell in cells(request)]
    assert decays == [
        ("resnet18", "kmeans", None), ("resnet18", "least_squares", 1e-4),
        ("vit_b_16", "kmeans", None), ("vit_b_16", "least_squares", 0.1),
    ]  # fmt: skip
    assert len(request.schemes) == 3


def test_combinations_that_are_no_cells_are_left_out_and_counted() -> None:
    request = requested(tree(), "agg=max,mnn", "agg.metric=inner_product,cosine", "k=0,5", "agg.m=3")
    assert len(request.model) == 3
    assert sum(request.invalid.values()) == 5
    assert sum(n for reason, n in request.invalid.items() if reason.startswith("agg=mnn needs a distance")) == 2
    assert request.left_out == 5


def test_it_is_an_error_if_no_cell_remains() -> None:
    with pytest.raises(InvalidCellError, match=r"no cell remains: k must be at least 1, got 0 \(2 times\)"):
        requested(tree(), "k=0", "seed=1,2")
    with pytest.raises(InvalidCellError, match=r"no cell remains: k must be at least 1, got 0$"):
        requested(tree(), "k=0")
    with pytest.raises(InvalidCellError, match=r"conditions exclude 1 combination$"):
        build([block({"k": [3]}, ("k == 3",))], tree(), NO_EMBEDDINGS)


@pytest.mark.parametrize(
    ("argument", "kind", "message"),
    [
        ("norm.pre=l2,l22", UnknownOptionError, "unknown norm.pre 'l22'; did you mean l2?"),
        ("agg.metric=cosin,euclidean", UnknownOptionError, "did you mean cosine?"),
        ("task.classes=even,evn", UnknownOptionError, "did you mean even"),
        ("k=1,abc", ConfigError, "k: expected a whole number or null, got 'abc'"),
        ("k=1,0.5", ConfigError, "k: expected a whole number or null"),
        ("agg.m=1,x", ConfigError, "agg.m: expected a whole number or null, got 'x'"),
        ("seed=null", ConfigError, "seed"),
        ("model=imported,resnet18", ConfigError, "model.name is missing: set it with model.name=..."),
        ("k='${foo}',3", ConfigError, "Interpolation key 'foo' not found"),
        ("seed=range(0,100000000)", ConfigError, "seed=range(0,100000000) stands for more than 1,000,000 values"),
    ],
)
def test_a_value_that_cannot_be_read_is_an_error(argument: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        requested(tree(), argument)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_combinations_are_refused_before_they_are_made() -> None:
    axes = {"seed": range(300), "limit": range(1, 301), "k": range(1, 301)}
    assert MAX_COMBINATIONS < 300**3
    with pytest.raises(ConfigError, match="27,000,000 combinations of seed, limit, k"):
        build([block(axes)], tree(), NO_EMBEDDINGS)


def test_imported_embeddings_tell_the_classes_of_their_task(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    for name, labels in {"a": [3, 5], "b": [3, 5, 9]}.items():
        key = EntryKey(Model(name, "imported"), "mydata", "train")
        cache.write(key, np.ones((len(labels), 2), np.float32), np.array(labels, np.int64), metadata={})
    arguments = ["model=imported", "model.name=a,b", "task=imported", "task.name=mydata"]
    request = build(blocks_of(tree(), *arguments), tree(), cache)
    assert [[label[0][1] for label in cell.task.labels] for cell in cells(request)] == [[3, 5], [3, 5, 9]]
    assert request.missing == {}


@pytest.mark.parametrize("one_by_one", [False, True])
def test_combinations_whose_classes_nobody_knows_are_counted(one_by_one: bool, tmp_path: Path) -> None:
    """They are no error here: a dry run, and sweep.allow_missing, plan what there is."""
    if one_by_one:
        (tmp_path / "agg").mkdir()
        (tmp_path / "agg" / "mine.yaml").write_text("# @package _global_\nagg: {name: max, metric: cosine}\nk: 3\n")
    aggregations = "agg=mine,mnn" if one_by_one else "agg=max,mnn"
    asked = ["task=image_folder,digits", "task.name=foo", aggregations, "gen=mean"]
    request = requested(tree_of(config_dir=tmp_path) if one_by_one else tree(), *asked)
    assert len(request.model) == 2
    assert list(request.missing.values()) == [2]
    (reason,) = request.missing
    assert reason.startswith("there are no embeddings of ")
    nothing = requested(tree(), "task=image_folder", "task.name=foo", "gen=mean")
    assert (len(nothing.model), list(nothing.missing.values()), nothing.left_out) == (0, [1], 1)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_steps_after_the_last_class_are_told_once_for_each_number_of_classes(one_by_one: bool, tmp_path: Path) -> None:
    if one_by_one:
        (tmp_path / "agg").mkdir()
        (tmp_path / "agg" / "mine.yaml").write_text("# @package _global_\nagg: {name: max, metric: cosine}\nk: 3\n")
    asked = [
        f"agg={'mine' if one_by_one else 'max'}",
        "task.classes=all,even",
        "task.seen=5,7,10,12,14",
        "task.order=0,1",
    ]
    request = requested(tree_of(config_dir=tmp_path) if one_by_one else tree(), *asked)
    assert (len(request.model), request.left_out) == (20, 0)
    assert request.notes == (
        "task.seen above 10 comes after the last of 10 classes of digits: the same as task.seen=10",
        "task.seen above 5 comes after the last of 5 classes of digits: the same as task.seen=5",
    )
    assert requested(tree(), "task.seen=5,10").notes == ()


def test_a_hundred_thousand_rows_are_a_product_of_short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    for name in ("model_from", "task_from", "scheme_from", "typed"):
        original = getattr(__import__("imprint_sweep.planning.request", fromlist=[name]), name)

        def counted(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            calls[_name] += 1
            return _original(*args, **kwargs)

        monkeypatch.setattr(f"imprint_sweep.planning.request.{name}", counted)
    request = requested(
        tree(), "model=resnet18,swin_b", "task=glob(*mnist)", "seed=range(0,5000)", "gen=mean,all", "k=1,5"
    )
    assert len(request.model) == 2 * 2 * 5000 * 2 * 2
    assert calls["model_from"] == 2
    assert calls["task_from"] == 2
    assert calls["scheme_from"] == 5000 * 2 * 2
    assert calls["typed"] < 20
