"""Batch scripts for SLURM, their submission, the wait for them, and why tasks failed. No SLURM is needed here."""

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

from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf  # type: ignore[import-untyped]
from imprint_sweep.errors import SweepError
from imprint_sweep.running import slurm
from imprint_sweep.running.slurm import (
    LOGS,
    Array,
    array_failures,
    deaths,
    last_words,
    submission_line,
    submit,
    wait_for,
    write_batch_script,
)

SLURM: dict[str, Any] = asdict(SlurmQueueConf()) | {"name": "imprint_sweep", "submitit_folder": "somewhere"}


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


def test_a_script_drops_what_another_job_left(tmp_path: Path) -> None:
    text = script(tmp_path, mem_gb=2, additional_parameters={"hint": "nomultithread"}, setup=["export SLURM_WAIT=7"])
    (tmp_path / "srun").write_text("#!/bin/sh\nenv\n")
    (tmp_path / "srun").chmod(0o755)
    of_this_job = {
        "SLURM_ARRAY_TASK_ID": "0",
        "SLURM_CPUS_PER_TASK": "3",
        "SLURM_HINT": "nomultithread",
        "SLURM_JOB_ID": "17",
        "SLURM_MEM_PER_NODE": "2048",
        "SLURM_OPEN_MODE": "a",
    }
    of_another = {
        "SBATCH_MEM_BIND": "local",
        "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
        "SLURM_DISTRIBUTION": "cyclic",
        "SLURM_GPUS_PER_NODE": "4",
        "SLURM_MEM_PER_CPU": "256",
        "SLURM_NTASKS": "8",
        "SLURM_STEP_ID": "0",
        "SRUN_DEBUG": "3",
    }
    of_the_user = {"SLURM_CONF": "/etc/slurm.conf", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment = of_this_job | of_another | of_the_user
    done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith(("S", "PATH")))
    expected = of_this_job | of_the_user | {"SRUN_CPUS_PER_TASK": "3", "SLURM_WAIT": "7"}
    assert {name: value for name, value in found.items() if name in environment | expected} == expected


# --- Submitting ------------------------------------------------------------------------------------------------------


def fake_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let an sbatch of our own be the only one."""
    path = folder / "sbatch"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_the_array_that_was_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sbatch(tmp_path, monkeypatch, '[ "$1" = --parsable ] && [ "$2" = "/a b/sweep.sbatch" ] && echo "417;cluster"')
    assert submit(Path("/a b/sweep.sbatch")) == Array("417", "cluster")
    assert submission_line(Path("/a b/sweep.sbatch")) == "sbatch '/a b/sweep.sbatch'"


@pytest.mark.parametrize(
    ("answer", "array"),
    [
        ("417", Array("417")),
        ("417;big-1", Array("417", "big-1")),
        ("Welcome to the cluster!\n   3 days to maintenance; 12 jobs wait\n\n417;big", Array("417", "big")),
        ("417\r\nGood luck", Array("417")),
    ],
)
def test_a_banner_around_the_answer_of_sbatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, array: Array
) -> None:
    fake_sbatch(tmp_path, monkeypatch, f"printf '{answer}\n'")
    assert submit(Path("sweep.sbatch")) == array


def test_an_answer_without_an_id_is_no_submission_to_repeat_blindly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sbatch(tmp_path, monkeypatch, "echo 'Welcome to cluster 7'")
    with pytest.raises(
        SweepError, match=r"got 'Welcome to cluster 7'; the sweep may have been submitted, see squeue --me"
    ):
        submit(Path("sweep.sbatch"))


OF_A_JOB = {
    "SLURM_JOB_ID": "5",
    "SLURM_MEM_PER_NODE": "1024",
    "SLURM_CPU_BIND": "mask_cpu:0x1",
    "SBATCH_MEM_BIND": "local",
    "SBATCH_PARTITION": "small",
    "SRUN_CPUS_PER_TASK": "8",
    "SQUEUE_STATES": "PENDING",
}
OF_A_USER = {"SLURM_CONF": "/etc/slurm.conf", "SLURM_JWT": "secret", "SLURM_CLUSTERS": "big", "HOME": "/home/me"}


def environment_of_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> set[str]:
    """Those of some variables that sbatch is called with."""
    for name in os.environ:
        if name.startswith(("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fake_sbatch(folder, monkeypatch, f"/usr/bin/env > '{folder}/env'; echo 1")
    submit(Path("sweep.sbatch"))
    return {line.partition("=")[0] for line in (folder / "env").read_text().splitlines()} & variables.keys()


def test_an_array_is_submitted_without_the_surrounding_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment_of_sbatch(tmp_path, monkeypatch, OF_A_JOB | OF_A_USER) == OF_A_USER.keys()


def test_outside_of_a_job_the_users_defaults_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {"SBATCH_ACCOUNT": "mine", **OF_A_USER}
    given = defaults | {"SLURM_TIME_FORMAT": "relative"}
    assert environment_of_sbatch(tmp_path, monkeypatch, given) == defaults.keys()


def test_a_refusal_names_the_defaults_that_were_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    fake_sbatch(tmp_path, monkeypatch, "echo 'sbatch: error: no account' >&2; exit 1")
    with pytest.raises(SweepError, match=r"no account \(submitted without the surrounding job's SBATCH_ACCOUNT\); the"):
        submit(Path("sweep.sbatch"))


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
    log.with_name("417_2_0_log.err").touch()
    log.write_text("error: disk full\nsrun: error: node7: task 0: Exited\nslurmstepd-node7: error: the end\n\n")
    states = {2: "CANCELLED", 0: "COMPLETED", 1: "FAILED", 3: "FAILED"}
    assert array_failures(Array("417"), states, tmp_path / "sweep.sbatch") == [
        f"shard 1: error: disk full; its log is {log}",
        f"shard 2: CANCELLED; its log is {log.with_name('417_2_0_log.err')}",
        f"shard 3: FAILED; it left no log in {log.parent}",
    ]


def test_an_array_is_waited_for_until_no_task_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = ["echo 0 RUNNING; echo 1 PENDING", "echo unreachable >&2; exit 1", "echo 0 RUNNING; echo 1 COMPLETING"]
    answering(tmp_path, monkeypatch, [*under_way, "echo 0 COMPLETED; echo 1 FAILED", "echo asked too often; exit 9"])
    assert wait_for(Array("417"), 2, set) == {0: "COMPLETED", 1: "FAILED"}


def test_a_task_that_is_omitted_once_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["echo 0 COMPLETED; echo 1 RUNNING", "echo 0 COMPLETED", "echo 0 COMPLETED; echo 1 RUNNING"]
    answering(tmp_path, monkeypatch, [*answers, "echo 0 COMPLETED; echo 1 TIMEOUT"])
    assert wait_for(Array("417"), 2, lambda: {0}) == {0: "COMPLETED", 1: "TIMEOUT"}


def test_a_task_that_was_under_way_and_stays_away_was_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = answering(tmp_path, monkeypatch, ["echo 0 RUNNING; echo 1 RUNNING", *["echo 1 FAILED"] * 80])
    assert wait_for(Array("417"), 2, set) == {1: "FAILED"}
    assert 60 < sum(slept) < 70


def answering(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> list[float]:
    """Let squeue give one answer after another; returns the pauses between two calls."""
    for number, answer in enumerate(answers):
        (folder / str(number)).write_text(answer)
    body = f"cd '{folder}'\nn=$(cat n 2>/dev/null || echo 0)\necho $((n + 1)) >n\n. ./$n"
    return fake_squeue(folder, monkeypatch, body)


def fake_squeue(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> list[float]:
    """Let a squeue of our own be the first, and time pass at once; returns the pauses between two calls."""
    program = folder / "squeue"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def test_squeue_is_asked_about_the_right_cluster_and_not_in_the_users_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the cluster first where it is asked about one, and a site greets its users here, too."""
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    body = """
    [ -z "$SQUEUE_STATES$SQUEUE_FORMAT" ] || exit 0
    case "$*" in *--clusters=big*) ;; *) echo 'Invalid job id specified' >&2; exit 1;; esac
    printf 'Welcome, 3 JOBS wait\nCLUSTER: big\n0 COMPLETED\n1 FAILED\n'
    """
    slept = fake_squeue(tmp_path, monkeypatch, body)
    assert wait_for(Array("417", "big"), 2, set) == {0: "COMPLETED", 1: "FAILED"}
    assert slept == []


@pytest.mark.parametrize("body", ["exit 0", "echo 'error: Invalid job id specified' >&2; exit 1", "echo 0 COMPLETED"])
def test_a_task_that_slurm_never_listed_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: str
) -> None:
    slept = fake_squeue(tmp_path, monkeypatch, body)
    monkeypatch.setattr(slurm, "SILENT_SECONDS", 20.0)
    with pytest.raises(SweepError, match=r"for 0 min, and job 417 on cluster big may still run: see squeue --c.*=417$"):
        wait_for(Array("417", "big"), 2, set)
    assert 20 < sum(slept) < 30
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: SLURM does not list ")


def test_a_task_that_slurm_never_listed_has_ended_when_its_shard_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[set[int]] = [set(), {0}, {0, 1}]
    fake_squeue(tmp_path, monkeypatch, "exit 0")
    assert wait_for(Array("417"), 2, lambda: said.pop(0)) == {}
    assert said == []


def test_an_array_that_slurm_forgot_has_ended_if_its_shards_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wait_for(Array("417"), 2, lambda: {0, 1}) == {}


def test_a_slurm_that_never_answers_is_given_up_with_the_id_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm, "SILENT_SECONDS", 20.0)
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    with pytest.raises(
        SweepError, match=r"Unable to contact slurm controller\), and job 417 may still run: see squeue"
    ):
        wait_for(Array("417"), 1, set)
    assert 20 < sum(slept) < 30
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "note: SLURM does not answer (slurm_load_jobs error: Unable to contact slurm controller); job 417"
    )


def test_a_machine_without_squeue_is_one_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(SweepError, match="squeue: No such file or directory"):
        wait_for(Array("417"), 1, set)


# --- Why tasks failed ------------------------------------------------------------------------------------------------

MEMORY = "srun: fatal: SLURM_MEM_PER_CPU, SLURM_MEM_PER_GPU, and SLURM_MEM_PER_NODE are mutually exclusive."
EXIT = "srun: error: node7: task 0: Exited with exit code 2"
NO_PYTHON = "slurmstepd-node7: error: execve(): /venv/bin/python: No such file or directory"
KILLED = "srun: error: node7: task 0: Segmentation fault (core dumped)"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([MEMORY], MEMORY),
        (["Loading cuda/12.1", MEMORY], MEMORY),
        ([NO_PYTHON, EXIT], NO_PYTHON),
        (["/venv/bin/python: No module named imprint_sweep", EXIT], "/venv/bin/python: No module named imprint_sweep"),
        (["warning: slow", KILLED], KILLED),
        (["error: disk full", EXIT, KILLED], "error: disk full"),
        (["Traceback (most recent call last):", "torch.OutOfMemoryError: 8 GB", EXIT], "torch.OutOfMemoryError: 8 GB"),
        (["slurm_script: line 9: srun: command not found"], "slurm_script: line 9: srun: command not found"),
        ([EXIT], EXIT),
        ([], ""),
    ],
)
def test_the_reason_is_that_of_the_shard_or_of_slurm(tmp_path: Path, lines: list[str], reason: str) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join([*lines, ""]))
    assert last_words(log) == reason


def test_errors_in_the_log_of_stdout(tmp_path: Path) -> None:
    """``hydra.launcher.stderr_to_stdout``: there is no other."""
    folder = tmp_path / LOGS
    folder.mkdir()
    (folder / "417_0_0_log.out").write_text(f"{MEMORY}\n")
    (folder / "416_0_0_log.err").write_text("error: earlier\n")
    assert array_failures(Array("417"), {0: "FAILED"}, tmp_path / "sweep.sbatch") == [
        f"shard 0: {MEMORY}; its log is {folder / '417_0_0_log.out'}"
    ]
    assert deaths(tmp_path, None) == {0: (MEMORY, folder / "417_0_0_log.out")}


def test_logs_that_tell_of_no_end(tmp_path: Path) -> None:
    folder = tmp_path / LOGS
    assert deaths(tmp_path, None) == {}
    folder.mkdir()
    (folder / "9_0_0_log.err").write_text("Loading cuda/12.1\nsrun: job 9 queued and waiting for resources\n")
    (folder / "9_1_0_log.err").write_text("")
    (folder / "notes.txt").write_text(EXIT)
    assert deaths(tmp_path, None) == {}


def test_a_task_with_a_log_that_slurm_no_longer_runs_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / LOGS
    folder.mkdir()
    (folder / "9_0_0_log.err").write_text("")
    (folder / "9_1_0_log.err").write_text("slurm_script: line 22: /gone/python: No such file or directory\n")
    (folder / "9_2_0_log.err").write_text("")
    told = deaths(tmp_path, {2: "RUNNING"})
    assert [reason for reason, _ in told.values()] == [
        "without a word", "slurm_script: line 22: /gone/python: No such file or directory",
    ]  # fmt: skip
    assert sorted(deaths(tmp_path, {})) == [0, 1, 2]


def test_an_array_that_was_written_down(tmp_path: Path) -> None:
    assert Array.load(tmp_path) is None
    Array("417", "big").save(tmp_path)
    assert Array.load(tmp_path) == Array("417", "big")
