"""A command line with ``-m``: its requested rows -> the sweep, through Hydra's launcher."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from imprint_sweep.config.reading import settings_from
from imprint_sweep.errors import ConfigError
from imprint_sweep.invocation import override
from imprint_sweep.planning.from_command_line import requested
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
    request, settings = requested(arguments, application.context.config_loader, application.config)
    run_sweep(request, settings_from(application.config), Launching(application, settings))
