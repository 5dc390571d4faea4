"""Plan, engine and store joined: what of a plan is to do, and the one path on which it is done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from imprint_sweep import engine, telling
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.errors import StageError
from imprint_sweep.grid.cell import METHOD_VERSION, Cell
from imprint_sweep.grid.outcome import FAILED, OK, Outcome
from imprint_sweep.imprinting.choosing_k import one_standard_error
from imprint_sweep.planning.choices import Choices, with_choosers
from imprint_sweep.planning.cost import Estimate, estimate
from imprint_sweep.planning.plan import Plan, Sources, look_up
from imprint_sweep.running.interruption import ending_once
from imprint_sweep.running.resources import available_cores
from imprint_sweep.store import LookUp, Provenance, ResultStore, Snapshot


@dataclass(frozen=True, eq=False)
class Work:
    """What of a plan is done and what is to do.

    Args:
        plan: its cells, and behind them the validation cells by which k of those to run is chosen.
        asked: how many of them are its own.
        sources: what the embedding cache holds for them.
        rows: what the results table holds for them.
        todo: (n,) bool, cells to run now.
        choices: which cells choose k for which.
    """

    plan: Plan
    asked: int
    sources: Sources
    rows: LookUp
    todo: NDArray[np.bool_]
    choices: Choices

    @cached_property
    def remaining(self) -> Plan:
        """The plan of the cells to run."""
        return self.plan[np.flatnonzero(self.todo)]

    @cached_property
    def estimate(self) -> Estimate:
        """What the cells to run take on the machine of the benchmarks."""
        return estimate(self.remaining, self.sources.headers)

    @cached_property
    def blocked(self) -> NDArray[np.bool_]:
        """(n,) bool, cells to run whose embeddings are missing."""
        missing: NDArray[np.bool_] = self.todo & (self.sources.fingerprint == b"")
        return missing

    def missing(self) -> list[EntryKey]:
        """The missing cache entries that cells to run would read."""
        absent = set(self.sources.missing)
        keys = dict.fromkeys(
            key for source in np.unique(self.plan.source[self.blocked]) for key in self.plan.entry_keys(int(source))
        )
        return [key for key in keys if key in absent]

    def cells(self, chosen: NDArray[np.bool_]) -> Iterator[Cell]:
        """Some of the cells.

        Args:
            chosen: (n,) bool.
        """
        return self.plan.cells(np.flatnonzero(chosen))

    def chosen_k(self, position: int, found: Mapping[str, Outcome]) -> int:
        """The k of a cell that validation cells choose.

        Args:
            position: of the cell.
            found: the outcomes of those of these cells that were to run, by their ids.

        Raises:
            StageError: one of them has no result, and why.
        """
        n_test = self.choices.n_test[position]
        if n_test == 0:
            return 1
        n_correct = {}
        for chooser, k in self.choices.of(position):
            cell_id = self.plan.cell_id[chooser].decode()
            outcome = found.get(cell_id)
            share = self.rows.accuracy[chooser] if outcome is None else outcome.accuracy
            if share is None or np.isnan(share):
                why = "before (sweep.retry_failed=true tries again)" if outcome is None else f"by {outcome.error}"
                raise StageError(f"k cannot be chosen: cell {cell_id}, k={k} eval.split=validation, failed {why}")
            n_correct[k] = round(float(share) * n_test)
        return one_standard_error(n_correct, n_test)

    def waiting_for(self, keys: Collection[EntryKey]) -> NDArray[np.bool_]:
        """(n,) bool, cells to run that would read one of some missing entries."""
        read = np.unique(self.plan.source[self.blocked]).tolist()
        waiting = [source for source in read if not set(keys).isdisjoint(self.plan.entry_keys(source))]
        found: NDArray[np.bool_] = self.todo & np.isin(self.plan.source, waiting)
        return found


def find_work(plan: Plan, settings: Settings, *, since: datetime | None = None) -> Work:
    """Compare a plan with the results table and the embedding cache.

    Args:
        plan: what is asked for.
        settings: where table and cache are, and whether failed cells are tried again.
        since: rows older than this do not count.
    """
    table = ResultStore(settings.results).snapshot(since=since)
    asked, sources = len(plan), look_up(plan, settings.cache)
    rows = _rows(table, plan, sources)
    plan, choices = with_choosers(plan, _todo(rows, settings), sources.headers)
    if len(plan) > asked:
        sources = look_up(plan, settings.cache)
        rows = _rows(table, plan, sources)
    return Work(plan, asked, sources, rows, _todo(rows, settings), choices)


def known_rows(plan: Plan, settings: Settings, *, since: datetime | None = None) -> LookUp:
    """What the results table holds for the cells of a plan; arguments as for :func:`find_work`."""
    return _rows(ResultStore(settings.results).snapshot(since=since), plan, look_up(plan, settings.cache))


def _rows(table: Snapshot, plan: Plan, sources: Sources) -> LookUp:
    return table.look_up(plan.cell_id, sources.fingerprint, method_version=METHOD_VERSION, versions=plan.versions)


def _todo(rows: LookUp, settings: Settings) -> NDArray[np.bool_]:
    return ~rows.done if settings.sweep.retry_failed else ~(rows.done | rows.failed)


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
        threads=threads_of(settings),
        memory_gb=settings.sweep.memory_gb,
        proxy_cache=settings.proxies,
    )
    with ending_once(), store.writer(provenance) as writer:
        for outcome in outcomes_of(work, settings.cache, how, ledger=ledger):
            writer.add(outcome)
            report(outcome)
            if before is not None:
                _report_conflicts(before, outcome)


def outcomes_of(
    work: Work, cache: EmbeddingCache, how: engine.EngineSettings, *, ledger: engine.Ledger | None = None
) -> Iterator[Outcome]:
    """Compute the cells that are to run: those that choose k for others first, and then these with it.

    Args:
        work: the cells.
        cache: where their embeddings are.
        how: threads and memory.
        ledger: told what was computed and how long it took.

    Yields:
        One outcome per cell.
    """
    first = np.zeros(len(work.plan), np.bool_)
    first[work.choices.chooser] = True
    found = {}
    for outcome in engine.run(work.cells(work.todo & first), cache, how, ledger=ledger):
        found[outcome.cell.cell_id] = outcome
        yield outcome
    last = work.todo & ~first
    computed, asked = [], {}
    for position in np.flatnonzero(last & np.isin(np.arange(len(last)), list(work.choices.n_test))).tolist():
        cell = work.plan.cell(position)
        last[position] = False
        try:
            computed.append(replace(cell, scheme=cell.scheme.having_k(work.chosen_k(position, found))))
        except StageError as error:
            fingerprint = work.sources.fingerprint[position].decode()
            yield Outcome(cell, cell.computation_id(), fingerprint, FAILED, error=f"StageError: {error}")
        else:
            asked[id(computed[-1])] = cell  # an outcome has the very cell that was computed, and others may equal it
    for outcome in engine.run(chain(work.cells(last), computed), cache, how, ledger=ledger):
        yield _by_choice(outcome, asked[id(outcome.cell)]) if id(outcome.cell) in asked else outcome


def _by_choice(outcome: Outcome, cell: Cell) -> Outcome:
    """What came of a cell whose k was chosen, from the outcome of the cell with this k."""
    k = outcome.cell.scheme.k
    assert k is not None
    return replace(outcome, cell=cell, k_chosen=(k,) * len(cell.task.labels) if outcome.status == OK else None)


def threads_of(settings: Settings) -> int:
    """The threads that cells are computed with."""
    return min(settings.sweep.threads or available_cores(), available_cores())


def _report_conflicts(before: Snapshot, outcome: Outcome) -> None:
    """Say loudly that a recomputed result differs from a row of the same identity."""
    for conflict in before.conflicts([outcome]):
        telling.warn(f"{conflict}. Another CPU type or another version of a package, or a bug. Both rows are kept.")
