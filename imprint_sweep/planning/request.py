"""Requested rows as columns: blocks of axes -> distinct models, tasks and schemes, and which row has which.

A row costs a few bytes of index arithmetic. Objects are made once for each distinct value: an option with the keys set
below it, a model, a task, a scheme.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from hydra.core.utils import env_override
from numpy.typing import NDArray
from omegaconf import DictConfig

from imprint_sweep.config.composition import (
    Assignment,
    CoupledError,
    Parts,
    Tree,
    as_job,
    chosen,
    obstacle,
    own_node,
)
from imprint_sweep.config.experiments import Block
from imprint_sweep.config.overrides import NUMBERS, Value, part_of
from imprint_sweep.config.reading import (
    axis_values,
    cell_from_config,
    config_from,
    model_from,
    notes_on_stream,
    scheme_from,
    task_from,
    typed,
)
from imprint_sweep.config.schemas import (
    GROUPS,
    NODES,
    AggConfig,
    EvalConfig,
    GenConfig,
    ModelConfig,
    NormConfig,
    NumbersConfig,
    SelectConfig,
    TaskConfig,
)
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.errors import ConfigError, InvalidCellError, MissingEmbeddingsError
from imprint_sweep.grid.cell import Model, Task
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.wording import counted

Column = NDArray[np.int32]
Indices = NDArray[np.int64]

MAX_COMBINATIONS = 20_000_000
"""More than this in one block is a slip, and would take gigabytes to count."""

_SCHEMAS: dict[str, type[Any]] = {
    "model": ModelConfig, "task": TaskConfig, "gen": GenConfig, "norm": NormConfig, "agg": AggConfig,
    "eval": EvalConfig, "select": SelectConfig,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Request:
    """What a sweep asks for, a row per combination, repeated ones included.

    Args:
        models, tasks, schemes: each distinct once.
        model, task, scheme: (n,) int32 indices into them, in the order of the blocks and of the product.
        excluded: combinations left out by conditions of an experiment.
        invalid: combinations that are an error as a single cell, and how many, by reason.
        missing: combinations of which only embeddings that do not exist could tell the classes, and how many, by what
            makes them.
        notes: what else there is to say of what was asked for, a sentence each.
        axes: names of the swept axes, in order.
    """

    models: Sequence[Model]
    tasks: Sequence[Task]
    schemes: Sequence[Scheme]
    model: Column
    task: Column
    scheme: Column
    excluded: int = 0
    invalid: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()

    @property
    def left_out(self) -> int:
        """Combinations that make no row."""
        return self.excluded + sum(self.invalid.values()) + sum(self.missing.values())


def build(
    blocks: Sequence[Block], tree: Tree, cache: EmbeddingCache, *, warn: Callable[[str], None] = lambda message: None
) -> Request:
    """The rows that blocks ask for.

    Args:
        blocks: at least one.
        tree: where options come from.
        cache: tells the classes of imported embeddings.
        warn: told when the configuration has to be composed cell by cell, and what that costs.

    Raises:
        ConfigError: a configuration that cannot be read; no combination that is a cell.
    """
    for block in blocks:
        if _size(block) > MAX_COMBINATIONS:
            raise ConfigError(
                f"a block has {_size(block):,} combinations of {', '.join(block.axes)}; at most {MAX_COMBINATIONS:,} "
                "are planned at once"
            )
    rows = _Rows(cache)
    reason, parts = _factored(blocks, tree)
    if parts is not None:
        try:
            with env_override(tree.environment):
                states = _States(parts)
                for block in blocks:
                    rows.add_product(block, states)
        except CoupledError as error:
            reason, rows = str(error), _Rows(cache)
    if reason is not None:
        _one_by_one(blocks, tree, rows, reason, warn)
    return rows.request(tuple(_swept(blocks)))


def _factored(blocks: Sequence[Block], tree: Tree) -> tuple[str | None, Parts | None]:
    """The reason why the options of a sweep cannot be composed once each, or the options."""
    used = {group: _used(group, blocks, tree) for group in GROUPS}
    reason = obstacle(tree, used)
    if reason is not None:
        return reason, None
    parts = Parts(tree, used)
    return parts.conflict, parts if parts.conflict is None else None


def _used(group: str, blocks: Sequence[Block], tree: Tree) -> list[str]:
    names = (
        [value.value for value in block.axes[group]] if group in block.axes else [tree.option(group, {})]
        for block in blocks
    )
    return list(dict.fromkeys(itertools.chain.from_iterable(names)))


def _swept(blocks: Sequence[Block]) -> Iterator[str]:
    """The axes that have more than one value."""
    values: dict[str, set[str]] = {}
    for block in blocks:
        for axis, given in block.axes.items():
            values.setdefault(axis, set()).update(value.text for value in given)
    return (axis for axis, texts in values.items() if len(texts) > 1)


def _size(block: Block) -> int:
    return math.prod(len(values) for values in block.axes.values())


T = TypeVar("T", bound=Hashable)


class _Distinct(Generic[T]):
    """Distinct values in the order in which they came, and those that could not be made."""

    def __init__(self, invalid: Counter[str], missing: Counter[str]) -> None:
        self.codes: dict[T, int] = {}
        self._invalid, self._missing = invalid, missing

    def column(self, keys: NDArray[Any], make: Callable[[int], T]) -> Column:
        """(n,) index of the value of each key; -1, and counted, where its value is an invalid one."""
        distinct, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        column = np.full(len(distinct), -1, np.int32)
        for i, (key, count) in enumerate(zip(distinct.tolist(), counts.tolist(), strict=True)):
            try:
                value = make(key)
            except InvalidCellError as error:
                self._invalid[str(error)] += count
            except MissingEmbeddingsError as error:
                self._missing[str(error)] += count
            else:
                column[i] = self.code(value)
        return column[inverse]

    def code(self, value: T) -> int:
        """The index of a value, a new one if it has not come before."""
        return self.codes.setdefault(value, len(self.codes))


@dataclass(frozen=True)
class _State:
    """One value of a part of a cell: of a group with the keys set below it, or of a number.

    Args:
        value: the typed node, or the number.
        values: axis -> value, as conditions see it.
    """

    value: Any
    values: Mapping[str, Any]


class _States:
    """The states that the parts of cells take, each made once.

    Args:
        parts: makes their configuration.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[tuple[str, ...], _State] = {}

    def state(self, part: str, axes: Assignment) -> _State:
        """The state of one part.

        Args:
            part: a group, a node or a number.
            axes: what is set of it.

        Raises:
            CoupledError: it depends on other parts.
            ConfigError: it cannot be read.
        """
        key = (part, *(f"{axis}={value.text}" for axis, value in axes.items()))
        if key not in self._known:
            make = self._number if part in NUMBERS else self._node if part in NODES else self._group
            self._known[key] = make(part, axes)
        return self._known[key]

    def _group(self, group: str, axes: Assignment) -> _State:
        node = typed(_SCHEMAS[group], self._parts.group(group, axes), group)
        return _State(node, {group: self._parts.option(group, axes), **axis_values(group, node)})

    def _node(self, name: str, axes: Assignment) -> _State:
        node = typed(_SCHEMAS[name], self._parts.node(name, axes), name)
        return _State(node, axis_values(name, node))

    def _number(self, number: str, axes: Assignment) -> _State:
        value = self._parts.number(number, axes)
        if isinstance(value, DictConfig):
            value = getattr(typed(NumbersConfig, value, only=[number]), number)
        return _State(value, {number: value})


class _Product:
    """The combinations of a block, each part of a cell a column of codes."""

    def __init__(self, block: Block, states: _States) -> None:
        self.block, self.n = block, _size(block)
        self.states = {
            part: [states.state(part, axes) for axes in self._settings(part)] for part in (*GROUPS, *NODES, *NUMBERS)
        }
        self.codes = {part: self._code(part) for part in self.states}

    def _settings(self, part: str) -> Iterator[dict[str, Value]]:
        """The combinations of the axes of one part."""
        own = [axis for axis in self.block.axes if part_of(axis) == part]
        for values in itertools.product(*(self.block.axes[axis] for axis in own)):
            yield dict(zip(own, values, strict=True))

    def _code(self, part: str) -> Column:
        code, stride = np.zeros(self.n, np.int32), self.n
        position = np.arange(self.n)
        for axis, values in self.block.axes.items():
            stride //= len(values)
            if part_of(axis) == part:
                code = code * len(values) + (position // stride % len(values)).astype(np.int32)
        return code

    def excluded(self) -> NDArray[np.bool_]:
        """(n,) whether a condition leaves the combination out; evaluated once per combination of the parts it names."""
        excluded = np.zeros(self.n, bool)
        for condition in self.block.exclude:
            involved = list(dict.fromkeys(part_of(name) for name in sorted(condition.names)))
            sizes = [len(self.states[part]) for part in involved]
            combinations = itertools.product(*(self.states[part] for part in involved))
            holds = np.array(
                [
                    condition.holds({name: value for state in states for name, value in state.values.items()})
                    for states in combinations
                ]
            )
            code = np.ravel_multi_index([self.codes[part] for part in involved], sizes) if involved else 0
            excluded |= holds[code]
        return excluded


class _Rows:
    """The rows found so far."""

    def __init__(self, cache: EmbeddingCache) -> None:
        self._cache = cache
        self.invalid: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.excluded = 0
        self.notes: dict[str, None] = {}
        self.models = _Distinct[Model](self.invalid, self.missing)
        self.tasks = _Distinct[Task](self.invalid, self.missing)
        self.schemes = _Distinct[Scheme](self.invalid, self.missing)
        none = np.zeros(0, np.int32)
        self._columns: list[tuple[Column, Column, Column]] = [(none, none, none)]

    def add_product(self, block: Block, states: _States) -> None:
        """Add the rows of a block by index arithmetic.

        Raises:
            CoupledError: its parts depend on each other.
        """
        product = _Product(block, states)
        excluded = product.excluded()
        self.excluded += int(excluded.sum())
        rows = np.flatnonzero(~excluded)
        model = self._models(product, rows)
        rows, model = rows[model >= 0], model[model >= 0]
        task = self._tasks(product, rows, model)
        rows, model, task = rows[task >= 0], model[task >= 0], task[task >= 0]
        scheme = self._schemes(product, rows)
        self._columns.append((model[scheme >= 0], task[scheme >= 0], scheme[scheme >= 0]))

    def add(self, cfg: DictConfig) -> None:
        """Add the row of one configuration."""
        try:
            config = config_from(cfg)
            cell = cell_from_config(config)
        except InvalidCellError as error:
            self.invalid[str(error)] += 1
            return
        except MissingEmbeddingsError as error:
            self.missing[str(error)] += 1
            return
        self.notes |= dict.fromkeys(notes_on_stream(cell.task, config.task))
        model, task, scheme = self.models.code(cell.model), self.tasks.code(cell.task), self.schemes.code(cell.scheme)
        self._columns.append((np.array([model], np.int32), np.array([task], np.int32), np.array([scheme], np.int32)))

    def request(self, axes: tuple[str, ...]) -> Request:
        """The rows as columns.

        Raises:
            InvalidCellError: there are none, not even with the embeddings that are missing.
        """
        if not self.missing and not any(len(model) for model, _, _ in self._columns):
            reasons = "; ".join(
                reason if count == 1 else f"{reason} ({count:,} times)" for reason, count in self.invalid.most_common(3)
            )
            excluded = f"conditions exclude {counted(self.excluded, 'combination')}" if self.excluded else ""
            raise InvalidCellError(f"no cell remains: {'; '.join(filter(None, [reasons, excluded]))}")
        model, task, scheme = (np.concatenate(columns) for columns in zip(*self._columns, strict=True))
        return Request(
            models=tuple(self.models.codes),
            tasks=tuple(self.tasks.codes),
            schemes=tuple(self.schemes.codes),
            model=model,
            task=task,
            scheme=scheme,
            excluded=self.excluded,
            invalid=dict(self.invalid),
            missing=dict(self.missing),
            notes=tuple(self.notes),
            axes=axes,
        )

    def _models(self, product: _Product, rows: Indices) -> Column:
        states = product.states["model"]
        return self.models.column(product.codes["model"][rows], lambda code: model_from(states[code].value))

    def _tasks(self, product: _Product, rows: Indices, model: Column) -> Column:
        nodes = [state.value for state in product.states["task"]]
        limits = [state.value for state in product.states["limit"]]
        models = list(self.models.codes)
        # Imported embeddings tell the classes of a task that lists none, so there it depends on the model.
        unlisted = np.array([node.labels is None for node in nodes])
        task, limit = product.codes["task"][rows], product.codes["limit"][rows]
        sizes = (len(nodes), len(limits), max(1, len(models)))

        def make(key: int) -> Task:
            node, limit, model = (int(code) for code in np.unravel_index(key, sizes))
            made = task_from(nodes[node], limit=limits[limit], model=models[model], cache=self._cache)
            self.notes |= dict.fromkeys(notes_on_stream(made, nodes[node]))
            return made

        return self.tasks.column(np.ravel_multi_index((task, limit, np.where(unlisted[task], model, 0)), sizes), make)

    def _schemes(self, product: _Product, rows: Indices) -> Column:
        parts = ("gen", "norm", "agg", "select", "eval", "k", "n_shot", "seed")
        values = [[state.value for state in product.states[part]] for part in parts]
        # Only the gens that take a weight decay let the model reach into the scheme.
        decays = [None, *dict.fromkeys(state.value.weight_decay for state in product.states["model"])]
        decay = np.array([decays.index(state.value.weight_decay, 1) for state in product.states["model"]])
        uses = np.array([node.name in GENS and GENS[node.name].uses_weight_decay for node in values[0]])
        codes = [product.codes[part][rows] for part in parts]
        codes.append(np.where(uses[codes[0]], decay[product.codes["model"][rows]], 0).astype(np.int32))
        sizes = [*(len(options) for options in values), len(decays)]

        def make(key: int) -> Scheme:
            *positions, decay = (int(code) for code in np.unravel_index(key, sizes))
            parts = (options[i] for options, i in zip(values, positions, strict=True))
            gen, norm, agg, select, tested, k, n_shot, seed = parts
            return scheme_from(
                gen, norm, agg, select, k=k, n_shot=n_shot, seed=seed, split=tested.split, weight_decay=decays[decay]
            )

        return self.schemes.column(np.ravel_multi_index(codes, sizes), make)


def _one_by_one(blocks: Sequence[Block], tree: Tree, rows: _Rows, reason: str, warn: Callable[[str], None]) -> None:
    """Add the rows of blocks combination by combination, each composed by Hydra as a job of its own."""
    total, started = sum(_size(block) for block in blocks), time.monotonic()
    combinations = (
        (block, dict(zip(block.axes, values, strict=True)))
        for block in blocks
        for values in itertools.product(*block.axes.values())
    )
    for number, (block, axes) in enumerate(combinations):
        if number == 1:
            seconds = math.ceil((time.monotonic() - started) * total)
            warn(
                f"{total:,} configurations are composed one by one, about {seconds:,} s. "
                f"Hydra has to compose them: {reason}"
            )
        composed = tree.compose(axes)
        # An option may have overridden another group.
        options = chosen(composed)
        for group, name in options.items():
            own_node(tree, composed, group, name)
        with as_job(composed, number) as cfg:
            if block.exclude and any(condition.holds(_seen(cfg, options)) for condition in block.exclude):
                rows.excluded += 1
            else:
                rows.add(cfg)


def _seen(cfg: DictConfig, options: Mapping[str, str]) -> dict[str, Any]:
    """The values of all axes of one configuration, as conditions see them."""
    config = config_from(cfg)
    seen: dict[str, Any] = {number: getattr(config, number) for number in NUMBERS}
    for group in GROUPS:
        seen[group] = options[group]
        seen |= axis_values(group, getattr(config, group))
    for node in NODES:
        seen |= axis_values(node, getattr(config, node))
    return seen
