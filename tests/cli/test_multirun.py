"""A sweep under Hydra as its users know it: folders of their own, settings with interpolations, other sweepers."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from imprint_sweep.cli.multirun import DEFAULT_FOLDERS
from imprint_sweep.errors import UnknownOptionError
from imprint_sweep.invocation import conf_folder
from tests.outputs import ROOT, Outputs

CELLS = ("task.name=small", "gen=kmeans", "k=1,2")
TOY = ("model=imported", "model.name=toy", "task=imported", "task.name=small")
OPTIMISER = """
import sys
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper


@dataclass
class Conf:
    _target_: str = "hydra_plugins.climbing_sweeper.ClimbingSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="climbing", node=Conf, provider="tests")


class ClimbingSweeper(Sweeper):
    \"\"\"Doubles k while the accuracy grows; a job that fails is no reason to stop.\"\"\"

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments):
        best = (0.0, None)
        for number, k in enumerate([0, 1, 2, 4]):
            (job,) = self.launcher.launch([[*arguments, f"k={k}"]], initial_job_idx=number)
            if job.status is JobStatus.COMPLETED:
                best = max(best, (job.return_value, k))
            else:
                print("failed:", job._return_value)
        print("best:", *best)
"""


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """Fresh outputs with the embeddings and no results."""
    return Outputs.create(tmp_path)


def finished(folder: Path, *words: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run ``python`` in a folder."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )


def imprint(folder: Path, *arguments: str, code: int = 0, path: Path = ROOT) -> str:
    """Run ``python -m imprint_sweep`` in a folder; what it printed."""
    done = finished(folder, "-m", "imprint_sweep", *arguments, path=path)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def warned(folder: Path, *arguments: str) -> str:
    """Run ``python -m imprint_sweep`` in a folder to a good end; what it printed on standard error."""
    done = finished(folder, "-m", "imprint_sweep", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_folders_that_nobody_asked_for_are_known() -> None:
    configured = yaml.safe_load((conf_folder() / "config.yaml").read_text())["hydra"]["sweep"]
    assert all(configured[key] == defaults[0] for key, defaults in DEFAULT_FOLDERS.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        "hydra.sweep.subdir=run_${hydra.job.num}",
        "hydra.sweep.subdir='${hydra.job.override_dirname}'",
        "hydra.run.dir=x_${hydra.job.num}",
        "hydra.sweep.dir='${paths.outputs}/mine'",
        "hydra.job.name=${hydra.job.config_name}",
    ],
)
def test_settings_of_hydra_may_refer_to_a_job(setting: str, outputs: Outputs) -> None:
    outputs.run(*CELLS, setting)
    assert len(outputs.n_correct()) == 2
    made = {
        "hydra.sweep.subdir=run_${hydra.job.num}": "sweeps/*/run_0",
        "hydra.sweep.subdir='${hydra.job.override_dirname}'": "sweeps/*/*shard.index=0",
        "hydra.sweep.dir='${paths.outputs}/mine'": "mine/0",
    }
    if setting in made:
        (folder,) = outputs.root.glob(made[setting])
        assert folder.is_dir()


@pytest.mark.slow
def test_the_folder_that_a_user_names_is_that_of_jobs_and_launchers(outputs: Outputs, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    outputs.run(*CELLS, f"hydra.sweep.dir={mine}", "hydra/launcher=submitit_local")
    assert {path.name for path in mine.iterdir()} == {"0", "1", ".submitit"}
    assert (outputs.sweep() / "sweep.json").exists()
    slurm = ("hydra/launcher=submitit_slurm", "sweep.submit=false")
    outputs.run(*CELLS, "seed=5", f"hydra.sweep.dir={mine}/logs", *slurm)
    assert f"{mine}/logs/%A_%a" in (outputs.sweep() / "sweep.sbatch").read_text()


@pytest.mark.slow
def test_a_folder_that_cannot_be_is_refused_in_a_sentence(outputs: Outputs) -> None:
    _, told = outputs.run(*CELLS, "hydra.sweep.dir=/dev/null/x", code=2)
    assert told == "error: hydra.sweep.dir=/dev/null/x cannot be made: Not a directory\n"
    _, told = outputs.run(*CELLS, "hydra/launcher=joblib", "hydra.launcher.verbose=${hydra.job.num}", code=2)
    assert told.startswith("error: hydra.launcher and hydra.sweep.dir are the same for all jobs of a sweep")
    assert not (outputs.root / "sweeps").exists()


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["sweep.dir=of_${k}", "sweep.subdir=${k}", "launcher.name=${k}"])
def test_a_name_of_jobs_that_depends_on_an_axis_is_warned_of(setting: str, outputs: Outputs, tmp_path: Path) -> None:
    launcher = ["hydra/launcher=submitit_slurm"] if "launcher" in setting else []
    words = [*TOY, f"paths.outputs='{outputs.root}'", *launcher, f"hydra.{setting}", "sweep.dry_run=true"]
    warning = f"warning: hydra.{setting} depends on k"
    assert warning in warned(tmp_path, "-m", *words, "k=2,3")
    assert warning not in warned(tmp_path, "-m", *words, "k=2", "seed=1,2")


@pytest.mark.slow
@pytest.mark.parametrize("chdir", ["true", "false"])
def test_a_relative_folder_is_the_same_place_for_a_cell_and_for_a_sweep(chdir: str, outputs: Outputs) -> None:
    place = (f"paths.outputs='{outputs.root.name}'", f"hydra.job.chdir={chdir}")
    here = outputs.root.parent
    first = imprint(here, *TOY, "gen=mean", *place, "hydra.run.dir=elsewhere")
    again = imprint(here, "-m", *TOY, "gen=mean", *place, "hydra.sweep.dir=elsewhere")
    assert first.startswith("accuracy ")
    assert again.startswith("requested 1 -> 1 distinct -> 1 done, 0 to run")
    imprint(here, "-m", *TOY, "gen=mean,kmeans", *place, "hydra.sweep.dir=elsewhere", "hydra/launcher=joblib")
    assert len(outputs.n_correct()) == 2
    assert list((here / "elsewhere").rglob("*.parquet")) == []


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweeper_of_another_package_is_told_the_accuracy(launcher: str, outputs: Outputs, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins" / "hydra_plugins"
    plugins.mkdir(parents=True)
    (plugins / "climbing_sweeper.py").write_text(OPTIMISER)
    words = (*TOY, "gen=kmeans", f"paths.outputs='{outputs.root}'")
    sweeper = ("hydra/sweeper=climbing", f"hydra/launcher={launcher}")
    printed = imprint(tmp_path, "-m", *words, *sweeper, path=plugins.parent).splitlines()
    assert "failed: k must be at least 1, got 0" in printed
    accuracy = {float(line.split()[1]) for line in imprint(tmp_path, *words, "k=4").splitlines() if "accuracy" in line}
    best = float(printed[-1].split()[1])
    assert printed[-1].startswith("best: ")
    assert best >= max(accuracy) - 1e-4
    assert best > 0.5


PROGRAM = """
import sys
from hydra import compose, initialize_config_dir
from imprint_sweep.cli.app import run
from imprint_sweep.errors import InvalidCellError
from imprint_sweep.invocation import conf_folder

with initialize_config_dir(str(conf_folder()), version_base="1.3"):
    print(run(compose("config", sys.argv[1:])))
    try:
        run(compose("config", [*sys.argv[1:], "k=0"]))
    except InvalidCellError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_program_of_ones_own_may_compose_and_run_a_cell(outputs: Outputs, tmp_path: Path) -> None:
    done = finished(tmp_path, "-c", PROGRAM, *TOY, "gen=kmeans", f"paths.outputs='{outputs.root}'")
    assert done.returncode == 0, done.stderr
    *_, accuracy, error = done.stdout.splitlines()
    assert 0.5 < float(accuracy) <= 1
    assert error == "k must be at least 1, got 0"


def test_an_error_survives_the_way_from_another_process() -> None:
    error = UnknownOptionError("gen", "kmeanz", ["kmeans"])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.available) == (str(error), ["kmeans"])
