"""Charts: lines with intervals, points and levels in one or several panels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullFormatter, NullLocator

from imprint_sweep.analysis.artefact import Chart, Floats, Panel, Series
from imprint_sweep.analysis.plots import legend
from imprint_sweep.analysis.plots.axis import Axis
from imprint_sweep.analysis.plots.chart_layout import LINE, SLANT, TICK, TITLE_GAP, layout
from imprint_sweep.analysis.plots.sheet import Sheet
from imprint_sweep.analysis.plots.style import INK, MUTED, Look, applied, looks

_MARKER_DISTANCE = 6.0
"""Markers on a line are at least so far apart, in points."""
_DODGE = 0.5
"""Points of several series at one name stand side by side within this share of its place."""
_ORDER = {"level": 2, "solid": 3, "dashed": 3, "points": 4, "hollow": 5}
"""What is drawn above what; within a style, later series above earlier ones."""


def draw_chart(chart: Chart) -> Figure:
    """Draw a chart: one column wide if its panels are in one column, else two."""
    with applied():
        series = [one for panel in chart.panels for one in panel.series]
        look = looks(one.colour for one in series)
        entries = legend.entries(series, look)
        at = layout(chart, lambda width: legend.height(entries, width))
        sheet = Sheet(at.width, at.height)
        sheet.text(at.left, at.note_y, at.note, MUTED, small=True)
        for panel, place in zip(chart.panels, at.places, strict=True):
            title_y = place.top - TITLE_GAP - LINE * (place.title.count("\n") + 1) / 2
            sheet.text(place.left, title_y, place.title)
            axes = sheet.panel(place.left, place.top, place.width, place.height)
            _set_axis(axes, "x", at.x_axis, place.numbers_x)
            _set_axis(axes, "y", place.y_axis, place.numbers_y)
            if at.slanted:
                _slant(axes)
            _fill(axes, panel, chart, look, legend.shapes_of(series), place.width)
            if chart.fit is not None:
                _draw_fit(axes, chart, chart.fit)
            if not any(np.isfinite(one.y).any() for one in panel.series):
                middle = (place.left + place.right) / 2, (place.top + place.bottom) / 2
                sheet.text(*middle, "no results", MUTED, align="center")
        sheet.text((at.left + at.right) / 2, at.x_label_y, at.x_label, align="center")
        if at.places:
            sheet.turned_text(at.y_label_x, (at.places[0].top + at.places[-1].bottom) / 2, at.y_label)
        legend.draw(sheet, entries, at.left, at.legend_top, at.legend_width)
        return sheet.figure


def _set_axis(axes: Axes, which: str, axis: Axis, numbers: bool) -> None:
    """Scale, limits and ticks of the x or the y axis."""
    options: dict[str, Any] = {"nonpositive": "mask"} if axis.scale == "log" else {}
    options |= {"linthresh": 1} if axis.scale == "symlog" else {}
    of = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)(axis.scale, **options)
    (axes.set_xlim if which == "x" else axes.set_ylim)(axis.low, axis.high)
    of.set_major_locator(FixedLocator(axis.ticks))
    of.set_major_formatter(FixedFormatter(axis.labels) if numbers else NullFormatter())
    of.set_minor_locator(LogLocator(subs=range(2, 10), numticks=99) if axis.scale == "log" else NullLocator())
    of.set_minor_formatter(NullFormatter())
    of.set_tick_params(which="both", pad=TICK - 2.5)


def _slant(axes: Axes) -> None:
    """Turn the names at the x axis so that they have room."""
    for label in axes.get_xticklabels():
        label.set(rotation=SLANT, ha="right", va="center", rotation_mode="anchor")


def _fill(
    axes: Axes, panel: Panel, chart: Chart, look: Mapping[str, Look], shapes: Mapping[str, str], width: float
) -> None:
    """Draw what a panel shows, given its width in points."""
    if panel.reference is not None:
        axes.axhline(panel.reference, color=MUTED, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1.5)
    dots = [one for one in panel.series if one.style in ("points", "hollow")]
    for i, one in enumerate(one for one in panel.series if len(one.y)):
        line = legend.line_of(one, look[one.colour], shapes)
        if one.style == "level":
            x, y = np.array(axes.get_xlim()), np.repeat(one.y[:1], 2)
        elif chart.x_names and one in dots:
            x, y = one.x + _DODGE * ((dots.index(one) + 0.5) / len(dots) - 0.5), one.y
        else:
            x, y = one.x, one.y
        line.set_data(x, y)
        line.set_zorder(_ORDER[one.style] + i / len(panel.series))
        line.set_markevery(max(1, math.ceil(len(x) * _MARKER_DISTANCE / width)))
        axes.add_line(line)
        _draw_interval(axes, one, x, look[one.colour].colour)


def _draw_interval(axes: Axes, series: Series, x: Floats, colour: str) -> None:
    """A band around a line, a bar through each point."""
    if series.low is None or series.high is None:
        return
    if series.style in ("points", "hollow"):
        axes.vlines(x, series.low, series.high, color=colour, linewidth=0.9, zorder=2)
    else:
        low, high = (np.resize(end, len(x)) for end in (series.low, series.high))
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)


def _draw_fit(axes: Axes, chart: Chart, fit: tuple[float, float]) -> None:
    """The line of the fit, from the first point to the last."""
    x = np.concatenate([one.x for panel in chart.panels for one in panel.series if one.style != "level"])
    x = x[np.isfinite(x) & (x > 0)]
    if x.size:
        x = np.geomspace(x.min(), x.max(), 100)
        axes.plot(x, fit[0] * np.log10(x) + fit[1], color=INK, linewidth=0.9, zorder=1.8)
