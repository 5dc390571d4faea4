"""How fast sweeps are: three slices, each against the plain oracle, the single-cell path, and Hydra's own sweeper.

Run from a checkout, on an otherwise idle machine::

    python benchmarks/sweeps.py                       # everything, about an hour
    python benchmarks/sweeps.py --slice overhead      # one slice: agg_fixed, agg_focus, overhead
    python benchmarks/sweeps.py --sample 5            # fewer cells through the oracle

The plain oracle takes seconds for most cells of ``agg_focus``, and minutes for those with Manhattan over all samples.
Its mean is that of a stratified random sample, costly cells among it in their proportion; every cell is printed with
the mean so far and its 95 % interval. ``--minutes`` bounds it: the cells come in random order, so that those that were
reached are a random sample, too, and the interval says what the bound cost.

All figures of a slice come from one run of this script, so their ratios hold on a noisy machine. The embeddings are
those of EfficientNet-Lite0 at 112 px on FashionMNIST (60,000 + 10,000 x 1280), made once if they are missing (about 10
minutes); ``overhead`` reads the embedded default. Results go to a folder of their own, never to the user's table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imprint_sweep import engine
from imprint_sweep.embeddings.cache import EmbeddingCache, Embeddings, EntryKey, Split
from imprint_sweep.grid.cell import Cell
from imprint_sweep.invocation import outputs_folder
from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.resources import available_cores
from measuring import Took, missed, run
from tests import oracle

MODEL = "model=efficientnet_lite0"
FASHION = ["task=fashion_mnist", "task.classes=all,even,odd,short"]
SEEDS = "seed=17121997,123987,12412312"
# 10,368 cells, so 10.4 s are 1 ms a cell, start-up included.
DIGITS_AXES = [
    "task=digits",
    "task.classes=all,even,odd,short",
    "gen=kmeans,mean,all",
    "k=20",
    "norm.pre=none,l2",
    "norm.post=none,l2",
    "norm.inf=none,l2",
    "agg=mnn",
    "agg.metric=euclidean,cosine,manhattan",
    "agg.m=range(1,7)",
    "agg.weighting=uniform,inverse_distance",
]


@dataclass(frozen=True)
class Slice:
    """One slice of the grid and its bars.

    Args:
        name: for the command line.
        overrides: of the sweep.
        seconds: wall time that it must stay under.
        ratio: how many times faster than the plain oracle it must be; 0 where there is no such bar.
    """

    name: str
    overrides: Sequence[str]
    seconds: float
    ratio: float = 0.0


SLICES = [
    Slice("agg_fixed", ["+experiment=agg_fixed", MODEL, *FASHION], seconds=360, ratio=30),
    Slice("agg_focus", ["+experiment=agg_focus", MODEL, *FASHION], seconds=1200, ratio=200),
    Slice("overhead", [MODEL, *DIGITS_AXES, SEEDS], seconds=10.4),
]
MEMORY_GB = 4.0
HOLDING_OTHERS = ("clustering", "class_means", "solver")
"""Stages whose time is that of others, which are listed themselves."""


def main() -> None:
    """Run the benchmark and print its figures; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slice", choices=[one.name for one in SLICES], action="append", help="which; all by default")
    parser.add_argument("--sample", type=int, default=12, help="cells of a slice that go through the plain oracle")
    parser.add_argument("--minutes", type=float, default=30, help="start no more cells of the oracle after so long")
    parser.add_argument("--alone", type=int, default=10, help="cells that go through our own single-cell path")
    parser.add_argument("--hydra", type=int, default=3, help="cells that go through Hydra's basic sweeper and launcher")
    arguments = parser.parse_args()
    outputs = outputs_folder(None)
    chosen = [one for one in SLICES if not arguments.slice or one.name in arguments.slice]
    _make_embeddings(outputs, fashion=any(one.name != "overhead" for one in chosen))
    peak = gemm_peak()
    print(f"{available_cores()} cores; float32 matrix products reach {peak / 1e9:.0f} GFLOP/s on all of them")
    n_missed = 0
    for one in chosen:
        with tempfile.TemporaryDirectory(prefix="imprint-benchmark-") as folder:
            n_missed += run_slice(one, Path(folder), outputs, arguments, peak)
    sys.exit(1 if n_missed else 0)


def run_slice(one: Slice, folder: Path, outputs: Path, arguments: argparse.Namespace, peak: float) -> int:
    """Measure one slice; returns the number of bars missed."""
    (folder / "embeddings").symlink_to(outputs / "embeddings")
    print(f"\n== {one.name}: {' '.join(one.overrides)}")
    ran = _command(["-m", *one.overrides, f"paths.outputs={folder}"])
    seconds, memory = ran.seconds, ran.gigabytes
    (sweep,) = (folder / "sweeps").glob("*/sweep.json")
    requested = int(json.loads(sweep.read_text())["requested"])
    plan, _ = Plan.load(sweep.with_name("plan.npz"))
    per_cell = seconds / requested
    print(
        f"sweep: {requested:,} requested cells in {seconds:.1f} s, {1e3 * per_cell:.2f} ms a cell, peak {memory:.2f} GB"
    )

    rng = random.Random(0)
    cache = EmbeddingCache(outputs / "embeddings")
    sample = [plan.cell(i) for i in stratified(plan, arguments.sample, rng)]
    plain = _timed("plain oracle", sample, plain_cell(cache), requested, seconds=60 * arguments.minutes, every=True)
    how = engine.EngineSettings(threads=available_cores(), memory_gb=MEMORY_GB)
    _timed(
        "our single-cell path", sample[: arguments.alone], lambda cell: list(engine.run([cell], cache, how)), requested
    )
    if arguments.hydra:
        _hydra(one, folder, arguments.hydra)
    stages(sweep.parent, how.threads, peak)

    n_missed = missed("wall time, seconds", seconds, one.seconds) + missed("memory, GB", memory, MEMORY_GB)
    if one.ratio:
        ratio = float(np.mean(plain)) / per_cell
        n_missed += missed("times faster than the plain oracle", ratio, one.ratio, at_least=True)
    return n_missed


def stratified(plan: Plan, n: int, rng: random.Random) -> list[int]:
    """Positions of a random sample, in random order: one from each of n equal runs of the cells sorted by axes."""

    def stratum(position: int) -> tuple[str, ...]:
        cell = plan.cell(position)
        s = cell.scheme
        return (s.gen, s.metric, s.agg, cell.task.classes, str(s.m), str(s.k))

    order = sorted(range(len(plan)), key=stratum)
    edges = np.linspace(0, len(order), min(n, len(order)) + 1).astype(int)
    sample = [order[rng.randrange(a, b)] for a, b in itertools.pairwise(edges.tolist())]
    rng.shuffle(sample)
    return sample


def plain_cell(cache: EmbeddingCache) -> Callable[[Cell], object]:
    """A cell through the tests' oracle, embeddings loaded and process warm."""
    loaded: dict[tuple[str, Split], Embeddings] = {}

    def entry(cell: Cell, dataset: str, split: Split) -> Embeddings:
        if (dataset, split) not in loaded:
            mapped = cache.open(EntryKey(cell.model, dataset, split, cell.task.limit))
            loaded[dataset, split] = Embeddings(mapped.header, np.array(mapped.features), np.array(mapped.labels))
        return loaded[dataset, split]

    def compute(cell: Cell) -> object:
        train, test = ({d: entry(cell, d, split) for d in cell.task.datasets} for split in ("train", "test"))
        return oracle.run(cell, train, test)

    return compute


def stages(folder: Path, threads: int, peak: float) -> None:
    """Print where the time of a sweep went, from what its shards wrote down."""
    calls, seconds, operations = Counter[str](), Counter[str](), Counter[str]()
    for path in folder.glob("ledger-*.json"):
        ledger = json.loads(path.read_text())
        calls.update(ledger["calls"])
        seconds.update(ledger["seconds"])
        operations.update(ledger["operations"])
    print(f"stage by stage, in thread-seconds on {threads} threads:")
    for stage, took in seconds.most_common():
        if stage in HOLDING_OTHERS or took < 0.005 * seconds.total():
            continue
        rate = operations[stage] / took
        share = f", {rate / 1e9:.0f} G operations/s a thread" if rate else ""
        share += f", {rate * threads / peak:.0%} of the matrix peak" if rate and stage != "manhattan" else ""
        print(f"  {stage:16} {took:8.1f} s  {calls[stage]:7,} times{share}")


def gemm_peak() -> float:
    """float32 operations per second that matrix products reach here on all cores."""
    a = np.ones((4096, 4096), np.float32)
    a @ a
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 4096**3 / min(times)


def _timed(
    name: str,
    cells: Sequence[Cell],
    compute: Callable[[Cell], object],
    requested: int,
    *,
    seconds: float = np.inf,
    every: bool = False,
) -> list[float]:
    """Seconds of each cell; prints their mean with its interval, and those so far after every cell if asked to.

    No cell is started after `seconds`.
    """
    warm = min(cells, key=lambda cell: (cell.scheme.gen == "all", cell.scheme.metric in ("manhattan", "mahalanobis")))
    compute(warm)
    began = time.perf_counter()
    took: list[float] = []
    for cell in cells:
        if time.perf_counter() - began > seconds:
            break
        start = time.perf_counter()
        compute(cell)
        took.append(time.perf_counter() - start)
        if every:
            s = cell.scheme
            what = " ".join(str(part) for part in (cell.task.classes, s.gen, s.k, s.metric, s.m) if part is not None)
            print(f"  {name} {len(took)} of {len(cells)}: {took[-1]:.1f} s ({what}); mean {interval(took)}", flush=True)
    mean = float(np.mean(took))
    print(f"{name}: {interval(took)} a cell, {mean * requested / 3600:.1f} h for all {requested:,}", flush=True)
    return took


def interval(seconds: Sequence[float]) -> str:
    """A mean with its 95 % bootstrap interval, in words."""
    means = np.random.default_rng(0).choice(seconds, (10_000, len(seconds))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{np.mean(seconds):.2f} s ({low:.2f} to {high:.2f}, {len(seconds)} cells)"


def _hydra(one: Slice, folder: Path, n: int) -> None:
    """Cells through Hydra's basic sweeper and launcher: a job each."""
    task = next(override for override in one.overrides if override.startswith("task="))
    seeds = ",".join(str(seed) for seed in range(1000, 1000 + n))
    overrides = ["-m", "hydra/sweeper=basic", MODEL, task, "gen=mean", "n_shot=5", f"seed={seeds}"]
    seconds = _command([*overrides, f"paths.outputs={folder / 'hydra'}"], embeddings=folder / "embeddings").seconds
    print(f"Hydra's basic sweeper and launcher: {seconds / n:.2f} s a cell for the cheapest cells (mean, 5-shot)")


def _command(arguments: Sequence[str], *, embeddings: Path | None = None) -> Took:
    """Run ``python -m imprint_sweep`` with some arguments."""
    if embeddings is not None:
        outputs = Path(next(a for a in arguments if a.startswith("paths.outputs=")).partition("=")[2])
        outputs.mkdir()
        (outputs / "embeddings").symlink_to(embeddings.resolve())
    return run(["-m", "imprint_sweep", *arguments])


def _make_embeddings(outputs: Path, *, fashion: bool) -> None:
    for task in ["digits", *(["fashion_mnist"] if fashion else [])]:
        run(["scripts/embed.py", MODEL, f"task={task}", f"paths.outputs={outputs}"], stdout=None)


if __name__ == "__main__":
    main()
