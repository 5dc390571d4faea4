"""Compute NC1 of every model and task in the results table from their cached training embeddings (section 3.2)."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

import pandas as pd

from imprint_sweep.analysis.data import results
from imprint_sweep.analysis.data.results import MODEL, TASK
from imprint_sweep.analysis.stats import collapse_table
from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.errors import StageError
from imprint_sweep.grid.cell import Precision
from imprint_sweep.invocation import command, outputs_folder
from imprint_sweep.wording import visible

INCOMPLETE = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: code 1 if a value could not be computed, 2 if no task has results and two labels.
    """
    parser = ArgumentParser(prog=command("collapse"), description=__doc__)
    parser.add_argument("--outputs", metavar="FOLDER", help="the paths.outputs of the runs (default: theirs)")
    given = parse_options(parser, arguments)
    with user_errors():
        found = results.load(outputs_folder(given.outputs))
        if (found.frame["n_labels"] < 2).all():
            raise StageError(
                "NC1 compares classes, and every task in the results table has a single label: run one that has two or "
                "more"
            )
        problems = collapse_table.update(found, tell=lambda line: print(visible(line), flush=True))
        print(visible("\n".join(["", *table(collapse_table.read(found))])))
        for problem in problems:
            print(f"error: {visible(problem)}", file=sys.stderr)
    if problems:
        raise SystemExit(INCOMPLETE)


def table(frame: pd.DataFrame) -> list[str]:
    """Lines of a table of NC1, remaps of "d in 1" tasks averaged over.

    Args:
        frame: as :func:`imprint_sweep.analysis.stats.collapse_table.read` returns it.
    """
    by = [name for name in (*MODEL, *TASK) if name != "remap"]
    groups = frame.groupby(by, observed=True, dropna=False, sort=False)
    shown = groups.agg(
        remaps=("nc1", "count"),
        samples=("n_samples", "mean"),
        own=("nc1", "mean"),
        published=("nc1_published", "mean"),
    ).reset_index()
    for name, digits in (("samples", ",.0f"), ("own", ".4g"), ("published", ".4g")):
        shown[name] = [None if pd.isna(value) else format(value, digits) for value in shown[name]]
    # What tells no row from another is left out: image sizes, limits, half precisions and remaps where there are none.
    shown["precision"] = shown["precision"].where(shown["precision"] != Precision.FLOAT32)
    shown["remaps"] = shown["remaps"].where(shown["merge"].notna()).astype("Int64")
    shown = shown.dropna(axis="columns", how="all")
    shown = shown.rename(columns={"own": "NC1", "published": "NC1 (published centring)"}).astype(object)
    return shown.where(shown.notna(), "-").to_string(index=False).splitlines()


if __name__ == "__main__":
    main()
