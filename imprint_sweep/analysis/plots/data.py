"""The numbers behind a figure, tidy: one row per rank or point."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imprint_sweep.analysis.artefact import Chart, Figure, Floats, Projection, RankDiagram, Series


def frame(figure: Figure) -> pd.DataFrame:
    """The data that a figure shows.

    Returns:
        of a rank diagram: ``label``, ``rank``, and ``cliques``, the numbers of the bars over it (1, 2, ...) with spaces
        between; in its order. Of a chart: ``panel``, ``series``, ``marker`` where shapes say something, ``style``,
        ``x`` (a name where x has names), ``y``, ``low``, ``high``; one row per point, missing where there is none. Of a
        projection: ``kind`` (``sample``, ``mean`` or ``proxy``), ``label``, ``x``, ``y``.
    """
    if isinstance(figure, RankDiagram):
        bars = [
            " ".join(str(number) for number, clique in enumerate(figure.cliques, start=1) if i in clique)
            for i in range(len(figure.labels))
        ]
        return pd.DataFrame({"label": figure.labels, "rank": figure.ranks, "cliques": bars})
    if isinstance(figure, Projection):
        groups = (
            ("sample", figure.samples),
            ("mean", [mean[None] for mean in figure.means]),
            ("proxy", figure.proxies),
        )
        return pd.concat(
            [
                _placed(kind, label, points)
                for kind, group in groups
                for label, points in zip(figure.labels, group, strict=True)
            ],
            ignore_index=True,
        )
    columns = ["panel", "series", "marker", "style", "x", "y", "low", "high"]
    parts = [_points(figure, series).assign(panel=panel.title) for panel in figure.panels for series in panel.series]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    if not any(series.marker for panel in figure.panels for series in panel.series):
        columns.remove("marker")
    return found[columns]


def _placed(kind: str, label: str, points: Floats) -> pd.DataFrame:
    return pd.DataFrame({"kind": kind, "label": label, "x": points[:, 0], "y": points[:, 1]})


def _points(chart: Chart, series: Series) -> pd.DataFrame:
    n = len(series.y)
    x: object = np.full(n, np.nan) if series.style == "level" else series.x
    if chart.x_names and series.style != "level":
        x = [chart.x_names[int(place)] for place in series.x]
    nothing = np.full(n, np.nan)
    return pd.DataFrame(
        {
            "series": series.label,
            "marker": series.marker,
            "style": series.style,
            "x": x,
            "y": series.y,
            "low": nothing if series.low is None else series.low,
            "high": nothing if series.high is None else series.high,
        }
    )
