"""A fitted classifier taken elsewhere, as a torch module or a file, predicts the same."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.errors import ImprinterError
from imprint_sweep.imprinting.components import GENS, METRICS, WEIGHTINGS, MappedMetric
from imprint_sweep.imprinting.keyed_labels import KeyedLabels
from tests import data

BLOBS = data.blobs(train_sizes={7: 40, -5: 25, 1000: 33, 3: 2}, d=24, test_size=60)
X, Y = BLOBS.train.features, BLOBS.train.labels
Q = BLOBS.test.features

AGGS: list[dict[str, Any]] = [
    *({"agg": "max", "metric": metric} for metric in METRICS),
    *({"agg": "lse", "metric": metric, "parameters": {"agg.temperature": 0.3}} for metric in METRICS),
    {"agg": "mnn", "metric": "cosine", "m": 4, "weighting": "softmax"},
    *(
        {"agg": "mnn", "metric": name, "m": m, "weighting": weighting}
        for name, metric in METRICS.items()
        if metric.is_distance
        for m, weighting in (
            (1, "inverse_distance"),
            (4, "inverse_distance"),
            (4, "uniform"),
            (500, "inverse_distance"),
        )
    ),
]


# --- torch ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["none", "l2", "quantile"])
@pytest.mark.parametrize("agg", AGGS, ids=str)
def test_the_module_scores_as_the_estimator_does(agg: dict[str, Any], norm: str) -> None:
    clf = Imprinter(gen="kmeans", k=7, norm=norm, **agg).fit(X, Y)
    with torch.no_grad():
        scores = clf.to_torch()(torch.from_numpy(Q)).numpy()
    expected = clf.decision_function(Q)
    assert scores.shape == expected.shape
    assert scores.dtype == (np.float64 if isinstance(METRICS[agg["metric"]], MappedMetric) else np.float32)
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=1e-5)
    # Equal where the margin lets the module see it.
    best = np.sort(expected, axis=1)
    visible = 1e-3 if scores.dtype == np.float32 else 1e-7
    clear = best[:, -1] - best[:, -2] > visible * np.abs(best).max(axis=1)
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(clf.classes_[scores.argmax(axis=1)][clear], clf.predict(Q)[clear])


@pytest.mark.parametrize("gen", GENS)
def test_every_gen_makes_a_module(gen: str) -> None:
    clf = Imprinter(gen=gen, k=3, norm_post="none" if GENS[gen].biased else None).fit(X, Y)
    head = clf.to_torch()
    scores = head(torch.from_numpy(Q))
    np.testing.assert_allclose(scores.numpy(), clf.decision_function(Q), rtol=1e-4, atol=1e-5)
    assert not scores.requires_grad
    assert list(head.parameters()) == []
    assert "norm_inf=l2, metric=inner_product, agg=max" in repr(head)


def test_a_module_owns_its_numbers_and_has_a_column_for_each_of_two_classes() -> None:
    clf = Imprinter(gen="mean").fit(X[Y != 3], Y[Y != 3]).remove_class(7)
    head = clf.to_torch()
    before = clf.proxies_.copy()
    for buffer in head.buffers():
        buffer.zero_()
    np.testing.assert_array_equal(clf.proxies_, before)
    scores = clf.to_torch()(torch.from_numpy(Q)).numpy()
    assert scores.shape == (len(Q), 2)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], clf.decision_function(Q), atol=1e-6)


def test_a_module_passes_gradients_to_embeddings_and_can_be_copied() -> None:
    head = Imprinter(k=3).fit(X, Y).to_torch()
    embeddings = torch.from_numpy(Q.copy()).requires_grad_()
    head(embeddings).sum().backward()
    assert embeddings.grad is not None
    again = pickle.loads(pickle.dumps(head))
    assert torch.equal(again(torch.from_numpy(Q)), head(torch.from_numpy(Q)))
    other = Imprinter(k=3, seed=1).fit(X, Y).to_torch()
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(torch.from_numpy(Q)), head(torch.from_numpy(Q)))


@pytest.mark.parametrize("agg", AGGS, ids=str)
def test_half_precision_is_compared_in_float32(agg: dict[str, Any]) -> None:
    head = Imprinter(k=3, **agg).fit(X, Y).to_torch()
    rounded = torch.from_numpy(Q).half()  # of a network in half precision
    assert torch.equal(head(rounded), head(rounded.float()))
    assert head(rounded).dtype == head(rounded.double()).dtype == head(rounded.int()).dtype
    doubled = copy.deepcopy(head).double()
    torch.testing.assert_close(doubled(rounded), head(rounded).double(), rtol=1e-4, atol=1e-4)
    for narrow in (torch.float16, torch.bfloat16):
        scores = copy.deepcopy(head).to(narrow)(rounded.to(narrow))
        assert scores.dtype == torch.float32
        assert (scores.argmax(dim=1) == head(rounded).argmax(dim=1)).float().mean() > 0.95


def test_a_module_takes_rows_of_embeddings() -> None:
    head = Imprinter(k=3).fit(X, Y).to_torch()
    for shape in [(64,), (2, 30, 64)]:
        with pytest.raises(ValueError, match=r"expected embeddings \(b, d\), got \("):
            head(torch.zeros(shape))
    compiled = torch.compile(head, backend="eager", fullgraph=True)
    assert torch.equal(compiled(torch.from_numpy(Q)), head(torch.from_numpy(Q)))
    exported = torch.export.export(head, (torch.from_numpy(Q[:2]),), dynamic_shapes=({0: torch.export.Dim("b")},))
    assert torch.equal(exported.module()(torch.from_numpy(Q)), head(torch.from_numpy(Q)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
@pytest.mark.parametrize("agg", AGGS, ids=str)
def test_a_module_runs_on_an_accelerator(agg: dict[str, Any]) -> None:
    clf = Imprinter(k=7, **agg).fit(X, Y)
    scores = clf.to_torch().to("cuda")(torch.from_numpy(Q).to("cuda")).cpu().numpy()
    np.testing.assert_allclose(scores, clf.decision_function(Q), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", ["none", "l2", "quantile"])
@pytest.mark.parametrize("gen", ["mean", "least_squares"])
def test_one_proxy_per_class_under_products_is_a_linear_layer(gen: str, norm: str) -> None:
    clf = Imprinter(gen=gen, norm=norm).fit(X, Y)
    layer = clf.to_linear()
    assert (layer.in_features, layer.out_features) == (24, 4)
    assert list(layer.state_dict()) == ["weight"]
    with torch.no_grad():
        scores = layer(torch.from_numpy(Q)).numpy()
    np.testing.assert_array_equal(clf.classes_[scores.argmax(axis=1)], clf.predict(Q))
    lengths = np.linalg.norm(Q, axis=1, keepdims=True) if norm == "l2" else 1.0
    np.testing.assert_allclose(scores, lengths * clf.decision_function(Q), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"k": 3}, "one weight vector per class, and here a class has 3"),
        ({"gen": "mean", "metric": "euclidean"}, "metric=euclidean is no linear layer"),
        ({"gen": "mean", "agg": "mnn"}, "agg=mnn metric=euclidean is no linear layer"),
    ],
)
def test_what_is_no_linear_layer_says_why(parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(ImprinterError, match=reason):
        Imprinter(**parameters).fit(X, Y).to_linear()


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agg", AGGS, ids=str)
@pytest.mark.parametrize("norm", ["none", "l2", "quantile"])
def test_a_loaded_classifier_is_the_saved_one(agg: dict[str, Any], norm: str, tmp_path: Path) -> None:
    clf = Imprinter(k=3, norm=norm, **agg).fit(X, Y)
    clf.save(tmp_path / "head.safetensors")
    again = Imprinter.load(tmp_path / "head.safetensors")
    assert again.get_params() == clf.get_params()
    np.testing.assert_array_equal(again.proxies_, clf.proxies_)
    np.testing.assert_array_equal(again.decision_function(Q), clf.decision_function(Q))
    here, there = (one.add_class(X[:5], 11).remove_class(7).decision_function(Q) for one in (clf, again))
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize(
    "labels",
    [
        Y.astype(np.int16),
        Y > 5,
        Y.astype(float),
        np.array(["größe", "b", "c"])[Y % 3],
        np.array(["a", "b", "c"], dtype=object)[Y % 3],
    ],
)
def test_labels_keep_their_type(labels: Any, tmp_path: Path) -> None:
    clf = Imprinter(k=3).fit(X, labels)
    clf.save(tmp_path / "head")
    again = Imprinter.load(tmp_path / "head")
    assert again.classes_.dtype == clf.classes_.dtype
    assert again.predict(Q).tolist() == clf.predict(Q).tolist()


def test_parameters_of_numpy_keys_names_and_provenance_are_kept(tmp_path: Path) -> None:
    import pandas as pd

    keys = {number: (("blobs", number),) for number in BLOBS.classes}
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(24)])
    clf = Imprinter(k=np.int64(2), classes=np.array([1000, 7, 3, -5])).fit(frame, KeyedLabels(Y, keys))  # type: ignore[arg-type]
    clf.save(tmp_path / "head", provenance={"from": "a test"})
    again = Imprinter.load(tmp_path / "head")
    assert again.keys_ == clf.keys_ == tuple(keys[number] for number in (1000, 7, 3, -5))
    assert again.feature_names_in_.tolist() == list(frame.columns)
    assert again.provenance_ == {"from": "a test"}
    assert again.remove_class(7).provenance_ == {"from": "a test", "classes_changed": True}
    assert again.get_params()["classes"] == [1000, 7, 3, -5]


def test_what_changed_after_fitting_is_no_part_of_the_predictions(tmp_path: Path) -> None:
    clf = Imprinter(k=3).fit(X, Y)
    before = clf.predict(Q)
    clf.set_params(metric="manhattan", k=0).save(tmp_path / "head")
    again = Imprinter.load(tmp_path / "head")
    np.testing.assert_array_equal(again.predict(Q), before)
    assert again.get_params()["metric"] == "manhattan"


def test_other_programs_read_the_proxies(tmp_path: Path) -> None:
    clf = Imprinter(k=3).fit(X, Y)
    clf.save(tmp_path / "head")
    arrays = load_file(tmp_path / "head")
    np.testing.assert_array_equal(arrays["proxies"], clf.proxies_)
    np.testing.assert_array_equal(clf.classes_[arrays["labels"]], clf.proxy_labels_)


def test_a_damaged_or_foreign_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "head"
    Imprinter(gen="mean").fit(X, Y).save(path)
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    other_words = whole.replace(b"euclidean", b"euclidian").replace(b"kmeans", b"kmeanz").replace(b"inner", b"outer")
    cases: dict[str, bytes] = {
        "flipped": bytes(flipped),
        "words": other_words,
        "half": whole[: len(whole) // 2],
        "header": whole[: header // 2],
        "empty": b"",
        "text": b"not found",
        "page": b"<!doctype html><html></html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "pickle": pickle.dumps({"a": 1}),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    save_file({"proxies": np.zeros((2, 2), np.float32)}, tmp_path / "foreign")
    save_tensors({"a": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "other", metadata={"format": "pt"})
    (tmp_path / "folder").mkdir()
    for name in [*cases, "foreign", "other", "folder", "nothing"]:
        with pytest.raises(ImprinterError) as caught:
            Imprinter.load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(Imprinter.load(path).predict(Q), Imprinter(gen="mean").fit(X, Y).predict(Q))


def test_a_file_of_a_later_format_asks_for_an_update(tmp_path: Path) -> None:
    save_file(
        {"proxies": np.zeros((2, 2), np.float32)},
        tmp_path / "later",
        metadata={"format": "imprint_sweep.Imprinter", "format_version": "2"},
    )
    with pytest.raises(ImprinterError, match="format version 2, this version of imprint_sweep reads 1; update"):
        Imprinter.load(tmp_path / "later")


def test_what_cannot_be_written_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    clf = Imprinter(k=3).fit(X, Y)
    clf.save(tmp_path / "head")
    before = (tmp_path / "head").read_bytes()
    clf.set_params(parameters={"gen.trim": object()})
    with pytest.raises(ImprinterError, match="a parameter or provenance is no JSON"):
        clf.save(tmp_path / "head")
    assert (tmp_path / "head").read_bytes() == before
    clf.set_params(parameters=None)
    places: list[tuple[str | Path, str]] = [
        (tmp_path / "no" / "head", "there is no folder "),
        (tmp_path, "Is a directory"),
        ("", "has an empty name"),
        ("a\0b", "embedded null"),
    ]
    for place, reason in places:
        with pytest.raises(ImprinterError, match=f"cannot save to .*: .*{reason}"):
            clf.save(place)
    others: list[Any] = [[7], {"path": tmp_path}, {"accuracy": float("nan")}]
    for provenance in others:
        with pytest.raises(ImprinterError, match="provenance"):
            clf.save(tmp_path / "head", provenance=provenance)
    assert (tmp_path / "head").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head"]


def test_the_metadata_say_what_the_file_is(tmp_path: Path) -> None:
    from safetensors import safe_open

    Imprinter(k=3, seed=4).fit(X, Y).save(tmp_path / "head")
    with safe_open(tmp_path / "head", "numpy") as file:
        about = json.loads(file.metadata()["about"])
    assert about["scheme"]["gen"] == "kmeans"
    assert about["parameters"]["seed"] == 4
    assert about["versions"].keys() == {"imprint_sweep", "numpy", "scikit-learn"}
    assert "gen:kmeans=2" in about["component_versions"]
    assert {weighting in str(about) for weighting in WEIGHTINGS} == {True, False}
