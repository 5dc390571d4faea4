"""Errors of Hydra, OmegaConf and launchers in the project's own words, one line each."""

from __future__ import annotations

import dataclasses
import re
import sys
import traceback
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from imprint_sweep.config.overrides import EXPERIMENT
from imprint_sweep.config.schemas import (
    GROUPS,
    LISTS,
    OF_HYDRA,
    Config,
    is_setting,
    known_keys,
    unknown_key,
    unlisted_key,
    value_not_group,
)
from imprint_sweep.errors import ConfigError, ImprintError, UnknownOptionError, one_line

_NO_MEMORY = "can't allocate memory|out of memory"
"""In the errors of torch, which are no MemoryError."""


def explanation(error: BaseException, schema: type[Any] = Config) -> str | None:
    """The message for a user who can mend the error; None if it is a bug, which keeps its traceback.

    Args:
        error: what went wrong.
        schema: the configuration whose keys are named where one is unknown.
    """
    match error:
        case ImprintError():
            return str(error)
        case MemoryError():
            return f"there is not enough memory: {one_line(error)}"
        case MissingConfigException() if error.missing_cfg_file and error.options:
            known = (
                group
                for group in (*GROUPS, *OF_HYDRA, EXPERIMENT)
                if str(error.missing_cfg_file).startswith(f"{group}/")
            )
            group = next(known, error.missing_cfg_file.rpartition("/")[0])
            return str(UnknownOptionError(group, error.missing_cfg_file.removeprefix(f"{group}/"), error.options))
        case OverrideParseException():
            return f"cannot read {error.override!r}: {_unreadable(str(error))}"
        case ConfigCompositionException():
            return _composition(error, schema)
        case HydraException() | yaml.YAMLError():
            return one_line(error)
        case OmegaConfBaseException():
            # Of an error that a resolver of ours raised, OmegaConf keeps no more than this.
            return str(error).splitlines()[0].removeprefix("ConfigError raised while resolving interpolation: ")
        case RuntimeError() if re.search(_NO_MEMORY, str(error)):
            return f"there is not enough memory: {one_line(error)}"
        case Exception() if _raised_by(error, "submitit"):
            return f"the launcher: {one_line(error)}"
        case OSError() if _raised_by(error, "hydra"):
            return (
                f"{error.filename}: {error.strerror}; Hydra makes the folders hydra.run.dir, hydra.sweep.dir and "
                "hydra.output_subdir before anything runs"
            )
        case ValueError() if _raised_by(error, "hydra"):
            # Hydra refuses some command lines, such as --resolve alone, with a plain ValueError.
            return one_line(error)
        case Exception() if _raised_by(error, "hydra", "omegaconf"):
            return (
                f"Hydra cannot use this command line or a file that it names: {type(error).__name__}: {one_line(error)}"
            )
        case _:
            return None


def _unreadable(message: str) -> str:
    """Why Hydra could not read an override: what a function in it says, else what an override looks like."""
    if found := re.search(r"(?P<kind>\w+) while evaluating (?P<said>.*)(?P<more>\nAvailable: .*)?", message):
        said = one_line(found["said"] + (found["more"] or "").replace("\nAvailable", "; available"))
        # Python objects, or nothing at all, is what Hydra says of a sweep among the arguments of a function.
        if found["kind"] == "AssertionError" or re.search(r"\b(Range|Choice|Interval)Sweep\b.*$", said):
            call = said.partition("': ")[0].rstrip("':")
            return f"{call}' cannot take such arguments; write values one by one, or a sweep alone"
        return said
    return "expected key=value, a list as key=[a,b], text with special characters in quotes"


def _composition(error: ConfigCompositionException, schema: type[Any]) -> str:
    """Hydra's message about a composition that failed, with what to do instead of what to append."""
    message = str(error)
    if not message and error.__cause__ is not None:
        return explanation(error.__cause__, schema) or one_line(error.__cause__)
    if found := re.match(r"Could not override '(?P<name>[^']+)'", message):
        name, cause = found["name"], error.__cause__
        if name == EXPERIMENT:
            return "an experiment is added, not overridden: -m +experiment=NAME"
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and cause.full_key:
            name = cause.full_key  # where a mapping was given, one of its keys
            if name.startswith("hydra."):
                return _unknown_setting(name, cause.parent_node) or one_line(message)
        return str(_not_there(name, schema))
    if found := re.match(r"Error merging override (?P<override>.*)", message):
        return _unmergeable(found["override"], error.__cause__) if error.__cause__ else one_line(message)
    if found := re.match(r"Multiple values for (?P<group>\S+)\. .*: (?P<option>\S+)'", message):
        return f"{found['group']} has a choice already: write {found['group']}={found['option']}, without +"
    if found := re.match(r"Ambiguous value for argument '(?P<override>.*)'", message):
        return _several(found["override"].removeprefix("++"), "lists several values", schema)
    if found := re.match(r"Sweep parameters '(?P<override>.*)' requires --multirun", message):
        return _several(found["override"].removeprefix("++"), "stands for several values", schema)
    return one_line(message)


def _unmergeable(override: str, cause: BaseException) -> str:
    """The message for a value of another shape than the key has."""
    key, _, value = override.lstrip("+").partition("=")
    if str(cause).startswith("Cannot merge"):
        return f"{key}: expected {'a list such as [a,b]' if value.startswith('{') else 'keys and values'}, got {value}"
    return f"{override}: {str(cause).splitlines()[0]}"


def _several(override: str, what: str, schema: type[Any]) -> str:
    """The message for several values without ``-m``: add it, where that would help."""
    written, _, values = override.partition("=")
    key = written.lstrip("+~").partition("@")[0]
    of_hydra = key.startswith(("hydra.", "hydra/"))
    if not of_hydra and key not in (*known_keys(schema), EXPERIMENT):
        return str(unknown_key(key, schema))
    one_list = f"write {key}=[{values}] for one list" if key in LISTS or key.startswith("hydra.launcher.") else ""
    if of_hydra or is_setting(key, schema) or written.startswith("~"):
        return f"{override} {what}, and {key} takes one{f'; {one_list}' if one_list else ''}"
    return f"{override} {what}: add -m to sweep over them{f', or {one_list}' if one_list else ''}"


def _not_there(name: str, schema: type[Any]) -> ConfigError:
    """The error for what a configuration lacks, from the point of view of its schema."""
    known = known_keys(schema)
    if name not in known:
        return unknown_key(name, schema)
    group, _, key = name.rpartition(".")
    if group:
        return unlisted_key(f"the chosen option of {group}", key)
    if keys := [key for key in known if key.startswith(f"{name}.")]:
        return ConfigError(f"{name} is not chosen here; its keys are set one by one: {', '.join(keys)}")
    return value_not_group(name, "a folder")


def _unknown_setting(name: str, siblings: Any) -> str | None:
    """The message for a key of Hydra's own that does not exist, of which it says only how to add it.

    None where it can be added: in a mapping with any keys, such as ``hydra.job.env_set``.
    """
    if not dataclasses.is_dataclass(OmegaConf.get_type(siblings)):
        return None
    parent = name.rpartition(".")[0]
    group = parent.replace(".", "/")
    available = [f"{parent}.{key}" for key in siblings if not str(key).startswith("_")]
    choice = f"; another {group}=NAME has others" if group in OF_HYDRA else ""
    return f"{UnknownOptionError('setting', name, available)}{choice}"


def _raised_by(error: BaseException, *packages: str) -> bool:
    """Whether a module of these packages raised the error, itself or through Python's own library."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    roots = [module.partition(".")[0] for module in modules]
    return next((root for root in reversed(roots) if root not in sys.stdlib_module_names), "") in packages
