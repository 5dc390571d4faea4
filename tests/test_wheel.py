"""The package as installed from a wheel, used from a folder that is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into, without its dependencies."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip"]
    offline = ["--quiet", "--no-deps", "--no-index"]
    built = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run(built, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    subprocess.run([*pip, "install", *offline, "--target", str(site), str(wheel)], check=True, capture_output=True)
    return site


@pytest.fixture
def command(site: Path, tmp_path: Path) -> Command:
    """Runs an installed command in an empty folder."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Compiling the kernels for this one installation would take longer than running them on a few samples.
        environment = os.environ | {"PYTHONPATH": str(site), "NUMBA_DISABLE_JIT": "1"}
        words = [sys.executable, str(site / "bin" / name), *arguments]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_every_command_of_a_checkout_has_its_entry_point(site: Path) -> None:
    (distribution,) = distributions(name="imprint-sweep", path=[str(site)])
    names = {entry.name for entry in distribution.entry_points if entry.group == "console_scripts"}
    scripts = {f"imprint-{path.stem.replace('_', '-')}" for path in (ROOT / "scripts").glob("*.py")}
    assert names == scripts | {"imprint-sweep"}


def test_every_entry_point_starts(site: Path, command: Command) -> None:
    for path in sorted((site / "bin").iterdir()):
        finished = command(path.name, "--help")
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout


def test_options_are_package_data_and_messages_name_the_installed_commands(site: Path, command: Command) -> None:
    finished = command("imprint-sweep", "gen=kmeanz")
    assert finished.returncode == 2
    assert "did you mean kmeans" in finished.stderr
    finished = command("imprint-sweep", "task=fashion_mnist")
    assert finished.returncode == 2
    assert "imprint-embed model=efficientnet_lite0" in finished.stderr
    found = command("imprint-sweep", "--info", "searchpath").stdout
    assert str(site / "imprint_sweep" / "conf") in found
    assert str(ROOT) not in found


def test_types_are_package_data(site: Path) -> None:
    assert (site / "imprint_sweep" / "py.typed").is_file()
    assert (site / "imprint_sweep" / "__init__.pyi").is_file()


def test_a_sweep_from_import_to_report(command: Command, tmp_path: Path) -> None:
    """The sweeper is found, and everything goes to ``./outputs``."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        labels = np.arange(12) % 3
        np.savez(tmp_path / f"{split}.npz", embeddings=rng.normal(labels[:, None], 0.1, (12, 4)), labels=labels)
    files = ["--train", "train.npz", "--test", "test.npz"]
    finished = command("imprint-import-embeddings", "--model", "mynet", "--dataset", "mydata", *files)
    assert finished.returncode == 0, finished.stderr
    overrides = ["model=imported", "model.name=mynet", "task=imported", "task.name=mydata"]
    finished = command("imprint-sweep", "-m", *overrides, "gen=mean,kmeans", "k=2")
    assert finished.returncode == 0, finished.stderr
    assert "2 to run" in finished.stdout
    assert sorted(pd.read_parquet(tmp_path / "outputs" / "results")["gen"]) == ["kmeans", "mean"]
    assert "complete" in command("imprint-status").stdout
    # The template, style and script of the page are package data.
    finished = command("imprint-report")
    assert finished.returncode == 0, finished.stderr
    page = (tmp_path / "outputs" / "report" / "index.html").read_text()
    assert "2 cells of 1 model on 1 task" in page
    assert page.rstrip().endswith("</html>")
