"""Checks of a command line before Hydra composes it: what Hydra would misread, or answer with a traceback."""

from __future__ import annotations

import itertools
import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString, RangeSweep, Sweep, Transformer
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imprint_sweep.config.component_options import offer, register_named
from imprint_sweep.config.overrides import (
    EXPERIMENT,
    NUMBERS,
    check_flat,
    check_name,
    check_no_file,
    check_place,
    elements,
    for_hydra,
    parse,
)
from imprint_sweep.config.schemas import GROUPS, OF_HYDRA, Config, value_not_group
from imprint_sweep.errors import ConfigError
from imprint_sweep.invocation import conf_folder


def check(words: Sequence[str], schema: type[Any] = Config) -> None:
    """Raise an error that says what to write instead, if Hydra cannot do what a command line means.

    Args:
        words: the command line, without the name of the command.
        schema: the configuration that it is about.

    Raises:
        ConfigError: a list for a group, an option between overrides, a setting of Hydra that it would choke on.
        OverrideParseException: what is no override.
        SystemExit: code 2 after an option that Hydra's parser of options refuses.
    """
    given, stray = get_args_parser().parse_known_args(list(words))
    if stray:
        raise ConfigError(_misplaced(words, given.overrides, stray))
    if given.hydra_help or given.shell_completion or given.experimental_rerun:
        return
    overrides = [parse(argument) for argument in given.overrides]
    for folder in _folders(given, overrides):
        for number in NUMBERS:
            if (folder / number).is_dir():
                raise value_not_group(number, f"the folder {folder / number}")
    if len(several := [override for override in overrides if override.key_or_group == EXPERIMENT]) > 1:
        names = ",".join(str(override.input_line).partition("=")[2] for override in several)
        raise ConfigError(
            f"{EXPERIMENT} is set {len(several)} times; several of them stand in one: +{EXPERIMENT}={names}"
        )
    own_sweeper = schema is Config and not any(override.key_or_group == "hydra/sweeper" for override in overrides)
    for override in overrides:
        _check(override)
        if given.multirun and not own_sweeper:
            _check_sweep(override)


def completed(words: Sequence[str]) -> list[str]:
    """A command line as Hydra takes it: what components of other packages declare becomes known to it.

    Args:
        words: the command line of a cell or a sweep, without the name of the command, after :func:`check`.
    """
    given, _ = get_args_parser().parse_known_args(list(words))
    if given.help or given.hydra_help or given.shell_completion or given.experimental_rerun:
        offer()
        return list(words)
    register_named(list(_folders(given, [parse(argument) for argument in given.overrides]))[1:])
    offer()
    return [for_hydra(word) if word in given.overrides else word for word in words]


def _misplaced(words: Sequence[str], overrides: Sequence[str], stray: Sequence[str]) -> str:
    """What is wrong with the words that Hydra's parser of options leaves over."""
    unknown = next((word for word in stray if word.startswith("-")), None)
    if unknown is not None:
        return f"unknown option {unknown}: settings are written as key=value, without dashes; --help lists them"
    options = list(words)
    for override in [*overrides, *stray]:
        options.remove(override)
    line = shlex.join([*options, *overrides, *stray])
    return f"{options[0]} stands between overrides, of which Hydra reads only those on one side of it; write {line}"


def _folders(given: Namespace, overrides: Sequence[Override]) -> Iterator[Path]:
    """The folders that options are looked for in, as far as the command line tells; the project's own comes first."""
    yield conf_folder()
    if given.config_dir is not None:
        yield Path(given.config_dir)
    for override in overrides:
        if override.key_or_group == "hydra.searchpath" and isinstance(places := override.value(), list):
            yield from (Path(str(place).removeprefix("file://")) for place in places)


def _check(override: Override) -> None:
    key, line = override.key_or_group, str(override.input_line)
    if not key or key == "hydra":
        raise ConfigError(
            f"{line!r} sets nothing: expected key=value with a key such as k, task.classes or hydra.run.dir"
        )
    check_place(override)
    if override.is_delete():
        return
    # Hydra's types leave out that a glob may be the value.
    value: Any = override.value()
    if key in (*GROUPS, *OF_HYDRA):
        # Hydra's own sweepers take a list among the values of a sweep for one option, too.
        for name in elements(override):
            if not isinstance(name, Glob | dict):
                check_name(key, _resolved(name))
    if key == EXPERIMENT:
        for name in elements(override):
            if isinstance(name, str | QuotedString):
                check_no_file(key, name if isinstance(name, str) else name.text)
    if key == EXPERIMENT and not isinstance(value, Sweep | Glob):
        names = value if isinstance(value, list) else [value]
        if not names or any(not isinstance(name, str | QuotedString) for name in names):
            raise ConfigError(f"{line}: expected names of experiments, as in +experiment=a,b, or +experiment=glob(a*)")
    if key in ("hydra.run.dir", "hydra.sweep.dir") and not str(value).strip():
        raise ConfigError(f"{line}: the name of a folder is empty; write {key}=. for the present one")
    check_flat(line, value)
    if key in ("hydra.launcher", "hydra.sweeper") and not isinstance(value, dict):
        group = key.replace(".", "/")
        raise ConfigError(f"{line}: {key} holds settings; choose with {group}=NAME, and set one with {key}.KEY=VALUE")
    listed = isinstance(value, list) and all(isinstance(name, str | QuotedString) for name in value)
    if key == "hydra.verbose" and not (listed or isinstance(value, bool | str)):
        raise ConfigError(f"{line}: expected true, false, or names of loggers, as in hydra.verbose=[imprint_sweep]")
    if key == "hydra.searchpath" and not listed:
        raise ConfigError(f"{line}: expected a list of folders, as in hydra.searchpath=[file:///home/me/conf]")


def _resolved(name: Any) -> Any:
    """What an interpolation in the place of an option's name stands for, as far as it does not need Hydra's choices."""
    if not (isinstance(name, str) and "${" in name):
        return name
    try:
        found = OmegaConf.create({"name": name})["name"]
    except OmegaConfBaseException:
        return name
    return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found


def _check_sweep(override: Override) -> None:
    """Hydra's own sweepers read less than ours, and sort ranges wrongly."""
    ours: Any = override.value()
    if isinstance(ours, RangeSweep):
        next(elements(override), None)
    if not isinstance(ours, ChoiceSweep):
        return
    theirs: Any = OverridesParser.create().parse_override(str(override.input_line)).value()
    nested = any(isinstance(item, Sweep | Glob) for item in ours.list)
    missorted = (
        isinstance(theirs, RangeSweep) and list(itertools.islice(theirs.range(), len(ours.list) + 1)) != ours.list
    )
    if nested or missorted:
        values = [None if isinstance(item, Glob) else Transformer.str(item) for item in elements(override)]
        listed = "a,b,c" if None in values else ",".join(map(str, values))
        raise ConfigError(f"{override.input_line}: this sweeper cannot read it; write {override.key_or_group}={listed}")
