"""Rows of points -> the lines, panels and tables of curves."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from imprint_sweep.analysis.artefact import Chart, Column, Floats, Panel, Series, Table
from imprint_sweep.analysis.stats.curves import FM, spread

Head = tuple[Any, ...]
"""The values that make a group, a panel or a line."""

ACCURACY = "Accuracy (%)"


def groups(table: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[Head, pd.DataFrame]]:
    """The rows of each group with its values, sorted; rows where one is null belong to none."""
    for head, rows in table.groupby(list(by), observed=True, sort=True):
        assert isinstance(head, tuple)
        yield head, rows


def percent(shares: pd.Series[float]) -> Floats:
    """Shares in percent."""
    return 100.0 * np.asarray(shares, np.float64)


def series(
    label: str,
    rows: pd.DataFrame,
    x: str,
    y: str,
    colour: str,
    style: Literal["solid", "dashed", "hollow"] = "solid",
    half: str | None = None,
) -> Series:
    """A line through rows, shares as percent.

    Args:
        label, colour, style: of the series.
        rows: one a point.
        x, y: their columns.
        half: the column with what is drawn to either side of y, NaN where there is nothing.
    """
    ordered = rows.sort_values(x)
    at, shares = ordered[x].to_numpy(np.float64), percent(ordered[y])
    if half is None or ordered[half].isna().all():
        return Series(label, at, shares, style=style, colour=colour)
    around = percent(ordered[half].fillna(0))
    return Series(label, at, shares, shares - around, shares + around, style, colour)


def grid(
    name: str,
    title: str,
    panels: Mapping[Head, Sequence[Series]],
    x_label: str,
    x_scale: Literal["linear", "log"] = "linear",
) -> Chart:
    """Panels of models and datasets: a row per dataset where every model has all of them, else one after the other."""
    models, tasks = ({head[place]: None for head in panels} for place in (0, 1))
    complete = 1 < len(models) <= 4 and len(panels) == len(models) * len(tasks)
    order = sorted(panels, key=lambda head: (head[1], head[0])) if complete else list(panels)
    return Chart(
        name,
        title,
        tuple(Panel(f"{fm} on {task}", tuple(panels[fm, task])) for fm, task in order),
        x_label,
        ACCURACY,
        x_scale,
        columns=len(models) if complete else min(3, len(panels)),
        share_y="row" if complete else "all",
    )


def beside(
    ours: pd.DataFrame,
    stated: pd.DataFrame | None,
    by: Sequence[str],
    values: Sequence[object],
    papers: Mapping[str, str],
) -> pd.DataFrame:
    """Lines as rows, each of the paper's below ours where it states them for that very model and dataset.

    Args:
        ours: one row a point: the columns of `by`, :data:`FM` among them, ``k`` and ``accuracy`` (a share).
        stated: the paper's: ``model`` in place of :data:`FM`, and percent; None if it states nothing.
        by: columns that make a line.
        values: of k.
        papers: our name of a model -> the paper's.

    Returns:
        As :func:`~imprint_sweep.analysis.stats.curves.spread` makes it, with ``source``: ``"ours"`` or ``"paper"``.
    """
    rows = [ours.assign(source="ours")]
    if stated is not None:
        named = pd.DataFrame({FM: list(papers), "model": list(papers.values())})
        lines = ours[list(by)].drop_duplicates()
        paper = stated.merge(named, on="model").merge(lines, on=list(by))
        rows.append(paper.assign(source="paper", accuracy=paper["accuracy"] / 100))
    by = [*by, "source"]
    together = pd.concat(rows, ignore_index=True).sort_values(by, kind="stable")
    return spread(together, by, "k", values, "accuracy")


def stated_over_d(table: pd.DataFrame, stated: Mapping[str, Sequence[float]], papers: Mapping[str, str]) -> Floats:
    """What the paper states for each row of a table over d, NaN where it states nothing: it has ImageNet's classes.

    Args:
        table: with :data:`FM`, ``task`` and ``merge``.
        stated: the paper's model -> its values for d = 1, 2, ...
        papers: our name of a model -> the paper's.
    """
    known = {(fm, d): value for fm in papers for d, value in enumerate(stated.get(papers[fm], []), start=1)}
    rows = table[[FM, "task", "merge"]].itertuples(index=False)
    return np.array([known.get((fm, d), np.nan) if task == "imagenet" else np.nan for fm, task, d in rows], np.float64)


def wide(
    name: str, title: str, frame: pd.DataFrame, heads: Sequence[Column], values: Sequence[Hashable], note: str
) -> Table:
    """The table of such lines, with a column per k in percent; who states a line is shown where the paper states one.

    Args:
        name, title, note: of the table.
        frame: as :func:`beside` makes it.
        heads: columns that make a line.
        values: of k.
    """
    columns = [*heads, *([Column("source", "by")] if (frame["source"] == "paper").any() else [])]
    columns += [Column(f"k={k}", f"k = {k}", "percent") for k in values]
    return Table(name, title, tuple(columns), frame, f"Accuracy in percent. {note}")
