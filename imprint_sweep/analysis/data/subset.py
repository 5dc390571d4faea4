"""A part of the results, chosen by a condition over the axes of the command line: ``gen == kmeans and k <= 5``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.analysis.data.results import Results, parameter_columns
from imprint_sweep.errors import ConfigError
from imprint_sweep.grid.axes import AXES
from imprint_sweep.grid.conditions import Condition
from imprint_sweep.grid.scheme import words_of_parameters


def axes_of(frame: pd.DataFrame) -> dict[str, str]:
    """Axis, as the command line and experiment files name it -> column of a results frame, in the order of the stages.

    Parameters of components are among them.
    """
    own = {axis.name: axis.column for axis in AXES if axis.stored != "strings"}
    return own | {key: name for name, key in parameter_columns(frame).items()}


def subset(results: Results, condition: str) -> Results:
    """The rows for which a condition holds.

    Args:
        results: all rows.
        condition: comparisons, see :mod:`imprint_sweep.grid.conditions`; names are those of :func:`axes_of`, words
            those that occur.

    Raises:
        UnknownOptionError: a name that is no axis, or a word that never occurs under the axis beside it.
        ConfigError: a condition that cannot be understood, or that holds for no row.
    """
    frame = results.frame
    columns = axes_of(frame)

    def vocabulary(axis: str) -> Collection[str]:
        column = frame[columns[axis]]
        if not isinstance(column.dtype, pd.CategoricalDtype):
            return ()
        return [word for word in column.cat.categories if isinstance(word, str)]

    read = Condition.read(condition, columns, vocabulary, arithmetic=False, mixed=words_of_parameters())
    if not read.names:
        raise ConfigError(f"the condition {condition!r} names no axis; there are {', '.join(columns)}")
    holds = _holds(read, frame, columns)
    if not holds.any():
        raise ConfigError(f"the condition {condition!r} holds for none of the {len(frame):,} rows")
    note = f"Only rows with {condition}: {int(holds.sum()):,} of {len(frame):,}."
    steps = results.steps if results.steps.empty else _kept(results.steps, _holds(read, results.steps, columns))
    return replace(results, frame=_kept(frame, holds), steps=steps, notes=(*results.notes, note))


def _holds(condition: Condition, frame: pd.DataFrame, columns: Mapping[str, str]) -> NDArray[np.bool_]:
    """For which rows a condition holds, (n,)."""
    axes = sorted(condition.names)
    # Rows by the million, combinations by the hundred.
    code = frame.groupby([columns[axis] for axis in axes], observed=True, dropna=False, sort=False).ngroup().to_numpy()
    first = np.unique(code, return_index=True)[1]
    values = frame.iloc[first][[columns[axis] for axis in axes]].astype(object)
    rows = values.where(values.notna(), None).to_numpy()
    holds: NDArray[np.bool_] = np.array([condition.holds(dict(zip(axes, row, strict=True))) for row in rows])[code]
    return holds


def _kept(frame: pd.DataFrame, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Some rows, with the words that they have."""
    chosen = frame[rows].reset_index(drop=True)
    for name in chosen.select_dtypes("category"):
        chosen[name] = chosen[name].cat.remove_unused_categories()
    return chosen
