"""The whole report: every artefact made, written beside the page and shown on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from imprint_sweep.analysis.artefact import Artefact, Options, Table
from imprint_sweep.analysis.artefacts import ARTEFACTS, SECTIONS, make
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.report import files
from imprint_sweep.analysis.report.listing import columns_of, listing
from imprint_sweep.analysis.report.overview import overview
from imprint_sweep.analysis.report.page import Entry, entry, links, page
from imprint_sweep.analysis.report.samples import projections, samples
from imprint_sweep.errors import StoreError

FOLDER = "report"
PAGE = "index.html"
ALL_RESULTS = "results"
"""Folder of the file that holds every row of the page's table of results."""


@dataclass(frozen=True)
class Report:
    """What was written.

    Args:
        page: the file.
        entries: the artefacts on it.
    """

    page: Path
    entries: tuple[Entry, ...]

    @property
    def summary(self) -> str:
        """How much of it is there, in a line."""
        count = Counter(entry.state for entry in self.entries)
        return f"{len(self.entries)} tables and figures: " + ", ".join(
            f"{count[state]} {state}" for state in ("complete", "partial", "empty")
        )


def build(
    results: Results, options: Options, *, command: str, tell: Callable[[str], object] = lambda what: None
) -> Report:
    """Write the report under ``<outputs>/report``.

    Args:
        results: the rows.
        options: how artefacts are made.
        command: what the user typed, for the page.
        tell: told what is being done, a few words each.

    Raises:
        StoreError: it cannot be written.
    """
    root = results.outputs / FOLDER
    entries = []
    for name in ARTEFACTS:
        tell(name)
        artefact = make(name, results, options)
        entries.append(entry(artefact, write(artefact, results.outputs), root))
    tell("all results")
    rows = listing(results)
    table = Table(ALL_RESULTS, "All results", columns_of(rows.frame), rows.frame)
    try:
        folder = artefact_folder(results.outputs, ALL_RESULTS)
        folder.mkdir(parents=True, exist_ok=True)
        listing_files = files.write_table(table, folder, ["csv"])
        tell("the page")
        text = page(
            SECTIONS,
            entries,
            overview=overview(results),
            listing=rows,
            listing_files=links(listing_files, root),
            samples=samples(results, root),
            projections=projections(results, root),
            notes=results.notes,
            command=command,
            made=datetime.now().astimezone(),
        )
        path = files.write_text(root / PAGE, text)
    except OSError as error:
        raise StoreError(f"the report cannot be written to {root}: {error.strerror or error}") from error
    return Report(path, tuple(entries))


def write(artefact: Artefact, outputs: Path) -> list[Path]:
    """Write the files of an artefact to their place.

    Raises:
        StoreError: they cannot be written.
    """
    return files.write(artefact, artefact_folder(outputs, artefact.name))


def artefact_folder(outputs: Path, name: str) -> Path:
    """Where the files of an artefact are."""
    return outputs / FOLDER / "artefacts" / name
