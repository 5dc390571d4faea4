"""Configurations put together from options composed once are those that Hydra composes for the same cells."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imprint_sweep.config.composition import Parts, Tree, disagreement, obstacle, pairwise, plain
from imprint_sweep.config.overrides import Value, read_axis
from imprint_sweep.config.reading import cell_from_config
from imprint_sweep.config.schemas import GROUPS
from imprint_sweep.errors import ConfigError
from imprint_sweep.grid.cell import Cell
from tests.sweeping import cells, requested, tree_of

VALUES = {
    "k": "1,20",
    "n_shot": "null,5",
    "seed": "0,-7",
    "limit": "null,100",
    "agg.m": "1,50",
    "agg.metric": "cosine,euclidean",
    "norm.post": "quantile,none",
    "task.classes": ["even", [3, 1, 7]],
    "task.merge": "null,2",
    "model.image_size": "null,64",
    "model.weight_decay": "1,1e-3",
}
"""Values for axes that are no options; some of their combinations are no cells, which does not matter here."""


@functools.cache
def tree() -> Tree:
    return tree_of()


@functools.cache
def parts() -> Parts:
    return Parts(tree(), {group: tree().options(group) for group in GROUPS})


def axes(**options: str) -> dict[str, Value]:
    return {group: Value.of(name) for group, name in options.items()}


# --- equality with Hydra ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_any_two_options_compose_as_hydra_composes_them() -> None:
    used = {group: tree().options(group) for group in GROUPS}
    covered = 0
    for cell in pairwise(used):
        assert parts().cell(cell) == plain(tree().compose(cell)), cell
        covered += 1
    assert covered >= len(used["model"]) * len(used["task"])


def test_random_cells_compose_as_hydra_composes_them() -> None:
    rng = random.Random(1)
    choices = {group: read_axis(group, "glob(*)", tree().options) for group in GROUPS}
    choices |= {axis: read_axis(axis, given, tree().options) for axis, given in VALUES.items()}
    for _ in range(20):
        cell = {axis: rng.choice(values) for axis, values in choices.items() if rng.random() < 0.7}
        assert parts().cell(cell) == plain(tree().compose(cell)), cell


def test_a_key_that_an_option_does_not_list_cannot_be_set(tmp_path: Path) -> None:
    (tmp_path / "agg").mkdir()
    (tmp_path / "agg" / "mine.yaml").write_text("name: max\nmetric: cosine\n")
    with pytest.raises(ConfigError, match="agg=mine does not list 'm'"):
        requested(tree_of(config_dir=tmp_path), "agg=mine,max", "agg.m=1,3")


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_any_two_options_meet() -> None:
    used = {"a": ["1", "2", "3"], "b": ["1", "2"], "c": ["only"], "d": ["1", "2", "3", "4"]}
    rows = [{group: value.value for group, value in row.items()} for row in pairwise(used)]
    assert all(row.keys() == {"a", "b", "d"} for row in rows)
    for first, second in itertools.combinations("abd", 2):
        assert {(row[first], row[second]) for row in rows} == set(itertools.product(used[first], used[second]))
    assert len(rows) < 3 * 2 * 4


def test_options_of_one_group_have_no_pairs() -> None:
    assert list(pairwise({"a": ["1", "2"], "b": ["1"]})) == []


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


@pytest.mark.parametrize("reason", COUPLED)
def test_what_the_scan_overlooks_the_comparison_with_hydra_finds(
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


def test_the_comparison_says_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = axes(gen="mean", agg="mnn")
    assert disagreement(parts(), tree(), [cell]) == (None, 0)
    monkeypatch.setattr(parts(), "cell", lambda axes: plain(tree().compose({})))
    assert disagreement(parts(), tree(), [cell]) == ("Hydra composes gen differently for gen=mean agg=mnn", 0)


def test_a_comparison_that_is_cut_off_says_how_much_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imprint_sweep.config.composition.CHECK_SECONDS", -1.0)
    assert disagreement(parts(), tree(), iter([axes(gen="mean"), axes(gen="all"), axes(gen="fps")])) == (None, 3)
    # Two random cells, and the pairs of a gen and an agg.
    assert requested(tree(), "gen=mean,all", "agg=max,mnn").unchecked == 2 + 4


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
