"""Embeddings that were computed elsewhere, read from the formats that people keep them in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open

from imprint_sweep.errors import InvalidEmbeddingsError

EMBEDDINGS, LABELS = "embeddings", "labels"


def read_embeddings(path: Path, labels_path: Path | None = None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read embeddings and labels from a file, by its suffix.

    * ``.h5``, ``.hdf5``, ``.npz``, ``.safetensors``: ``embeddings`` (n, d) and ``labels`` (n,).
    * ``.parquet``: a column ``embeddings`` of lists, or any number of numeric columns, beside ``labels`` or ``label``.
    * ``.npy``: embeddings alone; labels in a second file.

    Args:
        path: the file of the embeddings: real numbers, any width.
        labels_path: a ``.npy`` file of labels, which then are not looked for in ``path``.

    Returns:
        features (n, d) float32 and labels (n,) int64.

    Raises:
        InvalidEmbeddingsError: the file is missing, damaged or of another format, or what it holds is not embeddings
            with integer labels.
    """
    embeddings, *labels = _read(path, [EMBEDDINGS] if labels_path else [EMBEDDINGS, LABELS])
    if labels_path is not None:
        if labels_path.suffix != ".npy":
            raise InvalidEmbeddingsError(f"{labels_path}: expected labels in a .npy file")
        labels = _read(labels_path, [EMBEDDINGS])
    return _as_features(path, embeddings), _as_labels(labels_path or path, labels[0])


def _read(path: Path, wanted: Sequence[str]) -> list[NDArray[Any]]:
    if path.suffix not in READERS:
        raise InvalidEmbeddingsError(
            f"{path}: cannot import {path.suffix or 'a file without suffix'}, only {', '.join(READERS)}"
        )
    if not path.is_file():
        raise InvalidEmbeddingsError(f"{path} is no file")
    try:
        return READERS[path.suffix](path, wanted)
    except InvalidEmbeddingsError:
        raise
    except Exception as error:  # every library has its own exceptions for a damaged file
        raise InvalidEmbeddingsError(f"cannot read {path}: {error}") from error


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
        return [file.get_tensor(name) for name in _present(path, file.keys(), wanted)]


def _read_parquet(path: Path, wanted: Sequence[str]) -> list[NDArray[Any]]:
    table = pq.read_table(path)
    labels = "label" if "label" in table.column_names else LABELS
    if LABELS in wanted:
        _present(path, table.column_names, [labels])
    if EMBEDDINGS in table.column_names:
        arrays = {EMBEDDINGS: _rows_of_lists(path, table[EMBEDDINGS].combine_chunks())}
    else:
        features = [field for field in table.schema if field.name not in (LABELS, "label")]
        if not features or not all(_is_number(field.type) for field in features):
            raise InvalidEmbeddingsError(
                f"{path}: expected a column embeddings of lists, or numeric columns beside the labels; it holds "
                f"{', '.join(f'{field.name} ({field.type})' for field in table.schema)}"
            )
        arrays = {EMBEDDINGS: np.column_stack([table[field.name].to_numpy() for field in features])}
    if labels in table.column_names:
        arrays[LABELS] = table[labels].to_numpy()
    return [arrays[name] for name in wanted]


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


def _as_labels(path: Path, array: NDArray[Any]) -> NDArray[np.int64]:
    flat = array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim == 1 and flat.dtype.kind in "fiu":
        with np.errstate(invalid="ignore"):  # NaN becomes a number, and is not equal to it
            labels = flat.astype(np.int64)
        if np.array_equal(flat, labels):
            return labels
    raise InvalidEmbeddingsError(f"{path}: expected integer labels (n,), got {array.shape} of {array.dtype}")
