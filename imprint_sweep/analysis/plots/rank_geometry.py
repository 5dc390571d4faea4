"""Where everything of a critical-difference diagram goes, before anything is drawn.

Ranks are on an axis at the top with rank 1 on the right. A leader runs from each rank down to a row and out to its
label: the better half to the right, the worse to the left, the outermost in the first row, so leaders never cross.
Between axis and rows are the bars of the cliques. All lengths are in points, from the upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imprint_sweep.analysis.artefact import Floats

EDGE = 4.0
"""Kept free around everything."""
CAPTION, NUMBERS, TICK = 9.0, 9.0, 3.0
"""Above the axis: heights of its caption, of the numbers at its ticks, and of the ticks."""
FIRST_BAR, BAR_STEP = 8.0, 6.5
"""Below the axis: where the first bar is, and the distance between bars."""
OVERHANG = 3.5
"""How far a bar reaches beyond its members, so that one over equal ranks is seen."""
BEFORE_ROWS, ROW_GAP = 6.0, 4.0
"""Between the last bar and the first rows, and between two rows."""
STUB = 10.0
"""The least a leader runs to the side."""
GAP = 4.0
"""Between a leader, its number and its label."""
LEAST_TICK_DISTANCE = 17.0


@dataclass(frozen=True)
class Bar:
    """The bar of a clique.

    Args:
        left, right: its ends.
        y: its height.
        members: positions of its members among the labels.
        passes: whether it passes another label's rank. Cliques need not be neighbours in rank.
    """

    left: float
    right: float
    y: float
    members: tuple[int, ...]
    passes: bool


@dataclass(frozen=True, eq=False)
class Geometry:
    """A laid out diagram of k labels.

    Args:
        width, height: of the figure.
        axis_left, axis_right, axis_y: the axis, from the whole rank before the best (right) to the one after the worst.
        ticks: (rank, x) of each tick with a number.
        x: (k,) float64, each rank on the axis.
        y: (k,) float64, each label's row.
        right: (k,) whether its label is on the right.
        leader_end: (k,) float64, x where its leader ends.
        number_x, label_x: (k,) float64, x at which its rank as a number and its label begin (on the right) or end (on
            the left).
        bars: of the cliques, in their order.
    """

    width: float
    height: float
    axis_left: float
    axis_right: float
    axis_y: float
    ticks: tuple[tuple[int, float], ...]
    x: Floats
    y: Floats
    right: tuple[bool, ...]
    leader_end: Floats
    number_x: Floats
    label_x: Floats
    bars: tuple[Bar, ...]


def sides(ranks: Floats) -> tuple[list[int], list[int]]:
    """The labels on the left, worst first, and those on the right, best first: in the order of their rows.

    Args:
        ranks: (k,) float64 average ranks, 1 = best.
    """
    order = np.argsort(ranks, kind="stable").tolist()
    n_right = (len(order) + 1) // 2
    return order[n_right:][::-1], order[:n_right]


def levels(intervals: Sequence[tuple[float, float]], apart: float) -> list[int]:
    """A level for each interval, so that those of one level keep apart; as few levels as there can be.

    Args:
        intervals: (left, right) each.
        apart: the least distance between two of one level.
    """
    ends: list[float] = []  # of each level so far
    found = [0] * len(intervals)
    for i in sorted(range(len(intervals)), key=lambda i: intervals[i]):
        left, right = intervals[i]
        level = next((level for level, end in enumerate(ends) if end + apart <= left), len(ends))
        if level == len(ends):
            ends.append(right)
        else:
            ends[level] = right
        found[i] = level
    return found


def geometry(
    ranks: Floats,
    cliques: Sequence[tuple[int, ...]],
    label_widths: Sequence[float],
    label_heights: Sequence[float],
    number_width: float,
    width: float,
    least_axis: float,
) -> Geometry:
    """Lay a diagram out.

    Args:
        ranks: (k,) float64 average ranks, 1 = best.
        cliques: groups of positions.
        label_widths, label_heights: (k,) of the labels, which may have several lines.
        number_width: of the widest rank as a number.
        width: the wish; more if the axis would be shorter than `least_axis`.
        least_axis: the least length of the axis.
    """
    k = len(ranks)
    left, right = sides(ranks)
    left_margin, right_margin = (
        EDGE + (max(label_widths[i] for i in side) + number_width + 2 * GAP + STUB if side else STUB)
        for side in (left, right)
    )
    width = max(width, left_margin + least_axis + right_margin)
    axis_left, axis_right = left_margin, width - right_margin
    axis_y = EDGE + CAPTION + NUMBERS + TICK
    best = math.floor(ranks.min())
    worst = max(math.ceil(ranks.max()), best + 1)
    per_rank = (axis_right - axis_left) / (worst - best)
    x = axis_right - (ranks - best) * per_rank

    spans = [(min(x[i] for i in clique) - OVERHANG, max(x[i] for i in clique) + OVERHANG) for clique in cliques]
    level = levels(spans, apart=OVERHANG)
    bars = tuple(
        Bar(
            left=float(start),
            right=float(end),
            y=axis_y + FIRST_BAR + at * BAR_STEP,
            members=tuple(clique),
            passes=any(start + OVERHANG < x[i] < end - OVERHANG for i in set(range(k)) - set(clique)),
        )
        for (start, end), at, clique in zip(spans, level, cliques, strict=True)
    )
    rows_top = max((bar.y for bar in bars), default=axis_y + FIRST_BAR - BAR_STEP) + BEFORE_ROWS

    y, bottom = np.zeros(k), rows_top
    for side in (left, right):
        top = rows_top
        for i in side:
            y[i] = top + label_heights[i] / 2
            top += label_heights[i] + ROW_GAP
        bottom = max(bottom, top - ROW_GAP)
    on_right = np.isin(np.arange(k), right)
    outwards = np.where(on_right, 1.0, -1.0)
    leader_end = np.where(on_right, axis_right, axis_left) + outwards * STUB
    number_x = leader_end + outwards * GAP
    return Geometry(
        width=width,
        height=bottom + EDGE,
        axis_left=axis_left,
        axis_right=axis_right,
        axis_y=axis_y,
        ticks=tuple((rank, axis_right - (rank - best) * per_rank) for rank in _numbered(best, worst, per_rank)),
        x=x,
        y=y,
        right=tuple(on_right.tolist()),
        leader_end=leader_end,
        number_x=number_x,
        label_x=number_x + outwards * (number_width + GAP),
        bars=bars,
    )


def _numbered(best: int, worst: int, per_rank: float) -> list[int]:
    """The ranks that have a number: both ends, and as many round ones between as there is room for."""
    room = math.ceil(LEAST_TICK_DISTANCE / per_rank)
    step = next((step for step in (1, 2, 5, 10, 20, 50) if step >= room), 100)
    return [best, *(rank for rank in range(best + room, worst - room + 1) if rank % step == 0), worst]
