"""A figure as a sheet on which things are put by points from the upper left corner."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imprint_sweep.analysis.plots.style import INK, SIZE, SMALL
from imprint_sweep.analysis.plots.text import LINE

_HALF = 0.36
"""From the middle of a digit to its foot, in sizes of its font."""


class Sheet:
    """An empty figure of a known size.

    Args:
        width, height: in points.

    Attributes:
        figure: what is drawn on.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72))
        self._axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), label="sheet")
        self._axes.axis("off")

    def panel(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes of their own in a part of the sheet."""
        at = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(at)

    def line(
        self, xs: Sequence[float], ys: Sequence[float], colour: str = INK, width: float = 0.8, zorder: float = 1
    ) -> None:
        """A line with square corners."""
        self.add(
            Line2D(xs, ys, color=colour, linewidth=width, zorder=zorder, solid_capstyle="butt", solid_joinstyle="miter")
        )

    def add(self, line: Line2D) -> None:
        """A line or markers of any look, their coordinates in points."""
        line.set_clip_on(False)
        self._axes.add_line(line)

    def text(self, x: float, y: float, text: str, colour: str = INK, small: bool = False, align: str = "left") -> None:
        """Text with its middle at a height.

        Args:
            x: where it begins, ends, or has its middle, depending on `align`.
            y: the middle of its lines.
            text: one line or several.
            colour: of the letters.
            small: whether it is of the smaller size.
            align: ``"left"``, ``"right"`` or ``"center"``.
        """
        size = SMALL if small else SIZE
        lines = text.split("\n")
        for i, line in enumerate(lines):
            foot = y + (i - (len(lines) - 1) / 2) * LINE * size + _HALF * size
            self._axes.text(x, foot, line, size=size, color=colour, ha=align, va="baseline")

    def turned_text(self, x: float, y: float, text: str) -> None:
        """Text that reads from below to above with its middle at a place."""
        self._axes.text(x, y, text, size=SIZE, rotation=90, ha="center", va="center", linespacing=LINE)
