"""The one way from a figure's numbers to its picture."""

from __future__ import annotations

import dataclasses
from typing import Any

import matplotlib.figure

from imprint_sweep.analysis.artefact import Figure, Projection, RankDiagram
from imprint_sweep.analysis.plots.chart import draw_chart
from imprint_sweep.analysis.plots.projection import draw_projection
from imprint_sweep.analysis.plots.rank_diagram import draw_ranks
from imprint_sweep.wording import visible


def draw(figure: Figure) -> matplotlib.figure.Figure:
    """Draw a figure.

    Nothing global changes and pyplot is not used. The result is for :func:`write`; whoever saves it otherwise does so
    within :func:`imprint_sweep.analysis.plots.style.applied`.
    """
    figure = _legible(figure)
    if isinstance(figure, RankDiagram):
        return draw_ranks(figure)
    return draw_projection(figure) if isinstance(figure, Projection) else draw_chart(figure)


def _legible(value: Any) -> Any:
    """The same figure with its texts as they can be shown: XML holds no control characters."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, tuple):
        return tuple(map(_legible, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        texts = {field.name: _legible(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **texts)
    return value
