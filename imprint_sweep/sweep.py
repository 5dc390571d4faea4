"""The one place that joins plan, engine and store. A single cell is a sweep of one."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from hydra.core.utils import JobReturn
from numpy.typing import NDArray

from imprint_sweep import engine
from imprint_sweep.cell import METHOD_VERSION, Cell
from imprint_sweep.config import Settings
from imprint_sweep.cost import Estimate, estimate
from imprint_sweep.embeddings import EmbeddingCache, EntryKey
from imprint_sweep.errors import MissingEmbeddingsError, SweepError
from imprint_sweep.interruption import ending_once, workers_first
from imprint_sweep.invocation import command, default_outputs
from imprint_sweep.launch import (
    JOBLIB,
    SLURM,
    Resources,
    array_failures,
    failures,
    submission_line,
    submit,
    wait_for,
    write_batch_script,
)
from imprint_sweep.outcome import FAILED, OK, Outcome
from imprint_sweep.plan import Plan, Sources, look_up, shards
from imprint_sweep.progress import Progress, Reporter, duration, watching
from imprint_sweep.request import Request
from imprint_sweep.resources import available_cores
from imprint_sweep.store import LookUp, Provenance, ResultStore, Snapshot, load_results
from imprint_sweep.summary import OUTCOME_FIELDS, accuracy_table, outcome_lines

PLAN = "plan.npz"
ABOUT = "sweep.json"
REASONS = 3
"""How many reasons are shown where cells failed."""
BUNDLED_MODELS = ("efficientnet_lite0", "pixels")
BUNDLED_DATASETS = ("digits",)
"""What ships inside packages: embeddings of these are made when a single cell needs them."""


@dataclass(frozen=True, eq=False)
class Work:
    """What of a plan is done and what is to do.

    Args:
        plan: all its cells.
        sources: what the embedding cache holds for them.
        rows: what the results table holds for them.
        todo: (n,) bool, cells to run now.
    """

    plan: Plan
    sources: Sources
    rows: LookUp
    todo: NDArray[np.bool_]

    @cached_property
    def remaining(self) -> Plan:
        """The plan of the cells to run."""
        return self.plan[np.flatnonzero(self.todo)]

    @cached_property
    def estimate(self) -> Estimate:
        """What the cells to run will cost."""
        return estimate(self.remaining, self.sources.headers)

    @cached_property
    def blocked(self) -> NDArray[np.bool_]:
        """(n,) bool, cells to run whose embeddings are missing."""
        missing: NDArray[np.bool_] = self.todo & (self.sources.fingerprint == b"")
        return missing

    def missing(self) -> list[EntryKey]:
        """The missing cache entries that cells to run would read."""
        pairs = np.unique(self.plan.pair[self.blocked]).tolist()
        absent = set(self.sources.missing)
        return [key for key in dict.fromkeys(k for pair in pairs for k in self.plan.entry_keys(pair)) if key in absent]


def find_work(plan: Plan, settings: Settings, *, since: datetime | None = None) -> Work:
    """Compare a plan with the results table and the embedding cache.

    Args:
        plan: what is asked for.
        settings: where table and cache are, and whether failed cells are tried again.
        since: rows older than this do not count.
    """
    sources = look_up(plan, EmbeddingCache(settings.embeddings))
    rows = ResultStore(settings.results).look_up(
        plan.cell_id, sources.fingerprint, method_version=METHOD_VERSION, since=since
    )
    todo = ~rows.done if settings.retry_failed else ~(rows.done | rows.failed)
    return Work(plan, sources, rows, todo)


def run_cells(
    plan: Plan,
    settings: Settings,
    *,
    since: datetime | None = None,
    sweep: str | None = None,
    begin: Callable[[Work], None] = lambda work: None,
    report: Callable[[Outcome], None] = lambda outcome: None,
    ledger: engine.Ledger | None = None,
) -> None:
    """Compute the cells of a plan that are not done and put them into the table: the only path to a result.

    What is done is looked up here and now, so running the same cells again, or at the same time elsewhere, is harmless.
    Whatever ends the run early, the outcomes known by then are in the table.

    Args:
        plan: the cells.
        settings: folders, threads, memory.
        since: rows older than this do not count; a result that differs from such a row is reported loudly.
        sweep: id of the sweep, for the rows.
        begin: told what is done and what is to do, before anything is computed.
        report: told of every outcome.
        ledger: told what was computed and how long it took.

    Raises:
        StoreError: the table cannot be written.
        KeyboardInterrupt, SystemExit: the process was told to end.
    """
    store = ResultStore(settings.results)
    store.check_writable()
    work = find_work(plan, settings, since=since)
    begin(work)
    provenance = Provenance.here(sweep)
    before = store.snapshot(provenance=provenance) if since is not None else None
    how = engine.EngineSettings(
        threads=min(settings.threads or available_cores(), available_cores()),
        memory_gb=settings.memory_gb,
        proxy_cache=settings.proxies,
    )
    cells = work.remaining.cells(np.arange(len(work.remaining)))
    with ending_once(), store.writer(provenance) as writer:
        for outcome in engine.run(cells, EmbeddingCache(settings.embeddings), how, ledger=ledger):
            writer.add(outcome)
            report(outcome)
            if before is not None:
                _report_conflicts(before, outcome)


def run_single(cell: Cell, settings: Settings) -> None:
    """Run one cell, unless it is done, and print what it computed.

    Raises:
        ImprintError: its embeddings are missing or damaged, or the table cannot be written.
        SystemExit: code 1 if the cell failed.
    """
    since = datetime.now(UTC) if settings.force else None
    ResultStore(settings.results).check_writable()
    plan = Plan.of_cells([cell])
    make_bundled_embeddings(look_up(plan, EmbeddingCache(settings.embeddings)).missing, settings)
    work = find_work(plan, settings, since=since)
    if missing := work.missing():
        raise MissingEmbeddingsError(missing_message(missing, settings))
    if work.rows.done[0]:
        rows = load_results(settings.results)
        row = rows[rows["cell_id"] == cell.cell_id].iloc[-1]
        print("\n".join(["done before (force=true computes it again):", *outcome_lines(row, settings.results)]))
        return
    for key in plan.entry_keys(0):
        EmbeddingCache(settings.embeddings).open(key)  # verified now: a damaged entry is no result
    outcomes: list[Outcome] = []
    run_cells(plan, settings, since=since, report=outcomes.append)
    (outcome,) = outcomes
    if outcome.status != OK:
        print(f"error: the cell failed: {outcome.error}", file=sys.stderr)
        raise SystemExit(1)
    row = pd.Series({"cell_id": cell.cell_id, **{name: getattr(outcome, name) for name in OUTCOME_FIELDS}})
    print("\n".join(outcome_lines(row, settings.results)))


class Hydra(Protocol):
    """What a sweep needs of Hydra; the plugin provides it."""

    launcher: Mapping[str, Any]
    """The node ``hydra.launcher``, resolved."""
    overrides: Sequence[str]
    """Overrides that every job gets: settings, no axes."""

    def launch(self, jobs: Sequence[Sequence[str]], *, workers: int | None, folder: Path) -> Sequence[JobReturn]:
        """Run jobs through the launcher, at most `workers` at once, its files in `folder`, and wait for them."""


def run_sweep(request: Request, settings: Settings, hydra: Hydra) -> None:
    """Plan the requested rows, run what is new through Hydra's launcher, and show what came out.

    Raises:
        ImprintError: the sweep cannot be planned or submitted.
        SystemExit: code 1 if a cell or a shard failed.
    """
    started = datetime.now(UTC)
    clock = time.monotonic()
    since = started if settings.force else None
    plan = Plan.of(request)
    if not settings.dry_run:
        ResultStore(settings.results).check_writable()
        make_bundled_embeddings(look_up(plan, EmbeddingCache(settings.embeddings)).missing, settings)
    work = find_work(plan, settings, since=since)
    resources = Resources.of(hydra.launcher, threads=settings.threads, shards=settings.shards)
    if resources.kind != SLURM and not (settings.wait and settings.submit):
        option = "sweep.submit=false" if not settings.submit else "sweep.wait=false"
        raise SweepError(f"{option} needs hydra/launcher=submitit_slurm; this sweep runs through {resources.kind}")
    core_seconds = float(work.estimate.seconds.sum())
    n_shards = resources.shards(core_seconds, settings.shards)
    shard = shards(work.estimate.atoms(n_shards), work.estimate.seconds, n_shards)
    n_shards = int(shard.max(initial=-1)) + 1
    print(_summary(request, work, n_shards, core_seconds, resources), flush=True)
    missing = work.missing()
    if missing:
        message = f"{int(work.blocked.sum()):,} cells wait for embeddings. {missing_message(missing, settings)}"
        if not settings.dry_run and not settings.allow_missing:
            raise MissingEmbeddingsError(message)
        print(f"note: {message}", flush=True)
    if settings.dry_run:
        return
    if settings.allow_missing and missing:
        keep = ~work.blocked[work.todo]
        shard = np.where(keep, shard, -1).astype(np.int32)
    if not (shard >= 0).any():
        _show(request, plan, settings, since=None)
        return

    name = f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = settings.sweeps / name
    work.remaining.save(folder / PLAN, shard=shard)
    about = {
        "id": name,
        "created": started.isoformat(),
        "since": since.isoformat() if since else None,
        "command": sys.argv[1:],
        "requested": plan.requested,
        "distinct": len(plan),
        "to_run": int((shard >= 0).sum()),
        "shards": n_shards,
        "launcher": resources.kind,
        "workers": resources.workers,
        "threads": resources.threads,
    }
    try:
        (folder / ABOUT).write_text(json.dumps(about, indent=1))
    except OSError as error:
        raise SweepError(f"{folder / ABOUT} cannot be written: {error.strerror or error}") from error
    common = [
        *hydra.overrides,
        f"shard.plan={quoted(folder / PLAN)}",
        f"paths.outputs={quoted(settings.outputs)}",
        f"sweep.threads={resources.threads}",
        f"hydra.sweep.dir={quoted(folder)}",
        "hydra.sweep.subdir=.",
    ]

    if resources.kind == SLURM:
        script = folder / "sweep.sbatch"
        write_batch_script(script, hydra.launcher, shards=n_shards, overrides=common, threads=resources.threads)
        if not settings.submit:
            print(f"planned, not submitted. Submit it with:\n{submission_line(script)}")
            return
        array = submit(script)
        print(f"submitted as SLURM job {array}; follow it with: {status_command(settings)}", flush=True)
        if not settings.wait:
            return
        try:
            with watching(folder, int((shard >= 0).sum())):
                problems = array_failures(array, wait_for(array), script)
        except KeyboardInterrupt:
            print(f"SLURM job {array} goes on; cancel it with: scancel {array}", file=sys.stderr)
            raise
    else:
        jobs = [[*common, f"shard.index={index}"] for index in range(n_shards)]
        gently = ending_once(workers_first(folder)) if resources.kind == JOBLIB else nullcontext()
        try:
            with watching(folder, int((shard >= 0).sum())), gently:
                problems = failures(lambda: hydra.launch(jobs, workers=resources.workers, folder=folder))
        except KeyboardInterrupt:
            print(f"what was finished is in {settings.results}; the same command does the rest", file=sys.stderr)
            raise
    launched = work.remaining[np.flatnonzero(shard >= 0)]
    rows = find_work(launched, settings, since=since).rows
    failed, undone = int(rows.failed.sum()), int((~rows.done & ~rows.failed).sum())
    _show(request, plan, settings, since=since)
    print(
        f"{len(launched) - undone:,} cells in {duration(time.monotonic() - clock)}; one by one they would have "
        f"computed for {duration(Progress.read(folder).alone_seconds)}. Results: {settings.results}"
    )
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if failed:
        print("\n".join(_reasons(launched, settings)), file=sys.stderr)
    if failed or undone:
        print(
            f"error: {failed:,} cells failed and {undone:,} were not computed; run the same command again, or "
            f"see {status_command(settings)}",
            file=sys.stderr,
        )
    if failed or undone or problems:
        raise SystemExit(1)


def run_shard(path: Path, index: int, settings: Settings) -> None:
    """Run one shard of a plan: what a launched job does.

    Raises:
        ImprintError: the plan cannot be read, or the table not written.
    """
    plan, columns = Plan.load(path)
    about = json.loads((path.parent / ABOUT).read_text())
    mine = plan[np.flatnonzero(columns["shard"] == index)]
    if not len(mine):
        raise SweepError(f"{path} has no shard {index}; it has {int(columns['shard'].max(initial=-1)) + 1}")
    since = datetime.fromisoformat(about["since"]) if about["since"] else None
    ledger = engine.Ledger()
    # One handling of signals around it all: the end is reported, too, before the process ends.
    with ending_once(), Reporter(path.parent / f"progress-{index:04d}.json", len(mine)) as reporter:

        def begin(work: Work) -> None:
            reporter.begin(
                done=int((~work.todo).sum()),
                failed=int((work.rows.failed & ~work.todo).sum()),
                best=float(np.nan_to_num(work.rows.accuracy).max(initial=0.0)),
            )

        try:
            run_cells(mine, settings, since=since, sweep=about["id"], begin=begin, report=reporter.add, ledger=ledger)
        finally:
            with suppress(OSError):  # a convenience, as progress is: a full disk must not hide what ended the shard
                (path.parent / f"ledger-{index:04d}.json").write_text(json.dumps(ledger.content(), indent=1))


def make_bundled_embeddings(missing: Sequence[EntryKey], settings: Settings) -> None:
    """Compute missing embeddings of images and networks that ship inside packages."""
    bundled = [k for k in missing if k.model.name in BUNDLED_MODELS and k.dataset in BUNDLED_DATASETS]
    if not bundled:
        return
    from imprint_sweep.foundation.extraction import Extraction, ensure

    ensure(
        EmbeddingCache(settings.embeddings),
        bundled,
        Extraction(data_root=settings.data, device=settings.device),
    )


def missing_message(missing: Sequence[EntryKey], settings: Settings) -> str:
    """One line that says which embeddings are missing and which commands make them."""
    cache = EmbeddingCache(settings.embeddings)
    commands = list(dict.fromkeys(cache.remedy(key) for key in missing))
    shown = "; ".join(commands[:3]) + (f"; and {len(commands) - 3} more" if len(commands) > 3 else "")
    return f"there are no embeddings of {missing[0]}; make them with: {shown}"


def status_command(settings: Settings) -> str:
    """The line that shows how far the sweeps are."""
    elsewhere = "" if settings.outputs == default_outputs() else f" --outputs {shlex.quote(str(settings.outputs))}"
    return command("status") + elsewhere


def quoted(path: Path) -> str:
    """A path as the value of an override, whatever characters it has."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _summary(request: Request, work: Work, n_shards: int, core_seconds: float, resources: Resources) -> str:
    """``requested 1,440 -> 612 distinct -> 204 done, 408 to run in 4 shards, about 3 min``, and what was left out."""
    done, todo = int(work.rows.done.sum()), int(work.todo.sum())
    cores = max(1, resources.threads * (resources.workers or n_shards))
    lines = [
        f"requested {work.plan.requested:,} -> {len(work.plan):,} distinct -> {done:,} done, {todo:,} to run"
        + (f" in {n_shards:,} shard{'s' * (n_shards != 1)}" if todo else "")
        # Nobody knows how large embeddings will be that do not exist.
        + (f", about {duration(core_seconds / cores)}" if todo and not work.blocked.any() else "")
    ]
    computations = len(np.unique(work.plan.computation))
    if computations < len(work.plan):
        lines.append(f"  {computations:,} different computations; the others are equal by construction")
    if request.excluded:
        lines.append(f"  {request.excluded:,} combinations excluded by the experiment")
    for reason, count in request.invalid.items():
        lines.append(f"  {count:,} combinations left out: {reason}")
    outdated = int((work.rows.outdated & work.todo).sum())
    if outdated:
        lines.append(f"  {outdated:,} have results from other embeddings or an older method: kept, and computed anew")
    skipped = int((work.rows.failed & ~work.todo).sum())
    if skipped:
        lines.append(f"  {skipped:,} failed before and are not tried again (sweep.retry_failed=false)")
    return "\n".join(lines)


def _reasons(plan: Plan, settings: Settings) -> list[str]:
    """Why cells of a plan failed: the most frequent reasons."""
    rows = load_results(settings.results, ["cell_id", "error"], status=FAILED)
    reasons = rows.loc[rows["cell_id"].isin(plan.cell_id.astype(str)), "error"].value_counts()
    return [f"failed ({count:,} cells): {reason}" for reason, count in reasons.head(REASONS).items()]


def _show(request: Request, plan: Plan, settings: Settings, *, since: datetime | None) -> None:
    """Print the table of the swept axes against accuracy."""
    work = find_work(plan, settings, since=since)
    table = accuracy_table(plan, work.rows.accuracy)
    if table:
        print(table, flush=True)


def _report_conflicts(before: Snapshot, outcome: Outcome) -> None:
    """Say loudly that a recomputed result differs from a row of the same identity."""
    for conflict in before.conflicts([outcome]):
        print(
            f"WARNING: {conflict}. Another CPU type or another version of a package, or a bug. Both rows are kept.",
            file=sys.stderr,
        )
