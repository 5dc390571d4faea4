"""The invariants of identity, one sentence and one test each.

What a cell's id holds, what it leaves out, which cells are equal by construction and which only look as if they were.
Section numbers are those of the method. Nothing here computes an accuracy: that equal cells hold equal results is shown
by the tests of the engine.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from imprint_sweep.errors import InvalidCellError, UnknownOptionError
from imprint_sweep.grid.cell import Cell, Label, Model, Task, cell_ids, stage_seed
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.scheme import FIELDS, NEUTRAL, TESTED_ON, Scheme
from imprint_sweep.grid.tasks import make_task
from imprint_sweep.imprinting.choosing_k import RULES
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, METRICS, WEIGHTINGS, ClassMetric, Position, norms_at

MODEL = Model("efficientnet_lite0", "IMAGENET1K", 112)
DIGITS = tuple((("digits", value),) for value in range(10))
EVEN = Task("digits", "even", DIGITS[::2])

OWN = {"gen.ridge": 0.1}
"""For the gens that have these parameters: with few samples there is no neutral value."""

PER_CLASS = sorted(name for name, generator in GENS.items() if not generator.joint)
DETERMINISTIC = sorted(name for name, generator in GENS.items() if not generator.seeded)
SEEDED = sorted(name for name, generator in GENS.items() if generator.seeded)


def scheme(**axes: Any) -> Scheme:
    """A valid scheme: what an axis needs and the test does not care about is filled in."""
    needed: dict[str, Any] = {"gen": "kmeans", "k": 20, "weight_decay": 0.1, "m": 3, "weighting": "inverse_distance"}
    needed["parameters"] = OWN
    if axes.get("agg") == "mnn":
        needed["metric"] = "euclidean"
    return Scheme.create(**{**needed, **axes})


def asked(**axes: Any) -> str:
    return Cell(MODEL, EVEN, scheme(**axes)).cell_id


def computed(*, zero_proxies: bool = False, **axes: Any) -> str:
    return Cell(MODEL, EVEN, scheme(**axes)).computation_id(zero_proxies=zero_proxies)


def same_computation(*variants: dict[str, Any], **common: Any) -> bool:
    return len({computed(**{**common, **variant}) for variant in variants}) == 1


def all_different(*variants: dict[str, Any], **common: Any) -> bool:
    return len({computed(**{**common, **variant}) for variant in variants}) == len(variants)


# ---------------------------------------------------------------------------------------------------------------------
# Golden ids: whoever changes one of these orphans every row that was ever written, and should know it.
# ---------------------------------------------------------------------------------------------------------------------


def test_the_paper_s_best_cell_keeps_its_ids() -> None:
    cell = Cell(MODEL, EVEN, scheme(norm_pre="l2", norm_post="l2", norm_inf="l2"))
    assert cell.scheme.fragment == (
        '{"agg":"max","gen":"kmeans","k":20,"m":null,"metric":"inner_product","n_shot":null,"norm_inf":"l2",'
        '"norm_post":"l2","norm_pre":"l2","seed":0,"weight_decay":null,"weighting":null}'
    )
    assert cell.cell_id == "e49e4435e2a3081aa469"
    assert cell.computation_id() == "22a4099af698635e4bb0"


def test_the_oracle_s_cell_keeps_its_ids() -> None:
    cell = Cell(MODEL, EVEN, scheme(gen="least_squares"))
    assert cell.cell_id == "9408058b26b8848a89c1"
    assert cell.computation_id() == "45ca16eafc3a3a0c5ba5"


def test_a_cell_with_every_axis_set_keeps_its_ids() -> None:
    labels: tuple[Label, ...] = ((("mnist", 3), ("svhn", 3)), (("mnist", 1), ("svhn", 1)))
    cell = Cell(
        Model("resnet18", "IMAGENET1K_V1"),
        Task("combi_digits", "3,1", labels, merge=2, remap=7, limit=100),
        scheme(gen="k_least_squares", k=5, n_shot=10, norm_post="quantile", agg="mnn", metric="manhattan", seed=-4),
    )
    assert cell.cell_id == "d35b629eb9072864d57c"
    assert cell.computation_id() == "61753617d0e6e0da7b78"


def test_the_random_streams_keep_their_seeds() -> None:
    assert stage_seed("n_shot", 1, (("digits", 0),)) == 237866047713128818122482


# ---------------------------------------------------------------------------------------------------------------------
# What was asked for: cell_id
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gen", ["mean", "all", "least_squares"])
def test_k_is_null_where_a_gen_has_none(gen: str) -> None:
    assert scheme(gen=gen, k=5).k is None
    assert asked(gen=gen, k=1) == asked(gen=gen, k=5) == asked(gen=gen, k=None)


def test_m_and_weighting_are_null_under_max() -> None:
    assert asked(agg="max", m=1, weighting="uniform") == asked(agg="max", m=9, weighting=None)


@pytest.mark.parametrize("gen", PER_CLASS)
def test_weight_decay_is_null_outside_the_least_squares_gens(gen: str) -> None:
    assert asked(gen=gen, weight_decay=0.1) == asked(gen=gen, weight_decay=1e-4) == asked(gen=gen, weight_decay=None)


@pytest.mark.parametrize("gen", ["least_squares", "k_least_squares"])
def test_weight_decay_tells_least_squares_cells_apart(gen: str) -> None:
    assert asked(gen=gen, weight_decay=0.1) != asked(gen=gen, weight_decay=1e-4)
    assert computed(gen=gen, weight_decay=0.1) != computed(gen=gen, weight_decay=1e-4)


def test_a_weight_decay_has_one_spelling() -> None:
    assert asked(gen="least_squares", weight_decay=1) == asked(gen="least_squares", weight_decay=1.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"gen": "kmeans", "k": 1}, {"gen": "mean"}),
        ({"gen": "cov_max", "seed": 0}, {"gen": "cov_max", "seed": 1}),
        ({"agg": "mnn", "m": 100}, {"agg": "mnn", "m": 101}),
        ({"agg": "max", "metric": "euclidean"}, {"agg": "mnn", "metric": "euclidean", "m": 1}),
        ({"norm_inf": "none"}, {"norm_inf": "l2"}),
    ],
)
def test_parameters_with_meaning_stay_as_requested_where_the_result_must_be_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert asked(**one) != asked(**other)
    assert computed(**one) == computed(**other)


def test_a_name_and_the_list_it_stands_for_are_the_same_cell() -> None:
    named = make_task("digits", ["digits"], range(10), "even")
    listed = make_task("digits", ["digits"], range(10), [0, 2, 4, 6, 8])
    assert Cell(MODEL, named, scheme()).cell_id == Cell(MODEL, listed, scheme()).cell_id


def test_what_a_task_is_called_is_no_part_of_its_cells() -> None:
    renamed = replace(EVEN, name="mine", classes="0,2,4,6,8")
    assert Cell(MODEL, renamed, scheme()).cell_id == Cell(MODEL, EVEN, scheme()).cell_id


def test_the_order_of_the_labels_is_part_of_a_cell() -> None:
    reversed_ = replace(EVEN, labels=EVEN.labels[::-1])
    assert Cell(MODEL, reversed_, scheme()).cell_id != Cell(MODEL, EVEN, scheme()).cell_id
    assert Cell(MODEL, reversed_, scheme()).computation_id() != Cell(MODEL, EVEN, scheme()).computation_id()


def test_the_order_of_the_parts_of_a_label_is_part_of_a_cell() -> None:
    one = replace(EVEN, labels=((("mnist", 1), ("svhn", 1)), (("mnist", 2), ("svhn", 2))))
    other = replace(EVEN, labels=((("svhn", 1), ("mnist", 1)), (("mnist", 2), ("svhn", 2))))
    assert Cell(MODEL, one, scheme()).computation_id() != Cell(MODEL, other, scheme()).computation_id()


def test_merging_is_part_of_what_was_asked_for_but_not_of_what_is_computed() -> None:
    merged = replace(EVEN, merge=1, remap=0)
    assert Cell(MODEL, merged, scheme()).cell_id != Cell(MODEL, EVEN, scheme()).cell_id
    assert Cell(MODEL, merged, scheme()).computation_id() == Cell(MODEL, EVEN, scheme()).computation_id()


def test_a_limited_task_never_passes_for_a_whole_one() -> None:
    limited = replace(EVEN, limit=100)
    assert Cell(MODEL, limited, scheme()).cell_id != Cell(MODEL, EVEN, scheme()).cell_id
    assert Cell(MODEL, limited, scheme()).computation_id() != Cell(MODEL, EVEN, scheme()).computation_id()


@pytest.mark.parametrize(
    "change", [{"name": "resnet18"}, {"weights": "mine"}, {"image_size": 224}, {"image_size": None}]
)
def test_name_weights_and_image_size_of_the_model_are_part_of_a_cell(change: dict[str, Any]) -> None:
    cell, changed = Cell(MODEL, EVEN, scheme()), Cell(replace(MODEL, **change), EVEN, scheme())
    assert changed.cell_id != cell.cell_id
    assert changed.computation_id() != cell.computation_id()


def test_ids_made_in_bulk_are_the_ids_of_the_cells() -> None:
    schemes = [scheme(k=k) for k in (1, 2, 3)]
    assert cell_ids(MODEL, EVEN, schemes) == [Cell(MODEL, EVEN, one).cell_id for one in schemes]


# ---------------------------------------------------------------------------------------------------------------------
# What is equal by construction: computation_id, rule by rule of the method's last section
# ---------------------------------------------------------------------------------------------------------------------


def test_kmeans_with_one_centre_is_the_mean() -> None:
    assert same_computation({"gen": "kmeans", "k": 1}, {"gen": "mean"}, norm_pre="l2", norm_post="quantile")
    assert same_computation({"gen": "kmeans", "k": 1, "seed": 7}, {"gen": "mean"})


def test_k_least_squares_with_one_cluster_is_least_squares() -> None:
    assert same_computation({"gen": "k_least_squares", "k": 1, "seed": 7}, {"gen": "least_squares"})


@pytest.mark.parametrize("gen", DETERMINISTIC)
def test_a_deterministic_gen_ignores_the_seed_where_no_shots_are_drawn(gen: str) -> None:
    assert same_computation({"seed": 0}, {"seed": 1}, gen=gen)
    assert all_different({"seed": 0}, {"seed": 1}, gen=gen, n_shot=5, k=2)


@pytest.mark.parametrize("gen", SEEDED)
def test_a_seeded_gen_keeps_its_seed(gen: str) -> None:
    assert all_different({"seed": 0}, {"seed": 1}, gen=gen)


@pytest.mark.parametrize("gen", PER_CLASS)
def test_a_class_with_no_more_than_k_samples_gives_them_all(gen: str) -> None:
    k = 1 if gen == "mean" else 5
    if gen != "all":
        assert same_computation({"gen": gen, "k": k}, {"gen": "all"}, n_shot=k, seed=3)
        assert computed(gen=gen, k=k, n_shot=k + 1) != computed(gen="all", n_shot=k + 1)


@pytest.mark.parametrize("gen", ["least_squares", "k_least_squares"])
def test_the_least_squares_gens_are_not_all_samples_however_few_there_are(gen: str) -> None:
    assert normal_form(scheme(gen=gen, k=20, n_shot=1), 5).gen == gen


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric != "inner_product"])
def test_max_under_a_metric_is_its_nearest_neighbour(metric: str) -> None:
    assert same_computation({"agg": "max"}, {"agg": "mnn", "m": 1}, metric=metric)


def test_a_single_vote_has_no_weight() -> None:
    variants = [{"weighting": weighting} for weighting in WEIGHTINGS]
    assert same_computation(*variants, agg="mnn", m=1)
    assert all_different(*variants, agg="mnn", m=2)


def test_no_more_proxies_vote_than_there_are() -> None:
    # Five labels with three proxies each.
    assert same_computation({"m": 15}, {"m": 16}, {"m": 1000}, agg="mnn", k=3)
    assert all_different({"m": 14}, {"m": 15}, agg="mnn", k=3)


def test_the_number_of_shots_bounds_the_number_of_proxies() -> None:
    assert same_computation({"m": 10}, {"m": 11}, agg="mnn", gen="all", n_shot=2)
    assert same_computation({"m": 10}, {"m": 11}, agg="mnn", gen="k_least_squares", k=20, n_shot=2)


def test_only_the_data_can_tell_how_many_samples_there_are() -> None:
    assert all_different({"m": 100_000}, {"m": 200_000}, agg="mnn", gen="all")


@pytest.mark.parametrize("norm_post", norms_at(Position.POST))
def test_the_length_of_a_query_does_not_matter_to_inner_products(norm_post: str) -> None:
    assert same_computation({"norm_inf": "none"}, {"norm_inf": "l2"}, norm_post=norm_post)


@pytest.mark.parametrize("axes", [{"agg": "max"}, {"agg": "mnn", "m": 1}, {"agg": "mnn", "m": 5}])
def test_lengths_do_not_matter_to_cosine(axes: dict[str, Any]) -> None:
    variants = [{"norm_post": post, "norm_inf": inf} for post in ("none", "l2") for inf in norms_at(Position.INF)]
    assert same_computation(*variants, metric="cosine", **axes)


@pytest.mark.parametrize("norm_inf", norms_at(Position.INF))
def test_on_unit_proxies_max_is_the_nearest_neighbour_in_angle_and_in_distance(norm_inf: str) -> None:
    assert same_computation(
        {"agg": "max", "metric": "inner_product"},
        {"agg": "mnn", "m": 1, "metric": "cosine"},
        {"agg": "mnn", "m": 1, "metric": "euclidean"},
        norm_post="l2",
        norm_inf=norm_inf,
    )


def test_a_proxy_of_length_zero_is_no_unit_proxy() -> None:
    distance = computed(metric="euclidean", norm_post="l2", zero_proxies=True)
    angle = computed(metric="cosine", norm_post="l2", zero_proxies=True)
    inner = computed(metric="inner_product", norm_post="l2", zero_proxies=True)
    assert distance != angle
    # Its inner product and its cosine are both zero.
    assert inner == angle


@pytest.mark.parametrize("gen", ["all", "random"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "mahalanobis", "inner_product", "cosine"])
def test_gens_blind_to_length_normalise_before_or_after(gen: str, metric: str) -> None:
    before, after, both = (
        {"norm_pre": pre, "norm_post": post} for pre, post in (("l2", "none"), ("none", "l2"), ("l2", "l2"))
    )
    assert same_computation(before, after, both, gen=gen, metric=metric)


# ---------------------------------------------------------------------------------------------------------------------
# What only looks equal, and must not share a computation
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gen", [name for name, gen in GENS.items() if not (name in ("all", "random") or gen.biased)])
def test_gens_that_see_lengths_do_not_normalise_before_or_after_alike(gen: str) -> None:
    variants = [{"norm_pre": pre, "norm_post": post} for pre in norms_at(Position.PRE) for post in ("none", "l2")]
    assert all_different(*variants, gen=gen, k=2, metric="euclidean", agg="mnn", m=5)


@pytest.mark.parametrize("gen", ["all", "random"])
def test_quantile_sees_what_was_normalised_before(gen: str) -> None:
    before = {"norm_pre": "l2", "norm_post": "quantile"}
    assert all_different(before, {"norm_post": "quantile"}, {"norm_post": "l2"}, gen=gen)


def test_quantile_does_not_preserve_directions() -> None:
    variants = [{"norm_post": post} for post in ("none", "quantile")]
    assert all_different(*variants, metric="cosine")


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "mahalanobis"])
def test_distances_see_the_length_of_a_query(metric: str) -> None:
    assert all_different({"norm_inf": "none"}, {"norm_inf": "l2"}, metric=metric, norm_post="none")


@pytest.mark.parametrize("metric", ["manhattan", "mahalanobis"])
def test_unit_proxies_make_no_other_metric_an_angle(metric: str) -> None:
    assert all_different({"metric": metric}, {"metric": "cosine"}, norm_post="l2", norm_inf="l2")


def test_several_neighbours_weigh_their_distances_not_their_angles() -> None:
    variants = [{"metric": "euclidean"}, {"metric": "cosine"}]
    assert all_different(*variants, agg="mnn", m=2, norm_post="l2", norm_inf="l2")


def test_euclidean_neighbours_of_long_proxies_are_not_those_in_angle() -> None:
    variants = [{"metric": metric} for metric in ("inner_product", "euclidean", "cosine")]
    assert all_different(*variants, norm_post="none")


@pytest.mark.parametrize("gen", ["cov_max", "kmedoids", "fps", "random"])
def test_one_chosen_sample_is_not_the_mean(gen: str) -> None:
    assert all_different({"gen": gen, "k": 1}, {"gen": "mean"})


@pytest.mark.parametrize("gen", ["kmedoids", "cov_max"])
def test_a_deterministic_gen_depends_on_which_shots_were_drawn(gen: str) -> None:
    assert all_different({"seed": 0}, {"seed": 1}, gen=gen, k=1, n_shot=5)


def test_more_shots_are_other_shots() -> None:
    assert all_different({"n_shot": 5}, {"n_shot": 10}, {"n_shot": None}, gen="mean")


# ---------------------------------------------------------------------------------------------------------------------
# Properties over the whole grid
# ---------------------------------------------------------------------------------------------------------------------


@st.composite
def schemes(draw: st.DrawFn) -> Scheme:
    """Any valid scheme, small numbers preferred: there the rules meet."""
    agg = draw(st.sampled_from(list(AGGREGATIONS)))
    metrics = tuple(METRICS) if agg == "max" else tuple(metric for metric in METRICS if metric != "inner_product")
    split = draw(st.sampled_from(TESTED_ON))
    axes: dict[str, Any] = {
        "gen": draw(st.sampled_from(sorted(GENS))),
        "k": draw(st.integers(1, 4)),
        "n_shot": draw(st.none() | (st.integers(1, 4) if split == "test" else st.integers(5, 6))),
        "split": split,
        "norm_pre": draw(st.sampled_from(norms_at(Position.PRE))),
        "norm_post": draw(st.sampled_from(norms_at(Position.POST))),
        "norm_inf": draw(st.sampled_from(norms_at(Position.INF))),
        "agg": agg,
        "metric": draw(st.sampled_from(metrics)),
        "m": draw(st.integers(1, 12)),
        "weighting": draw(st.sampled_from(list(WEIGHTINGS))),
        "seed": draw(st.integers(-2, 2)),
        "weight_decay": draw(st.sampled_from([0.1, 1e-4])),
        "parameters": OWN,
    }
    if draw(st.booleans()) and GENS[axes["gen"]].takes_k:
        axes |= {"k": None, "select_rule": draw(st.sampled_from(RULES)), "select_max_k": draw(st.integers(1, 4))}
    if GENS[axes["gen"]].biased:  # most of the grid means nothing under it
        axes |= {"agg": "max", "metric": "inner_product", "norm_post": "none"}
    try:
        return Scheme.create(**axes)
    except InvalidCellError:
        reject()


@given(schemes(), st.integers(1, 4), st.booleans())
def test_a_normal_form_is_its_own_normal_form(any_scheme: Scheme, n_labels: int, zero_proxies: bool) -> None:
    form = normal_form(any_scheme, n_labels, zero_proxies=zero_proxies)
    assert normal_form(form, n_labels, zero_proxies=zero_proxies) == form


@given(schemes(), schemes(), st.integers(1, 4))
def test_zero_proxies_only_ever_keep_cells_apart(one: Scheme, other: Scheme, n_labels: int) -> None:
    # So a plan that counts computations before the proxies are known never counts too many.
    if normal_form(one, n_labels, zero_proxies=True) == normal_form(other, n_labels, zero_proxies=True):
        assert normal_form(one, n_labels) == normal_form(other, n_labels)


@given(schemes(), st.integers(1, 4))
def test_gen_s_share_of_a_normal_form_does_not_depend_on_aggregation(any_scheme: Scheme, n_labels: int) -> None:
    # GEN must not know AGG, or its work could not be shared between aggregations; but for a metric of the same samples.
    assume(not isinstance(METRICS[any_scheme.metric], ClassMetric))
    euclidean = replace(any_scheme, agg="mnn", metric="euclidean", m=3, weighting="uniform", norm_inf="none")
    for name in ("n_shot", "norm_pre", "gen", "k", "seed", "weight_decay"):
        assert getattr(normal_form(any_scheme, n_labels), name) == getattr(normal_form(euclidean, n_labels), name)


@given(schemes(), schemes())
def test_ids_are_equal_where_all_axes_are_and_nowhere_else(one: Scheme, other: Scheme) -> None:
    ids = cell_ids(MODEL, EVEN, [one, other])
    assert (one == other) == (ids[0] == ids[1])


@given(schemes())
def test_an_identity_holds_every_axis(any_scheme: Scheme) -> None:
    held = {name: getattr(any_scheme, name) for name in FIELDS}
    held |= {
        name: getattr(any_scheme, name) for name, neutral in NEUTRAL.items() if getattr(any_scheme, name) != neutral
    }
    held |= {key: value for key, value in any_scheme.parameters if OWN.get(key) == value}
    assert json.loads(any_scheme.fragment) == held


# ---------------------------------------------------------------------------------------------------------------------
# What is tested on (section 2)
# ---------------------------------------------------------------------------------------------------------------------


def test_the_test_split_is_in_no_identity_and_held_out_samples_are() -> None:
    for of in (asked, computed):
        assert of(split="test") == of() != of(split="validation")


@pytest.mark.parametrize("gen", DETERMINISTIC)
def test_the_seed_decides_what_is_held_out(gen: str) -> None:
    assert computed(gen=gen, seed=1) == computed(gen=gen, seed=2)
    assert computed(gen=gen, split="validation", seed=1) != computed(gen=gen, split="validation", seed=2)


@pytest.mark.parametrize(("n_shot", "kept"), [(5, 4), (9, 8), (10, 8)])
def test_what_stays_of_the_shots_counts_as_few_samples(n_shot: int, kept: int) -> None:
    few = computed(gen="all", n_shot=n_shot, split="validation")
    assert computed(gen="kmeans", k=kept, n_shot=n_shot, split="validation") == few
    assert computed(gen="kmeans", k=kept - 1, n_shot=n_shot, split="validation") != few
    most = [computed(gen="all", agg="mnn", m=m, n_shot=n_shot, split="validation") for m in (5 * kept, 5 * kept + 1)]
    assert most[0] == most[1] != computed(gen="all", agg="mnn", m=5 * kept - 1, n_shot=n_shot, split="validation")


@pytest.mark.parametrize("n_shot", [1, 4])
def test_a_fifth_of_fewer_than_five_shots_cannot_be_held_out(n_shot: int) -> None:
    with pytest.raises(InvalidCellError, match=f"n_shot must be at least 5 or null, got {n_shot}$"):
        scheme(n_shot=n_shot, split="validation")


def test_there_is_no_other_split() -> None:
    with pytest.raises(UnknownOptionError, match=r"unknown eval\.split 'train'. Available: test, validation"):
        scheme(split="train")


# ---------------------------------------------------------------------------------------------------------------------
# Random streams (section 2): keyed by what they are for, and by nothing else
# ---------------------------------------------------------------------------------------------------------------------


def test_stages_seeds_and_labels_have_streams_of_their_own() -> None:
    label, other = (("digits", 0),), (("digits", 1),)
    streams = {
        stage_seed("n_shot", 0, label),
        stage_seed("random", 0, label),
        stage_seed("n_shot", 1, label),
        stage_seed("n_shot", 0, other),
        stage_seed("n_shot", 0, (*label, *other)),
        stage_seed("n_shot", 0, (*other, *label)),
        stage_seed("n_shot", 0, (("mnist", 0),)),
    }
    assert len(streams) == 7


def test_a_stream_is_a_valid_seed() -> None:
    assert 0 <= stage_seed("n_shot", -(2**63), (("digits", -1),)) < 2**80
