"""What went wrong on the command line, in one line: errors of Hydra and OmegaConf in the project's own words."""

from __future__ import annotations

import re
import traceback
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException

from imprint_sweep.errors import ImprintError, UnknownOptionError, one_line
from imprint_sweep.schemas import Config, unknown_key


def explanation(error: BaseException, schema: type[Any] = Config) -> str | None:
    """The message for a user who can mend the error; None if it is a bug, which keeps its traceback.

    Args:
        error: what went wrong.
        schema: the configuration whose keys are named where one is unknown.
    """
    match error:
        case ImprintError():
            return str(error)
        case MissingConfigException() if error.missing_cfg_file and error.options:
            group, _, option = error.missing_cfg_file.rpartition("/")
            return str(UnknownOptionError(group, option, error.options))
        case OverrideParseException():
            return (
                f"cannot read {error.override!r}: expected key=value, a list as key=[a,b], text with special "
                "characters in quotes"
            )
        case ConfigCompositionException():
            return _composition(str(error), schema) or (explanation(error.__cause__) if error.__cause__ else None)
        case ValueError() if _raised_in(error, "hydra"):
            # Hydra refuses some command lines, such as gen=1, with a plain ValueError.
            return one_line(error)
        case Exception() if _raised_in(error, "submitit"):
            return f"the launcher: {one_line(error)}"
        case HydraException() | yaml.YAMLError():
            return one_line(error)
        case OmegaConfBaseException():
            return str(error).splitlines()[0]
        case _:
            return None


def _composition(message: str, schema: type[Any]) -> str:
    """Hydra's message about a composition that failed, with what to do instead of what to append."""
    if found := re.match(r"Could not override '(?P<name>[^']+)'", message):
        name = found["name"]
        if name == "experiment":
            return "an experiment is added, not overridden: -m +experiment=NAME"
        if not name.startswith("hydra"):
            return str(unknown_key(name, schema))
    if found := re.match(r"Multiple values for (?P<group>\S+)\. .*: (?P<option>\S+)'", message):
        return f"{found['group']} has a choice already: write {found['group']}={found['option']}, without +"
    if found := re.match(r"Ambiguous value for argument '(?P<override>.*)'", message):
        override = found["override"]
        key, _, value = override.partition("=")
        return f"{override} lists several values: add -m to sweep over them, or write {key}=[{value}] for one list"
    if found := re.match(r"Sweep parameters '(?P<override>.*)' requires --multirun", message):
        return f"{found['override']} stands for several values: add -m to sweep over them"
    return one_line(message)


def _raised_in(error: BaseException, package: str) -> bool:
    """Whether a module of this package raised the error, and not one that it called."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__")).startswith(f"{package}.")
