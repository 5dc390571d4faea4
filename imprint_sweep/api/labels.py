"""The labels of classes: whole numbers, texts or booleans, wherever they come from.

All labels of a classifier are of one kind. Whole numbers may be floats, as in a column that once had gaps: 3.0 is 3.
"""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import ImprinterError
from imprint_sweep.imprinting.tensors import to_array

_EXPECTED = "expected whole numbers, texts or booleans"


def read_labels(y: Any) -> Any:
    """The labels of samples as an array of their own kind; what is no labels at all is left for scikit-learn to refuse.

    Args:
        y: (n,) or (n, 1), such as a list, an array, a tensor or a column of a data frame.

    Returns:
        The same shape; texts that came as objects stay objects.

    Raises:
        ImprinterError: some are missing, or of another kind than the others.
    """
    if y is None:
        return None
    from_list = isinstance(y, list | tuple)
    labels = np.array([_plain(label) for label in y], dtype=object) if from_list else np.asarray(to_array(y))
    if labels.ndim == 0 or (labels.ndim > 1 and labels.shape[1:] != (1,)) or labels.dtype.kind in "biucUS":
        return labels
    flat = labels.reshape(-1)
    if labels.dtype.kind == "f":
        _check_given(flat, np.isnan(flat))
        return labels
    if labels.dtype.kind not in "OT":
        raise ImprinterError(f"y: {_EXPECTED}, got {labels.dtype}")
    flat = flat.astype(object)
    _check_given(flat, np.array([_is_missing(label) for label in flat], dtype=np.bool_))
    kinds = {_kind(label): type(label).__name__ for label in flat}
    if len(kinds) > 1:
        raise ImprinterError(f"y: expected labels of one kind, got {' and '.join(sorted(kinds.values()))}")
    if None in kinds:
        raise ImprinterError(f"y: {_EXPECTED}, got {kinds[None]}")
    if str in kinds and not from_list and labels.dtype == object:
        return labels
    own = np.array(flat.tolist())
    if own.dtype == object or not np.array_equal(own, flat):
        raise ImprinterError("y: expected labels of at most 64 bits")
    return own.reshape(labels.shape)


def in_order(y: NDArray[Any], classes: Any) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The classes in the order of imprinting, and the position of each sample's label among them.

    Args:
        y: (n,) labels.
        classes: the order, each label of `y` once; None sorts them.

    Returns:
        (C,) labels of the type of `y`, and (n,) positions.

    Raises:
        ImprinterError: `classes` is no list, or not of the labels in `y`.
    """
    found, positions = np.unique(y, return_inverse=True)
    if classes is None:
        return found, positions
    if isinstance(classes, str) or not (isinstance(classes, Sequence) or hasattr(classes, "__array__")):
        raise ImprinterError(f"classes: expected a list of labels, got {reprlib.repr(classes)}")
    places = _places(found)
    order: list[int] = []
    for label in np.atleast_1d(to_array(classes)) if hasattr(classes, "__array__") else classes:
        place = places.get(_identity(label))
        if place is None:
            raise ImprinterError(f"classes: y has no sample of {_plain(label)!r}; it has {listed(found)}")
        order.append(place)
    if len(set(order)) < len(order):
        twice = next(place for place in order if order.count(place) > 1)
        raise ImprinterError(f"classes: {found.tolist()[twice]!r} is listed twice")
    if rest := sorted(set(range(len(found))) - set(order)):
        are = "is" if len(rest) == 1 else "are"
        raise ImprinterError(f"classes: y has samples of {listed(found[rest])}, which {are} not listed")
    return found[order], np.argsort(order)[positions]


def position(classes: NDArray[Any], label: Any) -> int | None:
    """Where a label stands among the classes, None if it does not."""
    return _places(classes).get(_identity(label))


def with_label(classes: NDArray[Any], label: Any) -> NDArray[Any]:
    """The classes and one more, (C + 1,).

    Raises:
        ImprinterError: it is there already, or of another kind.
    """
    label = _plain(label)
    if position(classes, label) is not None:
        raise ImprinterError(f"there is a class {label!r} already; remove it first, or choose another label")
    kind = _kind(classes.tolist()[0])
    if _kind(label) is not kind:
        raise ImprinterError(f"label: expected one of the same kind as {listed(classes)}, got {reprlib.repr(label)}")
    more = np.concatenate([classes, np.array([label], dtype=object if classes.dtype == object else None)])
    if kind is int:
        wanted, kinds = [*classes.tolist(), label], "f" if classes.dtype.kind == "f" else "iu"
        for dtype in (classes.dtype, more.dtype):
            with suppress(OverflowError), np.errstate(invalid="ignore"):
                if dtype.kind in kinds and (same := more.astype(dtype)).tolist() == wanted:
                    return same
        raise ImprinterError(f"label: expected one that 64 bits hold beside {listed(classes)}, got {label!r}")
    return more


def without(classes: NDArray[Any], gone: int) -> NDArray[Any]:
    """The classes but one; texts in an array that is as wide as the longest of them."""
    rest = np.delete(classes, gone)
    return np.array(rest.tolist()) if rest.dtype.kind == "U" else rest


def listed(classes: NDArray[Any]) -> str:
    """Labels for a message, the first few of many."""
    shown = ", ".join(repr(label) for label in classes[:10].tolist())
    return f"{shown}, ... ({len(classes)} classes)" if len(classes) > 10 else shown


def _check_given(labels: NDArray[Any], missing: NDArray[np.bool_]) -> None:
    if missing.any():
        first = int(missing.argmax())
        shown = "NaN" if isinstance(labels[first], numbers.Real) else str(labels[first])
        raise ImprinterError(
            f"y: {missing.sum():,} of {len(labels):,} labels are missing ({shown}), the first at position {first}; "
            "leave these samples out, or give them a label"
        )


def _is_missing(label: object) -> bool:
    """Whether a label is None, NaN, or what pandas has in its place."""
    if isinstance(label, numbers.Real):
        return bool(label != label)
    return label is None or type(label).__name__ in ("NAType", "NaTType")


def _places(classes: NDArray[Any]) -> Mapping[Any, int]:
    return {_identity(label): place for place, label in enumerate(classes.tolist())}


def _identity(label: Any) -> tuple[type, Any] | None:
    """What two labels have in common if they are the same: True is not 1, and 3.0 is 3."""
    label = _plain(label)
    kind = _kind(label)
    return None if kind is None else (kind, label)


def _kind(label: object) -> type | None:
    """The kind of a label: bool, int or str; None for anything else."""
    if isinstance(label, bool | np.bool_):
        return bool
    if isinstance(label, numbers.Integral) or (isinstance(label, numbers.Real) and float(label).is_integer()):
        return int
    return str if isinstance(label, str) else None


def _plain(label: Any) -> Any:
    """A label without the scalar types of NumPy and torch."""
    return label.item() if getattr(label, "shape", None) == () else label
