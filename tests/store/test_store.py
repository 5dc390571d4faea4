"""The results table: what is written is read, by everybody, and nothing that went wrong is believed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imprint_sweep import __version__
from imprint_sweep.config.overrides_of import cell_of
from imprint_sweep.errors import StoreError
from imprint_sweep.grid.axes import parameter_column
from imprint_sweep.grid.cell import METHOD_VERSION, Cell, Model, Precision, Task, component_versions
from imprint_sweep.grid.hashing import code
from imprint_sweep.grid.outcome import FAILED, Outcome
from imprint_sweep.grid.scheme import Scheme, known_parameters
from imprint_sweep.store import (
    SCHEMA_VERSION,
    Provenance,
    ResultStore,
    column_docs,
    history,
    labels_of,
    load_results,
    table_schema,
)
from imprint_sweep.store import parts as parts_module
from imprint_sweep.store.rows import table_of
from imprint_sweep.store.schema import COLUMNS, VERSION_KEY

MODEL = Model("resnet18", "IMAGENET1K_V1")
TASK = Task("combi", "[6, 7]", ((("mnist", 6), ("svhn", 6)), (("mnist", 7), ("svhn", 7))))
HERE = Provenance("1.2.3", None, "node-1")
START = datetime(2026, 1, 1, tzinfo=UTC)


def cell(seed: int = 0, task: Task = TASK) -> Cell:
    return Cell(MODEL, task, Scheme.create(gen="kmedoids", k=5, seed=seed))


def good(seed: int = 0, n_correct: int = 90, fingerprint: str = "f" * 20) -> Outcome:
    return Outcome(
        cell(seed),
        computation_id="c" * 20,
        fingerprint=fingerprint,
        n_correct=n_correct,
        n_test=100,
        f1=(0.25, 1 / 3),
        f1_macro=0.5,
        f1_weighted=0.75,
        n_proxies=10,
        gen_seconds=1.5,
        eval_seconds=0.125,
    )


def failed(seed: int = 0, error: str = "singular", fingerprint: str = "f" * 20) -> Outcome:
    return Outcome(cell(seed), computation_id="c" * 20, fingerprint=fingerprint, status=FAILED, error=error)


def write(root: Path, *outcomes: Outcome, minute: float = 0, name: str = "", provenance: Provenance = HERE) -> Path:
    """Write one part whose rows were finished so many minutes after START."""
    root.mkdir(parents=True, exist_ok=True)
    table = table_of([(outcome, START + timedelta(minutes=minute)) for outcome in outcomes], provenance)
    return parts_module.write_part(root, f"part-{name or parts_module.unique_stem()}.parquet", table)


def accuracies(root: Path, status: str | None = "ok") -> dict[int, float | None]:
    frame = load_results(root, ["seed", "n_correct"], status)
    return {int(seed): None if pd.isna(n) else int(n) for seed, n in zip(frame.seed, frame.n_correct, strict=True)}


def test_labels_of_cells_are_the_tasks_own(tmp_path: Path) -> None:
    other = replace(TASK, labels=((("imagenet", -3),), (("a:b", 12), ("c", 0))))
    outcomes = [good(seed) for seed in range(3)]
    write(tmp_path, *outcomes)
    write(tmp_path, replace(good(), cell=cell(7, other)), good(1))
    ids = [cell(7, other).cell_id, cell(1).cell_id, cell(0).cell_id]
    assert labels_of(tmp_path, ids) == [other.labels, TASK.labels, TASK.labels]
    assert labels_of(tmp_path, []) == []
    with pytest.raises(StoreError, match=f"has no cell {cell(99).cell_id}"):
        labels_of(tmp_path, [ids[0], cell(99).cell_id])


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


# ---- the schema


def test_every_column_says_what_it_holds() -> None:
    assert list(column_docs()) == table_schema().names
    for name, doc in column_docs().items():
        assert doc.endswith("."), name
        assert len(doc.split()) > 2, name


def test_the_schema_of_this_version() -> None:
    # Changing one is a decision: raise SCHEMA_VERSION, and only ever add.
    assert SCHEMA_VERSION == 5
    assert {field.name: str(field.type) for field in table_schema()} == {
        **dict.fromkeys(["cell_id", "computation_id"], "string"),
        "method_version": "int16",
        "component_versions": "string",
        **dict.fromkeys(["model", "weights", "precision", "task", "classes"], "string"),
        **dict.fromkeys(["image_size", "merge", "remap", "n_correct", "n_test"], "int32"),
        "labels": "list<item: string>",
        "n_labels": "int16",
        **dict.fromkeys(["limit", "n_shot", "k", "m", "seed", "select_max_k", "n_proxies"], "int64"),
        **dict.fromkeys(["norm_pre", "gen", "norm_post", "norm_inf", "agg", "metric", "weighting", "split"], "string"),
        "select_rule": "string",
        **dict.fromkeys(["weight_decay", "accuracy", "f1_macro", "f1_weighted"], "double"),
        **dict.fromkeys(["correct", "k_chosen"], "list<item: int32>"),
        "f1": "list<item: double>",
        **dict.fromkeys(["gen_seconds", "eval_seconds"], "double"),
        **dict.fromkeys(["status", "error", "fingerprint"], "string"),
        **dict.fromkeys(["package_version", "git_commit", "host", "sweep"], "string"),
        "finished_at": "timestamp[us, tz=UTC]",
        # Parameters of components: an addition needs no other version.
        **dict.fromkeys(["gen_shrinkage", "gen_priors", "gen_ridge", "gen_c"], "string"),
        "gen_features": "int64",
        **dict.fromkeys(["agg_shrinkage", "agg_temperature", "agg_tukey"], "double"),
    }


def test_parts_carry_the_schema_and_its_version(tmp_path: Path) -> None:
    schema = pq.read_schema(write(tmp_path, good()))
    assert schema.equals(table_schema())
    assert schema.metadata[VERSION_KEY] == b"5"


# ---- rows


def test_a_row_holds_the_outcome_the_axes_and_where_it_came_from(tmp_path: Path) -> None:
    task = Task("imagenet", "all", ((("imagenet", 3), ("imagenet", 9)),), merge=2, remap=7, limit=50)
    scheme = Scheme.create(
        gen="k_least_squares", k=4, n_shot=8, norm_pre="l2", norm_post="quantile", norm_inf="l2", agg="mnn",
        metric="cosine", m=3, weighting="uniform", seed=-11, weight_decay=0.1,
    )  # fmt: skip
    outcome = replace(good(n_correct=42), cell=Cell(Model("net", "w", 112), task, scheme), f1=(0.25,))
    before = datetime.now(UTC)
    with ResultStore(tmp_path).writer(Provenance("9.9", "abc", "node-7", "sweep-3")) as writer:
        writer.add(outcome)
    (row,) = pq.read_table(tmp_path).to_pylist()
    assert before <= row.pop("finished_at") <= datetime.now(UTC)
    assert row == {
        "cell_id": outcome.cell.cell_id, "computation_id": "c" * 20, "method_version": METHOD_VERSION,
        "component_versions": component_versions(scheme, 1), "correct": None,
        "model": "net", "weights": "w", "image_size": 112, "precision": "float32",
        "task": "imagenet", "classes": "all", "labels": ["imagenet:3+imagenet:9"], "n_labels": 1,
        "merge": 2, "remap": 7, "limit": 50,
        "n_shot": 8, "norm_pre": "l2", "gen": "k_least_squares", "k": 4, "norm_post": "quantile", "norm_inf": "l2",
        "agg": "mnn", "metric": "cosine", "m": 3, "weighting": "uniform", "seed": -11, "weight_decay": 0.1,
        "split": "test", "select_rule": None, "select_max_k": None, "k_chosen": None,
        "n_correct": 42, "n_test": 100, "accuracy": 0.42, "f1": [0.25], "f1_macro": 0.5, "f1_weighted": 0.75,
        "n_proxies": 10, "gen_seconds": 1.5, "eval_seconds": 0.125, "status": "ok", "error": None,
        "fingerprint": "f" * 20, "package_version": "9.9", "git_commit": "abc", "host": "node-7", "sweep": "sweep-3",
        **dict.fromkeys(map(parameter_column, known_parameters())),
    }  # fmt: skip


def test_a_failed_cell_is_a_row_without_numbers(tmp_path: Path) -> None:
    write(tmp_path, failed(error="no inverse"))
    (row,) = pq.read_table(tmp_path).to_pylist()
    assert (row["status"], row["error"]) == ("failed", "no inverse")
    assert all(row[name] is None for name in ("n_correct", "n_test", "accuracy", "f1", "f1_macro", "n_proxies"))


def test_cells_that_share_objects_keep_their_own_rows(tmp_path: Path) -> None:
    other = Task("mnist", "short", ((("mnist", 0),), (("mnist", 1),), (("mnist", 2),)))
    outcomes = [replace(good(n_correct=i), cell=cell(i % 3, (TASK, other)[i % 2])) for i in range(6)]
    rows = table_of([(outcome, START) for outcome in outcomes], HERE).to_pylist()
    assert [row["n_correct"] for row in rows] == list(range(6))
    assert [row["seed"] for row in rows] == [0, 1, 2, 0, 1, 2]
    assert [row["n_labels"] for row in rows] == [2, 3] * 3
    assert [row["cell_id"] for row in rows] == [outcome.cell.cell_id for outcome in outcomes]


def test_provenance_is_that_of_this_checkout() -> None:
    here = Provenance.here("s1")
    root = Path(__file__).resolve().parents[2]
    commit = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert (here.package_version, here.host, here.sweep) == (__version__, os.uname().nodename, "s1")
    if commit.returncode == 0:
        assert here.git_commit is not None
        assert here.git_commit.removesuffix("-dirty") == commit.stdout.strip()
    else:
        assert here.git_commit is None


# ---- what pandas sees


def test_pandas_reads_the_folder(tmp_path: Path) -> None:
    write(tmp_path, good(0), failed(1))
    write(tmp_path, good(2))
    (tmp_path / "_quarantined-part.parquet").write_text("rubbish")
    (tmp_path / ".part.parquet.tmp").write_text("rubbish")
    frame = pd.read_parquet(tmp_path)
    assert list(frame.columns) == table_schema().names
    assert sorted(frame.seed) == [0, 1, 2]


@pytest.mark.parametrize("read", [load_results, pd.read_parquet])
def test_integers_that_may_be_null_stay_integers(tmp_path: Path, read: Callable[[Path], pd.DataFrame]) -> None:
    write(tmp_path, good(0), replace(good(1), cell=Cell(MODEL, TASK, Scheme.create(gen="mean"))))
    frame = read(tmp_path)
    types = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    for name in ("k", "m", "n_shot", "limit", "n_proxies"):
        assert types[name] == "Int64", name
    for name in ("image_size", "merge", "remap", "n_correct", "n_test"):
        assert types[name] == "Int32", name
    assert (types["seed"], types["n_labels"], types["accuracy"]) == ("int64", "int16", "float64")
    assert types["finished_at"] == "datetime64[us, UTC]"
    for name in ("cell_id", "gen", "weighting", "error"):
        assert isinstance(frame[name].dtype, pd.StringDtype), name
    assert frame.k.tolist() == [5, pd.NA]
    assert frame.f1[0].tolist() == [0.25, 1 / 3]
    assert frame.labels[0].tolist() == ["mnist:6+svhn:6", "mnist:7+svhn:7"]


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    frame = load_results(tmp_path)
    assert len(frame) == 0
    assert list(frame.columns) == table_schema().names
    assert str(frame.k.dtype) == "Int64"


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    write(tmp_path, good())
    assert list(load_results(tmp_path, ["seed", "gen"]).columns) == ["seed", "gen"]


def test_wrong_questions_get_sentences(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no results table at"):
        load_results(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="no column 'acuracy'; did you mean accuracy"):
        load_results(tmp_path, ["acuracy"])


# ---- one row per cell


def test_the_newest_good_row_stands_for_a_cell(tmp_path: Path) -> None:
    write(tmp_path, good(0, 1), good(1, 1), minute=5)
    write(tmp_path, good(0, 2), minute=9)
    write(tmp_path, good(0, 3), failed(1), failed(2), minute=7)
    write(tmp_path, failed(0), minute=11)
    assert accuracies(tmp_path) == {0: 2, 1: 1}
    assert accuracies(tmp_path, status=None) == {0: 2, 1: 1, 2: None}
    assert accuracies(tmp_path, status="failed") == {2: None}


def test_of_failed_rows_the_newest_tells_why(tmp_path: Path) -> None:
    write(tmp_path, failed(error="new"), minute=2)
    write(tmp_path, failed(error="old"), minute=1)
    assert load_results(tmp_path, ["error"], status=None).error.tolist() == ["new"]


def test_ties_in_time_go_to_the_last_part_and_the_last_row(tmp_path: Path) -> None:
    write(tmp_path, good(0, 5), name="b")
    write(tmp_path, good(0, 3), good(0, 4), name="c")
    write(tmp_path, good(0, 6), name="a")
    assert accuracies(tmp_path) == {0: 4}


def test_rows_come_in_the_order_in_which_they_were_finished(tmp_path: Path) -> None:
    for minute, seed in ((3, 0), (1, 1), (2, 2)):
        write(tmp_path, good(seed), minute=minute)
    assert load_results(tmp_path, ["seed"]).seed.tolist() == [1, 2, 0]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 5), st.sampled_from(["fa", "fb"])),
        min_size=1,
        max_size=30,
    )
)
def test_one_row_per_cell_agrees_with_pandas(rows: list[tuple[int, bool, int, str]]) -> None:
    # The oracle sorts and drops duplicates with pandas; load_results and look_up do neither.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i, (seed, is_good, minute, fingerprint) in enumerate(rows):
            outcome = good(seed, i, fingerprint) if is_good else failed(seed, fingerprint=fingerprint)
            write(root, outcome, minute=minute, name=f"{i:03d}")
        expected = pd.DataFrame(rows, columns=["seed", "good", "minute", "fingerprint"])
        expected["n_correct"] = range(len(rows))
        expected = expected.sort_values(["good", "minute", "n_correct"])

        kept = expected[expected.good].drop_duplicates("seed", keep="last")
        assert accuracies(root) == dict(zip(kept.seed, kept.n_correct, strict=True))

        kept = expected.drop_duplicates(["seed", "fingerprint"], keep="last").set_index(["seed", "fingerprint"])
        asked = [(seed, fingerprint) for seed in range(5) for fingerprint in ("fa", "fb")]
        status = ResultStore(root).look_up(ids([seed for seed, _ in asked]), np.array([f for _, f in asked], "S20"))
        for i, key in enumerate(asked):
            known = key in kept.index
            assert status.done[i] == (known and kept.good[key])
            assert status.failed[i] == (known and not kept.good[key])
            expected_accuracy = kept.n_correct[key] / 100 if status.done[i] else np.nan
            np.testing.assert_equal(status.accuracy[i], expected_accuracy)


# ---- what is done


def ids(seeds: list[int]) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
    return np.array([cell(seed).cell_id for seed in seeds], "S20")


def fingerprints(n: int, fingerprint: str = "f" * 20) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
    return np.full(n, fingerprint, "S20")


def test_a_cell_is_done_under_its_fingerprint_and_method_only(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    assert not store.look_up(ids([0, 1]), fingerprints(2)).done.any()
    write(store.root, good(0), failed(1), failed(0))
    status = store.look_up(ids([2, 1, 0]), fingerprints(3))
    assert status.done.tolist() == [False, False, True]
    assert status.failed.tolist() == [False, True, False]
    assert status.accuracy[2] == 0.9
    assert np.isnan(status.accuracy[:2]).all()
    assert np.isnat(status.finished_at).tolist() == [True, False, False]
    assert not store.look_up(ids([0]), fingerprints(1, "e" * 20)).done.any()
    assert not store.look_up(ids([0]), fingerprints(1, "")).done.any()
    assert not store.look_up(ids([0]), fingerprints(1), method_version=METHOD_VERSION + 1).done.any()
    assert store.look_up(ids([]), fingerprints(0)).done.shape == (0,)


def test_a_cell_is_done_by_the_present_versions_of_its_components_only(tmp_path: Path) -> None:
    clustered = replace(cell(), scheme=Scheme.create(gen="kmeans", k=5, seed=0))
    assert component_versions(clustered.scheme, 2) == "gen:kmeans=2"
    write(tmp_path, replace(good(), cell=clustered))
    asked = np.array([clustered.cell_id], "S20"), fingerprints(1)
    now = ResultStore(tmp_path).look_up(*asked, versions=np.array([code("gen:kmeans=2")], np.uint64))
    assert (now.done.tolist(), now.outdated.tolist()) == ([True], [False])
    for other in (None, np.array([code("gen:kmeans=3")], np.uint64)):
        status = ResultStore(tmp_path).look_up(*asked, versions=other)
        assert (status.done.tolist(), status.outdated.tolist()) == ([False], [True])


def test_rows_older_than_asked_for_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, good(0), minute=1)
    write(tmp_path, good(1), minute=2)
    status = ResultStore(tmp_path).look_up(ids([0, 1]), fingerprints(2), since=START + timedelta(minutes=2))
    assert status.done.tolist() == [False, True]


def test_another_result_for_the_same_identity_is_reported(tmp_path: Path) -> None:
    write(tmp_path, good(0, 90), good(1, 90), failed(2), minute=1)
    write(tmp_path, good(3, 90), provenance=replace(HERE, host="node-2"))
    store = ResultStore(tmp_path)
    now = [good(0, 91), good(1, 90), good(2, 7), good(3, 91), good(4, 1), failed(1), good(0, 91, fingerprint="e" * 20)]
    (conflict,) = store.snapshot(provenance=HERE).conflicts(now)
    assert (conflict.cell, conflict.before, conflict.now) == (cell(0), 90, 91)
    assert conflict.finished_at == START + timedelta(minutes=1)
    assert str(conflict).endswith("n_correct is 91, the row of 2026-01-01 00:01:00 UTC has 90")
    assert [conflict.cell for conflict in store.snapshot().conflicts(now)] == [cell(0), cell(3)]


# ---- old, foreign and damaged parts


def test_the_precision_of_rows_of_former_versions_is_the_end_of_their_weights(tmp_path: Path) -> None:
    models = [Model("net", "w", None, precision) for precision in Precision]
    outcomes = [replace(good(), cell=Cell(model, TASK, Scheme.create(gen="mean"))) for model in models]
    now = table_of([(outcome, START) for outcome in outcomes], HERE)
    spelled = pa.array([model.spelled_weights for model in models])
    old = now.drop_columns("precision").set_column(now.schema.get_field_index("weights"), "weights", spelled)
    parts_module.write_part(tmp_path, "part-0.parquet", old)
    half = Model("other", "w", None, Precision.FLOAT16)
    write(tmp_path, replace(good(), cell=Cell(half, TASK, Scheme.create(gen="mean"))))
    assert load_results(tmp_path).precision.tolist() == [*map(str, Precision), "float16"]
    assert load_results(tmp_path, ["weights"]).weights.tolist() == ["w"] * 4
    assert load_results(tmp_path, ["precision"]).precision.tolist() == [*map(str, Precision), "float16"]
    for outcome in outcomes:
        (row,) = history(tmp_path, outcome.cell.cell_id)
        assert cell_of(row) == outcome.cell


def test_columns_that_an_old_part_lacks_are_null(tmp_path: Path) -> None:
    path = write(tmp_path, good(0), name="a")
    table = pq.read_table(path).drop_columns(["eval_seconds", "sweep"])
    pq.write_table(table, path)
    write(tmp_path, good(1), name="b", provenance=replace(HERE, sweep="s"))
    frame = load_results(tmp_path).set_index("seed")
    assert pd.isna(frame.eval_seconds[0])
    assert frame.eval_seconds[1] == 0.125
    assert frame.sweep[1] == "s"


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_flip(path: Path) -> None:
    # The last byte of a page: the file is as long as it was and its footer reads well, only the checksum tells.
    column = pq.read_metadata(path).row_group(0).column(table_schema().names.index("n_proxies"))
    content = bytearray(path.read_bytes())
    content[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(content)


def damage_footer(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b"fingerprint") > 1
    path.write_bytes(content.replace(b"fingerprint", b"fingerprinu"))


def damage_foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


DAMAGES = [damage_truncate, damage_empty, damage_flip, damage_footer, damage_foreign]


# ---- writing


def test_rows_appear_while_the_writer_works(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with store.writer(HERE, rows=2, seconds=1e9) as writer:
        for seed, parts in ((0, 0), (1, 1), (2, 1), (3, 2), (4, 2)):
            writer.add(good(seed))
            assert (len(store.parts()), writer.waiting) == (parts, (seed + 1) % 2)
        writer.flush()
        writer.flush()
        assert len(store.parts()) == 3


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_row_does_not_wait_for_the_next_outcome(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with store.writer(HERE, seconds=0.01) as writer:
        for n in (1, 2):
            writer.add(good(n))
            until(lambda: writer.waiting == 0)
            assert len(accuracies(tmp_path)) == n
    assert len(store.parts()) == 2


@contextmanager
def full_disk() -> Iterator[threading.Event]:
    """Refuse every part; yields what is set when one was refused."""
    tried = threading.Event()

    def full(*_: object) -> None:
        tried.set()
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        yield tried


def test_an_error_of_the_thread_that_writes_reaches_the_one_that_adds(tmp_path: Path) -> None:
    def run() -> None:
        with store.writer(HERE, seconds=0.01) as writer, full_disk() as tried:
            writer.add(good(0))
            assert tried.wait(30)
            writer.add(good(1))
            pytest.fail("the second outcome told of nothing")

    store = ResultStore(tmp_path)
    with pytest.raises(StoreError, match=r"1 row was not written to .*: No space left on device"):
        run()
    # Leaving the writer was another attempt, with space: nothing is lost.
    assert len(accuracies(tmp_path)) == 2


def test_what_failed_once_and_was_written_later_is_no_error(tmp_path: Path) -> None:
    with ResultStore(tmp_path).writer(HERE, seconds=0.01) as writer:
        with full_disk() as tried:
            writer.add(good(0))
            assert tried.wait(30)
        until(lambda: writer.waiting == 0)
        writer.add(good(1))
    assert len(accuracies(tmp_path)) == 2


def test_rows_that_are_added_while_others_are_written_are_written_once(tmp_path: Path) -> None:
    with ResultStore(tmp_path).writer(HERE, seconds=0.001, rows=7) as writer:
        for seed in range(300):
            writer.add(good(seed))
    rows = pd.read_parquet(tmp_path)
    assert sorted(rows["seed"]) == list(range(300))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_loses_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with ResultStore(tmp_path).writer(HERE) as writer:
            writer.add(good(0))
            raise error

    with pytest.raises(error):
        interrupted()
    assert accuracies(tmp_path) == {0: 90}


def test_the_reason_why_nothing_can_be_written_is_known_before(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "deep" / "results")
    store.check_writable()
    assert visible(store.root) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written to .*file/results: Not a directory"):
        ResultStore(tmp_path / "file" / "results").check_writable()
    with pytest.raises(StoreError, match=r"cannot be written to .*file: "):
        ResultStore(tmp_path / "file").check_writable()
    with pytest.raises(StoreError, match="cannot be written to"):
        ResultStore("/proc/results").check_writable()


FULL_DISK = """
import resource, sys, signal
from tests.store.test_store import HERE, good
from imprint_sweep.config.overrides_of import cell_of
from imprint_sweep.errors import StoreError
from imprint_sweep.grid.hashing import code
from imprint_sweep.store import ResultStore
store = ResultStore(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
with store.writer(HERE, rows=10**6, seconds=1e9) as writer:
    for seed in range(2000):
        writer.add(good(seed))
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        writer.flush()
    except StoreError as error:
        print(error)
    print(writer.waiting, list(store.root.iterdir()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
"""


def run_python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_write_that_the_system_refuses_leaves_no_part_and_keeps_the_rows(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    finished = run_python(FULL_DISK, tmp_path)
    assert finished.returncode == 0, finished.stderr
    message, state = finished.stdout.splitlines()
    assert message.startswith(f"2,000 rows were not written to {tmp_path}: File too large; make room")
    assert state == "2000 []"
    # Leaving the writer was the second attempt.
    assert len(accuracies(tmp_path)) == 2000


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_no_part_is_seen_whichever_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def write_one() -> None:
        with ResultStore(tmp_path).writer(HERE) as writer:
            writer.add(good(0))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StoreError, match=r"1 row was not written to .*: No space left on device"):
            write_one()
    assert visible(tmp_path) == []


def test_rows_lost_at_an_interruption_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    def interrupted() -> None:
        with ResultStore(tmp_path / "file").writer(HERE) as writer:
            writer.add(good(0))
            raise KeyboardInterrupt

    with pytest.raises(StoreError, match="1 row was not written"):
        interrupted()


TWO_WRITERS = """
import sys
from tests.store.test_store import HERE, good
from imprint_sweep.store import ResultStore
with ResultStore(sys.argv[1]).writer(HERE, rows=5, seconds=1e9) as writer:
    for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 103):
        writer.add(good(seed))
"""


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    processes = [
        subprocess.Popen([sys.executable, "-c", TWO_WRITERS, tmp_path, str(start)], cwd=root, env=environment)
        for start in (0, 1000)
    ]
    while any(process.poll() is None for process in processes):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            accuracies(ResultStore(tmp_path).root)
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(accuracies(tmp_path)) == [*range(103), *range(1000, 1103)]
    assert len(ResultStore(tmp_path).parts()) == 42


def test_null_in_a_column_that_has_no_null_is_refused(tmp_path: Path) -> None:
    assert not COLUMNS["fingerprint"].nullable
    table = table_of([(good(), START)], HERE)
    column = table.schema.get_field_index("fingerprint")
    table = table.set_column(column, table_schema().field(column), pa.array([None], pa.string()))
    with pytest.raises(pa.ArrowInvalid):
        parts_module.write_part(tmp_path, "part-a.parquet", table)
    assert visible(tmp_path) == []
