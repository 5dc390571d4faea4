"""Embeddings as arrays, and the classifier of a row of the table."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import cross_val_score, train_test_split

import imprint_sweep as ims
from imprint_sweep import engine
from imprint_sweep.api.samples import class_names, composed, settings_of
from imprint_sweep.cli.commands.export import main as export
from imprint_sweep.config.settings import Settings
from imprint_sweep.errors import ConfigError, EmbeddingsError, StoreError
from imprint_sweep.grid.cell import Cell, Model, Task
from imprint_sweep.grid.outcome import OK
from imprint_sweep.imprinting.keyed_labels import KeyedLabels
from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.work import run_cells
from tests import data

PIXELS = ("model=pixels", "task=digits")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Outputs in a folder whose name needs quotes."""
    return settings_of(tmp_path_factory.mktemp("my outputs, =1"))


def test_embeddings_are_arrays_that_know_where_they_come_from(settings: Settings) -> None:
    x, y = ims.load_embeddings("pixels", "digits", outputs=settings.outputs)
    q, t = ims.load_embeddings("pixels", "digits", "test", outputs=settings.outputs)
    assert (x.shape, y.shape, q.shape, t.shape) == ((1257, 64), (1257,), (540, 64), (540,))
    assert x.dtype == np.float32
    assert sorted(set(y.tolist())) == list(range(10))
    assert y.imprint_keys[3] == (("digits", 3),)
    assert ims.Imprinter().fit(x, y).score(q, t) > 0.9


def test_overrides_choose_as_on_the_command_line(settings: Settings) -> None:
    _, y = ims.load_embeddings(
        "pixels", "digits", overrides=["task.classes=[3,1]", "limit=100"], outputs=settings.outputs
    )
    assert list(dict.fromkeys(y.tolist())) == [3, 1]
    assert list(y.imprint_keys) == [3, 1]
    _, merged = ims.load_embeddings(
        "pixels", "digits", overrides=["task.merge=2", "task.remap=0"], outputs=settings.outputs
    )
    assert set(map(len, merged.imprint_keys.values())) == {2}
    assert all(label.count("digits:") == 2 for label in merged.imprint_keys)


def test_models_and_tasks_may_be_objects(settings: Settings) -> None:
    blobs = data.clean()
    data.write(settings.cache, blobs)
    x, y = ims.load_embeddings(data.MODEL, data.task(blobs), outputs=settings.outputs)
    assert len(x) == len(blobs.train.labels)
    assert set(y.tolist()) == set(blobs.classes)
    with pytest.raises(EmbeddingsError):
        ims.load_embeddings("pixels", data.task(blobs), outputs=settings.outputs)


def test_labels_keep_their_keys_through_what_scikit_learn_does(settings: Settings) -> None:
    x, y = ims.load_embeddings("pixels", "digits", outputs=settings.outputs)
    parts = [*train_test_split(y, random_state=0), y[::2], y.copy(), y[y > 3], pickle.loads(pickle.dumps(y))]
    assert all(part.imprint_keys == y.imprint_keys for part in parts)
    assert isinstance(parts[0], KeyedLabels)
    try:
        assert cross_val_score(ims.Imprinter(gen="random", k=5), x, y, cv=3, n_jobs=2).min() > 0.7
    finally:  # joblib would keep its workers, and a thread that is no daemon, for the tests that follow
        get_reusable_executor().shutdown()
    chosen = ims.Imprinter(gen="random", k=5).fit(x[::2], y[::2])
    assert chosen.keys_[3] == (("digits", 3),)
    with_text = ims.Imprinter(gen="random", k=5).fit(x[::2], np.asarray(y[::2]))
    assert not np.array_equal(chosen.proxies_, with_text.proxies_)


@pytest.mark.parametrize(
    ("model", "task", "overrides", "message"),
    [
        ("pixel", "digits", [], "unknown model 'pixel'; did you mean pixels"),
        ("pixels", "digit", [], "unknown task 'digit'; did you mean digits"),
        ("pixels", "digits", ["task.classes=[11]"], "no class 11"),
        ("pixels", "digits", ["nothing=3"], "unknown key 'nothing'"),
    ],
)
def test_names_that_do_not_exist_are_refused(
    model: str, task: str, overrides: list[str], message: str, settings: Settings
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ims.load_embeddings(model, task, overrides=overrides, outputs=settings.outputs)
    assert "\n" not in str(caught.value)
    assert "search path" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": None}, "model: expected the name of an option or a Model, got None"),
        ({"task": ["digits"]}, r"task: expected the name of an option or a Task, got \['digits'\]"),
        ({"model": "pixels,resnet18"}, "unknown model 'pixels,resnet18'"),
        ({"split": None}, "unknown split None. Available: test, train"),
        ({"overrides": "limit=100"}, r"overrides: expected a list such as \['limit=100'\], got 'limit=100'"),
        ({"overrides": [("limit", 100)]}, "overrides: expected a list such as"),
        ({"overrides": ["paths.outputs=elsewhere"]}, "paths.outputs: give the folder as outputs="),
    ],
    ids=str,
)
def test_what_names_nothing_does_not_become_the_default(
    given: dict[str, Any], message: str, settings: Settings
) -> None:
    with pytest.raises(ConfigError, match=message):
        ims.load_embeddings(**{"model": "pixels", "task": "digits", "outputs": settings.outputs, **given})


def test_a_split_that_does_not_exist_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="unknown split 'trian'; did you mean train"):
        ims.load_embeddings("pixels", "digits", "trian", outputs=settings.outputs)  # type: ignore[arg-type]


def test_embeddings_that_are_missing_name_the_command_that_makes_them(settings: Settings) -> None:
    with pytest.raises(EmbeddingsError, match="embed"):
        ims.load_embeddings("pixels", "fashion_mnist", outputs=settings.outputs)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (((("a", 3),), (("a", 1),)), [3, 1]),
        (((("a", 3), ("b", 3)), (("a", 1), ("b", 1))), [3, 1]),
        (((("a", 3), ("a", 4)), (("a", 1), ("a", 2))), ["a:3+a:4", "a:1+a:2"]),
        (((("a", 3),), (("b", 3),)), ["a:3", "b:3"]),
        (((("a", 3),), (("a", 1), ("a", 2))), ["a:3", "a:1+a:2"]),
    ],
)
def test_labels_are_numbers_where_these_say_which(
    labels: tuple[tuple[tuple[str, int], ...]], names: list[object]
) -> None:
    assert class_names(Task("t", "all", labels)) == names


def test_the_classifier_of_a_row_has_its_accuracy(settings: Settings) -> None:
    lines = [
        ["gen=random", "k=7", "n_shot=20", "seed=3"],
        ["gen=fps", "k=4", "norm=quantile", "agg=mnn", "agg.m=3", "task.classes=[4,2,9]"],
        ["gen=least_squares", "norm=none", "task.merge=2", "task.remap=1"],
    ]
    cells = [composed([*PIXELS, *line], settings) for line in lines]
    ims.load_embeddings("pixels", "digits", outputs=settings.outputs)  # makes them
    run_cells(Plan.of_cells(cells), settings)
    rows = ims.load_results(settings.results).set_index("cell_id")
    for cell in cells:
        row = rows.loc[cell.cell_id]
        clf = ims.imprinter_from_cell(cell.cell_id[:8], outputs=settings.outputs)
        q, t = ims.load_embeddings(cell.model, cell.task, "test", outputs=settings.outputs)
        assert int((clf.predict(q) == t).sum()) == row["n_correct"]
        assert clf.provenance_["cell_id"] == cell.cell_id
        assert clf.provenance_["fingerprint"] == row["fingerprint"]
        assert clf.provenance_["model"]["name"] == "pixels"
        (outcome,) = engine.run([cell], settings.cache, engine.EngineSettings())
        assert outcome.status == OK


@pytest.mark.parametrize(("column", "value"), [("fingerprint", "0" * 20), ("component_versions", "gen:kmeans=1")])
def test_a_row_of_other_embeddings_or_versions_gives_a_classifier_with_a_warning(
    column: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one: dict[str, Any] = {"model": "pixels", "task": "digits", "gen": "kmeans", "k": 2, "limit": 300}
    (cell_id,) = ims.sweep(**one, outputs=tmp_path, progress=False)["cell_id"]
    ims.imprinter_from_cell(cell_id, outputs=tmp_path)
    (part,) = (tmp_path / "results").glob("*.parquet")
    table = pq.read_table(part)
    pq.write_table(table.set_column(table.column_names.index(column), table.field(column), [[value]]), part)
    with pytest.warns(UserWarning, match="has no good row of the present embeddings and the present version"):
        ims.imprinter_from_cell(cell_id, outputs=tmp_path)
    export([cell_id, "--to", str(tmp_path / "head.safetensors"), "--outputs", str(tmp_path)])
    assert f"note: cell {cell_id} has no good row of the present" in capsys.readouterr().out


def test_a_cell_that_does_not_exist_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        ims.imprinter_from_cell("ffffffffffff", outputs=settings.outputs)
    with pytest.raises(StoreError, match="hex digits"):
        ims.imprinter_from_cell("../x", outputs=settings.outputs)
    with pytest.raises(StoreError):
        ims.imprinter_from_cell("3f", outputs=tmp_path / "nothing")
    row: Any = ims.load_results(settings.results).iloc[0]
    others: list[Any] = [None, 3, row]
    for other in others:
        with pytest.raises(StoreError, match=r"expected the first of them, got [^\n]*$"):
            ims.imprinter_from_cell(other, outputs=settings.outputs)


def test_models_are_what_the_configuration_says(settings: Settings) -> None:
    cell = composed(PIXELS, settings)
    assert isinstance(cell, Cell)
    assert cell.model == Model("pixels", "raw")
