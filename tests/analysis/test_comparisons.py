"""The comparisons of the paper from results tables: what feeds them, what stands beside ours, what is said if not."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imprint_sweep.analysis import rendering
from imprint_sweep.analysis.artefact import Artefact, RankDiagram
from imprint_sweep.analysis.artefacts import ARTEFACTS, SECTIONS, Options, make
from imprint_sweep.analysis.artefacts.comparisons import BEYOND, COMPARISONS, METHODS, NORMS
from imprint_sweep.analysis.data import published
from imprint_sweep.analysis.data.results import SCHEME, Results, load
from imprint_sweep.analysis.data.selection import MAIN_SEEDS, select, under_one_name
from imprint_sweep.cli.commands.demo import fig2
from imprint_sweep.config.composition import Tree
from imprint_sweep.config.overrides_of import compose
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.errors import UnknownOptionError
from imprint_sweep.grid.cell import Model
from imprint_sweep.planning.plan import Plan
from tests import plausible
from tests.analysis.frames import frame, product, results
from tests.sweeping import requested, tree_of

HERE = ("model=efficientnet_lite0", "task=digits")
MINE = (*COMPARISONS, "tableA2")
NETWORKS = "tableA1"


@functools.cache
def tree() -> Tree:
    return tree_of()


def made_up(folder: Path, *arguments: str) -> Results:
    """Results of what a command line asks for."""
    plausible.write(folder, Plan.of(requested(tree(), *arguments)))
    return load(folder)


def is_whole(artefact: Artefact) -> bool:
    """Whether every row of its first table has numbers of ours."""
    return bool(artefact.tables) and not artefact.tables[0].frame.iloc[:, 2].isna().any()


# --- what feeds them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MINE)
def test_the_command_of_an_artefact_feeds_it(name: str, tmp_path: Path) -> None:
    before = made_up(tmp_path, *HERE, "gen=fps", "k=7")
    lacking = make(name, before, Options())
    assert (lacking.tables, lacking.figures) == ((), ())
    assert lacking.missing
    assert lacking.command is not None
    words = shlex.split(lacking.command)
    assert words[:4] == ["python", "-m", "imprint_sweep", "-m"]
    after = make(name, made_up(tmp_path, *words[4:]), Options())
    assert is_whole(after)
    assert after.command is None
    assert "Not in the results" not in " ".join(after.missing)
    assert after.basis.startswith("4 ")


def test_the_mini_experiment_feeds_all_of_the_paper(tmp_path: Path) -> None:
    found = made_up(tmp_path, "+experiment=mini")
    for name in set(MINE) - {"baselines"}:
        artefact = make(name, found, Options())
        assert is_whole(artefact), name
        assert artefact.command is None, name
    assert make(NETWORKS, found, Options()).command is None


def test_every_artefact_goes_by_its_name_and_into_a_section() -> None:
    nothing = results([{"gen": "fps", "k": 7, "task": "elsewhere"}])
    for name in ARTEFACTS:
        if name in (*MINE, NETWORKS):
            artefact = make(name, nothing, Options())
            assert artefact.name == name
            assert artefact.section in SECTIONS
    assert SECTIONS.keys().isdisjoint(ARTEFACTS)  # both are places on the page
    with pytest.raises(UnknownOptionError, match="unknown artefact 'fig55'; did you mean fig5"):
        make("fig55", nothing, Options())


# --- which cells ------------------------------------------------------------------------------------------------------


def test_the_methods_of_fig_2_are_those_that_the_demo_runs() -> None:
    for method in fig2().methods:
        scheme = compose(method.overrides).scheme
        row = under_one_name(frame([{axis: getattr(scheme, axis) for axis in SCHEME}]))
        assert [name for name, axes in METHODS.items() if len(select(row, axes))] == [method.name]
    assert tuple(fig2().seeds) == MAIN_SEEDS


def norms_and_gens(**axes: Any) -> list[dict[str, Any]]:
    """Every NORM of section 5.1 for a GEN; the more of it is L2, the better."""
    norms = [
        {"norm_pre": pre, "norm_post": post, "norm_inf": inf}
        for norm in NORMS
        for pre in norm["norm_pre"]
        for post in norm["norm_post"]
        for inf in norm["norm_inf"]
    ]

    def n_correct(**row: Any) -> int:
        post = {"l2": 30, "none": 10, "quantile": 0}[row["configuration"]["norm_post"]]
        seed = {MAIN_SEEDS[0]: -50, MAIN_SEEDS[1]: 0, MAIN_SEEDS[2]: 50}.get(row["seed"], 0)
        return 1000 + 10 * post + len(row["classes"]) + seed

    classes = ["all", "even", "odd", "short"]
    whole: dict[str, Any] = {"classes": classes, "configuration": norms, "seed": MAIN_SEEDS, "n_test": [2000]}
    return product(n_correct, **{**whole, **axes})


@pytest.mark.parametrize("axes", [{"gen": ["mean"]}, {"gen": ["kmeans"], "k": [1]}])
def test_fig_7_is_about_the_mean_whichever_way_it_was_run(axes: dict[str, Any]) -> None:
    artefact = make("fig7", results(norms_and_gens(**axes)), Options())
    table = artefact.tables[0].frame
    assert table["name"].tolist() == ["l2", "none", "quantile"]
    assert table["configuration"].tolist() == ["l2/l2/l2", "l2/none/l2", "l2/quantile/l2"]
    assert table["accuracy"].tolist() == pytest.approx([0.6518, 0.5518, 0.5018], abs=1e-3)
    assert table["paper_accuracy"].tolist() == pytest.approx([0.8684, 0.8326, 0.8290])
    assert artefact.basis.startswith("4 instances (net on digits), 9 configurations; the median over the seeds")


def test_table_1_says_that_nothing_differs() -> None:
    artefact = make("table1", results(norms_and_gens(gen=["mean"])), Options())
    assert artefact.figures == ()
    assert len(artefact.tables) == 1
    assert "does not reject that the 3 rank alike (p = 1, 4 instances)" in artefact.tables[0].note
    assert "Identical on every instance: l2/l2/l2 = none/l2/l2 = none/l2/none." in artefact.tables[0].note


def test_a_gen_that_the_results_lack_is_a_row_with_the_papers_number_alone() -> None:
    rows = norms_and_gens(gen=["kmeans"], k=[1, 5, 20])
    artefact = make("fig5", results(rows), Options())
    table = artefact.tables[0].frame.set_index("name")
    assert table["accuracy"].notna().tolist() == [True, False, False, False, False, False]
    assert table["paper_accuracy"]["k-fps"] == pytest.approx(0.6556)
    assert artefact.missing == ("Not in the results: k-medoids, mean, k-cov-max, k-random, k-fps.",)
    assert (
        artefact.command
        == "python -m imprint_sweep -m +experiment=agg_fixed model=imported model.name=net model.weights=w task=digits"
    )
    assert artefact.tables[0].note == "Nothing to compare k-means with."


def test_up_to_five_proxies_means_up_to_five() -> None:
    rows = norms_and_gens(gen=["kmeans"], k=[5, 20])
    assert make("fig5", results(rows), Options()).basis.split(", ")[1].startswith("18 configurations")
    assert make("figA1", results(rows), Options()).basis.split(", ")[1].startswith("9 configurations")


def test_rows_of_other_questions_are_left_alone() -> None:
    """Few samples, merged classes and quick tries are no rows of a main comparison."""
    rows = norms_and_gens(gen=["mean"])
    one = make("fig7", results(rows), Options())
    others = [
        *norms_and_gens(gen=["mean"], n_shot=[5]),
        *norms_and_gens(gen=["mean"], merge=[2], remap=[0]),
        *norms_and_gens(gen=["mean"], limit=[100]),
        *norms_and_gens(gen=["mean"], metric=["cosine"]),
    ]
    both = make("fig7", results([*others, *rows]), Options())
    assert both.basis == one.basis
    assert both.missing == one.missing == ()
    assert both.tables[0].frame.equals(one.tables[0].frame)


# --- metrics, weightings, oracles -------------------------------------------------------------------------------------

METRICS = ("inner_product", "euclidean", "cosine", "manhattan", "mahalanobis")


def votes(n_correct: Any, metrics: Sequence[str] = METRICS, instances: int = 16) -> Results:
    """Every aggregation of agg_focus on all embeddings, l2/l2/l2."""
    aggs: list[dict[str, Any]] = [{"agg": "max", "metric": metric} for metric in metrics]
    aggs += [
        {"agg": "mnn", "metric": metric, "m": m, "weighting": weighting}
        for metric in metrics
        if metric != "inner_product"
        for m in (1, 3, 5)
        for weighting in ("uniform", "inverse_distance")
    ]
    classes = [str(number) for number in range(instances)]
    axes = {"configuration": aggs, "seed": MAIN_SEEDS, "n_test": [1000]}
    return results(product(n_correct, gen=["all"], classes=classes, **axes))


def test_metrics_are_ranked_each_with_its_best_votes() -> None:
    def n_correct(**row: Any) -> int:
        agg = row["configuration"]
        most = agg.get("m") == 5 and agg["weighting"] == "uniform"
        return int(600 - 20 * METRICS.index(agg["metric"]) + 10 * most + int(row["classes"]))

    artefact = make("metricsAll", votes(n_correct), Options())
    table = artefact.tables[0].frame
    assert table["name"].tolist() == ["inner product", "Euclidean", "cosine", "Manhattan", "Mahalanobis"]
    assert table["configuration"].tolist()[:2] == ["l2/l2/l2, max", "l2/l2/l2, 5-nn, uniform"]
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]
    assert "paper_accuracy" not in [column.name for column in artefact.tables[0].columns]
    assert "All 10 pairs differ significantly." in artefact.finding
    assert artefact.finding.endswith(
        'The paper calls such differences "well within statistical noise". Here mean accuracies differ by 7.00 '
        "percentage points, and significantly."
    )
    assert (artefact.missing, artefact.command) == ((), None)


def test_weightings_are_compared_where_there_is_something_to_weigh() -> None:
    def n_correct(**row: Any) -> int:
        agg = row["configuration"]
        more = 5 * int(agg.get("weighting") == "uniform")
        return 600 + int(row["classes"]) + (100 if agg.get("m") in (None, 1) else more)

    artefact = make("weightingsAll", votes(n_correct), Options())
    table = artefact.tables[0].frame
    assert table["name"].tolist() == ["uniform", "inverse distance"]
    assert table["accuracy"].tolist() == pytest.approx([0.6125, 0.6075])
    assert "The two differ significantly." in artefact.finding


@pytest.mark.parametrize(
    ("instances", "said"), [(16, "0.00 percentage points, and no pair"), (4, "0.00 percentage points, on too few")]
)
def test_noise_is_called_noise_where_there_are_instances_enough(instances: int, said: str) -> None:
    found = votes(lambda **row: 500 + int(row["classes"]), instances=instances)
    for name in ("metricsAll", "weightingsAll"):
        assert said in make(name, found, Options()).finding


@pytest.mark.parametrize("instances", [16, 12])
def test_values_are_compared_within_the_settings_that_all_of_them_have(instances: int) -> None:
    """The inner product was run under nine normalisations and the others under one: that is no merit of its own.

    Nor is it a reason to leave out the instances that lack them.
    """
    found = votes(lambda **row: 500 + int(row["classes"]))
    more = product(
        lambda **row: 600 + int(row["classes"]),
        gen=["all"],
        norm_pre=["none"],
        norm_post=["l2", "quantile"],
        classes=[str(number) for number in range(instances)],
        seed=MAIN_SEEDS,
        n_test=[1000],
    )
    both = make("metricsAll", replace(found, frame=pd.concat([found.frame, results(more).frame])), Options())
    alone = make("metricsAll", found, Options())
    assert both.tables[0].frame.equals(alone.tables[0].frame)
    assert both.finding == alone.finding
    assert both.basis == (
        f"{alone.basis} Not compared: 2 configurations with settings that not every metric was run with "
        "(none/l2/l2, max; none/quantile/l2, max)."
    )


def test_where_no_settings_agree_all_count() -> None:
    rest: dict[str, Any] = {"classes": ["all", "even"], "seed": MAIN_SEEDS, "n_test": [1000]}
    rows = product(lambda **row: 700, gen=["kmeans"], k=[20], norm_post=["l2"], **rest)
    rows += product(lambda **row: 800, gen=["random"], k=[20], norm_post=["none"], **rest)
    artefact = make("fig5", results(rows), Options())
    assert artefact.tables[0].frame["name"].tolist()[:2] == ["k-random", "k-means"]
    assert "Not compared" not in artefact.basis


def test_a_metric_that_was_not_run_is_missed() -> None:
    artefact = make("metricsAll", votes(lambda **row: 500, METRICS[:2]), Options())
    assert artefact.missing == ("Not in the results: cosine, Manhattan, Mahalanobis.",)
    net = "model=imported model.name=net model.weights=w task=digits"
    assert str(artefact.command).startswith(f"python -m imprint_sweep -m +experiment=agg_focus gen=all {net} ")
    alone = make("metricsAll", votes(lambda **row: 500, METRICS[1:2]), Options())
    assert alone.finding == "Nothing to compare Euclidean with."


@pytest.mark.parametrize("one", [{"gen": ["least_squares"]}, {"gen": ["k_least_squares"], "k": [1]}])
def test_the_oracle_of_20_stands_beside_that_of_one(one: dict[str, Any]) -> None:
    none = {f"norm_{part}": ["none"] for part in ("pre", "post", "inf")}
    rest: dict[str, Any] = {**none, "classes": ["all", "even"], "seed": MAIN_SEEDS, "n_test": [1000]}
    rows = product(lambda **row: 900, **one, **rest)
    rows += product(lambda **row: 800, gen=["k_least_squares"], k=[20], **rest)
    artefact = make("oracles", results(rows), Options())
    table = artefact.tables[0].frame
    assert table["name"].tolist() == ["least squares", "k-least-squares, k = 20"]
    assert table["accuracy"].tolist() == [0.9, 0.8]
    assert table["paper_accuracy"].tolist() == pytest.approx([0.9454, np.nan], nan_ok=True)
    assert (artefact.missing, artefact.command) == ((), None)


def test_methods_beyond_the_paper_say_which_of_them_are_baselines(tmp_path: Path) -> None:
    found = make("baselines", made_up(tmp_path, "+experiment=baselines", *HERE), Options())
    shown = found.tables[0].frame["name"].tolist()
    assert sorted(shown) == sorted(BEYOND)
    marked = {name for name in shown if name.endswith(", baseline")}
    baselines = ("Oracle (least squares)", "Linear discriminant", "RanPAC")
    assert {f"{name}, baseline" for name in baselines} <= marked
    assert {"k-means, log-sum-exp", "k-NN, softmax votes"} < set(shown) - marked


# --- options ----------------------------------------------------------------------------------------------------------


def test_seeds_can_be_chosen() -> None:
    found = results(norms_and_gens(gen=["mean"]))
    artefact = make("fig7", found, Options(seeds=MAIN_SEEDS[2:]))
    assert artefact.tables[0].frame["accuracy"].iloc[0] == pytest.approx(0.6518 + 0.025, abs=1e-3)
    assert "the one seed 12412312, of the paper's 3" in artefact.basis
    nothing = make("fig7", found, Options(seeds=(1, 2)))
    assert nothing.tables == ()
    assert "under seed 1, 2" in nothing.missing[0]


def test_a_table_of_other_seeds_is_shown_and_says_so() -> None:
    rows = [{**row, "seed": 7} for row in norms_and_gens(gen=["mean"]) if row["seed"] == MAIN_SEEDS[0]]
    assert "the one seed 7 (not the paper's)" in make("fig7", results(rows), Options()).basis


def test_the_published_way_reaches_the_diagram() -> None:
    aggs = [
        {"agg": "max", "metric": "inner_product"},
        {"agg": "mnn", "metric": "euclidean", "m": 1, "weighting": "uniform"},
        *({"agg": "mnn", "metric": "euclidean", "m": m, "weighting": "inverse_distance"} for m in (3, 5, 20, 50)),
    ]

    def n_correct(**row: Any) -> int:
        return 500 - 20 * (row["configuration"].get("m") or 1) // 2 + int(row["classes"]) % 7

    rows = product(
        n_correct,
        gen=["all"],
        classes=[str(number) for number in range(16)],
        configuration=aggs,
        seed=MAIN_SEEDS,
        n_test=[1000],
    )
    found = results(rows)
    ours, theirs = make("fig8", found, Options()), make("fig8", found, Options(published=True))
    assert isinstance(ours.figures[0], RankDiagram)
    assert isinstance(theirs.figures[0], RankDiagram)
    assert ours.figures[0].labels == theirs.figures[0].labels
    assert set(ours.figures[0].labels[:2]) == {"1-nn", "max"}
    assert (ours.figures[0].ranks.tolist(), ours.figures[0].cliques) == ([1.5, 1.5, 3, 4, 5, 6], ((0, 1),))
    assert (theirs.figures[0].ranks.tolist(), theirs.figures[0].cliques) == ([1, 1, 2, 3, 4, 5], ())
    pairs = ours.tables[1].frame
    assert pairs["paper_p"].notna().sum() == 14  # all but max = 1-nn


# --- the paper's numbers ----------------------------------------------------------------------------------------------


def test_the_papers_numbers_are_the_documents() -> None:
    assert published.comparison("fig5").accuracy["k-means"] == pytest.approx(0.9104)
    nine = published.comparison("fig9")
    assert (nine.accuracy["5-nn"], nine.std["5-nn"], nine.rank["5-nn"]) == pytest.approx((0.9012, 0.0621, 2.895833))
    assert published.comparison("fig2").p[published.Pair({"Qi et al. 2018", "Janson et al. 2022"})] == pytest.approx(
        0.00696877055073486
    )
    assert published.numbers("fig12")["all"]["spearman"] == 0.8179
    points = published.curves("fig11b")
    assert len(points) == 840
    assert points["merge"].isna().sum() == 4 * 4 * 15


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_papers_numbers_are_shares_of_one(name: str) -> None:
    stated = published.comparison(name)
    assert all(0.5 < share < 1 for share in stated.accuracy.values())
    assert all(0 < share < 0.1 for share in stated.std.values())
    assert all(pair <= stated.accuracy.keys() for pair in stated.p)
    assert stated.rank.keys() in (set(), set(stated.accuracy))


# --- Table A.1 --------------------------------------------------------------------------------------------------------

PAPERS = {"weights": "IMAGENET1K_V1"}


def test_networks_have_every_weight_decay_of_their_least_squares_rows_beside_the_papers(tmp_path: Path) -> None:
    def least_squares(model: str, decay: float, **row: Any) -> dict[str, Any]:
        return {"model": model, "gen": "least_squares", "weight_decay": decay, **row}

    table = frame(
        [
            least_squares("swin_b", 0.05, **PAPERS),
            least_squares("resnet18", 0.1, **PAPERS),
            least_squares("resnet18", 1e-4, **PAPERS, gen="k_least_squares", k=5),
            least_squares("resnet18", 0.5, **PAPERS, image_size=112),
            least_squares("net", 1 / 3),
            {"model": "vit_b_16", **PAPERS},
        ]
    )
    cache = EmbeddingCache(tmp_path / "embeddings")
    key = EntryKey(Model("net", "w", None), "digits", "train")
    cache.write(key, np.ones((3, 7), np.float32), np.arange(3), metadata={})
    broken = cache.path(EntryKey(Model("swin_b", "IMAGENET1K_V1", None), "digits", "train"))
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"broken")
    artefact = make(NETWORKS, Results(table, tmp_path), Options())
    shown = artefact.tables[0]
    assert [column.title for column in shown.columns] == ["model", "weights", "image size", "d", "λ", "paper: λ"]
    assert [tuple(row) for row in rendering.texts(shown)] == [
        ("net", "w", "–", "7", "0.333333", "–"),
        ("resnet18", "IMAGENET1K_V1", "112", "–", "0.5", "–"),
        ("resnet18", "IMAGENET1K_V1", "–", "–", "0.0001, 0.1", "0.0001"),
        ("swin_b", "IMAGENET1K_V1", "–", "–", "0.05", "0.05"),
        ("vit_b_16", "IMAGENET1K_V1", "–", "–", "–", "0.1"),
    ]
    assert artefact.basis == "5 networks, 4 with least-squares rows."
    assert artefact.missing == ("No least-squares row of vit_b_16.",)
    line = "python -m imprint_sweep -m +experiment=oracle model=vit_b_16 task=digits"
    assert artefact.command == f"{line} paths.outputs={tmp_path}"


def test_the_command_for_networks_feeds_them(tmp_path: Path) -> None:
    lacking = make(NETWORKS, made_up(tmp_path, *HERE, "gen=mean"), Options())
    assert lacking.tables == ()
    assert lacking.missing == ("The results hold nothing for it; it needs rows of a least-squares generator.",)
    assert lacking.command is not None
    after = make(NETWORKS, made_up(tmp_path, *shlex.split(lacking.command)[4:]), Options())
    assert (after.missing, after.command) == ((), None)
    assert after.tables[0].frame["weight_decay"].tolist() == ["0.1"]


# --- Table A.2 --------------------------------------------------------------------------------------------------------


def test_times_are_medians_over_seeds_then_statistics_over_instances() -> None:
    def rows(gen: str, k: int | None, *seconds: tuple[float, float, float]) -> list[dict[str, Any]]:
        return [
            {"gen": gen, "k": k, "classes": f"[{place}]", "seed": seed, "gen_seconds": second, "norm_post": post}
            for place, of_seeds in enumerate(seconds)
            for seed, second in zip(MAIN_SEEDS, of_seeds, strict=True)
            for post in ("l2", "none", "quantile")
        ]

    found = results(
        [
            *rows("mean", None, (1, 2, 9), (3, 4, 5), (10, 10, 10)),
            *rows("kmeans", 5, (20, 30, 40), (50, 60, 70), (1, 1, 1)),
            *rows("kmedoids", 20, (7, 7, 7)),
            *rows("all", None, (0, 0, 0), (0, 0, 0), (0, 0, 0)),
            # Not the paper's NORM of the training embeddings.
            *({**row, "norm_pre": "none", "gen_seconds": 1000} for row in rows("mean", None, (1, 2, 9), (3, 4, 5))),
        ]
    )
    artefact = make("tableA2", found, Options())
    columns = ["mean", "median", "min", "max", "paper_mean"]
    of_gen = dict(zip(artefact.tables[0].frame["name"], artefact.tables[0].frame[columns].to_numpy(), strict=True))
    assert of_gen["mean"].tolist() == pytest.approx([16 / 3, 4, 2, 10, 0.0029])
    assert of_gen["k-means, k = 5"].tolist() == pytest.approx([91 / 3, 30, 1, 60, 1.2249])
    assert of_gen["k-means, k = 20"].tolist() == pytest.approx([*[np.nan] * 4, 1.7321], nan_ok=True)
    assert "k-medoids, k = 20" not in of_gen
    assert artefact.missing == (
        "Left out, lacking on half of the instances or more: k-medoids, k = 20.",
        "Not in the results: k-means, k = 20; least squares; k-least-squares, k = 5; k-least-squares, k = 20.",
    )
    assert artefact.basis == "3 of 3 instances, those that every GEN here was run on; one machine."
    assert artefact.command is not None


def test_times_are_of_the_normalisation_that_the_papers_rows_have() -> None:
    gens = [("mean", None), ("kmeans", 20), ("least_squares", None), ("k_least_squares", 20)]
    found = results(
        [
            {"gen": gen, "k": k, "norm_pre": pre, "seed": seed, "gen_seconds": seconds}
            for gen, k in gens
            for pre, seconds in (("l2", 1), ("none", 2))
            for seed in MAIN_SEEDS
        ]
    )
    artefact = make("tableA2", found, Options())
    of_gen = dict(zip(artefact.tables[0].frame["name"], artefact.tables[0].frame["mean"], strict=True))
    assert [of_gen["mean"], of_gen["k-means, k = 20"]] == [1, 1]
    assert [of_gen["least squares"], of_gen["k-least-squares, k = 20"]] == [2, 2]
    assert "pre = l2" in artefact.caption


def test_wall_times_of_an_older_version_are_not_passed_off_as_cpu_time() -> None:
    row = {"gen": "mean", "gen_seconds": 1}
    found = results(
        [
            {**row, "seed": seed, "package_version": version}
            for seed, version in zip(MAIN_SEEDS, ("0.1.0", "0.1.0", "0.2.0"), strict=True)
        ]
    )
    assert " 2 of 3 rows are of version 0.1.0 and hold wall time" in make("tableA2", found, Options()).basis


def test_the_notes_of_the_results_do_not_matter_here() -> None:
    found = results(norms_and_gens(gen=["mean"]))
    noted = replace(found, notes=("something",))
    assert make("fig7", noted, Options()).missing == make("fig7", found, Options()).missing
