"""Tables and figures as the template of the page writes them: texts, and what the page does with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from imprint_sweep.analysis import rendering
from imprint_sweep.analysis.artefact import Chart, Column, Figure, Projection, Table

PIXELS_PER_POINT = 1.7
"""A figure is made for paper; a screen is read from farther away."""

SORTABLE_ROWS = 3
LONG = 48
"""Texts longer than so many characters break into lines."""

_VIEW_BOX = re.compile(r'<svg[^>]*\bviewBox="0 0 ([\d.]+) [\d.]+"')


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: an SVG to be inlined, its width in CSS pixels, and what it shows in words."""

    title: str
    svg: Markup
    alt: str
    width: int


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and the number that it is sorted by."""

    text: str
    value: float | None
    number: bool
    best: bool
    long: bool


@dataclass(frozen=True)
class Head:
    """The head of one column; a click sorts it with the best on top."""

    title: str
    number: bool
    descending: bool


@dataclass(frozen=True)
class Grid:
    """A table as the template writes it; `head` is what stands above it, empty where a heading says the same."""

    title: str
    head: str
    note: str
    columns: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    sortable: bool
    folded: bool = False


def picture(figure: Figure, svg: str) -> Picture:
    """A figure for the page. Its texts are texts of the page, which can be found and copied."""
    found = _VIEW_BOX.search(svg)
    assert found, f"the SVG of {figure.name} has no size"
    return Picture(figure.title, Markup(svg), described(figure), round(float(found[1]) * PIXELS_PER_POINT))


def described(figure: Figure) -> str:
    """A figure in words, for those who do not see it."""
    if isinstance(figure, Chart):
        parts = [f"{figure.title}. {figure.y_label} over {figure.x_label}."]
        for panel in figure.panels:
            labels = ", ".join(dict.fromkeys(series.label for series in panel.series if series.label))
            parts.append(": ".join(filter(None, (panel.title, labels))))
        return " ".join(filter(None, (*parts, figure.note)))
    if isinstance(figure, Projection):
        return (
            f"{figure.title}. Samples, means and {figure.proxies_name} of {', '.join(figure.labels)} in two dimensions."
        )
    order = np.argsort(figure.ranks, kind="stable")
    ranks = ", ".join(f"{figure.labels[i]} {figure.ranks[i]:.2f}" for i in order)
    bars = "; ".join(", ".join(figure.labels[i] for i in clique) for clique in figure.cliques)
    return f"{figure.title}. Average ranks: {ranks}. " + (
        f"Not significantly different: {bars}." if bars else "All pairs differ significantly."
    )


def grid(table: Table) -> Grid:
    """A table for the page."""
    values = zip(*(table.frame[column.name].tolist() for column in table.columns), strict=True)
    rows = [
        [_cell(*cell) for cell in zip(*row, table.columns, strict=True)]
        for row in zip(values, rendering.texts(table), rendering.best(table).tolist(), strict=True)
    ]
    return Grid(
        title=table.title,
        head=table.title,
        note=table.note,
        columns=[head(column) for column in table.columns],
        rows=rows,
        sortable=len(rows) >= SORTABLE_ROWS,
    )


def head(column: Column) -> Head:
    """The head of a column."""
    return Head(column.title, rendering.is_number(column), column.best == "highest")


def _cell(value: Any, text: str, best: bool, column: Column) -> Cell:
    number = rendering.is_number(column)
    missing = value is None or value is pd.NA or value != value
    # JavaScript would read infinity as no number.
    by = None if missing or not number else float(np.nan_to_num(float(value)))
    return Cell(text, by, number, best, len(text) > LONG)
