"""How long the paper's whole grid takes: every experiment at its real size, over stand-ins for the paper's embeddings.

Run from a checkout, on an otherwise idle machine, with real embeddings to make stand-ins from::

    python scripts/embed.py task=fashion_mnist model.image_size=96
    python benchmarks/grid.py outputs/embeddings/.../fashion_mnist-train.safetensors   # a slice of each experiment
    python benchmarks/grid.py FILE --experiment oracle --experiment collapse_imagenet          # of some
    python benchmarks/grid.py FILE --part fidelity                                             # the stand-ins alone
    python benchmarks/grid.py FILE --all                                                       # all 392,016 rows

*Stand-ins* have the paper's numbers of samples of each class and its widths. A class of theirs is a sample of a class
of the real ones, of drawn columns; where more samples are wanted than there are, the others lie between real
neighbours; where more classes are wanted, they have means of their own, as far from each other as real ones. *fidelity*
prints what decides how long things take, of both: iterations of k-means, the share of samples that change cluster, the
pairs that a search scores exactly.

*slices* plans the chosen experiments at their real size, then runs one model, dataset and remap of each, drawn by seed,
as a sweep of its own. No slice learns from another: all have the calibration that this machine got from its first
measurement. Each is printed with its estimate. The whole is extrapolated by work, stage by stage.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from planning import make_embeddings
from threadpoolctl import threadpool_limits

from imprint_sweep.embeddings.cache import CLASSES, EmbeddingCache, EntryHeader, EntryKey, open_entry
from imprint_sweep.grid.cell import Model
from imprint_sweep.grid.tasks import classes_of
from imprint_sweep.imprinting.agg import search
from imprint_sweep.imprinting.agg.metrics.euclidean import EUCLIDEAN
from imprint_sweep.imprinting.components import Metric
from imprint_sweep.imprinting.kmeans.batch import batch_kmeans
from imprint_sweep.imprinting.kmeans.seeding import plus_plus
from imprint_sweep.imprinting.kmeans.squared_distances import squared_lengths
from imprint_sweep.imprinting.vectors import Filter, Vectors, inner_products
from imprint_sweep.planning.cost import REST, Estimate, estimate
from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.calibration import Calibration, measure
from imprint_sweep.running.resources import available_cores
from imprint_sweep.wording import duration
from measuring import Took, missed, run

WEIGHTS = "IMAGENET1K_V1"
WIDTHS = {"resnet18": 512, "resnet50": 2048, "vit_b_16": 768, "swin_b": 1024}
EXPERIMENTS = {
    "agg_fixed": ("mnist", "fashion_mnist", "cifar10"),
    "agg_focus": ("mnist", "fashion_mnist", "cifar10"),
    "oracle": ("mnist", "fashion_mnist", "cifar10"),
    "oracle_agg": ("mnist", "fashion_mnist", "cifar10"),
    "fig6": ("mnist", "fashion_mnist", "cifar10"),
    "n_shot": ("mnist", "fashion_mnist", "cifar10"),
    "n_shot_oracle": ("mnist", "fashion_mnist", "cifar10"),
    "collapse_combi_digits": ("combi_digits",),
    "collapse_imagenet": ("imagenet",),
    "collapse_other": ("mnist", "fashion_mnist", "cifar10"),
    "collapse_combi_digits_oracle": ("combi_digits",),
    "collapse_imagenet_oracle": ("imagenet",),
    "collapse_other_oracle": ("mnist", "fashion_mnist", "cifar10"),
}
"""Those that the experiment ``paper`` unites, and their tasks."""
PARTS = {"combi_digits": ("mnist", "mnist_m", "usps", "svhn")}
REMAPS = 10
IMAGENET_SAMPLE = sorted(classes_of("imagenet", range(1000), 100))
FACTOR = 1.5
"""An estimate is to be right within this factor."""
HOURS = 6.0
DRAWS = 24
"""Of the classes whose figures are compared: iterations of draws differ by half, so fewer would say nothing."""
FITS = 4
"""Of each draw."""
CLOSE = 0.2
"""Stand-ins are to behave like real embeddings within this share."""

NEW = 0.5
"""How much of the spread of the means is drawn anew for more classes than there are real ones."""

Rows = NDArray[np.float32]


def _sizes() -> dict[tuple[str, str], dict[int, int]]:
    """Samples of each class of the paper's datasets, by (dataset, split)."""
    mnist = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    mnist_test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    counts = {
        ("mnist", "train"): mnist,
        ("mnist", "test"): mnist_test,
        ("mnist_m", "train"): [round(n * 59001 / 60000) for n in mnist],
        ("mnist_m", "test"): [round(n * 9001 / 10000) for n in mnist_test],
        ("fashion_mnist", "train"): [6000] * 10,
        ("fashion_mnist", "test"): [1000] * 10,
        ("cifar10", "train"): [5000] * 10,
        ("cifar10", "test"): [1000] * 10,
        ("svhn", "train"): [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659],
        ("svhn", "test"): [1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595],
        ("usps", "train"): [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644],
        ("usps", "test"): [359, 264, 198, 166, 200, 160, 170, 147, 166, 177],
    }
    sizes = {key: dict(enumerate(values)) for key, values in counts.items()}
    # 895 of the 1,000 classes have 1,300 images, the others 732 or more, all 1,281,167; which ones is drawn here.
    rng = random.Random(0)
    train = {label: 1300 if rng.random() < 0.895 else rng.randint(941, 1299) for label in IMAGENET_SAMPLE}
    return {**sizes, ("imagenet", "train"): train, ("imagenet", "test"): dict.fromkeys(IMAGENET_SAMPLE, 50)}


SIZES = _sizes()


def main() -> None:
    """Run the benchmark and print its figures; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", type=Path, help="file of real embeddings, the train split; its test split lies beside")
    parser.add_argument("--part", choices=["fidelity", "slices", "both"], default="both")
    parser.add_argument("--experiment", choices=list(EXPERIMENTS), action="append", help="which; all by default")
    parser.add_argument("--model", choices=list(WIDTHS), help="of every slice; drawn by default")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of slices")
    parser.add_argument("--scale", type=float, default=1.0, help="fewer samples of each class, to try the benchmark")
    parser.add_argument(
        "--folder", type=Path, help="where stand-ins are made, 9 GB for --all; a temporary one by default"
    )
    parser.add_argument("--all", action="store_true", help="run the whole grid, not slices")
    parser.add_argument("--reference", action="store_true", help="print what calibration.ON_REFERENCE holds, of here")
    arguments = parser.parse_args()
    if arguments.reference:
        print(json.dumps({stage: round(seconds, 3) for stage, seconds in sorted(measure(1).items())}, indent=4))
        return
    stand_ins = StandIns.read(arguments.entry, arguments.scale)
    n_missed = 0
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="imprint-benchmark-", dir=arguments.folder) as folder:
        if arguments.part != "slices":
            n_missed += fidelity(stand_ins)
        if arguments.part != "fidelity":
            n_missed += whole(stand_ins, Path(folder)) if arguments.all else slices(stand_ins, Path(folder), arguments)
    sys.exit(1 if n_missed else 0)


# stand-ins


@dataclass(frozen=True, eq=False)
class StandIns:
    """Makes embeddings of the paper's sizes out of real ones.

    Args:
        real: split -> real class -> (n, d) float32.
        means: (classes, d) float32 of the real training classes.
        scale: how many samples a class has, relative to the paper's.
    """

    real: Mapping[str, Sequence[Rows]]
    means: Rows
    scale: float

    @classmethod
    def read(cls, path: Path, scale: float) -> StandIns:
        """From an entry of the embedding cache and the one of the other split."""
        real = {}
        for split in ("train", "test"):
            entry = open_entry(path.with_name(path.name.replace("-train", f"-{split}")))
            classes = sorted(entry.header.class_counts)
            real[split] = [np.array(entry.features[entry.labels == label]) for label in classes]
        return cls(real, np.stack([rows.mean(axis=0) for rows in real["train"]]), scale)

    def sizes(self, dataset: str, split: str) -> dict[int, int]:
        """Samples of each class."""
        return {label: max(1, round(n * self.scale)) for label, n in SIZES[dataset, split].items()}

    def rows(self, model: str, dataset: str, split: str, label: int) -> Rows:
        """The samples of a class, (n, width of the model) float32."""
        number = list(SIZES[dataset, split]).index(label)
        n_real = len(self.means)
        order = _rng("classes", dataset).permutation(n_real)
        real = self.real[split][order[number % n_real]]
        rows = _sampled(real, self.sizes(dataset, split)[label], _rng("rows", model, dataset, split, label))
        if number >= n_real:
            rows = rows + self._moved(order[number % n_real], _rng("moved", dataset, label))
        return np.ascontiguousarray(rows[:, self.columns(model)])

    def _moved(self, of: int, rng: np.random.Generator) -> Rows:
        """(d,) by what a new class is moved from a real one; its mean lies as far from the centre as real ones do."""
        weights = rng.standard_normal(len(self.means))
        apart = self.means - self.means.mean(axis=0)
        drawn = (weights - weights.mean()) @ apart
        drawn *= np.sqrt((apart**2).sum() / (len(apart) - 1)) / np.linalg.norm(drawn)
        moved: Rows = (np.sqrt(NEW) * drawn - (1.0 - np.sqrt(1.0 - NEW)) * apart[of]).astype(np.float32)
        return moved

    def columns(self, model: str) -> NDArray[np.int64]:
        """The real features of a model's: drawn, each as often as the others, but for one time."""
        d, rng = self.means.shape[1], _rng("columns", model)
        rounds = [rng.permutation(d) for _ in range(-(-WIDTHS[model] // d))]
        return np.sort(np.concatenate(rounds)[: WIDTHS[model]])

    def write(self, cache: EmbeddingCache, model: str, dataset: str) -> None:
        """Both splits of a dataset, unless they are there."""
        for split in ("train", "test"):
            key = EntryKey(Model(model, WEIGHTS), dataset, split)
            if cache.header(key) is not None:
                continue
            sizes = self.sizes(dataset, split)
            labels = np.repeat(np.array(list(sizes), np.int64), list(sizes.values()))
            features = np.empty((len(labels), WIDTHS[model]), np.float32)
            for label in sizes:
                features[labels == label] = self.rows(model, dataset, split, label)
            order = _rng("order", model, dataset, split).permutation(len(labels))
            metadata = {CLASSES: json.dumps(IMAGENET_SAMPLE)} if dataset == "imagenet" else {}
            cache.write(key, features[order], labels[order], metadata={"source": "stand-in", **metadata})

    def header(self, key: EntryKey) -> EntryHeader:
        """The header of an entry that need not be written."""
        sizes = self.sizes(key.dataset, key.split)
        return EntryHeader(Path("nowhere"), key, sum(sizes.values()), WIDTHS[key.model.name], str(key), sizes, {}, 0)


def _rng(*words: object) -> np.random.Generator:
    return np.random.default_rng(list(" ".join(map(str, words)).encode()))


def _sampled(real: Rows, n: int, rng: np.random.Generator) -> Rows:
    """n samples: real ones, and where they do not suffice points between one and the nearest of some others."""
    if n <= len(real):
        return real[np.sort(rng.permutation(len(real))[:n])]
    first = rng.integers(len(real), size=n - len(real))
    others = rng.integers(len(real), size=(len(first), 32))
    between = np.empty((len(first), real.shape[1]), np.float32)
    for row, (i, some) in enumerate(zip(first.tolist(), others, strict=True)):
        some = some[some != i] if (some != i).any() else some
        near = some[((real[some] - real[i]) ** 2).sum(axis=1).argmin()]
        between[row] = real[i] + np.float32(rng.uniform(0.2, 0.8)) * (real[near] - real[i])
    return np.concatenate([real, between])


def fidelity(stand_ins: StandIns) -> int:
    """Print how real embeddings and stand-ins behave, beside each other; returns how many figures are too far off.

    One fit takes half as many iterations as another with the next seed, so figures are means over draws of classes and
    seeds, and both are of the same features: which ones are drawn is no part of the comparison.
    """
    n_real = len(stand_ins.means)
    real = stand_ins.real
    narrow = stand_ins.columns("resnet18")
    each = 1300 if stand_ins.scale == 1 else 50
    print("what                    d   k  iterations: real stand-in   moved: real stand-in")
    worst = 0.0
    for parts in (1, 5, 10):
        for k in (5, 15):
            figures: list[list[float]] = []
            for number in range(DRAWS):
                rng = _rng("fidelity", parts, number)
                labels = rng.choice(IMAGENET_SAMPLE, parts, replace=False).tolist()
                if parts == 1:
                    ours = stand_ins.rows("resnet18", "cifar10", "train", number % n_real)
                    theirs = real["train"][number % n_real][: len(ours)]
                else:
                    chosen = np.resize(rng.permutation(n_real), parts).tolist()
                    theirs = np.concatenate([real["train"][one][:each] for one in chosen])
                    ours = np.concatenate([stand_ins.rows("resnet18", "imagenet", "train", label) for label in labels])
                seeds = range(FITS * number, FITS * number + FITS)
                figures.append([*_kmeans_figures(theirs[:, narrow], k, seeds), *_kmeans_figures(ours, k, seeds)])
            a, b, c, e = np.mean(figures, axis=0).tolist()
            name = "a class" if parts == 1 else f"{parts} classes in 1"
            print(f"{name:20} {WIDTHS['resnet18']:4} {k:3} {a:16.1f} {c:8.1f} {b:15.2%} {e:8.2%}", flush=True)
            worst = max(worst, abs(c / a - 1.0), abs(e / b - 1.0) if b else 0.0)
    print("exact values of a search, per query: m, real, stand-in")
    # These stand-ins have the real rows: only with other features are they anything to compare.
    narrow = np.sort(_rng("real columns").permutation(stand_ins.means.shape[1])[: WIDTHS["resnet18"]])
    ours_train = [
        stand_ins.rows("resnet18", "fashion_mnist", "train", label) for label in SIZES["fashion_mnist", "train"]
    ]
    ours_test = [stand_ins.rows("resnet18", "fashion_mnist", "test", label) for label in SIZES["fashion_mnist", "test"]]
    for m in (1, 5, 50):
        theirs_train, theirs_test = (np.concatenate(real[split])[:, narrow] for split in ("train", "test"))
        theirs_pairs = _rescored(theirs_train, theirs_test, m)
        ours_pairs = _rescored(np.concatenate(ours_train), np.concatenate(ours_test), m)
        print(f"{m:5} {theirs_pairs:10.3f} {ours_pairs:10.3f}", flush=True)
        if theirs_pairs > 0.5:  # fewer take no time
            worst = max(worst, abs(ours_pairs / theirs_pairs - 1.0))
    return missed("stand-ins, largest relative difference", worst, CLOSE)


def _kmeans_figures(x: Rows, k: int, seeds: Sequence[int]) -> tuple[float, float]:
    """Mean number of iterations, and the mean share of samples that an iteration moves to another cluster."""
    with threadpool_limits(1):  # thin products: threads would wait for each other
        fits = batch_kmeans(x, [(k, seed) for seed in seeds])
        centred = np.ascontiguousarray(x - x.mean(axis=0))
        squares = squared_lengths(centred)
        shares = []
        for start, fit in zip(plus_plus(centred, squares, [(k, seed) for seed in seeds]), fits, strict=True):
            centers, labels = centred[start], np.full(len(x), -1)
            for iteration in range(fit.iterations):
                nearest = ((centers**2).sum(axis=1)[:, None] - 2.0 * centers @ centred.T).argmin(axis=0)
                if iteration:
                    shares.append(float((nearest != labels).mean()))
                labels = nearest
                sums = (np.arange(k)[:, None] == labels).astype(np.float32) @ centred
                counts = np.bincount(labels, minlength=k)
                centers = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers).astype(
                    np.float32
                )
    return float(np.mean([fit.iterations for fit in fits])), float(np.mean(shares)) if shares else 0.0


class _Counting:
    """The Euclidean distance, which counts the exact values that it is asked for."""

    def __init__(self) -> None:
        self.pairs = 0

    def exact(self, queries: Vectors, proxies: Vectors, query: Any, proxy: Any) -> NDArray[np.float64]:
        self.pairs += len(query)
        return EUCLIDEAN.exact(queries, proxies, query, proxy)


def _rescored(train: Rows, test: Rows, m: int, most: int = 500) -> float:
    """Pairs that a search among all samples scores exactly, for each query."""
    queries = Vectors.of(np.ascontiguousarray(test[:: max(1, len(test) // most)]))
    proxies, counting = Vectors.of(np.ascontiguousarray(train)), _Counting()
    bounds: Filter = EUCLIDEAN.bounds(queries, proxies, queries, proxies)
    scores = inner_products(queries.rows, proxies.rows)
    metric = cast(Metric, counting)
    search.nearest(scores, bounds, metric, queries, proxies, [(0, len(train))], m, distances=m > 1)
    return counting.pairs / len(queries)


# the grid


@dataclass(frozen=True)
class Slice:
    """One model, dataset and remap of an experiment.

    Args:
        experiment: which.
        model: which.
        task: which.
        remap: of a merged task; None where nothing is merged.
    """

    experiment: str
    model: str
    task: str
    remap: int | None

    @property
    def overrides(self) -> list[str]:
        """Of its sweep."""
        remap = [] if self.remap is None else [f"task.remap={self.remap}"]
        return [f"+experiment={self.experiment}", f"model={self.model}", f"task={self.task}", *remap]

    def __str__(self) -> str:
        return " ".join(self.overrides)


def draw(experiments: Sequence[str], seed: int, model: str | None) -> Iterator[Slice]:
    """A slice of each experiment."""
    for experiment in experiments:
        rng = random.Random(f"{seed} {experiment}")
        one, task, remap = rng.choice(list(WIDTHS)), rng.choice(EXPERIMENTS[experiment]), rng.randrange(REMAPS)
        yield Slice(experiment, model or one, task, remap if task == "imagenet" else None)


def slices(stand_ins: StandIns, folder: Path, arguments: argparse.Namespace) -> int:
    """Plan the chosen experiments, run a slice of each, and extrapolate; returns how many bars are missed."""
    chosen = arguments.experiment or list(EXPERIMENTS)
    threads = available_cores()
    calibration = Calibration(folder / "calibration.json", threads)
    ratios = calibration.measured(lambda message: print(f"note: {message}"))
    planned = plan_at_real_size(stand_ins, folder / "planned", chosen)
    total = sum(one.on(ratios).seconds.sum() for one in planned.values())
    print(f"planned: {sum(len(one.source) for one in planned.values()):,} distinct cells of {', '.join(planned)}")
    print(f"estimated: {duration(total / threads)} on {threads} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    peak = _peak(threads)
    load = os.getloadavg()[0]
    expected, took, operations = Counter[str](), Counter[str](), Counter[str]()
    n_missed = 0
    print("slice: estimated and measured wall time, the same in CPU seconds of all stages, peak memory")
    for one in draw(chosen, arguments.seed, arguments.model):
        ran = run_slice(one, stand_ins, folder, calibration.path)
        ratio = ran.estimated_cpu / ran.cpu
        print(
            f"{one}: {duration(ran.estimated)}, {duration(ran.measured)}; {ran.estimated_cpu:.1f} s, {ran.cpu:.1f} s, "
            f"factor {max(ratio, 1 / ratio):.2f} {'more' if ratio > 1 else 'less'} than it took; "
            f"{ran.took.gigabytes:.2f} GB",
            flush=True,
        )
        n_missed += max(ratio, 1 / ratio) > FACTOR
        expected.update(ran.expected)
        took.update(ran.observed)
        operations.update(ran.operations)
    print(f"estimates that are off by more than a factor of {FACTOR}: {n_missed} of {len(chosen)}")
    known = [stage for stage, seconds in expected.items() if seconds >= 0.5 and took[stage] > 0]
    if load > 0.5 * threads:
        print(f"load {load:.1f}: other programs count as waiting, so the rest is taken as estimated, not as measured")
        known = [stage for stage in known if stage != REST]
    factors = {stage: took[stage] / expected[stage] for stage in known}
    print("\nextrapolated by work, hours on all cores:")
    for name, hours in _hours(planned, {**ratios, **factors}, threads, by_stage=False):
        print(f"  {name:32} {hours:7.3f}")
    for stage, hours in _hours(planned, {**ratios, **factors}, threads, by_stage=True):
        rate = operations[stage] / took[stage] * threads / peak if operations[stage] else 0.0
        share = f"  {rate:.0%} of the {peak / 1e9:.0f} GFLOP/s of matrix products here" if rate else ""
        print(f"  {stage:32} {hours:7.3f}{share}")
    hours = sum(hours for _, hours in _hours(planned, {**ratios, **factors}, threads, by_stage=False))
    return n_missed + missed("hours of the chosen experiments", hours, HOURS)


def _peak(threads: int) -> float:
    """float32 operations per second that matrix products reach on all cores: of one of them, by its CPU time."""
    a = np.ones((2048, 2048), np.float32)
    times = []
    with threadpool_limits(1):
        for _ in range(5):
            start = time.thread_time()
            a @ a
            times.append(time.thread_time() - start)
    return threads * 2 * 2048**3 / min(times)


def _hours(
    planned: Mapping[str, Estimate], ratios: Mapping[str, float], threads: int, *, by_stage: bool
) -> list[tuple[str, float]]:
    totals: defaultdict[str, float] = defaultdict(float)
    for experiment, one in planned.items():
        for stage, seconds in one.on(ratios).by_stage().items():
            totals[stage if by_stage else experiment] += seconds / threads / 3600
    return sorted(totals.items(), key=lambda item: -item[1])


def plan_at_real_size(stand_ins: StandIns, folder: Path, experiments: Sequence[str]) -> dict[str, Estimate]:
    """What the cells of each experiment take when all are run together; a cell counts where it is named first.

    Planning reads headers alone, so that the cells are those of tiny embeddings, and the sizes the real ones'.
    """
    make_embeddings(folder)
    together = _planned(folder, "paper" if set(experiments) == set(EXPERIMENTS) else experiments[0])
    if len(experiments) == 1 or set(experiments) == set(EXPERIMENTS):
        united = together
    else:
        plans = [_planned(folder, name) for name in experiments]
        united = Plan.of_cells([cell for plan in plans for cell in plan.cells(np.arange(len(plan)))])
    headers = {key: stand_ins.header(key) for keys in united.sources().values() for key in keys}
    all_of_them = estimate(united, headers)
    open_ = np.ones(len(united), bool)
    found = {}
    for name in experiments:
        ids = united.cell_id if len(experiments) == 1 else _planned(folder, name).cell_id
        mine = open_ & np.isin(united.cell_id, ids)
        open_ &= ~mine
        found[name] = all_of_them.of_cells(mine)
    return found


def _planned(folder: Path, experiment: str) -> Plan:
    saved = folder / experiment
    if not saved.exists():
        words = [f"+experiment={experiment}", "hydra/launcher=submitit_slurm", "sweep.submit=false"]
        saved.mkdir()
        (saved / "embeddings").symlink_to(folder / "embeddings")
        run(["-m", "imprint_sweep", "-m", *words, f"paths.outputs={saved}"])
    (path,) = (saved / "sweeps").glob("*/plan.npz")
    return Plan.load(path)[0]


@dataclass(frozen=True)
class Ran:
    """What a slice took.

    Args:
        took: the command.
        estimated: wall seconds that its plan said.
        measured: wall seconds of its shards.
        expected: core-seconds of each stage on the machine of the benchmarks.
        observed: the same as they were.
        operations: floating-point operations of the stages for which they are counted.
        estimated_cpu: what its plan said of all stages.
        cpu: what they took.
    """

    took: Took
    estimated: float
    measured: float
    expected: Mapping[str, float]
    observed: Mapping[str, float]
    operations: Mapping[str, int]
    estimated_cpu: float
    cpu: float


def run_slice(one: Slice, stand_ins: StandIns, folder: Path, calibration: Path) -> Ran:
    """Run a slice as a sweep, with the calibration of the beginning."""
    cache = EmbeddingCache(folder / "embeddings")
    for dataset in PARTS.get(one.task, (one.task,)):
        stand_ins.write(cache, one.model, dataset)
    outputs = folder / f"slice-{one.experiment}"
    outputs.mkdir()
    (outputs / "embeddings").symlink_to(cache.root)
    shutil.copy(calibration, outputs / "calibration.json")
    ratios = Calibration(calibration, available_cores()).ratios() or {}
    took = run(["-m", "imprint_sweep", "-m", *one.overrides, f"paths.outputs={outputs}"])
    (about,) = (outputs / "sweeps").glob("*/sweep.json")
    ledgers = [json.loads(path.read_text()) for path in about.parent.glob("ledger-*.json")]
    sums = {name: sum((Counter(ledger[name]) for ledger in ledgers), Counter()) for name in ("expected", "observed")}
    shutil.rmtree(outputs / "cache", ignore_errors=True)
    return Ran(
        took,
        estimated=json.loads(about.read_text())["estimated_seconds"],
        measured=sum(ledger["wall_seconds"] for ledger in ledgers),
        expected=sums["expected"],
        observed=sums["observed"],
        operations=sum((Counter(ledger["operations"]) for ledger in ledgers), Counter()),
        estimated_cpu=sum(ratios.get(s, 1.0) * seconds for s, seconds in sums["expected"].items() if s != REST),
        cpu=sum(seconds for stage, seconds in sums["observed"].items() if stage != REST),
    )


def whole(stand_ins: StandIns, folder: Path) -> int:
    """Run all of the grid; returns whether the bar is missed."""
    cache = EmbeddingCache(folder / "embeddings")
    for model in WIDTHS:
        for dataset in dict.fromkeys(name for name, _ in SIZES):
            stand_ins.write(cache, model, dataset)
    took = run(["-m", "imprint_sweep", "-m", "+experiment=paper", f"paths.outputs={folder}"], stdout=None)
    (about,) = (folder / "sweeps").glob("*/sweep.json")
    print(f"estimated {duration(json.loads(about.read_text())['estimated_seconds'])}, took {duration(took.seconds)}")
    return missed("hours", took.seconds / 3600, HOURS)


if __name__ == "__main__":
    main()
