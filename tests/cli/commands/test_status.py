"""The state of sweeps is read from the results table, whatever their processes say or no longer say."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from imprint_sweep.cli.commands.status import SILENT_SECONDS, main
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.grid.cell import Cell
from imprint_sweep.grid.outcome import FAILED, OK, Outcome
from imprint_sweep.planning.plan import Plan, look_up
from imprint_sweep.running.progress import Reporter
from imprint_sweep.running.slurm import LOGS, Array
from imprint_sweep.running.sweep import ABOUT, PLAN
from imprint_sweep.store import Provenance, ResultStore
from tests import data

DATASET = data.clean()
TASK = data.task(DATASET)
PROVENANCE = Provenance("0", None, "host")


@dataclass(frozen=True)
class Sweep:
    """A sweep of ten cells in two shards, of which nothing has run."""

    outputs: Path
    folder: Path
    plan: Plan

    def outcome(self, position: int, n_correct: int | None) -> Outcome:
        """What the engine would say of one of the cells."""
        cell = self.plan.cell(position)
        cache = Settings(self.outputs, self.outputs).cache
        fingerprint = look_up(Plan.of_cells([cell]), cache).fingerprint[0].decode()
        if n_correct is None:
            return Outcome(cell, "c", fingerprint, status=FAILED, error="StageError: no")
        return Outcome(cell, "c", fingerprint, status=OK, n_correct=n_correct, n_test=10)

    def add(self, *results: tuple[int, int | None]) -> None:
        """Put rows into the table."""
        with ResultStore(self.outputs / "results").writer(PROVENANCE) as writer:
            for position, n_correct in results:
                writer.add(self.outcome(position, n_correct))

    def report(
        self, shard: int, done: int, *, finished: bool = False, ago: float = 0.0, interrupted: bool = False
    ) -> None:
        """Let a shard say how far it is."""
        path = self.folder / f"progress-{shard:04d}.json"
        reporter = Reporter(path, 5)
        for position in range(done):
            reporter.add(self.outcome(position, 5))
        reporter.progress.finished, reporter.progress.interrupted = int(finished), int(interrupted)
        reporter.write()
        os.utime(path, (time.time() - ago, time.time() - ago))


def start(outputs: Path, name: str = "20260101-000000-abcd", *, ago: float = 100.0, force: bool = False) -> Sweep:
    """Plan a sweep as the main command does."""
    cells: list[Cell] = [data.cell(TASK, gen="fps", seed=seed) for seed in range(11)]
    plan = Plan.of_cells(cells)
    folder = outputs / "sweeps" / name
    created = datetime.now(UTC) - timedelta(seconds=ago)
    plan.save(folder / PLAN, shard=np.array([0] * 5 + [1] * 5 + [-1], np.int32))
    about = {
        "id": name,
        "created": created.isoformat(),
        "since": created.isoformat() if force else None,
        "command": ["-m", "gen=fps", "task.classes=[7,-5]"],
        "requested": 1440,
        "distinct": 21,
        "to_run": 10,
        "shards": 2,
        "launcher": "basic",
    }
    (folder / ABOUT).write_text(json.dumps(about))
    return Sweep(outputs, folder, plan)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Outputs with embeddings and no sweep."""
    data.write(EmbeddingCache(tmp_path / "embeddings"), DATASET)
    return tmp_path


def printed(outputs: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    main(["--outputs", str(outputs), *more])
    return capsys.readouterr().out.splitlines()


def test_a_sweep_that_runs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = start(outputs)
    sweep.add((0, 5), (1, 6), (7, None), (10, 5))
    sweep.report(0, 4, ago=0.0)
    head, command, counts = printed(outputs, capsys)
    assert head.startswith("20260101-000000-abcd  ")
    assert "  running, 0.0 cells/s, about " in head
    assert command == "  python -m imprint_sweep -m gen=fps 'task.classes=[7,-5]'"
    # The eleventh cell waited for embeddings and is none of the sweep's business.
    assert counts == "  requested 1,440, distinct 21, to run 10: 2 done, 1 failed, 7 left"
    about = json.loads((sweep.folder / ABOUT).read_text())  # of an older version: it did not say what was left out
    (sweep.folder / ABOUT).write_text(json.dumps({**about, "left_out": 60}))
    assert "requested 1,500, 60 left out, distinct 21, to run 10" in printed(outputs, capsys)[2]


def test_a_sweep_that_waits_in_a_queue(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(outputs)
    head, _, counts = printed(outputs, capsys)
    assert head.endswith("  not started")
    assert counts.endswith("0 done, 0 failed, 10 left")


@pytest.mark.parametrize("finished", [True, False])
def test_a_sweep_that_was_stopped(finished: bool, outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = start(outputs, ago=2 * SILENT_SECONDS + 100)
    sweep.add((0, 5))
    ago = 1.0 if finished else 2 * SILENT_SECONDS
    for shard in (0, 1):
        sweep.report(shard, 1, finished=finished, ago=ago)
    head = printed(outputs, capsys)[0]
    assert "  stopped, " in head
    assert head.endswith(", last heard of 60 s ago") is not finished


def test_a_sweep_in_its_first_stage_runs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(outputs).report(0, 0)
    assert printed(outputs, capsys)[0].endswith("  running")


def test_an_interrupted_sweep_is_stopped_at_once_though_other_shards_never_started(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(outputs).report(0, 1, finished=True, interrupted=True)
    assert "  stopped, " in printed(outputs, capsys)[0]


def test_a_sweep_between_two_shards_runs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(outputs).report(0, 1, finished=True, ago=1.0)
    assert "  running, " in printed(outputs, capsys)[0]


def test_one_shard_that_lives_is_a_sweep_that_runs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = start(outputs, ago=2 * SILENT_SECONDS + 100)
    sweep.report(0, 1, ago=2 * SILENT_SECONDS)
    sweep.report(1, 1)
    assert "  running, " in printed(outputs, capsys)[0]


def test_a_shard_that_is_silent_for_half_a_minute_was_killed(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = start(outputs)
    for shard in (0, 1):
        sweep.report(shard, 1, ago=31.0)
    head = printed(outputs, capsys)[0]
    assert "  stopped, " in head
    assert head.endswith("last heard of 31 s ago")


def test_the_next_shard_waits_in_the_queue(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = through_slurm(outputs)
    sweep.report(0, 1, finished=True, ago=10 * SILENT_SECONDS)
    assert "  waiting, " in printed(outputs, capsys)[0]


def through_slurm(outputs: Path) -> Sweep:
    """A sweep whose shards SLURM runs."""
    sweep = start(outputs)
    about = json.loads((sweep.folder / ABOUT).read_text())
    (sweep.folder / ABOUT).write_text(json.dumps({**about, "launcher": "submitit_slurm"}))
    return sweep


def test_shards_that_died_before_they_began(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = through_slurm(outputs)
    (sweep.folder / LOGS).mkdir()
    for index, name in enumerate(["417_0_0_log.err", "417_1_0_log.err"]):
        (sweep.folder / LOGS / name).write_text("srun: fatal: no memory\n")
        head, *_, reason = printed(outputs, capsys)
        assert head.endswith("  not started" if index == 0 else "  stopped")
        log = sweep.folder / LOGS / "417_0_0_log.err"
        dead = "2 shards" if index else "1 shard"
        assert reason == f"  {dead} ended before computing anything: srun: fatal: no memory; a log is {log}"
    sweep.report(0, 1)
    head, *_, reason = printed(outputs, capsys)
    assert "  running, " in head
    assert reason.startswith("  1 shard ended before computing anything: ")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("echo 0 PENDING; echo 1 PENDING", "waiting"),
        ("echo 0 RUNNING; echo 1 PENDING", "running"),
        ("echo 0 CANCELLED; echo 1 CANCELLED", "stopped"),
        ("echo 'Invalid job id specified' >&2; exit 1", "not started"),
        ("exit 1", "not started"),
    ],
)
def test_slurm_is_asked_for_the_shards(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str, state: str
) -> None:
    sweep = through_slurm(outputs)
    (outputs / "squeue").write_text(f"#!/bin/sh\n{answer}\n")
    (outputs / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(outputs))
    assert printed(outputs, capsys)[0].endswith("  not started"), "submitted by hand, if at all"
    Array("417").save(sweep.folder)
    assert printed(outputs, capsys)[0].endswith(f"  {state}")


def test_shards_that_died_before_python_are_told_of_when_slurm_forgot_them(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``exit 3`` in hydra.launcher.setup, say: no program of SLURM says anything in the log."""
    sweep = through_slurm(outputs)
    Array("417").save(sweep.folder)
    (sweep.folder / "slurm").mkdir()
    for index in range(2):
        (sweep.folder / "slurm" / f"417_{index}_0_log.err").write_text("module: not found\n")
    (outputs / "squeue").write_text("#!/bin/sh\necho 'Invalid job id specified' >&2; exit 1\n")
    (outputs / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(outputs))
    head, *_, reason = printed(outputs, capsys)
    assert head.endswith("  stopped")
    assert reason.startswith("  2 shards ended before computing anything: module: not found; a log is ")


def test_what_another_sweep_computed_is_done(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = start(outputs)
    sweep.add(*((position, 5) for position in range(10)))
    head, _, counts = printed(outputs, capsys)
    assert head.endswith("  complete")
    assert counts.endswith("10 done, 0 failed, 0 left")


def test_rows_older_than_a_forced_sweep_do_not_count(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(outputs, "0").add((0, 5), (1, 5))
    sweep = start(outputs, "1", ago=0.0, force=True)
    sweep.add((1, 5))
    assert printed(outputs, capsys)[2].endswith("to run 10: 1 done, 0 failed, 9 left")


def test_rows_of_other_embeddings_do_not_count(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = start(outputs)
    sweep.add((0, 5))
    other = data.Dataset(DATASET.name, DATASET.train, data.Split(DATASET.test.features + 1, DATASET.test.labels))
    data.write(EmbeddingCache(outputs / "embeddings"), other)
    assert printed(outputs, capsys)[2].endswith("to run 10: 0 done, 0 failed, 10 left")


def test_the_newest_sweeps_come_first(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        start(outputs, f"20260101-0000{number:02d}-abcd")
    (outputs / "sweeps" / "2026-01-01_00-00-00").mkdir()  # one of Hydra's own
    lines = printed(outputs, capsys)
    names = [line.split()[0] for line in lines if not line.startswith((" ", "and"))]
    assert names == [f"20260101-0000{number:02d}-abcd" for number in range(11, 1, -1)]
    assert lines[-1] == "and 2 older; --all shows them"
    assert len(printed(outputs, capsys, "--all")) == 12 * 3


@pytest.mark.parametrize("damage", [ABOUT, PLAN, "half"])
def test_a_damaged_sweep_does_not_hide_the_others(
    damage: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(outputs, "20260101-000000-good")
    sweep = start(outputs, "20260102-000000-damaged")
    if damage == "half":
        (sweep.folder / ABOUT).write_text('{"created": "2026-01-01T00:00:00+00:00", "since": null}')
    else:
        (sweep.folder / damage).write_bytes(b"{")
    first, second, *_ = printed(outputs, capsys)
    assert first.startswith("20260102-000000-damaged  unreadable: ")
    assert second.startswith("20260101-000000-good  ")


def test_there_is_no_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(tmp_path, capsys) == [f"there are no sweeps in {tmp_path / 'sweeps'}"]


def test_nothing_is_written(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(outputs).add((0, 5))
    before = {path: path.stat().st_mtime_ns for path in outputs.rglob("*")}
    printed(outputs, capsys)
    assert {path: path.stat().st_mtime_ns for path in outputs.rglob("*")} == before
