"""The one declared schema of the results table: names, types and meaning of its columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from imprint_sweep.grid.axes import AXES, Stored, parameter_column, parameter_key
from imprint_sweep.grid.scheme import known_parameters

SCHEMA_VERSION = 5
"""Raised when a column is added. Columns are never renamed, retyped or taken away: old parts stay readable."""

VERSION_KEY = b"imprint_sweep.schema_version"
"""Key of the schema's version in the metadata of a part."""


@dataclass(frozen=True)
class Column:
    """One column of the results table.

    Args:
        type: its Arrow type.
        doc: what it holds, one sentence.
        nullable: whether it may be null. A column that is added later must be: older parts lack it.
    """

    type: pa.DataType
    doc: str
    nullable: bool = False


_STRING, _STRINGS, _FLOATS = pa.string(), pa.list_(pa.string()), pa.list_(pa.float64())

_STORED: dict[Stored, pa.DataType] = {
    "string": _STRING, "strings": _STRINGS, "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "double": pa.float64(),
}  # fmt: skip


def _of_axes() -> dict[str, Column]:
    """The columns of the axes, and behind the labels how many there are."""
    found = {axis.column: Column(_STORED[axis.stored], axis.doc, axis.nullable) for axis in AXES}
    names = list(found)
    behind = names.index("labels") + 1
    counted = {"n_labels": Column(pa.int16(), "Number of labels, C.")}
    return {name: (found | counted)[name] for name in (*names[:behind], *counted, *names[behind:])}


COLUMNS: dict[str, Column] = {
    "cell_id": Column(_STRING, "Hex id of what was asked for: a hash of model, labels, limit and every axis."),
    "computation_id": Column(_STRING, "Hex id of what was computed; rows that share it hold equal results."),
    "method_version": Column(
        pa.int16(), "Version of what a cell computes; rows of another version do not count as done."
    ),
    "component_versions": Column(
        _STRING,
        "Versions of the components (GEN, NORM, AGG, metric, weighting) that computed the row, as in gen:kmeans=2, "
        "where they are not 1; null where all are. Rows of other versions do not count as done.",
        True,
    ),
    **_of_axes(),
    "n_correct": Column(
        pa.int32(), "Correctly classified test samples; null if the cell failed, like every result.", True
    ),
    "n_test": Column(pa.int32(), "Test samples of the task.", True),
    "accuracy": Column(pa.float64(), "n_correct / n_test.", True),
    "correct": Column(
        pa.list_(pa.int32()), "Correctly classified test samples of each label, in the order of labels.", True
    ),
    "f1": Column(_FLOATS, "One-vs-rest F1 of each label, in the order of labels.", True),
    "f1_macro": Column(pa.float64(), "Mean of f1.", True),
    "f1_weighted": Column(pa.float64(), "Mean of f1 weighted by the test samples of each label.", True),
    "n_proxies": Column(pa.int64(), "Proxies of all labels together.", True),
    "k_chosen": Column(
        pa.list_(pa.int32()), "The k that select.rule chose for each label, in the order of labels; null without.", True
    ),
    "gen_seconds": Column(
        pa.float64(),
        "CPU time of GEN, summed over labels, also when its result was shared; wall time in version 0.1.0.",
        True,
    ),
    "eval_seconds": Column(
        pa.float64(),
        "CPU time of everything after GEN, undivided also where others shared it; wall time in version 0.1.0.",
        True,
    ),
    "status": Column(_STRING, "ok or failed."),
    "error": Column(_STRING, "Why the cell failed; null if it did not.", True),
    "fingerprint": Column(_STRING, "Content hash of the embeddings that the task reads."),
    "package_version": Column(_STRING, "Version of imprint_sweep that computed the row."),
    "git_commit": Column(
        _STRING, "Commit of the checkout it ran from, with -dirty if tracked files were changed; null elsewhere.", True
    ),
    "host": Column(_STRING, "Name of the machine that computed the row."),
    "sweep": Column(_STRING, "Id of the sweep that the row was computed in; null for a single cell.", True),
    "finished_at": Column(pa.timestamp("us", "UTC"), "When the row reached the results table."),
}

_ARROW = {int: pa.int64(), float: pa.float64(), str: _STRING}


def is_parameter(field: pa.Field) -> bool:
    """Whether a column looks like that of a parameter, of whatever component."""
    return parameter_key(field.name) is not None and field.type in _ARROW.values()


def columns() -> dict[str, Column]:
    """Name -> column: those that all versions have, and one for each parameter of the components that are there."""
    own = {
        parameter_column(key): Column(_ARROW[parameter.stored], parameter.doc, True)
        for key, parameter in known_parameters().items()
    }
    return {**COLUMNS, **own}


def table_schema() -> pa.Schema:
    """The Arrow schema of every part, its version in the metadata."""
    return _schema(tuple(known_parameters()))


@cache
def _schema(parameters: tuple[str, ...]) -> pa.Schema:
    found = columns()
    return pa.schema(
        [pa.field(name, column.type, column.nullable) for name, column in found.items()],
        metadata={VERSION_KEY: str(SCHEMA_VERSION).encode(), b"pandas": _pandas_metadata(found)},
    )


def column_docs() -> dict[str, str]:
    """Name -> what the column holds, for documentation."""
    return {name: column.doc for name, column in columns().items()}


def _pandas_metadata(columns: Mapping[str, Column]) -> bytes:
    """What pandas writes into a file to read it back with the dtypes it had.

    With it, ``pd.read_parquet`` gives k, m and n_shot as Int64; without, as floats with NaN for null.
    """
    described = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": str(column.type),
            "numpy_type": str(column.type).capitalize() if pa.types.is_integer(column.type) else "object",
            "metadata": None,
        }
        for name, column in columns.items()
        if column.nullable and pa.types.is_integer(column.type)
    ]
    return json.dumps({"index_columns": [], "column_indexes": [], "columns": described}).encode()
