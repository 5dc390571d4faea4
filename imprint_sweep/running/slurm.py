"""SLURM arrays: a batch script for the shards of a plan, its submission, the wait for it, and why a task failed.

A sweep may be started inside a SLURM job. The environment then describes that job, and SLURM's programs would take it
for options of the array: they are called without it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from submitit.slurm.slurm import SlurmExecutor

from imprint_sweep import telling
from imprint_sweep.errors import SweepError, one_line
from imprint_sweep.wording import counted

LOGS = "slurm"
"""Folder of SLURM's logs, in that of a sweep."""
JOB = "job.json"
"""File that says which array was submitted for a sweep, in its folder."""
SILENT_SECONDS = 1800
"""Give up when SLURM has said nothing about a job for this long, while its controller is restarted, say."""

FORGOTTEN_SECONDS = 60
"""A task that was under way and has not been listed for this long was forgotten; a busy controller may omit it once."""

_OF_THE_USER = {"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"}
"""Variables that say which SLURM to talk to, and no job sets."""
UNDER_WAY = {
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
_UNSET = """\
# Submitted from inside another job, this script finds variables of that job, and srun would take them for options.
# What stays is set anew for every array, asked for above, or says which SLURM to talk to.
for name in "${{!SLURM_@}}" "${{!SRUN_@}}" "${{!SBATCH_@}}"; do
    case "$name" in
        {kept}) ;;
        *) unset "$name" ;;
    esac
done"""
"""Beginning of a batch script: it may be submitted by hand, from wherever."""
_SET_ANEW = (
    "SLURM_ARRAY_*",
    "SLURM_CLUSTER_NAME",
    "SLURM_CPUS_ON_NODE",
    "SLURM_JOBID",
    "SLURM_JOB_*",
    "SLURM_NNODES",
    "SLURM_NODELIST",
    "SLURM_RESTART_COUNT",
    "SLURM_SUBMIT_*",
    "SLURM_WORKING_CLUSTER",
)
"""What SLURM sets for every array."""
_ANSWER = re.compile(r"(\d+)(?:;(\S+))?")
"""The line of ``sbatch --parsable``: the id, and the cluster where there are several."""
_TASK = re.compile(r"(\d+) ([A-Z_]+)")
"""A line of squeue: index and state."""

_LOG = re.compile(r"(\d+)_(\d+)_0_log\.(err|out)")
"""The name of a log: id of the array, index of the task."""
REMARKS = 3
"""How many lines of SLURM are repeated at most."""
_OF_SLURM = re.compile(r"(srun|slurmstepd|slurmd)\b[^:]*:")
_OF_SLURM_ERROR = re.compile(_OF_SLURM.pattern + r" (error|fatal):")
_OWN_ERROR = re.compile(r"error:|[\w.]*(Error|Exception)\b")
"""The last line of a shard: of a user's error, or of a traceback."""
_CONSEQUENCE = re.compile(r"Exited with exit code|Job step aborted|Terminating|Force Terminated")
"""What srun says when something has ended that says itself why."""


@dataclass(frozen=True)
class Array:
    """A SLURM array that was submitted.

    Args:
        id: SLURM's id of it.
        cluster: where it runs, if sbatch named one: other programs must be told.
    """

    id: str
    cluster: str | None = None

    def __str__(self) -> str:
        return self.id if self.cluster is None else f"{self.id} on cluster {self.cluster}"

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The array of a sweep; None if the sweep was not submitted, or by hand."""
        try:
            return cls(**json.loads((folder / JOB).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, folder: Path) -> None:
        """Write down which array it is, beside the plan of the sweep."""
        with suppress(OSError):  # for the status command alone: the array runs, and must be waited for
            (folder / JOB).write_text(json.dumps(asdict(self)))

    @property
    def queue_command(self) -> list[str]:
        """The words that show the array in the queue."""
        return ["squeue", *self._elsewhere, f"--jobs={self.id}"]

    @property
    def cancel_command(self) -> list[str]:
        """The words that cancel the array."""
        return ["scancel", *self._elsewhere, self.id]

    @property
    def _elsewhere(self) -> list[str]:
        return [] if self.cluster is None else [f"--clusters={self.cluster}"]


# --- Scripts ---------------------------------------------------------------------------------------------------------


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
        logs: folder of SLURM's logs, which are found through a link beside the script; by default a folder there.
    """
    folder = logs or path.parent / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    if logs is not None:
        (path.parent / LOGS).symlink_to(logs, target_is_directory=True)
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
    asked_for = re.findall(r"^#SBATCH --([\w-]+)", slurm._make_submission_file_text(command, ""), re.MULTILINE)
    slurm.parameters["setup"] = [_unset_all_but(asked_for), *(slurm.parameters.get("setup") or [])]
    text = slurm._make_submission_file_text(command, "")
    # Since SLURM 22.05 srun does not take over --cpus-per-task from sbatch.
    text = text.replace("# command\n", f"# command\nexport SRUN_CPUS_PER_TASK={threads}\n")
    path.write_text(text + _REQUEUE.format(times=launcher.get("max_num_timeout") or 0))


class _ScriptWriter(SlurmExecutor):
    """Writes scripts also where there is no srun: another machine may submit them."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def _unset_all_but(options: Iterable[str]) -> str:
    """The lines of a batch script that drop what another job left in the environment.

    Args:
        options: those of sbatch that the script uses; SLURM sets their variables anew.
    """
    names = ["mem-per-node" if option == "mem" else option for option in options]
    own = [f"SLURM_{name.upper().replace('-', '_')}" for name in names]
    return _UNSET.format(kept="|".join([*sorted(_OF_THE_USER), *_SET_ANEW, *own]))


# --- Submitting and waiting ------------------------------------------------------------------------------------------


def leftovers() -> set[str]:
    """The names of variables that a surrounding SLURM job has left, and of those that would change squeue's answer.

    ``SBATCH_ACCOUNT`` and its like are a user's own defaults, and stay, but inside a job they may be that job's.
    """
    inside = not {"SLURM_JOB_ID", "SLURM_JOBID"}.isdisjoint(os.environ)
    prefixes = ("SLURM_", "SQUEUE_", *(("SBATCH_", "SRUN_") if inside else ()))
    return {name for name in os.environ if name.startswith(prefixes)} - _OF_THE_USER


def submit(script: Path) -> Array:
    """Submit a batch script, as if from outside of any job.

    Raises:
        SweepError: there is no sbatch, or it refuses, or its answer holds no id.
    """
    dropped = leftovers()
    try:
        done = _run(["sbatch", "--parsable", str(script)])
    except FileNotFoundError as error:
        raise SweepError(
            f"there is no sbatch on this machine; on one that has it: {submission_line(script)}"
        ) from error
    if done.returncode:
        options = sorted(name for name in dropped if name.startswith("SBATCH_"))
        without = f" (submitted without the surrounding job's {', '.join(options)})" if options else ""
        raise SweepError(
            f"sbatch refused {script}: {one_line(done.stderr)}{without}; the plan stays, to be submitted with: "
            f"{submission_line(script)}"
        )
    # Sites let sbatch greet its users.
    for line in reversed(done.stdout.splitlines()):
        if found := _ANSWER.fullmatch(line.strip()):
            return Array(found[1], found[2])
    raise SweepError(
        f"expected a job's id of sbatch, got {done.stdout.strip()!r}; the sweep may have been submitted, see squeue "
        f"--me; if it was not: {submission_line(script)}"
    )


def submission_line(script: Path) -> str:
    """The line that submits a batch script by hand."""
    return shlex.join(["sbatch", str(script)])


def wait_for(array: Array, shards: int, over: Callable[[], Collection[int]]) -> dict[int, str]:
    """Wait until no task of a SLURM array waits or runs.

    SLURM is asked, not submitit: without accounting submitit waits for ever for a task that was cancelled. A task that
    SLURM has never listed has not ended for that: the answer may be that of another cluster, or come too early.

    Args:
        array: what was submitted.
        shards: number of its tasks.
        over: the shards that say of themselves that they came to their end.

    Returns:
        Index of a shard -> SLURM's last word on it, ``"COMPLETED"`` for one. SLURM forgets a task some minutes after
        its end; one whose end it never told is not listed.

    Raises:
        SweepError: SLURM has not answered, or not listed all tasks, for :data:`SILENT_SECONDS`.
    """
    states: dict[int, str] = {}
    waited = silent = 0.0
    while True:
        # Arrays of a thousand tasks, and hours, must not keep SLURM busy with answering.
        pause = min(15.0, 1.0 + waited / 60)
        now = later = ""
        try:
            found = task_states(array)
        except SweepError as error:
            now = f"SLURM does not answer ({error})"
            later = f"SLURM has not answered for {silent / 60:.0f} min ({error})"
        else:
            states.update(found)
            if UNDER_WAY.isdisjoint(found.values()):
                heard = {index for index, state in states.items() if state not in UNDER_WAY}
                unheard = set(range(shards)) - heard
                if unheard:
                    unheard -= set(over())
                forgotten = unheard <= states.keys() and silent > FORGOTTEN_SECONDS
                if not unheard or forgotten:
                    return {index: state for index, state in states.items() if state not in UNDER_WAY}
                now = f"SLURM does not list {counted(len(unheard), 'task')} of the job"
                later = f"SLURM has not listed {counted(len(unheard), 'task')} of the job for {silent / 60:.0f} min"
        if now and silent > SILENT_SECONDS:
            raise SweepError(f"{later}, and job {array} may still run: see {shlex.join(array.queue_command)}")
        if now and not silent:
            telling.note(f"{now}; job {array} is asked for again and again")
        silent = silent + pause if now else 0.0
        time.sleep(pause)
        waited += pause


def task_states(array: Array, *, seconds: float | None = None) -> dict[int, str]:
    """What SLURM knows of the tasks of an array; nothing once it forgot them.

    Args:
        array: what was submitted.
        seconds: an answer that takes longer counts as none.

    Raises:
        SweepError: it does not answer.
    """
    question = [*array.queue_command, "--array", "--states=all", "--noheader", "--format=%K %T"]
    try:
        answer = _run(question, seconds=seconds)
    except OSError as error:
        raise SweepError(f"squeue: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SweepError(f"squeue takes more than {seconds:.0f} s") from error
    if answer.returncode and "Invalid job id" in answer.stderr:
        return {}
    if answer.returncode:
        raise SweepError(answer.stderr.strip().rpartition("\n")[2] or f"squeue ended with code {answer.returncode}")
    # With --clusters it names the cluster first, and greetings come here, too.
    tasks = filter(None, map(_TASK.fullmatch, map(str.strip, answer.stdout.splitlines())))
    return {int(task[1]): task[2] for task in tasks}


def _run(words: Sequence[str], *, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of SLURM, without what is left of a surrounding job, and for so long at most."""
    dropped = leftovers()
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=seconds, check=False)


# --- What went wrong -------------------------------------------------------------------------------------------------


def array_failures(array: Array, states: Mapping[int, str], script: Path) -> list[str]:
    """What went wrong in the tasks of a SLURM array, with the logs that say more."""
    folder = script.parent / LOGS
    logs = _logs(folder, array.id)
    problems = []
    for index, state in sorted(states.items()):
        if state == "COMPLETED":
            continue
        log = logs.get(index)
        # Only a task that ended by itself says why; of others, SLURM's remarks on the end say no more than the state.
        reason = last_words(log) if state == "FAILED" and log is not None else ""
        where = f"its log is {log}" if log is not None else f"it left no log in {folder}"
        problems.append(f"shard {index}: {reason or state}; {where}")
    return problems


def deaths(folder: Path, queue: Mapping[int, str] | None) -> dict[int, tuple[str, Path]]:
    """Tasks that began and are dead: index of the shard -> the reason, and the log.

    Args:
        folder: the sweep's.
        queue: what SLURM says of the tasks: index -> state. One that has a log and is not under way has ended. None if
            SLURM does not answer: dead are those whose logs hold an error of it.
    """
    dead = {
        index: log
        for index, log in _logs(folder / LOGS).items()
        if (queue is not None and queue.get(index) not in UNDER_WAY) or any(map(_OF_SLURM_ERROR.match, _lines(log)))
    }
    return {index: (last_words(log) or "without a word", log) for index, log in sorted(dead.items())}


def last_words(log: Path) -> str:
    """The reason for the end of a task, from its log; empty if there is none.

    A shard that ended by itself says its error last. Of one that never began, and of one that was killed, SLURM's
    programs say why, between what else is printed.
    """
    lines = _lines(log)
    own = [line for line in lines if not _OF_SLURM.match(line)]
    if own and _OWN_ERROR.match(own[-1]):
        return own[-1]
    remarks = list(dict.fromkeys(line for line in lines if _OF_SLURM.match(line)))
    causes = [line for line in remarks if not _CONSEQUENCE.search(line)]
    return "; ".join(causes[-REMARKS:] or own[-1:] or remarks[-1:])


def _lines(log: Path) -> list[str]:
    """The lines of a log that are not empty; none if it cannot be read."""
    try:
        return [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []


def _logs(folder: Path, array: str = "*") -> dict[int, Path]:
    """Index of a task -> the log that says most about it, of the newest array.

    Errors are in that of stdout if the launcher was told ``stderr_to_stdout``.

    Args:
        folder: SLURM's logs.
        array: the id, if one array is meant.
    """
    found: dict[int, tuple[tuple[int, bool, bool], Path]] = {}
    for path in folder.glob(f"{array}_*_0_log.*"):
        if (name := _LOG.fullmatch(path.name)) is None:
            continue
        index, rank = int(name[2]), (int(name[1]), path.stat().st_size > 0, name[3] == "err")
        if index not in found or rank > found[index][0]:
            found[index] = rank, path
    return {index: path for index, (_, path) in found.items()}
