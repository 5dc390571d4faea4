"""The table of NC1 beside the results: computed once per model, task and state of the embeddings, then read.

It is one small file, ``<outputs>/collapse/nc1.parquet``, with one row per instance. A row counts as long as the results
of that instance have its fingerprint, so that NC1 and accuracy are of the same embeddings. Processes may add rows at
once: each holds the lock beside the file while it reads, changes and replaces it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.results import MODEL, TASK, Results, records
from imprint_sweep.analysis.stats import collapse
from imprint_sweep.analysis.stats.collapse import Collapse
from imprint_sweep.embeddings.cache import EmbeddingCache, Split
from imprint_sweep.embeddings.features import Features
from imprint_sweep.errors import EmbeddingsError, StageError, StoreError
from imprint_sweep.grid.cell import Model, Task, spelled
from imprint_sweep.store import table_schema
from imprint_sweep.store.parts import READ_ERRORS, is_damage, shortage, with_precision, write_part

VALUES = ("nc1", "nc1_published", "rank", "n_samples")
"""What is computed; see :class:`imprint_sweep.analysis.stats.collapse.Collapse`."""

ON_TEST_SPLIT = ("imagenet",)
"""Datasets whose NC1 is measured on the test split (of ImageNet the validation split), as the paper does."""

_SCHEMA = pa.schema(
    [
        *(table_schema().field(name) for name in (*MODEL, *TASK, "labels", "fingerprint", "method_version")),
        pa.field("nc1", pa.float64()),
        pa.field("nc1_published", pa.float64()),  # null where an older version made it
        pa.field("rank", pa.int64()),
        pa.field("n_samples", pa.int64()),
        pa.field("published_version", pa.int64()),
    ]
)

NC1_VERSION = 1
"""Of what ``nc1`` holds, in the column ``method_version``; that of cells has nothing to do with it."""

_PUBLISHED_VERSION = 2
"""Of what ``nc1_published`` holds. Without a version, classes weighed equally in it whatever their sizes."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Instance:
    """A model and a task of the results.

    Args:
        name: for messages.
        model, task: which.
        fingerprint: of the embeddings that the results are from.
    """

    name: str
    model: Model
    task: Task
    fingerprint: str


def path(outputs: Path) -> Path:
    """Where the table is."""
    return outputs / "collapse" / "nc1.parquet"


def read(results: Results) -> pd.DataFrame:
    """NC1 of the instances of some results, as far as it was computed.

    Returns:
        One row per instance, in the order of the results: the columns :data:`MODEL`, :data:`TASK` and :data:`VALUES`
        (float64, NaN where it was not computed from the embeddings that the results are from; ``nc1_published`` also
        where an older version made it, until :func:`update` has computed it again).

    Raises:
        StoreError: the table cannot be read.
    """
    stored = {_key(row): row for row in _load(path(results.outputs))}
    wanted = results.frame[[*MODEL, *TASK, "fingerprint"]].drop_duplicates(ignore_index=True)
    found = [stored.get(_key(row), {}) for row in records(wanted)]
    values = {name: pd.Series([row.get(name) for row in found], dtype="float64") for name in VALUES}
    return wanted.drop(columns="fingerprint").assign(**values)


def update(results: Results, tell: Callable[[str], None] = lambda line: None) -> tuple[str, ...]:
    """Compute NC1 of the instances of some results that lack it, from their cached embeddings.

    What cannot be computed is left out and the others go on. Each value is kept as soon as it is known.

    Args:
        results: says which instances.
        tell: called with a line about each value that was computed.

    Returns:
        What is in the way, a sentence each, with the command that mends it where one does.

    Raises:
        StoreError: the table or the results cannot be read, or the table cannot be written.
    """
    at = path(results.outputs)
    known = {(_key(row), tuple(row["labels"])) for row in _load(at) if row["nc1_published"] is not None}
    cache = EmbeddingCache(results.outputs / "embeddings")
    features: dict[tuple[Model, int | None], Features] = {}
    problems: list[str] = []
    for instance in _instances(results):
        row = _row(instance)
        if (_key(row), tuple(row["labels"])) in known:
            continue
        of = instance.model, instance.task.limit
        start = time.monotonic()
        try:
            found = _measured(instance, features.setdefault(of, Features(cache, *of)))
        except EmbeddingsError as error:
            problems.append(str(error))
        except StageError as error:
            problems.append(f"{instance.name}: {error}")
        else:
            _store(at, {**row, **asdict(found)})
            tell(f"{instance.name}: NC1 = {found.nc1:.4g} ({time.monotonic() - start:.1f} s)")
    return tuple(dict.fromkeys(problems))


def _measured(instance: Instance, features: Features) -> Collapse:
    task = instance.task
    # Headers tell; opening says what is wrong where they do not.
    if (features.recorded(task) or features.open(task)) != instance.fingerprint:
        raise EmbeddingsError(
            f"the embeddings of {instance.name} were replaced after its results were computed; compute its cells again"
        )
    split: Split = "test" if set(task.datasets) & set(ON_TEST_SPLIT) else "train"
    # In one order whatever the task's, so that not even rounding tells equal partitions apart.
    labels = sorted(tuple(sorted(label)) for label in task.labels)
    return collapse.measure([features.blocks(split, label) for label in labels])


def _instances(results: Results) -> Iterator[Instance]:
    """The instances of some results, each once."""
    columns = [*MODEL, *TASK]
    frame = results.frame[[*columns, "fingerprint"]].drop_duplicates(columns, keep="last", ignore_index=True)
    for name, row in zip(names.instances(frame), records(frame), strict=True):
        task = results.tasks[tuple(row[column] for column in columns)]
        yield Instance(name, Model.recorded(*(row[column] for column in MODEL)), task, row["fingerprint"])


def _row(instance: Instance) -> Row:
    """What the table says of an instance before anything is computed."""
    model, task = instance.model, instance.task
    return {
        **dict(zip(MODEL, (model.name, model.weights, model.image_size, model.precision), strict=True)),
        **dict(zip(TASK, (task.name, task.classes, task.merge, task.remap, task.limit), strict=True)),
        "labels": [spelled(label) for label in task.labels],
        "fingerprint": instance.fingerprint,
        "method_version": NC1_VERSION,
        "published_version": _PUBLISHED_VERSION,
    }


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*MODEL, *TASK, "fingerprint"))


def _load(at: Path) -> list[Row]:
    """The rows of the table that are of the present method and hold numbers; none if there is no table."""
    try:
        # Not read_table, which would look for more files and read columns from the names of folders.
        table = pq.ParquetFile(at).read()
        if "published_version" not in table.column_names:
            table = table.append_column("published_version", pa.nulls(len(table), pa.int64()))
        if "precision" not in table.column_names:
            table = table.append_column("precision", pa.nulls(len(table), pa.string()))
        rows: list[Row] = with_precision(table).select(_SCHEMA.names).to_pylist()
    except FileNotFoundError:
        return []
    except (*READ_ERRORS, KeyError) as error:
        if isinstance(error, KeyError) or is_damage(error):
            raise StoreError(f"{at} cannot be read ({error}); delete it, and it is made again") from error
        raise StoreError(f"{at} cannot be read now: {shortage(error)}") from error
    for row in rows:
        if row["published_version"] != _PUBLISHED_VERSION:
            row["nc1_published"] = None
    return [row for row in rows if row["method_version"] == NC1_VERSION and _is_finite(row)]


def _is_finite(row: Row) -> bool:
    """Whether NC1 is a number in either centring, that of the published code where it is known."""
    return row["nc1"] is not None and all(math.isfinite(row[name] or 0) for name in ("nc1", "nc1_published"))


def _store(at: Path, row: Row) -> None:
    """Put a row in the place of what the table has of its instance."""
    instance = (*MODEL, *TASK)
    try:
        at.parent.mkdir(parents=True, exist_ok=True)
        # The lock's file stays: who removes it lets two processes hold a lock each.
        with FileLock(at.with_name(f".{at.name}.lock")):
            others = [other for other in _load(at) if any(other[name] != row[name] for name in instance)]
            write_part(at.parent, at.name, pa.Table.from_pylist([*others, row], _SCHEMA))
    except (OSError, MemoryError) as error:
        raise StoreError(f"{at} cannot be written: {shortage(error)}") from error
