"""How long a sweep takes before it computes: the paper's grid against 200,000 done rows, and a sweep of six cells.

Run from a checkout::

    python benchmarks/planning.py

Tiny made-up embeddings of every model and dataset of the paper stand in for the real ones: planning reads only their
headers. The done rows are made up as well. Bars: 30 s and 2 GB for the grid, 5 s from pressing Enter to the first
computation for six cells.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.grid.cell import Cell, Model
from imprint_sweep.grid.outcome import Outcome
from imprint_sweep.planning.plan import Plan, look_up
from imprint_sweep.store import Provenance, ResultStore, load_results
from measuring import Took, missed, run

DONE_ROWS = 200_000
GRID_SECONDS, GRID_GB, SIX_SECONDS = 30.0, 2.0, 5.0


def main() -> None:
    """Print the figures; exit code 1 if a bar is missed."""
    with tempfile.TemporaryDirectory(prefix="imprint-benchmark-") as folder:
        n_missed = grid(Path(folder)) + six_cells(Path(folder))
    sys.exit(1 if n_missed else 0)


def grid(outputs: Path) -> int:
    """Plan the paper's grid against a table of done rows."""
    make_embeddings(outputs)
    write_rows(saved_plan(outputs), outputs)
    took = sweep(outputs, "+experiment=paper", "sweep.dry_run=true", stdout=None)
    return missed("grid, seconds", took.seconds, GRID_SECONDS) + missed("grid, GB", took.gigabytes, GRID_GB)


def six_cells(outputs: Path) -> int:
    """From pressing Enter to the first computed outcome, with a warm file cache."""
    axes = ["model=resnet18", "task=mnist", "gen=kmeans,mean,cov_max", "agg.metric=euclidean,cosine"]
    sweep(outputs, *axes, "seed=1")
    started = time.time()
    sweep(outputs, *axes, "seed=2")
    rows = load_results(outputs / "results", columns=["seed", "finished_at", "eval_seconds", "gen_seconds"])
    mine = rows[rows["seed"] == 2]
    first: datetime = mine["finished_at"].min().to_pydatetime()
    computing = float((mine["gen_seconds"] + mine["eval_seconds"]).min())
    return missed("six cells, seconds to the first computation", first.timestamp() - started - computing, SIX_SECONDS)


def make_embeddings(outputs: Path) -> None:
    """Entries with one made-up sample per class for every model and dataset of the paper."""
    cache, rng = EmbeddingCache(outputs / "embeddings"), np.random.default_rng(0)
    for model in ("resnet18", "resnet50", "vit_b_16", "swin_b"):
        for dataset in ("mnist", "fashion_mnist", "cifar10", "mnist_m", "svhn", "usps", "imagenet"):
            labels = np.arange(1000 if dataset == "imagenet" else 10)
            for split in ("train", "test"):
                features = rng.random((len(labels), 8), np.float32)
                cache.write(EntryKey(Model(model, "IMAGENET1K_V1"), dataset, split), features, labels, metadata={})


def saved_plan(outputs: Path) -> Plan:
    """The plan of a sweep that is planned and saved, and not submitted."""
    sweep(outputs, "+experiment=paper", "hydra/launcher=submitit_slurm", "sweep.submit=false")
    (path,) = (outputs / "sweeps").glob("*/plan.npz")
    return Plan.load(path)[0]


def write_rows(plan: Plan, outputs: Path) -> None:
    """Good rows for some of the cells, in parts as sweeps write them."""
    fingerprint = look_up(plan, EmbeddingCache(outputs / "embeddings")).fingerprint
    chosen = np.random.default_rng(1).permutation(len(plan))[:DONE_ROWS]
    with ResultStore(outputs / "results").writer(Provenance.here("benchmark")) as writer:
        for position in chosen.tolist():
            cell: Cell = plan.cell(position)
            n = len(cell.task.labels)
            writer.add(
                Outcome(
                    cell=cell,
                    computation_id=cell.computation_id(),
                    fingerprint=fingerprint[position].decode(),
                    n_correct=n,
                    n_test=n,
                    f1=(1.0,) * n,
                    f1_macro=1.0,
                    f1_weighted=1.0,
                    n_proxies=n,
                    gen_seconds=0.0,
                    eval_seconds=0.0,
                )
            )


def sweep(outputs: Path, *arguments: str, stdout: int | None = subprocess.DEVNULL) -> Took:
    """Time ``python -m imprint_sweep -m``."""
    return run(["-m", "imprint_sweep", "-m", *arguments, f"paths.outputs={outputs}"], stdout=stdout)


if __name__ == "__main__":
    main()
