"""The configuration: typed, validated before anything is loaded, and turned into cells and run settings.

Only this module, the schemas and the entry points know OmegaConf. Every function that makes a part of a cell takes
either the node that Hydra composed or its typed form; the typed form is the cheaper one to pass often.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, FloatNode, IntegerNode, ListConfig, OmegaConf, StringNode
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from imprint_sweep.config.schemas import (
    GROUPS,
    PARAMETRIC,
    AggConfig,
    Config,
    ContactSheetConfig,
    EmbedConfig,
    EvalConfig,
    GenConfig,
    ModelConfig,
    NormConfig,
    NumbersConfig,
    PathsConfig,
    ProjectionConfig,
    RunConfig,
    SelectConfig,
    ShardConfig,
    TaskConfig,
    is_setting,
    unknown_key,
)
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.errors import (
    ConfigError,
    InvalidCellError,
    UnknownOptionError,
    one_line,
)
from imprint_sweep.grid.axes import AXES, Axis
from imprint_sweep.grid.cell import Cell, Model, Task, check_name, precision_named
from imprint_sweep.grid.scheme import (
    COMPONENTS,
    TEST,
    Scheme,
    baselines,
    check_count,
    known_parameters,
    meaningless,
    parameters_of,
    words_of_parameters,
)
from imprint_sweep.grid.tasks import SELECTIONS, classes_of, make_task
from imprint_sweep.imprinting.components import GENS, alternatives
from imprint_sweep.invocation import conf_folder, named_path, outputs_folder

MAX_CLASSES = 1_000_000
"""Classes of a dataset; a larger number is a slip, and would take gigabytes to count."""

MAX_MEMORY_GB = 1e9
"""Memory of one job; bytes are counted in 64 bits."""

_KEYS = {
    axis.field: f"{axis.name}.name" if axis.name in GROUPS else axis.name for axis in AXES if axis.part == "scheme"
}
"""Field of a scheme -> the key that holds it."""

_DEVICE = re.compile(r"cpu|cuda(:\d+)?")

Node = TypeVar(
    "Node",
    ModelConfig,
    TaskConfig,
    GenConfig,
    NormConfig,
    AggConfig,
    EvalConfig,
    SelectConfig,
    NumbersConfig,
    RunConfig,
    ShardConfig,
    EmbedConfig,
    ContactSheetConfig,
    ProjectionConfig,
    Config,
)


def register_resolvers() -> None:
    """Teach OmegaConf the interpolations that ``conf/config.yaml`` uses; safe to call again."""
    OmegaConf.register_new_resolver(
        "imprint_outputs", lambda configured: str(outputs_folder(configured, start_folder())), replace=True
    )
    OmegaConf.register_new_resolver("imprint_baselines", lambda: ", ".join(baselines()), replace=True)


def start_folder() -> Path:
    """The folder that the command was started in, which relative paths of a configuration start from.

    ``hydra.job.chdir`` takes a cell, but not the planning of a sweep, to another folder.
    """
    return Path(HydraConfig.get().runtime.cwd) if HydraConfig.initialized() else Path.cwd()


def absolute(what: str, path: str) -> Path:
    """A path of the configuration, from :func:`start_folder`; see :func:`imprint_sweep.invocation.named_path`."""
    return named_path(what, path, start_folder())


def typed(schema: type[Node], node: DictConfig | Node, key: str = "", *, only: Iterable[str] | None = None) -> Node:
    """Validate a composed node against its schema.

    Args:
        schema: the dataclass that lists its keys and their types.
        node: what Hydra composed; already typed, it is returned as it is.
        key: where the node stands in the configuration, for messages.
        only: look at these keys and at no others.

    Raises:
        ConfigError: an unknown key, a value of another type, a value that is missing: the message names the key, what
            was expected and what came.
    """
    if isinstance(node, schema):
        return node
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{key or 'configuration'}: expected keys and values, got {_shown(node)}")
    wanted = None if only is None else set(only)
    names = [name for name in map(str, node) if name != "hydra" and (wanted is None or name in wanted)]
    try:
        # Interpolations may point out of the node, so they are resolved where it stands.
        values = {name: _resolved(node[name]) for name in names}
        _check_resolved(values, key)
        _check_nesting(schema, values)
        if schema in PARAMETRIC:
            values = _gathered(PARAMETRIC[schema], values)
        elif schema is Config:
            values |= {group: _gathered(group, values[group]) for group in PARAMETRIC.values() if group in values}
        value = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    except OmegaConfBaseException as error:
        raise ConfigError(_explained(schema, node, key, error)) from error
    except OverflowError as error:  # a whole number where a float is expected
        raise ConfigError(f"{key or 'configuration'}: {one_line(error).partition(' full_key')[0]}") from error
    assert isinstance(value, schema)
    return value


def config_from(cfg: DictConfig | Config) -> Config:
    """Validate the types of a whole configuration.

    Raises:
        ConfigError: see :func:`typed`.
    """
    return typed(Config, cfg)


def model_from(model: DictConfig | ModelConfig) -> Model:
    """The model of an option of the group ``model``.

    Raises:
        ConfigError: see :func:`typed`; an image size below 1.
    """
    model = typed(ModelConfig, model, "model")
    check_name("model.name", model.name)
    check_name("model.weights", model.weights)
    if model.image_size is not None:
        check_count("model.image_size", model.image_size, bits=32)
    return Model(model.name, model.weights, model.image_size, precision_named(model.precision))


def task_from(
    task: DictConfig | TaskConfig,
    *,
    limit: int | None = None,
    model: Model | None = None,
    cache: EmbeddingCache | None = None,
) -> Task:
    """The task of an option of the group ``task``.

    Args:
        task: the option.
        limit: at most so many samples of each split.
        model, cache: where the classes are read from if the option does not list them (imported embeddings).

    Raises:
        ConfigError: see :func:`typed` and :func:`imprint_sweep.grid.tasks.make_task`.
        MissingEmbeddingsError: the classes are those of embeddings that do not exist.
    """
    task = _task_config(task)
    if limit is not None:
        check_count("limit", limit)
    return make_task(
        task.name,
        task.datasets,
        _labels(task, limit, model, cache),
        _classes(task.classes),
        sample=task.sample,
        order=task.order,
        seen=task.seen,
        merge=task.merge,
        remap=task.remap,
        limit=limit,
    )


def notes_on_stream(task: Task, asked: TaskConfig) -> list[str]:
    """A sentence where more classes of a stream were to be seen than there are; none elsewhere.

    Args:
        task: that was made.
        asked: of what.
    """
    n = len(task.labels)
    if asked.seen is None or asked.seen <= n:
        return []
    return [f"task.seen above {n} comes after the last of {n} classes of {task.name}: the same as task.seen={n}"]


def classes_from(task: DictConfig | TaskConfig) -> frozenset[int] | None:
    """The classes whose samples an option of the group ``task`` can ever read, whatever it selects or merges of them.

    Returns:
        The classes; None if the option does not list them and hence means all that the datasets have.

    Raises:
        ConfigError: see :func:`typed` and :func:`imprint_sweep.grid.tasks.classes_of`.
    """
    task = _task_config(task)
    if task.labels is None:
        return None
    return classes_of(task.name, _labels(task, None, None, None), task.sample)


def scheme_from(
    gen: DictConfig | GenConfig,
    norm: DictConfig | NormConfig,
    agg: DictConfig | AggConfig,
    select: SelectConfig | None = None,
    *,
    k: int | None,
    n_shot: int | None,
    seed: int,
    weight_decay: float | None,
    split: str = TEST,
) -> Scheme:
    """The scheme of one option each of ``gen``, ``norm`` and ``agg``, the numbers, how k is chosen, and what is tested.

    Raises:
        ConfigError: see :func:`typed` and :meth:`imprint_sweep.grid.cell.Scheme.create`.
    """
    gen = typed(GenConfig, gen, "gen")
    norm = typed(NormConfig, norm, "norm")
    agg = typed(AggConfig, agg, "agg")
    select = select or SelectConfig()
    return Scheme.create(
        gen=gen.name,
        k=k,
        n_shot=n_shot,
        norm_pre=norm.pre,
        norm_post=norm.post,
        norm_inf=norm.inf,
        agg=agg.name,
        metric=agg.metric,
        m=agg.m,
        weighting=agg.weighting,
        seed=seed,
        split=split,
        select_rule=select.rule,
        select_max_k=select.max_k,
        weight_decay=weight_decay,
        parameters=_given_parameters(gen, norm, agg),
    )


def _given_parameters(*nodes: GenConfig | NormConfig | AggConfig) -> dict[str, Any]:
    """The parameters of components that nodes hold, by their names on the command line."""
    return {f"{PARAMETRIC[type(node)]}.{name}": value for node in nodes for name, value in node.parameters.items()}


def cell_from_config(cfg: DictConfig | Config) -> Cell:
    """The cell that a configuration describes.

    Raises:
        ConfigError: the configuration describes none.
        MissingEmbeddingsError: the task's classes are those of embeddings that do not exist.
    """
    config = config_from(cfg)
    scheme = scheme_from(
        config.gen,
        config.norm,
        config.agg,
        config.select,
        k=config.k,
        n_shot=config.n_shot,
        seed=config.seed,
        split=config.eval.split,
        weight_decay=config.model.weight_decay,
    )
    model = model_from(config.model)
    cache = settings_from(config).cache
    return Cell(model, task_from(config.task, limit=config.limit, model=model, cache=cache), scheme)


def check_choices(*groups: str) -> None:
    """Raise an error if a defaults list takes several options of a group, of which Hydra keeps the last alone.

    Args:
        groups: those of which a job of Hydra is to have one option.

    Raises:
        ConfigError: it does.
    """
    of_run = HydraConfig.get()
    unchosen = [group for group in groups if of_run.runtime.choices.get(group) is None]
    if not unchosen or not GlobalHydra.instance().is_initialized():
        return
    overrides = [*of_run.overrides.hydra, *of_run.overrides.task]
    defaults = (
        GlobalHydra.instance().config_loader().compute_defaults_list(of_run.job.config_name, overrides, RunMode.RUN)
    )
    for group in unchosen:
        # Options of a group may well build on several others of it.
        taken = [
            path.removeprefix(f"{group}/")
            for default in defaults.defaults
            if (path := str(default.config_path)).startswith(f"{group}/")
            and not str(default.parent).startswith(f"{group}/")
        ]
        if len(taken) > 1:
            raise ConfigError(
                f"a defaults list chooses several options of {group} ({', '.join(taken)}), of which Hydra would take "
                f"the last alone; choose one there, and write -m {group}={','.join(taken)} for a sweep"
            )


def settings_from(cfg: DictConfig | RunConfig) -> Settings:
    """How to run; the keys that make the cell need not be there.

    Raises:
        ConfigError: see :func:`typed`; a number below 1, an unknown device.
    """
    run = typed(RunConfig, cfg, only=[key.name for key in dataclasses.fields(RunConfig)])
    if not _DEVICE.fullmatch(run.device):
        raise ConfigError(f"device: expected cpu, cuda or cuda:N, got {run.device!r}")
    for key, value in (("sweep.shards", run.sweep.shards), ("sweep.threads", run.sweep.threads)):
        if value is not None and value < 1:
            raise ConfigError(f"{key} must be at least 1, got {value}")
    if not 0 < run.sweep.memory_gb < MAX_MEMORY_GB:
        raise ConfigError(f"sweep.memory_gb must be positive and below {MAX_MEMORY_GB:g}, got {run.sweep.memory_gb}")
    outputs = outputs_folder(run.paths.outputs, start_folder())
    named = run.paths.data
    data = outputs / "data" if named is None else absolute("the folder of datasets (paths.data)", named)
    return Settings(
        outputs=outputs,
        data=data,
        device=run.device,
        force=run.force,
        sweep=run.sweep,
    )


def data_folder(settings: Settings, paths: PathsConfig) -> Path:
    """The folder that datasets are read from and downloaded into.

    Raises:
        ConfigError: it was named and is not there; a slip would download everything anew.
    """
    if paths.data is not None and not settings.data.is_dir():
        raise ConfigError(f"paths.data: there is no folder {settings.data}")
    return settings.data


def notices(cfg: DictConfig | Config, overrides: Iterable[str], task: Task) -> list[str]:
    """What was asked for and has no meaning in this cell, and a default that may surprise; a sentence each.

    Args:
        cfg: the configuration of a valid cell.
        overrides: the overrides of the command line, ``key=value`` each.
        task: that of the cell.
    """
    config = config_from(cfg)
    dropped = meaningless(gen=config.gen.name, agg=config.agg.name)
    own = parameters_of({field: None if field in dropped else _at(config, _KEYS[field]) for field in COMPONENTS})
    under = {"gen": f"gen={config.gen.name}", "norm": "these norms", "agg": _agg_in_words(config, dropped)}
    useless = {axis.name: _useless(axis, config, dropped) for axis in AXES if axis.depends_on is not None}
    without_meaning = {
        **{name: (_at(config, name), reason is not None, reason) for name, reason in useless.items()},
        "task.order": (config.task.order, config.task.seen is None, "without task.seen"),
        **{
            key: (value, key not in own, f"under {under[key.partition('.')[0]]}")
            for key, value in _given_parameters(config.gen, config.norm, config.agg).items()
        },
        **{
            f"sweep.{key}": (getattr(config.sweep, key), True, "without -m")
            for key in ("shards", "retry_failed", "allow_missing")
        },
    }
    asked = dict.fromkeys(override.partition("=")[0].lstrip("+") for override in overrides)
    dropped_ones = [
        f"{key}={value} has no meaning {where}: dropped"
        for key in asked
        for value, useless, where in [without_meaning.get(key, (None, False, ""))]
        if useless and value is not None
    ]
    return [*dropped_ones, *notes_on_stream(task, config.task), *([] if "k" in asked else _unusual_k(config))]


def _unusual_k(config: Config) -> list[str]:
    """A sentence about a k that was not asked for, where what goes by the name of the gen has another."""
    gen = GENS[config.gen.name]
    if config.k is None or gen.usual_k in (None, config.k):
        return []
    return [
        f"k was not given and is {config.k}, so gen={config.gen.name} makes a proxy of each of up to {config.k} "
        f"clusters of a class; k={gen.usual_k} is the usual {gen.label}"
    ]


def _agg_in_words(config: Config, dropped: Collection[str]) -> str:
    weighting = "" if "weighting" in dropped else f" agg.weighting={config.agg.weighting}"
    return f"agg={config.agg.name} agg.metric={config.agg.metric}{weighting}"


def _useless(axis: Axis, config: Config, dropped: Collection[str]) -> str | None:
    """Where an axis has no meaning, if that is so in a configuration: ``under gen=mean``, ``without task.merge``."""
    assert axis.depends_on is not None
    if axis.depends_on in GROUPS:
        return f"under {axis.depends_on}={_at(config, f'{axis.depends_on}.name')}" if axis.field in dropped else None
    return f"without {axis.depends_on}" if _at(config, axis.depends_on) is None else None


def _at(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    return reduce(getattr, key.split("."), config)


def axis_values(group: str, node: Any) -> dict[str, Any]:
    """The values below a group or node, as conditions see them: axis -> value.

    Args:
        group: which.
        node: its typed node.
    """
    values = {f"{group}.{key}": value for key, value in vars(node).items() if key != "parameters"}
    if type(node) in PARAMETRIC:
        given = _given_parameters(node)
        values |= {key: given.get(key) for key in known_parameters() if key.startswith(f"{group}.")}
        named = {field: values.get(_KEYS[field]) for field in COMPONENTS}
        neutral = {key: parameter.neutral for key, parameter in parameters_of(named).items()}
        values |= {key: value for key, value in neutral.items() if values.get(key) is None}
    return values


def _gathered(group: str, values: dict[str, Any]) -> dict[str, Any]:
    """What an option of a group and the command line say, the parameters of components gathered under one key.

    Raises:
        ConfigError: an unknown key, a value of another type, a component that does not load.
    """
    (schema,) = (schema for schema, name in PARAMETRIC.items() if name == group)
    keys = {key.name for key in dataclasses.fields(schema)} - {"parameters"}
    found: dict[str, Any] = {key: values[key] for key in keys if key in values}
    if group == "gen" and (place := found.get("component")) is not None:
        found["name"] = _registered(str(place), found.get("name"))
    parameters = {}
    for key in values.keys() - found.keys():
        if f"{group}.{key}" not in known_parameters():
            raise unknown_key(key, schema, group)
        if values[key] is not None:
            parameters[key] = _parameter(f"{group}.{key}", values[key])
    return {**found, "parameters": parameters}


def _registered(place: str, name: object) -> str:
    """The name of a component of another package; that of the option, if it has one, must agree."""
    registered = GENS.register(place)
    if name not in (None, registered, GENS[registered].name):
        raise ConfigError(
            f"gen.name is {name}, but gen.component={place} is called {GENS[registered].name}; take one of them away"
        )
    return registered


def _parameter(key: str, value: Any) -> Any:
    """The value of a component's parameter, converted as OmegaConf converts the keys of a schema."""
    parameter = known_parameters()[key]
    words = words_of_parameters().get(key, ())
    if isinstance(value, str) and value in words:
        return value
    kind, node = {int: (int, IntegerNode), float: (float, FloatNode), str: (str, StringNode)}[parameter.type]
    try:
        return kind(OmegaConf.create({key: node(value)})[key])
    except OmegaConfBaseException as error:
        if isinstance(value, str) and words:
            raise UnknownOptionError(key, value, [parameter.kind, *words]) from error
        expected = alternatives([parameter.kind, *sorted(words)])
        raise ConfigError(f"{key}: expected {expected}, or null for its default; got {_shown(value)}") from error


def _task_config(task: DictConfig | TaskConfig) -> TaskConfig:
    task = typed(TaskConfig, task, "task")
    check_name("task.name", task.name)
    if named := [name for name in task.datasets if not isinstance(name, str)]:
        raise ConfigError(f"task.datasets: expected a list of names like [mnist,usps], got {_shown(named[0])} in it")
    for dataset in task.datasets:
        check_name("task.datasets", dataset)
    if not task.datasets:
        raise ConfigError("task.datasets is empty: expected a list of names like [mnist,usps]")
    if task.folder and task.name in task.datasets and (conf_folder() / "task" / f"{task.name}.yaml").is_file():
        raise ConfigError(
            f"task.name={task.name}: a folder of images or a table of texts cannot have this name, because "
            f"task={task.name} is another dataset; rename the folder or the table"
        )
    if len(set(task.datasets)) < len(task.datasets):
        raise ConfigError(f"task.datasets lists a dataset twice: [{','.join(task.datasets)}]")
    return task


def _classes(classes: Any) -> str | list[int]:
    return classes if isinstance(classes, str) else _integers("task.classes", classes, f"{', '.join(SELECTIONS)} or")


def _labels(task: TaskConfig, limit: int | None, model: Model | None, cache: EmbeddingCache | None) -> Sequence[int]:
    if isinstance(task.labels, int) and not isinstance(task.labels, bool):
        if task.labels < 1:
            raise ConfigError(f"task.labels must be at least 1, got {task.labels}")
        if task.labels > MAX_CLASSES:
            raise ConfigError(
                f"task.labels must be at most {MAX_CLASSES:,}, got {task.labels}; it is a number of classes"
            )
        return range(task.labels)
    if task.labels is not None:
        return _integers("task.labels", task.labels, "a number, null or")
    if model is None or cache is None:
        raise ConfigError(f"task {task.name} lists no labels, and there are no embeddings to take them from")
    found: dict[str, list[int]] = {}
    for dataset in task.datasets:
        key = EntryKey(model, dataset, "train", limit)
        header = cache.header(key)
        if header is None:
            raise cache.missing([key])
        found[dataset] = sorted(header.class_counts)
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            differing = sorted(set(found[first]) ^ set(found[other]))
            raise InvalidCellError(
                f"task {task.name} joins {first} and {other}, which do not have the same classes (only one has "
                f"{', '.join(map(str, differing))}); list those that both have in task.labels"
            )
    return found[first]


def _integers(key: str, value: Any, alternatives: str) -> list[int]:
    """A list of integers; OmegaConf leaves keys that may be a list or something else unchecked."""
    if isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        if large := [item for item in value if not -(2**63) <= item < 2**63]:
            raise ConfigError(f"{key}: classes must fit into 64 bits, got {large[0]}")
        return value
    raise ConfigError(f"{key}: expected {alternatives} a list of whole numbers like [3,1,7], got {_shown(value)}")


def _resolved(value: Any) -> Any:
    # What is missing would be the schema's default after the merge.
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _check_resolved(value: Any, key: str) -> None:
    """Refuse text that refers to other values again, from an environment variable, say: OmegaConf would resolve it."""
    if isinstance(value, dict):
        for name, item in value.items():
            _check_resolved(item, f"{key}.{name}" if key else str(name))
    elif "${" in str(value):
        raise ConfigError(
            f"{key}: expected a value, got {_shown(value)}, which holds an interpolation after resolution"
        )


def _check_nesting(schema: type[Any], values: dict[str, Any]) -> None:
    """OmegaConf does not say which key it is that holds a value instead of keys."""
    for name, hint in get_type_hints(schema).items():
        if dataclasses.is_dataclass(hint) and not isinstance(values.get(name, {}), dict):
            raise ConfigError(f"{name}: expected keys and values, got {_shown(values[name])}")


def _explained(schema: type[Any], node: DictConfig, key: str, error: OmegaConfBaseException) -> str:
    """One line that names the key, what was expected, and what came."""
    # Errors of resolving name the key from the root, those of merging from the node.
    relative = (error.full_key or "").removeprefix(f"{key}.")
    name = ".".join(part for part in (key, relative) if part)
    if relative == "_group_":
        return "an option's file begins with # @package _group_, which Hydra no longer knows: take that line away"
    if isinstance(error, ConfigKeyError | ConfigAttributeError):
        return str(unknown_key(relative, schema, key))
    if isinstance(error, InterpolationToMissingValueError):
        name = str(error).splitlines()[0].rpartition(" ")[2]
    if isinstance(error, MissingMandatoryValue | InterpolationToMissingValueError):
        return f"{name} is missing: set it with {name}=..."
    if isinstance(error, InterpolationResolutionError):
        return f"{name}: {str(error).splitlines()[0]}"
    expected = _expected(schema, relative)
    if expected is None:
        return f"{name or 'configuration'}: {str(error).splitlines()[0]}"
    came = OmegaConf.select(node, relative)
    several = ""
    if isinstance(came, ListConfig) and came and not is_setting(name, schema) and not expected.startswith("a list"):
        items = ["null" if item is None else str(item) for item in came]
        several = f"; several values are a sweep: -m {name}={','.join(items)}" if "[" not in "".join(items) else ""
    return f"{name}: expected {expected}, got {_shown(came)}{several}"


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)


def _expected(schema: Any, key: str) -> str | None:
    """What a key of a schema may hold, in words; None if the key is unknown."""
    hint: Any = schema
    for part in filter(None, key.split(".")):
        name = part.partition("[")[0]
        hints = get_type_hints(hint) if dataclasses.is_dataclass(hint) else {}
        if name not in hints:
            return None
        hint = hints[name]
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a name", NoneType: "null"}
    if get_origin(hint) is list:
        return "a list of names like [mnist,usps]"
    kinds = [words.get(kind) for kind in get_args(hint) or [hint]]
    return None if not key or None in kinds else " or ".join(kind for kind in kinds if kind)


# The jobs of a launcher unpickle functions of this package before they touch the configuration.
register_resolvers()
