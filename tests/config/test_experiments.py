"""Experiment files: how they are read, and that those of the paper ask for what the paper asked for."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from imprint_sweep.config.composition import Tree
from imprint_sweep.config.experiments import Block, blocks
from imprint_sweep.config.overrides import read_command_line
from imprint_sweep.errors import ConfigError
from imprint_sweep.invocation import conf_folder
from imprint_sweep.planning.plan import Plan
from imprint_sweep.planning.request import Request, build
from tests.sweeping import NO_EMBEDDINGS, blocks_of, cells, requested, tree_of

EXPERIMENTS = sorted(path.stem for path in (conf_folder() / "experiment").glob("*.yaml"))

PUBLISHED = {
    "agg_fixed": 41_472,
    "oracle": 864,
    "oracle_agg": 17_136,
    "fig6": 1_836,
    "n_shot_oracle": 2_100,
    "collapse_combi_digits": 360,
    "collapse_imagenet": 36_000,
    "collapse_other": 1_080,
    "collapse_combi_digits_oracle": 180,
    "collapse_imagenet_oracle": 18_000,
    "collapse_other_oracle": 540,
}
"""Requested rows as published."""


@functools.cache
def tree() -> Tree:
    return tree_of()


def rows(*arguments: str) -> int:
    return len(requested(tree(), *arguments).model)


def experiment(name: str, *arguments: str) -> Request:
    return requested(tree(), f"+experiment={name}", *arguments)


# --- the experiments of the paper -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_experiment_asks_for_the_published_rows(name: str) -> None:
    request = experiment(name)
    assert len(request.model) == PUBLISHED[name]
    assert request.invalid == {}


def test_agg_focus_leaves_out_what_slipped_through_the_published_filter() -> None:
    # The published filter compared m with 10 k before it set the k of mean to 1, so m = 20 and 50 stayed: six NORMs,
    # four metrics, two weightings and two m on 48 instances under three seeds.
    assert rows("+experiment=agg_focus") == 283_392 - 6 * 4 * 2 * 2 * 48 * 3 == 269_568


def test_n_shot_adds_the_line_k_equals_n() -> None:
    # gen=all for 13 values of n, on four models and three datasets under five seeds.
    assert rows("+experiment=n_shot") == 2_100 + 13 * 4 * 3 * 5 == 2_880


def test_the_paper_is_the_union_of_its_experiments() -> None:
    request = experiment("paper")
    assert len(request.model) == 405_060 - 13_824 + 780
    plan = Plan.of(request)
    assert len(plan) == 382_980
    # Fewer than the published 199,548 evaluations, which merge what is equal in GEN and AGG. Here normalisations and
    # metrics that are equal by construction share theirs, too.
    assert len(set(plan.computation.tolist())) == 165_744


def test_the_published_form_of_the_paper_has_the_published_counts() -> None:
    def published(block: Block) -> Block:
        return Block(block.axes, tuple(condition for condition in block.exclude if condition.text != "agg.m > 10"))

    found = [
        published(block)
        for block in blocks_of(tree(), "+experiment=paper")
        if "n_shot" not in block.axes or block.axes["gen"][0].value != "all"
    ]
    plan = Plan.of(build(found, tree(), NO_EMBEDDINGS))
    assert plan.requested == 405_060
    assert len(plan) == 396_024


LATER = {"lda", "logistic", "ranpac"}
"""Gens that the paper does not have."""


def test_the_full_grid_has_half_a_million_cells() -> None:
    request = experiment("full")
    plan = Plan.of(request)
    assert len(plan) == plan.requested == 888_336
    assert {scheme.gen for scheme in request.schemes} == set(tree().options("gen")) - LATER
    assert {scheme.norm_post for scheme in request.schemes if scheme.agg == "mnn"} == {"none", "l2", "quantile"}


def test_mini_needs_what_ships_with_packages() -> None:
    request = experiment("mini")
    assert [model.name for model in request.models] == ["efficientnet_lite0"]
    assert {dataset for task in request.tasks for dataset in task.datasets} == {"digits"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_on_one_model_and_dataset(name: str) -> None:
    request = experiment(name, "model=efficientnet_lite0", "task=digits", "task.merge=null")
    assert len(request.model) > 0
    assert request.invalid == {}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_what_it_is(name: str) -> None:
    assert (conf_folder() / "experiment" / f"{name}.yaml").read_text().startswith("# ")


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experiment").mkdir()
    return tmp_path


def shown(folder: Path, *arguments: str, **files: str) -> list[tuple[dict[str, list[object]], list[str]]]:
    """The blocks of experiment files: axes with their values, and conditions."""
    for name, text in files.items():
        (folder / "experiment" / f"{name}.yaml").write_text(text)
    found = blocks_of(tree_of(config_dir=folder), *arguments)
    return [
        (
            {axis: [value.value for value in values] for axis, values in block.axes.items()},
            [condition.text for condition in block.exclude],
        )
        for block in found
    ]


def test_a_block_is_the_axes_of_its_file_and_its_own(folder: Path) -> None:
    text = "axes: {k: '1,5', gen: mean}\nexclude: k == 1\nblocks:\n"
    text += "  - axes: {gen: [kmeans, fps], agg.m: 'range(1,3)'}\n    exclude: [k > 2, agg.m > 1]\n  - {}\n"
    assert shown(folder, "+experiment=one", one=text) == [
        ({"k": [1, 5], "gen": ["kmeans", "fps"], "agg.m": [1, 2]}, ["k == 1", "k > 2", "agg.m > 1"]),
        ({"k": [1, 5], "gen": ["mean"]}, ["k == 1"]),
    ]


def test_a_file_without_blocks_is_one_block(folder: Path) -> None:
    assert shown(folder, "+experiment=one", one="axes: {k: 1}\n") == [({"k": [1]}, [])]


def test_axes_of_a_file_replace_those_of_what_it_includes(folder: Path) -> None:
    files = {"one": "axes: {k: '1,5', seed: 3}\n", "two": "include: one\naxes: {seed: 4}\nexclude: k == 5\n"}
    assert shown(folder, "+experiment=two", **files) == [({"k": [1, 5], "seed": [4]}, ["k == 5"])]


def test_several_experiments_are_united(folder: Path) -> None:
    files = {"one": "axes: {k: 1}\n", "two": "include: [one]\nblocks: [{axes: {k: 2}}]\n"}
    assert [axes for axes, _ in shown(folder, "+experiment=one,two", **files)] == [{"k": [1]}, {"k": [1]}, {"k": [2]}]


def test_the_command_line_replaces_an_axis_in_every_block(folder: Path) -> None:
    text = "blocks: [{axes: {k: 1, gen: kmeans}}, {axes: {k: 2}}]\n"
    assert shown(folder, "+experiment=one", "k=7,8", one=text) == [
        ({"k": [7, 8], "gen": ["kmeans"]}, []),
        ({"k": [7, 8]}, []),
    ]


@pytest.mark.parametrize(
    ("argument", "left"),
    [
        ("norm=l2", {"agg", "agg.m", "task", "task.classes", "task.labels", "model", "model.weights"}),
        ("agg=mnn", {"norm.pre", "norm.inf", "task", "task.classes", "task.labels", "model", "model.weights"}),
        ("task=mnist", {"norm.pre", "norm.inf", "agg", "agg.m", "task.classes", "model", "model.weights"}),
        ("model=resnet50", {"norm.pre", "norm.inf", "agg", "agg.m", "task", "task.classes", "task.labels"}),
    ],
)
def test_a_group_replaces_what_a_block_sets_below_it(argument: str, left: set[str], folder: Path) -> None:
    """An option says all of its keys. The classes of a dataset are chosen whatever the dataset."""
    text = "axes: {norm.pre: '[none,l2]', norm.inf: l2, agg: mnn, agg.m: 3, task: digits, task.classes: even}\n"
    text += "blocks: [{axes: {task.labels: [[0, 1, 2]], model: resnet18, model.weights: other}}]\n"
    text = text.replace("'[none,l2]'", "[none, l2]")
    ((axes, _),) = shown(folder, "+experiment=one", argument, one=text)
    assert set(axes) == left | {argument.partition("=")[0]}


def test_a_key_below_a_group_replaces_nothing_else(folder: Path) -> None:
    text = "axes: {norm: l2, norm.pre: none, agg.m: 3}\n"
    assert shown(folder, "+experiment=one", "norm.pre=l2", one=text) == [
        ({"norm": ["l2"], "norm.pre": ["l2"], "agg.m": [3]}, [])
    ]


def test_one_normalisation_of_a_published_experiment() -> None:
    # 32 pairs of a gen and its k, on 48 instances under three seeds.
    assert rows("+experiment=agg_fixed", "norm=l2") == 32 * 48 * 3
    assert {scheme.norm_pre for scheme in requested(tree(), "+experiment=agg_fixed", "norm=l2").schemes} == {"l2"}


def test_params_of_the_sweeper_are_a_block() -> None:
    line = read_command_line(["k=7", "+experiment=oracle"], tree().options)
    *_, block = blocks(line, {"seed": "range(0,3)", "gen": ["kmeans", "mean"], "k": 1}, tree())
    assert {axis: len(values) for axis, values in block.axes.items()} == {"seed": 3, "gen": 2, "k": 1}
    assert block.axes["k"][0].value == 7


def test_without_an_experiment_the_command_line_is_the_block() -> None:
    (block,) = blocks_of(tree(), "k=1,2")
    assert list(block.axes) == ["k"]
    assert len(cells(requested(tree()))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axis: {k: 1}\n", "unknown key of a file 'axis'; did you mean axes?"),
        ("blocks: [{axes: {k: 1}, exclud: k == 1}]\n", "unknown key of a block 'exclud'; did you mean exclude?"),
        ("axes: {kk: 1}\n", "unknown axis 'kk'; did you mean k?"),
        ("axes: {gen: kmeanz}\n", "unknown gen 'kmeanz'; did you mean kmeans"),
        ("axes: {k: '1,'}\n", "cannot read k=1,"),
        ("axes: {k: []}\n", "k has no values"),
        ("axes: {sweep.threads: 1}\n", "sweep.threads is a setting"),
        ("axes: [k]\n", "axes holds ['k'], expected axis: values"),
        ("blocks: [k]\n", "a block holds 'k', expected axes or exclude"),
        ("axes: {k: 1}\nexclude: norm.per == l2\n", "did you mean norm.pre"),
        ("axes: {k: 1}\nexclude: agg.metric == cosinus\n", "did you mean cosine"),
        ("axes: {k: 1}\nexclude: gen == kmeens\n", "did you mean kmeans"),
        ("include: agg_focs\n", "unknown experiment 'agg_focs'; did you mean agg_focus?"),
        ("include: one\n", "experiment one includes itself: one -> one"),
        ("defaults: [oracle]\naxes: {k: 1}\n", "other experiments go under include"),
        ("{}\n", "describes no sweep"),
    ],
)
def test_what_is_no_experiment_is_refused_by_name(text: str, message: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        shown(folder, "+experiment=one", one=text)
    assert str(caught.value).startswith("experiment one")
    assert message in str(caught.value)
