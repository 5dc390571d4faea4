"""Artefacts, an overview and all results -> one self-contained HTML page."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from imprint_sweep import __version__
from imprint_sweep.analysis import rendering
from imprint_sweep.analysis.artefact import Artefact, Chart, Column, Figure, Table
from imprint_sweep.analysis.report.listing import Listing
from imprint_sweep.analysis.report.overview import Overview

State = Literal["complete", "partial", "empty"]

STATIC_ROWS = 25
"""Rows of the results that are in the page without its script."""

SORTABLE_ROWS = 3
LONG = 48
"""Texts longer than so many characters break into lines."""

CHOICES = range(2, 31)
"""A column with so many values can be chosen from; with others one searches."""

_HERE = Path(__file__).parent
_POINTS = re.compile(r'<svg[^>]*\bwidth="([\d.]+)pt"[^>]*\bheight="([\d.]+)pt"|<svg[^>]*\bheight="([\d.]+)pt"[^>]*\bwidth="([\d.]+)pt"')


@dataclass(frozen=True)
class Link:
    """A file to download: its name and its address relative to the page."""

    name: str
    href: str


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: the SVG as a data address, in CSS pixels, and what it shows in words."""

    title: str
    source: str
    alt: str
    width: int
    height: int


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
    """A table as the template writes it."""

    name: str
    title: str
    note: str
    columns: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    sortable: bool


@dataclass(frozen=True)
class Entry:
    """An artefact as the template writes it.

    Args:
        name: its anchor.
        title: its heading.
        short: what links to it say.
        state: whether it is all there.
        caption, basis, missing, command: those of the artefact.
        pictures, tables, files: what it consists of.
    """

    name: str
    title: str
    short: str
    state: State
    caption: str
    basis: str
    missing: Sequence[str]
    command: str | None
    pictures: Sequence[Picture]
    tables: Sequence[Grid]
    files: Sequence[Link]


@dataclass(frozen=True)
class Section:
    """A section and its artefacts."""

    key: str
    heading: str
    entries: Sequence[Entry]


def page(
    sections: Mapping[str, str],
    entries: Mapping[str, Sequence[Entry]],
    *,
    overview: Overview,
    listing: Listing,
    listing_files: Sequence[Link],
    notes: Sequence[str],
    command: str,
    made: datetime,
) -> str:
    """The page.

    Args:
        sections: key -> heading, in their order.
        entries: key of a section -> its artefacts.
        overview: what was run.
        listing: all results.
        listing_files: files that hold all of them.
        notes: sentences on the results as a whole.
        command: what the user typed.
        made: when; aware.
    """
    shown = [Section(key, heading, entries[key]) for key, heading in sections.items() if entries.get(key)]
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    facts = dict(overview.facts)
    return environment.get_template("page.html.jinja").render(
        title="Weight imprinting: results",
        lead=f"{_counted(facts['cells'], 'cell')} of {_counted(facts['models'], 'model')} on "
        f"{_counted(facts['tasks'], 'task')}, computed {_period(overview.first, overview.last)}.",
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        overview=overview,
        tables=[grid(table) for table in overview.tables],
        notes=notes,
        sections=shown,
        summary=_summary([entry for section in shown for entry in section.entries]),
        gaps=_gaps([entry for section in shown for entry in section.entries]),
        listing=_listing(listing, listing_files),
        command=command,
        version=__version__,
        made=f"{made:%Y-%m-%d %H:%M %Z}",
    )


def entry(artefact: Artefact, files: Sequence[Path], root: Path) -> Entry:
    """An artefact for the page.

    Args:
        artefact: what.
        files: what was written of it; the page shows the SVGs among them.
        root: the folder of the page.
    """
    svgs = {path.stem: path.read_text(encoding="utf-8") for path in files if path.suffix == ".svg"}
    empty = not artefact.tables and not artefact.figures
    partial = bool(artefact.missing or artefact.command)
    return Entry(
        name=artefact.name,
        title=artefact.title,
        short=short(artefact.name),
        state="empty" if empty else "partial" if partial else "complete",
        caption=artefact.caption,
        basis=artefact.basis,
        missing=artefact.missing,
        command=artefact.command,
        pictures=[picture(figure, svgs[figure.name]) for figure in artefact.figures],
        tables=[grid(table) for table in artefact.tables],
        files=links(files, root),
    )


def links(files: Sequence[Path], root: Path) -> list[Link]:
    """Links to files from a page in a folder above them."""
    return [Link(path.name, path.relative_to(root).as_posix()) for path in files]


def short(name: str) -> str:
    """An artefact's name as it is cited.

    >>> short("fig11a"), short("figA6b"), short("tableA2"), short("table1")
    ('Fig. 11a', 'Fig. A.6b', 'Table A.2', 'Table 1')
    """
    found = re.fullmatch(r"(fig|table)(A?)(\d+\w*)", name)
    if found is None:
        return name
    kind = {"fig": "Fig.", "table": "Table"}[found[1]]
    return f"{kind} {'A.' if found[2] else ''}{found[3]}"


def picture(figure: Figure, svg: str) -> Picture:
    """A figure for the page.

    Embedded as an image and not inline: matplotlib's ids and style rules would collide with those of the other figures.
    """
    found = _POINTS.search(svg)
    width, height = (float(size) * 4 / 3 for size in filter(None, found.groups())) if found else (640.0, 400.0)
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return Picture(figure.title, source, described(figure), round(width), round(height))


def described(figure: Figure) -> str:
    """A figure in words, for those who do not see it."""
    if isinstance(figure, Chart):
        panels = [
            f"{panel.title + ': ' if panel.title else ''}{', '.join(dict.fromkeys(s.label for s in panel.series if s.label))}"
            for panel in figure.panels
        ]
        parts = [f"{figure.title}. {figure.y_label} over {figure.x_label}.", "; ".join(filter(None, panels)), figure.note]
        return " ".join(part for part in parts if part)
    order = np.argsort(figure.ranks, kind="stable")
    ranks = ", ".join(f"{figure.labels[i]} {figure.ranks[i]:.2f}" for i in order)
    bars = "; ".join(", ".join(figure.labels[i] for i in clique) for clique in figure.cliques)
    return f"{figure.title}. Average ranks: {ranks}. " + (
        f"Not significantly different: {bars}." if bars else "All pairs differ significantly."
    )


def grid(table: Table) -> Grid:
    """A table for the page."""
    values = [table.frame[column.name].tolist() for column in table.columns]
    marks = rendering.best(table)
    rows = [
        [_cell(values[c][r], text, column, bool(marks[r, c])) for c, (text, column) in enumerate(zip(row, table.columns, strict=True))]
        for r, row in enumerate(rendering.texts(table))
    ]
    return Grid(
        table.name, table.title, table.note, [_head(c) for c in table.columns], rows, len(rows) >= SORTABLE_ROWS
    )


def _head(column: Column) -> Head:
    return Head(column.title, rendering.is_number(column), column.best == "highest")


def _cell(value: Any, text: str, column: Column, best: bool) -> Cell:
    number = rendering.is_number(column)
    missing = value is None or value is pd.NA or value != value
    return Cell(text, None if missing or not number else float(value), number, best, len(text) > LONG)


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _period(first: pd.Timestamp, last: pd.Timestamp) -> str:
    days = [f"{time.day} {time:%B %Y}" for time in (first, last)]
    return f"on {days[0]}" if days[0] == days[1] else f"from {days[0]} to {days[1]}"


def _summary(entries: Sequence[Entry]) -> str:
    count = {state: sum(entry.state == state for entry in entries) for state in ("complete", "partial", "empty")}
    if count["complete"] == len(entries):
        return f"Nothing: all {len(entries)} tables and figures of the paper stand on complete results."
    return (
        f"Of the paper's {len(entries)} tables and figures, {count['complete']} stand on complete results, "
        f"{count['partial']} on a part of them, and {count['empty']} cannot be shown yet."
    )


def _gaps(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Each command that would fill something, with what it fills."""
    commands = dict.fromkeys(entry.command for entry in entries if entry.command)
    return [
        {"command": command, "entries": [entry for entry in entries if entry.command == command]}
        for command in commands
    ]


def _listing(listing: Listing, files: Sequence[Link]) -> dict[str, Any]:
    shown = listing.top()
    total = len(listing.frame)
    about = (
        "One row per model, dataset and configuration: the median accuracy over the seeds of each task, and of these "
        "the mean over the selections of classes (and remaps) that task.classes names; seeds counts those of the task "
        "that has the fewest."
    )
    if len(shown) < total:
        about += (
            f" The page holds the {len(shown):,} most accurate of {total:,} rows, the same share of each dataset; the "
            "file has them all."
        )
    static = Table("results", "All results", listing.columns, shown.head(STATIC_ROWS))
    table = grid(static)
    return {
        "about": about,
        "constant": [(title, rendering.text_of(value, "text")) for title, value in listing.constant],
        "rows": len(shown),
        "table": Grid(table.name, table.title, "", table.columns, table.rows, sortable=True),
        "data": data(shown, listing.columns),
        "files": files,
    }


def data(frame: pd.DataFrame, columns: Sequence[Column]) -> dict[str, Any]:
    """Rows for the page's script: a list per column, words as places in a list of words, percent with two digits."""
    heads, values = [], []
    for column in columns:
        series = frame[column.name]
        head: dict[str, Any] = {"title": column.title, "kind": column.kind}
        if column.kind == "text":
            code, words = pd.factorize(series, sort=True)
            head["words"] = [str(word) for word in words]
            numbers = pd.Series(code).astype("Int64").mask(code < 0)
        else:
            numbers = (100 * series).round(2) if column.kind == "percent" else series
        values.append([None if value is pd.NA or value != value else value for value in numbers.tolist()])
        present = series.drop_duplicates()
        if len(present) in CHOICES and column.kind != "percent":
            choices = sorted(present.dropna().tolist())
            head["choices"] = [*choices, None] if present.isna().any() else choices
        heads.append(head)
    return {"columns": heads, "data": values}
