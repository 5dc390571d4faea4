"""How fast this machine is at each stage: measured when first needed, then learned from the shards that it finished.

One file under the outputs holds, for each type of CPU and number of threads, how many times longer a stage takes than
:mod:`imprint_sweep.planning.cost` says. Nothing depends on it but estimates, hence how a sweep is divided; the division
is made once, by the process that plans, and travels with the plan.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep import engine
from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey
from imprint_sweep.engine.memory import cpu_type
from imprint_sweep.files.locking import exclusive
from imprint_sweep.files.replacing import replacing
from imprint_sweep.grid.cell import Cell, Model, Task
from imprint_sweep.grid.hashing import digest
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.components import GENS, METRICS
from imprint_sweep.planning.cost import REST, Estimate

FORMAT = 1
MIN_SECONDS = 60.0
"""Estimated core-seconds below which it is not worth some seconds to know better."""

MOST = 30.0
"""No stage is taken for more than so many times slower or faster."""
STEP = 4.0
"""One shard says no more than that a stage is so many times slower or faster than known so far."""
MEMORY_SECONDS = 300.0
"""Estimated core-seconds of a stage after which older observations begin to fade."""
REPEATS = 3
"""Of the measurement. A stage that another program disturbed in one of them is twice as slow there."""
LEAST_SECONDS = 1.0
"""A shard that does less work of a stage says nothing of it: the first use of a library would pass for its speed."""

ON_REFERENCE = {
    "class_means": 0.027,
    "cov_max": 0.028,
    "distances": 0.25,
    "fps": 0.031,
    "inner_products": 0.162,
    "kmeans": 0.155,
    "kmedoids": 0.028,
    "mahalanobis": 0.62,
    "manhattan": 0.255,
    "moment": 0.087,
    "search": 0.145,
}
"""CPU seconds that :func:`measure` finds on the machine of the benchmarks (``benchmarks/grid.py --reference``)."""


@dataclass(frozen=True)
class Calibration:
    """What is known of the machines that ran sweeps over one folder of outputs.

    Args:
        path: the file.
        threads: of a shard; more of them share memory and clock.
    """

    path: Path
    threads: int

    @property
    def machine(self) -> str:
        """The type of CPU and the number of threads, as a key of the file."""
        return f"{digest(cpu_type())}-{self.threads}"

    def ratios(self) -> dict[str, float] | None:
        """How many times longer each stage takes here; None where this machine was not measured.

        Raises:
            ValueError: the file is damaged.
        """
        stages = _read(self.path).get(self.machine)
        return None if stages is None else {stage: math.exp(log) for stage, (log, _) in stages.items()}

    def of_any(self) -> dict[str, float]:
        """The ratios of the machine with this number of threads that was heard of last; none if there is none.

        Raises:
            ValueError: the file is damaged.
        """
        found = [stages for machine, stages in _read(self.path).items() if machine.endswith(f"-{self.threads}")]
        return {stage: math.exp(log) for stage, (log, _) in found[-1].items()} if found else {}

    def measured(self, warn: Callable[[str], object]) -> dict[str, float]:
        """The ratios of this machine, which is measured if it was not yet.

        Args:
            warn: told that the file could not be read or written.
        """
        try:
            known = self.ratios()
        except ValueError as error:
            warn(f"{self.path} is unreadable ({error}); this machine is measured anew")
            with suppress(OSError):
                self.path.unlink()
            known = None
        if known is None:
            took = measure(self.threads)
            try:
                self.learn(ON_REFERENCE, took, least=0.0)
            except OSError as error:
                warn(f"{self.path} cannot be written ({error.strerror}); this machine is measured again next time")
            known = {stage: _bounded(took[stage] / on) for stage, on in ON_REFERENCE.items() if stage in took}
        return known

    def learn(self, expected: Mapping[str, float], observed: Mapping[str, float], least: float = LEAST_SECONDS) -> None:
        """Improve what is known by what some work took.

        Args:
            expected: core-seconds of each stage on the machine of the benchmarks.
            observed: what they were here.
            least: expected seconds below which a stage says nothing.

        Raises:
            OSError: the file cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path.with_suffix(".lock")):
            try:
                machines = _read(self.path)
            except ValueError:  # whoever plans next says so, and measures
                machines = {}
            stages = machines.pop(self.machine, {})
            for stage, seconds in expected.items():
                if seconds >= least and observed.get(stage, 0.0) > 0.0:
                    stages[stage] = _updated(stages.get(stage), observed[stage] / seconds, seconds)
            machines[self.machine] = stages  # the last one is the one heard of last
            _write(self.path, machines)


def observed(
    estimate: Estimate, ledger: engine.Ledger, wall: float, threads: int
) -> tuple[dict[str, float], dict[str, float]]:
    """What a run says of its stages: core-seconds as estimated for the machine of the benchmarks, and as they were.

    Where a run did less of a stage than estimated, as proxies may have come from disk, less of it was expected.

    Args:
        estimate: of the cells that ran.
        ledger: what was computed.
        wall: seconds that the run took.
        threads: that it had.
    """
    expected, took = {}, {}
    for stage, seconds in estimate.on({}).by_stage().items():
        calls, done = estimate.calls.get(stage, 0), ledger.calls[stage]
        if calls and 0.5 <= done / calls <= 2.0:
            expected[stage], took[stage] = seconds * done / calls, ledger.seconds[stage]
    expected[REST] = float(estimate.stages[REST].sum())
    # Other programs make threads wait, too, and will not do so for ever.
    took[REST] = min(max(wall * threads - sum(ledger.seconds.values()), 0.0), STEP * expected[REST])
    return expected, took


def measure(threads: int) -> dict[str, float]:
    """CPU seconds of each stage of a small sweep over made-up embeddings, of GENs and metrics of this package.

    The least of some repeats: whatever else runs beside it shares caches and memory with it, and makes it slower only.

    Args:
        threads: to compute with.
    """
    with tempfile.TemporaryDirectory(prefix="imprint-calibration-") as folder:
        cache = EmbeddingCache(Path(folder))
        task, cells = _cells()
        for split, per_class in zip(SPLITS, (1500, 300), strict=True):
            features, labels = _embeddings(len(task.labels), per_class)
            cache.write(EntryKey(_MODEL, task.datasets[0], split), features, labels, metadata={})
        how = engine.EngineSettings(threads=threads, memory_gb=1.0)

        def took(some: Sequence[Cell]) -> dict[str, float]:
            ledger = engine.Ledger()
            for _ in engine.run(some, cache, how, ledger=ledger):
                pass
            return dict(ledger.seconds)

        took(cells[::40])  # compiles and loads what the others are to measure
        repeats = [took(cells) for _ in range(REPEATS)]
    return {stage: min(one[stage] for one in repeats) for stage in repeats[0]}


_MODEL = Model("calibration", "none")
_WIDTH = 768


def _cells() -> tuple[Task, list[Cell]]:
    task = Task("calibration", "all", tuple((("calibration", number),) for number in range(4)))
    schemes = [
        Scheme.create(gen=gen, k=k, seed=seed, weight_decay=1.0)
        for gen in ("kmeans", "k_least_squares", "kmedoids", "cov_max", "fps", "random", "mean")
        for k in (2, 5, 20)
        for seed in (0, 1)
        if gen in GENS
    ]
    schemes += [
        Scheme.create(gen=gen, k=20, agg="mnn", metric=metric, m=m, weighting="uniform")
        for gen in ("all", "kmeans")
        for metric in ("cosine", "manhattan", "mahalanobis")
        for m in (1, 20)
        if gen in GENS and metric in METRICS
    ]
    return task, [Cell(_MODEL, task, scheme) for scheme in schemes]


def _embeddings(n_classes: int, per_class: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Classes of several modes behind a ReLU, as a network's last features are."""
    rng = np.random.default_rng(per_class)
    labels = np.repeat(np.arange(n_classes), per_class)
    modes = np.random.default_rng(0).normal(size=(n_classes, 8, _WIDTH)).astype(np.float32)
    which = rng.integers(8, size=len(labels))
    features = modes[labels, which] + 2.0 * rng.standard_normal((len(labels), _WIDTH), np.float32)
    return np.maximum(features, 0.0).astype(np.float32), labels


Stages = dict[str, tuple[float, float]]
"""Stage -> logarithm of the ratio, and the estimated core-seconds that it stands on."""


def _updated(known: tuple[float, float] | None, ratio: float, seconds: float) -> tuple[float, float]:
    """The running mean of the logarithms, weighted by seconds; one observation moves it within bounds."""
    log, weight = math.log(_bounded(ratio)), min(seconds, MEMORY_SECONDS)
    if known is None:
        return log, weight
    before, total = known
    log = min(max(log, before - math.log(STEP)), before + math.log(STEP))
    mean = (before * total + log * weight) / (total + weight)
    return mean, min(total + weight, MEMORY_SECONDS)


def _bounded(ratio: float) -> float:
    return min(max(ratio, 1.0 / MOST), MOST)


def _read(path: Path) -> dict[str, Stages]:
    """What the file says of each machine; nothing where there is none.

    Raises:
        ValueError: it is not what :func:`_write` writes.
    """
    try:
        content: Any = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(str(error.strerror or error)) from error
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
        machines = {
            str(machine): {str(stage): (float(log), float(weight)) for stage, (log, weight) in stages.items()}
            for machine, stages in content["machines"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a calibration") from error
    numbers = [number for stages in machines.values() for pair in stages.values() for number in pair]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("numbers that are not finite")
    return machines


def _write(path: Path, machines: Mapping[str, Stages]) -> None:
    with replacing(path) as file:
        file.write(json.dumps({"format": FORMAT, "machines": machines}, indent=1).encode())
