"""What the command line of a sweep may say, and in which words the rest is refused."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.config.overrides import axis_names, read_axis, read_command_line
from imprint_sweep.errors import ConfigError, UnknownOptionError

OPTIONS = {
    "gen": ["all", "k_least_squares", "kmeans", "kmedoids", "mean"],
    "agg": ["max", "mnn"],
    "experiment": ["collapse_a", "collapse_b", "oracle"],
}


def options(group: str) -> Sequence[str]:
    return OPTIONS.get(group, [])


def values(*arguments: str) -> dict[str, list[Any]]:
    line = read_command_line(arguments, options)
    return {axis: [value.value for value in found] for axis, found in line.axes.items()}


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("k=5", [5]),
        ("k=1,5,20", [1, 5, 20]),
        ("k=choice(1,5)", [1, 5]),
        ("k=range(1,4)", [1, 2, 3]),
        ("k=range(1,10,4)", [1, 5, 9]),
        ("k=sort(5,1,20)", [1, 5, 20]),
        ("k=sort(5,1,20,reverse=true)", [20, 5, 1]),
        ("k=tag(few,choice(1,5))", [1, 5]),
        ("k=1,1", [1, 1]),
        ("n_shot=null,5", [None, 5]),
        ("seed=-3", [-3]),
        ("gen=kmeans,mean", ["kmeans", "mean"]),
        ("gen=glob(k*)", ["k_least_squares", "kmeans", "kmedoids"]),
        ("gen=glob(*,exclude=k*)", ["all", "mean"]),
        ("task.classes=even,[3,1,7]", ["even", [3, 1, 7]]),
        ("task.name='a,b'", ["a,b"]),
        ("model.weight_decay=1e-4,0.1", [1e-4, 0.1]),
        ("agg.m='${k}'", ["${k}"]),
        ("++k=3", [3]),
        ("k=1,range(3,5)", [1, 3, 4]),
        ("k=range(1,3),range(7,9)", [1, 2, 7, 8]),
        ("k=choice(1,2),3", [1, 2, 3]),
        ("gen=mean,glob(km*)", ["mean", "kmeans", "kmedoids"]),
        ("k=sort(range(0,5,2),reverse=true)", [4, 2, 0]),
        ("k=sort(range(5,0,-2))", [1, 3, 5]),
        ("k=sort(sweep=range(0,5,2),reverse=true)", [4, 2, 0]),
    ],
)
def test_the_grammar_of_hydra(argument: str, expected: list[Any]) -> None:
    ((axis, found),) = values(argument).items()
    assert axis == argument.lstrip("+").partition("=")[0]
    assert found == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["gen=kmeans,mean", "k=range(1,4)", "seed=7"],
        ["k=sort(3,1,2)", "agg=max,mnn", "task.classes=[3,1],even", "task.name='a b','c,d'"],
        ["k=1,2", "gen=mean", "k=5,6"],
    ],
)
def test_a_sweep_has_the_combinations_of_hydras_basic_sweeper_in_its_order(arguments: list[str]) -> None:
    axes = read_command_line(arguments, options).axes
    ours = [
        [f"{axis}={value.text}" for axis, value in zip(axes, combination, strict=True)]
        for combination in itertools.product(*axes.values())
    ]
    parsed = OverridesParser.create().parse_overrides(arguments)
    assert ours == BasicSweeper.split_arguments(parsed, None)[0]


@given(
    start=st.integers(-20, 20),
    stop=st.integers(-20, 20),
    step=st.integers(-5, 5).filter(bool),
    reverse=st.booleans(),
)
def test_sorting_a_range_keeps_its_numbers(start: int, stop: int, step: int, reverse: bool) -> None:
    expected = sorted(range(start, stop, step), reverse=reverse)
    argument = f"seed=sort(range({start},{stop},{step}),reverse={str(reverse).lower()})"
    if expected:
        assert values(argument)["seed"] == expected
    else:
        with pytest.raises(ConfigError, match="stands for no value at all"):
            values(argument)


def test_shuffle_keeps_the_values_of_an_axis() -> None:
    assert sorted(values("k=shuffle(1,2,3)")["k"]) == [1, 2, 3]
    assert sorted(values("k=shuffle(range(1,4))")["k"]) == [1, 2, 3]


def test_the_text_of_a_value_reads_as_the_same_value() -> None:
    given = ["task.name='it\\'s','a, b','x=y'", "k=1,null,true,0.5", "task.classes=[3,1],[a,'b c']"]
    for axis, found in read_command_line(given, options).axes.items():
        for value in found:
            (again,) = OverridesParser.create().parse_overrides([f"{axis}={value.text}"])
            assert again.value() == value.value


def test_what_is_no_axis_is_a_setting_and_kept_as_written() -> None:
    line = read_command_line(["sweep.dry_run=true", "k=1", "force=true", "sweep.dry_run=false"], options)
    assert line.settings == ("sweep.dry_run=false", "force=true")
    assert list(line.axes) == ["k"]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("+experiment=oracle", ("oracle",)),
        ("+experiment=oracle,collapse_a", ("oracle", "collapse_a")),
        ("+experiment=[oracle,collapse_a]", ("oracle", "collapse_a")),
        ("+experiment=glob(collapse_*)", ("collapse_a", "collapse_b")),
    ],
)
def test_experiments_are_named(argument: str, expected: tuple[str, ...]) -> None:
    assert read_command_line([argument], options).experiments == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gne=kmeans,mean", "unknown key 'gne'; did you mean gen?"),
        ("agg.metrc=cosine,euclidean", "unknown key 'agg.metrc'; did you mean agg.metric"),
        ("gen=kmeanz,mean", "unknown gen 'kmeanz'; did you mean kmeans or mean? Available: all, "),
        ("gen=1,2", "gen: expected the name of an option"),
        ("gen={name: kmeans}", "gen: expected the name of an option"),
        ("gen=[kmeans,mean]", "gen: expected the name of an option"),
        ("gen=glob(x*)", "gen=glob(x*) stands for no value at all"),
        ("agg.metric=glob(*)", "glob chooses among the options of a group, and agg.metric has none"),
        ("k=interval(1,5)", "write k=range(start,stop,step) or k=a,b,c"),
        ("k=range(1,1)", "k=range(1,1) stands for no value at all"),
        ("sweep.threads=1,2", "sweep.threads is a setting of the whole sweep"),
        ("paths.outputs=a,b", "paths.outputs is a setting of the whole sweep"),
        ("+k=3", "k has a value already: write k=3, without +"),
        ("~k", "every cell needs k"),
        ("agg@other=max", "a cell has one agg"),
        ("+agg@other=max,mnn", "a cell has one agg"),
        ("gen=[glob(k*)]", "write -m gen=glob([k*])"),
        ("k=1,interval(1,5)", "write k=range(start,stop,step) or k=a,b,c"),
        ("k=range(1,5,0)", "a range needs numbers and a step other than 0"),
        ("task.classes=[range(0,3)]", "a list holds single values"),
        ("experiment=oracle", "an experiment is added, not overridden: -m +experiment=NAME"),
        ("+experiment=orakle", "unknown experiment 'orakle'; did you mean oracle?"),
    ],
)
def test_what_is_refused_and_how(argument: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_command_line([argument], options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, [5]),
        (None, [None]),
        ("1,5", [1, 5]),
        ("range(1,4)", [1, 2, 3]),
        ([1, None, "range(7,9)"], [1, None, 7, 8]),
        ("1,range(3,5)", [1, 3, 4]),
        ("range(1,3),range(7,9)", [1, 2, 7, 8]),
        ("choice(1,2),3", [1, 2, 3]),
    ],
)
def test_values_in_a_file_are_text_in_the_grammar_or_lists(given: Any, expected: list[Any]) -> None:
    assert [value.value for value in read_axis("n_shot", given, options)] == expected


def test_a_list_of_classes_in_a_file_is_one_value_of_a_list() -> None:
    assert [value.value for value in read_axis("task.classes", ["even", [3, 1, 7]], options)] == ["even", [3, 1, 7]]


@pytest.mark.parametrize(
    ("axis", "given", "expected"),
    [
        ("task.classes", [1, 2], [[1, 2]]),
        ("task.classes", ["even", "odd"], ["even", "odd"]),
        ("task.classes", [[1, 2], [3]], [[1, 2], [3]]),
        ("task.datasets", ["mnist", "usps"], [["mnist", "usps"]]),
        ("task.datasets", ["[mnist,usps]", "[digits]"], [["mnist", "usps"], ["digits"]]),
        ("k", [1, 2], [1, 2]),
    ],
)
def test_a_list_of_what_is_no_value_alone_is_one_value(axis: str, given: Any, expected: list[Any]) -> None:
    assert [value.value for value in read_axis(axis, given, options)] == expected


def test_a_file_names_axes_only() -> None:
    with pytest.raises(UnknownOptionError, match=r"unknown axis 'norm\.per'; did you mean norm\.pre"):
        read_axis("norm.per", "l2", options)
    with pytest.raises(ConfigError, match=r"sweep\.threads is a setting"):
        read_axis("sweep.threads", 2, options)
    with pytest.raises(ConfigError, match="k has no values"):
        read_axis("k", [], options)
    with pytest.raises(UnknownOptionError, match="unknown gen 'kmeanz'"):
        read_axis("gen", ["kmeanz"], options)
    with pytest.raises(ConfigError, match=r"cannot read k=\[1"):
        read_axis("k", "[1", options)


def test_axes_are_what_makes_a_cell() -> None:
    assert {"model", "task.classes", "agg.m", "k", "n_shot", "seed", "limit"} <= set(axis_names())
    assert not {"device", "paths", "sweep.threads", "shard.plan"} & set(axis_names())
