"""Show a cell of the results table and the command that computes it; with --check, compute it and compare."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imprint_sweep import engine
from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.config.overrides_of import cell_of, overrides_of
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.errors import EmbeddingsError, ImprintError, StoreError
from imprint_sweep.grid.cell import Cell
from imprint_sweep.grid.outcome import OK
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.invocation import MAIN, command, outputs_folder, shell_line
from imprint_sweep.planning.plan import Plan, look_up
from imprint_sweep.running.resources import available_cores
from imprint_sweep.running.work import find_work, outcomes_of
from imprint_sweep.store import history, is_present, table_schema
from imprint_sweep.wording import visible

Row = dict[str, Any]
DIFFERENT = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: code 1 if --check gives another result, 2 if there is no such cell.
    """
    parser = ArgumentParser(prog=command("cell"), description=__doc__)
    parser.add_argument("cell", metavar="CELL_ID", help="a cell id, or as many of its first digits as make it unique")
    parser.add_argument("--all", action="store_true", help="every row of the cell, failed and outdated ones too")
    parser.add_argument("--check", action="store_true", help="compute the cell and compare n_correct; adds no row")
    parser.add_argument("--outputs", metavar="DIR", help="the paths.outputs of the runs (default: theirs)")
    given = parse_options(parser, arguments)
    with user_errors():
        outputs = outputs_folder(given.outputs)
        rows = history(outputs / "results", given.cell)
        if rows[0]["gen"] not in GENS and not given.check:
            _show(rows if given.all else rows[:1])
            print(f"note: {visible(str(GENS.unknown(rows[0]['gen'])))}; its package is not installed here")
            return
        cell = cell_of(rows[0])
        present = _present(cell, outputs)
        # Stable: the newest of what the present embeddings gave come first, hence the row that --check compares.
        rows.sort(key=lambda row: is_present(row, cell, present), reverse=True)
        _show(rows if given.all else rows[:1])
        if present and rows[0]["status"] == OK and not is_present(rows[0], cell, present):
            print("note: a row of other embeddings, or of another version of the method, than the present ones")
        try:
            print(f"reproduce it with:\n{visible(shell_line(MAIN, overrides_of(cell, outputs)))}")
        except ImprintError as error:
            print(f"note: {visible(str(error))}")
        if given.check:
            _check(cell, rows, outputs)


def _present(cell: Cell, outputs: Path) -> str:
    """The fingerprint of the cell's present embeddings, empty where they are missing or damaged."""
    try:
        fingerprint: bytes = look_up(Plan.of_cells([cell]), EmbeddingCache(outputs / "embeddings")).fingerprint[0]
    except EmbeddingsError:
        return ""
    return fingerprint.decode()


def _show(rows: Sequence[Row]) -> None:
    for row in rows:
        print(visible("\n".join([*_lines(row), ""])))


def _lines(row: Row) -> list[str]:
    """A row, a column per line, without what is null."""
    width = max(map(len, table_schema().names))
    return [f"{name:<{width}}  {_shown(row[name])}" for name in table_schema().names if row[name] is not None]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_shown(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _check(cell: Cell, rows: Sequence[Row], outputs: Path) -> None:
    """Compute the cell from nothing but its embeddings and compare with the newest good row of the same embeddings."""
    settings = Settings(outputs=outputs, data=outputs / "data")
    work = find_work(Plan.of_cells([cell]), settings, since=datetime.now(UTC))  # no row counts
    *_, outcome = outcomes_of(work, settings.cache, engine.EngineSettings(threads=available_cores()))
    if outcome.status != OK:
        raise StoreError(f"the cell cannot be computed: {outcome.error}")
    comparable = [row for row in rows if is_present(row, cell, outcome.fingerprint)]
    if not comparable:
        raise StoreError(
            f"there is no good row to compare with: n_correct={outcome.n_correct} now, from embeddings "
            f"{outcome.fingerprint} by the present versions of method and components, of which no row is"
        )
    before = comparable[0]["n_correct"]
    if before != outcome.n_correct:
        print(f"DIFFERENT: n_correct={outcome.n_correct} of {outcome.n_test} now, the table has {before}")
        raise SystemExit(DIFFERENT)
    print(f"checked: computed again, n_correct={outcome.n_correct} of {outcome.n_test} as in the table")


if __name__ == "__main__":
    main()
