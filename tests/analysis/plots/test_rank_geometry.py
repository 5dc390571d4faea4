"""Where everything of a critical-difference diagram goes: leaders never cross, bars and labels keep apart."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.analysis.plots.rank_geometry import EDGE, OVERHANG, Geometry, geometry, levels, sides

SLACK = 1e-6

intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)).map(lambda s: (s[0], s[0] + s[1])), max_size=12)


@st.composite
def diagrams(draw: st.DrawFn) -> tuple[Geometry, list[float], list[float]]:
    """A geometry with the widths and heights of its labels. Halves of ranks, so that many are tied."""
    k = draw(st.integers(2, 20))
    ranks = np.array(draw(st.lists(st.integers(2, 2 * k).map(lambda r: r / 2), min_size=k, max_size=k)))
    cliques = draw(st.lists(st.sets(st.integers(0, k - 1), min_size=2).map(lambda s: tuple(sorted(s))), max_size=10))
    widths = draw(st.lists(st.floats(5, 150), min_size=k, max_size=k))
    heights = draw(st.lists(st.sampled_from([8.4, 16.8, 25.2]), min_size=k, max_size=k))
    return geometry(ranks, cliques, widths, heights, 18.0, draw(st.sampled_from([252.0, 518.4])), 90.0), widths, heights


def test_a_diagram_worked_out_by_hand() -> None:
    # The three rows: 3 on the left; 1 and 2 on the right, the best on top.
    found = geometry(np.array([2.0, 1.0, 3.0]), [(0, 2)], [40, 20, 30], [8, 8, 8], 15.0, 252.0, 90.0)
    assert found.right == (True, True, False)
    assert found.axis_left == EDGE + 30 + 15 + 2 * 4 + 10
    assert found.axis_right == 252 - (EDGE + 40 + 15 + 2 * 4 + 10)
    middle = (found.axis_left + found.axis_right) / 2
    np.testing.assert_allclose(found.x, [middle, found.axis_right, found.axis_left])
    assert found.ticks == ((1, found.axis_right), (2, middle), (3, found.axis_left))
    assert found.y[1] == found.y[2]  # both are the first row
    assert found.y[0] == found.y[1] + 8 + 4
    (bar,) = found.bars
    assert (bar.left, bar.right) == (found.x[2] - OVERHANG, found.x[0] + OVERHANG)
    assert bar.members == (0, 2)
    assert not bar.passes


def test_rank_one_is_on_the_right_and_the_better_half_there() -> None:
    assert sides(np.array([3.0, 1.0, 2.0, 5.0, 4.0])) == ([3, 4], [1, 2, 0])
    assert sides(np.array([1.5, 1.5])) == ([1], [0])


@given(diagrams())
def test_better_is_further_right(drawn: tuple[Geometry, list[float], list[float]]) -> None:
    found, _, _ = drawn
    assert found.axis_left - SLACK <= found.x.min()
    assert found.x.max() <= found.axis_right + SLACK
    left = [x for x, right in zip(found.x, found.right, strict=True) if not right]
    right = [x for x, right in zip(found.x, found.right, strict=True) if right]
    assert max(left) <= min(right) + SLACK


@given(diagrams())
def test_leaders_do_not_cross(drawn: tuple[Geometry, list[float], list[float]]) -> None:
    found, _, _ = drawn
    k = len(found.x)
    for i in range(k):  # goes down at x[i] to y[i] ...
        for j in set(range(k)) - {i}:  # ... and j goes out at y[j]
            start, end = sorted((found.x[j], found.leader_end[j]))
            assert not (start + SLACK < found.x[i] < end - SLACK and found.y[j] < found.y[i] - SLACK)


@given(diagrams())
def test_labels_keep_apart_and_within_the_figure(drawn: tuple[Geometry, list[float], list[float]]) -> None:
    found, widths, heights = drawn
    for i, j in combinations(range(len(widths)), 2):
        if found.right[i] == found.right[j]:
            assert abs(found.y[i] - found.y[j]) >= (heights[i] + heights[j]) / 2
    for i, width in enumerate(widths):
        outer = found.label_x[i] + (width if found.right[i] else -width)
        assert EDGE - SLACK <= outer <= found.width - EDGE + SLACK
        assert found.y[i] + heights[i] / 2 <= found.height - EDGE + SLACK
        # From the axis outwards: leader, number, label.
        order = [found.x[i], found.leader_end[i], found.number_x[i], found.label_x[i], outer]
        assert order == sorted(order, reverse=not found.right[i])


@given(diagrams())
def test_bars_are_over_their_members_between_axis_and_labels(drawn: tuple[Geometry, list[float], list[float]]) -> None:
    found, _, heights = drawn
    first_row = min(y - height / 2 for y, height in zip(found.y, heights, strict=True))
    for bar in found.bars:
        members = found.x[list(bar.members)]
        assert bar.left == pytest.approx(members.min() - OVERHANG)
        assert bar.right == pytest.approx(members.max() + OVERHANG)
        assert found.axis_y < bar.y < first_row
        others = [x for i, x in enumerate(found.x) if i not in bar.members]
        assert bar.passes == any(members.min() + SLACK < x < members.max() - SLACK for x in others)
    for one, other in combinations(found.bars, 2):
        if one.y == other.y:
            assert one.right < other.left or other.right < one.left


@given(diagrams())
def test_both_ends_of_the_axis_have_a_number_and_numbers_have_room(
    drawn: tuple[Geometry, list[float], list[float]],
) -> None:
    found, _, _ = drawn
    xs = [x for _, x in found.ticks]
    assert xs[0] == pytest.approx(found.axis_right)
    assert xs[-1] == pytest.approx(found.axis_left)
    assert all(a - b >= 16 for a, b in pairwise(xs))


@given(intervals, st.sampled_from([0, 1, 3]))
def test_bars_need_as_few_levels_as_there_are_bars_above_one_place(found: list[tuple[int, int]], apart: int) -> None:
    chosen = levels(found, apart)
    for (one, at), (other, also_at) in combinations(zip(found, chosen, strict=True), 2):
        assert at != also_at or one[1] + apart <= other[0] or other[1] + apart <= one[0]
    # Intervals [left, right + apart) that share a place need a level each, and no more are needed.
    deepest = max((sum(left <= place < right + apart for left, right in found) for place in range(50)), default=0)
    if apart:
        assert max(chosen, default=-1) + 1 == deepest
