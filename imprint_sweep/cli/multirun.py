"""A command line with ``-m``: overrides and experiments -> requested rows -> the sweep, through Hydra's launcher."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from imprint_sweep import telling
from imprint_sweep.config.composition import CoupledError, Tree, alone, settings_of
from imprint_sweep.config.experiments import blocks
from imprint_sweep.config.overrides import read_command_line
from imprint_sweep.config.reading import settings_from
from imprint_sweep.errors import ConfigError
from imprint_sweep.invocation import override
from imprint_sweep.planning.request import Request, build
from imprint_sweep.running.sweep import run_sweep


@dataclass(frozen=True)
class Application:
    """What Hydra gives a sweeper.

    Args:
        context: holds the loader of configurations.
        task_function: what a job runs.
        config: the configuration composed for the sweeper.
    """

    context: HydraContext
    task_function: TaskFunction
    config: DictConfig


DEFAULT_FOLDERS = {
    "dir": (
        "${imprint_outputs:${paths.outputs}}/sweeps/${now:%Y-%m-%d_%H-%M-%S}",
        "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}",
    ),
    "subdir": ("${hydra.job.num}",),
}
"""What ``hydra.sweep`` holds where no user set it: as ``conf/config.yaml`` has it, and as Hydra itself does."""


_OWN_KEYS = ("shard.plan", "paths.outputs", "sweep.threads")
"""What a sweep passes on to all of its jobs."""


class Launching:
    """What a sweep needs of Hydra; see :class:`imprint_sweep.running.sweep.Hydra`."""

    def __init__(self, application: Application, overrides: Sequence[str]) -> None:
        self._application = application
        self.overrides = overrides
        hydra = application.config.hydra
        raw = cast(dict[str, Any], OmegaConf.to_container(hydra.sweep))
        self._own = {key for key, defaults in DEFAULT_FOLDERS.items() if raw[key] not in defaults}
        try:
            self.launcher = cast(Mapping[str, Any], OmegaConf.to_container(hydra.launcher, resolve=True))
            self.folder = Path(hydra.sweep.dir).absolute() if "dir" in self._own else None
        except OmegaConfBaseException as error:
            raise ConfigError(
                "hydra.launcher and hydra.sweep.dir are the same for all jobs of a sweep, and cannot depend "
                f"on one job: {str(error).splitlines()[0]}"
            ) from error

    def launch(self, jobs: Sequence[Sequence[str]], *, workers: int | None, folder: Path) -> Sequence[JobReturn]:
        """Run jobs through Hydra's launcher and wait for them.

        Args:
            jobs: the overrides of each.
            workers: so many at once at most, where the launcher can be told (joblib).
            folder: where the launcher puts files of its own.
        """
        config = copy.deepcopy(self._application.config)
        with open_dict(config.hydra):
            config.hydra.sweep.dir = str(folder)
            if workers is not None and "n_jobs" in config.hydra.launcher:
                # A worker without a shard would not notice that this process is gone.
                config.hydra.launcher.n_jobs = min(workers, len(jobs))
        place = [override("hydra.sweep.dir", str(folder))]
        if self._own:
            # A folder for each job, as Hydra makes them, and named after nothing but what the user wrote.
            hidden = [*config.hydra.job.config.override_dirname.exclude_keys, *_OWN_KEYS]
            place.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(hidden)}]")
        else:
            place.append("hydra.sweep.subdir=.")
        launcher = Plugins.instance().instantiate_launcher(
            self._application.context, self._application.task_function, config
        )
        return launcher.launch([[*place, *job] for job in jobs], initial_job_idx=0)


def multirun(arguments: Sequence[str], application: Application) -> None:
    """Plan and run the sweep that a command line describes.

    Args:
        arguments: its overrides, those of Hydra itself excepted.
        application: the running one.

    Raises:
        ImprintError: the sweep cannot be planned or run.
        SweepFailedError: a cell or a shard failed.
    """
    request, overrides = requested(arguments, application)
    run_sweep(request, settings_from(application.config), Launching(application, overrides))


def requested(arguments: Sequence[str], application: Application) -> tuple[Request, Sequence[str]]:
    """The rows that a command line asks for, and the overrides that are settings of every job.

    Raises:
        ImprintError: see :func:`multirun`.
    """
    loader, config = application.context.config_loader, application.config
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
