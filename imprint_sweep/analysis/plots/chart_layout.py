"""Where everything of a chart goes, before anything is drawn.

From above to below: the note, the rows of panels with a title each, the label of x, the legend. Panels share an x axis,
and a y axis by row or all of them, so only the lowest have numbers of x and only the leftmost of y. All lengths are in
points, from the upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from imprint_sweep.analysis.artefact import Chart, Floats, Panel
from imprint_sweep.analysis.plots import text
from imprint_sweep.analysis.plots.axis import Axis, axis, named_axis
from imprint_sweep.analysis.plots.style import DOUBLE, SINGLE, SIZE, SMALL

EDGE = 4.0
"""Kept free around everything."""
TICK = 5.0
"""From an axis to its numbers."""
GUTTER, ROW_GAP = 11.0, 9.0
"""The least space between panels side by side, and below one that has no numbers there."""
TITLE_GAP, LABEL_GAP, LEGEND_GAP, NOTE_GAP = 3.0, 3.0, 6.0, 3.0
"""Below a title, beside the label of an axis, above the legend, below the note."""
SLANT = 40
"""The angle, in degrees, of names that have no room side by side."""
LINE, SMALL_LINE = text.LINE * SIZE, text.LINE * SMALL


@dataclass(frozen=True)
class Place:
    """One panel.

    Args:
        left, top, width, height: of its axes.
        title: in lines.
        y_axis: its y axis.
        numbers_x, numbers_y: whether the numbers of its axes are shown.
    """

    left: float
    top: float
    width: float
    height: float
    title: str
    y_axis: Axis
    numbers_x: bool
    numbers_y: bool

    @property
    def right(self) -> float:
        """Of its axes."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Of its axes."""
        return self.top + self.height


@dataclass(frozen=True)
class Layout:
    """A laid out chart.

    Args:
        width, height: of the figure.
        places: of its panels.
        x_axis: of all panels.
        slanted: whether the names at the x axis are.
        note, x_label, y_label: in lines.
        note_y, x_label_y, y_label_x: the middles of these.
        left, right: between which the panels are.
        legend_top, legend_width: of the legend, which begins at `left`.
    """

    width: float
    height: float
    places: tuple[Place, ...]
    x_axis: Axis
    slanted: bool
    note: str
    x_label: str
    y_label: str
    note_y: float
    x_label_y: float
    y_label_x: float
    left: float
    right: float
    legend_top: float
    legend_width: float


def layout(chart: Chart, legend_height: Callable[[float], float]) -> Layout:
    """Lay a chart out: one column wide if its panels are in one column, else two.

    Args:
        chart: what is drawn.
        legend_height: the height of its legend, given its width.
    """
    n = len(chart.panels)
    columns = max(1, min(chart.columns, n))
    starts = range(0, n, columns)
    width = SINGLE if columns == 1 else DOUBLE
    panel_height = min(155.0, 0.5 * width / columns + 30)

    y_axes = _y_axes(chart, columns, panel_height)
    y_label = text.wrapped(chart.y_label, panel_height * max(len(starts), 1), SIZE)
    y_numbers = LABEL_GAP + max((axis.label_width for axis in y_axes), default=0.0) + TICK
    left = EDGE + LINE * _lines(y_label) + y_numbers
    x_axis, slanted, panel_width, gutter = _x_axis(chart, width - left - EDGE, columns)
    if slanted and (overhang := _overhang(x_axis, panel_width)) > left - EDGE:
        left = EDGE + overhang
        x_axis, slanted, panel_width, gutter = _x_axis(chart, width - left - EDGE, columns)
    right = left + columns * panel_width + (columns - 1) * gutter
    if slanted:
        numbers_height = TICK + math.sin(math.radians(SLANT)) * x_axis.label_width + SMALL_LINE
    else:
        numbers_height = TICK + SMALL_LINE * max((_lines(label) for label in x_axis.labels), default=1)

    note = text.wrapped(chart.note, width - left - EDGE, SMALL)
    note_height = SMALL_LINE * _lines(note) + NOTE_GAP if note else 0.0
    titles = [text.wrapped(panel.title, panel_width, SIZE) for panel in chart.panels]
    places: list[Place] = []
    y = EDGE + note_height
    for start in starts:
        of_row = range(start, min(start + columns, n))
        y += max(LINE * _lines(titles[i]) + TITLE_GAP if titles[i] else TITLE_GAP for i in of_row)
        # Below the last panel of each column there is none that could have the numbers.
        last = [i + columns >= n for i in of_row]
        places += [
            Place(
                left=left + column * (panel_width + gutter),
                top=y,
                width=panel_width,
                height=panel_height,
                title=titles[i],
                y_axis=y_axes[i],
                numbers_x=last[column],
                numbers_y=column == 0,
            )
            for column, i in enumerate(of_row)
        ]
        y += panel_height + (numbers_height if any(last) else ROW_GAP)
    x_label = text.wrapped(chart.x_label, right - left, SIZE)
    x_label_height = LABEL_GAP + LINE * _lines(x_label) if x_label else 0.0
    legend_top = y + x_label_height + LEGEND_GAP
    legend = legend_height(width - left - EDGE)
    return Layout(
        width=width,
        height=(legend_top + legend if legend else y + x_label_height) + EDGE,
        places=tuple(places),
        x_axis=x_axis,
        slanted=slanted,
        note=note,
        x_label=x_label,
        y_label=y_label,
        note_y=EDGE + SMALL_LINE * _lines(note) / 2,
        x_label_y=y + LABEL_GAP + LINE * _lines(x_label) / 2,
        y_label_x=left - y_numbers - LINE * _lines(y_label) / 2,
        left=left,
        right=right,
        legend_top=legend_top,
        legend_width=width - left - EDGE,
    )


def _x_axis(chart: Chart, room: float, columns: int) -> tuple[Axis, bool, float, float]:
    """The x axis, whether its names are slanted, the width of a panel and that of the space between two.

    Numbers at the ends of an axis reach half into that space, so it depends on them, and they on the width.
    """
    values = _joined(one.x for panel in chart.panels for one in panel.series if one.style != "level")
    gutter = GUTTER
    while True:
        # At the right edge, the last number reaches out of its panel.
        panel_width = (room - (gutter / 2 if not chart.x_names else 0.0) - (columns - 1) * gutter) / columns
        slot = panel_width / max(len(chart.x_names), 1) - 3
        slanted = any(text.width(word, SMALL) > slot for name in chart.x_names for word in name.split())
        if chart.x_names:
            names = chart.x_names if slanted else [text.wrapped(name, slot, SMALL) for name in chart.x_names]
            return named_axis(names), slanted, panel_width, gutter
        found = axis(values, chart.x_scale, panel_width, "x")
        if found.label_width + 3 <= gutter:
            return found, False, panel_width, gutter
        gutter = found.label_width + 3


def _overhang(x_axis: Axis, panel_width: float) -> float:
    """How far the first slanted name reaches beyond the left end of its axis, or a little more."""
    return math.cos(math.radians(SLANT)) * text.width(x_axis.labels[0], SMALL) - panel_width / len(x_axis.labels) / 4


def _y_axes(chart: Chart, columns: int, length: float) -> list[Axis]:
    """The y axis of each panel."""
    if chart.share_y == "all":
        return [axis(_joined(map(_ys, chart.panels)), chart.y_scale, length, "y")] * len(chart.panels)
    rows = [chart.panels[start : start + columns] for start in range(0, len(chart.panels), columns)]
    return [found for row in rows for found in [axis(_joined(map(_ys, row)), chart.y_scale, length, "y")] * len(row)]


def _ys(panel: Panel) -> Floats:
    """Everything that the y axis of a panel must show."""
    reference = np.array([] if panel.reference is None else [panel.reference], np.float64)
    ends = (end for one in panel.series for end in (one.y, one.low, one.high) if end is not None)
    return _joined([reference, *ends])


def _joined(parts: Iterable[Floats]) -> Floats:
    return np.concatenate([np.zeros(0), *parts])


def _lines(lines: str) -> int:
    return lines.count("\n") + 1
