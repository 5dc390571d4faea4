"""Cells that are tested on held-out training samples: against scikit-learn, without a test split, and refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import normalize

import imprint_sweep as ims
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.engine import EngineSettings, Ledger, run
from imprint_sweep.grid.cell import Cell, Model
from imprint_sweep.grid.outcome import FAILED, OK
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.grid.tasks import make_task
from tests import data

PIXELS = Model("pixels", "raw")
DIGITS = make_task("digits", ["digits"], range(10))
Rows = NDArray[np.float32]
Samples = tuple[Rows, NDArray[np.int64]]


def stream(stage: str, seed: int, number: int) -> np.random.Generator:
    """The random generator of a draw, as docs/method.md has it in section 2, for one class of the digits."""
    key = json.dumps([stage, seed, [["digits", number]]], sort_keys=True, separators=(",", ":"))
    return np.random.default_rng(int(hashlib.blake2b(key.encode(), digest_size=10).hexdigest(), 16))


def split(x: Rows, y: NDArray[np.int64], n_shot: int | None, seed: int) -> tuple[Samples, Samples]:
    """What a validated cell is trained and tested on."""
    trained, tested = [], []
    for number in range(10):
        of_class = np.flatnonzero(y == number)
        if n_shot is not None:
            of_class = of_class[np.sort(stream("n_shot", seed, number).permutation(len(of_class))[:n_shot])]
        order = stream("validation", seed, number).permutation(len(of_class))
        fifth = len(of_class) // 5
        tested.append(of_class[np.sort(order[:fifth])])
        trained.append(of_class[np.sort(order[fifth:])])
    return tuple((x[rows], y[rows]) for rows in map(np.concatenate, (trained, tested)))  # type: ignore[return-value]


def centroids(train: Samples, queries: Rows, seed: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = NearestCentroid().fit(*train).predict(queries)
    return found


def seven_neighbors(train: Samples, queries: Rows, seed: int) -> NDArray[np.int64]:
    model = KNeighborsClassifier(7, algorithm="brute", weights=lambda distances: 1 / (distances + 1e-10))
    found: NDArray[np.int64] = model.fit(train[0].astype(np.float64), train[1]).predict(queries.astype(np.float64))
    return found


def clusters(train: Samples, queries: Rows, seed: int) -> NDArray[np.int64]:
    x, y = normalize(train[0]), train[1]
    fits = [KMeans(3, random_state=seed, n_init=1).fit(x[y == number]).cluster_centers_ for number in range(10)]
    proxies = normalize(np.concatenate(fits).astype(np.float64))
    nearest: NDArray[np.int64] = (queries.astype(np.float64) @ proxies.T).argmax(axis=1)
    return nearest // 3


L2 = {"norm_pre": "l2", "norm_post": "l2", "norm_inf": "l2"}


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_:UserWarning")  # some pixels are always black
@pytest.mark.parametrize("n_shot", [None, 5, 13])
@pytest.mark.parametrize(
    ("axes", "predict"),
    [
        ({"gen": "mean", "agg": "mnn", "metric": "euclidean", "m": 1, "weighting": "uniform"}, centroids),
        ({"gen": "all", "agg": "mnn", "metric": "euclidean", "m": 7, "weighting": "inverse_distance"}, seven_neighbors),
        ({"gen": "kmeans", "k": 3, **L2}, clusters),
    ],
    ids=["centroids", "neighbors", "clusters"],
)
def test_what_is_correct_is_what_scikit_learn_has_right(
    axes: dict[str, Any], predict: Callable[..., NDArray[np.int64]], n_shot: int | None, digits: EmbeddingCache
) -> None:
    entry = digits.open(EntryKey(PIXELS, "digits", "train"))
    cells = [
        Cell(PIXELS, DIGITS, Scheme.create(n_shot=n_shot, seed=seed, split="validation", **axes)) for seed in (0, 5)
    ]
    for outcome in run(cells, digits, EngineSettings()):
        seed = outcome.cell.scheme.seed
        train, (queries, truth) = split(np.array(entry.features), np.array(entry.labels), n_shot, seed)
        assert outcome.n_test == len(truth)
        assert outcome.n_correct == int((predict(train, queries, seed) == truth).sum())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    """The training images of the digits as they are, and no test split."""
    outputs = tmp_path_factory.mktemp("outputs")
    ims.load_embeddings("pixels", "digits", outputs=outputs)
    cache = EmbeddingCache(outputs / "embeddings")
    cache.path(EntryKey(PIXELS, "digits", "test")).unlink()
    return cache


BLOBS = data.clean()


def test_cells_share_the_split_and_what_is_made_of_it(tmp_path: Path) -> None:
    cache, ledger = EmbeddingCache(tmp_path), Ledger()
    data.write(cache, BLOBS)
    task = data.task(BLOBS)
    cells = [
        data.cell(task, split=split, gen="kmeans", k=k, agg=agg, metric=metric, norm_inf=inf)
        for split in ("test", "validation")
        for k in (2, 5)
        for agg in ("max", "mnn")
        for metric in ("cosine", "euclidean")
        for inf in ("none", "l2")
    ]
    outcomes = list(run(cells, cache, EngineSettings(threads=2), ledger=ledger))
    assert {outcome.status for outcome in outcomes} == {OK}
    assert ledger.calls["kmeans"] == 2 * 2 * len(task.labels)
    assert ledger.calls["queries"] == 2 * 2 * len(task.labels)
    assert {outcome.n_test for outcome in outcomes} == {36, 40 // 5 + 25 // 5 + 33 // 5}


def test_a_label_of_too_few_samples_fails_its_own_cells(tmp_path: Path) -> None:
    cache, uneven = EmbeddingCache(tmp_path), data.uneven()
    data.write(cache, uneven)
    small, large = data.task(uneven), data.task(uneven, classes=(0, 1))
    cells = [data.cell(task, gen="mean", split=split) for task in (small, large) for split in ("test", "validation")]
    outcomes = {outcome.cell: outcome for outcome in run(cells, cache, EngineSettings())}
    assert [outcomes[cell].status for cell in cells] == [OK, FAILED, OK, OK]
    assert outcomes[cells[1]].error == (
        "StageError: eval.split=validation holds out a fifth of the training samples of each label, and uneven:2 has "
        "only 3; it takes 5 or more"
    )
