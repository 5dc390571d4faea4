"""Configurations put together from options composed once are those that Hydra composes for the same cells.

Compared are all pairs of options, and values in all of Hydra's override grammar:
``pytest tests/config/test_composition.py``.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from imprint_sweep.config.composition import Tree, obstacle, plain
from imprint_sweep.config.overrides import Value, read_axis, read_command_line
from imprint_sweep.config.reading import cell_from_config
from imprint_sweep.config.schemas import GROUPS
from imprint_sweep.errors import ConfigError
from imprint_sweep.grid.cell import Cell
from tests.sweeping import cells, parts, requested, tree, tree_of

# --- equality with Hydra ----------------------------------------------------------------------------------------------


def same(cell: Mapping[str, Value]) -> bool:
    """Whether a cell that was put together is the one that Hydra composes; 1, 1.0 and true differ."""
    ours, theirs = parts().cell(cell), plain(tree().compose(cell))
    return json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)


def pairwise(choices: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Combinations in which any two options of different groups meet; greedy, hence few but not the fewest."""
    waiting = {
        frozenset(pair): None
        for first, second in itertools.combinations(choices, 2)
        for pair in itertools.product(
            [(first, name) for name in choices[first]], [(second, name) for name in choices[second]]
        )
    }
    while waiting:
        row = dict(next(iter(waiting)))
        for group in [group for group in choices if group not in row]:
            row[group] = max(
                choices[group],
                key=lambda name: sum(frozenset(((group, name), other)) in waiting for other in row.items()),
            )
        for pair in itertools.combinations(row.items(), 2):
            waiting.pop(frozenset(pair), None)
        yield row


def test_any_two_options_meet() -> None:
    choices = {"a": ["1", "2", "3"], "b": ["1", "2"], "c": ["only"], "d": ["1", "2", "3", "4"]}
    rows = list(pairwise(choices))
    for first, second in itertools.combinations(choices, 2):
        assert {(row[first], row[second]) for row in rows} == set(itertools.product(choices[first], choices[second]))
    assert len(rows) < 3 * 2 * 4


def test_any_two_options_compose_as_hydra_composes_them() -> None:
    for row in pairwise({group: tree().options(group) for group in GROUPS}):
        assert same({group: Value.of(name) for group, name in row.items()}), row


# --- Hydra's override grammar -----------------------------------------------------------------------------------------

KEYS = [
    *("k", "n_shot", "seed", "limit", "model.name", "model.weights", "model.image_size", "model.dim", "task.name"),
    *("model.weight_decay", "task.classes", "task.merge", "task.remap", "norm.pre", "norm.post", "norm.inf"),
    *("agg.metric", "agg.m", "agg.weighting"),
]
"""Keys that all options have. What they take as values does not matter to the composition."""

ATOMS = [
    # Numbers, and what nearly is one.
    *("0", "1", "-1", "+1", "007", "1_000", "1__0", "1_", "_1", "99999999999999999999", "1.0", "-1.5", ".5", "10."),
    *("1e3", "1E-3", "+1.5e+2", "1_0.5", "67e15", "1e", "e5", "inf", "-inf", "+INF", "nan", "NaN", "1.2.3", "0x10"),
    *("true", "TRUE", "False", "yes", "on", "null", "NULL", "Null", "None", "~", "nulls", "trueish"),
    # Words.
    *("abc", "a-b", "a/b", "a.b", "a:b", "a+b", "a%b", "a@b", "a?b", "a|b", "a*b", "$a", "a$b", "C:\\\\a", "*", "?"),
    *("a b", "1 2", "a 1 null", "10:20", "http://host:80/a?b", "2024-01-31", "übung", "数", "a_1", "-", "a-", "."),
    *("a\\,b", "a\\=b", "\\[a\\]", "\\{a\\:b\\}", "a\\ ", "\\(a\\)", "a\\\\b", "\\$a"),
    # Quotes.
    *("''", '""', "' '", "'a'", '"a"', "'a,b'", "'[1]'", "'{a: 1}'", "'1'", "'1.0'", "'true'", "'null'", "'a=b'"),
    *(
        "'it\\'s'",
        '"it\'s"',
        "'say \"a\"'",
        '"say \\"a""',
        "'a\\\\'",
        "'a\\b'",
        "'C:\\\\a\\\\'",
        "'  a '",
        "'#a'",
        "'a: b'",
    ),
    *("'choice(1,2)'", "'ü'", "'a\tb'", "'range(1,3)'", "'\\,'", "'\\\\\\'a'"),
    # Interpolations, which stay as they are.
    *("${k}", "${seed}", "${task.name}", "${.name}", "${..k}", "a${k}b", "${k}${seed}", "${oc.env:HOME}"),
    *("${oc.env:NOPE,1}", "${oc.env:NOPE,'a b'}", "${f:1,[2],{a:3}}", "${oc.env:${k}}", "'${k}'", '"${k}"'),
    *("'a ${k} b'", "'\\${k}'", "\\${k}", "${a[0]}", "${a.b[c]}"),
]
"""Values that are no container, and some that look like ones of another type."""

CONTAINERS = [
    *(
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "{a:{}}",
        "{a:[]}",
        "[1,2]",
        "[ 1 , 2 ]",
        "[1,[2,[3]]]",
        "{a:1,b:2}",
        "{a: {b: [1]}}",
    ),
    *("[{a:1},{b:2}]", "[a b,c]", "['a,b',c]", "{a:'b: c'}", "{1:2}", "{1.5:a,true:b}", "{a b:1}", "{a/b:1}"),
    *(
        "[1,1.0,true,null,a]",
        "[${k},'${k}']",
        "{a:${k}}",
        "['1',\"2\"]",
        "['']",
        "{a:''}",
        "{'a b':1}",
        "{a_b:1,c-d:2}",
    ),
]

FORMS = ["{}", "[{}]", "[a,{},1]", "{{a: {}}}", "[[{}],{{b: {}}}]", " {} ", "choice({})", "{},1", "choice(a,{},[{}])"]
"""Where a value may stand; a sweep has each of its values compared."""

CASTS = ["int", "float", "str", "bool", "json_str"]
CAST = ["1", "1.5", "-7", "1e3", "true", "null", "a", "'1'", "'1.5'", "''", "'true'", "[1,2]", "['1',[2]]", "{a:1}"]
CAST += ["choice(1,2)", "range(1,3)", "[1.5,true,a]", "${k}", "'a b'", "range(0.5,2)", "inf", "{a:[1,'2']}"]

SWEEPS = [
    *("1,2", "a,b,1,null,true,1.5", "'a,b',c", "[1,2],[3]", "{a:1},{a:2}", "[],{}", "a b,c", "1, 2 ,3", "1,1,1"),
    *("choice(1)", "choice(a,'b c')", "choice([1],{a:2})", "tag(t1,t2,choice(1,2))", "tag(choice(1,2))"),
    *("range(3)", "range(1,4)", "range(1,10,3)", "range(5,0,-2)", "range(0,1,0.25)", "range(start=1,stop=3)"),
    *("range(1.5,4)", "range(stop=2)", "range(-2,2)", "tag(few,range(1,3))", "float(range(1,3))", "str(range(1,3))"),
    *("sort(3,1,2)", "sort(3,1,2,reverse=true)", "sort(b,a)", "sort(choice(3,1,2))", "sort(1.5,1)", "sort([3,1,2])"),
    *("sort([b,a],reverse=true)", "str(choice(1,a))", "int(choice(1.5,'2'))", "bool(choice(0,1,'true'))"),
    *("int(1.5,2)", "str([1,2],{a:1})", "float(1,'2')", "json_str([1,'a'],{a:null})"),
    *("'${k}',1", "${k},${seed}", "oc.env,1", "sort(tag(a,choice(2,1)))", "choice(${k},'${k}')", "null,NULL,'null'"),
]


MARKS = r"""['"\\]"""
"""Quotation marks, and what escapes."""


def expressions() -> list[str]:
    """Right sides of overrides: every value everywhere that a value may stand, casts and sweeps."""
    placed = [form.format(*[value] * 2) for value in [*ATOMS, *CONTAINERS] for form in FORMS]
    cast = [f"{function}({value})" for function in CASTS for value in CAST]
    return list(dict.fromkeys([*placed, *cast, *SWEEPS]))


def of_hydra(expression: str) -> list[str] | None:
    """The texts that Hydra's own sweeper starts its jobs with, one for each value; None if it refuses."""
    try:
        parsed = OverridesParser.create().parse_overrides([f"k={expression}"])
        return [text.removeprefix("k=") for (text,) in BasicSweeper.split_arguments(parsed, None)[0]]
    except (HydraException, ValueError, TypeError, AssertionError):
        return None


def read(text: str) -> str:
    """The value that a text has on a command line, as Python writes it: 1, 1.0 and true differ, and nan equals nan."""
    (override,) = OverridesParser.create().parse_overrides([f"k={text}"])
    return repr(override.value())


def values_of(expression: str) -> list[Value] | None:
    """The values that we read; None if we refuse."""
    try:
        return list(read_command_line([f"k={expression}"], tree().options).axes["k"])
    except (HydraException, ConfigError):
        return None


def test_the_grammar_gives_the_values_of_hydras_own_sweeper() -> None:
    """Each text reads as the value. Hydra's own lacks the quotation marks in some places, as that of ``str(1),2``."""
    for expression in expressions():
        texts, found = of_hydra(expression), values_of(expression)
        assert (texts is None) == (found is None), expression
        for text, value in zip(texts or [], found or [], strict=True):
            assert read(value.text) == repr(value.value), (expression, value)
            assert re.sub(MARKS, "", value.text) == re.sub(MARKS, "", text), expression


def test_cells_with_any_value_compose_as_hydra_composes_them() -> None:
    found = {value.text: value for expression in expressions() for value in values_of(expression) or []}
    assert len(found) > 700
    for values in (list(found.values())[i : i + len(KEYS)] for i in range(0, len(found), len(KEYS))):
        cell = dict(zip(KEYS, values, strict=False))
        assert same(cell), [f"{key}={value.text}" for key, value in cell.items() if not same({key: value})]


def test_cells_with_any_options_and_values_compose_as_hydra_composes_them() -> None:
    rng = random.Random(1)
    found = [value for expression in SWEEPS for value in values_of(expression) or []]
    for _ in range(20):
        cell = {group: Value.of(rng.choice(tree().options(group))) for group in GROUPS if rng.random() < 0.7}
        cell |= {key: rng.choice(found) for key in KEYS if rng.random() < 0.3}
        assert same(cell), cell


def test_a_string_of_a_cast_stays_one() -> None:
    (first, second) = read_command_line(["task.name=str(1,true)"], tree().options).axes["task.name"]
    assert (first, second) == (Value("1", "'1'"), Value("true", "'true'"))


def test_a_key_that_an_option_does_not_list_cannot_be_set(tmp_path: Path) -> None:
    (tmp_path / "agg").mkdir()
    (tmp_path / "agg" / "mine.yaml").write_text("name: max\nmetric: cosine\n")
    with pytest.raises(ConfigError, match="agg=mine does not list 'm'"):
        requested(tree_of(config_dir=tmp_path), "agg=mine,max", "agg.m=1,3")


# --- trees that cannot be put together --------------------------------------------------------------------------------

REACHING = "# @package _global_\nagg: {name: max, metric: cosine, m: null, weighting: null}\nk: 3\n"
COUPLED = {
    "overrides /gen": "defaults: [max, override /gen@_global_.gen: mean, _self_]\n",
    "has the header @package _global_": REACHING,
    "puts something elsewhere with @": "defaults: [max, /norm/none@_global_.norm, _self_]\n",
    "agg/reaching": "defaults: [reaching, _self_]\n",
}
"""What a user's option may do to other groups, by what the warning says."""


def user_tree(folder: Path, reason: str) -> Tree:
    """A tree with the option agg=mine."""
    (folder / "agg").mkdir()
    (folder / "agg" / "mine.yaml").write_text(COUPLED[reason])
    (folder / "agg" / "reaching.yaml").write_text(REACHING)
    return tree_of(config_dir=folder)


def composed(tree: Tree, axes: Mapping[str, Any]) -> list[Cell]:
    """The cells of a product as Hydra composes them, one by one."""
    choices = {axis: read_axis(axis, given, tree.options) for axis, given in axes.items()}
    combinations = itertools.product(*choices.values())
    return [cell_from_config(tree.compose(dict(zip(choices, values, strict=True)))) for values in combinations]


@pytest.mark.parametrize("reason", COUPLED)
def test_an_option_that_reaches_out_of_its_group_is_left_to_hydra(reason: str, tmp_path: Path) -> None:
    tree = user_tree(tmp_path, reason)
    warnings: list[str] = []
    request = requested(tree, "agg=mine,mnn", "norm.inf=none,l2", "k=3,5", warnings=warnings)
    assert list(cells(request)) == composed(tree, {"agg": "mine,mnn", "norm.inf": "none,l2", "k": "3,5"})
    (warning,) = warnings
    assert "8 configurations are composed one by one, about" in warning
    assert reason in warning


@pytest.mark.parametrize("reason", COUPLED)
def test_the_only_option_of_a_group_may_reach_out(reason: str, tmp_path: Path) -> None:
    tree = user_tree(tmp_path, reason)
    assert list(cells(requested(tree, "agg=mine", "seed=1,2"))) == composed(tree, {"agg": "mine", "seed": "1,2"})


def test_the_only_option_of_a_group_may_reach_into_another_that_is_swept(tmp_path: Path) -> None:
    tree = user_tree(tmp_path, "puts something elsewhere with @")
    given = {"agg": "mine", "norm": "l2,quantile", "gen": "mean,fps"}
    assert list(cells(requested(tree, *map("=".join, given.items())))) == composed(tree, given)


def test_an_option_may_override_another_in_one_block_and_not_in_the_next(tmp_path: Path) -> None:
    tree = user_tree(tmp_path, "overrides /gen")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "two.yaml").write_text(
        "axes: {agg: mine}\nblocks: [axes: {gen: fps}, axes: {seed: 0}]\n"
    )
    assert [cell.scheme.gen for cell in cells(requested(tree, "+experiment=two"))] == ["fps", "mean"]


@pytest.mark.parametrize("reason", COUPLED)
def test_what_the_scan_overlooks_is_seen_when_the_option_is_composed(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = user_tree(tmp_path, reason)
    monkeypatch.setattr("imprint_sweep.planning.request.obstacle", lambda tree, used: None)
    warnings: list[str] = []
    request = requested(tree, "agg=max,mine", "seed=1,2", warnings=warnings)
    assert list(cells(request)) == composed(tree, {"agg": "max,mine", "seed": "1,2"})
    assert "Hydra composes" in warnings[0]


@pytest.mark.parametrize("primary", ["mine", "on_top"])
def test_a_defaults_list_that_depends_on_other_choices_is_left_to_hydra(primary: str, tmp_path: Path) -> None:
    (tmp_path / "agg").mkdir()
    (tmp_path / "agg" / "for_kmeans.yaml").write_text("defaults: [mnn, _self_]\nm: 3\n")
    (tmp_path / "agg" / "for_mean.yaml").write_text("defaults: [max, _self_]\n")
    (tmp_path / "mine.yaml").write_text(
        "defaults: [_self_, model: pixels, task: digits, gen: kmeans, norm: l2, agg: 'for_${gen}']\n"
        "k: 20\nn_shot: null\nseed: 0\nlimit: null\n"
        "device: cpu\nforce: false\npaths: {outputs: null, data: null}\n"
    )
    (tmp_path / "on_top.yaml").write_text("defaults: [mine, _self_]\nk: 3\n")
    tree = tree_of(config_dir=tmp_path, primary=primary)
    warnings: list[str] = []
    request = requested(tree, "gen=kmeans,mean", warnings=warnings)
    assert [cell.scheme.agg for cell in cells(request)] == ["mnn", "max"]
    assert "defaults list of mine depends on other choices" in warnings[0]


def test_the_tree_of_the_project_can_be_put_together() -> None:
    assert obstacle(tree(), {group: tree().options(group) for group in GROUPS}) is None


def test_a_value_may_refer_to_another_axis(tmp_path: Path) -> None:
    (tmp_path / "agg").mkdir()
    (tmp_path / "agg" / "mine.yaml").write_text("defaults: [mnn, _self_]\nm: ${k}\n")
    tree = tree_of(config_dir=tmp_path)
    warnings: list[str] = []
    request = requested(tree, "agg=max,mine", "k=3,7", warnings=warnings)
    assert [cell.scheme.m for cell in cells(request)] == [None, None, 3, 7]
    assert "agg refers to something outside of it" in warnings[0]
    assert [cell.scheme.m for cell in cells(requested(tree, "agg=mnn", "agg.m='${k}',2", "k=3,7"))] == [3, 7, 2, 2]


def test_a_value_may_refer_to_its_own_option_and_to_settings(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    content = "defaults: [digits, _self_]\nname: '${.datasets[0]}-${sweep.memory_gb}'\n"
    (tmp_path / "task" / "mine.yaml").write_text(content)
    warnings: list[str] = []
    request = requested(tree_of(config_dir=tmp_path), "task=mine,digits", warnings=warnings)
    assert [task.name for task in request.tasks] == ["digits-4", "digits"]
    assert warnings == []


def test_conditions_see_the_option_that_another_one_chose(tmp_path: Path) -> None:
    """agg=mine overrides gen: a condition on gen is about what Hydra composed."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "one.yaml").write_text("axes: {agg: [mine, max], k: [1, 2]}\nexclude: gen == mean\n")
    tree = user_tree(tmp_path, "overrides /gen")
    request = requested(tree, "+experiment=one")
    assert request.excluded == 2
    assert {scheme.gen for scheme in request.schemes} == {"kmeans"}


def test_options_of_users_are_found(tmp_path: Path) -> None:
    (tmp_path / "gen").mkdir()
    (tmp_path / "gen" / "mine.yaml").write_text("name: kmeans\n")
    assert "mine" in tree_of(config_dir=tmp_path).options("gen")
    assert len(requested(tree_of(config_dir=tmp_path), "gen=glob(m*)").model) == 2
