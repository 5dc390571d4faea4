"""A command line with ``-m``: overrides and experiments -> requested rows -> the sweep, through Hydra's launcher."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from imprint_sweep.composition import Tree
from imprint_sweep.config import settings_from
from imprint_sweep.experiments import blocks
from imprint_sweep.overrides import read_command_line
from imprint_sweep.request import Request, build
from imprint_sweep.sweep import run_sweep


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


class Launching:
    """What a sweep needs of Hydra; see :class:`imprint_sweep.sweep.Hydra`."""

    def __init__(self, application: Application, overrides: Sequence[str]) -> None:
        self._application = application
        self.overrides = overrides
        node = OmegaConf.to_container(application.config.hydra.launcher, resolve=True)
        self.launcher = cast(Mapping[str, Any], node)

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
                config.hydra.launcher.n_jobs = workers
        launcher = Plugins.instance().instantiate_launcher(
            self._application.context, self._application.task_function, config
        )
        return launcher.launch([list(job) for job in jobs], initial_job_idx=0)


def multirun(arguments: Sequence[str], params: DictConfig, application: Application) -> None:
    """Plan and run the sweep that a command line describes.

    Args:
        arguments: its overrides, those of Hydra itself excepted.
        params: the node ``hydra.sweeper.params``.
        application: the running one.

    Raises:
        ImprintError: the sweep cannot be planned or run.
        SystemExit: code 1 if a cell failed.
    """
    request, overrides = requested(arguments, params, application)
    run_sweep(request, settings_from(application.config), Launching(application, overrides))


def requested(arguments: Sequence[str], params: DictConfig, application: Application) -> tuple[Request, Sequence[str]]:
    """The rows that a command line asks for, and the overrides that are settings of every job.

    Raises:
        ImprintError: see :func:`multirun`.
    """
    loader, config = application.context.config_loader, application.config
    command_line = read_command_line(arguments, Tree(loader, config).options)
    tree = Tree(loader, config, command_line.settings)
    block_params = cast(dict[str, Any], OmegaConf.to_container(params))
    request = build(
        blocks(command_line, block_params, tree),
        tree,
        settings_from(config).cache,
        warn=lambda message: print(f"warning: {message}", file=sys.stderr),
    )
    return request, command_line.settings
