"""The benchmark of the paper's grid on a hundredth of its samples: it runs, and stand-ins have the shapes they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey
from imprint_sweep.grid.cell import Model
from tests import data
from tests.outputs import ROOT


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entry that stands for real embeddings."""
    cache = EmbeddingCache(tmp_path_factory.mktemp("real"))
    blobs = data.blobs("fashion_mnist", train_sizes=dict.fromkeys(range(10), 50), test_size=20, d=600)
    for split, samples in zip(SPLITS, (blobs.train, blobs.test), strict=True):
        cache.write(EntryKey(Model("toy", "none"), blobs.name, split), samples.features, samples.labels, metadata={})
    return cache.path(EntryKey(Model("toy", "none"), blobs.name, "train"))


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import grid

    return grid


def test_stand_ins_have_the_paper_s_shapes(grid, real: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    stand_ins = grid.StandIns.read(real, 1.0)
    totals = {(name, split): sum(sizes.values()) for (name, split), sizes in grid.SIZES.items()}
    assert totals["mnist", "train"] == totals["fashion_mnist", "train"] == 60_000
    assert totals["mnist", "test"] == totals["cifar10", "test"] == 10_000
    assert (totals["cifar10", "train"], totals["svhn", "train"], totals["svhn", "test"]) == (50_000, 73_257, 26_032)
    assert (totals["usps", "train"], totals["usps", "test"], totals["imagenet", "test"]) == (7_291, 2_007, 5_000)
    assert len(grid.SIZES["imagenet", "train"]) == 100
    for model, width in grid.WIDTHS.items():
        rows = stand_ins.rows(model, "usps", "train", 3)
        assert rows.shape == (658, width)
        assert rows.dtype == np.float32
        assert np.array_equal(rows, stand_ins.rows(model, "usps", "train", 3))
        columns = np.bincount(stand_ins.columns(model), minlength=600)
        assert columns.max() - columns.min() <= 1
    label = grid.IMAGENET_SAMPLE[57]
    assert len(stand_ins.rows("resnet18", "imagenet", "train", label)) == grid.SIZES["imagenet", "train"][label]
    # A header that is made up says what an entry that is written says.
    small = grid.StandIns.read(real, 0.01)
    cache = EmbeddingCache(tmp_path)
    small.write(cache, "resnet18", "imagenet")
    for split in ("train", "test"):
        key = EntryKey(Model("resnet18", grid.WEIGHTS), "imagenet", split)
        written, said = cache.header(key), small.header(key)
        assert written is not None
        assert (written.n, written.d, dict(written.class_counts)) == (said.n, said.d, said.class_counts)
        assert written.embedded_classes == frozenset(grid.IMAGENET_SAMPLE)


def test_the_benchmark_runs_slices_and_extrapolates(real: Path) -> None:
    words = ["benchmarks/grid.py", str(real), "--scale", "0.01", "--part", "slices", "--model", "resnet18"]
    finished = subprocess.run(
        [sys.executable, *words, "--experiment", "collapse_combi_digits_oracle"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert "Traceback" not in finished.stderr, finished.stderr
    out = finished.stdout
    assert "planned: 180 distinct cells of collapse_combi_digits_oracle" in out
    assert "+experiment=collapse_combi_digits_oracle model=resnet18 task=combi_digits" in out
    for word in ("factorization", "kmeans", "rest", "GFLOP/s", "hours of the chosen experiments"):
        assert word in out
