"""Outcomes and their provenance -> rows of the results table."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from imprint_sweep import __version__
from imprint_sweep.grid.axes import Axis, Part, of_part, parameter_column
from imprint_sweep.grid.cell import METHOD_VERSION, Task, component_versions, spelled
from imprint_sweep.grid.outcome import Outcome
from imprint_sweep.grid.scheme import Scheme, known_parameters
from imprint_sweep.store.schema import table_schema

T = TypeVar("T")


@dataclass(frozen=True)
class Provenance:
    """Where rows come from.

    Args:
        package_version: version of imprint_sweep.
        git_commit: commit of the checkout it runs from, ``-dirty`` appended if tracked files were changed; None
            elsewhere.
        host: name of the machine.
        sweep: id of the sweep, None for a single cell.
    """

    package_version: str
    git_commit: str | None
    host: str
    sweep: str | None = None

    @classmethod
    def here(cls, sweep: str | None = None) -> Provenance:
        """That of this process."""
        return cls(__version__, _git_commit(), socket.gethostname(), sweep)


def table_of(outcomes: Sequence[tuple[Outcome, datetime]], provenance: Provenance) -> pa.Table:
    """The rows of some outcomes.

    Args:
        outcomes: (outcome, when it was finished; aware).
        provenance: of all of them.

    Returns:
        A table with :func:`table_schema`, a row per outcome, in their order.
    """
    n = len(outcomes)
    results = [outcome for outcome, _ in outcomes]
    columns: dict[str, Any] = {
        **_shared([result.cell.model for result in results], _fields("model")),
        **_shared([result.cell.task for result in results], {**_fields("task"), "n_labels": _n_labels}),
        **_shared([result.cell.scheme for result in results], _fields("scheme")),
        **{name: [getattr(result, name) for result in results] for name in _RESULT},
        **_parameters([result.cell.scheme for result in results]),
        "cell_id": [result.cell.cell_id for result in results],
        "component_versions": [
            component_versions(result.cell.scheme, len(result.cell.task.labels)) or None for result in results
        ],
        "finished_at": [finished for _, finished in outcomes],
        "method_version": pa.repeat(pa.scalar(METHOD_VERSION, pa.int16()), n),
        **{
            name: pa.repeat(pa.scalar(getattr(provenance, name), pa.string()), n)
            for name in ("package_version", "git_commit", "host", "sweep")
        },
    }
    arrays = [
        columns[field.name] if isinstance(columns[field.name], pa.Array) else pa.array(columns[field.name], field.type)
        for field in table_schema()
    ]
    return pa.Table.from_arrays(arrays, schema=table_schema())


_RESULT = (
    "computation_id",
    "fingerprint",
    "status",
    "n_correct",
    "n_test",
    "accuracy",
    "correct",
    "f1",
    "f1_macro",
    "f1_weighted",
    "n_proxies",
    "k_chosen",
    "gen_seconds",
    "eval_seconds",
    "error",
)


def _n_labels(task: Task) -> int:
    return len(task.labels)


def _fields(part: Part) -> dict[str, Callable[[Any], Any]]:
    """Column -> what it takes from a part of a cell."""

    def taken(axis: Axis) -> Callable[[Any], Any]:
        get = attrgetter(axis.field)
        return (lambda value: [spelled(label) for label in get(value)]) if axis.stored == "strings" else get

    return {axis.column: taken(axis) for axis in of_part(part)}


def _parameters(schemes: Sequence[Scheme]) -> dict[str, list[Any]]:
    """Columns of the components' own parameters, null where a component does not take part."""
    found = {}
    for key, parameter in known_parameters().items():
        values = [scheme.parameter(key) for scheme in schemes]
        found[parameter_column(key)] = [None if value is None else parameter.recorded(value) for value in values]
    return found


def _shared(objects: Sequence[T], fields: dict[str, Callable[[T], Any]]) -> dict[str, pa.Array]:
    """Columns of objects that many rows share: each object is converted once, then spread over its rows."""
    # By identity of the object: hashing a task's labels for every row would cost more than it saves.
    position: dict[int, int] = {}
    distinct: list[T] = []
    for value in objects:
        if id(value) not in position:
            position[id(value)] = len(distinct)
            distinct.append(value)
    indices = pa.array([position[id(value)] for value in objects], pa.int32())
    return {
        name: pa.array([field(value) for value in distinct], table_schema().field(name).type).take(indices)
        for name, field in fields.items()
    }


@cache
def _git_commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    top = _git(root, "rev-parse", "--show-toplevel")
    # An installed package may lie within some other project's checkout.
    if top is None or Path(top) != root:
        return None
    return _git(root, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        finished = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip() or None
