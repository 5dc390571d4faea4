"""Sweeps through a real SLURM: complete, cancelled half-way and repeated, not waited for, submitted by hand."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.progress import Progress
from tests.outputs import LARGE, ROOT, SECONDS, SMALL, TOY, Outputs, await_, ended, under_way
from tests.slurm.conftest import Slurm

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """Fresh outputs with the embeddings and no results."""
    return Outputs.create(tmp_path)


@pytest.fixture
def launcher(slurm: Slurm) -> list[str]:
    """Options that send a sweep to the cluster."""
    return ["hydra/launcher=submitit_slurm", f"hydra.launcher.partition={slurm.partition}", "hydra.launcher.mem_gb=1"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the basic launcher finds for the small sweep."""
    basic = Outputs.create(tmp_path_factory.mktemp("basic"))
    basic.run(*SMALL)
    return basic.n_correct()


def test_a_sweep_through_slurm_finds_what_the_basic_launcher_finds(
    outputs: Outputs, launcher: list[str], expected: dict[str, int]
) -> None:
    out, err = outputs.run(*SMALL, *launcher, "sweep.shards=2")
    assert outputs.n_correct() == expected
    assert len(outputs.history()) == len(expected)
    assert re.search(r"submitted as SLURM job \d+; follow it with: \S+", out)
    assert f"{len(expected)} cells in " in out
    assert "warning" not in err
    assert Progress.read(outputs.sweep()).finished == 2
    assert {path.read_text() for path in (outputs.sweep() / "slurm").iterdir()} == {""}


def test_a_cancelled_task_ends_the_sweep_and_the_same_line_completes_it(outputs: Outputs, launcher: list[str]) -> None:
    arguments = (*LARGE, *launcher, "sweep.shards=2")
    process = outputs.start(*arguments)
    array = submitted(process)
    try:
        await_(lambda: under_way(outputs.sweep(), 0), "shard 0 under way")
        subprocess.run(["scancel", f"{array}_0"], check=True)
        _, err = ended(process, code=1)
    finally:
        subprocess.run(["scancel", array], check=True)
    assert re.search(r"^error: shard 0: CANCELLED; its log is \S.*_0_0_log\.err$", err, re.MULTILINE)
    assert re.search(r"^error: 0 cells failed and \d+ were not computed; run the same command again", err, re.MULTILINE)
    assert "Traceback" not in err

    plan, columns = Plan.load(outputs.sweep() / "plan.npz")
    mine = {cell_id.decode() for cell_id in plan.cell_id[columns["shard"] == 0]}
    others = {cell_id.decode() for cell_id in plan.cell_id[columns["shard"] == 1]}
    before = set(outputs.history()["cell_id"])
    known = json.loads((outputs.sweep() / "progress-0000.json").read_text())["done"]
    assert before >= others
    assert len(before & mine) == known
    assert 0 < known < len(mine)

    out, _ = outputs.run(*arguments)
    assert f"-> {len(before)} done, {len(mine | others) - len(before)} to run" in out
    rows = outputs.history()
    assert set(rows["cell_id"]) == mine | others
    assert rows["cell_id"].is_unique


def test_nobody_has_to_wait_for_slurm(
    outputs: Outputs, launcher: list[str], expected: dict[str, int], slurm: Slurm
) -> None:
    out, err = outputs.run(*SMALL, *launcher, "sweep.shards=2", "sweep.wait=false")
    ((array, status),) = re.findall(r"^submitted as SLURM job (\d+); follow it with: python (.*)", out, re.MULTILINE)
    assert err == ""
    assert any(job.startswith(f"{array}_") for job in slurm.queue())
    await_(lambda: not any(job.startswith(f"{array}_") for job in slurm.queue()), "the array has ended")
    assert outputs.n_correct() == expected
    line = f"{shlex.quote(sys.executable)} {status}"
    shown = subprocess.run(
        line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=True
    ).stdout
    assert re.search(rf"^{outputs.sweep().name} .* complete", shown, re.MULTILINE)


def test_the_printed_line_runs_the_sweep(
    outputs: Outputs, launcher: list[str], expected: dict[str, int], tmp_path: Path
) -> None:
    out, _ = outputs.run(*SMALL, *launcher, "sweep.shards=2", "sweep.submit=false")
    line = out.splitlines()[-1]
    assert not outputs.history().shape[0]
    # From another folder, and given --wait, which only delays the prompt.
    environment = os.environ | {"SBATCH_WAIT": "1"}
    done = subprocess.run(
        line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert outputs.n_correct() == expected


def test_a_sweep_that_is_started_inside_a_job(
    outputs: Outputs, slurm: Slurm, expected: dict[str, int], tmp_path: Path
) -> None:
    log = tmp_path / "outer.log"
    words = ("-m", *TOY, *SMALL, "hydra/launcher=submitit_slurm", f"hydra.launcher.partition={slurm.partition}")
    line = [sys.executable, "-m", "imprint_sweep", *words, "sweep.shards=2", f"paths.outputs='{outputs.root}'"]
    done = slurm.run(shlex.join(line), log)
    assert done.returncode == 0, log.read_text()
    assert "error" not in log.read_text()
    assert outputs.n_correct() == expected


def test_the_printed_line_runs_the_sweep_inside_a_job(
    outputs: Outputs, slurm: Slurm, expected: dict[str, int], tmp_path: Path
) -> None:
    words = ("hydra/launcher=submitit_slurm", f"hydra.launcher.partition={slurm.partition}", "sweep.shards=2")
    out, _ = outputs.run(*SMALL, *words, "sweep.submit=false")
    log = tmp_path / "outer.log"
    done = slurm.run(f"SBATCH_WAIT=1 {out.splitlines()[-1]}", log)
    assert done.returncode == 0, log.read_text() + told(outputs)
    assert outputs.n_correct() == expected


@pytest.mark.parametrize("more", [(), ("hydra.launcher.stderr_to_stdout=true",)], ids=["stderr", "stdout"])
def test_the_reason_why_no_shard_began(outputs: Outputs, launcher: list[str], more: tuple[str, ...]) -> None:
    setup = "hydra.launcher.setup=['echo Loading >&2','export SLURM_MEM_PER_CPU=1 SLURM_MEM_PER_NODE=1']"
    _, err = outputs.run(*SMALL, *launcher, "sweep.shards=2", setup, *more, code=1)
    reason = "srun: fatal: SLURM_MEM_PER_CPU, SLURM_MEM_PER_GPU, and SLURM_MEM_PER_NODE are mutually exclusive."
    logs = re.findall(rf"^error: shard [01]: {re.escape(reason)}; its log is (\S.*)$", err, re.MULTILINE)
    assert len(logs) == 2
    assert all(reason in Path(log).read_text() for log in logs)
    shown = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "status.py"), "--outputs", str(outputs.root)],
        capture_output=True, text=True, timeout=SECONDS, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert shown[0].endswith("  stopped")
    assert shown[-1] == f"  2 shards ended before computing anything: {reason}; a log is {logs[0]}"


def told(outputs: Outputs) -> str:
    """What is in SLURM's logs of the newest sweep."""
    return "".join(path.read_text() for path in sorted((outputs.sweep() / "slurm").iterdir()))


def test_interrupting_the_wait_leaves_the_array_alone(outputs: Outputs, launcher: list[str], slurm: Slurm) -> None:
    process = outputs.start(*LARGE, *launcher, "sweep.shards=1")
    array = submitted(process)
    try:
        await_(lambda: under_way(outputs.sweep(), 0), "shard 0 under way")
        process.send_signal(signal.SIGINT)
        _, err = ended(process, code=130)
        assert f"SLURM job {array} goes on; cancel it with: scancel {array}\n" in err
        assert "Traceback" not in err
        assert f"{array}_0" in slurm.queue()
    finally:
        subprocess.run(["scancel", array], check=True)


def test_a_shard_that_is_told_to_end_is_requeued_and_goes_on(
    outputs: Outputs, launcher: list[str], slurm: Slurm
) -> None:
    process = outputs.start(*LARGE, *launcher, "sweep.shards=1", "hydra.launcher.max_num_timeout=1")
    array = submitted(process)
    try:
        await_(lambda: under_way(outputs.sweep(), 0), "shard 0 under way")
        # What SLURM sends to the steps of a job some time before its limit.
        subprocess.run(["scancel", "--signal=TERM", f"{array}_0"], check=True)
        await_(lambda: slurm.waits_for(f"{array}_0") == "BeginTime", "shard 0 requeued")
        # SLURM lets a requeued job wait for two minutes; within a second it would refuse the job's credential.
        subprocess.run(["scontrol", "update", f"JobId={array}_0", "StartTime=now+3"], check=True)
        ended(process)
    finally:
        subprocess.run(["scancel", array], check=True)
    rows = outputs.history()
    assert len(rows) == 48
    assert rows["cell_id"].is_unique


def submitted(process: subprocess.Popen[str]) -> str:
    """The array that a command submits."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"submitted as SLURM job (\d+);", line):
            return found[1]
    raise AssertionError(f"nothing was submitted: {ended(process)}")
