"""What makes a valid cell, and what is said of an invalid one. What identifies a cell: test_specs.py."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.errors import ConfigError, InvalidCellError, UnknownOptionError
from imprint_sweep.grid.cell import Model, Precision, Task, precision_named
from imprint_sweep.grid.hashing import canonical_json, digest
from imprint_sweep.grid.scheme import Scheme, meaningless
from imprint_sweep.imprinting.components import GENS, METRICS

TWO_LABELS = ((("digits", 0),), (("digits", 1),))


def create(**axes: Any) -> Scheme:
    return Scheme.create(**{"gen": "kmeans", "k": 20, **axes})


@pytest.mark.parametrize(
    ("axes", "kind"),
    [
        ({"gen": "kmeanz"}, "gen"),
        ({"norm_pre": "l1"}, "norm.pre"),
        ({"norm_post": "l1"}, "norm.post"),
        ({"norm_inf": "quantile"}, "norm.inf"),
        ({"agg": "min"}, "agg"),
        ({"metric": "euclid"}, "agg.metric"),
        ({"agg": "mnn", "metric": "euclidean", "m": 3, "weighting": "inverse"}, "agg.weighting"),
        ({"agg": "mnn", "metric": "euclidean", "m": 3, "weighting": None}, "agg.weighting"),
    ],
)
def test_an_unknown_name_is_told_with_those_that_exist(axes: dict[str, Any], kind: str) -> None:
    with pytest.raises(UnknownOptionError, match=r"Available: ") as caught:
        create(**axes)
    assert caught.value.kind == kind
    assert all(name in str(caught.value) for name in caught.value.available)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(UnknownOptionError, match="did you mean kmeans"):
        create(gen="kmeanz")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": None}, "k is missing"),
        ({"n_shot": 0}, "n_shot must be at least 1, got 0"),
        ({"agg": "mnn", "metric": "cosine", "weighting": "uniform", "m": 0}, r"agg\.m must be at least 1, got 0"),
        ({"agg": "mnn", "metric": "cosine", "weighting": "uniform"}, r"agg\.m is missing"),
        ({"seed": 2**63}, "64 bits"),
        ({"norm_pre": "quantile"}, r"use norm\.post=quantile"),
        ({"agg": "mnn", "metric": "inner_product", "m": 1, "weighting": "uniform"}, "inner_product is none"),
        ({"gen": "least_squares", "weight_decay": None}, "must be positive"),
        ({"gen": "least_squares", "weight_decay": 0.0}, "must be positive"),
        ({"gen": "least_squares", "weight_decay": math.nan}, "must be positive"),
        ({"gen": "least_squares", "weight_decay": math.inf}, "must be positive"),
    ],
)
def test_a_combination_without_meaning_is_refused(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidCellError, match=message):
        create(**axes)


def test_every_refusal_is_an_error_of_the_configuration() -> None:
    assert issubclass(InvalidCellError, ConfigError)
    assert issubclass(UnknownOptionError, ConfigError)


def test_numbers_below_one_are_refused_even_where_they_are_dropped() -> None:
    # A typo is a typo, whether or not this gen would have looked at it.
    with pytest.raises(InvalidCellError):
        create(gen="mean", k=0)


OF_RULES = {"select_rule", "select_max_k"}


@pytest.mark.parametrize(
    ("gen", "agg", "expected"),
    [
        ("kmeans", "mnn", {"weight_decay"}),
        ("mean", "max", {"k", "weight_decay", "m", "weighting", *OF_RULES}),
        ("least_squares", "mnn", {"k", *OF_RULES}),
        ("k_least_squares", "max", {"m", "weighting"}),
    ],
)
def test_what_means_nothing(gen: str, agg: str, expected: set[str]) -> None:
    assert meaningless(gen=gen, agg=agg) == expected


@pytest.mark.parametrize(
    ("gen", "agg"),
    [(name, agg) for name, gen in GENS.items() for agg in ("max", "mnn") if agg == "max" or not gen.biased],
)
def test_exactly_what_means_nothing_is_null(gen: str, agg: str) -> None:
    metric = "inner_product" if GENS[gen].biased else "cosine"
    scheme = create(gen=gen, agg=agg, metric=metric, m=2, weighting="uniform", weight_decay=0.1, n_shot=5)
    null = {name for name, value in vars(scheme).items() if value is None}
    assert null == meaningless(gen=gen, agg=agg) | OF_RULES  # no rule was asked for


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"gen": "mean"}, 10),
        ({"gen": "least_squares", "weight_decay": 0.1}, 10),
        ({"gen": "kmeans", "k": 20}, 200),
        ({"gen": "kmeans", "k": 20, "n_shot": 5}, 50),
        ({"gen": "all", "n_shot": 5}, 50),
        ({"gen": "all"}, None),
    ],
)
def test_the_number_of_proxies_is_bounded(axes: dict[str, Any], expected: int | None) -> None:
    assert create(**axes).max_proxies(10) == expected


def test_a_task_needs_a_label() -> None:
    with pytest.raises(InvalidCellError, match="has no label"):
        Task("digits", "none", ())


@pytest.mark.parametrize("labels", [(TWO_LABELS[0], TWO_LABELS[0]), ((("digits", 0), ("digits", 0)),)])
def test_a_class_is_listed_once(labels: Any) -> None:
    with pytest.raises(InvalidCellError, match=r"listed twice.*'digits', 0"):
        Task("digits", "mine", labels)


def test_a_task_reads_its_datasets_in_order_of_first_use() -> None:
    task = Task("combi", "mine", ((("svhn", 0), ("mnist", 0)), (("svhn", 1), ("usps", 1))))
    assert task.datasets == ("svhn", "mnist", "usps")


def test_classes_may_be_any_integers() -> None:
    task = Task("mine", "all", ((("mine", -3),), (("mine", 10**12),)))
    assert "-3" in task.fragment
    assert "1000000000000" in task.fragment


@given(st.dictionaries(st.text(), st.integers() | st.none() | st.text()))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_canonical_json_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(math.nan)


def test_a_digest_keeps_fragments_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert len(digest("a")) == 20


@pytest.mark.parametrize("metric", METRICS)
def test_max_takes_every_metric(metric: str) -> None:
    assert create(metric=metric).metric == metric


def test_another_precision_is_another_model() -> None:
    model = Model("resnet18", "IMAGENET1K_V1", 96)
    half = replace(model, precision=Precision.BFLOAT16)
    assert half != model
    assert half.fragment == '{"image_size":96,"name":"resnet18","weights":"IMAGENET1K_V1-bfloat16"}'
    assert model.fragment == half.fragment.replace("-bfloat16", "")
    with pytest.raises(UnknownOptionError, match="did you mean bfloat16"):
        precision_named("bfloat")


@pytest.mark.parametrize("precision", Precision)
def test_what_ids_and_old_files_hold_is_the_same_model(precision: Precision) -> None:
    model = Model("net", "mine", 96, precision)
    assert Model.recorded("net", model.spelled_weights, 96) == model
    assert Model.recorded("net", "mine", 96, str(precision)) == model


@pytest.mark.parametrize("weights", ["IMAGENET1K-bfloat16", "a-float16", "-float16-float16"])
def test_names_of_weights_do_not_look_like_a_precision(weights: str) -> None:
    with pytest.raises(InvalidCellError, match="ends in a precision, which is a setting of its own"):
        Model("net", weights)


@pytest.mark.parametrize("weights", ["bfloat16", "-float16", "x-float32", "float16-x", "xfloat16"])
def test_other_names_of_weights_are_names(weights: str) -> None:
    assert Model.recorded("net", weights) == Model("net", weights)
