"""The one way from a figure's numbers to its picture."""

from __future__ import annotations

import matplotlib.figure

from imprint_sweep.analysis.artefact import Figure, Projection, RankDiagram
from imprint_sweep.analysis.plots.chart import draw_chart
from imprint_sweep.analysis.plots.projection import draw_projection
from imprint_sweep.analysis.plots.rank_diagram import draw_ranks


def draw(figure: Figure) -> matplotlib.figure.Figure:
    """Draw a figure.

    Nothing global changes and pyplot is not used. The result is for :func:`write`; whoever saves it otherwise does so
    within :func:`imprint_sweep.analysis.plots.style.applied`.
    """
    if isinstance(figure, RankDiagram):
        return draw_ranks(figure)
    return draw_projection(figure) if isinstance(figure, Projection) else draw_chart(figure)
