"""The best configuration is chosen by held-out samples, and looked up on the test split."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import imprint_sweep as ims
from imprint_sweep.api import choosing
from imprint_sweep.cli.commands.best import main
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.embeddings.features import Features
from imprint_sweep.errors import ConfigError, StoreError, UnknownOptionError
from imprint_sweep.grid.cell import Model, Precision
from tests.analysis import table
from tests.sweeping import cells, requested, tree_of

MNIST = table.task("mnist")
SEEDS = (0, 1)
VALIDATED: dict[str, Any] = {"split": "validation", **table.L2}


def rows(**of: int) -> list[table.Score]:
    """Rows of the mean and of k-means; ``mean_test=900`` is what the mean scores on the test split."""
    found = []
    for name, score in of.items():
        gen, split = name.split("_")
        axes = VALIDATED if split == "validation" else table.L2
        found += table.scores(table.RESNET18, MNIST, dict.fromkeys(SEEDS, score), gen=gen, **axes)
    return found


def write(outputs: Path, scores: list[table.Score]) -> None:
    """Add rows to the table; whether the analysis can read it is the question of the tests."""
    with suppress(StoreError):
        table.write(outputs, scores, n_proxies=10)


def test_held_out_samples_decide_and_the_test_split_is_told(tmp_path: Path) -> None:
    """The test split would have chosen the other one."""
    scores = rows(mean_validation=910, kmeans_validation=900, mean_test=800, kmeans_test=850)
    write(tmp_path, scores)
    found = ims.best(tmp_path, task="mnist")
    assert (found.by, found.accuracy, found.test_accuracy) == ("validation", 0.91, 0.8)
    assert found.cell_id == table.cell(table.RESNET18, MNIST, gen="mean", **table.L2).cell_id
    assert set(found.cells["split"]) == {"test"}
    by_test = ims.best(tmp_path, task="mnist", by="test")
    assert (by_test.by, by_test.accuracy, by_test.test_accuracy) == ("test", 0.85, 0.85)
    assert by_test.table["gen"].tolist() == ["k-means", "mean"]


def test_a_test_cell_that_is_missing_has_a_command(tmp_path: Path) -> None:
    write(tmp_path, rows(mean_test=800))
    write(tmp_path, rows(mean_validation=900, kmeans_validation=910))
    found = ims.best(tmp_path)
    assert (found.name.partition(",")[0], found.test_accuracy, found.cell_id) == ("k-means", None, None)
    words = shlex.split(found.command)
    assert words[:4] == ["python", "-m", "imprint_sweep", "-m"]
    asked = {cell.cell_id for cell in cells(requested(tree_of(), *words[4:]))}
    assert asked == {cell.cell_id for cell, _ in rows(kmeans_test=0)}


def test_of_what_draws_nothing_one_test_cell_will_do(tmp_path: Path) -> None:
    write(tmp_path, rows(mean_validation=900))
    write(tmp_path, table.scores(table.RESNET18, MNIST, {17: 850}, gen="mean", **table.L2))
    assert ims.best(tmp_path).test_accuracy == 0.85


def test_where_nothing_is_held_out_the_test_split_decides_under_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, rows(mean_test=800, kmeans_test=850))
    assert ims.best(tmp_path).by == "test"
    with pytest.raises(StoreError, match=r"no good row of method version \d with eval\.split=validation"):
        ims.best(tmp_path, by="validation")
    main(["--outputs", str(tmp_path)])
    assert "Chosen by the test split, which makes the chosen one look better than it is" in capsys.readouterr().out
    # Held-out samples of other shots do not answer this question.
    write(tmp_path, table.scores(table.RESNET18, MNIST, {0: 700}, gen="mean", n_shot=10, **VALIDATED))
    assert ims.best(tmp_path).by == "test"
    assert ims.best(tmp_path, n_shot=10).by == "validation"
    main(["--outputs", str(tmp_path), "--n-shot", "10"])
    assert "Chosen by held-out training samples (eval.split=validation)" in capsys.readouterr().out


def test_what_cannot_be_answered_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnknownOptionError, match="unknown by 'tset'; did you mean test"):
        ims.best(tmp_path, by="tset")
    write(tmp_path, rows(mean_test=800))
    with pytest.raises(ConfigError, match=r"expected rows as ims\.sweep and ims\.load_results return them; .* missing"):
        ims.best(ims.load_results(tmp_path / "results")[["cell_id", "accuracy"]])
    frame = ims.load_results(tmp_path / "results")
    given: list[tuple[dict[str, Any], str]] = [
        ({"results": frame[:0]}, "^the DataFrame holds no good row"),
        ({"by": 3}, "unknown by 3. Available: test, validation"),
        ({"where": frame["gen"] == "mean"}, "where: expected a condition such as .*, got Series"),
        ({"max_proxies": "10"}, "max_proxies: expected a whole number or None, got '10'"),
        ({"n_shot": float("nan")}, "n_shot: expected a whole number or None, got nan"),
        ({"task": "mnst"}, "unknown task 'mnst'; did you mean mnist"),
    ]
    for asked, message in given:
        with pytest.raises((ConfigError, StoreError), match=message):
            ims.best(**{"results": frame, "outputs": tmp_path, **asked})
    of_all, of_one = (ims.best(frame, task=task, outputs=tmp_path) for task in (None, frame["task"].tolist()))
    assert of_all.name == of_one.name


def test_test_rows_of_a_frame_need_no_table(tmp_path: Path) -> None:
    write(tmp_path, rows(mean_validation=910, kmeans_validation=900, mean_test=800))
    frame = ims.load_results(tmp_path / "results", split=None)
    found = ims.best(frame, outputs=tmp_path / "elsewhere")
    assert (found.by, found.test_accuracy) == ("validation", 0.8)


def test_from_a_sweep_to_the_classifier(tmp_path: Path) -> None:
    how: dict[str, Any] = {"model": "pixels", "task": "digits", "outputs": tmp_path, "progress": False}
    how |= {"gen.features": 20}
    frame = ims.sweep(gen=["kmeans", "least_squares", "mean", "ranpac"], k=[1, 5], split=["validation", "test"], **how)
    biased = ims.sweep(gen="lda", k=1, norm="none", agg="max", split=["validation", "test"], **how)
    frame = pd.concat([frame, biased], ignore_index=True)
    found = ims.best(frame, task="digits", with_baselines=True, outputs=tmp_path)
    assert found.cell_id is not None
    row = frame.set_index("cell_id").loc[found.cell_id]
    assert (row["split"], row["accuracy"]) == ("test", found.test_accuracy)
    clf = ims.imprinter_from_cell(found.cell_id, outputs=tmp_path)
    assert len(clf.proxies_) == found.proxies == 50
    bytes_of = dict(zip(found.table["gen"], found.table["nbytes"].tolist(), strict=True))
    assert bytes_of == {
        "k-means": clf.nbytes_, "mean": 10 * 64 * 4, "least squares": 10 * 64 * 4, "RanPAC": (10 + 64) * 20 * 4,
        "LDA": 10 * 65 * 4,
    }  # fmt: skip
    assert (found.table["microseconds"] > 0).all()
    assert found.table["baseline"].tolist() == [False, False, True, True, True]
    validated = frame[frame["split"] == "validation"].iloc[0]
    held_in = ims.imprinter_from_cell(validated["cell_id"], outputs=tmp_path)
    assert held_in.provenance_["fingerprint"] == validated["fingerprint"] != row["fingerprint"]


def test_the_cost_of_a_head_is_of_the_networks_own_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings in half precision are another model's than those in float32."""
    half = Model("resnet18", "IMAGENET1K_V1", precision=Precision.BFLOAT16)
    table.write(tmp_path, table.scores(half, MNIST, {0: 900}, gen="mean", **table.L2), n_proxies=10)
    looked_at: list[Model] = []

    def features(cache: EmbeddingCache, model: Model, limit: int | None) -> Features:
        looked_at.append(model)
        return Features(cache, model, limit)

    monkeypatch.setattr(choosing, "Features", features)
    assert ims.best(tmp_path).table["nbytes"].isna().all()
    assert looked_at == [half]
