"""The axes of the grid, each declared once.

What it is called on the command line, where a cell holds it, how the results table keeps it, what it can be: schema,
rows, conditions, notices, the tables of a sweep and of the report are made from these entries. A component's own
parameters are axes, too; their component declares them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from imprint_sweep.grid.cell import Precision
from imprint_sweep.grid.scheme import COMPONENTS, NEUTRAL, TESTED_ON
from imprint_sweep.grid.tasks import SELECTIONS
from imprint_sweep.imprinting.choosing_k import RULES
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, METRICS, WEIGHTINGS, Position, norms_at

Part = Literal["model", "task", "scheme"]
Stored = Literal["string", "strings", "int16", "int32", "int64", "double"]


@dataclass(frozen=True)
class Axis:
    """One axis of the grid.

    Args:
        name: on the command line, in options, experiments and conditions.
        part: the part of a cell that holds it.
        field: its name there.
        column: its name in the results table.
        stored: the Arrow type of the column; ``strings`` is a list of them.
        doc: what the column holds, one sentence.
        nullable: whether it may be null.
        depends_on: the axis that decides whether it means anything; null where it does not.
        follows: whether it mostly follows from the other axes, or is the same in all cells, and is worth showing only
            where it does not.
        words: what it can be, where that is a closed list.
        neutral: what null in its column means: the value that all rows have that are older than the axis.
    """

    name: str
    part: Part
    field: str
    column: str
    stored: Stored
    doc: str
    nullable: bool = False
    depends_on: str | None = None
    follows: bool = False
    words: Collection[str] | None = None
    neutral: str | None = None


AXES = (
    Axis("model", "model", "name", "model", "string",
         "Name of the foundation model, or the name under which embeddings were imported."),
    Axis("model.weights", "model", "weights", "weights", "string", "Which weights of the model.", follows=True),
    Axis("model.image_size", "model", "image_size", "image_size", "int32",
         "Side of the network's input in pixels; null for the weights' own transform.", nullable=True, follows=True),
    Axis("model.precision", "model", "precision", "precision", "string",
         "In which the network computes: float32, bfloat16 or float16; null in files of former versions.",
         nullable=True, follows=True, words=tuple(Precision)),
    Axis("task", "task", "name", "task", "string", "Name of the task."),
    Axis("task.classes", "task", "classes", "classes", "string",
         "The class selection as it was asked for: a name such as even, or a list.", words=SELECTIONS),
    Axis("task.labels", "task", "labels", "labels", "strings",
         "The ordered labels, each as its dataset:class parts joined by +, as in mnist:6+svhn:6.", follows=True),
    Axis("task.merge", "task", "merge", "merge", "int32",
         "d of a d-in-1 task: classes merged into each label; null where none were.", nullable=True),
    Axis("task.remap", "task", "remap", "remap", "int32",
         "Which of the random remaps of a d-in-1 task; null where no classes were merged.",
         nullable=True, depends_on="task.merge"),
    Axis("limit", "task", "limit", "limit", "int64",
         "At most so many samples of each split were embedded; null for all.", nullable=True),
    Axis("n_shot", "scheme", "n_shot", "n_shot", "int64",
         "Training samples drawn per label; null for all.", nullable=True),
    Axis("norm.pre", "scheme", "norm_pre", "norm_pre", "string",
         "Normalisation of the embeddings before GEN: none or l2.", words=norms_at(Position.PRE)),
    Axis("gen", "scheme", "gen", "gen", "string", "The proxy generator (GEN).", words=GENS),
    Axis("k", "scheme", "k", "k", "int64",
         "Proxies asked for per label; null for generators without k.", nullable=True, depends_on="gen"),
    Axis("norm.post", "scheme", "norm_post", "norm_post", "string",
         "Normalisation of the proxies: none, l2 or quantile.", words=norms_at(Position.POST)),
    Axis("norm.inf", "scheme", "norm_inf", "norm_inf", "string",
         "Normalisation of the test embeddings: none or l2.", words=norms_at(Position.INF)),
    Axis("agg", "scheme", "agg", "agg", "string", "The aggregation (AGG).", words=AGGREGATIONS),
    Axis("agg.metric", "scheme", "metric", "metric", "string",
         "How a test embedding and a proxy are compared.", words=METRICS),
    Axis("agg.m", "scheme", "m", "m", "int64",
         "Nearest proxies that vote; null where none do.", nullable=True, depends_on="agg"),
    Axis("agg.weighting", "scheme", "weighting", "weighting", "string",
         "How their votes are weighted; null where there are none.", nullable=True, depends_on="agg", words=WEIGHTINGS),
    Axis("seed", "scheme", "seed", "seed", "int64", "The seed of everything random."),
    Axis("model.weight_decay", "scheme", "weight_decay", "weight_decay", "double",
         "Lambda of the two least-squares generators; null for all others.",
         nullable=True, depends_on="gen", follows=True),
    Axis("eval.split", "scheme", "split", "split", "string",
         "What the cell is tested on: test, or validation for training samples that were held out.",
         nullable=True, follows=True, words=TESTED_ON, neutral=NEUTRAL["split"]),
    Axis("select.rule", "scheme", "select_rule", "select_rule", "string",
         "How k was chosen: bic or cv_1se; null where it was given.", nullable=True, depends_on="gen", words=RULES),
    Axis("select.max_k", "scheme", "select_max_k", "select_max_k", "int64",
         "The largest k that was tried; null where k was given.", nullable=True, depends_on="select.rule"),
)  # fmt: skip
"""All axes, in the order of the table's columns: the model, the task, then the stages."""

SEED = "seed"
"""The axis that medians are taken over."""


def of_part(part: Part) -> tuple[Axis, ...]:
    """The axes that one part of a cell holds."""
    return tuple(axis for axis in AXES if axis.part == part)


def parameter_column(key: str) -> str:
    """The column of a component's parameter.

    >>> parameter_column("gen.trim")
    'gen_trim'
    """
    return key.replace(".", "_")


def parameter_key(column: str) -> str | None:
    """The name on the command line of a component's parameter, None where a column is not that of one.

    Args:
        column: of a results table; the component may be one that is not here.

    >>> parameter_key("gen_trim"), parameter_key("norm_pre")
    ('gen.trim', None)
    """
    group, _, name = column.partition("_")
    return f"{group}.{name}" if name and group in _PARAMETRIC and column not in _OTHER_COLUMNS else None


_PARAMETRIC = {registry.prefix for registry in COMPONENTS.values()}
_OTHER_COLUMNS = {*(axis.column for axis in AXES), "gen_seconds"}
