"""What the configuration may hold: its keys and their types, a dataclass a node."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

from omegaconf import MISSING

from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.grid.scheme import TEST, known_parameters
from imprint_sweep.imprinting.choosing_k import MAX_K

GROUPS = ("model", "task", "gen", "norm", "agg")
"""The configuration groups that a cell is made of."""

NODES = ("eval", "select")
"""The parts of a cell that have keys and no options."""

OF_HYDRA = ("hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra/hydra_logging")
"""Hydra's own groups of which a run has one option."""

LISTS = ("task.classes", "task.datasets", "task.labels")
"""The keys whose value may be a list."""


@dataclass
class ModelConfig:
    """An option of the group ``model``; see ``conf/model``."""

    name: str = MISSING
    weights: str = MISSING
    image_size: int | None = None
    precision: str = "float32"
    dim: int | None = None
    weight_decay: float | None = None
    weights_path: str | None = None


@dataclass
class TaskConfig:
    """An option of the group ``task``; see ``conf/task``.

    ``labels`` is a list of integers, a number n that stands for 0 to n - 1, or None; ``classes`` a name or a list.
    ``folder`` says that ``name`` is that of files of the user's, which no other option of the group may have.
    """

    name: str = MISSING
    datasets: list[str] = field(default_factory=list)
    labels: Any = None
    sample: int | None = None
    classes: Any = "all"
    order: int | None = None
    seen: int | None = None
    merge: int | None = None
    remap: int | None = None
    folder: bool = False


@dataclass
class GenConfig:
    """An option of the group ``gen``; see ``conf/gen``.

    Args:
        name: of the gen; with `component` it may be left out.
        component: where a gen of another package is, as ``package.module:NAME``.
        parameters: the gen's own, as in ``{"trim": 0.1}``. In an option they stand beside the name, and on the command
            line below the group: ``gen.trim=0.1``.
    """

    name: str = MISSING
    component: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class NormConfig:
    """An option of the group ``norm``; see ``conf/norm``. ``parameters`` are those of the norms themselves."""

    pre: str = "none"
    post: str = "none"
    inf: str = "none"
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class AggConfig:
    """An option of the group ``agg``; see ``conf/agg``. ``parameters`` are those of the metric and the weighting."""

    name: str = MISSING
    metric: str = MISSING
    m: int | None = None
    weighting: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


PARAMETRIC: Mapping[type[Any], str] = {GenConfig: "gen", NormConfig: "norm", AggConfig: "agg"}
"""The nodes whose components have parameters, and their groups."""


@dataclass
class EvalConfig:
    """What a cell is tested on; see ``conf/config.yaml``."""

    split: str = TEST


@dataclass
class SelectConfig:
    """How k is chosen where it is null; see ``conf/config.yaml``."""

    rule: str | None = None
    max_k: int | None = MAX_K


@dataclass
class PathsConfig:
    """Where things are; see :class:`imprint_sweep.config.settings.Settings` for what null stands for."""

    outputs: str | None = None
    data: str | None = None


@dataclass
class SweepConfig:
    """How a sweep runs; see ``conf/config.yaml``.

    ``threads`` are those of one job, at least 1; None means what the machine or SLURM gives. ``memory_gb`` is what the
    stages of one job may use, in 1e9 bytes.
    """

    dry_run: bool = False
    submit: bool = True
    wait: bool = True
    shards: int | None = None
    threads: int | None = None
    memory_gb: float = 4.0
    retry_failed: bool = True
    allow_missing: bool = False


@dataclass
class ShardConfig:
    """Which shard of which plan a launched job is to run; both None for a single cell."""

    plan: str | None = None
    index: int | None = None


@dataclass
class PlaceConfig:
    """What every command needs to know that changes no result."""

    device: str = "cpu"
    force: bool = False
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class RunConfig(PlaceConfig):
    """The part of the configuration that changes no result."""

    sweep: SweepConfig = field(default_factory=SweepConfig)
    shard: ShardConfig = field(default_factory=ShardConfig)


@dataclass
class NumbersConfig:
    """The numbers of a cell; see ``conf/config.yaml``."""

    k: int | None = None
    n_shot: int | None = None
    seed: int = 0
    limit: int | None = None


@dataclass
class Config(RunConfig, NumbersConfig):
    """The whole configuration; the fields of ``conf/config.yaml``."""

    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    gen: GenConfig = field(default_factory=GenConfig)
    norm: NormConfig = field(default_factory=NormConfig)
    agg: AggConfig = field(default_factory=AggConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    select: SelectConfig = field(default_factory=SelectConfig)


@dataclass
class ColumnsConfig:
    """The names of the columns of a table of texts."""

    text: str = "text"
    label: str = "label"
    split: str = "split"


@dataclass
class EmbedConfig(PlaceConfig):
    """The configuration of the command that embeds; the fields of ``conf/embed.yaml``."""

    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    limit: int | None = None
    batch_size: int | None = None
    precision: str | None = None


@dataclass
class ContactSheetConfig:
    """The configuration of the command that draws sample images; the fields of ``conf/contact_sheet.yaml``."""

    task: TaskConfig = field(default_factory=TaskConfig)
    images: int = 10
    split: str = "test"
    seed: int = 0
    file: str | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class PreConfig:
    """NORM of the training embeddings alone."""

    pre: str = "l2"


@dataclass
class ProjectionConfig:
    """The configuration of the command that draws embeddings; the fields of ``conf/projection.yaml``."""

    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    norm: PreConfig = field(default_factory=PreConfig)
    k: int = 5
    samples: int = 200
    seed: int = 0
    limit: int | None = None
    device: str = "cpu"
    file: str | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)


SCHEMAS: dict[str, type[Any]] = {
    "config": Config,
    "embed": EmbedConfig,
    "contact_sheet": ContactSheetConfig,
    "projection": ProjectionConfig,
}
"""The schema of each primary configuration, by the name of its file."""


def known_keys(schema: type[Any] = Config) -> list[str]:
    """The dotted names of all keys below a schema, groups and parameters of components included."""
    return list(_known_keys(schema, tuple(known_parameters())))  # type: ignore[arg-type]


@cache
def _known_keys(schema: type[Any], parameters: tuple[str, ...]) -> tuple[str, ...]:
    keys = []
    for name, hint in get_type_hints(schema).items():
        if name == "parameters":
            own = (key.partition(".") for key in parameters)
            keys += [key for group, _, key in own if group == PARAMETRIC[schema]]
            continue
        keys.append(name)
        if dataclasses.is_dataclass(hint):
            keys += [f"{name}.{key}" for key in _known_keys(hint, parameters)]  # type: ignore[arg-type]
    return tuple(keys)


def is_setting(key: str, schema: type[Any] = Config) -> bool:
    """Whether a key says how to run, which is the same in all cells of a sweep."""
    return schema is Config and key.partition(".")[0] in {setting.name for setting in dataclasses.fields(RunConfig)}


def unknown_key(name: str, schema: type[Any] = Config, prefix: str = "") -> UnknownOptionError:
    """The error for a key that a schema does not have: lists those that may have been meant.

    Args:
        name: the dotted key, from the schema.
        schema: what has no such key.
        prefix: where the schema stands in the configuration.
    """
    known = known_keys(schema)
    parent, _, last = name.rpartition(".")
    siblings = [key for key in known if key.rpartition(".")[0] == parent] or known
    # What was written without its group, as in features=500, or under another one.
    siblings += [key for key in known if key.rpartition(".")[2] == last and key not in siblings]
    name, *siblings = (f"{prefix}.{key}" if prefix else key for key in (name, *siblings))
    return UnknownOptionError("key", name, siblings)


def value_not_group(key: str, where: str) -> ConfigError:
    """The error for a folder of options that makes a group of a number.

    Args:
        key: the number.
        where: the folder.
    """
    return ConfigError(
        f"{where} makes a group of {key}, and {key} is a value: any whole number will do, and Hydra takes only names "
        f"for the options of a group, so {key}=1,5,20 could not work; remove the folder and write {key}=5"
    )


def unlisted_key(where: str, key: str) -> ConfigError:
    """The error for a key that exists, but not in the option that was chosen.

    Args:
        where: the option.
        key: the key, as its file would name it.
    """
    return ConfigError(f"{where} does not list {key!r}, so it cannot be set; add {key}: null to its file")
