"""What the analysis hands on: artefacts of tables and figures that hold numbers, and nothing that draws.

An :class:`Artefact` is one table or figure of the paper, made from a results table. Its tables and figures are data:
`imprint_sweep.analysis.rendering` writes tables, `imprint_sweep.analysis.plots` draws figures, the report shows both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """How artefacts are made.

    Args:
        published: do as the paper's published diagrams do where this project decided otherwise: pairs with identical
            results count as significantly different (no bar joins them; Holm's K counts them all the same), the ranks
            of a diagram count ties densely (1, 1, 2) instead of on average (1.5, 1.5, 3), and the p-value of a pair
            with a tie is the normal approximation.
        alpha: level of Friedman's test and of the pairwise tests together.
        seeds: over which medians are taken; None for the paper's, or those that there are if there are none of these.
        nc_centering: ``"own"`` centres each class on its own mean, as NC1 is defined; ``"published"`` as the paper's
            figures do (method, section 9).
    """

    published: bool = False
    alpha: float = 0.05
    seeds: tuple[int, ...] | None = None
    nc_centering: Literal["own", "published"] = "own"


Kind = Literal["text", "count", "percent", "rank", "p", "seconds", "number"]
"""How a column is written: percent takes shares (0.9106 -> 91.06), p knows 7.1e-15, rank has two digits."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: of the frame's column.
        title: its head.
        kind: how its values are written.
        best: whether the highest or the lowest value stands out, None where no value is better.
    """

    name: str
    title: str
    kind: Kind = "text"
    best: Literal["highest", "lowest"] | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """A table as data.

    Args:
        name: file stem, for example ``"fig5"``.
        title: one line.
        columns: what is shown, in this order.
        frame: one row per row; may hold more columns than are shown. Missing values are shown as a dash.
        note: a sentence below it, empty for none.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    note: str = ""


@dataclass(frozen=True, eq=False)
class RankDiagram:
    """A critical-difference diagram: average ranks on an axis, rank 1 on the right, bars over cliques.

    Made only where Friedman's test rejected; otherwise the artefact has its table and a sentence saying so.

    Args:
        name: file stem.
        title: one line.
        labels: (k,) what is compared.
        ranks: (k,) float64 average ranks, 1 = best.
        cliques: maximal groups (two or more positions in `labels`) that do not differ significantly.
        colours: (k,) what each is coloured as, see :attr:`Series.colour`; None for all in ink.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    ranks: Floats
    cliques: tuple[tuple[int, ...], ...]
    colours: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Series:
    """One line, or one group of points, of a panel.

    Args:
        label: as the legend shows it.
        x, y: (n,) float64, x ascending for lines.
        low, high: (n,) float64 ends of a band around y, or None; the caption says what it is.
        style: ``"solid"``, ``"dashed"``, ``"points"``, ``"hollow"`` (a hollow point), or ``"level"`` (one y, drawn as
            a dashed horizontal line across the panel; x is ignored).
        colour: what decides its colour, the same in every figure: ``"gen:kmeans"``, ``"model:resnet18"``,
            ``"dataset:mnist"``, or ``"order:3/10"`` for place 3 of 10 on a sequential scale. Empty for ink.
        marker: of ``"points"``: what decides their shape, as the legend shows it, where the colour says one thing and
            the shape another (Fig. 12: foundation model and dataset). The legend then lists labels by colour and
            markers by shape, each once. Empty: the shape goes with the colour.
    """

    label: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    style: Literal["solid", "dashed", "points", "hollow", "level"] = "solid"
    colour: str = ""
    marker: str = ""


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    Args:
        title: above it, empty for none.
        series: what it shows.
        reference: y of a thin dashed reference line, or None (Fig. 11a: NC1 = 1).
    """

    title: str
    series: tuple[Series, ...]
    reference: float | None = None


@dataclass(frozen=True, eq=False)
class Chart:
    """Curves or points in one or several panels, all with the same axes.

    Numbers are drawn as they come: accuracies in percent, with a label that says so.

    Args:
        name: file stem.
        title: one line.
        panels: in reading order.
        x_label, y_label: of the axes, with units.
        x_scale, y_scale: ``symlog`` is linear below 1.
        columns: panels in a row of the grid.
        note: written into the figure (the fit of Fig. 12), empty for none.
        fit: (slope, intercept) of a line y = slope log10(x) + intercept through all points, or None.
        x_names: names of x = 0, 1, 2, ... where x is no number (Fig. 11a: datasets), empty where it is.
        share_y: whether all panels have one range of y, or each row of the grid its own (Fig. A.4: a row per dataset).
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    x_label: str
    y_label: str
    x_scale: Literal["linear", "log"] = "linear"
    y_scale: Literal["linear", "log", "symlog"] = "linear"
    columns: int = 1
    note: str = ""
    fit: tuple[float, float] | None = None
    x_names: tuple[str, ...] = ()
    share_y: Literal["all", "row"] = "all"


@dataclass(frozen=True, eq=False)
class Projection:
    """Embeddings in two dimensions: samples, the mean of each label, and its proxies.

    Args:
        name: file stem.
        title: one line.
        labels: (C,) names of the labels.
        samples: of each label (n_c, 2) float64.
        means: (C, 2) float64.
        proxies: of each label (k_c, 2) float64.
        proxies_name: what the proxies are, for the legend.
        shares: of the variance of the samples that the two axes hold.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    samples: tuple[Floats, ...]
    means: Floats
    proxies: tuple[Floats, ...]
    proxies_name: str
    shares: tuple[float, float]


Figure = RankDiagram | Chart | Projection


@dataclass(frozen=True, eq=False)
class Artefact:
    """One table or figure of the paper, from one results table.

    Args:
        name: ``"fig2"``, ``"table1"``, ``"figA4"``, ...: a key of :data:`imprint_sweep.analysis.artefacts.ARTEFACTS`.
        title: one line.
        section: the section of the report that it belongs to, a key of
            :data:`imprint_sweep.analysis.artefacts.SECTIONS`.
        caption: what it shows and how it was aggregated, in sentences.
        basis: on what it stands, a sentence with counts: instances, configurations, seeds.
        missing: what is missing or was set aside, a sentence each; empty if nothing is.
        command: the command that computes what is missing, None if nothing is or nothing can.
        tables, figures: what it consists of. Empty only where nothing of it can be shown; then `missing` says why.
        finding: what a comparison says, in sentences (the note of its first table says the same); empty elsewhere.
    """

    name: str
    title: str
    section: str
    caption: str
    basis: str
    missing: tuple[str, ...] = ()
    command: str | None = None
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = field(default=())
    finding: str = ""
