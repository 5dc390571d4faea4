"""The cache of embeddings."""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import shutil
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open

from imprint_sweep.embeddings import cache as embeddings
from imprint_sweep.embeddings.cache import (
    CLASSES,
    EmbeddingCache,
    EntryKey,
    cell_fingerprint,
    check_classes,
    check_pair,
    limited_indices,
    open_entry,
)
from imprint_sweep.errors import EmbeddingsError, InvalidEmbeddingsError, MissingEmbeddingsError
from imprint_sweep.grid.cell import Model
from imprint_sweep.grid.commands import MOST_LISTED, embedding
from tests.stand_ins import LFS

KEY = EntryKey(Model("net", "v1", 112), "data", "train")
FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.array([7, -2, 7, 2**40])


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "outputs" / "embeddings")


def write(
    cache: EmbeddingCache, key: EntryKey = KEY, features: NDArray[Any] = FEATURES, labels: NDArray[Any] = LABELS
) -> Path:
    return cache.write(key, features, labels, metadata={"source": "a test"})


def damage(path: Path, offset: int, value: bytes = b"\x01") -> None:
    """Overwrite bytes in place, counted from the end if negative."""
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        file.write(value)


def edit_header(path: Path, change: Any) -> None:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


# What is written is what is read.


def test_an_entry_reads_back_mapped_and_read_only(cache: EmbeddingCache) -> None:
    write(cache)
    entry = cache.open(KEY)
    np.testing.assert_array_equal(entry.features, FEATURES)
    np.testing.assert_array_equal(entry.labels, LABELS)
    assert [entry.features.dtype, entry.labels.dtype] == [np.dtype("float32"), np.dtype("int64")]
    assert not entry.features.flags.writeable
    assert not entry.labels.flags.writeable
    base: Any = entry.features
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)


def test_the_file_is_a_safetensors_file(cache: EmbeddingCache) -> None:
    path = write(cache)
    with safe_open(path, framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("embeddings"), FEATURES)
        np.testing.assert_array_equal(file.get_tensor("labels"), LABELS)
        metadata = file.metadata()
    expected = {"model": "net", "weights": "v1", "image_size": "112", "dataset": "data", "split": "train"}
    assert expected.items() <= metadata.items()
    assert metadata["source"] == "a test"


@given(n=st.integers(1, 40), d=st.integers(1, 9))
def test_embeddings_start_on_a_cache_line(n: int, d: int) -> None:
    assert (len(embeddings._encode_header(n, d, {"a": "b"})) + 8 * n) % 64 == 0


def test_the_header_tells_without_reading_the_data(cache: EmbeddingCache) -> None:
    path = write(cache)
    damage(path, -1)
    header = cache.header(KEY)
    assert header is not None
    assert (header.key, header.n, header.d, header.size) == (KEY, 4, 3, path.stat().st_size)
    assert header.class_counts == {-2: 1, 7: 2, 2**40: 1}


def test_a_missing_entry_has_no_header(cache: EmbeddingCache) -> None:
    assert cache.header(KEY) is None


def test_entries_lists_all_and_no_unfinished_ones(cache: EmbeddingCache) -> None:
    test = EntryKey(KEY.model, "data", "test")
    write(cache)
    path = write(cache, test)
    path.with_name(f".{path.name}.tmp.safetensors").write_bytes(b"half")
    assert [header.key for header in cache.entries()] == [test, KEY]


# One key, one file.


@given(st.lists(st.tuples(*[st.text(min_size=1, max_size=4)] * 3), min_size=2, max_size=2, unique=True))
def test_different_keys_have_different_files_under_the_root(names: list[tuple[str, str, str]]) -> None:
    cache = EmbeddingCache(Path("/root"))
    one, other = (cache.path(EntryKey(Model(model, weights), dataset, "train")) for model, weights, dataset in names)
    assert one != other
    for path in (one, other):
        assert path.is_relative_to("/root")
        assert len(path.relative_to("/root").parts) == 3
        assert ".." not in path.parts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (EntryKey(Model("m", "w", 112), "d", "train"), EntryKey(Model("m", "w"), "d", "train")),
        (EntryKey(Model("m", "w"), "d", "train"), EntryKey(Model("m", "w"), "d", "test")),
        (EntryKey(Model("m", "w"), "d", "train", 5), EntryKey(Model("m", "w"), "d", "train")),
        (EntryKey(Model("m", "w"), "d-train", "test"), EntryKey(Model("m", "w"), "d", "train")),
    ],
)
def test_size_split_and_limit_are_part_of_the_key(cache: EmbeddingCache, one: EntryKey, other: EntryKey) -> None:
    write(cache, one)
    assert cache.path(one) != cache.path(other)
    with pytest.raises(MissingEmbeddingsError):
        cache.open(other)


def test_paths_are_readable(cache: EmbeddingCache) -> None:
    key = EntryKey(Model("timm/resnet18.a1", "pretrained"), "my data", "test", 200)
    path = "timm%2Fresnet18.a1/pretrained-native/my data-test-limit200.safetensors"
    assert cache.path(key) == cache.root / path
    assert write(cache, key).is_file()


def test_a_file_of_another_key_is_refused(cache: EmbeddingCache) -> None:
    limited = EntryKey(KEY.model, "data", "train", 4)
    write(cache, limited).rename(cache.path(KEY))
    with pytest.raises(InvalidEmbeddingsError, match="limit 4 instead of"):
        cache.open(KEY)
    with pytest.raises(InvalidEmbeddingsError, match="limit 4 instead of"):
        cache.header(KEY)


@given(n=st.integers(1, 200), limit=st.integers(1, 300))
def test_a_limit_spreads_evenly(n: int, limit: int) -> None:
    indices = limited_indices(n, limit)
    assert indices.tolist() == sorted({i * n // min(limit, n) for i in range(min(limit, n))})


# Content is identified and verified.


@given(st.integers(0, 3), st.integers(0, 2))
def test_the_fingerprint_sees_every_value_and_the_order(row: int, column: int) -> None:
    fingerprint = embeddings._content_hash(FEATURES, LABELS)
    changed = FEATURES.copy()
    changed[row, column] += 1
    relabelled = LABELS.copy()
    relabelled[row] += 1
    other = [
        (changed, LABELS),
        (FEATURES, relabelled),
        (FEATURES[::-1], LABELS[::-1]),
        (FEATURES.reshape(6, 2), LABELS),
    ]
    assert fingerprint not in {embeddings._content_hash(*pair) for pair in other}
    assert fingerprint == embeddings._content_hash(np.asfortranarray(FEATURES), LABELS)


def test_the_fingerprint_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = embeddings._content_hash(FEATURES, LABELS)
    monkeypatch.setattr(embeddings, "_CHUNK_BYTES", 1)
    assert embeddings._content_hash(FEATURES, LABELS) == whole


def test_a_golden_fingerprint(cache: EmbeddingCache) -> None:
    """Changing what is hashed makes every row in existing tables count as not done: a decision, not an accident."""
    write(cache)
    assert cache.open(KEY).fingerprint == "baf9f8d41b22329800ed2943160e4754"
    assert cell_fingerprint([cache.open(KEY)]) == "1efcdb3bb6dcc480d6c9"


def test_a_cell_fingerprint_knows_the_role_of_an_entry_but_not_the_order(cache: EmbeddingCache) -> None:
    test = EntryKey(KEY.model, "data", "test")
    write(cache)
    write(cache, test, FEATURES + 1)
    one, other = cache.open(KEY), cache.open(test)
    assert cell_fingerprint([one, other]) == cell_fingerprint([other, one]) == cell_fingerprint([one.header, other])
    write(cache, KEY, FEATURES + 1)
    write(cache, test)
    assert cell_fingerprint([cache.open(KEY), cache.open(test)]) != cell_fingerprint([one, other])


def test_content_is_verified_once_per_version_of_the_file(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cache)
    hashed = []
    original = embeddings._content_hash

    def count(features: NDArray[np.float32], labels: NDArray[np.int64]) -> str:
        hashed.append(features)
        return original(features, labels)

    monkeypatch.setattr(embeddings, "_content_hash", count)
    for _ in range(3):
        EmbeddingCache(cache.root).open(KEY)
    assert len(hashed) == 1
    write(cache)  # hashes too
    cache.open(KEY)
    assert len(hashed) == 3
    cache.verify(cache.path(KEY))
    assert len(hashed) == 4


def test_an_entry_that_was_replaced_stays_readable_where_it_is_open(cache: EmbeddingCache) -> None:
    write(cache)
    before = cache.open(KEY)
    write(cache, KEY, FEATURES * 2)
    np.testing.assert_array_equal(before.features, FEATURES)
    assert cache.open(KEY).fingerprint != before.fingerprint


# Damage is found and named.


@pytest.mark.parametrize("offset", [-1, -12 * 4, -12 * 4 - 1, -12 * 4 - 4 * 8])
def test_a_tampered_entry_is_refused_with_the_file_and_the_mend(cache: EmbeddingCache, offset: int) -> None:
    path = write(cache)
    cache.open(KEY)
    damage(path, offset)
    with pytest.raises(InvalidEmbeddingsError, match="fingerprint") as caught:
        cache.open(KEY)
    assert str(path) in str(caught.value)
    assert "embed" in str(caught.value)
    assert "force=true" in str(caught.value)


@pytest.mark.parametrize("kept", [0, 5, 8, 100, -1, -40])
def test_a_truncated_entry_is_refused(cache: EmbeddingCache, kept: int) -> None:
    path = write(cache)
    os.truncate(path, kept if kept >= 0 else path.stat().st_size + kept)
    for read in (cache.open, cache.header):
        with pytest.raises(InvalidEmbeddingsError, match="bytes") as caught:
            read(KEY)
        assert str(path) in str(caught.value)


def test_appended_bytes_are_refused(cache: EmbeddingCache) -> None:
    path = write(cache)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(InvalidEmbeddingsError, match="bytes instead of"):
        cache.header(KEY)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["__metadata__"].update(fingerprint="0" * 32),
        lambda header: header["__metadata__"].update(class_counts='{"7": 4}'),
        lambda header: header["__metadata__"].update(format_version="0"),
        lambda header: header["__metadata__"].pop("split"),
        lambda header: header["__metadata__"].update(split="validation"),
        lambda header: header.pop("__metadata__"),
        lambda header: header.pop("labels"),
        lambda header: header["embeddings"].update(shape=[3, 4]),
        lambda header: header["embeddings"].update(dtype="I32"),
        lambda header: header["embeddings"].update(shape=[12]),
    ],
)
def test_an_altered_header_is_refused(cache: EmbeddingCache, change: Any) -> None:
    path = write(cache)
    edit_header(path, change)
    with pytest.raises(InvalidEmbeddingsError) as caught:
        cache.open(KEY)
    assert str(path) in str(caught.value)


def test_another_file_is_refused(cache: EmbeddingCache) -> None:
    path = cache.path(KEY)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x89HDF" * 100)
    with pytest.raises(InvalidEmbeddingsError, match="damaged or no entry"):
        open_entry(path)


# What cannot be used is refused before it is stored.


@pytest.mark.parametrize(
    ("features", "labels", "reason"),
    [
        (np.array([[1, 2], [np.nan, 0]], np.float32), np.array([0, 1]), "nan at sample 1, feature 0"),
        (np.array([[1, np.inf]], np.float32), np.array([0]), "inf at sample 0, feature 1"),
        (FEATURES.astype(np.float64), LABELS, "got float64"),
        (FEATURES, LABELS.astype(np.int32), "int32"),
        (FEATURES, LABELS[:3], r"\(4, 3\) and \(3,\)"),
        (FEATURES[0], LABELS, r"\(3,\)"),
        (FEATURES[:0], LABELS[:0], "at least 1"),
        (FEATURES[:, :0], LABELS, "at least 1"),
        (FEATURES, LABELS[:, None], r"\(4, 1\)"),
    ],
)
def test_unusable_embeddings_are_refused(
    cache: EmbeddingCache, features: NDArray[Any], labels: NDArray[Any], reason: str
) -> None:
    with pytest.raises(InvalidEmbeddingsError, match=reason):
        write(cache, KEY, features, labels)
    assert cache.paths() == []


def test_the_place_of_a_nan_counts_from_the_start(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_CHUNK_BYTES", 1)
    features = FEATURES.copy()
    features[2, 1] = np.nan
    with pytest.raises(InvalidEmbeddingsError, match="sample 2, feature 1"):
        write(cache, KEY, features)


def test_more_samples_than_the_limit_are_refused(cache: EmbeddingCache) -> None:
    with pytest.raises(InvalidEmbeddingsError, match="limit of 3"):
        write(cache, EntryKey(KEY.model, "data", "train", 3))


def test_unequal_widths_are_refused(cache: EmbeddingCache) -> None:
    test = EntryKey(KEY.model, "data", "test")
    write(cache)
    write(cache, test, FEATURES[:, :2])
    with pytest.raises(InvalidEmbeddingsError, match=r"3 features a sample.*2"):
        check_pair(cache.open(KEY), cache.open(test))
    check_pair(cache.open(KEY), cache.open(KEY).header)


def test_an_empty_class_is_refused(cache: EmbeddingCache) -> None:
    limited = EntryKey(KEY.model, "data", "train", 10)
    write(cache)
    write(cache, limited)
    check_classes(cache.open(KEY), [7, -2])
    with pytest.raises(InvalidEmbeddingsError, match=r"no train sample of class 3, 4; data has -2, 7, 1099511627776"):
        check_classes(cache.open(KEY), [7, 3, 4])
    with pytest.raises(InvalidEmbeddingsError, match="limit=10 may be too low"):
        check_classes(cache.open(limited), [3])


def test_a_class_that_was_not_embedded_is_refused_with_the_command_that_adds_it(cache: EmbeddingCache) -> None:
    cache.write(KEY, FEATURES, LABELS, metadata={CLASSES: "[-2, 3, 7, 1099511627776]"})
    with pytest.raises(InvalidEmbeddingsError, match="no train sample of class 4, 5 was embedded; add") as caught:
        check_classes(cache.open(KEY), [7, 4, 5])
    assert str(caught.value).endswith(embedding(KEY.model, "data", classes=[4, 5], outputs=cache.root.parent))
    with pytest.raises(InvalidEmbeddingsError, match="no train sample of class 3; data has"):
        check_classes(cache.open(KEY), [3])  # it was asked for, and the dataset has none


@pytest.mark.parametrize(
    ("embedded", "wanted", "covered"),
    [
        (None, None, True),
        (None, {1, 2}, True),
        ([1, 2], {1}, True),
        ([1, 2], {2, 1}, True),
        ([1, 2], {1, 3}, False),
        ([1, 2], None, False),
    ],
)
def test_which_classes_an_entry_covers(
    cache: EmbeddingCache, embedded: list[int] | None, wanted: set[int] | None, covered: bool
) -> None:
    metadata = {} if embedded is None else {CLASSES: str(embedded)}
    cache.write(KEY, FEATURES, LABELS, metadata=metadata)
    header = cache.header(KEY)
    assert header is not None
    assert header.embedded_classes == (None if embedded is None else frozenset(embedded))
    assert header.covers(None if wanted is None else frozenset(wanted)) is covered


@pytest.mark.parametrize("model", [Model("", "w"), Model("m", "")])
def test_a_key_without_a_name_is_refused(model: Model) -> None:
    with pytest.raises(EmbeddingsError, match="need a name"):
        EntryKey(model, "data", "train")


# Writing is all or nothing.


def test_a_full_disk_leaves_the_old_entry_and_nothing_else(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(cache)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EmbeddingsError, match="No space left"):
        write(cache, KEY, FEATURES * 2)
    np.testing.assert_array_equal(cache.open(KEY).features, FEATURES)
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(cache)
    assert list(cache.path(KEY).parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddingsError, match=r"paths\.outputs"):
        EmbeddingCache(tmp_path / "file" / "embeddings").check_writable(KEY)


# A message names the command that helps.


def test_the_command_makes_exactly_these_embeddings(tmp_path: Path) -> None:
    def words(key: EntryKey, **options: Any) -> str:
        return embedding(key.model, key.dataset, key.limit, **options).partition("embed")[2].partition(" ")[2]

    assert words(KEY) == "model=net model.weights=v1 model.image_size=112 task=image_folder task.name=data"
    assert words(EntryKey(Model("net", "v1"), "usps", "test", 9), force=True) == (
        "model=net model.weights=v1 model.image_size=null task=usps limit=9 force=true"
    )
    imagenet = EntryKey(Model("net", "v1"), "imagenet", "test")
    assert words(imagenet, classes=[3, 1]).endswith(" task=imagenet 'task.labels=[3,1]' task.sample=null")
    assert words(imagenet, classes=range(MOST_LISTED + 1)).endswith(" task=imagenet task.labels=null task.sample=null")
    assert words(EntryKey(Model("timm/vit.x", "p"), "d", "test")).startswith("model=timm model.name=timm/vit.x ")
    assert words(KEY, outputs=tmp_path).endswith(f"task.name=data paths.outputs={tmp_path}")
    imported = EntryKey(Model("my net", "imported"), "data", "train")
    assert words(imported, force=True) == "--model 'my net' --dataset data --train FILE --test FILE --force"


def test_the_remedy_names_the_folder_of_the_data_sets(tmp_path: Path) -> None:
    words = EmbeddingCache(tmp_path / "embeddings", tmp_path / "my data").remedy(KEY).split("paths.data=")
    assert words[1] == f"{tmp_path}/my data'"


def test_one_at_a_time_makes_an_entry(cache: EmbeddingCache) -> None:
    """In another process or thread alike: whoever comes later waits."""
    cache.check_writable(KEY)
    order: list[str] = []
    inside = threading.Event()

    def waiting() -> None:
        order.append("second waits")
        inside.set()

    def second() -> None:
        with cache.making(KEY, waiting):
            order.append("second")

    thread = threading.Thread(target=second)
    with cache.making(KEY):
        thread.start()
        assert inside.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["second waits", "first", "second"]


def test_who_comes_when_the_first_has_left_waits_for_the_second(cache: EmbeddingCache) -> None:
    """Whoever waited holds the lock of the file that they opened: a new file would be another lock."""
    cache.check_writable(KEY)
    order: list[str] = []
    second_waits, second_inside, third_waits = (threading.Event() for _ in range(3))

    def second() -> None:
        with cache.making(KEY, second_waits.set):
            second_inside.set()
            third_waits.wait(10)
            order.append("second leaves")

    def third() -> None:
        with cache.making(KEY, third_waits.set):
            order.append("third enters")

    with ThreadPoolExecutor(2) as executor:
        with cache.making(KEY):
            waits = executor.submit(second)
            assert second_waits.wait(60)
        assert second_inside.wait(60)
        for future in (executor.submit(third), waits):
            future.result(60)
    assert order == ["second leaves", "third enters"]


def test_a_pointer_in_the_place_of_an_entry_is_said(cache: EmbeddingCache) -> None:
    """As where the outputs are kept in Git LFS."""
    path = write(cache)
    path.write_bytes(LFS)
    for look in (cache.header, cache.open):
        with pytest.raises(InvalidEmbeddingsError, match=r"is a Git LFS pointer.*run: git lfs pull; or make it anew: "):
            look(KEY)


def test_a_lock_left_behind_by_a_killed_process_stops_nobody(cache: EmbeddingCache) -> None:
    cache.check_writable(KEY)
    with cache.making(KEY):
        pass
    (lock,) = cache.path(KEY).parent.iterdir()
    lock.write_bytes(b"")
    with cache.making(KEY, pytest.fail):
        pass
    assert cache.paths() == []


def test_another_entry_is_made_meanwhile(cache: EmbeddingCache) -> None:
    cache.check_writable(KEY)
    with cache.making(KEY), cache.making(replace(KEY, split="test"), pytest.fail):
        pass


def test_where_files_cannot_be_locked_nobody_waits(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    cache.check_writable(KEY)
    with cache.making(KEY, pytest.fail), cache.making(KEY, pytest.fail):
        pass


def test_an_entry_in_the_place_of_another_is_no_verified_one(cache: EmbeddingCache) -> None:
    other = replace(KEY, model=replace(KEY.model, name="other"))
    path = write(cache)
    cache.path(other).parent.mkdir(parents=True)
    copy = Path(shutil.copy(path, cache.path(other)))
    assert cache.verify(path).key == KEY
    with pytest.raises(InvalidEmbeddingsError, match=rf"holds {re.escape(str(KEY))}, whose place is {path}"):
        cache.verify(copy)


def test_a_missing_entry_is_an_error_with_the_remedy(cache: EmbeddingCache) -> None:
    with pytest.raises(MissingEmbeddingsError) as caught:
        cache.open(KEY)
    assert cache.remedy(KEY) in str(caught.value)
    assert "\n" not in str(caught.value)
