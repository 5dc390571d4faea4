"""A classifier as an ONNX file, alone or behind its network, checked against the estimator by running it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imprint_sweep import __version__
from imprint_sweep.api.imprinter import Imprinted, Imprinter
from imprint_sweep.api.samples import features_of, samples
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import EntryKey, limited_indices
from imprint_sweep.errors import ConfigError, DatasetError, StageError
from imprint_sweep.extraction.datasets import read_split
from imprint_sweep.extraction.models import load_model
from imprint_sweep.extraction.tokens import Tokenizer
from imprint_sweep.extraction.transforms import BatchTransform
from imprint_sweep.files.replacing import replacing
from imprint_sweep.grid.cell import Cell, Precision
from imprint_sweep.grid.choosing import IMPORTED, chosen_model
from imprint_sweep.imprinting.components import WEIGHTINGS
from imprint_sweep.imprinting.vectors import error_bound

IMAGES = 1000
"""Images at most that a file with a network is checked on."""

BATCH = 64

MORE = 64
"""Proxies beyond those that vote which are looked at for some that are as near as the last."""

LARGEST = 2**31 - 2**24
"""Bytes of weights that fit into an ONNX file, whose format ends at 2^31, with room for the graph."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Check:
    """Predictions of a file beside those of the estimator.

    Args:
        samples: how many were compared.
        different: how many differ.
        open: how many of these have two classes so close that rounding decides.
        largest: the largest difference of an embedding, relative to its length; 0 for a head alone.
    """

    samples: int
    different: int
    open: int
    largest: float = 0.0

    def __str__(self) -> str:
        apart = f"; embeddings differ by {self.largest:.1e} of their length at most" if self.largest else ""
        if not self.different:
            return f"all {self.samples:,} predictions are equal{apart}"
        return f"{self.different:,} of {self.samples:,} predictions differ, all where rounding decides{apart}"


def export_head(clf: Imprinter, path: Path, embeddings: NDArray[np.float32]) -> Check:
    """Write a classifier as ONNX: ``embeddings`` (b, d) float32 to ``scores`` (b, C) in the order of the classes.

    Args:
        clf: fitted.
        path: where to.
        embeddings: (n, d), on which the file is checked.

    Raises:
        ConfigError: the extra `export` is not installed.
        StageError: the file predicts otherwise where the margin is above the bound of float32, or is too large.
    """
    head = clf.to_torch()
    _check_size(head)
    _export(head, (embeddings[:2],), path, ["embeddings"], ["scores"], _about(clf, {"input": "embeddings"}))
    (scores,) = _run(path, {"embeddings": embeddings}, len(embeddings))
    return _checked(clf, embeddings, scores, bound=float32_bound(clf, embeddings))


def export_with_network(clf: Imprinter, cell: Cell, settings: Settings, path: Path) -> Check:
    """Write network and classifier as one ONNX file: ``images`` to ``scores`` and ``embeddings``.

    Args:
        clf: the fitted classifier of the cell.
        cell: which.
        settings: where images and embeddings are.
        path: where to.

    Raises:
        ConfigError: the extra `export` is not installed, the network computes in half precision, or it is not known.
        DatasetError: the images on which the file is checked are not there.
        StageError: the file predicts otherwise where the margin is above what the difference of embeddings explains.
    """
    if cell.model.precision != Precision.FLOAT32:
        raise ConfigError(
            f"the network of this cell computes in {cell.model.precision}, and a file would in float32: its embeddings "
            "are another model's; export the head alone"
        )
    if chosen_model(cell.model)["model"] == IMPORTED:
        raise ConfigError(
            f"the embeddings of {cell.model.name} were imported: its network is not known here; export the head alone"
        )
    network = load_model(cell.model)
    transform = network.transform
    if isinstance(transform, Tokenizer):
        raise ConfigError(
            f"{cell.model.name} embeds texts, and an ONNX file would lack its tokenizer; export the head alone"
        )
    whole = _WithNetwork(network.module, clf.to_torch())
    _check_size(whole)
    images, cached = _test_images(cell, settings, transform)
    about = _about(clf, {"input": "images", "preprocessing": str(transform)})
    names = ["scores", "embeddings"]
    _export(whole, (images[:2],), path, ["images"], names, about)
    scores, embeddings = _run(path, {"images": images}, BATCH)
    moved = np.abs(_scores(clf, embeddings) - _scores(clf, cached)).max(axis=1)
    bound = moved + float32_bound(clf, embeddings)
    apart = np.linalg.norm(embeddings - cached, axis=1) / np.maximum(np.linalg.norm(cached, axis=1), 1e-30)
    return _checked(clf, cached, scores, bound=bound, largest=float(apart.max()))


def float32_bound(clf: Imprinter, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """What float32 may change of a score, (n,): twice (d + 32) 2^-23 of the largest value in computing it.

    It is the bound of an inner product or a distance (method, section 7), and the score of a class changes by no more.
    Votes change as their weights do, and where others than the nearest may vote. A map of queries is computed in
    float64 on both sides.
    """
    of = clf._imprinted
    queries = of.queries(embeddings, of.scheme.setting("norm_inf"))
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    longest = np.linalg.norm(of.proxies.astype(np.float64), axis=1).max()
    products = lengths * longest + (0.0 if of.biases is None else float(np.abs(of.biases).max()))
    scores = np.abs(_scores(clf, embeddings)).max(axis=1)
    relative, least = 2 * error_bound(queries.shape[1]), np.maximum(1.0, products)
    if of.scheme.m is None:
        return np.asarray(relative * np.maximum(scores, least))
    m = min(of.scheme.m, len(of.proxies))
    distances = of.distances(embeddings, m + MORE)
    off = relative * np.maximum(distances[:, m - 1], least)
    return np.asarray(2 * error_bound(m) * scores + _votes_off(of, distances, m, off[:, None]))


def _votes_off(of: Imprinted, distances: NDArray[np.float64], m: int, off: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the votes of a class may change by, (n,).

    Args:
        of: the classifier.
        distances: (n, M) from the nearest proxies, nearest first.
        m: how many of them vote.
        off: (n, 1) by how much each distance may change.
    """
    nearest, others = distances[:, :1], distances[:, 1:]
    apart = np.concatenate([np.maximum(nearest - off, 0.0), others + off], axis=1)
    close = np.concatenate([nearest + off, np.maximum(others - off, nearest + off)], axis=1)
    weighting = WEIGHTINGS[of.scheme.setting("weighting")]
    weights = np.stack([weighting.weights(apart), weighting.weights(close)])
    changed: NDArray[np.float64] = np.abs(weights[0] - weights[1])[:, :m].sum(axis=1)
    # Some may be as near as the last that votes: each of them votes, or does not.
    level = np.abs(distances - distances[:, m - 1 : m]) <= 2 * off
    open_ = level[:, m:].any(axis=1)
    changed[open_] += (level * weights.max(axis=0)).sum(axis=1)[open_]
    if distances.shape[1] < len(of.proxies):
        changed[level[:, -1]] = np.inf  # more of them than were looked at
    return changed


class _WithNetwork(torch.nn.Module):
    def __init__(self, network: torch.nn.Module, head: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings = self.network(images).flatten(1)
        return self.head(embeddings), embeddings


def _test_images(
    cell: Cell, settings: Settings, transform: BatchTransform
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Test images of the task as the network takes them, and their cached embeddings."""
    key = EntryKey(cell.model, cell.task.datasets[0], "test", cell.task.limit)
    entry = settings.cache.open(key)
    split = read_split(key.dataset, key.split, settings.data)
    rows = limited_indices(len(split.labels), key.limit)
    if not np.array_equal(split.labels[rows], entry.labels):
        raise DatasetError(f"{split.source} has other images than the cache's {key}; export the head alone")
    chosen = limited_indices(len(rows), IMAGES)
    images = [transform(split.images[int(row)][None]).numpy() for row in rows[chosen]]
    return np.concatenate(images), np.array(entry.features[chosen])


def _scores(clf: Imprinter, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """The score of every class, (n, C), also of two."""
    scores = clf.decision_function(embeddings)
    return scores if scores.ndim == 2 else np.stack([np.zeros(len(scores)), scores], axis=1)


def _checked(
    clf: Imprinter, embeddings: NDArray[np.float32], scores: Floats, *, bound: NDArray[np.float64], largest: float = 0.0
) -> Check:
    predicted = clf.classes_[scores.argmax(axis=1)]
    different = predicted != clf.predict(embeddings)
    ranked = np.sort(_scores(clf, embeddings), axis=1)
    margin = ranked[:, -1] - ranked[:, -2] if ranked.shape[1] > 1 else np.full(len(ranked), np.inf)
    undecided = different & (margin <= 2 * bound)
    check = Check(len(scores), int(different.sum()), int(undecided.sum()), largest)
    if check.open < check.different:
        raise StageError(
            f"the exported file predicts otherwise than the estimator on {check.different - check.open:,} of "
            f"{check.samples:,} samples where rounding decides nothing; this is a bug of the export"
        )
    return check


def _about(clf: Imprinter, what: Mapping[str, str]) -> dict[str, str]:
    """What the file says of itself."""
    return {
        **what,
        "classes": json.dumps(clf.classes_.tolist()),
        "parameters": json.dumps({name: value for name, value in clf.get_params().items() if name != "classes"}),
        "provenance": json.dumps(clf.provenance_),
        "imprint_sweep": __version__,
    }


def _check_size(module: torch.nn.Module) -> None:
    """Refuse what no ONNX file can hold, before minutes are spent on its graph.

    Raises:
        StageError: it is too large.
    """
    n_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
    if n_bytes > LARGEST:
        raise StageError(
            f"an ONNX file holds {LARGEST / 1e9:.2f} GB of weights at most, and these are {n_bytes / 1e9:.2f} GB; "
            "write the head to a file that ends in .safetensors, which may be larger"
        )


def _export(
    module: torch.nn.Module,
    example: tuple[NDArray[np.float32]],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    about: Mapping[str, str],
) -> None:
    onnx = _runtime()[0]
    batch = torch.export.Dim("batch")
    # torch's exporter tells of its own deprecated calls, and of the operators of packages that are not installed.
    with warnings.catch_warnings(action="ignore"):
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            program = torch.onnx.export(
                module.eval(),
                tuple(map(torch.from_numpy, example)),
                dynamo=True,
                dynamic_shapes=({0: batch},),
                input_names=inputs,
                output_names=outputs,
                verbose=False,
            )
        except Exception as error:  # of the exporter's own, whatever went wrong in the module
            if isinstance(error.__cause__, StageError):
                raise error.__cause__ from None
            raise
        finally:
            logging.disable(before)
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, dict(about))
    try:
        with replacing(path) as file:
            onnx.save(model, file)
    except OSError as error:
        raise ConfigError(f"cannot export to {path}: {error.strerror or error}") from error


def _run(path: Path, inputs: Mapping[str, NDArray[np.float32]], batch: int) -> list[Floats]:
    """The outputs of a file."""
    session = _runtime()[1].InferenceSession(str(path), providers=["CPUExecutionProvider"])
    n = len(next(iter(inputs.values())))
    parts = [
        session.run(None, {name: values[start : start + batch] for name, values in inputs.items()})
        for start in range(0, n, batch)
    ]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _runtime() -> tuple[ModuleType, ModuleType]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise ConfigError(
            f"an ONNX file needs the extra `export` ({error}): pip install imprint-sweep[export]"
        ) from error
    return onnx, onnxruntime


def embeddings_of_test(cell: Cell, settings: Settings) -> NDArray[np.float32]:
    """The test embeddings of a cell, (n, d)."""
    return samples(features_of(cell.model, cell.task, settings), cell.task, "test")[0]
