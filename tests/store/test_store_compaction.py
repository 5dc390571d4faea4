"""Compaction: fewer files, the same rows, whenever it dies and whoever writes meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.cli.commands.compact import main
from imprint_sweep.errors import StoreError
from imprint_sweep.store import ResultStore, Snapshot, compact, load_results
from imprint_sweep.store import compaction as compaction_module
from imprint_sweep.store import parts as parts_module
from imprint_sweep.store.compaction import PARTS_KEY
from imprint_sweep.store.parts import read_parts
from imprint_sweep.store.rows import table_of
from imprint_sweep.store.schema import table_schema
from tests.store.test_store import HERE, START, accuracies, cell, failed, good, ids, visible, write

ROOT = Path(__file__).resolve().parents[2]


def history(root: Path) -> list[str]:
    """Every distinct row, spelled out."""
    return sorted({json.dumps(row, default=str) for row in read_parts(root).table.to_pylist()})


def some_parts(root: Path) -> None:
    write(root, good(0, 1), good(1, 2), failed(2), minute=1)
    write(root, good(0, 3), good(3, 4), minute=2)
    write(root, failed(0), replace(good(4), f1=None), minute=3)
    write(root, good(2, 5), minute=4)


class Died(BaseException):
    """Stands for the end of the process: nothing catches it."""


def dying(monkeypatch: pytest.MonkeyPatch, nth: int, *, after: bool) -> None:
    """Let the process end at the nth replace or remove, just before it or just after."""
    calls = 0

    def wrap(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            nonlocal calls
            calls += 1
            if calls == nth and not after:
                raise Died
            real(*arguments)
            if calls == nth:
                raise Died

        return call

    monkeypatch.setattr(os, "replace", wrap(os.replace))
    monkeypatch.setattr(os, "remove", wrap(os.remove))


def test_parts_become_one_sorted_file_and_history_stays(tmp_path: Path) -> None:
    some_parts(tmp_path)
    before, names, rows = history(tmp_path), visible(tmp_path), accuracies(tmp_path, None)
    done = compact(tmp_path)
    assert (done.parts_before, done.parts_after, done.rows_before, done.rows_after) == (4, 1, 8, 8)
    assert history(tmp_path) == before
    assert accuracies(tmp_path, None) == rows == {0: 3, 1: 2, 2: 5, 3: 4, 4: 90}
    (path,) = ResultStore(tmp_path).parts()
    table = pq.read_table(path)
    assert path.name.startswith("compact-")
    assert table.schema.equals(table_schema())
    keys = list(zip(table["cell_id"].to_pylist(), table["finished_at"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert sorted(json.loads(table.schema.metadata[PARTS_KEY])) == names


def test_large_tables_become_several_files(tmp_path: Path) -> None:
    some_parts(tmp_path)
    before = history(tmp_path)
    assert compact(tmp_path, rows_per_file=3).parts_after == 3
    assert history(tmp_path) == before


def test_a_compact_table_is_left_as_it_is(tmp_path: Path) -> None:
    some_parts(tmp_path)
    compact(tmp_path, rows_per_file=3)
    before = visible(tmp_path)
    done = compact(tmp_path, rows_per_file=3)
    assert visible(tmp_path) == before
    assert (done.parts_before, done.parts_after, done.rows_after) == (3, 3, 8)
    write(tmp_path, good(9))
    assert compact(tmp_path).rows_after == 9
    assert len(visible(tmp_path)) == 1


def test_an_empty_table_stays_empty(tmp_path: Path) -> None:
    assert compact(tmp_path).parts_after == 0
    assert visible(tmp_path) == []
    with pytest.raises(StoreError, match="no results table at"):
        compact(tmp_path / "nowhere")


@pytest.mark.parametrize("after", [False, True])
def test_dying_at_any_step_loses_nothing(tmp_path: Path, after: bool) -> None:
    # Two merged files are renamed into place, then five parts are removed: seven steps.
    steps = 7
    for nth in range(1, steps + 2):
        root = tmp_path / str(nth)
        write(root, good(7, 6))
        some_parts(root)
        before, rows = history(root), accuracies(root, None)
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, nth, after=after)
            if nth <= steps:
                with pytest.raises(Died):
                    compact(root, rows_per_file=5)
            else:
                compact(root, rows_per_file=5)
        assert history(root) == before, nth
        assert accuracies(root, None) == rows, nth
        write(root, good(8, 1))
        done = compact(root)
        assert done.rows_after == 10, nth
        assert len(visible(root)) == 1, nth
        assert set(before) < set(history(root)), nth


@pytest.mark.parametrize("call", ["replace", "remove"])
def test_what_the_system_refuses_is_said_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    some_parts(tmp_path)
    before = history(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(StoreError, match="No space left on device; no row was lost"):
            compact(tmp_path)
    assert history(tmp_path) == before


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1)), max_size=4), max_size=6))
def test_exactly_the_exact_duplicates_go(parts: list[list[tuple[int, int, int]]]) -> None:
    # The oracle compares whole rows as Python values.
    outcomes = [
        [
            (replace(good(seed, n_correct), f1=None if n_correct else (0.1 + seed, 0.5)), START.replace(minute=minute))
            for seed, n_correct, minute in part
        ]
        for part in parts
    ]
    table = pa.concat_tables([table_schema().empty_table(), *(table_of(part, HERE) for part in outcomes)])
    expected = list(dict.fromkeys(json.dumps(row, default=str) for row in table.to_pylist()))
    distinct = compaction_module._distinct(table)
    assert [json.dumps(row, default=str) for row in distinct.to_pylist()] == expected


def test_rows_that_differ_in_a_list_alone_are_no_duplicates(tmp_path: Path) -> None:
    write(tmp_path, good(0), replace(good(0), f1=(0.25, 1 / 3 + 1e-16)), good(0))
    assert compact(tmp_path).parts_after == 1
    write(tmp_path, failed(1))
    assert compact(tmp_path).rows_after == 3


def test_parts_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    some_parts(tmp_path)
    path = write(tmp_path, good(8), name="z")
    pq.write_table(pq.read_table(path).append_column("energy", pa.array([1.5])), path)
    done = compact(tmp_path)
    assert done.newer == (path,)
    assert pq.read_table(path)["energy"].to_pylist() == [1.5]
    assert len(visible(tmp_path)) == 2
    assert sorted(accuracies(tmp_path)) == [0, 1, 2, 3, 4, 8]


def test_what_killed_processes_left_long_ago_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".compact-a.parquet.tmp", tmp_path / ".part-b.parquet.tmp"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    compact(tmp_path)
    assert visible(tmp_path) == [young.name]


def test_a_reader_meets_a_compaction_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Between listing the parts and reading them, they are merged and removed.
    some_parts(tmp_path)
    before = accuracies(tmp_path, None)
    scan, calls = parts_module._scan, 0

    def late(parts: list[Path], columns: list[str], schema: pa.Schema) -> pa.Table:
        nonlocal calls
        calls += 1
        if calls == 1:
            monkeypatch.setattr(parts_module, "_scan", scan)
            compact(tmp_path)
        return scan(parts, columns, schema)

    monkeypatch.setattr(parts_module, "_scan", late)
    assert accuracies(tmp_path, None) == before
    assert calls == 1


WRITER = """
import sys
from tests.store.test_store import HERE, good
from imprint_sweep.store import ResultStore
with ResultStore(sys.argv[1]).writer(HERE, rows=3, seconds=1e9) as writer:
    for seed in range(1000, 1150):
        writer.add(good(seed))
"""
COMPACTER = """
import sys
from imprint_sweep.store import compact
from pathlib import Path
print("ready", flush=True)
while True:
    compact(Path(sys.argv[1]), rows_per_file=40)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_for_real_while_others_write_and_read(tmp_path: Path) -> None:
    for first in range(0, 200, 10):
        write(tmp_path, *(good(seed) for seed in range(first, first + 10)))
    written = set(history(tmp_path))
    writer = start(WRITER, tmp_path)
    for pause in (0.0, 0.03, 0.08):
        compacter = start(COMPACTER, tmp_path)
        assert compacter.stdout is not None
        assert compacter.stdout.readline() == "ready\n"
        time.sleep(pause)
        assert set(range(200)) <= set(accuracies(tmp_path))
        compacter.send_signal(signal.SIGKILL)
        assert compacter.wait() == -signal.SIGKILL
        compacter.stdout.close()
        assert set(range(200)) <= set(accuracies(tmp_path))
    assert writer.wait() == 0
    assert writer.stdout is not None
    writer.stdout.close()
    assert set(accuracies(tmp_path)) == {*range(200), *range(1000, 1150)}
    done = compact(tmp_path)
    assert done.rows_after == 350
    assert written < set(history(tmp_path))
    assert not list(tmp_path.glob("_quarantined*"))


def test_two_compactions_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other one does all its work after this one has written and before it removes.
    some_parts(tmp_path)
    before, remove = history(tmp_path), os.remove

    def other_first(path: Path) -> None:
        monkeypatch.setattr(os, "remove", remove)
        compact(tmp_path)
        remove(path)

    monkeypatch.setattr(os, "remove", other_first)
    compact(tmp_path)
    assert history(tmp_path) == before
    assert len(load_results(tmp_path)) == 5


def test_what_is_done_is_the_same_before_and_after(tmp_path: Path) -> None:
    some_parts(tmp_path)
    before = Snapshot.read(tmp_path)
    compact(tmp_path)
    asked = before.identity["cell_id"], before.identity["fingerprint"]
    one, other = before.look_up(*asked), Snapshot.read(tmp_path).look_up(*asked)
    assert one.done.tolist() == other.done.tolist()
    np.testing.assert_array_equal(one.accuracy, other.accuracy)
    assert set(ids([0, 1, 2, 3, 4]).tolist()) == set(asked[0].tolist())
    assert cell(0).cell_id.encode() in asked[0].tolist()


def test_the_command_counts_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some_parts(tmp_path / "results")
    write(tmp_path / "results", good(2, 5), minute=4)
    main(["--outputs", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        str(tmp_path / "results"),
        "before: 9 rows in 5 files",
        "after:  8 rows in 1 file, 1 exact duplicate dropped",
    ]
    main(["--results", str(tmp_path / "results")])
    assert "after:  8 rows in 1 file, 0 exact duplicates" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--results", str(tmp_path / "nowhere")])
    assert "no results table" in capsys.readouterr().err
