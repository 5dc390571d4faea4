"""A command line with ``-m``: overrides and experiments -> requested rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from imprint_sweep import telling
from imprint_sweep.config.composition import CoupledError, Tree, alone, settings_of
from imprint_sweep.config.experiments import blocks
from imprint_sweep.config.overrides import read_command_line
from imprint_sweep.config.reading import settings_from
from imprint_sweep.errors import ConfigError
from imprint_sweep.planning.request import Request, build


def requested(arguments: Sequence[str], loader: ConfigLoader, config: DictConfig) -> tuple[Request, Sequence[str]]:
    """The rows that a command line asks for, and the overrides that are settings of every job.

    Args:
        arguments: its overrides, those of Hydra itself excepted.
        loader: reads the options that they name.
        config: the configuration composed for the sweeper.

    Raises:
        ConfigError: the sweep cannot be planned.
    """
    command_line = read_command_line(arguments, Tree(loader, config).options)
    tree = Tree(loader, config, command_line.settings)
    request = build(
        blocks(command_line, _params(config), tree),
        tree,
        settings_from(config).cache,
        warn=telling.warn,
    )
    _check_one_place(config, request.axes)
    return request, command_line.settings


def _params(config: DictConfig) -> dict[str, Any]:
    """The axes of ``hydra.sweeper.params``.

    Resolved, as other sweepers get them, so that a list of values may come from an environment variable. But what
    refers to axes is left for each cell to resolve.
    """
    settings = settings_of(cast(dict[str, Any], OmegaConf.to_container(config)))
    params = cast(dict[str, Any], settings["hydra"]["sweeper"]["params"])
    for axis, given in params.items():
        with suppress(CoupledError):
            value = alone(axis, given, settings)[axis]
            params[axis] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return params


def _check_one_place(config: DictConfig, axes: Sequence[str]) -> None:
    """Refuse folders that depend on what varies: a sweep has one table. Warn of such names of jobs: these are shards.

    Raises:
        ConfigError: ``paths`` refers to a swept axis.
    """
    for key, value in cast(dict[str, Any], OmegaConf.to_container(config.paths)).items():
        if axis := _reads(value, axes):
            raise ConfigError(
                f"paths.{key}={value} depends on {axis}, of which this sweep has several values; a sweep has one "
                f"place: give {axis} one value, or write paths.{key} without it"
            )
    for node in ("sweep", "launcher"):
        for key, value in cast(dict[str, Any], OmegaConf.to_container(config.hydra[node])).items():
            if axis := _reads(value, axes):
                telling.warn(
                    f"hydra.{node}.{key}={value} depends on {axis}, of which the jobs of this sweep have "
                    f"several values each; it is taken as if {axis} were not swept over"
                )


def _reads(value: Any, axes: Sequence[str]) -> str | None:
    """The first axis that an interpolation in a value may read."""
    return next((axis for axis in axes if re.search(rf"\$\{{[^}}]*\b{re.escape(axis)}\b", str(value))), None)
