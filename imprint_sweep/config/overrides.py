"""What a command line sweeps over: Hydra's override grammar, and the names that it may use.

Overrides of a group, of a key below one, or of a number of the cell are *axes*; ``experiment`` names files that
describe a sweep; everything else is a *setting* and has one value. Names are checked before anything is composed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any

from hydra._internal.grammar import grammar_functions
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
    Transformer,
)
from hydra.errors import HydraException

from imprint_sweep.config.schemas import GROUPS, NODES, known_keys, unknown_key
from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.grid.axes import AXES
from imprint_sweep.grid.scheme import known_parameters

NUMBERS = tuple(axis.name for axis in AXES if "." not in axis.name and axis.name not in GROUPS)
"""The axes of a cell that are plain values, not groups or nodes."""

EXPERIMENT = "experiment"
"""The group of the files that describe a sweep. It never becomes part of a cell's configuration."""

MAX_VALUES = 1_000_000
"""More than this on one axis is a slip, such as a range with a zero too many."""

_LISTS: dict[str, type] = {"task.classes": int, "task.datasets": str}
"""Axes whose values are lists, and what is in these; alone, none of it is a value."""

Options = Callable[[str], Sequence[str]]
"""The names of a group's options, those of users included."""


@dataclass(frozen=True)
class Value:
    """One value of an axis.

    Args:
        value: as Python sees it: None, bool, int, float, str or a list of them.
        text: as a command line writes it, after the ``=``.
    """

    value: Any
    text: str

    @classmethod
    def of(cls, value: Any) -> Value:
        """A value that the grammar, YAML, or the name of a file gave."""
        return cls(_plain(value), Transformer.str(_quoted(value)))


Axes = dict[str, tuple[Value, ...]]
"""Axis -> its values, at least one, in the order of the product: the last axis varies fastest."""


@dataclass(frozen=True)
class CommandLine:
    """The overrides of a sweep, sorted out.

    Args:
        axes: what is swept over, or fixed in every cell.
        experiments: names of experiments.
        settings: overrides of everything else, as they were written.
    """

    axes: Axes
    experiments: tuple[str, ...]
    settings: tuple[str, ...]


def read_command_line(arguments: Iterable[str], options: Options) -> CommandLine:
    """Sort out the overrides of a sweep. Of an axis given twice the last counts, as in Hydra.

    Raises:
        UnknownOptionError: a key or an option that does not exist.
        ConfigError: a setting with several values, or what cannot be swept.
    """
    axes: Axes = {}
    experiments: tuple[str, ...] = ()
    settings: dict[str, str] = {}
    for argument in arguments:
        override = parse(argument)
        key = override.key_or_group
        check_place(override)
        if key == EXPERIMENT:
            experiments = _experiments(override, options)
        elif is_axis(key):
            if override.is_add():
                raise ConfigError(f"{key} has a value already: write {argument.lstrip('+')}, without +")
            axes[key] = _values(override, options)
        elif key in known_keys():
            if override.is_sweep_override():
                raise ConfigError(f"{argument}: {key} is a setting of the whole sweep and takes one value")
            if part_of(key) == "shard":
                raise ConfigError(f"{argument}: a sweep itself says in each of its jobs which shard it is")
            settings[override.get_key_element()] = argument
        else:
            raise unknown_key(key)
    return CommandLine(axes, experiments, tuple(settings.values()))


def read_axis(key: str, given: Any, options: Options) -> tuple[Value, ...]:
    """The values of an axis that stands in a file.

    Args:
        key: the axis.
        given: text in the grammar of the command line, any other value, or a list of both, whose values are united.
        options: see :data:`Options`.

    Raises:
        UnknownOptionError: an axis or an option that does not exist.
        ConfigError: text that cannot be read, or no value at all.
    """
    if not is_axis(key):
        if key.lstrip("+") == EXPERIMENT:
            raise ConfigError("experiments are named on the command line, as in +experiment=a,b, or included in a file")
        if key in known_keys():
            raise ConfigError(f"{key} is a setting of the whole sweep: give it on the command line")
        raise UnknownOptionError("axis", key, axis_names())
    values: list[Value] = []
    for item in given if isinstance(given, list) else [given]:
        if isinstance(item, str):
            try:
                override = parse(f"{key}={item}")
            except HydraException as error:
                if item.startswith("${") and item.endswith("}"):
                    values.append(Value.of(item))
                    continue
                raise ConfigError(
                    f"cannot read {key}={item}: expected values as on a command line; YAML parts some without quotes"
                ) from error
            values += _read(override, options)
        else:
            values.append(Value.of(item))
    if not values:
        raise ConfigError(f"{key} has no values")
    if isinstance(given, list) and is_one_value(key, [value.value for value in values]):
        values = [Value.of([value.value for value in values])]
    return _checked(key, values, options)


def parse(argument: str) -> Override:
    """Read one override in Hydra's grammar.

    Raises:
        OverrideParseException, ConfigError: it is none.
    """
    try:
        (override,) = _parser().parse_overrides([argument])
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"cannot read {argument[:40]}...: {error}") from error
    return override


def elements(override: Override) -> Iterator[Any]:
    """The values of a sweep over one key, those of sweeps within it one after the other: ``1,range(3,5)`` is 1, 3, 4.

    A glob stands for itself: only the options tell its values.

    Raises:
        ConfigError: an interval, or a range without a step.
    """
    return _elements(override, override.value())


def check_place(override: Override) -> None:
    """Raise an error if an override puts a part of a cell, or an experiment, elsewhere.

    Raises:
        ConfigError: it does.
    """
    key = override.key_or_group
    if override.package is not None and (is_axis(key) or key == EXPERIMENT):
        owner = "a sweep" if key == EXPERIMENT else "a cell"
        raise ConfigError(f"{override.input_line}: {owner} has one {key}, so it cannot be put elsewhere with @")


def check_name(group: str, name: Any, available: Sequence[str] = ()) -> None:
    """Raise an error that says what to write unless `name` could be that of an option.

    Args:
        group: the group.
        name: what came, as Hydra's parser gives it.
        available: the options of the group, where they are known.

    Raises:
        ConfigError: it is a list, a number, the name of a file, ...
    """
    expected = f"{group}: expected the name of an option" + (f" ({', '.join(available)})" if available else "")
    if isinstance(name, list):
        named = list(_names(name))
        if len(named) > 1 and group not in GROUPS:
            named = ["NAME"]
        several = "-m " if len(named) > 1 or "glob" in "".join(named) else ""
        advice = f"; write {several}{group}={','.join(named)}" if named else ""
        raise ConfigError(f"{expected}, got a list, of which Hydra would take the last alone{advice}")
    if not isinstance(name, str | QuotedString):
        keys = f"; its keys are set one by one, as in {group}.KEY=VALUE" if isinstance(name, dict) else ""
        raise ConfigError(f"{expected}, got {'null' if name is None else repr(name)}{keys}")
    check_no_file(group, str(_plain(name)))


def check_no_file(group: str, name: str) -> None:
    """Raise an error that says what to write if an option is named by its file, which Hydra finds outside of sweeps.

    Args:
        group: the group.
        name: the name of an option of it.

    Raises:
        ConfigError: it is the name of a file.
    """
    option, dot, suffix = name.rpartition(".")
    if dot and suffix in ("yaml", "yml"):
        plus = "+" if group == EXPERIMENT else ""
        option = option.rpartition(f"{group}/")[2]
        raise ConfigError(
            f"{group}: {name} is the name of a file, and options have no ending; write {plus}{group}={option}"
        )


def check_flat(line: str, value: Any) -> None:
    """Raise an error if a list or a mapping holds what stands for several values.

    Args:
        line: what was written.
        value: one value of it.

    Raises:
        ConfigError: it does.
    """
    if isinstance(value, list | dict):
        for item in value if isinstance(value, list) else value.values():
            if isinstance(item, Sweep | Glob):
                raise ConfigError(f"{line}: a list holds single values; range, choice, glob and the like stand alone")
            check_flat(line, item)


def is_one_value(key: str, values: Sequence[Any]) -> bool:
    """Whether a list is one value of an axis, not several: the axis holds lists, and nothing in it is a value alone."""
    return all(type(value) is _LISTS.get(key) for value in values)


def is_axis(key: str) -> bool:
    """Whether a key is one of :func:`axis_names`."""
    return key in axis_names()


def axis_names() -> tuple[str, ...]:
    """Everything that can be swept over: groups, the keys below them and below nodes, and the numbers of a cell."""
    return tuple(key for key in known_keys() if part_of(key) in (*GROUPS, *NODES, *NUMBERS) and key not in NODES)


def part_of(axis: str) -> str:
    """The group, node or number that an axis sets: ``agg`` for ``agg.m``."""
    return axis.partition(".")[0]


def for_hydra(override: str) -> str:
    """An override as Hydra takes it under every option: a component's parameter is added to those that do not list it.

    Args:
        override: ``key=value``, with or without ``+``.
    """
    key, equals, value = override.partition("=")
    key = key.lstrip("+")
    return f"++{key}{equals}{value}" if equals and key in known_parameters() else override


def check_option(group: str, name: Any, options: Options) -> None:
    """Raise an error that lists the options of a group unless `name` is one.

    Raises:
        UnknownOptionError: it is none.
        ConfigError: it is not even a name.
    """
    available = options(group)
    check_name(group, name, available)
    if name not in available:
        raise UnknownOptionError(group, name, available)


def _experiments(override: Override, options: Options) -> tuple[str, ...]:
    if not override.is_add():
        raise ConfigError("an experiment is added, not overridden: -m +experiment=NAME")
    values = [value.value for value in _read(override, options)]
    names = tuple(name for value in values for name in (value if isinstance(value, list) else [value]))
    for name in names:
        check_option(EXPERIMENT, name, options)
    return names


def _values(override: Override, options: Options) -> tuple[Value, ...]:
    return _checked(override.key_or_group, _read(override, options), options)


def _read(override: Override, options: Options) -> list[Value]:
    """The values that the right side of an override stands for, in Hydra's order."""
    key, line = override.key_or_group, str(override.input_line)
    if override.is_delete():
        raise ConfigError(f"{line}: every cell needs {key}; it cannot be removed in a sweep")
    if override.is_sweep_override():
        values = list(itertools.islice(_swept(override, options), MAX_VALUES + 1))
    else:
        given = override.value()
        if key in GROUPS:
            check_name(key, given, options(key))
        check_flat(line, given)
        values = [Value.of(override._value)]  # with its quotation marks, which value() takes away
    if not values:
        raise ConfigError(f"{line} stands for no value at all")
    if len(values) > MAX_VALUES:
        raise ConfigError(f"{line} stands for more than {MAX_VALUES:,} values")
    return values


def _swept(override: Override, options: Options) -> Iterator[Value]:
    """The values of a sweep, those of globs included."""
    key, line = override.key_or_group, str(override.input_line)
    for element in elements(override):
        if not isinstance(element, Glob):
            check_flat(line, element)
            yield Value.of(element)
        elif key in (*GROUPS, EXPERIMENT):
            # Hydra's own expansion overlooks options found through hydra.searchpath.
            yield from map(Value.of, _matching(element, options(key)))
        else:
            raise ConfigError(f"{line}: glob chooses among the options of a group, and {key} has none")


def _matching(glob: Glob, names: Sequence[str]) -> list[str]:
    """The options that a glob stands for; as in Hydra, those in folders only if it says so."""
    # Of patterns in quotes Hydra makes no text.
    glob = Glob(include=_plain(glob.include), exclude=_plain(glob.exclude))
    folders = any("/" in pattern for pattern in glob.include)
    return glob.filter([name for name in names if folders or "/" not in name])


def _elements(override: Override, value: Any) -> Iterator[Any]:
    if isinstance(value, ChoiceSweep):
        for item in random.sample(value.list, len(value.list)) if value.shuffle else value.list:
            yield from _elements(override, item)
    elif isinstance(value, RangeSweep):
        try:
            numbers = list(itertools.islice(value.range(), MAX_VALUES + 1))
        except (ValueError, ArithmeticError, HydraException) as error:
            raise ConfigError(f"{override.input_line}: a range needs numbers and a step other than 0") from error
        yield from random.sample(numbers, len(numbers)) if value.shuffle else numbers
    elif isinstance(value, IntervalSweep):
        key = override.key_or_group
        raise ConfigError(
            f"{override.input_line}: an interval holds no list of values, and every cell of a sweep is planned before "
            f"the first runs; write {key}=range(start,stop,step) or {key}=a,b,c"
        )
    else:
        yield value


def _names(value: Any) -> Iterator[str]:
    """The names and globs in a list, as a command line writes them."""
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, Glob):
        included, excluded = (",".join(map(Transformer.str, patterns)) for patterns in (value.include, value.exclude))
        yield f"glob([{included}],exclude=[{excluded}])" if excluded else f"glob([{included}])"
    elif isinstance(value, str | QuotedString):
        yield Transformer.str(value)


@cache
def _parser() -> OverridesParser:
    """Hydra's parser with a ``sort`` that is right for ranges, too."""
    functions = create_functions()
    functions.functions["sort"] = _sort
    return OverridesParser(functions)


@wraps(grammar_functions.sort)
def _sort(*arguments: Any, **named: Any) -> Any:
    """Hydra's ``sort`` takes another range for the one that was written, unless it is in order or its step is 1."""
    given = named.get("sweep", arguments[0] if len(arguments) == 1 else None)
    if not isinstance(given, RangeSweep):
        return grammar_functions.sort(*arguments, **named)
    numbers = itertools.islice(given.range(), MAX_VALUES + 1)
    return ChoiceSweep(tags=given.tags, list=sorted(numbers, reverse=named.get("reverse", False)))


def _checked(key: str, values: Iterable[Value], options: Options) -> tuple[Value, ...]:
    values = tuple(values)
    for value in values if key in GROUPS else ():
        check_option(key, value.value, options)
    return values


def _quoted(value: Any) -> Any:
    """An element with quotation marks where its text would read as something else, as that of ``str(1)`` would."""
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    if isinstance(value, str):
        try:
            reads_as = parse(f"value={Transformer.str(value)}").value()
        except HydraException:
            reads_as = None
        # Quotation marks of the other kind: escaped ones inside an interpolation are too much for Hydra.
        quote = Quote.double if "'" in value else Quote.single
        return value if reads_as == value else QuotedString(text=value, quote=quote)
    return value


def _plain(value: Any) -> Any:
    """A parsed element without its quotation marks."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
