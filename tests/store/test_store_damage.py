"""Damage is named at each read and mended by a repair alone; what else keeps a file from being read is no damage."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imprint_sweep.errors import StoreError
from imprint_sweep.store import DamagedPartWarning, ResultStore, compact, load_results
from imprint_sweep.store import parts as parts_module
from imprint_sweep.store.parts import is_damage
from tests.outputs import ROOT
from tests.store.test_store import (
    DAMAGES,
    HERE,
    accuracies,
    damage_truncate,
    good,
    run_python,
    visible,
    write,
)

Damage = Callable[[Path], None]


def content(root: Path) -> dict[str, bytes]:
    """Every file and what it holds."""
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def seeds(root: Path) -> list[int]:
    return sorted(accuracies(root))


# ---- readers


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_named_at_each_read_and_left_as_it_is(tmp_path: Path, damage: Damage) -> None:
    write(tmp_path, good(0), name="a")
    bad = write(tmp_path, good(1), name="b")
    write(tmp_path, good(2), name="c")
    damage(bad)
    before = content(tmp_path)
    for _ in range(2):
        with pytest.warns(DamagedPartWarning, match=r"part-b\.parquet is damaged and was passed over .* --repair"):
            assert load_results(tmp_path).seed.tolist() == [0, 2]
    assert content(tmp_path) == before


TWO_READS = """
import sys
import tempfile
import warnings
from imprint_sweep.store import load_results
for _ in range(2):
    print(len(load_results(sys.argv[1])))
"""


def test_a_second_read_of_one_process_names_it_again(tmp_path: Path) -> None:
    write(tmp_path, good(0))
    damage_truncate(write(tmp_path, good(1)))
    finished = run_python(TWO_READS, tmp_path)
    assert finished.stdout.split() == ["1", "1"]
    assert finished.stderr.count("is damaged and was passed over") == 2


def test_a_users_own_parquet_file_is_named_and_left_alone(tmp_path: Path) -> None:
    write(tmp_path, good(0), name="a")
    mine = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"a": [1], "seed": ["x"]}), mine)
    before = mine.read_bytes()
    for _ in range(2):
        compact(tmp_path, repair=True)
        with pytest.warns(DamagedPartWarning, match=r"mine\.parquet is not a part of this results table"):
            assert seeds(tmp_path) == [0]
        assert mine.read_bytes() == before


def test_a_users_own_file_of_rows_is_read_and_not_merged_away(tmp_path: Path) -> None:
    write(tmp_path, good(0), name="a")
    mine = write(tmp_path, good(1), name="b").rename(tmp_path / "from the other machine.parquet")
    write(tmp_path, good(2), name="c")
    assert compact(tmp_path, repair=True).parts_before == 2
    assert mine.exists()
    assert seeds(tmp_path) == [0, 1, 2]


def test_a_folder_and_a_broken_link_are_named_and_left_alone(tmp_path: Path) -> None:
    write(tmp_path, good(0), name="a")
    (tmp_path / "spark.parquet").mkdir()
    (tmp_path / "gone.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.warns(DamagedPartWarning) as told:
        assert seeds(tmp_path) == [0]
    assert [Path(str(one.message).split(" is not")[0]).name for one in told] == ["gone.parquet", "spark.parquet"]
    assert len(visible(tmp_path)) == 3


# ---- what is no damage

LIMITED = """
import os, resource, sys, warnings
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others hold memory in reserve
from pathlib import Path
import pyarrow as pa
from imprint_sweep.errors import StoreError
from imprint_sweep.store import compact, load_results
warnings.simplefilter("error")
root, kind = Path(sys.argv[1]), sys.argv[2]
# All threads and libraries must be there before the limit is.
pa.set_cpu_count(1)
pa.set_io_thread_count(1)
load_results(sys.argv[3])
compact(Path(sys.argv[3]))
if kind == "memory":
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = resource.RLIMIT_AS, used + (8 << 20)
else:
    limit = resource.RLIMIT_NOFILE, 64
resource.setrlimit(limit[0], (limit[1], resource.getrlimit(limit[0])[1]))
if kind == "handles":
    while True:
        try:
            os.dup(0)
        except OSError:
            break
    os.close(63)  # one is left, to list the folder
for read in (load_results, compact):
    try:
        read(root)
    except StoreError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("kind", "reason"), [("memory", "there is not enough memory (malloc of size "), ("handles", "Too many open files")]
)
def test_a_system_that_is_short_of_something_is_no_damage(tmp_path: Path, kind: str, reason: str) -> None:
    root, small = tmp_path / "results", tmp_path / "small"
    for number in range(2):
        part = write(root, good(number), name=str(number))
        table = pq.read_table(part)
        pq.write_table(pa.concat_tables([table] * 200_000).combine_chunks(), part, compression="zstd")
    write(small, good(0))
    write(small, good(1))
    before = content(root)
    finished = run_python(LIMITED, root, kind, small)
    assert finished.returncode == 0, finished.stderr
    first, second = finished.stdout.splitlines()
    assert first.startswith(f"the results table {root} cannot be read now: ")
    assert reason in first
    assert reason in second
    assert content(root) == before
    assert seeds(root) == [0, 1]


OTHER_USER = """
import os, sys
from pathlib import Path
from imprint_sweep.errors import StoreError
from imprint_sweep.store import compact, load_results
load_results(sys.argv[3])
if os.geteuid() == 0:
    os.seteuid(65534)
for root in map(Path, sys.argv[1:3]):
    for read in (load_results, compact):
        try:
            read(root)
        except StoreError as error:
            print(error)
"""


def test_a_missing_permission_is_no_damage() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        root, closed, small = (Path(folder) / name for name in ("results", "closed/results", "small"))
        for one in (root, closed, small):
            write(one, good(0), name="a")
        part = write(root, good(1), name="b")
        Path(folder).chmod(0o755)
        part.chmod(0)
        closed.parent.chmod(0)
        finished = run_python(OTHER_USER, root, closed, small)
        part.chmod(0o644)
        closed.parent.chmod(0o755)
        assert finished.returncode == 0, finished.stderr
        assert [line.partition(" cannot be ")[0] for line in finished.stdout.splitlines()] == [
            f"the results table {one}" for one in (root, root, closed, closed)
        ]
        assert finished.stdout.count("Permission denied") == 4
        assert seeds(root) == [0, 1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError("Could not open Parquet input source 'x': Couldn't deserialize thrift: std::bad_alloc"),
        OSError("ZSTD decompression failed: Allocation error : not enough memory"),
        pa.ArrowException("Unknown error: Failed to launch worker thread: Resource temporarily unavailable"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ESTALE, "Stale file handle"),
        PermissionError(errno.EACCES, "Permission denied"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("error")
def test_no_such_error_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    some = [write(tmp_path, good(seed)) for seed in range(2)]
    before = content(tmp_path)

    def fail(*_: object, **__: object) -> pa.Table:
        raise error

    assert not is_damage(error)
    with monkeypatch.context() as patch:
        patch.setattr(parts_module, "_scan", fail)
        for read in (load_results, compact, lambda root: compact(root, repair=True)):
            with pytest.raises(StoreError, match=r"results table .* cannot be read"):
                read(tmp_path)
    assert content(tmp_path) == before
    assert len(some) == len(seeds(tmp_path))


def test_a_folder_whose_name_speaks_of_memory_can_hold_damage(tmp_path: Path) -> None:
    root = tmp_path / "memory threads allocations"
    write(root, good(0))
    damage_truncate(write(root, good(1)))
    with pytest.warns(DamagedPartWarning):
        assert seeds(root) == [0]


def test_rows_that_there_is_no_memory_to_write_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ResultStore(tmp_path).writer(HERE, seconds=1e9) as writer:
        writer.add(good(0))
        with monkeypatch.context() as patch:

            def fail(*_: object, **__: object) -> None:
                raise pa.ArrowMemoryError("malloc of size 64 failed")

            patch.setattr(pq, "write_table", fail)
            with pytest.raises(StoreError, match=r"1 row was not written to .*: there is not enough memory"):
                writer.flush()
    assert seeds(tmp_path) == [0]


def test_a_part_of_a_newer_version_is_not_merged_because_it_could_not_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, good(0), name="a")
    path = write(tmp_path, good(1), name="b")
    pq.write_table(pq.read_table(path).append_column("energy", pa.array([1.5])), path)

    def fail(_: Path) -> pa.Schema:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "read_schema", fail)
        with pytest.raises(StoreError, match="Too many open files"):
            compact(tmp_path)
    assert pq.read_table(path)["energy"].to_pylist() == [1.5]


# ---- compaction and repair


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_repair_alone_moves_a_damaged_part_aside(tmp_path: Path, damage: Damage) -> None:
    for seed, name in enumerate("abc"):
        write(tmp_path, good(seed), name=name)
    bad = tmp_path / "part-b.parquet"
    damage(bad)
    broken = bad.read_bytes()
    with pytest.warns(DamagedPartWarning):
        done = compact(tmp_path)
    assert (done.damaged, done.moved, done.newer) == ((bad,), (), ())
    assert bad.read_bytes() == broken
    done = compact(tmp_path, repair=True)
    aside = tmp_path / "_quarantined-part-b.parquet"
    assert (done.damaged, done.moved, done.newer) == ((), (aside,), ())
    assert aside.read_bytes() == broken
    assert seeds(tmp_path) == [0, 2]
    assert compact(tmp_path, repair=True).moved == ()


def test_a_repair_takes_back_what_an_earlier_version_moved_aside_although_it_is_intact(tmp_path: Path) -> None:
    write(tmp_path, good(0), name="a")
    write(tmp_path, good(1), name="b").rename(tmp_path / "_quarantined-part-b.parquet")
    damaged = write(tmp_path, good(2), name="c").rename(tmp_path / "_quarantined-part-c.parquet")
    damage_truncate(damaged)
    assert compact(tmp_path).restored == ()
    assert seeds(tmp_path) == [0]
    done = compact(tmp_path, repair=True)
    assert done.restored == (tmp_path / "part-b.parquet",)
    assert seeds(tmp_path) == [0, 1]
    assert damaged.exists()


def test_a_repair_replaces_no_file(tmp_path: Path) -> None:
    write(tmp_path, good(0), name="a").rename(tmp_path / "_quarantined-part-a.parquet")
    write(tmp_path, good(1), name="a")
    (back,) = compact(tmp_path, repair=True).restored
    assert back.name.startswith("part-a-")
    assert seeds(tmp_path) == [0, 1]
    aside = tmp_path / "_quarantined-part-b.parquet"
    aside.write_bytes(b"an earlier one")
    damage_truncate(write(tmp_path, good(2), name="b"))
    (moved,) = compact(tmp_path, repair=True).moved
    assert moved.name.startswith("_quarantined-part-b-")
    assert aside.read_bytes() == b"an earlier one"


REPAIR = """
import sys
from pathlib import Path
from imprint_sweep.store import compact
compact(Path(sys.argv[1]), repair=True)
"""


def test_repairs_and_readers_at_once_agree(tmp_path: Path) -> None:
    for seed in range(0, 40, 2):
        write(tmp_path, good(seed), name=f"{seed:02d}")
        damage_truncate(write(tmp_path, good(seed + 1), name=f"{seed + 1:02d}"))
    for seed in range(40, 50):
        write(tmp_path, good(seed), name=f"{seed}").rename(tmp_path / f"_quarantined-part-{seed}.parquet")
    repairs = [subprocess.Popen([sys.executable, "-c", REPAIR, str(tmp_path)], cwd=ROOT) for _ in range(3)]
    while any(repair.poll() is None for repair in repairs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DamagedPartWarning)
            assert set(range(0, 40, 2)) <= set(seeds(tmp_path))
    assert [repair.returncode for repair in repairs] == [0, 0, 0]
    assert seeds(tmp_path) == [*range(0, 40, 2), *range(40, 50)]
    assert len(list(tmp_path.glob("_quarantined-*"))) == 20


COMPACT = "import sys; from imprint_sweep.cli.commands.compact import main; main(sys.argv[1:])"


def test_the_command_says_what_it_moved_and_took_back(tmp_path: Path) -> None:
    root = tmp_path / "results"
    write(root, good(0), name="a")
    write(root, good(1), name="b").rename(root / "_quarantined-part-b.parquet")
    bad = write(root, good(2), name="c")
    damage_truncate(bad)
    finished = run_python(COMPACT, "--results", root)
    assert "left alone: 1 damaged file; --repair moves them aside" in finished.stdout
    assert finished.stderr.startswith(f"warning: {bad} is damaged")
    finished = run_python(COMPACT, "--results", root, "--repair")
    assert "intact, taken back as part-b.parquet" in finished.stdout
    assert "damaged, moved aside as _quarantined-part-c.parquet" in finished.stdout
    assert finished.stderr == ""
