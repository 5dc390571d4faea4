"""What was run: counts, the values on every axis, models and datasets with their embeddings, where rows come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from imprint_sweep.analysis.artefact import Column, Table
from imprint_sweep.analysis.data.results import MODEL, TASK, Results, scheme_columns
from imprint_sweep.analysis.data.subset import axes_of
from imprint_sweep.store.parts import read_parts
from imprint_sweep.wording import counted, named

SHOWN_WORDS = 30
COMMIT_DIGITS = 12


@dataclass(frozen=True, eq=False)
class Overview:
    """What stands behind a report.

    Args:
        about: how many cells of what, for a sentence.
        facts: (what, how many) in reading order.
        first, last: when the first and the last row were finished, UTC.
        tables: of the axes, of the instances and of the rows' origin.
    """

    about: str
    facts: tuple[tuple[str, int], ...]
    first: pd.Timestamp
    last: pd.Timestamp
    tables: tuple[Table, ...]


def overview(results: Results) -> Overview:
    """Describe a results table.

    Raises:
        StoreError: the table cannot be read.
    """
    frame = results.frame

    def distinct(columns: Sequence[str]) -> int:
        return len(frame[list(columns)].drop_duplicates())

    rows = len(read_parts(results.outputs / "results", ["cell_id"]).table)
    counts = {
        "cell": len(frame),
        "computation": int(frame["computation_id"].nunique()),
        "model": distinct(MODEL),
        "dataset": int(frame["task"].nunique()),
        "task": distinct(TASK),
        "configuration": distinct(scheme_columns(frame)),
        "seed": int(frame["seed"].nunique()),
    }
    facts = ((f"{named(rows, 'row')} in the table", rows), *((named(n, thing), n) for thing, n in counts.items()))
    cells, models, tasks = (counted(counts[thing], thing) for thing in ("cell", "model", "task"))
    finished = frame["finished_at"]
    tables = (_axes(frame), _instances(frame), _origin(frame))
    return Overview(f"{cells} of {models} on {tasks}", facts, finished.min(), finished.max(), tables)


def _axes(frame: pd.DataFrame) -> Table:
    values = {axis: frame[column].drop_duplicates() for axis, column in axes_of(frame).items()}
    swept = [axis for axis, column in values.items() if len(column) > 1]
    shown = pd.DataFrame(
        {
            "axis": swept,
            "distinct": [len(values[axis]) for axis in swept],
            "values": [listed(values[axis]) for axis in swept],
        }
    )
    columns = (Column("axis", "axis"), Column("distinct", "values", "count"), Column("values", "which"))
    fixed = ", ".join(f"{axis} = {listed(column)}" for axis, column in values.items() if len(column) == 1)
    note = f"The same in every row: {fixed}." if fixed else ""
    return Table("axes", "The grid: the values that occur on each axis", columns, shown, note)


def _instances(frame: pd.DataFrame) -> Table:
    groups = frame.groupby([*MODEL, "task", "limit"], observed=True, dropna=False, sort=True)
    rows = groups.agg(cells=("cell_id", "size"), n_test=("n_test", "max")).reset_index()
    for column in ("classes", "merge", "fingerprint"):
        distinct = frame[[*MODEL, "task", "limit", column]].drop_duplicates()
        texts = distinct.groupby([*MODEL, "task", "limit"], observed=True, dropna=False, sort=True)[column]
        rows[column] = [listed(values) for _, values in texts]
    # What never differs stands in the note of the axes.
    optional = ("weights", "image_size", "precision", "merge", "limit")
    columns = (
        Column("model", "model"),
        Column("weights", "weights"),
        Column("image_size", "image size", "count"),
        Column("precision", "precision"),
        Column("task", "dataset"),
        Column("classes", "classes"),
        Column("merge", "classes per label"),
        Column("limit", "limit", "count"),
        Column("n_test", "test samples", "count"),
        Column("cells", "cells", "count"),
        Column("fingerprint", "embeddings"),
    )
    shown = tuple(c for c in columns if c.name not in optional or frame[c.name].nunique(dropna=False) > 1)
    note = "Test samples are those of the largest selection of classes; embeddings are named by their fingerprint."
    return Table("instances", "Models and datasets", shown, rows, note)


def _origin(frame: pd.DataFrame) -> Table:
    keys = ["package_version", "method_version", "git_commit", "host"]
    groups = frame.groupby(keys, observed=True, dropna=False, sort=False)
    rows = groups.agg(cells=("cell_id", "size"), first=("finished_at", "min"), last=("finished_at", "max"))
    rows = rows.reset_index().sort_values("last", ascending=False, ignore_index=True)
    for column in ("first", "last"):
        rows[column] = rows[column].dt.strftime("%Y-%m-%d %H:%M")
    rows["git_commit"] = rows["git_commit"].astype(object).map(_abbreviated, na_action="ignore")
    columns = (
        Column("package_version", "package"),
        Column("method_version", "method", "count"),
        Column("git_commit", "git commit"),
        Column("host", "host"),
        Column("cells", "cells", "count"),
        Column("first", "first row (UTC)"),
        Column("last", "last row (UTC)"),
    )
    return Table("origin", "Where the rows come from", columns, rows)


def _abbreviated(commit: str) -> str:
    digits, dirty, _ = commit.partition("-dirty")
    return digits[:COMMIT_DIGITS] + dirty


def listed(values: pd.Series) -> str:
    """Distinct values in a line: sorted, runs of whole numbers as ranges, null last.

    >>> listed(pd.Series([3, 1, 2, 20, None], dtype="Int64"))
    '1–3, 20, null'
    >>> listed(pd.Series(["odd", "even"]))
    'even, odd'
    """
    present = values.dropna()
    if pd.api.types.is_float_dtype(present.dtype):
        words = [f"{value:g}" for value in sorted(present)]
    elif pd.api.types.is_numeric_dtype(present.dtype):
        words = _ranges(sorted(int(value) for value in present))
    else:
        words = sorted(map(str, present))
    if len(words) > SHOWN_WORDS:
        words = [*words[:SHOWN_WORDS], f"and {len(words) - SHOWN_WORDS:,} more"]
    if len(present) < len(values):
        words = [*words, "null"]
    return ", ".join(words)


def _ranges(numbers: Sequence[int]) -> list[str]:
    """Ascending whole numbers, three or more in a row as a range."""
    ends = [i for i, (a, b) in enumerate(pairwise(numbers)) if b != a + 1]
    runs = [numbers[start + 1 : end + 1] for start, end in pairwise([-1, *ends, len(numbers) - 1])]
    return [
        word for run in runs for word in ([f"{run[0]}–{run[-1]}"] if len(run) > 2 else [str(number) for number in run])
    ]
