"""The one place that joins plan, engine and store. A single cell is a sweep of one."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from hydra.core.utils import JobReturn
from numpy.typing import NDArray

from imprint_sweep import engine
from imprint_sweep.cell import METHOD_VERSION, Cell
from imprint_sweep.config import Settings
from imprint_sweep.cost import Estimate, estimate
from imprint_sweep.embeddings import EmbeddingCache, EntryKey
from imprint_sweep.errors import MissingEmbeddingsError, SweepError
from imprint_sweep.interruption import ending_once, jobs_first, workers_first
from imprint_sweep.invocation import command, default_outputs
from imprint_sweep.launch import (
    JOBLIB,
    LOCAL,
    SLURM,
    Resources,
    array_failures,
    failures,
    submission_line,
    submit,
    wait_for,
    write_batch_script,
)
from imprint_sweep.outcome import OK, Outcome
from imprint_sweep.plan import Plan, Sources, look_up, shards
from imprint_sweep.progress import Progress, Reporter, duration, watching
from imprint_sweep.request import Request
from imprint_sweep.resources import available_cores
from imprint_sweep.store import LookUp, Provenance, ResultStore, Snapshot, errors_of, good_row
from imprint_sweep.summary import OUTCOME_FIELDS, accuracy_table, axes_without_meaning, outcome_lines
from imprint_sweep.wording import counted

PLAN = "plan.npz"
ABOUT = "sweep.json"
REASONS = 3
"""How many reasons are shown where cells failed."""
BUNDLED_MODELS = ("efficientnet_lite0", "pixels")
BUNDLED_DATASETS = ("digits",)
"""What ships inside packages: embeddings of these are made when a cell needs them."""


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

    def waiting_for(self, keys: Collection[EntryKey]) -> NDArray[np.bool_]:
        """(n,) bool, cells to run that would read one of some missing entries."""
        pairs = np.unique(self.plan.pair[self.blocked]).tolist()
        waiting = [pair for pair in pairs if not set(keys).isdisjoint(self.plan.entry_keys(pair))]
        found: NDArray[np.bool_] = self.todo & np.isin(self.plan.pair, waiting)
        return found


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
    # Of the present embeddings: the table keeps the rows of those that were replaced, some of them newer.
    row = good_row(settings.results, cell.cell_id, work.sources.fingerprint[0].decode()) if work.rows.done[0] else None
    if row is not None:
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
    row = {"cell_id": cell.cell_id, **{name: getattr(outcome, name) for name in OUTCOME_FIELDS}}
    print("\n".join(outcome_lines(row, settings.results)))


class Hydra(Protocol):
    """What a sweep needs of Hydra; the plugin provides it."""

    launcher: Mapping[str, Any]
    """The node ``hydra.launcher``, resolved."""
    overrides: Sequence[str]
    """Overrides that every job gets: settings, no axes."""

    def launch(self, jobs: Sequence[Sequence[str]], *, workers: int | None, folder: Path) -> Sequence[JobReturn]:
        """Run jobs through the launcher, at most `workers` at once, its files in `folder`, and wait for them."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is about to run.

    Args:
        work: of all cells asked for, those to run.
        shard: (n,) int32 the shard of each of these.
        since: rows older than this do not count.
        resources: what the launcher gives.
        folder: where its files are, named after its id.
    """

    work: Work
    shard: NDArray[np.int32]
    since: datetime | None
    resources: Resources
    folder: Path

    @property
    def cells(self) -> Plan:
        """The cells to run."""
        return self.work.remaining

    @property
    def n_shards(self) -> int:
        """How many shards there are."""
        return int(self.shard.max(initial=-1)) + 1

    @property
    def seconds(self) -> float | None:
        """How long it will take; None where nobody knows, as embeddings do not exist yet."""
        if self.work.blocked.any():
            return None
        resources = self.resources
        return self.work.estimate.duration(self.shard, workers=resources.workers, threads=resources.threads)


def run_sweep(request: Request, settings: Settings, hydra: Hydra) -> None:
    """Plan the requested rows, run what is new through Hydra's launcher, and show what came out.

    Raises:
        ImprintError: the sweep cannot be planned or submitted.
        SystemExit: code 1 if a cell or a shard failed.
    """
    clock = time.monotonic()
    sweep = _plan(request, settings, hydra)
    if settings.dry_run:
        return
    if not len(sweep.cells):
        _show(sweep, settings)
        return
    overrides = _write(sweep, settings, hydra)
    if sweep.resources.kind == SLURM:
        problems = _through_slurm(sweep, settings, hydra, overrides)
    else:
        problems = _on_this_machine(sweep, settings, hydra, overrides)
    if problems is not None:
        _report(sweep, settings, problems, seconds=time.monotonic() - clock)


def _plan(request: Request, settings: Settings, hydra: Hydra) -> Sweep:
    """Find out what is new, split it into shards, and say so.

    Raises:
        ImprintError: the launcher cannot do what is asked for; embeddings are missing; results cannot be written.
    """
    started = datetime.now(UTC)
    since = started if settings.force else None
    resources = Resources.of(hydra.launcher, threads=settings.threads, shards=settings.shards)
    if resources.kind != SLURM and not (settings.wait and settings.submit):
        option = "sweep.submit=false" if not settings.submit else "sweep.wait=false"
        raise SweepError(f"{option} needs hydra/launcher=submitit_slurm; this sweep runs through {resources.kind}")
    plan = Plan.of(request)
    if not settings.dry_run:
        ResultStore(settings.results).check_writable()
        make_bundled_embeddings(look_up(plan, EmbeddingCache(settings.embeddings)).missing, settings)
    work = find_work(plan, settings, since=since)
    absent = [key for key in work.missing() if not _bundled(key)]
    waiting = work.waiting_for(absent)
    if settings.allow_missing:
        work = replace(work, todo=work.todo & ~waiting)
    seconds = work.estimate.seconds
    wanted = resources.shards(float(seconds.sum()), settings.shards)
    shard = shards(work.estimate.atoms(wanted), seconds, wanted)
    folder = settings.sweeps / f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    sweep = Sweep(work, shard, since, resources, folder)
    print(_summary(request, sweep), flush=True)
    if settings.shards is not None and wanted < settings.shards:
        print(
            f"note: {resources.kind} starts all shards at once, and there are cores for {counted(wanted, 'shard')}, "
            f"not for {settings.shards:,}",
            flush=True,
        )
    _check_missing(request, int(waiting.sum()), absent, settings)
    if bundled := [key for key in work.missing() if _bundled(key)]:
        what = ", ".join(dict.fromkeys(f"{key.dataset} by {key.model.name}" for key in bundled))
        print(
            f"note: the sweep itself first makes the embeddings of {what}, which takes some minutes at most", flush=True
        )
    return sweep


def _check_missing(request: Request, waiting: int, absent: Sequence[EntryKey], settings: Settings) -> None:
    """Say what cannot run as its embeddings are missing.

    Raises:
        MissingEmbeddingsError: something cannot, and neither a dry run nor ``sweep.allow_missing`` was asked for.
    """
    messages = [
        f"the classes of {counted(count, 'combination')} are those of embeddings that are missing: {reason}"
        for reason, count in request.missing.items()
    ]
    if absent:
        messages.append(f"embeddings of {counted(waiting, 'cell')} are missing: {missing_message(absent, settings)}")
    if messages and not settings.dry_run and not settings.allow_missing:
        raise MissingEmbeddingsError("; ".join(messages))
    for message in messages:
        print(f"note: {message}", flush=True)


def _write(sweep: Sweep, settings: Settings, hydra: Hydra) -> list[str]:
    """Write the plan of a sweep and what it is.

    Returns:
        The overrides that every shard is started with, the index of the shard excepted.

    Raises:
        SweepError: the files cannot be written.
    """
    plan, resources, folder = sweep.work.plan, sweep.resources, sweep.folder
    sweep.cells.save(folder / PLAN, shard=sweep.shard)
    about = {
        "id": folder.name,
        "created": datetime.now(UTC).isoformat(),
        "since": sweep.since.isoformat() if sweep.since else None,
        "command": sys.argv[1:],
        "requested": plan.requested,
        "distinct": len(plan),
        "to_run": len(sweep.cells),
        "shards": sweep.n_shards,
        "launcher": resources.kind,
        "workers": resources.workers,
        "threads": resources.threads,
    }
    try:
        (folder / ABOUT).write_text(json.dumps(about, indent=1))
    except OSError as error:
        raise SweepError(f"{folder / ABOUT} cannot be written: {error.strerror or error}") from error
    return [
        *hydra.overrides,
        f"shard.plan={quoted(folder / PLAN)}",
        f"paths.outputs={quoted(settings.outputs)}",
        f"sweep.threads={resources.threads}",
        f"hydra.sweep.dir={quoted(folder)}",
        "hydra.sweep.subdir=.",
    ]


def _through_slurm(sweep: Sweep, settings: Settings, hydra: Hydra, overrides: Sequence[str]) -> list[str] | None:
    """Write the batch script of a sweep, submit it and wait, as far as the settings ask for it.

    Returns:
        What went wrong in the shards; None if nobody waited for them.
    """
    script = sweep.folder / "sweep.sbatch"
    threads = sweep.resources.threads
    write_batch_script(script, hydra.launcher, shards=sweep.n_shards, overrides=overrides, threads=threads)
    if not settings.submit:
        print(f"planned, not submitted. Submit it with:\n{submission_line(script)}")
        return None
    array = submit(script)
    print(f"submitted as SLURM job {array}; follow it with: {status_command(settings)}", flush=True)
    if not settings.wait:
        return None
    try:
        with watching(sweep.folder, len(sweep.cells)):
            return array_failures(array, wait_for(array), script)
    except KeyboardInterrupt:
        print(f"SLURM job {array} goes on; cancel it with: scancel {array}", file=sys.stderr)
        raise


def _on_this_machine(sweep: Sweep, settings: Settings, hydra: Hydra, overrides: Sequence[str]) -> list[str]:
    """Run the shards of a sweep through Hydra's launcher; says what went wrong in them."""
    jobs = [[*overrides, f"shard.index={index}"] for index in range(sweep.n_shards)]
    # Processes of their own would be killed with what they know, or outlive this one.
    first = {JOBLIB: workers_first, LOCAL: jobs_first}.get(sweep.resources.kind)
    gently = nullcontext() if first is None else ending_once(first(sweep.folder))
    try:
        with watching(sweep.folder, len(sweep.cells)), gently:
            return failures(lambda: hydra.launch(jobs, workers=sweep.resources.workers, folder=sweep.folder))
    except KeyboardInterrupt:
        print(f"what was finished is in {settings.results}; the same command does the rest", file=sys.stderr)
        raise


def _report(sweep: Sweep, settings: Settings, problems: Sequence[str], *, seconds: float) -> None:
    """Say what came out of a sweep.

    Raises:
        SystemExit: code 1 if something went wrong.
    """
    rows = find_work(sweep.cells, settings, since=sweep.since).rows
    failed, undone = int(rows.failed.sum()), int((~rows.done & ~rows.failed).sum())
    _show(sweep, settings)
    print(
        f"{counted(len(sweep.cells) - undone, 'cell')} in {duration(seconds)}, start-up included; computing one by "
        f"one, sharing nothing: {duration(Progress.read(sweep.folder).alone_seconds)}. Results: {settings.results}"
    )
    errors = [f"error: {problem}" for problem in problems]
    if failed:
        errors += _reasons(sweep.cells[np.flatnonzero(rows.failed)], errors_of(settings.results, sweep.folder.name))
    if failed or undone:
        errors.append(
            f"error: {counted(failed, 'cell')} failed and {undone:,} were not computed; run the same command again, or "
            f"see {status_command(settings)}"
        )
    if errors:
        print("\n".join(errors), file=sys.stderr)
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
    bundled = [key for key in missing if _bundled(key)]
    if not bundled:
        return
    from imprint_sweep.foundation.extraction import Extraction, ensure

    ensure(
        EmbeddingCache(settings.embeddings),
        bundled,
        Extraction(data_root=settings.data, device=settings.device),
    )


def _bundled(key: EntryKey) -> bool:
    """Whether an entry can be made from what ships inside packages."""
    return key.model.name in BUNDLED_MODELS and key.dataset in BUNDLED_DATASETS


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


def _summary(request: Request, sweep: Sweep) -> str:
    """``requested 1,440 -> 612 distinct -> 204 done, 408 to run in 4 shards, about 3 min``, and what was left out."""
    work, seconds = sweep.work, sweep.seconds
    done, todo = int(work.rows.done.sum()), len(sweep.cells)
    lines = [
        f"requested {work.plan.requested:,} -> {len(work.plan):,} distinct -> {done:,} done, {todo:,} to run"
        + (f" in {counted(sweep.n_shards, 'shard')}" if todo else "")
        + (f", about {duration(seconds)}" if todo and seconds is not None else "")
    ]
    computations = len(np.unique(work.plan.computation))
    if computations < len(work.plan):
        lines.append(f"  {counted(computations, 'different computation')}; the others are equal by construction")
    lines += [
        f"  {axis} has no meaning in any of these cells" for axis in axes_without_meaning(work.plan, request.axes)
    ]
    if request.excluded:
        lines.append(f"  {counted(request.excluded, 'combination')} excluded by the experiment")
    for reason, count in request.invalid.items():
        lines.append(f"  {counted(count, 'combination')} left out: {reason}")
    outdated = int((work.rows.outdated & work.todo).sum())
    if outdated:
        lines.append(
            f"  {counted(outdated, 'cell')} with results from other embeddings or an older method: kept, and computed "
            "anew"
        )
    skipped = int((work.rows.failed & ~work.todo).sum())
    if skipped:
        lines.append(f"  {skipped:,} failed before and are not tried again (sweep.retry_failed=false)")
    if request.unchecked:
        lines.append(
            f"  {counted(request.unchecked, 'combination')} of options not compared with Hydra's own composition, "
            "which takes too long"
        )
    return "\n".join(lines)


def _reasons(failed: Plan, errors: Mapping[str, str]) -> list[str]:
    """Why cells failed: the most frequent reasons.

    Args:
        failed: the cells.
        errors: cell id -> what the sweep said of it.
    """
    reasons = Counter(errors[cell_id] for cell_id in failed.cell_id.astype(str).tolist() if cell_id in errors)
    return [f"failed ({counted(count, 'cell')}): {reason}" for reason, count in reasons.most_common(REASONS)]


def _show(sweep: Sweep, settings: Settings) -> None:
    """Print the table of the swept axes against accuracy."""
    plan = sweep.work.plan
    table = accuracy_table(plan, find_work(plan, settings, since=sweep.since).rows.accuracy)
    if table:
        print(table, flush=True)


def _report_conflicts(before: Snapshot, outcome: Outcome) -> None:
    """Say loudly that a recomputed result differs from a row of the same identity."""
    for conflict in before.conflicts([outcome]):
        print(
            f"WARNING: {conflict}. Another CPU type or another version of a package, or a bug. Both rows are kept.",
            file=sys.stderr,
        )
