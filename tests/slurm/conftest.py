"""A real SLURM for the tests of this folder: the machine's own, or one started here by ``cluster.sh``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.outputs import ROOT, SECONDS

CLUSTER = Path(__file__).with_name("cluster.sh")
START_SECONDS = 300
"""Bound of ``cluster.sh start``, which may have to download and install four packages."""


@dataclass(frozen=True)
class Slurm:
    """A SLURM that takes jobs.

    Args:
        partition: the default partition.
        cpus: CPUs of its largest node.
    """

    partition: str
    cpus: int

    def queue(self) -> list[str]:
        """The ids of this user's jobs that wait or run, one entry per array task, for example ``"7_2"``."""
        return _output("squeue", "--me", "--array", "--noheader", "--format=%i").split()

    def waits_for(self, job: str) -> str:
        """SLURM's reason why a job, or a task of an array, does not run; ``"None"`` if it does."""
        return _output("squeue", f"--jobs={job}", "--noheader", "--format=%r").strip()

    def run(self, line: str, log: Path) -> subprocess.CompletedProcess[str]:
        """Run a shell line in a job that asks for memory by the node; unasked, this cluster gives it by the CPU."""
        words = ["sbatch", "--wait", f"--partition={self.partition}", "--mem=1G", f"--chdir={ROOT}", f"--output={log}"]
        return subprocess.run([*words, "--wrap", line], capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A SLURM that answers; skips the test, with the reason, where none can be had."""
    started = subprocess.run([CLUSTER, "start"], capture_output=True, text=True, timeout=START_SECONDS, check=False)
    if started.returncode != 0:
        pytest.skip(f"no SLURM: {started.stderr.strip() or started.stdout.strip()}")
    ours = "answers already" not in started.stdout
    partitions = [line.split() for line in _output("sinfo", "--noheader", "--format=%P %c").splitlines()]
    name, cpus = next((row for row in partitions if row[0].endswith("*")), partitions[0])
    try:
        yield Slurm(partition=name.removesuffix("*"), cpus=int(cpus.removesuffix("+")))
    finally:
        if ours:
            subprocess.run([CLUSTER, "stop"], check=True, timeout=120)


def _output(command: str, *arguments: str) -> str:
    program = shutil.which(command)
    assert program is not None, f"{command} is not on PATH although SLURM answers"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=True).stdout
