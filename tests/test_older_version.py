"""Outputs as version 0.1.0 wrote them (``older_version/``): the cache opens, rows count as done, the report shows them.

It imported three blobs as ``mynet`` and ``mydata`` and ran the sweep below.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import imprint_sweep as ims
from imprint_sweep.cli.commands import best, compact, list_embeddings, report
from imprint_sweep.store import load_results

WRITTEN = Path(__file__).with_name("older_version")
GRID: dict[str, Any] = {
    "model": "imported",
    "model.name": "mynet",
    "task": "imported",
    "task.name": "mydata",
    "gen": ["mean", "kmeans", "random", "all"],
    "k": 2,
    "norm": ["l2", "none"],
    "agg": ["max", "mnn"],
    "m": 1,
    "metric": ["euclidean", "mahalanobis"],
    "seed": [0, 1],
}
NAMES = ["model.name=mynet", "task.name=mydata"]
ANEW = {"kmeans", "mahalanobis"}
"""Components whose version is another one now."""


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WRITTEN, tmp_path / "outputs"))


def test_rows_of_components_that_did_not_change_are_done_and_the_others_computed_anew(outputs: Path) -> None:
    before = load_results(outputs / "results").set_index("cell_id")
    rows = ims.sweep(**GRID, outputs=outputs, progress=False)
    assert set(rows["cell_id"]) == set(before.index)
    old = rows["package_version"] == "0.1.0"
    assert set(rows[old]["gen"]) == {"mean", "random", "all"}
    assert not rows[old][["gen", "metric"]].isin(ANEW).any(axis=None)
    assert rows[~old][["gen", "metric"]].isin(ANEW).any(axis=1).all()
    after = rows.set_index("cell_id")
    np.testing.assert_array_equal(after["n_correct"], before.loc[after.index, "n_correct"])
    assert set(after["computation_id"]) == set(before["computation_id"])


def test_a_row_becomes_a_classifier(outputs: Path) -> None:
    row = load_results(outputs / "results").query("gen == 'mean' and metric == 'euclidean'").iloc[0]
    clf = ims.imprinter_from_cell(row["cell_id"], outputs=outputs)
    queries, labels = ims.load_embeddings("imported", "imported", "test", overrides=NAMES, outputs=outputs)
    assert round(clf.score(queries, labels) * len(labels)) == row["n_correct"]


def test_commands_read_it(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--outputs", str(outputs)]
    list_embeddings.main([*where, "--verify"])
    report.main(where)
    assert (outputs / "report" / "index.html").is_file()
    best.main([*where, "--task", "mydata", "--by", "test"])
    compact.main(where)
    assert "0 exact duplicates dropped" in capsys.readouterr().out
    assert len(load_results(outputs / "results")) == 64


def test_pandas_reads_rows_of_both_versions_together(outputs: Path) -> None:
    ims.sweep(**GRID | {"seed": [2]}, outputs=outputs, progress=False)
    history = pd.read_parquet(outputs / "results")
    assert set(history["package_version"]) == {"0.1.0", ims.__version__}
    assert set(load_results(outputs / "results")["split"]) == {"test"}
