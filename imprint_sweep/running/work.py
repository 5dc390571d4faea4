"""Plan, engine and store joined: what of a plan is to do, and the one path on which it is done."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imprint_sweep import engine, telling
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EntryKey
from imprint_sweep.grid.cell import METHOD_VERSION
from imprint_sweep.grid.outcome import Outcome
from imprint_sweep.planning.cost import Estimate, estimate
from imprint_sweep.planning.plan import Plan, Sources, look_up
from imprint_sweep.running.interruption import ending_once
from imprint_sweep.running.resources import available_cores
from imprint_sweep.store import LookUp, Provenance, ResultStore, Snapshot


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
    sources = look_up(plan, settings.cache)
    rows = ResultStore(settings.results).look_up(
        plan.cell_id, sources.fingerprint, method_version=METHOD_VERSION, versions=plan.versions, since=since
    )
    todo = ~rows.done if settings.sweep.retry_failed else ~(rows.done | rows.failed)
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
        threads=threads_of(settings),
        memory_gb=settings.sweep.memory_gb,
        proxy_cache=settings.proxies,
    )
    cells = work.remaining.cells(np.arange(len(work.remaining)))
    with ending_once(), store.writer(provenance) as writer:
        for outcome in engine.run(cells, settings.cache, how, ledger=ledger):
            writer.add(outcome)
            report(outcome)
            if before is not None:
                _report_conflicts(before, outcome)


def threads_of(settings: Settings) -> int:
    """The threads that cells are computed with."""
    return min(settings.sweep.threads or available_cores(), available_cores())


def _report_conflicts(before: Snapshot, outcome: Outcome) -> None:
    """Say loudly that a recomputed result differs from a row of the same identity."""
    for conflict in before.conflicts([outcome]):
        telling.warn(f"{conflict}. Another CPU type or another version of a package, or a bug. Both rows are kept.")
