"""The sweeper of imprint_sweep, where Hydra looks for sweepers: ``hydra/sweeper=imprint``, the application's default.

Executed at the start of every Hydra application of the environment: what takes time to load is loaded by a sweep.
"""

# Without postponed annotations: Hydra executes the module before it is registered, and dataclasses would look there.
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ImprintSweeperConf:
    """The node ``hydra.sweeper``. ``params``: axis -> values, a block of the sweep as in an experiment file."""

    _target_: str = "hydra_plugins.imprint_sweeper.ImprintSweeper"
    # Not null: the command line could not add an axis to nothing.
    params: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="imprint", node=ImprintSweeperConf, provider="imprint_sweep")


class ImprintSweeper(Sweeper):
    """Plans all cells of a sweep first, then launches shards of what is new.

    Args:
        params: see :class:`ImprintSweeperConf`. Hydra resolved them before there is a cell, so the sweep reads those of
            the configuration instead.
    """

    def __init__(self, params: DictConfig) -> None:
        """Take what Hydra passes on."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what the sweep will need; see :class:`hydra.plugins.sweeper.Sweeper`."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Plan and run the sweep that the command line describes; see :func:`imprint_sweep.cli.multirun.multirun`."""
        from imprint_sweep.cli.multirun import Application, multirun

        assert self.hydra_context is not None
        assert self.config is not None
        multirun(arguments, Application(self.hydra_context, self.task_function, self.config))
