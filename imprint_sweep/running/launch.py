"""The Hydra launchers that run shards: what each can run at once, and what went wrong in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from submitit.core.utils import FailedJobError, UncompletedJobError

from imprint_sweep.errors import SweepError
from imprint_sweep.running.resources import available_cores

MAX_SHARDS = 1000
"""SLURM's MaxArraySize is 1001 by default: no more tasks than this fit into one array."""
SLURM_SHARD_SECONDS = 1200
"""Estimated core-seconds that are worth a SLURM task: starting one costs several seconds."""
SHARDS_PER_WORKER = 3
"""More shards than workers, so that one that takes longer than estimated does not leave the others idle."""

BASIC, JOBLIB, LOCAL, SLURM = "basic", "joblib", "submitit_local", "submitit_slurm"
SUBMITIT_FOLDER = "/.submitit/%j"
"""End of ``hydra.launcher.submitit_folder`` where nobody set it."""
_KINDS = {"BasicLauncher": BASIC, "JoblibLauncher": JOBLIB, "LocalLauncher": LOCAL, "SlurmLauncher": SLURM}


def kind_of(launcher: Mapping[str, Any]) -> str:
    """What kind of launcher a node ``hydra.launcher`` describes: see :class:`Resources`."""
    target = str(launcher["_target_"]).rpartition(".")[2]
    return _KINDS.get(target, target)


@dataclass(frozen=True)
class Resources:
    """What a launcher gives a sweep.

    Args:
        kind: ``"basic"``, ``"joblib"``, ``"submitit_local"`` or ``"submitit_slurm"``; the name of the class for others.
        workers: shards that run at the same time; None where the cluster decides.
        threads: cores for each of them, so that workers x threads never exceeds the cores given.
    """

    kind: str
    workers: int | None
    threads: int

    @classmethod
    def of(cls, launcher: Mapping[str, Any], *, threads: int | None, shards: int | None) -> Resources:
        """Read them from the node ``hydra.launcher`` of a composed configuration.

        Args:
            launcher: the node, as a plain mapping.
            threads: cores per shard, if the user says so.
            shards: number of shards, if the user says so.

        Raises:
            SweepError: more threads than there are cores, or several processes per shard.
        """
        kind = kind_of(launcher)
        cores = available_cores()
        for name in ("nodes", "tasks_per_node"):
            if int(launcher.get(name) or 1) != 1:
                raise SweepError(
                    f"hydra.launcher.{name}={launcher[name]} would run every shard {launcher[name]} times; "
                    "to use more of a cluster set sweep.shards"
                )
        if kind == SLURM:
            return cls(kind, None, threads or int(launcher.get("cpus_per_task") or 1))
        if threads is not None and threads > cores:
            raise SweepError(f"sweep.threads={threads}, but this process was given {cores} cores")
        if kind == BASIC:
            return cls(kind, 1, threads or cores)
        if kind == JOBLIB:
            jobs = int(launcher.get("n_jobs") or 1)
            wanted = cores + 1 + jobs if jobs < 0 else jobs
        else:  # submitit_local, and launchers unknown here, start every shard at once
            per_shard = threads or int(launcher.get("cpus_per_task") or 1)
            wanted = shards or max(1, cores // per_shard)
        workers = max(1, min(wanted, cores // (threads or 1)))
        return cls(kind, workers, threads or max(1, cores // workers))

    @property
    def starts_all_at_once(self) -> bool:
        """Whether every shard is started at once, on this machine: submitit_local, and launchers unknown here."""
        return self.kind not in (BASIC, JOBLIB, SLURM)

    def shards(self, core_seconds: float, wanted: int | None) -> int:
        """How many shards to make of work that is estimated to take `core_seconds`.

        Never more than there are workers where the launcher starts all of them at once, whatever is wanted.

        Raises:
            SweepError: more are wanted than SLURM takes into an array.
        """
        if wanted is not None:
            if wanted > MAX_SHARDS:
                raise SweepError(f"sweep.shards={wanted}: SLURM takes at most {MAX_SHARDS} tasks into an array")
            return min(wanted, self.workers) if self.workers is not None and self.starts_all_at_once else wanted
        if self.workers is None:
            return max(1, min(MAX_SHARDS, round(core_seconds / SLURM_SHARD_SECONDS)))
        if self.workers == 1 or self.starts_all_at_once:
            return self.workers
        return self.workers * SHARDS_PER_WORKER


def failures(launch: Callable[[], Sequence[JobReturn]]) -> list[str]:
    """Launch shards and say what went wrong: Hydra catches their exceptions and tells nobody.

    Args:
        launch: runs them and waits.
    """
    try:
        returns = launch()
    except (BrokenProcessPool, UncompletedJobError, FailedJobError) as error:
        # One that was killed. Launchers of processes give up all others with it, but let them run on.
        reason = str(error).partition("\n")[0]
        return [f"a shard ended without a word, others may still run: {type(error).__name__}: {reason}"]
    return [
        f"shard {index}: {type(result._return_value).__name__}: {result._return_value}"
        for index, result in enumerate(returns)
        if result.status is not JobStatus.COMPLETED
    ]
