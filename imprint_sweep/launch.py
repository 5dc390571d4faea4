"""How shards get to run: what each Hydra launcher can run at once, and SLURM arrays that nobody waits for."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from submitit.core.utils import FailedJobError, UncompletedJobError
from submitit.slurm.slurm import SlurmExecutor

from imprint_sweep.errors import SweepError
from imprint_sweep.resources import available_cores

MAX_SHARDS = 1000
"""SLURM's MaxArraySize is 1001 by default: no more tasks than this fit into one array."""
SLURM_SHARD_SECONDS = 1200
"""Estimated core-seconds that are worth a SLURM task: starting one costs several seconds."""
SHARDS_PER_WORKER = 3
"""More shards than workers, so that one that takes longer than estimated does not leave the others idle."""

SILENT_SECONDS = 1800
"""So long SLURM may be silent about a job, while its controller is restarted, say, before nobody waits any longer."""

BASIC, JOBLIB, LOCAL, SLURM = "basic", "joblib", "submitit_local", "submitit_slurm"
LOGS = "slurm"
"""Folder of SLURM's logs, in that of a sweep."""
_UNDER_WAY = {
    "CONFIGURING",
    "COMPLETING",
    "PENDING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESIZING",
    "RESV_DEL_HOLD",
    "RUNNING",
    "SIGNALING",
    "SPECIAL_EXIT",
    "STAGE_OUT",
    "STOPPED",
    "SUSPENDED",
}
"""States of a SLURM job that has not ended; not all ends are known to all versions."""
_REQUEUE = """
# 143: the shard was told to end. SLURM announces its time limit to the shard alone; scancel ends this script too.
code=$?
if [ "$code" -eq 143 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {times} ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""
"""End of a batch script: hydra.launcher.max_num_timeout."""
_KINDS = {"BasicLauncher": BASIC, "JoblibLauncher": JOBLIB, "LocalLauncher": LOCAL, "SlurmLauncher": SLURM}


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
        target = str(launcher["_target_"]).rpartition(".")[2]
        kind = _KINDS.get(target, target)
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


def write_batch_script(
    path: Path,
    launcher: Mapping[str, Any],
    *,
    shards: int,
    overrides: Sequence[str],
    threads: int,
    logs: Path | None = None,
) -> None:
    """Write the sbatch script that runs every shard of a plan as one array, with the launcher's own parameters.

    Args:
        path: the script.
        launcher: the node ``hydra.launcher`` of ``submitit_slurm``, as a plain mapping.
        shards: number of tasks.
        overrides: what each task is started with, the index of its shard excepted.
        threads: cores per task.
        logs: folder of SLURM's logs; by default one beside the script.
    """
    folder = logs or path.parent / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    # The same names as in Hydra's launcher, so that a partition, a constraint or a setup line means the same here.
    own = ("_target_", "submitit_folder", "max_num_timeout")
    parameters = {name: value for name, value in launcher.items() if value is not None and name not in own}
    parameters["cpus_per_task"] = threads
    parameters["additional_parameters"] = {
        # submitit would have SLURM announce the time limit with SIGUSR2, which ends a process that does not listen.
        "signal": f"TERM@{parameters.get('signal_delay_s', 120)}",
        # Settings may be relative paths, and a checkout is imported from where it is, wherever the line is submitted.
        "chdir": Path.cwd(),
        **parameters.get("additional_parameters", {}),
    }
    slurm = _ScriptWriter(folder)
    slurm.update_parameters(**slurm._convert_parameters(parameters))
    slurm.parameters["map_count"] = shards
    words = [sys.executable, "-m", "imprint_sweep", *overrides]
    command = f"{shlex.join(words)} shard.index=$SLURM_ARRAY_TASK_ID"
    text = slurm._make_submission_file_text(command, "")
    # Since SLURM 22.05 srun does not take over --cpus-per-task from sbatch.
    text = text.replace("# command\n", f"# command\nexport SRUN_CPUS_PER_TASK={threads}\n")
    path.write_text(text + _REQUEUE.format(times=launcher.get("max_num_timeout") or 0))


class _ScriptWriter(SlurmExecutor):
    """Writes scripts also where there is no srun: another machine may submit them."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def submit(script: Path) -> str:
    """Submit a batch script.

    Returns:
        SLURM's id of the array.

    Raises:
        SweepError: there is no sbatch, or it refuses.
    """
    try:
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SweepError(
            f"there is no sbatch on this machine; on one that has it: {submission_line(script)}"
        ) from error
    if done.returncode:
        raise SweepError(
            f"sbatch refused {script}: {done.stderr.strip()}; the plan stays, to be submitted with: "
            f"{submission_line(script)}"
        )
    return done.stdout.strip().partition(";")[0]


def submission_line(script: Path) -> str:
    """The line that submits a batch script by hand."""
    return shlex.join(["sbatch", str(script)])


def wait_for(array: str) -> dict[int, str]:
    """Wait until no task of a SLURM array waits or runs.

    SLURM is asked, not submitit: without accounting submitit waits for ever for a task that was cancelled.

    Returns:
        Index of a shard -> SLURM's last word on it, ``"COMPLETED"`` for one. SLURM forgets a task some minutes after
        its end; one that nobody heard of is not listed.

    Raises:
        SweepError: SLURM has not answered for :data:`SILENT_SECONDS`.
    """
    states: dict[int, str] = {}
    waited = silent = 0.0
    while True:
        # Arrays of a thousand tasks, and hours, must not keep SLURM busy with answering.
        pause = min(15.0, 1.0 + waited / 60)
        try:
            found = _task_states(array)
        except SweepError as error:
            if silent > SILENT_SECONDS:
                raise SweepError(
                    f"SLURM has not answered for {silent / 60:.0f} min ({error}), and job {array} may still run: see "
                    f"squeue --jobs={array}"
                ) from error
            if not silent:
                print(f"SLURM does not answer ({error}); job {array} is asked for again and again", file=sys.stderr)
            silent += pause
        else:
            silent = 0.0
            states.update(found)
            if not any(state in _UNDER_WAY for state in found.values()):
                return {index: state for index, state in states.items() if state not in _UNDER_WAY}
        time.sleep(pause)
        waited += pause


def _task_states(array: str) -> dict[int, str]:
    """What SLURM knows of the tasks of an array; nothing once it forgot them.

    Raises:
        SweepError: it does not answer.
    """
    question = ["squeue", f"--jobs={array}", "--array", "--states=all", "--noheader", "--format=%K %T"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SweepError(f"squeue: {error.strerror}") from error
    if answer.returncode and "Invalid job id" in answer.stderr:
        return {}
    if answer.returncode:
        raise SweepError(answer.stderr.strip().rpartition("\n")[2] or f"squeue ended with code {answer.returncode}")
    tasks = (line.split() for line in answer.stdout.splitlines())
    return {int(index): state for index, state in tasks}


def array_failures(array: str, states: Mapping[int, str], script: Path, logs: Path | None = None) -> list[str]:
    """What went wrong in the tasks of a SLURM array, with the logs that say more; `logs` as the script was written."""
    problems = []
    for index, state in sorted(states.items()):
        if state == "COMPLETED":
            continue
        log = (logs or script.parent / LOGS) / f"{array}_{index}_0_log.err"
        # Of a shard that ended by itself the last line is its error; of others, SLURM's remarks on the end.
        lines = log.read_text(errors="replace").splitlines() if state == "FAILED" and log.is_file() else []
        own = [line for line in lines if line.strip() and not line.startswith(("srun:", "slurmstepd"))]
        problems.append(f"shard {index}: {own[-1] if own else state}; its log is {log}")
    return problems
