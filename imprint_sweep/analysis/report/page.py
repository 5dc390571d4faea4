"""Artefacts, an overview and all results -> one self-contained HTML page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from imprint_sweep import __version__
from imprint_sweep.analysis import rendering
from imprint_sweep.analysis.artefact import Artefact, Column, Table
from imprint_sweep.analysis.report.elements import Grid, Picture, grid, head, picture
from imprint_sweep.analysis.report.listing import Listing
from imprint_sweep.analysis.report.overview import Overview
from imprint_sweep.analysis.report.samples import Drawn
from imprint_sweep.wording import visible

State = Literal["complete", "partial", "empty"]

HEADLINE = "headline"
"""The section that the page begins with: the answer comes before what was run."""

STATIC_ROWS = 25
"""Rows of the results that are in the page without its script."""

LONG_TABLE = 24
LONG_SECOND_TABLE = 10
"""A longer table has to be opened; a second one of an artefact, such as that of all pairs, sooner."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Link:
    """A file to download: its name and its address relative to the page."""

    name: str
    href: str


@dataclass(frozen=True)
class Entry:
    """An artefact as the template writes it.

    Args:
        name: its anchor.
        section: where it belongs.
        title: its heading.
        short: what links to it say.
        state: whether it is all there.
        finding, caption, basis, missing, command: those of the artefact.
        pictures, tables, files: what it consists of.
    """

    name: str
    section: str
    title: str
    short: str
    state: State
    finding: str
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
    entries: Sequence[Entry],
    *,
    overview: Overview,
    listing: Listing,
    listing_files: Sequence[Link],
    samples: Drawn,
    projections: Drawn,
    notes: Sequence[str],
    command: str,
    made: datetime,
) -> str:
    """The page.

    Args:
        sections: key -> heading, in their order.
        entries: the artefacts, in reading order; a section without any is left out.
        overview: what was run.
        listing: all results.
        listing_files: files that hold all of them.
        samples: contact sheets.
        projections: embeddings in two dimensions.
        notes: sentences on the results as a whole.
        command: what the user typed.
        made: when; aware.
    """
    every = [Section(key, heading, [e for e in entries if e.section == key]) for key, heading in sections.items()]
    shown = [section for section in every if section.entries]
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.get_template("page.html.jinja").render(
        title="Weight imprinting: results",
        lead=f"{overview.about}, computed {_period(overview.first, overview.last)}.",
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        overview=overview,
        tables=[grid(table) for table in overview.tables],
        notes=notes,
        headline=[section for section in shown if section.key == HEADLINE],
        sections=[section for section in shown if section.key != HEADLINE],
        summary=_summary(entries),
        gaps=_gaps(entries),
        samples=samples,
        projections=projections,
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
        section=artefact.section,
        title=artefact.title,
        short=short(artefact.name),
        state="empty" if empty else "partial" if partial else "complete",
        finding=artefact.finding,
        caption=artefact.caption,
        basis=artefact.basis,
        missing=artefact.missing,
        command=artefact.command,
        pictures=[picture(figure, svgs[figure.name]) for figure in artefact.figures],
        tables=[_under(artefact, grid(table), first=i == 0) for i, table in enumerate(artefact.tables)],
        files=links(files, root),
    )


def links(files: Sequence[Path], root: Path) -> list[Link]:
    """Links to files from a page in a folder above them."""
    return [Link(path.name, path.relative_to(root).as_posix()) for path in files]


def short(name: str) -> str:
    """An artefact's name as it is cited.

    >>> short("fig11a"), short("figA6b"), short("tableA2"), short("table1"), short("metricsAll"), short("oracles")
    ('Fig. 11a', 'Fig. A.6b', 'Table A.2', 'Table 1', 'Metrics, all', 'Oracles')
    """
    if name == "k_selection":
        return "Choosing k"
    if found := re.fullmatch(r"(baselines|incremental|oracles|metrics|weightings)(All|\d*)", name):
        return found[1].capitalize() + {"": "", "All": ", all"}.get(found[2], f", k = {found[2]}")
    found = re.fullmatch(r"(fig|table)(A?)(\d+\w*)", name)
    if found is None:
        return name
    kind = {"fig": "Fig.", "table": "Table"}[found[1]]
    return f"{kind} {'A.' if found[2] else ''}{found[3]}"


def _under(artefact: Artefact, table: Grid, *, first: bool) -> Grid:
    """A table as it stands below heading and finding: without what those say already; folded if it is long."""
    said = _below(artefact.title, table.title)
    folded = len(table.rows) > (LONG_TABLE if first else LONG_SECOND_TABLE)
    note = "" if table.note == artefact.finding else table.note
    return replace(table, head=said or ("Table" if folded else ""), note=note, folded=folded)


def _below(heading: str, title: str) -> str:
    """What of a title is not said by the heading above it.

    >>> _below("GENs (Fig. 5)", "GENs (Fig. 5): pairs"), _below("GENs (Fig. 5)", "GENs (Fig. 5)")
    ('Pairs', '')
    """
    rest = title.removeprefix(heading).removeprefix(": ")
    return rest[:1].upper() + rest[1:]


def _period(first: pd.Timestamp, last: pd.Timestamp) -> str:
    days = [f"{time.day} {time:%B %Y}" for time in (first, last)]
    return f"on {days[0]}" if days[0] == days[1] else f"from {days[0]} to {days[1]}"


def _summary(entries: Sequence[Entry]) -> str:
    count = {state: sum(entry.state == state for entry in entries) for state in ("complete", "partial", "empty")}
    if count["complete"] == len(entries):
        return f"Nothing: all {len(entries)} tables and figures stand on complete results."
    return (
        f"Of {len(entries)} tables and figures {count['complete']} stand on complete results, "
        f"{count['partial']} on a part of what they need, {count['empty']} on nothing yet."
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
    # Nothing stands out among rows of several datasets.
    columns = tuple(replace(column, best=None) for column in listing.columns)
    table = grid(Table("results", "All results", columns, shown.head(STATIC_ROWS)))
    return {
        "about": about,
        "constant": [(title, rendering.text_of(value, "text")) for title, value in listing.constant],
        "rows": len(shown),
        "table": replace(table, head="", columns=[head(column) for column in listing.columns], sortable=True),
        "data": data(shown, listing.columns),
        "files": files,
    }


def data(frame: pd.DataFrame, columns: Sequence[Column]) -> dict[str, Any]:
    """Rows for the page's script, a list per column.

    Axes have few values: a column lists them once, ascending and null last, and its rows are places in that list.
    Accuracies are themselves, in percent with two digits.
    """
    heads: list[dict[str, Any]] = []
    rows: list[list[Any]] = []
    for column in columns:
        series = frame[column.name]
        head: dict[str, Any] = {"title": column.title, "kind": column.kind}
        if column.kind == "percent":
            rows.append([None if value != value else value for value in (100 * series).round(2).tolist()])
        else:
            code, values = pd.factorize(series, sort=True)
            head["values"] = [visible(value) if isinstance(value, str) else value for value in values.tolist()]
            if (code < 0).any():
                code = np.where(code < 0, len(values), code)
                head["values"].append(None)
            rows.append(code.tolist())
        heads.append(head)
    return {"columns": heads, "rows": rows}
