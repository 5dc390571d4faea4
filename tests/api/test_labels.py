"""Labels come as scikit-learn, pandas and torch have them, and what is none is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import imprint_sweep as ims
from imprint_sweep.errors import ImprinterError

RNG = np.random.default_rng(0)
Y = np.arange(30) % 3
X = RNG.normal(Y[:, None], 0.3, (30, 4)).astype(np.float32)
TEXTS = np.array(["cat", "dog", "eel"])[Y]


def fitted(y: Any = Y, **parameters: Any) -> ims.Imprinter:
    """A classifier of few samples."""
    return ims.Imprinter(gen="mean", norm="none", metric="euclidean", **parameters).fit(X, y)


@pytest.mark.parametrize(
    ("y", "classes", "dtype"),
    [
        (Y.tolist(), [0, 1, 2], "int64"),
        (Y.astype(np.uint8), [0, 1, 2], "uint8"),
        (pd.Series(Y, index=np.arange(30)[::-1]), [0, 1, 2], "int64"),
        (pd.Series(Y, dtype="Int64"), [0, 1, 2], "int64"),
        (pd.Series(Y).astype("category"), [0, 1, 2], "int64"),
        (pd.Index(Y), [0, 1, 2], "int64"),
        (torch.from_numpy(Y), [0, 1, 2], "int64"),
        (list(torch.from_numpy(Y)), [0, 1, 2], "int64"),
        (pd.Series(Y > 1, dtype="boolean"), [False, True], "bool"),
        (TEXTS.tolist(), ["cat", "dog", "eel"], "<U3"),
        (pd.Series(TEXTS), ["cat", "dog", "eel"], "O"),
        (pd.Series(TEXTS, dtype="string"), ["cat", "dog", "eel"], "O"),
        (pd.Categorical(TEXTS), ["cat", "dog", "eel"], "O"),
        (TEXTS.astype(np.dtypes.StringDType()), ["cat", "dog", "eel"], "<U3"),
        ([1.0 if label else 0 for label in Y], [0, 1], "float64"),
    ],
)
def test_labels_come_in_any_container(y: Any, classes: list[Any], dtype: str) -> None:
    clf = fitted(y)
    assert clf.classes_.tolist() == classes
    assert clf.classes_.dtype == np.dtype(dtype)
    assert clf.predict(X).dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("y", "shown"),
    [
        (np.where(Y == 1, np.nan, Y), "NaN"),
        (pd.Series(Y).where(Y != 1), "NaN"),
        (pd.Series(Y, dtype="Int64").where(Y != 1), "NaN|<NA>"),
        (pd.Series(TEXTS).where(Y != 1), "NaN"),
        (pd.Series(TEXTS, dtype="string").where(Y != 1), "<NA>"),
        (pd.Series(TEXTS).where(Y != 1).astype("category"), "NaN"),
        ([None if label == 1 else "cat" for label in Y], "None"),
        ([float("nan") if label == 1 else 0 for label in Y], "NaN"),
        ([pd.NaT if label == 1 else 0 for label in Y], "NaT"),
    ],
)
def test_missing_labels_are_counted_and_the_first_is_named(y: Any, shown: str) -> None:
    with pytest.raises(
        ImprinterError, match=rf"y: 10 of 30 labels are missing \(({shown})\), the first at position 1;"
    ):
        fitted(y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1 if label else "cat" for label in Y], "y: expected labels of one kind, got int and str"),
        ([True if label else 0 for label in Y], "y: expected labels of one kind, got bool and int"),
        ([[1], [2, 3]] * 15, "y: expected whole numbers, texts or booleans, got list"),
        ([0.5] * 30, "y: expected whole numbers, texts or booleans, got float"),
        ([date(2020, 1, 1)] * 30, "y: expected whole numbers, texts or booleans, got date"),
        (
            np.full(30, "2020", dtype="datetime64[D]"),
            r"y: expected whole numbers, texts or booleans, got datetime64\[D\]",
        ),
        ([2**70] * 30, "y: expected labels of at most 64 bits"),
        ([2**64 - 1, -1] * 15, "y: expected labels of at most 64 bits"),
    ],
)
def test_what_is_no_label_is_refused(y: Any, message: str) -> None:
    with pytest.raises(ImprinterError, match=f"^{message}$"):
        fitted(y)


@pytest.mark.parametrize(
    "order",
    [
        np.array([2, 0, 1]),
        pd.Index([2, 0, 1]),
        pd.Series([2, 0, 1]),
        torch.tensor([2, 0, 1]),
        (2, 0, 1),
        [2.0, 0.0, 1.0],
    ],
)
def test_the_order_of_classes_comes_in_any_container(order: Any) -> None:
    for y in (Y, Y.astype(float)):
        clf = fitted(y, classes=order)
        assert clf.classes_.tolist() == [2, 0, 1]
        np.testing.assert_array_equal(clf.predict(X), fitted(y).predict(X))


@pytest.mark.parametrize("order", [{2, 0, 1}, (label for label in (2, 0, 1)), {2: "a", 0: "b", 1: "c"}.keys(), 2])
def test_what_has_no_order_is_no_order_of_classes(order: Any) -> None:
    with pytest.raises(ImprinterError, match=r"classes: expected a list of labels, got [^\n]+$"):
        fitted(classes=order)


def test_true_is_not_one_and_a_text_is_no_number() -> None:
    for order in ([1, 0], ["False", "True"]):
        with pytest.raises(ImprinterError, match="classes: y has no sample of"):
            fitted(Y > 1, classes=order)


@pytest.mark.parametrize("label", [7, 7.0, np.int8(7), np.array(7), torch.tensor(7)])
def test_a_label_may_be_any_scalar(label: Any) -> None:
    clf = fitted().add_class(X[:5] + 9, label)
    assert clf.classes_.tolist() == [0, 1, 2, 7]
    assert clf.classes_.dtype == Y.dtype
    assert clf.remove_class(label).classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("label", "dtype"), [(7, np.uint8), (-1, np.int64), (300, np.int64)])
def test_the_type_of_labels_grows_only_where_it_must(label: int, dtype: type) -> None:
    clf = fitted(Y.astype(np.uint8)).add_class(X, label)
    assert clf.classes_.tolist() == [0, 1, 2, label]
    assert clf.classes_.dtype == dtype


def add(clf: ims.Imprinter, key: Any) -> ims.Imprinter:
    """Add a class with a key of any type."""
    return clf.add_class(X, 7, key=key)


CHANGES: list[tuple[Callable[[ims.Imprinter], Any], str]] = [
    (
        lambda clf: clf.add_class(X, 2**70),
        "label: expected one that 64 bits hold beside 0, 1, 2, got 1180591620717411303424",
    ),
    (
        lambda clf: clf.add_class(X, 2**63),
        "label: expected one that 64 bits hold beside 0, 1, 2, got 9223372036854775808",
    ),
    (lambda clf: clf.add_class(X, 1.5), "label: expected one of the same kind as 0, 1, 2, got 1.5"),
    (lambda clf: clf.add_class(X, float("nan")), "label: expected one of the same kind as 0, 1, 2, got nan"),
    (lambda clf: clf.add_class(X, float("inf")), "label: expected one of the same kind as 0, 1, 2, got inf"),
    (lambda clf: clf.add_class(X, [1]), r"label: expected one of the same kind as 0, 1, 2, got \[1\]"),
    (lambda clf: clf.add_class(X, Y), r"label: expected one of the same kind as 0, 1, 2, got array[^\n]*"),
    (lambda clf: clf.add_class(X, 2.0), "there is a class 2.0 already; remove it first, or choose another label"),
    (lambda clf: add(clf, "digits"), r"key: expected \(dataset, class\) parts such as .*, got 'digits'"),
    (lambda clf: add(clf, 5), "key: expected .*, got 5"),
    (lambda clf: add(clf, [("digits", 1.5)]), "key: expected .*, got .*"),
    (lambda clf: clf.remove_class([0, 1]), r"there is no class \[0, 1\] to remove; the classes are 0, 1, 2"),
    (lambda clf: clf.remove_class(np.arange(99)), r"there is no class [^\n]* to remove; the classes are 0, 1, 2"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_what_cannot_be_added_or_removed_is_one_sentence(change: Callable[[ims.Imprinter], Any], message: str) -> None:
    clf = fitted()
    with pytest.raises(ImprinterError, match=f"^{message}$"):
        change(clf)
    assert clf.classes_.tolist() == [0, 1, 2]


def test_a_key_is_kept_as_it_is_saved() -> None:
    key: Any = [["digits", np.int64(3)]]
    assert fitted().add_class(X, 7, key=key).keys_[-1] == (("digits", 3),)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_of_a_network_are_samples(dtype: torch.dtype) -> None:
    rows = torch.from_numpy(X).to(dtype).requires_grad_()
    exact = rows.detach().double().numpy()
    clf = ims.Imprinter(gen="mean").fit(rows, torch.from_numpy(Y))
    np.testing.assert_array_equal(clf.proxies_, ims.Imprinter(gen="mean").fit(exact, Y).proxies_)
    np.testing.assert_array_equal(clf.predict(rows), clf.predict(exact))
