"""Embedding through a real SLURM, as on a cluster whose GPUs the machine at hand has not."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey
from imprint_sweep.grid.cell import Model
from tests.outputs import ROOT, SECONDS
from tests.slurm.conftest import Slurm

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SMALL = ("limit=20", "task=digits")


def embed(outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "embed.py"
    line = [sys.executable, str(script), *words, *SMALL, f"paths.outputs='{outputs}'"]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture
def launcher(slurm: Slurm) -> list[str]:
    return ["-m", "hydra/launcher=submitit_slurm", f"hydra.launcher.partition={slurm.partition}"]


def test_jobs_embed_what_the_command_embeds(tmp_path: Path, launcher: list[str]) -> None:
    """A job that fails is told, and keeps none of the others from theirs."""
    here, there = tmp_path / "here", tmp_path / "my cluster"
    sizes = ["model.image_size=0,24", "hydra.launcher.mem_gb=1"]
    finished = embed(there, *launcher, *sizes)
    assert finished.returncode == 2
    assert "the same command makes the others: model.image_size must be at least 1, got 0\n" in finished.stderr
    assert "Traceback" not in finished.stderr
    finished = embed(here, "model.image_size=24")
    assert finished.returncode == 0, finished.stderr
    for split in SPLITS:
        key = EntryKey(Model("efficientnet_lite0", "IMAGENET1K", 24), "digits", split, 20)
        made = [EmbeddingCache(outputs / "embeddings").open(key) for outputs in (here, there)]
        assert made[0].fingerprint == made[1].fingerprint


def test_jobs_embed_what_a_job_asks_for(tmp_path: Path, slurm: Slurm) -> None:
    words = ("hydra/launcher=submitit_slurm", f"hydra.launcher.partition={slurm.partition}", "model.image_size=24,28")
    log = tmp_path / "outer.log"
    script = str(ROOT / "scripts" / "embed.py")
    done = slurm.run(shlex.join([sys.executable, script, "-m", *words, *SMALL, f"paths.outputs='{tmp_path}'"]), log)
    assert done.returncode == 0, log.read_text()
    assert len(list((tmp_path / "embeddings").rglob("*.safetensors"))) == 2 * len(SPLITS)


def test_what_slurm_refuses_is_one_line(tmp_path: Path, launcher: list[str]) -> None:
    """More GPUs than any node here has."""
    finished = embed(tmp_path, *launcher, "hydra.launcher.gpus_per_node=99", "device=cuda")
    assert finished.returncode == 2
    assert "error: the launcher: sbatch: error: " in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not list(tmp_path.rglob("*.safetensors"))
