"""How far sweeps are: what is done, failed and left of each, from the results table; SLURM is asked what it still runs.

Safe while they run.
"""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.errors import SweepError
from imprint_sweep.invocation import MAIN, command, outputs_folder, shell_line
from imprint_sweep.planning.plan import Plan, look_up
from imprint_sweep.running.launch import SLURM
from imprint_sweep.running.progress import Progress, reports, shard_of
from imprint_sweep.running.slurm import UNDER_WAY, Array, deaths, task_states
from imprint_sweep.running.summary import requested_in_words
from imprint_sweep.running.sweep import ABOUT, PLAN
from imprint_sweep.store import ResultStore, Snapshot
from imprint_sweep.wording import counted, duration

SHOWN = 10
SILENT_SECONDS = 30.0
"""A shard reports every few seconds, however long its stages take (progress.BEAT_SECONDS). One that has been silent for
several times as long was killed; the margin is for a busy machine and for a file system that shows files late."""

SQUEUE_SECONDS = 10.0
"""Bound of a question to SLURM."""


@dataclass(frozen=True)
class Status:
    """The state of one sweep.

    Args:
        about: what it was started as.
        to_run: cells that were new when it started.
        done: of these, cells with a good row.
        failed: cells with failed rows only.
        progress: what its shards say of themselves.
        reported: shards that ever did.
        under_way: shards that did lately and have not come to their end.
        silent_seconds: since a shard last reported; None if none ever did.
        elapsed_seconds: from its start to the last report.
        queue: what SLURM says of its shards: index -> state; nothing where it says nothing.
        deaths: shards that ended without a report: index -> reason and log.
    """

    about: dict[str, Any]
    to_run: int
    done: int
    failed: int
    progress: Progress
    reported: int
    under_way: int
    silent_seconds: float | None
    elapsed_seconds: float
    queue: Mapping[int, str]
    deaths: Mapping[int, tuple[str, Path]]

    @property
    def left(self) -> int:
        """Cells without any row."""
        return self.to_run - self.done - self.failed

    @property
    def state(self) -> str:
        """In one or two words."""
        if self.left == 0:
            return "complete"
        if self.under_way or "RUNNING" in self.queue.values():
            return "running"
        if self.queue:
            return "stopped" if UNDER_WAY.isdisjoint(self.queue.values()) else "waiting"
        if self.progress.finished + len(self.deaths) >= self.about["shards"]:
            return "stopped"
        if self.silent_seconds is None:
            return "not started"
        if self.progress.interrupted:
            return "stopped"
        if self.about.get("launcher") == SLURM and self.reported < self.about["shards"]:
            return "waiting"  # in SLURM's queue
        # Between the end of one shard and the start of the next nobody reports.
        return "stopped" if self.silent_seconds > SILENT_SECONDS else "running"

    def lines(self) -> list[str]:
        """For the terminal."""
        created = datetime.fromisoformat(self.about["created"]).astimezone()
        head = f"{self.about['id']}  {created:%Y-%m-%d %H:%M}  {self.state}"
        if rate := self.progress.rate(self.elapsed_seconds):
            head += f", {rate:.1f} cells/s"
            if self.state == "running":
                head += f", about {duration(self.left / rate)} left"
        if self.state == "stopped" and self.silent_seconds is not None:
            head += f", last heard of {duration(self.silent_seconds)} ago"
        reasons: dict[str, list[Path]] = {}
        for reason, log in self.deaths.values():
            reasons.setdefault(reason, []).append(log)
        return [
            head,
            f"  {shell_line(MAIN, self.about['command'])}",
            f"  {requested_in_words(self.about['requested'], self.about.get('left_out', 0))}, "
            f"distinct {self.about['distinct']:,}, to run {self.to_run:,}: "
            f"{self.done:,} done, {self.failed:,} failed, {self.left:,} left",
            *(
                f"  {counted(len(logs), 'shard')} ended before computing anything: {reason}; a log is {logs[0]}"
                for reason, logs in reasons.items()
            ),
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(prog=command("status"), description=__doc__)
    parser.add_argument("--all", action="store_true", help=f"all sweeps, not only the newest {SHOWN}")
    parser.add_argument("--outputs", metavar="DIR", help="the paths.outputs of the runs (default: theirs)")
    given = parse_options(parser, arguments)
    with user_errors():
        outputs = outputs_folder(given.outputs)
        folders = sweeps(outputs / "sweeps")
        if not folders:
            print(f"there are no sweeps in {outputs / 'sweeps'}")
            return
        rows = ResultStore(outputs / "results").snapshot()
        cache = EmbeddingCache(outputs / "embeddings")
        shown = folders if given.all else folders[:SHOWN]
        for folder in shown:
            try:
                lines = status(folder, rows, cache).lines()
            except SweepError as error:
                lines = [f"{folder.name}  unreadable: {error}"]
            print("\n".join(lines), flush=True)
        if len(folders) > len(shown):
            print(f"and {len(folders) - len(shown):,} older; --all shows them")


def sweeps(folder: Path) -> list[Path]:
    """The folders of sweeps, newest first: their names begin with the time."""
    return sorted((path.parent for path in folder.glob(f"*/{ABOUT}")), key=lambda path: path.name, reverse=True)


def status(folder: Path, rows: Snapshot, cache: EmbeddingCache) -> Status:
    """Compare a sweep's plan with the results table.

    Raises:
        SweepError: its files cannot be read.
    """
    try:
        about = json.loads((folder / ABOUT).read_text())
        created = datetime.fromisoformat(about["created"])
        since = datetime.fromisoformat(about["since"]) if about["since"] else None
        assert {"id", "command", "requested", "distinct", "shards"} <= about.keys()
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise SweepError(f"{folder / ABOUT} does not describe a sweep ({type(error).__name__}: {error})") from error
    plan, columns = Plan.load(folder / PLAN)
    plan = plan[np.flatnonzero(columns["shard"] >= 0)]
    found = rows.look_up(plan.cell_id, look_up(plan, cache).fingerprint, versions=plan.versions)
    counts = np.ones(len(plan), np.bool_)
    if since is not None:
        counts = found.finished_at >= np.datetime64(since.replace(tzinfo=None), "us")
    now, heard, progress, under_way, started = time.time(), [], Progress(), 0, set()
    for path in reports(folder):
        try:
            heard.append(path.stat().st_mtime)
        except OSError:
            continue  # it is being replaced
        started.add(shard_of(path))
        shard = Progress.load(path)
        progress += shard
        under_way += not shard.finished and now - heard[-1] <= SILENT_SECONDS
    last = max(heard, default=None)
    done, failed = int((found.done & counts).sum()), int((found.failed & counts).sum())
    queue = _queue(folder) if done + failed < len(plan) else None
    return Status(
        about=about,
        to_run=len(plan),
        done=done,
        failed=failed,
        progress=progress,
        reported=len(heard),
        under_way=under_way,
        silent_seconds=None if last is None else max(0.0, now - last),
        elapsed_seconds=0.0 if last is None else last - created.timestamp(),
        queue=queue or {},
        deaths={index: death for index, death in deaths(folder, queue).items() if index not in started},
    )


def _queue(folder: Path) -> dict[int, str] | None:
    """What SLURM says of the shards of a sweep; None if it was not given the sweep, or does not answer."""
    array = Array.load(folder)
    if array is not None:
        with suppress(SweepError):
            return task_states(array, seconds=SQUEUE_SECONDS)
    return None


if __name__ == "__main__":
    main()
