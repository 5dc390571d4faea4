"""The cluster that the other tests of this folder submit to does run jobs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.slurm.conftest import Slurm

pytestmark = pytest.mark.slurm


def test_a_submitted_job_runs_and_leaves_the_queue(slurm: Slurm, tmp_path: Path) -> None:
    output = tmp_path / "job.out"
    command = ["sbatch", "--wait", "--partition", slurm.partition, "--output", str(output), "--wrap", "echo hi"]
    submitted = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert output.read_text() == "hi\n"
    assert submitted.stdout.split()[-1] not in slurm.queue()
