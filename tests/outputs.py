"""The command line as its users call it: in a process of its own, over toy embeddings in a folder of outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.dataset as ds

from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey
from imprint_sweep.grid.cell import Model
from imprint_sweep.store import load_results
from tests import data

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 300
"""Bound of a command that hangs; busy machines take their time."""
SMALL = ("task.name=small", "gen=mean,kmeans", "k=1,5", "agg=max,mnn", "agg.m=3", "seed=0,1")
TOY = ("model=imported", "model.name=toy", "task=imported")
SLOW = ("task.name=large", "gen=kmeans", "k=300", "n_shot=990")
"""A cell that takes some tenths of a second, and shares nothing with those of other seeds, which draw other samples."""

LARGE = (*SLOW, "seed=range(0,48)")
"""One such cell after the other."""


@dataclass(frozen=True)
class Outputs:
    """A folder of outputs with embeddings of toys.

    Args:
        root: the folder. Its name has a space: scripts and overrides must quote it.
    """

    root: Path

    @classmethod
    def create(cls, folder: Path) -> Outputs:
        """Outputs in a folder, with the embeddings and no results."""
        root = folder / "my outputs"
        small = data.blobs("small", train_sizes=dict.fromkeys(range(4), 60))
        large = data.blobs("large", train_sizes=dict.fromkeys(range(10), 1000), d=128)
        for dataset in (small, large):
            for split, samples in zip(SPLITS, (dataset.train, dataset.test), strict=True):
                # As the import command names them.
                key = EntryKey(Model(name="toy", weights="imported"), dataset.name, split)
                metadata = {"source": "tests/outputs.py"}
                EmbeddingCache(root / "embeddings").write(key, samples.features, samples.labels, metadata=metadata)
        return cls(root)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a sweep over the toys."""
        return self.command("-m", *TOY, *arguments)

    def command(self, *arguments: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start ``python -m imprint_sweep``, with words before it on the command line."""
        words = [*before, sys.executable, "-m", "imprint_sweep", *arguments, f"paths.outputs='{self.root}'"]
        # In a session of its own: a signal sent to it must not reach pytest.
        return subprocess.Popen(
            words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run a sweep to its end.

        Returns:
            stdout and stderr.
        """
        return ended(self.start(*arguments), code=code)

    def history(self) -> pd.DataFrame:
        """All rows, also of cells that were computed twice."""
        rows = self.root / "results"
        return ds.dataset(rows).to_table().to_pandas() if rows.exists() else pd.DataFrame({"cell_id": []})

    def n_correct(self) -> dict[str, int]:
        """Cell -> correct predictions."""
        rows = load_results(self.root / "results")
        return dict(zip(rows["cell_id"], rows["n_correct"], strict=True))

    def sweep(self) -> Path:
        """The folder of the newest sweep."""
        return max((self.root / "sweeps").iterdir())


EMBED = str(ROOT / "scripts" / "embed.py")
IMPRINT = ("-m", "imprint_sweep")


def python(outputs: Path, *words: str, code: int = 0) -> str:
    """Run ``python`` with some words in the folder of its outputs, which is no checkout; returns what it printed.

    Args:
        outputs: the folder.
        words: a script or module that Hydra configures, and overrides.
        code: the exit code that is expected. Of another one than 0, what is returned is the error.
    """
    finished = subprocess.run(
        [sys.executable, *words, f"paths.outputs={outputs}"],
        cwd=outputs,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == code, finished.stderr
    return finished.stderr if code else finished.stdout


def ended(process: subprocess.Popen[str], *, code: int = 0) -> tuple[str, str]:
    """Wait for a command; its stdout and stderr."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == code, f"{out}\n{err}"
    return out, err


def under_way(sweep: Path, shard: int) -> bool:
    """Whether a shard has finished some of its cells."""
    path = sweep / f"progress-{shard:04d}.json"
    return path.exists() and json.loads(path.read_text())["done"] > 0


def await_(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {SECONDS} s: {what}"
        time.sleep(0.1)
