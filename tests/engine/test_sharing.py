"""Nothing is computed twice, nothing is recomputed for a parameter that does not reach it, and no failure spreads."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import combinations, count, product
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, evaluation, run
from imprint_sweep.engine.ledger import Ledger
from imprint_sweep.engine.memory import ProxyCache, StageMemory, Timed
from imprint_sweep.engine.workers import Workers, workers
from imprint_sweep.errors import StageError
from imprint_sweep.grid.cell import Cell, Task
from imprint_sweep.grid.outcome import FAILED, OK, Outcome
from imprint_sweep.imprinting import vectors
from imprint_sweep.imprinting.agg.metrics.mahalanobis import Mahalanobis
from imprint_sweep.imprinting.agg.metrics.manhattan import Manhattan
from imprint_sweep.imprinting.components import ClassSamples
from imprint_sweep.imprinting.gen import fps, kmeans, kmedoids
from imprint_sweep.imprinting.kmeans.batch import KMeansFit
from imprint_sweep.imprinting.norm.quantile import Quantile
from tests import data

BLOBS = data.blobs(train_sizes={number: 20 + number for number in range(6)})
PLAIN = EngineSettings(threads=2, memory_gb=1.0)
ALL, EVEN, ODD, SHORT = (data.task(BLOBS, classes=c) for c in ((0, 1, 2, 3, 4, 5), (0, 2, 4), (1, 3, 5), (0, 1, 2)))
TASKS = (ALL, EVEN, ODD, SHORT)
LABELS = len(ALL.labels)
N_TEST = len(BLOBS.test.labels)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    """The embeddings of this module."""
    cache = EmbeddingCache(tmp_path_factory.mktemp("embeddings"))
    data.write(cache, BLOBS)
    return cache


def grid(tasks: Sequence[Task] = TASKS, **axes: Any) -> list[Cell]:
    """The product of tasks and axes, a sequence of values each."""
    return [
        data.cell(task, **dict(zip(axes, values, strict=True))) for task in tasks for values in product(*axes.values())
    ]


READOUTS: dict[str, Any] = {
    "norm_post": ("none", "l2", "quantile"),
    "norm_inf": ("none", "l2"),
    "metric": ("euclidean", "cosine", "manhattan", "mahalanobis"),
    "m": (1, 3, 7),
    "weighting": ("uniform", "inverse_distance"),
}
"""Everything after GEN, under which no proxy may be made anew."""


def counted(cells: Sequence[Cell], cache: EmbeddingCache, settings: EngineSettings = PLAIN) -> Counter[str]:
    """How often each stage was computed for cells, all of which must succeed."""
    ledger = Ledger()
    outcomes = list(run(cells, cache, settings, ledger=ledger))
    assert Counter(outcome.cell for outcome in outcomes) == Counter(cells)
    assert [outcome.error for outcome in outcomes if outcome.status != OK] == []
    return ledger.calls


# --- GEN -------------------------------------------------------------------------------------------------------------


def test_no_readout_and_no_task_fits_kmeans_again(cache: EmbeddingCache) -> None:
    cells = grid(gen=["kmeans"], agg=["mnn"], **READOUTS) + grid(gen=["kmeans"], norm_inf=["none", "l2"])
    calls = counted(cells, cache)
    assert calls["kmeans"] == calls["clustering"] == calls["samples"] == LABELS


def test_kmeans_is_fitted_once_for_every_parameter_that_reaches_it(cache: EmbeddingCache) -> None:
    axes: dict[str, Any] = {"n_shot": (None, 8), "norm_pre": ("none", "l2"), "k": (2, 3), "seed": (0, 1, 2)}
    calls = counted(grid(gen=["kmeans"], norm_post=["none", "l2"], **axes), cache)
    assert calls["kmeans"] == LABELS * 2 * 2 * 2 * 3
    # All samples are the same samples under every seed.
    assert calls["samples"] == LABELS * 2 * (1 + 3)


def test_one_distance_matrix_serves_every_k_and_every_seed_of_kmedoids(cache: EmbeddingCache) -> None:
    calls = counted(grid(gen=["kmedoids"], k=[1, 2, 5], seed=[0, 1, 2], norm_post=["none", "l2"]), cache)
    assert calls["distances"] == LABELS
    assert calls["kmedoids"] == LABELS * 3


def test_a_draw_has_a_distance_matrix_of_its_own(cache: EmbeddingCache) -> None:
    calls = counted(grid(gen=["kmedoids"], k=[2, 5], seed=[0, 1], n_shot=[10]), cache)
    assert calls["distances"] == LABELS * 2
    assert calls["kmedoids"] == LABELS * 2 * 2


@pytest.mark.parametrize("gen", ["mean", "cov_max", "least_squares"])
def test_gens_without_randomness_are_computed_once_for_all_seeds(gen: str, cache: EmbeddingCache) -> None:
    once = counted(grid(gen=[gen]), cache)
    assert once
    assert counted(grid(gen=[gen], seed=[0, 1, 2]), cache) == once


@pytest.mark.parametrize("gen", ["random", "fps"])
def test_gens_that_draw_are_computed_once_per_seed(gen: str, cache: EmbeddingCache) -> None:
    calls = counted(grid(gen=[gen], seed=[0, 1, 2], metric=["euclidean", "cosine"]), cache)
    assert calls[gen] == LABELS * 3
    assert calls["samples"] == LABELS


def test_second_moments_serve_both_least_squares_gens_every_k_seed_and_task(cache: EmbeddingCache) -> None:
    cells = grid(gen=["k_least_squares"], k=[2, 3], seed=[0, 1]) + grid(gen=["least_squares"], seed=[0, 1])
    calls = counted(cells, cache)
    assert calls["moment"] == LABELS
    assert calls["factorization"] == len(TASKS)
    assert calls["kmeans"] == LABELS * 2 * 2
    assert calls["solve"] == len(TASKS) * (2 * 2 + 1)


def test_another_lambda_is_another_factorisation_of_the_same_moments(cache: EmbeddingCache) -> None:
    calls = counted(grid(gen=["least_squares"], weight_decay=[0.1, 0.2]), cache)
    assert calls["moment"] == LABELS
    assert calls["factorization"] == len(TASKS) * 2


def test_k_least_squares_shares_the_clustering_of_kmeans(cache: EmbeddingCache) -> None:
    calls = counted(grid(gen=["kmeans", "k_least_squares"], k=[2, 3], seed=[0, 1]), cache)
    assert calls["kmeans"] == LABELS * 2 * 2


def test_cells_that_are_equal_by_construction_are_one_computation(cache: EmbeddingCache) -> None:
    cells = grid(gen=["kmeans"], k=[1], seed=[0, 1]) + grid(gen=["mean"], agg=["max", "mnn"], metric=["cosine"], m=[1])
    calls = counted(cells, cache)
    assert calls["kmeans"] == 0
    assert calls["mean"] == LABELS


# --- Searches --------------------------------------------------------------------------------------------------------


def test_one_pass_of_inner_products_serves_three_metrics_under_every_scaling(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = 0
    lock = threading.Lock()
    inner_products = vectors.inner_products

    def counting(
        queries: NDArray[np.float32], proxies: NDArray[np.float32], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        nonlocal scores
        with lock:
            scores += len(queries) * len(proxies)
        return inner_products(queries, proxies, out)

    monkeypatch.setattr(vectors, "inner_products", counting)
    scalings: dict[str, Any] = {"norm_post": ["none", "l2"], "norm_inf": ["none", "l2"]}
    cells = grid(gen=["kmeans"], agg=["max"], metric=["inner_product", "cosine", "euclidean"], **scalings)
    cells += grid(gen=["kmeans"], agg=["mnn"], metric=["cosine", "euclidean"], m=[2, 5], **scalings)
    assert counted(cells, cache)["inner_products"] == 1
    assert scores == N_TEST * LABELS * 3


def test_one_search_serves_every_m_and_both_weightings(cache: EmbeddingCache) -> None:
    votes: dict[str, Any] = {"m": [1, 2, 5, 1000], "weighting": ["uniform", "inverse_distance"]}
    for metric in ("euclidean", "manhattan", "mahalanobis"):
        assert counted(grid([ALL], gen=["all"], agg=["mnn"], metric=[metric], **votes), cache)["search"] == 1


@pytest.mark.parametrize("metric", ["cosine", "class_mahalanobis"])
def test_classes_that_many_tasks_have_are_searched_once_for_all_of_them(
    metric: str, cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = evaluation.Found if metric == "class_mahalanobis" else evaluation.Scored
    classes = range(LABELS)
    tasks = [data.task(BLOBS, classes=some) for n in range(1, LABELS + 1) for some in permutations_of(classes, n)]
    cells = grid(tasks, gen=["kmeans"], agg=["mnn"], metric=[metric], m=[1, 3])
    alone = {cell.cell_id: outcome for cell in cells[::29] for outcome in run([cell], cache, PLAIN)}
    calls: Counter[str] = Counter()
    for name in ("nearest", "nearest_of_each"):
        monkeypatch.setattr(block, name, counting(calls, name, getattr(block, name)))
    together = {outcome.cell.cell_id: outcome for outcome in run(cells, cache, replace(PLAIN, threads=1))}
    assert calls == {"nearest_of_each": LABELS}
    assert len(together) == len(cells)
    for cell_id, outcome in alone.items():
        assert together[cell_id].correct == outcome.correct
        assert together[cell_id].f1 == outcome.f1


def permutations_of(classes: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """Some classes, each subset in a shuffled order."""
    shuffle = np.random.default_rng(n).permutation
    return [tuple(shuffle(some).tolist()) for some in combinations(classes, n)]


def counting(calls: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that counts its calls under a name."""

    def counted(*arguments: Any, **options: Any) -> Any:
        calls[name] += 1
        return function(*arguments, **options)

    return counted


def test_manhattan_needs_a_pass_for_every_normalisation_and_none_for_every_task(cache: EmbeddingCache) -> None:
    axes: dict[str, Any] = {"norm_post": ["none", "l2"], "norm_inf": ["none", "l2"], "m": [1, 5]}
    assert counted(grid(gen=["all"], agg=["mnn"], metric=["manhattan"], **axes), cache)["manhattan"] == 4


def test_mahalanobis_is_that_of_a_tasks_own_proxies(cache: EmbeddingCache) -> None:
    axes: dict[str, Any] = {"norm_inf": ["none", "l2"], "m": [1, 5]}
    calls = counted(grid(gen=["all"], agg=["mnn"], metric=["mahalanobis"], **axes), cache)
    assert calls["mahalanobis"] == len(TASKS)


def test_quantile_makes_proxies_of_a_tasks_own(cache: EmbeddingCache) -> None:
    cells = grid(gen=["kmeans"], norm_post=["quantile"], metric=["inner_product", "cosine", "euclidean"])
    assert counted(cells, cache)["inner_products"] == len(TASKS)


def test_queries_are_normalised_once(cache: EmbeddingCache) -> None:
    calls = counted(grid(gen=["kmeans", "mean", "all"], agg=["mnn"], **READOUTS), cache)
    assert calls["queries"] == LABELS * 2


# --- Between runs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineSettings:
    """Settings with a cache of proxies that keeps also what took no time."""
    monkeypatch.setattr(ProxyCache, "WORTH_SECONDS", 0.0)
    return EngineSettings(threads=2, memory_gb=1.0, proxy_cache=tmp_path / "proxies")


def files(settings: EngineSettings) -> list[Path]:
    assert settings.proxy_cache is not None
    return sorted(settings.proxy_cache.rglob("*.safetensors"))


def test_a_second_run_reads_medoids(cache: EmbeddingCache, kept: EngineSettings) -> None:
    cells = grid(gen=["kmedoids"], k=[2, 3])
    first, second = counted(cells, cache, kept), counted(cells, cache, kept)
    assert (first["kmedoids"], first["distances"]) == (LABELS * 2, LABELS)
    assert (second["kmedoids"], second["distances"]) == (0, 0)


def test_clusterings_are_made_sooner_than_they_would_be_worth_keeping(
    cache: EmbeddingCache, kept: EngineSettings
) -> None:
    counted(grid(gen=["kmeans", "k_least_squares"], k=[2, 3]), cache, kept)
    assert files(kept) == []


def test_proxies_are_those_of_one_content_and_no_other(kept: EngineSettings, tmp_path: Path) -> None:
    cells = grid(gen=["kmedoids"], k=[3])
    for seed in (0, 1):
        other = EmbeddingCache(tmp_path / str(seed))
        data.write(other, data.blobs(train_sizes=dict.fromkeys(range(6), 20), seed=seed))
        assert counted(cells, other, kept)["kmedoids"] == LABELS


DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in the header": lambda content: content[:20],
    "cut in the data": lambda content: content[:-3],
    "one bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "not ours": lambda content: b"something else entirely",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_computed_again_and_mended(
    damage: str, cache: EmbeddingCache, kept: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = grid(gen=["kmedoids"], k=[3])
    before = {outcome.cell: outcome.n_correct for outcome in run(cells, cache, kept)}
    path = files(kept)[0]
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    ledger = Ledger()
    assert {outcome.cell: outcome.n_correct for outcome in run(cells, cache, kept, ledger=ledger)} == before
    assert ledger.calls["kmedoids"] == 1
    assert counted(cells, cache, kept)["kmedoids"] == 0


def test_what_is_quickly_computed_is_not_kept(
    cache: EmbeddingCache, kept: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProxyCache, "WORTH_SECONDS", 3600.0)
    counted(grid(gen=["kmedoids"], k=[3]), cache, kept)
    assert files(kept) == []


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    cache: EmbeddingCache, kept: EngineSettings, tmp_path: Path
) -> None:
    (tmp_path / "proxies").write_text("a file where the folder should be")
    assert counted(grid(gen=["kmedoids"], k=[3]), cache, kept)["kmedoids"] == LABELS


def test_the_oldest_files_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProxyCache, "WORTH_SECONDS", 0.0)
    array = np.zeros(25_000, np.float32)  # 100 kB
    generous, small = ProxyCache(tmp_path), ProxyCache(tmp_path, max_gb=3.5e-4)
    computed: list[int] = []

    def make(number: int) -> Timed[dict[str, NDArray[Any]]]:
        computed.append(number)
        return Timed({"array": array}, 1.0)

    for number in range(5):
        generous.get((number,), partial(make, number))
        newest = max(tmp_path.rglob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number - 1000 + time.time(), number - 1000 + time.time()))
    small.prune()
    computed.clear()
    for number in range(5):
        generous.get((number,), partial(make, number))
    assert computed == [0, 1]
    ProxyCache(None).prune()
    ProxyCache(tmp_path / "never made").prune()


def test_the_folder_stays_within_its_size_while_a_run_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProxyCache, "WORTH_SECONDS", 0.0)
    disk = ProxyCache(tmp_path, max_gb=1e-3)  # ten files of 100 kB
    looks = 0
    prune = disk.prune

    def look() -> None:
        nonlocal looks
        looks += 1
        prune()

    monkeypatch.setattr(disk, "prune", look)
    for number in range(40):
        disk.get((number,), lambda: Timed({"array": np.zeros(2_500, np.float32)}, 1.0))
    assert looks < 10
    for number in range(40, 80):
        disk.get((number,), lambda: Timed({"array": np.zeros(25_000, np.float32)}, 1.0))
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= 1.1e6


# --- Failures --------------------------------------------------------------------------------------------------------


def failing(*_: object, **__: object) -> Any:
    raise StageError("this stage fails in this test")


@pytest.mark.parametrize(
    ("module", "function", "depends"),
    [
        (fps, "farthest_first", lambda s: s.gen == "fps"),
        (kmeans, "_fits", lambda s: s.gen in ("kmeans", "k_least_squares")),
        (kmedoids, "pairwise_distances", lambda s: s.gen == "kmedoids"),
        (Manhattan, "fast", lambda s: s.metric == "manhattan"),
        (Mahalanobis, "fit", lambda s: s.metric == "mahalanobis"),
        (Quantile, "imprint", lambda s: s.norm_post == "quantile"),
    ],
)
def test_a_stage_fails_the_cells_that_depend_on_it_and_no_others(
    module: Any,
    function: str,
    depends: Callable[[Any], bool],
    cache: EmbeddingCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gens = ["mean", "kmeans", "kmedoids", "fps", "least_squares", "k_least_squares"]
    cells = grid(
        [ALL, EVEN],
        gen=gens,
        norm_post=["none", "quantile"],
        metric=["inner_product", "manhattan", "mahalanobis"],
    )
    monkeypatch.setattr(module, function, failing)
    outcomes = list(run(cells, cache, PLAIN))
    assert len(outcomes) == len(cells)
    assert {outcome.cell for outcome in outcomes if outcome.status == FAILED} == {
        cell for cell in cells if depends(cell.scheme)
    }
    for outcome in outcomes:
        if outcome.status == FAILED:
            assert outcome.error == "StageError: this stage fails in this test"
            assert (outcome.n_correct, outcome.accuracy, outcome.f1, outcome.gen_seconds) == (None, None, None, None)
            assert outcome.fingerprint
            assert outcome.computation_id
        else:
            assert outcome.error is None
            assert outcome.n_test


def test_a_label_fails_the_tasks_that_hold_it(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = kmeans._fits
    of_label_3 = 20 + 3

    def picky(given: ClassSamples, wanted: Sequence[tuple[int, int]]) -> list[KMeansFit]:
        if len(given.samples) == of_label_3:
            raise MemoryError("too large")
        return fits(given, wanted)

    monkeypatch.setattr(kmeans, "_fits", picky)
    outcomes = {o.cell.task: o for o in run(grid(gen=["kmeans"]), cache, PLAIN)}
    assert {task: outcome.error for task, outcome in outcomes.items()} == {
        ALL: "MemoryError: too large",
        EVEN: None,
        ODD: "MemoryError: too large",
        SHORT: None,
    }


def test_missing_embeddings_fail_their_own_cells(cache: EmbeddingCache) -> None:
    absent = data.task(data.clean())
    outcomes = {o.cell.task: o for o in run(grid([ALL, absent], gen=["mean"]), cache, PLAIN)}
    assert outcomes[ALL].status == OK
    assert outcomes[absent].status == FAILED
    assert (outcomes[absent].error or "").startswith("MissingEmbeddingsError: there are no embeddings of toy")


# --- Interruptions ---------------------------------------------------------------------------------------------------


class PreemptedError(RuntimeError):
    """What submitit raises in the main thread when SLURM takes the node away: an ordinary exception."""


@pytest.fixture
def preemptible() -> Iterator[int]:
    """A signal whose handler raises an ordinary exception in the main thread."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise PreemptedError

    before = signal.signal(signal.SIGUSR1, handler)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(("module", "function"), [(fps, "farthest_first"), (vectors, "inner_products")])
def test_what_a_signal_raises_is_never_taken_for_the_failure_of_a_cell(
    module: Any, function: str, cache: EmbeddingCache, preemptible: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(module, function)
    sent = threading.Event()

    def preempted(*arguments: Any) -> Any:
        if not sent.is_set():
            sent.set()
            os.kill(os.getpid(), preemptible)
            time.sleep(0.1)
        return original(*arguments)

    monkeypatch.setattr(module, function, preempted)
    outcomes: list[Outcome] = []
    with pytest.raises(PreemptedError):
        outcomes.extend(run(grid(gen=["mean", "fps", "kmeans"]), cache, PLAIN))
    assert sent.is_set()
    assert all(outcome.status == OK for outcome in outcomes)


def test_what_the_consumer_raises_ends_the_threads(cache: EmbeddingCache) -> None:
    before = threading.active_count()
    outcomes = run(grid(gen=["mean", "kmeans"]), cache, PLAIN)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before  # threads of an earlier test may have ended meanwhile


def test_a_run_that_is_given_up_does_not_wait_for_its_jobs() -> None:
    release, ended = threading.Event(), threading.Event()

    def job(_: int) -> None:
        release.wait(30)
        ended.set()

    def give_up(crew: Workers) -> None:
        crew.submit(job, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), workers(1) as crew:
        give_up(crew)
    assert not ended.is_set()
    release.set()


def test_jobs_of_a_run_that_was_given_up_never_start() -> None:
    started: list[int] = []
    release = threading.Event()

    def job(number: int) -> int:
        started.append(number)
        release.wait(10)
        return number

    def give_up(crew: Workers) -> None:
        for number in range(5):
            crew.submit(job, number)
        release.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), workers(1) as crew:
        give_up(crew)
    assert started in ([], [0])


def test_a_failure_is_computed_once_and_told_to_all_who_ask() -> None:
    ledger = Ledger()
    memory = StageMemory(ledger)
    for _ in range(3):
        with pytest.raises(StageError, match="this stage fails"):
            memory.get(("stage", 1), failing)
    assert ledger.calls == {"stage": 1}
    memory.forget()
    with pytest.raises(StageError):
        memory.get(("stage", 1), failing)
    assert ledger.calls == {"stage": 2}


# --- Memory ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clusterings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """How many k-means fits are in memory; the garbage collector does not help."""
    alive: weakref.WeakValueDictionary[int, NDArray[np.int32]] = weakref.WeakValueDictionary()
    numbers = count()
    lock = threading.Lock()
    fits = kmeans._fits

    def watched(given: ClassSamples, wanted: Sequence[tuple[int, int]]) -> list[KMeansFit]:
        found = fits(given, wanted)
        with lock:
            for fit in found:
                alive[next(numbers)] = fit.assignment
        return found

    monkeypatch.setattr(kmeans, "_fits", watched)
    gc.disable()
    yield lambda: len(alive)
    gc.enable()


@pytest.mark.parametrize("memory_gb", [1.0, 1e-6])
def test_what_is_held_does_not_grow_with_k_and_seeds_beyond_memory(
    memory_gb: float, cache: EmbeddingCache, clusterings: Callable[[], int]
) -> None:
    cells = grid([ALL, EVEN], gen=["kmeans", "k_least_squares"], k=[2, 3, 4], seed=range(10))
    ledger = Ledger()
    settings = EngineSettings(threads=2, memory_gb=memory_gb)
    held = [clusterings() for outcome in run(cells, cache, settings, ledger=ledger) if outcome.status == OK]
    assert len(held) == len(cells)
    # All of them at once, or one for each label, of the (k, seed) that is searched; and each was made once.
    assert max(held) <= (LABELS * 3 * 10 if memory_gb == 1.0 else LABELS)
    assert ledger.calls["kmeans"] == LABELS * 3 * 10


@pytest.mark.parametrize("memory_gb", [1.0, 1e-6])
def test_second_moments_are_kept_only_where_they_fit(cache: EmbeddingCache, memory_gb: float) -> None:
    cells = grid(gen=["least_squares", "k_least_squares"], weight_decay=[0.1, 0.2], k=[2, 3])
    alone = {cell: next(iter(run([cell], cache, PLAIN))).n_correct for cell in cells[::5]}
    ledger = Ledger()
    settings = EngineSettings(threads=2, memory_gb=memory_gb)
    outcomes = {outcome.cell: outcome for outcome in run(cells, cache, settings, ledger=ledger)}
    assert {cell: outcomes[cell].n_correct for cell in alone} == alone
    kept = ledger.calls["moment"] == LABELS
    assert kept is (memory_gb == 1.0)
    assert ledger.calls["kmeans"] == LABELS * 2


@pytest.mark.parametrize(("memory_gb", "times"), [(1.0, 1), (49e-6, 1), (1e-6, 4)])
def test_second_moments_of_remapped_tasks_are_made_once_where_those_of_one_fit(
    cache: EmbeddingCache, memory_gb: float, times: int
) -> None:
    """100 remaps of a network's embeddings have moments of 37 GB, and one of them 0.4."""
    remaps = [data.task(BLOBS, classes=order, merge=2) for order in ((0, 1, 2, 3, 4, 5), (0, 2, 4, 1, 3, 5))]
    ledger = Ledger()
    settings = EngineSettings(threads=2, memory_gb=memory_gb)
    cells = grid(remaps, gen=["k_least_squares"], k=[2, 3], seed=[0, 1]) + grid(remaps, gen=["kmeans"], k=[2])
    outcomes = list(run(cells, cache, settings, ledger=ledger))
    assert Counter(outcome.cell for outcome in outcomes) == Counter(cells)
    assert ledger.calls["moment"] == 6 * times
    assert ledger.calls["kmeans"] == 6 * 2 * 2


def test_fits_of_several_specs_run_at_once_where_there_are_more_cores_than_labels(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = 2 * len(SHORT.labels)
    # Each batch waits until every thread has one.
    together = threading.Barrier(threads, timeout=30)
    fits = kmeans._fits

    def waiting(given: ClassSamples, wanted: Sequence[tuple[int, int]]) -> list[KMeansFit]:
        together.wait()
        return fits(given, wanted)

    monkeypatch.setattr(kmeans, "_fits", waiting)
    cells = grid([SHORT], gen=["kmeans"], k=[2, 3], seed=[0, 1])
    assert counted(cells, cache, EngineSettings(threads=threads, memory_gb=1.0))["kmeans"] == 2 * threads


def test_specs_are_made_at_once_only_as_far_as_their_proxies_fit(
    cache: EmbeddingCache, clusterings: Callable[[], int]
) -> None:
    cells = grid([SHORT], gen=["kmeans"], k=[2], seed=range(8))

    def most(memory_gb: float) -> int:
        settings = EngineSettings(threads=4, memory_gb=memory_gb)
        return max(clusterings() for _ in run(cells, cache, settings))

    one = len(SHORT.labels)
    assert most(1.0) > one
    assert most(1e-6) == one


def test_counts_of_several_threads_are_not_lost() -> None:
    class Slow(Counter[str]):
        """Gives other threads every chance between reading and writing."""

        def __getitem__(self, key: str) -> int:
            value = super().__getitem__(key)
            time.sleep(1e-4)
            return value

    ledger = Ledger(calls=Slow())
    with ThreadPoolExecutor(4) as pool:
        for memory in [StageMemory(ledger) for _ in range(4)]:
            for _ in range(20):
                pool.submit(memory.time, "stage", lambda: None)
    assert ledger.calls["stage"] == 4 * 20


def test_what_a_pass_holds_goes_with_it_and_does_not_wait_for_the_garbage_collector(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[evaluation.FittedPass] = weakref.WeakSet()
    most = 0

    class Watched(evaluation.FittedPass):
        def _room(self) -> tuple[vectors.Vectors, NDArray[np.float32]]:
            nonlocal most
            alive.add(self)
            most = max(most, len(alive))
            return super()._room()

    monkeypatch.setattr(evaluation, "FittedPass", Watched)
    cells = grid(gen=("all",), norm_post=("none", "l2"), agg=("mnn",), metric=("mahalanobis",), m=(3,))
    gc.disable()
    try:
        outcomes = list(run(cells, cache, EngineSettings(threads=2, memory_gb=1e-6)))
        left = len(alive)
    finally:
        gc.enable()
    assert {outcome.status for outcome in outcomes} == {OK}
    assert (most, left) == (1, 0)


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_seconds_are_those_that_the_thread_computed() -> None:
    """Neither waiting counts, nor what other threads and processes take away."""
    memory = StageMemory(Ledger())

    def compute() -> float:
        time.sleep(0.2)
        start = time.thread_time()
        while time.thread_time() - start < 0.05:
            pass
        return time.thread_time() - start

    timed = memory.time("stage", compute)
    assert timed.value <= timed.seconds < timed.value + 0.02


def test_load_does_not_lengthen_what_is_reported(cache: EmbeddingCache) -> None:
    """Four threads that never stop beside the one that computes: wall time would be several times as long."""
    cells = [data.cell(ALL, gen="fps", k=5, seed=seed) for seed in range(3)]
    quiet = min(outcome.gen_seconds or 0.0 for outcome in run(cells, cache, PLAIN))
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            np.ones((300, 300)) @ np.ones((300, 300))

    others = [threading.Thread(target=spin) for _ in range(4)]
    for other in others:
        other.start()
    try:
        loaded = min(outcome.gen_seconds or 0.0 for outcome in run(cells, cache, PLAIN))
    finally:
        stop.set()
        for other in others:
            other.join()
    assert loaded < 3 * quiet + 0.002


def test_the_first_time_holds_neither_compilation_nor_imports(cache: EmbeddingCache, tmp_path: Path) -> None:
    """In a process of its own, without what Numba has kept of earlier ones."""
    program = """
import sys
from pathlib import Path
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, run
from tests import data
from tests.engine.test_sharing import ALL
for gen in GENS:
    for _ in range(2):
        (outcome,) = run([data.cell(ALL, gen=gen, k=3)], EmbeddingCache(Path(sys.argv[1])), EngineSettings())
        print(gen, outcome.gen_seconds)
"""
    finished = subprocess.run(
        [sys.executable, "-c", program, str(cache.root)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    lines = [line.split() for line in finished.stdout.splitlines()]
    for (gen, first), (_, second) in zip(lines[::2], lines[1::2], strict=True):
        # Six labels of some twenty samples: milliseconds at most, where a compilation takes hundreds.
        assert float(first) < 3 * float(second) + 0.02, gen


def test_kept_proxies_of_an_older_version_do_not_bring_their_wall_time(tmp_path: Path) -> None:
    disk = ProxyCache(tmp_path)
    key, value = ("kmeans", "x"), {"centers": np.ones((2, 3), np.float32)}
    disk.get(key, lambda: Timed(value, 7.0))
    assert disk.get(key, lambda: Timed(value, 1.0)).seconds == 7
    (path,) = tmp_path.glob("*/*.safetensors")
    arrays = load_file(path)
    arrays["seconds"] = arrays.pop("cpu_seconds")  # as 0.1.0 wrote it
    save_file(arrays, path)
    assert disk.get(key, lambda: Timed(value, 1.0)).seconds == 1
    assert disk.get(key, lambda: Timed(value, 2.0)).seconds == 1
