"""What one command does from its plan to its last line, in this process: the launcher is a loop over the shards."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.utils import JobReturn, JobStatus

from imprint_sweep.config.schemas import SweepConfig
from imprint_sweep.config.settings import Settings
from imprint_sweep.errors import CellFailedError, MissingEmbeddingsError, StoreError, SweepFailedError
from imprint_sweep.grid.cell import Cell, Model
from imprint_sweep.planning.request import Request
from imprint_sweep.running.sweep import run_shard, run_single, run_sweep
from imprint_sweep.running.work import Work, find_work
from imprint_sweep.store import ResultStore, compact, load_results
from imprint_sweep.store.parts import read_parts
from tests import data
from tests.outputs import ROOT, Outputs, ended
from tests.store.test_store import damage_flip, run_python


def with_sweep(settings: Settings, **keys: Any) -> Settings:
    return replace(settings, sweep=replace(settings.sweep, **keys))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Fresh outputs without embeddings."""
    return Settings(outputs=tmp_path, data=tmp_path / "data", sweep=SweepConfig(threads=1))


class Loop:
    """A launcher that starts a shard after the other in this process."""

    overrides: Sequence[str] = ()
    folder: Path | None = None

    def __init__(self, settings: Settings, target: str = "somewhere.BasicLauncher", **options: object) -> None:
        self.launcher: Mapping[str, Any] = {"_target_": target, **options}
        self.shards: list[int] = []
        self._settings = settings

    def launch(self, jobs: Sequence[Sequence[str]], *, workers: int | None, folder: Path) -> Sequence[JobReturn]:
        returns = []
        for job in jobs:
            index = int(job[-1].removeprefix("shard.index="))
            self.shards.append(index)
            run_shard(folder / "plan.npz", index, self._settings)
            returns.append(JobReturn(status=JobStatus.COMPLETED))
        return returns


def request(*cells: Cell, **more: Any) -> Request:
    """Cells as a command line would ask for them."""
    rows = np.arange(len(cells), dtype=np.int32)
    columns = [cell.model for cell in cells], [cell.task for cell in cells], [cell.scheme for cell in cells]
    return Request(*columns, model=rows, task=rows, scheme=rows, **more)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


# --- What is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("params", ["+hydra.sweeper.params={k: [1,5]}", "+hydra.sweeper.params.k='1,5'"])
def test_params_of_hydras_sweeper_on_the_command_line_are_a_block(params: str, tmp_path: Path) -> None:
    out, _ = Outputs.create(tmp_path).run("task.name=small", "gen=kmeans", "sweep.dry_run=true", params)
    assert out.startswith("requested 2 -> 2 distinct -> 0 done, 2 to run")


# --- One cell --------------------------------------------------------------------------------------------------------


def test_a_cell_shows_the_result_of_its_present_embeddings(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Embeddings a, then b, then a again: what was computed from b is newer, and is not a's result."""
    a, b = (data.blobs(train_sizes={0: 20, 1: 20, 2: 20}, spread=spread) for spread in (3.0, 0.1))
    cell = data.cell(data.task(a), gen="mean")
    cache = settings.cache
    said = []
    for embeddings in (a, b, a):
        data.write(cache, embeddings)
        run_single(cell, settings)
        said.append(printed(capsys).splitlines())
    first, second, third = said
    assert first[0].startswith("accuracy ")
    assert first[0] != second[0]
    assert third == ["done before (force=true computes it again):", *first]


OTHER = """
import sys
from dataclasses import replace
from pathlib import Path
from imprint_sweep.config.schemas import SweepConfig
from imprint_sweep.config.settings import Settings
from imprint_sweep.cli.console import Console
from imprint_sweep.running.sweep import run_single
from imprint_sweep.telling import listening
from tests import data
from tests.running.test_sweep import HERE
settings = Settings(outputs=Path(sys.argv[1]), data=Path(sys.argv[1]), sweep=SweepConfig(threads=1))
for seed in map(int, sys.argv[2].split(",")):
    with listening(Console()):
        run_single(data.cell(data.task(HERE), gen="random", k=2, seed=seed), settings)
"""


def another_process_first(monkeypatch: pytest.MonkeyPatch, settings: Settings, *seeds: int) -> None:
    """Let another process compute cells after this one has found out what is to do, and before it begins."""

    def find(*arguments: Any, **keywords: Any) -> Work:
        work = find_work(*arguments, **keywords)
        monkeypatch.undo()
        finished = run_python(OTHER, settings.outputs, ",".join(map(str, seeds)))
        assert finished.returncode == 0, finished.stderr
        return work

    monkeypatch.setattr("imprint_sweep.running.sweep.find_work", find)


@pytest.mark.parametrize("force", [False, True])
def test_a_cell_that_another_process_finishes_first_is_shown(
    with_one: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    cell = data.cell(data.task(HERE), gen="random", k=2, seed=5)
    another_process_first(monkeypatch, with_one, 5)
    run_single(cell, replace(with_one, force=force))
    title, *first = printed(capsys).splitlines()
    assert title == (
        "computed by another process meanwhile:" if force else "done before (force=true computes it again):"
    )
    run_single(cell, with_one)
    assert printed(capsys).splitlines()[1:] == first
    assert len(read_parts(with_one.results).table) == 1


@pytest.mark.parametrize("done", [1, 2])
def test_a_sweep_whose_cells_another_process_finishes_first_ends_well(
    with_one: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    cells = [data.cell(data.task(HERE), gen="random", k=2, seed=seed) for seed in (0, 1)]
    another_process_first(monkeypatch, with_one, *range(done))
    run_sweep(request(*cells), with_one, Loop(with_one))
    out = printed(capsys)
    assert "0 done, 2 to run" in out
    assert "2 cells in " in out
    assert sorted(load_results(with_one.results)["seed"]) == [0, 1]
    assert len(read_parts(with_one.results).table) == 2


def test_processes_that_compute_one_cell_at_once_all_show_it(with_one: Settings) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OTHER, str(with_one.outputs), "3"],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    shown = {ended(process)[0].partition("accuracy ")[2].split()[0] for process in processes}
    assert len(shown) == 1
    assert load_results(with_one.results)["seed"].tolist() == [3]


@pytest.mark.filterwarnings("ignore:The distutils package is deprecated:DeprecationWarning")  # scikit-learn-extra
def test_a_cell_that_failed_before_and_is_not_tried_again_says_why(with_one: Settings) -> None:
    cell = data.cell(data.task(HERE), gen="kmedoids", k=2)
    with pytest.raises(CellFailedError, match="the cell failed: StageError: gen=kmedoids"):
        run_single(cell, with_sweep(with_one, memory_gb=1e-9))
    before = r"the cell failed before \(sweep.retry_failed=true tries again\): StageError: gen=kmedoids"
    with pytest.raises(CellFailedError, match=before):
        run_single(cell, with_sweep(with_one, retry_failed=False))


@pytest.mark.filterwarnings("ignore::imprint_sweep.store.DamagedPartWarning")
def test_a_cell_whose_row_is_damaged_beside_what_says_that_it_is_done(with_one: Settings) -> None:
    cell = data.cell(data.task(HERE), gen="mean")
    run_single(cell, with_one)
    (part,) = ResultStore(with_one.results).parts()
    damage_flip(part)  # of a column that planning does not read
    with pytest.raises(StoreError, match=r"is in a damaged file of .* --repair"):
        run_single(cell, with_one)
    compact(with_one.results, repair=True)
    run_single(cell, with_one)
    assert len(load_results(with_one.results)) == 1


# --- A sweep ---------------------------------------------------------------------------------------------------------

HERE = data.blobs("here", train_sizes=dict.fromkeys(range(3), 20))
AWAY = data.blobs("away", train_sizes=dict.fromkeys(range(3), 20), seed=1)


@pytest.fixture
def with_one(settings: Settings) -> Settings:
    """Outputs with the embeddings of one of two datasets."""
    data.write(settings.cache, HERE)
    return settings


def test_a_sweep_ends_with_its_table(with_one: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [data.cell(data.task(HERE), gen=gen, k=2, seed=seed) for gen in ("fps", "random") for seed in (0, 1)]
    run_sweep(request(*cells), with_one, Loop(with_one))
    first, head, one, other, last = printed(capsys).splitlines()
    assert first.startswith("requested 4 -> 4 distinct -> 0 done, 4 to run in 1 shard, about ")
    assert head.split() == ["gen", "accuracy", "seeds"]
    assert {one.split()[0], other.split()[0]} == {"fps", "random"}
    assert last.startswith("4 cells in ")
    run_sweep(request(*cells), with_one, Loop(with_one))
    assert printed(capsys).splitlines() == ["requested 4 -> 4 distinct -> 4 done, 0 to run", head, one, other]


def test_one_cell_is_one_cell(with_one: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    run_sweep(request(data.cell(data.task(HERE), gen="mean")), with_one, Loop(with_one))
    _, accuracy, last = printed(capsys).splitlines()
    assert accuracy.startswith("accuracy 0.")
    assert last.startswith("1 cell in ")


def test_cells_without_embeddings_are_left_out_before_the_others_are_split(
    with_one: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """No shard is empty, and the counts are those of what runs."""
    cells = [data.cell(data.task(dataset), gen="mean", seed=0) for dataset in (AWAY, HERE)]
    loop = Loop(with_one)
    run_sweep(request(*cells), with_sweep(with_one, allow_missing=True, shards=2), loop)
    assert loop.shards == [0]
    out, err = capsys.readouterr()
    assert "2 distinct -> 0 done, 1 to run in 1 shard, about " in out
    assert "note: embeddings of 1 cell are missing: there are no embeddings of " in err
    with pytest.raises(MissingEmbeddingsError, match=r"^embeddings of 1 cell are missing: there are no embeddings of"):
        run_sweep(request(*cells), with_one, loop)


def test_classes_that_only_missing_embeddings_know_are_counted(
    with_one: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = request(data.cell(data.task(HERE), gen="mean"), missing={"there are no embeddings of foo": 3})
    message = "the classes of 3 combinations are those of embeddings that are missing: there are no embeddings of foo"
    with pytest.raises(MissingEmbeddingsError, match=f"^{message}$"):
        run_sweep(asked, with_one, Loop(with_one))
    loop = Loop(with_one)
    run_sweep(asked, with_sweep(with_one, dry_run=True), loop)
    assert loop.shards == []
    run_sweep(asked, with_sweep(with_one, allow_missing=True), loop)
    assert loop.shards == [0]
    assert capsys.readouterr().err.count(f"note: {message}\n") == 2
    run_sweep(request(missing={"none of foo": 1}), with_sweep(with_one, allow_missing=True), loop)
    out, err = capsys.readouterr()
    assert out.startswith("requested 1, 1 left out -> 0 distinct -> 0 done, 0 to run\n")
    assert err.startswith("note: ")


def test_a_dry_run_says_which_embeddings_the_sweep_makes_itself(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = Model("pixels", "raw")
    digits = data.task(replace(data.digits(), name="digits"))
    run_sweep(
        request(Cell(pixels, digits, data.cell(digits, gen="mean").scheme)),
        with_sweep(settings, dry_run=True),
        Loop(settings),
    )
    assert capsys.readouterr() == (
        "requested 1 -> 1 distinct -> 0 done, 1 to run in 1 shard\n",
        "note: the sweep itself first makes the embeddings of digits by pixels, which takes some minutes at most\n",
    )


def test_an_axis_that_no_cell_has_a_use_for_is_named(with_one: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    asked = request(data.cell(data.task(HERE), gen="mean", agg="max"), axes=("agg.m",))
    run_sweep(asked, with_sweep(with_one, dry_run=True), Loop(with_one))
    assert "  agg.m has no meaning in any of these cells\n" in printed(capsys)


@pytest.mark.filterwarnings("ignore:The distutils package is deprecated:DeprecationWarning")  # scikit-learn-extra
def test_why_cells_failed_is_told_where_older_rows_are_good(with_one: Settings) -> None:
    cells = [data.cell(data.task(HERE), gen="kmedoids", k=k) for k in (2, 3)]
    run_sweep(request(*cells), with_one, Loop(with_one))
    short = with_sweep(replace(with_one, force=True), memory_gb=1e-9)
    # Medoids that took long enough to be kept on disk need no distances.
    shutil.rmtree(with_one.proxies, ignore_errors=True)
    with pytest.raises(SweepFailedError) as failure:
        run_sweep(request(*cells), short, Loop(short))
    summary, reason = str(failure.value).splitlines()
    assert reason.startswith(
        "failed (2 cells): StageError: gen=kmedoids needs 2.4 kB for the distances between the 20 "
    )
    assert "samples of here:0; raise sweep.memory_gb" in reason
    assert summary.startswith("2 cells failed and 0 were not computed")


@pytest.mark.parametrize("cores", [1, 2])
def test_a_launcher_that_starts_all_shards_at_once_gets_no_more_than_there_are_cores(
    cores: int, with_one: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imprint_sweep.running.launch.available_cores", lambda: cores)
    cells = [data.cell(data.task(HERE), gen="random", k=k) for k in range(1, 9)]
    loop = Loop(with_one, "somewhere.LocalLauncher")
    run_sweep(request(*cells), with_sweep(with_one, shards=4), loop)
    assert loop.shards == list(range(cores))
    assert f"there are cores for {cores} shard" in capsys.readouterr().err
