"""What goes wrong while people sweep, done to the real command line: nothing is lost, and the same line mends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from imprint_sweep.cli.app import INTERRUPTED, USER_ERROR
from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey, Split
from imprint_sweep.engine import EngineSettings
from imprint_sweep.engine import run as compute
from imprint_sweep.grid.cell import Cell, Model, Task
from imprint_sweep.grid.outcome import FAILED, OK
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.invocation import override
from imprint_sweep.running.processes import Process
from imprint_sweep.running.progress import Progress
from imprint_sweep.running.sweep import PLAN
from imprint_sweep.store import Provenance, ResultStore, compact, load_results
from tests import data
from tests.outputs import LARGE, ROOT, SLOW, SMALL, TOY, Outputs, await_, ended, under_way

pytestmark = pytest.mark.slow

SMALL_CELL = (*TOY, "task.name=small", "gen=mean")
SMALL_CELLS = 12
"""Distinct cells of :data:`SMALL`."""
LONG_CELLS = 2000
LONG = (*SLOW, f"seed=range(0,{LONG_CELLS})")
"""Minutes, on any machine."""
SOON = 5.0
"""Seconds within which an interrupted command ends."""


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """Fresh outputs with the embeddings and no results."""
    return Outputs.create(tmp_path)


@pytest.fixture(scope="module")
def small_sweep(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """Outputs in which the small sweep has run. Not to be changed."""
    outputs = Outputs.create(tmp_path_factory.mktemp("finished"))
    outputs.run(*SMALL)
    return outputs


@pytest.fixture
def finished(small_sweep: Outputs, tmp_path: Path) -> Outputs:
    """A copy of :func:`small_sweep`."""
    return Outputs(Path(shutil.copytree(small_sweep.root, tmp_path / "my outputs")))


def parts(outputs: Outputs) -> list[Path]:
    """The files of the results table."""
    return ResultStore(outputs.root / "results").parts()


def entry(outputs: Outputs, dataset: str = "small", split: Split = "train") -> Path:
    """The file of an entry of the embedding cache."""
    return EmbeddingCache(outputs.root / "embeddings").path(EntryKey(Model("toy", "imported"), dataset, split))


def assert_complete(outputs: Outputs, cells: int, before: pd.DataFrame) -> None:
    """Every cell has one row, and those that had one have the same."""
    after = outputs.history()
    assert len(after) == after["cell_id"].nunique() == cells
    assert (after["status"] == OK).all()
    kept = after.set_index("cell_id").loc[before["cell_id"], "finished_at"]
    assert kept.tolist() == before["finished_at"].tolist()


def status(outputs: Outputs) -> str:
    """The state of the newest sweep."""
    script = [sys.executable, str(ROOT / "scripts" / "status.py"), "--outputs", str(outputs.root)]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The processes of joblib that compute for a command."""
    of = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            of[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
            words = (status.parent / "cmdline").read_text()
        except OSError:  # it has ended
            continue
        if "popen_loky" not in words:
            of.pop(int(status.parent.name))
    return [child for child, parent in of.items() if parent == process.pid]


def processes_of(outputs: Outputs) -> list[int]:
    """The processes whose command line names the outputs: of commands, and of the jobs of submitit."""
    found = []
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if str(outputs.root) in words.read_text():
                found.append(int(words.parent.name))
    return found


# --- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_the_same_line_computes_what_a_killed_sweep_lacks(outputs: Outputs, launcher: str) -> None:
    arguments = (*LONG, f"hydra/launcher={launcher}")
    process = outputs.start(*arguments)
    await_(lambda: bool(parts(outputs)), "rows in the table while the sweep runs")
    assert process.poll() is None
    if launcher == "basic":
        process.kill()
        ended(process, code=-signal.SIGKILL)
    else:
        os.kill(workers(process)[0], signal.SIGKILL)
        _, err = ended(process, code=1)
        assert "error: a shard ended without a word" in err
        assert "were not computed; run the same command again" in err
        assert "Traceback" not in err
    before = outputs.history()
    out, _ = outputs.run(*arguments, "sweep.dry_run=true")
    assert f"{len(before):,} done, {LONG_CELLS - len(before):,} to run" in out
    # Nobody waits for all of them: some that are there, and some that are not.
    done = set(before["seed"])
    some = [*list(done)[:5], *[seed for seed in range(LONG_CELLS) if seed not in done][:5]]
    out, _ = outputs.run(*arguments, f"seed={','.join(map(str, some))}")
    assert f"{len(some) - 5} done, 5 to run" in out
    assert_complete(outputs, len(before) + 5, before)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_workers_end_when_the_command_that_started_them_was_killed(outputs: Outputs, launcher: str) -> None:
    """They write first what they know."""
    command = outputs.start(*LONG, f"hydra/launcher={launcher}")
    await_(lambda: (outputs.root / "sweeps").exists() and under_way(outputs.sweep(), 0), "cells under way")
    parent = Process.find(command.pid)
    assert parent is not None
    others = parent.descendants()
    assert len(others) > 1
    command.kill()
    start = time.monotonic()
    await_(lambda: not any(process.lives for process in others), "no process lives on")
    assert time.monotonic() - start < 2 * SOON
    ended(command, code=-signal.SIGKILL)
    known = Progress.read(outputs.sweep()).done
    assert len(outputs.history()) == known
    assert 0 < known < LONG_CELLS
    assert "  stopped, " in status(outputs)


# Ctrl-C reaches every process of the terminal, `kill -INT` one.
@pytest.mark.parametrize(
    ("launcher", "everyone"), [("basic", True), ("joblib", True), ("joblib", False), ("submitit_local", False)]
)
def test_an_interrupted_sweep_keeps_everything_finished_so_far(outputs: Outputs, launcher: str, everyone: bool) -> None:
    process = outputs.start(*LONG, f"hydra/launcher={launcher}")
    await_(lambda: (outputs.root / "sweeps").exists() and under_way(outputs.sweep(), 0), "cells under way")
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT) if everyone else process.send_signal(signal.SIGINT)
    _, err = ended(process, code=INTERRUPTED)
    assert time.monotonic() - start < SOON
    assert err.endswith("the same command does the rest\ninterrupted\n")
    assert "Traceback" not in err
    known = Progress.read(outputs.sweep()).done
    assert len(outputs.history()) == known
    assert 0 < known < LONG_CELLS
    await_(lambda: not processes_of(outputs), "nothing computes on")
    assert "  stopped, " in status(outputs)


def test_a_shard_that_runs_again_goes_on_counting(outputs: Outputs) -> None:
    process = outputs.start(*LARGE)
    await_(lambda: (outputs.root / "sweeps").exists() and under_way(outputs.sweep(), 0), "cells under way")
    process.send_signal(signal.SIGINT)
    ended(process, code=INTERRUPTED)
    first = Progress.read(outputs.sweep())
    # As SLURM does with a task that it requeues.
    ended(outputs.command(override("shard.plan", str(outputs.sweep() / PLAN)), "shard.index=0"))
    last = Progress.read(outputs.sweep())
    assert (last.done, last.failed, last.before, last.finished, last.interrupted) == (last.total, 0, 0, 1, 0)
    rows = outputs.history()
    assert len(rows) == last.total > first.done > 0
    assert last.alone_seconds == pytest.approx(rows["gen_seconds"].sum() + rows["eval_seconds"].sum())


def test_an_interrupted_cell_ends_amid_a_long_stage(outputs: Outputs) -> None:
    process = outputs.command(*TOY, "task.name=large", "gen=kmeans", "k=900")
    await_(lambda: (outputs.root / "results").exists(), "the beginning of the computation")
    time.sleep(1)  # the clusterings of all labels take several
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = ended(process, code=INTERRUPTED)
    assert time.monotonic() - start < SOON
    assert err == "interrupted\n"
    assert parts(outputs) == []


# --- at once ---------------------------------------------------------------------------------------------------------


def test_two_sweeps_over_one_grid_at_once_agree(outputs: Outputs, small_sweep: Outputs) -> None:
    for process in [outputs.start(*SMALL), outputs.start(*SMALL)]:
        ended(process)
    assert outputs.n_correct() == small_sweep.n_correct()
    assert outputs.history().groupby("cell_id")["n_correct"].nunique().eq(1).all()


# --- damaged ---------------------------------------------------------------------------------------------------------


def test_a_truncated_part_is_named_and_left_and_its_cells_computed_again(
    finished: Outputs, small_sweep: Outputs
) -> None:
    (part,) = parts(finished)
    os.truncate(part, part.stat().st_size // 2)
    out, err = finished.run(*SMALL)
    assert f"0 done, {SMALL_CELLS} to run" in out
    assert err.count(f"warning: {part} is damaged and was passed over") == 1
    assert part in parts(finished)
    assert f"compact.py --results '{finished.root / 'results'}' --repair" in err
    compact(finished.root / "results", repair=True)
    assert finished.n_correct() == small_sweep.n_correct()
    assert part not in parts(finished)


@dataclass(frozen=True)
class Disk:
    """A disk with hardly any space left.

    Args:
        before: words before a command that sees the disk so.
        filler: a file that takes the space, if there is one.
    """

    before: tuple[str, ...] = ()
    filler: Path | None = None

    def make_room(self) -> None:
        """Have space again."""
        if self.filler is not None:
            self.filler.unlink()


@contextmanager
def full_disk(outputs: Outputs, *, mounted: bool) -> Iterator[Disk]:
    """Let the results be on a disk that takes a probe of 4 KB, but no part."""
    if not mounted:
        # 16 blocks of 512 bytes: no file can be longer.
        yield Disk(before=("sh", "-c", 'ulimit -f 16 && exec "$@"', "sh"))
        return
    results = outputs.root / "results"
    earlier = {path.name: path.read_bytes() for path in parts(outputs)}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(results)], check=True)
    try:
        for name, content in earlier.items():
            (results / name).write_bytes(content)
        free = os.statvfs(results)
        filler = results / "_filler"
        filler.write_bytes(bytes(free.f_bavail * free.f_bsize - 8192))
        yield Disk(filler=filler)
    finally:
        subprocess.run(["umount", "--lazy", str(results)], check=True)


def can_mount() -> bool:
    """Whether this user may mount a file system (root in a container may not)."""
    return (
        os.geteuid() == 0
        and not subprocess.run(
            ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
        ).returncode
    )


def test_a_full_disk_is_an_error_and_with_space_the_same_line_completes(finished: Outputs) -> None:
    more = (*SMALL[:-1], "seed=0,1,2")
    with full_disk(finished, mounted=can_mount()) as disk:
        before, names = finished.history(), parts(finished)
        _, err = ended(finished.command("-m", *TOY, *more, before=disk.before), code=1)
        assert "error: shard 0: StoreError: " in err
        assert f"rows were not written to {finished.root / 'results'}: " in err
        assert "Traceback" not in err
        assert parts(finished) == names
        assert not list((finished.root / "results").glob(".*.tmp"))
        pd.testing.assert_frame_equal(finished.history(), before)
        disk.make_room()
        finished.run(*more)
        assert_complete(finished, finished.history()["cell_id"].nunique(), before)
        assert len(finished.history()) > len(before)


@pytest.mark.parametrize("arguments", [SMALL_CELL, ("-m", *TOY, *LONG)], ids=["cell", "sweep"])
def test_results_that_cannot_be_written_are_found_before_computing(
    outputs: Outputs, arguments: tuple[str, ...]
) -> None:
    # Root may write everywhere, but not below a file.
    (outputs.root / "results").write_text("")
    out, err = ended(outputs.command(*arguments), code=USER_ERROR)
    assert out == ""
    assert err.startswith(f"error: results cannot be written to {outputs.root / 'results'}: ")
    assert "paths.outputs=<folder>" in err
    assert len(err.splitlines()) == 1
    assert not (outputs.root / "cache").exists()


# --- embeddings ------------------------------------------------------------------------------------------------------


def test_replaced_embeddings_are_computed_anew_and_never_mixed(finished: Outputs) -> None:
    before = finished.history()
    other = data.blobs("small", train_sizes=dict.fromkeys(range(4), 60), seed=9)
    cache = EmbeddingCache(finished.root / "embeddings")
    for split, samples in zip(SPLITS, (other.train, other.test), strict=True):
        key = EntryKey(Model("toy", "imported"), "small", split)
        cache.write(key, samples.features, samples.labels, metadata={"source": "another"})
    out, _ = finished.run(*SMALL, "sweep.dry_run=true")
    assert f"0 done, {SMALL_CELLS} to run" in out
    assert f"{SMALL_CELLS} cells with results from other embeddings" in out
    finished.run(*SMALL)
    history = finished.history()
    assert len(history) == 2 * SMALL_CELLS
    assert history.groupby("fingerprint").size().tolist() == [SMALL_CELLS, SMALL_CELLS]
    old = history[history["fingerprint"].isin(before["fingerprint"])]
    pd.testing.assert_frame_equal(old.reset_index(drop=True), before)
    newest = load_results(finished.root / "results")
    assert len(newest) == SMALL_CELLS
    assert not newest["fingerprint"].isin(before["fingerprint"]).any()


def tamper(path: Path) -> None:
    """Flip one bit of the last byte."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("damage", ["missing", "truncated", "tampered"])
def test_damaged_embeddings_are_named_with_the_mend(outputs: Outputs, damage: str) -> None:
    path = entry(outputs)
    match damage:
        case "missing":
            path.unlink()
        case "truncated":
            os.truncate(path, path.stat().st_size - 100)
        case "tampered":
            tamper(path)
    mend = (
        f"scripts/import_embeddings.py --model toy --dataset small --train FILE --test FILE --outputs '{outputs.root}'"
    )
    # Labels are given: otherwise they are those of the embeddings, and nobody can say what the task is.
    labels = "task.labels=[0,1,2,3]"
    _, cell = ended(outputs.command(*SMALL_CELL, labels), code=USER_ERROR)
    assert len(cell.splitlines()) == 1
    assert ("toy (imported) on small train" if damage == "missing" else str(path)) in cell
    assert mend in cell
    assert parts(outputs) == []
    # A flipped bit shows only when the entry is read: where the headers are whole, a sweep finds out cell by cell.
    _, sweep = outputs.run(*SMALL, labels, code=1 if damage == "tampered" else USER_ERROR)
    assert "Traceback" not in sweep
    assert mend in sweep
    rows = outputs.history()
    assert len(rows) == (SMALL_CELLS if damage == "tampered" else 0)
    if damage == "tampered":
        assert (rows["status"] == FAILED).all()
        assert f"failed ({SMALL_CELLS} cells): InvalidEmbeddingsError: {path}" in sweep


# --- failed cells ----------------------------------------------------------------------------------------------------


def test_failed_cells_are_rows_and_are_tried_again_or_not(outputs: Outputs) -> None:
    arguments = ("task.name=small", "gen=kmedoids,mean,all", "k=2")
    # Too little for a matrix of distances.
    _, err = outputs.run(*arguments, "sweep.memory_gb=1e-6", code=1)
    rows = outputs.history().set_index("gen")
    assert rows["status"].to_dict() == {"kmedoids": FAILED, "mean": OK, "all": OK}
    assert f"failed (1 cell): {rows['error'].to_dict()['kmedoids']}" in err
    assert "error: 1 cell failed and 0 were not computed" in err
    assert "Traceback" not in err

    out, _ = outputs.run(*arguments, "sweep.memory_gb=1e-6", "sweep.retry_failed=false")
    assert "2 done, 0 to run" in out
    assert "1 failed before and are not tried again (sweep.retry_failed=false)" in out
    assert len(outputs.history()) == 3

    out, _ = outputs.run(*arguments)
    assert "2 done, 1 to run" in out
    assert outputs.n_correct().keys() == set(rows["cell_id"])
    assert len(outputs.history()) == 4


def test_a_class_that_the_embeddings_lack_fails_its_task_alone(outputs: Outputs) -> None:
    arguments = ("task.name=small", "gen=mean", "task.labels=[0,1],[0,9]")
    outputs.run(*arguments, code=1)
    rows = outputs.history()
    assert sorted(rows["status"]) == [FAILED, OK]
    (error,) = rows.loc[rows["status"] == FAILED, "error"]
    assert "no train sample of class 9" in error
    # Known as failed, not as unknown: its row has the fingerprint of the embeddings that are there.
    assert rows["fingerprint"].nunique() == 1
    out, _ = outputs.run(*arguments, "sweep.retry_failed=false")
    assert "1 done, 0 to run" in out


# --- force -----------------------------------------------------------------------------------------------------------


def test_force_computes_again_and_tells_of_another_result_loudly(finished: Outputs) -> None:
    _, err = finished.run(*SMALL, "force=true")
    assert "n_correct is" not in err
    history = finished.history()
    assert len(history) == 2 * SMALL_CELLS
    assert history.groupby("cell_id")["n_correct"].nunique().eq(1).all()

    task = Task("small", "all", tuple((("small", number),) for number in range(4)))
    cell = Cell(Model("toy", "imported"), task, Scheme.create(gen="mean", norm_pre="l2", norm_post="l2", norm_inf="l2"))
    (outcome,) = compute([cell], EmbeddingCache(finished.root / "embeddings"), EngineSettings())
    assert finished.n_correct()[cell.cell_id] == outcome.n_correct
    with ResultStore(finished.root / "results").writer(Provenance.here()) as writer:
        writer.add(replace(outcome, n_correct=0))
    out, err = ended(finished.command(*SMALL_CELL, "force=true"))
    assert f"({outcome.n_correct} of " in out
    assert f"warning: cell {cell.cell_id}: n_correct is {outcome.n_correct}, the row of " in err
    assert len(finished.history()) == 2 * SMALL_CELLS + 2


# --- elsewhere -------------------------------------------------------------------------------------------------------


def test_a_sweep_from_another_folder_into_one_with_an_awkward_name(small_sweep: Outputs, tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / """it's "my", {odd} $folder=[1]""")
    shutil.copytree(small_sweep.root / "embeddings", outputs.root / "embeddings")
    words = [sys.executable, "-m", "imprint_sweep", "-m", *TOY, *SMALL, override("paths.outputs", str(outputs.root))]
    process = subprocess.Popen(
        [*words, "hydra/launcher=joblib"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    ended(process)
    assert outputs.n_correct() == small_sweep.n_correct()
    assert [path.name for path in tmp_path.iterdir()] == [outputs.root.name]
