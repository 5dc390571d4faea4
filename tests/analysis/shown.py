"""What an artefact shows, for comparison."""

from __future__ import annotations

from imprint_sweep.analysis.artefact import Artefact, Chart, Series, Table


def chart_of(artefact: Artefact, name: str | None = None) -> Chart:
    (found,) = (figure for figure in artefact.figures if figure.name == (name or artefact.name))
    assert isinstance(found, Chart)
    return found


def table_of(artefact: Artefact, name: str | None = None) -> Table:
    (found,) = (table for table in artefact.tables if table.name == (name or artefact.name))
    return found


def lines(chart: Chart, panel: int = 0) -> dict[str, Series]:
    return {series.label: series for series in chart.panels[panel].series}


def rows(table: Table) -> list[list[object]]:
    """What a table shows, nulls as None."""
    shown = table.frame[[column.name for column in table.columns]].astype(object)
    return [[None if value is None or value != value else value for value in row] for row in
            shown.where(shown.notna(), None).values.tolist()]  # fmt: skip
