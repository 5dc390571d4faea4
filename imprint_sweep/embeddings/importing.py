"""Embeddings that were computed elsewhere, read from the formats that people keep them in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.dataset import dataset
from pyarrow.parquet import read_schema
from safetensors import safe_open

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.embeddings.class_names import names_of, numbered
from imprint_sweep.errors import InvalidEmbeddingsError
from imprint_sweep.files.unreadable import unreadable

EMBEDDINGS, LABELS = "embeddings", "labels"

_UNKNOWN_TO_NUMPY = ("BF16", "F8_E4M3", "F8_E5M2")
"""Types of safetensors that only torch reads."""

_WRITE_NPZ = "numpy.savez('FILE.npz', embeddings=..., labels=...) writes one of these"

_INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0(\.\d+)*|index|level_\d+")
"""What pandas (to_parquet, read_csv, reset_index) and polars (with_row_index) call an index without a name."""


Labels = NDArray[np.int64] | NDArray[np.str_]
"""Labels (n,) as a file has them: whole numbers, or names."""


def read_embeddings(path: Path, labels_path: Path | None = None) -> tuple[NDArray[np.float32], Labels]:
    """Read embeddings and labels from a file, by its suffix.

    * ``.h5``, ``.hdf5``, ``.npz``, ``.safetensors``: ``embeddings`` (n, d) and ``labels`` (n,).
    * ``.parquet``: a column ``embeddings`` of lists, or any number of numeric columns of one type, beside ``labels`` or
      ``label``. A file, or a folder of parts, whatever its name, which may be partitioned by label. The index of a data
      frame and names of folders are no features.
    * ``.npy``: embeddings alone; labels in a second file.

    Args:
        path: the file of the embeddings: real numbers, any width.
        labels_path: a ``.npy`` file of labels, which then are not looked for in ``path``.

    Returns:
        features (n, d) float32 and labels (n,), int64 or names without spaces around them.

    Raises:
        InvalidEmbeddingsError: the file is missing, damaged, of another format or only stands in for one, or what it
            holds is not embeddings with whole numbers or names as labels.
    """
    embeddings, *labels = _read(path, [EMBEDDINGS] if labels_path else [EMBEDDINGS, LABELS])
    if labels_path is not None:
        if labels_path.suffix != ".npy":
            raise InvalidEmbeddingsError(f"{labels_path}: expected labels in a .npy file")
        labels = _read(labels_path, [EMBEDDINGS])
    return _as_features(path, embeddings), _as_labels(labels_path or path, labels[0])


def number_labels(labels: Mapping[Split, Labels]) -> tuple[dict[Split, NDArray[np.int64]], dict[int, str]]:
    """The labels of both splits as whole numbers, and the name of each class that has one.

    A name has the same number in both splits. Names are numbered in their order, as those of a table of texts are.
    """
    if all(given.dtype.kind == "i" for given in labels.values()):
        return {split: given.astype(np.int64) for split, given in labels.items()}, {}
    texts = {split: given.astype(str).tolist() for split, given in labels.items()}
    of = numbered(chain.from_iterable(texts.values()))
    return {split: np.array([of[text] for text in given], np.int64) for split, given in texts.items()}, names_of(of)


def _read(path: Path, wanted: Sequence[str]) -> list[NDArray[Any]]:
    suffix = ".parquet" if path.is_dir() and path.suffix not in READERS else path.suffix
    if not path.exists():
        raise InvalidEmbeddingsError(f"{path}: no such file")
    if suffix not in READERS:
        raise InvalidEmbeddingsError(
            f"{path}: cannot import {suffix or 'a file without suffix'}, only {', '.join(READERS)}; {_WRITE_NPZ}"
        )
    if not (path.is_file() or (path.is_dir() and suffix == ".parquet")):
        raise InvalidEmbeddingsError(f"{path} is not a file")
    try:
        return READERS[suffix](path, wanted)
    except InvalidEmbeddingsError:
        raise
    except Exception as error:  # every library has its own exceptions for a damaged file
        raise InvalidEmbeddingsError(f"cannot read {path}: {unreadable(path, error)}") from error


def _read_hdf5(path: Path, wanted: Sequence[str]) -> list[NDArray[Any]]:
    with h5py.File(path) as file:
        return [np.asarray(file[name]) for name in _present(path, file, wanted)]


def _read_npz(path: Path, wanted: Sequence[str]) -> list[NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return [file[name] for name in _present(path, file.files, wanted)]


def _read_npy(path: Path, wanted: Sequence[str]) -> list[NDArray[Any]]:
    if LABELS in wanted:
        raise InvalidEmbeddingsError(f"{path} has no place for labels; name a second .npy file that holds them")
    return [np.load(path, mmap_mode="r", allow_pickle=False)]


def _read_safetensors(path: Path, wanted: Sequence[str]) -> list[NDArray[Any]]:
    with safe_open(path, framework="numpy") as file:
        names = _present(path, file.keys(), wanted)
        if not any(file.get_slice(name).get_dtype() in _UNKNOWN_TO_NUMPY for name in names):
            return [file.get_tensor(name) for name in names]
    import torch

    with safe_open(path, framework="pt") as file:
        tensors = [file.get_tensor(name) for name in names]
        narrow = [tensor.is_floating_point() and tensor.dtype != torch.float64 for tensor in tensors]
        return [(tensor.float() if short else tensor).numpy() for tensor, short in zip(tensors, narrow, strict=True)]


def _read_parquet(path: Path, wanted: Sequence[str]) -> list[NDArray[Any]]:
    # Without `partitioning`, folders above a file that are called like fold=0 would become columns.
    source = dataset(path, format="parquet", partitioning="hive" if path.is_dir() else None)
    if not source.files:
        raise InvalidEmbeddingsError(f"{path} is a folder without Parquet files")
    table, stored = source.to_table(), read_schema(source.files[0])
    if given := [name for name in ("label", LABELS) if name in table.column_names]:
        if len(given) > 1 and LABELS in wanted:
            raise InvalidEmbeddingsError(f"{path} has both label and labels; keep the column that holds the labels")
    elif LABELS in wanted:
        _present(path, table.column_names, [LABELS])
    if EMBEDDINGS in table.column_names:
        arrays = {EMBEDDINGS: _rows_of_lists(path, table[EMBEDDINGS].combine_chunks())}
    else:
        names = _feature_columns(path, stored, [name for name in table.column_names if name in stored.names])
        arrays = {EMBEDDINGS: np.column_stack([table[name].to_numpy() for name in names])}
    if given:
        # Folder names of more than 32 bits are read as text.
        column = table[given[0]] if given[0] in stored.names else table[given[0]].cast(pa.int64())
        arrays[LABELS] = column.to_numpy()
    return [arrays[name] for name in wanted]


def _feature_columns(path: Path, schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """The columns that are features: what is neither a label nor an index that pandas or polars has added.

    Raises:
        InvalidEmbeddingsError: there are none, or they have several types: one is something else, such as a number of
            the sample, and would spoil every distance without a word.
    """
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    features = [
        field
        for field in map(schema.field, names)
        if field.name not in (*index, LABELS, "label")
        and not (_INDEX.fullmatch(field.name) and not pa.types.is_floating(field.type))
    ]
    kinds = Counter(str(field.type) for field in features)
    if not features or not all(_is_number(field.type) for field in features):
        raise InvalidEmbeddingsError(
            f"{path}: expected a column embeddings of lists, or numeric columns beside the labels; it holds "
            f"{', '.join(f'{field.name} ({field.type})' for field in schema)}"
        )
    if len(kinds) > 1:
        usual, count = kinds.most_common(1)[0]
        others = [f"{field.name} ({field.type})" for field in features if str(field.type) != usual]
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        raise InvalidEmbeddingsError(
            f"{path}: expected features of one type; {count} columns are {usual}, but {shown} not: drop what is no "
            "feature, convert what is one"
        )
    return [field.name for field in features]


def _rows_of_lists(path: Path, column: pa.Array) -> NDArray[Any]:
    """The (n, d) array of a column of n lists of d numbers."""
    is_list = (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    )
    if not is_list or not _is_number(column.type.value_type):
        raise InvalidEmbeddingsError(f"{path}: expected lists of numbers in the column embeddings, got {column.type}")
    lengths = np.unique(np.asarray(column.value_lengths().fill_null(0)))
    if column.null_count or len(lengths) > 1:
        raise InvalidEmbeddingsError(f"{path}: the lists in the column embeddings have lengths {lengths.tolist()[:5]}")
    # An ArrowInvalid about nulls becomes NaN here, and NaN is refused with its place.
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), -1)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


READERS: dict[str, Callable[[Path, Sequence[str]], list[NDArray[Any]]]] = {
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".safetensors": _read_safetensors,
    ".parquet": _read_parquet,
}
"""Reader of each format: (file, names) -> the arrays of those names."""


def _present(path: Path, available: Iterable[str], wanted: Sequence[str]) -> Sequence[str]:
    names = list(available)
    if absent := [name for name in wanted if name not in names]:
        raise InvalidEmbeddingsError(
            f"{path} has no {' and no '.join(absent)}; it holds {', '.join(names) or 'nothing'}"
        )
    return wanted


def _as_features(path: Path, array: NDArray[Any]) -> NDArray[np.float32]:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InvalidEmbeddingsError(
            f"{path}: expected embeddings (n, d) of numbers, got {array.shape} of {array.dtype}"
        )
    with np.errstate(over="ignore"):  # becomes infinity, which the cache refuses with its place
        return array.astype(np.float32, copy=False)


def _as_labels(path: Path, array: NDArray[Any]) -> Labels:
    flat = array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim == 1 and flat.dtype.kind in "OUS":
        return _as_names(path, flat)
    if flat.ndim == 1 and flat.dtype.kind in "fiu":
        with np.errstate(invalid="ignore"):  # NaN becomes a number, and is not equal to it
            labels = flat.astype(np.int64)
        if not (other := flat != labels).any():
            return labels
        first = int(other.argmax())
        raise InvalidEmbeddingsError(f"{path}: expected integer labels (n,), got {flat[first]} at sample {first}")
    raise InvalidEmbeddingsError(f"{path}: expected integer labels or names (n,), got {array.shape} of {array.dtype}")


def _as_names(path: Path, array: NDArray[Any]) -> NDArray[np.str_]:
    names = [value.decode() if isinstance(value, bytes) else value for value in array.tolist()]
    for sample, name in enumerate(names):
        if not (isinstance(name, str) and name.strip()):
            raise InvalidEmbeddingsError(f"{path}: expected a name as label, got {name!r} at sample {sample}")
    return np.array([name.strip() for name in names], np.str_)
