"""GEN within a run: what a generator is lent, so that each piece of shared work is done once.

A stage's key holds only what the stage consumes, so sharing needs no further rule. The key of everything computed from
the samples of a class begins with the label and the draw (n-shot, validation, seed, NORM_pre); the component adds the
rest: a clustering is one of a (k, seed), a second moment of nothing more. What is made for one draw is kept until the
next one, except what there may be too many of (:class:`~imprint_sweep.imprinting.components.Keep`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.embeddings.features import Features
from imprint_sweep.engine import draws
from imprint_sweep.engine.ledger import Ledger
from imprint_sweep.engine.memory import Arrays, ProxyCache, StageMemory, Timed, metered, uncharged
from imprint_sweep.errors import StageError
from imprint_sweep.grid.cell import Label, spelled, stage_seed
from imprint_sweep.grid.keys import Draw, GenSpec
from imprint_sweep.imprinting.components import GENS, METRICS, ClassMetric, JointGen, Keep, Setting, Statistics
from imprint_sweep.imprinting.first_use import prepare
from imprint_sweep.imprinting.generation import class_proxies, joint_proxies, training_samples

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Samples = NDArray[np.float32]
Proxies = Mapping[GenSpec, Timed[Samples]]


class Generation:
    """Makes proxies for one :class:`Features`, computing each shared stage once.

    Every method may be called from several threads at once.

    Args:
        features: the embeddings.
        ledger: told of every computation.
        disk: where clusterings and medoids are kept between runs.
        memory_bytes: what one stage may take.
        threads: how many call at once.
        keep_samples: whether samples stay in memory; gathering them again is cheap where they do not fit.
        keep_moments: whether what is kept for a draw is; where it does not fit, whoever asks makes it again.
    """

    def __init__(
        self,
        features: Features,
        ledger: Ledger,
        disk: ProxyCache,
        *,
        memory_bytes: int,
        threads: int,
        keep_samples: bool = True,
        keep_moments: bool = True,
    ) -> None:
        self.features, self.ledger, self.disk = features, ledger, disk
        self.keep_samples, self.keep_moments = keep_samples, keep_moments
        self.memory_bytes, self.threads = memory_bytes, threads
        self.of_draw, self.of_round = StageMemory(ledger), StageMemory(ledger)
        self.one_large_job = Lock()

    def per_label(self, label: Label, specs: Sequence[GenSpec]) -> Proxies:
        """The proxies of one label, (k, d) float32 each, of specs that one thread makes.

        For the joint gens nothing is returned: the label's share is prepared for :meth:`joint`.
        """
        made = {}
        uncharged(partial(prepare, GENS[specs[0].gen]))
        with ExitStack() as job:
            given = _Class(self, label, specs[0].draw, f"gen={specs[0].gen}", job)
            GENS[specs[0].gen].together(given, [spec.variant for spec in specs])
            for spec in specs:
                gen = GENS[spec.gen]
                if isinstance(gen, JointGen):
                    gen.prepare(given, spec.variant)
                else:
                    made[spec], _ = metered(partial(class_proxies, spec.gen, given, spec.variant))
        return made

    def known_of_class(self, label: Label, draw: Draw, metric: Setting) -> Timed[Statistics]:
        """What a metric knows of a label's training samples."""
        of = cast(ClassMetric, METRICS[metric])
        with ExitStack() as job:
            given = _Class(self, label, draw, f"agg.metric={metric}", job)

            def compute() -> Statistics:
                return of.statistics(given)

            if self.keep_moments:
                return self.of_draw.get(("statistics", label, draw, metric), compute)
            return metered(compute)[0]

    def forget(self) -> None:
        """Drop what only specs of one round share."""
        self.of_round.forget()

    def joint(self, labels: tuple[Label, ...], spec: GenSpec) -> dict[Label, Timed[Samples]]:
        """The proxies of a joint gen for the ordered labels of a task, (proxies, d) float32 each.

        The seconds are those of the whole solution, divided equally.
        """
        with ExitStack() as job:
            classes = [_Class(self, label, spec.draw, f"gen={spec.gen}", job) for label in labels]
            task = _Shared(self, (labels, spec.draw), job)
            solved, _ = metered(lambda: joint_proxies(spec.gen, classes, task, spec.variant))
        each = solved.seconds / len(labels)
        return {label: Timed(rows, each) for label, rows in zip(labels, solved.value, strict=True)}


@dataclass(frozen=True, eq=False)
class KnownOfClasses:
    """What metrics know of the classes of one draw.

    Args:
        generation: computes it, once where it is kept.
        draw: the training samples.
    """

    generation: Generation
    draw: Draw

    @property
    def kept(self) -> bool:
        """Whether it is; where it does not fit into memory, whoever asks makes it again."""
        return self.generation.keep_moments

    def __call__(self, label: Label, metric: Setting) -> Timed[Statistics]:
        """Of one class."""
        return self.generation.known_of_class(label, self.draw, metric)


class _Shared:
    """Shared results under one prefix of their keys; see :class:`imprint_sweep.imprinting.components.Shared`."""

    def __init__(self, generation: Generation, prefix: tuple[Hashable, ...], job: ExitStack) -> None:
        self._generation, self._prefix, self._job = generation, prefix, job
        self._of_job = StageMemory(generation.ledger)

    def once(self, stage: str, key: Hashable, compute: Callable[[], T], keep: Keep = Keep.ROUND) -> T:
        """The result of a stage, computed by whoever asks first."""
        generation = self._generation
        if keep is Keep.DRAW and not generation.keep_moments:
            return self.run(stage, compute)
        memory = {Keep.JOB: self._of_job, Keep.ROUND: generation.of_round, Keep.DRAW: generation.of_draw}[keep]
        return memory.get((stage, (*self._prefix, key)), compute).value

    def once_together(
        self,
        stage: str,
        keys: Sequence[K],
        compute: Callable[[Sequence[K]], Sequence[T]],
        *,
        counted_as: str,
        share: Callable[[T], float],
    ) -> None:
        """Make several results of a stage at once."""
        memory = self._generation.of_round
        prefixed = {key: (stage, (*self._prefix, key)) for key in keys}
        missing = [key for key in keys if memory.claim(prefixed[key])]
        if not missing:
            return
        try:
            made, _ = metered(partial(compute, missing))
            shares = np.array([share(value) for value in made.value], np.float64)
            seconds = made.seconds * shares / max(shares.sum(), 1e-300)
            for key, value, took in zip(missing, made.value, seconds.tolist(), strict=True):
                memory.fulfil(prefixed[key], Timed(value, took))
        except BaseException as error:
            for key in missing:
                memory.fulfil(prefixed[key], error)
            if not isinstance(error, Exception):
                raise
        else:
            self._generation.ledger.add(counted_as, calls=len(missing), seconds=made.seconds)
            self._generation.ledger.add(stage, calls=len(missing))

    def run(self, stage: str, compute: Callable[[], T]) -> T:
        """Compute what nobody else needs."""
        return self._of_job.time(stage, compute).value


class _Class(_Shared):
    """The samples of one class; see :class:`imprint_sweep.imprinting.components.ClassSamples`."""

    def __init__(self, generation: Generation, label: Label, draw: Draw, option: str, job: ExitStack) -> None:
        super().__init__(generation, (label, draw), job)
        self._label, self._draw, self._option = label, draw, option
        self._reserved = False

    @property
    def samples(self) -> Samples:
        """The label's training samples after the draw and NORM_pre, (n, d) float32."""
        generation, label, draw = self._generation, self._label, self._draw

        def compute() -> Samples:
            x = generation.features.rows("train", label)
            return training_samples(x, draws.training(draw, label, len(x)), draw.norm_pre)

        if not generation.keep_samples:
            return uncharged(compute)
        return uncharged(lambda: generation.of_draw.get(("samples", label, draw), compute).value)

    @property
    def room_for_moments(self) -> bool:
        """Whether what is kept for a draw fits."""
        return self._generation.keep_moments

    def rng(self, stage: str, seed: int) -> np.random.Generator:
        """The random stream of a stage for this class."""
        return np.random.default_rng(stage_seed(stage, seed, self._label))

    def stored(
        self, stage: str, key: tuple[int, ...], compute: Callable[[], Mapping[str, NDArray[Any]]], version: int
    ) -> Mapping[str, NDArray[Any]]:
        """Arrays that are also kept on disk between runs."""
        draw = self._draw
        parts = self._generation.features.part_fingerprints(self._label)
        norm_pre = (draw.norm_pre.name, *draw.norm_pre.parameters)
        held_out = ("validation",) if draw.validation else ()
        name = (stage, parts, self._label, draw.n_shot, draw.seed, *norm_pre, *held_out, *key)

        def arrays() -> Timed[Arrays]:
            timed, _ = metered(lambda: dict(compute()))
            return timed

        return self._generation.disk.get(name, arrays, version).value

    def reserve(self, n_bytes: int, what: str, *, of_task: bool = False, instead: str = "") -> None:
        """Take memory for as long as the job runs: one job at a time where all at once would take too much."""
        generation = self._generation
        if n_bytes > generation.memory_bytes:
            whose = "" if of_task else f" of {spelled(self._label)}"
            raise StageError(
                f"{self._option} needs {_size(n_bytes)} for {what}{whose}; raise sweep.memory_gb"
                + (f", or {instead}" if instead else "")
            )
        if n_bytes * generation.threads > generation.memory_bytes / 4 and not self._reserved:
            self._job.enter_context(generation.one_large_job)
            self._reserved = True


def _size(count: float) -> str:
    """A number of bytes in the unit that suits it.

    >>> _size(1600), _size(14.4e9)
    ('1.6 kB', '14.4 GB')
    """
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
