"""The command line: what a mistake prints, and the exit code."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from imprint_sweep.cli import app
from imprint_sweep.config.messages import explanation
from imprint_sweep.config.settings import Settings
from imprint_sweep.errors import StoreError
from imprint_sweep.grid.cell import Cell
from imprint_sweep.imprinting.components import GENS

ROOT = Path(app.__file__).resolve().parents[1]


class Calls:
    """Stands in for the module that computes: notes what it is asked for."""

    def __init__(self) -> None:
        self.cells: list[tuple[Cell, Settings]] = []
        self.shards: list[tuple[Path, int, Settings]] = []
        self.error: BaseException | None = None

    def run_single(self, cell: Cell, settings: Settings) -> None:
        if self.error is not None:
            raise self.error
        self.cells.append((cell, settings))

    def run_shard(self, plan: Path, index: int, settings: Settings) -> None:
        self.shards.append((plan, index, settings))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    module: Any = ModuleType("imprint_sweep.running.sweep")
    module.run_single, module.run_shard = calls.run_single, calls.run_shard
    monkeypatch.setitem(sys.modules, "imprint_sweep.running.sweep", module)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    return calls


@pytest.fixture
def run(calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line in this process: (exit code, standard error)."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["imprint-sweep", *arguments])
        # A thread that an earlier test has left would be taken for a stage amid its work, and all tests ended at once.
        monkeypatch.setattr("threading.enumerate", lambda: [threading.main_thread()])
        try:
            app.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            return code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def python_m(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, "-m", "imprint_sweep", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )


# --- the real command, from a folder that is not the checkout ---------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["gen=kmeanz"],
            f"error: unknown gen 'kmeanz'; did you mean kmeans or mean? Available: {', '.join(sorted(GENS))}\n",
        ),
        (
            ["gen=mean", "agg=mnn", "agg.metric=inner_product"],
            "error: agg=mnn needs a distance and inner_product is none; use agg.metric=class_mahalanobis, cosine, "
            "euclidean, mahalanobis or manhattan, or agg=lse or max\n",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], expected: str, tmp_path: Path) -> None:
    finished = python_m(*arguments, folder=tmp_path)
    assert (finished.returncode, finished.stdout, finished.stderr) == (2, "", expected)
    assert list(tmp_path.iterdir()) == []


def test_help_is_short_and_lists_the_groups(tmp_path: Path) -> None:
    finished = python_m("--help", folder=tmp_path)
    assert finished.returncode == 0
    assert "gen: all, cov_max, fps, k_least_squares, kmeans, kmedoids, " in finished.stdout
    assert "--config-dir DIR" in finished.stdout
    assert len(finished.stdout.splitlines()) < 100


# --- the same in this process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["gne=kmeans"], "unknown key 'gne'; did you mean gen?"),
        (["agg.metrc=cosine"], "unknown key 'agg.metrc'; did you mean agg.metric"),
        (["task.datasets={a:1}"], "task.datasets: expected a list such as [a,b], got {a:1}\n"),
        (["++task.labels={a:1}"], "task.labels: expected a list such as [a,b], got {a:1}\n"),
        (["eval=[test]"], "eval: expected keys and values, got [test]\n"),
        (["k=abc"], "k: expected a whole number or null, got 'abc'"),
        (["+foo=1"], "unknown key 'foo'"),
        (["k=1,5"], "k=1,5 lists several values: add -m to sweep over them\n"),
        (["k=range(1,5)"], "k=range(1,5) stands for several values: add -m to sweep over them"),
        (["kmeans"], "cannot read 'kmeans': expected key=value"),
        (["k=[1"], "cannot read 'k=[1': expected key=value"),
        (["gen=1"], "gen: expected the name of an option, got 1"),
        (["+gen=mean"], "gen has a choice already: write gen=mean, without +"),
        (["hydra/launcher=slurm"], "unknown hydra/launcher 'slurm'"),
        (["experiment=x"], "an experiment is added, not overridden: -m +experiment=NAME"),
        (["--config-dir", "/no/such/folder"], "Additional config directory '/no/such/folder' not found"),
        (["--config-name", "nothing"], "Cannot find primary config 'nothing'"),
        (["-m", "--cfg", "job"], "Only one of --run, --multirun, --cfg"),
        # The likeliest first: what goes on as it was written, what has the key in another group, capital letters.
        (["agg.temp=0.1"], "unknown key 'agg.temp'; did you mean agg.temperature or "),
        (["features=500"], "unknown key 'features'; did you mean gen.features? Available: "),
        (["gen.metric=cosine"], "unknown key 'gen.metric'; did you mean agg.metric"),
        (["task=MNIST"], "unknown task 'MNIST'; did you mean mnist or mnist_m? Available: "),
        (
            ["model=efficientnet"],
            "unknown model 'efficientnet'; did you mean efficientnet_lite0 or efficientnet_lite1 or ",
        ),
        # What a method needs beside it.
        (
            ["gen=lda"],
            "gen=lda has a bias for each proxy, which means nothing with norm.post=l2; use norm=none (or "
            "norm.post=none alone)\n",
        ),
        (
            ["gen=logistic", "norm=none", "agg=mnn"],
            "gen=logistic has a bias for each proxy, which means nothing with agg=mnn agg.metric=euclidean; use "
            "agg=lse or max, agg.metric=inner_product\n",
        ),
        (
            ["k=null"],
            "k is missing: gen=kmeans needs it; write k=20, or have it chosen by a rule with select.rule=bic or ",
        ),
        (
            ["k=null", "gen=fps"],
            "k is missing: gen=fps needs it; write k=20, or have it chosen by a rule with select.rule=cv",
        ),
        (["agg=mnn", "agg.m=null"], "agg.m is missing: agg=mnn needs it; write agg.m=5\n"),
        (
            ["select.rule=bic"],
            "select.rule=bic chooses k, and k has a value, be it the default; use k=null, or select.rule=null to keep "
            "that value\n",
        ),
        (
            ["gen=ranpac", "norm=none", "gen.features=1.5"],
            "gen.features: expected a whole number, or null for its default; got 1.5\n",
        ),
        (
            ["task.seen=3", "task.merge=2", "task.remap=0"],
            "task.seen=3 is a step of a stream of classes, and task.merge=2 unites classes in labels: a cell has one "
            "or the other; use task.seen=null or task.merge=null\n",
        ),
    ],
)
def test_mistakes(arguments: list[str], expected: str, run: Any, calls: Calls) -> None:
    code, message = run(*arguments)
    assert code == 2
    assert message.startswith(f"error: {expected}")
    assert message.count("\n") == 1
    assert calls.cells == []


def test_an_experiment_without_m_is_refused(run: Any, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("blocks: []\n")
    code, message = run("--config-dir", str(tmp_path), "+experiment=mine")
    assert (code, message) == (2, "error: an experiment is a sweep: run it with -m\n")
    assert calls.cells == []


def test_a_cell_reaches_the_sweep_of_one(run: Any, calls: Calls, tmp_path: Path) -> None:
    assert run("gen=cov_max", "k=3", "force=true", f"paths.outputs={tmp_path}") == (0, "")
    ((cell, settings),) = calls.cells
    assert (cell.scheme.gen, cell.scheme.k) == ("cov_max", 3)
    assert (settings.outputs, settings.force) == (tmp_path, True)


def test_a_shard_reaches_the_plan(run: Any, calls: Calls, tmp_path: Path) -> None:
    assert run(f"shard.plan={tmp_path}/plan.npz", "shard.index=3") == (0, "")
    ((plan, index, _),) = calls.shards
    assert (plan, index) == (tmp_path / "plan.npz", 3)
    assert calls.cells == []


def test_what_has_no_meaning_is_noted_and_the_cell_runs(run: Any, calls: Calls) -> None:
    assert run("gen=mean", "k=5") == (0, "note: k=5 has no meaning under gen=mean: dropped\n")
    assert calls.cells[0][0].scheme.k is None


@pytest.mark.parametrize(
    "mended",
    [
        ["gen=lda", "k=1", "norm=none"],
        ["gen=lda", "k=1", "norm.post=none"],
        ["gen=logistic", "norm=none", "agg=max", "agg.metric=inner_product"],
        ["k=null", "select.rule=bic"],
        ["gen=fps", "k=null", "select.rule=cv_1se"],
    ],
)
def test_what_messages_say_to_write_is_a_cell(mended: list[str], run: Any, calls: Calls) -> None:
    assert run(*mended) == (0, "")
    assert len(calls.cells) == 1


def test_a_default_that_may_surprise_is_noted(run: Any, calls: Calls) -> None:
    code, said = run("gen=lda", "norm=none")
    assert (code, said.count("note: k was not given and is 20"), said.count("\n")) == (0, 1, 1)
    assert run("task.seen=11")[1].startswith("note: task.seen above 10 comes after the last of 10 classes of digits: ")
    assert (calls.cells[0][0].scheme.k, len(calls.cells[1][0].task.labels)) == (20, 10)


def test_an_error_while_running_is_a_message(run: Any, calls: Calls) -> None:
    calls.error = StoreError("the results cannot be written")
    assert run() == (2, "error: the results cannot be written\n")


def test_an_interruption_is_no_error(run: Any, calls: Calls) -> None:
    calls.error = KeyboardInterrupt()
    assert run() == (130, "interrupted\n")


def test_a_bug_keeps_its_traceback(run: Any, calls: Calls) -> None:
    calls.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        run()


@pytest.mark.parametrize("how", ["--config-dir", "hydra.searchpath"])
def test_people_add_options_of_their_own(how: str, run: Any, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "mine.yaml").write_text("pre: none\npost: l2\ninf: l2\n")
    added = ["--config-dir", str(tmp_path)] if how == "--config-dir" else [f"hydra.searchpath=[file://{tmp_path}]"]
    assert run(*added, "norm=mine") == (0, "")
    assert calls.cells[0][0].scheme.norm_pre == "none"


def test_a_broken_file_of_theirs_is_named(run: Any, tmp_path: Path) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "mine.yaml").write_text("pre: [none\n")
    code, message = run("--config-dir", str(tmp_path), "norm=mine")
    assert code == 2
    assert "mine.yaml" in message


def test_a_run_leaves_no_files(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run() == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_launchers_can_send_the_task_function() -> None:
    assert pickle.loads(pickle.dumps(app.run)) is app.run


def test_a_bug_has_no_explanation() -> None:
    assert explanation(ZeroDivisionError("division by zero")) is None


@pytest.mark.parametrize(
    ("override", "expected"),
    [("batch_sze=3", "did you mean batch_size?"), ("k=3", "Available: batch_size, columns, device, force, limit")],
)
def test_another_command_names_its_own_keys(
    override: str, expected: str, calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["embed", override])
    with pytest.raises(SystemExit):
        app.launch(print, config_name="embed")
    assert expected in capsys.readouterr().err
