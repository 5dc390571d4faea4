"""The command that draws embeddings in two dimensions, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans

from imprint_sweep.analysis.report.samples import projections
from imprint_sweep.analysis.stats.projection import project
from imprint_sweep.cli.commands import projection
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.grid.cell import Model
from tests.analysis.frames import results
from tests.drawing import Draw, drawing

IMPORTED = ("model=imported", "model.name=net", "task=imported", "task.name=blobs")


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Draw:
    """Runs the command line in this process, from the folder of its outputs."""
    return drawing(projection, tmp_path, monkeypatch, capsys)


def store(outputs: Path, features: NDArray[np.float32], labels: NDArray[np.int64], model: str = "net") -> None:
    """Put embeddings where the command finds them, the same in both splits."""
    for split in ("train", "test"):
        key = EntryKey(Model(model, "imported"), "blobs", split)
        EmbeddingCache(outputs / "embeddings").write(key, features, labels, metadata={})


def blobs(d: int = 5, n: int = 30) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    labels = np.arange(n) % 3
    rng = np.random.default_rng(0)
    return (rng.normal(size=(3, d))[labels] * 3 + rng.normal(size=(n, d))).astype(np.float32), labels


def test_samples_means_and_proxies_are_drawn_and_written(tmp_path: Path, draw: Draw) -> None:
    features, labels = blobs()
    store(tmp_path, features, labels)
    finished = draw(*IMPORTED, "k=2", "norm.pre=none")
    assert finished.returncode == 0, finished.stderr
    path = tmp_path / "report" / "figures" / "projection-net-blobs-all.png"
    assert finished.stdout == f"30 samples, 3 labels: {path} (data: {path.stem}-data.csv)\n"
    with Image.open(path) as image:
        assert image.width > 1000
    data = pd.read_csv(path.with_name(f"{path.stem}-data.csv"), dtype={"label": str})
    assert data.groupby("kind").size().to_dict() == {"mean": 3, "proxy": 6, "sample": 30}
    # The plane is that of the singular vectors, up to signs.
    centred = features - features.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(centred)[2][:2]
    of_class = [np.flatnonzero(labels == value) for value in range(3)]
    found = data.loc[data["kind"] == "sample", ["x", "y"]].to_numpy()
    expected = centred[np.concatenate(of_class)] @ axes.T
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-5)
    means = np.array([centred[rows].mean(axis=0) for rows in of_class]) @ axes.T * signs
    np.testing.assert_allclose(data.loc[data["kind"] == "mean", ["x", "y"]], means, atol=1e-5)
    fits = [KMeans(n_clusters=2, random_state=0).fit(features[rows]).cluster_centers_ for rows in of_class]
    proxies = (np.concatenate(fits) - features.mean(axis=0)) @ axes.T * signs
    shown = data.loc[data["kind"] == "proxy"].sort_values(["label", "x"])[["x", "y"]]
    expected = (
        pd.DataFrame(proxies, columns=["x", "y"]).assign(label=np.repeat(range(3), 2)).sort_values(["label", "x"])
    )
    np.testing.assert_allclose(shown, expected[["x", "y"]], atol=1e-4)
    (picture,) = projections(results([{}]), tmp_path / "report").pictures  # the report finds it
    assert picture.caption == "net on blobs, classes all: training split, norm.pre = none, k = 2, seed 0"


def test_the_same_words_give_the_same_picture(tmp_path: Path, draw: Draw) -> None:
    store(tmp_path, *blobs())
    path = tmp_path / "report" / "figures" / "projection-net-blobs-2-0.png"
    words = (*IMPORTED, "task.classes=[2,0]", "samples=4")
    assert draw(*words).stdout.startswith("8 samples, 2 labels")
    first = path.read_bytes()
    draw(*words)
    assert path.read_bytes() == first
    for number, (other, suffix) in enumerate((("seed=1", "png"), ("norm.pre=none", "svg"), ("k=1", "pdf"))):
        finished = draw(*words, other, f"file={tmp_path}/{number}/mine.{suffix}")
        assert finished.returncode == 0, finished.stderr
        made = sorted(path.name for path in (tmp_path / str(number)).iterdir())
        assert made == ["mine-data.csv", f"mine.{suffix}"]
        assert (tmp_path / str(number) / f"mine.{suffix}").read_bytes() != first
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "features",
    [np.ones((6, 4)), np.ones((6, 1)), np.arange(6)[:, None], np.eye(6, 2) * 1e6],
    ids=["equal", "equal numbers", "a line", "two dimensions"],
)
def test_embeddings_that_span_no_plane_are_drawn_too(tmp_path: Path, draw: Draw, features: NDArray[np.float64]) -> None:
    store(tmp_path, features.astype(np.float32), np.arange(6) % 2)
    finished = draw(*IMPORTED, "norm.pre=none")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""


def test_a_name_with_a_slash_is_one_file(tmp_path: Path, draw: Draw) -> None:
    store(tmp_path, *blobs(), model="lib/net")
    finished = draw("model=imported", "model.name=lib/net", *IMPORTED[2:])
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "report" / "figures" / "projection-lib%2Fnet-blobs-all.png").is_file()


def test_shares_are_those_of_the_variance() -> None:
    rng = np.random.default_rng(1)
    samples = [rng.normal(size=(20, 4)) * [5, 3, 1, 1], rng.normal(size=(9, 4)) + 2]
    _, shares = project(samples)
    variance = np.linalg.svd(np.concatenate(samples) - np.concatenate(samples).mean(axis=0))[1] ** 2
    assert shares == pytest.approx(tuple(variance[:2] / variance.sum()))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["k=0"], "k must be at least 1, got 0"),
        (["samples=0"], "samples must be at least 1, got 0"),
        (["norm.pre=l3"], "unknown norm.pre 'l3'. Available: l2, none"),
        (["norm.pre=quantile"], "unknown norm.pre 'quantile'"),
        (["norm.post=l2"], "norm.post"),
        (["task.classes=[7]"], "has no class 7"),
        (["model.name=other"], "there are no embeddings of other (imported) on blobs train; make them with: "),
        (["file=sheet.xyz"], "unknown suffix of file '.xyz'"),
        (["file=data/x/sheet.png"], "cannot write the picture to "),
        (["sample=3"], "did you mean samples"),
    ],
)
def test_bad_input_is_a_sentence(tmp_path: Path, draw: Draw, overrides: list[str], reason: str) -> None:
    store(tmp_path, *blobs())
    (tmp_path / "data").touch()
    finished = draw(*IMPORTED, *overrides)
    assert finished.returncode == 2, finished.stdout
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line
    assert not list(tmp_path.rglob("*.png"))
