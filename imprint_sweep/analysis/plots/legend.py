"""Legends: every label once, in rows below the panels, where they cover nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D

from imprint_sweep.analysis.artefact import Series
from imprint_sweep.analysis.plots import text
from imprint_sweep.analysis.plots.sheet import Sheet
from imprint_sweep.analysis.plots.style import MUTED, PALETTE, PAPER, SIZE, Look

_HANDLE, _GAP, _BETWEEN, _ROW_GAP, _GROUP_GAP = 16.0, 4.0, 12.0, 2.5, 4.0
"""In points: the length of a handle, its distance from its label, between entries, between rows, between groups."""
_LONGEST = 170.0
"""Where a label breaks into lines, in points: it fits into one column of a paper."""

_DASHES = {"dashed": (0, (3.2, 1.6)), "level": (0, (6, 2))}
"""How the lines of two styles are broken."""
_FACTOR = {"^": 1.15, "v": 1.15, "P": 1.25, "X": 1.25, "D": 0.9, "s": 0.9, "p": 1.15, "h": 1.1}
"""What makes markers look equally large."""
_NOWHERE = np.zeros(0), np.zeros(0)


@dataclass(frozen=True, eq=False)
class Entry:
    """One entry.

    Args:
        label: its text, in lines.
        handle: how what it stands for looks.
    """

    label: str
    handle: Line2D

    @property
    def width(self) -> float:
        """In points."""
        return _HANDLE + _GAP + max(text.width(line, SIZE) for line in self.label.split("\n"))

    @property
    def height(self) -> float:
        """In points, with the space to the next row."""
        return text.LINE * SIZE * (self.label.count("\n") + 1) + _ROW_GAP


def line_of(series: Series, look: Look, shapes: Mapping[str, str]) -> Line2D:
    """How a series is drawn, without coordinates.

    Args:
        series: what is drawn.
        look: of its `colour`.
        shapes: the marker of each `marker`, from :func:`shapes_of`.
    """
    hollow, points = series.style == "hollow", series.style == "points"
    marker = "none"
    if hollow:
        marker = "o"
    elif series.style != "level":
        marker = shapes[series.marker] if series.marker else look.marker or ("o" if points else "none")
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle="none" if hollow or points else _DASHES.get(series.style, "solid"),
        linewidth=1.0 if series.style == "level" else 1.3,
        marker=marker,
        markersize=(5.0 if hollow or points else 3.6) * _FACTOR.get(marker, 1.0),
        markerfacecolor=PAPER if hollow else look.colour,
        markeredgecolor=look.colour if hollow else PAPER,
        markeredgewidth=1.2 if hollow else 0.4 if points else 0.0,
    )


def shapes_of(series: Iterable[Series]) -> dict[str, str]:
    """A marker for each `marker` of a figure, in the order in which they appear."""
    names = dict.fromkeys(one.marker for one in series if one.marker)
    return {name: PALETTE[i % len(PALETTE)][1] for i, name in enumerate(names)}


def entries(series: Sequence[Series], looks: Mapping[str, Look]) -> list[list[Entry]]:
    """The legend of a figure: labels by colour, then markers by shape where those say something else.

    Args:
        series: of all panels.
        looks: of their colours.

    Returns:
        one or two groups, each beginning a row of its own; none if there is nothing to tell.
    """
    shapes = shapes_of(series)
    by_colour: dict[str, Entry] = {}
    for one in series:
        if one.label and one.label not in by_colour:
            handle = line_of(one, looks[one.colour], shapes)
            if one.marker:
                handle.set_marker("o")
                handle.set_markersize(5.0)
            by_colour[one.label] = Entry(text.wrapped(one.label, _LONGEST, SIZE), handle)
    by_shape = []
    for name, marker in shapes.items():
        handle = line_of(Series(name, *_NOWHERE, style="points", marker=name), Look(MUTED, marker), shapes)
        by_shape.append(Entry(text.wrapped(name, _LONGEST, SIZE), handle))
    return [group for group in (list(by_colour.values()), by_shape) if group]


def columns(widths: Sequence[float], total: float) -> list[float]:
    """The widths of the columns of a table of entries, filled row by row: as many columns as fit.

    Args:
        widths: of the entries.
        total: what the columns and the space between them may take.
    """
    for count in range(len(widths), 1, -1):
        found = [max(widths[i::count]) for i in range(count)]
        if sum(found) + _BETWEEN * (count - 1) <= total:
            break
    else:
        return [max(widths)]
    # As many rows, but filled evenly: 4 + 3 and not 6 + 1.
    rows = -(-len(widths) // count)
    even = -(-len(widths) // rows)
    return [max(widths[i::even]) for i in range(even)]


def rows(group: Sequence[Entry], total: float) -> list[Sequence[Entry]]:
    """The entries of a group row by row."""
    count = len(columns([entry.width for entry in group], total))
    return [group[start : start + count] for start in range(0, len(group), count)]


def height(groups: Sequence[Sequence[Entry]], total: float) -> float:
    """What :func:`draw` needs, in points.

    Args:
        groups: from :func:`entries`.
        total: its width in points.
    """
    of_rows = [max(entry.height for entry in row) for group in groups for row in rows(group, total)]
    return sum(of_rows) + _GROUP_GAP * max(len(groups) - 1, 0)


def draw(sheet: Sheet, groups: Sequence[Sequence[Entry]], left: float, top: float, total: float) -> None:
    """Draw a legend.

    Args:
        sheet: on which.
        groups: from :func:`entries`.
        left, top: its upper left corner in points.
        total: its width in points.
    """
    for group in groups:
        widths = columns([entry.width for entry in group], total)
        for row in rows(group, total):
            row_height = max(entry.height for entry in row)
            for column, entry in enumerate(row):
                x, y = left + sum(widths[:column]) + _BETWEEN * column, top + row_height / 2
                entry.handle.set_data([x, x + _HANDLE / 2, x + _HANDLE], [y] * 3)
                entry.handle.set_markevery([1])  # at the middle
                sheet.add(entry.handle)
                sheet.text(x + _HANDLE + _GAP, y, entry.label)
            top += row_height
        top += _GROUP_GAP
