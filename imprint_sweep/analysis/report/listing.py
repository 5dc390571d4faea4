"""All results in one table that a page can hold: a row per model, dataset and configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.analysis.artefact import Column, Kind
from imprint_sweep.analysis.data.results import (
    DATASET,
    MODEL,
    SCHEME,
    TASK,
    Results,
    is_baseline,
    parameter_columns,
    scheme_columns,
)
from imprint_sweep.grid.axes import AXES, Stored

ROWS = 50_000
"""About 2 MB of a page. The paper's grid and part of the full one, 500,000 cells, are 40,000 rows."""

_KINDS: dict[Stored, Kind] = {"string": "text", "int32": "count", "int64": "count", "double": "number"}
_OF_AXES = {axis.column: Column(axis.column, axis.name, _KINDS[axis.stored]) for axis in AXES if axis.stored in _KINDS}
COLUMNS = (
    *(_OF_AXES[column] for column in (*MODEL, "task", "merge", "limit")),
    Column("accuracy", "accuracy", "percent", best="highest"),
    Column("kind", "kind", "text"),
    *(_OF_AXES[column] for column in (*SCHEME, "weight_decay", "classes")),
    Column("remaps", "remaps", "count"),
    Column("seeds", "seeds", "count"),
)
"""What a row has, under the names of the command line.

``kind`` is imprinting or baseline; ``classes`` and ``remaps`` say what it is the mean over.
"""


def columns_of(frame: pd.DataFrame) -> tuple[Column, ...]:
    """:data:`COLUMNS`, and behind the gen the parameters of components that a results frame has."""
    place = next(i for i, column in enumerate(COLUMNS) if column.name == "gen") + 1
    own = (Column(name, key, _kind(frame[name])) for name, key in parameter_columns(frame).items())
    return (*COLUMNS[:place], *own, *COLUMNS[place:])


def _kind(column: pd.Series) -> Kind:
    if pd.api.types.is_integer_dtype(column.dtype):
        return "count"
    return "number" if pd.api.types.is_float_dtype(column.dtype) else "text"


@dataclass(frozen=True, eq=False)
class Listing:
    """The results, aggregated.

    Args:
        frame: a row per dataset (as a model sees it) and configuration: the median accuracy over seeds of each task,
            and of these the mean over class selections and remaps. By model and dataset, the most accurate first.
        columns: those of :data:`COLUMNS` that have more than one value.
        constant: (title, value) of the others.
    """

    frame: pd.DataFrame
    columns: tuple[Column, ...]
    constant: tuple[tuple[str, Any], ...]

    def top(self, rows: int = ROWS) -> pd.DataFrame:
        """At most so many rows: the most accurate of each dataset."""
        if len(self.frame) <= rows:
            return self.frame
        groups = self.frame.groupby(list(DATASET), observed=True, dropna=False, sort=False)
        share = rows // groups.ngroups
        # Small groups leave room to the others.
        position, size = groups.cumcount(), groups["accuracy"].transform("size")
        small = size <= share
        large = max(1, int(groups.ngroup()[~small].nunique()))
        share = max(share, (rows - int(small.sum())) // large)
        return self.frame[position < share].head(rows).reset_index(drop=True)


def listing(results: Results) -> Listing:
    """Aggregate results for the page."""
    scheme = [*scheme_columns(results.frame), "weight_decay"]
    columns = columns_of(results.frame)
    tasks = results.frame.groupby([*MODEL, *TASK, *scheme], observed=True, dropna=False, sort=False)["accuracy"]
    rows = tasks.agg(accuracy="median", seeds="size").reset_index()
    keys = [*DATASET, "merge", *scheme]
    groups = rows.groupby(keys, observed=True, dropna=False, sort=False)
    frame = groups.agg(accuracy=("accuracy", "mean"), seeds=("seeds", "min"), remaps=("remap", "nunique")).reset_index()
    frame["remaps"] = frame["remaps"].where(frame["merge"].notna()).astype("Int64")
    frame["kind"] = pd.Categorical(np.where(is_baseline(frame), "baseline", "imprinting"))
    frame["classes"] = pd.Categorical(_classes(rows["classes"], groups.ngroup().to_numpy(), len(frame)))
    frame = frame.sort_values(
        [*DATASET, "accuracy"], ascending=[True] * len(DATASET) + [False], kind="stable", ignore_index=True
    )
    varies = {column.name: frame[column.name].nunique(dropna=False) > 1 for column in columns}
    # That only the least-squares gens have a weight decay is no variation.
    varies |= {"weight_decay": frame["weight_decay"].nunique() > 1, "accuracy": True}
    fixed = [column for column in columns if not varies[column.name] and frame[column.name].notna().all()]
    return Listing(
        frame=frame[[column.name for column in columns]],
        columns=tuple(column for column in columns if varies[column.name]),
        constant=tuple((column.title, frame[column.name].iloc[0]) for column in fixed),
    )


def _classes(classes: pd.Series, group: NDArray[np.integer[Any]], n: int) -> list[str]:
    """For each of n groups, the selections of classes that it has, in words."""
    words = classes.cat.categories
    there = np.zeros((n, len(words)), np.bool_)
    there[group, classes.cat.codes] = True
    distinct, code = np.unique(there, axis=0, return_inverse=True)
    texts = [", ".join(words[row]) for row in distinct]
    return [texts[i] for i in code.ravel().tolist()]
