"""Sweeps from Python are those of the command line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
from hydra import version
from hydra.core.global_hydra import GlobalHydra

import imprint_sweep as ims
from imprint_sweep.api import sweeping
from imprint_sweep.api.samples import settings_of
from imprint_sweep.errors import ConfigError, MissingEmbeddingsError, StageError, SweepError
from imprint_sweep.imprinting.components import GENS
from tests import data
from tests.outputs import ROOT, python

SMALL: dict[str, Any] = {"model": "imported", "model.name": "toy", "model.weights": "none", "task": "imported"}
BLOBS = data.blobs("small", train_sizes=dict.fromkeys(range(4), 30))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Outputs with the embeddings of a toy."""
    outputs = tmp_path / "my outputs"
    data.write(settings_of(outputs).cache, BLOBS)
    return outputs


def test_a_sweep_returns_a_row_for_each_cell_and_prints_nothing(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {
        "gen": ["kmeans", "mean"],
        "k": (1, 5),
        "seed": range(2),
        "agg": ["max", "mnn"],
        "m": np.array([3]),
    }
    rows = ims.sweep(**SMALL, **{"task.name": "small"}, **given, outputs=outputs, progress=False)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    assert len(rows) == 2 * 2 * 2 + 2 * 2
    assert rows["cell_id"].is_unique
    assert rows["n_correct"].notna().all()
    assert rows["k"].dtype == "Int64"
    again = ims.sweep(**SMALL, **{"task.name": "small"}, **given, outputs=outputs, progress=False)
    assert again.equals(rows)
    clf = ims.imprinter_from_cell(rows["cell_id"][0], outputs=outputs)
    assert len(clf.classes_) == 4


@pytest.mark.parametrize(("module", "shown"), [("ipykernel.iostream", True), ("io", False)])
def test_a_notebook_without_widgets_shows_a_text_bar(
    module: str, shown: bool, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = type("Stream", (io.StringIO,), {"__module__": module})()
    monkeypatch.setattr("sys.stderr", stream)
    one: dict[str, Any] = {**SMALL, "task.name": "small", "outputs": outputs}
    ims.sweep(**one, gen="mean")
    said = stream.getvalue()
    assert ("cell" in said) == shown
    ims.sweep(**one, gen="all", progress=False)
    assert stream.getvalue() == said


@pytest.mark.slow
def test_ids_and_results_are_those_of_the_command_line(outputs: Path) -> None:
    words = ["-m", "imprint_sweep", "-m", "model=imported", "model.name=toy", "model.weights=none", "task=imported"]
    grid = ["task.name=small", "task.classes=[3,1],even", "gen=random,all", "norm=l2,quantile", "norm.pre=none"]
    python(ROOT if not outputs.exists() else outputs, *words, *grid)
    before = ims.load_results(outputs / "results")
    rows = ims.sweep(
        **SMALL,
        **{"task.name": "small"},
        classes=[[3, 1], "even"],
        gen=["random", "all"],
        norm=["l2", "quantile"],
        norm_pre="none",
        outputs=outputs,
        progress=False,
    )
    assert set(rows["cell_id"]) == set(before["cell_id"])
    assert len(ims.load_results(outputs / "results")) == len(before)  # nothing was computed again


def test_force_computes_again(outputs: Path) -> None:
    one = {**SMALL, "task.name": "small", "gen": "mean", "outputs": outputs, "progress": False}
    first, again = ims.sweep(**one), ims.sweep(**one, force=True)
    assert again["finished_at"][0] > first["finished_at"][0]
    assert again["n_correct"][0] == first["n_correct"][0]


def test_combinations_without_a_meaning_are_left_out_with_a_warning(outputs: Path) -> None:
    with pytest.warns(UserWarning, match="1 combination left out, first of all: .*inner_product"):
        rows = ims.sweep(
            **SMALL,
            **{"task.name": "small"},
            gen="mean",
            agg=["max", "mnn"],
            metric="inner_product",
            outputs=outputs,
            progress=False,
        )
    assert rows["agg"].tolist() == ["max"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"gen": ["kmeanz"]}, "kmeanz"),
        ({"kk": 3}, "kk"),
        ({"k": []}, "k has no value"),
        ({"k": 2.5}, "2.5"),
        ({"k": b"2"}, "k: expected numbers, texts or None, or lists of them, got b'2'"),
        ({"k": pd.NA}, "k: expected numbers, texts or None, or lists of them, got <NA>"),
        ({"gen": {"mean": 1}}, "gen: expected numbers, texts or None, or lists of them, got {'mean': 1}"),
        ({"eval": "test"}, "eval: expected keys and values, got 'test'"),
        ({"metrik": "cosine"}, "unknown axis 'metrik'; did you mean metric"),
        ({"experiment": "minni"}, "unknown experiment 'minni'; did you mean mini"),
        ({"paths.outputs": "elsewhere"}, "paths.outputs: give the folder as outputs="),
        ({"sweep.dry_run": True}, "sweep.dry_run: it is a setting of the command line"),
    ],
)
def test_what_does_not_exist_is_refused(axes: dict[str, Any], message: str, outputs: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        ims.sweep(**SMALL, **{"task.name": "small"}, **axes, outputs=outputs, progress=False)
    assert not (outputs / "results").exists()


def test_values_come_in_any_container(outputs: Path) -> None:
    given: list[dict[str, Any]] = [
        {"gen": pd.Index(["kmeans"]), "k": pd.Series([2, 3]), "seed": np.int64(1), "classes": [[3, 1, 2]]},
        {"gen": np.array("kmeans"), "k": pd.array([2, 3], dtype="Int64"), "seed": {1}, "classes": np.array([3, 1, 2])},
        {"gen": Path("kmeans"), "k": torch.tensor([2, 3]), "seed": (1,), "classes": [3, 1, 2]},
    ]
    found = [
        ims.sweep(**SMALL, **{"task.name": "small"}, **axes, outputs=outputs, progress=False)["cell_id"].tolist()
        for axes in given
    ]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2


def test_cells_that_failed_before_are_no_rows(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StageError("no")

    one: dict[str, Any] = {**SMALL, "task.name": "small", "gen": "mean", "outputs": outputs, "progress": False}
    monkeypatch.setattr(type(GENS["mean"]), "proxies", fail)
    with pytest.raises(SweepError, match=r"1 of 1 cells failed, first of all by: .*no"):
        ims.sweep(**one)
    with pytest.raises(SweepError, match="1 of 1 cells failed before and are not tried again"):
        ims.sweep(**{**one, "sweep.retry_failed": False})


def test_another_hydra_application_may_call(outputs: Path, tmp_path: Path) -> None:
    """A process has one Hydra."""
    (tmp_path / "theirs.yaml").write_text("mine: 7\n")
    one: dict[str, Any] = {**SMALL, "task.name": "small", "gen": "mean", "outputs": outputs, "progress": False}
    of = ["model.name=toy", "model.weights=none", "task.name=small"]
    with hydra.initialize_config_dir(str(tmp_path), version_base=None):
        assert len(ims.sweep(**one)) == 1
        assert len(ims.load_embeddings("imported", "imported", overrides=of, outputs=outputs)[0]) == 120
        assert hydra.compose("theirs").mine == 7
        assert version.getbase() == version._get_version(hydra.__version__)
    assert not GlobalHydra.instance().is_initialized()


def test_embeddings_that_are_missing_are_named(outputs: Path) -> None:
    with pytest.raises(MissingEmbeddingsError, match="fashion_mnist"):
        ims.sweep(task="fashion_mnist", gen="mean", outputs=outputs, progress=False)


def test_the_function_stays_when_the_modules_are_loaded() -> None:
    assert ims.sweep is sweeping.sweep
    assert callable(ims.sweep)
