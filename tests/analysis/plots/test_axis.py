"""Axes show all values, with as many round numbers as there is room for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.analysis.artefact import Floats
from imprint_sweep.analysis.plots import text
from imprint_sweep.analysis.plots.axis import apart, axis, limits, named_axis, scaled, unscaled
from imprint_sweep.analysis.plots.style import SMALL
from imprint_sweep.analysis.plots.ticks import tick_label

SCALES = ("linear", "log", "symlog")

positive = st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=20).map(lambda values: np.array(values, np.float64))
anything = st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=20).map(lambda values: np.array(values, np.float64))


def ticks(values: list[float], scale: str = "linear", length: float = 200.0, along: str = "x") -> list[float]:
    return list(axis(np.array(values), scale, length, along).ticks)


@given(positive, st.sampled_from(SCALES), st.sampled_from(["x", "y"]), st.floats(60, 400))
def test_all_values_are_between_the_ends_and_ticks_have_room(
    values: Floats, scale: str, along: str, length: float
) -> None:
    found = axis(values, scale, length, along)
    assert found.low < values.min() or (found.low == 0 and scale == "symlog")
    assert values.max() < found.high
    assert all(found.low <= tick <= found.high for tick in found.ticks)
    first, last = scaled(np.array([found.low, found.high]), scale)
    at = (scaled(np.array(found.ticks), scale) - first) / (last - first) * length
    sizes = [text.width(label, SMALL) if along == "x" else SMALL for label in found.labels]
    assert all(x2 - x1 >= (s1 + s2) / 2 for (x1, s1), (x2, s2) in pairwise(zip(at, sizes, strict=True)))


@given(anything, st.sampled_from(["linear", "symlog"]))
def test_negative_values_have_axes_as_well(values: Floats, scale: str) -> None:
    low, high = limits(values, scale)
    assert low <= values.min()
    assert values.max() < high


@given(anything, st.sampled_from(["linear", "symlog"]))
def test_places_can_be_inverted(values: Floats, scale: str) -> None:
    np.testing.assert_allclose(unscaled(scaled(values, scale), scale), values, rtol=1e-9, atol=1e-9)


def test_symlog_is_linear_below_one_and_logarithmic_beyond() -> None:
    places = scaled(np.array([0, 0.25, 0.5, 1, 10, 100, 1000]), "symlog")
    np.testing.assert_allclose(np.diff(places[:3]), places[1] - places[0])
    np.testing.assert_allclose(np.diff(places[3:]), 1.0)  # a power of ten each


@pytest.mark.parametrize(
    ("values", "scale", "expected"),
    [
        ([1, 15], "linear", [2, 4, 6, 8, 10, 12, 14]),
        ([1, 100], "linear", [0, 20, 40, 60, 80, 100]),
        ([1, 1000], "log", [1, 3, 10, 30, 100, 300, 1000]),
        ([10, 400], "log", [10, 20, 50, 100, 200]),
        ([0.43, 37], "symlog", [0.5, 1, 2, 5, 10, 20]),
        ([0.0, 1e5], "symlog", [0, 0.5, 1, 10, 100, 1000, 10000, 100000]),
        ([1e-8, 1e9], "log", [1e-6, 1e-3, 1, 1e3, 1e6, 1e9]),
    ],
)
def test_ticks_of_the_papers_axes(values: list[float], scale: str, expected: list[float]) -> None:
    assert ticks(values, scale) == expected


def test_whole_numbers_have_whole_ticks() -> None:
    assert ticks([1, 2]) == [1, 2]
    assert ticks([1, 1]) == [1]
    assert ticks([1, 2.001]) == [1, 1.2, 1.4, 1.6, 1.8, 2]


def test_one_value_and_no_value_still_have_an_axis() -> None:
    assert limits(np.array([90.0, 90.0]), "linear") == pytest.approx((89.1, 90.9))
    assert limits(np.array([0.0]), "linear") == (-0.2, 0.2)
    assert limits(np.array([90.0, 90.0 + 1e-13]), "linear") == pytest.approx((89.1, 90.9))  # rounding is no range
    assert limits(np.zeros(0), "linear") == (0, 1)
    assert limits(np.array([np.nan, np.inf]), "linear") == (0, 1)
    assert limits(np.array([0.0, -1.0]), "log") == (1, 10)


def test_a_short_axis_has_few_ticks_and_a_shorter_one_none_that_overlap() -> None:
    assert len(ticks([0, 100], length=60)) <= 3
    assert ticks([1, 1000], "log", length=25) == [1, 100]
    assert len(ticks([1, 1000], "log", length=10)) <= 1


def test_names_are_at_whole_places() -> None:
    found = named_axis(["a", "b", "c"])
    assert (found.low, found.high, found.ticks, found.labels) == (-0.5, 2.5, (0, 1, 2), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (1000, "1000"), (0.001, "0.001"), (-0.25, "−0.25"), (2.5e7, "2.5·10⁷"), (1e-4, "10⁻⁴"),
     (0.1 + 0.2, "0.3")],
)  # fmt: skip
def test_numbers_of_ticks_are_short(value: float, expected: str) -> None:
    assert tick_label(value) == expected


def test_apart() -> None:
    assert apart([0, 10], [6, 6], 4)
    assert not apart([0, 10], [6, 6], 5)
    assert apart([], [], 1)
