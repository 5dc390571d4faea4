"""Formats in which people bring embeddings."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from imprint_sweep.embeddings.importing import number_labels, read_embeddings
from imprint_sweep.errors import InvalidEmbeddingsError
from tests.stand_ins import STAND_INS

FEATURES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
LABELS = np.array([5, -1, 5, 2**40, 0, -1])
FILES = {"embeddings": FEATURES, "labels": LABELS}


def hdf5(path: Path, arrays: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def lists(kind: Callable[..., pa.DataType]) -> Callable[[Path, dict[str, Any]], None]:
    def write(path: Path, arrays: dict[str, Any]) -> None:
        columns = {
            name: pa.array(list(array), kind(pa.from_numpy_dtype(array.dtype))) if array.ndim == 2 else array
            for name, array in arrays.items()
        }
        pq.write_table(pa.table(columns), path)

    return write


WRITERS: dict[str, tuple[str, Callable[[Path, Any], object]]] = {
    "h5": (".h5", hdf5),
    "hdf5": (".hdf5", hdf5),
    "npz": (".npz", lambda path, arrays: np.savez(path, **arrays)),
    "safetensors": (".safetensors", lambda path, arrays: save_file(arrays, path)),
    "parquet lists": (".parquet", lists(pa.list_)),
    "parquet large lists": (".parquet", lists(pa.large_list)),
    "parquet fixed lists": (".parquet", lists(lambda kind: pa.list_(kind, 4))),
}


def write(folder: Path, form: str, arrays: dict[str, Any]) -> Path:
    suffix, writer = WRITERS[form]
    path = folder / f"file{suffix}"
    writer(path, arrays)
    return path


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_reads_back(tmp_path: Path, form: str) -> None:
    features, labels = read_embeddings(write(tmp_path, form, FILES))
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(labels, LABELS)
    assert [features.dtype, labels.dtype] == [np.dtype("float32"), np.dtype("int64")]


def test_a_pair_of_npy_files_reads_back(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", FEATURES)
    np.save(tmp_path / "y.npy", LABELS)
    features, labels = read_embeddings(tmp_path / "x.npy", tmp_path / "y.npy")
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(labels, LABELS)


def test_labels_may_be_in_another_file_than_any_embeddings(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", LABELS)
    path = write(tmp_path, "h5", {"embeddings": FEATURES})
    np.testing.assert_array_equal(read_embeddings(path, tmp_path / "y.npy")[1], LABELS)


def test_parquet_may_hold_a_column_for_each_feature(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"label": LABELS, **{f"f{i}": FEATURES[:, i] for i in range(4)}}), path)
    features, labels = read_embeddings(path)
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(labels, LABELS)


FRAME = pd.DataFrame(FEATURES, columns=[f"f{i}" for i in range(4)]).assign(label=LABELS)
ORDER = [4, 1, 5, 0, 3, 2]
SHUFFLED = FRAME.iloc[ORDER]


@pytest.mark.parametrize(
    "frame",
    [
        SHUFFLED,
        SHUFFLED.rename_axis("sample"),
        SHUFFLED.reset_index(),
        SHUFFLED.set_index(pd.MultiIndex.from_product([[0, 1], [0, 1, 2]])),
        SHUFFLED.set_index(pd.MultiIndex.from_product([[0, 1], [0, 1, 2]])).reset_index(),
        SHUFFLED.set_index(np.array([*"abcdef"])),
        SHUFFLED.set_index(SHUFFLED["f0"].to_numpy() * 3),
        SHUFFLED.set_index("label"),
        SHUFFLED.rename(columns={"label": "labels"}),
        pd.read_csv(StringIO(SHUFFLED.to_csv())).astype({f"f{i}": np.float32 for i in range(4)}),
    ],
    ids=["shuffled", "named", "reset", "two levels", "two reset", "text", "floats", "label", "labels", "csv"],
)
def test_the_index_of_a_data_frame_is_no_feature(tmp_path: Path, frame: pd.DataFrame) -> None:
    """As after ``train_test_split``, ``sample`` or ``df[mask]``, which keep the old row numbers."""
    path = tmp_path / "file.parquet"
    frame.to_parquet(path)
    features, labels = read_embeddings(path)
    np.testing.assert_array_equal(features, FEATURES[ORDER])
    np.testing.assert_array_equal(labels, LABELS[ORDER])


@pytest.mark.parametrize("name", ["__index_level_0__", "index", "Unnamed: 0", "Unnamed: 0.1", "level_0"])
def test_an_index_that_lost_its_metadata_is_no_feature(tmp_path: Path, name: str) -> None:
    """Other libraries keep the column and drop what pandas says of it."""
    table = pa.table({name: np.arange(6), **{f"f{i}": np.arange(6) * i for i in range(4)}, "label": LABELS})
    pq.write_table(table, tmp_path / "file.parquet")
    np.testing.assert_array_equal(read_embeddings(tmp_path / "file.parquet")[0], np.outer(range(6), range(4)))


def test_features_of_a_data_frame_may_be_called_levels(tmp_path: Path) -> None:
    FRAME.rename(columns=lambda name: name.replace("f", "level_")).to_parquet(tmp_path / "file.parquet")
    np.testing.assert_array_equal(read_embeddings(tmp_path / "file.parquet")[0], FEATURES)


def test_a_column_of_another_type_is_no_feature_in_silence(tmp_path: Path) -> None:
    FRAME.assign(sample=np.arange(6)).to_parquet(tmp_path / "file.parquet")
    with pytest.raises(InvalidEmbeddingsError, match=r"4 columns are float, but sample \(int64\) not: drop"):
        read_embeddings(tmp_path / "file.parquet")


def test_both_label_and_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    FRAME.assign(labels=LABELS[::-1]).to_parquet(path)
    with pytest.raises(InvalidEmbeddingsError, match="both label and labels"):
        read_embeddings(path)
    np.save(tmp_path / "y.npy", LABELS)
    features, labels = read_embeddings(path, tmp_path / "y.npy")
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(labels, LABELS)


def test_folders_above_a_file_are_no_features(tmp_path: Path) -> None:
    folder = tmp_path / "fold=0" / "seed=7"
    folder.mkdir(parents=True)
    FRAME.to_parquet(folder / "file.parquet")
    np.testing.assert_array_equal(read_embeddings(folder / "file.parquet")[0], FEATURES)


@pytest.mark.parametrize("columns", [["label"], ["fold", "label"], ["fold"]])
@pytest.mark.parametrize("name", ["train.parquet", "train", "data.v1"])
def test_a_partitioned_folder_is_read_and_only_its_label_means_something(
    tmp_path: Path, name: str, columns: list[str]
) -> None:
    path = tmp_path / "fold=9" / name
    frame = SHUFFLED.assign(fold=np.arange(6) % 2) if "fold" in columns else SHUFFLED
    frame.to_parquet(path, partition_cols=columns)
    (path / "_SUCCESS").touch()
    features, labels = read_embeddings(path)
    order = np.lexsort(features.T), np.lexsort(FEATURES.T)
    np.testing.assert_array_equal(features[order[0]], FEATURES[order[1]])
    np.testing.assert_array_equal(labels[order[0]], LABELS[order[1]])


def test_a_folder_without_parts_is_refused(tmp_path: Path) -> None:
    for name in ("file.parquet", "file.h5", "file"):
        (tmp_path / name).mkdir()
        with pytest.raises(InvalidEmbeddingsError, match=r"without Parquet files|is not a file"):
            read_embeddings(tmp_path / name)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float8_e4m3fn, torch.float16, torch.float64])
def test_every_float_of_safetensors_is_read(tmp_path: Path, kind: torch.dtype) -> None:
    tensor = torch.from_numpy(FEATURES).to(kind)
    save_tensors({"embeddings": tensor, "labels": torch.from_numpy(LABELS)}, tmp_path / "file.safetensors")
    features, labels = read_embeddings(tmp_path / "file.safetensors")
    np.testing.assert_array_equal(features, tensor.float().numpy())
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("form", STAND_INS)
@pytest.mark.parametrize("suffix", [".h5", ".npz", ".npy", ".safetensors", ".parquet"])
def test_a_stand_in_for_a_file_is_said(tmp_path: Path, suffix: str, form: str) -> None:
    path, labels = tmp_path / f"file{suffix}", tmp_path / "labels.npy"
    path.write_bytes(STAND_INS[form])
    np.save(labels, LABELS)
    with pytest.raises(InvalidEmbeddingsError, match=r"(run: git|; fetch the file again)") as caught:
        read_embeddings(path, labels)
    assert not re.search("pickle|unsafe|weights_only|header", str(caught.value), re.IGNORECASE)


@pytest.mark.parametrize("writer", [np.save, np.savez])
def test_python_objects_are_refused_without_advice_to_load_them(tmp_path: Path, writer: Callable[..., None]) -> None:
    path, labels = tmp_path / f"file.{'npy' if writer is np.save else 'npz'}", tmp_path / "labels.npy"
    objects = np.array([[1, None]], dtype=object)
    writer(path, objects) if writer is np.save else writer(path, embeddings=objects)
    np.save(labels, LABELS)
    with pytest.raises(InvalidEmbeddingsError, match=r"damaged, or holds other objects than numbers$"):
        read_embeddings(path, labels)


@pytest.mark.parametrize("form", ["parquet lists", "parquet fixed lists"])
def test_a_sliced_or_chunked_column_keeps_its_rows(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, FILES)
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table.slice(2), table.slice(0, 2)]), path, row_group_size=2)
    order = [2, 3, 4, 5, 0, 1]
    features, labels = read_embeddings(path)
    np.testing.assert_array_equal(features, FEATURES[order])
    np.testing.assert_array_equal(labels, LABELS[order])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "uint8"])
def test_other_number_types_become_float32(tmp_path: Path, dtype: str) -> None:
    array = np.arange(24).reshape(6, 4).astype(dtype)
    features, _ = read_embeddings(write(tmp_path, "npz", {"embeddings": array, "labels": LABELS}))
    np.testing.assert_array_equal(features, array.astype(np.float32))


@pytest.mark.parametrize("labels", [LABELS.astype(np.float64), LABELS[:, None], LABELS[:, None].astype(np.float64)])
def test_labels_may_be_whole_floats_or_a_column(tmp_path: Path, labels: Any) -> None:
    path = write(tmp_path, "h5", {"embeddings": FEATURES, "labels": labels})
    np.testing.assert_array_equal(read_embeddings(path)[1], LABELS)


@pytest.mark.parametrize("form", ["h5", "npz", "safetensors", "parquet lists"])
@pytest.mark.parametrize("missing", ["embeddings", "labels"])
def test_a_missing_name_is_named_and_so_is_what_is_there(tmp_path: Path, form: str, missing: str) -> None:
    arrays = {"other" if name == missing else name: array for name, array in FILES.items()}
    with pytest.raises(InvalidEmbeddingsError, match=rf"{missing}.*holds.*other") as caught:
        read_embeddings(write(tmp_path, form, arrays))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"embeddings": FEATURES[0], "labels": LABELS}, r"expected embeddings \(n, d\) of numbers, got \(4,\)"),
        ({"embeddings": FEATURES[None], "labels": LABELS}, r"got \(1, 6, 4\)"),
        ({"embeddings": FEATURES.astype(complex), "labels": LABELS}, "complex"),
        ({"embeddings": FEATURES, "labels": LABELS + 0.5}, r"expected integer labels \(n,\), got 5.5 at sample 0"),
        (
            {"embeddings": FEATURES, "labels": np.array([*"abc", " ", *"ef"])},
            "expected a name as label, got ' ' at sample 3",
        ),
        (
            {"embeddings": FEATURES, "labels": np.array([0, 1, 2, 3, 4, np.nan])},
            "expected integer labels .*, got nan at sample 5",
        ),
        ({"embeddings": FEATURES, "labels": np.zeros((6, 2))}, r"got \(6, 2\)"),
    ],
)
def test_what_is_no_embeddings_is_refused(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidEmbeddingsError, match=reason):
        read_embeddings(write(tmp_path, "npz", arrays))


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([[1.0, 2.0], [3.0]]), r"lengths \[1, 2\]"),
        (pa.array([[1.0, 2.0], None]), r"lengths \[0, 2\]"),
        (pa.array([["a"], ["b"]]), "expected lists of numbers"),
        (pa.array(["a", "b"]), "expected lists of numbers"),
    ],
)
def test_ragged_or_textual_lists_are_refused(tmp_path: Path, column: pa.Array, reason: str) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"embeddings": column, "labels": [0, 1]}), path)
    with pytest.raises(InvalidEmbeddingsError, match=reason):
        read_embeddings(path)


def test_a_missing_number_in_a_list_becomes_nan(tmp_path: Path) -> None:
    """And NaN is refused by the cache, with its place."""
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"embeddings": pa.array([[1.0, None], [3.0, 4.0]]), "labels": [0, 1]}), path)
    np.testing.assert_array_equal(read_embeddings(path)[0], [[1, np.nan], [3, 4]])


@pytest.mark.parametrize("form", ["h5", "npz", "parquet lists"])
def test_labels_may_be_names(tmp_path: Path, form: str) -> None:
    names = ["wren", " robin", "wren", "Ōtaki", "10", "robin"]
    labels: Any = [name.encode() for name in names] if form == "h5" else np.array(names)
    read = read_embeddings(write(tmp_path, form, {"embeddings": FEATURES, "labels": labels}))[1]
    assert read.tolist() == ["wren", "robin", "wren", "Ōtaki", "10", "robin"]


def test_a_name_has_the_same_number_in_both_splits() -> None:
    """Whatever comes first in which split; pandas.factorize of each would number by appearance."""
    labels, names = number_labels({"train": np.array(["b", "a", "c"]), "test": np.array(["c", "a", "b", "b"])})
    assert {split: given.tolist() for split, given in labels.items()} == {"train": [1, 0, 2], "test": [2, 0, 1, 1]}
    assert names == {0: "a", 1: "b", 2: "c"}


def test_names_that_are_whole_numbers_are_these_numbers() -> None:
    labels, names = number_labels({"train": np.array(["10", "9"]), "test": np.array([9, 10])})
    assert {split: given.tolist() for split, given in labels.items()} == {"train": [10, 9], "test": [9, 10]}
    assert names == {}


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".npy", ".safetensors", ".parquet"])
@pytest.mark.parametrize("content", [b"", b"not what it says"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path, labels = tmp_path / f"file{suffix}", tmp_path / "labels.npy"
    path.write_bytes(content)
    np.save(labels, LABELS)
    with pytest.raises(InvalidEmbeddingsError, match="cannot read") as caught:
        read_embeddings(path, labels)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "labels", "reason"),
    [
        ("x.csv", None, r"cannot import \.csv, only \.h5, \.hdf5"),
        ("x", None, "a file without suffix"),
        ("absent.h5", None, "no such file"),
        ("absent", None, "no such file"),
        ("x.npy", None, "second .npy file"),
        ("x.npy", "labels.txt", "expected labels in a .npy file"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, labels: str | None, reason: str) -> None:
    np.save(tmp_path / "x.npy", FEATURES)
    (tmp_path / "x.csv").touch()
    (tmp_path / "x").touch()
    with pytest.raises(InvalidEmbeddingsError, match=reason):
        read_embeddings(tmp_path / name, None if labels is None else tmp_path / labels)
