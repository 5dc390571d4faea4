"""The declared schema of the results table, and outcomes as Arrow columns."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from imprint_sweep import __version__
from imprint_sweep.cell import METHOD_VERSION, Model, Scheme, Task
from imprint_sweep.outcome import Outcome

VERSION = 1
"""Version of the schema, in the metadata of every part. Columns are only ever added."""

_COLUMNS: list[tuple[str, pa.DataType, str]] = [
    ("cell_id", pa.string(), "what was asked for: 20 hex digits"),
    ("computation_id", pa.string(), "what was computed; cells that share it hold equal results"),
    ("method_version", pa.int16(), "version of what a cell computes; rows of older versions do not count as done"),
    ("model", pa.string(), "foundation model"),
    ("weights", pa.string(), "its weights"),
    ("image_size", pa.int32(), "side of its input in pixels; null: the weights' own transform"),
    ("task", pa.string(), "the task's name"),
    ("classes", pa.string(), "which classes: all, even, odd, short, or a list"),
    ("labels", pa.list_(pa.string()), "the ordered labels, each the parts it unites: mnist:6+svhn:6"),
    ("n_labels", pa.int32(), "number of labels"),
    ("merge", pa.int32(), 'd of "d in 1"; null: classes were not merged'),
    ("remap", pa.int32(), "which random remap of the classes; null: classes were not merged"),
    ("limit", pa.int64(), "at most so many samples of each split were embedded; null: all"),
    ("n_shot", pa.int64(), "training samples per label; null: all"),
    ("norm_pre", pa.string(), "normalisation of training embeddings"),
    ("gen", pa.string(), "proxy generator"),
    ("k", pa.int64(), "proxies per label; null where the generator has no k"),
    ("norm_post", pa.string(), "normalisation of proxies"),
    ("norm_inf", pa.string(), "normalisation of test embeddings"),
    ("agg", pa.string(), "aggregation: max or mnn"),
    ("metric", pa.string(), "its metric"),
    ("m", pa.int64(), "neighbours that vote; null under max"),
    ("weighting", pa.string(), "weights of the votes; null under max"),
    ("seed", pa.int64(), "seed of the draws"),
    ("weight_decay", pa.float64(), "lambda of the least-squares generators, null for the others"),
    ("n_correct", pa.int64(), "correctly classified test samples; null if the cell failed"),
    ("n_test", pa.int64(), "test samples"),
    ("accuracy", pa.float64(), "n_correct / n_test"),
    ("f1", pa.list_(pa.float64()), "one-vs-rest F1 of each label, in task order"),
    ("f1_macro", pa.float64(), "mean F1 over labels"),
    ("f1_weighted", pa.float64(), "mean F1 weighted by test samples per label"),
    ("n_proxies", pa.int64(), "proxies of all labels together"),
    ("gen_seconds", pa.float64(), "compute time of GEN in seconds, summed over labels, also where it was shared"),
    ("eval_seconds", pa.float64(), "compute time of everything after GEN in seconds, also where it was shared"),
    ("status", pa.string(), "ok or failed"),
    ("error", pa.string(), "why it failed"),
    ("fingerprint", pa.string(), "content hash of the embeddings that the task reads"),
    ("package_version", pa.string(), "version of imprint_sweep"),
    ("git_commit", pa.string(), "commit of the checkout it ran from; null for an installed wheel"),
    ("host", pa.string(), "machine"),
    ("sweep", pa.string(), "id of the sweep; null for a single cell"),
    ("finished_at", pa.timestamp("us", tz="UTC"), "when the outcome was known"),
]

SCHEMA = pa.schema(
    [pa.field(name, kind) for name, kind, _ in _COLUMNS], metadata={"imprint_sweep.schema_version": str(VERSION)}
)
COLUMNS: dict[str, str] = {name: text for name, _, text in _COLUMNS}
"""What every column holds, a sentence each."""


@dataclass(frozen=True)
class Provenance:
    """Where rows come from.

    Args:
        package_version: version of imprint_sweep.
        git_commit: commit of the checkout it runs from, None for an installed wheel.
        host: name of the machine.
        sweep: id of the sweep, None for a single cell.
    """

    package_version: str
    git_commit: str | None
    host: str
    sweep: str | None

    @classmethod
    def here(cls, sweep: str | None = None) -> Provenance:
        """The provenance of rows that this process computes."""
        return cls(__version__, _git_commit(), platform.node(), sweep)


@dataclass(frozen=True)
class Finished:
    """An outcome and when it was known."""

    outcome: Outcome
    at: datetime

    @classmethod
    def now(cls, outcome: Outcome) -> Finished:
        """An outcome known now."""
        return cls(outcome, datetime.now(UTC))


def to_table(rows: Sequence[Finished], provenance: Provenance) -> pa.Table:
    """Outcomes as a table of :data:`SCHEMA`. Objects that cells share are described once."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for row in rows:
        outcome = row.outcome
        cell = outcome.cell
        for fields in (_model_fields(cell.model), _task_fields(cell.task), _scheme_fields(cell.scheme)):
            for name, value in fields:
                columns[name].append(value)
        for name in _OUTCOME_FIELDS:
            columns[name].append(getattr(outcome, name))
        columns["cell_id"].append(cell.cell_id)
        columns["finished_at"].append(row.at)
    for name, value in (
        ("method_version", METHOD_VERSION),
        ("package_version", provenance.package_version),
        ("git_commit", provenance.git_commit),
        ("host", provenance.host),
        ("sweep", provenance.sweep),
    ):
        columns[name] = [value] * len(rows)
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in SCHEMA}, schema=SCHEMA)


_OUTCOME_FIELDS = (
    "computation_id",
    "n_correct",
    "n_test",
    "accuracy",
    "f1",
    "f1_macro",
    "f1_weighted",
    "n_proxies",
    "gen_seconds",
    "eval_seconds",
    "status",
    "error",
    "fingerprint",
)

Fields = tuple[tuple[str, Any], ...]


@lru_cache(maxsize=10_000)
def _model_fields(model: Model) -> Fields:
    return (("model", model.name), ("weights", model.weights), ("image_size", model.image_size))


@lru_cache(maxsize=10_000)
def _task_fields(task: Task) -> Fields:
    labels = ["+".join(f"{dataset}:{value}" for dataset, value in label) for label in task.labels]
    return (
        ("task", task.name),
        ("classes", task.classes),
        ("labels", labels),
        ("n_labels", len(labels)),
        ("merge", task.merge),
        ("remap", task.remap),
        ("limit", task.limit),
    )


@lru_cache(maxsize=200_000)
def _scheme_fields(scheme: Scheme) -> Fields:
    names = ("n_shot", "norm_pre", "gen", "k", "norm_post", "norm_inf", "agg", "metric", "m", "weighting", "seed")
    return tuple((name, getattr(scheme, name)) for name in (*names, "weight_decay"))


@lru_cache(maxsize=1)
def _git_commit() -> str | None:
    package = Path(__file__).resolve().parents[2]
    if not (package / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(package), "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
