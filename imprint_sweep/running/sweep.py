"""A cell, a sweep, a shard of one: planned, written down, launched and reported. A single cell is a sweep of one."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from hydra.core.utils import JobReturn
from numpy.typing import NDArray

from imprint_sweep import engine, telling
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EntryKey
from imprint_sweep.errors import CellFailedError, MissingEmbeddingsError, StoreError, SweepError, SweepFailedError
from imprint_sweep.grid import commands
from imprint_sweep.grid.cell import Cell, component_versions
from imprint_sweep.grid.outcome import OK, Outcome
from imprint_sweep.invocation import override
from imprint_sweep.planning.cost import Estimate
from imprint_sweep.planning.plan import Plan, shards
from imprint_sweep.planning.request import Request
from imprint_sweep.running.bundled import is_bundled, make_bundled_embeddings
from imprint_sweep.running.calibration import MIN_SECONDS, Calibration, observed
from imprint_sweep.running.interruption import ending_once, ending_with_launcher, jobs_first, launching, workers_first
from imprint_sweep.running.launch import JOBLIB, LOCAL, SLURM, SUBMITIT_FOLDER, Resources, failures
from imprint_sweep.running.progress import Progress, Reporter, finished_shards, watching
from imprint_sweep.running.slurm import LOGS, array_failures, submission_line, submit, wait_for, write_batch_script
from imprint_sweep.running.summary import (
    OUTCOME_FIELDS,
    accuracy_table,
    notes_on_shots,
    outcome_lines,
    planned_lines,
)
from imprint_sweep.running.work import Work, find_work, known_rows, run_cells, threads_of
from imprint_sweep.store import ResultStore, errors_of, newest_row
from imprint_sweep.wording import counted, duration

PLAN = "plan.npz"
ABOUT = "sweep.json"
REASONS = 3
"""How many reasons are shown where cells failed."""


def run_single(cell: Cell, settings: Settings) -> float:
    """Run one cell, unless it is done, and tell what it computed.

    Returns:
        Its accuracy, from 0 to 1.

    Raises:
        ImprintError: its embeddings are missing or damaged, or the table cannot be written.
        CellFailedError: the cell failed.
    """
    since = datetime.now(UTC) if settings.force else None
    ResultStore(settings.results).check_writable()
    plan = Plan.of_cells([cell])
    make_bundled_embeddings(plan, settings)
    work = find_work(plan, settings, since=since)
    if missing := work.missing():
        raise settings.cache.missing(missing)
    if not work.todo[0]:
        return _known(work, settings)
    for line in notes_on_shots(plan, work.sources.headers):
        telling.note(line)
    for key in plan.entry_keys(int(plan.source[0])):
        settings.cache.open(key)  # verified now: a damaged entry is no result
    outcomes: list[Outcome] = []
    begun: list[Work] = []
    run_cells(plan, settings, since=since, begin=begun.append, report=outcomes.append)
    if not outcomes:
        return _known(begun[0], settings)
    outcome = outcomes[-1]  # before it come those of the cells that choose its k
    if outcome.status != OK:
        raise CellFailedError(f"the cell failed: {outcome.error}")
    row = {"cell_id": cell.cell_id, **{name: getattr(outcome, name) for name in OUTCOME_FIELDS}}
    telling.say("\n".join(outcome_lines(row, settings.results)))
    return float(row["accuracy"])


def _known(work: Work, settings: Settings) -> float:
    """Tell what the table says of a single cell that was not computed, and return its accuracy.

    It was done before, or another process was faster, or it failed and failed cells are not tried again.

    Raises:
        StoreError: the row cannot be read as a whole, though it says that the cell is done.
        CellFailedError: the cell failed.
    """
    # Of the present embeddings: the table keeps the rows of those that were replaced, some of them newer.
    cell_id, fingerprint = (ids[0].decode() for ids in (work.plan.cell_id, work.sources.fingerprint))
    done = bool(work.rows.done[0])
    cell = work.plan.cell(0)
    versions = component_versions(cell.scheme, len(cell.task.labels))
    row = newest_row(settings.results, cell_id, fingerprint, good=done, versions=versions)
    if row is None:
        raise StoreError(
            f"the row of cell {cell_id} is in a damaged file of {settings.results}; move it aside with "
            f"{commands.repair(settings.results)}, then the same command computes the cell again"
        )
    if not done:
        raise CellFailedError(f"the cell failed before (sweep.retry_failed=true tries again): {row['error']}")
    title = "computed by another process meanwhile" if settings.force else "done before (force=true computes it again)"
    telling.say("\n".join([f"{title}:", *outcome_lines(row, settings.results)]))
    return float(row["accuracy"])


class Hydra(Protocol):
    """What a sweep needs of Hydra; the plugin provides it."""

    launcher: Mapping[str, Any]
    """The node ``hydra.launcher``, resolved."""
    overrides: Sequence[str]
    """Overrides that every job gets: settings, no axes."""
    folder: Path | None
    """Where the user wants the files of launchers and jobs (``hydra.sweep.dir``); None: beside the plan."""

    def launch(self, jobs: Sequence[Sequence[str]], *, workers: int | None, folder: Path) -> Sequence[JobReturn]:
        """Run jobs through the launcher, at most `workers` at once, its files in `folder`, and wait for them."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is about to run.

    Args:
        left_out: combinations that were asked for and are no cells.
        work: of all cells asked for, those to run.
        estimate: what these take on this machine.
        shard: (n,) int32 the shard of each of these.
        since: rows older than this do not count.
        resources: what the launcher gives.
        folder: where its files are, named after its id.
    """

    left_out: int
    work: Work
    estimate: Estimate
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
        return self.estimate.duration(self.shard, workers=resources.workers, threads=resources.threads)


def run_sweep(request: Request, settings: Settings, hydra: Hydra) -> None:
    """Plan the requested rows, run what is new through Hydra's launcher, and tell what came out.

    Raises:
        ImprintError: the sweep cannot be planned or submitted.
        SweepFailedError: a cell or a shard failed.
    """
    clock = time.monotonic()
    sweep = _plan(request, settings, hydra)
    if settings.sweep.dry_run:
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
    resources = Resources.of(hydra.launcher, threads=settings.sweep.threads, shards=settings.sweep.shards)
    if resources.kind != SLURM and not (settings.sweep.wait and settings.sweep.submit):
        option = "sweep.submit=false" if not settings.sweep.submit else "sweep.wait=false"
        raise SweepError(f"{option} needs hydra/launcher=submitit_slurm; this sweep runs through {resources.kind}")
    plan = Plan.of(request)
    if not settings.sweep.dry_run:
        ResultStore(settings.results).check_writable()
        make_bundled_embeddings(plan, settings)
    work = find_work(plan, settings, since=since)
    absent = [key for key in work.missing() if not is_bundled(key)]
    waiting = work.waiting_for(absent)
    if settings.sweep.allow_missing:
        work = replace(work, todo=work.todo & ~waiting)
    estimate = work.estimate.on(_ratios(work.estimate, settings, resources))
    wanted = resources.shards(float(estimate.seconds.sum()), settings.sweep.shards)
    atoms = work.choices.atoms(np.flatnonzero(work.todo), estimate.atoms(wanted))
    shard = shards(atoms, estimate.seconds, wanted)
    folder = settings.sweeps / f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    sweep = Sweep(request.left_out, work, estimate, shard, since, resources, folder)
    planned = planned_lines(request, work, estimate, n_shards=sweep.n_shards, seconds=sweep.seconds)
    telling.say("\n".join(planned))
    if settings.sweep.shards is not None and wanted < settings.sweep.shards:
        telling.note(
            f"{resources.kind} starts all shards at once, and there are cores for {counted(wanted, 'shard')}, "
            f"not for {settings.sweep.shards:,}"
        )
    if resources.kind == SLURM and not str(hydra.launcher.get("submitit_folder")).endswith(SUBMITIT_FOLDER):
        telling.note(f"hydra.launcher.submitit_folder has no meaning here: the logs go to {folder / LOGS}")
    _check_missing(request, int(waiting.sum()), absent, settings)
    if bundled := [key for key in work.missing() if is_bundled(key)]:
        what = ", ".join(dict.fromkeys(f"{key.dataset} by {key.model.name}" for key in bundled))
        telling.note(f"the sweep itself first makes the embeddings of {what}, which takes some minutes at most")
    return sweep


def _ratios(estimate: Estimate, settings: Settings, resources: Resources) -> Mapping[str, float]:
    """How much longer than estimated each stage takes where the shards will run, as far as it is known.

    This machine is measured, once, where the estimate says that this is worth it. One that submits jobs is not the one
    that runs them: there counts what finished shards said.
    """
    calibration = Calibration(settings.calibration, resources.threads)
    if resources.kind != SLURM and estimate.seconds.sum() >= MIN_SECONDS:
        return calibration.measured(telling.note)
    try:
        return calibration.of_any() if resources.kind == SLURM else calibration.ratios() or {}
    except ValueError as error:
        telling.note(f"{calibration.path} is unreadable ({error}); the estimate is that of another machine")
        return {}


def _check_missing(request: Request, waiting: int, absent: Sequence[EntryKey], settings: Settings) -> None:
    """Say what cannot run as its embeddings are missing.

    Raises:
        MissingEmbeddingsError: something cannot, and neither a dry run nor ``sweep.allow_missing`` was asked for.
    """
    messages = [
        f"the classes of {counted(count, 'combination')} are those of embeddings that are missing: {reason}"
        for reason, count in request.missing.items()
    ]
    lines = []
    if absent:
        error = settings.cache.missing(absent)
        messages.append(f"embeddings of {counted(waiting, 'cell')} are missing: {error}")
        lines = error.commands
    if messages and not settings.sweep.dry_run and not settings.sweep.allow_missing:
        raise MissingEmbeddingsError("; ".join(messages), lines)
    for message in messages:
        telling.note(message)


def _write(sweep: Sweep, settings: Settings, hydra: Hydra) -> list[str]:
    """Write the plan of a sweep and what it is.

    Returns:
        The overrides that every shard is started with, the index of the shard excepted.

    Raises:
        SweepError: the files cannot be written.
    """
    work, resources, folder = sweep.work, sweep.resources, sweep.folder
    if hydra.folder is not None:
        try:
            hydra.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SweepError(f"hydra.sweep.dir={hydra.folder} cannot be made: {error.strerror or error}") from error
    sweep.cells.save(folder / PLAN, shard=sweep.shard)
    about = {
        "id": folder.name,
        "created": datetime.now(UTC).isoformat(),
        "since": sweep.since.isoformat() if sweep.since else None,
        "command": sys.argv[1:],
        "requested": work.plan.requested,
        "left_out": sweep.left_out,
        "distinct": work.asked,
        "to_run": len(sweep.cells),
        "shards": sweep.n_shards,
        "launcher": resources.kind,
        "workers": resources.workers,
        "threads": resources.threads,
        "estimated_seconds": sweep.seconds,
    }
    try:
        (folder / ABOUT).write_text(json.dumps(about, indent=1))
    except OSError as error:
        raise SweepError(f"{folder / ABOUT} cannot be written: {error.strerror or error}") from error
    return [
        *hydra.overrides,
        override("shard.plan", str(folder / PLAN)),
        override("paths.outputs", str(settings.outputs)),
        f"sweep.threads={resources.threads}",
    ]


def _through_slurm(sweep: Sweep, settings: Settings, hydra: Hydra, overrides: Sequence[str]) -> list[str] | None:
    """Write the batch script of a sweep, submit it and wait, as far as the settings ask for it.

    Returns:
        What went wrong in the shards; None if nobody waited for them.
    """
    script = sweep.folder / "sweep.sbatch"
    threads = sweep.resources.threads
    write_batch_script(
        script, hydra.launcher, shards=sweep.n_shards, overrides=overrides, threads=threads, logs=hydra.folder
    )
    if not settings.sweep.submit:
        telling.say(f"planned, not submitted. Submit it with:\n{submission_line(script)}")
        return None
    array = submit(script)
    array.save(sweep.folder)
    telling.say(f"submitted as SLURM job {array}; follow it with: {commands.status(settings.outputs)}")
    if not settings.sweep.wait:
        return None
    try:
        with watching(sweep.folder, len(sweep.cells)):
            states = wait_for(array, sweep.n_shards, lambda: finished_shards(sweep.folder))
            return array_failures(array, states, script)
    except KeyboardInterrupt:
        telling.note(f"SLURM job {array} goes on; cancel it with: {shlex.join(array.cancel_command)}")
        raise


def _on_this_machine(sweep: Sweep, settings: Settings, hydra: Hydra, overrides: Sequence[str]) -> list[str]:
    """Run the shards of a sweep through Hydra's launcher; says what went wrong in them."""
    jobs = [[*overrides, f"shard.index={index}"] for index in range(sweep.n_shards)]
    # Processes of their own would be killed with what they know, or outlive this one.
    first = {JOBLIB: workers_first, LOCAL: jobs_first}.get(sweep.resources.kind)
    gently = nullcontext() if first is None else ending_once(first(sweep.folder))
    folder = hydra.folder or sweep.folder
    marked = nullcontext() if first is None else launching()
    try:
        with watching(sweep.folder, len(sweep.cells)), marked, gently:
            return failures(lambda: hydra.launch(jobs, workers=sweep.resources.workers, folder=folder))
    except KeyboardInterrupt:
        telling.note(f"what was finished is in {settings.results}; the same command does the rest")
        raise


def _report(sweep: Sweep, settings: Settings, problems: Sequence[str], *, seconds: float) -> None:
    """Say what came out of a sweep.

    Raises:
        SweepFailedError: something went wrong.
    """
    rows = known_rows(sweep.cells, settings, since=sweep.since)
    failed, undone = int(rows.failed.sum()), int((~rows.done & ~rows.failed).sum())
    _show(sweep, settings)
    telling.say(
        f"{counted(len(sweep.cells) - undone, 'cell')} in {duration(seconds)}, start-up included; computing one by "
        f"one, sharing nothing: {duration(Progress.read(sweep.folder).alone_seconds)}. Results: {settings.results}"
    )
    reasons = []
    if failed:
        reasons = _reasons(sweep.cells[np.flatnonzero(rows.failed)], errors_of(settings.results, sweep.folder.name))
    if failed or undone:
        problems = [
            *problems,
            f"{counted(failed, 'cell')} failed and {undone:,} were not computed; run the same command again, or "
            f"see {commands.status(settings.outputs)}",
        ]
    if problems:
        raise SweepFailedError(problems, reasons)


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
    begun: list[Work] = []
    clock = time.monotonic()
    # One handling of signals around it all: the end is reported, too, before the process ends.
    reporter = Reporter(path.parent / f"progress-{index:04d}.json", len(mine))
    with ending_with_launcher(), ending_once(), reporter:

        def begin(work: Work) -> None:
            begun.append(work)
            reporter.begin(
                done=int((~work.todo[: work.asked]).sum()),
                failed=int((work.rows.failed & ~work.todo)[: work.asked].sum()),
                best=float(np.nan_to_num(work.rows.accuracy).max(initial=0.0)),
            )

        try:
            run_cells(mine, settings, since=since, sweep=about["id"], begin=begin, report=reporter.add, ledger=ledger)
        except BaseException:
            _write_ledger(path.parent, index, ledger.content())
            raise
        threads, wall = threads_of(settings), time.monotonic() - clock
        expected, took = observed(begun[0].estimate, ledger, wall, threads)
        about_time = {"wall_seconds": wall, "threads": threads, "expected": expected, "observed": took}
        _write_ledger(path.parent, index, {**ledger.content(), **about_time})
        with suppress(OSError):  # an estimate may stay what it is
            Calibration(settings.calibration, threads).learn(expected, took)


def _write_ledger(folder: Path, index: int, content: Mapping[str, Any]) -> None:
    """Say what a shard computed: a convenience, as progress is. A full disk must not hide what ended the shard."""
    with suppress(OSError):
        (folder / f"ledger-{index:04d}.json").write_text(json.dumps(content, indent=1))


def _reasons(failed: Plan, errors: Mapping[str, str]) -> list[str]:
    """Why cells failed: the most frequent reasons.

    Args:
        failed: the cells.
        errors: cell id -> what the sweep said of it.
    """
    reasons = Counter(errors[cell_id] for cell_id in failed.cell_id.astype(str).tolist() if cell_id in errors)
    return [f"failed ({counted(count, 'cell')}): {reason}" for reason, count in reasons.most_common(REASONS)]


def _show(sweep: Sweep, settings: Settings) -> None:
    """Tell the table of the swept axes against accuracy."""
    plan = sweep.work.plan[np.arange(sweep.work.asked)]
    table = accuracy_table(plan, known_rows(plan, settings, since=sweep.since).accuracy)
    if table:
        telling.say(table)
