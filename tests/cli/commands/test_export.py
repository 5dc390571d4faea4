"""scripts/export.py: the classifier of a row as a file that other programs run."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imprint_sweep.api import exporting
from imprint_sweep.api.exporting import Check, export_head, export_with_network, float32_bound
from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.api.samples import composed, settings_of
from imprint_sweep.cli.commands.export import main
from imprint_sweep.config.settings import Settings
from imprint_sweep.errors import ConfigError, StageError
from imprint_sweep.imprinting import tensors
from imprint_sweep.imprinting.components import METRICS, WEIGHTINGS
from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.work import run_cells
from tests import data

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

BLOBS = data.blobs(train_sizes={7: 90, -5: 75, 1000: 83, 3: 2}, d=24, test_size=60)
X, Y, Q = BLOBS.train.features, BLOBS.train.labels, BLOBS.test.features


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Outputs with the row of one cell."""
    settings = settings_of(tmp_path_factory.mktemp("outputs"))
    cell = composed(["model=pixels", "task=digits", "k=3"], settings)
    from imprint_sweep.api.samples import features_of

    features_of(cell.model, cell.task, settings)
    run_cells(Plan.of_cells([cell]), settings)
    return settings


def cell_id(settings: Settings) -> str:
    return composed(["model=pixels", "task=digits", "k=3"], settings).cell_id[:10]


def scores(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """The first output of a file, for a number of rows that it was not made with."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {name: values})[0]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "agg", [{"agg": "max"}, {"agg": "mnn", "m": 4}, {"agg": "mnn", "weighting": "uniform"}], ids=str
)
@pytest.mark.parametrize("metric", METRICS)
def test_a_head_predicts_what_the_estimator_does(metric: str, agg: dict[str, Any], tmp_path: Path) -> None:
    if agg["agg"] == "mnn" and not METRICS[metric].is_distance:
        return
    clf = Imprinter(k=20, metric=metric, **agg).fit(X, Y)
    check = export_head(clf, tmp_path / "head.onnx", Q)
    assert check.samples == len(Q)
    assert check.different == check.open <= 2
    found = scores(tmp_path / "head.onnx", "embeddings", Q[:7])
    np.testing.assert_allclose(found, clf.decision_function(Q[:7]), rtol=1e-4, atol=1e-4)
    about = {one.key: one.value for one in onnx.load(tmp_path / "head.onnx").metadata_props}
    assert json.loads(about["classes"]) == clf.classes_.tolist()


def test_a_map_of_queries_is_part_of_the_file(tmp_path: Path) -> None:
    clf = Imprinter(gen="ranpac", norm="none", parameters={"gen.features": 300}).fit(X, Y)
    check = export_head(clf, tmp_path / "head.onnx", Q)
    assert check.different == check.open <= 2
    found = scores(tmp_path / "head.onnx", "embeddings", Q[:7])
    np.testing.assert_allclose(found, clf.decision_function(Q[:7]), rtol=1e-4, atol=1e-4)


def test_a_file_that_predicts_otherwise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clf = Imprinter(gen="mean").fit(X, Y)
    other = Imprinter(gen="mean", classes=[3, 7, 1000, -5]).fit(X, Y)
    monkeypatch.setattr(clf, "to_torch", other.to_torch)
    with pytest.raises(StageError, match="the exported file predicts otherwise than the estimator on"):
        export_head(clf, tmp_path / "head.onnx", Q)


@pytest.mark.parametrize("temperature", [1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_small_temperature_leaves_near_ties_open(metric: str, temperature: float) -> None:
    """Each sample has a twin of another class, some roundings away; float32 tells few of them apart."""
    rng = np.random.default_rng(0)
    twins = (X * (1 + 1e-7 * rng.normal(size=X.shape))).astype(np.float32)
    classes = np.unique(Y)
    labels = np.concatenate([Y, np.roll(classes, 1)[np.searchsorted(classes, Y)]])
    clf = Imprinter(
        gen="all", agg="mnn", m=6, metric=metric, weighting="softmax", parameters={"agg.temperature": temperature}
    ).fit(np.concatenate([X, twins]), labels)
    wanted, found = clf.decision_function(Q), clf.to_torch()(torch.from_numpy(Q)).detach().numpy()
    bound = float32_bound(clf, Q)
    assert (np.abs(found - wanted).max(axis=1) <= 2 * bound).all()
    ranked = np.sort(wanted, axis=1)
    different = found.argmax(axis=1) != wanted.argmax(axis=1)
    assert (ranked[different, -1] - ranked[different, -2] <= 2 * bound[different]).all()


def test_a_bound_of_votes_leaves_most_of_them_decided() -> None:
    """A warm softmax, and the usual weights: otherwise the check of a file could not fail."""
    for weighting in WEIGHTINGS:
        clf = Imprinter(gen="all", agg="mnn", m=6, weighting=weighting).fit(X, Y)
        ranked = np.sort(clf.decision_function(Q), axis=1)
        assert np.mean(ranked[:, -1] - ranked[:, -2] > 2 * float32_bound(clf, Q)) > 0.9


def test_weights_beyond_the_format_are_refused_before_they_are_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clf = Imprinter(gen="mean", norm="none", metric="class_mahalanobis").fit(X, Y)
    export = partial(export_head, clf, tmp_path / "head.onnx", Q)
    monkeypatch.setattr(exporting, "LARGEST", 5 * 24**2 * 8)
    monkeypatch.setattr(exporting, "_export", None)
    with pytest.raises(TypeError):  # it fits
        export()
    monkeypatch.setattr(exporting, "LARGEST", 4 * 24**2 * 8)
    with pytest.raises(StageError, match=r"an ONNX file holds 0\.00 GB .* ends in \.safetensors, which may be larger"):
        export()


def test_too_many_proxies_for_a_graph_of_distances_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "MOST", 10)
    clf = Imprinter(k=20, metric="manhattan").fit(X, Y)
    with pytest.raises(StageError, match="62 proxies are too many for an exported graph of distances, which takes 10"):
        export_head(clf, tmp_path / "head.onnx", Q)
    assert not list(tmp_path.iterdir())


def test_the_check_says_what_it_found() -> None:
    assert str(Check(540, 0, 0)) == "all 540 predictions are equal"
    assert str(Check(540, 2, 2, 1e-6)) == (
        "2 of 540 predictions differ, all where rounding decides; embeddings differ by 1.0e-06 of their length at most"
    )


def test_safetensors_and_onnx(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--outputs", str(settings.outputs)]
    main([cell_id(settings), "--to", str(tmp_path / "head.safetensors"), *place])
    assert "30 proxies of 10 classes, 7,680 bytes" in capsys.readouterr().out
    clf = Imprinter.load(tmp_path / "head.safetensors")
    assert clf.provenance_["model"]["name"] == "pixels"
    main([cell_id(settings), "--to", str(tmp_path / "head.onnx"), *place])
    assert "run by onnxruntime: all 540 predictions are equal" in capsys.readouterr().out
    main([cell_id(settings), "--to", str(tmp_path / "model.onnx"), "--with-model", *place])
    assert "predictions" in capsys.readouterr().out
    about = {one.key: one.value for one in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert about["preprocessing"]
    assert json.loads(about["provenance"])["cell_id"].startswith(cell_id(settings))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "head.pt"], "expected a name that ends in .safetensors or .onnx, got head.pt"),
        (["--to", "head.safetensors", "--with-model"], "--with-model makes an ONNX file"),
        (["--to", "no/such/head.onnx"], "there is no folder"),
        (["--to", " "], "is empty"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    words: list[str], message: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([cell_id(settings), *words, "--outputs", str(settings.outputs)])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_network_whose_embeddings_were_imported_is_not_known(settings: Settings, tmp_path: Path) -> None:
    cell = composed(["model=imported", "model.name=mynet", "task=digits"], settings)
    with pytest.raises(ConfigError, match="the embeddings of mynet were imported: its network is not known here"):
        export_with_network(Imprinter(), cell, settings, tmp_path / "model.onnx")


def test_without_the_extra_a_message_says_how_to_get_it(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SystemExit) as end:
        main([cell_id(settings), "--to", str(tmp_path / "head.onnx"), "--outputs", str(settings.outputs)])
    assert end.value.code == 2
    assert "pip install imprint-sweep[export]" in capsys.readouterr().err
    assert not (tmp_path / "head.onnx").exists()
