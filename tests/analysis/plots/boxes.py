"""What a renderer makes of a figure: the boxes of its texts and whether they touch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from imprint_sweep.analysis.plots.style import applied

DPI = 200.0


@dataclass(frozen=True, eq=False)
class Box:
    """A text on a drawn figure.

    Args:
        text: what it says.
        corners: (4, 2) float64 in pixels, in order.
    """

    text: str
    corners: NDArray[np.float64]


def text_boxes(figure: Figure) -> list[Box]:
    """The boxes of all texts that are seen."""
    with applied():
        figure.set_dpi(DPI)
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        hidden = {id(label) for axes in figure.axes for label in _labels_out_of_view(axes)}
        texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and id(text) not in hidden]
        return [_box(text) for text in texts if text.get_visible() and text.get_text().strip()]


def panels(figure: Figure) -> list[Bbox]:
    """The boxes of the axes in which data is drawn, in pixels."""
    return [axes.get_window_extent() for axes in figure.axes if axes.get_label() != "sheet"]


def touching(boxes: list[Box]) -> list[tuple[str, str]]:
    """The pairs of texts that touch each other."""
    return [(a.text, b.text) for a, b in combinations(boxes, 2) if intersect(a.corners, b.corners)]


def intersect(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two convex polygons share more than a border: no line along one of their sides parts them."""
    for polygon in (a, b):
        for side in np.roll(polygon, -1, axis=0) - polygon:
            across = np.array([-side[1], side[0]])
            if (a @ across).max() <= (b @ across).min() or (b @ across).max() <= (a @ across).min():
                return False
    return True


def corners(box: Bbox) -> NDArray[np.float64]:
    return np.array([(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)])


def _box(text: Text) -> Box:
    """The box of a text, turned with it. What is slanted turns about its anchor."""
    angle = text.get_rotation()
    if angle % 90 == 0:
        return Box(text.get_text(), corners(text.get_window_extent()))
    assert text.get_rotation_mode() == "anchor"
    text.set_rotation(0)
    straight = corners(text.get_window_extent())
    anchor = text.get_transform().transform(text.get_unitless_position())
    text.set_rotation(angle)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return Box(text.get_text(), (straight - anchor) @ np.array([[cos, sin], [-sin, cos]]) + anchor)


def _labels_out_of_view(axes: Axes) -> list[Text]:
    """Labels of ticks that are not drawn: matplotlib keeps some beyond the ends of an axis."""
    hidden: list[Text] = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for minor in (False, True):
            places, ticks = axis.get_ticklocs(minor=minor), axis.get_minor_ticks() if minor else axis.get_major_ticks()
            seen = {i for i, place in enumerate(places) if low <= place <= high} if axes.axison else set()
            hidden += [label for i, tick in enumerate(ticks) if i not in seen for label in (tick.label1, tick.label2)]
    return hidden
