"""What a command line sweeps over: Hydra's override grammar, and the names that it may use.

Overrides of a group, of a key below one, or of a number of the cell are *axes*; ``experiment`` names files that
describe a sweep; everything else is a *setting* and has one value. Names are checked before anything is composed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString, Transformer
from hydra.errors import HydraException

from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.schemas import GROUPS, known_keys, unknown_key

NUMBERS = ("k", "n_shot", "seed", "limit")
"""The axes of a cell that are plain values, not groups."""

EXPERIMENT = "experiment"
"""The group of the files that describe a sweep. It never becomes part of a cell's configuration."""

MAX_VALUES = 1_000_000
"""More than this on one axis is a slip, such as a range with a zero too many."""

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
        """A value that the grammar or YAML gave."""
        return cls(_plain(value), Transformer.str(value))


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
        override = OverridesParser.create().parse_override(argument)
        key = override.key_or_group
        if key == EXPERIMENT:
            experiments = _experiments(override, options)
        elif is_axis(key):
            if override.is_add():
                raise ConfigError(f"{key} has a value already: write {argument.lstrip('+')}, without +")
            axes[key] = _values(override, options)
        elif key in known_keys():
            if override.is_sweep_override():
                raise ConfigError(f"{argument}: {key} is a setting of the whole sweep and takes one value")
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
        if key in known_keys():
            raise ConfigError(f"{key} is a setting of the whole sweep: give it on the command line")
        raise UnknownOptionError("axis", key, axis_names())
    values: list[Value] = []
    for item in given if isinstance(given, list) else [given]:
        if isinstance(item, str):
            try:
                override = OverridesParser.create().parse_override(f"{key}={item}")
            except HydraException as error:
                if item.startswith("${") and item.endswith("}"):
                    # A command line needs quotes around it. Escaped ones inside would be too much for Hydra.
                    quote = Quote.double if "'" in item else Quote.single
                    values.append(Value.of(QuotedString(text=item, quote=quote)))
                    continue
                raise ConfigError(f"cannot read {key}={item}: expected values as on a command line") from error
            values += _values(override, options)
        else:
            values.append(Value.of(item))
    if not values:
        raise ConfigError(f"{key} has no values")
    return _checked(key, values, options)


def is_axis(key: str) -> bool:
    """Whether a key is one of :func:`axis_names`."""
    return key in axis_names()


@cache
def axis_names() -> tuple[str, ...]:
    """Everything that can be swept over: groups, the keys below them, and the numbers of a cell."""
    return tuple(key for key in known_keys() if part_of(key) in (*GROUPS, *NUMBERS))


def part_of(axis: str) -> str:
    """The group or number that an axis sets: ``agg`` for ``agg.m``."""
    return axis.partition(".")[0]


def check_option(group: str, name: object, options: Options) -> None:
    """Raise an error that lists the options of a group unless `name` is one.

    Raises:
        UnknownOptionError: it is none.
        ConfigError: it is not even a name.
    """
    available = options(group)
    if not isinstance(name, str):
        raise ConfigError(f"{group}: expected the name of an option ({', '.join(available)}), got {name!r}")
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
    key, line = override.key_or_group, override.input_line
    if override.is_delete():
        raise ConfigError(f"{line}: every cell needs {key}; it cannot be removed in a sweep")
    if override.package is not None:
        raise ConfigError(f"{line}: a cell has one {key}, so it cannot be put elsewhere with @")
    if override.is_interval_sweep():
        raise ConfigError(
            f"{line}: an interval holds no list of values, and every cell of a sweep is planned before the first runs; "
            f"write {key}=range(start,stop,step) or {key}=a,b,c"
        )
    # Hydra's types leave out that a glob may be the value.
    given: Any = override.value()
    if isinstance(given, Glob):
        # Hydra's own expansion overlooks options found through hydra.searchpath.
        if key not in (*GROUPS, EXPERIMENT):
            raise ConfigError(f"{line}: glob chooses among the options of a group, and {key} has none")
        values = [Value.of(name) for name in given.filter(list(options(key)))]
    elif override.is_sweep_override():
        values = [Value.of(element) for element in itertools.islice(override.sweep_iterator(), MAX_VALUES + 1)]
    else:
        values = [Value(given, override.get_value_element_as_str())]
    if not values:
        raise ConfigError(f"{line} stands for no value at all")
    if len(values) > MAX_VALUES:
        raise ConfigError(f"{line} stands for more than {MAX_VALUES:,} values")
    return values


def _checked(key: str, values: Iterable[Value], options: Options) -> tuple[Value, ...]:
    values = tuple(values)
    for value in values if key in GROUPS else ():
        check_option(key, value.value, options)
    return values


def _plain(value: Any) -> Any:
    """A parsed element without its quotation marks."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
