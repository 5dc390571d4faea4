"""Any table of texts and labels: ``<name>.csv``, or the two tables ``train`` and ``test`` in a folder ``<name>``."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imprint_sweep.embeddings.cache import SPLITS, Split
from imprint_sweep.embeddings.class_names import names_of, numbered
from imprint_sweep.errors import DatasetError, one_line
from imprint_sweep.extraction.datasets.labelled_texts import LabelledTexts
from imprint_sweep.files.unreadable import pointer, unreadable

if TYPE_CHECKING:
    import pyarrow as pa

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*_DELIMITERS, ".parquet")
"""The kinds of tables."""


@dataclass(frozen=True)
class Columns:
    """The names of the columns of a table.

    Args:
        text: the column of the texts.
        label: that of their labels: names or whole numbers.
        split: that which says ``train`` or ``test``, where both splits are in one table.
    """

    text: str = "text"
    label: str = "label"
    split: str = "split"


USUAL_COLUMNS = Columns()
"""The names that columns have where nobody says otherwise."""


class _Row(NamedTuple):
    text: str
    label: str


def read(name: str, split: Split, data_root: Path, columns: Columns) -> LabelledTexts:
    """Read one split of a table, in the table's order.

    Labels that are whole numbers stay what they are; others are numbered 0, 1, 2, ... in the order of their names. Both
    splits are read and checked whichever is wanted: a mistake in the other one would show after hours of work.

    Args:
        name: of the table.
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.
        columns: of the table.

    Raises:
        DatasetError: a table or a column is missing or cannot be read, a text or a label is empty, there is only one
            label, or the two splits have not the same labels.
    """
    files = _files(name, data_root)
    rows = {one: _rows(path, one, columns, alone=len(set(files.values())) == 2) for one, path in files.items()}
    _check_labels(rows, files)
    numbers = numbered(row.label for row in rows["train"])
    return LabelledTexts(
        [row.text for row in rows[split]],
        np.array([numbers[row.label] for row in rows[split]], np.int64),
        str(files[split]),
        names_of(numbers),
    )


def exists(name: str, data_root: Path) -> bool:
    """Whether there is a table of that name, complete or not."""
    return bool(_found(data_root, name) or any(_found(data_root / name, split) for split in SPLITS))


def place_of(name: str, split: Split, data_root: Path) -> Path | None:
    """The table that a split would be read from; None if nobody can tell."""
    found = _found(data_root, name) or _found(data_root / name, split)
    return found[0] if len(found) == 1 else None


def _found(folder: Path, stem: str) -> list[Path]:
    return [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").exists()]


def _files(name: str, data_root: Path) -> dict[Split, Path]:
    """The table of each split, the same one for both if it has a column that tells."""
    together, apart = _found(data_root, name), {split: _found(data_root / name, split) for split in SPLITS}
    if len(together) == 1 and not any(apart.values()):
        return dict.fromkeys(SPLITS, together[0])
    for several in ([*together, *apart["train"], *apart["test"]] if together else [], *apart.values()):
        if len(several) > 1:
            raise DatasetError(
                f"{name} is there several times: {', '.join(map(str, several))}; keep the one that counts"
            )
    for split, found in apart.items():
        if not found:
            wanted = " or ".join(f"{split}{suffix}" for suffix in SUFFIXES)
            other = next(path for paths in apart.values() for path in paths)
            raise DatasetError(f"{other} is there and no table of the {split} split beside it; put {wanted} there")
    return {split: found[0] for split, found in apart.items()}


def _rows(path: Path, split: Split, columns: Columns, *, alone: bool) -> list[_Row]:
    """The rows of one split."""
    wanted = vars(columns) if not alone else {"text": columns.text, "label": columns.label}
    try:
        table = _read_parquet(path, wanted) if path.suffix == ".parquet" else _read_csv(path, wanted)
    except DatasetError:
        raise
    except Exception as error:  # the library has exceptions of several kinds
        raise DatasetError(f"cannot read {path}: {_why(path, error)}") from error
    texts = _strings(path, table, columns, "text")
    labels = [None if label is None else label.strip() for label in _strings(path, table, columns, "label")]
    parts: Sequence[str | None] = [split] * len(texts)
    if not alone:
        parts = [None if part is None else part.strip() for part in _strings(path, table, columns, "split")]
        _check_splits(path, columns, parts)
    for column, values in ((columns.text, texts), (columns.label, labels)):
        if empty := [row for row, value in enumerate(values, 1) if value is None or not value.strip()]:
            raise DatasetError(
                f"{path}: the column {column} is empty in {len(empty):,} of {len(values):,} rows, first in row "
                f"{empty[0]:,}; fill it or leave these rows out"
            )
    rows = zip(texts, labels, parts, strict=True)
    return [_Row(text, label) for text, label, part in rows if part == split and text is not None and label is not None]


def _read_csv(path: Path, wanted: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    if found := pointer(path):
        raise DatasetError(f"cannot read {path}: {found}")
    # A row must fit into one block.
    reading = csv.ReadOptions(block_size=min(max(path.stat().st_size, 1), 2**30))
    # Strict: pandas would take "NA" for a missing value, and a first row that is too long for one with an index.
    parsing = csv.ParseOptions(delimiter=_DELIMITERS[path.suffix], newlines_in_values=True)
    with csv.open_csv(path, reading, parsing) as opened:
        _check_columns(path, opened.schema.names, wanted)
    types = dict.fromkeys(wanted.values(), pa.string())
    converting = csv.ConvertOptions(column_types=types, include_columns=list(types), strings_can_be_null=False)
    return csv.read_csv(path, reading, parsing, converting)


def _read_parquet(path: Path, wanted: Mapping[str, str]) -> pa.Table:
    from pyarrow import parquet

    _check_columns(path, parquet.read_schema(path).names, wanted)
    return parquet.read_table(path, columns=list(dict.fromkeys(wanted.values())), partitioning=None)


def _check_columns(path: Path, names: Sequence[str], wanted: Mapping[str, str]) -> None:
    for key, name in wanted.items():
        if names.count(name) > 1:
            raise DatasetError(f"{path} has {names.count(name)} columns {name!r}; rename those that do not count")
        if name not in names:
            hint = f"name the right one with columns.{key}=NAME"
            if key == "split":
                hint += ", or put both splits into tables of their own, train and test"
            if len(names) == 1 and path.suffix in _DELIMITERS:
                hint = f"columns are separated by {_DELIMITERS[path.suffix]!r} in a file of this suffix"
            raise DatasetError(f"{path} has no column {name!r}; it has {', '.join(map(repr, names))}; {hint}")


def _strings(path: Path, table: pa.Table, columns: Columns, key: str) -> list[str | None]:
    """The values of one of the columns as strings; those of labels may be whole numbers or truth values."""
    import pyarrow as pa

    name, numbers = getattr(columns, key), key == "label"
    expected = f"expected {'names or whole numbers' if numbers else 'texts'} in the column {name}"
    another = f"columns.{key}=NAME takes another column"
    column = table[name]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind) and numbers:  # as pandas makes whole numbers of a column that once had gaps
        try:
            column = column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            values = column.drop_null().to_pylist()
            others = (value for value in values if not value.is_integer() or abs(value) >= 2**63)
            raise DatasetError(f"{path}: {expected}, got {next(others, error)}; {another}") from error
    elif not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or (numbers and (pa.types.is_integer(kind) or pa.types.is_boolean(kind)))
    ):
        raise DatasetError(f"{path}: {expected}, got {kind}; {another}")
    strings: list[str | None] = column.cast(kind).cast(pa.string()).to_pylist()
    return strings


def _check_splits(path: Path, columns: Columns, parts: Sequence[str | None]) -> None:
    if unknown := sorted({part or "" for part in parts} - set(SPLITS)):
        rows = sum((part or "") == unknown[0] for part in parts)
        raise DatasetError(
            f"{path}: expected train or test in the column {columns.split}, got {unknown[0]!r} in {rows:,} of "
            f"{len(parts):,} rows; say of these rows which they are, or leave them out"
        )
    for split in SPLITS:
        if split not in parts:
            raise DatasetError(
                f"{path}: no row says {split} in the column {columns.split}; rows of both train and test are needed"
            )


def _check_labels(rows: Mapping[Split, Sequence[_Row]], files: Mapping[Split, Path]) -> None:
    """Find out whether there are several labels, and the same ones in both splits."""
    train, test = ({row.label for row in rows[split]} for split in SPLITS)
    for split in SPLITS:
        if not rows[split]:
            raise DatasetError(f"{files[split]} has no rows")
    if len(train) == 1:
        raise DatasetError(f"{files['train']}: every training text has the label {min(train)!r}; expected several")
    for lacking, which, labels in (("train", "test", test - train), ("test", "train", train - test)):
        if labels:
            shown = ", ".join(map(repr, sorted(labels)[:5])) + (", ..." if len(labels) > 5 else "")
            raise DatasetError(
                f"the {which} split of {files[which]} has texts of {shown}, the {lacking} split has none; "  # type: ignore[index]
                "leave these labels out, or move some of their texts"
            )


def _why(path: Path, error: Exception) -> str:
    """Why a table cannot be read, and what to do about it."""
    if path.suffix == ".parquet":
        return unreadable(path, error, mend="fetch the file again")
    reason = one_line(error)
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "it is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
    if "UTF8" in reason:
        return f"{reason}; save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8, if it comes from an older Excel)"
    return f"{reason}; a text with a comma, a quote or a line break in it stands in double quotes"
