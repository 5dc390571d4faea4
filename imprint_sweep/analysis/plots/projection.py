"""Projections: samples as dots, proxies as diamonds, and the name of each label where its mean is."""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imprint_sweep.analysis.artefact import Floats, Projection
from imprint_sweep.analysis.plots import text
from imprint_sweep.analysis.plots.sheet import Sheet
from imprint_sweep.analysis.plots.style import DOUBLE, INK, MUTED, PALETTE, PAPER, SIZE, applied
from imprint_sweep.analysis.rendering import text_of

_COLOURS = (*(colour for colour, _ in PALETTE), "#8A5A2B")
"""Of the labels in turn: those of other figures and a brown, because most datasets here have ten classes."""
_LEFT, _RIGHT, _TOP, _BELOW, _LEGEND = 24.0, 8.0, 8.0, 22.0, 18.0
"""Margins around the panel, and the height of the legend, in points."""
_HEIGHT = 360.0
"""Of the panel."""
_AROUND = 0.04
"""Of the extent of the points, free at each side."""
_LONGEST = 90.0
"""Where the name of a label breaks into lines, in points."""
_SAMPLE = {"marker": "o", "markersize": 2.2, "alpha": 0.45}
_PROXY = {"marker": "D", "markersize": 4.2, "markeredgewidth": 0.7}
_MEAN = {"marker": "o", "markersize": 7.0, "markeredgewidth": 1.0}


def draw_projection(projection: Projection) -> Figure:
    """Draw a projection, two columns wide. A unit is as long in both directions, so distances can be compared."""
    with applied():
        sheet = Sheet(DOUBLE, _TOP + _HEIGHT + _BELOW + _LEGEND)
        width = DOUBLE - _LEFT - _RIGHT
        axes = sheet.panel(_LEFT, _TOP, width, _HEIGHT)
        axes.grid(visible=False)
        axes.set(xticks=[], yticks=[])
        low, high = _limits(projection, width / _HEIGHT)
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        colours = [_COLOURS[i % len(_COLOURS)] for i in range(len(projection.labels))]
        for points, colour in zip(projection.samples, colours, strict=True):
            axes.add_line(_dots(points, zorder=2, color=colour, markeredgewidth=0, **_SAMPLE))
        for points, colour in zip(projection.proxies, colours, strict=True):
            axes.add_line(_dots(points, zorder=3, color=colour, markeredgecolor=PAPER, **_PROXY))
        halo = [patheffects.withStroke(linewidth=2.0, foreground=PAPER)]
        for label, mean, colour in zip(projection.labels, projection.means, colours, strict=True):
            axes.add_line(_dots(mean[None], zorder=4, color=colour, markeredgecolor=INK, **_MEAN))
            name = text.wrapped(label, _LONGEST, SIZE)
            axes.annotate(
                name, mean, (6, 0), textcoords="offset points", size=SIZE + 1, va="center", zorder=5, path_effects=halo
            )
        _name_axes(sheet, projection, width)
        _draw_legend(sheet, projection.proxies_name)
        return sheet.figure


def _limits(projection: Projection, shape: float) -> tuple[Floats, Floats]:
    """The lower and the upper ends of the axes, given width by height of the panel."""
    points = np.concatenate([*projection.samples, projection.means, *projection.proxies])
    low, high = points.min(axis=0), points.max(axis=0)
    extent = (high - low) * (1 + 2 * _AROUND)
    height = max(extent[1], extent[0] / shape) or 1.0
    half = np.array([height * shape, height]) / 2
    return (low + high) / 2 - half, (low + high) / 2 + half


def _dots(points: Floats, **look: object) -> Line2D:
    return Line2D(points[:, 0], points[:, 1], linestyle="none", **look)  # type: ignore[arg-type]


def _name_axes(sheet: Sheet, projection: Projection, width: float) -> None:
    first, second = (f"{text_of(share, 'percent')} %" for share in projection.shares)
    sheet.text(
        _LEFT + width / 2, _TOP + _HEIGHT + 10, f"first principal component ({first} of the variance)", align="center"
    )
    sheet.turned_text(10, _TOP + _HEIGHT / 2, f"second ({second})")


def _draw_legend(sheet: Sheet, proxies_name: str) -> None:
    x, y = _LEFT, _TOP + _HEIGHT + _BELOW + _LEGEND / 2
    looks = (
        ("sample", {**_SAMPLE, "alpha": 1.0, "markeredgewidth": 0}),
        ("mean of a class", {**_MEAN, "markeredgecolor": INK}),
        (proxies_name, {**_PROXY, "markeredgecolor": PAPER}),
    )
    for name, look in looks:
        sheet.add(_dots(np.array([[x + 4, y]]), color=MUTED, **look))
        sheet.text(x + 12, y, name)
        x += 12 + text.width(name, SIZE) + 16
