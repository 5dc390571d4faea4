"""Conditions over axes: what they mean, and what is no condition."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.grid.conditions import Condition

AXES = ("agg.m", "gen", "k", "model.name", "n_shot", "norm.inf", "norm.pre")


def vocabulary(axis: str) -> Collection[str] | None:
    return {"gen": ("all", "kmeans", "mean"), "norm.pre": ("none", "l2"), "norm.inf": ("none", "l2")}.get(axis)


def read(text: str) -> Condition:
    return Condition.read(text, AXES, vocabulary)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("agg.m > 10 * k", {"agg.m": 20, "k": 1}, True),
        ("agg.m > 10 * k", {"agg.m": 20, "k": 2}, False),
        ("norm.pre == l2 and norm.inf == none", {"norm.pre": "l2", "norm.inf": "none"}, True),
        ("norm.pre == l2 and norm.inf == none", {"norm.pre": "none", "norm.inf": "none"}, False),
        ("gen in [mean, all] or k != 1", {"gen": "all", "k": 1}, True),
        ("gen not in (mean, all)", {"gen": "all"}, False),
        ("not gen == 'kmeans'", {"gen": "mean"}, True),
        ("1 < k <= 5", {"k": 5}, True),
        ("1 < k <= 5", {"k": 1}, False),
        ("k % 2 == 1 and k // 2 == 1 and -k < 0 and k - 1 == 2 and k / 2 == 1.5 and k + 1 == 4", {"k": 3}, True),
        ("n_shot == null", {"n_shot": None}, True),
        ("n_shot != null", {"n_shot": None}, False),
        ("model.name == anything", {"model.name": "anything"}, True),
    ],
)
def test_what_conditions_mean(text: str, values: dict[str, Any], expected: bool) -> None:
    condition = read(text)
    assert condition.names == values.keys()
    assert condition.holds(values) is expected


@given(operator=st.sampled_from(["<", "<=", ">", ">="]), other=st.integers(), swap=st.booleans())
def test_null_is_neither_smaller_nor_larger_than_anything(operator: str, other: int, swap: bool) -> None:
    sides = [str(other), "10 * n_shot"]
    text = f" {operator} ".join(reversed(sides) if swap else sides)
    assert not read(text).holds({"n_shot": None})


@given(k=st.integers(-50, 50), m=st.integers(-50, 50))
def test_numbers_compare_as_numbers(k: int, m: int) -> None:
    assert read("agg.m - 3 * k >= 2 or k == agg.m").holds({"k": k, "agg.m": m}) == (m - 3 * k >= 2 or k == m)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("norm.per == l2", "'norm.per'; did you mean norm.pre"),
        ("norm.pre == l22", "'l22'; did you mean l2? Available: l2, none"),
        ("gen in [mean, al]", "'al'; did you mean all"),
        ("mean", "unknown axis"),
        ("k > mean", "unknown axis"),
        ("gen == 'kmeens'", "'kmeens'; did you mean kmeans"),
    ],
)
def test_a_mistyped_name_is_an_error(text: str, message: str) -> None:
    with pytest.raises(UnknownOptionError) as caught:
        read(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["k >", "", "k = 1", "k is 1", "__import__('os')", "k[0] == 1", "(lambda: k)()", "k ** 9"]
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="condition"):
        read(text)


@pytest.mark.parametrize("text", ["k in [1]*100000000000", "k * 2 == 4", "gen + gen == 'mean'", "k - 1 > 0"])
def test_a_condition_may_be_comparisons_alone(text: str) -> None:
    with pytest.raises(ConfigError, match="and no arithmetic"):
        Condition.read(text, AXES, vocabulary, arithmetic=False)
    assert Condition.read("k >= 2 and gen in [mean, all]", AXES, vocabulary, arithmetic=False).holds(
        {"k": 3, "gen": "all"}
    )


@pytest.mark.parametrize("text", ["k in [1]*100000000000", "gen * 100000000000 == mean", "k == 'x' * 3"])
def test_arithmetic_is_of_numbers(text: str) -> None:
    with pytest.raises(ConfigError):
        read(text).holds({"k": 1, "gen": "mean"})


@pytest.mark.parametrize(
    "text", ["not " * 5000 + "k", "(" * 300 + "k" + ")" * 300, "-" * 9000 + "k", "k == " + "9" * 5000]
)
def test_what_python_cannot_read_is_no_condition(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the condition"):
        read(text)


@pytest.mark.parametrize("depth", range(100, 1000, 100))
def test_a_condition_of_any_depth_is_answered_or_refused(depth: int) -> None:
    with contextlib.suppress(ConfigError):
        assert read("not " * depth + "k == 1").holds({"k": 1})


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("k > 0.1", 0.2, True),
        ("k > 0.1", "oas", False),
        ("0.1 >= k", "oas", False),
        ("k == oas", "oas", True),
        ("k == 0.2 or k in [oas, 0.1]", 0.1, True),
        ("k < 0.1", None, False),
    ],
)
def test_a_word_in_the_place_of_a_number_is_neither_smaller_nor_larger(text: str, value: Any, expected: bool) -> None:
    def words(axis: str) -> Collection[str] | None:
        return ("oas",) if axis == "k" else None

    assert Condition.read(text, AXES, words, mixed=["k"]).holds({"k": value}) is expected
    with pytest.raises(UnknownOptionError, match="did you mean oas"):
        Condition.read("k == oass", AXES, words, mixed=["k"])


def test_a_comparison_without_sense_names_the_values() -> None:
    with pytest.raises(ConfigError, match="'gen > k' makes no sense with gen='mean', k=1"):
        read("gen > k").holds({"gen": "mean", "k": 1})
    with pytest.raises(ConfigError, match="makes no sense"):
        read("1 / k == 1").holds({"k": 0})
