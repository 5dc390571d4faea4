"""What each launcher can run at once, and the batch scripts of SLURM. No SLURM is needed here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hypothesis import given
from hypothesis import strategies as st
from joblib.externals.loky.process_executor import TerminatedWorkerError
from submitit.core.utils import UncompletedJobError

from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf  # type: ignore[import-untyped]
from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf, SlurmQueueConf  # type: ignore[import-untyped]
from imprint_sweep import launch
from imprint_sweep.errors import SweepError
from imprint_sweep.launch import (
    LOGS,
    MAX_SHARDS,
    Resources,
    array_failures,
    failures,
    submission_line,
    submit,
    wait_for,
    write_batch_script,
)

Node = dict[str, Any]
BASIC: Node = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}
JOBLIB: Node = asdict(JobLibLauncherConf())
LOCAL: Node = asdict(LocalQueueConf())
SLURM: Node = asdict(SlurmQueueConf()) | {"name": "imprint_sweep", "submitit_folder": "somewhere"}
UNKNOWN: Node = {"_target_": "somebody.elses.RayLauncher"}
LAUNCHERS = {"basic": BASIC, "joblib": JOBLIB, "submitit_local": LOCAL, "submitit_slurm": SLURM, "RayLauncher": UNKNOWN}


def resources(launcher: Node, cores: int, *, threads: int | None = None, shards: int | None = None) -> Resources:
    """The resources of a launcher on a machine with so many cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "available_cores", lambda: cores)
        return Resources.of(launcher, threads=threads, shards=shards)


@pytest.mark.parametrize(
    ("launcher", "cores", "given", "expected"),
    [
        (BASIC, 8, {}, Resources("basic", 1, 8)),
        (BASIC, 8, {"threads": 3, "shards": 5}, Resources("basic", 1, 3)),
        (JOBLIB, 8, {}, Resources("joblib", 8, 1)),
        (JOBLIB, 8, {"threads": 3}, Resources("joblib", 2, 3)),
        (JOBLIB | {"n_jobs": -2}, 8, {}, Resources("joblib", 7, 1)),
        (JOBLIB | {"n_jobs": -20}, 8, {}, Resources("joblib", 1, 8)),
        (JOBLIB | {"n_jobs": 3}, 8, {}, Resources("joblib", 3, 2)),
        (JOBLIB | {"n_jobs": 16}, 8, {}, Resources("joblib", 8, 1)),
        (JOBLIB | {"n_jobs": None}, 8, {}, Resources("joblib", 1, 8)),
        (LOCAL, 8, {}, Resources("submitit_local", 8, 1)),
        (LOCAL, 8, {"shards": 3}, Resources("submitit_local", 3, 2)),
        (LOCAL, 8, {"shards": 30}, Resources("submitit_local", 8, 1)),
        (LOCAL | {"cpus_per_task": 4}, 8, {}, Resources("submitit_local", 2, 4)),
        (LOCAL | {"cpus_per_task": 40}, 8, {}, Resources("submitit_local", 1, 8)),
        (SLURM, 2, {}, Resources("submitit_slurm", None, 1)),
        (SLURM | {"cpus_per_task": 16}, 2, {}, Resources("submitit_slurm", None, 16)),
        (SLURM | {"cpus_per_task": 16}, 2, {"threads": 4}, Resources("submitit_slurm", None, 4)),
        (UNKNOWN, 4, {}, Resources("RayLauncher", 4, 1)),
    ],
)
def test_what_a_launcher_gives(launcher: Node, cores: int, given: dict[str, int], expected: Resources) -> None:
    assert resources(launcher, cores, **given) == expected


@pytest.mark.parametrize("name", ["nodes", "tasks_per_node"])
def test_a_shard_is_one_process(name: str) -> None:
    with pytest.raises(
        SweepError, match=rf"^hydra\.launcher\.{name}=2 would run every shard 2 times; .* sweep\.shards$"
    ):
        resources(SLURM | {name: 2}, 8)


@given(
    launcher=st.sampled_from([BASIC, JOBLIB, LOCAL, UNKNOWN]),
    cores=st.integers(1, 130),
    threads=st.none() | st.integers(1, 130),
    shards=st.none() | st.integers(1, 2000),
    n_jobs=st.integers(-130, 130),
    cpus=st.none() | st.integers(1, 130),
)
def test_workers_times_threads_never_exceed_the_cores(
    launcher: Node, cores: int, threads: int | None, shards: int | None, n_jobs: int, cpus: int | None
) -> None:
    node = launcher | ({"n_jobs": n_jobs} if launcher is JOBLIB else {"cpus_per_task": cpus})
    if threads is not None and threads > cores:
        with pytest.raises(SweepError, match=rf"^sweep\.threads={threads}, but this process was given {cores} cores$"):
            resources(node, cores, threads=threads, shards=shards)
        return
    found = resources(node, cores, threads=threads, shards=shards)
    assert found.workers is not None
    assert found.workers >= 1
    assert found.threads >= 1
    assert found.workers * found.threads <= cores
    at_once = found.shards(1.0, shards) if shards and shards <= MAX_SHARDS and found.starts_all_at_once else 1
    assert at_once * found.threads <= cores
    assert threads in (None, found.threads)


@pytest.mark.parametrize(
    ("found", "core_seconds", "expected"),
    [
        (Resources("basic", 1, 8), 1e6, 1),
        (Resources("joblib", 4, 2), 1e6, 12),
        (Resources("joblib", 1, 2), 1e6, 1),
        (Resources("submitit_local", 4, 2), 1e6, 4),
        (Resources("submitit_local", 9, 2), 1e6, 9),
        (Resources("submitit_slurm", None, 2), 10.0, 1),
        (Resources("submitit_slurm", None, 2), 0.0, 1),
        (Resources("submitit_slurm", None, 2), 12_000.0, 10),
        (Resources("submitit_slurm", None, 2), 1e12, MAX_SHARDS),
    ],
)
def test_how_many_shards_are_made(found: Resources, core_seconds: float, expected: int) -> None:
    assert found.shards(core_seconds, None) == expected
    # A launcher that starts all shards at once must not be given more than there are workers.
    assert found.shards(core_seconds, 7) == (4 if found == Resources("submitit_local", 4, 2) else 7)


@pytest.mark.parametrize("kind", LAUNCHERS)
def test_more_than_a_thousand_shards_are_refused(kind: str) -> None:
    found = resources(LAUNCHERS[kind], 4)
    assert found.shards(1.0, 1000) == (4 if found.starts_all_at_once else 1000)
    with pytest.raises(SweepError, match=r"^sweep\.shards=1001: SLURM takes at most 1000 tasks into an array$"):
        found.shards(1.0, 1001)


# --- Batch scripts ---------------------------------------------------------------------------------------------------


def script(tmp_path: Path, *, shards: int = 12, threads: int = 3, plan: str = "plan.npz", **launcher: object) -> str:
    """The text of a batch script."""
    path = tmp_path / "sweep.sbatch"
    overrides = ["sweep.retry_failed=true", f"shard.plan='{plan}'"]
    write_batch_script(path, SLURM | launcher, shards=shards, overrides=overrides, threads=threads)
    return path.read_text()


def directives(text: str) -> Mapping[str, str]:
    """The ``#SBATCH`` lines by name."""
    lines = (line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def started(text: str, *, index: int) -> list[str]:
    """What the shell makes of the script's command in one task of the array."""
    srun = next(line for line in text.splitlines() if line.startswith("srun "))
    command = srun[srun.index(shlex.quote(sys.executable)) :]
    printing = f"printf '%s\\n' {command}"
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index)}
    done = subprocess.run(["bash", "-c", printing], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_script_asks_for_what_the_launcher_was_given(tmp_path: Path) -> None:
    text = script(
        tmp_path,
        partition="big",
        mem_gb=8,
        timeout_min=90,
        constraint="avx512",
        array_parallelism=7,
        signal_delay_s=60,
        setup=["module load cuda", "export A='b c'"],
        additional_parameters={"reservation": "weekend"},
        cpus_per_task=99,
    )
    asked = directives(text)
    expected = {
        "partition": "big",
        "mem": "8GB",
        "time": "90",
        "constraint": "avx512",
        "array": "0-11%7",
        "cpus-per-task": "3",
        "job-name": "imprint_sweep",
        "reservation": "weekend",
        "signal": "TERM@60",
        "chdir": shlex.quote(str(Path.cwd())),
    }
    assert {name: asked.get(name) for name in expected} == expected
    lines = text.splitlines()
    assert lines.index("module load cuda") < lines.index("export A='b c'") < lines.index("export SRUN_CPUS_PER_TASK=3")
    assert lines.index("export SRUN_CPUS_PER_TASK=3") < next(i for i, line in enumerate(lines) if "srun" in line[:5])
    assert Path(asked["output"]).parent.is_dir()


def test_a_task_starts_its_shard(tmp_path: Path) -> None:
    plan = "/a folder/with 'quotes' and $HOME/plan.npz"
    assert started(script(tmp_path, plan=plan), index=5) == [
        sys.executable,
        "-m",
        "imprint_sweep",
        "sweep.retry_failed=true",
        f"shard.plan='{plan}'",
        "shard.index=5",
    ]


def test_one_shard_is_an_array_of_one(tmp_path: Path) -> None:
    assert directives(script(tmp_path, shards=1))["array"] == "0-0%1"


def test_a_script_is_written_where_there_is_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_slurm = script(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert script(tmp_path) == with_slurm


def test_the_shell_can_read_a_script(tmp_path: Path) -> None:
    script(tmp_path, setup=["module load cuda"])
    subprocess.run(["bash", "-n", str(tmp_path / "sweep.sbatch")], check=True)


@pytest.mark.parametrize(
    ("max_num_timeout", "restarts", "code", "requeued"),
    [(0, None, 143, False), (2, None, 143, True), (2, "1", 143, True), (2, "2", 143, False), (2, None, 2, False)],
)
def test_a_shard_that_ran_out_of_time_is_requeued_as_often_as_asked_for(
    tmp_path: Path, max_num_timeout: int, restarts: str | None, code: int, requeued: bool
) -> None:
    text = script(tmp_path, max_num_timeout=max_num_timeout)
    for program, body in (("srun", f"exit {code}"), ("scontrol", 'echo "$@"')):
        (tmp_path / program).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / program).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "0"}
    if restarts is not None:
        environment["SLURM_RESTART_COUNT"] = restarts
    done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == ("requeue 17\n" if requeued else "")
    assert done.stderr == ""
    assert done.returncode == code


# --- Submitting ------------------------------------------------------------------------------------------------------


def fake_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let an sbatch of our own be the only one."""
    path = folder / "sbatch"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_the_array_that_was_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sbatch(tmp_path, monkeypatch, '[ "$1" = --parsable ] && [ "$2" = "/a b/sweep.sbatch" ] && echo "417;cluster"')
    assert submit(Path("/a b/sweep.sbatch")) == "417"
    assert submission_line(Path("/a b/sweep.sbatch")) == "sbatch '/a b/sweep.sbatch'"


def test_sbatch_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sbatch(tmp_path, monkeypatch, "echo 'sbatch: error: invalid partition specified: big' >&2; exit 1")
    with pytest.raises(
        SweepError,
        match=r"^sbatch refused sweep\.sbatch: sbatch: error: invalid partition .*: big; .*: sbatch sweep\.sbatch$",
    ):
        submit(Path("sweep.sbatch"))


def test_a_machine_without_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SweepError, match=r"^there is no sbatch on this machine; .*: sbatch 'a b\.sbatch'$"):
        submit(Path("a b.sbatch"))


def test_failed_tasks_of_an_array_are_named_with_their_error_or_their_end(tmp_path: Path) -> None:
    log = tmp_path / LOGS / "417_1_0_log.err"
    log.parent.mkdir()
    log.write_text("error: disk full\nsrun: error: node7: task 0: Exited\nslurmstepd-node7: error: the end\n\n")
    states = {2: "CANCELLED", 0: "COMPLETED", 1: "FAILED", 3: "FAILED"}
    assert array_failures("417", states, tmp_path / "sweep.sbatch") == [
        f"shard 1: error: disk full; its log is {log}",
        f"shard 2: CANCELLED; its log is {log.with_name('417_2_0_log.err')}",
        f"shard 3: FAILED; its log is {log.with_name('417_3_0_log.err')}",
    ]


def test_an_array_is_waited_for_until_no_task_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["echo 0 RUNNING; echo 1 PENDING", "echo unreachable >&2; exit 1", "echo 1 COMPLETING", "echo 1 FAILED"]
    for number, answer in enumerate([*answers, "echo asked too often; exit 9"]):
        (tmp_path / str(number)).write_text(answer)
    program = tmp_path / "squeue"
    program.write_text(f"#!/bin/sh\ncd '{tmp_path}'\nn=$(cat n 2>/dev/null || echo 0)\necho $((n + 1)) >n\n. ./$n\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert wait_for("417") == {1: "FAILED"}


def test_an_array_that_slurm_forgot_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wait_for("417") == {}


def test_a_slurm_that_never_answers_is_given_up_with_the_id_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(launch, "SILENT_SECONDS", 20.0)
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    with pytest.raises(
        SweepError, match=r"Unable to contact slurm controller\), and job 417 may still run: see squeue"
    ):
        wait_for("417")
    assert 20 < sum(slept) < 30
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("SLURM does not answer (slurm_load_jobs error: Unable to contact slurm controller); job 417")


def test_a_machine_without_squeue_is_one_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(launch, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(SweepError, match="squeue: No such file or directory"):
        wait_for("417")


def test_failed_shards_are_named() -> None:
    good = JobReturn(status=JobStatus.COMPLETED)
    bad = JobReturn(status=JobStatus.FAILED)
    bad.return_value = OSError("disk full")
    assert failures(lambda: [good, bad, good]) == ["shard 1: OSError: disk full"]
    assert failures(list) == []


@pytest.mark.parametrize("error", [TerminatedWorkerError("killed\nby whom"), UncompletedJobError("killed\nlog\nlog")])
def test_a_killed_shard_is_told_in_one_line(error: Exception) -> None:
    def launch() -> list[JobReturn]:
        raise error

    (line,) = failures(launch)
    assert line.startswith("a shard ended without a word, others may still run: ")
    assert line.endswith("Error: killed")


def test_a_bug_in_a_launcher_is_not_hidden() -> None:
    def launch() -> list[JobReturn]:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        failures(launch)
