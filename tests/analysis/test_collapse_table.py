"""NC1 is of the embeddings that the results are from: computed once, found again, computed anew when they change."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imprint_sweep.analysis.artefacts import make
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.stats import collapse_table
from imprint_sweep.analysis.stats.collapse import measure
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.embeddings.features import Features
from imprint_sweep.errors import StoreError
from imprint_sweep.grid.cell import Task
from tests import data
from tests.analysis import table
from tests.outputs import ROOT

CLEAN = data.clean()
LEFT, RIGHT = data.joined()


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    cache = EmbeddingCache(tmp_path / "embeddings")
    data.write(cache, CLEAN, LEFT, RIGHT)
    return cache


def results_of(cache: EmbeddingCache, *tasks: Task) -> Results:
    """Results of tasks from their present embeddings; one row each, the analysis reads no more of them."""
    for task in tasks:
        fingerprint = Features(cache, data.MODEL, task.limit).recorded(task)
        results = table.write(cache.root.parent, [(data.cell(task, gen="mean"), 1)], fingerprint)
    return results


def by_task(results: Results) -> dict[str, float]:
    frame = collapse_table.read(results)
    return dict(zip(frame["task"], frame["nc1"], strict=True))


def computed_by(results: Results) -> list[str]:
    """The lines that an update tells."""
    lines: list[str] = []
    assert collapse_table.update(results, lines.append) == ()
    return lines


def test_labels_read_the_training_samples_of_their_parts(cache: EmbeddingCache) -> None:
    one, two = data.task(CLEAN), data.task(LEFT, RIGHT)
    results = results_of(cache, one, two)
    assert collapse_table.update(results) == ()
    clean = [CLEAN.train.features[CLEAN.train.labels == c] for c in CLEAN.classes]
    united = [
        np.concatenate([parts.train.features[parts.train.labels == c] for parts in (LEFT, RIGHT)]) for c in LEFT.classes
    ]
    expected = {one.name: measure([[x] for x in clean]), two.name: measure([[x] for x in united])}
    assert by_task(results) == pytest.approx({name: found.nc1 for name, found in expected.items()})
    published = collapse_table.read(results)["nc1_published"].tolist()
    assert published == pytest.approx([found.nc1_published for found in expected.values()])


def test_imagenet_is_measured_on_the_split_that_its_validation_images_are(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "embeddings")
    imagenet = replace(CLEAN, name="imagenet")
    data.write(cache, imagenet)
    results = results_of(cache, data.task(imagenet))
    collapse_table.update(results)
    samples = [imagenet.test.features[imagenet.test.labels == c] for c in imagenet.classes]
    assert by_task(results) == pytest.approx({"imagenet": measure([[x] for x in samples]).nc1})


def test_what_is_known_is_not_computed_again(cache: EmbeddingCache) -> None:
    results = results_of(cache, data.task(CLEAN), data.task(LEFT))
    assert [line.split(":")[0] for line in computed_by(results)] == ["toy on clean, all", "toy on left, all"]
    assert computed_by(results) == []
    # Another task beside them is computed alone.
    assert len(computed_by(results_of(cache, data.task(RIGHT)))) == 1


def test_every_remap_has_a_row_of_its_own(cache: EmbeddingCache) -> None:
    tasks = [replace(data.task(LEFT, merge=2), remap=remap) for remap in (0, 1)]
    results = results_of(cache, *tasks, data.task(LEFT))
    assert len(computed_by(results)) == 3
    frame = collapse_table.read(results)
    assert [remap if remap >= 0 else None for remap in frame["remap"].fillna(-1)] == [0, 1, None]


def test_the_order_of_labels_and_of_their_parts_does_not_even_matter_to_the_last_digit(cache: EmbeddingCache) -> None:
    one = data.task(LEFT, RIGHT, merge=2)
    other = replace(one, labels=tuple(label[::-1] for label in reversed(one.labels)), remap=1)
    results = results_of(cache, one, other)
    assert len(computed_by(results)) == 2
    first, second = collapse_table.read(results)["nc1"]
    assert first == second


def test_replaced_embeddings_are_measured_anew_once_there_are_results_of_them(cache: EmbeddingCache) -> None:
    task = data.task(CLEAN)
    results = results_of(cache, task)
    collapse_table.update(results)
    before = by_task(results)
    data.write(cache, data.blobs("clean", train_sizes={7: 30, -5: 25, 1000: 33}, seed=9))
    # The results are still of the embeddings that NC1 is of.
    assert collapse_table.update(results) == ()
    assert by_task(results) == before
    later = results_of(cache, task)
    assert np.isnan(by_task(later)["clean"])
    assert len(computed_by(later)) == 1
    assert by_task(later) != before


def test_results_of_embeddings_that_are_gone_are_named(cache: EmbeddingCache) -> None:
    task = data.task(CLEAN)
    results = table.write(cache.root.parent, [(data.cell(task, gen="mean"), 1)], "0" * 20)
    (problem,) = collapse_table.update(results)
    assert "the embeddings of toy on clean, all were replaced after its results were computed" in problem
    assert np.isnan(by_task(results)["clean"])


def test_missing_embeddings_are_named_with_the_command_and_the_others_go_on(cache: EmbeddingCache) -> None:
    results = results_of(cache, data.task(CLEAN), data.task(CLEAN, classes=(7, 1000)), data.task(LEFT))
    for path in cache.root.rglob("clean-*"):
        path.unlink()
    (problem,) = collapse_table.update(results)
    assert "there are no embeddings of toy (none) on clean train; make them with: " in problem
    assert "task=image_folder task.name=clean" in problem
    assert by_task(results)["left"] > 0


def test_a_single_label_has_no_nc1_and_the_others_go_on(cache: EmbeddingCache) -> None:
    results = results_of(cache, data.task(CLEAN, classes=(7,)), data.task(LEFT))
    (problem,) = collapse_table.update(results)
    assert "toy on clean, [7]: NC1 compares classes" in problem
    assert by_task(results)["left"] > 0


def test_a_task_whose_labels_were_defined_anew_is_measured_anew(cache: EmbeddingCache) -> None:
    first = data.task(CLEAN)
    results = results_of(cache, first)
    collapse_table.update(results)
    before = by_task(results)
    results = results_of(cache, replace(first, labels=first.labels[:2]))
    assert len(computed_by(results)) == 1
    assert by_task(results) != before
    assert computed_by(results) == []


def test_without_a_table_there_are_no_values(cache: EmbeddingCache) -> None:
    assert np.isnan(by_task(results_of(cache, data.task(CLEAN)))["clean"])


def test_a_damaged_table_is_a_sentence(cache: EmbeddingCache) -> None:
    results = results_of(cache, data.task(CLEAN))
    path = collapse_table.path(results.outputs)
    path.parent.mkdir()
    path.write_bytes(b"PAR1 no")
    for read in (collapse_table.read, collapse_table.update):
        with pytest.raises(StoreError, match=r"nc1.parquet cannot be read \(.*\); delete it"):
            read(results)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), "not enough memory"),
        (OSError("Couldn't deserialize thrift: std::bad_alloc"), "not enough memory"),
    ],
)
def test_a_healthy_table_is_not_called_damaged(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    results = results_of(cache, data.task(CLEAN))
    collapse_table.update(results)

    def fail(_: Path) -> pq.ParquetFile:
        raise error

    monkeypatch.setattr(pq, "ParquetFile", fail)
    for read in (collapse_table.read, collapse_table.update):
        with pytest.raises(StoreError, match=f"cannot be read now: .*{reason}") as told:
            read(results)
        assert "delete" not in str(told.value)


WRITER = """
import sys
from pathlib import Path
from imprint_sweep.analysis.stats import collapse_table as table
from imprint_sweep.grid.cell import METHOD_VERSION
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 25):
    row = dict.fromkeys(table._SCHEMA.names) | {
        "model": "toy", "weights": "none", "task": f"task {number}", "classes": "all", "labels": ["a:1"],
        "fingerprint": "f", "method_version": METHOD_VERSION, "nc1": float(number), "rank": 1, "n_samples": 1,
    }
    table._store(Path(sys.argv[1]), row)
"""


def test_processes_that_add_rows_at_once_lose_none(tmp_path: Path) -> None:
    path = collapse_table.path(tmp_path)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(100 * i)], cwd=ROOT) for i in range(4)]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            collapse_table._load(path)  # whole at any time
    assert [writer.returncode for writer in writers] == [0] * 4
    expected = {f"task {100 * i + number}" for i in range(4) for number in range(25)}
    assert {row["task"] for row in collapse_table._load(path)} == expected
    assert sorted(one.name for one in path.parent.iterdir()) == [".nc1.parquet.lock", "nc1.parquet"]


def test_what_a_killed_process_left_is_in_nobodys_way(cache: EmbeddingCache) -> None:
    results = results_of(cache, data.task(CLEAN))
    folder = collapse_table.path(results.outputs).parent
    folder.mkdir()
    for name in (".nc1.parquet.tmp", ".nc1.parquet.lock"):
        (folder / name).write_bytes(b"PAR1")
    assert len(computed_by(results)) == 1


def test_a_table_that_cannot_be_written_is_a_sentence(cache: EmbeddingCache) -> None:
    results = results_of(cache, data.task(CLEAN))
    (results.outputs / "collapse").write_text("a file in the way")
    with pytest.raises(StoreError, match=r"nc1.parquet cannot be (read|written)"):
        collapse_table.update(results)


def test_published_values_of_an_older_version_are_measured_anew_and_ours_stay(cache: EmbeddingCache) -> None:
    """Before, classes weighed equally in them whatever their sizes."""
    results = results_of(cache, data.task(CLEAN), data.task(LEFT))
    collapse_table.update(results)
    right = collapse_table.read(results)
    older(results, nc1_published=123.0)
    read = collapse_table.read(results)
    assert read["nc1"].tolist() == right["nc1"].tolist()
    assert read["nc1_published"].isna().all()
    # One is measured anew at a time; a value that cannot be stays as it is.
    for path in cache.root.rglob("left-*"):
        path.unlink()
    (problem,) = collapse_table.update(results)
    assert "there are no embeddings of toy (none) on left" in problem
    read = collapse_table.read(results)
    assert read["nc1"].tolist() == right["nc1"].tolist()
    assert read["nc1_published"].isna().tolist() == [False, True]
    assert read["nc1_published"][0] == right["nc1_published"][0]


@pytest.mark.parametrize("column", ["nc1", "nc1_published"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_no_number_is_not_known_and_computed_again(cache: EmbeddingCache, column: str, value: float) -> None:
    results = results_of(cache, data.task(CLEAN), data.task(LEFT))
    collapse_table.update(results)
    right = collapse_table.read(results)
    at = collapse_table.path(results.outputs)
    found = pq.read_table(at)
    place = found.column_names.index(column)
    changed = pa.array([value, *found[column].to_pylist()[1:]])
    pq.write_table(found.set_column(place, found.field(place), changed), at)
    assert collapse_table.read(results)["nc1"].isna().tolist() == [True, False]
    artefact = make("fig11a", results)
    assert "NC1 is not known for 1 of 2: toy on clean, all." in artefact.missing
    assert len(computed_by(results)) == 1
    assert collapse_table.read(results).equals(right)


def older(results: Results, **values: float) -> None:
    """Make the table what version 0.1.0 of the package wrote."""
    at = collapse_table.path(results.outputs)
    found = pq.read_table(at).drop_columns(["published_version"])
    for name, value in values.items():
        place = found.column_names.index(name)
        found = found.set_column(place, found.field(name), pa.array([value] * len(found)))
    pq.write_table(found, at)
