"""Conditions choose rows as they exclude combinations in experiment files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.data.subset import axes_of, subset
from imprint_sweep.errors import ConfigError, UnknownOptionError

ROWS = [
    ("resnet18", "mnist", "all", "kmeans", 1, None),
    ("resnet18", "mnist", "even", "kmeans", 20, None),
    ("resnet18", "digits", "all", "mean", None, 3),
    ("timm/resnet10t", "digits", "all", "mean", None, None),
]


@pytest.fixture
def results() -> Results:
    frame = pd.DataFrame(ROWS, columns=["model", "task", "classes", "gen", "k", "m"])
    words = ["model", "task", "classes", "gen"]
    frame = frame.astype({**dict.fromkeys(words, "category"), "k": "Int64", "m": "Int64"})
    for column in set(axes_of(frame).values()) - set(frame.columns):
        frame[column] = pd.array([None] * len(frame), "Int64")
    return Results(frame, Path("outputs"), ("A note.",))


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("model == resnet18 and task == mnist", [0, 1]),
        ("task.classes == even", [1]),
        ("k >= 20", [1]),
        ("k == null", [2, 3]),
        ("not k == null", [0, 1]),
        ("gen in [mean, kmeans] and agg.m != 3", [0, 1, 3]),
        ("model == 'timm/resnet10t'", [3]),
    ],
)
def test_a_condition_chooses_rows(results: Results, condition: str, rows: list[int]) -> None:
    chosen = subset(results, condition)
    columns = ["model", "task", "classes", "gen", "k", "m"]
    expected = results.frame.iloc[rows][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(chosen.frame[columns], expected, check_categorical=False)
    assert chosen.notes == ("A note.", f"Only rows with {condition}: {len(rows)} of 4.")


def test_words_that_are_gone_are_no_categories_any_more(results: Results) -> None:
    assert list(subset(results, "gen == mean").frame["task"].cat.categories) == ["digits"]


def test_what_cannot_be_meant_is_said_in_a_sentence(results: Results) -> None:
    with pytest.raises(UnknownOptionError, match="unknown axis in the condition 'agg_m == 3': 'agg_m'; did you mean"):
        subset(results, "agg_m == 3")
    with pytest.raises(UnknownOptionError, match="did you mean kmeans"):
        subset(results, "gen == kmeanz")
    with pytest.raises(ConfigError, match="holds for none of the 4 rows"):
        subset(results, "k == 7")
    with pytest.raises(ConfigError, match="names no axis; there are model,"):
        subset(results, "1 == 1")
    with pytest.raises(ConfigError, match="cannot read the condition"):
        subset(results, "k = 3")


def test_every_axis_is_understood(results: Results) -> None:
    for axis in axes_of(results.frame):
        assert len(subset(replace(results, notes=()), f"{axis} == null or not {axis} == null").frame) == 4
